//! An instance as DescribeInstances and RunInstances write it.

use std::net::Ipv4Addr;

use super::{tags, time};
use crate::world::instance::{Instance, MetadataOptions, State};
use crate::world::network::Interface;
use crate::world::region::Region;
use crate::xml::Xml;

/// The private DNS name of an address.
pub(crate) fn private_dns(region: &str, address: Ipv4Addr) -> String {
    let dashed = address.to_string().replace('.', "-");
    match region {
        "us-east-1" => format!("ip-{dashed}.ec2.internal"),
        _ => format!("ip-{dashed}.{region}.compute.internal"),
    }
}

/// The public DNS name of an address.
pub(crate) fn public_dns(region: &str, address: Ipv4Addr) -> String {
    let dashed = address.to_string().replace('.', "-");
    match region {
        "us-east-1" => format!("ec2-{dashed}.compute-1.amazonaws.com"),
        _ => format!("ec2-{dashed}.{region}.compute.amazonaws.com"),
    }
}

/// `<name><code/><name/></name>` of a state.
pub(crate) fn write_state(xml: &mut Xml, name: &str, state: State) {
    xml.nest(name, |xml| {
        xml.text("code", state.code());
        xml.text("name", state.name());
    });
}

/// Consecutive instances of one launch, as one reservation each.
pub(crate) fn write_reservations(xml: &mut Xml, region: &Region, instances: &[&Instance]) {
    let launches = instances.chunk_by(|a, b| a.reservation_id == b.reservation_id);
    xml.list("reservationSet", launches, |xml, launch| {
        write_reservation(xml, region, launch);
    });
}

/// The inside of one reservation.
pub(crate) fn write_reservation(xml: &mut Xml, region: &Region, launch: &[&Instance]) {
    xml.opt(
        "reservationId",
        launch.first().map(|instance| &instance.reservation_id),
    );
    xml.text("ownerId", &region.account);
    xml.nest("groupSet", |_| {});
    xml.list("instancesSet", launch, |xml, instance| {
        write(xml, region, instance);
    });
}

fn write(xml: &mut Xml, region: &Region, i: &Instance) {
    let gone = i.state == State::Terminated;
    xml.text("instanceId", &i.id);
    xml.text("imageId", &i.image_id);
    write_state(xml, "instanceState", i.state);
    let private_dns = if gone {
        String::new()
    } else {
        private_dns(&region.name, i.private_ip)
    };
    xml.text("privateDnsName", private_dns);
    xml.text(
        "dnsName",
        i.public_ip
            .map(|ip| public_dns(&region.name, ip))
            .unwrap_or_default(),
    );
    xml.text(
        "reason",
        i.reason.as_ref().map_or("", |reason| &reason.transition),
    );
    xml.opt("keyName", i.key_name.as_ref());
    xml.text("amiLaunchIndex", i.launch_index);
    xml.nest("productCodes", |_| {});
    xml.text("instanceType", &i.instance_type);
    xml.text("launchTime", time(i.launch_time));
    write_placement(xml, i);
    xml.nest("monitoring", |xml| xml.text("state", monitoring(i)));
    if !gone {
        xml.text("subnetId", &i.subnet_id);
        xml.text("vpcId", &i.vpc_id);
        xml.text("privateIpAddress", i.private_ip);
        xml.opt("ipAddress", i.public_ip);
        xml.text("sourceDestCheck", i.source_dest_check);
    }
    let groups: &[String] = if gone { &[] } else { &i.groups };
    write_groups(xml, region, groups);
    match (&i.reason, i.state) {
        (Some(reason), _) => write_reason(xml, reason.code, &reason.message),
        (None, State::Pending) => write_reason(xml, "pending", "pending"),
        (None, _) => {}
    }
    xml.text("architecture", &i.architecture);
    xml.text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", &i.root_device);
    write_devices(xml, i);
    xml.text("virtualizationType", "hvm");
    xml.text("clientToken", &i.client_token);
    tags::write(xml, region, &i.id);
    xml.text("hypervisor", "xen");
    let interfaces = i
        .interfaces
        .iter()
        .filter_map(|id| region.interfaces.get(id));
    xml.list("networkInterfaceSet", interfaces, |xml, interface| {
        write_interface(xml, region, interface, i.state);
    });
    if let Some(profile) = &i.profile {
        xml.nest("iamInstanceProfile", |xml| {
            xml.text("arn", &profile.arn);
            xml.text("id", &profile.id);
        });
    }
    write_options(xml, i);
}

fn write_options(xml: &mut Xml, i: &Instance) {
    xml.text("ebsOptimized", i.ebs_optimized);
    xml.text("enaSupport", true);
    xml.nest("cpuOptions", |xml| {
        xml.text("coreCount", i.cpu.0);
        xml.text("threadsPerCore", i.cpu.1);
    });
    if let Some(spot) = &i.spot {
        xml.text("instanceLifecycle", "spot");
        xml.text("spotInstanceRequestId", &spot.request_id);
    }
    xml.opt("capacityReservationId", i.capacity_reservation.as_ref());
    xml.nest("capacityReservationSpecification", |xml| {
        if let Some(id) = &i.reservation_target {
            xml.nest("capacityReservationTarget", |xml| {
                xml.text("capacityReservationId", id);
            });
        } else {
            xml.text("capacityReservationPreference", &i.reservation_preference);
        }
    });
    xml.nest("hibernationOptions", |xml| {
        xml.text("configured", i.hibernation);
    });
    xml.nest("metadataOptions", |xml| {
        write_metadata(xml, &i.metadata, i.state);
    });
    xml.nest("enclaveOptions", |xml| xml.text("enabled", i.enclave));
    let mode = if i.architecture == "arm64" {
        "uefi"
    } else {
        "uefi-preferred"
    };
    xml.text("bootMode", mode);
    xml.text("currentInstanceBootMode", "uefi");
    xml.text("platformDetails", &i.platform_details);
    let usage = if i.spot.is_some() {
        "RunInstances:SV"
    } else {
        "RunInstances"
    };
    xml.text("usageOperation", usage);
    xml.text("usageOperationUpdateTime", time(i.created_at));
    xml.nest("privateDnsNameOptions", |xml| {
        xml.text("hostnameType", "ip-name");
        xml.text("enableResourceNameDnsARecord", false);
        xml.text("enableResourceNameDnsAAAARecord", false);
    });
    xml.nest("maintenanceOptions", |xml| {
        xml.text("autoRecovery", "default");
        xml.text("rebootMigration", "default");
    });
}

/// The inside of the metadata options.
pub(crate) fn write_metadata(xml: &mut Xml, options: &MetadataOptions, state: State) {
    xml.text(
        "state",
        if state == State::Pending {
            "pending"
        } else {
            "applied"
        },
    );
    xml.text("httpTokens", &options.http_tokens);
    xml.text("httpPutResponseHopLimit", options.hop_limit);
    xml.text("httpEndpoint", &options.http_endpoint);
    xml.text("httpProtocolIpv6", &options.http_protocol_ipv6);
    xml.text("instanceMetadataTags", &options.instance_tags);
}

/// `enabled` or `disabled`, or the way there.
pub(crate) fn monitoring(i: &Instance) -> &'static str {
    match (i.monitoring, i.state) {
        (false, _) => "disabled",
        (true, State::Pending) => "pending",
        (true, _) => "enabled",
    }
}

fn write_placement(xml: &mut Xml, i: &Instance) {
    xml.nest("placement", |xml| {
        xml.text("availabilityZone", &i.placement.zone);
        xml.text("availabilityZoneId", &i.placement.zone_id);
        xml.text("groupName", &i.placement.group);
        xml.opt("partitionNumber", i.placement.partition);
        xml.text("tenancy", &i.placement.tenancy);
    });
}

fn write_reason(xml: &mut Xml, code: &str, message: &str) {
    xml.nest("stateReason", |xml| {
        xml.text("code", code);
        xml.text("message", message);
    });
}

/// `<groupSet>` with the names of security groups.
pub(crate) fn write_groups(xml: &mut Xml, region: &Region, groups: &[String]) {
    xml.list("groupSet", groups, |xml, id| {
        xml.text("groupId", id);
        xml.text(
            "groupName",
            region.groups.get(id).map_or("", |group| &group.name),
        );
    });
}

/// `<blockDeviceMapping>` of an instance.
pub(crate) fn write_devices(xml: &mut Xml, i: &Instance) {
    // A launching instance does not list its volumes yet.
    let starting = i.state == State::Pending && i.boots == 0;
    let devices = if starting { &[][..] } else { &i.block_devices };
    xml.list("blockDeviceMapping", devices, |xml, device| {
        xml.text("deviceName", &device.device);
        xml.nest("ebs", |xml| {
            xml.text("volumeId", &device.volume_id);
            xml.text("status", "attached");
            xml.text("attachTime", time(device.attached_at));
            xml.text("deleteOnTermination", device.delete_on_termination);
        });
    });
}

fn write_interface(xml: &mut Xml, region: &Region, interface: &Interface, state: State) {
    xml.text("networkInterfaceId", &interface.id);
    xml.text("subnetId", &interface.subnet_id);
    xml.text("vpcId", &interface.vpc_id);
    xml.text("description", &interface.description);
    xml.text("ownerId", &region.account);
    xml.text("status", "in-use");
    xml.text("macAddress", &interface.mac);
    xml.text("privateIpAddress", interface.private_ip);
    let name = private_dns(&region.name, interface.private_ip);
    xml.text("privateDnsName", &name);
    xml.text("sourceDestCheck", interface.source_dest_check);
    xml.text("interfaceType", &interface.kind);
    write_groups(xml, region, &interface.groups);
    if let Some(attachment) = &interface.attachment {
        xml.nest("attachment", |xml| {
            xml.text("attachmentId", &attachment.id);
            xml.text("deviceIndex", attachment.device_index);
            xml.text(
                "status",
                if state == State::Pending {
                    "attaching"
                } else {
                    "attached"
                },
            );
            xml.text("attachTime", time(attachment.attached_at));
            xml.text("deleteOnTermination", attachment.delete_on_termination);
            xml.text("networkCardIndex", 0);
        });
    }
    write_association(xml, region, interface);
    xml.list("privateIpAddressesSet", [interface], |xml, interface| {
        xml.text("privateIpAddress", interface.private_ip);
        xml.text("privateDnsName", &name);
        xml.text("primary", true);
        write_association(xml, region, interface);
    });
    xml.nest("ipv6AddressesSet", |_| {});
}

/// `<association>` with the public address of an interface.
pub(crate) fn write_association(xml: &mut Xml, region: &Region, interface: &Interface) {
    if let Some(address) = interface.public_ip {
        xml.nest("association", |xml| {
            xml.text("publicIp", address);
            xml.text("publicDnsName", public_dns(&region.name, address));
            xml.text("ipOwnerId", "amazon");
        });
    }
}
