//! `kubectl spawn schedule`: its verbs, one file each.

mod api;
mod cancel;
mod create;
mod list;
mod pause;
mod show;
mod source;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use kube::ResourceExt;
use spore_core::calendar::{self, Calendar, Cron};
use spore_crds::{ScheduleState, SporeSchedule, SporeScheduleSpec};

use crate::{cli::Global, client::Cluster, error::Error};

/// Start instances, arrays and sweeps at set times
#[derive(Args, Debug)]
#[command(
    visible_alias = "schedules",
    arg_required_else_help = true,
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs"
)]
pub(crate) struct ScheduleArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::CreateArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Cancel(cancel::CancelArgs),
}

/// Does what the command line says.
pub(crate) async fn run(args: ScheduleArgs, global: &Global) -> Result<(), Error> {
    match args.verb {
        Verb::Create(args) => create::run(args, global).await,
        Verb::List(args) => list::run(args, global).await,
        Verb::Show(args) => show::run(args, global).await,
        Verb::Pause(args) => pause::pause(args, global).await,
        Verb::Resume(args) => pause::resume(args, global).await,
        Verb::Cancel(args) => cancel::run(args, global).await,
    }
}

/// The names of all schedules of the namespace.
pub(crate) async fn names(cluster: Cluster) -> Result<Vec<String>, Error> {
    api::names(&cluster).await
}

/// When a schedule is due, if that can be read.
fn read(spec: &SporeScheduleSpec) -> Option<Calendar> {
    let zone = calendar::zone(&spec.time_zone).ok()?;
    match (&spec.schedule, &spec.at) {
        (Some(pattern), _) => Some(Calendar::Cron {
            cron: Box::new(Cron::parse(pattern).ok()?),
            zone,
        }),
        (None, at) => calendar::moment(at.as_deref()?, &zone)
            .ok()
            .map(Calendar::At),
    }
}

/// When a schedule is due next, within its end.
fn next(spec: &SporeScheduleSpec, now: Timestamp) -> Option<Timestamp> {
    let next = read(spec)?.next(now)?;
    Some(next).filter(|next| spec.end_after.is_none_or(|end| *next <= end))
}

/// One word for where a schedule is.
fn status_word(schedule: &SporeSchedule) -> Option<&'static str> {
    if schedule.metadata.deletion_timestamp.is_some() {
        return Some("cancelled");
    }
    let state = schedule.status.as_ref().and_then(|status| status.state);
    match (state, schedule.spec.suspend) {
        (Some(ScheduleState::Finished), _) => Some("finished"),
        (Some(ScheduleState::Stalled), _) => Some("stalled"),
        // The controller may not have taken it up yet.
        (Some(ScheduleState::Active | ScheduleState::Suspended), true) => Some("paused"),
        (Some(ScheduleState::Active | ScheduleState::Suspended), false) => Some("active"),
        (None, _) => None,
    }
}

/// The name that `kubectl` takes and prints.
fn full_name(name: &str) -> String {
    format!("sporeschedule.{}/{name}", spore_crds::GROUP)
}

fn name_of(schedule: &SporeSchedule) -> String {
    full_name(&schedule.name_any())
}
