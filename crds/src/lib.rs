//! The `spore.host/v1alpha1` API: what users write and what they read back.
//!
//! One file a kind. The YAML in this crate's directory is generated from these types by
//! `make crds`; a test fails when it is stale. Doc comments here are what `kubectl explain` prints.

pub mod conditions;
pub mod crd;
pub mod instance;
mod schema;
pub mod status;

pub use instance::{IdleSpec, Market, OnCompleteSpec, SporeInstance, SporeInstanceSpec};
pub use status::{
    AgentStatus, Ended, InstanceStatus, Launch, LaunchPlan, SporeInstanceStatus, State,
    WorkloadStatus,
};

/// API group of every kind.
pub const GROUP: &str = "spore.host";
/// Set on a spore before anything is asked of AWS; removed when EC2 says that nothing is left.
pub const FINALIZER: &str = "spore.host/ec2";
