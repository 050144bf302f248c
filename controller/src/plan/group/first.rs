//! What must be known before anything is launched for the first time.

use spore_core::duration::Duration;
use spore_crds::SporeInstanceSpec;

use super::{GroupAction, Planner};
use crate::{
    facts::{Fact, Standing},
    plan::launch,
};

impl Planner<'_> {
    /// Before anything is launched for the first time, it must be known what exists.
    pub(super) fn ready_for_first(&mut self, spec: &SporeInstanceSpec) -> bool {
        let region = launch::region(spec, self.settings).to_owned();
        if !self.settings.regions.contains(&region) {
            return true;
        }
        let known = self.region_view(&region);
        if !known.lists.is_empty() {
            let tokens = self
                .view
                .instances
                .iter()
                .filter_map(|instance| instance.client_token.as_deref())
                .collect::<std::collections::BTreeSet<_>>();
            // After a restored backup: numbers that were used may not be used again.
            self.status.batches_decided = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
            return true;
        }
        match &known.error {
            Some(error) => {
                self.wake_at(Duration::from_secs(10).after(self.now));
                let message = format!("{error}; {}", error.class.advice());
                if error.class.heals() {
                    self.waiting = Some((error.class.reason(), message));
                } else {
                    self.stalled = Some((error.class.reason(), message));
                }
            }
            None => {
                self.wake_at(Duration::from_secs(1).after(self.now));
                self.waiting = Some((
                    "ListingInstances",
                    format!("listing what already exists in {region} before anything is done"),
                ));
            }
        }
        false
    }

    /// Before anything is launched for the first time, every type that any member names must exist.
    pub(super) fn types_exist(&mut self) -> bool {
        let mut asked = false;
        for (region, name) in self.group.members.types() {
            let region = region
                .or_else(|| self.settings.regions.first().cloned())
                .unwrap_or_default();
            if !self.settings.regions.contains(&region) {
                let message = format!(
                    "this controller does not manage the region {region}: use one of {}, or have it added to the controller's regions",
                    self.settings.regions.join(", ")
                );
                self.stalled = Some(("RegionNotManaged", message));
                return false;
            }
            let fact = Fact::Type { region, name };
            match self.view.facts.get(&fact, self.now) {
                Standing::Known(_) => {}
                Standing::Unknown => {
                    asked = true;
                    self.actions.push(GroupAction::Learn(fact));
                }
                Standing::Refused(error, until) => {
                    let error = error.clone();
                    self.wake_at(until);
                    self.tell_refusal(&error, until);
                    return false;
                }
            }
        }
        if asked {
            self.waiting = Some(("Resolving", "asking EC2 for the instance types".into()));
        }
        !asked
    }
}
