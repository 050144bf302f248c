//! The API handlers, one file for each family of calls.

mod attributes;
mod authorize;
mod describe_instances;
mod fleet;
mod iam;
mod images;
mod instance_filters;
mod instance_status;
pub(crate) mod instance_xml;
mod keys;
mod lifecycle;
mod listing;
mod network;
mod placement;
mod pricing;
pub(crate) mod replay;
mod reservations;
mod run_instances;
mod spot;
mod ssm;
mod sts;
mod tags;
mod templates;
mod types;
mod volumes;
mod zones;

use std::time::Duration;

use jiff::Timestamp;

use crate::call::{Call, Caller, Service};
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::region::Region;
use crate::world::{Local, Place, World};
use crate::xml::Xml;

/// A handler's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The inside of a response document.
    Xml(Xml),
    /// A JSON document.
    Json(serde_json::Value),
}

/// One call on its way through a handler.
#[derive(Debug)]
pub(crate) struct Ctx<'a> {
    /// The state.
    pub(crate) world: &'a mut World,
    /// The call.
    pub(crate) call: &'a Call,
    /// Who makes it.
    pub(crate) caller: &'a Caller,
    /// Where it acts.
    pub(crate) place: &'a Place,
    /// When it is executed.
    pub(crate) now: Timestamp,
    /// Instances launched so recently are not seen by this call.
    pub(crate) lag: Duration,
}

impl<'a> Ctx<'a> {
    /// The parameters.
    pub(crate) fn params(&self) -> &'a Params {
        &self.call.params
    }

    /// The region, to change it.
    pub(crate) fn local(&mut self) -> Local<'_> {
        self.world.local(self.place, self.now)
    }

    /// The region, to read it.
    pub(crate) fn region(&mut self) -> &Region {
        self.world.region(self.place, self.now)
    }

    /// Ends the call here if it is a dry run; everything has been checked.
    pub(crate) fn dry_run_ends(&self) -> ApiResult<()> {
        if self.params().dry_run()? {
            Err(ApiError::dry_run())
        } else {
            Ok(())
        }
    }

    /// Takes the resource tokens of a call that acts on so many instances.
    pub(crate) fn take_resources(&mut self, count: usize) -> ApiResult<()> {
        if !self.world.core.config.limits {
            return Ok(());
        }
        let bucket = format!("{}/{}", self.place.account, self.place.region);
        // What a fleet launches counts as launched by RunInstances.
        let action = match self.call.action.as_str() {
            "CreateFleet" => "RunInstances",
            action => action,
        };
        self.world
            .core
            .limits
            .take_resources(&bucket, action, count, self.now)
    }
}

/// Executes a call.
pub(crate) fn dispatch(ctx: &mut Ctx<'_>) -> ApiResult<Answer> {
    authorize::check(ctx)?;
    match ctx.call.service {
        // A repeated launch answers with the instances as they are now, not as they were.
        Service::Ec2 if ctx.call.action == "RunInstances" => {
            run_instances::run(ctx).map(Answer::Xml)
        }
        Service::Ec2 => replay::once(ctx, ec2).map(Answer::Xml),
        Service::Sts => sts::dispatch(ctx).map(Answer::Xml),
        Service::Iam => iam::dispatch(ctx).map(Answer::Xml),
        Service::Ssm => ssm::dispatch(ctx).map(Answer::Json),
        Service::Pricing => pricing::dispatch(ctx).map(Answer::Json),
    }
}

fn ec2(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    match ctx.call.action.as_str() {
        "DescribeInstances" => describe_instances::describe(ctx),
        "TerminateInstances" => lifecycle::terminate(ctx),
        "StopInstances" => lifecycle::stop(ctx),
        "StartInstances" => lifecycle::start(ctx),
        "RebootInstances" => lifecycle::reboot(ctx),
        "CreateTags" => tags::create(ctx),
        "DeleteTags" => tags::delete(ctx),
        "DescribeTags" => tags::describe(ctx),
        "DescribeInstanceTypes" => types::describe(ctx),
        "DescribeInstanceTypeOfferings" => types::offerings(ctx),
        "DescribeInstanceStatus" => instance_status::describe(ctx),
        "DescribeInstanceAttribute" => attributes::describe(ctx),
        "ModifyInstanceAttribute" => attributes::modify(ctx),
        "ModifyInstanceMetadataOptions" => attributes::modify_metadata(ctx),
        "DescribeImages" => images::describe(ctx),
        "CreateImage" => images::create(ctx),
        "DeregisterImage" => images::deregister(ctx),
        "CreateLaunchTemplate" => templates::create(ctx),
        "CreateLaunchTemplateVersion" => templates::create_version(ctx),
        "DescribeLaunchTemplates" => templates::describe(ctx),
        "DescribeLaunchTemplateVersions" => templates::describe_versions(ctx),
        "ModifyLaunchTemplate" => templates::modify(ctx),
        "DeleteLaunchTemplate" => templates::delete(ctx),
        "CreateFleet" => fleet::create(ctx),
        "DescribeFleets" => fleet::describe(ctx),
        "DeleteFleets" => fleet::delete(ctx),
        "CreateCapacityReservation" => reservations::create(ctx),
        "DescribeCapacityReservations" => reservations::describe(ctx),
        "ModifyCapacityReservation" => reservations::modify(ctx),
        "CancelCapacityReservation" => reservations::cancel(ctx),
        "DescribeRegions" => zones::regions(ctx),
        "DescribeAvailabilityZones" => zones::zones(ctx),
        "DescribeSpotPriceHistory" => spot::price_history(ctx),
        "DescribeSpotInstanceRequests" => spot::describe_requests(ctx),
        "CancelSpotInstanceRequests" => spot::cancel_requests(ctx),
        "ImportKeyPair" => keys::import(ctx),
        "CreateKeyPair" => keys::create(ctx),
        "DescribeKeyPairs" => keys::describe(ctx),
        "DeleteKeyPair" => keys::delete(ctx),
        "CreatePlacementGroup" => placement::create(ctx),
        "DescribePlacementGroups" => placement::describe(ctx),
        "DeletePlacementGroup" => placement::delete(ctx),
        "CreateVolume" => volumes::create(ctx),
        "DescribeVolumes" => volumes::describe(ctx),
        "DeleteVolume" => volumes::delete(ctx),
        "AttachVolume" => volumes::attach(ctx),
        "DetachVolume" => volumes::detach(ctx),
        _ => ec2_network(ctx),
    }
}

fn ec2_network(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    use network::{gateways, groups, interfaces, routes, rules, subnets, vpcs};
    match ctx.call.action.as_str() {
        "CreateVpc" => vpcs::create(ctx),
        "DescribeVpcs" => vpcs::describe(ctx),
        "DeleteVpc" => vpcs::delete(ctx),
        "ModifyVpcAttribute" => vpcs::modify(ctx),
        "DescribeVpcAttribute" => vpcs::attribute(ctx),
        "CreateSubnet" => subnets::create(ctx),
        "DescribeSubnets" => subnets::describe(ctx),
        "DeleteSubnet" => subnets::delete(ctx),
        "ModifySubnetAttribute" => subnets::modify(ctx),
        "CreateInternetGateway" => gateways::create(ctx),
        "DescribeInternetGateways" => gateways::describe(ctx),
        "AttachInternetGateway" => gateways::attach(ctx),
        "DetachInternetGateway" => gateways::detach(ctx),
        "DeleteInternetGateway" => gateways::delete(ctx),
        "CreateRouteTable" => routes::create(ctx),
        "DescribeRouteTables" => routes::describe(ctx),
        "DeleteRouteTable" => routes::delete(ctx),
        "CreateRoute" => routes::create_route(ctx),
        "DeleteRoute" => routes::delete_route(ctx),
        "AssociateRouteTable" => routes::associate(ctx),
        "DisassociateRouteTable" => routes::disassociate(ctx),
        "CreateSecurityGroup" => groups::create(ctx),
        "DescribeSecurityGroups" => groups::describe(ctx),
        "DeleteSecurityGroup" => groups::delete(ctx),
        "AuthorizeSecurityGroupIngress" => rules::authorize(ctx, false),
        "AuthorizeSecurityGroupEgress" => rules::authorize(ctx, true),
        "RevokeSecurityGroupIngress" => rules::revoke(ctx, false),
        "RevokeSecurityGroupEgress" => rules::revoke(ctx, true),
        "DescribeSecurityGroupRules" => rules::describe(ctx),
        "CreateNetworkInterface" => interfaces::create(ctx),
        "DescribeNetworkInterfaces" => interfaces::describe(ctx),
        "DeleteNetworkInterface" => interfaces::delete(ctx),
        "AttachNetworkInterface" => interfaces::attach(ctx),
        "DetachNetworkInterface" => interfaces::detach(ctx),
        _ => Err(unknown(ctx)),
    }
}

/// Lets a persistent spot request launch another instance, as EC2 does without being called.
pub(crate) fn respawn(world: &mut World, place: &Place, request: &str, now: Timestamp) {
    let Some(spot) = world.region(place, now).spot_requests.get(request) else {
        return;
    };
    let call = Call {
        service: Service::Ec2,
        action: "RunInstances".to_owned(),
        access_key: String::new(),
        region: place.region.clone(),
        params: Params::from_pairs(spot.params.iter().cloned()),
    };
    let caller = Caller {
        access_key: String::new(),
        account: place.account.clone(),
        instance: None,
    };
    let mut ctx = Ctx {
        world,
        call: &call,
        caller: &caller,
        place,
        now,
        lag: Duration::ZERO,
    };
    match run_instances::relaunch(&mut ctx, request) {
        Ok(id) => {
            tracing::info!(request, instance = %id, "a persistent spot request launched again");
        }
        Err(error) => tracing::info!(request, %error, "a persistent spot request stays open"),
    }
}

/// The refusal of a call that the stand-in does not know.
pub(crate) fn unknown(ctx: &Ctx<'_>) -> ApiError {
    let action = &ctx.call.action;
    tracing::error!(%action, "a call that is not modelled");
    let message = format!("The action {action} is not modelled by this stand-in");
    ApiError::new("InvalidAction", message)
}

/// A response that only says that it worked.
pub(crate) fn done() -> Xml {
    let mut xml = Xml::new();
    xml.text("return", true);
    xml
}

/// A time as EC2 writes it.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}
