//! EC2 in our own words: what the rest of the controller knows of it.
//!
//! No SDK type crosses this line; [`crate::aws`] translates.

use std::fmt;

use jiff::Timestamp;
use spore_core::tags::{Identity, Report};
use spore_crds::Market;

/// An instance that belongs to a spore, as last described by EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its life-cycle state.
    pub state: InstanceState,
    /// Why it is in that state: EC2's code, such as `Client.UserInitiatedShutdown`.
    pub state_reason: Option<String>,
    /// Its type.
    pub instance_type: String,
    /// How it is paid for.
    pub market: Market,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Its image.
    pub image_id: Option<String>,
    /// Its address in the VPC.
    pub private_ip: Option<String>,
    /// Its public address.
    pub public_ip: Option<String>,
    /// When EC2 launched it (a start after a stop counts anew).
    pub launched_at: Option<Timestamp>,
    /// The token of the launch that made it.
    pub client_token: Option<String>,
    /// Who it belongs to.
    pub identity: Identity,
    /// What its agent reported.
    pub report: Report,
    /// Its index, if it is a member of an array or a sweep.
    pub member: Option<u32>,
    /// Which list of its peers it was told, if any: the list's header.
    pub peers: Option<String>,
    /// Whether somebody marked it as never to be collected.
    pub keep: bool,
}

/// A life-cycle state of an instance, in EC2's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// Being started.
    Pending,
    /// Running.
    Running,
    /// Being stopped.
    Stopping,
    /// Stopped.
    Stopped,
    /// Being terminated.
    ShuttingDown,
    /// Gone; EC2 shows it for about an hour more.
    Terminated,
    /// A word that this build does not know: treated as live and changing.
    Unknown,
}

impl InstanceState {
    /// Reads EC2's word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "shutting-down" => Self::ShuttingDown,
            "terminated" => Self::Terminated,
            _ => Self::Unknown,
        }
    }

    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it may still cost or come back: everything but going and gone.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::ShuttingDown | Self::Terminated)
    }

    /// Whether EC2 is about to change it by itself.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Stopping | Self::ShuttingDown | Self::Unknown
        )
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What we do next about a failed call. Every AWS error code has exactly one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// EC2 has none of this type free here now.
    Capacity,
    /// The account may not have more.
    Quota,
    /// Too many calls.
    Throttle,
    /// Credentials missing, invalid or not allowed to do this.
    Denied,
    /// The request cannot succeed as it is.
    Invalid,
    /// Something just made is not known everywhere yet.
    NotYetKnown,
    /// The thing is not there.
    NotFound,
    /// The answer is not known: lost reply, time-out, server error.
    Unclear,
}

impl Class {
    /// Whether the call certainly had no effect.
    #[must_use]
    pub const fn is_definite(self) -> bool {
        !matches!(self, Self::Unclear)
    }

    /// Whether time heals it: nobody has to do anything for the same call to succeed.
    #[must_use]
    pub const fn heals(self) -> bool {
        match self {
            Self::Capacity | Self::Throttle | Self::NotYetKnown | Self::Unclear => true,
            Self::Quota | Self::Denied | Self::Invalid | Self::NotFound => false,
        }
    }

    /// How long until the same is worth trying again, the `failures`th time in a row (from 1).
    #[must_use]
    pub fn retry_after(self, failures: u32) -> std::time::Duration {
        let (first, most) = match self {
            Self::Unclear | Self::NotYetKnown | Self::Throttle => (1, 60),
            Self::Capacity | Self::NotFound => (15, 300),
            // Neither goes away by itself within minutes; trying hot would only burn call budget.
            Self::Quota | Self::Denied | Self::Invalid => (60, 600),
        };
        let doubled = 1_u64 << failures.saturating_sub(1).min(16);
        std::time::Duration::from_secs((first * doubled).min(most))
    }

    /// The word for conditions, Events and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Capacity => "InsufficientCapacity",
            Self::Quota => "QuotaExceeded",
            Self::Throttle => "Throttled",
            Self::Denied => "AccessDenied",
            Self::Invalid => "InvalidRequest",
            Self::NotYetKnown => "NotYetKnown",
            Self::NotFound => "NotFound",
            Self::Unclear => "AWSUnreachable",
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Capacity => {
                "it is tried again by itself; another instanceType, region or market may be had at once"
            }
            Self::Quota => {
                "ask for a higher limit in Service Quotas, or end other instances of this family"
            }
            Self::Throttle | Self::Unclear | Self::NotYetKnown => "it is tried again by itself",
            Self::Denied => {
                "check the controller's AWS credentials and their policy (docs/aws-permissions.md)"
            }
            Self::Invalid => "correct the spec: it may be changed as long as nothing is launched",
            Self::NotFound => "check that it exists in this region and account",
        }
    }
}

/// A call to AWS that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} in {region}: {message}{}", code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default())]
pub struct CloudError {
    /// The call, such as `RunInstances`.
    pub call: &'static str,
    /// Where.
    pub region: String,
    /// What we do about it.
    pub class: Class,
    /// AWS's code, if there was an answer.
    pub code: Option<String>,
    /// AWS's message, or what went wrong underneath.
    pub message: String,
}

/// What EC2 says of an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeFacts {
    /// The architecture that images must have: `x86_64` or `arm64`.
    pub architecture: Architecture,
    /// Whether it has NVIDIA GPUs.
    pub nvidia: bool,
    /// Whether it can be had on the Spot market.
    pub spot: bool,
    /// Whether it can be had on demand.
    pub on_demand: bool,
}

/// A processor architecture, in EC2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Intel and AMD, 64 bit.
    X86_64,
    /// Graviton and other 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// What EC2 says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its id.
    pub id: String,
    /// Its architecture, in EC2's words.
    pub architecture: String,
    /// The device name of its root volume.
    pub root_device: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_and_bad_input_are_never_retried_hot() {
        for class in [Class::Quota, Class::Denied, Class::Invalid] {
            assert!(class.retry_after(1).as_secs() >= 60, "{class:?}");
            assert!(class.retry_after(40).as_secs() <= 600, "{class:?}");
        }
    }

    #[test]
    fn states_read_back_and_unknown_ones_count_as_live() {
        for word in [
            "pending",
            "running",
            "stopping",
            "stopped",
            "shutting-down",
            "terminated",
        ] {
            assert_eq!(InstanceState::parse(word).as_str(), word);
        }
        assert!(InstanceState::parse("levitating").is_live());
    }
}
