//! Network interfaces.

use super::subnet_mut;
use crate::api::describe_instances::check_ids;
use crate::api::instance_xml::{private_dns, public_dns, write_association, write_groups};
use crate::api::listing::Listing;
use crate::api::run_instances::interfaces::check_group;
use crate::api::tags::{self, TagSpecs};
use crate::api::{Ctx, done, time};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, maybe, one, shown};
use crate::world::network::{EniAttachment, Interface};
use crate::world::region::Region;
use crate::xml::Xml;

/// CreateNetworkInterface.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let subnet_id = params.need("SubnetId")?;
    let groups: Vec<String> = params
        .strings("SecurityGroupId")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let specs = TagSpecs::parse(params, &["network-interface"])?;
    let free = subnet_mut(ctx, subnet_id)?.free();
    for group in &groups {
        check_group(ctx.region(), group)?;
    }
    if free == 0 {
        let message = format!("There are not enough free addresses in subnet '{subnet_id}'.");
        return Err(ApiError::new("InsufficientFreeAddressesInSubnet", message));
    }
    let address = params
        .str("PrivateIpAddress")
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::invalid("privateIpAddress", text, "Invalid address."))
        })
        .transpose()?;
    ctx.dry_run_ends()?;
    if let Some(address) = address {
        subnet_mut(ctx, subnet_id)?.claim(address)?;
    }
    let mut local = ctx.local();
    let mut interface = local.new_interface(subnet_id, address, &groups);
    interface.description = params.str("Description").unwrap_or_default().to_owned();
    interface.kind = params
        .str("InterfaceType")
        .unwrap_or("interface")
        .to_owned();
    tags::attach(local.region, &interface.id, specs.of("network-interface"));
    let mut xml = Xml::new();
    xml.nest("networkInterface", |xml| {
        write(xml, local.region, &interface);
    });
    local
        .region
        .interfaces
        .insert(interface.id.clone(), interface);
    Ok(xml)
}

/// DescribeNetworkInterfaces.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeNetworkInterfaces",
        ids: "NetworkInterfaceId",
        not_found: "InvalidNetworkInterfaceID.NotFound",
        what: "networkInterface ID",
        filters: &[
            "association.allocation-id",
            "association.association-id",
            "addresses.association.owner-id",
            "addresses.association.public-ip",
            "addresses.primary",
            "addresses.private-ip-address",
            "association.ip-owner-id",
            "association.public-ip",
            "association.public-dns-name",
            "attachment.attach-time",
            "attachment.attachment-id",
            "attachment.delete-on-termination",
            "attachment.device-index",
            "attachment.instance-id",
            "attachment.instance-owner-id",
            "attachment.status",
            "availability-zone",
            "availability-zone-id",
            "description",
            "group-id",
            "group-name",
            "ipv6-addresses.ipv6-address",
            "interface-type",
            "mac-address",
            "network-interface-id",
            "operator.managed",
            "operator.principal",
            "owner-id",
            "private-dns-name",
            "private-ip-address",
            "requester-id",
            "requester-managed",
            "source-dest-check",
            "status",
            "subnet-id",
            "vpc-id",
        ],
        all: |region| &region.interfaces,
        values,
        set: "networkInterfaceSet",
        write,
    }
    .answer(ctx)
}

fn status(e: &Interface) -> &'static str {
    if e.attachment.is_some() {
        "in-use"
    } else {
        "available"
    }
}

fn values<'a>(region: &'a Region, e: &'a Interface, filter: &str) -> Values<'a> {
    if let Some(field) = filter.strip_prefix("attachment.") {
        let Some(attachment) = &e.attachment else {
            return Vec::new();
        };
        return match field {
            "attach-time" => one(time(attachment.attached_at)),
            "attachment-id" => one(attachment.id.as_str()),
            "delete-on-termination" => shown(attachment.delete_on_termination),
            "device-index" => shown(attachment.device_index),
            "instance-id" => one(attachment.instance_id.as_str()),
            "instance-owner-id" => one(region.account.as_str()),
            _ => one("attached"),
        };
    }
    match filter {
        "addresses.association.public-ip" | "association.public-ip" => {
            maybe(e.public_ip.map(|ip| ip.to_string()))
        }
        "association.public-dns-name" => maybe(e.public_ip.map(|ip| public_dns(&region.name, ip))),
        "addresses.association.owner-id" | "association.ip-owner-id" => {
            maybe(e.public_ip.map(|_| "amazon"))
        }
        "addresses.primary" => one("true"),
        "addresses.private-ip-address" | "private-ip-address" => shown(e.private_ip),
        "availability-zone" => one(e.zone.as_str()),
        "availability-zone-id" => maybe(region.zone(&e.zone).map(|zone| zone.id.as_str())),
        "description" => one(e.description.as_str()),
        "group-id" => e.groups.iter().map(|id| id.as_str().into()).collect(),
        "group-name" => {
            let groups = e.groups.iter().filter_map(|id| region.groups.get(id));
            groups.map(|group| group.name.as_str().into()).collect()
        }
        "interface-type" => one(e.kind.as_str()),
        "mac-address" => one(e.mac.as_str()),
        "network-interface-id" => one(e.id.as_str()),
        "operator.managed" | "requester-managed" => one("false"),
        "owner-id" => one(region.account.as_str()),
        "private-dns-name" => one(private_dns(&region.name, e.private_ip)),
        "source-dest-check" => shown(e.source_dest_check),
        "status" => one(status(e)),
        "subnet-id" => one(e.subnet_id.as_str()),
        "vpc-id" => one(e.vpc_id.as_str()),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, e: &Interface) {
    xml.text("networkInterfaceId", &e.id);
    xml.text("subnetId", &e.subnet_id);
    xml.text("vpcId", &e.vpc_id);
    xml.text("availabilityZone", &e.zone);
    xml.text("description", &e.description);
    xml.text("ownerId", &region.account);
    xml.text("requesterManaged", false);
    xml.text("status", status(e));
    xml.text("macAddress", &e.mac);
    xml.text("privateIpAddress", e.private_ip);
    let name = private_dns(&region.name, e.private_ip);
    xml.text("privateDnsName", &name);
    xml.text("sourceDestCheck", e.source_dest_check);
    xml.text("interfaceType", &e.kind);
    write_groups(xml, region, &e.groups);
    if let Some(attachment) = &e.attachment {
        xml.nest("attachment", |xml| {
            xml.text("attachmentId", &attachment.id);
            xml.text("instanceId", &attachment.instance_id);
            xml.text("instanceOwnerId", &region.account);
            xml.text("deviceIndex", attachment.device_index);
            xml.text("networkCardIndex", 0);
            xml.text("status", "attached");
            xml.text("attachTime", time(attachment.attached_at));
            xml.text("deleteOnTermination", attachment.delete_on_termination);
        });
    }
    write_association(xml, region, e);
    xml.list("privateIpAddressesSet", [e], |xml, e| {
        xml.text("privateIpAddress", e.private_ip);
        xml.text("privateDnsName", &name);
        xml.text("primary", true);
        write_association(xml, region, e);
    });
    xml.nest("ipv6AddressesSet", |_| {});
    tags::write(xml, region, &e.id);
}

fn named<'a>(ctx: &'a mut Ctx<'_>) -> ApiResult<&'a Interface> {
    let id = ctx.params().need("NetworkInterfaceId")?;
    let code = "InvalidNetworkInterfaceID.NotFound";
    let found = ctx.region().interfaces.get(id);
    found.ok_or_else(|| ApiError::not_found(code, "networkInterface ID", id))
}

/// DeleteNetworkInterface.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let interface = named(ctx)?;
    let id = interface.id.clone();
    if interface.attachment.is_some() {
        let message = format!("Network interface '{id}' is currently in use.");
        return Err(ApiError::new("InvalidNetworkInterface.InUse", message));
    }
    ctx.dry_run_ends()?;
    ctx.local().delete_interface(&id);
    Ok(done())
}

/// AttachNetworkInterface.
pub(crate) fn attach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let instance_id = params.need("InstanceId")?;
    let device_index = params
        .int("DeviceIndex")?
        .ok_or_else(|| ApiError::missing("DeviceIndex"))?;
    check_ids(ctx, &[instance_id])?;
    let interface = named(ctx)?;
    let id = interface.id.clone();
    if interface.attachment.is_some() {
        let message = format!("Network interface '{id}' is currently in use.");
        return Err(ApiError::new("InvalidNetworkInterface.InUse", message));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let attachment_id = local.core.ids.fresh("eni-attach");
    if let Some(interface) = local.region.interfaces.get_mut(&id) {
        interface.attachment = Some(EniAttachment {
            id: attachment_id.clone(),
            instance_id: instance_id.to_owned(),
            device_index,
            delete_on_termination: false,
            attached_at: local.now,
        });
    }
    if let Some(instance) = local.region.instance_mut(instance_id) {
        instance.interfaces.push(id);
    }
    let mut xml = Xml::new();
    xml.text("attachmentId", attachment_id);
    xml.text("networkCardIndex", 0);
    Ok(xml)
}

/// DetachNetworkInterface.
pub(crate) fn detach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let attachment_id = ctx.params().need("AttachmentId")?;
    let _force = ctx.params().bool("Force")?;
    let found = ctx.region().interfaces.values().find_map(|e| {
        let attachment = e.attachment.as_ref().filter(|a| a.id == attachment_id)?;
        Some((e.id.clone(), attachment.clone()))
    });
    let Some((id, attachment)) = found else {
        let code = "InvalidAttachmentID.NotFound";
        return Err(ApiError::not_found(code, "attachment ID", attachment_id));
    };
    if attachment.device_index == 0 {
        let message = "The network interface at device index 0 cannot be detached.";
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    if let Some(interface) = region.interfaces.get_mut(&id) {
        interface.attachment = None;
    }
    if let Some(instance) = region.instance_mut(&attachment.instance_id) {
        instance.interfaces.retain(|other| *other != id);
    }
    Ok(done())
}
