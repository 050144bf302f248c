//! What arrays and sweeps share: members by index, policies on their ends, and how they stand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spore_core::indexes::IndexSet;

use crate::{
    GroupCost,
    status::{Ended, LaunchPlan},
};

/// What follows when a member ends without success.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicy {
    /// Looked at in order; the first that matches decides. None matches: the member has failed and
    /// the others go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<FailureRule>,

    /// Ends everything when fewer members than this can still succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::positive")]
    pub quorum: Option<u32>,

    /// How often one index may be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::count")]
    pub backoff_limit_per_index: Option<u32>,

    /// How many replacements there may be in all; one more ends everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::count")]
    pub backoff_limit: Option<u32>,
}

/// What follows an end of a certain kind.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailureRule {
    /// Reasons of the end, any of which matches. Left out: any reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 12), extend("x-kubernetes-list-type" = "set"))]
    pub on_reasons: Vec<FailureReason>,
    /// Exit codes of the workload, any of which matches. Left out: any end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 255), extend("x-kubernetes-list-type" = "set"))]
    pub on_exit_codes: Vec<i32>,
    /// What is done.
    pub action: FailureAction,
}

/// What is done about a member that ended without success.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum FailureAction {
    /// It has failed; the others go on.
    #[default]
    Continue,
    /// Its index is launched again, after a pause that grows, within the back-off limits.
    Replace,
    /// Everything ends.
    TerminateAll,
}

/// Why a member ended without success.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[schemars(inline)]
pub enum FailureReason {
    /// The workload exited with a code other than 0, or said that it failed.
    WorkloadFailed,
    /// EC2 took a Spot instance back.
    SpotInterruption,
    /// EC2 ended the instance because of a failure on its side.
    HostFailure,
    /// The instance was shut down from inside before its work was done.
    PoweredOff,
    /// Something other than Spore ended the instance.
    EndedOutside,
    /// The member was deleted.
    UserRequested,
    /// The deadline passed before the work was done.
    TTLExpired,
    /// The instance did nothing for the idle timeout before its work was done.
    Idle,
    /// The instance cost what it was allowed to before its work was done.
    CostLimit,
    /// The agent did not report in the time that a boot may take.
    BootTimeout,
    /// EC2 refused to launch it as declared.
    LaunchRefused,
}

impl FailureReason {
    /// The word used in status and Events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkloadFailed => "WorkloadFailed",
            Self::SpotInterruption => "SpotInterruption",
            Self::HostFailure => "HostFailure",
            Self::PoweredOff => "PoweredOff",
            Self::EndedOutside => "EndedOutside",
            Self::UserRequested => "UserRequested",
            Self::TTLExpired => "TTLExpired",
            Self::Idle => "Idle",
            Self::CostLimit => "CostLimit",
            Self::BootTimeout => "BootTimeout",
            Self::LaunchRefused => "LaunchRefused",
        }
    }
}

/// When everything counts as succeeded before every member has. What still runs is then ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SuccessPolicy {
    /// The indexes that count, as in `0,3-5`. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::indexes")]
    pub succeeded_indexes: Option<IndexSet>,
    /// How many of them must succeed: 1 for any. Left out: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::positive")]
    pub succeeded_count: Option<u32>,
}

/// How an array or a sweep stands. Counters and index ranges, never a list of members: its size is
/// that of its gaps.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<GroupState>,
    /// Ready, Reconciling, Stalled, Launched, PeersPublished and Succeeded.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// How many members are declared.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub replicas: u32,
    /// Selects the members, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Launched of all, as people read it: `20/50 (40%)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// How many indexes were launched at least once.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub launched: u32,
    /// How many members are being launched or have an instance that is not gone.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub active: u32,
    /// How many members run with an agent that reports.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub ready: u32,
    /// How many indexes have succeeded.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub succeeded: u32,
    /// How many indexes have failed for good.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub failed: u32,
    /// How many replacements were made.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub retried: u32,
    /// How often all failed members were launched once more.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "crate::schema::count")]
    pub retries_of_failed: u32,
    /// The indexes that are active.
    #[serde(default, skip_serializing_if = "IndexSet::is_empty")]
    #[schemars(with = "String")]
    pub active_indexes: IndexSet,
    /// The indexes that have succeeded.
    #[serde(default, skip_serializing_if = "IndexSet::is_empty")]
    #[schemars(with = "String")]
    pub succeeded_indexes: IndexSet,
    /// The indexes that have failed for good.
    #[serde(default, skip_serializing_if = "IndexSet::is_empty")]
    #[schemars(with = "String")]
    pub failed_indexes: IndexSet,
    /// How many ends there were for each reason other than success.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, i32>,
    /// The latest failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<Failure>,

    /// The first index that was never launched.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "crate::schema::count")]
    pub next: u32,
    /// Indexes at their second or a later attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub attempts: Vec<Attempt>,
    /// Indexes with attempts that replaced no failure and so do not count against the limits: what
    /// was released, withdrawn, or launched once more on request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub uncounted: Vec<Uncounted>,
    /// Indexes that wait to be launched again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub retries: Vec<Retry>,
    /// How many launch calls were decided, ever: the next one's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "crate::schema::count")]
    pub batches_decided: u32,
    /// Launch calls whose members do not all exist yet, written before EC2 is asked and replayed as
    /// they are after any crash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub batches: Vec<Batch>,
    /// When a launch that could not be made is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// How many launch calls in a row were refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "crate::schema::count")]
    pub refusals: u32,
    /// When a launch was decided last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_launch_at: Option<Timestamp>,
    /// The zone in which all members are, or are tried to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Zones in which they could not be had in this round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub zones_tried: Vec<String>,
    /// Whether as many members as must be had together were had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub formed: bool,
    /// Whether what came is being released, because the rest could not be had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub releasing: bool,
    /// Digest of the rows that were launched: they may not change any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<String>,
    /// Version of the addresses that were told to the members; 0: none yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "crate::schema::count")]
    pub peers_version: u32,
    /// Digest of the addresses that were told to the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers_digest: Option<String>,

    /// When the first launch was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the last member is gone at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When nothing of it was left to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it will be done if it goes on as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion: Option<Timestamp>,
    /// What the members cost. Absent: nothing was launched yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<GroupCost>,
    /// Seconds that the instances of ended members existed.
    #[serde(default)]
    pub instance_seconds: i64,
    /// Why and when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One word for where an array or a sweep is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum GroupState {
    /// Nothing was asked of EC2 yet.
    Pending,
    /// Members are being launched.
    Launching,
    /// All members that may run at once do.
    Running,
    /// No more members are launched until it is resumed.
    Suspended,
    /// What came is released, because the rest could not be had.
    Releasing,
    /// It is decided how it ends; its instances are going.
    Ending,
    /// It is done and has succeeded.
    Succeeded,
    /// It is done and has failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It cannot go on as declared; the condition Stalled says why.
    Stalled,
    /// It is being deleted.
    Terminating,
}

/// One launch call.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Its number among all launch calls of this object.
    #[schemars(schema_with = "crate::schema::count")]
    pub number: u32,
    /// Which attempt it is at each of its indexes.
    #[schemars(schema_with = "crate::schema::count")]
    pub attempt: u32,
    /// The members, in the order of the launch index.
    #[schemars(with = "String")]
    pub members: IndexSet,
    /// The fewest instances with which the call succeeds.
    #[schemars(schema_with = "crate::schema::count")]
    pub min_count: u32,
    /// The ClientToken.
    pub token: String,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// The deadline of all of them.
    pub deadline: Timestamp,
    /// What RunInstances is called with.
    pub plan: LaunchPlan,
    /// How many instances EC2 gave. Absent: not known yet whether there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::count")]
    pub placed: Option<u32>,
}

/// Indexes at the same attempt.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which attempt, from 2.
    #[schemars(schema_with = "crate::schema::count")]
    pub attempt: u32,
    /// The indexes.
    #[schemars(with = "String")]
    pub indexes: IndexSet,
}

/// Indexes with the same number of attempts that do not count.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Uncounted {
    /// How many.
    #[schemars(schema_with = "crate::schema::count")]
    pub attempts: u32,
    /// The indexes.
    #[schemars(with = "String")]
    pub indexes: IndexSet,
}

/// Indexes that are launched again at the same moment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// When, at the earliest.
    pub at: Timestamp,
    /// The indexes.
    #[schemars(with = "String")]
    pub indexes: IndexSet,
}

/// A member that ended without success.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its index.
    #[schemars(schema_with = "crate::schema::count")]
    pub index: u32,
    /// Which attempt it was.
    #[schemars(schema_with = "crate::schema::count")]
    pub attempt: u32,
    /// Why it ended.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When.
    pub at: Timestamp,
}
