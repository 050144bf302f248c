//! The controller dies at each call to AWS in turn, before it takes effect and after it.

use std::collections::BTreeSet;

use kube::{Api, ResourceExt as _, api::DeleteParams};
use serde_json::{Value, json};
use spore_crds::{SporeArray, SporeSweep};
use spore_e2e::group::{
    Group, create, delete, instances, never_two, nothing_left, one_each, until, until_gone,
    until_up,
};
use spore_world::{Fault, When, World};

use super::{kill_at, world};

/// Makes so many members and waits until nothing is left to do about them.
async fn launched<K: Group>(world: &World, name: &str, spec: &Value, size: u32) -> String {
    let made = create::<K>(world, name, spec.clone()).await;
    settled::<K>(world, name, size).await;
    made.uid().unwrap()
}

async fn settled<K: Group>(world: &World, name: &str, size: u32) {
    until_up::<K>(world, name, size).await;
    if K::kind(&()) == "SporeArray" {
        until::<K>(world, name, "peers told", |status| status.peers_version > 0).await;
    }
}

async fn calls(world: &World) -> BTreeSet<String> {
    let calls = world.sim().calls().await.unwrap();
    calls.counts.into_keys().collect()
}

/// What a world without faults calls for a launch and for a deletion; kills the controller at each of
/// these calls in turn.
async fn kill_matrix<K: Group>(name: &str, spec: Value, size: u32, when: When) {
    let mut world = world(name).await;
    launched::<K>(&world, "first", &spec, size).await;
    // What a controller calls that has just started.
    world.controller().kill();
    world.sim().reset_calls().await.unwrap();
    world.controller().start().await.unwrap();
    launched::<K>(&world, "clean", &spec, size).await;
    let of_launch = calls(&world).await;
    assert!(
        of_launch.contains("RunInstances") && of_launch.len() >= 5,
        "{of_launch:?}"
    );
    world.sim().reset_calls().await.unwrap();
    delete::<K>(&world, "clean").await;
    let of_deletion = calls(&world).await;
    assert!(
        of_deletion.contains("TerminateInstances"),
        "{of_deletion:?}"
    );

    for action in of_launch.iter().filter(|action| matters::<K>(action)) {
        let killed = format!("killed-{}", action.to_lowercase());
        world.controller().kill();
        let hold = Fault::on(action).times(1).hold(when);
        world.sim().add_fault(hold).await.unwrap();
        world.controller().start().await.unwrap();
        let made = create::<K>(&world, &killed, spec.clone()).await;
        kill_at(&mut world, action, 1).await;
        settled::<K>(&world, &killed, size).await;
        eprintln!("killed at {action}");
        one_each(&world, &made.uid().unwrap(), size).await;
        if !of_deletion.contains(action) {
            delete::<K>(&world, &killed).await;
        }
    }
    for action in of_deletion.iter().filter(|action| matters::<K>(action)) {
        let killed = format!("deleted-{}", action.to_lowercase());
        let uid = launched::<K>(&world, &killed, &spec, size).await;
        let hold = Fault::on(action).times(1).hold(when);
        world.sim().add_fault(hold).await.unwrap();
        let api = Api::<K>::namespaced(world.client(), world.namespace());
        let now = DeleteParams::default();
        api.delete(&killed, &now).await.unwrap();
        kill_at(&mut world, action, 1).await;
        until_gone::<K>(&world, &killed).await;
        eprintln!("killed at {action} of the deletion");
        let found = instances(&world, &uid).await;
        assert!(
            found
                .values()
                .all(|all| all.len() == 1 && !all[0].is_live()),
            "{found:?}"
        );
    }
    api_empty::<K>(&world).await;
    nothing_left(&world).await;
}

/// What an array calls, a sweep calls in the same way; its launches differ.
fn matters<K: Group>(action: &str) -> bool {
    let reads = ["Describe", "Get"]
        .iter()
        .any(|verb| action.starts_with(verb));
    K::kind(&()) == "SporeArray" || !reads
}

/// Deletes all objects of a kind, and waits until they are gone.
async fn api_empty<K: Group>(world: &World) {
    let api = Api::<K>::namespaced(world.client(), world.namespace());
    for object in api.list(&kube::api::ListParams::default()).await.unwrap() {
        delete::<K>(world, &object.name_any()).await;
    }
}

fn array() -> Value {
    json!({"replicas": 3})
}

/// Two plans, so that two calls launch them.
fn sweep() -> Value {
    json!({
        "params": [{"x": 1}, {"x": 2, "instance_type": "t3.small"}],
        "parallelism": 2,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_before_every_call_launches_each_member_of_an_array_once() {
    kill_matrix::<SporeArray>("array-kill-before", array(), 3, When::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_after_every_call_launches_each_member_of_an_array_once() {
    kill_matrix::<SporeArray>("array-kill-after", array(), 3, When::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_before_every_call_launches_each_row_of_a_sweep_once() {
    kill_matrix::<SporeSweep>("sweep-kill-before", sweep(), 2, When::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_after_every_call_launches_each_row_of_a_sweep_once() {
    kill_matrix::<SporeSweep>("sweep-kill-after", sweep(), 2, When::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_between_two_batches_launches_each_of_101_members_once() {
    let mut world = world("batches-kill").await;
    // One of the two calls is not made; both are made and neither reply is seen.
    for (name, calls, when) in [("one", 1, When::Before), ("both", 2, When::After)] {
        let hold = Fault::on("RunInstances").times(calls).hold(when);
        world.sim().add_fault(hold).await.unwrap();
        let spec = json!({"replicas": 101, "peers": "Disabled"});
        let array = create::<SporeArray>(&world, name, spec).await;
        kill_at(&mut world, "RunInstances", calls as usize).await;
        until_up::<SporeArray>(&world, name, 101).await;
        one_each(&world, &array.uid().unwrap(), 101).await;
        let now = DeleteParams::default();
        let api = Api::<SporeArray>::namespaced(world.client(), world.namespace());
        api.delete(name, &now).await.unwrap();
        nothing_left(&world).await;
        never_two(&instances(&world, &array.uid().unwrap()).await);
    }
}
