//! The metadata service of an instance: sessions, then a tree of small documents.

pub(crate) mod token;
mod tree;

use std::time::Duration;

use hyper::Method;

use crate::lock::Lock as _;
use crate::reply::{Reply, reply, text, with_header};
use crate::server::Received;
use crate::sim::Sim;
use crate::world::instance::{Instance, State};
use token::MAX_TTL;

/// Answers a request to one instance's metadata service.
pub(crate) async fn answer(sim: &Sim, instance_id: &str, path: &str, received: &Received) -> Reply {
    let found = sim.with(|world, now| {
        let (region, instance) = world.instance(instance_id)?;
        // A machine exists while its instance runs, and until it has shut down.
        let alive = matches!(
            instance.state,
            State::Running | State::Stopping | State::ShuttingDown
        );
        alive.then(|| (instance.clone(), tree::View::of(region, instance, now)))
    });
    let Some((instance, view)) = found else {
        return text(404, format!("no running instance {instance_id}"));
    };
    tokio::time::sleep(instance.condition.imds_delay).await;
    if instance.condition.imds_off {
        return text(503, "the metadata service does not answer");
    }
    if instance.metadata.http_endpoint == "disabled" {
        return text(403, "the metadata service is disabled");
    }
    let path = path.trim_start_matches('/');
    if received.method == Method::PUT {
        return open_session(sim, &instance, path, received);
    }
    if received.method != Method::GET && received.method != Method::HEAD {
        return text(405, "");
    }
    if let Some(refusal) = check_session(sim, &instance, received) {
        return refusal;
    }
    match view.document(path) {
        Some(document) => reply(200, document.content_type, document.body),
        None => text(404, ""),
    }
}

fn open_session(sim: &Sim, instance: &Instance, path: &str, received: &Received) -> Reply {
    if path != "latest/api/token" {
        return text(404, "");
    }
    // A request through a proxy must not open a session.
    if received.headers.contains_key("x-forwarded-for") {
        return text(403, "");
    }
    let header = received.headers.get("x-aws-ec2-metadata-token-ttl-seconds");
    let ttl = header
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else {
        return text(400, "");
    };
    let token = sim.with(|world, now| {
        let token = world.core.ids.hex();
        let life = Duration::from_secs(ttl);
        sim.imds_tokens
            .hold()
            .open(token.clone(), &instance.id, life, now);
        token
    });
    with_header(
        text(200, token),
        "x-aws-ec2-metadata-token-ttl-seconds",
        &ttl.to_string(),
    )
}

fn check_session(sim: &Sim, instance: &Instance, received: &Received) -> Option<Reply> {
    let token = received.headers.get("x-aws-ec2-metadata-token");
    let Some(token) = token.and_then(|value| value.to_str().ok()) else {
        return (instance.metadata.http_tokens == "required").then(|| text(401, ""));
    };
    let good = sim.with(|_, now| sim.imds_tokens.hold().is_open(token, &instance.id, now));
    (!good).then(|| text(401, ""))
}
