//! Looking at instances, and doing to them what no API call does.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Handled, ok, read, refuse};
use crate::machine::Load;
use crate::reply::{Reply, json};
use crate::server::Received;
use crate::sim::Sim;
use crate::world::Local;
use crate::world::instance::Instance;
use crate::world::lifecycle::Cause;
use crate::world::region::Region;

/// The agent's process and unit.
const AGENT: &str = "spored";

/// All listed instances.
pub(crate) fn list(sim: &Sim) -> Reply {
    sim.with(|world, _| {
        let mut found: Vec<(u64, Value)> = Vec::new();
        for (_, region) in world.regions() {
            found.extend(
                region
                    .instances
                    .values()
                    .map(|i| (i.seq, shown(sim, region, i))),
            );
        }
        found.sort_by_key(|(seq, _)| *seq);
        let found: Vec<Value> = found.into_iter().map(|(_, value)| value).collect();
        json(200, &found)
    })
}

fn shown(sim: &Sim, region: &Region, i: &Instance) -> Value {
    let volumes: Vec<&String> = i
        .block_devices
        .iter()
        .map(|device| &device.volume_id)
        .collect();
    json!({
        "id": i.id,
        "account": region.account,
        "region": region.name,
        "zone": i.placement.zone,
        "state": i.state.name(),
        "stateReason": i.reason.as_ref().map(|reason| reason.code),
        "instanceType": i.instance_type,
        "imageId": i.image_id,
        "market": if i.spot.is_some() { "spot" } else { "on-demand" },
        "tags": region.tags_of(&i.id).cloned().unwrap_or_default(),
        "clientToken": i.client_token,
        "launchIndex": i.launch_index,
        "launchedAt": i.created_at,
        "boots": i.boots,
        "volumes": volumes,
        "enis": i.interfaces,
        "machineDir": sim.machine_dir(&i.id),
        "imds": sim.imds_endpoint(i),
        "accessKey": crate::call::access_key_of(&i.id),
    })
}

/// Counts of what exists and of what has ever existed at once.
pub(crate) fn audit(sim: &Sim) -> Reply {
    sim.with(|world, _| {
        let (mut live, mut volumes, mut interfaces) = (0, 0, 0);
        for (_, region) in world.regions() {
            live += region
                .instances
                .values()
                .filter(|i| i.state.is_live())
                .count();
            volumes += region.volumes.len();
            interfaces += region.interfaces.len();
        }
        json(
            200,
            &json!({
                "liveInstances": live,
                "maxLivePerTag": { "spawn:uid": world.core.audit.maxima() },
                "volumes": volumes,
                "networkInterfaces": interfaces,
            }),
        )
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Interruption {
    #[serde(default)]
    action: Option<String>,
    #[serde(default = "two_minutes")]
    in_seconds: u64,
}

fn two_minutes() -> u64 {
    120
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Switch {
    #[serde(default = "yes")]
    on: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Imds {
    #[serde(default)]
    off: bool,
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LoadForm {
    cpu_percent: f64,
    net_bytes_per_sec: u64,
    disk_bytes_per_sec: u64,
}

impl Default for LoadForm {
    fn default() -> Self {
        let Load {
            cpu_percent,
            net_bytes_per_sec,
            disk_bytes_per_sec,
        } = Load::default();
        Self {
            cpu_percent,
            net_bytes_per_sec,
            disk_bytes_per_sec,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    #[serde(default = "agent")]
    name: String,
}

fn agent() -> String {
    AGENT.to_owned()
}

/// Does something to one instance.
pub(crate) fn act(sim: &Sim, id: &str, verb: &str, received: &Received) -> Handled {
    match verb {
        "spot-interrupt" => interrupt(sim, id, &read(received)?),
        "rebalance" => at_home(sim, id, |local| {
            let now = local.now;
            if let Some(instance) = local.region.instance_mut(id) {
                instance.condition.rebalance_at = Some(now);
            }
        }),
        "die" => at_home(sim, id, |local| local.drop_dead(id, Cause::Host)),
        "power-off" => at_home(sim, id, |local| local.guest_shutdown(id)),
        "revoke-iam" => {
            let Switch { on } = read(received)?;
            condition(sim, id, |instance| instance.condition.iam_revoked = on)
        }
        "imds" => {
            let Imds { off, delay_ms } = read(received)?;
            condition(sim, id, |instance| {
                instance.condition.imds_off = off;
                instance.condition.imds_delay = Duration::from_millis(delay_ms);
            })
        }
        "load" | "agent-kill" | "agent-break" => to_machine(sim, id, verb, received),
        other => Err(refuse(
            404,
            format!("nothing called {other} can be done to an instance"),
        )),
    }
}

fn to_machine(sim: &Sim, id: &str, verb: &str, received: &Received) -> Handled {
    let Some(machine) = sim.machines.get(id) else {
        return Err(refuse(
            409,
            format!("the instance {id} has no booted machine"),
        ));
    };
    match verb {
        "load" => {
            let LoadForm {
                cpu_percent,
                net_bytes_per_sec,
                disk_bytes_per_sec,
            } = read(received)?;
            machine.set_load(Load {
                cpu_percent,
                net_bytes_per_sec,
                disk_bytes_per_sec,
            });
        }
        "agent-kill" => {
            let Process { name } = read(received)?;
            machine.kill_process(&name);
        }
        _ => {
            let Process { name } = read(received)?;
            machine.break_unit(&name);
        }
    }
    Ok(ok())
}

fn interrupt(sim: &Sim, id: &str, wish: &Interruption) -> Handled {
    let asked_for = sim.with(|world, _| {
        let (_, instance) = world.instance(id)?;
        instance.spot.as_ref().map(|spot| spot.interruption.clone())
    });
    let Some(asked_for) = asked_for else {
        return Err(refuse(409, format!("{id} is not a spot instance")));
    };
    let action = wish.action.as_ref().unwrap_or(&asked_for);
    if !["terminate", "stop", "hibernate"].contains(&action.as_str()) {
        return Err(refuse(400, format!("'{action}' is no interruption action")));
    }
    at_home(sim, id, |local| {
        let at: Timestamp = local.now + Duration::from_secs(wish.in_seconds);
        local.notice(id, action, at);
    })
}

fn condition(sim: &Sim, id: &str, change: impl FnOnce(&mut Instance)) -> Handled {
    at_home(sim, id, |local| {
        if let Some(instance) = local.region.instance_mut(id) {
            change(instance);
        }
    })
}

fn at_home(sim: &Sim, id: &str, act: impl FnOnce(&mut Local<'_>)) -> Handled {
    sim.with(|world, now| world.at_home(id, now, act))
        .map(|()| ok())
        .ok_or_else(|| refuse(404, format!("no instance {id}")))
}
