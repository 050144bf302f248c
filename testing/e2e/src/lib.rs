//! What the end-to-end tests share: writing spores and waiting for what becomes of them.

mod argocd;
pub mod ec2;
mod go;
pub mod group;
mod kstatus;
pub mod life;
pub mod refuse;
pub mod results;

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use spore_crds::{SporeInstance, SporeInstanceStatus, conditions};
use spore_world::{World, WorldOptions, eventually};

pub use argocd::Health;
pub use kstatus::{kstatus, kstatus_of};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A world without machines, for what is between controller and EC2.
///
/// # Panics
/// If it cannot be started.
pub async fn without_machines(name: &str) -> World {
    let options = WorldOptions {
        no_machines: true,
        ..WorldOptions::default()
    };
    let world = World::start_with(name, options).await;
    world.expect("a world starts")
}

/// What kubectl prints when it succeeds.
///
/// # Panics
/// If it does not.
pub async fn kubectl(world: &World, args: &[&str]) -> String {
    let text = world.kubectl(args).await.and_then(spore_world::Output::ok);
    text.expect("kubectl succeeds")
}

/// The spores of a world.
#[must_use]
pub fn spores(world: &World) -> Api<SporeInstance> {
    api(world.client(), world.namespace())
}

fn api(client: Client, namespace: &str) -> Api<SporeInstance> {
    Api::namespaced(client, namespace)
}

/// A spore as the API server takes it: the spec given over a `t3.micro` that lives for an hour.
#[must_use]
pub fn manifest(name: &str, spec: &Value) -> Value {
    let mut whole = json!({ "instanceType": "t3.micro", "ttl": "1h" });
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec.clone());
    }
    json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeInstance",
        "metadata": { "name": name },
        "spec": whole,
    })
}

/// Creates the spore of a [`manifest`].
///
/// # Errors
/// If the API server refuses it.
pub async fn create(world: &World, name: &str, spec: Value) -> Result<SporeInstance> {
    let spore = serde_json::from_value(manifest(name, &spec))?;
    spores(world)
        .create(&PostParams::default(), &spore)
        .await
        .with_context(|| format!("creating {name}"))
}

/// Deletes a spore and waits until it is gone.
pub async fn delete(world: &World, name: &str) {
    let done = spores(world).delete(name, &DeleteParams::default()).await;
    done.expect("the spore is there");
    until_gone(world, name).await;
}

/// Waits until a spore is gone. Longer than usual: EC2's lists may have to catch up first.
pub async fn until_gone(world: &World, name: &str) {
    let api = spores(world);
    eventually(&format!("{name} is gone"), 2 * PATIENCE, async || {
        matches!(api.get_opt(name).await, Ok(None)).then_some(())
    })
    .await;
}

/// Waits until a spore's status is as wanted, and returns it.
pub async fn until(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&SporeInstanceStatus) -> bool,
) -> SporeInstanceStatus {
    let api = spores(world);
    eventually(&format!("{name}: {what}"), PATIENCE, async || {
        api.get(name).await.ok()?.status.filter(&wanted)
    })
    .await
}

/// Waits until a condition is `True`.
pub async fn until_true(world: &World, name: &str, condition: &str) -> SporeInstanceStatus {
    until(world, name, condition, |status| {
        conditions::is_true(&status.conditions, condition)
    })
    .await
}

/// Reason and message of a condition.
#[must_use]
pub fn told(status: &SporeInstanceStatus, condition: &str) -> (String, String) {
    conditions::get(&status.conditions, condition)
        .map(|condition| (condition.reason.clone(), condition.message.clone()))
        .unwrap_or_default()
}

/// Waits until a spore's end is recorded and its instance gone.
pub async fn until_finished(world: &World, name: &str) -> SporeInstanceStatus {
    until(world, name, "finished", |status| {
        told(status, conditions::READY).0 == "Finished"
    })
    .await
}

/// Why a spore ended, empty if it has not.
#[must_use]
pub fn ended(status: &SporeInstanceStatus) -> &str {
    status
        .ended
        .as_ref()
        .map_or("", |ended| ended.reason.as_str())
}
