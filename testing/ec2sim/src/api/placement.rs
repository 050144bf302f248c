//! Placement groups.

use super::listing::Listing;
use super::tags::{self, TagSpecs};
use super::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, maybe, one};
use crate::world::region::{PlacementGroup, Region};
use crate::xml::Xml;

/// CreatePlacementGroup.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = params.need("GroupName")?;
    let strategy = params.str("Strategy").unwrap_or("cluster");
    if !["cluster", "spread", "partition"].contains(&strategy) {
        let why = "Expecting cluster, spread or partition.";
        return Err(ApiError::invalid("strategy", strategy, why));
    }
    let partitions = params.int("PartitionCount")?;
    if partitions.is_some() && strategy != "partition" {
        let message = "PartitionCount needs the strategy partition.";
        return Err(ApiError::combination(message));
    }
    let partitions = (strategy == "partition").then(|| partitions.unwrap_or(7));
    let spread_level =
        (strategy == "spread").then(|| params.str("SpreadLevel").unwrap_or("rack").to_owned());
    let specs = TagSpecs::parse(params, &["placement-group"])?;
    if ctx.region().placement_group(name).is_some() {
        let message = format!("The Placement Group '{name}' already exists.");
        return Err(ApiError::new("InvalidPlacementGroup.Duplicate", message));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let group = PlacementGroup {
        id: local.core.ids.fresh("pg"),
        name: name.to_owned(),
        strategy: strategy.to_owned(),
        partitions,
        spread_level,
    };
    tags::attach(local.region, &group.id, specs.of("placement-group"));
    let mut xml = done();
    xml.nest("placementGroup", |xml| write(xml, local.region, &group));
    local
        .region
        .placement_groups
        .insert(group.id.clone(), group);
    Ok(xml)
}

/// DescribePlacementGroups.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let names = ctx.params().strings("GroupName");
    if let Some(unknown) = names
        .iter()
        .find(|name| ctx.region().placement_group(name).is_none())
    {
        return Err(unknown_group(unknown));
    }
    Listing {
        action: "DescribePlacementGroups",
        ids: "GroupId",
        not_found: "InvalidPlacementGroupId.NotFound",
        what: "placement group",
        filters: &[
            "group-name",
            "group-arn",
            "spread-level",
            "state",
            "strategy",
        ],
        all: |region| &region.placement_groups,
        values,
        set: "placementGroupSet",
        write,
    }
    .answer_if(ctx, |group| {
        names.is_empty() || names.contains(&group.name.as_str())
    })
}

fn unknown_group(name: &str) -> ApiError {
    let message = format!("The Placement Group '{name}' is unknown.");
    ApiError::new("InvalidPlacementGroup.Unknown", message)
}

fn arn(region: &Region, group: &PlacementGroup) -> String {
    format!(
        "arn:aws:ec2:{}:{}:placement-group/{}",
        region.name, region.account, group.name
    )
}

fn values<'a>(region: &'a Region, group: &'a PlacementGroup, filter: &str) -> Values<'a> {
    match filter {
        "group-name" => one(group.name.as_str()),
        "group-arn" => one(arn(region, group)),
        "spread-level" => maybe(group.spread_level.as_deref()),
        "state" => one("available"),
        _ => one(group.strategy.as_str()),
    }
}

fn write(xml: &mut Xml, region: &Region, group: &PlacementGroup) {
    xml.text("groupId", &group.id);
    xml.text("groupName", &group.name);
    xml.text("groupArn", arn(region, group));
    xml.text("state", "available");
    xml.text("strategy", &group.strategy);
    xml.opt("partitionCount", group.partitions);
    xml.opt("spreadLevel", group.spread_level.as_ref());
    tags::write(xml, region, &group.id);
}

/// DeletePlacementGroup.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let name = ctx.params().need("GroupName")?;
    let region = ctx.region();
    let id = region
        .placement_group(name)
        .map(|g| g.id.clone())
        .ok_or_else(|| unknown_group(name))?;
    let in_use = region
        .instances
        .values()
        .any(|i| i.state.is_live() && i.placement.group == name);
    if in_use {
        let message = format!("The placement group '{name}' is in use and may not be deleted.");
        return Err(ApiError::new("InvalidPlacementGroup.InUse", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.placement_groups.remove(&id);
    region.tags.remove(&id);
    Ok(done())
}
