//! Internet gateways.

use super::{gateway_mut, vpc_mut};
use crate::api::listing::Listing;
use crate::api::tags::{self, TagSpecs};
use crate::api::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, maybe, one};
use crate::world::network::InternetGateway;
use crate::world::region::Region;
use crate::xml::Xml;

/// CreateInternetGateway.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let specs = TagSpecs::parse(ctx.params(), &["internet-gateway"])?;
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let id = local.core.ids.fresh("igw");
    let gateway = InternetGateway {
        id: id.clone(),
        vpc_id: None,
    };
    tags::attach(local.region, &id, specs.of("internet-gateway"));
    let mut xml = Xml::new();
    xml.nest("internetGateway", |xml| write(xml, local.region, &gateway));
    local.region.gateways.insert(id, gateway);
    Ok(xml)
}

/// DescribeInternetGateways.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeInternetGateways",
        ids: "InternetGatewayId",
        not_found: "InvalidInternetGatewayID.NotFound",
        what: "internetGateway ID",
        filters: &[
            "attachment.state",
            "attachment.vpc-id",
            "internet-gateway-id",
            "owner-id",
        ],
        all: |region| &region.gateways,
        values,
        set: "internetGatewaySet",
        write,
    }
    .answer(ctx)
}

fn values<'a>(region: &'a Region, gateway: &'a InternetGateway, filter: &str) -> Values<'a> {
    match filter {
        "attachment.state" => maybe(gateway.vpc_id.as_ref().map(|_| "available")),
        "attachment.vpc-id" => maybe(gateway.vpc_id.as_deref()),
        "internet-gateway-id" => one(gateway.id.as_str()),
        "owner-id" => one(region.account.as_str()),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, gateway: &InternetGateway) {
    xml.text("internetGatewayId", &gateway.id);
    xml.text("ownerId", &region.account);
    xml.list("attachmentSet", &gateway.vpc_id, |xml, vpc_id| {
        xml.text("vpcId", vpc_id);
        xml.text("state", "available");
    });
    tags::write(xml, region, &gateway.id);
}

/// AttachInternetGateway.
pub(crate) fn attach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (id, vpc_id) = (params.need("InternetGatewayId")?, params.need("VpcId")?);
    vpc_mut(ctx, vpc_id)?;
    if gateway_mut(ctx, id)?.vpc_id.is_some() {
        let message = format!("resource {id} is already attached to network");
        return Err(ApiError::new("Resource.AlreadyAssociated", message));
    }
    if ctx
        .region()
        .gateways
        .values()
        .any(|other| other.vpc_id.as_deref() == Some(vpc_id))
    {
        let message = format!("Network {vpc_id} already has an internet gateway attached");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    ctx.dry_run_ends()?;
    gateway_mut(ctx, id)?.vpc_id = Some(vpc_id.to_owned());
    Ok(done())
}

/// DetachInternetGateway.
pub(crate) fn detach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (id, vpc_id) = (params.need("InternetGatewayId")?, params.need("VpcId")?);
    if gateway_mut(ctx, id)?.vpc_id.as_deref() != Some(vpc_id) {
        let message = format!("resource {id} is not attached to network {vpc_id}");
        return Err(ApiError::new("Gateway.NotAttached", message));
    }
    let mapped = ctx
        .region()
        .interfaces
        .values()
        .any(|e| e.vpc_id == vpc_id && e.public_ip.is_some());
    if mapped {
        let message = format!(
            "Network {vpc_id} has some mapped public address(es). Please unmap those public \
             address(es) before detaching the gateway."
        );
        return Err(ApiError::new("DependencyViolation", message));
    }
    ctx.dry_run_ends()?;
    gateway_mut(ctx, id)?.vpc_id = None;
    Ok(done())
}

/// DeleteInternetGateway.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = ctx.params().need("InternetGatewayId")?;
    if gateway_mut(ctx, id)?.vpc_id.is_some() {
        return Err(ApiError::dependency("internetGateway", id));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.gateways.remove(id);
    region.tags.remove(id);
    Ok(done())
}
