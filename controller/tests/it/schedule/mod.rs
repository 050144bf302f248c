//! What a schedule starts, and when: the plan on its own.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where what it needs is not there"
)]

mod simulation;

use jiff::Timestamp;
use serde_json::{Value, json};
use spore_controller::plan::schedule::{Action, Child, End, Kind, Plan, View, name, plan};
use spore_crds::{Outcome, ScheduleState, SporeSchedule, conditions};

pub(super) fn at(text: &str) -> Timestamp {
    match text.contains('T') {
        true => text.parse().unwrap(),
        // A time of the day on which all of this happens.
        false => format!("2026-11-21T{text}Z").parse().unwrap(),
    }
}

/// A schedule that was made at 10:00, with these fields over those of an hourly instance.
pub(super) fn schedule(spec: Value) -> SporeSchedule {
    let mut whole = json!({
        "schedule": "0 * * * *",
        "template": {"instance": {"instanceType": "t3.micro"}},
    });
    if let Value::Object(fields) = spec {
        for (key, value) in fields {
            whole[&key] = value;
        }
    }
    serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeSchedule",
        "metadata": {
            "name": "s", "namespace": "lab", "uid": "uid-s", "generation": 1,
            "creationTimestamp": "2026-11-21T10:00:00Z",
        },
        "spec": whole,
    }))
    .unwrap()
}

fn once(moment: &str) -> Value {
    json!({"schedule": null, "at": moment})
}

pub(super) fn child(time: Timestamp, end: Option<bool>) -> Child {
    Child {
        kind: Kind::Instance,
        name: name("s", time),
        uid: format!("uid-{}", name("s", time)),
        scheduled: time,
        deleting: false,
        end: end.map(|succeeded| End {
            succeeded,
            at: None,
            message: Some("so it ended".into()),
        }),
    }
}

fn look(schedule: &SporeSchedule, children: &[Child], now: &str) -> Plan {
    let view = View {
        children,
        refused: None,
    };
    plan(schedule, &view, at(now))
}

/// Looks, and stores what was decided.
fn pass(schedule: &mut SporeSchedule, children: &[Child], now: &str) -> Plan {
    let plan = look(schedule, children, now);
    schedule.status = Some(plan.status.clone());
    plan
}

fn created(plan: &Plan) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Create { name, .. } => Some(name.clone()),
        Action::Delete { .. } | Action::Note(_) => None,
    };
    plan.actions.iter().filter_map(name).collect()
}

fn deleted(plan: &Plan) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Delete { name, .. } => Some(name.clone()),
        Action::Create { .. } | Action::Note(_) => None,
    };
    plan.actions.iter().filter_map(name).collect()
}

/// Reasons and texts of the Events.
fn said(plan: &Plan) -> String {
    let text = |action: &Action| match action {
        Action::Note(note) => Some(format!("{}: {}\n", note.reason, note.message)),
        Action::Create { .. } | Action::Delete { .. } => None,
    };
    plan.actions.iter().filter_map(text).collect()
}

fn ready(plan: &Plan) -> (String, String, String) {
    let ready = conditions::get(&plan.status.conditions, conditions::READY).unwrap();
    (
        ready.status.clone(),
        ready.reason.clone(),
        ready.message.clone(),
    )
}

fn outcomes(plan: &Plan) -> Vec<Outcome> {
    let entries = plan.status.history.iter();
    entries.map(|entry| entry.outcome).collect()
}

// ---- starting ----

#[test]
fn before_its_time_nothing_is_started_and_the_next_time_is_told() {
    let plan = look(&schedule(json!({})), &[], "10:30:00");
    assert_eq!(plan.actions, []);
    assert_eq!(plan.wake, Some(at("11:00:00")));
    assert_eq!(plan.status.next_schedule_time, Some(at("11:00:00")));
    assert_eq!(plan.status.state, Some(ScheduleState::Active));
    assert_eq!(ready(&plan).0, "True");
}

#[test]
fn at_its_time_an_execution_is_stored_and_created() {
    let plan = look(&schedule(json!({})), &[], "11:00:00.3");
    let Action::Create { object, name, .. } = &plan.actions[0] else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!(plan.status.starting.as_ref().unwrap().name, *name);
    assert_eq!(plan.status.last_schedule_time, Some(at("11:00:00")));
    assert!(conditions::is_true(
        &plan.status.conditions,
        conditions::RECONCILING
    ));
    let minutes = at("11:00:00").as_second() / 60;
    assert_eq!(
        **object,
        json!({
            "apiVersion": "spore.host/v1alpha1",
            "kind": "SporeInstance",
            "metadata": {
                "name": format!("s-{minutes}"), "namespace": "lab",
                "labels": {"spore.host/schedule": "s"},
                "annotations": {"spore.host/scheduled-at": "2026-11-21T11:00:00Z"},
                "ownerReferences": [{
                    "apiVersion": "spore.host/v1alpha1", "kind": "SporeSchedule", "name": "s",
                    "uid": "uid-s", "controller": true,
                }],
            },
            "spec": {"instanceType": "t3.micro"},
        })
    );
}

#[test]
fn after_a_crash_the_same_execution_is_created_and_counted_once() {
    let mut schedule = schedule(json!({}));
    let first = pass(&mut schedule, &[], "11:00:00");
    // The process ended before it created.
    let again = pass(&mut schedule, &[], "11:07:00");
    assert_eq!(created(&first), created(&again));
    // The process ended after it created.
    let children = [child(at("11:00:00"), None)];
    let after = pass(&mut schedule, &children, "11:08:00");
    assert_eq!((created(&after).len(), after.status.executions), (0, 1));
    assert!(said(&after).starts_with("Started: created SporeInstance s-"));
    let settled = pass(&mut schedule, &children, "11:09:00");
    assert_eq!((settled.actions.len(), settled.status), (0, after.status));
}

#[test]
fn a_lost_status_makes_no_second_execution() {
    let children = [child(at("11:00:00"), None)];
    let plan = look(&schedule(json!({})), &children, "11:30:00");
    assert_eq!(created(&plan), [""; 0]);
}

#[test]
fn of_missed_times_only_the_latest_is_made_up_for() {
    let plan = look(&schedule(json!({})), &[], "14:59:00");
    assert_eq!(created(&plan), [name("s", at("14:00:00"))]);
    assert!(
        said(&plan).contains("3 earlier times were missed"),
        "{}",
        said(&plan)
    );
    let minutely = schedule(json!({"schedule": "* * * * *"}));
    let plan = look(&minutely, &[], "2036-11-21T00:00:30Z");
    assert_eq!(created(&plan), [name("s", at("2036-11-21T00:00:00Z"))]);
    assert!(
        said(&plan).contains("more than 100 earlier times"),
        "{}",
        said(&plan)
    );
}

#[test]
fn what_cannot_start_within_its_deadline_is_missed_and_said_once() {
    let mut schedule = schedule(json!({"startingDeadline": "10m"}));
    let plan = pass(&mut schedule, &[], "11:10:01");
    assert_eq!(created(&plan), [""; 0]);
    assert_eq!(outcomes(&plan), [Outcome::Missed]);
    assert!(
        said(&plan).contains("could not be started within 10m"),
        "{}",
        said(&plan)
    );
    let plan = pass(&mut schedule, &[], "11:11:00");
    assert_eq!(plan.actions, []);
    assert_eq!(created(&pass(&mut schedule, &[], "12:09:59")).len(), 1);
}

#[test]
fn a_schedule_that_is_being_deleted_starts_nothing() {
    let mut schedule = schedule(json!({}));
    schedule.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at("10:59:00")),
    );
    let plan = look(&schedule, &[], "11:00:00");
    assert_eq!((plan.actions.len(), plan.wake), (0, None));
}

// ---- concurrency ----

#[test]
fn allow_starts_beside_what_runs() {
    let mut schedule = schedule(json!({}));
    let children = [child(at("11:00:00"), None)];
    let plan = pass(&mut schedule, &children, "12:00:00");
    assert_eq!(created(&plan).len(), 1);
    assert_eq!(deleted(&plan), [""; 0]);
}

#[test]
fn forbid_waits_for_what_runs_as_long_as_the_deadline_admits() {
    let mut schedule = schedule(json!({"concurrencyPolicy": "Forbid", "startingDeadline": "20m"}));
    let running = [child(at("11:00:00"), None)];
    let waiting = pass(&mut schedule, &running, "12:00:00");
    assert_eq!(created(&waiting), [""; 0]);
    assert_eq!(waiting.wake, Some(at("12:20:00")));
    assert_eq!(ready(&waiting).1, "WaitingForActive");
    let ended = [child(at("11:00:00"), Some(true))];
    let mut other = schedule.clone();
    assert_eq!(
        created(&pass(&mut other, &ended, "12:19:00")),
        [name("s", at("12:00:00"))]
    );
    let late = pass(&mut schedule, &running, "12:20:01");
    assert_eq!(outcomes(&late), [Outcome::Active, Outcome::Missed]);
    assert!(
        said(&late).contains("did not end within 20m"),
        "{}",
        said(&late)
    );
}

#[test]
fn replace_deletes_first_and_creates_when_nothing_is_left() {
    let mut schedule = schedule(json!({"concurrencyPolicy": "Replace", "startingDeadline": "1m"}));
    let old = child(at("11:00:00"), None);
    let plan = pass(&mut schedule, std::slice::from_ref(&old), "12:00:00");
    assert_eq!(
        (created(&plan).len(), deleted(&plan)),
        (0, vec![old.name.clone()])
    );
    let going = Child {
        deleting: true,
        ..old
    };
    // Longer than the deadline, which was met when it was decided.
    let plan = pass(&mut schedule, &[going], "12:10:00");
    assert_eq!((created(&plan).len(), deleted(&plan).len()), (0, 0));
    assert_eq!(ready(&plan).1, "Replacing");
    let plan = pass(&mut schedule, &[], "12:11:00");
    assert_eq!(created(&plan), [name("s", at("12:00:00"))]);
    assert_eq!(outcomes(&plan), [Outcome::Deleted]);
}

// ---- limits ----

#[test]
fn after_the_last_of_its_executions_it_is_finished() {
    let mut schedule = schedule(json!({"maxExecutions": 1}));
    pass(&mut schedule, &[], "11:00:00");
    let plan = pass(&mut schedule, &[child(at("11:00:00"), None)], "11:00:01");
    assert_eq!(plan.status.state, Some(ScheduleState::Finished));
    assert_eq!(
        ready(&plan),
        (
            "True".into(),
            "Finished".into(),
            "all 1 executions were started".into()
        )
    );
    assert_eq!((plan.wake, plan.status.next_schedule_time), (None, None));
    let later = pass(
        &mut schedule,
        &[child(at("11:00:00"), Some(false))],
        "12:00:00",
    );
    assert_eq!(
        (created(&later).len(), outcomes(&later)),
        (0, vec![Outcome::Failed])
    );
}

#[test]
fn nothing_is_due_after_its_end() {
    let mut schedule = schedule(json!({"endAfter": "2026-11-21T11:30:00Z"}));
    assert_eq!(created(&pass(&mut schedule, &[], "11:20:00")).len(), 1);
    let children = [child(at("11:00:00"), None)];
    let plan = pass(&mut schedule, &children, "11:20:01");
    assert_eq!(plan.status.state, Some(ScheduleState::Finished));
    assert_eq!(
        created(&pass(&mut schedule, &children, "12:00:00")),
        [""; 0]
    );
}

#[test]
fn one_moment_is_one_execution() {
    let mut schedule = schedule(once("2026-11-21T12:34:56+01:00"));
    let plan = pass(&mut schedule, &[], "11:34:55");
    assert_eq!(plan.wake, Some(at("11:34:56")));
    let plan = pass(&mut schedule, &[], "11:34:56");
    assert_eq!(created(&plan), [name("s", at("11:34:56"))]);
    let plan = pass(&mut schedule, &[child(at("11:34:56"), None)], "11:34:57");
    assert_eq!(plan.status.state, Some(ScheduleState::Finished));
    assert_eq!(ready(&plan).1, "Finished");
    // Another moment in the same minute is another execution.
    schedule.spec.at = Some("2026-11-21T11:34:58Z".into());
    let plan = pass(&mut schedule, &[child(at("11:34:56"), None)], "11:34:58");
    assert_eq!(created(&plan), [name("s", at("11:34:58"))]);
}

#[test]
fn a_local_moment_is_read_in_its_zone() {
    let mut spec = once("2026-11-21T12:00:00");
    spec["timeZone"] = json!("Europe/Berlin");
    assert_eq!(created(&look(&schedule(spec), &[], "11:00:00")).len(), 1);
}

#[test]
fn a_moment_that_had_passed_is_refused_with_a_reason() {
    let plan = look(&schedule(once("2026-11-21T09:59:01Z")), &[], "10:00:01");
    assert_eq!(created(&plan).len(), 1, "it was near when it was written");
    let plan = look(&schedule(once("2026-11-21T09:59:00Z")), &[], "10:00:01");
    assert_eq!(
        (plan.actions.len(), plan.status.state),
        (0, Some(ScheduleState::Stalled))
    );
    assert_eq!(ready(&plan).1, "InThePast");
}

#[test]
fn while_suspended_nothing_starts_and_afterwards_the_latest_missed_time_does() {
    let mut schedule = schedule(json!({"suspend": true}));
    let plan = pass(&mut schedule, &[], "13:30:00");
    assert_eq!((plan.actions.len(), plan.wake), (0, None));
    assert_eq!(plan.status.state, Some(ScheduleState::Suspended));
    assert_eq!(plan.status.next_schedule_time, None);
    schedule.spec.suspend = false;
    assert_eq!(
        created(&pass(&mut schedule, &[], "13:31:00")),
        [name("s", at("13:00:00"))]
    );
}

// ---- history ----

#[test]
fn ended_executions_beyond_the_limits_are_deleted_oldest_first() {
    let mut schedule = schedule(json!({"successfulHistoryLimit": 1, "failedHistoryLimit": 0}));
    let children = [
        child(at("13:00:00"), None),
        child(at("12:00:00"), Some(true)),
        child(at("11:00:00"), Some(true)),
        child(at("11:30:00"), Some(false)),
    ];
    let plan = pass(&mut schedule, &children, "13:10:00");
    assert_eq!(
        deleted(&plan),
        [name("s", at("11:00:00")), name("s", at("11:30:00"))]
    );
    let plan = pass(&mut schedule, &children[..2], "13:11:00");
    assert_eq!(deleted(&plan), [""; 0]);
    assert_eq!(
        outcomes(&plan),
        [
            Outcome::Succeeded,
            Outcome::Failed,
            Outcome::Succeeded,
            Outcome::Active
        ]
    );
    assert_eq!(plan.status.last_successful_time, Some(at("13:10:00")));
    assert_eq!(plan.status.active[0].name, name("s", at("13:00:00")));
}

#[test]
fn the_history_is_bounded_and_keeps_what_is_active() {
    let mut schedule = schedule(json!({"schedule": "* * * * *", "successfulHistoryLimit": 100}));
    let mut children = vec![child(at("10:01:00"), None)];
    let minutes = (2..60).map(|minute| at(&format!("10:{minute:02}:00")));
    children.extend(minutes.map(|time| child(time, Some(true))));
    let plan = pass(&mut schedule, &children, "10:59:30");
    assert_eq!(plan.status.history.len(), 21);
    assert_eq!(plan.status.history[0].outcome, Outcome::Active);
    let again = pass(&mut schedule, &children, "10:59:31");
    assert_eq!(
        again.status, plan.status,
        "what is dropped does not come back"
    );
}

// ---- what is wrong ----

#[test]
fn what_cannot_be_read_stalls_with_what_to_do() {
    for (spec, reason, says) in [
        (
            json!({"schedule": "0 25 * * *"}),
            "InvalidSchedule",
            "\"0 25 * * *\" cannot be read",
        ),
        (
            json!({"schedule": "0 0 30 2 *"}),
            "InvalidSchedule",
            "never comes",
        ),
        (
            json!({"timeZone": "Europe/Berln"}),
            "UnknownTimeZone",
            "did you mean Europe/Berlin?",
        ),
        (once("2026-02-30T00:00:00Z"), "InvalidTime", "is no moment"),
    ] {
        let mut schedule = schedule(spec);
        let plan = pass(&mut schedule, &[], "11:00:00");
        assert_eq!(ready(&plan).0, "False");
        let (_, told, message) = ready(&plan);
        assert!(
            told == reason && message.contains(says),
            "{told}: {message}"
        );
        assert!(conditions::is_true(
            &plan.status.conditions,
            conditions::STALLED
        ));
        assert_eq!((plan.actions.len(), plan.wake), (0, None));
        assert_eq!(
            look(&schedule, &[], "12:00:00").status,
            plan.status,
            "it settles"
        );
    }
}

#[test]
fn what_the_api_server_refuses_is_told_and_tried_again() {
    let mut schedule = schedule(json!({}));
    pass(&mut schedule, &[], "11:00:00");
    let view = View {
        children: &[],
        refused: Some("spec.instanceType: no"),
    };
    let told = plan(&schedule, &view, at("11:00:01"));
    assert_eq!((created(&told).len(), told.wake), (0, Some(at("11:01:01"))));
    assert_eq!(told.status.state, Some(ScheduleState::Stalled));
    assert!(
        ready(&told).2.contains("spec.instanceType: no"),
        "{:?}",
        ready(&told)
    );
    schedule.status = Some(told.status);
    assert_eq!(pass(&mut schedule, &[], "11:00:30").actions, []);
    assert_eq!(created(&look(&schedule, &[], "11:01:01")).len(), 1);
    // Who corrects it need not wait.
    let mut corrected = schedule.clone();
    corrected.metadata.generation = Some(2);
    assert_eq!(created(&pass(&mut corrected, &[], "11:00:31")).len(), 1);
    // When the next time comes, it has been missed.
    let next = pass(&mut schedule, &[], "12:00:00");
    assert_eq!(created(&next), [name("s", at("12:00:00"))]);
    assert_eq!(outcomes(&next), [Outcome::Missed]);
}
