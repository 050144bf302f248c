//! What ends a spore.
//!
//! One pure function, [`decide`], holds the order of precedence that users rely on:
//!
//! **spot interruption > completion > TTL > cost limit > idle.**
//!
//! The agent calls it on the instance with all signals; the controller calls it from outside with the
//! ones that it can see. Whoever is alive enforces it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// How long before an end its users are warned.
pub const WARN_BEFORE: Duration = Duration::from_secs(300);

/// What is done to the instance at an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// The instance and its disks are gone; nothing costs any more.
    #[default]
    Terminate,
    /// The instance is shut down; its disks stay and cost until the deadline terminates it.
    Stop,
}

/// Why a spore ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// EC2 took a Spot instance back.
    SpotInterruption,
    /// The workload exited or signalled that it is done.
    Completed,
    /// The deadline passed.
    TTLExpired,
    /// The instance had cost what it was allowed to.
    CostLimit,
    /// The instance did nothing for the idle timeout.
    Idle,
    /// The object was deleted.
    UserRequested,
    /// Something other than Spore ended the instance, for example a person in the EC2 console.
    EndedOutside,
    /// The instance's machine shut itself down and no other reason is known.
    PoweredOff,
    /// EC2 ended the instance because of a failure on its side.
    HostFailure,
}

impl EndReason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 9] = [
        Self::SpotInterruption,
        Self::Completed,
        Self::TTLExpired,
        Self::CostLimit,
        Self::Idle,
        Self::UserRequested,
        Self::EndedOutside,
        Self::PoweredOff,
        Self::HostFailure,
    ];

    /// The word used in tags, status and conditions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpotInterruption => "SpotInterruption",
            Self::Completed => "Completed",
            Self::TTLExpired => "TTLExpired",
            Self::CostLimit => "CostLimit",
            Self::Idle => "Idle",
            Self::UserRequested => "UserRequested",
            Self::EndedOutside => "EndedOutside",
            Self::PoweredOff => "PoweredOff",
            Self::HostFailure => "HostFailure",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`EndReason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reason for an end")]
pub struct UnknownEndReason(String);

impl FromStr for EndReason {
    type Err = UnknownEndReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownEndReason(text.to_owned()))
    }
}

/// What the owner of a spore asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Ends an instance that does nothing for this long.
    pub idle: Option<IdlePolicy>,
    /// What follows completion.
    pub on_complete: CompletionPolicy,
}

/// Ends an instance that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdlePolicy {
    /// How long it must have done nothing.
    pub timeout: Duration,
    /// What is done then.
    pub action: Action,
}

/// What follows completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionPolicy {
    /// What is done to the instance.
    pub action: Action,
    /// How long after completion, so that output can still be flushed.
    pub delay: Duration,
}

/// What is known of an instance now. `None` is *not seen*, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// EC2 announced to take the instance back at this moment.
    pub spot_interruption: Option<Timestamp>,
    /// When the workload completed, with success or failure.
    pub completed_at: Option<Timestamp>,
    /// The absolute deadline.
    pub deadline: Option<Timestamp>,
    /// When the cost limit was reached.
    pub cost_limit_reached_at: Option<Timestamp>,
    /// Since when the instance does nothing.
    pub idle_since: Option<Timestamp>,
}

/// An end: why, when and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// When it is due.
    pub at: Timestamp,
    /// What is done to the instance.
    pub action: Action,
}

/// What [`decide`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This end is due: carry it out.
    End(End),
    /// Nothing is due.
    Continue {
        /// The end that comes first if nothing changes.
        next: Option<End>,
        /// Whether `next` is near enough for its users to be warned ([`WARN_BEFORE`]).
        warn: bool,
    },
}

/// Decides what ends the spore, if anything does, at `now`.
///
/// Of several ends that are due the one of highest precedence wins, but a stop never wins over a
/// deadline that has passed: a stopped instance would cost beyond it. Of several that are not due the
/// earliest is announced.
#[must_use]
pub fn decide(now: Timestamp, policy: &Policy, signals: &Signals) -> Verdict {
    let ends = ends_by_precedence(now, policy, signals);
    let known = || ends.iter().flatten();
    let due = || known().filter(|end| end.at <= now);
    if let Some(first) = due().next() {
        let deadline = due().find(|end| end.reason == EndReason::TTLExpired);
        return Verdict::End(match (first.action, deadline) {
            (Action::Stop, Some(deadline)) => *deadline,
            (Action::Stop | Action::Terminate, _) => *first,
        });
    }
    let next = known().min_by_key(|end| end.at).copied();
    Verdict::Continue {
        next,
        warn: next.is_some_and(|end| WARN_BEFORE.before(end.at) <= now),
    }
}

/// Every end that can be told from the signals, highest precedence first.
fn ends_by_precedence(now: Timestamp, policy: &Policy, signals: &Signals) -> [Option<End>; 5] {
    let Signals {
        spot_interruption,
        completed_at,
        deadline,
        cost_limit_reached_at,
        idle_since,
    } = *signals;
    let CompletionPolicy {
        action: on_complete,
        delay,
    } = policy.on_complete;
    [
        // A notice is an end in itself: the agent lets go at once and EC2 does the rest.
        spot_interruption.map(|_| End {
            reason: EndReason::SpotInterruption,
            at: now,
            action: Action::Terminate,
        }),
        completed_at.map(|done| End {
            reason: EndReason::Completed,
            at: delay.after(done),
            action: on_complete,
        }),
        // The deadline always terminates: a stopped instance would cost beyond it.
        deadline.map(|at| End {
            reason: EndReason::TTLExpired,
            at,
            action: Action::Terminate,
        }),
        cost_limit_reached_at.map(|at| End {
            reason: EndReason::CostLimit,
            at,
            action: Action::Terminate,
        }),
        policy.idle.zip(idle_since).map(|(idle, since)| End {
            reason: EndReason::Idle,
            at: idle.timeout.after(since),
            action: idle.action,
        }),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy() -> Policy {
        Policy {
            idle: Some(IdlePolicy {
                timeout: Duration::from_secs(600),
                action: Action::Stop,
            }),
            on_complete: CompletionPolicy {
                action: Action::Terminate,
                delay: Duration::from_secs(30),
            },
        }
    }

    fn all_due() -> Signals {
        Signals {
            spot_interruption: Some(at(2_000)),
            completed_at: Some(at(100)),
            deadline: Some(at(900)),
            cost_limit_reached_at: Some(at(800)),
            idle_since: Some(at(0)),
        }
    }

    fn reason(verdict: Verdict) -> Option<EndReason> {
        match verdict {
            Verdict::End(end) => Some(end.reason),
            Verdict::Continue { .. } => None,
        }
    }

    #[test]
    fn a09_priority_is_spot_completion_ttl_cost_idle() {
        let mut signals = all_due();
        let mut seen = Vec::new();
        for clear in [
            (|s| s.spot_interruption = None) as fn(&mut Signals),
            |s| s.completed_at = None,
            |s| s.deadline = None,
            |s| s.cost_limit_reached_at = None,
            |s| s.idle_since = None,
        ] {
            seen.push(reason(decide(at(1_000), &policy(), &signals)).unwrap());
            clear(&mut signals);
        }
        use EndReason::{Completed, CostLimit, Idle, SpotInterruption, TTLExpired};
        assert_eq!(
            seen,
            [SpotInterruption, Completed, TTLExpired, CostLimit, Idle]
        );
        assert_eq!(
            decide(at(1_000), &policy(), &signals),
            Verdict::Continue {
                next: None,
                warn: false
            }
        );
    }

    #[test]
    fn completion_waits_for_its_delay() {
        let signals = Signals {
            completed_at: Some(at(100)),
            ..Signals::default()
        };
        assert_eq!(reason(decide(at(129), &policy(), &signals)), None);
        assert_eq!(
            reason(decide(at(130), &policy(), &signals)),
            Some(EndReason::Completed)
        );
    }

    #[test]
    fn the_deadline_always_terminates() {
        let signals = Signals {
            deadline: Some(at(900)),
            ..Signals::default()
        };
        let Verdict::End(end) = decide(at(900), &policy(), &signals) else {
            panic!("due")
        };
        assert_eq!(end.action, Action::Terminate);
    }

    #[test]
    fn a_stop_never_wins_over_a_deadline_that_has_passed() {
        let mut policy = policy();
        policy.on_complete.action = Action::Stop;
        let signals = Signals {
            completed_at: Some(at(100)),
            deadline: Some(at(900)),
            ..Signals::default()
        };
        assert_eq!(
            reason(decide(at(899), &policy, &signals)),
            Some(EndReason::Completed)
        );
        let Verdict::End(end) = decide(at(900), &policy, &signals) else {
            panic!("due")
        };
        assert_eq!(
            (end.reason, end.action),
            (EndReason::TTLExpired, Action::Terminate)
        );
    }

    #[test]
    fn users_are_warned_five_minutes_before() {
        let signals = Signals {
            deadline: Some(at(900)),
            ..Signals::default()
        };
        let warned = |now| match decide(at(now), &policy(), &signals) {
            Verdict::Continue { warn, .. } => warn,
            Verdict::End(_) => panic!("not due"),
        };
        assert!(!warned(599));
        assert!(warned(600));
    }

    proptest! {
        #[test]
        fn an_end_is_never_early_and_never_missed(
            now in 0..5_000_i64,
            completed in proptest::option::of(0..5_000_i64),
            deadline in proptest::option::of(0..5_000_i64),
            idle in proptest::option::of(0..5_000_i64),
        ) {
            let signals = Signals {
                completed_at: completed.map(at),
                deadline: deadline.map(at),
                idle_since: idle.map(at),
                ..Signals::default()
            };
            let due = completed.is_some_and(|t| t + 30 <= now)
                || deadline.is_some_and(|t| t <= now)
                || idle.is_some_and(|t| t + 600 <= now);
            match decide(at(now), &policy(), &signals) {
                Verdict::End(end) => prop_assert!(due && end.at <= at(now)),
                Verdict::Continue { next, .. } => {
                    prop_assert!(!due && next.is_none_or(|end| end.at > at(now)));
                }
            }
        }
    }

    #[test]
    fn every_reason_reads_back() {
        for reason in EndReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert!("Bored".parse::<EndReason>().is_err());
    }
}
