//! Members that exist as objects: rolling up how they stand and how they ended.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use spore_core::{duration::Duration, indexes::IndexSet};
use spore_crds::{Failure, FailureAction, FailureReason, Member, SporeInstance, State, conditions};

use super::{
    GroupAction, GroupView, Planner, Unreadable,
    outcome::{self, Outcome},
};
use crate::plan::launch::whole_second;

/// How many failures the status tells in words.
const FAILURES_TOLD: usize = 10;

/// How old an instance without a member must be to count as a stray: the objects of younger ones may
/// not have been seen yet.
const STRAY_AGE: Duration = Duration::from_secs(120);

/// What a member is, if it is one.
fn member(child: &SporeInstance) -> Option<&Member> {
    child.spec.member.as_ref()
}

/// The objects by their index.
pub(super) fn by_index<'a>(view: &GroupView<'a>) -> BTreeMap<u32, Vec<&'a SporeInstance>> {
    let mut all = BTreeMap::<u32, Vec<&SporeInstance>>::new();
    for &child in &view.children {
        if let Some(member) = member(child) {
            all.entry(member.index).or_default().push(child);
        }
    }
    all
}

/// Whether nothing is left of a member's instance.
pub(super) fn is_finished(child: &SporeInstance) -> bool {
    let state = child.status.as_ref().and_then(|status| status.state);
    matches!(state, Some(State::Succeeded | State::Failed | State::Ended))
}

/// Whether its disks are kept, and nothing runs.
pub(super) fn is_stopped(child: &SporeInstance) -> bool {
    let state = child.status.as_ref().and_then(|status| status.state);
    state == Some(State::Stopped)
}

/// Whether a member knows the launch that made its instance: from then on it looks after it.
pub(super) fn has_launch(child: &SporeInstance) -> bool {
    let status = child.status.as_ref();
    status.is_some_and(|status| status.launch.is_some())
}

impl<'a> Planner<'a> {
    /// Takes in how every member stands, and records those that ended.
    pub(super) fn roll_up(&mut self) {
        self.shrink();
        self.retry_failed();
        let mut launching = IndexSet::new();
        for batch in &self.status.batches {
            launching.extend(batch.members.iter());
        }
        // Indexes that are accounted for by an object or a launch, and by nothing in the status.
        let mut present = 0;
        let (next, queued) = (self.status.next, self.queued());
        let children = std::mem::take(&mut self.children);
        for (&index, objects) in &children {
            if index >= self.group.size {
                self.remove_all(objects);
                continue;
            }
            let open = queued.contains(index) || self.is_recorded(index);
            if launching.contains(index) {
                self.count(objects);
                continue;
            }
            present += u32::from(!open && index < next);
            self.one(index, objects, queued.contains(index));
        }
        self.children = children;
        present += self.count_unreadable(&launching);
        for index in launching.iter() {
            let open = queued.contains(index) || self.is_recorded(index);
            present += u32::from(!open && index < next);
            self.active.insert(index);
        }
        self.lost(present, &launching);
    }

    /// Members that cannot be read: each may have an instance. Says how many indexes only they account
    /// for.
    fn count_unreadable(&mut self, launching: &IndexSet) -> u32 {
        let mut alone = 0;
        for unread in &self.view.unreadable {
            let Unreadable { index, name, uid } = unread;
            if self.status.ended.is_some() || *index >= self.group.size {
                self.actions.push(GroupAction::DeleteMember {
                    name: name.clone(),
                    uid: uid.clone(),
                });
                self.wake_at(Duration::from_secs(5).after(self.now));
            }
            self.active.insert(*index);
            let other = launching.contains(*index)
                || self.children.contains_key(index)
                || self.is_queued(*index)
                || self.is_recorded(*index);
            alone += u32::from(!other && *index < self.status.next);
        }
        alone
    }

    fn is_unreadable(&self, index: u32) -> bool {
        let mut unreadable = self.view.unreadable.iter();
        unreadable.any(|unread| unread.index == index)
    }

    /// One index whose launch is over.
    fn one(&mut self, index: u32, objects: &[&'a SporeInstance], queued: bool) {
        let attempt = self.attempt(index);
        for &child in objects {
            let current = member(child).is_some_and(|member| member.attempt == attempt);
            if !current || queued {
                self.remove(child);
            } else if self.is_recorded(index) {
                if !has_launch(child) {
                    // Its instance was gone before it could be seen.
                    self.remove(child);
                } else if !is_finished(child) && !is_stopped(child) {
                    self.active.insert(index);
                }
            } else if let Some(outcome) = self.outcome(child) {
                self.record(index, Some(child), &outcome);
                if !is_finished(child) && !is_stopped(child) {
                    self.active.insert(index);
                }
            } else {
                self.count(&[child]);
            }
        }
    }

    /// Counts members that have not ended.
    fn count(&mut self, objects: &[&SporeInstance]) {
        for child in objects {
            let Some(member) = member(child) else {
                continue;
            };
            if !is_finished(child) {
                self.active.insert(member.index);
            }
            if child.status.as_ref().and_then(|status| status.state) == Some(State::Running) {
                self.ready.insert(member.index);
            }
            if child.metadata.deletion_timestamp.is_some() {
                // Nobody tells us when it is gone.
                self.wake_at(Duration::from_secs(1).after(self.now));
            }
        }
    }

    /// How a member ended; one whose agent never came counts as ended only where a rule says so.
    fn outcome(&self, child: &SporeInstance) -> Option<Outcome> {
        if let Some(outcome) = outcome::of(child) {
            return Some(outcome);
        }
        let status = child.status.as_ref()?;
        let agent = conditions::get(&status.conditions, conditions::AGENT_READY)?;
        let silent = Outcome {
            failure: Some(FailureReason::BootTimeout),
            exit_code: None,
            message: agent.message.clone(),
        };
        let named = self.group.failure_policy.is_some_and(|policy| {
            let mut rules = policy.rules.iter();
            rules.any(|rule| rule.on_reasons.contains(&FailureReason::BootTimeout))
        });
        (named && agent.reason == "AgentSilent").then_some(silent)
    }

    /// Records how a member ended, and does what the policy says about it.
    pub(super) fn record(&mut self, index: u32, child: Option<&SporeInstance>, outcome: &Outcome) {
        let attempt = self.attempt(index);
        self.account(child);
        let Some(reason) = outcome.failure else {
            self.status.succeeded_indexes.insert(index);
            self.keep_result(index, child, outcome);
            return;
        };
        *self
            .status
            .reasons
            .entry(reason.as_str().to_owned())
            .or_default() += 1;
        self.status.failures.push(Failure {
            index,
            attempt,
            reason: reason.as_str().to_owned(),
            message: outcome.message.clone(),
            at: whole_second(self.now),
        });
        let surplus = self.status.failures.len().saturating_sub(FAILURES_TOLD);
        self.status.failures.drain(..surplus);
        match outcome::action(self.group.failure_policy, outcome) {
            FailureAction::Replace if self.replace(index, attempt) => return,
            FailureAction::Replace | FailureAction::Continue => {}
            FailureAction::TerminateAll => {
                let message = format!(
                    "member {index} ended with {}: {}; the failure policy ends all members",
                    reason.as_str(),
                    outcome.message
                );
                self.end(outcome::FAILURE_POLICY, message);
            }
        }
        self.status.failed_indexes.insert(index);
        self.keep_result(index, child, outcome);
    }

    /// Launches an index again, if the limits admit it.
    fn replace(&mut self, index: u32, attempt: u32) -> bool {
        let policy = self.group.failure_policy;
        let counted = attempt - self.uncounted(index);
        if self.status.ended.is_some() || counted > outcome::limit_per_index(policy) {
            return false;
        }
        let limit = policy.and_then(|policy| policy.backoff_limit);
        if limit.is_some_and(|limit| self.status.retried >= limit) {
            let message = format!(
                "member {index} failed after {} replacements in all, which is the limit",
                self.status.retried
            );
            self.end(outcome::BACKOFF_LIMIT, message);
            return false;
        }
        self.status.retried += 1;
        self.next_attempt(index);
        self.requeue(index, outcome::pause(counted).after(self.now));
        true
    }

    fn keep_result(&mut self, index: u32, child: Option<&SporeInstance>, outcome: &Outcome) {
        if self.group.history.is_none() {
            return;
        }
        let name = self.group.members.member(index).ok().and_then(|m| m.name);
        let attempt = self.attempt(index);
        self.results
            .push(outcome::result(child, (index, attempt), name, outcome));
    }

    /// Adds up how long instances existed.
    pub(super) fn account(&mut self, child: Option<&SporeInstance>) {
        let status = child.and_then(|child| child.status.as_ref());
        if let Some(status) = status {
            self.spend.settle(status, None, self.now);
        }
        let launched = status
            .and_then(|status| status.instance.as_ref())
            .and_then(|instance| instance.launched_at);
        let ended = status
            .and_then(|status| status.ended.as_ref())
            .map_or(self.now, |ended| ended.at);
        if let Some(launched) = launched {
            let seconds = Duration::between(launched, ended).as_secs();
            self.status.instance_seconds += i64::from(seconds);
        }
    }

    /// Indexes that were launched and of which nothing is there: their objects were deleted.
    fn lost(&mut self, present: u32, launching: &IndexSet) {
        let status = &self.status;
        if status.ended.is_some() {
            // What was not done by then is neither a success nor a failure of its own.
            return;
        }
        let queued = self.count_queued();
        let recorded = status.succeeded_indexes.len() + status.failed_indexes.len();
        if present + queued + recorded >= status.next {
            return;
        }
        let lost = (0..status.next)
            .filter(|index| !launching.contains(*index))
            .filter(|index| !self.children.contains_key(index) && !self.is_unreadable(*index))
            .filter(|index| !self.is_recorded(*index) && !self.is_queued(*index))
            .collect::<Vec<_>>();
        for index in lost {
            let outcome = Outcome {
                failure: Some(FailureReason::UserRequested),
                exit_code: None,
                message: "the member was deleted".into(),
            };
            self.record(index, None, &outcome);
        }
    }

    /// Forgets indexes that are not wanted any more. Should they be wanted again, that is a new
    /// attempt: what is left of the old one is not theirs.
    fn shrink(&mut self) {
        let (size, next) = (self.group.size, self.status.next);
        if next <= size {
            return;
        }
        for index in size..next {
            self.attempt_anew(index);
        }
        for retry in &mut self.status.retries {
            retry.indexes.truncate(size);
        }
        self.status
            .retries
            .retain(|retry| !retry.indexes.is_empty());
        self.status.succeeded_indexes.truncate(size);
        self.status.failed_indexes.truncate(size);
        self.status.next = size;
    }

    /// Launches all failed members once more, when that is asked for.
    fn retry_failed(&mut self) {
        let asked = self.group.retry_failed;
        if asked <= self.status.retries_of_failed || self.group.cancel {
            return;
        }
        self.status.retries_of_failed = asked;
        if let Some(reason) = self.cannot_retry() {
            let message = format!("failed members are not launched once more: {reason}");
            return self.note(true, "NotRetried", "Retry", message);
        }
        let mut failed = std::mem::take(&mut self.status.failed_indexes);
        if self.status.ended.is_some() {
            // And what was ended with it.
            let next = (0..self.status.next).filter(|index| !self.is_recorded(*index));
            failed.extend(next.collect::<Vec<_>>());
        }
        if failed.is_empty() {
            return;
        }
        let count = failed.len();
        self.note(
            false,
            "RetryingFailed",
            "Retry",
            format!("{count} failed members are launched once more"),
        );
        // They count against the limit of replacements: to keep of half of a hundred thousand rows that
        // they do not would bring the object near to what etcd takes.
        for index in failed.iter() {
            self.next_attempt(index);
            self.requeue(index, self.now);
        }
        self.status.ended = None;
    }

    /// Why launching failed members again would end at once.
    fn cannot_retry(&self) -> Option<&'static str> {
        let ended = self.status.ended.as_ref();
        if ended.is_some_and(|ended| ended.reason == outcome::COMPLETED) {
            return Some("the whole has succeeded");
        }
        let limit = self.status.started_at.zip(self.group.time_limit);
        limit
            .is_some_and(|(started, limit)| limit.after(started) <= self.now)
            .then_some("its deadline has passed; raise both deadline and retryFailed")
    }

    fn remove_all(&mut self, objects: &[&SporeInstance]) {
        for child in objects {
            self.remove(child);
        }
    }

    /// Deletes the object of a member, which ends its instance.
    pub(super) fn remove(&mut self, child: &SporeInstance) {
        self.count(&[child]);
        if child.metadata.deletion_timestamp.is_some() {
            return;
        }
        self.actions.push(GroupAction::DeleteMember {
            name: child.name_any(),
            uid: child.uid().unwrap_or_default(),
        });
        self.wake_at(Duration::from_secs(1).after(self.now));
    }

    /// Terminates instances of this group that belong to no member and no open launch.
    pub(super) fn terminate_strays(&mut self) {
        let strays = self
            .view
            .instances
            .iter()
            .filter(|instance| instance.state.is_live() && !instance.keep)
            .filter(|instance| {
                instance
                    .launched_at
                    .is_some_and(|at| STRAY_AGE.after(at) <= self.now)
            })
            .filter(|instance| {
                let batches = self.status.batches.iter();
                !batches
                    .into_iter()
                    .any(|batch| instance.client_token.as_deref() == Some(&batch.token))
            })
            .filter(|instance| {
                let objects = instance.member.and_then(|index| self.children.get(&index));
                let known = objects.into_iter().flatten().any(|child| {
                    member(child).is_some_and(|m| m.attempt == instance.identity.attempt)
                });
                let unread = instance
                    .member
                    .is_some_and(|index| self.is_unreadable(index));
                !known && !unread
            })
            .map(|instance| (instance.region.clone(), instance.id.clone()))
            .collect::<Vec<_>>();
        for (region, id) in strays {
            if !self.blocked() {
                let message = format!("{id} belongs to no member");
                self.note(true, "StrayTerminated", "Terminate", message);
            }
            self.terminate(&region, &[id]);
        }
    }

    /// Deletes ended members beyond those that are kept: the oldest first.
    pub(super) fn trim_history(&mut self) {
        let Some(history) = self.group.history else {
            return;
        };
        let stored = self.group.status;
        let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
        for (&index, objects) in &self.children {
            // Only what was recorded in an earlier pass: its result is certainly kept.
            let recorded = |set: fn(&spore_crds::GroupStatus) -> &IndexSet| {
                stored.is_some_and(|status| set(status).contains(index))
            };
            let kept = if recorded(|status| &status.succeeded_indexes) {
                &mut succeeded
            } else if recorded(|status| &status.failed_indexes) {
                &mut failed
            } else {
                continue;
            };
            kept.extend(objects.iter().copied().filter(|child| is_finished(child)));
        }
        for (mut kept, limit) in [(succeeded, history.succeeded), (failed, history.failed)] {
            kept.sort_by_key(|child| {
                let ended = child.status.as_ref().and_then(|s| s.ended.as_ref());
                (ended.map(|ended| ended.at), member(child).map(|m| m.index))
            });
            let surplus = kept.len().saturating_sub(limit as usize);
            for child in kept.into_iter().take(surplus) {
                self.remove(child);
            }
        }
    }
}
