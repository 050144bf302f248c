//! Images.

use super::describe_instances::check_ids;
use super::{Ctx, done, tags, time};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Values, maybe, one, shown};
use crate::paging::{Page, PageRule};
use crate::world::ids::is_well_formed;
use crate::world::region::Region;
use crate::world::storage::Image;
use crate::xml::Xml;
use jiff::Timestamp;

const FILTERS: &[&str] = &[
    "architecture",
    "block-device-mapping.delete-on-termination",
    "block-device-mapping.device-name",
    "block-device-mapping.snapshot-id",
    "block-device-mapping.volume-size",
    "block-device-mapping.volume-type",
    "block-device-mapping.encrypted",
    "creation-date",
    "description",
    "ena-support",
    "hypervisor",
    "free-tier-eligible",
    "image-allowed",
    "image-id",
    "image-type",
    "is-public",
    "kernel-id",
    "manifest-location",
    "name",
    "owner-alias",
    "owner-id",
    "platform",
    "product-code",
    "product-code.type",
    "ramdisk-id",
    "root-device-name",
    "root-device-type",
    "source-image-id",
    "source-image-region",
    "source-instance-id",
    "state",
    "state-reason-code",
    "state-reason-message",
    "sriov-net-support",
    "virtualization-type",
];

const PAGE: PageRule = PageRule {
    action: "DescribeImages",
    min: 1,
    max: 1000,
};

/// Checks that an image id is well formed and known.
pub(crate) fn find<'a>(region: &'a Region, id: &str) -> ApiResult<&'a Image> {
    if !is_well_formed("ami", id) {
        let message = format!("Invalid id: \"{id}\" (expecting \"ami-...\")");
        return Err(ApiError::new("InvalidAMIID.Malformed", message));
    }
    region.images.get(id).ok_or_else(|| {
        ApiError::new(
            "InvalidAMIID.NotFound",
            format!("The image id '[{id}]' does not exist"),
        )
    })
}

/// DescribeImages.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, FILTERS)?;
    let ids = params.strings("ImageId");
    let owners = params.strings("Owner");
    let executable_by = params.strings("ExecutableBy");
    let page = Page::parse(params, PAGE, !ids.is_empty())?;
    let (now, account) = (ctx.now, ctx.place.account.as_str());
    for flag in ["IncludeDeprecated", "IncludeDisabled"] {
        // No image here is deprecated or disabled.
        let _ = params.bool(flag)?;
    }
    for id in &ids {
        find(ctx.region(), id)?;
    }
    ctx.dry_run_ends()?;
    let region = ctx.region();
    let owned = |image: &Image| {
        owners.is_empty()
            || owners.iter().any(|owner| match *owner {
                "self" => image.owner == account,
                "amazon" | "aws-marketplace" => image.owner_alias == Some(*owner),
                id => image.owner == id,
            })
    };
    let executable = |image: &Image| {
        executable_by.is_empty()
            || executable_by
                .iter()
                .any(|who| *who == "all" && image.public)
    };
    let found = region.images.values().filter(|image| {
        (ids.is_empty() || ids.contains(&image.id.as_str()))
            && owned(image)
            && executable(image)
            && filters.pass(region.tags_of(&image.id), |name| values(image, name, now))
    });
    let (found, token) = page.take_sorted(found, |image| image.id.clone());
    let mut xml = Xml::new();
    xml.list("imagesSet", found, |xml, image| {
        write(xml, region, image, now);
    });
    xml.opt("nextToken", token);
    Ok(xml)
}

fn state(image: &Image, now: Timestamp) -> &'static str {
    if image.available_at <= now {
        "available"
    } else {
        "pending"
    }
}

fn values<'a>(image: &'a Image, filter: &str, now: Timestamp) -> Values<'a> {
    match filter {
        "architecture" => one(image.architecture.as_str()),
        "block-device-mapping.delete-on-termination" => one("true"),
        "block-device-mapping.device-name" | "root-device-name" => one(image.root_device.as_str()),
        "block-device-mapping.snapshot-id" => one(image.snapshot_id.as_str()),
        "block-device-mapping.volume-size" => shown(image.root_size),
        "block-device-mapping.volume-type" => one("gp3"),
        "block-device-mapping.encrypted" => one("false"),
        "creation-date" => one(time(image.created_at)),
        "description" => one(image.description.as_str()),
        "ena-support" => one("true"),
        "hypervisor" => one("xen"),
        "image-id" => one(image.id.as_str()),
        "image-type" => one("machine"),
        "is-public" => shown(image.public),
        "manifest-location" => one(location(image)),
        "name" => one(image.name.as_str()),
        "owner-alias" => maybe(image.owner_alias),
        "owner-id" => one(image.owner.as_str()),
        "root-device-type" => one("ebs"),
        "source-instance-id" => maybe(image.source_instance.as_deref()),
        "state" => one(state(image, now)),
        "virtualization-type" => one("hvm"),
        _ => Vec::new(),
    }
}

fn location(image: &Image) -> String {
    format!(
        "{}/{}",
        image.owner_alias.unwrap_or(&image.owner),
        image.name
    )
}

fn write(xml: &mut Xml, region: &Region, image: &Image, now: Timestamp) {
    xml.text("imageId", &image.id);
    xml.text("imageLocation", location(image));
    xml.text("imageState", state(image, now));
    xml.text("imageOwnerId", &image.owner);
    xml.opt("imageOwnerAlias", image.owner_alias);
    xml.text("creationDate", time(image.created_at));
    xml.text("isPublic", image.public);
    xml.text("architecture", &image.architecture);
    xml.text("imageType", "machine");
    xml.text("name", &image.name);
    xml.text("description", &image.description);
    xml.text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", &image.root_device);
    xml.list("blockDeviceMapping", [image], |xml, image| {
        xml.text("deviceName", &image.root_device);
        xml.nest("ebs", |xml| {
            xml.text("snapshotId", &image.snapshot_id);
            xml.text("volumeSize", image.root_size);
            xml.text("deleteOnTermination", true);
            xml.text("volumeType", "gp3");
            xml.text("encrypted", false);
            xml.text("iops", 3000);
            xml.text("throughput", 125);
        });
    });
    xml.text("virtualizationType", "hvm");
    xml.text("hypervisor", "xen");
    xml.text("enaSupport", true);
    xml.text("sriovNetSupport", "simple");
    xml.text(
        "bootMode",
        if image.architecture == "arm64" {
            "uefi"
        } else {
            "uefi-preferred"
        },
    );
    xml.text("imdsSupport", "v2.0");
    xml.text("platformDetails", "Linux/UNIX");
    xml.text("usageOperation", "RunInstances");
    xml.opt("sourceInstanceId", image.source_instance.as_deref());
    tags::write(xml, region, &image.id);
}

/// CreateImage from an instance.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (instance_id, name) = (params.need("InstanceId")?, params.need("Name")?);
    let _no_reboot = params.bool("NoReboot")?;
    let description = params.str("Description").unwrap_or_default().to_owned();
    let specs = tags::TagSpecs::parse(params, &["image", "snapshot"])?;
    check_ids(ctx, &[instance_id])?;
    let taken = ctx
        .region()
        .images
        .values()
        .find(|image| image.name == name && !image.public);
    if let Some(image) = taken {
        let message = format!("AMI name {name} is already in use by AMI {}", image.id);
        return Err(ApiError::new("InvalidAMIName.Duplicate", message));
    }
    ctx.dry_run_ends()?;
    let ready = ctx.now + ctx.world.core.config.pending;
    let local = ctx.local();
    let code = "InvalidInstanceID.NotFound";
    let instance = local.region.instance(instance_id);
    let instance = instance.ok_or_else(|| ApiError::not_found(code, "instance ID", instance_id))?;
    let root = instance
        .block_devices
        .iter()
        .find(|d| d.device == instance.root_device);
    let root_size = root
        .and_then(|d| local.region.volumes.get(&d.volume_id))
        .map_or(8, |v| v.size);
    let image = Image {
        id: local.core.ids.fresh("ami"),
        name: name.to_owned(),
        description,
        architecture: instance.architecture.clone(),
        owner: local.region.account.clone(),
        owner_alias: None,
        public: false,
        root_device: instance.root_device.clone(),
        root_size,
        snapshot_id: local.core.ids.fresh("snap"),
        source_instance: Some(instance_id.to_owned()),
        created_at: local.now,
        available_at: ready,
    };
    tags::attach(local.region, &image.id, specs.of("image"));
    tags::attach(local.region, &image.snapshot_id, specs.of("snapshot"));
    let mut xml = Xml::new();
    xml.text("imageId", &image.id);
    local.region.images.insert(image.id.clone(), image);
    Ok(xml)
}

/// DeregisterImage.
pub(crate) fn deregister(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = ctx.params().need("ImageId")?;
    let image = find(ctx.region(), id)?;
    if image.public {
        let message = "You do not have permission to deregister this image.";
        return Err(ApiError::new("AuthFailure", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.images.remove(id);
    region.tags.remove(id);
    Ok(done())
}
