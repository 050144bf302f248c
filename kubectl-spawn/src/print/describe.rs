//! A spore told to a person.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use spore_core::{
    duration::Duration,
    lifecycle::{
        Action, CompletionPolicy, End, EndReason, IdlePolicy, Policy, Signals, Verdict, decide,
    },
};
use spore_crds::{SporeInstance, SporeInstanceStatus, State, conditions};

use crate::{
    cmd::list::{cost, region, state_word},
    print::{table::Table, time},
};

/// An Event.
pub(crate) struct Happened {
    /// When it was last seen.
    pub(crate) at: Option<Timestamp>,
    /// How often.
    pub(crate) count: i32,
    /// Whether it is a warning.
    pub(crate) warning: bool,
    /// One CamelCase word.
    pub(crate) reason: String,
    /// A sentence.
    pub(crate) note: String,
}

/// A spore as text.
pub(crate) fn spore(
    spore: &SporeInstance,
    events: Result<&[Happened], &str>,
    now: Timestamp,
) -> String {
    let nothing = SporeInstanceStatus::default();
    let status = spore.status.as_ref().unwrap_or(&nothing);
    let mut facts = Facts(Vec::new());
    who(spore, status, &mut facts, now);
    instance(status, &mut facts, now);
    workload(spore, status, &mut facts, now);
    end(spore, status, &mut facts, now);
    money(status, &mut facts, now);
    agent(status, &mut facts, now);
    format!(
        "{}{}{}",
        facts.render(),
        conditions_table(&status.conditions, now),
        events_table(events, now)
    )
}

/// Labels and what is to be said of them.
pub(crate) struct Facts(pub(crate) Vec<(&'static str, String)>);

impl Facts {
    /// Adds one.
    pub(crate) fn say(&mut self, label: &'static str, text: impl Into<String>) {
        self.0.push((label, text.into()));
    }

    /// The labels in a column, and what is said of them in another.
    pub(crate) fn render(&self) -> String {
        let width = self
            .0
            .iter()
            .map(|(label, _)| label.len())
            .max()
            .unwrap_or(0)
            + 3;
        let line = |(label, text): &(&str, String)| {
            let label = format!("{label}:");
            format!("{label:width$}{text}\n")
        };
        self.0.iter().map(line).collect()
    }
}

fn who(spore: &SporeInstance, status: &SporeInstanceStatus, facts: &mut Facts, now: Timestamp) {
    facts.say("Name", spore.name_any());
    facts.say("Namespace", spore.namespace().unwrap_or_default());
    facts.say(
        "State",
        state_word(spore).unwrap_or_else(|| "not taken up by the controller yet".into()),
    );
    if let Some(why) = why(status) {
        facts.say("Why", why);
    }
    if let Some(at) = status.retry_at.filter(|at| *at > now) {
        facts.say("Next try", time::moment(at, now));
    }
    facts.say("Asked for", asked_for(spore));
    if let Some(created) = spore.creation_timestamp() {
        facts.say("Created", time::moment(created.0, now));
    }
}

/// Why it is not ready, in the controller's words.
fn why(status: &SporeInstanceStatus) -> Option<String> {
    let stalled = conditions::get(&status.conditions, conditions::STALLED);
    let ready = conditions::get(&status.conditions, conditions::READY);
    let telling = stalled
        .filter(|stalled| stalled.status == "True")
        .or_else(|| ready.filter(|ready| ready.status != "True"))?;
    Some(format!("{} ({})", telling.message, telling.reason))
}

fn asked_for(spore: &SporeInstance) -> String {
    let spec = &spore.spec;
    let mut parts = vec![format!("{} {:?}", spec.instance_type, spec.market)];
    parts.extend(region(spore).map(|region| format!("in {region}")));
    parts.extend(spec.ttl.map(|ttl| format!("for {ttl}")));
    parts.join(" ")
}

fn instance(status: &SporeInstanceStatus, facts: &mut Facts, now: Timestamp) {
    let Some(instance) = &status.instance else {
        return;
    };
    let mut text = instance.id.clone();
    for (before, part) in [
        (" ", &instance.state),
        (", ", &instance.type_),
        (" in ", &instance.zone),
        (", ", &instance.image_id),
    ] {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
        }
    }
    facts.say("Instance", text);
    let addresses = [
        ("public", &instance.public_ip),
        ("private", &instance.private_ip),
    ];
    let known = addresses
        .iter()
        .filter_map(|(kind, ip)| ip.as_ref().map(|ip| format!("{ip} ({kind})")));
    let known = known.collect::<Vec<_>>();
    if !known.is_empty() {
        facts.say("Addresses", known.join(", "));
    }
    if let Some(launched) = instance.launched_at {
        facts.say("Launched", time::moment(launched, now));
    }
}

fn workload(
    spore: &SporeInstance,
    status: &SporeInstanceStatus,
    facts: &mut Facts,
    now: Timestamp,
) {
    if !spore.spec.command.is_empty() {
        facts.say("Command", command(&spore.spec.command));
    }
    let Some(workload) = &status.workload else {
        return;
    };
    let mut text = workload.phase.clone().unwrap_or_else(|| "not known".into());
    if let Some(code) = workload.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if let Some(message) = &workload.message {
        text.push_str(&format!(": {message}"));
    }
    facts.say("Workload", text);
    if let Some(started) = workload.started_at {
        facts.say("Started", time::moment(started, now));
    }
    if let Some(finished) = workload.finished_at {
        facts.say("Finished", time::moment(finished, now));
    }
}

/// A command as one would type it.
fn command(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = |word: &String| match word.chars().all(plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn end(spore: &SporeInstance, status: &SporeInstanceStatus, facts: &mut Facts, now: Timestamp) {
    if let Some(ended) = &status.ended {
        facts.say(
            "Ended",
            format!(
                "{} {}: {}",
                time::moment(ended.at, now),
                ended.reason,
                ended.message
            ),
        );
        return;
    }
    if let Some(deadline) = status.deadline {
        facts.say("Deadline", time::moment(deadline, now));
        if let Some(asked) = spore.spec.extend_to.filter(|asked| *asked > deadline) {
            facts.say(
                "Extension",
                format!("{} asked for, not in effect yet", time::moment(asked, now)),
            );
        }
    }
    if let Some(idle) = &spore.spec.idle {
        let action = done(idle.action);
        facts.say(
            "Idle",
            match status.idle_since {
                Some(since) => format!(
                    "for {}, {action} after {}",
                    time::since(since, now),
                    idle.timeout
                ),
                None => format!("no, {action} after {} of it", idle.timeout),
            },
        );
    }
    let live = !matches!(
        status.state,
        None | Some(State::Pending | State::Launching | State::Stalled)
    );
    if let Some(next) = next_end(spore, status, now).filter(|_| live) {
        facts.say("Next end", describe_end(next, now));
    }
}

/// What ends the spore if nothing changes, by the function by which controller and agent end it.
fn next_end(spore: &SporeInstance, status: &SporeInstanceStatus, now: Timestamp) -> Option<End> {
    let spec = &spore.spec;
    let policy = Policy {
        idle: spec.idle.as_ref().map(|idle| IdlePolicy {
            timeout: idle.timeout,
            action: idle.action,
        }),
        on_complete: CompletionPolicy {
            action: spec.on_complete.action,
            delay: spec.on_complete.delay,
        },
    };
    let signals = Signals {
        completed_at: status
            .workload
            .as_ref()
            .and_then(|workload| workload.finished_at),
        deadline: status.deadline,
        idle_since: status.idle_since,
        ..Signals::default()
    };
    match decide(now, &policy, &signals) {
        Verdict::End(end) => Some(end),
        Verdict::Continue { next, .. } => next,
    }
}

fn describe_end(end: End, now: Timestamp) -> String {
    let why = match end.reason {
        EndReason::Completed => "its work is done",
        EndReason::TTLExpired => "its time is over",
        EndReason::Idle => "it does nothing",
        EndReason::SpotInterruption
        | EndReason::CostLimit
        | EndReason::UserRequested
        | EndReason::EndedOutside
        | EndReason::PoweredOff
        | EndReason::HostFailure => end.reason.as_str(),
    };
    let action = done(end.action);
    if end.at > now {
        let left = time::rough(Duration::between(now, end.at));
        format!("{action} in {left} because {why} then")
    } else {
        format!("{action} now because {why}")
    }
}

const fn done(action: Action) -> &'static str {
    match action {
        Action::Terminate => "terminated",
        Action::Stop => "stopped",
    }
}

fn money(status: &SporeInstanceStatus, facts: &mut Facts, now: Timestamp) {
    let Some(price) = &status.price else { return };
    let Some(per_hour) = price.per_hour else {
        let why = price.unknown.as_deref().unwrap_or("nobody says");
        facts.say("Price", format!("unknown: {why}"));
        return;
    };
    let mut text = format!("${per_hour} an hour");
    if let (Some(source), Some(at)) = (&price.source, price.as_of) {
        text.push_str(&format!(" ({source}, {})", time::clock(at)));
    }
    facts.say("Price", text);
    if let Some(cost) = cost(status, now) {
        facts.say("Cost", format!("${cost}, disks and traffic not counted"));
    }
}

fn agent(status: &SporeInstanceStatus, facts: &mut Facts, now: Timestamp) {
    let Some(agent) = &status.agent else { return };
    let mut text = format!(
        "spored {}",
        agent.version.as_deref().unwrap_or("of unknown version")
    );
    if let Some(reported) = agent.reported_at {
        text.push_str(&format!(", last wrote {} ago", time::since(reported, now)));
    }
    if let (Some(armed), Some(deadline)) = (agent.armed_deadline, status.deadline)
        && armed < deadline
    {
        text.push_str(&format!(", still set for {}", time::clock(armed)));
    }
    facts.say("Agent", text);
}

/// The conditions with their heading; nothing if there are none.
pub(crate) fn conditions_table(conditions: &[Condition], now: Timestamp) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    let known = |type_: &str| {
        spore_crds::conditions::ALL
            .iter()
            .position(|known| *known == type_)
    };
    let mut sorted = conditions.iter().collect::<Vec<_>>();
    sorted.sort_by_key(|condition| known(&condition.type_).unwrap_or(usize::MAX));
    for condition in sorted {
        table.row(vec![
            Some(condition.type_.clone()),
            Some(condition.status.clone()),
            Some(condition.reason.clone()),
            Some(time::since(condition.last_transition_time.0, now)),
            Some(condition.message.clone()),
        ]);
    }
    format!("\nConditions:\n{}", table.render("  "))
}

/// The Events with their heading.
pub(crate) fn events_table(events: Result<&[Happened], &str>, now: Timestamp) -> String {
    let events = match events {
        Err(why) => return format!("\nEvents: not shown: {why}\n"),
        Ok([]) => return "\nEvents: none\n".into(),
        Ok(events) => events,
    };
    let mut table = Table::new(&["LAST", "TYPE", "REASON", "COUNT", "NOTE"]);
    for event in events {
        table.row(vec![
            event.at.map(|at| time::since(at, now)),
            Some(if event.warning { "Warning" } else { "Normal" }.into()),
            Some(event.reason.clone()),
            Some(event.count.to_string()),
            Some(event.note.clone()),
        ]);
    }
    format!("\nEvents:\n{}", table.render("  "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::tests::{self, condition};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_running_spore_is_told_with_what_ends_it_first() {
        let mut running = tests::spore(json!({
            "state": "Running",
            "deadline": "2026-11-21T18:00:00Z",
            "idleSince": "2026-11-21T09:50:00Z",
            "instance": {"id": "i-0123", "state": "running", "type": "g5.xlarge", "zone": "us-east-1a",
                "imageId": "ami-1", "publicIP": "1.2.3.4", "privateIP": "10.0.0.1", "launchedAt": "2026-11-21T09:00:00Z"},
            "workload": {"phase": "Running", "startedAt": "2026-11-21T09:01:00Z"},
            "price": {"perHour": "1.006", "market": "OnDemand", "source": "AWS Price List", "asOf": "2026-11-21T08:59:00Z"},
            "cost": {"accrued": "0.1", "asOf": "2026-11-21T09:05:00Z", "runningSince": "2026-11-21T09:00:00Z"},
            "agent": {"version": "0.1.0", "reportedAt": "2026-11-21T09:55:00Z", "armedDeadline": "2026-11-21T17:00:00Z"},
            "conditions": [condition("AgentReady", "True", "Reporting", "spored 0.1.0"), condition("Ready", "True", "Running", "it runs")],
        }));
        running.spec.command = ["sh", "-c", "sleep 1; exit 0"].map(Into::into).to_vec();
        running.spec.idle =
            serde_json::from_value(json!({"timeout": "30m", "action": "Stop"})).unwrap();
        let events = [Happened {
            at: Some("2026-11-21T09:00:00Z".parse().unwrap()),
            count: 2,
            warning: false,
            reason: "Launched".into(),
            note: "EC2 gave i-0123".into(),
        }];
        insta::assert_snapshot!(spore(&running, Ok(&events), now()), @"
        Name:       train
        Namespace:  lab
        State:      Running
        Asked for:  g5.xlarge OnDemand
        Instance:   i-0123 running, g5.xlarge in us-east-1a, ami-1
        Addresses:  1.2.3.4 (public), 10.0.0.1 (private)
        Launched:   2026-11-21T09:00:00Z (60m ago)
        Command:    sh -c 'sleep 1; exit 0'
        Workload:   Running
        Started:    2026-11-21T09:01:00Z (59m ago)
        Deadline:   2026-11-21T18:00:00Z (in 8h)
        Idle:       for 10m, stopped after 30m
        Next end:   stopped in 20m because it does nothing then
        Price:      $1.006 an hour (AWS Price List, 2026-11-21T08:59:00Z)
        Cost:       $1.006, disks and traffic not counted
        Agent:      spored 0.1.0, last wrote 5m ago, still set for 2026-11-21T17:00:00Z

        Conditions:
          TYPE         STATUS   REASON      SINCE   MESSAGE
          Ready        True     Running     0s      it runs
          AgentReady   True     Reporting   0s      spored 0.1.0

        Events:
          LAST   TYPE     REASON     COUNT   NOTE
          60m    Normal   Launched   2       EC2 gave i-0123
        ");
    }

    #[test]
    fn a_stalled_spore_says_why_and_when_it_is_tried_again() {
        let stalled = tests::spore(json!({
            "state": "Stalled",
            "retryAt": "2026-11-21T10:01:00Z",
            "conditions": [
                condition("Ready", "False", "QuotaExceeded", "too many"),
                condition("Stalled", "True", "QuotaExceeded", "too many vCPUs"),
            ],
        }));
        let text = spore(&stalled, Err("not allowed"), now());
        assert!(
            text.contains("Why:        too many vCPUs (QuotaExceeded)\n"),
            "{text}"
        );
        assert!(
            text.contains("Next try:   2026-11-21T10:01:00Z (in 60s)\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\nEvents: not shown: not allowed\n"),
            "{text}"
        );
    }

    #[test]
    fn a_price_that_is_not_known_is_said_to_be_so() {
        let priced = tests::spore(json!({
            "price": {"market": "OnDemand", "unknown": "GetProducts in us-east-1: not allowed"},
        }));
        let text = spore(&priced, Ok(&[]), now());
        let line = "Price:      unknown: GetProducts in us-east-1: not allowed\n";
        assert!(text.contains(line) && !text.contains("Cost:"), "{text}");
    }

    #[test]
    fn an_ended_spore_says_why_it_ended_and_nothing_of_what_would_end_it() {
        let ended = tests::spore(json!({
            "state": "Succeeded",
            "deadline": "2026-11-21T18:00:00Z",
            "workload": {"phase": "Succeeded", "exitCode": 0, "message": "loss 0.1"},
            "ended": {"reason": "Completed", "at": "2026-11-21T09:00:00Z", "message": "its work is done"},
        }));
        let text = spore(&ended, Ok(&[]), now());
        assert!(
            text.contains("Workload:   Succeeded, exit code 0: loss 0.1\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "Ended:      2026-11-21T09:00:00Z (60m ago) Completed: its work is done\n"
            ),
            "{text}"
        );
        assert!(
            !text.contains("Next end") && !text.contains("Deadline"),
            "{text}"
        );
    }

    #[test]
    fn a_spore_that_nobody_looked_at_says_so() {
        let text = spore(&tests::spore(json!(null)), Ok(&[]), now());
        assert!(
            text.contains("not taken up by the controller yet"),
            "{text}"
        );
        assert!(text.ends_with("\nEvents: none\n"), "{text}");
    }
}
