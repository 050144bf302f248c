//! One AWS request from arrival to reply: faults before, execution, faults after.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{self, Answer};
use crate::call::{Call, Caller, Scope, Service, account_of, instance_of};
use crate::error::{ApiError, ApiResult};
use crate::faults::{Effect, Subject, Target, When};
use crate::lock::Lock as _;
use crate::reply::{Reply, reply, text};
use crate::server::{HangUp, Received};
use crate::sim::Sim;
use crate::world::{Place, World};
use crate::xml::Xml;

/// Answers an AWS request, or hangs up when a fault says so.
pub(crate) async fn answer(sim: &Arc<Sim>, received: &Received) -> Result<Reply, HangUp> {
    let Some(scope) = Scope::read(&received.headers, Some(&received.query)) else {
        let error = ApiError::new(
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        );
        return Ok(refuse(Service::Ec2, &error, &request_id(sim)));
    };
    let protocol = protocol_of(&scope.service);
    match Call::read(scope, &received.headers, &received.query, &received.body) {
        Ok(call) => run(sim, &call).await,
        Err(error) => Ok(refuse(protocol, &error, &request_id(sim))),
    }
}

fn protocol_of(service: &str) -> Service {
    match service {
        "sts" => Service::Sts,
        "iam" => Service::Iam,
        "ssm" => Service::Ssm,
        "pricing" => Service::Pricing,
        _ => Service::Ec2,
    }
}

async fn run(sim: &Arc<Sim>, call: &Call) -> Result<Reply, HangUp> {
    let (caller, effects) = sim.with(|world, now| {
        let caller = caller(world, &call.access_key);
        let subject = subject(world, &call.place(&caller), call, now);
        let target = Target {
            action: &call.action,
            access_key: &call.access_key,
            subject: &subject,
        };
        let effects = world.core.faults.strike(&target);
        (caller, effects)
    });
    let seq = sim.calls.hold().begin(
        &call.action,
        &call.region,
        &call.access_key,
        Timestamp::now(),
    );
    let mut lag = Duration::ZERO;
    for (fault, effect) in &effects {
        if let Some(early) = before(sim, call, seq, *fault, effect, &mut lag).await {
            return early;
        }
    }
    let request_id = request_id(sim);
    let result = sim.with(|world, now| execute(world, call, &caller, lag, now));
    let (status, code) = match &result {
        Ok(_) => (200, ""),
        Err(error) => (error.status, error.code.as_ref()),
    };
    sim.calls.hold().result(seq, status, code);
    tracing::debug!(action = %call.action, region = %call.region, status, code, "call");
    let finished = match result {
        Ok(answer) => accept(call, answer, &request_id),
        Err(error) => refuse(call.service, &error, &request_id),
    };
    for (fault, effect) in &effects {
        if let Some(instead) = after(sim, call, seq, *fault, effect).await {
            return instead;
        }
    }
    Ok(finished)
}

fn caller(world: &World, access_key: &str) -> Caller {
    let instance = instance_of(access_key);
    let home = instance.as_deref().and_then(|id| world.home(id));
    Caller {
        account: home.map_or_else(|| account_of(access_key), |place| place.account.clone()),
        access_key: access_key.to_owned(),
        instance,
    }
}

/// What a call is about, as far as its parameters say.
fn subject(world: &mut World, place: &Place, call: &Call, now: Timestamp) -> Subject {
    let mut subject = Subject {
        region: Some(call.region.clone()),
        ..Subject::default()
    };
    if call.action == "RunInstances" {
        let zone = call
            .params
            .get("Placement")
            .and_then(|p| p.str("AvailabilityZone"));
        let subnet = call.params.str("SubnetId");
        subject.zone = zone.map(str::to_owned).or_else(|| {
            let subnet = world.region(place, now).subnets.get(subnet?)?;
            Some(subnet.zone.clone())
        });
        subject.instance_type = call.params.str("InstanceType").map(str::to_owned);
        let market = call
            .params
            .get("InstanceMarketOptions")
            .and_then(|m| m.str("MarketType"));
        subject.market = Some(market.unwrap_or("on-demand").to_owned());
    }
    subject
}

/// The effect of one fault before execution; a result ends the call.
async fn before(
    sim: &Sim,
    call: &Call,
    seq: u64,
    fault: u64,
    effect: &Effect,
    lag: &mut Duration,
) -> Option<Result<Reply, HangUp>> {
    let error = match effect {
        Effect::Error(form) => {
            let message = form
                .message
                .clone()
                .unwrap_or_else(|| "An injected error".to_owned());
            let error = ApiError::new(form.code.clone(), message);
            let status = form.status.unwrap_or(error.status);
            error.with_status(status)
        }
        Effect::Throttle => ApiError::new("RequestLimitExceeded", "Request limit exceeded."),
        Effect::Reset => {
            sim.calls.hold().fault(seq, "reset");
            return Some(Err(HangUp));
        }
        Effect::Status {
            status,
            after: false,
        } => {
            sim.calls.hold().fault(seq, "status");
            return Some(Ok(text(*status, "an injected failure")));
        }
        Effect::Delay(delay) if !delay.after_effect => {
            tokio::time::sleep(Duration::from_millis(delay.ms)).await;
            return None;
        }
        Effect::Hold(hold) if hold.when == When::Before => {
            sim.calls.hold().fault(seq, "held");
            sim.held.wait(fault, &call.action, "before").await;
            return None;
        }
        Effect::ListLag(form) => {
            *lag = (*lag).max(Duration::from_millis(form.ms));
            return None;
        }
        Effect::Capacity(_)
        | Effect::LoseReply
        | Effect::Status { .. }
        | Effect::Delay(_)
        | Effect::Hold(_) => return None,
    };
    let mut calls = sim.calls.hold();
    calls.result(seq, error.status, &error.code);
    calls.fault(seq, "error");
    drop(calls);
    Some(Ok(refuse(call.service, &error, &request_id(sim))))
}

/// The effect of one fault after execution; a result replaces the reply.
async fn after(
    sim: &Sim,
    call: &Call,
    seq: u64,
    fault: u64,
    effect: &Effect,
) -> Option<Result<Reply, HangUp>> {
    match effect {
        Effect::LoseReply => {
            sim.calls.hold().fault(seq, "reply lost");
            Some(Err(HangUp))
        }
        Effect::Status {
            status,
            after: true,
        } => {
            sim.calls.hold().fault(seq, "status after effect");
            Some(Ok(text(*status, "an injected failure")))
        }
        Effect::Delay(delay) if delay.after_effect => {
            tokio::time::sleep(Duration::from_millis(delay.ms)).await;
            None
        }
        Effect::Hold(hold) if hold.when == When::After => {
            sim.calls.hold().fault(seq, "held after effect");
            sim.held.wait(fault, &call.action, "after").await;
            None
        }
        Effect::Error(_)
        | Effect::Capacity(_)
        | Effect::Throttle
        | Effect::Reset
        | Effect::Status { .. }
        | Effect::Delay(_)
        | Effect::Hold(_)
        | Effect::ListLag(_) => None,
    }
}

fn execute(
    world: &mut World,
    call: &Call,
    caller: &Caller,
    lag: Duration,
    now: Timestamp,
) -> ApiResult<Answer> {
    let place = call.place(caller);
    if call.service == Service::Ec2 && world.core.config.limits {
        let unfiltered = ["Filter", "MaxResults", "NextToken"]
            .iter()
            .all(|name| call.params.get(name).is_none());
        let bucket = format!("{}/{}", place.account, place.region);
        world
            .core
            .limits
            .take_request(&bucket, &call.action, unfiltered, now)?;
    }
    let answer = api::dispatch(&mut api::Ctx {
        world,
        call,
        caller,
        place: &place,
        now,
        lag,
    })?;
    let unread = call.params.unread();
    if !unread.is_empty() {
        tracing::warn!(action = %call.action, ignored = ?unread, "parameters that are not modelled");
    }
    Ok(answer)
}

fn request_id(sim: &Sim) -> String {
    sim.with(|world, _| world.core.ids.request_id())
}

const EC2_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

fn query_namespace(service: Service) -> &'static str {
    match service {
        Service::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
        Service::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        Service::Ec2 | Service::Ssm | Service::Pricing => EC2_NAMESPACE,
    }
}

fn accept(call: &Call, answer: Answer, request_id: &str) -> Reply {
    let action = &call.action;
    match answer {
        Answer::Json(value) => reply(200, "application/x-amz-json-1.1", value.to_string()),
        Answer::Xml(body) if call.service == Service::Ec2 => {
            let document = Xml::root(&format!("{action}Response"), EC2_NAMESPACE, |xml| {
                xml.text("requestId", request_id);
                xml.raw(&body.into_string());
            });
            reply(200, "text/xml;charset=UTF-8", document)
        }
        Answer::Xml(body) => {
            let namespace = query_namespace(call.service);
            let document = Xml::root(&format!("{action}Response"), namespace, |xml| {
                xml.nest(&format!("{action}Result"), |xml| {
                    xml.raw(&body.into_string());
                });
                xml.nest("ResponseMetadata", |xml| xml.text("RequestId", request_id));
            });
            reply(200, "text/xml", document)
        }
    }
}

fn refuse(service: Service, error: &ApiError, request_id: &str) -> Reply {
    match service {
        Service::Ssm | Service::Pricing => {
            let body = serde_json::json!({ "__type": error.code, "message": error.message });
            reply(error.status, "application/x-amz-json-1.1", body.to_string())
        }
        Service::Ec2 => {
            let mut xml = Xml::new();
            xml.nest("Response", |xml| {
                xml.nest("Errors", |xml| {
                    xml.nest("Error", |xml| {
                        xml.text("Code", &error.code);
                        xml.text("Message", &error.message);
                    });
                });
                xml.text("RequestID", request_id);
            });
            reply(error.status, "text/xml;charset=UTF-8", xml.into_string())
        }
        Service::Iam | Service::Sts => {
            let kind = if error.status < 500 {
                "Sender"
            } else {
                "Receiver"
            };
            let document = Xml::root("ErrorResponse", query_namespace(service), |xml| {
                xml.nest("Error", |xml| {
                    xml.text("Type", kind);
                    xml.text("Code", &error.code);
                    xml.text("Message", &error.message);
                });
                xml.text("RequestId", request_id);
            });
            reply(error.status, "text/xml", document)
        }
    }
}
