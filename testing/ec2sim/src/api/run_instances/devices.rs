//! Block device mappings of a launch.

use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::storage::Image;

/// A volume that a launch makes.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// The device name.
    pub(crate) name: String,
    /// Whether it is the root device.
    pub(crate) is_root: bool,
    /// Its size in GiB.
    pub(crate) size: i64,
    /// `gp3` and the like.
    pub(crate) kind: String,
    /// The snapshot it is made from, or empty.
    pub(crate) snapshot_id: String,
    /// Whether it is encrypted.
    pub(crate) encrypted: bool,
    /// The key it is encrypted with.
    pub(crate) kms_key: Option<String>,
    /// Provisioned operations a second.
    pub(crate) iops: Option<i64>,
    /// Provisioned MiB a second.
    pub(crate) throughput: Option<i64>,
    /// Whether it goes with the instance.
    pub(crate) delete_on_termination: bool,
}

/// The volumes of a launch: the image's root as changed by the request, then the others.
pub(crate) fn devices(params: &Params, image: &Image) -> ApiResult<Vec<Device>> {
    let mut devices = vec![Device {
        name: image.root_device.clone(),
        is_root: true,
        size: image.root_size,
        kind: "gp3".into(),
        snapshot_id: image.snapshot_id.clone(),
        encrypted: false,
        kms_key: None,
        iops: None,
        throughput: None,
        delete_on_termination: true,
    }];
    for mapping in params.list("BlockDeviceMapping") {
        let name = mapping.need("DeviceName")?;
        if mapping.str("NoDevice").is_some() {
            devices.retain(|device| device.is_root || device.name != name);
            continue;
        }
        let Some(ebs) = mapping.get("Ebs") else {
            continue;
        };
        match devices.iter_mut().find(|device| device.name == name) {
            Some(device) => read(ebs, device)?,
            None => devices.push(extra(name, ebs)?),
        }
    }
    devices.iter().try_for_each(check)?;
    Ok(devices)
}

fn extra(name: &str, ebs: &Params) -> ApiResult<Device> {
    let mut device = Device {
        name: name.to_owned(),
        is_root: false,
        size: 0,
        kind: "gp2".into(),
        snapshot_id: String::new(),
        encrypted: false,
        kms_key: None,
        iops: None,
        throughput: None,
        delete_on_termination: true,
    };
    read(ebs, &mut device)?;
    if device.size == 0 {
        return Err(ApiError::missing(&format!("VolumeSize of {name}")));
    }
    Ok(device)
}

fn read(ebs: &Params, device: &mut Device) -> ApiResult<()> {
    if let Some(size) = ebs.int("VolumeSize")? {
        if device.is_root && size < device.size {
            let message = format!(
                "Volume of size {size}GB is smaller than snapshot '{}', expect size >= {}GB",
                device.snapshot_id, device.size
            );
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
        device.size = size;
    }
    if let Some(kind) = ebs.str("VolumeType") {
        kind.clone_into(&mut device.kind);
    }
    if let Some(snapshot) = ebs.str("SnapshotId") {
        snapshot.clone_into(&mut device.snapshot_id);
    }
    device.kms_key = ebs
        .str("KmsKeyId")
        .map(str::to_owned)
        .or(device.kms_key.take());
    device.encrypted = ebs
        .bool("Encrypted")?
        .unwrap_or(device.encrypted || device.kms_key.is_some());
    device.iops = ebs.int("Iops")?.or(device.iops);
    device.throughput = ebs.int("Throughput")?.or(device.throughput);
    device.delete_on_termination = ebs
        .bool("DeleteOnTermination")?
        .unwrap_or(device.delete_on_termination);
    Ok(())
}

fn check(device: &Device) -> ApiResult<()> {
    const KINDS: [&str; 7] = ["standard", "io1", "io2", "gp2", "gp3", "sc1", "st1"];
    if !KINDS.contains(&device.kind.as_str()) {
        let why = format!("Expecting one of: {}.", KINDS.join(", "));
        return Err(ApiError::invalid("volumeType", &device.kind, &why));
    }
    if !(1..=65_536).contains(&device.size) {
        let message = format!(
            "The volume size {} of {} is invalid.",
            device.size, device.name
        );
        return Err(ApiError::new("InvalidBlockDeviceMapping", message));
    }
    if device.kms_key.is_some() && !device.encrypted {
        let message = "KmsKeyId needs Encrypted to be true.";
        return Err(ApiError::new("InvalidParameterDependency", message));
    }
    if device.throughput.is_some() && device.kind != "gp3" {
        let message = format!(
            "Throughput is not supported for volumes of type {}.",
            device.kind
        );
        return Err(ApiError::combination(message));
    }
    Ok(())
}
