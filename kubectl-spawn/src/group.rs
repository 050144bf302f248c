//! What arrays and sweeps have in common, and how far one has come.

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use spore_crds::{
    GroupState, GroupStatus, SporeArray, SporeSweep,
    conditions::{self, READY, STALLED, SUCCEEDED},
};

use crate::{
    error::Error,
    kind::{Kind, Reference, Spawned},
    progress::{Mark, Row},
    steps::WaitFor,
};

/// An array or a sweep.
pub(crate) trait Group: Spawned {
    /// What the controller tells of it.
    fn status(&self) -> Option<&GroupStatus>;
    /// How many members it has altogether, as far as that is known.
    fn size(&self) -> Option<u32>;
    /// The moment to which its deadline was asked to be moved.
    fn extend_to(&self) -> Option<Timestamp>;
    /// The EC2 instance type that its members have if their rows do not say otherwise.
    fn instance_type(&self) -> Option<&str>;
    /// What is asked for, in words.
    fn asked_for(&self) -> String;

    /// How it is named on the command line.
    fn reference(&self) -> Reference {
        Reference::to(Self::KIND, &self.name_any())
    }

    /// One word for where it is.
    fn state_word(&self) -> Option<String> {
        let state = self.status().and_then(|status| status.state);
        match (state, &self.meta().deletion_timestamp) {
            (Some(GroupState::Terminating) | None, Some(_)) => Some("Terminating".into()),
            (Some(state), Some(_)) => Some(format!("{state:?},Deleting")),
            (state, None) => state.map(|state| format!("{state:?}")),
        }
    }

    /// Whether it is done and nothing of it is left in EC2.
    fn is_over(&self) -> bool {
        self.status()
            .and_then(|status| status.state)
            .is_some_and(is_final)
    }

    /// Launched of all, as the controller says it, or else as it follows from the counters.
    fn progress(&self) -> Option<String> {
        let status = self.status()?;
        status.state?;
        Some(match self.size() {
            Some(size) => format!("{}/{size}", status.launched),
            None => status.launched.to_string(),
        })
    }
}

/// Whether nothing changes any more.
pub(crate) fn is_final(state: GroupState) -> bool {
    matches!(
        state,
        GroupState::Succeeded | GroupState::Failed | GroupState::Cancelled
    )
}

impl Group for SporeArray {
    fn status(&self) -> Option<&GroupStatus> {
        self.status.as_ref()
    }

    fn size(&self) -> Option<u32> {
        Some(self.spec.replicas)
    }

    fn extend_to(&self) -> Option<Timestamp> {
        self.spec.extend_to
    }

    fn instance_type(&self) -> Option<&str> {
        Some(&self.spec.template.instance_type)
    }

    fn asked_for(&self) -> String {
        let template = &self.spec.template;
        let mut text = format!(
            "{} of {} {:?}",
            self.spec.replicas, template.instance_type, template.market
        );
        let together = self
            .spec
            .min_available
            .map(|least| format!(", {least} together"));
        let region = template
            .region
            .as_ref()
            .map(|region| format!(" in {region}"));
        let ttl = template.ttl.map(|ttl| format!(" for {ttl}"));
        text.extend([region, ttl, together].into_iter().flatten());
        text
    }
}

impl Group for SporeSweep {
    fn status(&self) -> Option<&GroupStatus> {
        self.status.as_ref()
    }

    fn size(&self) -> Option<u32> {
        let counted = self.status.as_ref().map(|status| status.replicas);
        // Before the controller has counted them, the rows of a grid or a ConfigMap are not known.
        counted.filter(|rows| *rows > 0).or_else(|| {
            let listed = self.spec.grid.is_empty() && self.spec.params_from.is_none();
            u32::try_from(self.spec.params.len())
                .ok()
                .filter(|_| listed)
        })
    }

    fn extend_to(&self) -> Option<Timestamp> {
        self.spec.extend_to
    }

    fn instance_type(&self) -> Option<&str> {
        let template = self
            .spec
            .template
            .as_ref()
            .and_then(|row| row.get("instanceType"));
        let defaults = &self.spec.defaults;
        ["instance_type", "instanceType"]
            .into_iter()
            .find_map(|key| defaults.get(key))
            .or(template)
            .and_then(Value::as_str)
    }

    fn asked_for(&self) -> String {
        let spec = &self.spec;
        let mut text = match self.size() {
            Some(rows) => format!("{rows} rows, {} at once", spec.parallelism),
            None => format!("{} at once", spec.parallelism),
        };
        if let Some(most) = spec.parallelism_per_region {
            text.push_str(&format!(", {most} in each region"));
        }
        if let Some(pause) = spec.launch_interval {
            text.push_str(&format!(", {pause} between launches"));
        }
        if let Some(kind) = self.instance_type() {
            text.push_str(&format!(", on {kind}"));
        }
        text
    }
}

/// Whether the wait is over, and how.
pub(crate) fn verdict<G: Group>(
    group: &G,
    wait_for: WaitFor,
    target: &str,
) -> Option<Result<(), Error>> {
    let status = group.status()?;
    if status.observed_generation != group.meta().generation {
        return None;
    }
    let name = group.reference().to_string();
    let succeeded = conditions::get(&status.conditions, SUCCEEDED);
    let said = |fallback: &str| match succeeded {
        Some(said) if !said.message.is_empty() => said.message.clone(),
        _ => fallback.to_owned(),
    };
    match status.state {
        Some(GroupState::Succeeded) => return Some(Ok(())),
        Some(GroupState::Failed) => {
            return Some(Err(Error::WorkloadFailed {
                name,
                target: target.to_owned(),
                message: said(&counted(status)),
            }));
        }
        Some(GroupState::Cancelled) => {
            return Some(Err(Error::Ended {
                name,
                message: "it was cancelled".into(),
                advice: format!("`kubectl spawn status {target}` shows what is known of it."),
            }));
        }
        _ => {}
    }
    let stalled = conditions::get(&status.conditions, STALLED);
    if let Some(stalled) = stalled.filter(|stalled| stalled.status == "True") {
        return Some(Err(Error::Stalled {
            name,
            target: target.to_owned(),
            reason: stalled.reason.clone(),
            message: stalled.message.clone(),
        }));
    }
    let ready = conditions::is_true(&status.conditions, READY);
    (wait_for == WaitFor::Ready && ready).then_some(Ok(()))
}

/// How many have succeeded and failed.
pub(crate) fn counted(status: &GroupStatus) -> String {
    format!("{} succeeded, {} failed", status.succeeded, status.failed)
}

/// The rows that tell how far it has come.
pub(crate) fn rows<G: Group>(group: &G, wait_for: WaitFor) -> Vec<Row> {
    let Some(status) = group
        .status()
        .filter(|status| status.observed_generation.is_some())
    else {
        return vec![row("Accepted", Mark::Doing, String::new())];
    };
    let of = |count: u32| match group.size() {
        Some(size) => format!("{count}/{size}"),
        None => count.to_string(),
    };
    let full = |count: u32| match group.size() == Some(count) {
        true => Mark::Done,
        false => Mark::Doing,
    };
    let mut rows = vec![
        row("Accepted", Mark::Done, String::new()),
        row("Launched", full(status.launched), of(status.launched)),
    ];
    match wait_for {
        WaitFor::Ready => rows.push(row("Ready", full(status.ready), of(status.ready))),
        WaitFor::Completion => {
            let done = status.succeeded + status.failed;
            let mark = match status.state {
                Some(GroupState::Succeeded) => Mark::Done,
                Some(GroupState::Failed | GroupState::Cancelled) => Mark::Failed,
                _ => Mark::Doing,
            };
            rows.push(row(
                "Completed",
                mark,
                format!("{} ({})", of(done), counted(status)),
            ));
        }
    }
    let stalled = conditions::get(&status.conditions, STALLED);
    if let Some(stalled) = stalled.filter(|stalled| stalled.status == "True")
        && let Some(current) = rows.iter_mut().find(|row| row.mark == Mark::Doing)
    {
        current.mark = Mark::Failed;
        current.detail = format!("{}: {}", stalled.reason, stalled.message);
    }
    rows
}

fn row(name: &str, mark: Mark, detail: String) -> Row {
    Row {
        name: name.to_owned(),
        mark,
        detail,
    }
}

/// Whether the controller has not looked at it yet.
pub(crate) fn is_unseen<G: Group>(group: &G) -> bool {
    group
        .status()
        .is_none_or(|status| status.observed_generation.is_none())
}

/// What to tell somebody who stops watching.
pub(crate) fn how_to_go_on(kind: Kind, target: &str) -> String {
    let watch = format!("Watch it with `kubectl spawn status {target}`, end it with");
    match kind {
        Kind::Sweep => {
            let name = target.split_once('/').map_or(target, |(_, name)| name);
            format!("{watch} `kubectl spawn sweep cancel {name}`.")
        }
        Kind::Array | Kind::Spore => format!("{watch} `kubectl spawn delete {target}`."),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{error::Exit, steps::tests::condition};

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(…) in place"
    )]
    pub(crate) fn array(status: Value) -> SporeArray {
        serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1",
            "kind": "SporeArray",
            "metadata": {"name": "search", "namespace": "lab", "generation": 1},
            "spec": {"replicas": 100, "template": {"instanceType": "t3.small", "ttl": "2h"}},
            "status": status,
        }))
        .unwrap()
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(…) in place"
    )]
    pub(crate) fn sweep(status: Value) -> SporeSweep {
        serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1",
            "kind": "SporeSweep",
            "metadata": {"name": "hyper", "namespace": "lab", "generation": 1},
            "spec": {
                "parallelism": 5, "launchInterval": "10s",
                "defaults": {"instance_type": "g5.xlarge"},
                "params": [{"alpha": 0.1}, {"alpha": 0.2, "name": "second"}],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn told(group: &impl Group, wait_for: WaitFor) -> String {
        let tell = |row: &Row| format!("{:?} {}: {}", row.mark, row.name, row.detail);
        rows(group, wait_for)
            .iter()
            .map(tell)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn progress_is_counted() {
        assert_eq!(
            told(&array(json!(null)), WaitFor::Ready),
            "Doing Accepted: "
        );
        let half = array(
            json!({"observedGeneration": 1, "state": "Launching", "conditions": [],
            "replicas": 100, "launched": 100, "ready": 40}),
        );
        insta::assert_snapshot!(told(&half, WaitFor::Ready), @"
        Done Accepted: 
        Done Launched: 100/100
        Doing Ready: 40/100
        ");
        let done = sweep(
            json!({"observedGeneration": 1, "state": "Failed", "conditions": [],
            "replicas": 2, "launched": 2, "succeeded": 1, "failed": 1}),
        );
        insta::assert_snapshot!(told(&done, WaitFor::Completion), @"
        Done Accepted: 
        Done Launched: 2/2
        Failed Completed: 2/2 (1 succeeded, 1 failed)
        ");
    }

    #[test]
    fn every_end_of_a_group_has_its_exit_code() {
        let end = |state: &str, stalled: &str| {
            let status = json!({"observedGeneration": 1, "state": state, "replicas": 2,
                "conditions": [condition("Stalled", stalled, "QuotaExceeded", "too many")]});
            let verdict = verdict(&sweep(status), WaitFor::Completion, "sweep/hyper");
            verdict.map(|verdict| verdict.map_err(|error| error.exit()))
        };
        assert_eq!(end("Running", "False"), None);
        assert_eq!(end("Succeeded", "False"), Some(Ok(())));
        assert_eq!(end("Failed", "False"), Some(Err(Exit::WorkloadFailed)));
        assert_eq!(end("Cancelled", "False"), Some(Err(Exit::Failure)));
        assert_eq!(end("Stalled", "True"), Some(Err(Exit::Capacity)));
    }

    #[test]
    fn readiness_ends_only_the_short_wait_and_only_for_the_present_spec() {
        let mut ready = array(json!({"observedGeneration": 1, "state": "Running",
            "conditions": [condition("Ready", "True", "Running", "")]}));
        assert!(matches!(verdict(&ready, WaitFor::Ready, "x"), Some(Ok(()))));
        assert!(verdict(&ready, WaitFor::Completion, "x").is_none());
        ready.metadata.generation = Some(2);
        assert!(verdict(&ready, WaitFor::Ready, "x").is_none());
    }

    #[test]
    fn what_is_asked_for_is_told_in_a_line() {
        assert_eq!(
            array(json!(null)).asked_for(),
            "100 of t3.small OnDemand for 2h"
        );
        assert_eq!(
            sweep(json!(null)).asked_for(),
            "2 rows, 5 at once, 10s between launches, on g5.xlarge"
        );
    }
}
