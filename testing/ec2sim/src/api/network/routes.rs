//! Route tables.

use super::{gateway_mut, subnet_mut, table_mut, vpc_mut};
use crate::api::listing::Listing;
use crate::api::tags::{self, TagSpecs};
use crate::api::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, one, shown};
use crate::world::network::{Association, Route, RouteTable};
use crate::world::region::Region;
use crate::xml::Xml;

/// CreateRouteTable.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let vpc_id = params.need("VpcId")?;
    let cidr = vpc_mut(ctx, vpc_id)?.cidr;
    let specs = TagSpecs::parse(params, &["route-table"])?;
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let id = local.core.ids.fresh("rtb");
    let table = RouteTable {
        id: id.clone(),
        vpc_id: vpc_id.to_owned(),
        routes: vec![Route {
            destination: cidr.to_string(),
            gateway: "local".into(),
            origin: "CreateRouteTable",
        }],
        associations: Vec::new(),
    };
    tags::attach(local.region, &id, specs.of("route-table"));
    let mut xml = Xml::new();
    xml.nest("routeTable", |xml| write(xml, local.region, &table));
    local.region.route_tables.insert(id, table);
    Ok(xml)
}

/// DescribeRouteTables.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeRouteTables",
        ids: "RouteTableId",
        not_found: "InvalidRouteTableID.NotFound",
        what: "routeTable ID",
        filters: &[
            "association.gateway-id",
            "association.route-table-association-id",
            "association.route-table-id",
            "association.subnet-id",
            "association.main",
            "owner-id",
            "route-table-id",
            "route.destination-cidr-block",
            "route.destination-ipv6-cidr-block",
            "route.destination-prefix-list-id",
            "route.egress-only-internet-gateway-id",
            "route.instance-id",
            "route.nat-gateway-id",
            "route.transit-gateway-id",
            "route.vpc-peering-connection-id",
            "route.gateway-id",
            "route.origin",
            "route.state",
            "vpc-id",
        ],
        all: |region| &region.route_tables,
        values,
        set: "routeTableSet",
        write,
    }
    .answer(ctx)
}

fn values<'a>(region: &'a Region, table: &'a RouteTable, filter: &str) -> Values<'a> {
    let associations = || table.associations.iter();
    let routes = || table.routes.iter();
    match filter {
        "association.route-table-association-id" => {
            associations().map(|a| a.id.as_str().into()).collect()
        }
        "association.subnet-id" => associations()
            .filter_map(|a| a.subnet_id.as_deref())
            .map(Into::into)
            .collect(),
        "association.main" => shown(table.is_main()),
        "association.route-table-id" | "route-table-id" => one(table.id.as_str()),
        "owner-id" => one(region.account.as_str()),
        "route.destination-cidr-block" => routes()
            .map(|route| route.destination.as_str().into())
            .collect(),
        "route.gateway-id" => routes()
            .map(|route| route.gateway.as_str().into())
            .collect(),
        "route.origin" => routes().map(|route| route.origin.into()).collect(),
        "route.state" => one("active"),
        "vpc-id" => one(table.vpc_id.as_str()),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, table: &RouteTable) {
    xml.text("routeTableId", &table.id);
    xml.text("vpcId", &table.vpc_id);
    xml.text("ownerId", &region.account);
    xml.list("routeSet", &table.routes, |xml, route| {
        xml.text("destinationCidrBlock", &route.destination);
        xml.text("gatewayId", &route.gateway);
        xml.text("state", "active");
        xml.text("origin", route.origin);
    });
    xml.list("associationSet", &table.associations, |xml, association| {
        xml.text("routeTableAssociationId", &association.id);
        xml.text("routeTableId", &table.id);
        xml.opt("subnetId", association.subnet_id.as_ref());
        xml.text("main", association.subnet_id.is_none());
        xml.nest("associationState", |xml| xml.text("state", "associated"));
    });
    xml.nest("propagatingVgwSet", |_| {});
    tags::write(xml, region, &table.id);
}

/// DeleteRouteTable.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = ctx.params().need("RouteTableId")?;
    if !table_mut(ctx, id)?.associations.is_empty() {
        return Err(ApiError::dependency("routeTable", id));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.route_tables.remove(id);
    region.tags.remove(id);
    Ok(done())
}

/// CreateRoute.
pub(crate) fn create_route(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (id, destination) = (
        params.need("RouteTableId")?,
        params.need("DestinationCidrBlock")?,
    );
    let gateway = params.need("GatewayId")?;
    gateway_mut(ctx, gateway)?;
    let table = table_mut(ctx, id)?;
    if table
        .routes
        .iter()
        .any(|route| route.destination == destination)
    {
        let message = format!("The route identified by {destination} already exists.");
        return Err(ApiError::new("RouteAlreadyExists", message));
    }
    ctx.dry_run_ends()?;
    table_mut(ctx, id)?.routes.push(Route {
        destination: destination.to_owned(),
        gateway: gateway.to_owned(),
        origin: "CreateRoute",
    });
    Ok(done())
}

/// DeleteRoute.
pub(crate) fn delete_route(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (id, destination) = (
        params.need("RouteTableId")?,
        params.need("DestinationCidrBlock")?,
    );
    let routes = &table_mut(ctx, id)?.routes;
    let found = routes
        .iter()
        .position(|route| route.destination == destination);
    let Some(index) = found else {
        let message = format!("no route with destination-cidr-block {destination} in {id}");
        return Err(ApiError::new("InvalidRoute.NotFound", message));
    };
    if routes[index].gateway == "local" {
        let message = format!("cannot remove local route {destination} in route table {id}");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    ctx.dry_run_ends()?;
    table_mut(ctx, id)?.routes.remove(index);
    Ok(done())
}

/// AssociateRouteTable.
pub(crate) fn associate(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (id, subnet_id) = (params.need("RouteTableId")?, params.need("SubnetId")?);
    table_mut(ctx, id)?;
    subnet_mut(ctx, subnet_id)?;
    let taken = ctx.region().route_tables.values().any(|table| {
        table
            .associations
            .iter()
            .any(|a| a.subnet_id.as_deref() == Some(subnet_id))
    });
    if taken {
        let message = format!("the specified association for subnet {subnet_id} already exists");
        return Err(ApiError::new("Resource.AlreadyAssociated", message));
    }
    ctx.dry_run_ends()?;
    let association_id = ctx.local().core.ids.fresh("rtbassoc");
    table_mut(ctx, id)?.associations.push(Association {
        id: association_id.clone(),
        subnet_id: Some(subnet_id.to_owned()),
    });
    let mut xml = Xml::new();
    xml.text("associationId", association_id);
    xml.nest("associationState", |xml| xml.text("state", "associated"));
    Ok(xml)
}

/// DisassociateRouteTable.
pub(crate) fn disassociate(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = ctx.params().need("AssociationId")?;
    let found = ctx.region().route_tables.values().find_map(|table| {
        let association = table.associations.iter().find(|a| a.id == id)?;
        Some((table.id.clone(), association.subnet_id.is_none()))
    });
    let Some((table, is_main)) = found else {
        let code = "InvalidAssociationID.NotFound";
        return Err(ApiError::not_found(code, "association ID", id));
    };
    if is_main {
        let message = format!("cannot disassociate the main route table association {id}");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    ctx.dry_run_ends()?;
    table_mut(ctx, &table)?
        .associations
        .retain(|association| association.id != id);
    Ok(done())
}
