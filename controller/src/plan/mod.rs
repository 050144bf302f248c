//! Deciding: values in, values out. No clock, no I/O, no client.
//!
//! [`instance::plan`] says what a spore needs now; [`crate::reconcile`] does it and chooses nothing.
//! "Not yet" is a [`Waiting`](stage::Waiting), not an error; unknown is not absent.

pub mod cost;
pub mod group;
pub mod instance;
pub mod launch;
pub mod orphans;
pub mod schedule;
pub mod stage;

use jiff::Timestamp;
use spore_crds::{Launch, SporeInstanceStatus};

use crate::{
    cloud::{CloudError, Instance, Seek},
    facts::{Fact, Facts},
};

/// What is known of the world outside, as far as it matters to one spore.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Every instance that carries the spore's UID.
    pub instances: Vec<Instance>,
    /// How well its region is known.
    pub region: RegionView,
    /// What became of the launch that the status holds, as far as this process knows.
    pub launch: Option<LaunchRecord>,
    /// The last call for this spore that failed and has not succeeded since.
    pub problem: Option<Problem>,
    /// Whether the instance of its launch was looked for among those that are gone.
    pub looked_up: bool,
    /// What AWS told of types, images and so on.
    pub facts: &'a Facts,
}

/// How well a region is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionView {
    /// When the latest complete lists were begun, oldest first, no more than are needed to prove
    /// absence.
    pub lists: Vec<Timestamp>,
    /// When the first complete list of this process was begun.
    pub first_list: Option<Timestamp>,
    /// Why the latest list failed, if it did.
    pub error: Option<CloudError>,
}

/// What this process did about a launch. There is none for a launch inherited from a predecessor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchRecord {
    /// How often RunInstances was called.
    pub calls: u32,
    /// When it was called last.
    pub called_at: Option<Timestamp>,
    /// Whether any of those calls ended without a definite answer.
    pub unclear: bool,
    /// How the latest call ended.
    pub last: Option<LaunchOutcome>,
}

impl LaunchRecord {
    /// Of a launch that a predecessor decided, and may have called.
    #[must_use]
    pub fn inherited() -> Self {
        Self {
            unclear: true,
            ..Self::default()
        }
    }
}

/// How a RunInstances call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchOutcome {
    /// EC2 gave these instances.
    Launched {
        /// Their ids, in the order of the launch index.
        instance_ids: Vec<String>,
    },
    /// The call failed.
    Failed {
        /// How.
        error: CloudError,
        /// When.
        at: Timestamp,
    },
    /// Our own limiter held the call back.
    Deferred {
        /// Until when.
        until: Timestamp,
    },
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How.
    pub error: CloudError,
    /// How often in a row.
    pub failures: u32,
    /// Not to be tried again before.
    pub retry_at: Timestamp,
}

/// What is to be done about one spore.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The status to be stored, before anything in `actions` is done.
    pub status: SporeInstanceStatus,
    /// Whether the object must stay until this controller lets go of it.
    pub hold: bool,
    /// What to do, in order. Repeating any of it is harmless.
    pub actions: Vec<Action>,
    /// When to look again at the latest, if nothing changes before.
    pub wake: Option<Timestamp>,
}

/// One thing to do. It carries every choice; whoever does it has none.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask AWS something that the plan needs to know.
    Learn(Fact),
    /// Call RunInstances with a launch that is already stored.
    Launch(Box<Launch>),
    /// Terminate an instance.
    Terminate {
        /// Where.
        region: String,
        /// Which.
        instance_id: String,
    },
    /// Stop an instance.
    Stop {
        /// Where.
        region: String,
        /// Which.
        instance_id: String,
    },
    /// Tell the instance of a later deadline.
    MoveDeadline {
        /// Where.
        region: String,
        /// Which.
        instance_id: String,
        /// The deadline.
        deadline: Timestamp,
    },
    /// Look among instances that are gone, with the next list.
    Seek {
        /// Where.
        region: String,
        /// For what.
        what: Seek,
    },
    /// Publish an Event.
    Note(Note),
}

/// An Event on a spore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What was done.
    pub action: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl RegionView {
    /// Whether an instance whose launch was last asked for at `asked` is certainly not there, given
    /// that no list shows it: enough complete lists were begun so late that none can lag behind it.
    ///
    /// A predecessor of this process may have asked later than the status tells, so nothing counts
    /// that was asked before our own first list as older than that.
    #[must_use]
    pub fn proves_absence(&self, asked: Timestamp, absence: std::time::Duration) -> bool {
        let Some(since) = self.first_list.map(|first| first.max(asked)) else {
            return false;
        };
        let Ok(shown_from) = since.checked_add(absence) else {
            return false;
        };
        let late = self
            .lists
            .iter()
            .filter(|begun| **begun >= shown_from)
            .count();
        u32::try_from(late).is_ok_and(|lists| lists >= crate::settings::ABSENT_LISTS)
    }
}
