//! Attributes and metadata options of instances.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::describe_instances::check_ids;
use super::instance_xml::{write_devices, write_groups, write_metadata};
use super::run_instances::interfaces::check_group;
use super::run_instances::options::metadata_over;
use super::tags::{fits_metadata, metadata_key_error};
use super::{Ctx, done};
use crate::catalogue;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::instance::{Instance, State};
use crate::xml::Xml;

fn named<'a>(ctx: &'a mut Ctx<'_>) -> ApiResult<&'a mut Instance> {
    let id = ctx.params().need("InstanceId")?;
    check_ids(ctx, &[id])?;
    let found = ctx.local().region.instance_mut(id);
    found.ok_or_else(|| ApiError::not_found("InvalidInstanceID.NotFound", "instance ID", id))
}

/// DescribeInstanceAttribute.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let attribute = ctx.params().need("Attribute")?;
    let instance = named(ctx)?.clone();
    ctx.dry_run_ends()?;
    let mut xml = Xml::new();
    xml.text("instanceId", &instance.id);
    let mut value = |text: String| xml.nest(attribute, |xml| xml.text("value", text));
    match attribute {
        "instanceType" => value(instance.instance_type.clone()),
        "disableApiTermination" => value(instance.disable_api_termination.to_string()),
        "disableApiStop" => value(instance.disable_api_stop.to_string()),
        "instanceInitiatedShutdownBehavior" => value(instance.shutdown_behavior.clone()),
        "rootDeviceName" => value(instance.root_device.clone()),
        "ebsOptimized" => value(instance.ebs_optimized.to_string()),
        "sourceDestCheck" => value(instance.source_dest_check.to_string()),
        "enaSupport" => value("true".into()),
        "sriovNetSupport" => value("simple".into()),
        "userData" => {
            if instance.user_data.is_empty() {
                xml.nest("userData", |_| {});
            } else {
                value(STANDARD.encode(&instance.user_data));
            }
        }
        "kernel" | "ramdisk" => xml.nest(attribute, |_| {}),
        "enclaveOptions" => {
            xml.nest("enclaveOptions", |xml| {
                xml.text("enabled", instance.enclave);
            });
        }
        "productCodes" => xml.nest("productCodes", |_| {}),
        "blockDeviceMapping" => write_devices(&mut xml, &instance),
        "groupSet" => write_groups(&mut xml, ctx.region(), &instance.groups),
        other => return Err(ApiError::invalid("attribute", other, "Unknown attribute.")),
    }
    Ok(xml)
}

/// The new value of an attribute, written as `Name.Value` or as `Attribute` and `Value`.
fn new_value<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    let mut upper = name.to_owned();
    upper[..1].make_ascii_uppercase();
    let nested = params
        .get(&upper)
        .and_then(|p| p.str("Value").or_else(|| p.value()));
    nested.or_else(|| {
        (params.str("Attribute") == Some(name))
            .then(|| params.str("Value"))
            .flatten()
    })
}

fn new_flag(params: &Params, name: &str) -> ApiResult<Option<bool>> {
    match new_value(params, name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(ApiError::invalid(name, other, "Expecting true or false.")),
    }
}

/// ModifyInstanceAttribute.
pub(crate) fn modify(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let groups: Vec<String> = params
        .strings("GroupId")
        .into_iter()
        .map(str::to_owned)
        .collect();
    for group in &groups {
        check_group(ctx.region(), group)?;
    }
    let mut changed = named(ctx)?.clone();
    if changed.state == State::Terminated {
        let message = format!("The instance '{}' is terminated.", changed.id);
        return Err(ApiError::new("IncorrectInstanceState", message));
    }
    change_flags(params, &mut changed)?;
    change_when_stopped(params, &mut changed)?;
    change_devices(params, &mut changed)?;
    if !groups.is_empty() {
        changed.groups = groups;
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    for device in &changed.block_devices {
        let volume = region.volumes.get_mut(&device.volume_id);
        if let Some(attachment) = volume.and_then(|volume| volume.attachment.as_mut()) {
            attachment.delete_on_termination = device.delete_on_termination;
        }
    }
    let first = changed.interfaces.first();
    if let Some(interface) = first.and_then(|id| region.interfaces.get_mut(id)) {
        interface.groups.clone_from(&changed.groups);
        interface.source_dest_check = changed.source_dest_check;
    }
    *named(ctx)? = changed;
    Ok(done())
}

fn change_flags(params: &Params, i: &mut Instance) -> ApiResult<()> {
    let flags = [
        ("disableApiTermination", &mut i.disable_api_termination),
        ("disableApiStop", &mut i.disable_api_stop),
        ("sourceDestCheck", &mut i.source_dest_check),
    ];
    for (name, flag) in flags {
        *flag = new_flag(params, name)?.unwrap_or(*flag);
    }
    if let Some(behavior) = new_value(params, "instanceInitiatedShutdownBehavior") {
        if !["stop", "terminate"].contains(&behavior) {
            let why = "Expecting stop or terminate.";
            return Err(ApiError::invalid(
                "instanceInitiatedShutdownBehavior",
                behavior,
                why,
            ));
        }
        behavior.clone_into(&mut i.shutdown_behavior);
    }
    Ok(())
}

fn change_when_stopped(params: &Params, i: &mut Instance) -> ApiResult<()> {
    let kind = new_value(params, "instanceType");
    let user_data = new_value(params, "userData");
    let ebs_optimized = new_flag(params, "ebsOptimized")?;
    if kind.is_none() && user_data.is_none() && ebs_optimized.is_none() {
        return Ok(());
    }
    if i.state != State::Stopped {
        let message = format!("The instance '{}' is not in the 'stopped' state.", i.id);
        return Err(ApiError::new("IncorrectInstanceState", message));
    }
    if let Some(name) = kind {
        let known = catalogue::find(name);
        if known.is_none_or(|known| !known.architectures.contains(&i.architecture)) {
            return Err(ApiError::invalid(
                "instanceType",
                name,
                "The instance cannot have it.",
            ));
        }
        name.clone_into(&mut i.instance_type);
    }
    if let Some(encoded) = user_data {
        let decoded = STANDARD.decode(encoded).map_err(|_| {
            ApiError::new(
                "InvalidUserData.Malformed",
                "Invalid BASE64 encoding of user data.",
            )
        })?;
        i.user_data = decoded.into();
    }
    i.ebs_optimized = ebs_optimized.unwrap_or(i.ebs_optimized);
    Ok(())
}

fn change_devices(params: &Params, i: &mut Instance) -> ApiResult<()> {
    for mapping in params.list("BlockDeviceMapping") {
        let name = mapping.need("DeviceName")?;
        let device = i
            .block_devices
            .iter_mut()
            .find(|device| device.device == name);
        let device = device.ok_or_else(|| {
            let message = format!("No device is currently mapped at {name}");
            ApiError::new("InvalidInstanceAttributeValue", message)
        })?;
        let keep = mapping
            .get("Ebs")
            .map(|ebs| ebs.bool("DeleteOnTermination"))
            .transpose()?;
        device.delete_on_termination = keep.flatten().unwrap_or(device.delete_on_termination);
    }
    Ok(())
}

/// ModifyInstanceMetadataOptions.
pub(crate) fn modify_metadata(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let instance = named(ctx)?;
    let (id, state) = (instance.id.clone(), instance.state);
    if matches!(state, State::ShuttingDown | State::Terminated) {
        let message = format!("The instance '{id}' is not in a valid state for this operation.");
        return Err(ApiError::new("IncorrectInstanceState", message));
    }
    let options = metadata_over(params, &instance.metadata)?;
    if options.instance_tags == "enabled" {
        let tags = ctx.region().tags_of(&id).into_iter().flatten();
        if let Some((bad, _)) = tags.into_iter().find(|(key, _)| !fits_metadata(key)) {
            return Err(metadata_key_error(bad));
        }
    }
    ctx.dry_run_ends()?;
    let mut xml = Xml::new();
    xml.text("instanceId", &id);
    // The change is under way; the next look finds it applied.
    xml.nest("instanceMetadataOptions", |xml| {
        write_metadata(xml, &options, State::Pending);
    });
    named(ctx)?.metadata = options;
    Ok(xml)
}
