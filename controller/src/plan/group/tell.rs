//! Writing what is known into the status, for people and for programs.

use std::cmp::Ordering;

use jiff::Timestamp;
use spore_core::tags::Kind;
use spore_crds::{
    ARRAY_LABEL, GroupState, GroupStatus, SWEEP_LABEL,
    conditions::{self, Say},
};

use super::{Planner, outcome};
use crate::plan::{cost, launch::whole_second};

impl Planner<'_> {
    /// Writes counters, state and conditions.
    pub(super) fn tell(&mut self) {
        self.count_members();
        let [ready, reconciling, stalled] = self.summary();
        let state = self.state(&ready, &stalled);
        let launched = self.launched();
        let succeeded = self.succeeded();
        let keep = self.keep_telling && self.stalled.is_none() && self.waiting.is_none();
        if !keep {
            self.status.state = Some(state);
        }
        let generation = self.group.metadata.generation;
        for (type_, say) in [
            (conditions::READY, ready),
            (conditions::RECONCILING, reconciling),
            (conditions::STALLED, stalled),
        ] {
            // While a refused launch waits to be tried again, what was said of it holds.
            let said = conditions::get(&self.status.conditions, type_);
            if !(keep && said.is_some()) {
                conditions::set(
                    &mut self.status.conditions,
                    type_,
                    say,
                    generation,
                    self.now,
                );
            }
        }
        for (type_, say) in [
            (conditions::LAUNCHED, launched),
            (conditions::SUCCEEDED, succeeded),
        ] {
            conditions::set(
                &mut self.status.conditions,
                type_,
                say,
                generation,
                self.now,
            );
        }
        self.estimate();
        let spend = self.spend;
        if self.status.batches_decided > 0 {
            cost::tell_group(self.group.status, &mut self.status, &spend, self.now);
        }
    }

    fn count_members(&mut self) {
        let size = self.group.size;
        let waiting = self
            .status
            .retries
            .iter()
            .flat_map(|retry| retry.indexes.iter())
            .filter(|index| self.attempt(*index) == 1)
            .count();
        let status = &mut self.status;
        status.launched = status
            .next
            .saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX));
        status.active = self.active.len();
        status.ready = self.ready.len();
        status.succeeded = status.succeeded_indexes.len();
        status.failed = status.failed_indexes.len();
        status.active_indexes = std::mem::take(&mut self.active);
        // Whole percents, rounded down: 100% means all.
        let percent = (u64::from(status.launched) * 100)
            .checked_div(u64::from(size))
            .unwrap_or(100);
        status.progress = Some(format!("{}/{size} ({percent}%)", status.launched));
        let name = self.group.metadata.name.as_deref().unwrap_or_default();
        let label = match self.group.kind {
            Kind::SporeSweep => SWEEP_LABEL,
            Kind::SporeArray | Kind::SporeInstance => ARRAY_LABEL,
        };
        status.selector = Some(format!("{label}={name}"));
        let gone = status.ended.is_some() && status.active == 0 && status.batches.is_empty();
        if gone {
            status.finished_at.get_or_insert(whole_second(self.now));
        } else {
            status.finished_at = None;
        }
    }

    fn is_over(&self) -> bool {
        self.status.finished_at.is_some()
    }

    fn state(&self, ready: &Say, stalled: &Say) -> GroupState {
        if self.group.metadata.deletion_timestamp.is_some() {
            return GroupState::Terminating;
        }
        if let Some(ended) = &self.status.ended {
            return match (self.is_over(), ended.reason.as_str()) {
                (false, _) => GroupState::Ending,
                (true, outcome::COMPLETED) => GroupState::Succeeded,
                (true, outcome::CANCELLED) => GroupState::Cancelled,
                (true, _) => GroupState::Failed,
            };
        }
        if stalled.status == Some(true) {
            return GroupState::Stalled;
        }
        if self.status.releasing {
            return GroupState::Releasing;
        }
        if self.group.suspend && self.has_more() {
            return GroupState::Suspended;
        }
        if ready.status == Some(true) || self.all_up() {
            return GroupState::Running;
        }
        if self.status.batches_decided == 0 {
            return GroupState::Pending;
        }
        GroupState::Launching
    }

    /// Whether every member that is not done runs.
    fn all_up(&self) -> bool {
        self.status.batches.is_empty() && !self.has_more() && self.ready.len() == self.status.active
    }

    /// Ready, Reconciling and Stalled, as kstatus reads them.
    fn summary(&self) -> [Say; 3] {
        let progress = |reason: &'static str, message: String| {
            [
                Say::no(reason, message.clone()),
                Say::yes(reason, message),
                Say::no("Progressing", "on its way"),
            ]
        };
        let reached = |reason: &'static str, message: String| {
            [
                Say::yes(reason, message),
                Say::no(reason, "nothing left to do"),
                Say::no(reason, "nothing is in the way"),
            ]
        };
        if let Some(trouble) = &self.trouble {
            return progress("ActionFailing", trouble.clone());
        }
        if self.group.metadata.deletion_timestamp.is_some() {
            return progress("Terminating", self.going());
        }
        if let Some(ended) = &self.status.ended {
            if self.is_over() {
                return reached("Finished", ended.message.clone());
            }
            return progress("Ending", format!("{}; {}", ended.message, self.going()));
        }
        if let Some((reason, message)) = &self.stalled {
            return [
                Say::no(reason, message.clone()),
                Say::no(reason, "waiting for a change"),
                Say::yes(reason, message.clone()),
            ];
        }
        if let Some((reason, message)) = &self.waiting {
            return progress(reason, message.clone());
        }
        if self.group.suspend && self.has_more() {
            let message = "no more members are launched until suspend is false";
            return reached("Suspended", message.into());
        }
        let status = &self.status;
        let counts = format!(
            "{} of {} launched, {} up, {} succeeded, {} failed",
            status.launched,
            self.group.size,
            self.ready.len(),
            status.succeeded,
            status.failed
        );
        if self.all_up() {
            return reached("Running", counts);
        }
        progress("Progressing", counts)
    }

    fn going(&self) -> String {
        format!("{} instances are going", self.status.active)
    }

    fn launched(&self) -> Say {
        let (launched, size) = (self.status.launched, self.group.size);
        match launched.cmp(&size) {
            Ordering::Less if launched == 0 => Say::no("NotLaunched", "no member was launched"),
            Ordering::Less => Say::no(
                "PartlyLaunched",
                format!("{launched} of {size} members were launched"),
            ),
            Ordering::Equal | Ordering::Greater => {
                Say::yes("Launched", format!("all {size} members were launched"))
            }
        }
    }

    fn succeeded(&self) -> Say {
        match &self.status.ended {
            Some(ended) if ended.reason == outcome::COMPLETED => {
                Say::yes("Completed", ended.message.clone())
            }
            Some(ended) => Say::no(outcome::event(&ended.reason), ended.message.clone()),
            None => Say::unknown("NotCompleted", "the work is not done"),
        }
    }

    /// When it will be done if it goes on as before. Told anew only with other news: a status that
    /// changes with every look would never settle.
    fn estimate(&mut self) {
        let stored = self.group.status;
        let same = stored.is_some_and(|stored| {
            let mut mine = self.status.clone();
            mine.estimated_completion = stored.estimated_completion;
            mine == *stored
        });
        if same {
            self.status.estimated_completion = stored.and_then(|s| s.estimated_completion);
            return;
        }
        self.status.estimated_completion = estimate(&self.status, self.group.size, self.now);
    }
}

fn estimate(status: &GroupStatus, size: u32, now: Timestamp) -> Option<Timestamp> {
    let started = status.started_at?;
    let done = status.succeeded + status.failed;
    if done == 0 || done >= size || status.ended.is_some() {
        return None;
    }
    let elapsed = now.as_second().saturating_sub(started.as_second()).max(1);
    let left = i64::from(size - done);
    let seconds = elapsed.saturating_mul(left) / i64::from(done);
    now.checked_add(jiff::SignedDuration::from_secs(seconds))
        .ok()
        .map(whole_second)
}
