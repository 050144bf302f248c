//! Network interfaces of a launch.

use std::net::Ipv4Addr;

use super::Ctx;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::ids::is_well_formed;
use crate::world::region::Region;

/// An interface that a launch makes, or takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct InterfaceSpec {
    /// The device index.
    pub(crate) device_index: i64,
    /// The subnet; none: the launch chooses.
    pub(crate) subnet_id: Option<String>,
    /// Security groups; empty: the VPC's default.
    pub(crate) groups: Vec<String>,
    /// Whether it gets a public address; none: the subnet decides.
    pub(crate) public: Option<bool>,
    /// Whether it goes with the instance.
    pub(crate) delete_on_termination: bool,
    /// What it is for.
    pub(crate) description: String,
    /// Its private address, when given.
    pub(crate) private_ip: Option<Ipv4Addr>,
    /// `interface`, `efa` or `efa-only`.
    pub(crate) kind: String,
    /// An interface that exists already.
    pub(crate) existing: Option<String>,
}

/// Checks that a subnet exists.
pub(crate) fn check_subnet(region: &Region, id: &str) -> ApiResult<()> {
    if region.subnets.contains_key(id) {
        return Ok(());
    }
    let message = format!("The subnet ID '{id}' does not exist");
    Err(ApiError::new("InvalidSubnetID.NotFound", message))
}

/// Checks that a security group exists.
pub(crate) fn check_group(region: &Region, id: &str) -> ApiResult<()> {
    if !is_well_formed("sg", id) {
        let message = format!("Invalid id: \"{id}\" (expecting \"sg-...\")");
        return Err(ApiError::new("InvalidGroupId.Malformed", message));
    }
    if region.groups.contains_key(id) {
        return Ok(());
    }
    let message = format!("The security group '{id}' does not exist");
    Err(ApiError::new("InvalidGroup.NotFound", message))
}

/// The interfaces of a launch in device order.
pub(crate) fn interfaces(
    ctx: &mut Ctx<'_>,
    params: &Params,
    count: usize,
) -> ApiResult<Vec<InterfaceSpec>> {
    let wishes = params.list("NetworkInterface");
    let region = ctx.region();
    let mut specs = if wishes.is_empty() {
        vec![from_instance(region, params)?]
    } else {
        for name in [
            "SubnetId",
            "SecurityGroupId",
            "SecurityGroup",
            "PrivateIpAddress",
        ] {
            if params.get(name).is_some() {
                let message = format!(
                    "Network interfaces and an instance-level {name} may not be specified on the \
                     same request"
                );
                return Err(ApiError::combination(message));
            }
        }
        wishes
            .into_iter()
            .map(|wish| from_wish(region, wish))
            .collect::<ApiResult<Vec<_>>>()?
    };
    specs.sort_by_key(|spec| spec.device_index);
    if specs.first().is_none_or(|first| first.device_index != 0) {
        let message = "A network interface with device index 0 is needed.";
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    if specs
        .windows(2)
        .any(|pair| pair[0].device_index == pair[1].device_index)
    {
        let message = "Each network interface needs a device index of its own.";
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    for spec in &specs {
        check(region, spec, count)?;
    }
    Ok(specs)
}

fn from_instance(region: &Region, params: &Params) -> ApiResult<InterfaceSpec> {
    let mut groups: Vec<String> = params
        .strings("SecurityGroupId")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let subnet_id = params.str("SubnetId").map(str::to_owned);
    let names = params.strings("SecurityGroup");
    if !names.is_empty() && subnet_id.is_some() {
        let message = "The parameter groupName cannot be used with the parameter subnet";
        return Err(ApiError::combination(message));
    }
    for name in names {
        let default = region.default_vpc().map(|vpc| vpc.id.as_str());
        let found = region
            .groups
            .values()
            .find(|group| group.name == name && Some(group.vpc_id.as_str()) == default);
        groups.push(found.map(|group| group.id.clone()).ok_or_else(|| {
            let message = format!("The security group '{name}' does not exist in default VPC");
            ApiError::new("InvalidGroup.NotFound", message)
        })?);
    }
    Ok(InterfaceSpec {
        subnet_id,
        groups,
        private_ip: address(params)?,
        delete_on_termination: true,
        kind: "interface".into(),
        ..InterfaceSpec::default()
    })
}

fn from_wish(region: &Region, wish: &Params) -> ApiResult<InterfaceSpec> {
    let groups = wish
        .strings("SecurityGroupId")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let existing = wish.str("NetworkInterfaceId").map(str::to_owned);
    let device_index = wish
        .int("DeviceIndex")?
        .ok_or_else(|| ApiError::missing("NetworkInterface.DeviceIndex"))?;
    let subnet_id = match &existing {
        Some(id) => {
            let found = region.interfaces.get(id).ok_or_else(|| {
                let message = format!("The networkInterface ID '{id}' does not exist");
                ApiError::new("InvalidNetworkInterfaceID.NotFound", message)
            })?;
            if found.attachment.is_some() {
                let message = format!("Network interface '{id}' is currently in use.");
                return Err(ApiError::new("InvalidNetworkInterface.InUse", message));
            }
            Some(found.subnet_id.clone())
        }
        None => wish.str("SubnetId").map(str::to_owned),
    };
    let kind = wish.str("InterfaceType").unwrap_or("interface");
    if !["interface", "efa", "efa-only"].contains(&kind) {
        return Err(ApiError::invalid(
            "InterfaceType",
            kind,
            "Expecting interface or efa.",
        ));
    }
    let _card = wish.int("NetworkCardIndex")?;
    Ok(InterfaceSpec {
        device_index,
        subnet_id,
        groups,
        public: wish.bool("AssociatePublicIpAddress")?,
        // An interface that existed before stays, unless asked otherwise.
        delete_on_termination: wish
            .bool("DeleteOnTermination")?
            .unwrap_or(existing.is_none()),
        description: wish.str("Description").unwrap_or_default().to_owned(),
        private_ip: address(wish)?,
        kind: kind.to_owned(),
        existing,
    })
}

fn address(params: &Params) -> ApiResult<Option<Ipv4Addr>> {
    let Some(text) = params.str("PrivateIpAddress") else {
        return Ok(None);
    };
    let parsed = text.parse();
    parsed
        .map(Some)
        .map_err(|_| ApiError::invalid("privateIpAddress", text, "Invalid address."))
}

fn check(region: &Region, spec: &InterfaceSpec, count: usize) -> ApiResult<()> {
    if let Some(subnet) = &spec.subnet_id {
        check_subnet(region, subnet)?;
    }
    let vpc = spec
        .subnet_id
        .as_ref()
        .and_then(|id| region.subnets.get(id))
        .map(|s| &s.vpc_id);
    for id in &spec.groups {
        check_group(region, id)?;
        let group_vpc = region.groups.get(id).map(|group| &group.vpc_id);
        let expected = vpc.or_else(|| region.default_vpc().map(|vpc| &vpc.id));
        if group_vpc != expected {
            let subnet = spec.subnet_id.as_deref().unwrap_or("of the default VPC");
            let message =
                format!("Security group {id} and subnet {subnet} belong to different networks.");
            return Err(ApiError::new("InvalidParameter", message));
        }
    }
    if count > 1 && (spec.private_ip.is_some() || spec.existing.is_some()) {
        let message = "A private address or an existing network interface can be given for one \
                       instance only.";
        return Err(ApiError::combination(message));
    }
    Ok(())
}
