//! Sweeps: rows, how many at once, how they end and what is kept of them.

mod control;
mod rows;

use jiff::Timestamp;
use serde_json::{Value, json};
use spore_world::World;

/// A template whose members do what a script says.
fn script(text: &str) -> Value {
    json!({
        "instanceType": "t3.micro", "ttl": "1h", "command": ["sh", "-c", text],
        "onComplete": {"delay": "0s"},
    })
}

/// When each launch was called, by the stand-in's own log.
async fn launches(world: &World) -> Vec<Timestamp> {
    let calls = world.sim().calls().await.unwrap();
    let launches = calls
        .log
        .iter()
        .filter(|call| call.action == "RunInstances");
    launches.map(|call| call.at.parse().unwrap()).collect()
}
