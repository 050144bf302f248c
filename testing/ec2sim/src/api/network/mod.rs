//! VPCs and what is in them.

pub(crate) mod gateways;
pub(crate) mod groups;
pub(crate) mod interfaces;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod subnets;
pub(crate) mod vpcs;

use super::Ctx;
use crate::error::{ApiError, ApiResult};
use crate::world::network::{InternetGateway, RouteTable, Subnet, Vpc};

/// The VPC of an id, to change it.
pub(crate) fn vpc_mut<'a>(ctx: &'a mut Ctx<'_>, id: &str) -> ApiResult<&'a mut Vpc> {
    let found = ctx.local().region.vpcs.get_mut(id);
    found.ok_or_else(|| ApiError::not_found("InvalidVpcID.NotFound", "vpc ID", id))
}

/// The subnet of an id, to change it.
pub(crate) fn subnet_mut<'a>(ctx: &'a mut Ctx<'_>, id: &str) -> ApiResult<&'a mut Subnet> {
    let found = ctx.local().region.subnets.get_mut(id);
    found.ok_or_else(|| ApiError::not_found("InvalidSubnetID.NotFound", "subnet ID", id))
}

/// The gateway of an id, to change it.
pub(crate) fn gateway_mut<'a>(
    ctx: &'a mut Ctx<'_>,
    id: &str,
) -> ApiResult<&'a mut InternetGateway> {
    let found = ctx.local().region.gateways.get_mut(id);
    let code = "InvalidInternetGatewayID.NotFound";
    found.ok_or_else(|| ApiError::not_found(code, "internetGateway ID", id))
}

/// The route table of an id, to change it.
pub(crate) fn table_mut<'a>(ctx: &'a mut Ctx<'_>, id: &str) -> ApiResult<&'a mut RouteTable> {
    let found = ctx.local().region.route_tables.get_mut(id);
    found.ok_or_else(|| ApiError::not_found("InvalidRouteTableID.NotFound", "routeTable ID", id))
}
