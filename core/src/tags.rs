//! The `spawn:*` tags: the wire format between controller and agent.
//!
//! Two sets share an instance's 50 tags. [`Identity`] is written by the controller in the launch call
//! itself, never after; only its deadline moves later. [`Report`] is written by the agent, on
//! transitions only, several keys in one call, because EC2 admits few tag writes per second.
//!
//! Keys use `:` and no `/`: EC2 refuses slashes in the keys of an instance whose tags are readable
//! through its metadata service.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{indexes::IndexSet, lifecycle::EndReason};

/// Tags as EC2 gives and takes them.
pub type Tags = BTreeMap<String, String>;

/// Prefix of every key that belongs to Spore; users' own tags may not begin with it.
pub const PREFIX: &str = "spawn:";
/// `true` on everything that Spore made.
pub const MANAGED: &str = "spawn:managed";
/// Version of this schema.
pub const SCHEMA: &str = "spawn:version";
/// UID of the `kube-system` namespace: no two clusters share it, so none touches another's instances.
pub const CLUSTER: &str = "spawn:cluster";
/// UID of the object that the resource belongs to.
pub const UID: &str = "spawn:uid";
/// UID of the object that launched it; equals [`UID`] for a single instance.
pub const PARENT: &str = "spawn:parent";
/// `namespace/name` of the object, for people.
pub const OWNER: &str = "spawn:owner";
/// Number of the launch attempt.
pub const ATTEMPT: &str = "spawn:attempt";
/// The absolute deadline, RFC 3339.
pub const DEADLINE: &str = "spawn:ttl-deadline";
/// Kind of the object that launched it.
pub const KIND: &str = "spawn:kind";
/// Indexes of the members that one launch call made, in the order of their launch index. Only on
/// members of an array or a sweep.
pub const MEMBERS: &str = "spawn:members";
/// `true` on what must never be collected.
pub const KEEP: &str = "spawn:keep";
/// The name shown in the EC2 console.
pub const NAME: &str = "Name";

/// Version of the agent.
pub const AGENT_VERSION: &str = "spawn:spored-version";
/// When the agent last wrote.
pub const REPORTED_AT: &str = "spawn:reported-at";
/// Phase of the workload.
pub const WORKLOAD_PHASE: &str = "spawn:workload-phase";
/// When the workload began.
pub const WORKLOAD_STARTED: &str = "spawn:workload-started";
/// When the workload ended.
pub const WORKLOAD_FINISHED: &str = "spawn:workload-finished";
/// Exit code of the workload.
pub const EXIT_CODE: &str = "spawn:exit-code";
/// What the workload said of its result.
pub const MESSAGE: &str = "spawn:message";
/// Since when the instance does nothing.
pub const IDLE_SINCE: &str = "spawn:idle-since";
/// Why the agent ends the instance.
pub const END_REASON: &str = "spawn:last-stop-reason";
/// When the agent ended the instance.
pub const END_TIME: &str = "spawn:last-stop-time";
/// The deadline for which the agent and the power-off timer are set.
pub const ARMED_DEADLINE: &str = "spawn:armed-deadline";

/// Version of the schema that this build writes.
pub const SCHEMA_VERSION: &str = "1";
/// EC2's limit of a tag value, in characters.
pub const MAX_VALUE: usize = 256;
/// EC2's limit of a resource's tags; those that begin with `aws:` do not count.
pub const MAX_TAGS: usize = 50;

/// Who an instance belongs to and when it must be gone: what the controller writes at launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// UID of the cluster.
    pub cluster: String,
    /// UID of the object.
    pub uid: String,
    /// UID of the object that owns the launch.
    pub parent: String,
    /// `namespace/name`.
    pub owner: String,
    /// What launched it.
    pub kind: Kind,
    /// The launch attempt.
    pub attempt: u32,
    /// The absolute deadline.
    pub deadline: Option<Timestamp>,
    /// The members that the same call launched, in the order of their launch index; `None` for a
    /// single instance.
    pub members: Option<IndexSet>,
}

/// A kind of object that launches instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// One instance.
    #[default]
    SporeInstance,
    /// Indexed members of one template.
    SporeArray,
    /// Rows of parameters.
    SporeSweep,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 3] = [Self::SporeInstance, Self::SporeArray, Self::SporeSweep];

    /// The word used in tags and in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SporeInstance => "SporeInstance",
            Self::SporeArray => "SporeArray",
            Self::SporeSweep => "SporeSweep",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of object that launches instances")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl Identity {
    /// The tags to launch with.
    #[must_use]
    pub fn to_tags(&self) -> Tags {
        let Self {
            cluster,
            uid,
            parent,
            owner,
            kind,
            attempt,
            deadline,
            members,
        } = self;
        let mut tags = Tags::from([
            (MANAGED.to_owned(), "true".to_owned()),
            (SCHEMA.to_owned(), SCHEMA_VERSION.to_owned()),
            (CLUSTER.to_owned(), cluster.clone()),
            (UID.to_owned(), uid.clone()),
            (PARENT.to_owned(), parent.clone()),
            (OWNER.to_owned(), clip(owner)),
            (KIND.to_owned(), kind.to_string()),
            (ATTEMPT.to_owned(), attempt.to_string()),
            (NAME.to_owned(), clip(owner)),
        ]);
        if let Some(deadline) = deadline {
            tags.insert(DEADLINE.to_owned(), deadline.to_string());
        }
        if let Some(members) = members {
            tags.insert(MEMBERS.to_owned(), members.to_string());
        }
        tags
    }

    /// Reads the tags back; `None` if they are not Spore's. A garbled attempt reads as 0 and a garbled
    /// deadline as none: whoever owns the instance must still be found.
    #[must_use]
    pub fn from_tags(tags: &Tags) -> Option<Self> {
        let text = |key: &str| tags.get(key).cloned();
        Some(Self {
            cluster: text(CLUSTER)?,
            uid: text(UID)?,
            parent: text(PARENT)?,
            owner: text(OWNER).unwrap_or_default(),
            kind: parsed(tags, KIND).unwrap_or_default(),
            attempt: parsed(tags, ATTEMPT).unwrap_or(0),
            deadline: parsed(tags, DEADLINE),
            members: parsed(tags, MEMBERS),
        })
    }
}

/// How far the workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WorkloadPhase {
    /// There is no command; completion is signalled from outside.
    None,
    /// It runs.
    Running,
    /// It ended well: exit code 0, or it said so.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It was stopped before it was done, because the instance ends.
    Interrupted,
}

impl WorkloadPhase {
    /// Every phase, for tables and tests.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Interrupted,
    ];

    /// The word used in tags and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Interrupted => "Interrupted",
        }
    }
}

impl fmt::Display for WorkloadPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`WorkloadPhase`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a phase of a workload")]
pub struct UnknownPhase(String);

impl FromStr for WorkloadPhase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

/// What the agent tells of its instance. A field that is absent was not reported (or was garbled).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// When it wrote.
    pub reported_at: Option<Timestamp>,
    /// How far the workload is.
    pub phase: Option<WorkloadPhase>,
    /// When the workload began.
    pub started_at: Option<Timestamp>,
    /// When the workload ended.
    pub finished_at: Option<Timestamp>,
    /// Exit code; 128 plus the signal's number if a signal ended it, as shells count.
    pub exit_code: Option<i32>,
    /// What the workload said of its result.
    pub message: Option<String>,
    /// Since when the instance does nothing.
    pub idle_since: Option<Timestamp>,
    /// Why the agent ends the instance.
    pub end_reason: Option<EndReason>,
    /// When the agent ended the instance.
    pub ended_at: Option<Timestamp>,
    /// The deadline for which agent and power-off timer are set.
    pub armed_deadline: Option<Timestamp>,
}

impl Report {
    /// Every key that a report may have.
    pub const KEYS: [&str; 11] = [
        AGENT_VERSION,
        REPORTED_AT,
        WORKLOAD_PHASE,
        WORKLOAD_STARTED,
        WORKLOAD_FINISHED,
        EXIT_CODE,
        MESSAGE,
        IDLE_SINCE,
        END_REASON,
        END_TIME,
        ARMED_DEADLINE,
    ];

    /// The tags to write. An idle time that is over is written as an empty value, because a tag that
    /// is merely left out would stay on the instance.
    #[must_use]
    pub fn to_tags(&self) -> Tags {
        let Self {
            agent_version,
            reported_at,
            phase,
            started_at,
            finished_at,
            exit_code,
            message,
            idle_since,
            end_reason,
            ended_at,
            armed_deadline,
        } = self;
        let time = |value: &Option<Timestamp>| value.map(|time| time.to_string());
        [
            (AGENT_VERSION, agent_version.clone()),
            (REPORTED_AT, time(reported_at)),
            (WORKLOAD_PHASE, phase.map(|phase| phase.to_string())),
            (WORKLOAD_STARTED, time(started_at)),
            (WORKLOAD_FINISHED, time(finished_at)),
            (EXIT_CODE, exit_code.map(|code| code.to_string())),
            (MESSAGE, message.as_deref().map(clip)),
            (IDLE_SINCE, Some(time(idle_since).unwrap_or_default())),
            (END_REASON, end_reason.map(|reason| reason.to_string())),
            (END_TIME, time(ended_at)),
            (ARMED_DEADLINE, time(armed_deadline)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// Reads what an agent wrote, of this or another version; what cannot be read is absent.
    #[must_use]
    pub fn from_tags(tags: &Tags) -> Self {
        Self {
            agent_version: tags.get(AGENT_VERSION).cloned(),
            reported_at: parsed(tags, REPORTED_AT),
            phase: parsed(tags, WORKLOAD_PHASE),
            started_at: parsed(tags, WORKLOAD_STARTED),
            finished_at: parsed(tags, WORKLOAD_FINISHED),
            exit_code: parsed(tags, EXIT_CODE),
            message: tags.get(MESSAGE).cloned(),
            idle_since: parsed(tags, IDLE_SINCE),
            end_reason: parsed(tags, END_REASON),
            ended_at: parsed(tags, END_TIME),
            armed_deadline: parsed(tags, ARMED_DEADLINE),
        }
    }
}

fn parsed<T: FromStr>(tags: &Tags, key: &str) -> Option<T> {
    tags.get(key)?.parse().ok()
}

/// Cuts a text to what a tag value holds, at a character, marking the cut.
fn clip(text: &str) -> String {
    if text.chars().count() <= MAX_VALUE {
        return text.to_owned();
    }
    text.chars().take(MAX_VALUE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: "c".into(),
            uid: "u".into(),
            parent: "p".into(),
            owner: "ns/name".into(),
            kind: Kind::SporeArray,
            attempt: 3,
            deadline: Some("2026-11-21T10:00:00Z".parse().unwrap()),
            members: Some("0-3,7".parse().unwrap()),
        }
    }

    #[test]
    fn an_identity_reads_back() {
        assert_eq!(Identity::from_tags(&identity().to_tags()), Some(identity()));
    }

    #[test]
    fn tags_of_others_are_no_identity() {
        assert_eq!(
            Identity::from_tags(&Tags::from([("Name".into(), "web".into())])),
            None
        );
    }

    #[test]
    fn a_garbled_deadline_does_not_hide_the_owner() {
        let mut tags = identity().to_tags();
        tags.insert(DEADLINE.into(), "soon".into());
        assert_eq!(
            Identity::from_tags(&tags),
            Some(Identity {
                deadline: None,
                ..identity()
            })
        );
    }

    #[test]
    fn keys_are_legal_where_instance_tags_are_readable_through_metadata() {
        let report = Report {
            message: Some("x".into()),
            ..Report::default()
        };
        for key in identity()
            .to_tags()
            .into_keys()
            .chain(report.to_tags().into_keys())
        {
            assert!(
                key.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c)),
                "{key}"
            );
        }
    }

    #[test]
    fn the_end_of_an_idle_time_is_written() {
        assert_eq!(
            Report::default()
                .to_tags()
                .get(IDLE_SINCE)
                .map(String::as_str),
            Some("")
        );
        assert_eq!(
            Report::from_tags(&Report::default().to_tags()).idle_since,
            None
        );
    }

    proptest! {
        #[test]
        fn a_report_reads_back(
            exit_code in proptest::option::of(any::<i32>()),
            message in proptest::option::of("\\PC{0,300}"),
            second in 0..4_000_000_000_i64,
        ) {
            let time = Timestamp::from_second(second).unwrap();
            let report = Report {
                agent_version: Some("0.1.0".into()),
                reported_at: Some(time),
                phase: Some(WorkloadPhase::Failed),
                started_at: Some(time),
                exit_code,
                message: message.clone().map(|text| clip(&text)),
                end_reason: Some(EndReason::Idle),
                ..Report::default()
            };
            let tags = report.to_tags();
            prop_assert!(tags.keys().all(|key| Report::KEYS.contains(&key.as_str())));
            prop_assert!(tags.values().all(|value| value.chars().count() <= MAX_VALUE));
            prop_assert_eq!(Report::from_tags(&tags), report);
        }

        #[test]
        fn any_tags_are_read_without_panic(tags in proptest::collection::btree_map("spawn:[a-z-]{1,20}", "\\PC{0,40}", 0..20)) {
            let _ = (Identity::from_tags(&tags), Report::from_tags(&tags));
        }
    }
}
