//! `kubectl spawn schedule show`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;
use kube::ResourceExt;
use spore_crds::{
    ConcurrencyPolicy, Execution, ScheduleStatus, SporeSchedule, Template, conditions,
};

use super::{api, read, status_word};
use crate::{
    cli::{Format, Global},
    client::Cluster,
    cmd::status::events,
    complete,
    error::Error,
    print::{
        self,
        describe::{Facts, Happened, conditions_table, events_table},
        table::Table,
        time,
    },
};

/// How many coming times are told.
const COMING: usize = 3;

/// Show when a schedule is due, and what became of its executions
#[derive(Args, Debug)]
#[command(visible_aliases = ["describe", "status"])]
pub(crate) struct ShowArgs {
    /// Name of the schedule
    #[arg(add = ArgValueCompleter::new(complete::schedules))]
    name: String,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Shows.
pub(super) async fn run(args: ShowArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let raw = api::get_raw(&cluster, &args.name).await?;
    if let Some(format) = args.output {
        return api::print(raw, format);
    }
    let events = events(&cluster, &raw).await;
    let events = events.map_err(|error| error.to_string());
    let schedule = api::read(raw)?;
    let events = events.as_deref().map_err(String::as_str);
    print::out(&render(&schedule, events, time::now()))
}

fn render(schedule: &SporeSchedule, events: Result<&[Happened], &str>, now: Timestamp) -> String {
    let status = schedule.status.clone().unwrap_or_default();
    let mut facts = Facts(Vec::new());
    who(schedule, &status, &mut facts, now);
    when(schedule, &mut facts, now);
    how(schedule, &status, &mut facts, now);
    format!(
        "{}{}{}{}",
        facts.render(),
        history(&status.history, now),
        conditions_table(&status.conditions, now),
        events_table(events, now)
    )
}

fn who(schedule: &SporeSchedule, status: &ScheduleStatus, facts: &mut Facts, now: Timestamp) {
    facts.say("Name", schedule.name_any());
    facts.say("Namespace", schedule.namespace().unwrap_or_default());
    facts.say(
        "Status",
        status_word(schedule).unwrap_or("not taken up by the controller yet"),
    );
    if let Some(ready) = conditions::get(&status.conditions, conditions::READY) {
        facts.say("Why", format!("{} ({})", ready.message, ready.reason));
    }
    facts.say("Starts", what(&schedule.spec.template));
    if let Some(created) = schedule.creation_timestamp() {
        facts.say("Created", time::moment(created.0, now));
    }
}

fn what(template: &Template) -> String {
    let Template {
        metadata: _,
        instance,
        array,
        sweep,
    } = template;
    match (instance, array, sweep) {
        (Some(spec), ..) => match spec.get("instanceType").and_then(|kind| kind.as_str()) {
            Some(kind) => format!("a SporeInstance of type {kind}"),
            None => "a SporeInstance".into(),
        },
        (_, Some(spec), _) => match spec.get("replicas") {
            Some(replicas) => format!("a SporeArray of {replicas}"),
            None => "a SporeArray".into(),
        },
        (.., Some(_)) => "a SporeSweep".into(),
        (None, None, None) => "nothing".into(),
    }
}

fn when(schedule: &SporeSchedule, facts: &mut Facts, now: Timestamp) {
    let spec = &schedule.spec;
    let zone = &spec.time_zone;
    match (&spec.schedule, &spec.at) {
        (Some(pattern), _) => facts.say("Schedule", format!("{pattern} in {zone}")),
        (None, Some(at)) => facts.say("At", format!("{at} in {zone}")),
        (None, None) => {}
    }
    if let Some(end) = spec.end_after {
        facts.say("Ends", time::moment(end, now));
    }
    if status_word(schedule) != Some("active") {
        return;
    }
    let Some(calendar) = read(spec) else { return };
    let left = spec.max_executions.map_or(COMING, |most| {
        let done = schedule
            .status
            .as_ref()
            .map_or(0, |status| status.executions);
        usize::try_from(most.saturating_sub(done)).unwrap_or(COMING)
    });
    let mut times = std::iter::successors(calendar.next(now), |time| calendar.next(*time))
        .take_while(|time| spec.end_after.is_none_or(|end| *time <= end))
        .take(left.min(COMING));
    if let Some(next) = times.next() {
        facts.say("Next", time::moment(next, now));
    }
    let then = times.map(time::clock).collect::<Vec<_>>().join(", ");
    if !then.is_empty() {
        facts.say("Then", then);
    }
}

fn how(schedule: &SporeSchedule, status: &ScheduleStatus, facts: &mut Facts, now: Timestamp) {
    let spec = &schedule.spec;
    facts.say(
        "Executions",
        match spec.max_executions {
            Some(most) => format!(
                "{} of {most}, {} active",
                status.executions, status.active_count
            ),
            None => format!("{}, {} active", status.executions, status.active_count),
        },
    );
    facts.say(
        "If active",
        match spec.concurrency_policy {
            ConcurrencyPolicy::Allow => "the next starts beside it (Allow)",
            ConcurrencyPolicy::Forbid => "the next waits (Forbid)",
            ConcurrencyPolicy::Replace => "the next ends it first (Replace)",
        },
    );
    facts.say(
        "If late",
        match spec.starting_deadline {
            Some(deadline) => format!("started up to {deadline} later"),
            None => "started however late".into(),
        },
    );
    if let Some(last) = status.last_successful_time {
        facts.say("Last success", time::moment(last, now));
    }
}

/// The executions, the latest first.
fn history(entries: &[Execution], now: Timestamp) -> String {
    if entries.is_empty() {
        return "\nHistory: nothing yet\n".into();
    }
    let mut table = Table::new(&["TIME", "OUTCOME", "NAME", "ENDED", "MESSAGE"]);
    for entry in entries.iter().rev() {
        let Execution {
            time,
            name,
            outcome,
            ended_at,
            message,
        } = entry;
        table.row(vec![
            Some(time::clock(*time)),
            Some(format!("{outcome:?}")),
            name.clone(),
            ended_at.map(|at| format!("{} ago", time::since(at, now))),
            message.clone(),
        ]);
    }
    format!("\nHistory:\n{}", table.render("  "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cmd::schedule::list::tests::schedule;

    #[test]
    fn it_tells_what_comes_and_what_was() {
        let spec = json!({
            "schedule": "0 8 * * *", "timeZone": "Europe/Berlin", "maxExecutions": 4,
            "concurrencyPolicy": "Forbid", "startingDeadline": "2h",
        });
        let status = json!({
            "state": "Active",
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Scheduled", "message": "the next execution is at 2026-11-22T07:00:00Z",
                "lastTransitionTime": "2026-11-20T10:00:00Z",
            }],
            "executions": 2, "activeCount": 1,
            "lastSuccessfulTime": "2026-11-20T08:00:00Z",
            "history": [
                {"time": "2026-11-20T07:00:00Z", "name": "s-1", "outcome": "Succeeded", "endedAt": "2026-11-20T08:00:00Z", "message": "all rows have succeeded"},
                {"time": "2026-11-21T07:00:00Z", "name": "s-2", "outcome": "Active"},
            ],
        });
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let text = render(&schedule("s", spec, status), Ok(&[]), now);
        insta::assert_snapshot!(text, @"
        Name:          s
        Namespace:     lab
        Status:        active
        Why:           the next execution is at 2026-11-22T07:00:00Z (Scheduled)
        Starts:        a SporeSweep
        Created:       2026-11-20T10:00:00Z (24h ago)
        Schedule:      0 8 * * * in Europe/Berlin
        Next:          2026-11-22T07:00:00Z (in 21h)
        Then:          2026-11-23T07:00:00Z
        Executions:    2 of 4, 1 active
        If active:     the next waits (Forbid)
        If late:       started up to 2h later
        Last success:  2026-11-20T08:00:00Z (26h ago)

        History:
          TIME                   OUTCOME     NAME   ENDED     MESSAGE
          2026-11-21T07:00:00Z   Active      s-2    -         -
          2026-11-20T07:00:00Z   Succeeded   s-1    26h ago   all rows have succeeded

        Conditions:
          TYPE    STATUS   REASON      SINCE   MESSAGE
          Ready   True     Scheduled   24h     the next execution is at 2026-11-22T07:00:00Z

        Events: none
        ");
    }
}
