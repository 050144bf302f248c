//! Schedules: on the real API server, with the real controller under the chart's rights.

mod wrong;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use spore_crds::{
    Outcome, SCHEDULE_LABEL, ScheduleState, ScheduleStatus, SporeArray, SporeInstance,
    SporeSchedule, SporeSweep,
    conditions::{self, READY},
};
use spore_e2e::{PATIENCE, kstatus_of, kubectl, spores, without_machines};
use spore_world::{World, eventually, poll};

/// Room for a cron pattern of every minute: two of its times, on a busy machine.
const TWO_MINUTES: Duration = Duration::from_secs(180);

fn schedules(world: &World) -> Api<SporeSchedule> {
    Api::namespaced(world.client(), world.namespace())
}

/// A moment so many seconds from now.
fn soon(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A schedule of an instance that lives for an hour, with these fields over it.
fn manifest(name: &str, spec: Value) -> Value {
    let mut whole = json!({"template": {"instance": {"instanceType": "t3.micro", "ttl": "1h"}}});
    if let (Some(whole), Value::Object(fields)) = (whole.as_object_mut(), spec) {
        whole.extend(fields);
    }
    json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeSchedule",
        "metadata": {"name": name},
        "spec": whole,
    })
}

async fn apply(world: &World, name: &str, spec: Value) {
    let manifest = manifest(name, spec).to_string();
    world.apply(&manifest).await.expect("it is applied");
}

async fn change(world: &World, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    let params = PatchParams::default();
    let changed = schedules(world).patch(name, &params, &patch).await;
    changed.expect("it may be changed");
}

async fn until(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&ScheduleStatus) -> bool,
) -> ScheduleStatus {
    let api = schedules(world);
    eventually(&format!("{name}: {what}"), PATIENCE, async || {
        let schedule = api.get(name).await.ok()?;
        let answered =
            schedule.status.as_ref()?.observed_generation == schedule.metadata.generation;
        schedule.status.filter(|status| answered && wanted(status))
    })
    .await
}

fn told(status: &ScheduleStatus) -> (String, String) {
    let ready = conditions::get(&status.conditions, READY).unwrap();
    (ready.reason.clone(), ready.message.clone())
}

async fn executions(world: &World, name: &str) -> Vec<SporeInstance> {
    let params = ListParams::default().labels(&format!("{SCHEDULE_LABEL}={name}"));
    spores(world).list(&params).await.unwrap().items
}

async fn events(world: &World) -> String {
    kubectl(world, &["get", "events.events.k8s.io", "-o", "json"]).await
}

// ---- once, and again and again ----

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_schedule_runs_once_at_its_moment_and_tells_how_it_ended() {
    let world = World::start("schedule-once").await.unwrap();
    let at = soon(10);
    let instance = json!({
        "instanceType": "t3.micro", "ttl": "1h", "command": ["true"], "onComplete": {"delay": "0s"},
    });
    let metadata = json!({"labels": {"team": "vision"}, "annotations": {"note": "by night"}});
    let template = json!({"instance": instance, "metadata": metadata});
    apply(&world, "once", json!({"at": at, "template": template})).await;
    let waiting = until(&world, "once", "looked at", |status| status.state.is_some()).await;
    assert_eq!(waiting.executions, 0, "not before its time");
    let status = until(&world, "once", "succeeded", |status| {
        status
            .history
            .iter()
            .any(|entry| entry.outcome == Outcome::Succeeded)
    })
    .await;
    assert_eq!(
        (status.state, status.executions),
        (Some(ScheduleState::Finished), 1)
    );
    assert_eq!(told(&status).0, "Finished");
    assert_eq!(status.last_schedule_time, Some(at.parse().unwrap()));
    assert!(status.last_successful_time >= status.last_schedule_time);
    assert!(
        status.history[0]
            .message
            .as_ref()
            .unwrap()
            .contains("exit code 0")
    );
    let made = executions(&world, "once").await;
    assert_eq!(made.len(), 1);
    assert_eq!(Some(&made[0].name_any()), status.history[0].name.as_ref());
    assert_eq!(made[0].labels()["team"], "vision");
    assert_eq!(made[0].annotations()["note"], "by night");
    let events = events(&world).await;
    assert!(events.contains("\"Started\"") && events.contains("\"ExecutionSucceeded\""));
    assert_eq!(kstatus_of(&world, "sporeschedule", "once").await, "Current");

    // What it made goes with it.
    kubectl(&world, &["delete", "spsch", "once"]).await;
    eventually("its execution is gone", PATIENCE, async || {
        executions(&world, "once").await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_cron_runs_every_minute_until_its_maximum_and_a_restart_adds_nothing() {
    let mut world = without_machines("schedule-cron").await;
    apply(
        &world,
        "minutely",
        json!({"schedule": "* * * * *", "timeZone": "Asia/Kathmandu", "maxExecutions": 2}),
    )
    .await;
    until(&world, "minutely", "its next time", |status| {
        status.next_schedule_time.is_some()
    })
    .await;
    for count in 1..=2 {
        eventually("an execution", TWO_MINUTES, async || {
            (executions(&world, "minutely").await.len() == count).then_some(())
        })
        .await;
        world.controller().kill();
        world.controller().start().await.unwrap();
    }
    let status = until(&world, "minutely", "finished", |status| {
        status.state == Some(ScheduleState::Finished)
    })
    .await;
    assert_eq!((status.executions, status.active_count), (2, 2));
    assert_eq!(told(&status).1, "all 2 executions were started");
    let gap = status.history[1]
        .time
        .duration_since(status.history[0].time);
    assert_eq!(gap, SignedDuration::from_mins(1));
    for entry in &status.history {
        let minutes = entry.time.as_second() / 60;
        assert_eq!(entry.name, Some(format!("minutely-{minutes}")));
    }
    eventually("both are launched", PATIENCE, async || {
        let launched = world.sim().instances().await.ok()?.len();
        assert!(launched <= 2, "{launched} instances");
        (launched == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_time_missed_while_nobody_looked_is_made_up_for_unless_it_is_too_late() {
    let mut world = without_machines("schedule-missed").await;
    let (at, after) = (soon(10), soon(13));
    apply(&world, "patient", json!({"at": at})).await;
    apply(
        &world,
        "strict",
        json!({"at": at, "startingDeadline": "1s"}),
    )
    .await;
    for name in ["patient", "strict"] {
        until(&world, name, "looked at", |status| status.state.is_some()).await;
    }
    world.controller().kill();
    // Long enough that both have passed, one by more than its deadline.
    eventually("their time has passed", PATIENCE, async || {
        (soon(0) > after).then_some(())
    })
    .await;
    world.controller().start().await.unwrap();
    let status = until(&world, "patient", "made up for", |status| {
        status.executions == 1
    })
    .await;
    assert_eq!(status.history[0].outcome, Outcome::Active);
    let status = until(&world, "strict", "given up", |status| {
        !status.history.is_empty()
    })
    .await;
    assert_eq!(
        (status.history[0].outcome, status.executions),
        (Outcome::Missed, 0)
    );
    assert!(
        events(&world)
            .await
            .contains("could not be started within 1s")
    );
    assert!(executions(&world, "strict").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_schedule_creates_arrays_and_sweeps_too() {
    let world = without_machines("schedule-kinds").await;
    let member = json!({"instanceType": "t3.micro", "ttl": "1h"});
    let array = json!({"array": {"replicas": 2, "template": member}});
    let sweep =
        json!({"sweep": {"template": member, "grid": {"rate": [0.1, 1]}, "params": [{"x": 1}]}});
    apply(
        &world,
        "an-array",
        json!({"at": soon(2), "template": array}),
    )
    .await;
    apply(&world, "a-sweep", json!({"at": soon(2), "template": sweep})).await;
    for name in ["an-array", "a-sweep"] {
        until(&world, name, "started", |status| status.executions == 1).await;
    }
    let arrays = Api::<SporeArray>::namespaced(world.client(), world.namespace());
    let arrays = arrays.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(arrays[0].spec.replicas, 2);
    let sweeps = Api::<SporeSweep>::namespaced(world.client(), world.namespace());
    let sweeps = sweeps.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(sweeps[0].spec.grid["rate"], [json!(0.1), json!(1)]);
    assert_eq!(sweeps[0].spec.params[0]["x"], 1);
    assert_eq!(sweeps[0].labels()[SCHEDULE_LABEL], "a-sweep");
}

// ---- what runs already ----

#[tokio::test(flavor = "multi_thread")]
async fn a24_forbid_waits_until_the_earlier_one_has_ended() {
    let world = without_machines("schedule-forbid").await;
    apply(
        &world,
        "one",
        json!({"at": soon(1), "concurrencyPolicy": "Forbid"}),
    )
    .await;
    let status = until(&world, "one", "started", |status| status.active_count == 1).await;
    let first = status.active[0].name.clone();
    change(&world, "one", json!({"at": soon(1)})).await;
    let status = until(&world, "one", "waiting", |status| {
        told(status).0 == "WaitingForActive"
    })
    .await;
    assert!(told(&status).1.contains(&first), "{:?}", told(&status));
    assert_eq!(status.executions, 1);
    kubectl(&world, &["delete", "spi", &first]).await;
    let status = until(&world, "one", "started again", |status| {
        status.executions == 2
    })
    .await;
    let outcomes = status.history.iter().map(|entry| entry.outcome);
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [Outcome::Deleted, Outcome::Active]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_replace_ends_the_earlier_one_before_it_starts() {
    let world = without_machines("schedule-replace").await;
    apply(
        &world,
        "one",
        json!({"at": soon(1), "concurrencyPolicy": "Replace"}),
    )
    .await;
    until(&world, "one", "started", |status| status.active_count == 1).await;
    eventually("it is launched", PATIENCE, async || {
        (world.sim().audit().await.ok()?.live_instances == 1).then_some(())
    })
    .await;
    change(&world, "one", json!({"at": soon(1)})).await;
    let twice = poll(PATIENCE, async || {
        let live = world.sim().audit().await.ok()?.live_instances;
        assert!(live <= 1, "two at once");
        let status = schedules(&world).get("one").await.ok()?.status?;
        (status.executions == 2).then_some(status)
    });
    let status = twice.await.expect("it is replaced");
    let outcomes = status.history.iter().map(|entry| entry.outcome);
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [Outcome::Deleted, Outcome::Active]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_while_suspended_nothing_starts() {
    let world = without_machines("schedule-suspend").await;
    apply(&world, "paused", json!({"at": soon(2), "suspend": true})).await;
    until(&world, "paused", "suspended", |status| {
        status.state == Some(ScheduleState::Suspended)
    })
    .await;
    let after = soon(4);
    eventually("its time has passed", PATIENCE, async || {
        (soon(0) > after).then_some(())
    })
    .await;
    assert!(executions(&world, "paused").await.is_empty());
    change(&world, "paused", json!({"suspend": false})).await;
    until(&world, "paused", "started", |status| status.executions == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_ended_executions_are_deleted_beyond_the_limit_and_stay_in_the_history() {
    let world = World::start("schedule-history").await.unwrap();
    let instance = json!({
        "instanceType": "t3.micro", "ttl": "1h", "command": ["false"], "onComplete": {"delay": "0s"},
    });
    let spec = json!({"at": soon(1), "failedHistoryLimit": 0, "template": {"instance": instance}});
    apply(&world, "forgetful", spec).await;
    let status = until(&world, "forgetful", "failed", |status| {
        status
            .history
            .iter()
            .any(|entry| entry.outcome == Outcome::Failed)
    })
    .await;
    assert!(
        status.history[0]
            .message
            .as_ref()
            .unwrap()
            .contains("exit code 1")
    );
    eventually("the object is gone", PATIENCE, async || {
        executions(&world, "forgetful")
            .await
            .is_empty()
            .then_some(())
    })
    .await;
    let status = until(&world, "forgetful", "still told", |_| true).await;
    assert_eq!(
        (status.history[0].outcome, status.active_count),
        (Outcome::Failed, 0)
    );
}
