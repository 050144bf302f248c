//! Volumes.

use super::describe_instances::check_ids;
use super::listing::Listing;
use super::tags::{self, TagSpecs};
use super::{Ctx, done, time};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, maybe, one, shown};
use crate::world::ids::is_well_formed;
use crate::world::instance::{BlockDevice, State};
use crate::world::region::Region;
use crate::world::storage::{Volume, VolumeAttachment};
use crate::xml::Xml;

/// CreateVolume.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let zone = params.need("AvailabilityZone")?;
    if ctx.region().zone(zone).is_none() {
        let message = format!("The zone '{zone}' does not exist.");
        return Err(ApiError::new("InvalidZone.NotFound", message));
    }
    let snapshot_id = params.str("SnapshotId").unwrap_or_default();
    let of_snapshot = ctx
        .region()
        .images
        .values()
        .find(|i| i.snapshot_id == snapshot_id);
    let size = params
        .int("Size")?
        .or(of_snapshot.map(|image| image.root_size));
    let size = size.ok_or_else(|| ApiError::missing("size/snapshot"))?;
    if !(1..=65_536).contains(&size) {
        return Err(ApiError::invalid(
            "Size",
            &size.to_string(),
            "The volume size is invalid.",
        ));
    }
    let specs = TagSpecs::parse(params, &["volume"])?;
    let kms_key = params.str("KmsKeyId").map(str::to_owned);
    let kind = params.str("VolumeType").unwrap_or("gp2").to_owned();
    let encrypted = params.bool("Encrypted")?.unwrap_or(kms_key.is_some());
    let (iops, throughput) = (params.int("Iops")?, params.int("Throughput")?);
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let volume = Volume {
        id: local.core.ids.fresh("vol"),
        size,
        zone: zone.to_owned(),
        snapshot_id: snapshot_id.to_owned(),
        encrypted,
        kms_key,
        iops: iops.or((kind == "gp3").then_some(3000)),
        throughput: throughput.or((kind == "gp3").then_some(125)),
        kind,
        created_at: local.now,
        attachment: None,
    };
    tags::attach(local.region, &volume.id, specs.of("volume"));
    let mut xml = Xml::new();
    write(&mut xml, local.region, &volume);
    local.region.volumes.insert(volume.id.clone(), volume);
    Ok(xml)
}

/// DescribeVolumes.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    Listing {
        action: "DescribeVolumes",
        ids: "VolumeId",
        not_found: "InvalidVolume.NotFound",
        what: "volume",
        filters: &[
            "attachment.attach-time",
            "attachment.delete-on-termination",
            "attachment.device",
            "attachment.instance-id",
            "attachment.status",
            "availability-zone",
            "availability-zone-id",
            "create-time",
            "encrypted",
            "fast-restored",
            "multi-attach-enabled",
            "operator.managed",
            "operator.principal",
            "size",
            "snapshot-id",
            "status",
            "volume-id",
            "volume-type",
        ],
        all: |region| &region.volumes,
        values,
        set: "volumeSet",
        write,
    }
    .answer(ctx)
}

fn status(volume: &Volume) -> &'static str {
    if volume.attachment.is_some() {
        "in-use"
    } else {
        "available"
    }
}

fn values<'a>(region: &'a Region, v: &'a Volume, filter: &str) -> Values<'a> {
    if let Some(field) = filter.strip_prefix("attachment.") {
        let Some(attachment) = &v.attachment else {
            return Vec::new();
        };
        return match field {
            "attach-time" => one(time(attachment.attached_at)),
            "delete-on-termination" => shown(attachment.delete_on_termination),
            "device" => one(attachment.device.as_str()),
            "instance-id" => one(attachment.instance_id.as_str()),
            _ => one("attached"),
        };
    }
    match filter {
        "availability-zone" => one(v.zone.as_str()),
        "availability-zone-id" => maybe(region.zone(&v.zone).map(|zone| zone.id.as_str())),
        "create-time" => one(time(v.created_at)),
        "encrypted" => shown(v.encrypted),
        "fast-restored" | "multi-attach-enabled" | "operator.managed" => one("false"),
        "size" => shown(v.size),
        "snapshot-id" => one(v.snapshot_id.as_str()),
        "status" => one(status(v)),
        "volume-id" => one(v.id.as_str()),
        "volume-type" => one(v.kind.as_str()),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, v: &Volume) {
    xml.text("volumeId", &v.id);
    xml.text("size", v.size);
    xml.text("snapshotId", &v.snapshot_id);
    xml.text("availabilityZone", &v.zone);
    xml.text("status", status(v));
    xml.text("createTime", time(v.created_at));
    xml.list("attachmentSet", &v.attachment, |xml, attachment| {
        write_attachment(xml, &v.id, attachment, "attached");
    });
    xml.text("volumeType", &v.kind);
    xml.opt("iops", v.iops);
    xml.opt("throughput", v.throughput);
    xml.text("encrypted", v.encrypted);
    xml.opt("kmsKeyId", v.kms_key.as_ref());
    xml.text("multiAttachEnabled", false);
    tags::write(xml, region, &v.id);
}

fn write_attachment(xml: &mut Xml, volume_id: &str, a: &VolumeAttachment, status: &str) {
    xml.text("volumeId", volume_id);
    xml.text("instanceId", &a.instance_id);
    xml.text("device", &a.device);
    xml.text("status", status);
    xml.text("attachTime", time(a.attached_at));
    xml.text("deleteOnTermination", a.delete_on_termination);
}

fn named<'a>(ctx: &'a mut Ctx<'_>) -> ApiResult<&'a Volume> {
    let id = ctx.params().need("VolumeId")?;
    if !is_well_formed("vol", id) {
        let message = format!("Value ({id}) for parameter volumeId is invalid.");
        return Err(ApiError::new("InvalidVolumeID.Malformed", message));
    }
    let found = ctx.region().volumes.get(id);
    found.ok_or_else(|| ApiError::not_found("InvalidVolume.NotFound", "volume", id))
}

/// DeleteVolume.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let volume = named(ctx)?;
    let id = volume.id.clone();
    if let Some(attachment) = &volume.attachment {
        let message = format!(
            "Volume {id} is currently attached to {}",
            attachment.instance_id
        );
        return Err(ApiError::new("VolumeInUse", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.volumes.remove(&id);
    region.tags.remove(&id);
    Ok(done())
}

/// AttachVolume.
pub(crate) fn attach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (instance_id, device) = (params.need("InstanceId")?, params.need("Device")?);
    check_ids(ctx, &[instance_id])?;
    let volume = named(ctx)?;
    let (id, zone) = (volume.id.clone(), volume.zone.clone());
    if volume.attachment.is_some() {
        let message = format!("{id} is already attached to an instance");
        return Err(ApiError::new("VolumeInUse", message));
    }
    let region = ctx.region();
    let Some(instance) = region.instance(instance_id) else {
        return Err(ApiError::malformed(
            "InvalidInstanceID.NotFound",
            instance_id,
        ));
    };
    if !matches!(
        instance.state,
        State::Running | State::Stopped | State::Stopping
    ) {
        let message = format!("Instance '{instance_id}' is not 'running'.");
        return Err(ApiError::new("IncorrectState", message));
    }
    if instance.placement.zone != zone {
        let message = format!("The volume '{id}' is not in the same zone as '{instance_id}'");
        return Err(ApiError::new("InvalidVolume.ZoneMismatch", message));
    }
    if instance
        .block_devices
        .iter()
        .any(|have| have.device == device)
    {
        let why = format!("{device} is already in use");
        return Err(ApiError::invalid("device", device, &why));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let attachment = VolumeAttachment {
        instance_id: instance_id.to_owned(),
        device: device.to_owned(),
        delete_on_termination: false,
        attached_at: local.now,
    };
    let mut xml = Xml::new();
    write_attachment(&mut xml, &id, &attachment, "attaching");
    if let Some(instance) = local.region.instance_mut(instance_id) {
        instance.block_devices.push(BlockDevice {
            device: device.to_owned(),
            volume_id: id.clone(),
            delete_on_termination: false,
            attached_at: local.now,
        });
    }
    if let Some(volume) = local.region.volumes.get_mut(&id) {
        volume.attachment = Some(attachment);
    }
    Ok(xml)
}

/// DetachVolume.
pub(crate) fn detach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (instance_id, device) = (params.str("InstanceId"), params.str("Device"));
    let _force = params.bool("Force")?;
    let volume = named(ctx)?;
    let id = volume.id.clone();
    let attachment = volume.attachment.clone().filter(|a| {
        instance_id.is_none_or(|id| a.instance_id == id) && device.is_none_or(|d| a.device == d)
    });
    let Some(attachment) = attachment else {
        let message = format!("Volume '{id}' is in the 'available' state.");
        return Err(ApiError::new("IncorrectState", message));
    };
    let region = ctx.region();
    let is_live_root = region
        .instance(&attachment.instance_id)
        .is_some_and(|i| i.root_device == attachment.device && i.state != State::Stopped);
    if is_live_root {
        let message = format!("Unable to detach root volume '{id}' from a running instance");
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    if let Some(instance) = region.instance_mut(&attachment.instance_id) {
        instance.block_devices.retain(|have| have.volume_id != id);
    }
    if let Some(volume) = region.volumes.get_mut(&id) {
        volume.attachment = None;
    }
    let mut xml = Xml::new();
    write_attachment(&mut xml, &id, &attachment, "detaching");
    Ok(xml)
}
