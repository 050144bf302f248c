//! Exactly one instance for each index, whatever dies or is lost while many are launched at once.

mod calls;
mod writes;

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::json;
use spore_crds::{SporeArray, conditions::READY};
use spore_e2e::{
    PATIENCE,
    ec2::calls_by,
    group::{
        create, delete, instances, members, never_two, nothing_left, one_each, told, until,
        until_up,
    },
    without_machines,
};
use spore_world::{Fault, World, WorldOptions, eventually, sim::ACCESS_KEY};

/// A world without machines, whose controller believes EC2's lists soon.
async fn world(name: &str) -> World {
    let options = WorldOptions {
        no_machines: true,
        controller_args: vec!["--absence=10s".into(), "--orphan-interval=1s".into()],
        ..WorldOptions::default()
    };
    World::start_with(name, options).await.unwrap()
}

/// Kills the controller while so many calls are held back, and starts it again.
async fn kill_at(world: &mut World, action: &str, calls: usize) {
    eventually(&format!("{action} is held"), PATIENCE, async || {
        let held = world.sim().held().await.ok()?;
        let held = held.iter().filter(|held| held.action == action);
        (held.count() >= calls).then_some(())
    })
    .await;
    world.controller().kill();
    world.sim().clear_faults().await.unwrap();
    world.controller().start().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_a_lost_reply_and_a_minute_of_list_lag_make_each_member_once() {
    // The shipped patience with EC2's lists, which is longer than the lag.
    let world = without_machines("batch-lost").await;
    let lag = Fault::on_any().list_lag(Duration::from_secs(60));
    world.sim().add_fault(lag).await.unwrap();
    let lost = Fault::on("RunInstances").times(1).lose_reply();
    world.sim().add_fault(lost).await.unwrap();
    let array = create::<SporeArray>(&world, "lost", json!({"replicas": 3})).await;
    let uid = array.uid().unwrap();
    // The call is replayed with its token, and EC2 tells what it made.
    eventually("all have objects", PATIENCE, async || {
        (members(&world, "lost").await.len() == 3).then_some(())
    })
    .await;
    assert_eq!(calls_by(&world, ACCESS_KEY, "RunInstances").await, 2);
    eventually("all are seen", 2 * PATIENCE, async || {
        let all = members(&world, "lost").await.into_values();
        let seen = all.filter(|child| spore_e2e::group::instance_state(child) == Some("running"));
        (seen.count() == 3).then_some(())
    })
    .await;
    one_each(&world, &uid, 3).await;
    delete::<SporeArray>(&world, "lost").await;
    nothing_left(&world).await;
    assert_eq!(world.sim().instances().await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_what_ec2_gives_is_taken_and_the_rest_follows_when_it_can_be_had() {
    let world = world("batch-partial").await;
    let some = Fault::on("RunInstances").capacity(2);
    world.sim().add_fault(some).await.unwrap();
    let array = create::<SporeArray>(&world, "partial", json!({"replicas": 3})).await;
    let uid = array.uid().unwrap();
    let status = until::<SporeArray>(&world, "partial", "says what is missing", |status| {
        status.launched == 2 && told(status, READY).0 == "InsufficientCapacity"
    })
    .await;
    assert_eq!(status.progress.as_deref(), Some("2/3 (66%)"));
    let (_, message) = told(&status, READY);
    assert!(message.contains("next try"), "{message}");
    let found = instances(&world, &uid).await;
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        [0, 1],
        "the first ones"
    );
    world.sim().clear_faults().await.unwrap();
    until_up::<SporeArray>(&world, "partial", 3).await;
    one_each(&world, &uid, 3).await;
    delete::<SporeArray>(&world, "partial").await;
    nothing_left(&world).await;
    never_two(&instances(&world, &uid).await);
}
