//! What a schedule creates, and how it reads what became of it.

use jiff::Timestamp;
use kube::{
    Resource as _, ResourceExt as _,
    api::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use spore_crds::{
    SCHEDULE_LABEL, SCHEDULED_AT, SporeArray, SporeInstance, SporeSchedule, SporeSweep, sweep::Row,
};

/// The kinds that a schedule can create.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A `SporeInstance`.
    Instance,
    /// A `SporeArray`.
    Array,
    /// A `SporeSweep`.
    Sweep,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Instance, Self::Array, Self::Sweep];

    /// What Kubernetes calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "SporeInstance",
            Self::Array => "SporeArray",
            Self::Sweep => "SporeSweep",
        }
    }

    /// How it is addressed.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Instance => ApiResource::erase::<SporeInstance>(&()),
            Self::Array => ApiResource::erase::<SporeArray>(&()),
            Self::Sweep => ApiResource::erase::<SporeSweep>(&()),
        }
    }
}

/// One execution, as an object in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The time for which it is.
    pub scheduled: Timestamp,
    /// Whether its deletion is under way.
    pub deleting: bool,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether it succeeded.
    pub succeeded: bool,
    /// When, as far as it is known.
    pub at: Option<Timestamp>,
    /// A sentence for people.
    pub message: Option<String>,
}

impl Child {
    /// Reads an object. `None` if the schedule of this UID did not create it.
    ///
    /// Nothing of it is taken for granted but its metadata, so that an object which nobody can read
    /// is an active execution and not an error.
    #[must_use]
    pub fn read(kind: Kind, object: &DynamicObject, schedule: &str) -> Option<Self> {
        object
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true) && owner.uid == schedule)?;
        let created = object.creation_timestamp().map(|created| created.0);
        let scheduled = object
            .annotations()
            .get(SCHEDULED_AT)
            .and_then(|at| at.parse().ok());
        Some(Self {
            kind,
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            scheduled: scheduled.or(created)?,
            deleting: object.metadata.deletion_timestamp.is_some(),
            end: end(&object.data["status"]),
        })
    }
}

/// How an instance, an array or a sweep ended: when nothing of it is left in EC2.
#[must_use]
pub fn end(status: &Value) -> Option<End> {
    // Words of `State` and of `GroupState`.
    let succeeded = match status["state"].as_str()? {
        "Succeeded" => true,
        "Failed" | "Ended" | "Cancelled" => false,
        _ => return None,
    };
    let conditions = status["conditions"].as_array();
    let told = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == spore_crds::conditions::SUCCEEDED);
    let message = told
        .and_then(|condition| condition["message"].as_str())
        .or_else(|| status["ended"]["message"].as_str());
    Some(End {
        succeeded,
        at: status["ended"]["at"]
            .as_str()
            .and_then(|at| at.parse().ok()),
        message: message
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned),
    })
}

/// The name of the execution for a time: the same whoever makes it, and however often. It ends with
/// the minutes since 1970, or the seconds if the time is none of a whole minute.
#[must_use]
pub fn name(schedule: &str, time: Timestamp) -> String {
    let seconds = time.as_second();
    match seconds.rem_euclid(60) {
        0 => format!("{schedule}-{}", seconds.div_euclid(60)),
        _ => format!("{schedule}-{seconds}"),
    }
}

/// The object to create for a time. `None` if the template names no kind, which the API server
/// refuses.
#[must_use]
pub fn manifest(schedule: &SporeSchedule, name: &str, time: Timestamp) -> Option<(Kind, Value)> {
    let template = &schedule.spec.template;
    let (kind, spec): (_, &Row) = template
        .instance
        .as_ref()
        .map(|spec| (Kind::Instance, spec))
        .or_else(|| template.array.as_ref().map(|spec| (Kind::Array, spec)))
        .or_else(|| template.sweep.as_ref().map(|spec| (Kind::Sweep, spec)))?;
    let metadata = template.metadata.clone().unwrap_or_default();
    let (mut labels, mut annotations) = (metadata.labels, metadata.annotations);
    labels.insert(SCHEDULE_LABEL.into(), schedule.name_any());
    annotations.insert(SCHEDULED_AT.into(), time.to_string());
    let resource = kind.resource();
    let object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": schedule.namespace(),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [schedule.controller_owner_ref(&())],
        },
        "spec": spec,
    });
    Some((kind, object))
}
