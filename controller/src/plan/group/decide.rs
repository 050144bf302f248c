//! Deciding launch calls: which members, how many at once, in which call.

use std::collections::BTreeMap;

use spore_core::{agent_config::Members, duration::Duration, indexes::IndexSet, tags::MAX_VALUE};
use spore_crds::{Batch, FailureReason, Row, SporeInstanceSpec};

use super::{
    GroupAction, Planner, object, outcome::Outcome, source::MemberSpec, spend::Affordable,
};
use crate::plan::launch::{self, Resolution, Subject, whole_second};

/// Members of one call. EC2 advises several calls of 100 rather than one of 500 (RunInstances, API
/// Reference).
const BATCH: u32 = 100;
/// Lines that may be open at once: the most that EC2's request bucket admits within some seconds, and
/// few enough that the object stays small.
const OPEN_BATCHES: usize = 12;
/// User data and tags of open lines, in bytes, from which on no further line is opened: one line may
/// bring 40 KiB, and the whole status is to stay below 256 KiB.
const OPEN_BYTES: usize = 48 * 1_024;

/// Members that can be launched by one call: the same in everything but their parameters.
struct Candidates {
    spec: SporeInstanceSpec,
    attempt: u32,
    members: IndexSet,
    parameters: BTreeMap<u32, Row>,
}

impl Planner<'_> {
    /// Decides as many launch calls as may be made now.
    pub(super) fn decide_batches(&mut self) {
        if !self.may_decide() || self.is_taken() {
            return;
        }
        let mut slots = self.slots();
        while slots > 0 && self.may_open() {
            let Some(candidates) = self.candidates(slots) else {
                return;
            };
            let took = self.decide(candidates);
            if took == 0 {
                return;
            }
            slots = slots.saturating_sub(took);
            if self.group.launch_interval.is_some() {
                return;
            }
        }
    }

    /// Whether the status may hold another line.
    fn may_open(&self) -> bool {
        let size = |batch: &Batch| {
            let tags = batch.plan.tags.iter();
            let tags = tags.map(|(key, value)| key.len() + value.len());
            batch.plan.user_data.as_ref().map_or(0, String::len) + tags.sum::<usize>()
        };
        let open = &self.status.batches;
        open.len() < OPEN_BATCHES && open.iter().map(size).sum::<usize>() < OPEN_BYTES
    }

    /// Whether somebody else's object has the name of a member: its instance could not be told of.
    fn is_taken(&mut self) -> bool {
        let Some(taken) = self.view.taken.first().filter(|_| self.has_more()) else {
            return false;
        };
        let name = &taken.name;
        if taken.left_over {
            let message = format!("waiting until {name}, a member of its predecessor, is gone");
            self.waiting = Some(("NameTaken", message));
        } else {
            let message = format!(
                "there is a SporeInstance {name} that is not a member of this, so that no member can have its name: delete it, or give this another name"
            );
            self.stalled = Some(("NameTaken", message));
        }
        self.look_again();
        true
    }

    fn may_decide(&mut self) -> bool {
        if self.group.suspend || self.status.ended.is_some() {
            return false;
        }
        let edited = self
            .group
            .status
            .and_then(|status| status.observed_generation)
            != self.group.metadata.generation;
        match self.status.retry_at {
            Some(at) if at > self.now && !edited => {
                self.wake_at(at);
                if self.waiting.is_none() && self.stalled.is_none() {
                    self.keep_telling = true;
                }
                return false;
            }
            _ => self.status.retry_at = None,
        }
        let uncalled = self
            .status
            .batches
            .iter()
            .any(|batch| batch.placed.is_none());
        if uncalled && self.group.launch_interval.is_some() {
            return false;
        }
        if let Some((last, interval)) = self.status.last_launch_at.zip(self.group.launch_interval) {
            let next = interval.after(last);
            if next > self.now && self.has_more() {
                self.wake_at(next);
                self.waiting = Some((
                    "LaunchInterval",
                    format!("the next member is launched at {next}"),
                ));
                return false;
            }
        }
        true
    }

    /// Whether any member is still to be launched.
    pub(super) fn has_more(&self) -> bool {
        self.status.next < self.group.size || !self.status.retries.is_empty()
    }

    /// How many members may be launched now.
    fn slots(&self) -> u32 {
        let most = self.group.parallelism.unwrap_or(u32::MAX);
        let free = most.saturating_sub(self.active.len());
        match self.group.launch_interval {
            Some(_) => free.min(1),
            None => free,
        }
    }

    /// Indexes to launch, in order: those that are due again, then those never launched.
    fn due(&mut self, most: u32) -> Vec<u32> {
        let later = self.status.retries.iter().find(|retry| retry.at > self.now);
        if let Some(at) = later.map(|retry| retry.at) {
            self.wake_at(at);
        }
        // What is left of an older attempt must be gone first.
        let free = |index: &u32| !self.active.contains(*index) && !self.children_live(*index);
        let due = self.status.retries.iter();
        due.take_while(|retry| retry.at <= self.now)
            .flat_map(|retry| retry.indexes.iter())
            .chain(self.status.next..self.group.size)
            .filter(free)
            .take(most as usize)
            .collect()
    }

    fn children_live(&self, index: u32) -> bool {
        let objects = self.children.get(&index).into_iter().flatten();
        objects
            .into_iter()
            .any(|child| !super::members::is_finished(child))
    }

    /// The first members to launch that fit into one call.
    fn candidates(&mut self, slots: u32) -> Option<Candidates> {
        // A window, so that rows of two kinds in turn still come to few calls, and that a region which
        // is full does not hold up the others.
        let window = match self.group.parallelism_per_region {
            Some(_) => 4 * BATCH,
            None => slots.saturating_mul(2).min(4 * BATCH),
        };
        let due = self.due(window);
        let mut found: Option<Candidates> = None;
        let in_regions = self.active_by_region();
        for index in due {
            let MemberSpec {
                spec, parameters, ..
            } = match self.group.members.member(index) {
                Ok(member) => member,
                Err(message) => {
                    self.stalled = Some(("InvalidRow", format!("row {index}: {message}")));
                    return None;
                }
            };
            let attempt = self.attempt(index);
            match &mut found {
                None => {
                    let region = launch::region(&spec, self.settings);
                    let taken = in_regions.get(region).copied().unwrap_or(0);
                    if self
                        .group
                        .parallelism_per_region
                        .is_some_and(|most| taken >= most)
                    {
                        continue;
                    }
                    found = Some(Candidates {
                        spec: spec.into_owned(),
                        attempt,
                        members: IndexSet::range(index, index + 1),
                        parameters: BTreeMap::from([(index, parameters)]),
                    });
                }
                Some(batch) => {
                    let region = launch::region(&batch.spec, self.settings);
                    let taken = in_regions.get(region).copied().unwrap_or(0);
                    let full = self
                        .group
                        .parallelism_per_region
                        .is_some_and(|most| taken + batch.members.len() >= most);
                    if full || batch.members.len() >= BATCH.min(slots) {
                        break;
                    }
                    if batch.attempt != attempt || batch.spec != *spec {
                        continue;
                    }
                    batch.members.insert(index);
                    if batch.members.to_string().len() > MAX_VALUE {
                        batch.members.remove(index);
                        break;
                    }
                    batch.parameters.insert(index, parameters);
                }
            }
        }
        found
    }

    /// How many members are active in each region.
    fn active_by_region(&self) -> BTreeMap<String, u32> {
        let mut count = BTreeMap::new();
        if self.group.parallelism_per_region.is_none() {
            return count;
        }
        for batch in &self.status.batches {
            *count.entry(batch.plan.region.clone()).or_default() += batch.members.len();
        }
        let launching = |index: u32| {
            let mut batches = self.status.batches.iter();
            batches.any(|batch| batch.members.contains(index))
        };
        for (index, objects) in &self.children {
            for child in objects {
                if self.active.contains(*index) && !launching(*index) {
                    let region = launch::region(&child.spec, self.settings);
                    *count.entry(region.to_owned()).or_default() += 1;
                }
            }
        }
        count
    }

    /// Decides one call; says how many members it takes.
    fn decide(&mut self, mut candidates: Candidates) -> u32 {
        if self.status.batches_decided == 0
            && !(self.ready_for_first(&candidates.spec) && self.types_exist())
        {
            return 0;
        }
        let Some(zone) = self.zone(&candidates.spec) else {
            return 0;
        };
        loop {
            let resolution = self.resolve(&candidates, zone.clone());
            match resolution {
                Resolution::Ready(resolved) => {
                    let count = candidates.members.len();
                    let life = Duration::between(self.now, resolved.deadline);
                    match self.affordable(&resolved.plan, life, count) {
                        Affordable::Some(admitted) if admitted < count => {
                            candidates.members = candidates.members.first(admitted);
                        }
                        Affordable::Some(_) => return self.decided(candidates, *resolved),
                        Affordable::None => return 0,
                    }
                }
                Resolution::Need(facts) => {
                    self.actions
                        .extend(facts.into_iter().map(GroupAction::Learn));
                    self.waiting = Some((
                        "Resolving",
                        "asking AWS for instance type, image and profile".into(),
                    ));
                    return 0;
                }
                Resolution::Refused { error, until } => {
                    return self.unresolved(&candidates, &error, until);
                }
                Resolution::Impossible { reason, message } => {
                    // Half as many parameters may fit.
                    if reason == "UserDataTooLarge" && candidates.members.len() > 1 {
                        let half = candidates.members.len() / 2;
                        candidates.members = candidates.members.first(half);
                        continue;
                    }
                    return self.impossible(&candidates, reason, message);
                }
            }
        }
    }

    fn unresolved(
        &mut self,
        candidates: &Candidates,
        error: &crate::cloud::CloudError,
        until: jiff::Timestamp,
    ) -> u32 {
        if error.class == crate::cloud::Class::Invalid && self.group.history.is_some() {
            return self.impossible(candidates, "InvalidRequest", error.to_string());
        }
        self.status.retry_at = Some(until);
        self.wake_at(until);
        self.tell_refusal(error, until);
        0
    }

    /// What cannot be launched as declared: an array stands still, of a sweep these rows have failed.
    fn impossible(
        &mut self,
        candidates: &Candidates,
        reason: &'static str,
        message: String,
    ) -> u32 {
        if self.group.history.is_none() {
            self.stalled = Some((reason, message));
            return 0;
        }
        let outcome = Outcome {
            failure: Some(FailureReason::LaunchRefused),
            exit_code: None,
            message,
        };
        self.take(&candidates.members);
        for index in candidates.members.iter() {
            self.record(index, None, &outcome);
        }
        self.wake_at(self.now);
        0
    }

    fn resolve(&self, candidates: &Candidates, zone: Option<String>) -> Resolution {
        let metadata = self.group.metadata;
        let latest = self
            .status
            .started_at
            .or(Some(self.now))
            .zip(self.group.time_limit)
            .map(|(started, limit)| whole_second(limit.after(started)));
        let parameters = candidates
            .members
            .iter()
            .map(|index| {
                candidates
                    .parameters
                    .get(&index)
                    .cloned()
                    .unwrap_or_default()
            })
            .collect::<Vec<_>>();
        let none = parameters.iter().all(BTreeMap::is_empty);
        let subject = Subject {
            spec: &candidates.spec,
            kind: self.group.kind,
            uid: metadata.uid.as_deref().unwrap_or_default(),
            owner: launch::owner(metadata),
            attempt: candidates.attempt,
            batch: self.status.batches_decided,
            members: Some(Members {
                kind: self.group.kind,
                id: object::id(metadata),
                name: metadata.name.clone().unwrap_or_default(),
                size: self.group.size,
                indexes: candidates.members.clone(),
                parameters: if none { Vec::new() } else { parameters },
                peers: self.group.peers && self.group.size > 1,
            }),
            zone,
            latest,
        };
        launch::resolve(&subject, self.view.facts, self.settings, self.now)
    }

    fn decided(&mut self, candidates: Candidates, resolved: launch::Resolved) -> u32 {
        let Candidates {
            attempt, members, ..
        } = candidates;
        let launch::Resolved {
            token,
            decided_at,
            deadline,
            plan,
        } = resolved;
        self.take(&members);
        self.active.extend(members.iter());
        let count = members.len();
        let min_count = self.fewest(count);
        self.status.batches.push(Batch {
            number: self.status.batches_decided,
            attempt,
            members,
            min_count,
            token,
            decided_at,
            deadline,
            plan,
            placed: None,
        });
        self.status.batches_decided += 1;
        self.status.last_launch_at = Some(decided_at);
        self.status.started_at.get_or_insert(decided_at);
        self.status.deadline = self.status.deadline.max(Some(deadline));
        // Not called in this pass: the intent must be stored first.
        self.wake_at(self.now);
        count
    }

    /// Takes members out of the line. Those that they overtake are queued: `next` is one number, and
    /// nothing before it may be left out.
    fn take(&mut self, members: &IndexSet) {
        for retry in &mut self.status.retries {
            for index in members.iter() {
                retry.indexes.remove(index);
            }
        }
        self.status
            .retries
            .retain(|retry| !retry.indexes.is_empty());
        let Some(last) = members.iter().last() else {
            return;
        };
        let next = self.status.next;
        if last < next {
            return;
        }
        self.status.next = last + 1;
        self.status.rows_digest = self.group.members.digest(last + 1);
        for index in (next..last).filter(|index| !members.contains(*index)) {
            self.requeue(index, self.now);
        }
    }
}
