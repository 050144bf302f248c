//! `kubectl spawn schedule pause` and `resume`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;
use kube::ResourceExt;
use spore_crds::{ScheduleState, SporeSchedule};

use super::{api, name_of, next, read};
use crate::{
    cli::{Format, Global},
    client::Cluster,
    complete,
    error::Error,
    print::{self, time},
};

/// Start nothing until it is resumed; what runs goes on
#[derive(Args, Debug)]
#[command(visible_alias = "suspend")]
pub(crate) struct PauseArgs {
    /// Name of the schedule
    #[arg(add = ArgValueCompleter::new(complete::schedules))]
    name: String,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Let a paused schedule go on
#[derive(Args, Debug)]
#[command(after_help = "\
The latest time that was missed in the meantime is made up for at once, unless its starting deadline has
passed.")]
pub(crate) struct ResumeArgs {
    /// Name of the schedule
    #[arg(add = ArgValueCompleter::new(complete::schedules))]
    name: String,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Pauses.
pub(super) async fn pause(args: PauseArgs, global: &Global) -> Result<(), Error> {
    let PauseArgs { name, output } = args;
    switch(&name, output, global, true).await
}

/// Resumes.
pub(super) async fn resume(args: ResumeArgs, global: &Global) -> Result<(), Error> {
    let ResumeArgs { name, output } = args;
    switch(&name, output, global, false).await
}

async fn switch(
    name: &str,
    output: Option<Format>,
    global: &Global,
    suspend: bool,
) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let schedule = api::get(&cluster, name).await?;
    if !suspend {
        may_go_on(&schedule)?;
    }
    let written = api::suspend(&cluster, &schedule, suspend).await?;
    match output {
        Some(format) => api::print(written, format),
        None => print::line(&told(&schedule, suspend, time::now())),
    }
}

fn may_go_on(schedule: &SporeSchedule) -> Result<(), Error> {
    let status = schedule.status.as_ref();
    let finished = status.is_some_and(|status| status.state == Some(ScheduleState::Finished));
    if !finished {
        return Ok(());
    }
    let message = status
        .and_then(|status| {
            spore_crds::conditions::get(&status.conditions, spore_crds::conditions::READY)
        })
        .map(|ready| ready.message.clone())
        .unwrap_or_default();
    Err(Error::Ended {
        name: schedule.name_any(),
        message,
        advice: "Raise spec.maxExecutions or move spec.endAfter or spec.at, or create another."
            .into(),
    })
}

/// What is said: what happened, and what happens next.
fn told(schedule: &SporeSchedule, suspend: bool, now: Timestamp) -> String {
    let name = name_of(schedule);
    let active = schedule
        .status
        .as_ref()
        .map_or(0, |status| status.active_count);
    match (suspend, schedule.spec.suspend) {
        (true, true) => format!("{name} is paused already"),
        (true, false) if active > 0 => {
            format!("{name} paused; {active} active, which goes on to its end")
        }
        (true, false) => format!("{name} paused"),
        (false, false) => format!("{name} is not paused"),
        (false, true) => {
            let soon = missed(schedule, now)
                .map(|time| {
                    format!(
                        "; the execution for {}, missed in the meantime, starts now",
                        time::clock(time)
                    )
                })
                .unwrap_or_default();
            let next = next(&schedule.spec, now)
                .map(|next| format!("; next execution: {}", time::moment(next, now)))
                .unwrap_or_default();
            format!("{name} resumed{soon}{next}")
        }
    }
}

/// The latest time that was missed and is made up for when the schedule goes on.
fn missed(schedule: &SporeSchedule, now: Timestamp) -> Option<Timestamp> {
    let spec = &schedule.spec;
    let status = schedule.status.clone().unwrap_or_default();
    let until = spec.end_after.map_or(now, |end| end.min(now));
    let latest = read(spec)?.latest(until)?;
    let recorded = status.history.iter().map(|entry| entry.time);
    let since = recorded
        .chain(status.last_schedule_time)
        .chain(schedule.creation_timestamp().map(|created| created.0))
        .max()?;
    let deadline = spec.starting_deadline.map(std::time::Duration::from);
    let too_late = deadline.is_some_and(|deadline| latest + deadline < now);
    (latest > since && !too_late).then_some(latest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cmd::schedule::list::tests::schedule;

    fn now() -> Timestamp {
        "2026-11-21T10:30:00Z".parse().unwrap()
    }

    #[test]
    fn what_follows_is_said() {
        let hourly = |suspend: bool, deadline: Option<&str>, active: u32| {
            let spec =
                json!({"schedule": "0 * * * *", "suspend": suspend, "startingDeadline": deadline});
            let status = json!({"state": "Active", "conditions": [], "activeCount": active, "lastScheduleTime": "2026-11-21T09:00:00Z"});
            schedule("s", spec, status)
        };
        let name = "sporeschedule.spore.host/s";
        assert_eq!(
            told(&hourly(false, None, 0), true, now()),
            format!("{name} paused")
        );
        assert_eq!(
            told(&hourly(false, None, 1), true, now()),
            format!("{name} paused; 1 active, which goes on to its end")
        );
        assert_eq!(
            told(&hourly(true, None, 0), true, now()),
            format!("{name} is paused already")
        );
        assert_eq!(
            told(&hourly(true, None, 0), false, now()),
            format!(
                "{name} resumed; the execution for 2026-11-21T10:00:00Z, missed in the meantime, starts now; next execution: 2026-11-21T11:00:00Z (in 30m)"
            )
        );
        assert_eq!(
            told(&hourly(true, Some("10m"), 0), false, now()),
            format!("{name} resumed; next execution: 2026-11-21T11:00:00Z (in 30m)")
        );
    }

    #[test]
    fn what_is_finished_does_not_go_on() {
        let status = json!({"state": "Finished", "conditions": []});
        let error = may_go_on(&schedule("s", json!({"schedule": "@daily"}), status)).unwrap_err();
        assert!(error.advice().unwrap().contains("maxExecutions"));
    }
}
