//! `SporeResults`: how the rows of a sweep ended, kept when their members are not.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of a table repeat their attributes"
)]
#![expect(
    unreachable_pub,
    reason = "the schema derive copies the type into a function body"
)]

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use spore_core::money::Usd;

use crate::schema;

/// How many rows one object holds.
pub const ROWS_PER_OBJECT: u32 = 1_000;

/// How up to 1,000 rows of a sweep ended. Written by the controller, read with
/// `kubectl spawn sweep status`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "spore.host",
    version = "v1alpha1",
    kind = "SporeResults",
    plural = "sporeresults",
    namespaced,
    derive = "PartialEq",
    shortname = "spres",
    doc = "How up to 1,000 rows of a sweep ended. Written by the controller.",
    printcolumn(name = "Sweep", type_ = "string", json_path = ".spec.sweep"),
    printcolumn(name = "First", type_ = "integer", json_path = ".spec.first"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".spec.count")
)]
#[serde(rename_all = "camelCase")]
pub struct SporeResultsSpec {
    /// Name of the sweep.
    pub sweep: String,
    /// Index of the first row that may be in here.
    #[schemars(schema_with = "schema::count")]
    pub first: u32,
    /// How many rows are in here.
    #[schemars(schema_with = "schema::count")]
    pub count: u32,
    /// One JSON object a line for each row, compressed with gzip, in base64.
    pub data: String,
}

/// How one row ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RowResult {
    /// Index of the row.
    pub index: u32,
    /// The row's own name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How often it was launched.
    pub attempts: u32,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Why it ended.
    pub reason: String,
    /// Exit code of the workload; absent if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the workload said of its result, or a sentence on its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The instance of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// When the workload, or else the instance, began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the workload, or else the instance, ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What its last instance cost, in dollars. Absent: the price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// Where the workload said that its result lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}
