//! Instance types and where they are offered.

use super::Ctx;
use crate::catalogue::{self, InstanceType};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Values, maybe, one, shown};
use crate::paging::{Page, PageRule};
use crate::xml::Xml;

/// The documented filters. What the stand-in does not show of a type matches nothing.
const FILTERS: &[&str] = &[
    "auto-recovery-supported",
    "bare-metal",
    "burstable-performance-supported",
    "current-generation",
    "dedicated-hosts-supported",
    "ebs-info.attachment-limit-type",
    "ebs-info.maximum-ebs-attachments",
    "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
    "ebs-info.ebs-optimized-info.baseline-iops",
    "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps",
    "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps",
    "ebs-info.ebs-optimized-info.maximum-iops",
    "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps",
    "ebs-info.ebs-optimized-support",
    "ebs-info.encryption-support",
    "ebs-info.nvme-support",
    "free-tier-eligible",
    "hibernation-supported",
    "hypervisor",
    "instance-storage-info.disk.count",
    "instance-storage-info.disk.size-in-gb",
    "instance-storage-info.disk.type",
    "instance-storage-info.encryption-support",
    "instance-storage-info.nvme-support",
    "instance-storage-info.total-size-in-gb",
    "instance-storage-supported",
    "instance-type",
    "memory-info.size-in-mib",
    "network-info.bandwidth-weightings",
    "network-info.flexible-ena-queues-support",
    "network-info.encryption-in-transit-supported",
    "network-info.ipv4-addresses-per-interface",
    "network-info.ipv6-addresses-per-interface",
    "network-info.ipv6-supported",
    "network-info.maximum-network-cards",
    "network-info.maximum-network-interfaces",
    "network-info.efa-info.maximum-efa-interfaces",
    "network-info.efa-supported",
    "network-info.ena-support",
    "network-info.network-performance",
    "nitro-enclaves-support",
    "nitro-tpm-support",
    "nitro-tpm-info.supported-versions",
    "processor-info.supported-features",
    "reboot-migration-support",
    "processor-info.supported-architecture",
    "processor-info.sustained-clock-speed-in-ghz",
    "supported-boot-mode",
    "supported-root-device-type",
    "supported-usage-class",
    "supported-virtualization-type",
    "vcpu-info.default-cores",
    "vcpu-info.default-threads-per-core",
    "vcpu-info.valid-cores",
    "vcpu-info.valid-threads-per-core",
    "vcpu-info.default-vcpus",
];

const PAGE: PageRule = PageRule {
    action: "DescribeInstanceTypes",
    min: 5,
    max: 100,
};

/// DescribeInstanceTypes.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, FILTERS)?;
    let names = params.strings("InstanceType");
    if names.len() > 100 {
        let message = "At most 100 instance types can be listed in one call.";
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let unknown: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| catalogue::find(name).is_none())
        .collect();
    if !unknown.is_empty() {
        let message = format!(
            "The following supplied instance types do not exist: [{}]",
            unknown.join(", ")
        );
        return Err(ApiError::new("InvalidInstanceType", message));
    }
    let page = Page::parse(params, PAGE, !names.is_empty())?;
    ctx.dry_run_ends()?;
    let zones: Vec<String> = ctx
        .region()
        .zones
        .iter()
        .map(|zone| zone.name.clone())
        .collect();
    let found = catalogue::all().iter().filter(|t| {
        (names.is_empty() || names.contains(&t.name.as_str()))
            && zones.iter().any(|zone| t.offered_in(zone))
            && filters.pass(None, |name| values(t, name))
    });
    let (found, token) = page.take_sorted(found, |t| t.name.clone());
    let mut xml = Xml::new();
    xml.list("instanceTypeSet", found, write);
    xml.opt("nextToken", token);
    Ok(xml)
}

fn values<'a>(t: &'a InstanceType, filter: &str) -> Values<'a> {
    match filter {
        "auto-recovery-supported" => shown(!t.metal),
        "bare-metal" => shown(t.metal),
        "burstable-performance-supported" => shown(t.burstable),
        "current-generation" => shown(!t.old),
        "dedicated-hosts-supported" => shown(!t.burstable),
        "ebs-info.ebs-optimized-support" => one(ebs_optimized(t)),
        "ebs-info.encryption-support" => one("supported"),
        "ebs-info.nvme-support" => one(nvme(t)),
        "free-tier-eligible" => shown(t.free_tier),
        "hibernation-supported" => shown(t.hibernation),
        "hypervisor" => maybe(hypervisor(t)),
        "instance-storage-info.disk.count" => maybe((t.storage_gb > 0).then_some("1")),
        "instance-storage-info.disk.type" => maybe((t.storage_gb > 0).then_some("ssd")),
        "instance-storage-info.encryption-support" | "instance-storage-info.nvme-support" => {
            maybe((t.storage_gb > 0).then_some("required"))
        }
        "instance-storage-info.disk.size-in-gb" | "instance-storage-info.total-size-in-gb" => {
            maybe((t.storage_gb > 0).then(|| t.storage_gb.to_string()))
        }
        "instance-storage-supported" => shown(t.storage_gb > 0),
        "instance-type" => one(t.name.as_str()),
        "memory-info.size-in-mib" => shown(t.memory_mib),
        "network-info.efa-info.maximum-efa-interfaces" => {
            maybe((t.efa > 0).then(|| t.efa.to_string()))
        }
        "network-info.efa-supported" => shown(t.efa > 0),
        "network-info.ena-support" => one(ena(t)),
        "network-info.encryption-in-transit-supported" => shown(encrypts_in_transit(t)),
        "network-info.ipv4-addresses-per-interface"
        | "network-info.ipv6-addresses-per-interface" => shown(ADDRESSES_PER_INTERFACE),
        "network-info.ipv6-supported" => one("true"),
        "network-info.maximum-network-cards" => shown(t.efa.max(1)),
        "network-info.maximum-network-interfaces" => shown(interfaces(t)),
        "nitro-tpm-support" => one(tpm(t)),
        "network-info.network-performance" => one(t.network.as_str()),
        "nitro-enclaves-support" => one(enclaves(t)),
        "processor-info.supported-architecture" => {
            t.architectures.iter().map(|a| a.as_str().into()).collect()
        }
        "processor-info.sustained-clock-speed-in-ghz" => one(CLOCK_GHZ),
        "supported-boot-mode" => boot_modes(t).iter().map(|mode| (*mode).into()).collect(),
        "supported-root-device-type" => one("ebs"),
        "supported-usage-class" => t.usage.iter().map(|class| class.as_str().into()).collect(),
        "supported-virtualization-type" => one("hvm"),
        "vcpu-info.default-cores" => shown(t.vcpus / t.threads),
        "vcpu-info.default-threads-per-core" => shown(t.threads),
        "vcpu-info.default-vcpus" => shown(t.vcpus),
        "vcpu-info.valid-cores" => valid_cores(t).map(|n| n.to_string().into()).collect(),
        "vcpu-info.valid-threads-per-core" => {
            (1..=t.threads).map(|n| n.to_string().into()).collect()
        }
        _ => Vec::new(),
    }
}

const CLOCK_GHZ: &str = "3.1";

const ADDRESSES_PER_INTERFACE: i64 = 15;

fn interfaces(t: &InstanceType) -> i64 {
    if t.vcpus <= 2 { 3 } else { 8 }
}

fn encrypts_in_transit(t: &InstanceType) -> bool {
    !t.xen && !t.burstable
}

fn tpm(t: &InstanceType) -> &'static str {
    if t.xen || t.metal {
        "unsupported"
    } else {
        "supported"
    }
}

fn valid_cores(t: &InstanceType) -> impl Iterator<Item = i64> {
    let cores = t.vcpus / t.threads;
    (1..=cores).filter(move |n| n % 2 == 0 || *n == cores)
}

fn hypervisor(t: &InstanceType) -> Option<&'static str> {
    match (t.metal, t.xen) {
        (true, _) => None,
        (false, true) => Some("xen"),
        (false, false) => Some("nitro"),
    }
}

fn ebs_optimized(t: &InstanceType) -> &'static str {
    if t.xen { "unsupported" } else { "default" }
}

fn nvme(t: &InstanceType) -> &'static str {
    if t.xen { "unsupported" } else { "required" }
}

fn ena(t: &InstanceType) -> &'static str {
    if t.xen { "unsupported" } else { "required" }
}

fn enclaves(t: &InstanceType) -> &'static str {
    if t.xen || t.metal || t.burstable || t.vcpus < 4 {
        "unsupported"
    } else {
        "supported"
    }
}

fn boot_modes(t: &InstanceType) -> &'static [&'static str] {
    match (t.xen, t.architectures.iter().any(|a| a == "arm64")) {
        (true, _) => &["legacy-bios"],
        (false, true) => &["uefi"],
        (false, false) => &["legacy-bios", "uefi"],
    }
}

fn placement_strategies(t: &InstanceType) -> &'static [&'static str] {
    if t.burstable || t.xen {
        &["partition", "spread"]
    } else {
        &["cluster", "partition", "spread"]
    }
}

fn write(xml: &mut Xml, t: &InstanceType) {
    xml.text("instanceType", &t.name);
    xml.text("currentGeneration", !t.old);
    xml.text("freeTierEligible", t.free_tier);
    xml.texts("supportedUsageClasses", &t.usage);
    xml.texts("supportedRootDeviceTypes", ["ebs"]);
    xml.texts("supportedVirtualizationTypes", ["hvm"]);
    xml.text("bareMetal", t.metal);
    xml.opt("hypervisor", hypervisor(t));
    xml.nest("processorInfo", |xml| {
        xml.texts("supportedArchitectures", &t.architectures);
        xml.text("sustainedClockSpeedInGhz", CLOCK_GHZ);
        xml.text("manufacturer", &t.cpu);
    });
    let cores = t.vcpus / t.threads;
    xml.nest("vCpuInfo", |xml| {
        xml.text("defaultVCpus", t.vcpus);
        xml.text("defaultCores", cores);
        xml.text("defaultThreadsPerCore", t.threads);
        xml.texts("validCores", valid_cores(t));
        xml.texts("validThreadsPerCore", 1..=t.threads);
    });
    xml.nest("memoryInfo", |xml| xml.text("sizeInMiB", t.memory_mib));
    write_storage(xml, t);
    write_network(xml, t);
    write_accelerators(xml, t);
    xml.nest("placementGroupInfo", |xml| {
        xml.texts("supportedStrategies", placement_strategies(t));
    });
    xml.text("hibernationSupported", t.hibernation);
    xml.text("burstablePerformanceSupported", t.burstable);
    xml.text("dedicatedHostsSupported", !t.burstable);
    xml.text("autoRecoverySupported", !t.metal);
    xml.texts("supportedBootModes", boot_modes(t));
    xml.text("nitroEnclavesSupport", enclaves(t));
    xml.text("nitroTpmSupport", tpm(t));
}

fn write_storage(xml: &mut Xml, t: &InstanceType) {
    xml.text("instanceStorageSupported", t.storage_gb > 0);
    if t.storage_gb > 0 {
        xml.nest("instanceStorageInfo", |xml| {
            xml.text("totalSizeInGB", t.storage_gb);
            xml.list("disks", [t.storage_gb], |xml, size| {
                xml.text("sizeInGB", size);
                xml.text("count", 1);
                xml.text("type", "ssd");
            });
            xml.text("nvmeSupport", "required");
            xml.text("encryptionSupport", "required");
        });
    }
    xml.nest("ebsInfo", |xml| {
        xml.text("ebsOptimizedSupport", ebs_optimized(t));
        xml.text("encryptionSupport", "supported");
        xml.text("nvmeSupport", nvme(t));
    });
}

fn write_network(xml: &mut Xml, t: &InstanceType) {
    xml.nest("networkInfo", |xml| {
        xml.text("networkPerformance", &t.network);
        xml.text("maximumNetworkInterfaces", interfaces(t));
        xml.text("maximumNetworkCards", t.efa.max(1));
        xml.text("defaultNetworkCardIndex", 0);
        xml.list("networkCards", 0..t.efa.max(1), |xml, index| {
            xml.text("networkCardIndex", index);
            xml.text("networkPerformance", &t.network);
            xml.text("maximumNetworkInterfaces", interfaces(t));
        });
        xml.text("ipv4AddressesPerInterface", ADDRESSES_PER_INTERFACE);
        xml.text("ipv6AddressesPerInterface", ADDRESSES_PER_INTERFACE);
        xml.text("ipv6Supported", true);
        xml.text("enaSupport", ena(t));
        xml.text("efaSupported", t.efa > 0);
        if t.efa > 0 {
            xml.nest("efaInfo", |xml| xml.text("maximumEfaInterfaces", t.efa));
        }
        xml.text("encryptionInTransitSupported", encrypts_in_transit(t));
    });
}

fn write_accelerators(xml: &mut Xml, t: &InstanceType) {
    if let Some(gpu) = &t.gpu {
        xml.nest("gpuInfo", |xml| {
            xml.list("gpus", [gpu], |xml, gpu| {
                xml.text("name", &gpu.name);
                xml.text("manufacturer", &gpu.manufacturer);
                xml.text("count", gpu.count);
                xml.nest("memoryInfo", |xml| xml.text("sizeInMiB", gpu.memory_mib));
            });
            xml.text("totalGpuMemoryInMiB", gpu.memory_mib * gpu.count);
        });
    }
    if let Some(neuron) = &t.neuron {
        xml.nest("neuronInfo", |xml| {
            xml.list("neuronDevices", [neuron], |xml, device| {
                xml.text("count", device.count);
                xml.text("name", &device.name);
                xml.nest("coreInfo", |xml| {
                    xml.text("count", device.core_count);
                    xml.text("version", device.core_version);
                });
                xml.nest("memoryInfo", |xml| xml.text("sizeInMiB", device.memory_mib));
            });
            xml.text(
                "totalNeuronDeviceMemoryInMiB",
                neuron.memory_mib * neuron.count,
            );
        });
    }
}

/// DescribeInstanceTypeOfferings.
pub(crate) fn offerings(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    const RULE: PageRule = PageRule::usual("DescribeInstanceTypeOfferings");
    let params = ctx.params();
    let filters = Filters::parse(params, &["instance-type", "location"])?;
    let kind = params.str("LocationType").unwrap_or("region");
    let page = Page::parse(params, RULE, false)?;
    ctx.dry_run_ends()?;
    let place = ctx.place;
    let zones = &ctx.region().zones;
    let locations: Vec<(&str, Vec<&str>)> = match kind {
        "region" => {
            vec![(
                place.region.as_str(),
                zones.iter().map(|zone| zone.name.as_str()).collect(),
            )]
        }
        "availability-zone" => zones
            .iter()
            .map(|zone| (zone.name.as_str(), vec![zone.name.as_str()]))
            .collect(),
        "availability-zone-id" => zones
            .iter()
            .map(|zone| (zone.id.as_str(), vec![zone.name.as_str()]))
            .collect(),
        other => {
            let why = "Expecting region, availability-zone or availability-zone-id.";
            return Err(ApiError::invalid("locationType", other, why));
        }
    };
    let all = catalogue::all()
        .iter()
        .flat_map(|t| locations.iter().map(move |at| (t, at)));
    let found = all.filter(|(t, (location, zones))| {
        zones.iter().any(|zone| t.offered_in(zone))
            && filters.pass(None, |name| match name {
                "instance-type" => one(t.name.as_str()),
                _ => one(*location),
            })
    });
    let (found, token) = page.take_sorted(found, |(t, (location, _))| {
        format!("{}\n{location}", t.name)
    });
    let mut xml = Xml::new();
    xml.list(
        "instanceTypeOfferingSet",
        found,
        |xml, (t, (location, _))| {
            xml.text("instanceType", &t.name);
            xml.text("locationType", kind);
            xml.text("location", location);
        },
    );
    xml.opt("nextToken", token);
    Ok(xml)
}
