//! `SporeSweep`: one instance for each row of parameters, a few at a time.
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
use serde_json::Value;
use spore_core::{duration::Duration, money::Usd};

use crate::{
    group::{FailurePolicy, GroupStatus, SuccessPolicy},
    schema,
};

/// A row of parameters: names to values of any type.
pub type Row = BTreeMap<String, Value>;

/// One ephemeral EC2 instance for each row of parameters, a few at a time.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spore.host",
    version = "v1alpha1",
    kind = "SporeSweep",
    namespaced,
    status = "GroupStatus",
    derive = "PartialEq",
    shortname = "spw",
    category = "spore",
    doc = "One ephemeral EC2 instance for each row of parameters, a few at a time.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Launched", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active"),
    printcolumn(name = "Succeeded", type_ = "integer", json_path = ".status.succeeded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(
        name = "Completion",
        type_ = "string",
        json_path = ".status.estimatedCompletion",
        description = "When it will be done if it goes on as before"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Cost",
        type_ = "string",
        json_path = ".status.cost.accrued",
        description = "Dollars that the members have cost, as of the last change of the status",
        priority = "1"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.template) == has(oldSelf.template) && (!has(self.template) || self.template == oldSelf.template)").message("template is fixed: delete this sweep and create another").field_path(".template"),
    validation = Rule::new("!has(self.template) || !has(self.template.member)").message("member is set by the sweep itself").field_path(".template"),
    validation = Rule::new("!has(self.template) || !has(self.template.extendTo)").message("write extendTo beside template: it moves the deadline of all members").field_path(".template"),
    validation = Rule::new("!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)").message("a cancelled sweep cannot be resumed: create another, or use suspend").field_path(".cancel")
)]
pub struct SporeSweepSpec {
    /// What every member is, as far as its row does not say otherwise. May be left out if `defaults`
    /// and rows say all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::partial_template")]
    pub template: Option<Row>,

    /// Values for every row that does not name them itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::row")]
    pub defaults: Row,

    /// One row for each member. A key that names a field of an instance, such as `instanceType` or
    /// `instance_type`, sets that field; every other key is a parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::rows")]
    pub params: Vec<Row>,

    /// Names with lists of values: one further row for each combination, the last name varying
    /// fastest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::grid")]
    pub grid: BTreeMap<String, Vec<Value>>,

    /// Further rows from a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_from: Option<ParamsFrom>,

    /// How many members may be active at once.
    #[serde(default = "default_parallelism")]
    #[schemars(schema_with = "schema::positive")]
    pub parallelism: u32,

    /// How many members may be active at once in each region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive")]
    pub parallelism_per_region: Option<u32>,

    /// The least time between the launches of two members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub launch_interval: Option<Duration>,

    /// Launches no more members for as long as it is true; those that run go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// Ends the sweep: no more members are launched and those that run are terminated. Their results
    /// stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,

    /// How long the whole sweep may take, from its first launch on. At the end every member is
    /// terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub deadline: Option<Duration>,

    /// The most that all members together may cost, in dollars, such as `250` or `0.50`. No member
    /// is launched that could pass it, and none while a price is not known; when the cost has
    /// reached it, every member is ended. Disks, addresses and traffic do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::budget")]
    pub budget: Option<Usd>,

    /// Moves the deadline of every member to this moment if it is later than the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub extend_to: Option<Timestamp>,

    /// What follows when a member ends without success. Left out: the others go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,

    /// When the sweep counts as succeeded. Left out: when every row has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_policy: Option<SuccessPolicy>,

    /// Number that is raised to launch all failed rows once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub retry_failed: Option<u32>,

    /// How many succeeded members are kept as objects. The results of all are kept anyway.
    #[serde(default = "default_history")]
    #[schemars(schema_with = "schema::count")]
    pub successful_history_limit: u32,

    /// How many failed members are kept as objects.
    #[serde(default = "default_history")]
    #[schemars(schema_with = "schema::count")]
    pub failed_history_limit: u32,
}

/// Rows in a ConfigMap of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ParamsFrom {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub config_map: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// How the rows are written. Left out: by the ending of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<RowFormat>,
}

/// How rows are written.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum RowFormat {
    /// A JSON list of rows, or an object with `defaults`, `params` and `grid`.
    JSON,
    /// The same in YAML.
    YAML,
    /// A line of names, then a line a row; an empty cell is absent.
    CSV,
}

/// How many members may be active at once if nothing is said.
#[must_use]
pub const fn default_parallelism() -> u32 {
    10
}

/// How many ended members are kept if nothing is said.
#[must_use]
pub const fn default_history() -> u32 {
    10
}
