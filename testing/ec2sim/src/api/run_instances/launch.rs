//! Makes the instances of a launch, with their volumes, interfaces and spot requests.

use std::net::Ipv4Addr;

use super::capacity::Grant;
use super::devices::Device;
use super::interfaces::InterfaceSpec;
use super::request::{Request, SpotWish};
use crate::api::spot::price_text;
use crate::api::{Ctx, tags};
use crate::error::{ApiError, ApiResult};
use crate::world::Local;
use crate::world::instance::{BlockDevice, Condition, Instance, Placement, Spot, State};
use crate::world::network::{EniAttachment, Interface};
use crate::world::region::{SpotLaunch, SpotRequest};
use crate::world::storage::{Volume, VolumeAttachment};

/// Makes the instances; returns their ids in launch order.
pub(crate) fn build(
    ctx: &mut Ctx<'_>,
    request: &Request,
    grant: &Grant,
    token: &str,
) -> ApiResult<Vec<String>> {
    let mut local = ctx.local();
    claim_addresses(&mut local, request, grant)?;
    let reservation_id = local.core.ids.fresh("r");
    Ok((0..grant.count)
        .map(|index| one(&mut local, request, grant, (token, &reservation_id, index)))
        .collect())
}

/// Addresses that the request names must be free before anything is made.
fn claim_addresses(local: &mut Local<'_>, request: &Request, grant: &Grant) -> ApiResult<()> {
    for spec in &request.interfaces {
        let subnet_id = spec.subnet_id.as_ref().unwrap_or(&grant.subnet_id);
        let Some(subnet) = local.region.subnets.get_mut(subnet_id) else {
            continue;
        };
        if let Some(address) = spec.private_ip {
            subnet.claim(address)?;
        } else if spec.existing.is_none() && subnet.free() < grant.count as u64 {
            let message = format!("There are not enough free addresses in subnet '{subnet_id}'.");
            return Err(ApiError::new("InsufficientFreeAddressesInSubnet", message));
        }
    }
    Ok(())
}

fn one(
    local: &mut Local<'_>,
    request: &Request,
    grant: &Grant,
    (token, reservation_id, index): (&str, &str, usize),
) -> String {
    let id = local.core.ids.fresh("i");
    let seq = local.core.next_seq();
    let interfaces: Vec<String> = request
        .interfaces
        .iter()
        .map(|spec| interface(local, request, grant, spec, &id))
        .collect();
    let first = interfaces
        .first()
        .and_then(|first| local.region.interfaces.get(first))
        .expect("a request has at least one interface, made just now")
        .clone();
    let subnet = &local.region.subnets[&first.subnet_id];
    let (zone, zone_id, maps_public) = (
        subnet.zone.clone(),
        subnet.zone_id.clone(),
        subnet.map_public_ip,
    );
    let block_devices: Vec<BlockDevice> = request
        .devices
        .iter()
        .map(|device| volume(local, request, device, &id, &zone))
        .collect();
    let spot = request
        .spot
        .as_ref()
        .map(|wish| spot_request(local, request, wish, &id, &first));
    tags::attach(local.region, &id, request.tags.of("instance"));
    let public = request.interfaces.first().and_then(|spec| spec.public);
    let instance = Instance {
        id: id.clone(),
        seq,
        reservation_id: reservation_id.to_owned(),
        launch_index: index,
        client_token: token.to_owned(),
        image_id: request.image.id.clone(),
        instance_type: request.kind.name.clone(),
        architecture: request.image.architecture.clone(),
        platform_details: "Linux/UNIX".into(),
        state: State::Pending,
        generation: 0,
        reason: None,
        launch_time: local.now,
        created_at: local.now,
        boots: 0,
        key_name: request.key_name.clone(),
        placement: Placement {
            zone,
            zone_id,
            group: request.group.clone(),
            partition: request.partition,
            tenancy: request.tenancy.clone(),
        },
        subnet_id: first.subnet_id,
        vpc_id: first.vpc_id,
        private_ip: first.private_ip,
        public_ip: None,
        wants_public_ip: public.unwrap_or(maps_public),
        groups: first.groups,
        interfaces,
        block_devices,
        root_device: request.image.root_device.clone(),
        user_data: request.user_data.clone(),
        profile: request.profile.clone(),
        metadata: request.metadata.clone(),
        shutdown_behavior: request.shutdown_behavior.clone(),
        disable_api_termination: request.disable_api_termination,
        disable_api_stop: request.disable_api_stop,
        hibernation: request.hibernation,
        monitoring: request.monitoring,
        ebs_optimized: request.ebs_optimized,
        source_dest_check: true,
        enclave: request.enclave,
        cpu: request.cpu,
        spot,
        reservation_preference: request.reservation_preference.clone(),
        reservation_target: request.reservation_target.clone(),
        capacity_reservation: grant.reservation.clone(),
        imds_address: imds_address(seq),
        condition: Condition::default(),
    };
    local.admit(instance);
    id
}

/// Each instance has a loopback address of its own: 127.64.0.1 and on.
fn imds_address(seq: u64) -> Ipv4Addr {
    let offset = u32::try_from(seq % (1 << 22)).unwrap_or(1);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 0).to_bits() + offset)
}

fn interface(
    local: &mut Local<'_>,
    request: &Request,
    grant: &Grant,
    spec: &InterfaceSpec,
    instance_id: &str,
) -> String {
    let attachment = Some(EniAttachment {
        id: local.core.ids.fresh("eni-attach"),
        instance_id: instance_id.to_owned(),
        device_index: spec.device_index,
        delete_on_termination: spec.delete_on_termination,
        attached_at: local.now,
    });
    if let Some(interface) = spec
        .existing
        .as_ref()
        .and_then(|id| local.region.interfaces.get_mut(id))
    {
        interface.attachment = attachment;
        return interface.id.clone();
    }
    let subnet_id = spec
        .subnet_id
        .clone()
        .unwrap_or_else(|| grant.subnet_id.clone());
    let mut made = local.new_interface(&subnet_id, spec.private_ip, &spec.groups);
    made.description.clone_from(&spec.description);
    made.kind.clone_from(&spec.kind);
    made.attachment = attachment;
    let id = made.id.clone();
    tags::attach(local.region, &id, request.tags.of("network-interface"));
    local.region.interfaces.insert(id.clone(), made);
    id
}

impl Local<'_> {
    /// A new interface in a subnet that has a free address; not yet part of the region.
    pub(crate) fn new_interface(
        &mut self,
        subnet_id: &str,
        address: Option<Ipv4Addr>,
        groups: &[String],
    ) -> Interface {
        let subnet = self
            .region
            .subnets
            .get_mut(subnet_id)
            .expect("the caller has looked the subnet up");
        let private_ip = address
            .or_else(|| subnet.allocate())
            .expect("the caller has checked that an address is free");
        let (vpc_id, zone) = (subnet.vpc_id.clone(), subnet.zone.clone());
        let groups = if groups.is_empty() {
            self.region
                .default_group(&vpc_id)
                .map(|group| group.id.clone())
                .into_iter()
                .collect()
        } else {
            groups.to_vec()
        };
        let hex = self.core.ids.hex();
        let octets: Vec<&str> = (0..5).map(|n| &hex[n * 2..n * 2 + 2]).collect();
        Interface {
            id: self.core.ids.fresh("eni"),
            subnet_id: subnet_id.to_owned(),
            vpc_id,
            zone,
            description: String::new(),
            private_ip,
            public_ip: None,
            mac: format!("02:{}", octets.join(":")),
            groups,
            kind: "interface".into(),
            source_dest_check: true,
            attachment: None,
        }
    }
}

fn volume(
    local: &mut Local<'_>,
    request: &Request,
    device: &Device,
    instance_id: &str,
    zone: &str,
) -> BlockDevice {
    let id = local.core.ids.fresh("vol");
    let provisioned = matches!(device.kind.as_str(), "gp3" | "io1" | "io2");
    let volume = Volume {
        id: id.clone(),
        size: device.size,
        kind: device.kind.clone(),
        zone: zone.to_owned(),
        snapshot_id: device.snapshot_id.clone(),
        encrypted: device.encrypted,
        kms_key: device.kms_key.clone(),
        iops: device.iops.or(provisioned.then_some(3000)),
        throughput: device.throughput.or((device.kind == "gp3").then_some(125)),
        created_at: local.now,
        attachment: Some(VolumeAttachment {
            instance_id: instance_id.to_owned(),
            device: device.name.clone(),
            delete_on_termination: device.delete_on_termination,
            attached_at: local.now,
        }),
    };
    tags::attach(local.region, &id, request.tags.of("volume"));
    local.region.volumes.insert(id.clone(), volume);
    BlockDevice {
        device: device.name.clone(),
        volume_id: id,
        delete_on_termination: device.delete_on_termination,
        attached_at: local.now,
    }
}

fn spot_request(
    local: &mut Local<'_>,
    request: &Request,
    wish: &SpotWish,
    instance_id: &str,
    first: &Interface,
) -> Spot {
    if let Some(request) = wish
        .existing
        .as_ref()
        .and_then(|id| local.region.spot_requests.get_mut(id))
    {
        instance_id.clone_into(&mut request.instance_id);
        request.launch.zone.clone_from(&first.zone);
        return Spot {
            request_id: request.id.clone(),
            persistent: wish.persistent,
            interruption: wish.interruption.clone(),
        };
    }
    let id = local.core.ids.fresh("sir");
    let max_price = wish
        .max_price
        .clone()
        .unwrap_or_else(|| price_text(&request.kind.on_demand_usd));
    let made = SpotRequest {
        id: id.clone(),
        instance_id: instance_id.to_owned(),
        state: "active",
        status: ("fulfilled", "Your spot request is fulfilled."),
        updated_at: local.now,
        created_at: local.now,
        persistent: wish.persistent,
        interruption: wish.interruption.clone(),
        max_price,
        launch: SpotLaunch {
            image_id: request.image.id.clone(),
            instance_type: request.kind.name.clone(),
            key_name: request.key_name.clone(),
            subnet_id: first.subnet_id.clone(),
            zone: first.zone.clone(),
            groups: first.groups.clone(),
        },
        params: wish.params.clone(),
    };
    tags::attach(local.region, &id, request.tags.of("spot-instances-request"));
    local.region.spot_requests.insert(id.clone(), made);
    Spot {
        request_id: id,
        persistent: wish.persistent,
        interruption: wish.interruption.clone(),
    }
}
