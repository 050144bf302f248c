//! `SporeInstance`: one ephemeral EC2 instance.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of a table repeat their attributes"
)]
#![expect(
    unreachable_pub,
    reason = "the schema derive copies the type into a function body"
)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spore_core::{duration::Duration, lifecycle::Action};

use crate::{schema, status::SporeInstanceStatus};

/// One ephemeral EC2 instance: launched once, watched, and gone by its deadline.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spore.host",
    version = "v1alpha1",
    kind = "SporeInstance",
    namespaced,
    status = "SporeInstanceStatus",
    derive = "PartialEq",
    shortname = "spi",
    category = "spore",
    doc = "One ephemeral EC2 instance: launched once, watched, and gone by its deadline.",
    selectable = ".spec.region",
    selectable = ".status.instance.id",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.instanceType"),
    printcolumn(name = "Market", type_ = "string", json_path = ".spec.market"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".status.instance.zone"),
    printcolumn(
        name = "Workload",
        type_ = "string",
        json_path = ".status.workload.phase"
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.deadline",
        description = "When the instance is gone at the latest"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Instance",
        type_ = "string",
        json_path = ".status.instance.id",
        priority = "1"
    ),
    printcolumn(
        name = "IP",
        type_ = "string",
        json_path = ".status.instance.publicIP",
        priority = "1"
    ),
    printcolumn(
        name = "AMI",
        type_ = "string",
        json_path = ".status.instance.imageId",
        priority = "1"
    ),
    printcolumn(
        name = "Cost",
        type_ = "string",
        json_path = ".status.cost.accrued",
        description = "Dollars that the instance has cost, as of the last change of its status",
        priority = "1"
    ),
    printcolumn(
        name = "Ended",
        type_ = "string",
        json_path = ".status.ended.reason",
        priority = "1"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = "1"
    ),
    printcolumn(
        name = "Index",
        type_ = "integer",
        json_path = ".spec.member.index",
        description = "Which member of its array or sweep it is",
        priority = "1"
    ),
    printcolumn(
        name = "Deleting",
        type_ = "date",
        json_path = ".metadata.deletionTimestamp",
        description = "For how long it is being deleted",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.market) || self.market != 'Spot' || !has(self.idle) || self.idle.action != 'Stop'").message("a Spot instance cannot be stopped, only terminated: set idle.action to Terminate or market to OnDemand").field_path(".idle"),
    validation = Rule::new("!has(self.market) || self.market != 'Spot' || !has(self.onComplete) || self.onComplete.action != 'Stop'").message("a Spot instance cannot be stopped, only terminated: set onComplete.action to Terminate or market to OnDemand").field_path(".onComplete"),
    validation = Rule::new("has(self.member) == has(oldSelf.member) && (!has(self.member) || self.member == oldSelf.member)").message("member is set by the array or sweep and never changes").field_path(".member")
)]
pub struct SporeInstanceSpec {
    /// The EC2 instance type, such as `m7i.large` or `g5.xlarge`.
    #[schemars(regex(pattern = "^[a-z0-9-]+\\.[a-z0-9-]+$"), length(max = 64))]
    pub instance_type: String,

    /// The AWS region. Left out: the controller's default region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]+$"), length(max = 32))]
    pub region: Option<String>,

    /// The machine image. Left out: the newest Amazon Linux 2023 for the type's architecture, with
    /// NVIDIA drivers where the type has NVIDIA GPUs; resolved once and pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^ami-([0-9a-f]{8}|[0-9a-f]{17})$"))]
    pub image_id: Option<String>,

    /// How long the instance may live, from the launch on: `30m`, `8h`, `1d12h`. At the deadline it
    /// is terminated, whatever it does. Left out: the controller's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub ttl: Option<Duration>,

    /// Moves the deadline to this moment if it is later than the present one. Meant to be written by
    /// `kubectl spawn extend`, beside whatever manages the rest of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub extend_to: Option<Timestamp>,

    /// Ends an instance that does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleSpec>,

    /// What follows when the workload is done.
    #[serde(default)]
    pub on_complete: OnCompleteSpec,

    /// How the instance is paid for.
    #[serde(default)]
    pub market: Market,

    /// The subnet to launch in. Left out: a default subnet of the region's default VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^subnet-([0-9a-f]{8}|[0-9a-f]{17})$"))]
    pub subnet_id: Option<String>,

    /// Security groups of the instance. Left out: the VPC's default group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::security_group_ids")]
    pub security_group_ids: Vec<String>,

    /// Name of an EC2 key pair for SSH. Left out: no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub key_name: Option<String>,

    /// The workload: a program and its arguments, run as they are, without a shell. Its exit status
    /// decides between success and failure. Left out: the work is done when the file
    /// `/tmp/SPAWN_COMPLETE` appears or `spored complete` is called. Not for secrets: it can be read
    /// by whoever may describe the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::command")]
    pub command: Vec<String>,

    /// Environment of the workload. Not for secrets: it can be read by whoever may describe the
    /// instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::env")]
    pub env: BTreeMap<String, String>,

    /// Name of an instance profile whose role the workload may use. The operator of the controller
    /// allows profiles by name. Left out: the agent's own profile, which can do nothing but end the
    /// instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9+=,.@_-]+$"), length(max = 128))]
    pub instance_profile: Option<String>,

    /// What this spore is in its array or sweep, which sets it; not for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,

    /// Further tags for the instance, its volumes and network interfaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::tags")]
    pub tags: BTreeMap<String, String>,
}

/// What a spore is in the array or sweep that controls it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its index, from 0.
    #[schemars(schema_with = "schema::count")]
    pub index: u32,
    /// Which attempt at this index it is, from 1.
    #[schemars(schema_with = "schema::count")]
    pub attempt: u32,
}

/// Ends an instance that does nothing: CPU, network and disks all below their thresholds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdleSpec {
    /// How long the instance must have done nothing.
    #[schemars(schema_with = "schema::positive_duration")]
    pub timeout: Duration,
    /// What is done then.
    #[serde(default)]
    #[schemars(schema_with = "schema::action")]
    pub action: Action,
}

/// What follows when the workload is done.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OnCompleteSpec {
    /// What is done to the instance.
    #[serde(default)]
    #[schemars(schema_with = "schema::action")]
    pub action: Action,
    /// How long after completion, so that the last output can still be saved.
    #[serde(default = "default_completion_delay")]
    #[schemars(schema_with = "schema::duration")]
    pub delay: Duration,
}

impl Default for OnCompleteSpec {
    fn default() -> Self {
        Self {
            action: Action::default(),
            delay: default_completion_delay(),
        }
    }
}

/// The delay after completion if none is given: 30 seconds.
#[must_use]
pub const fn default_completion_delay() -> Duration {
    Duration::from_secs(30)
}

/// How an instance is paid for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum Market {
    /// At the list price, for as long as needed.
    #[default]
    OnDemand,
    /// At the Spot price; EC2 may take it back with two minutes' notice.
    Spot,
}
