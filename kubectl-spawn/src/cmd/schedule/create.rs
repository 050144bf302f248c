//! `kubectl spawn schedule create`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Map, Value, json};
use spore_core::{
    calendar::{self, Cron},
    duration::Duration,
};
use spore_crds::{SporeScheduleSpec, schedule::LONGEST_NAME};

use super::{api, full_name, next, source};
use crate::{
    check,
    cli::{Format, Global},
    client::Cluster,
    cmd::launch::DryRun,
    error::Error,
    print::{self, time},
};

/// Names that the API server makes begin with this.
const GENERATED: &str = "schedule-";

/// Start what a file describes, once or again and again
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("when").args(["at", "cron"]).required(true),
    after_help = "\
The file holds a manifest of a SporeInstance, a SporeArray or a SporeSweep, or parameters with defaults,
params and grid, which become a sweep; in YAML or JSON.

Examples:
  # A sweep every six hours
  kubectl spawn schedule create sweep.yaml --cron '0 */6 * * *'

  # On weekdays at eight by the clocks of Berlin, never two at once, for ten times
  kubectl spawn schedule create sweep.json --name nightly --cron '0 8 * * MON-FRI' \\
    --timezone Europe/Berlin --concurrency forbid --max-executions 10

  # Once
  kubectl spawn schedule create train.yaml --at 2036-12-01T08:00:00Z"
)]
pub(crate) struct CreateArgs {
    /// What to start: a file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the schedule; the one in the file, or that of the file, if left out
    #[arg(long, value_parser = name)]
    name: Option<String>,

    /// Once: a moment in RFC 3339, or without an offset a time in --timezone
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    at: Option<String>,
    /// Again and again: minute, hour, day of month, month, day of week; or @daily and the like
    #[arg(long, value_name = "PATTERN", value_parser = cron, help_heading = "Times")]
    cron: Option<String>,
    /// The time zone, by its IANA name
    #[arg(long, visible_alias = "time-zone", value_name = "ZONE", default_value = "UTC", value_parser = zone, help_heading = "Times")]
    timezone: String,
    /// No execution after this moment, in RFC 3339 or as a time in --timezone
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    end_after: Option<String>,
    /// How many executions there are in all, 0 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=1_000_000), help_heading = "Times")]
    max_executions: Option<u32>,
    /// How late one may start that could not start in time: 10m, 2h; however late if left out
    #[arg(long, value_name = "DURATION", value_parser = check::positive_duration, help_heading = "Times")]
    starting_deadline: Option<Duration>,

    /// What happens when one is due while an earlier one is active
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value_t,
        help_heading = "Executions"
    )]
    concurrency: Concurrency,
    /// How many succeeded ones are kept as objects; 3 if left out
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=100), help_heading = "Executions")]
    successful_history_limit: Option<u32>,
    /// How many failed ones are kept as objects; 1 if left out
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=100), help_heading = "Executions")]
    failed_history_limit: Option<u32>,
    /// Start nothing until `kubectl spawn schedule resume`
    #[arg(long, help_heading = "Executions")]
    paused: bool,

    /// Create nothing: client only writes the object, server has it checked by the API
    #[arg(long, value_name = "WHO", value_enum, default_value_t, num_args = 0..=1, require_equals = true, default_missing_value = "client", help_heading = "Output")]
    dry_run: DryRun,
    /// Print the object
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    output: Option<Format>,
}

/// What happens when an execution is due while an earlier one is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Concurrency {
    /// It starts beside it
    #[default]
    Allow,
    /// It waits
    Forbid,
    /// The earlier one is ended first
    Replace,
}

fn name(text: &str) -> Result<String, String> {
    match check::name(text)? {
        name if name.len() > LONGEST_NAME => Err(format!(
            "has {} characters; {LONGEST_NAME} are the most, because what is started is named after it",
            name.len()
        )),
        name => Ok(name),
    }
}

fn cron(text: &str) -> Result<String, String> {
    Cron::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn zone(text: &str) -> Result<String, String> {
    calendar::zone(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Creates.
pub(super) async fn run(args: CreateArgs, global: &Global) -> Result<(), Error> {
    let now = time::now();
    let source = source::read(&args.file)?;
    let mut object = build(&args, source, now)?;
    if args.dry_run == DryRun::Client {
        return draft(&object, &args, global);
    }
    let cluster = Cluster::connect(global).await?;
    object["metadata"]["namespace"] = json!(cluster.namespace);
    let dry_run = args.dry_run == DryRun::Server;
    let created = api::create(&cluster, &object, dry_run).await?;
    if let Some(format) = args.output {
        return api::print(created, format);
    }
    let done = match dry_run {
        true => "created (server dry run)",
        false => "created",
    };
    print::line(&format!("{} {done}", full_name(&created.name_any())))?;
    let schedule = api::read(created)?;
    match next(&schedule.spec, now) {
        Some(_) if schedule.spec.suspend => {
            print::note("It starts nothing until it is resumed.");
        }
        Some(next) => print::note(&format!("First execution: {}", time::moment(next, now))),
        None => {}
    }
    Ok(())
}

/// The object to create: what the user said and nothing else.
fn build(args: &CreateArgs, source: source::Source, now: Timestamp) -> Result<Value, Error> {
    let mut spec = Map::new();
    let mut say = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec.insert(field.to_owned(), value);
        }
    };
    say("schedule", args.cron.as_ref().map(|cron| json!(cron)));
    say("at", args.at.as_ref().map(|at| json!(at)));
    say(
        "timeZone",
        (args.timezone != "UTC").then(|| json!(args.timezone)),
    );
    let end = args.end_after.as_deref();
    let end = end.map(|end| moment("--end-after", end, &args.timezone, now));
    say("endAfter", end.transpose()?.map(|end| json!(end)));
    // 0 is how no limit is said; in the object it is said by leaving it out.
    let most = args.max_executions.filter(|most| *most > 0);
    say("maxExecutions", most.map(|most| json!(most)));
    say(
        "startingDeadline",
        args.starting_deadline.map(|late| json!(late)),
    );
    say(
        "concurrencyPolicy",
        match args.concurrency {
            Concurrency::Allow => None,
            Concurrency::Forbid => Some(json!("Forbid")),
            Concurrency::Replace => Some(json!("Replace")),
        },
    );
    say(
        "successfulHistoryLimit",
        args.successful_history_limit.map(|limit| json!(limit)),
    );
    say(
        "failedHistoryLimit",
        args.failed_history_limit.map(|limit| json!(limit)),
    );
    say("suspend", args.paused.then_some(json!(true)));
    say("template", Some(source.template));
    if let Some(at) = &args.at {
        moment("--at", at, &args.timezone, now)?;
    }
    check_due(&spec, now)?;
    let metadata = match args.name.clone().or(source.name) {
        Some(name) => {
            json!({"name": self::name(&name).map_err(|what| usage(format!("{name}: {what}"), "Give another with --name."))?})
        }
        None => json!({"generateName": GENERATED}),
    };
    Ok(json!({
        "apiVersion": format!("{}/v1alpha1", spore_crds::GROUP),
        "kind": "SporeSchedule",
        "metadata": metadata,
        "spec": spec,
    }))
}

/// Reads a moment that has not passed.
fn moment(flag: &str, text: &str, zone: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let known = calendar::zone(zone).map_err(|error| usage(error.to_string(), ""))?;
    let at =
        calendar::moment(text, &known).map_err(|error| usage(format!("{flag}: {error}"), ""))?;
    match at > now {
        true => Ok(at),
        false => Err(usage(
            format!("{flag} {text} has passed"),
            &format!("Now is {}.", time::clock(now)),
        )),
    }
}

/// Refuses a schedule that would never start anything.
fn check_due(spec: &Map<String, Value>, now: Timestamp) -> Result<(), Error> {
    let whole = serde_json::from_value::<SporeScheduleSpec>(Value::Object(spec.clone()));
    match whole {
        Ok(spec) if next(&spec, now).is_none() => Err(usage(
            "nothing would be due before --end-after".into(),
            "Move it, or leave it out.",
        )),
        // What cannot be read is for the API server to judge.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn usage(what: String, advice: &str) -> Error {
    Error::Usage {
        what,
        advice: advice.to_owned(),
    }
}

fn draft(object: &Value, args: &CreateArgs, global: &Global) -> Result<(), Error> {
    let mut object = object.clone();
    if let Some(namespace) = &global.namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or("(generated)");
    let name = full_name(name);
    match args.output {
        Some(Format::Json) => print::out(&print::json(&object)),
        Some(Format::Yaml) => print::out(&print::yaml(&object)),
        Some(Format::Name) => print::line(&name),
        None => print::line(&format!("{name} created (dry run)")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::error::Exit;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn parsed(line: &str) -> Result<CreateArgs, clap::Error> {
        let words = line.split('|').map(str::trim);
        Line::try_parse_from(std::iter::once("create").chain(words)).map(|line| line.args)
    }

    fn built(line: &str) -> Result<Value, Error> {
        let source = source::Source {
            name: Some("sweep".into()),
            template: json!({"sweep": {"params": []}}),
        };
        build(
            &parsed(line).unwrap(),
            source,
            "2026-11-21T10:00:00Z".parse().unwrap(),
        )
    }

    #[test]
    fn only_what_was_said_is_in_the_object() {
        insta::assert_snapshot!(print::yaml(&built("f.yaml | --cron | 0 */6 * * *").unwrap()), @r#"
        apiVersion: spore.host/v1alpha1
        kind: SporeSchedule
        metadata:
          name: sweep
        spec:
          schedule: 0 */6 * * *
          template:
            sweep:
              params: []
        "#);
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let line = "f.yaml | --at | 2026-12-01T08:00:00 | --timezone | Europe/Berlin | --name | nightly | --paused \
            | --end-after | 2026-12-02T00:00 | --max-executions | 3 | --starting-deadline | 2h | --concurrency | replace \
            | --successful-history-limit | 0 | --failed-history-limit | 7";
        insta::assert_snapshot!(print::yaml(&built(line).unwrap()), @r#"
        apiVersion: spore.host/v1alpha1
        kind: SporeSchedule
        metadata:
          name: nightly
        spec:
          at: "2026-12-01T08:00:00"
          concurrencyPolicy: Replace
          endAfter: "2026-12-01T23:00:00Z"
          failedHistoryLimit: 7
          maxExecutions: 3
          startingDeadline: 2h
          successfulHistoryLimit: 0
          suspend: true
          template:
            sweep:
              params: []
          timeZone: Europe/Berlin
        "#);
    }

    #[test]
    fn no_limit_is_said_by_leaving_it_out() {
        let object = built("f.yaml | --cron | @daily | --max-executions | 0").unwrap();
        assert_eq!(object["spec"]["maxExecutions"], Value::Null);
    }

    #[test]
    fn what_would_start_nothing_or_cannot_be_read_is_wrong_usage() {
        for (line, says) in [
            ("f.yaml", "--at <TIME>|--cron <PATTERN>"),
            (
                "f.yaml | --cron | @daily | --at | 2026-12-01T08:00:00Z",
                "cannot be used with",
            ),
            ("f.yaml | --cron | 0 25 * * *", "cannot be read"),
            (
                "f.yaml | --cron | @daily | --timezone | Europe/Berln",
                "did you mean Europe/Berlin?",
            ),
            (
                "f.yaml | --cron | @daily | --name | Nightly_Run",
                "did you mean nightly-run?",
            ),
        ] {
            let error = parsed(line).map(|_| ()).unwrap_err();
            assert!(
                error.exit_code() == 2 && error.to_string().contains(says),
                "{line}: {error}"
            );
        }
        for (line, says) in [
            (
                "f.yaml | --at | 2026-11-21T09:59:59Z",
                "--at 2026-11-21T09:59:59Z has passed",
            ),
            ("f.yaml | --at | tomorrow", "is no moment"),
            (
                "f.yaml | --cron | @daily | --end-after | 2026-11-21T11:00:00Z",
                "nothing would be due",
            ),
        ] {
            let error = built(line).unwrap_err();
            assert!(
                error.exit() == Exit::Usage && error.to_string().contains(says),
                "{line}: {error}"
            );
        }
    }
}
