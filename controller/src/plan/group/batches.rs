//! Launch calls that are decided: following each until every member that EC2 gave exists.

use std::collections::BTreeMap;

use spore_core::duration::Duration;
use spore_crds::{Batch, FailureReason, GroupStatus};

use super::{GroupAction, GroupView, Planner, members, outcome::Outcome};
use crate::{
    cloud::{Class, CloudError, Instance},
    plan::{LaunchOutcome, LaunchRecord, launch},
};

/// How long a launch of a predecessor may be replayed; see `plan/instance/open.rs`.
const REPLAY_WINDOW: Duration = Duration::from_secs(12 * 3_600);

/// Objects made in one pass: few enough that the next launch call does not wait for them.
const OBJECTS_AT_ONCE: usize = 64;

/// The instances of open launch calls, by token.
pub(super) fn made<'a>(
    status: &GroupStatus,
    view: &GroupView<'a>,
) -> BTreeMap<String, Vec<&'a Instance>> {
    let tokens = status.batches.iter().map(|batch| batch.token.clone());
    let mut made = tokens
        .map(|token| (token, Vec::new()))
        .collect::<BTreeMap<_, _>>();
    for &instance in &view.instances {
        let token = instance.client_token.as_deref().unwrap_or_default();
        if let Some(of_call) = made.get_mut(token) {
            of_call.push(instance);
        }
    }
    made
}

impl<'a> Planner<'a> {
    /// Follows every open launch call.
    pub(super) fn follow_batches(&mut self) {
        let mut made = 0;
        for batch in std::mem::take(&mut self.status.batches) {
            let token = batch.token.clone();
            let kept = match batch.placed {
                // What came goes again: without ever having been made an object.
                Some(_) if self.status.releasing => self.withdraw(batch),
                Some(_) => self.placed(batch, &mut made),
                None if self.must_not_launch() || self.is_outdated(&batch) => self.withdraw(batch),
                None if self.group.suspend => self.held(batch),
                None => self.unplaced(batch),
            };
            match kept {
                Some(batch) => self.status.batches.push(batch),
                None => self.actions.push(GroupAction::Forget { token }),
            }
        }
    }

    /// Whether nothing more may be launched.
    fn must_not_launch(&self) -> bool {
        self.status.ended.is_some()
            || self.status.releasing
            || self.group.cancel
            || self.group.metadata.deletion_timestamp.is_some()
    }

    /// Whether none of its members is wanted any more as it is here.
    fn is_outdated(&self, batch: &Batch) -> bool {
        let mut members = batch.members.iter();
        !members.any(|index| self.is_wanted(batch, index))
    }

    fn is_wanted(&self, batch: &Batch, index: u32) -> bool {
        index < self.status.next && self.attempt(index) == batch.attempt
    }

    /// The instances of one launch call.
    fn made(&self, batch: &Batch) -> &[&'a Instance] {
        self.made.get(&batch.token).map_or(&[], Vec::as_slice)
    }

    /// How many members EC2 gave, as far as its lists tell: it gives the first ones.
    fn count_made(&self, batch: &Batch) -> u32 {
        let last = self.made(batch).iter().filter_map(|i| i.member).max();
        last.map_or(0, |last| {
            let given = batch.members.iter().take_while(|index| *index <= last);
            u32::try_from(given.count()).unwrap_or(u32::MAX)
        })
    }

    /// Whether nothing of a launch that the lists do not show can still come.
    fn nothing_more(&self, batch: &Batch, record: &LaunchRecord) -> bool {
        let called = record.called_at.unwrap_or(batch.decided_at);
        self.region_view(&batch.plan.region)
            .proves_absence(called.max(batch.decided_at), self.settings.absence)
    }

    fn launch_record(&self, batch: &Batch) -> LaunchRecord {
        // A launch that this process did not decide may have been called by a predecessor.
        let known = self.view.launches.get(&batch.token);
        known.cloned().unwrap_or_else(LaunchRecord::inherited)
    }

    fn unplaced(&mut self, batch: Batch) -> Option<Batch> {
        let record = self.launch_record(&batch);
        let seen = self.count_made(&batch);
        if seen == batch.members.len() {
            return self.place(batch, seen);
        }
        match &record.last {
            Some(LaunchOutcome::Launched { instance_ids }) => {
                let count = u32::try_from(instance_ids.len()).unwrap_or(u32::MAX);
                self.place(batch, count)
            }
            Some(LaunchOutcome::Deferred { until }) if *until > self.now => {
                self.wake_at(*until);
                self.waiting = Some((
                    "RateLimited",
                    format!("EC2 admits no more launches for now; next call at {until}"),
                ));
                Some(batch)
            }
            Some(LaunchOutcome::Failed { error, at }) => {
                let retry_at = at
                    .checked_add(error.class.retry_after(record.calls))
                    .unwrap_or(*at);
                if matches!(
                    error.class,
                    Class::Unclear | Class::Throttle | Class::NotYetKnown
                ) {
                    self.waiting = Some((
                        error.class.reason(),
                        format!("{error}; {}; next try at {retry_at}", error.class.advice()),
                    ));
                    if retry_at <= self.now {
                        return self.call(batch);
                    }
                    self.wake_at(retry_at);
                    return Some(batch);
                }
                self.refused(batch, &record, error)
            }
            None | Some(LaunchOutcome::Deferred { .. }) => self.call(batch),
        }
    }

    fn call(&mut self, batch: Batch) -> Option<Batch> {
        let replayable = REPLAY_WINDOW.after(batch.decided_at) > self.now;
        if batch.deadline <= self.now || !replayable {
            return self.withdraw(batch);
        }
        self.actions
            .push(GroupAction::Launch(Box::new(batch.clone())));
        Some(batch)
    }

    /// EC2 gave the first `count` members; the others go back into the line.
    fn place(&mut self, mut batch: Batch, count: u32) -> Option<Batch> {
        let given = batch.members.first(count);
        let missing = batch
            .members
            .iter()
            .filter(|index| !given.contains(*index))
            .collect::<Vec<_>>();
        if !missing.is_empty() {
            let message = format!(
                "EC2 gave {count} of {} members; the others are launched as soon as they can be had",
                batch.members.len()
            );
            self.note(true, "PartlyLaunched", "RunInstances", message);
            let error = CloudError {
                call: "RunInstances",
                region: batch.plan.region.clone(),
                class: Class::Capacity,
                code: None,
                message: format!("{count} of {} instances given", batch.members.len()),
            };
            self.back_off(&error);
            for index in missing {
                self.give_back(index, batch.attempt, false);
            }
        } else if !self.is_forming() && self.status.retry_at.is_none_or(|at| at <= self.now) {
            self.status.refusals = 0;
            self.status.retry_at = None;
        }
        // From when the call was made, not from when it was decided.
        if self.group.launch_interval.is_some() {
            self.status.last_launch_at = Some(self.now);
        }
        let message = format!("EC2 gave members {given}");
        self.note(false, "Launched", "RunInstances", message);
        batch.members = given;
        batch.placed = Some(count);
        batch.plan.user_data = None;
        batch.plan.tags.clear();
        Some(batch)
    }

    /// EC2 refused. That is final for the token only if no earlier call may have taken effect.
    fn refused(
        &mut self,
        batch: Batch,
        record: &LaunchRecord,
        error: &CloudError,
    ) -> Option<Batch> {
        let mismatch = error.code.as_deref() == Some("IdempotentParameterMismatch");
        if (record.unclear || mismatch) && !self.nothing_more(&batch, record) {
            self.look_again();
            self.waiting = Some((
                "LaunchUnclear",
                format!(
                    "{error}; an earlier call may have launched members {}, which would show up in EC2's lists; they are not launched again until that is certain",
                    batch.members
                ),
            ));
            return Some(batch);
        }
        let made = self.count_made(&batch);
        if made > 0 {
            return self.place(batch, made);
        }
        let message = format!("members {}: {error}", batch.members);
        self.note(true, "LaunchFailed", "RunInstances", message);
        if self.refuse_gang(&batch, error) {
            return None;
        }
        if error.class == Class::Invalid && self.group.history.is_some() {
            // What is wrong is wrong with these rows; others may be right.
            let outcome = Outcome {
                failure: Some(FailureReason::LaunchRefused),
                exit_code: None,
                message: error.to_string(),
            };
            for index in batch.members.iter() {
                if self.is_wanted(&batch, index) {
                    self.record(index, None, &outcome);
                }
            }
            return None;
        }
        self.back_off(error);
        for index in batch.members.iter() {
            self.give_back(index, batch.attempt, false);
        }
        None
    }

    /// Tries again later what EC2 refused.
    pub(super) fn back_off(&mut self, error: &CloudError) {
        self.status.refusals += 1;
        let wait = error.class.retry_after(self.status.refusals);
        let at = self.now.checked_add(wait).unwrap_or(self.now);
        let at = launch::whole_second(at);
        self.status.retry_at = Some(at);
        self.tell_refusal(error, at);
    }

    /// Says of a refusal whether time heals it.
    pub(super) fn tell_refusal(&mut self, error: &CloudError, at: jiff::Timestamp) {
        let message = format!("{error}; {}; next try at {at}", error.class.advice());
        if error.class.heals() {
            self.waiting = Some((error.class.reason(), message));
        } else {
            self.stalled = Some((error.class.reason(), message));
        }
    }

    /// Whether no call of a launch can have had an effect.
    fn never_called(record: &LaunchRecord) -> bool {
        !record.unclear
            && match &record.last {
                None | Some(LaunchOutcome::Deferred { .. }) => true,
                Some(LaunchOutcome::Failed { error, .. }) => error.class.is_definite(),
                Some(LaunchOutcome::Launched { .. }) => false,
            }
    }

    /// A launch that may not be called for as long as launching is held: it is found out what it made.
    fn held(&mut self, batch: Batch) -> Option<Batch> {
        let record = self.launch_record(&batch);
        if let Some(LaunchOutcome::Launched { instance_ids }) = &record.last {
            let count = u32::try_from(instance_ids.len()).unwrap_or(u32::MAX);
            return self.place(batch, count);
        }
        let made = self.count_made(&batch);
        let over = self.nothing_more(&batch, &record);
        if made == batch.members.len() || (over && made > 0) {
            return self.place(batch, made);
        }
        let never_called = Self::never_called(&record);
        if !never_called && !over {
            self.look_again();
            return Some(batch);
        }
        for index in batch.members.iter() {
            self.give_back(index, batch.attempt, !never_called);
        }
        None
    }

    /// A launch that may not be called any more: whatever it made goes, and only when it is certain
    /// that nothing more can come, the line is closed.
    fn withdraw(&mut self, batch: Batch) -> Option<Batch> {
        let record = self.launch_record(&batch);
        let never_called = Self::never_called(&record);
        let made = self.made(&batch);
        let live = made.iter().filter(|i| i.state.is_live());
        let live = live.map(|i| i.id.clone()).collect::<Vec<_>>();
        // Whoever looks late may find instances gone that EC2's lists showed for an hour.
        let all_known = match &record.last {
            _ if batch
                .placed
                .is_some_and(|count| made.len() >= count as usize) =>
            {
                true
            }
            Some(LaunchOutcome::Launched { instance_ids }) => instance_ids
                .iter()
                .all(|id| made.iter().any(|instance| instance.id == *id)),
            _ => false,
        } || self.nothing_more(&batch, &record);
        let certain = never_called || (all_known && live.is_empty());
        self.terminate(&batch.plan.region.clone(), live);
        if certain {
            for index in batch.members.iter() {
                self.give_back(index, batch.attempt, !never_called);
            }
            return None;
        }
        self.look_again();
        Some(batch)
    }

    /// Makes the objects of members that EC2 gave; closes the line once all of them know their
    /// instance. Members that are not wanted any more go without becoming objects.
    fn placed(&mut self, mut batch: Batch, made: &mut usize) -> Option<Batch> {
        let (mut open, mut creating) = (false, false);
        let mut unwanted = Vec::new();
        for index in batch.members.clone().iter() {
            let objects = self.children.get(&index).into_iter().flatten();
            let mut objects = objects.filter(|child| {
                let member = child.spec.member.as_ref();
                member.is_some_and(|member| member.attempt == batch.attempt)
            });
            let current = objects.next();
            if current.is_some_and(|child| members::has_launch(child)) {
                continue;
            }
            let exists = current.is_some();
            if self.must_not_launch() || !self.is_wanted(&batch, index) {
                if self.may_live(&batch, index, &mut unwanted) {
                    open = true;
                } else {
                    batch.members.remove(index);
                    self.give_back(index, batch.attempt, true);
                }
                continue;
            }
            if self.vanished(&batch, index) {
                batch.members.remove(index);
                let outcome = Outcome {
                    failure: Some(FailureReason::EndedOutside),
                    exit_code: None,
                    message: "EC2 no longer knows its instance".into(),
                };
                self.record(index, None, &outcome);
                continue;
            }
            (open, creating) = (true, true);
            if !exists && *made < OBJECTS_AT_ONCE {
                *made += self.create(&batch, index);
            }
        }
        // A deletion terminates all that lives, in one go.
        if self.group.metadata.deletion_timestamp.is_none() {
            self.terminate(&batch.plan.region.clone(), unwanted);
        }
        if !open {
            return None;
        }
        if creating {
            self.wake_at(Duration::from_secs(1).after(self.now));
        } else {
            self.look_again();
        }
        Some(batch)
    }

    /// Whether the instance of a member that is not wanted any more may live; if it is seen to, its id
    /// is put with the others.
    fn may_live(&self, batch: &Batch, index: u32, live: &mut Vec<String>) -> bool {
        let made = self.made(batch);
        let mut own = made.iter().filter(|i| i.member == Some(index)).peekable();
        if own.peek().is_none() {
            return !self.nothing_more(batch, &self.launch_record(batch));
        }
        let before = live.len();
        let own = own.filter(|i| i.state.is_live());
        live.extend(own.map(|i| i.id.clone()));
        live.len() > before
    }

    /// Whether the instance of a member was given and is certainly not there any more.
    fn vanished(&self, batch: &Batch, index: u32) -> bool {
        self.nothing_more(batch, &self.launch_record(batch))
            && !self.made(batch).iter().any(|i| i.member == Some(index))
    }

    /// Creates the object of a member. Says how many objects that makes.
    fn create(&mut self, batch: &Batch, index: u32) -> usize {
        // While an older attempt's object goes, its name is taken.
        if self.children.contains_key(&index) {
            let objects = self.children.get(&index).cloned().unwrap_or_default();
            for child in objects {
                self.remove(child);
            }
            return 0;
        }
        match self.object(batch, index) {
            Ok(object) => {
                self.actions
                    .push(GroupAction::CreateMember(Box::new(object)));
                1
            }
            Err(message) => {
                self.stalled = Some(("InvalidRow", format!("row {index}: {message}")));
                0
            }
        }
    }
}
