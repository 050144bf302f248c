//! How far a launch has come, read from its status: the rows that `--wait` shows, and when the wait
//! is over.

use clap::ValueEnum;
use kube::ResourceExt;
use spore_crds::{SporeInstance, SporeInstanceStatus, conditions};

use crate::{
    error::Error,
    progress::{Mark, Row},
};

/// What is said if the controller takes no notice.
pub(crate) const UNSEEN: &str = "The controller has not taken it up yet. Does it run? `kubectl get pods -A -l app.kubernetes.io/name=spore`";

/// What a launch can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// The instance runs and its agent reports
    Ready,
    /// The work is done
    Completion,
}

/// Whether the controller has not looked at a spore yet.
pub(crate) fn is_unseen(spore: &SporeInstance) -> bool {
    spore
        .status
        .as_ref()
        .is_none_or(|status| status.observed_generation.is_none())
}

/// What to tell somebody who stops watching.
pub(crate) fn how_to_go_on(target: &str) -> String {
    format!(
        "Watch it with `kubectl spawn status {target}`, end it with `kubectl spawn delete {target}`."
    )
}

/// Whether the wait is over, and how.
pub(crate) fn verdict(
    spore: &SporeInstance,
    wait_for: WaitFor,
    target: &str,
) -> Option<Result<(), Error>> {
    let status = spore.status.as_ref()?;
    if status.observed_generation != spore.metadata.generation {
        return None;
    }
    let name = spore.name_any();
    let is = |type_| conditions::is_true(&status.conditions, type_);
    if let Some(work) = work(status) {
        return match (work, wait_for) {
            (Ok(()), WaitFor::Completion) => Some(Ok(())),
            (Ok(()), WaitFor::Ready) if status.ended.is_some() || is(conditions::READY) => {
                Some(Ok(()))
            }
            (Ok(()), WaitFor::Ready) => None,
            (Err(message), _) => Some(Err(Error::WorkloadFailed {
                name,
                target: target.to_owned(),
                message,
            })),
        };
    }
    if let Some(ended) = &status.ended {
        let advice = format!("`kubectl spawn status {target}` shows what is known of it.");
        return Some(Err(Error::Ended {
            name,
            message: ended.message.clone(),
            advice,
        }));
    }
    if let Some(stalled) = conditions::get(&status.conditions, conditions::STALLED)
        && stalled.status == "True"
    {
        return Some(Err(Error::Stalled {
            name,
            target: target.to_owned(),
            reason: stalled.reason.clone(),
            message: stalled.message.clone(),
        }));
    }
    (wait_for == WaitFor::Ready && is(conditions::READY)).then_some(Ok(()))
}

/// How the work came out, if it is done.
fn work(status: &SporeInstanceStatus) -> Option<Result<(), String>> {
    let succeeded = conditions::get(&status.conditions, conditions::SUCCEEDED)?;
    match (succeeded.status.as_str(), succeeded.reason.as_str()) {
        ("True", _) => Some(Ok(())),
        ("False", "WorkloadFailed") => Some(Err(succeeded.message.clone())),
        _ => None,
    }
}

/// The rows that tell how far a launch has come.
pub(crate) fn rows(spore: &SporeInstance, wait_for: WaitFor) -> Vec<Row> {
    let status = spore.status.clone().unwrap_or_default();
    let mut rows = vec![
        accepted(spore),
        launched(&status),
        booted(&status),
        agent(&status),
    ];
    if wait_for == WaitFor::Completion {
        rows.push(completed(&status));
    }
    in_turn(&mut rows, &status);
    rows
}

fn accepted(spore: &SporeInstance) -> Row {
    let mark = if is_unseen(spore) {
        Mark::Doing
    } else {
        Mark::Done
    };
    row("Accepted", mark, String::new())
}

fn launched(status: &SporeInstanceStatus) -> Row {
    match &status.instance {
        Some(instance) => {
            let zone = instance
                .zone
                .as_ref()
                .map(|zone| format!(" in {zone}"))
                .unwrap_or_default();
            row("Launched", Mark::Done, format!("{}{zone}", instance.id))
        }
        None => row("Launched", Mark::Ahead, String::new()),
    }
}

fn booted(status: &SporeInstanceStatus) -> Row {
    let state = status
        .instance
        .as_ref()
        .and_then(|instance| instance.state.as_deref());
    match state {
        None | Some("pending") => row("Running", Mark::Ahead, String::new()),
        Some(_) => {
            let address = status.instance.as_ref().and_then(|instance| {
                instance
                    .public_ip
                    .clone()
                    .or_else(|| instance.private_ip.clone())
            });
            row("Running", Mark::Done, address.unwrap_or_default())
        }
    }
}

fn agent(status: &SporeInstanceStatus) -> Row {
    match &status.agent {
        Some(agent) => {
            let version = agent
                .version
                .as_ref()
                .map(|version| format!("spored {version}"));
            row("Agent ready", Mark::Done, version.unwrap_or_default())
        }
        None => row("Agent ready", Mark::Ahead, String::new()),
    }
}

fn completed(status: &SporeInstanceStatus) -> Row {
    let message = conditions::get(&status.conditions, conditions::SUCCEEDED)
        .map(|succeeded| succeeded.message.clone())
        .unwrap_or_default();
    match work(status) {
        Some(Ok(())) => row("Completed", Mark::Done, message),
        Some(Err(_)) => row("Completed", Mark::Failed, message),
        None => row("Completed", Mark::Ahead, String::new()),
    }
}

/// The first row that is not done is the one under way: it says what the controller says, or that it
/// cannot be done.
fn in_turn(rows: &mut [Row], status: &SporeInstanceStatus) {
    let Some(current) = rows.iter_mut().find(|row| row.mark != Mark::Done) else {
        return;
    };
    if current.mark == Mark::Failed {
        return;
    }
    let stalled = conditions::get(&status.conditions, conditions::STALLED)
        .filter(|stalled| stalled.status == "True");
    let (mark, said) = match (stalled, &status.ended) {
        (_, Some(ended)) => (Mark::Failed, Some(ended.message.clone())),
        (Some(stalled), None) => (
            Mark::Failed,
            Some(format!("{}: {}", stalled.reason, stalled.message)),
        ),
        (None, None) => {
            let ready = conditions::get(&status.conditions, conditions::READY);
            (Mark::Doing, ready.map(|ready| ready.message.clone()))
        }
    };
    current.mark = mark;
    current.detail = said.unwrap_or_default();
}

fn row(name: &str, mark: Mark, detail: String) -> Row {
    Row {
        name: name.to_owned(),
        mark,
        detail,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::Exit;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(…) in place"
    )]
    pub(crate) fn spore(status: Value) -> SporeInstance {
        serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1",
            "kind": "SporeInstance",
            "metadata": {"name": "train", "namespace": "lab", "generation": 1},
            "spec": {"instanceType": "g5.xlarge"},
            "status": status,
        }))
        .unwrap()
    }

    pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-21T10:00:00Z", "observedGeneration": 1,
        })
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(…) in place"
    )]
    fn with(conditions: Value, more: Value) -> SporeInstance {
        let mut status = json!({"observedGeneration": 1, "conditions": conditions});
        status
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spore(status)
    }

    fn told(spore: &SporeInstance, wait_for: WaitFor) -> String {
        let tell = |row: &Row| format!("{:?} {}: {}", row.mark, row.name, row.detail);
        rows(spore, wait_for)
            .iter()
            .map(tell)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_first_row_that_is_not_done_says_what_the_controller_says() {
        assert!(told(&spore(json!(null)), WaitFor::Ready).starts_with("Doing Accepted"));
        let waiting = with(
            json!([condition(
                "Ready",
                "False",
                "WaitingForAgent",
                "waiting for its agent"
            )]),
            json!({"instance": {"id": "i-0a", "state": "running", "zone": "us-east-1a", "publicIP": "1.2.3.4"}}),
        );
        insta::assert_snapshot!(told(&waiting, WaitFor::Completion), @"
        Done Accepted: 
        Done Launched: i-0a in us-east-1a
        Done Running: 1.2.3.4
        Doing Agent ready: waiting for its agent
        Ahead Completed:
        ");
    }

    #[test]
    fn a_stalled_spore_ends_the_wait_with_the_code_of_its_reason() {
        let stalled = with(
            json!([condition("Stalled", "True", "QuotaExceeded", "too many")]),
            json!({}),
        );
        assert!(
            told(&stalled, WaitFor::Ready).contains("Failed Launched: QuotaExceeded: too many")
        );
        let error = verdict(&stalled, WaitFor::Completion, "train")
            .unwrap()
            .unwrap_err();
        assert_eq!(error.exit(), Exit::Capacity);
    }

    #[test]
    fn a_status_for_an_older_spec_decides_nothing() {
        let mut stale = with(
            json!([condition("Ready", "True", "Running", "")]),
            json!({}),
        );
        stale.metadata.generation = Some(2);
        assert!(verdict(&stale, WaitFor::Ready, "train").is_none());
    }

    #[test]
    fn a_failed_workload_fails_either_wait() {
        let failed = with(
            json!([
                condition("Ready", "True", "Running", ""),
                condition(
                    "Succeeded",
                    "False",
                    "WorkloadFailed",
                    "the workload failed with exit code 3"
                ),
            ]),
            json!({}),
        );
        for wait_for in [WaitFor::Ready, WaitFor::Completion] {
            let error = verdict(&failed, wait_for, "train").unwrap().unwrap_err();
            assert_eq!(error.exit(), Exit::WorkloadFailed);
        }
    }

    #[test]
    fn an_end_before_completion_is_no_success() {
        let ended = json!({"ended": {"reason": "TTLExpired", "at": "2026-11-21T10:00:00Z", "message": "the deadline passed"}});
        let ended = with(
            json!([
                condition("Ready", "True", "Finished", ""),
                condition(
                    "Succeeded",
                    "False",
                    "EndedBeforeCompletion",
                    "the deadline passed"
                ),
            ]),
            ended,
        );
        for wait_for in [WaitFor::Ready, WaitFor::Completion] {
            let error = verdict(&ended, wait_for, "train").unwrap().unwrap_err();
            assert_eq!(error.exit(), Exit::Failure);
        }
    }

    #[test]
    fn success_ends_the_wait_and_readiness_alone_ends_only_the_short_one() {
        let ready = with(
            json!([condition("Ready", "True", "Running", "")]),
            json!({}),
        );
        assert!(matches!(
            verdict(&ready, WaitFor::Ready, "train"),
            Some(Ok(()))
        ));
        assert!(verdict(&ready, WaitFor::Completion, "train").is_none());
        let done = with(
            json!([
                condition("Ready", "False", "Terminating", ""),
                condition("Succeeded", "True", "WorkloadSucceeded", ""),
            ]),
            json!({}),
        );
        assert!(matches!(
            verdict(&done, WaitFor::Completion, "train"),
            Some(Ok(()))
        ));
        assert!(verdict(&done, WaitFor::Ready, "train").is_none());
    }
}
