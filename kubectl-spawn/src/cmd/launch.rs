//! `kubectl spawn launch`.

pub(crate) mod args;
mod sweep;
mod wait;

use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

pub(crate) use self::args::DryRun;
pub(crate) use self::args::LaunchArgs;
use crate::{
    cli::{Format, Global},
    client::{Cluster, MANAGER},
    error::Error,
    group_wait,
    kind::{Kind, Reference},
    manifest, print,
    steps::WaitFor,
};

/// Launches.
pub(crate) async fn run(args: LaunchArgs, global: &Global) -> Result<(), Error> {
    let namespace = global.namespace.as_deref();
    if args.sweep.no_detach {
        return Err(Error::Usage {
            what: "--no-detach does not go: a sweep is an object in the cluster, and what launches it is not this program".into(),
            advice: "Leave it out; --wait shows how the sweep gets on, and Ctrl-C ends only the showing.".into(),
        });
    }
    if let Some(file) = &args.sweep.param_file {
        return sweep::run(&args, file, global).await;
    }
    let (kind, mut object) = match args.members() {
        Some(members) => (Kind::Array, manifest::array(&args, members, namespace)?),
        None => (Kind::Spore, manifest::spore(&args, namespace)?),
    };
    if args.dry_run == DryRun::Client {
        return print_draft(kind, &object, &args);
    }
    let cluster = Cluster::connect(global).await?;
    object["metadata"]["namespace"] = json!(cluster.namespace);
    let created = cluster.create(kind, &object, &post(&args)).await?;
    finish(&cluster, created, &args).await
}

/// How an object is posted.
fn post(args: &LaunchArgs) -> PostParams {
    PostParams {
        dry_run: args.dry_run == DryRun::Server,
        field_manager: Some(MANAGER.into()),
    }
}

/// Says what was created, and waits if that was asked for.
async fn finish(cluster: &Cluster, created: DynamicObject, args: &LaunchArgs) -> Result<(), Error> {
    if args.dry_run == DryRun::Server {
        return match args.output {
            Some(format) => print::object(created, format),
            None => print::line(&format!(
                "{} created (server dry run)",
                print::full_name(&created)
            )),
        };
    }
    let Some(wait_for) = args.wait_for() else {
        return announce(created, args, cluster);
    };
    let limit = args.limit(wait_for);
    match Kind::of(&created) {
        Kind::Spore => wait::wait(cluster, &created, args, wait_for).await,
        Kind::Array | Kind::Sweep => {
            match args.output {
                None => print::line(&format!("{} created", print::full_name(&created)))?,
                Some(Format::Name) => print::line(&print::full_name(&created))?,
                Some(Format::Json | Format::Yaml) => {}
            }
            group_wait::of(cluster, &created, wait_for, limit, args.output).await
        }
    }
}

fn print_draft(kind: Kind, object: &Value, args: &LaunchArgs) -> Result<(), Error> {
    let name = object["metadata"]["name"].as_str();
    let name = kind.full_name(name.unwrap_or("(generated)"));
    match args.output {
        Some(Format::Json) => print::out(&print::json(object)),
        Some(Format::Yaml) => print::out(&print::yaml(object)),
        Some(Format::Name) => print::line(&name),
        None => print::line(&format!("{name} created (dry run)")),
    }
}

fn announce(created: DynamicObject, args: &LaunchArgs, cluster: &Cluster) -> Result<(), Error> {
    match args.output {
        Some(format) => print::object(created, format),
        None => {
            print::line(&format!("{} created", print::full_name(&created)))?;
            if print::live() {
                print::note(&format!(
                    "Watch it with `kubectl spawn status {}`.",
                    cluster.target(Reference::of(&created))
                ));
            }
            Ok(())
        }
    }
}

/// Whether what was asked for can be waited for.
fn check_wait(wait_for: Option<WaitFor>) -> Result<(), Error> {
    match wait_for {
        Some(WaitFor::Ready) => Err(Error::Usage {
            what: "a sweep is never ready as a whole: its instances come and go".into(),
            advice: "Say --wait, or --wait-for completion: both wait until the sweep is done."
                .into(),
        }),
        Some(WaitFor::Completion) | None => Ok(()),
    }
}
