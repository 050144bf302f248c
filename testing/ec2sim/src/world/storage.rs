//! Volumes and images.

use jiff::Timestamp;

/// A volume's attachment to an instance.
#[derive(Debug, Clone)]
pub(crate) struct VolumeAttachment {
    /// The instance.
    pub(crate) instance_id: String,
    /// The device name there.
    pub(crate) device: String,
    /// Whether the volume goes with the instance.
    pub(crate) delete_on_termination: bool,
    /// Since when.
    pub(crate) attached_at: Timestamp,
}

/// An EBS volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// Its id.
    pub(crate) id: String,
    /// Its size in GiB.
    pub(crate) size: i64,
    /// `gp3`, `io2`, …
    pub(crate) kind: String,
    /// Its zone's name.
    pub(crate) zone: String,
    /// The snapshot it was made from, or empty.
    pub(crate) snapshot_id: String,
    /// Whether it is encrypted.
    pub(crate) encrypted: bool,
    /// The key it is encrypted with.
    pub(crate) kms_key: Option<String>,
    /// Provisioned operations a second.
    pub(crate) iops: Option<i64>,
    /// Provisioned MiB a second.
    pub(crate) throughput: Option<i64>,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// The instance it is attached to.
    pub(crate) attachment: Option<VolumeAttachment>,
}

/// A machine image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) description: String,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: String,
    /// The account that owns it.
    pub(crate) owner: String,
    /// `amazon`, for Amazon's own.
    pub(crate) owner_alias: Option<&'static str>,
    /// Whether everybody may launch it.
    pub(crate) public: bool,
    /// The root device's name.
    pub(crate) root_device: String,
    /// The size of its root snapshot in GiB.
    pub(crate) root_size: i64,
    /// Its root snapshot.
    pub(crate) snapshot_id: String,
    /// The instance it was made from.
    pub(crate) source_instance: Option<String>,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it becomes usable.
    pub(crate) available_at: Timestamp,
}
