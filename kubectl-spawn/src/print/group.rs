//! An array or a sweep told to a person.

use jiff::{Timestamp, tz::TimeZone};
use kube::ResourceExt;
use spore_crds::{GroupCost, GroupState, GroupStatus, conditions};

use crate::{
    group::{Group, counted},
    kind::Kind,
    print::{
        describe::{Happened, conditions_table, events_table},
        table::Table,
        time,
    },
};

/// An array or a sweep as text; `members` is its table of members, if it is to be shown.
pub(crate) fn page<G: Group>(
    group: &G,
    members: &str,
    events: Result<&[Happened], &str>,
    now: Timestamp,
    zone: &TimeZone,
) -> String {
    let nothing = GroupStatus::default();
    let status = group.status().unwrap_or(&nothing);
    let mut text = head(group, status, now, zone);
    text.push_str(&counts(status));
    text.push_str(&failures(status, now));
    text.push_str(members);
    text.push_str(&conditions_table(&status.conditions, now));
    text.push_str(&events_table(events, now));
    text
}

/// `Label: text`, a line each, as people and scripts know it.
fn head<G: Group>(group: &G, status: &GroupStatus, now: Timestamp, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut say = |label: &str, what: &str| text.push_str(&format!("{label}: {what}\n"));
    say(
        match G::KIND {
            Kind::Sweep => "Sweep",
            Kind::Array | Kind::Spore => "Array",
        },
        &group.name_any(),
    );
    say("Namespace", &group.namespace().unwrap_or_default());
    say("Status", &state(group));
    if let Some(why) = why(status) {
        say("Why", &why);
    }
    if let Some(at) = status.retry_at.filter(|at| *at > now) {
        say("Next try", &time::moment(at, now));
    }
    say("Progress", &progress(status.launched, group.size()));
    say("Active", &format!("{} running", status.active));
    if G::KIND == Kind::Array {
        say("Ready", &status.ready.to_string());
    }
    say("Succeeded", &status.succeeded.to_string());
    say("Failed", &status.failed.to_string());
    if status.retried > 0 {
        say("Retried", &status.retried.to_string());
    }
    if let Some(at) = status
        .estimated_completion
        .filter(|_| status.ended.is_none())
    {
        say("Est. Completion", &time::local(at, now, zone));
    }
    if let Some(known) = &status.cost {
        say("Cost", &cost(known));
    }
    say("Asked for", &group.asked_for());
    if let Some(created) = group.creation_timestamp() {
        say("Created", &time::moment(created.0, now));
    }
    if let Some(started) = status.started_at {
        say("Started", &time::moment(started, now));
    }
    match (&status.ended, status.deadline) {
        (Some(ended), _) => say(
            "Ended",
            &format!(
                "{} {}: {}",
                time::moment(ended.at, now),
                ended.reason,
                ended.message
            ),
        ),
        (None, Some(deadline)) => say("Deadline", &time::moment(deadline, now)),
        (None, None) => {}
    }
    if let Some(asked) = group
        .extend_to()
        .filter(|to| status.deadline.is_some_and(|at| *to > at))
    {
        say(
            "Extension",
            &format!("{} asked for, not in effect yet", time::moment(asked, now)),
        );
    }
    text
}

/// What the members have cost: `$1.24 so far, $0.4 an hour`.
fn cost(cost: &GroupCost) -> String {
    let mut text = format!("${} so far", cost.accrued);
    if !cost.per_hour.is_zero() {
        text.push_str(&format!(", ${} an hour", cost.per_hour));
    }
    match cost.unpriced {
        0 => {}
        1 => text.push_str(", without 1 instance whose price is not known"),
        many => text.push_str(&format!(
            ", without {many} instances whose price is not known"
        )),
    }
    text
}

/// The state in capitals, as sweeps' scripts have always read it.
pub(crate) fn state<G: Group>(group: &G) -> String {
    group.state_word().map_or_else(
        || "not taken up by the controller yet".into(),
        |word| word.to_uppercase(),
    )
}

/// `20/50 launched (40.0%)`.
pub(crate) fn progress(launched: u32, size: Option<u32>) -> String {
    match size {
        Some(size) if size > 0 => {
            let percent = f64::from(launched) / f64::from(size) * 100.0;
            format!("{launched}/{size} launched ({percent:.1}%)")
        }
        Some(size) => format!("{launched}/{size} launched"),
        None => format!("{launched} launched"),
    }
}

/// Why it does not go on, in the controller's words.
fn why(status: &GroupStatus) -> Option<String> {
    let stalled = conditions::get(&status.conditions, conditions::STALLED);
    let ready = conditions::get(&status.conditions, conditions::READY);
    let telling = stalled
        .filter(|stalled| stalled.status == "True")
        .or_else(|| ready.filter(|ready| ready.status != "True" && status.ended.is_none()))?;
    Some(format!("{} ({})", telling.message, telling.reason))
}

/// Which indexes are where, and why members ended.
fn counts(status: &GroupStatus) -> String {
    let mut text = String::new();
    let sets = [
        ("active", &status.active_indexes),
        ("succeeded", &status.succeeded_indexes),
        ("failed", &status.failed_indexes),
    ];
    if sets.iter().any(|(_, set)| !set.is_empty()) {
        text.push_str("\nIndexes:\n");
        let mut table = Table::new(&["STATE", "COUNT", "INDEXES"]);
        for (state, set) in sets.iter().filter(|(_, set)| !set.is_empty()) {
            let cells = [
                (*state).to_owned(),
                set.len().to_string(),
                shortened(&set.to_string()),
            ];
            table.row(cells.map(Some).to_vec());
        }
        text.push_str(&table.render("  "));
    }
    if !status.reasons.is_empty() {
        text.push_str("\nEnds without success:\n");
        let mut table = Table::new(&["REASON", "COUNT"]);
        for (reason, count) in &status.reasons {
            table.row(vec![Some(reason.clone()), Some(count.to_string())]);
        }
        text.push_str(&table.render("  "));
    }
    text
}

/// A set of thousands of gaps is for programs.
fn shortened(set: &str) -> String {
    const LONGEST: usize = 100;
    match set.char_indices().nth(LONGEST) {
        None => set.to_owned(),
        Some((end, _)) => {
            let whole = set[..end].rfind(',').unwrap_or(end);
            format!("{},…", &set[..whole])
        }
    }
}

fn failures(status: &GroupStatus, now: Timestamp) -> String {
    if status.failures.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["INDEX", "ATTEMPT", "REASON", "AGO", "MESSAGE"]);
    for failure in &status.failures {
        table.row(vec![
            Some(failure.index.to_string()),
            Some(failure.attempt.to_string()),
            Some(failure.reason.clone()),
            Some(time::since(failure.at, now)),
            Some(failure.message.clone()),
        ]);
    }
    format!("\nLatest failures:\n{}", table.render("  "))
}

/// What came of it, in a line.
pub(crate) fn summary<G: Group>(group: &G) -> String {
    let name = group.reference();
    let nothing = GroupStatus::default();
    let status = group.status().unwrap_or(&nothing);
    let over = matches!(
        status.state,
        Some(GroupState::Succeeded | GroupState::Failed | GroupState::Cancelled)
    );
    if over {
        return format!("{name}: {}", counted(status));
    }
    let by = status
        .deadline
        .map(|deadline| format!(", gone by {}", time::clock(deadline)));
    format!(
        "{name} is ready: {}{}",
        group.asked_for(),
        by.unwrap_or_default()
    )
}

/// Many arrays and sweeps, a line each.
pub(crate) struct Groups {
    table: Table,
    everywhere: bool,
    now: Timestamp,
}

impl Groups {
    /// No line yet.
    pub(crate) fn new(everywhere: bool, now: Timestamp) -> Self {
        let mut columns = Vec::new();
        if everywhere {
            columns.push("NAMESPACE");
        }
        columns.extend([
            "NAME",
            "READY",
            "STATE",
            "TYPE",
            "LAUNCHED",
            "ACTIVE",
            "SUCCEEDED",
            "FAILED",
            "TTL-LEFT",
            "AGE",
        ]);
        Self {
            table: Table::new(&columns),
            everywhere,
            now,
        }
    }

    /// Adds a line.
    pub(crate) fn add<G: Group>(&mut self, group: &G) {
        let nothing = GroupStatus::default();
        let status = group.status().unwrap_or(&nothing);
        let known = status.state.is_some();
        let count = |count: u32| known.then(|| count.to_string());
        let ready = conditions::get(&status.conditions, conditions::READY);
        let left = match status.deadline {
            Some(deadline) if status.ended.is_none() && deadline > self.now => {
                Some(time::since(self.now, deadline))
            }
            Some(_) if status.ended.is_none() => Some("over".into()),
            Some(_) | None => None,
        };
        let mut cells = Vec::new();
        if self.everywhere {
            cells.push(group.namespace());
        }
        cells.extend([
            Some(group.reference().to_string()),
            ready.map(|ready| ready.status.clone()),
            group.state_word(),
            group.instance_type().map(ToOwned::to_owned),
            group.progress(),
            count(status.active),
            count(status.succeeded),
            count(status.failed),
            left,
            group
                .creation_timestamp()
                .map(|created| time::since(created.0, self.now)),
        ]);
        self.table.row(cells);
    }

    /// Whether there is no line.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The table.
    pub(crate) fn render(&self) -> String {
        self.table.render("")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        group::tests::{array, sweep},
        steps::tests::condition,
    };

    fn now() -> Timestamp {
        "2026-11-21T22:22:00Z".parse().unwrap()
    }

    #[test]
    fn a_sweep_is_told_as_it_always_was() {
        let running = sweep(json!({
            "observedGeneration": 1, "state": "Running", "replicas": 50, "launched": 20,
            "active": 5, "activeIndexes": "15-19", "succeeded": 14, "succeededIndexes": "0-13",
            "failed": 1, "failedIndexes": "14", "reasons": {"WorkloadFailed": 1},
            "estimatedCompletion": "2026-11-21T23:45:00Z",
            "cost": {"accrued": "1.24", "perHour": "0.4", "unpriced": 1, "asOf": "2026-11-21T22:20:00Z"},
            "conditions": [condition("Ready", "False", "Running", "5 of 50 rows run")],
            "failures": [{"index": 14, "attempt": 1, "reason": "WorkloadFailed",
                "message": "the workload failed with exit code 3", "at": "2026-11-21T22:20:00Z"}],
        }));
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        insta::assert_snapshot!(page(&running, "", Ok(&[]), now(), &zone), @"
        Sweep: hyper
        Namespace: lab
        Status: RUNNING
        Why: 5 of 50 rows run (Running)
        Progress: 20/50 launched (40.0%)
        Active: 5 running
        Succeeded: 14
        Failed: 1
        Est. Completion: 3:45 PM PST (in 1h 23m)
        Cost: $1.24 so far, $0.40 an hour, without 1 instance whose price is not known
        Asked for: 50 rows, 5 at once, 10s between launches, on g5.xlarge

        Indexes:
          STATE       COUNT   INDEXES
          active      5       15-19
          succeeded   14      0-13
          failed      1       14

        Ends without success:
          REASON           COUNT
          WorkloadFailed   1

        Latest failures:
          INDEX   ATTEMPT   REASON           AGO   MESSAGE
          14      1         WorkloadFailed   2m    the workload failed with exit code 3

        Conditions:
          TYPE    STATUS   REASON    SINCE   MESSAGE
          Ready   False    Running   12h     5 of 50 rows run

        Events: none
        ");
    }

    #[test]
    fn groups_are_listed_a_line_each_with_dashes_for_what_is_not_known() {
        let mut groups = Groups::new(false, now());
        groups.add(&array(json!({
            "state": "Running", "conditions": [condition("Ready", "True", "Running", "")],
            "replicas": 100, "launched": 100, "active": 98, "succeeded": 2,
            "deadline": "2026-11-22T00:00:00Z",
        })));
        groups.add(&sweep(json!(null)));
        insta::assert_snapshot!(groups.render(), @"
        NAME           READY   STATE     TYPE        LAUNCHED   ACTIVE   SUCCEEDED   FAILED   TTL-LEFT   AGE
        array/search   True    Running   t3.small    100/100    98       2           0        98m        -
        sweep/hyper    -       -         g5.xlarge   -          -        -           -        -          -
        ");
    }

    #[test]
    fn a_set_of_many_gaps_is_cut_between_ranges() {
        let set = (0..200)
            .map(|n| (2 * n).to_string())
            .collect::<Vec<_>>()
            .join(",");
        let cut = shortened(&set);
        assert!(cut.ends_with(",…") && cut.len() < 110, "{cut}");
        assert!(set.starts_with(cut.trim_end_matches('…')));
        assert_eq!(shortened("0-3,7"), "0-3,7");
    }
}
