//! How many members run at once, and what holds, ends and repeats a sweep.

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use spore_crds::{GroupState, SporeSweep, conditions::READY};
use spore_e2e::{
    PATIENCE,
    group::{
        change, create, delete, ended, instances, members, most_at_once, never_two, nothing_left,
        told, until, until_over, until_up,
    },
    kubectl,
    results::results,
    without_machines,
};
use spore_world::{World, eventually, poll};

use super::{launches, script};

/// So many rows that differ in one parameter.
fn rows(count: u32) -> Value {
    (0..count).map(|x| json!({"x": x})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_a_sweep_never_runs_more_members_than_it_may() {
    let mut world = World::start("sweep-parallel").await.unwrap();
    let spec = json!({
        "template": script("sleep 2; exit $((PARAM_x % 2))"),
        "params": rows(6),
        "parallelism": 2,
    });
    let sweep = create::<SporeSweep>(&world, "rolling", spec).await;
    let uid = sweep.uid().unwrap();
    until::<SporeSweep>(&world, "rolling", "under way", |status| {
        status.launched >= 3
    })
    .await;
    // A new controller goes on where the old one was.
    world.controller().kill();
    world.controller().start().await.unwrap();
    let status = eventually("it is done", 3 * PATIENCE, async || {
        let sweep = spore_e2e::group::all::<SporeSweep>(&world)
            .get("rolling")
            .await
            .ok()?;
        sweep.status.filter(|status| status.finished_at.is_some())
    })
    .await;
    assert_eq!(status.succeeded_indexes.to_string(), "0,2,4", "{status:?}");
    assert_eq!(status.failed_indexes.to_string(), "1,3,5", "{status:?}");
    assert_eq!(most_at_once(&world, &uid).await, 2);
    let found = instances(&world, &uid).await;
    assert!(
        found.values().all(|instances| instances.len() == 1),
        "{found:?}"
    );
    assert_eq!(results(&world, "rolling").await.len(), 6);
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_launches_keep_their_interval_and_suspension_holds_them() {
    let world = without_machines("sweep-interval").await;
    let spec = json!({"params": rows(5), "parallelism": 10, "launchInterval": "3s"});
    let sweep = create::<SporeSweep>(&world, "paced", spec).await;
    let status = until::<SporeSweep>(&world, "paced", "waits", |status| {
        told(status, READY).0 == "LaunchInterval"
    })
    .await;
    assert_eq!(status.state, Some(GroupState::Launching));
    until::<SporeSweep>(&world, "paced", "three", |status| status.launched == 3).await;
    change::<SporeSweep>(&world, "paced", json!({"suspend": true}))
        .await
        .unwrap();
    let status = until::<SporeSweep>(&world, "paced", "suspended", |status| {
        status.state == Some(GroupState::Suspended)
    })
    .await;
    let launched = status.launched;
    assert_eq!(told(&status, READY).0, "Suspended");
    let more = poll(Duration::from_secs(5), async || {
        (world.sim().instances().await.ok()?.len() > launched as usize).then_some(())
    });
    assert!(more.await.is_none(), "launched while suspended");
    assert_eq!(
        world.sim().audit().await.unwrap().live_instances,
        u64::from(launched)
    );
    change::<SporeSweep>(&world, "paced", json!({"suspend": false}))
        .await
        .unwrap();
    until_up::<SporeSweep>(&world, "paced", 5).await;
    let calls = launches(&world).await;
    assert_eq!(calls.len(), 5, "one member a call");
    for pair in calls.windows(2) {
        let gap = pair[1].duration_since(pair[0]);
        assert!(gap.as_millis() >= 2_900, "{gap:?} between {pair:?}");
    }
    never_two(&instances(&world, &sweep.uid().unwrap()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_cancelling_ends_what_runs_and_keeps_results() {
    let world = World::start("sweep-cancel").await.unwrap();
    let spec = json!({
        "template": script("[ $PARAM_x = 0 ] || exec sleep 1000; exit 0"),
        "params": rows(4),
        "parallelism": 2,
    });
    let sweep = create::<SporeSweep>(&world, "cancelled", spec).await;
    let uid = sweep.uid().unwrap();
    until::<SporeSweep>(&world, "cancelled", "one is done", |status| {
        status.succeeded == 1 && status.ready == 2
    })
    .await;
    change::<SporeSweep>(&world, "cancelled", json!({"cancel": true}))
        .await
        .unwrap();
    let status = until_over::<SporeSweep>(&world, "cancelled").await;
    assert_eq!(
        (status.state, ended(&status)),
        (Some(GroupState::Cancelled), "Cancelled")
    );
    assert_eq!((status.succeeded, status.active), (1, 0), "{status:?}");
    nothing_left(&world).await;
    assert_eq!(
        instances(&world, &uid).await.len(),
        3,
        "row 3 was never launched"
    );
    let all = results(&world, "cancelled").await;
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(all[&0].succeeded, "{all:?}");
    assert_eq!(all[&1].reason, "Cancelled", "{all:?}");
    let refused = change::<SporeSweep>(&world, "cancelled", json!({"cancel": false})).await;
    let message = refused.expect_err("it is over");
    assert!(message.contains("cannot be resumed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_rows_are_tried_again_up_to_a_limit_and_all_failed_ones_when_asked() {
    let world = World::start("sweep-retry").await.unwrap();
    let spec = json!({
        "template": script("[ $PARAM_x = 0 ] && exit 0; exit 5"),
        "params": rows(2),
        "failurePolicy": {"backoffLimitPerIndex": 1},
    });
    let sweep = create::<SporeSweep>(&world, "again", spec).await;
    let uid = sweep.uid().unwrap();
    let status = until_over::<SporeSweep>(&world, "again").await;
    assert_eq!((status.retried, status.failed), (1, 1), "{status:?}");
    let row = results(&world, "again").await.remove(&1).unwrap();
    assert_eq!((row.attempts, row.exit_code), (2, Some(5)), "{row:?}");

    change::<SporeSweep>(&world, "again", json!({"retryFailed": 1}))
        .await
        .unwrap();
    eventually("a third attempt", PATIENCE, async || {
        let found = instances(&world, &uid).await;
        (found[&1].len() >= 3).then_some(())
    })
    .await;
    let status = until_over::<SporeSweep>(&world, "again").await;
    assert_eq!(status.retries_of_failed, 1);
    assert_eq!(status.failed_indexes.to_string(), "1", "{status:?}");
    let found = instances(&world, &uid).await;
    assert_eq!(found[&0].len(), 1, "what succeeded is not repeated");
    never_two(&found);
    let row = results(&world, "again").await.remove(&1).unwrap();
    assert!(row.attempts >= 3, "{row:?}");
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_takes_too_long_is_ended_and_can_be_extended_no_further_than_that() {
    let world = without_machines("sweep-deadline").await;
    let spec = json!({"params": rows(3), "parallelism": 2, "deadline": "12s"});
    create::<SporeSweep>(&world, "slow", spec).await;
    let status = until_up::<SporeSweep>(&world, "slow", 2).await;
    let over = status.started_at.unwrap();
    for child in members(&world, "slow").await.into_values() {
        // Even with the controller gone no member outlives the sweep.
        let deadline = child.status.unwrap().deadline.unwrap();
        assert!(deadline.duration_since(over).as_secs() <= 13, "{deadline}");
    }
    let status = until_over::<SporeSweep>(&world, "slow").await;
    assert_eq!(ended(&status), "DeadlineExceeded", "{status:?}");
    assert_eq!(status.state, Some(GroupState::Failed));
    nothing_left(&world).await;
    let all = results(&world, "slow").await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.values().all(|row| !row.succeeded), "{all:?}");
    delete::<SporeSweep>(&world, "slow").await;
    assert_eq!(kubectl(&world, &["get", "spi", "-o", "name"]).await, "");
}
