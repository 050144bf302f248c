//! An instance as EC2 sees it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// The states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Being launched or started.
    Pending,
    /// Running.
    Running,
    /// Being terminated.
    ShuttingDown,
    /// Gone for good, still listed for a while.
    Terminated,
    /// Being stopped.
    Stopping,
    /// Stopped.
    Stopped,
}

impl State {
    /// EC2's number for it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// EC2's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the instance still exists for its owner.
    pub(crate) fn is_live(self) -> bool {
        !matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// Why an instance is in its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    /// For example `Client.UserInitiatedShutdown`.
    pub(crate) code: &'static str,
    /// The code and a sentence.
    pub(crate) message: String,
    /// `StateTransitionReason`.
    pub(crate) transition: String,
}

/// One entry of the block device mapping of an instance.
#[derive(Debug, Clone)]
pub(crate) struct BlockDevice {
    /// For example `/dev/xvda`.
    pub(crate) device: String,
    /// The volume behind it.
    pub(crate) volume_id: String,
    /// Whether the volume goes with the instance.
    pub(crate) delete_on_termination: bool,
    /// When it was attached.
    pub(crate) attached_at: Timestamp,
}

/// The metadata options of an instance.
#[derive(Debug, Clone)]
pub(crate) struct MetadataOptions {
    /// `required` or `optional`.
    pub(crate) http_tokens: String,
    /// 1 to 64.
    pub(crate) hop_limit: i64,
    /// `enabled` or `disabled`.
    pub(crate) http_endpoint: String,
    /// `enabled` or `disabled`.
    pub(crate) http_protocol_ipv6: String,
    /// `enabled` or `disabled`.
    pub(crate) instance_tags: String,
}

/// The purchase as spot.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    /// The request that the instance fulfils.
    pub(crate) request_id: String,
    /// Whether the request outlives the instance.
    pub(crate) persistent: bool,
    /// What an interruption does: `terminate`, `stop` or `hibernate`.
    pub(crate) interruption: String,
}

/// The instance profile of an instance.
#[derive(Debug, Clone)]
pub(crate) struct ProfileRef {
    /// The profile's ARN.
    pub(crate) arn: String,
    /// The profile's id.
    pub(crate) id: String,
    /// The role whose credentials the instance gets.
    pub(crate) role: Option<String>,
}

/// Where and how an instance is placed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    /// The zone's name.
    pub(crate) zone: String,
    /// The zone's id.
    pub(crate) zone_id: String,
    /// The placement group's name, or empty.
    pub(crate) group: String,
    /// The partition, in a partition group.
    pub(crate) partition: Option<i64>,
    /// `default`, `dedicated` or `host`.
    pub(crate) tenancy: String,
}

/// A spot notice as the metadata service shows it.
#[derive(Debug, Clone)]
pub(crate) struct SpotNotice {
    /// `terminate`, `stop` or `hibernate`.
    pub(crate) action: String,
    /// When it happens.
    pub(crate) at: Timestamp,
}

/// What tests did to the machine behind the instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    /// A coming spot interruption.
    pub(crate) spot_notice: Option<SpotNotice>,
    /// When a rebalance recommendation was given.
    pub(crate) rebalance_at: Option<Timestamp>,
    /// Whether calls with the instance's credentials are refused.
    pub(crate) iam_revoked: bool,
    /// Whether the metadata service does not answer.
    pub(crate) imds_off: bool,
    /// How long the metadata service takes to answer.
    pub(crate) imds_delay: Duration,
}

/// An instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// Its id.
    pub(crate) id: String,
    /// Its place in the order of launches.
    pub(crate) seq: u64,
    /// The launch call it came from.
    pub(crate) reservation_id: String,
    /// Its number in that call.
    pub(crate) launch_index: usize,
    /// The client token of that call.
    pub(crate) client_token: String,
    /// The image.
    pub(crate) image_id: String,
    /// The type's name.
    pub(crate) instance_type: String,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: String,
    /// `Linux/UNIX` and the like.
    pub(crate) platform_details: String,
    /// The state.
    pub(crate) state: State,
    /// Grows with every state change, so that timed events of an older state do nothing.
    pub(crate) generation: u64,
    /// Why it is in this state.
    pub(crate) reason: Option<Reason>,
    /// The last launch or start.
    pub(crate) launch_time: Timestamp,
    /// The first launch: what list lag counts from.
    pub(crate) created_at: Timestamp,
    /// How often it has begun to run.
    pub(crate) boots: u32,
    /// The key pair.
    pub(crate) key_name: Option<String>,
    /// Where it is.
    pub(crate) placement: Placement,
    /// The subnet of its first interface.
    pub(crate) subnet_id: String,
    /// The VPC of that subnet.
    pub(crate) vpc_id: String,
    /// The private address of its first interface.
    pub(crate) private_ip: Ipv4Addr,
    /// The public address while it runs.
    pub(crate) public_ip: Option<Ipv4Addr>,
    /// Whether it gets a public address when it starts.
    pub(crate) wants_public_ip: bool,
    /// The security groups of its first interface.
    pub(crate) groups: Vec<String>,
    /// Its interfaces in device order.
    pub(crate) interfaces: Vec<String>,
    /// Its volumes.
    pub(crate) block_devices: Vec<BlockDevice>,
    /// The root device's name.
    pub(crate) root_device: String,
    /// User data as decoded from the launch request.
    pub(crate) user_data: Arc<[u8]>,
    /// Its instance profile.
    pub(crate) profile: Option<ProfileRef>,
    /// Its metadata options.
    pub(crate) metadata: MetadataOptions,
    /// `stop` or `terminate`.
    pub(crate) shutdown_behavior: String,
    /// Termination protection.
    pub(crate) disable_api_termination: bool,
    /// Stop protection.
    pub(crate) disable_api_stop: bool,
    /// Whether it may hibernate.
    pub(crate) hibernation: bool,
    /// Whether detailed monitoring is on.
    pub(crate) monitoring: bool,
    /// Whether it is EBS optimized.
    pub(crate) ebs_optimized: bool,
    /// Whether source and destination are checked.
    pub(crate) source_dest_check: bool,
    /// Whether it has a Nitro enclave.
    pub(crate) enclave: bool,
    /// Cores and threads per core.
    pub(crate) cpu: (i64, i64),
    /// The spot purchase, if it is one.
    pub(crate) spot: Option<Spot>,
    /// `open`, `none` or `capacity-reservations-only`.
    pub(crate) reservation_preference: String,
    /// The capacity reservation that was asked for.
    pub(crate) reservation_target: Option<String>,
    /// The capacity reservation it occupies.
    pub(crate) capacity_reservation: Option<String>,
    /// Its metadata service's own loopback address.
    pub(crate) imds_address: Ipv4Addr,
    /// What tests did to it.
    pub(crate) condition: Condition,
}

#[cfg(test)]
impl Instance {
    /// A plain instance for tests of the state machine.
    pub(crate) fn example(id: &str, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            seq: 1,
            reservation_id: "r-1".into(),
            launch_index: 0,
            client_token: String::new(),
            image_id: "ami-1".into(),
            instance_type: "t3.micro".into(),
            architecture: "x86_64".into(),
            platform_details: "Linux/UNIX".into(),
            state: State::Pending,
            generation: 0,
            reason: None,
            launch_time: now,
            created_at: now,
            boots: 0,
            key_name: None,
            placement: Placement::default(),
            subnet_id: String::new(),
            vpc_id: String::new(),
            private_ip: Ipv4Addr::LOCALHOST,
            public_ip: None,
            wants_public_ip: false,
            groups: Vec::new(),
            interfaces: Vec::new(),
            block_devices: Vec::new(),
            root_device: "/dev/xvda".into(),
            user_data: Arc::default(),
            profile: None,
            metadata: MetadataOptions {
                http_tokens: "required".into(),
                hop_limit: 1,
                http_endpoint: "enabled".into(),
                http_protocol_ipv6: "disabled".into(),
                instance_tags: "disabled".into(),
            },
            shutdown_behavior: "stop".into(),
            disable_api_termination: false,
            disable_api_stop: false,
            hibernation: false,
            monitoring: false,
            ebs_optimized: false,
            source_dest_check: true,
            enclave: false,
            cpu: (1, 1),
            spot: None,
            reservation_preference: "open".into(),
            reservation_target: None,
            capacity_reservation: None,
            imds_address: Ipv4Addr::LOCALHOST,
            condition: Condition::default(),
        }
    }
}
