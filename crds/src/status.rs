//! What the controller tells of a spore.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cost, Market, Price};

/// What is known of a spore. Fields that are absent are not known.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SporeInstanceStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// One word for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,

    /// Ready, Reconciling, Stalled, Launched, AgentReady and Succeeded.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// How many launch attempts were begun.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub attempts: u32,

    /// The launch as decided, written before EC2 is asked and replayed as it is after any crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,

    /// When a launch that could not be made is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,

    /// The instance as EC2 describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceStatus>,

    /// When the instance is gone at the latest. Only ever moves later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,

    /// The workload as the agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadStatus>,

    /// Since when the instance does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Timestamp>,

    /// The agent on the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,

    /// What the instance costs by the hour. Absent: nobody was asked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,

    /// What the instance has cost. Written whenever something else is, and exact once it has ended.
    /// Absent: the price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,

    /// Why and when the spore ended. A spore that has ended is never launched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// One word for where a spore is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum State {
    /// Nothing was asked of EC2 yet.
    Pending,
    /// EC2 was asked, or is about to be.
    Launching,
    /// The instance runs, its agent has not reported yet.
    Booting,
    /// The instance runs and its agent reports.
    Running,
    /// The instance is being stopped.
    Stopping,
    /// The instance is stopped; its disks cost until the deadline.
    Stopped,
    /// The instance is being terminated.
    Terminating,
    /// The instance is gone and its work succeeded.
    Succeeded,
    /// The instance is gone and its work failed.
    Failed,
    /// The instance is gone; its work had not ended.
    Ended,
    /// The launch cannot succeed as declared; the condition Stalled says why.
    Stalled,
}

/// A launch as decided: everything that RunInstances is called with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Number of the attempt, from 1.
    #[schemars(schema_with = "crate::schema::count")]
    pub attempt: u32,
    /// The ClientToken: EC2 launches at most once for it.
    pub token: String,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// The deadline, the same in every copy.
    pub deadline: Timestamp,
    /// What RunInstances is called with.
    pub plan: LaunchPlan,
    /// The instance that EC2 gave. Absent: not known yet whether there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
}

/// What RunInstances is called with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LaunchPlan {
    /// The region.
    pub region: String,
    /// The instance type.
    pub instance_type: String,
    /// The machine image, resolved.
    pub image_id: String,
    /// Device name of the root volume, from the image.
    pub root_device: String,
    /// How it is paid for.
    pub market: Market,
    /// The zone, if the launch is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The subnet, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<String>,
    /// The security groups, if any were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub security_group_ids: Vec<String>,
    /// The key pair, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Name of the instance profile that lets the agent act on its own instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<String>,
    /// Every tag, for instance, volumes and network interfaces.
    pub tags: BTreeMap<String, String>,
    /// SHA-256 of the user data, in hexadecimal.
    pub user_data_sha256: String,
    /// The user data as EC2 takes it (compressed, base64), kept until the launch is certain so that a
    /// replay is the same to the byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
}

/// An instance as EC2 describes it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its id.
    pub id: String,
    /// Its state in EC2's words: pending, running, stopping, stopped, shutting-down, terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Its region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Its address in the VPC.
    #[serde(rename = "privateIP", default, skip_serializing_if = "Option::is_none")]
    pub private_ip: Option<String>,
    /// Its public address.
    #[serde(rename = "publicIP", default, skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<String>,
    /// When EC2 launched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Timestamp>,
}

/// The workload as the agent reports it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// None (no command), Running, Succeeded, Failed or Interrupted (stopped before it was done).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Exit code; 128 plus the signal's number if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What it said of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// The agent on the instance.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it last wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// The deadline for which it and the instance's power-off timer are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed_deadline: Option<Timestamp>,
}

/// Why and when a spore ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// SpotInterruption, Completed, TTLExpired, CostLimit, Idle, UserRequested, EndedOutside,
    /// PoweredOff or HostFailure.
    pub reason: String,
    /// When it was decided, or else first seen.
    pub at: Timestamp,
    /// A sentence for people.
    pub message: String,
}
