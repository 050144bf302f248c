//! Spot prices and spot requests.

use jiff::{SignedDuration, Timestamp};

use super::instance_xml::write_groups;
use super::listing::Listing;
use super::{Ctx, tags, time};
use crate::catalogue::{self, InstanceType};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Values, maybe, one};
use crate::paging::{Page, PageRule};
use crate::world::instance::State;
use crate::world::region::{Region, SpotRequest};
use crate::xml::Xml;

/// The spot price of a type in a zone: what a test has set, or the catalogue's.
pub(crate) fn current_price(region: &Region, kind: &InstanceType, zone: &str) -> f64 {
    let set = region
        .spot_prices
        .get(&(kind.name.clone(), zone.to_owned()));
    set.and_then(|price| price.parse().ok())
        .unwrap_or_else(|| kind.spot_price(zone))
}

/// A price as EC2 writes it: six decimals.
pub(crate) fn price_text(price: &str) -> String {
    price
        .parse::<f64>()
        .map_or_else(|_| price.to_owned(), |price| format!("{price:.6}"))
}

const PRODUCT: &str = "Linux/UNIX";
/// Prices of the past: hours ago, and the share of today's price.
const HISTORY: [(i64, f64); 4] = [(2, 1.0), (14, 1.03), (40, 0.97), (80, 1.01)];

struct Price {
    kind: &'static InstanceType,
    zone: String,
    zone_id: String,
    price: String,
    at: Timestamp,
}

/// DescribeSpotPriceHistory.
pub(crate) fn price_history(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    const RULE: PageRule = PageRule {
        action: "DescribeSpotPriceHistory",
        min: 1,
        max: 1000,
    };
    const FILTERS: [&str; 6] = [
        "availability-zone",
        "availability-zone-id",
        "instance-type",
        "product-description",
        "spot-price",
        "timestamp",
    ];
    let params = ctx.params();
    let filters = Filters::parse(params, &FILTERS)?;
    let names = params.strings("InstanceType");
    let products = params.strings("ProductDescription");
    let zone = params.str("AvailabilityZone");
    let (start, end) = (
        moment(params.str("StartTime"))?,
        moment(params.str("EndTime"))?,
    );
    let page = Page::parse(params, RULE, false)?;
    if let Some(unknown) = names.iter().find(|name| catalogue::find(name).is_none()) {
        return Err(ApiError::invalid(
            "InstanceType",
            unknown,
            "Unknown instance type.",
        ));
    }
    if zone.is_some_and(|zone| ctx.region().zone(zone).is_none()) {
        let message = format!("Invalid availability zone: [{}]", zone.unwrap_or_default());
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    ctx.dry_run_ends()?;
    let linux = products.is_empty() || products.iter().any(|product| product.starts_with(PRODUCT));
    let now = ctx.now;
    let region = ctx.region();
    let prices = history(region, now, start, end)
        .into_iter()
        .filter(|price| {
            linux
                && (names.is_empty() || names.contains(&price.kind.name.as_str()))
                && zone.is_none_or(|zone| price.zone == zone)
                && filters.pass(None, |name| match name {
                    "availability-zone" => one(price.zone.clone()),
                    "availability-zone-id" => one(price.zone_id.clone()),
                    "instance-type" => one(price.kind.name.as_str()),
                    "product-description" => one(PRODUCT),
                    "spot-price" => one(price.price.clone()),
                    _ => one(time(price.at)),
                })
        });
    let (found, token) = page.take_sorted(prices, key);
    let mut xml = Xml::new();
    xml.list("spotPriceHistorySet", found, |xml, price| {
        xml.text("instanceType", &price.kind.name);
        xml.text("productDescription", PRODUCT);
        xml.text("spotPrice", &price.price);
        xml.text("timestamp", time(price.at));
        xml.text("availabilityZone", &price.zone);
        xml.text("availabilityZoneId", &price.zone_id);
    });
    // EC2 always answers with a token here; an empty one says that this is the end.
    xml.text("nextToken", token.unwrap_or_default());
    Ok(xml)
}

fn moment(text: Option<&str>) -> ApiResult<Option<Timestamp>> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| ApiError::invalid("time", text, "Expecting a date and time."))
    };
    text.map(parse).transpose()
}

fn key(price: &Price) -> String {
    // Newest first within a type and zone.
    let age = i64::MAX - price.at.as_second();
    format!("{}\n{}\n{age:020}", price.kind.name, price.zone)
}

/// The prices in a span of time, and the one in force at its beginning.
fn history(
    region: &Region,
    now: Timestamp,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
) -> Vec<Price> {
    // Changes happen on the hour, so that repeated calls agree.
    let hour = Timestamp::from_second(now.as_second() / 3600 * 3600).unwrap_or(now);
    let moments: Vec<(Timestamp, f64)> = HISTORY
        .iter()
        .map(|(hours, share)| (hour - SignedDuration::from_hours(*hours), *share))
        .filter(|(at, _)| end.is_none_or(|end| *at <= end))
        .collect();
    let in_force = start.and_then(|start| moments.iter().position(|(at, _)| *at <= start));
    let wanted = in_force.map_or(moments.len(), |index| index + 1);
    let mut prices = Vec::new();
    for kind in catalogue::all()
        .iter()
        .filter(|kind| kind.usage.iter().any(|u| u == "spot"))
    {
        for zone in region
            .zones
            .iter()
            .filter(|zone| kind.offered_in(&zone.name))
        {
            let current = current_price(region, kind, &zone.name);
            prices.extend(moments.iter().take(wanted).map(|(at, share)| Price {
                kind,
                zone: zone.name.clone(),
                zone_id: zone.id.clone(),
                price: format!("{:.6}", current * share),
                at: *at,
            }));
        }
    }
    prices
}

/// DescribeSpotInstanceRequests.
pub(crate) fn describe_requests(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeSpotInstanceRequests",
        ids: "SpotInstanceRequestId",
        not_found: "InvalidSpotInstanceRequestID.NotFound",
        what: "spot instance request ID",
        filters: &[
            "availability-zone-group",
            "create-time",
            "fault-code",
            "fault-message",
            "instance-id",
            "launch-group",
            "launch.block-device-mapping.delete-on-termination",
            "launch.block-device-mapping.device-name",
            "launch.block-device-mapping.snapshot-id",
            "launch.block-device-mapping.volume-size",
            "launch.block-device-mapping.volume-type",
            "launch.image-id",
            "launch.instance-type",
            "launch.key-name",
            "launch.group-id",
            "launch.group-name",
            "launch.kernel-id",
            "launch.monitoring-enabled",
            "launch.ramdisk-id",
            "launched-availability-zone",
            "launched-availability-zone-id",
            "network-interface.addresses.primary",
            "network-interface.delete-on-termination",
            "network-interface.description",
            "network-interface.device-index",
            "network-interface.group-id",
            "network-interface.network-interface-id",
            "network-interface.private-ip-address",
            "network-interface.subnet-id",
            "product-description",
            "spot-instance-request-id",
            "spot-price",
            "state",
            "status-code",
            "status-message",
            "type",
            "valid-from",
            "valid-until",
        ],
        all: |region| &region.spot_requests,
        values,
        set: "spotInstanceRequestSet",
        write,
    }
    .answer(ctx)
}

fn kind_of(request: &SpotRequest) -> &'static str {
    if request.persistent {
        "persistent"
    } else {
        "one-time"
    }
}

fn values<'a>(region: &'a Region, r: &'a SpotRequest, filter: &str) -> Values<'a> {
    match filter {
        "create-time" => one(time(r.created_at)),
        "instance-id" => one(r.instance_id.as_str()),
        "launch.image-id" => one(r.launch.image_id.as_str()),
        "launch.instance-type" => one(r.launch.instance_type.as_str()),
        "launch.key-name" => maybe(r.launch.key_name.as_deref()),
        "launch.group-id" => r
            .launch
            .groups
            .iter()
            .map(|id| id.as_str().into())
            .collect(),
        "launched-availability-zone" => one(r.launch.zone.as_str()),
        "launched-availability-zone-id" => {
            maybe(region.zone(&r.launch.zone).map(|zone| zone.id.as_str()))
        }
        "network-interface.subnet-id" => one(r.launch.subnet_id.as_str()),
        "product-description" => one(PRODUCT),
        "spot-instance-request-id" => one(r.id.as_str()),
        "spot-price" => one(r.max_price.as_str()),
        "state" => one(r.state),
        "status-code" => one(r.status.0),
        "status-message" => one(r.status.1),
        "type" => one(kind_of(r)),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, r: &SpotRequest) {
    xml.text("spotInstanceRequestId", &r.id);
    xml.text("spotPrice", &r.max_price);
    xml.text("type", kind_of(r));
    xml.text("state", r.state);
    xml.nest("status", |xml| {
        xml.text("code", r.status.0);
        xml.text("updateTime", time(r.updated_at));
        xml.text("message", r.status.1);
    });
    xml.nest("launchSpecification", |xml| {
        xml.text("imageId", &r.launch.image_id);
        xml.text("instanceType", &r.launch.instance_type);
        xml.opt("keyName", r.launch.key_name.as_ref());
        xml.text("subnetId", &r.launch.subnet_id);
        xml.nest("placement", |xml| {
            xml.text("availabilityZone", &r.launch.zone);
        });
        write_groups(xml, region, &r.launch.groups);
    });
    xml.text("instanceId", &r.instance_id);
    xml.text("createTime", time(r.created_at));
    xml.text("productDescription", PRODUCT);
    xml.text("launchedAvailabilityZone", &r.launch.zone);
    xml.text("instanceInterruptionBehavior", &r.interruption);
    tags::write(xml, region, &r.id);
}

/// CancelSpotInstanceRequests: the instances live on.
pub(crate) fn cancel_requests(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = ctx.params().strings("SpotInstanceRequestId");
    if ids.is_empty() {
        return Err(ApiError::missing("SpotInstanceRequestId"));
    }
    let region = ctx.region();
    if let Some(unknown) = ids
        .iter()
        .find(|id| !region.spot_requests.contains_key(**id))
    {
        let code = "InvalidSpotInstanceRequestID.NotFound";
        return Err(ApiError::not_found(
            code,
            "spot instance request ID",
            unknown,
        ));
    }
    ctx.dry_run_ends()?;
    let now = ctx.now;
    let region = ctx.local().region;
    for id in &ids {
        let Some(request) = region.spot_requests.get(*id) else {
            continue;
        };
        let runs = region
            .instance(&request.instance_id)
            .is_some_and(|instance| {
                matches!(
                    instance.state,
                    State::Pending | State::Running | State::Stopping
                )
            });
        if let Some(request) = region.spot_requests.get_mut(*id) {
            request.state = "cancelled";
            request.updated_at = now;
            request.status = if runs {
                (
                    "request-canceled-and-instance-running",
                    "The request is cancelled.",
                )
            } else {
                ("canceled-before-fulfillment", "The request is cancelled.")
            };
        }
    }
    let mut xml = Xml::new();
    xml.list("spotInstanceRequestSet", ids, |xml, id| {
        xml.text("spotInstanceRequestId", id);
        xml.text("state", "cancelled");
    });
    Ok(xml)
}
