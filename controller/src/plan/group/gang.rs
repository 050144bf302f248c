//! Members that must be had together: all in one zone, or none at all.
//!
//! Each call asks at least for what is missing of the declared number. If that cannot be reached any
//! more, what came is released, and the next zone is tried; when all zones were tried, the whole waits.

use spore_core::duration::Duration;
use spore_crds::{Batch, SporeInstanceSpec};

use super::{GroupAction, Planner};
use crate::{
    cloud::{Class, CloudError},
    facts::{Answer, Fact, Standing},
    plan::launch,
};

impl Planner<'_> {
    /// Whether members must still be had together.
    pub(super) fn is_forming(&self) -> bool {
        self.group.min_available.is_some() && !self.status.formed
    }

    /// Sees whether enough members were had together, and goes on with releasing them if not.
    pub(super) fn form(&mut self) {
        let Some(wanted) = self.group.min_available.filter(|_| !self.status.formed) else {
            return;
        };
        if self.status.releasing {
            return self.release();
        }
        let unplaced = self.status.batches.iter();
        let unplaced = unplaced.filter(|batch| batch.placed.is_none());
        let unplaced = unplaced.map(|batch| batch.members.len()).sum::<u32>();
        let have = self.committed().saturating_sub(unplaced);
        if have >= wanted.min(self.group.size) && self.group.size > 0 {
            self.status.formed = true;
            self.status.zones_tried.clear();
            self.status.refusals = 0;
            let zone = self.status.zone.as_deref().unwrap_or("one zone");
            let message = format!("{have} members were had together in {zone}");
            self.note(false, "Formed", "Launch", message);
        }
    }

    /// How many indexes were had, or may be by a call that is under way.
    fn committed(&self) -> u32 {
        self.status.next.saturating_sub(self.count_queued())
    }

    /// The fewest instances with which a call of `count`, already taken out of the line, succeeds.
    pub(super) fn fewest(&self, count: u32) -> u32 {
        if !self.is_forming() {
            return 1;
        }
        let wanted = self.group.min_available.unwrap_or(0).min(self.group.size);
        let others = self.committed().saturating_sub(count);
        wanted.saturating_sub(others).clamp(1, count.max(1))
    }

    /// A refusal of one call of a group that must be had together; says whether it was that.
    pub(super) fn refuse_gang(&mut self, batch: &Batch, error: &CloudError) -> bool {
        let wanted = self.group.min_available.unwrap_or(0).min(self.group.size);
        let others = self.committed().saturating_sub(batch.members.len());
        if !self.is_forming() || others >= wanted {
            return false;
        }
        for index in batch.members.iter() {
            self.give_back(index, batch.attempt, false);
        }
        let zone = batch.plan.zone.clone();
        let place = zone.as_deref().unwrap_or("the subnet");
        let message = format!(
            "members {} cannot be had in {place}: {error}; what came is released",
            batch.members
        );
        self.note(true, "Releasing", "Terminate", message);
        self.status.releasing = true;
        match zone {
            Some(zone) if error.class == Class::Capacity => self.status.zones_tried.push(zone),
            _ => self.back_off(error),
        }
        true
    }

    /// Ends what came, until nothing is left of it.
    fn release(&mut self) {
        let mut open = spore_core::indexes::IndexSet::new();
        for batch in &self.status.batches {
            open.extend(batch.members.iter());
        }
        // Everything that came is launched anew, once it is gone. What has ended stays as it ended.
        for index in (0..self.status.next).filter(|index| !open.contains(*index)) {
            self.give_back(index, self.attempt(index), true);
        }
        let objects = self.children.iter();
        let objects = objects.filter(|(index, _)| !self.is_recorded(**index));
        let objects = objects
            .flat_map(|(_, objects)| objects.iter().copied())
            .collect::<Vec<_>>();
        for child in &objects {
            self.remove(child);
        }
        let mut instances = self.view.instances.iter();
        let live = instances.any(|instance| instance.state.is_live() && !instance.keep);
        if !objects.is_empty() || live || !self.status.batches.is_empty() {
            self.waiting = Some((
                "Releasing",
                "what came is released, because the rest cannot be had".into(),
            ));
            return self.look_again();
        }
        self.status.releasing = false;
        self.status.zone = None;
        self.wake_at(Duration::from_secs(1).after(self.now));
    }

    /// The zone to launch in: `Some(None)` if it does not matter, `None` if it is not known yet.
    pub(super) fn zone(&mut self, spec: &SporeInstanceSpec) -> Option<Option<String>> {
        // A subnet is in one zone.
        if self.group.min_available.is_none() || spec.subnet_id.is_some() {
            return Some(None);
        }
        if let Some(zone) = &self.status.zone {
            return Some(Some(zone.clone()));
        }
        let zones = self.zones(spec)?;
        let tried = &self.status.zones_tried;
        let next = zones.iter().find(|zone| !tried.contains(zone)).cloned();
        let Some(zone) = next else {
            self.status.zones_tried.clear();
            let region = launch::region(spec, self.settings).to_owned();
            let error = CloudError {
                call: "RunInstances",
                region,
                class: Class::Capacity,
                code: None,
                message: format!(
                    "the members cannot be had together in any of {}",
                    zones.join(", ")
                ),
            };
            self.back_off(&error);
            if let Some(at) = self.status.retry_at {
                self.wake_at(at);
            }
            return None;
        };
        self.status.zone = Some(zone.clone());
        Some(Some(zone))
    }

    /// The zones that come into question, in order.
    fn zones(&mut self, spec: &SporeInstanceSpec) -> Option<Vec<String>> {
        if !self.group.zones.is_empty() {
            return Some(self.group.zones.to_vec());
        }
        let fact = Fact::Zones {
            region: launch::region(spec, self.settings).to_owned(),
            instance_type: spec.instance_type.clone(),
        };
        match self.view.facts.get(&fact, self.now) {
            Standing::Known(Answer::Zones(zones)) => Some(zones.clone()),
            Standing::Known(_) => {
                self.stalled = Some((
                    "InternalError",
                    "an answer of AWS was kept under the wrong question: please report this".into(),
                ));
                None
            }
            Standing::Unknown => {
                self.actions.push(GroupAction::Learn(fact));
                self.waiting = Some((
                    "Resolving",
                    "asking EC2 for the zones that offer the instance type".into(),
                ));
                None
            }
            Standing::Refused(error, until) => {
                let error = error.clone();
                self.wake_at(until);
                self.tell_refusal(&error, until);
                None
            }
        }
    }
}
