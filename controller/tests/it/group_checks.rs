//! What must hold of an array or a sweep at every moment.

use spore_core::indexes::IndexSet;
use spore_crds::{Batch, GroupStatus};

use crate::group_world::Universe;

impl Universe {
    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// The first promise that was broken.
    pub(crate) fn broken(&self) -> Result<(), String> {
        let broken = self.broken.as_ref().or(self.ec2.broken.as_ref());
        broken.map_or(Ok(()), |what| Err(what.clone()))
    }

    /// After a launch that made instances.
    pub(crate) fn check_launch(&mut self, batch: &Batch, recorded: &IndexSet) {
        let live = self.ec2.live().cloned().collect::<Vec<_>>();
        let mut seen = IndexSet::new();
        for instance in &live {
            let index = instance.member.expect("all are members");
            if !seen.insert(index) {
                self.breaks(format!("two live instances of index {index}: {live:#?}"));
            }
        }
        let count = |n: usize| u32::try_from(n).expect("few");
        if count(live.len()) > self.most.0 {
            self.breaks(format!("{} live instances", live.len()));
        }
        let here = live.iter().filter(|i| i.region == batch.plan.region);
        let here = count(here.count());
        if here > self.most.1 {
            self.breaks(format!("{here} live instances in one region"));
        }
        let again = batch.members.iter().find(|index| recorded.contains(*index));
        if let Some(index) = again {
            self.breaks(format!("{index} has succeeded and is launched again"));
        }
    }

    /// Before a status is stored.
    pub(crate) fn check_status(&mut self, before: &GroupStatus, after: &GroupStatus) {
        let size = after.replicas;
        let (succeeded, failed) = (&after.succeeded_indexes, &after.failed_indexes);
        let mut queued = IndexSet::new();
        for index in after.retries.iter().flat_map(|retry| retry.indexes.iter()) {
            if !queued.insert(index) {
                self.breaks(format!("{index} is queued twice"));
            }
        }
        for set in [succeeded, failed, &queued] {
            if set.iter().any(|index| index >= after.next) {
                self.breaks(format!("{set} holds an index that was never launched"));
            }
        }
        let deleted = self.copy.object.metadata().deletion_timestamp.is_some();
        if after.next > size && !deleted {
            self.breaks(format!("next is {} of {size}", after.next));
        }
        for index in succeeded.iter() {
            if failed.contains(index) || queued.contains(index) {
                self.breaks(format!("{index} has succeeded and is something else too"));
            }
        }
        for index in failed.iter() {
            if queued.contains(index) {
                self.breaks(format!("{index} has failed and is queued"));
            }
        }
        if (after.succeeded, after.failed) != (succeeded.len(), failed.len()) {
            self.breaks("the counts are not those of the ranges".into());
        }
        for index in before.succeeded_indexes.iter().filter(|i| *i < size) {
            if !succeeded.contains(index) {
                self.breaks(format!("{index} had succeeded, and that was forgotten"));
            }
        }
        let retried = after.retries_of_failed > before.retries_of_failed;
        for index in before.failed_indexes.iter().filter(|i| *i < size) {
            if !retried && !failed.contains(index) {
                self.breaks(format!("{index} had failed, and that was forgotten"));
            }
        }
        let mut open = IndexSet::new();
        for batch in &after.batches {
            for index in batch.members.iter() {
                let current = index < after.next;
                if !open.insert(index) && current {
                    self.breaks(format!("{index} is in two launch calls"));
                }
            }
        }
        // What lives and what may come to live by a call that is decided.
        let live = self.ec2.live();
        let mut going = live.filter_map(|i| i.member).collect::<IndexSet>();
        let unplaced = after.batches.iter().filter(|batch| batch.placed.is_none());
        going.extend(unplaced.flat_map(|batch| batch.members.iter()));
        if going.len() > self.most.0 {
            self.breaks(format!("{going} live or are being launched"));
        }
        self.check_policy(after);
    }

    fn check_policy(&mut self, after: &GroupStatus) {
        let (limit, history) = self.copy.object.look(|group| {
            let policy = group.failure_policy;
            let limit = policy.and_then(|policy| policy.backoff_limit);
            (limit, group.history)
        });
        if limit.is_some_and(|limit| after.retried > limit) {
            self.breaks(format!("{} replacements", after.retried));
        }
        if history.is_some() {
            let recorded = after.succeeded_indexes.iter();
            let untold = recorded
                .chain(after.failed_indexes.iter())
                .find(|index| !self.results.contains_key(index));
            if let Some(index) = untold {
                self.breaks(format!("{index} is recorded and its result was not kept"));
            }
        }
        let text = serde_json::to_string(after).expect("a status");
        let back = serde_json::from_str::<GroupStatus>(&text).expect("reads back");
        if back != *after {
            self.breaks(format!("the status does not read back: {text}"));
        }
    }
}
