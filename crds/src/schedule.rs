//! `SporeSchedule`: an instance, an array or a sweep at set times.
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
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spore_core::duration::Duration;

use crate::{schema, sweep::Row};

/// The longest name of a schedule: what it creates has its name and a time, and labels hold 63.
pub const LONGEST_NAME: usize = 52;

/// An instance, an array or a sweep at set times: again and again, or once.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spore.host",
    version = "v1alpha1",
    kind = "SporeSchedule",
    namespaced,
    status = "ScheduleStatus",
    derive = "PartialEq",
    shortname = "spsch",
    category = "spore",
    doc = "An instance, an array or a sweep at set times: again and again, or once.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "At", type_ = "string", json_path = ".spec.at"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.activeCount"),
    printcolumn(
        name = "Executions",
        type_ = "integer",
        json_path = ".status.executions"
    ),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastScheduleTime"),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.nextScheduleTime"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
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
    validation = Rule::new("has(self.schedule) != has(self.at)").message("write either schedule, for again and again, or at, for once")
)]
pub struct SporeScheduleSpec {
    /// When, again and again: minute, hour, day of month, month and day of week, as in cron, or one of
    /// `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cron")]
    pub schedule: Option<String>,

    /// When, once: a moment in RFC 3339 such as `2026-12-01T08:00:00+01:00`, or without an offset a
    /// time on the clocks of `timeZone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::local_moment")]
    pub at: Option<String>,

    /// The time zone in which `schedule` and `at` are read, by its IANA name. A time that its clocks
    /// skip is due at the next moment that they show; a time that they show twice is due once.
    #[serde(default = "default_time_zone")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_+/-]+$"), length(min = 1, max = 64))]
    pub time_zone: String,

    /// How late an execution may start if it could not start in time. Left out: however late. Of
    /// several that were missed, only the latest is made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub starting_deadline: Option<Duration>,

    /// What happens when an execution is due while an earlier one is active.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,

    /// Starts nothing for as long as it is true; what runs goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// How many executions there are in all. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive")]
    pub max_executions: Option<u32>,

    /// No execution is due after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub end_after: Option<Timestamp>,

    /// How many succeeded executions are kept as objects.
    #[serde(default = "default_successful_history")]
    #[schemars(schema_with = "schema::history")]
    pub successful_history_limit: u32,

    /// How many failed executions are kept as objects.
    #[serde(default = "default_failed_history")]
    #[schemars(schema_with = "schema::history")]
    pub failed_history_limit: u32,

    /// What is created each time.
    pub template: Template,
}

/// What is created each time: one of the three.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.instance), has(self.array), has(self.sweep)].filter(given, given).size() == 1").message("write exactly one of instance, array and sweep"),
    validation = Rule::new("!has(self.instance) || !has(self.instance.member)").message("member is set by arrays and sweeps").field_path(".instance")
)]
pub struct Template {
    /// Labels and annotations of what is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The spec of a `SporeInstance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instance_template")]
    pub instance: Option<Row>,
    /// The spec of a `SporeArray`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::array_template")]
    pub array: Option<Row>,
    /// The spec of a `SporeSweep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sweep_template")]
    pub sweep: Option<Row>,
}

/// Labels and annotations of what is created.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// What happens when an execution is due while an earlier one is active.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum ConcurrencyPolicy {
    /// It starts beside it.
    #[default]
    Allow,
    /// It waits, for as long as `startingDeadline` admits and no later one is due.
    Forbid,
    /// The earlier one is deleted, and it starts when nothing is left of that.
    Replace,
}

/// How a schedule stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ScheduleState>,
    /// Ready, Reconciling and Stalled.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The latest executions that are active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub active: Vec<ActiveExecution>,
    /// How many executions are active.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub active_count: u32,
    /// How many executions were started, ever.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub executions: u32,
    /// The time for which an execution was decided last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Timestamp>,
    /// When an execution succeeded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Timestamp>,
    /// When the next execution is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// The execution that is decided and not created yet, written before it is created and created
    /// under the same name after any crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting: Option<Starting>,
    /// The latest executions, oldest first. They stay when the objects are deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<Execution>,
}

/// One word for where a schedule is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum ScheduleState {
    /// There is a next execution.
    Active,
    /// Nothing is started until it is resumed.
    Suspended,
    /// Nothing is started any more.
    Finished,
    /// It cannot go on as declared; the condition Stalled says why.
    Stalled,
}

/// An execution that is active.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ActiveExecution {
    /// SporeInstance, SporeArray or SporeSweep.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// An execution that is decided and not created yet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Starting {
    /// The time for which it is.
    pub time: Timestamp,
    /// The name of what is created.
    pub name: String,
    /// Why it could not be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// When that is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// An execution, or one that was due and did not start.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// The time for which it was.
    pub time: Timestamp,
    /// The name of what was created. Absent: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it stands.
    pub outcome: Outcome,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How an execution stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum Outcome {
    /// It is active.
    Active,
    /// It has succeeded.
    Succeeded,
    /// It has ended without success.
    Failed,
    /// It was deleted before it had ended.
    Deleted,
    /// It was due and did not start.
    Missed,
}

fn default_time_zone() -> String {
    "UTC".into()
}

/// How many succeeded executions are kept if nothing is said.
#[must_use]
pub const fn default_successful_history() -> u32 {
    3
}

/// How many failed executions are kept if nothing is said.
#[must_use]
pub const fn default_failed_history() -> u32 {
    1
}
