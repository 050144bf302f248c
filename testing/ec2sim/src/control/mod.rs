//! The control interface for tests, under `/_sim/`: JSON in, JSON out.

mod instances;
mod settings;

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::faults::Fault;
use crate::lock::Lock as _;
use crate::reply::{Reply, json, refusal};
use crate::server::Received;
use crate::sim::Sim;

/// Answers a request; `path` is what follows `/_sim/`.
pub(crate) fn answer(sim: &Sim, path: &str, received: &Received) -> Reply {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let result = match (&received.method, parts.as_slice()) {
        (&Method::GET, ["health"]) => Ok(health(sim)),
        (&Method::GET, ["calls"]) => Ok(json(200, &*sim.calls.hold())),
        (&Method::POST, ["calls", "reset"]) => {
            sim.calls.hold().reset();
            Ok(ok())
        }
        (&Method::GET, ["faults"]) => Ok(list_faults(sim)),
        (&Method::POST, ["faults"]) => add_fault(sim, received),
        (&Method::DELETE, ["faults"]) => Ok(remove_faults(sim, None)),
        (&Method::DELETE, ["faults", id]) => number(id).map(|id| remove_faults(sim, Some(id))),
        (&Method::GET, ["held"]) => Ok(json(200, &sim.held.list())),
        (&Method::POST, ["held", "release"]) => release(sim, received),
        (&Method::GET, ["instances"]) => Ok(instances::list(sim)),
        (&Method::POST, ["instances", id, verb]) => instances::act(sim, id, verb, received),
        (&Method::GET, ["audit"]) => Ok(instances::audit(sim)),
        (&Method::POST, ["images"]) => settings::add_image(sim, received),
        (&Method::POST, ["price"]) => settings::set_price(sim, received),
        (&Method::POST, ["work"]) => settings::set_work(sim, received),
        (method, _) => Err(refuse(404, format!("no {method} /_sim/{path}"))),
    };
    result.unwrap_or_else(|Refused { status, message }| refusal(status, message))
}

/// The refusal of a bad request.
#[derive(Debug)]
struct Refused {
    status: u16,
    message: String,
}

fn refuse(status: u16, message: impl Into<String>) -> Refused {
    Refused {
        status,
        message: message.into(),
    }
}

/// What a handler gives.
type Handled = Result<Reply, Refused>;

fn ok() -> Reply {
    json(200, &json!({ "ok": true }))
}

/// Reads a JSON body; an empty one stands for `{}`.
fn read<T: DeserializeOwned>(received: &Received) -> Result<T, Refused> {
    let body: &[u8] = if received.body.is_empty() {
        b"{}"
    } else {
        &received.body
    };
    serde_json::from_slice(body)
        .map_err(|error| refuse(400, format!("cannot read the request: {error}")))
}

fn number(text: &str) -> Result<u64, Refused> {
    text.parse()
        .map_err(|_| refuse(400, format!("'{text}' is not the id of a fault")))
}

fn health(sim: &Sim) -> Reply {
    json(
        200,
        &json!({
            "status": "ok",
            "limits": sim.config.limits,
            "machines": sim.config.machines.is_some(),
            "imdsPort": sim.imds_port,
        }),
    )
}

fn list_faults(sim: &Sim) -> Reply {
    sim.with(|world, _| {
        let faults: Vec<_> = world
            .core
            .faults
            .list()
            .map(|(id, fault)| json!({ "id": id, "fault": fault }))
            .collect();
        json(200, &faults)
    })
}

fn add_fault(sim: &Sim, received: &Received) -> Handled {
    let fault: Fault = read(received)?;
    let id = sim.with(|world, _| world.core.faults.add(fault));
    Ok(json(200, &json!({ "id": id })))
}

fn remove_faults(sim: &Sim, id: Option<u64>) -> Reply {
    let removed = sim.with(|world, _| world.core.faults.remove(id));
    json(200, &json!({ "removed": removed }))
}

fn release(sim: &Sim, received: &Received) -> Handled {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Which {
        #[serde(default)]
        id: Option<u64>,
    }
    let which: Which = read(received)?;
    let released = sim.held.release(which.id);
    Ok(json(200, &json!({ "released": released })))
}
