//! `kubectl spawn sweep`.

mod change;
mod collect;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use spore_crds::{GroupState, SporeSweep};

pub(crate) use self::{
    change::{CancelArgs, ResumeArgs, cancel, resume},
    collect::{CollectArgs, collect},
};
use crate::{
    cli::{Format, Global, Limit, limit},
    client::{self, Cluster},
    cmd::{
        groups::{self, GroupsArgs},
        status,
    },
    complete,
    error::Error,
    group::Group,
    group_wait,
    kind::Kind,
    print,
    results::{
        self,
        table::{self, TableFormat},
    },
    steps::WaitFor,
};

/// Look at sweeps and steer them
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct SweepArgs {
    #[command(subcommand)]
    verb: SweepVerb,
}

#[derive(Debug, Subcommand)]
enum SweepVerb {
    /// List sweeps, also those that are done
    #[command(visible_alias = "ls")]
    List(GroupsArgs),
    Status(SweepStatusArgs),
    Cancel(CancelArgs),
    Suspend(change::SuspendArgs),
    Resume(ResumeArgs),
    Retry(change::RetryArgs),
    Collect(CollectArgs),
    Wait(SweepWaitArgs),
}

/// Show how far a sweep has come, or how each of its rows ended
#[derive(Args, Debug)]
#[command(after_help = "\
With --check-complete the exit code tells: 0 complete, 1 failed or cancelled, 2 still running,
3 it cannot be told.")]
struct SweepStatusArgs {
    /// Name of the sweep
    #[arg(add = ArgValueCompleter::new(complete::sweeps))]
    name: String,
    /// Tell by the exit code whether it is done
    #[arg(long, conflicts_with = "output")]
    check_complete: bool,
    /// Print how every row ended or stands
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<RowsFormat>,
}

/// A form of the table of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RowsFormat {
    /// A line of names, then a line a row
    Csv,
    /// A JSON list
    Json,
    /// A YAML list
    Yaml,
}

/// Wait until a sweep is done
#[derive(Args, Debug)]
struct SweepWaitArgs {
    /// Name of the sweep
    #[arg(add = ArgValueCompleter::new(complete::sweeps))]
    name: String,
    /// How long to wait, 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = limit)]
    timeout: Limit,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Does what the command line says.
pub(crate) async fn run(args: SweepArgs, global: &Global) -> Result<(), Error> {
    match args.verb {
        SweepVerb::List(args) => groups::run::<SporeSweep>(&args, global).await,
        SweepVerb::Status(args) => tell(&args, global).await,
        SweepVerb::Cancel(args) => cancel(&args, global).await,
        SweepVerb::Suspend(args) => change::suspend(&args, global).await,
        SweepVerb::Resume(args) => resume(&args, global).await,
        SweepVerb::Retry(args) => change::retry(&args, global).await,
        SweepVerb::Collect(args) => collect(&args, global).await,
        SweepVerb::Wait(args) => {
            let cluster = Cluster::connect(global).await?;
            let raw = cluster.get_raw(Kind::Sweep, &args.name).await?;
            let (what, limit) = (WaitFor::Completion, args.timeout.0);
            group_wait::of(&cluster, &raw, what, limit, args.output).await
        }
    }
}

async fn tell(args: &SweepStatusArgs, global: &Global) -> Result<(), Error> {
    let cluster = match Cluster::connect(global).await {
        Err(error) if args.check_complete => return Err(Error::Unclear(Box::new(error))),
        connected => connected?,
    };
    if args.check_complete {
        return check(&cluster, &args.name).await;
    }
    let raw = cluster.get_raw(Kind::Sweep, &args.name).await?;
    let format = match args.output {
        None => return status::page(&cluster, raw, false).await,
        Some(RowsFormat::Csv) => TableFormat::Csv,
        Some(RowsFormat::Json) => TableFormat::Json,
        Some(RowsFormat::Yaml) => TableFormat::Yaml,
    };
    let entries = results::of(&cluster, &client::read(raw)?).await?;
    print::out(&table::render(&entries, None, format))
}

/// Tells by the exit code whether a sweep is done.
pub(crate) async fn check(cluster: &Cluster, name: &str) -> Result<(), Error> {
    let found = cluster.get_raw(Kind::Sweep, name).await;
    let sweep = found
        .and_then(client::read::<SporeSweep>)
        .map_err(|error| Error::Unclear(Box::new(error)))?;
    let status = sweep.status.clone().unwrap_or_default();
    let progress = print::group::progress(status.launched, sweep.size());
    print::line(&format!("{}: {progress}", print::group::state(&sweep)))?;
    match status.state.map_or(2, code) {
        0 => Ok(()),
        code => Err(Error::Told(ExitCode::from(code))),
    }
}

/// The exit code that tells of a state.
const fn code(state: GroupState) -> u8 {
    match state {
        GroupState::Succeeded => 0,
        GroupState::Failed | GroupState::Cancelled => 1,
        GroupState::Pending
        | GroupState::Launching
        | GroupState::Running
        | GroupState::Suspended
        | GroupState::Releasing
        | GroupState::Ending
        | GroupState::Stalled
        | GroupState::Terminating => 2,
    }
}
