//! Members that must be had together: all in one zone, or none at all.
//!
//! Each call asks for all of its members or none. While the declared number is not reached, a refusal
//! releases what came, and the next zone is tried; when all zones were tried, the whole waits.

use spore_core::duration::Duration;
use spore_crds::{Batch, SporeInstanceSpec};

use super::{GroupAction, Planner, members};
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
        let placed = self.status.batches.iter();
        let placed = placed.filter(|batch| batch.placed.is_some());
        let mut have = spore_core::indexes::IndexSet::new();
        for batch in placed {
            have.extend(batch.members.iter());
        }
        have.extend(self.children.keys().copied());
        if have.len() >= wanted.min(self.group.size) && self.group.size > 0 {
            self.status.formed = true;
            self.status.zones_tried.clear();
            let zone = self.status.zone.as_deref().unwrap_or("one zone");
            let message = format!("{} members were had together in {zone}", have.len());
            self.note(false, "Formed", "Launch", message);
        }
    }

    /// A refusal of one call of a group that must be had together; says whether it was that.
    pub(super) fn refuse_gang(&mut self, batch: &Batch, error: &CloudError) -> bool {
        if !self.is_forming() {
            return false;
        }
        for index in batch.members.iter() {
            self.requeue(index, self.now);
        }
        let zone = batch.plan.zone.clone();
        let place = zone.as_deref().unwrap_or("the subnet");
        let message = format!(
            "members {} cannot be had in {place}: {error}; what came is released",
            batch.members
        );
        self.note(true, "Releasing", "Terminate", message);
        self.status.releasing = true;
        if error.class == Class::Capacity {
            self.status.zones_tried.extend(zone);
        } else {
            self.back_off(error);
        }
        true
    }

    /// Ends what came, until nothing is left of it.
    fn release(&mut self) {
        let objects = self
            .children
            .values()
            .flatten()
            .copied()
            .collect::<Vec<_>>();
        for child in &objects {
            if !members::is_finished(child) || child.metadata.deletion_timestamp.is_none() {
                self.remove(child);
            }
        }
        let live = self.view.instances.iter().any(|i| i.state.is_live());
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
