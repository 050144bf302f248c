//! VPCs.

use super::vpc_mut;
use crate::api::listing::Listing;
use crate::api::tags::{self, TagSpecs};
use crate::api::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, one, shown};
use crate::world::ids::stable;
use crate::world::network::{Cidr, Vpc};
use crate::world::region::Region;
use crate::world::seed::{default_group, main_route_table};
use crate::xml::Xml;

/// EC2's default quota.
const MAX_VPCS: usize = 5;

/// CreateVpc.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let text = params.need("CidrBlock")?;
    let cidr = Cidr::parse(text)?;
    if !(16..=28).contains(&cidr.prefix()) {
        let message = format!("The CIDR '{text}' is invalid.");
        return Err(ApiError::new("InvalidVpc.Range", message));
    }
    let tenancy = params
        .str("InstanceTenancy")
        .unwrap_or("default")
        .to_owned();
    let specs = TagSpecs::parse(params, &["vpc"])?;
    if ctx.region().vpcs.len() >= MAX_VPCS {
        let message = "The maximum number of VPCs has been reached.";
        return Err(ApiError::new("VpcLimitExceeded", message));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let id = local.core.ids.fresh("vpc");
    let vpc = Vpc {
        id: id.clone(),
        cidr,
        is_default: false,
        tenancy,
        dns_support: true,
        dns_hostnames: false,
    };
    let group = default_group(local.core.ids.fresh("sg"), id.clone(), &id);
    let table = main_route_table(local.core.ids.fresh("rtb"), id.clone(), cidr, &id);
    local.region.groups.insert(group.id.clone(), group);
    local.region.route_tables.insert(table.id.clone(), table);
    tags::attach(local.region, &id, specs.of("vpc"));
    let mut xml = Xml::new();
    xml.nest("vpc", |xml| write(xml, local.region, &vpc));
    local.region.vpcs.insert(id, vpc);
    Ok(xml)
}

/// DescribeVpcs.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeVpcs",
        ids: "VpcId",
        not_found: "InvalidVpcID.NotFound",
        what: "vpc ID",
        filters: &[
            "cidr",
            "cidr-block-association.cidr-block",
            "cidr-block-association.association-id",
            "cidr-block-association.state",
            "dhcp-options-id",
            "ipv6-cidr-block-association.association-id",
            "ipv6-cidr-block-association.ipv6-pool",
            "ipv6-cidr-block-association.state",
            "ipv6-cidr-block-association.ipv6-cidr-block",
            "is-default",
            "isDefault",
            "owner-id",
            "state",
            "vpc-id",
        ],
        all: |region| &region.vpcs,
        values,
        set: "vpcSet",
        write,
    }
    .answer(ctx)
}

fn values<'a>(region: &'a Region, vpc: &'a Vpc, filter: &str) -> Values<'a> {
    match filter {
        "cidr" | "cidr-block-association.cidr-block" => shown(vpc.cidr),
        "cidr-block-association.association-id" => one(association_id(vpc)),
        "cidr-block-association.state" => one("associated"),
        "dhcp-options-id" => one(dhcp_options(region)),
        "is-default" | "isDefault" => shown(vpc.is_default),
        "owner-id" => one(region.account.as_str()),
        "state" => one("available"),
        "vpc-id" => one(vpc.id.as_str()),
        _ => Vec::new(),
    }
}

fn association_id(vpc: &Vpc) -> String {
    stable("vpc-cidr-assoc", &vpc.id)
}

fn dhcp_options(region: &Region) -> String {
    stable("dopt", &format!("{}/{}", region.account, region.name))
}

fn write(xml: &mut Xml, region: &Region, vpc: &Vpc) {
    xml.text("vpcId", &vpc.id);
    xml.text("state", "available");
    xml.text("cidrBlock", vpc.cidr);
    xml.text("dhcpOptionsId", dhcp_options(region));
    xml.text("instanceTenancy", &vpc.tenancy);
    xml.text("isDefault", vpc.is_default);
    xml.text("ownerId", &region.account);
    xml.nest("ipv6CidrBlockAssociationSet", |_| {});
    xml.list("cidrBlockAssociationSet", [vpc], |xml, vpc| {
        xml.text("associationId", association_id(vpc));
        xml.text("cidrBlock", vpc.cidr);
        xml.nest("cidrBlockState", |xml| xml.text("state", "associated"));
    });
    tags::write(xml, region, &vpc.id);
}

/// DeleteVpc.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = ctx.params().need("VpcId")?;
    vpc_mut(ctx, id)?;
    let region = ctx.region();
    let in_use = region.subnets.values().any(|subnet| subnet.vpc_id == id)
        || region
            .interfaces
            .values()
            .any(|interface| interface.vpc_id == id)
        || region
            .gateways
            .values()
            .any(|gateway| gateway.vpc_id.as_deref() == Some(id))
        || region
            .groups
            .values()
            .any(|group| group.vpc_id == id && group.name != "default")
        || region
            .route_tables
            .values()
            .any(|table| table.vpc_id == id && !table.is_main());
    if in_use {
        return Err(ApiError::dependency("vpc", id));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.vpcs.remove(id);
    region.groups.retain(|_, group| group.vpc_id != id);
    region.route_tables.retain(|_, table| table.vpc_id != id);
    region.tags.remove(id);
    Ok(done())
}

/// ModifyVpcAttribute.
pub(crate) fn modify(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let flag = |name: &str| params.get(name).map(|p| p.bool("Value")).transpose();
    let (support, hostnames) = (flag("EnableDnsSupport")?, flag("EnableDnsHostnames")?);
    let vpc = vpc_mut(ctx, params.need("VpcId")?)?;
    vpc.dns_support = support.flatten().unwrap_or(vpc.dns_support);
    vpc.dns_hostnames = hostnames.flatten().unwrap_or(vpc.dns_hostnames);
    Ok(done())
}

/// DescribeVpcAttribute.
pub(crate) fn attribute(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = params.need("Attribute")?;
    let vpc = vpc_mut(ctx, params.need("VpcId")?)?;
    let value = match name {
        "enableDnsSupport" => vpc.dns_support,
        "enableDnsHostnames" => vpc.dns_hostnames,
        "enableNetworkAddressUsageMetrics" => false,
        other => return Err(ApiError::invalid("attribute", other, "Unknown attribute.")),
    };
    let mut xml = Xml::new();
    xml.text("vpcId", &vpc.id);
    xml.nest(name, |xml| xml.text("value", value));
    Ok(xml)
}
