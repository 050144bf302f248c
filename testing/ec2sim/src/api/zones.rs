//! Regions and availability zones.

use super::Ctx;
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, one};
use crate::world::zones::{OPT_IN_REGIONS, REGIONS};
use crate::xml::Xml;

/// DescribeRegions.
pub(crate) fn regions(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, &["endpoint", "opt-in-status", "region-name"])?;
    let names = params.strings("RegionName");
    let all = params.bool("AllRegions")?.unwrap_or(false);
    let known = |name: &&str| REGIONS.contains(name) || OPT_IN_REGIONS.contains(name);
    if let Some(bad) = names.iter().find(|name| !known(name)) {
        return Err(ApiError::invalid("region", bad, "Invalid region name."));
    }
    ctx.dry_run_ends()?;
    let opted = REGIONS.iter().map(|name| (*name, "opt-in-not-required"));
    let others = OPT_IN_REGIONS.iter().map(|name| (*name, "not-opted-in"));
    let found = opted.chain(others).filter(|(name, status)| {
        let endpoint = endpoint(name);
        (all || *status != "not-opted-in")
            && (names.is_empty() || names.contains(name))
            && filters.pass(None, |filter| match filter {
                "endpoint" => one(endpoint.clone()),
                "opt-in-status" => one(*status),
                _ => one(*name),
            })
    });
    let mut xml = Xml::new();
    xml.list("regionInfo", found, |xml, (name, status)| {
        xml.text("regionName", name);
        xml.text("regionEndpoint", endpoint(name));
        xml.text("optInStatus", status);
    });
    Ok(xml)
}

fn endpoint(region: &str) -> String {
    format!("ec2.{region}.amazonaws.com")
}

/// DescribeAvailabilityZones.
pub(crate) fn zones(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    const FILTERS: [&str; 11] = [
        "group-long-name",
        "group-name",
        "message",
        "opt-in-status",
        "parent-zone-id",
        "parent-zone-name",
        "region-name",
        "state",
        "zone-id",
        "zone-name",
        "zone-type",
    ];
    let params = ctx.params();
    let filters = Filters::parse(params, &FILTERS)?;
    let (names, ids) = (params.strings("ZoneName"), params.strings("ZoneId"));
    // All zones here are plain ones of regions in use, so that asking for all changes nothing.
    let _ = params.bool("AllAvailabilityZones")?;
    ctx.dry_run_ends()?;
    let place = ctx.place;
    let zones = &ctx.region().zones;
    if let Some(bad) = names
        .iter()
        .find(|name| !zones.iter().any(|zone| zone.name == **name))
    {
        let message = format!("Invalid availability zone: [{bad}]");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let group = format!("{}-zg-1", place.region);
    let found = zones.iter().filter(|zone| {
        (names.is_empty() || names.contains(&zone.name.as_str()))
            && (ids.is_empty() || ids.contains(&zone.id.as_str()))
            && filters.pass(None, |filter| match filter {
                "group-name" => one(group.clone()),
                "opt-in-status" => one("opt-in-not-required"),
                "region-name" => one(place.region.clone()),
                "state" => one("available"),
                "zone-id" => one(zone.id.clone()),
                "zone-name" => one(zone.name.clone()),
                "zone-type" => one("availability-zone"),
                _ => Vec::new(),
            })
    });
    let mut xml = Xml::new();
    xml.list("availabilityZoneInfo", found, |xml, zone| {
        xml.text("zoneName", &zone.name);
        xml.text("zoneId", &zone.id);
        xml.text("zoneState", "available");
        xml.text("regionName", &place.region);
        xml.text("groupName", &group);
        xml.text("networkBorderGroup", &place.region);
        xml.text("zoneType", "availability-zone");
        xml.text("optInStatus", "opt-in-not-required");
        xml.nest("messageSet", |_| {});
    });
    Ok(xml)
}
