//! `kubectl spawn list`.

mod choose;
mod line;
mod spores;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;
use kube::ResourceExt;
use spore_crds::{SporeArray, SporeInstance, SporeSweep, State};

use self::choose::{Names, folds, selector};
pub(crate) use self::{
    line::Line,
    spores::{cost, region, render, state_word},
};
use crate::{
    check,
    cli::{Format, Global},
    client::{self, Cluster, Guarded},
    complete,
    error::Error,
    group::Group,
    kind::Kind,
    print::{self, group::Groups, time},
};

/// List spores, arrays and sweeps
#[derive(Args, Debug, Default)]
#[command(
    visible_aliases = ["ls", "get"],
    after_help = "\
The members of an array or a sweep are counted in its line. --members lists them one by one, and so do
--state, --region and --instance-type, which choose among instances."
)]
pub(crate) struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Every instance by itself, also the members of arrays and sweeps
    #[arg(long)]
    pub(crate) members: bool,
    /// Only the members of this array
    #[arg(long, visible_alias = "array", value_name = "NAME", add = ArgValueCompleter::new(complete::arrays))]
    pub(crate) job_array_name: Option<String>,
    /// Only the members of this sweep
    #[arg(long, visible_alias = "sweep-name", alias = "sweep-id", value_name = "NAME", conflicts_with = "job_array_name", add = ArgValueCompleter::new(complete::sweeps))]
    pub(crate) sweep: Option<String>,
    /// Only those with these labels, such as team=ml,stage!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Only instances in this state, such as running; may be repeated
    #[arg(long, value_parser = spores::state, value_delimiter = ',')]
    pub(crate) state: Vec<State>,
    /// Only instances in this region
    #[arg(long, value_parser = check::region)]
    pub(crate) region: Option<String>,
    /// Only instances of this EC2 instance type
    #[arg(long, value_name = "TYPE", value_parser = check::instance_type)]
    pub(crate) instance_type: Option<String>,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<ListFormat>,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Kind and name only
    Name,
    /// The table with more columns
    Wide,
}

/// Lists.
pub(crate) async fn run(args: ListArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    match args.output {
        Some(ListFormat::Json) => objects(&cluster, &args, Format::Json).await,
        Some(ListFormat::Yaml) => objects(&cluster, &args, Format::Yaml).await,
        Some(ListFormat::Name) => objects(&cluster, &args, Format::Name).await,
        None | Some(ListFormat::Wide) => table(&cluster, &args).await,
    }
}

async fn objects(cluster: &Cluster, args: &ListArgs, format: Format) -> Result<(), Error> {
    let now = time::now();
    let mut shown = Vec::new();
    let mut folded = Names::default();
    if folds(args) {
        for kind in [Kind::Array, Kind::Sweep] {
            let groups = cluster.list_raw(kind, args.all_namespaces, args.selector.as_deref());
            for object in tolerated(groups.await)? {
                folded.add(kind, object.name_any());
                if args.all || !choose::is_over(&object) {
                    shown.push(object);
                }
            }
        }
    }
    let selector = selector(args, &folded);
    for object in cluster
        .list_raw(Kind::Spore, args.all_namespaces, selector.as_deref())
        .await?
    {
        let show = match client::guarded::<SporeInstance>(object.clone()).0 {
            Ok(spore) => {
                let line = Line::of(&spore, now);
                line.matches(args) && !line.is_hidden(args)
            }
            // As it is, unless something must hold that cannot be known of it.
            Err(_) => {
                args.state.is_empty() && args.region.is_none() && args.instance_type.is_none()
            }
        };
        if show {
            shown.push(object);
        }
    }
    print::objects(shown, format)
}

async fn table(cluster: &Cluster, args: &ListArgs) -> Result<(), Error> {
    let now = time::now();
    let mut groups = Groups::new(args.all_namespaces, now);
    let mut folded = Names::default();
    let mut hidden = 0;
    if folds(args) {
        let (everywhere, selector) = (args.all_namespaces, args.selector.as_deref());
        let (arrays, sweeps) = futures::join!(
            cluster.list::<SporeArray>(everywhere, selector),
            cluster.list::<SporeSweep>(everywhere, selector),
        );
        hidden += add(&mut groups, &mut folded, tolerated(sweeps)?, args);
        hidden += add(&mut groups, &mut folded, tolerated(arrays)?, args);
    }
    let selector = selector(args, &folded);
    let wide = args.output == Some(ListFormat::Wide);
    let mut lines = lines(cluster, args, wide, selector.as_deref(), now).await?;
    lines.retain(|line| line.matches(args));
    let before = lines.len();
    lines.retain(|line| !line.is_hidden(args));
    hidden += before - lines.len();
    if args.job_array_name.is_some() || args.sweep.is_some() {
        lines.sort_by_key(|line| line.index);
    }
    if lines.is_empty() && groups.is_empty() {
        return none(cluster, args, hidden).await;
    }
    let mut text = String::new();
    if !groups.is_empty() {
        text.push_str(&groups.render());
    }
    if !lines.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&render(&lines, args.all_namespaces, wide));
    }
    print::out(&text)
}

/// The spores that a label selector picks.
async fn lines(
    cluster: &Cluster,
    args: &ListArgs,
    wide: bool,
    selector: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Line>, Error> {
    if let Some(lines) = line::from_columns(cluster, args, wide, selector, now).await? {
        return Ok(lines);
    }
    let all = cluster.list::<SporeInstance>(args.all_namespaces, selector);
    let spores = readable(all.await?);
    Ok(spores.iter().map(|spore| Line::of(spore, now)).collect())
}

/// Adds the groups that are shown and returns how many are not, because they are over.
fn add<G: Group>(
    groups: &mut Groups,
    folded: &mut Names,
    found: Vec<Guarded<G>>,
    args: &ListArgs,
) -> usize {
    let mut hidden = 0;
    for group in readable(found) {
        folded.add(G::KIND, group.name_any());
        if args.all || !group.is_over() {
            groups.add(&group);
        } else {
            hidden += 1;
        }
    }
    hidden
}

/// What can be read; what cannot is told.
pub(crate) fn readable<K>(all: Vec<Guarded<K>>) -> Vec<K> {
    let told = |object: Guarded<K>| {
        let complain =
            |object: &_| print::note(&format!("not shown: {}", Error::unreadable(object)));
        object.0.inspect_err(complain).ok()
    };
    all.into_iter().filter_map(told).collect()
}

/// Whoever may not see groups, or has none, still sees spores.
fn tolerated<T>(groups: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match groups {
        Err(Error::NotInstalled { .. } | Error::Forbidden { .. }) => Ok(Vec::new()),
        groups => groups,
    }
}

/// Says that there is nothing to show, or that the group that was named is not there.
async fn none(cluster: &Cluster, args: &ListArgs, hidden: usize) -> Result<(), Error> {
    let of = match (&args.job_array_name, &args.sweep) {
        (Some(array), _) => Some((Kind::Array, array)),
        (None, Some(sweep)) => Some((Kind::Sweep, sweep)),
        (None, None) => None,
    };
    let place = match args.all_namespaces {
        true => "in any namespace".to_owned(),
        false => format!("in {} namespace", cluster.namespace),
    };
    let ended = match hidden {
        0 => String::new(),
        hidden => format!(" {hidden} ended: --all shows them."),
    };
    match of {
        Some((kind, name)) => {
            if !args.all_namespaces {
                cluster.get_raw(kind, name).await?;
            }
            let noun = kind.noun();
            print::note(&format!(
                "No members of {noun} {name} found {place}.{ended}"
            ));
        }
        None => print::note(&format!("No spores found {place}.{ended}")),
    }
    Ok(())
}
