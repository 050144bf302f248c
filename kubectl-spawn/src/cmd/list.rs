//! `kubectl spawn list`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt;
use spore_core::money::Usd;
use spore_crds::{SporeInstance, SporeInstanceStatus, State};

use crate::{
    check,
    cli::{Format, Global},
    client::{self, Cluster},
    error::Error,
    print::{self, table::Table, time},
};

/// List spores
#[derive(Args, Debug)]
#[command(visible_aliases = ["ls", "get"])]
pub(crate) struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those with these labels, such as team=ml,stage!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Only those in this state, such as running; may be repeated
    #[arg(long, value_parser = state, value_delimiter = ',')]
    pub(crate) state: Vec<State>,
    /// Only those in this region
    #[arg(long, value_parser = check::region)]
    pub(crate) region: Option<String>,
    /// Only those of this EC2 instance type
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

const STATES: [State; 11] = [
    State::Pending,
    State::Launching,
    State::Booting,
    State::Running,
    State::Stopping,
    State::Stopped,
    State::Terminating,
    State::Succeeded,
    State::Failed,
    State::Ended,
    State::Stalled,
];

fn state(text: &str) -> Result<State, String> {
    let named = |state: &&State| format!("{state:?}").eq_ignore_ascii_case(text);
    STATES.iter().find(named).copied().ok_or_else(|| {
        let words = STATES.map(|state| format!("{state:?}").to_lowercase());
        format!("not a state: it is one of {}", words.join(", "))
    })
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
    let mut shown = Vec::new();
    for object in cluster
        .list_raw(args.all_namespaces, args.selector.as_deref())
        .await?
    {
        let show = match client::guarded(object.clone()).0 {
            Ok(spore) => matches(&spore, args) && !is_hidden(&spore, args),
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
    let all = cluster
        .list(args.all_namespaces, args.selector.as_deref())
        .await?;
    let mut spores = Vec::new();
    for spore in all {
        match spore.0 {
            Ok(spore) if matches(&spore, args) => spores.push(spore),
            Ok(_) => {}
            Err(object) => print::note(&format!("not shown: {}", Error::unreadable(&object))),
        }
    }
    let before = spores.len();
    spores.retain(|spore| !is_hidden(spore, args));
    if spores.is_empty() {
        print::note(&nothing(cluster, args, before));
        return Ok(());
    }
    let wide = args.output == Some(ListFormat::Wide);
    print::out(&render(&spores, args.all_namespaces, wide, time::now()))
}

/// Whether it has ended and was not asked for. Who names a state wants those in it, ended or not.
fn is_hidden(spore: &SporeInstance, args: &ListArgs) -> bool {
    !args.all && args.state.is_empty() && has_ended(spore)
}

fn nothing(cluster: &Cluster, args: &ListArgs, hidden: usize) -> String {
    let place = match args.all_namespaces {
        true => "in any namespace".to_owned(),
        false => format!("in {} namespace", cluster.namespace),
    };
    let ended = match hidden {
        0 => String::new(),
        hidden => format!(" {hidden} ended: --all shows them."),
    };
    format!("No spores found {place}.{ended}")
}

fn matches(spore: &SporeInstance, args: &ListArgs) -> bool {
    let state = spore.status.as_ref().and_then(|status| status.state);
    (args.state.is_empty() || state.is_some_and(|state| args.state.contains(&state)))
        && args
            .region
            .as_deref()
            .is_none_or(|wanted| region(spore).as_deref() == Some(wanted))
        && args
            .instance_type
            .as_ref()
            .is_none_or(|wanted| spore.spec.instance_type == *wanted)
}

fn has_ended(spore: &SporeInstance) -> bool {
    let ended = spore
        .status
        .as_ref()
        .is_some_and(|status| status.ended.is_some());
    let gone = spore.status.as_ref().and_then(|status| status.state);
    // From the decision to end until EC2 has done it, there is still something to see.
    ended && matches!(gone, Some(State::Succeeded | State::Failed | State::Ended))
}

/// Where a spore is: as EC2 says, else as decided, else as asked for.
pub(crate) fn region(spore: &SporeInstance) -> Option<String> {
    let status = spore.status.as_ref();
    let described = status.and_then(|status| status.instance.as_ref()?.region.clone());
    let decided = || Some(status?.launch.as_ref()?.plan.region.clone());
    described
        .or_else(decided)
        .or_else(|| spore.spec.region.clone())
}

/// What a spore's instance has cost until `now`, if its price is known.
pub(crate) fn cost(status: &SporeInstanceStatus, now: Timestamp) -> Option<Usd> {
    let per_hour = status.price.as_ref()?.per_hour?;
    Some(status.cost.as_ref()?.at(per_hour, now))
}

/// One word for where a spore is.
pub(crate) fn state_word(spore: &SporeInstance) -> Option<String> {
    let state = spore.status.as_ref().and_then(|status| status.state);
    match (state, &spore.metadata.deletion_timestamp) {
        (Some(State::Terminating) | None, Some(_)) => Some("Terminating".into()),
        (Some(state), Some(_)) => Some(format!("{state:?},Deleting")),
        (state, None) => state.map(|state| format!("{state:?}")),
    }
}

/// The table.
pub(crate) fn render(
    spores: &[SporeInstance],
    everywhere: bool,
    wide: bool,
    now: Timestamp,
) -> String {
    let mut columns = Vec::new();
    if everywhere {
        columns.push("NAMESPACE");
    }
    columns.extend([
        "NAME", "READY", "STATE", "TYPE", "MARKET", "ZONE", "WORKLOAD", "TTL-LEFT", "AGE",
    ]);
    if wide {
        columns.extend(["INSTANCE", "REGION", "PUBLIC-IP", "AMI", "COST", "ENDED"]);
    }
    let mut table = Table::new(&columns);
    for spore in spores {
        let mut cells = Vec::new();
        if everywhere {
            cells.push(spore.namespace());
        }
        cells.extend(narrow(spore, now));
        if wide {
            cells.extend(more(spore, now));
        }
        table.row(cells);
    }
    table.render("")
}

fn narrow(spore: &SporeInstance, now: Timestamp) -> [Option<String>; 9] {
    let status = spore.status.clone().unwrap_or_default();
    let ready = spore_crds::conditions::get(&status.conditions, spore_crds::conditions::READY);
    let left = match (status.deadline, &status.ended) {
        (Some(deadline), None) if deadline > now => Some(time::since(now, deadline)),
        (Some(_), None) => Some("over".into()),
        (_, Some(_)) | (None, None) => None,
    };
    [
        Some(spore.name_any()),
        ready.map(|ready| ready.status.clone()),
        state_word(spore),
        Some(spore.spec.instance_type.clone()),
        Some(format!("{:?}", spore.spec.market)),
        status.instance.and_then(|instance| instance.zone),
        status.workload.and_then(|workload| workload.phase),
        left,
        spore
            .creation_timestamp()
            .map(|created| time::since(created.0, now)),
    ]
}

fn more(spore: &SporeInstance, now: Timestamp) -> [Option<String>; 6] {
    let status = spore.status.clone().unwrap_or_default();
    let cost = cost(&status, now).map(|cost| format!("${cost}"));
    let instance = status.instance.unwrap_or_default();
    [
        Some(instance.id),
        region(spore),
        instance.public_ip,
        instance.image_id,
        cost,
        status.ended.map(|ended| ended.reason),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::tests::{condition, spore};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn running() -> SporeInstance {
        let mut spore = spore(json!({
            "state": "Running",
            "conditions": [condition("Ready", "True", "Running", "")],
            "deadline": "2026-11-21T13:20:00Z",
            "workload": {"phase": "Running"},
            "instance": {"id": "i-0123", "zone": "us-east-1a", "publicIP": "1.2.3.4", "imageId": "ami-1"},
            "price": {"perHour": "1.006", "market": "OnDemand"},
            "cost": {"accrued": "0.1", "asOf": "2026-11-21T09:55:00Z", "runningSince": "2026-11-21T09:30:00Z"},
        }));
        let created = "2026-11-21T09:54:30Z".parse::<Timestamp>().unwrap();
        spore.metadata.creation_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created),
        );
        spore
    }

    fn over() -> SporeInstance {
        let mut spore = spore(json!({
            "state": "Ended",
            "conditions": [],
            "deadline": "2026-11-21T09:00:00Z",
            "ended": {"reason": "TTLExpired", "at": "2026-11-21T09:00:00Z", "message": ""},
        }));
        spore.metadata.name = Some("old".into());
        spore.spec.region = Some("eu-west-1".into());
        spore
    }

    #[test]
    fn the_table_shows_what_matters_and_dashes_for_what_is_not_known() {
        let mut fresh = spore(json!(null));
        fresh.metadata.name = Some("new".into());
        let table = render(&[running(), fresh], false, false, now());
        insta::assert_snapshot!(table, @"
        NAME    READY   STATE     TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE
        train   True    Running   g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s
        new     -       -         g5.xlarge   OnDemand   -            -          -          -
        ");
    }

    #[test]
    fn the_wide_table_of_all_namespaces_has_all_columns() {
        let table = render(&[running(), over()], true, true, now());
        insta::assert_snapshot!(table, @"
        NAMESPACE   NAME    READY   STATE     TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE     INSTANCE   REGION      PUBLIC-IP   AMI     COST     ENDED
        lab         train   True    Running   g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s   i-0123     -           1.2.3.4     ami-1   $0.503   -
        lab         old     -       Ended     g5.xlarge   OnDemand   -            -          -          -       -          eu-west-1   -           -       -        TTLExpired
        ");
    }

    #[test]
    fn filters_must_all_hold() {
        let args = |line: &str| {
            use clap::Parser;
            let line = format!("kubectl-spawn list {line}");
            let cli = crate::cli::Cli::try_parse_from(line.split(' ')).unwrap();
            let crate::cli::Verb::List(args) = cli.verb else {
                panic!("it is a list")
            };
            args
        };
        assert!(matches(
            &over(),
            &args("--state ended,running --region eu-west-1")
        ));
        assert!(!matches(&over(), &args("--state ended --region us-east-1")));
        assert!(!matches(
            &over(),
            &args("--state running --region eu-west-1")
        ));
        assert!(matches(&running(), &args("--instance-type g5.xlarge")));
        assert!(!matches(&running(), &args("--instance-type g5.2xlarge")));
    }

    #[test]
    fn a_spore_counts_as_ended_only_when_its_instance_is_gone() {
        assert!(has_ended(&over()));
        let mut going = over();
        going.status.as_mut().unwrap().state = Some(State::Terminating);
        assert!(!has_ended(&going));
    }

    #[test]
    fn a_wrong_state_is_answered_with_all_of_them() {
        assert_eq!(state("running"), Ok(State::Running));
        assert!(state("gone").unwrap_err().contains("terminating"));
    }
}
