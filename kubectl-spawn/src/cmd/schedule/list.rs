//! `kubectl spawn schedule list`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};
use spore_crds::SporeSchedule;

use super::{api, name_of, status_word};
use crate::{
    cli::{Format, Global},
    client::Cluster,
    error::Error,
    print::{self, table::Table, time},
};

/// List schedules
#[derive(Args, Debug)]
#[command(visible_aliases = ["ls", "get"])]
pub(crate) struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these labels, such as team=ml,stage!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Only those that stand so; may be repeated
    #[arg(long, value_enum, value_delimiter = ',')]
    status: Vec<Status>,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// How a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    /// There is a next execution
    Active,
    /// Nothing is started until it is resumed
    Paused,
    /// Nothing is started any more
    Finished,
    /// It cannot go on as declared
    Stalled,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Stalled => "stalled",
        }
    }
}

/// Lists.
pub(super) async fn run(args: ListArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let objects = api::list(&cluster, args.all_namespaces, args.selector.as_deref()).await?;
    let mut shown = Vec::<(DynamicObject, SporeSchedule)>::new();
    for object in objects {
        match api::read(object.clone()) {
            Ok(schedule) if is_asked_for(&schedule, &args.status) => shown.push((object, schedule)),
            Ok(_) => {}
            Err(error) => print::note(&format!("not shown: {error}")),
        }
    }
    match args.output {
        Some(Format::Name) => shown
            .iter()
            .try_for_each(|(_, schedule)| print::line(&name_of(schedule))),
        Some(format) => print::objects(
            shown.into_iter().map(|(object, _)| object).collect(),
            format,
        ),
        None if shown.is_empty() => {
            let place = match args.all_namespaces {
                true => "in any namespace".to_owned(),
                false => format!("in {} namespace", cluster.namespace),
            };
            print::note(&format!("No schedules found {place}."));
            Ok(())
        }
        None => {
            let schedules = shown.into_iter().map(|(_, schedule)| schedule);
            let schedules = schedules.collect::<Vec<_>>();
            print::out(&render(&schedules, args.all_namespaces, time::now()))
        }
    }
}

fn is_asked_for(schedule: &SporeSchedule, asked: &[Status]) -> bool {
    asked.is_empty()
        || asked
            .iter()
            .any(|status| status_word(schedule) == Some(status.word()))
}

fn render(schedules: &[SporeSchedule], everywhere: bool, now: Timestamp) -> String {
    let mut columns = Vec::new();
    if everywhere {
        columns.push("NAMESPACE");
    }
    columns.extend([
        "NAME", "STATUS", "SCHEDULE", "ZONE", "NEXT", "LAST", "ACTIVE", "RUNS", "AGE",
    ]);
    let mut table = Table::new(&columns);
    for schedule in schedules {
        let mut cells = Vec::new();
        if everywhere {
            cells.push(schedule.namespace());
        }
        cells.extend(row(schedule, now));
        table.row(cells);
    }
    table.render("")
}

fn row(schedule: &SporeSchedule, now: Timestamp) -> [Option<String>; 9] {
    let spec = &schedule.spec;
    let status = schedule.status.clone().unwrap_or_default();
    let next = status.next_schedule_time.filter(|next| *next > now);
    let runs = match spec.max_executions {
        Some(most) => format!("{}/{most}", status.executions),
        None => status.executions.to_string(),
    };
    [
        Some(schedule.name_any()),
        status_word(schedule).map(ToOwned::to_owned),
        spec.schedule.clone().or_else(|| spec.at.clone()),
        Some(spec.time_zone.clone()),
        next.map(|next| format!("in {}", time::since(now, next))),
        status
            .last_schedule_time
            .map(|last| format!("{} ago", time::since(last, now))),
        Some(status.active_count.to_string()),
        Some(runs),
        schedule
            .creation_timestamp()
            .map(|created| time::since(created.0, now)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(…) in place"
    )]
    pub(in super::super) fn schedule(name: &str, spec: Value, status: Value) -> SporeSchedule {
        let mut whole = json!({"template": {"sweep": {"params": []}}});
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1",
            "kind": "SporeSchedule",
            "metadata": {"name": name, "namespace": "lab", "creationTimestamp": "2026-11-20T10:00:00Z"},
            "spec": whole,
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_table_tells_when_each_was_and_will_be_due() {
        let schedules = [
            schedule(
                "nightly",
                json!({"schedule": "0 8 * * MON-FRI", "timeZone": "Europe/Berlin", "maxExecutions": 10}),
                json!({
                    "state": "Active", "conditions": [], "executions": 4, "activeCount": 1,
                    "lastScheduleTime": "2026-11-21T07:00:00Z", "nextScheduleTime": "2026-11-23T07:00:00Z",
                }),
            ),
            schedule("once", json!({"at": "2026-12-01T08:00:00"}), json!(null)),
            schedule(
                "idle",
                json!({"schedule": "@daily", "suspend": true}),
                json!({"state": "Active", "conditions": []}),
            ),
        ];
        let table = render(&schedules, false, "2026-11-21T10:00:00Z".parse().unwrap());
        insta::assert_snapshot!(table, @"
        NAME      STATUS   SCHEDULE              ZONE            NEXT     LAST     ACTIVE   RUNS   AGE
        nightly   active   0 8 * * MON-FRI       Europe/Berlin   in 45h   3h ago   1        4/10   24h
        once      -        2026-12-01T08:00:00   UTC             -        -        0        0      24h
        idle      paused   @daily                UTC             -        -        0        0      24h
        ");
        assert!(is_asked_for(
            &schedules[0],
            &[Status::Paused, Status::Active]
        ));
        assert!(!is_asked_for(&schedules[1], &[Status::Active]));
        assert!(!is_asked_for(&schedules[2], &[Status::Active]));
    }
}
