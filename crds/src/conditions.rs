//! Conditions, by the rules of the Kubernetes API conventions and of kstatus.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The declared state is reached: the spore runs, is stopped as declared, or has ended.
pub const READY: &str = "Ready";
/// The controller is on its way to the declared state.
pub const RECONCILING: &str = "Reconciling";
/// The declared state cannot be reached; the message says what to do.
pub const STALLED: &str = "Stalled";
/// EC2 gave an instance.
pub const LAUNCHED: &str = "Launched";
/// The agent on the instance reports.
pub const AGENT_READY: &str = "AgentReady";
/// Every member of an array knows the addresses of all others.
pub const PEERS_PUBLISHED: &str = "PeersPublished";
/// The work is done: true with success, false with failure or without an end of its own.
pub const SUCCEEDED: &str = "Succeeded";

/// All types, in the order in which they are shown. Every one is set from the first status on.
pub const ALL: [&str; 6] = [
    READY,
    RECONCILING,
    STALLED,
    LAUNCHED,
    AGENT_READY,
    SUCCEEDED,
];

/// The transition time of a condition that the API server has filled in by default.
pub const NEVER: Timestamp = Timestamp::UNIX_EPOCH;

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// `True`, `False` or, for `None`, `Unknown`.
    pub status: Option<bool>,
    /// One CamelCase word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Say {
    /// The condition holds.
    #[must_use]
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// The condition does not hold.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// It is not known whether the condition holds.
    #[must_use]
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: None,
            reason,
            message: message.into(),
        }
    }
}

/// Sets a condition. Its transition time moves only when its status changes.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    say: Say,
    generation: Option<i64>,
    now: Timestamp,
) {
    let Say {
        status,
        reason,
        message,
    } = say;
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let before = conditions
        .iter()
        .position(|condition| condition.type_ == type_);
    let since = before
        .map(|index| &conditions[index])
        .filter(|condition| condition.status == status)
        .filter(|condition| condition.last_transition_time.0 != NEVER)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    let condition = Condition {
        last_transition_time: since,
        message,
        observed_generation: generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: type_.to_owned(),
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

/// The condition of a type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut all = Vec::new();
        set(&mut all, READY, Say::no("Launching", "a"), Some(1), at(1));
        set(&mut all, READY, Say::no("Booting", "b"), Some(2), at(2));
        let ready = get(&all, READY).unwrap();
        assert_eq!(
            (ready.last_transition_time.0, ready.reason.as_str()),
            (at(1), "Booting")
        );
        set(&mut all, READY, Say::yes("Running", "c"), Some(2), at(3));
        assert_eq!(get(&all, READY).unwrap().last_transition_time.0, at(3));
        assert_eq!(all.len(), 1);
    }
}
