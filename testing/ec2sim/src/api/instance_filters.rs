//! The filters of DescribeInstances.

use std::borrow::Cow;

use super::instance_xml::{monitoring, private_dns, public_dns};
use super::time;
use crate::filters::{Values, maybe, one, shown};
use crate::world::instance::Instance;
use crate::world::network::Interface;
use crate::world::region::Region;
use crate::world::storage::Volume;

/// Every documented filter, tags aside. Those that [`values`] does not know match nothing.
pub(crate) const KNOWN: &[&str] = &[
    "affinity",
    "architecture",
    "availability-zone",
    "availability-zone-id",
    "block-device-mapping.attach-time",
    "block-device-mapping.delete-on-termination",
    "block-device-mapping.device-name",
    "block-device-mapping.status",
    "block-device-mapping.volume-id",
    "boot-mode",
    "capacity-reservation-id",
    "capacity-reservation-specification.capacity-reservation-preference",
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id",
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
    "client-token",
    "current-instance-boot-mode",
    "dns-name",
    "ebs-optimized",
    "ena-support",
    "enclave-options.enabled",
    "hibernation-options.configured",
    "host-id",
    "hypervisor",
    "iam-instance-profile.arn",
    "iam-instance-profile.id",
    "image-id",
    "instance-id",
    "instance-lifecycle",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "instance.group-id",
    "instance.group-name",
    "ip-address",
    "ipv6-address",
    "kernel-id",
    "key-name",
    "launch-index",
    "launch-time",
    "maintenance-options.auto-recovery",
    "metadata-options.http-endpoint",
    "metadata-options.http-protocol-ipv4",
    "metadata-options.http-protocol-ipv6",
    "metadata-options.http-put-response-hop-limit",
    "metadata-options.http-tokens",
    "metadata-options.instance-metadata-tags",
    "metadata-options.state",
    "monitoring-state",
    "network-interface.addresses.association.allocation-id",
    "network-interface.addresses.association.association-id",
    "network-interface.addresses.association.ip-owner-id",
    "network-interface.addresses.association.public-ip",
    "network-interface.addresses.association.carrier-ip",
    "network-interface.addresses.association.customer-owned-ip",
    "network-interface.addresses.association.public-dns-name",
    "network-interface.addresses.primary",
    "network-interface.addresses.private-dns-name",
    "network-interface.addresses.private-ip-address",
    "network-interface.association.allocation-id",
    "network-interface.association.association-id",
    "network-interface.association.carrier-ip",
    "network-interface.association.customer-owned-ip",
    "network-interface.association.public-dns-name",
    "network-interface.association.ip-owner-id",
    "network-interface.association.public-ip",
    "network-interface.attachment.attach-time",
    "network-interface.attachment.attachment-id",
    "network-interface.attachment.delete-on-termination",
    "network-interface.attachment.device-index",
    "network-interface.attachment.instance-id",
    "network-interface.attachment.instance-owner-id",
    "network-interface.attachment.network-card-index",
    "network-interface.attachment.status",
    "network-interface.availability-zone",
    "network-interface.deny-all-igw-traffic",
    "network-interface.description",
    "network-interface.group-id",
    "network-interface.group-name",
    "network-interface.ipv4-prefixes.ipv4-prefix",
    "network-interface.ipv6-address",
    "network-interface.ipv6-addresses.is-primary-ipv6",
    "network-interface.ipv6-native",
    "network-interface.ipv6-prefixes.ipv6-prefix",
    "network-interface.ipv6-addresses.ipv6-address",
    "network-interface.mac-address",
    "network-interface.network-interface-id",
    "network-interface.operator.managed",
    "network-interface.operator.principal",
    "network-interface.outpost-arn",
    "network-interface.owner-id",
    "network-interface.private-dns-name",
    "network-interface.private-ip-address",
    "network-interface.public-dns-name",
    "network-interface.requester-id",
    "network-interface.requester-managed",
    "network-interface.status",
    "network-interface.source-dest-check",
    "network-interface.subnet-id",
    "network-interface.tag-key",
    "network-interface.tag-value",
    "network-interface.vpc-id",
    "network-performance-options.bandwidth-weighting",
    "operator.managed",
    "operator.principal",
    "outpost-arn",
    "owner-id",
    "placement-group-name",
    "placement-partition-number",
    "platform",
    "platform-details",
    "private-dns-name",
    "private-dns-name-options.enable-resource-name-dns-a-record",
    "private-dns-name-options.enable-resource-name-dns-aaaa-record",
    "private-dns-name-options.hostname-type",
    "private-ip-address",
    "product-code",
    "product-code.type",
    "ramdisk-id",
    "reason",
    "requester-id",
    "reservation-id",
    "root-device-name",
    "root-device-type",
    "source-dest-check",
    "spot-instance-request-id",
    "state-reason-code",
    "state-reason-message",
    "subnet-id",
    "tenancy",
    "tpm-support",
    "usage-operation",
    "usage-operation-update-time",
    "virtualization-type",
    "vpc-id",
];

/// What an instance answers for a filter.
pub(crate) fn values<'a>(region: &'a Region, i: &'a Instance, filter: &str) -> Values<'a> {
    if let Some(rest) = filter.strip_prefix("network-interface.") {
        let interfaces = i
            .interfaces
            .iter()
            .filter_map(|id| region.interfaces.get(id));
        return interfaces
            .flat_map(|interface| of_interface(region, interface, rest))
            .collect();
    }
    if let Some(rest) = filter.strip_prefix("block-device-mapping.") {
        let volumes = i
            .block_devices
            .iter()
            .filter_map(|d| region.volumes.get(&d.volume_id));
        return volumes.flat_map(|volume| of_volume(volume, rest)).collect();
    }
    if let Some(rest) = filter.strip_prefix("metadata-options.") {
        return of_metadata(i, rest);
    }
    identity(region, i, filter)
        .or_else(|| condition(region, i, filter))
        .unwrap_or_default()
}

fn identity<'a>(region: &'a Region, i: &'a Instance, filter: &str) -> Option<Values<'a>> {
    Some(match filter {
        "architecture" => one(i.architecture.as_str()),
        "availability-zone" => one(i.placement.zone.as_str()),
        "availability-zone-id" => one(i.placement.zone_id.as_str()),
        "boot-mode" => one(if i.architecture == "arm64" {
            "uefi"
        } else {
            "uefi-preferred"
        }),
        "client-token" => one(i.client_token.as_str()),
        "ebs-optimized" => shown(i.ebs_optimized),
        "ena-support" => one("true"),
        "enclave-options.enabled" => shown(i.enclave),
        "hibernation-options.configured" => shown(i.hibernation),
        "hypervisor" => one("xen"),
        "iam-instance-profile.arn" => maybe(i.profile.as_ref().map(|p| p.arn.as_str())),
        "iam-instance-profile.id" => maybe(i.profile.as_ref().map(|p| p.id.as_str())),
        "image-id" => one(i.image_id.as_str()),
        "instance-id" => one(i.id.as_str()),
        "instance-lifecycle" => maybe(i.spot.as_ref().map(|_| "spot")),
        "instance-type" => one(i.instance_type.as_str()),
        "key-name" => maybe(i.key_name.as_deref()),
        "launch-index" => shown(i.launch_index),
        "launch-time" => one(time(i.launch_time)),
        "operator.managed" => one("false"),
        "owner-id" => one(region.account.as_str()),
        "placement-group-name" => one(i.placement.group.as_str()),
        "placement-partition-number" => maybe(i.placement.partition.map(|n| n.to_string())),
        "platform-details" => one(i.platform_details.as_str()),
        "reservation-id" => one(i.reservation_id.as_str()),
        "root-device-name" => one(i.root_device.as_str()),
        "root-device-type" => one("ebs"),
        "spot-instance-request-id" => maybe(i.spot.as_ref().map(|s| s.request_id.as_str())),
        "tenancy" => one(i.placement.tenancy.as_str()),
        "usage-operation" => one(if i.spot.is_some() {
            "RunInstances:SV"
        } else {
            "RunInstances"
        }),
        "virtualization-type" => one("hvm"),
        _ => return None,
    })
}

fn condition<'a>(region: &'a Region, i: &'a Instance, filter: &str) -> Option<Values<'a>> {
    Some(match filter {
        "capacity-reservation-id" => maybe(i.capacity_reservation.as_deref()),
        "capacity-reservation-specification.capacity-reservation-preference" => {
            one(i.reservation_preference.as_str())
        }
        "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id" => {
            maybe(i.reservation_target.as_deref())
        }
        "dns-name" => maybe(i.public_ip.map(|ip| public_dns(&region.name, ip))),
        "instance-state-code" => shown(i.state.code()),
        "instance-state-name" => one(i.state.name()),
        "instance.group-id" => i.groups.iter().map(|id| id.as_str().into()).collect(),
        "instance.group-name" => group_names(region, &i.groups),
        "ip-address" => maybe(i.public_ip.map(|ip| ip.to_string())),
        "maintenance-options.auto-recovery" => one("default"),
        "monitoring-state" => one(monitoring(i)),
        "private-dns-name" => one(private_dns(&region.name, i.private_ip)),
        "private-ip-address" => shown(i.private_ip),
        "reason" => one(i.reason.as_ref().map_or("", |r| r.transition.as_str())),
        "source-dest-check" => shown(i.source_dest_check),
        "state-reason-code" => maybe(i.reason.as_ref().map(|r| r.code)),
        "state-reason-message" => maybe(i.reason.as_ref().map(|r| r.message.as_str())),
        "subnet-id" => one(i.subnet_id.as_str()),
        "vpc-id" => one(i.vpc_id.as_str()),
        _ => return None,
    })
}

fn group_names<'a>(region: &'a Region, ids: &[String]) -> Values<'a> {
    ids.iter()
        .filter_map(|id| region.groups.get(id))
        .map(|group| Cow::Borrowed(group.name.as_str()))
        .collect()
}

fn of_metadata<'a>(i: &'a Instance, filter: &str) -> Values<'a> {
    match filter {
        "http-endpoint" | "http-protocol-ipv4" => one(i.metadata.http_endpoint.as_str()),
        "http-protocol-ipv6" => one(i.metadata.http_protocol_ipv6.as_str()),
        "http-put-response-hop-limit" => shown(i.metadata.hop_limit),
        "http-tokens" => one(i.metadata.http_tokens.as_str()),
        "instance-metadata-tags" => one(i.metadata.instance_tags.as_str()),
        "state" => one(if i.boots == 0 { "pending" } else { "applied" }),
        _ => Vec::new(),
    }
}

fn of_volume<'a>(volume: &'a Volume, filter: &str) -> Values<'a> {
    let Some(attachment) = &volume.attachment else {
        return Vec::new();
    };
    match filter {
        "attach-time" => one(time(attachment.attached_at)),
        "delete-on-termination" => shown(attachment.delete_on_termination),
        "device-name" => one(attachment.device.as_str()),
        "status" => one("attached"),
        _ => one(volume.id.as_str()),
    }
}

fn of_interface<'a>(region: &'a Region, e: &'a Interface, filter: &str) -> Values<'a> {
    if let Some(rest) = filter.strip_prefix("attachment.") {
        let Some(attachment) = &e.attachment else {
            return Vec::new();
        };
        return match rest {
            "attach-time" => one(time(attachment.attached_at)),
            "attachment-id" => one(attachment.id.as_str()),
            "delete-on-termination" => shown(attachment.delete_on_termination),
            "device-index" => shown(attachment.device_index),
            "network-card-index" => one("0"),
            "instance-id" => one(attachment.instance_id.as_str()),
            "instance-owner-id" => one(region.account.as_str()),
            "status" => one("attached"),
            _ => Vec::new(),
        };
    }
    let tags = region.tags_of(&e.id).into_iter().flatten();
    match filter {
        "addresses.association.public-ip" | "association.public-ip" => {
            maybe(e.public_ip.map(|ip| ip.to_string()))
        }
        "addresses.association.ip-owner-id" | "association.ip-owner-id" => {
            maybe(e.public_ip.map(|_| "amazon"))
        }
        "addresses.primary" => one("true"),
        "addresses.private-ip-address" | "private-ip-address" => shown(e.private_ip),
        "addresses.association.public-dns-name"
        | "association.public-dns-name"
        | "public-dns-name" => maybe(e.public_ip.map(|ip| public_dns(&region.name, ip))),
        "addresses.private-dns-name" => one(private_dns(&region.name, e.private_ip)),
        "deny-all-igw-traffic" | "ipv6-native" | "operator.managed" => one("false"),
        "availability-zone" => one(e.zone.as_str()),
        "description" => one(e.description.as_str()),
        "group-id" => e.groups.iter().map(|id| id.as_str().into()).collect(),
        "group-name" => group_names(region, &e.groups),
        "mac-address" => one(e.mac.as_str()),
        "network-interface-id" => one(e.id.as_str()),
        "owner-id" => one(region.account.as_str()),
        "private-dns-name" => one(private_dns(&region.name, e.private_ip)),
        "requester-managed" => one("false"),
        "status" => one("in-use"),
        "source-dest-check" => shown(e.source_dest_check),
        "subnet-id" => one(e.subnet_id.as_str()),
        "tag-key" => tags.map(|(key, _)| key.as_str().into()).collect(),
        "tag-value" => tags.map(|(_, value)| value.as_str().into()).collect(),
        "vpc-id" => one(e.vpc_id.as_str()),
        _ => Vec::new(),
    }
}
