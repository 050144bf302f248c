//! Exactly once, whatever dies or is lost in between.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::json;
use spore_crds::conditions::{LAUNCHED, READY};
use spore_e2e::{PATIENCE, create, delete, spores, told, until, until_gone, until_true};
use spore_world::{Fault, When, World, WorldOptions, eventually, poll};

/// A world without machines: what is tested here is between controller and EC2.
fn without_machines(sim_args: &[&str]) -> WorldOptions {
    WorldOptions {
        no_machines: true,
        sim_args: sim_args.iter().map(|&arg| arg.to_owned()).collect(),
        // Short enough for a test, longer than any lag that these tests make.
        controller_args: vec!["--absence=10s".into(), "--orphan-interval=1s".into()],
        ..WorldOptions::default()
    }
}

/// Nothing of ours is left in EC2, and there were never two live instances of one spore.
async fn nothing_left(world: &World) {
    eventually("EC2 is empty", PATIENCE, async || {
        let audit = world.sim().audit().await.ok()?;
        let empty =
            audit.live_instances == 0 && audit.volumes == 0 && audit.network_interfaces == 0;
        empty.then_some(())
    })
    .await;
    never_two(world).await;
}

async fn never_two(world: &World) {
    let audit = world.sim().audit().await.expect("the stand-in answers");
    for (uid, most) in audit
        .max_live_per_tag
        .get("spawn:uid")
        .into_iter()
        .flatten()
    {
        assert_eq!(*most, 1, "spore {uid} had {most} live instances at once");
    }
}

/// Kills the controller while one call is held back, and starts it again.
async fn kill_at(world: &mut World, action: &str) {
    eventually(&format!("{action} is held"), PATIENCE, async || {
        let held = world.sim().held().await.ok()?;
        held.iter().any(|held| held.action == action).then_some(())
    })
    .await;
    world.controller().kill();
    world.sim().clear_faults().await.unwrap();
    world.sim().release().await.unwrap();
    world.controller().start().await.unwrap();
}

async fn until_running(world: &World, name: &str) {
    until(world, name, "running", |status| {
        status
            .instance
            .as_ref()
            .is_some_and(|i| i.state.as_deref() == Some("running"))
    })
    .await;
}

async fn calls(world: &World) -> BTreeSet<String> {
    world
        .sim()
        .calls()
        .await
        .unwrap()
        .counts
        .into_keys()
        .collect()
}

/// Every AWS call of a first launch and of a deletion, as made in a world without faults.
async fn calls_of_a_life(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let world = World::start_with(name, without_machines(&[]))
        .await
        .unwrap();
    create(&world, "clean", json!({})).await.unwrap();
    until_running(&world, "clean").await;
    let of_launch = calls(&world).await;
    world.sim().reset_calls().await.unwrap();
    delete(&world, "clean").await;
    nothing_left(&world).await;
    (of_launch, calls(&world).await)
}

/// The kill-point matrix: the controller dies at each call of a launch and of a deletion in turn,
/// before the call takes effect or after it, each time in a world of its own.
async fn kill_matrix(name: &str, when: When) {
    let (of_launch, of_deletion) = calls_of_a_life(&format!("{name}-clean")).await;
    assert!(
        of_launch.contains("RunInstances") && of_launch.len() >= 8,
        "{of_launch:?}"
    );
    assert!(
        of_deletion.contains("TerminateInstances"),
        "{of_deletion:?}"
    );
    for action in &of_launch {
        let world = format!("{name}-launch-{}", action.to_lowercase());
        let mut world = World::start_with(&world, held_from_the_start())
            .await
            .unwrap();
        world
            .sim()
            .add_fault(Fault::on(action).times(1).hold(when))
            .await
            .unwrap();
        world.controller().start().await.unwrap();
        create(&world, "killed", json!({})).await.unwrap();
        kill_at(&mut world, action).await;
        until_running(&world, "killed").await;
        assert_eq!(
            world.sim().instances().await.unwrap().len(),
            1,
            "killed at {action}"
        );
        delete(&world, "killed").await;
        nothing_left(&world).await;
    }
    for action in &of_deletion {
        let world = format!("{name}-deletion-{}", action.to_lowercase());
        let mut world = World::start_with(&world, without_machines(&[]))
            .await
            .unwrap();
        create(&world, "killed", json!({})).await.unwrap();
        until_running(&world, "killed").await;
        world
            .sim()
            .add_fault(Fault::on(action).times(1).hold(when))
            .await
            .unwrap();
        let now = kube::api::DeleteParams::default();
        spores(&world).delete("killed", &now).await.unwrap();
        kill_at(&mut world, action).await;
        until_gone(&world, "killed").await;
        nothing_left(&world).await;
        assert_eq!(
            world.sim().instances().await.unwrap().len(),
            1,
            "killed at {action}"
        );
    }
}

/// So that a fault is there before the controller makes its first call.
fn held_from_the_start() -> WorldOptions {
    WorldOptions {
        no_controller: true,
        ..without_machines(&[])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_after_every_call_never_makes_two_instances_nor_leaves_one() {
    kill_matrix("kill-after", When::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_before_every_call_never_makes_two_instances_nor_leaves_one() {
    kill_matrix("kill-before", When::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_and_a_minute_of_list_lag_still_make_one_instance() {
    // The shipped patience with EC2's lists, which is longer than the lag.
    let options = WorldOptions {
        no_machines: true,
        ..WorldOptions::default()
    };
    let world = World::start_with("lost-reply", options).await.unwrap();
    let lag = Duration::from_secs(60);
    world
        .sim()
        .add_fault(Fault::on_any().list_lag(lag))
        .await
        .unwrap();
    world
        .sim()
        .add_fault(Fault::on("RunInstances").times(1).lose_reply())
        .await
        .unwrap();
    let begun = Instant::now();
    create(&world, "lost", json!({})).await.unwrap();
    let status = until_true(&world, "lost", LAUNCHED).await;
    let calls = world.sim().calls().await.unwrap();
    assert!(
        calls.counts["RunInstances"] >= 2,
        "the lost call is replayed"
    );
    assert_eq!(world.sim().instances().await.unwrap().len(), 1);
    assert_eq!(status.attempts, 1);
    // Lists that do not show an instance prove nothing yet: the deletion must wait for them.
    delete(&world, "lost").await;
    assert!(
        begun.elapsed() >= lag,
        "let go before EC2 said that it is terminated"
    );
    assert_eq!(world.sim().instances().await.unwrap().len(), 1);
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spore_deleted_while_its_launch_is_unclear_leaves_nothing() {
    let mut world = World::start_with("deleted-unclear", without_machines(&[]))
        .await
        .unwrap();
    world
        .sim()
        .add_fault(Fault::on("RunInstances").times(1).hold(When::After))
        .await
        .unwrap();
    create(&world, "unclear", json!({})).await.unwrap();
    eventually("the launch is held", PATIENCE, async || {
        (!world.sim().held().await.ok()?.is_empty()).then_some(())
    })
    .await;
    world.controller().kill();
    spores(&world)
        .delete("unclear", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world.sim().clear_faults().await.unwrap();
    world.controller().start().await.unwrap();
    until_gone(&world, "unclear").await;
    nothing_left(&world).await;
    assert_eq!(
        world.sim().instances().await.unwrap().len(),
        1,
        "only the held launch was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_of_ours_is_collected_and_others_are_left_alone() {
    let mut world = World::start_with("orphans", without_machines(&[]))
        .await
        .unwrap();
    create(&world, "lost", json!({})).await.unwrap();
    until_true(&world, "lost", LAUNCHED).await;
    // Somebody else's instance, another cluster's, and one that is to be kept.
    let cluster = world.sim().instances().await.unwrap()[0].tags["spawn:cluster"].clone();
    let ours = format!("{}/gone", world.namespace());
    for tags in [
        "{Key=Name,Value=theirs}".to_owned(),
        format!(
            "{{Key=spawn:cluster,Value=other}},{{Key=spawn:uid,Value=x}},{{Key=spawn:parent,Value=x}},{{Key=spawn:owner,Value={ours}}}"
        ),
        format!(
            "{{Key=spawn:cluster,Value={cluster}}},{{Key=spawn:uid,Value=kept}},{{Key=spawn:parent,Value=kept}},{{Key=spawn:owner,Value={ours}}},{{Key=spawn:keep,Value=true}}"
        ),
    ] {
        let tags = format!("ResourceType=instance,Tags=[{tags}]");
        let ami = world
            .aws(&[
                "ssm",
                "get-parameter",
                "--name",
                "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
                "--query",
                "Parameter.Value",
                "--output",
                "text",
            ])
            .await
            .unwrap()
            .ok()
            .unwrap();
        world
            .aws(&[
                "ec2",
                "run-instances",
                "--instance-type",
                "t3.micro",
                "--image-id",
                ami.trim(),
                "--tag-specifications",
                &tags,
            ])
            .await
            .unwrap()
            .ok()
            .unwrap();
    }
    // The parent vanishes as if it had been removed by force while the controller was away.
    world.controller().kill();
    world
        .kubectl(&[
            "patch",
            "spi",
            "lost",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .await
        .unwrap()
        .ok()
        .unwrap();
    delete(&world, "lost").await;
    world.controller().start().await.unwrap();
    eventually("only others' instances live", PATIENCE, async || {
        (world.sim().audit().await.ok()?.live_instances == 3).then_some(())
    })
    .await;
    assert!(
        poll(Duration::from_secs(4), async || {
            (world.sim().audit().await.ok()?.live_instances != 3).then_some(())
        })
        .await
        .is_none(),
        "something that is not ours was terminated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_that_comes_back_is_used_and_the_wait_is_explained() {
    let world = World::start_with("capacity", without_machines(&[]))
        .await
        .unwrap();
    world
        .sim()
        .add_fault(Fault::on("RunInstances").capacity(0))
        .await
        .unwrap();
    create(&world, "waits", json!({})).await.unwrap();
    let status = until(&world, "waits", "says why it waits", |status| {
        told(status, READY).0 == "InsufficientCapacity"
    })
    .await;
    let (_, message) = told(&status, READY);
    assert!(
        message.contains("InsufficientInstanceCapacity") && message.contains("next try"),
        "{message}"
    );
    world.sim().clear_faults().await.unwrap();
    until_true(&world, "waits", LAUNCHED).await;
    never_two(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_slows_a_launch_down_but_does_not_double_it() {
    let world = World::start_with("throttled", without_machines(&[]))
        .await
        .unwrap();
    world
        .sim()
        .add_fault(Fault::on("RunInstances").times(3).throttle())
        .await
        .unwrap();
    create(&world, "slow", json!({})).await.unwrap();
    until_true(&world, "slow", LAUNCHED).await;
    assert_eq!(world.sim().instances().await.unwrap().len(), 1);
    never_two(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_controller_lets_go_of_its_lease_and_the_next_one_goes_on() {
    let mut world = World::start_with("graceful", without_machines(&[]))
        .await
        .unwrap();
    create(&world, "before", json!({})).await.unwrap();
    until_true(&world, "before", LAUNCHED).await;
    assert!(
        world.controller().terminate().await,
        "it ends by itself when asked to"
    );
    world.controller().start().await.unwrap();
    create(&world, "after", json!({})).await.unwrap();
    until_true(&world, "after", LAUNCHED).await;
    never_two(&world).await;
}
