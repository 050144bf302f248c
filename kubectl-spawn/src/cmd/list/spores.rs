//! Spores as lines of a table.

use jiff::Timestamp;
use kube::ResourceExt;
use spore_crds::{SporeInstance, State};

use super::ListArgs;
use crate::print::{table::Table, time};

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

/// Whether it has ended and was not asked for. Who names a state wants those in it, ended or not.
pub(super) fn is_hidden(spore: &SporeInstance, args: &ListArgs) -> bool {
    !args.all && args.state.is_empty() && has_ended(spore)
}

/// Whether a spore is one of those that were asked for.
pub(super) fn matches(spore: &SporeInstance, args: &ListArgs) -> bool {
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
    // Who looks at members wants them by their index.
    let indexed = spores.iter().any(|spore| spore.spec.member.is_some());
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
        columns.extend(["INSTANCE", "REGION", "PUBLIC-IP", "AMI", "ENDED"]);
    }
    let mut table = Table::new(&columns);
    for spore in spores {
        let mut cells = Vec::new();
        if everywhere {
            cells.push(spore.namespace());
        }
        cells.push(Some(spore.name_any()));
        if indexed {
            let member = spore.spec.member.as_ref();
            cells.push(member.map(|member| member.index.to_string()));
        }
        cells.extend(narrow(spore, now));
        if wide {
            cells.extend(more(spore));
        }
        table.row(cells);
    }
    table.render("")
}

fn narrow(spore: &SporeInstance, now: Timestamp) -> [Option<String>; 8] {
    let status = spore.status.clone().unwrap_or_default();
    let ready = spore_crds::conditions::get(&status.conditions, spore_crds::conditions::READY);
    let left = match (status.deadline, &status.ended) {
        (Some(deadline), None) if deadline > now => Some(time::since(now, deadline)),
        (Some(_), None) => Some("over".into()),
        (_, Some(_)) | (None, None) => None,
    };
    [
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

fn more(spore: &SporeInstance) -> [Option<String>; 5] {
    let status = spore.status.clone().unwrap_or_default();
    let instance = status.instance.unwrap_or_default();
    [
        Some(instance.id),
        region(spore),
        instance.public_ip,
        instance.image_id,
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
        NAMESPACE   NAME    READY   STATE     TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE     INSTANCE   REGION      PUBLIC-IP   AMI     ENDED
        lab         train   True    Running   g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s   i-0123     -           1.2.3.4     ami-1   -
        lab         old     -       Ended     g5.xlarge   OnDemand   -            -          -          -       -          eu-west-1   -           -       TTLExpired
        ");
    }

    #[test]
    fn members_are_shown_with_their_index() {
        let mut member = running();
        member.spec.member = serde_json::from_value(json!({"index": 7, "attempt": 1})).unwrap();
        let table = render(&[member, over()], false, false, now());
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
