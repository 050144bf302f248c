//! The `spore.host/v1alpha1` API: what users write and what they read back.
//!
//! One file a kind. The YAML in this crate's directory is generated from these types by
//! `make crds`; a test fails when it is stale. Doc comments here are what `kubectl explain` prints.

pub mod array;
pub mod conditions;
pub mod crd;
pub mod group;
pub mod instance;
pub mod money;
pub mod results;
pub mod rows;
pub mod schedule;
mod schema;
pub mod status;
pub mod sweep;

pub use array::{Peers, SporeArray, SporeArraySpec};
pub use group::{
    Attempt, Batch, Failure, FailureAction, FailurePolicy, FailureReason, FailureRule, GroupState,
    GroupStatus, Retry, SuccessPolicy, Uncounted,
};
pub use instance::{IdleSpec, Market, Member, OnCompleteSpec, SporeInstance, SporeInstanceSpec};
pub use money::{Cost, GroupCost, Price};
pub use results::{RowResult, SporeResults, SporeResultsSpec};
pub use schedule::{
    ActiveExecution, ConcurrencyPolicy, Execution, Outcome, ScheduleState, ScheduleStatus,
    SporeSchedule, SporeScheduleSpec, Starting, Template, TemplateMetadata,
};
pub use status::{
    AgentStatus, Ended, InstanceStatus, Launch, LaunchPlan, SporeInstanceStatus, State,
    WorkloadStatus,
};
pub use sweep::{ParamsFrom, Row, RowFormat, SporeSweep, SporeSweepSpec};

/// API group of every kind.
pub const GROUP: &str = "spore.host";
/// Set on a spore before anything is asked of AWS; removed when EC2 says that nothing is left.
pub const FINALIZER: &str = "spore.host/ec2";
/// Label on every member: the name of its array.
pub const ARRAY_LABEL: &str = "spore.host/array";
/// Label on every member: the name of its sweep.
pub const SWEEP_LABEL: &str = "spore.host/sweep";
/// Label on every execution: the name of its schedule.
pub const SCHEDULE_LABEL: &str = "spore.host/schedule";
/// Annotation on every execution: the time for which it is.
pub const SCHEDULED_AT: &str = "spore.host/scheduled-at";
/// Label on every member: its index.
pub const INDEX_LABEL: &str = "spore.host/index";
