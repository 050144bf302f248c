//! Subnets.

use super::{subnet_mut, vpc_mut};
use crate::api::listing::Listing;
use crate::api::tags::{self, TagSpecs};
use crate::api::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, one, shown};
use crate::world::network::{Cidr, Subnet};
use crate::world::region::Region;
use crate::xml::Xml;

/// CreateSubnet.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (vpc_id, text) = (params.need("VpcId")?, params.need("CidrBlock")?);
    let vpc_cidr = vpc_mut(ctx, vpc_id)?.cidr;
    let cidr = Cidr::parse(text)?;
    if !(16..=28).contains(&cidr.prefix()) || !vpc_cidr.contains_block(cidr) {
        let message = format!("The CIDR '{text}' is invalid.");
        return Err(ApiError::new("InvalidSubnet.Range", message));
    }
    let specs = TagSpecs::parse(params, &["subnet"])?;
    let zone = zone(ctx)?;
    let region = ctx.region();
    let clash = region
        .subnets
        .values()
        .any(|s| s.vpc_id == vpc_id && s.cidr.overlaps(cidr));
    if clash {
        let message = format!("The CIDR '{text}' conflicts with another subnet");
        return Err(ApiError::new("InvalidSubnet.Conflict", message));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let id = local.core.ids.fresh("subnet");
    let subnet = Subnet::new(id.clone(), vpc_id.to_owned(), cidr, (&zone.0, &zone.1));
    tags::attach(local.region, &id, specs.of("subnet"));
    let mut xml = Xml::new();
    xml.nest("subnet", |xml| write(xml, local.region, &subnet));
    local.region.subnets.insert(id, subnet);
    Ok(xml)
}

/// The zone that a call names, or the first one: name and id.
fn zone(ctx: &mut Ctx<'_>) -> ApiResult<(String, String)> {
    let params = ctx.params();
    let (name, id) = (
        params.str("AvailabilityZone"),
        params.str("AvailabilityZoneId"),
    );
    let found = ctx.region().zones.iter().find(|zone| {
        name.is_none_or(|name| zone.name == name) && id.is_none_or(|id| zone.id == id)
    });
    let found = found.ok_or_else(|| {
        let asked = name.or(id).unwrap_or_default();
        let why = "Subnets can only be created in the region's availability zones.";
        ApiError::invalid("availabilityZone", asked, why)
    })?;
    Ok((found.name.clone(), found.id.clone()))
}

/// DescribeSubnets.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeSubnets",
        ids: "SubnetId",
        not_found: "InvalidSubnetID.NotFound",
        what: "subnet ID",
        filters: &[
            "availability-zone",
            "availabilityZone",
            "availability-zone-id",
            "available-ip-address-count",
            "cidr",
            "cidr-block",
            "cidrBlock",
            "customer-owned-ipv4-pool",
            "enable-dns64",
            "enable-lni-at-device-index",
            "default-for-az",
            "defaultForAz",
            "ipv6-cidr-block-association.association-id",
            "ipv6-cidr-block-association.ipv6-cidr-block",
            "ipv6-cidr-block-association.state",
            "ipv6-native",
            "map-customer-owned-ip-on-launch",
            "map-public-ip-on-launch",
            "outpost-arn",
            "owner-id",
            "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
            "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
            "private-dns-name-options-on-launch.hostname-type",
            "state",
            "subnet-arn",
            "subnet-id",
            "vpc-id",
        ],
        all: |region| &region.subnets,
        values,
        set: "subnetSet",
        write,
    }
    .answer(ctx)
}

fn values<'a>(region: &'a Region, subnet: &'a Subnet, filter: &str) -> Values<'a> {
    match filter {
        "availability-zone" | "availabilityZone" => one(subnet.zone.as_str()),
        "availability-zone-id" => one(subnet.zone_id.as_str()),
        "available-ip-address-count" => shown(subnet.free()),
        "cidr" | "cidr-block" | "cidrBlock" => shown(subnet.cidr),
        "default-for-az" | "defaultForAz" => shown(subnet.is_default),
        "ipv6-native" => one("false"),
        "map-public-ip-on-launch" => shown(subnet.map_public_ip),
        "owner-id" => one(region.account.as_str()),
        "state" => one("available"),
        "subnet-arn" => one(arn(region, subnet)),
        "subnet-id" => one(subnet.id.as_str()),
        "vpc-id" => one(subnet.vpc_id.as_str()),
        _ => Vec::new(),
    }
}

fn arn(region: &Region, subnet: &Subnet) -> String {
    format!(
        "arn:aws:ec2:{}:{}:subnet/{}",
        region.name, region.account, subnet.id
    )
}

fn write(xml: &mut Xml, region: &Region, subnet: &Subnet) {
    xml.text("subnetId", &subnet.id);
    xml.text("subnetArn", arn(region, subnet));
    xml.text("state", "available");
    xml.text("ownerId", &region.account);
    xml.text("vpcId", &subnet.vpc_id);
    xml.text("cidrBlock", subnet.cidr);
    xml.nest("ipv6CidrBlockAssociationSet", |_| {});
    xml.text("availableIpAddressCount", subnet.free());
    xml.text("availabilityZone", &subnet.zone);
    xml.text("availabilityZoneId", &subnet.zone_id);
    xml.text("defaultForAz", subnet.is_default);
    xml.text("mapPublicIpOnLaunch", subnet.map_public_ip);
    xml.text("assignIpv6AddressOnCreation", false);
    xml.text("ipv6Native", false);
    tags::write(xml, region, &subnet.id);
}

/// DeleteSubnet.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = ctx.params().need("SubnetId")?;
    subnet_mut(ctx, id)?;
    if ctx
        .region()
        .interfaces
        .values()
        .any(|interface| interface.subnet_id == id)
    {
        return Err(ApiError::dependency("subnet", id));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.subnets.remove(id);
    region.tags.remove(id);
    for table in region.route_tables.values_mut() {
        table
            .associations
            .retain(|association| association.subnet_id.as_deref() != Some(id));
    }
    Ok(done())
}

/// ModifySubnetAttribute.
pub(crate) fn modify(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let map_public_ip = params
        .get("MapPublicIpOnLaunch")
        .map(|p| p.bool("Value"))
        .transpose()?
        .flatten();
    let subnet = subnet_mut(ctx, params.need("SubnetId")?)?;
    subnet.map_public_ip = map_public_ip.unwrap_or(subnet.map_public_ip);
    Ok(done())
}
