//! What a test sees of EC2: through the stand-in's control interface, and through the `aws` command as
//! a user does.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;
use spore_world::{World, eventually, sim::Instance};

use crate::{PATIENCE, spores};

/// The instance of a spore, as soon as there is one.
pub async fn instance_of(world: &World, name: &str) -> Instance {
    let api = spores(world);
    eventually(&format!("{name} has an instance"), PATIENCE, async || {
        let id = api.get(name).await.ok()?.status?.instance?.id;
        find(world, &id).await
    })
    .await
}

/// Waits until an instance is as wanted, and returns it.
pub async fn until_instance(
    world: &World,
    id: &str,
    what: &str,
    wanted: impl Fn(&Instance) -> bool,
) -> Instance {
    eventually(&format!("{id}: {what}"), PATIENCE, async || {
        find(world, id).await.filter(&wanted)
    })
    .await
}

/// Waits until an instance is terminated, and returns it.
pub async fn until_terminated(world: &World, id: &str) -> Instance {
    until_instance(world, id, "terminated", |instance| {
        instance.state == "terminated"
    })
    .await
}

/// An instance as the stand-in knows it now.
pub async fn find(world: &World, id: &str) -> Option<Instance> {
    let all = world.sim().instances().await.ok()?;
    all.into_iter().find(|instance| instance.id == id)
}

/// How often a caller has called an API.
pub async fn calls_by(world: &World, access_key: &str, action: &str) -> u64 {
    let calls = world.sim().calls().await.expect("the stand-in answers");
    let caller = calls.by_caller.get(access_key);
    caller
        .and_then(|calls| calls.get(action))
        .copied()
        .unwrap_or_default()
}

/// What the `aws` command prints, as JSON.
pub async fn aws(world: &World, args: &[&str]) -> Value {
    let text = world.aws(args).await.and_then(spore_world::Output::ok);
    let text = text.expect("the command succeeds");
    serde_json::from_str(&text)
        .with_context(|| text.clone())
        .expect("the command prints JSON")
}

/// What the `aws` command prints for `--query` and `--output text`.
pub async fn aws_text(world: &World, args: &[&str], query: &str) -> String {
    let mut all = args.to_vec();
    all.extend(["--query", query, "--output", "text"]);
    let text = world.aws(&all).await.and_then(spore_world::Output::ok);
    text.expect("the command succeeds").trim().to_owned()
}

/// A path on the machine of an instance.
///
/// # Panics
/// If the instance never booted a machine.
#[must_use]
pub fn on_machine(instance: &Instance, path: &str) -> PathBuf {
    let dir = instance.machine_dir.as_deref().map(|dir| dir.join("root"));
    dir.expect("the instance has a machine")
        .join(path.trim_start_matches('/'))
}

/// The text of a file on a machine, as soon as it is as wanted.
pub async fn file_on_machine(
    instance: &Instance,
    path: &str,
    wanted: impl Fn(&str) -> bool,
) -> String {
    let file = on_machine(instance, path);
    eventually(&format!("{}", file.display()), PATIENCE, async || {
        read(&file).filter(|text| wanted(text))
    })
    .await
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}
