//! What follows once the faults have ended: the loops run as they do in the shipping controller, only
//! when a plan asked for it or something changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use spore_controller::cloud::InstanceState;

use crate::{
    group_cloud::NextCall,
    group_world::{OTHER_REGION, Universe},
    world::REGION,
};

/// Rounds after which something must be settled.
const PATIENCE: u32 = 400;

impl Universe {
    /// All faults end, and nothing is known to be still on its way.
    pub(crate) fn faults_end(&mut self) {
        self.lag = SignedDuration::ZERO;
        self.prompt = true;
        self.fuel = None;
        self.ec2.next = NextCall::Works;
        self.ec2.free.clear();
        self.ec2.free_anywhere = None;
    }

    /// Passes over everything that is due or changed, until nothing is.
    pub(crate) fn settle(&mut self) {
        let mut wakes = BTreeMap::new();
        self.settle_from(self.watched.keys().cloned().collect(), true, &mut wakes);
    }

    fn settle_from(
        &mut self,
        mut dirty: BTreeSet<String>,
        mut group: bool,
        wakes: &mut BTreeMap<String, Timestamp>,
    ) {
        for _ in 0..PATIENCE {
            dirty.extend(self.deliver(usize::MAX));
            dirty.extend(std::mem::take(&mut self.told));
            if dirty.is_empty() && !group {
                return;
            }
            for name in std::mem::take(&mut dirty) {
                wakes.remove(&name);
                match self.member_pass(&name, 12) {
                    Ok(Some(wake)) if wake <= self.now => {
                        dirty.insert(name);
                    }
                    Ok(Some(wake)) => {
                        wakes.insert(name, wake);
                    }
                    Ok(None) => {}
                    Err(_) => {
                        dirty.insert(name);
                    }
                }
                // A member that has settled wakes what it is a member of.
                group = true;
            }
            if std::mem::take(&mut group) {
                self.copy = self.group.clone();
                group = self.group_round() != Ok(false);
                let due = self.wake.is_some_and(|wake| wake <= self.now);
                group |= due && !self.released;
            }
        }
        self.broken = Some(format!("does not settle: {:?}", self.plan()));
    }

    /// Time goes by, and instances do what they are there for.
    pub(crate) fn live_on(&mut self, minutes: i64) {
        let end = self.now + SignedDuration::from_mins(minutes);
        let mut wakes = BTreeMap::new();
        self.settle_from(self.watched.keys().cloned().collect(), true, &mut wakes);
        let mut calm = 0;
        while self.now < end && self.broken().is_ok() {
            // First quickly, then in strides while nothing happens.
            let stride = if calm < 30 { 10 } else { 60 };
            let next = self.now + SignedDuration::from_secs(stride);
            let soon = self.now + SignedDuration::from_secs(1);
            let wake = wakes.values().copied().chain(self.wake).min();
            self.now = wake.map_or(next, |wake| wake.clamp(soon, next));
            self.instances_go_on();
            let mut changed = false;
            for region in [REGION, OTHER_REGION] {
                changed |= self.list(region);
            }
            let now = self.now;
            let mut dirty = if changed {
                self.watched.keys().cloned().collect()
            } else {
                BTreeSet::new()
            };
            dirty.extend(wakes.iter().filter(|w| *w.1 <= now).map(|w| w.0.clone()));
            let due = self.wake.is_some_and(|wake| wake <= now);
            let writes = self.writes;
            self.settle_from(dirty, changed || due, &mut wakes);
            calm = if self.writes == writes { calm + 1 } else { 0 };
        }
    }

    /// Those that run work, and end their work half a minute later.
    fn instances_go_on(&mut self) {
        let now = self.now;
        self.ec2.tick(now);
        let running = self
            .ec2
            .live()
            .filter(|i| i.state == InstanceState::Running)
            .filter(|i| {
                let age = i.launched_at.map(|at| now.duration_since(at));
                age.is_some_and(|age| age > SignedDuration::from_secs(30))
            })
            .map(|i| (i.id.clone(), i.report.reported_at.is_some()))
            .collect::<Vec<_>>();
        for (id, reported) in running {
            if reported {
                self.ec2.works(&id, now, 0);
            } else {
                self.ec2.reports(&id, now);
            }
        }
    }
}
