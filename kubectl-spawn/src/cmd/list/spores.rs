//! Spores as lines of a table.

use jiff::Timestamp;
use spore_core::money::Usd;
use spore_crds::{SporeInstance, SporeInstanceStatus, State};

use super::line::Line;
use crate::print::table::Table;

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

/// A state as people write it.
pub(super) fn state(text: &str) -> Result<State, String> {
    let named = |state: &&State| format!("{state:?}").eq_ignore_ascii_case(text);
    STATES.iter().find(named).copied().ok_or_else(|| {
        let words = STATES.map(|state| format!("{state:?}").to_lowercase());
        format!("not a state: it is one of {}", words.join(", "))
    })
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
pub(crate) fn render(lines: &[Line], everywhere: bool, wide: bool) -> String {
    // Who looks at members wants them by their index.
    let indexed = lines.iter().any(|line| line.index.is_some());
    let mut columns = Vec::new();
    if everywhere {
        columns.push("NAMESPACE");
    }
    columns.push("NAME");
    if indexed {
        columns.push("INDEX");
    }
    columns.extend([
        "READY", "STATE", "TYPE", "MARKET", "ZONE", "WORKLOAD", "TTL-LEFT", "AGE",
    ]);
    if wide {
        columns.extend(["INSTANCE", "REGION", "PUBLIC-IP", "AMI", "COST", "ENDED"]);
    }
    let mut table = Table::new(&columns);
    for line in lines {
        let line = line.clone();
        let mut cells = Vec::new();
        if everywhere {
            cells.push(line.namespace);
        }
        cells.push(Some(line.name));
        if indexed {
            cells.push(line.index.map(|index| index.to_string()));
        }
        cells.extend([
            line.ready,
            line.word,
            line.instance_type,
            line.market,
            line.zone,
            line.workload,
            line.left,
            line.age,
        ]);
        if wide {
            cells.extend([
                line.instance,
                line.region,
                line.public_ip,
                line.image,
                line.cost,
                line.ended,
            ]);
        }
        table.row(cells);
    }
    table.render("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::tests::{condition, spore};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn lines<const N: usize>(spores: [SporeInstance; N]) -> [Line; N] {
        spores.map(|spore| Line::of(&spore, now()))
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
        let table = render(&lines([running(), fresh]), false, false);
        insta::assert_snapshot!(table, @"
        NAME    READY   STATE     TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE
        train   True    Running   g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s
        new     -       -         g5.xlarge   OnDemand   -            -          -          -
        ");
    }

    #[test]
    fn the_wide_table_of_all_namespaces_has_all_columns() {
        let table = render(&lines([running(), over()]), true, true);
        insta::assert_snapshot!(table, @"
        NAMESPACE   NAME    READY   STATE     TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE     INSTANCE   REGION      PUBLIC-IP   AMI     COST     ENDED
        lab         train   True    Running   g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s   i-0123     -           1.2.3.4     ami-1   $0.503   -
        lab         old     -       Ended     g5.xlarge   OnDemand   -            -          -          -       -          eu-west-1   -           -       -        TTLExpired
        ");
    }

    #[test]
    fn members_are_shown_with_their_index() {
        let mut member = running();
        member.spec.member = serde_json::from_value(json!({"index": 7, "attempt": 1})).unwrap();
        let table = render(&lines([member, over()]), false, false);
        insta::assert_snapshot!(table, @"
        NAME    INDEX   READY   STATE     TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE
        train   7       True    Running   g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s
        old     -       -       Ended     g5.xlarge   OnDemand   -            -          -          -
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
        assert!(
            Line::of(&over(), now()).matches(&args("--state ended,running --region eu-west-1"))
        );
        assert!(!Line::of(&over(), now()).matches(&args("--state ended --region us-east-1")));
        assert!(!Line::of(&over(), now()).matches(&args("--state running --region eu-west-1")));
        assert!(Line::of(&running(), now()).matches(&args("--instance-type g5.xlarge")));
        assert!(!Line::of(&running(), now()).matches(&args("--instance-type g5.2xlarge")));
    }

    #[test]
    fn a_spore_counts_as_ended_only_when_its_instance_is_gone() {
        assert!(Line::of(&over(), now()).has_ended());
        let mut going = over();
        going.status.as_mut().unwrap().state = Some(State::Terminating);
        assert!(!Line::of(&going, now()).has_ended());
    }

    #[test]
    fn a_wrong_state_is_answered_with_all_of_them() {
        assert_eq!(state("running"), Ok(State::Running));
        assert!(state("gone").unwrap_err().contains("terminating"));
    }
}
