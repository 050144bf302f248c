//! What an array or a sweep needs now.
//!
//! Both are the same thing to the planner: members by index, each of which is launched, lives as a
//! `SporeInstance` of its own, and ends. What differs is where a member's spec comes from ([`source`])
//! and how many may be active at once.
//!
//! ```text
//!   next, retries ──► batch decided ──► called ──► placed ──► members made ──► line closed
//!         ▲           (stored first)      │                     (children)
//!         └──────────── refused ──────────┘
//!   children ──► outcomes ──► policies ──► succeeded, failed, retries, or the end of everything
//! ```
//!
//! A batch is one RunInstances call. It is *decided* in one pass, stored by the caller, and *called*
//! in a later one, as a single launch is; its line stays in the status until every member that EC2
//! gave exists as an object and knows its instance.

mod batches;
mod decide;
mod ending;
mod first;
mod gang;
mod members;
mod object;
mod outcome;
mod peers;
mod queue;
pub mod source;
mod spend;
mod tell;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use spore_core::{
    duration::Duration,
    indexes::IndexSet,
    money::Usd,
    tags::{Kind, Tags},
};
use spore_crds::{
    Batch, Ended, FailurePolicy, GroupStatus, RowResult, SporeInstance, SuccessPolicy,
};

use self::source::Source;
use super::{LaunchRecord, Note, Problem, RegionView, cost::Spend};
use crate::{
    cloud::{Class, Instance, Seek},
    facts::{Fact, Facts},
    settings::Settings,
};

/// How soon rows that could not be read are read again.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// An array or a sweep, as far as the planner cares.
#[derive(Clone, Copy)]
pub struct Group<'a> {
    /// Which of the two.
    pub kind: Kind,
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// What was stored of it.
    pub status: Option<&'a GroupStatus>,
    /// How many members it has.
    pub size: u32,
    /// What each of them is.
    pub members: &'a dyn Source,
    /// How many may be active at once.
    pub parallelism: Option<u32>,
    /// How many may be active at once in one region.
    pub parallelism_per_region: Option<u32>,
    /// The least time between two launches.
    pub launch_interval: Option<Duration>,
    /// Whether launching is held.
    pub suspend: bool,
    /// Whether it is to end.
    pub cancel: bool,
    /// How long it may take from its first launch on.
    pub time_limit: Option<Duration>,
    /// What its members may cost together.
    pub budget: Option<Usd>,
    /// To when every member's deadline is moved.
    pub extend_to: Option<Timestamp>,
    /// What follows a failure.
    pub failure_policy: Option<&'a FailurePolicy>,
    /// When it has succeeded.
    pub success_policy: Option<&'a SuccessPolicy>,
    /// How many members must be had together.
    pub min_available: Option<u32>,
    /// Zones to try in order, if members must be had together.
    pub zones: &'a [String],
    /// Whether members are told each other's addresses.
    pub peers: bool,
    /// How many ended members are kept; `None`: all.
    pub history: Option<History>,
    /// How often all failed members were asked to be launched again.
    pub retry_failed: u32,
    /// Why its members cannot be told: a word and a sentence.
    pub problem: Option<(&'static str, &'a str)>,
}

/// How many ended members are kept as objects.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Of those that succeeded.
    pub succeeded: u32,
    /// Of those that failed.
    pub failed: u32,
}

/// What is known of the world outside, as far as it matters to one array or sweep.
pub struct GroupView<'a> {
    /// Every object that it controls.
    pub children: Vec<&'a SporeInstance>,
    /// Those of its objects that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Names of its members that objects of others have.
    pub taken: Vec<Taken>,
    /// Every instance that it launched.
    pub instances: Vec<&'a Instance>,
    /// How well each region is known.
    pub regions: BTreeMap<String, RegionView>,
    /// What became of launches, by token, as far as this process knows.
    pub launches: &'a HashMap<String, LaunchRecord>,
    /// The last call for it that failed and has not succeeded since.
    pub problem: Option<&'a Problem>,
    /// What AWS told of types, images and so on.
    pub facts: &'a Facts,
}

/// A member that is stored and cannot be read. It may have an instance: nothing takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its index.
    pub index: u32,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
}

/// A name of a member that an object of somebody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The name.
    pub name: String,
    /// Whether it was a member of something deleted that had the same kind and name: Kubernetes is about
    /// to delete it, too.
    pub left_over: bool,
}

/// What is to be done about an array or a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupPlan {
    /// How rows ended, to be kept before the status is stored.
    pub results: Vec<RowResult>,
    /// The status to be stored, before anything in `actions` is done.
    pub status: GroupStatus,
    /// Whether the object must stay until this controller lets go of it.
    pub hold: bool,
    /// What to do. Repeating any of it is harmless.
    pub actions: Vec<GroupAction>,
    /// When to look again at the latest, if nothing changes before.
    pub wake: Option<Timestamp>,
}

/// One thing to do. It carries every choice; whoever does it has none.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupAction {
    /// Ask AWS something that the plan needs to know.
    Learn(Fact),
    /// Call RunInstances with a batch that is already stored.
    Launch(Box<Batch>),
    /// Create the object of a member.
    CreateMember(Box<SporeInstance>),
    /// Delete the object of a member, which ends its instance.
    DeleteMember {
        /// Its name.
        name: String,
        /// Its UID: another of the same name is not meant.
        uid: String,
    },
    /// Move the deadline of a member.
    Extend {
        /// Its name.
        name: String,
        /// To when.
        to: Timestamp,
    },
    /// Terminate instances.
    Terminate {
        /// Where.
        region: String,
        /// Which.
        instance_ids: Vec<String>,
    },
    /// Tell members each other's addresses.
    Tell {
        /// Where.
        region: String,
        /// Whom.
        instance_ids: Vec<String>,
        /// In these tags.
        tags: Tags,
    },
    /// Look among instances that are gone, with the next list.
    Seek {
        /// Where.
        region: String,
        /// For what.
        what: Seek,
    },
    /// A launch is closed: what this process knows of it is needed no more.
    Forget {
        /// Its token.
        token: String,
    },
    /// Publish an Event.
    Note(Note),
}

/// Decides what an array or a sweep needs at `now`. The status in the result is to be stored before
/// its actions are carried out.
#[must_use]
pub fn plan(
    group: &Group<'_>,
    view: &GroupView<'_>,
    settings: &Settings,
    now: Timestamp,
) -> GroupPlan {
    let group = &Group {
        size: declared_size(group),
        ..*group
    };
    let mut planner = Planner {
        group,
        view,
        settings,
        now,
        status: group.status.cloned().unwrap_or_default(),
        children: members::by_index(view),
        made: BTreeMap::new(),
        active: IndexSet::new(),
        ready: IndexSet::new(),
        spend: Spend::resume(group.status.and_then(|status| status.cost.as_ref())),
        results: Vec::new(),
        actions: Vec::new(),
        wake: None,
        stalled: None,
        waiting: None,
        keep_telling: false,
        trouble: None,
    };
    planner.made = batches::made(&planner.status, view);
    planner.status.observed_generation = group.metadata.generation;
    planner.status.replicas = group.size;
    let hold = if group.metadata.deletion_timestamp.is_some() {
        planner.delete()
    } else {
        planner.advance();
        true
    };
    planner.tell();
    GroupPlan {
        results: planner.results,
        status: planner.status,
        hold,
        actions: planner.actions,
        wake: planner.wake,
    }
}

/// How many members there are. Launched rows may not be taken away: a sweep that has become shorter than
/// what it launched is looked at as it was, and stands still.
fn declared_size(group: &Group<'_>) -> u32 {
    let stored = group
        .status
        .filter(|status| status.rows_digest.is_some() && group.size < status.next);
    stored.map_or(group.size, |status| status.replicas)
}

struct Planner<'a> {
    group: &'a Group<'a>,
    view: &'a GroupView<'a>,
    settings: &'a Settings,
    now: Timestamp,
    status: GroupStatus,
    /// Objects of members by index. More than one only while an older attempt goes.
    children: BTreeMap<u32, Vec<&'a SporeInstance>>,
    /// Instances of open launch calls, by token.
    made: BTreeMap<String, Vec<&'a Instance>>,
    /// Indexes that are being launched or have an instance that is not gone.
    active: IndexSet,
    /// Indexes that run with an agent that reports.
    ready: IndexSet,
    /// What the members cost.
    spend: Spend,
    results: Vec<RowResult>,
    actions: Vec<GroupAction>,
    wake: Option<Timestamp>,
    /// Why it cannot go on as declared.
    stalled: Option<(&'static str, String)>,
    /// Why the next launch has to wait.
    waiting: Option<(&'static str, String)>,
    /// Whether what was said of a refusal still holds.
    keep_telling: bool,
    /// What keeps an action from being carried out.
    trouble: Option<String>,
}

impl Planner<'_> {
    /// The way of a group that is wanted.
    fn advance(&mut self) {
        self.extend();
        self.roll_up();
        self.follow_batches();
        self.terminate_strays();
        self.tally();
        self.judge();
        if self.status.ended.is_some() {
            self.end_rest();
        } else {
            self.form();
            if !self.status.releasing && self.is_sound() {
                self.decide_batches();
            }
            self.tell_peers();
        }
        self.trim_history();
    }

    /// Whether the members can be told, and those that were launched are still the same.
    fn is_sound(&mut self) -> bool {
        if let Some((reason, message)) = self.group.problem {
            self.stalled = Some((reason, message.to_owned()));
            // Nobody tells us when a ConfigMap is made or corrected.
            self.wake_at(READ_AGAIN.after(self.now));
            return false;
        }
        let Some(told) = &self.status.rows_digest else {
            return true;
        };
        let next = self.status.next;
        if self.group.members.digest(next).as_ref() == Some(told) {
            return true;
        }
        self.stalled = Some((
            "RowsChanged",
            format!(
                "the first {next} rows were launched and are not the same any more: restore them (rows may be added behind them), or create another sweep"
            ),
        ));
        false
    }

    /// Moves the deadline of every member, if a later one is asked for.
    fn extend(&mut self) {
        let Some(to) = self.group.extend_to else {
            return;
        };
        if self.status.deadline.is_some_and(|deadline| deadline < to) {
            self.note(
                false,
                "Extended",
                "Extend",
                format!("the deadline moves to {to}"),
            );
            self.status.deadline = Some(to);
        }
        let behind = self
            .children
            .values()
            .flatten()
            .filter(|child| !members::is_finished(child))
            .filter(|child| child.spec.extend_to.is_none_or(|moved| moved < to))
            .filter_map(|child| child.metadata.name.clone())
            .collect::<Vec<_>>();
        for name in behind {
            self.actions.push(GroupAction::Extend { name, to });
        }
    }

    fn is_recorded(&self, index: u32) -> bool {
        self.status.succeeded_indexes.contains(index) || self.status.failed_indexes.contains(index)
    }

    /// Decides the end of everything.
    fn end(&mut self, reason: &str, message: String) {
        if self.status.ended.is_some() {
            return;
        }
        let warning = reason != outcome::COMPLETED;
        self.note(warning, outcome::event(reason), "End", message.clone());
        self.status.ended = Some(Ended {
            reason: reason.to_owned(),
            at: super::launch::whole_second(self.now),
            message,
        });
    }

    fn region_view(&self, region: &str) -> RegionView {
        self.view.regions.get(region).cloned().unwrap_or_default()
    }

    /// Whether the last call failed and is not to be tried again yet; says so and sets the alarm.
    fn blocked(&mut self) -> bool {
        let Some(problem) = self.view.problem else {
            return false;
        };
        if problem.error.class != Class::NotFound {
            let advice = problem.error.class.advice();
            self.trouble = Some(format!("{}; {advice}", problem.error));
        }
        if problem.retry_at <= self.now {
            return false;
        }
        self.wake_at(problem.retry_at);
        true
    }

    /// Terminates instances of one region, in calls of a size that EC2 takes.
    fn terminate(&mut self, region: &str, instance_ids: &[String]) {
        if instance_ids.is_empty() || self.blocked() {
            return;
        }
        for some in instance_ids.chunks(TERMINATE_AT_ONCE) {
            self.actions.push(GroupAction::Terminate {
                region: region.to_owned(),
                instance_ids: some.to_vec(),
            });
        }
    }

    /// Has the instances of a launch looked for among those that are gone.
    fn seek(&mut self, batch: &Batch) {
        self.actions.push(GroupAction::Seek {
            region: batch.plan.region.clone(),
            what: Seek::Launch(batch.token.clone()),
        });
    }

    fn look_again(&mut self) {
        self.wake_at(Duration::from_secs(5).after(self.now));
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn note(&mut self, warning: bool, reason: &'static str, action: &'static str, message: String) {
        self.actions.push(GroupAction::Note(Note {
            warning,
            reason,
            action,
            message,
        }));
    }
}

/// EC2 takes 1,000 ids a call (TerminateInstances, API Reference) and advises smaller batches.
const TERMINATE_AT_ONCE: usize = 200;
