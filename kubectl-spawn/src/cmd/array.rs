//! `kubectl spawn array`.

use clap::{Args, Subcommand, value_parser};
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;
use spore_crds::SporeArray;

use crate::{
    cli::{Format, Global, Limit, limit},
    client::{self, Cluster},
    cmd::{
        groups::{self, GroupsArgs},
        status,
    },
    complete,
    confirm::{self, Question},
    error::Error,
    group::Group as _,
    group_wait,
    kind::Kind,
    print,
    steps::WaitFor,
};

/// Look at arrays and resize them
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct ArrayArgs {
    #[command(subcommand)]
    verb: ArrayVerb,
}

#[derive(Debug, Subcommand)]
enum ArrayVerb {
    /// List arrays, also those that are done
    #[command(visible_alias = "ls")]
    List(GroupsArgs),
    Status(ArrayStatusArgs),
    Scale(ScaleArgs),
    Wait(ArrayWaitArgs),
}

/// Show how far an array has come, with its members
#[derive(Args, Debug)]
struct ArrayStatusArgs {
    /// Name of the array
    #[arg(add = ArgValueCompleter::new(complete::arrays))]
    name: String,
    /// All members
    #[arg(long)]
    all: bool,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Add members at the end or take them away there
#[derive(Args, Debug)]
struct ScaleArgs {
    /// Name of the array
    #[arg(add = ArgValueCompleter::new(complete::arrays))]
    name: String,
    /// How many members it is to have
    #[arg(value_name = "N", value_parser = value_parser!(u32).range(0..=10_000))]
    members: u32,
    /// Do not ask before members are terminated
    #[arg(short, long)]
    yes: bool,
}

/// Wait until all members are ready, or done
#[derive(Args, Debug)]
struct ArrayWaitArgs {
    /// Name of the array
    #[arg(add = ArgValueCompleter::new(complete::arrays))]
    name: String,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "ready")]
    wait_for: WaitFor,
    /// How long to wait, 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = limit)]
    timeout: Limit,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Does what the command line says.
pub(crate) async fn run(args: ArrayArgs, global: &Global) -> Result<(), Error> {
    if let ArrayVerb::List(args) = &args.verb {
        return groups::run::<SporeArray>(args, global).await;
    }
    let cluster = Cluster::connect(global).await?;
    match args.verb {
        ArrayVerb::List(_) => Ok(()),
        ArrayVerb::Status(args) => {
            let raw = cluster.get_raw(Kind::Array, &args.name).await?;
            match args.output {
                Some(format) => print::object(raw, format),
                None => status::page(&cluster, raw, args.all).await,
            }
        }
        ArrayVerb::Scale(args) => scale(&args, &cluster).await,
        ArrayVerb::Wait(args) => {
            let raw = cluster.get_raw(Kind::Array, &args.name).await?;
            let limit = args.timeout.0;
            group_wait::of(&cluster, &raw, args.wait_for, limit, args.output).await
        }
    }
}

async fn scale(args: &ScaleArgs, cluster: &Cluster) -> Result<(), Error> {
    let raw = cluster.get_raw(Kind::Array, &args.name).await?;
    let array = client::read::<SporeArray>(raw)?;
    let (name, before) = (array.reference(), array.spec.replicas);
    if let Some(message) = array
        .status
        .as_ref()
        .and_then(|status| Some(&status.ended.as_ref()?.message))
    {
        return Err(Error::Ended {
            name: name.to_string(),
            message: message.clone(),
            advice: "What has ended is never launched again: launch a new one.".into(),
        });
    }
    if before == args.members {
        return print::line(&format!("{name}: has {before} members already"));
    }
    if args.members < before && !args.yes {
        let question = Question {
            done: "terminated",
            would: "would be terminated",
            ask: "Terminate",
        };
        let gone = match before - args.members {
            1 => format!("member {} of {name}", args.members),
            _ => format!("members {}-{} of {name}", args.members, before - 1),
        };
        confirm::ask(&question, &gone)?;
    }
    cluster
        .merge(&array, &json!({"spec": {"replicas": args.members}}))
        .await?;
    print::line(&format!(
        "{name} scaled from {before} to {} members",
        args.members
    ))
}
