//! The line of indexes that wait to be launched again, and the numbers of their attempts.

use jiff::Timestamp;
use spore_core::indexes::IndexSet;
use spore_crds::{Attempt, Retry, Uncounted};

use super::Planner;
use crate::plan::launch::whole_second;

impl Planner<'_> {
    /// Which attempt at an index is the present one, from 1.
    pub(super) fn attempt(&self, index: u32) -> u32 {
        let mut later = self.status.attempts.iter();
        later
            .find(|entry| entry.indexes.contains(index))
            .map_or(1, |entry| entry.attempt)
    }

    /// How many attempts at an index replaced no failure.
    pub(super) fn uncounted(&self, index: u32) -> u32 {
        let mut known = self.status.uncounted.iter();
        known
            .find(|entry| entry.indexes.contains(index))
            .map_or(0, |entry| entry.attempts)
    }

    /// Begins a new attempt at an index.
    pub(super) fn next_attempt(&mut self, index: u32) {
        let attempt = self.attempt(index) + 1;
        let all = &mut self.status.attempts;
        for entry in &mut *all {
            entry.indexes.remove(index);
        }
        match all.iter_mut().find(|entry| entry.attempt == attempt) {
            Some(entry) => {
                entry.indexes.insert(index);
            }
            None => all.push(Attempt {
                attempt,
                indexes: IndexSet::range(index, index + 1),
            }),
        }
        all.retain(|entry| !entry.indexes.is_empty());
        all.sort_by_key(|entry| entry.attempt);
    }

    /// Begins a new attempt at an index of which none has failed: it does not count as a replacement.
    pub(super) fn attempt_anew(&mut self, index: u32) {
        self.next_attempt(index);
        let attempts = self.uncounted(index) + 1;
        let all = &mut self.status.uncounted;
        for entry in &mut *all {
            entry.indexes.remove(index);
        }
        match all.iter_mut().find(|entry| entry.attempts == attempts) {
            Some(entry) => {
                entry.indexes.insert(index);
            }
            None => all.push(Uncounted {
                attempts,
                indexes: IndexSet::range(index, index + 1),
            }),
        }
        all.retain(|entry| !entry.indexes.is_empty());
        all.sort_by_key(|entry| entry.attempts);
    }

    /// Puts an index into the line of those that are launched again, unless it is there already or is
    /// not wanted any more.
    pub(super) fn requeue(&mut self, index: u32, at: Timestamp) {
        if index >= self.status.next || self.is_queued(index) {
            return;
        }
        let (at, now) = (whole_second(at), self.now);
        let all = &mut self.status.retries;
        // All that is due is one entry: how long it waits already makes no difference.
        let same = |retry: &&mut Retry| retry.at == at || (at <= now && retry.at <= now);
        if let Some(retry) = all.iter_mut().find(same) {
            retry.indexes.insert(index);
            return;
        }
        self.join_due();
        self.status.retries.push(Retry {
            at,
            indexes: IndexSet::range(index, index + 1),
        });
        self.status.retries.sort_by_key(|retry| retry.at);
    }

    /// A launch of an index came to nothing: it waits for another, unless it has been given up or begun
    /// anew since.
    pub(super) fn give_back(&mut self, index: u32, attempt: u32, anew: bool) {
        let ours = index < self.status.next && self.attempt(index) == attempt;
        if !ours || self.is_recorded(index) || self.is_queued(index) {
            return;
        }
        if anew {
            self.attempt_anew(index);
        }
        self.requeue(index, self.now);
    }

    /// Joins all that is due: a line that waits long would otherwise grow by an entry a second. Only
    /// when it grows: time alone changes no status.
    fn join_due(&mut self) {
        let now = self.now;
        let all = &mut self.status.retries;
        let due = all.partition_point(|retry| retry.at <= now);
        let Some((first, others)) = all.get_mut(..due).and_then(<[Retry]>::split_first_mut) else {
            return;
        };
        for other in others {
            first.indexes.extend(other.indexes.iter());
        }
        if due > 1 {
            all.drain(1..due);
        }
    }

    pub(super) fn is_queued(&self, index: u32) -> bool {
        let mut retries = self.status.retries.iter();
        retries.any(|retry| retry.indexes.contains(index))
    }

    /// All indexes in the line.
    pub(super) fn queued(&self) -> IndexSet {
        let mut retries = self.status.retries.iter();
        let mut all = retries
            .next()
            .map_or_else(IndexSet::new, |retry| retry.indexes.clone());
        for retry in retries {
            all.extend(retry.indexes.iter());
        }
        all
    }

    /// How many indexes are in the line.
    pub(super) fn count_queued(&self) -> u32 {
        let retries = self.status.retries.iter();
        retries.map(|retry| retry.indexes.len()).sum()
    }
}
