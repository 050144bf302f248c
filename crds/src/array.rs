//! `SporeArray`: N instances of one template, each with an index.
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
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spore_core::money::Usd;

use crate::{
    group::{FailurePolicy, GroupStatus, SuccessPolicy},
    instance::SporeInstanceSpec,
    schema,
};

/// N ephemeral EC2 instances of one template, each with an index from 0.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spore.host",
    version = "v1alpha1",
    kind = "SporeArray",
    namespaced,
    status = "GroupStatus",
    derive = "PartialEq",
    shortname = "spa",
    category = "spore",
    doc = "N ephemeral EC2 instances of one template, each with an index from 0.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Size", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Launched", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Up", type_ = "integer", json_path = ".status.ready"),
    printcolumn(name = "Succeeded", type_ = "integer", json_path = ".status.succeeded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.deadline",
        description = "When the last instance is gone at the latest"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.template.instanceType",
        priority = "1"
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
    validation = Rule::new("self.template == oldSelf.template").message("template is fixed: delete this array and create another").field_path(".template"),
    validation = Rule::new("!has(self.template.member)").message("member is set by the array itself").field_path(".template"),
    validation = Rule::new("!has(self.template.extendTo)").message("write extendTo beside template: it moves the deadline of all members").field_path(".template"),
    validation = Rule::new("!has(self.minAvailable) || self.minAvailable <= self.replicas").message("minAvailable is more than replicas: no launch could ever satisfy it").field_path(".minAvailable")
)]
pub struct SporeArraySpec {
    /// How many members there are; their indexes are 0 to this less one. May be changed at any time:
    /// members are added and taken away at the end.
    #[schemars(schema_with = "schema::replicas")]
    pub replicas: u32,

    /// What every member is.
    pub template: SporeInstanceSpec,

    /// Moves the deadline of every member to this moment if it is later than the present one. Meant
    /// to be written by `kubectl spawn extend`, beside whatever manages the rest of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub extend_to: Option<Timestamp>,

    /// How many members must be had together. While so many cannot, those that came are released,
    /// and the whole is tried in another zone. Left out: each member is had for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive")]
    pub min_available: Option<u32>,

    /// Zones to try in this order, if members must be had together. Left out: the zones of the region
    /// that offer the instance type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 32), regex(pattern = "^[a-z0-9-]+$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub zones: Vec<String>,

    /// What follows when a member ends without success. Left out: the others go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,

    /// When the array counts as succeeded. Left out: when every member has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_policy: Option<SuccessPolicy>,

    /// The most that all members together may cost, in dollars, such as `250` or `0.50`. No member
    /// is launched that could pass it, and none while a price is not known; when the cost has
    /// reached it, every member is ended. Disks, addresses and traffic do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::budget")]
    pub budget: Option<Usd>,

    /// Whether the members are told each other's addresses once all of them run.
    #[serde(default)]
    pub peers: Peers,
}

/// Whether members are told each other's addresses.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum Peers {
    /// They are, through their tags, as far as an instance's tags hold them.
    #[default]
    Enabled,
    /// They are not.
    Disabled,
}
