//! Capacity reservations.

use super::listing::Listing;
use super::run_instances::options::word;
use super::tags::{self, TagSpecs};
use super::{Ctx, done, time};
use crate::catalogue;
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, maybe, one};
use crate::world::region::{CapacityReservation, Region};
use crate::xml::Xml;

/// CreateCapacityReservation.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let kind = params.need("InstanceType")?;
    let platform = params.need("InstancePlatform")?;
    let zone = params.need("AvailabilityZone")?;
    let total = params
        .int("InstanceCount")?
        .ok_or_else(|| ApiError::missing("InstanceCount"))?;
    let known = catalogue::find(kind).ok_or_else(|| {
        ApiError::new(
            "InvalidInstanceType",
            format!("Invalid value '{kind}' for InstanceType."),
        )
    })?;
    if ctx.region().zone(zone).is_none() || !known.offered_in(zone) {
        let message = format!("The instance type {kind} is not supported in {zone}.");
        return Err(ApiError::new("Unsupported", message));
    }
    if total < 1 {
        return Err(ApiError::invalid(
            "instanceCount",
            &total.to_string(),
            "At least 1.",
        ));
    }
    let end = params
        .str("EndDate")
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::invalid("endDate", text, "A time."))
        })
        .transpose()?;
    let end_type = word(
        params,
        "EndDateType",
        &["unlimited", "limited"],
        "unlimited",
    )?;
    if (end_type == "limited") != end.is_some() {
        let message = "EndDate goes together with the EndDateType limited.";
        return Err(ApiError::combination(message));
    }
    let specs = TagSpecs::parse(params, &["capacity-reservation"])?;
    let matching = word(
        params,
        "InstanceMatchCriteria",
        &["open", "targeted"],
        "open",
    )?;
    let tenancy = word(params, "Tenancy", &["default", "dedicated"], "default")?;
    let ebs_optimized = params.bool("EbsOptimized")?.unwrap_or(false);
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let reservation = CapacityReservation {
        id: local.core.ids.fresh("cr"),
        instance_type: kind.to_owned(),
        platform: platform.to_owned(),
        zone: zone.to_owned(),
        total,
        state: "active",
        matching,
        end,
        tenancy,
        ebs_optimized,
        created_at: local.now,
    };
    tags::attach(
        local.region,
        &reservation.id,
        specs.of("capacity-reservation"),
    );
    let mut xml = Xml::new();
    xml.nest("capacityReservation", |xml| {
        write(xml, local.region, &reservation);
    });
    local
        .region
        .reservations
        .insert(reservation.id.clone(), reservation);
    Ok(xml)
}

/// DescribeCapacityReservations.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeCapacityReservations",
        ids: "CapacityReservationId",
        not_found: "InvalidCapacityReservationId.NotFound",
        what: "capacity reservation",
        filters: &[
            "availability-zone",
            "end-date",
            "end-date-type",
            "instance-match-criteria",
            "instance-platform",
            "instance-type",
            "owner-id",
            "placement-group-arn",
            "start-date",
            "state",
            "tenancy",
        ],
        all: |region| &region.reservations,
        values,
        set: "capacityReservationSet",
        write,
    }
    .answer(ctx)
}

fn end_type(r: &CapacityReservation) -> &'static str {
    if r.end.is_some() {
        "limited"
    } else {
        "unlimited"
    }
}

fn values<'a>(region: &'a Region, r: &'a CapacityReservation, filter: &str) -> Values<'a> {
    match filter {
        "availability-zone" => one(r.zone.as_str()),
        "end-date" => maybe(r.end.map(time)),
        "end-date-type" => one(end_type(r)),
        "instance-match-criteria" => one(r.matching.as_str()),
        "instance-platform" => one(r.platform.as_str()),
        "instance-type" => one(r.instance_type.as_str()),
        "owner-id" => one(region.account.as_str()),
        "start-date" => one(time(r.created_at)),
        "state" => one(r.state),
        "tenancy" => one(r.tenancy.as_str()),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, r: &CapacityReservation) {
    let available = if r.state == "active" {
        r.total - region.occupied(r)
    } else {
        0
    };
    xml.text("capacityReservationId", &r.id);
    xml.text("ownerId", &region.account);
    xml.text(
        "capacityReservationArn",
        format!(
            "arn:aws:ec2:{}:{}:capacity-reservation/{}",
            region.name, region.account, r.id
        ),
    );
    xml.opt(
        "availabilityZoneId",
        region.zone(&r.zone).map(|zone| &zone.id),
    );
    xml.text("instanceType", &r.instance_type);
    xml.text("instancePlatform", &r.platform);
    xml.text("availabilityZone", &r.zone);
    xml.text("tenancy", &r.tenancy);
    xml.text("totalInstanceCount", r.total);
    xml.text("availableInstanceCount", available);
    xml.text("ebsOptimized", r.ebs_optimized);
    xml.text("ephemeralStorage", false);
    xml.text("state", r.state);
    xml.text("startDate", time(r.created_at));
    xml.opt("endDate", r.end.map(time));
    xml.text("endDateType", end_type(r));
    xml.text("instanceMatchCriteria", &r.matching);
    xml.text("createDate", time(r.created_at));
    tags::write(xml, region, &r.id);
}

fn named(ctx: &mut Ctx<'_>) -> ApiResult<CapacityReservation> {
    let id = ctx.params().need("CapacityReservationId")?;
    let code = "InvalidCapacityReservationId.NotFound";
    let found = ctx.region().reservations.get(id).cloned();
    found.ok_or_else(|| ApiError::not_found(code, "capacity reservation", id))
}

/// ModifyCapacityReservation: the number of instances.
pub(crate) fn modify(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let mut reservation = named(ctx)?;
    let total = ctx
        .params()
        .int("InstanceCount")?
        .unwrap_or(reservation.total);
    if reservation.state != "active" || total < ctx.region().occupied(&reservation) {
        let message = "The capacity reservation cannot be changed like this.";
        return Err(ApiError::new("InvalidCapacityReservationState", message));
    }
    ctx.dry_run_ends()?;
    reservation.total = total;
    ctx.local()
        .region
        .reservations
        .insert(reservation.id.clone(), reservation);
    Ok(done())
}

/// CancelCapacityReservation.
pub(crate) fn cancel(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let mut reservation = named(ctx)?;
    if reservation.state != "active" {
        let message = format!(
            "The capacity reservation '{}' is not active.",
            reservation.id
        );
        return Err(ApiError::new("InvalidCapacityReservationState", message));
    }
    ctx.dry_run_ends()?;
    reservation.state = "cancelled";
    ctx.local()
        .region
        .reservations
        .insert(reservation.id.clone(), reservation);
    Ok(done())
}
