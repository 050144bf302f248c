//! `kubectl spawn status`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::tz::TimeZone;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use spore_crds::{ARRAY_LABEL, SporeArray, SporeInstance, SporeSweep};

use crate::{
    cli::{Format, Global},
    client::{self, Cluster},
    cmd::{
        list::{self, Line, readable},
        sweep,
    },
    complete,
    error::Error,
    kind::{Kind, Reference},
    print::{
        self,
        describe::{self, Happened},
        time,
    },
};

/// How many members of an array are shown if not all are wanted.
const MEMBERS: usize = 10;

/// Show what a spore, array or sweep is, why it waits, and what ends it when
#[derive(Args, Debug)]
#[command(visible_alias = "describe")]
pub(crate) struct StatusArgs {
    /// NAME, array/NAME or sweep/NAME
    #[arg(value_name = "NAME", required_unless_present = "sweep_id", add = ArgValueCompleter::new(complete::names))]
    pub(crate) name: Option<Reference>,
    /// The old way to name a sweep
    #[arg(long, hide = true, conflicts_with = "name")]
    pub(crate) sweep_id: Option<String>,
    /// The old way to ask whether a sweep is done
    #[arg(long, hide = true, requires = "sweep_id", conflicts_with = "output")]
    pub(crate) check_complete: bool,
    /// All members of an array
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// Shows.
pub(crate) async fn run(args: StatusArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let raw = match (&args.name, &args.sweep_id) {
        (Some(name), _) => cluster.find(name).await?,
        (None, Some(sweep)) if args.check_complete => return sweep::check(&cluster, sweep).await,
        (None, sweep) => {
            let name = sweep.as_deref().unwrap_or_default();
            cluster.get_raw(Kind::Sweep, name).await?
        }
    };
    match args.output {
        Some(format) => print::object(raw, format),
        None => page(&cluster, raw, args.all).await,
    }
}

/// Tells of an object of any kind; of an array with all of its members or some.
pub(crate) async fn page(cluster: &Cluster, raw: DynamicObject, all: bool) -> Result<(), Error> {
    let events = events(cluster, &raw).await;
    let events = events.map_err(|error| error.to_string());
    let events = events.as_deref().map_err(String::as_str);
    let (now, zone) = (time::now(), TimeZone::system());
    print::out(&match Kind::of(&raw) {
        Kind::Spore => describe::spore(&client::read(raw)?, events, now),
        Kind::Array => {
            let array = client::read::<SporeArray>(raw)?;
            let members = members(cluster, &array.name_any(), all).await?;
            print::group::page(&array, &members, events, now, &zone)
        }
        Kind::Sweep => {
            let sweep = client::read::<SporeSweep>(raw)?;
            print::group::page(&sweep, "", events, now, &zone)
        }
    })
}

/// The members of an array as a table.
async fn members(cluster: &Cluster, array: &str, all: bool) -> Result<String, Error> {
    let selector = format!("{ARRAY_LABEL}={array}");
    let found = cluster
        .list::<SporeInstance>(false, Some(&selector))
        .await?;
    let mut members = readable(found);
    members.sort_by_key(|spore| spore.spec.member.as_ref().map(|member| member.index));
    let more = match all {
        true => 0,
        false => members.len().saturating_sub(MEMBERS),
    };
    members.truncate(members.len() - more);
    if members.is_empty() {
        return Ok(String::new());
    }
    let now = time::now();
    let lines = members.iter().map(|spore| Line::of(spore, now));
    let table = list::render(&lines.collect::<Vec<_>>(), false, false);
    let table = table
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect::<String>();
    let more = match more {
        0 => String::new(),
        more => format!("  and {more} more: --all shows them\n"),
    };
    Ok(format!("\nMembers:\n{table}{more}"))
}

/// What happened to an object, oldest first.
pub(crate) async fn events(
    cluster: &Cluster,
    object: &DynamicObject,
) -> Result<Vec<Happened>, Error> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    let uid = object.uid().unwrap_or_default();
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
