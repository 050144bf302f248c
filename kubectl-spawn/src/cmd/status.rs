//! `kubectl spawn status`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};

use crate::{
    cli::{Format, Global},
    client::Cluster,
    complete,
    error::Error,
    print::{self, describe, describe::Happened, time},
};

/// Show what a spore is, why it waits, and what ends it when
#[derive(Args, Debug)]
#[command(visible_alias = "describe")]
pub(crate) struct StatusArgs {
    /// Name of the spore
    #[arg(add = ArgValueCompleter::new(complete::names))]
    pub(crate) name: String,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// Shows.
pub(crate) async fn run(args: StatusArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let raw = cluster.get_raw(&args.name).await?;
    if let Some(format) = args.output {
        return print::object(raw, format);
    }
    let events = events(&cluster, &raw).await;
    let spore = Cluster::read(raw)?;
    let events = events.map_err(|error| error.to_string());
    print::out(&describe::spore(
        &spore,
        events.as_deref().map_err(String::as_str),
        time::now(),
    ))
}

/// What happened to a spore, oldest first.
pub(crate) async fn events(
    cluster: &Cluster,
    spore: &DynamicObject,
) -> Result<Vec<Happened>, Error> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    let uid = spore.uid().unwrap_or_default();
    let params = ListParams::default().fields(&format!("regarding.uid={uid}"));
    let list = cluster
        .ask("list", "events.events.k8s.io", api.list(&params))
        .await?;
    let mut events = list.items.into_iter().map(happened).collect::<Vec<_>>();
    events.sort_by_key(|event| event.at);
    Ok(events)
}

fn happened(event: Event) -> Happened {
    let series = event.series.as_ref();
    let first = event.event_time.as_ref().map(|time| time.0);
    let old_style = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    Happened {
        at: series
            .map(|series| series.last_observed_time.0)
            .or(first)
            .or(old_style),
        count: series.map_or(1, |series| series.count),
        warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.unwrap_or_default(),
        note: event.note.unwrap_or_default(),
    }
}
