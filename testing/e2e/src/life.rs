//! Lives of spores that tests of their ends begin with.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use spore_crds::{SporeInstanceStatus, conditions::READY};
use spore_world::{World, WorldOptions, poll, sim::Instance};

use crate::{create, ec2::instance_of, until_true};

/// A world in which whoever stands in for the agent does so after this many seconds.
///
/// # Panics
/// If it cannot be started.
pub async fn world_with_grace(name: &str, controller: u32, power_off: u32) -> World {
    let options = WorldOptions {
        controller_args: vec![
            format!("--deadline-grace={controller}s"),
            format!("--power-off-grace={power_off}s"),
        ],
        ..WorldOptions::default()
    };
    let world = World::start_with(name, options).await;
    world.expect("a world starts")
}

/// A spore once its agent reports.
///
/// # Panics
/// If the API server refuses it.
pub async fn running(world: &World, name: &str, spec: Value) -> (Instance, SporeInstanceStatus) {
    create(world, name, spec).await.expect("the spec is good");
    let status = until_true(world, name, READY).await;
    (instance_of(world, name).await, status)
}

/// A spore whose workload never ends by itself.
#[must_use]
pub fn sleeping(ttl: &str) -> Value {
    json!({"ttl": ttl, "command": ["sleep", "1000"]})
}

/// Says how many seconds after the deadline it is.
///
/// # Panics
/// If there is no deadline yet.
#[must_use]
pub fn past(status: &SporeInstanceStatus) -> i64 {
    let deadline = status.deadline.expect("a launched spore has a deadline");
    Timestamp::now().duration_since(deadline).as_secs()
}

/// Nothing of what has ended may come back.
///
/// # Panics
/// If something does.
pub async fn never_again(world: &World) {
    let instances = world.sim().instances().await;
    let launched = instances.expect("the stand-in answers").len();
    let more = poll(Duration::from_secs(4), async || {
        (world.sim().instances().await.ok()?.len() != launched).then_some(())
    });
    assert!(more.await.is_none(), "what had ended was launched again");
}
