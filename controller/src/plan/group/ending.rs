//! How everything ends: by success, by policy, by a deadline, by being cancelled or deleted.

use spore_core::duration::Duration;
use spore_crds::{Ended, FailureReason, SporeInstance};

use super::{
    Planner, members,
    outcome::{self, Outcome},
};
use crate::{cloud::InstanceState, plan::instance::ABANDON};

impl Planner<'_> {
    /// Decides whether everything ends now.
    pub(super) fn judge(&mut self) {
        if self.status.ended.is_some() {
            return;
        }
        if self.group.cancel {
            return self.end(outcome::CANCELLED, "it was cancelled".into());
        }
        if let Some((started, limit)) = self.status.started_at.zip(self.group.time_limit) {
            let over = limit.after(started);
            if over <= self.now {
                let message = format!("it was not done within {limit} from its first launch");
                return self.end(outcome::DEADLINE_EXCEEDED, message);
            }
            self.wake_at(over);
        }
        if self.group.size == 0 {
            return;
        }
        let (met, wanted) = self.success();
        if met {
            let message = format!("{wanted} of {} members have succeeded", self.group.size);
            return self.end(outcome::COMPLETED, message);
        }
        let failed = self.status.failed_indexes.len();
        let quorum = self.group.failure_policy.and_then(|policy| policy.quorum);
        if let Some(quorum) = quorum.filter(|quorum| self.group.size - failed < *quorum) {
            let message = format!(
                "{failed} of {} members have failed, so that fewer than {quorum} can succeed",
                self.group.size
            );
            return self.end(outcome::QUORUM_LOST, message);
        }
        if failed + self.status.succeeded_indexes.len() >= self.group.size {
            let message = format!("{failed} of {} members have failed", self.group.size);
            self.end(outcome::MEMBERS_FAILED, message);
        }
    }

    /// Whether enough members have succeeded, and how many that is.
    fn success(&self) -> (bool, u32) {
        let succeeded = &self.status.succeeded_indexes;
        let policy = self.group.success_policy;
        let which = policy.and_then(|policy| policy.succeeded_indexes.as_ref());
        let (have, of) = match which {
            None => (succeeded.len(), self.group.size),
            Some(which) => {
                let have = which.iter().filter(|index| succeeded.contains(*index));
                (u32::try_from(have.count()).unwrap_or(u32::MAX), which.len())
            }
        };
        let wanted = policy
            .and_then(|policy| policy.succeeded_count)
            .unwrap_or(of)
            .min(of);
        (have >= wanted, wanted)
    }

    /// Everything has ended: what still runs goes.
    pub(super) fn end_rest(&mut self) {
        let Some(ended) = self.status.ended.clone() else {
            return;
        };
        self.status.releasing = false;
        for index in self.queued().iter() {
            self.cut_short(index, None, &ended);
        }
        self.status.retries.clear();
        let unfinished = self
            .children
            .iter()
            .flat_map(|(&index, objects)| objects.iter().map(move |child| (index, *child)))
            .filter(|(_, child)| !members::is_finished(child))
            .filter(|(index, child)| !(members::is_stopped(child) && self.is_recorded(*index)))
            .collect::<Vec<_>>();
        for (index, child) in unfinished {
            let ours = self.attempt(index)
                == child
                    .spec
                    .member
                    .as_ref()
                    .map_or(0, |member| member.attempt);
            if ours && !self.is_recorded(index) {
                self.cut_short(index, Some(child), &ended);
            }
            self.remove(child);
        }
    }

    /// A member that the end of everything ends. If the whole has succeeded it is not needed any more,
    /// and has neither succeeded nor failed; else it counts as failed, and can be launched once more
    /// with the others.
    fn cut_short(&mut self, index: u32, child: Option<&SporeInstance>, ended: &Ended) {
        if index >= self.group.size {
            return;
        }
        let going = child.is_some_and(|child| child.metadata.deletion_timestamp.is_some());
        let completed = ended.reason == outcome::COMPLETED;
        if completed && going {
            return;
        }
        if !completed {
            self.account(child);
            self.status.failed_indexes.insert(index);
            let reasons = &mut self.status.reasons;
            *reasons.entry(ended.reason.clone()).or_default() += 1;
        }
        if self.group.history.is_none() {
            return;
        }
        let outcome = Outcome {
            failure: Some(FailureReason::UserRequested),
            exit_code: None,
            message: ended.message.clone(),
        };
        let name = self.group.members.member(index).ok().and_then(|m| m.name);
        let mut row = outcome::result(child, (index, self.attempt(index)), name, &outcome);
        row.reason.clone_from(&ended.reason);
        self.results.push(row);
    }

    /// The way of a group that is deleted: nothing may be left of it in EC2. Its members go with it:
    /// Kubernetes collects them once it is gone. Says whether it must stay.
    pub(super) fn delete(&mut self) -> bool {
        let annotations = self.group.metadata.annotations.as_ref();
        let abandoned = annotations
            .and_then(|all| all.get(ABANDON))
            .is_some_and(|value| value == "true");
        if abandoned {
            let message = "let go of without waiting for EC2".to_owned();
            self.note(true, "Abandoned", "Release", message);
            return false;
        }
        self.roll_up_deleted();
        self.follow_batches();
        let mut live = std::collections::BTreeMap::<String, Vec<String>>::new();
        let mut going = false;
        for instance in &self.view.instances {
            going |= instance.state != InstanceState::Terminated;
            if instance.state.is_live() {
                let ids = live.entry(instance.region.clone()).or_default();
                ids.push(instance.id.clone());
            }
        }
        for (region, ids) in live {
            self.terminate(&region, ids);
        }
        let hold = going || !self.status.batches.is_empty() || self.unlisted();
        if hold {
            self.wake_at(Duration::from_secs(2).after(self.now));
        }
        hold
    }

    fn roll_up_deleted(&mut self) {
        let objects = std::mem::take(&mut self.children);
        for child in objects.values().flatten() {
            if !members::is_finished(child)
                && let Some(member) = &child.spec.member
            {
                self.active.insert(member.index);
            }
        }
        self.children = objects;
    }

    /// Whether a region in which something was launched has not been listed by this process yet.
    fn unlisted(&mut self) -> bool {
        if self.status.batches_decided == 0 {
            return false;
        }
        let waiting = self
            .view
            .regions
            .values()
            .find(|region| region.lists.is_empty());
        let Some(region) = waiting else { return false };
        if let Some(error) = &region.error {
            self.trouble = Some(format!(
                "{error}; {}; deletion waits until EC2 says that the instances are gone, or until it is let go of with the annotation {ABANDON}=true",
                error.class.advice()
            ));
        }
        true
    }
}
