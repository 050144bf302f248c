//! The document that the agent finds on its instance at [`PATH`].
//!
//! The controller writes it into the user data of the launch; nothing in it is secret. It holds all
//! that the agent needs to end the instance with cluster and network gone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    indexes::IndexSet,
    lifecycle::{Action, CompletionPolicy, IdlePolicy, Policy},
    tags::Kind,
};

/// Where the document lies.
pub const PATH: &str = "/etc/spored/config.yaml";
/// The file whose appearance says that the work is done: empty, or JSON with `status` and `message`.
pub const COMPLETION_FILE: &str = "/tmp/SPAWN_COMPLETE";
/// Where users on the instance find what is about to happen to it.
pub const WARNING_FILE: &str = "/tmp/SPAWN_WARNING";
/// Addresses of all members of an array, complete or absent.
pub const PEERS_FILE: &str = "/etc/spawn/job-array-peers.json";
/// The same with the array they are members of, and the version of the list.
pub const JOB_ARRAY_FILE: &str = "/etc/spawn/job-array.json";
/// Sets the variables of a member in login shells.
pub const PROFILE_FILE: &str = "/etc/profile.d/spore.sh";
/// The parameters of this member, as one JSON object.
pub const PARAMS_FILE: &str = "/etc/spawn/params.json";
/// The systemd timer that powers the instance off if nothing else has.
pub const POWER_OFF_TIMER: &str = "spore-power-off.timer";
/// The systemd service that [`POWER_OFF_TIMER`] starts.
pub const POWER_OFF_SERVICE: &str = "spore-power-off.service";
/// Version of the document that this build writes and reads.
pub const VERSION: u32 = 1;

/// What the agent is to enforce and to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// Version of this document ([`VERSION`]).
    pub version: u32,
    /// `namespace/name` of the object.
    pub owner: String,
    /// The absolute deadline; a later one in the instance's own tags moves it.
    pub deadline: Timestamp,
    /// How long after the deadline the operating system's own timer powers the instance off.
    pub power_off_grace: Duration,
    /// Ends an instance that does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// What follows completion.
    pub on_complete: OnComplete,
    /// The workload: a program and its arguments, not interpreted by any shell. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment of the workload, beyond the agent's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What the instance is in its array or sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
}

/// The members that one launch call makes. Every instance of the call reads the same document and
/// finds its own part by its launch index, which its metadata service tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Members {
    /// An array or a sweep.
    pub kind: Kind,
    /// `{name}-{day of creation}-{6 digits of the UID}`: names one array or sweep among all.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How many members it has altogether.
    pub size: u32,
    /// The indexes of this call, in the order of the launch index.
    pub indexes: IndexSet,
    /// Parameters of each of them, in the same order; empty if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<BTreeMap<String, serde_json::Value>>,
    /// Whether the addresses of all members will be told, in the instance's tags.
    #[serde(default)]
    pub peers: bool,
}

/// Ends an instance that does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Idle {
    /// How long it must have done nothing.
    pub timeout: Duration,
    /// What is done then.
    pub action: Action,
}

/// What follows completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnComplete {
    /// What is done to the instance.
    pub action: Action,
    /// How long after completion.
    pub delay: Duration,
}

impl AgentConfig {
    /// The policy that [`crate::lifecycle::decide`] takes.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            idle: self.idle.as_ref().map(|idle| IdlePolicy {
                timeout: idle.timeout,
                action: idle.action,
            }),
            on_complete: CompletionPolicy {
                action: self.on_complete.action,
                delay: self.on_complete.delay,
            },
        }
    }
}

/// The text of [`POWER_OFF_TIMER`]: it fires at the deadline plus the grace.
///
/// The controller writes it at first boot and the agent whenever the deadline moves, so both write it
/// with this function. Wall-clock time, and persistent: a machine that slept or was stopped past the
/// moment powers off as soon as it is up.
#[must_use]
pub fn power_off_timer_unit(deadline: Timestamp, grace: Duration) -> String {
    // Rounded up to whole seconds, so that the timer is never early.
    let at = grace.after(deadline);
    let rounded = if at.subsec_nanosecond() > 0 {
        Duration::from_secs(1).after(at)
    } else {
        at
    };
    format!(
        "[Unit]\n\
         Description=Powers this machine off when its spore's deadline is over\n\
         \n\
         [Timer]\n\
         OnCalendar={} UTC\n\
         AccuracySec=1s\n\
         Persistent=true\n\
         Unit={POWER_OFF_SERVICE}\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        rounded.strftime("%Y-%m-%d %H:%M:%S")
    )
}

/// The text of [`POWER_OFF_SERVICE`].
#[must_use]
pub fn power_off_service_unit() -> String {
    "[Unit]\n\
     Description=Powers this machine off: its spore's deadline is over\n\
     \n\
     [Service]\n\
     Type=oneshot\n\
     ExecStart=systemctl poweroff\n"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_off_timer_fires_at_the_deadline_plus_the_grace_and_never_early() {
        let unit = |deadline: &str| {
            power_off_timer_unit(deadline.parse().unwrap(), Duration::from_secs(300))
        };
        let whole = unit("2026-12-31T23:58:00Z");
        assert!(
            whole.contains("OnCalendar=2027-01-01 00:03:00 UTC\n"),
            "{whole}"
        );
        let fraction = unit("2026-12-31T23:58:00.25Z");
        assert!(
            fraction.contains("OnCalendar=2027-01-01 00:03:01 UTC\n"),
            "{fraction}"
        );
        assert!(
            whole.contains("Persistent=true\n") && whole.contains("Unit=spore-power-off.service\n")
        );
    }
}
