//! Where a launch finds room: zones, capacity faults, free addresses, reservations.

use super::Ctx;
use super::request::Request;
use crate::error::{ApiError, ApiResult};
use crate::faults::{Shortage, Subject, Target};
use crate::world::network::Subnet;
use crate::world::region::{CapacityReservation, Region};

/// What a launch gets.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The subnet of the first interface.
    pub(crate) subnet_id: String,
    /// How many instances.
    pub(crate) count: usize,
    /// The capacity reservation they occupy.
    pub(crate) reservation: Option<String>,
}

/// Finds room for a launch, fully if possible, else for at least its minimum.
pub(crate) fn find(ctx: &mut Ctx<'_>, request: &Request) -> ApiResult<Grant> {
    let candidates = candidates(ctx.region(), request)?;
    let mut best: Option<(usize, &Candidate)> = None;
    let mut refusal = None;
    let mut looked_at = Vec::new();
    for candidate in &candidates {
        looked_at.push(candidate.zone.as_str());
        let shortage = shortage(ctx, request, &candidate.zone);
        let room = shortage
            .as_ref()
            .map_or(usize::MAX, |s| s.available)
            .min(request.max);
        if room >= request.min && best.is_none_or(|(most, _)| room > most) {
            best = Some((room, candidate));
        }
        if room == request.max {
            break;
        }
        refusal = refusal.or_else(|| shortage.map(|s| insufficient(request, &s, &candidate.zone)));
    }
    consume(
        ctx,
        request,
        &looked_at,
        best.map(|(room, at)| (room, at.zone.as_str())),
    );
    let Some((room, candidate)) = best else {
        return Err(refusal.unwrap_or_else(ApiError::no_capacity));
    };
    let free = usize::try_from(candidate.free).unwrap_or(usize::MAX);
    if free < request.min {
        let message = format!(
            "There are not enough free addresses in subnet '{}' to satisfy the requested number \
             of instances.",
            candidate.subnet_id
        );
        return Err(ApiError::new("InsufficientFreeAddressesInSubnet", message));
    }
    let count = room.min(free);
    let reservation = reservation(ctx.region(), request, &candidate.zone, count)?;
    Ok(Grant {
        subnet_id: candidate.subnet_id.clone(),
        count,
        reservation,
    })
}

#[derive(Debug)]
struct Candidate {
    subnet_id: String,
    zone: String,
    free: u64,
}

impl From<&Subnet> for Candidate {
    fn from(subnet: &Subnet) -> Self {
        Self {
            subnet_id: subnet.id.clone(),
            zone: subnet.zone.clone(),
            free: subnet.free(),
        }
    }
}

/// The subnets in which the launch may happen, emptiest first when the caller leaves it open.
fn candidates(region: &Region, request: &Request) -> ApiResult<Vec<Candidate>> {
    if let Some(id) = &request.subnet_id {
        let subnet = region.subnets.get(id).ok_or_else(|| {
            let message = format!("The subnet ID '{id}' does not exist");
            ApiError::new("InvalidSubnetID.NotFound", message)
        })?;
        if !request.kind.offered_in(&subnet.zone) {
            return Err(unsupported(region, request, &subnet.zone));
        }
        return Ok(vec![subnet.into()]);
    }
    if let Some(zone) = &request.zone
        && !request.kind.offered_in(zone)
    {
        return Err(unsupported(region, request, zone));
    }
    let mut defaults: Vec<Candidate> = region
        .subnets
        .values()
        .filter(|subnet| subnet.is_default)
        .filter(|subnet| {
            request
                .zone
                .as_ref()
                .is_none_or(|zone| *zone == subnet.zone)
        })
        .filter(|subnet| request.kind.offered_in(&subnet.zone))
        .map(Candidate::from)
        .collect();
    defaults.sort_by(|a, b| b.free.cmp(&a.free).then_with(|| a.zone.cmp(&b.zone)));
    if defaults.is_empty() {
        let message = "No default subnet for the requested zone; specify a subnet ID.";
        return Err(ApiError::new("MissingInput", message));
    }
    Ok(defaults)
}

fn unsupported(region: &Region, request: &Request, zone: &str) -> ApiError {
    let name = &request.kind.name;
    let others: Vec<&str> = region
        .zones
        .iter()
        .map(|zone| zone.name.as_str())
        .filter(|zone| request.kind.offered_in(zone))
        .collect();
    let message = format!(
        "Your requested instance type ({name}) is not supported in your requested Availability \
         Zone ({zone}). Please retry your request by not specifying an Availability Zone or \
         choosing {}.",
        others.join(", ")
    );
    ApiError::new("Unsupported", message)
}

fn subject(ctx: &Ctx<'_>, request: &Request, zone: &str) -> Subject {
    Subject {
        instance_type: Some(request.kind.name.clone()),
        zone: Some(zone.to_owned()),
        market: Some(
            if request.spot.is_some() {
                "spot"
            } else {
                "on-demand"
            }
            .to_owned(),
        ),
        region: Some(ctx.place.region.clone()),
    }
}

/// The names under which capacity faults may be about this call: a fleet launches as well.
fn actions<'a>(ctx: &Ctx<'a>) -> impl Iterator<Item = &'a str> {
    let own = ctx.call.action.as_str();
    std::iter::once("RunInstances").chain((own != "RunInstances").then_some(own))
}

fn shortage(ctx: &Ctx<'_>, request: &Request, zone: &str) -> Option<Shortage> {
    let subject = &subject(ctx, request, zone);
    let access_key = &ctx.caller.access_key;
    actions(ctx)
        .filter_map(|action| {
            ctx.world.core.faults.shortage(&Target {
                action,
                access_key,
                subject,
            })
        })
        .min_by_key(|shortage| shortage.available)
}

fn consume(ctx: &mut Ctx<'_>, request: &Request, zones: &[&str], got: Option<(usize, &str)>) {
    let subjects: Vec<(Subject, usize)> = zones
        .iter()
        .map(|zone| {
            let launched = got
                .filter(|(_, at)| at == zone)
                .map_or(0, |(count, _)| count);
            (subject(ctx, request, zone), launched)
        })
        .collect();
    let (action, access_key) = (ctx.call.action.as_str(), ctx.caller.access_key.as_str());
    let pools: Vec<(Target<'_>, usize)> = subjects
        .iter()
        .map(|(subject, launched)| {
            (
                Target {
                    action,
                    access_key,
                    subject,
                },
                *launched,
            )
        })
        .collect();
    ctx.world.core.faults.consume(&pools);
}

fn insufficient(request: &Request, shortage: &Shortage, zone: &str) -> ApiError {
    let name = &request.kind.name;
    let message = if request.spot.is_some() {
        format!("There is no Spot capacity available that matches your request ({name} in {zone}).")
    } else {
        format!(
            "We currently do not have sufficient {name} capacity in the Availability Zone you \
             requested ({zone})."
        )
    };
    ApiError::new(shortage.code.clone(), message)
}

/// The capacity reservation that a launch occupies: the one it names, or a matching open one.
fn reservation(
    region: &Region,
    request: &Request,
    zone: &str,
    count: usize,
) -> ApiResult<Option<String>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let fits = |r: &&CapacityReservation| {
        r.state == "active"
            && r.instance_type == request.kind.name
            && r.zone == zone
            && r.total - region.occupied(r) >= count
    };
    if let Some(id) = &request.reservation_target {
        let target = region.reservations.get(id).ok_or_else(|| {
            let message = format!("The capacity reservation '{id}' does not exist");
            ApiError::new("InvalidCapacityReservationId.NotFound", message)
        })?;
        return if fits(&target) {
            Ok(Some(id.clone()))
        } else {
            let message = format!(
                "The requested capacity reservation '{id}' does not have sufficient compatible \
                 and available capacity for this request."
            );
            Err(ApiError::new("ReservationCapacityExceeded", message))
        };
    }
    if request.reservation_preference != "open" || request.spot.is_some() {
        return Ok(None);
    }
    let open = region
        .reservations
        .values()
        .filter(|r| r.matching == "open")
        .find(fits);
    Ok(open.map(|r| r.id.clone()))
}
