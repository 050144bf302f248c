//! Objects that the API server has stored and that nobody can read.

use std::time::Duration;

use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use spore_crds::{SporeInstance, conditions::LAUNCHED};
use spore_e2e::{PATIENCE, create, delete, kubectl, manifest, until, until_true, without_machines};
use spore_world::{World, WorldOptions, eventually, poll};

/// A time that the API server takes for one, later than any that can be reckoned with.
const UNREADABLE: &str = "9999-12-31T23:59:59Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_spore_that_cannot_be_read_does_not_stop_others() {
    let mut world = without_machines("unreadable").await;
    let apply = ["apply", "-f", "-"];
    // Times that the API server takes for times. Refused or not, they must not matter to others.
    for (name, odd) in [
        ("beyond-time", "9999-12-31T23:59:59Z"),
        ("beyond-earth", "2036-01-01T00:00:00+99:99"),
        ("leap", "2036-12-31T23:59:60Z"),
    ] {
        let odd = manifest(name, &json!({"extendTo": odd})).to_string();
        world.kubectl_with(&apply, &odd).await.unwrap();
    }
    create(&world, "beside", json!({})).await.unwrap();
    until_true(&world, "beside", LAUNCHED).await;
    // A controller that starts reads all of them in one list.
    world.controller().start().await.unwrap();
    create(&world, "after", json!({})).await.unwrap();
    until_true(&world, "after", LAUNCHED).await;
    delete(&world, "beside").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spore_that_becomes_unreadable_keeps_its_instance_and_is_told_of() {
    let options = WorldOptions {
        no_machines: true,
        controller_args: vec!["--orphan-interval=1s".into()],
        ..WorldOptions::default()
    };
    let mut world = World::start_with("becomes-odd", options).await.unwrap();
    create(&world, "odd", json!({})).await.unwrap();
    until_true(&world, "odd", LAUNCHED).await;
    idle_since(&world, "odd", json!(UNREADABLE)).await;
    eventually("an Event tells", PATIENCE, async || {
        let events = kubectl(&world, &["get", "events.events.k8s.io", "-o", "json"]).await;
        events.contains("\"Unreadable\"").then_some(())
    })
    .await;
    world.controller().start().await.unwrap();
    create(&world, "after", json!({})).await.unwrap();
    until_true(&world, "after", LAUNCHED).await;
    let collected = poll(Duration::from_secs(5), async || {
        (world.sim().audit().await.ok()?.live_instances != 2).then_some(())
    });
    assert!(collected.await.is_none(), "what cannot be read is not gone");
    idle_since(&world, "odd", Value::Null).await;
    until(&world, "odd", "read again", |status| {
        status
            .instance
            .as_ref()
            .is_some_and(|i| i.state.as_deref() == Some("running"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_spore_can_be_deleted_with_its_instance() {
    // Whether a launch is under way cannot be read: it takes proof from EC2's lists that there is none.
    let options = WorldOptions {
        no_machines: true,
        controller_args: vec!["--absence=5s".into()],
        ..WorldOptions::default()
    };
    let world = World::start_with("delete-odd", options).await.unwrap();
    create(&world, "odd", json!({})).await.unwrap();
    until_true(&world, "odd", LAUNCHED).await;
    idle_since(&world, "odd", json!(UNREADABLE)).await;
    kubectl(&world, &["delete", "sporeinstance", "odd", "--timeout=60s"]).await;
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 0);
}

/// Writes a time into a status: who may do that may write one that nobody can read.
async fn idle_since(world: &World, name: &str, time: Value) {
    let resource = ApiResource::erase::<SporeInstance>(&());
    let spores: Api<DynamicObject> =
        Api::namespaced_with(world.client(), world.namespace(), &resource);
    let patch = Patch::Merge(json!({"status": {"idleSince": time}}));
    let params = PatchParams::default();
    spores.patch_status(name, &params, &patch).await.unwrap();
}
