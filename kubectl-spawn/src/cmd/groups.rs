//! `kubectl spawn sweep list` and `kubectl spawn array list`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::{
    cli::{Format, Global},
    client::Cluster,
    cmd::list::readable,
    error::Error,
    group::Group,
    print::{self, group::Groups, time},
};

/// Which groups are listed, and how.
#[derive(Args, Debug)]
pub(crate) struct GroupsArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these labels, such as team=ml,stage!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Only those in this state, such as running; may be repeated
    #[arg(
        long,
        visible_alias = "state",
        value_enum,
        value_delimiter = ',',
        ignore_case = true
    )]
    status: Vec<Status>,
    /// Only so many, the newest
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// A state that a group can be in, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Pending,
    Launching,
    Running,
    Suspended,
    Releasing,
    Ending,
    #[value(alias = "completed")]
    Succeeded,
    Failed,
    Cancelled,
    Stalled,
    Terminating,
}

/// Lists the newest first.
pub(crate) async fn run<G: Group + Serialize>(
    args: &GroupsArgs,
    global: &Global,
) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let found = cluster.list::<G>(args.all_namespaces, args.selector.as_deref());
    let mut all = readable(found.await?);
    all.retain(|group| args.status.is_empty() || is_in(group, &args.status));
    all.sort_by_key(|group| std::cmp::Reverse(group.meta().creation_timestamp.clone()));
    all.truncate(args.last.unwrap_or(usize::MAX));
    if let Some(format) = args.output {
        let stored = |group: &G| {
            let mut value = json!(group);
            value["apiVersion"] = json!(G::KIND.api().api_version);
            value["kind"] = json!(G::KIND.word());
            serde_json::from_value(value)
        };
        let objects = all.iter().map(stored).collect::<Result<Vec<_>, _>>();
        let objects = objects.map_err(|error| Error::Unreadable {
            what: "an object".into(),
            detail: error.to_string(),
        })?;
        return print::objects(objects, format);
    }
    if all.is_empty() {
        let place = match args.all_namespaces {
            true => "in any namespace".to_owned(),
            false => format!("in {} namespace", cluster.namespace),
        };
        print::note(&format!("No {}s found {place}.", G::KIND.noun()));
        return Ok(());
    }
    let mut groups = Groups::new(args.all_namespaces, time::now());
    for group in &all {
        groups.add(group);
    }
    print::out(&groups.render())
}

fn is_in<G: Group>(group: &G, wanted: &[Status]) -> bool {
    let state = group.status().and_then(|status| status.state);
    let state = state.map(|state| format!("{state:?}"));
    wanted
        .iter()
        .any(|wanted| state.as_deref() == Some(format!("{wanted:?}").as_str()))
}
