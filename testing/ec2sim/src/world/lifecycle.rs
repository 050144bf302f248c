//! How instances change state, and what goes with them when they end.

use jiff::{SignedDuration, Timestamp};

use super::audit::OWNER_TAG;
use super::instance::{Instance, Reason, SpotNotice, State};
use super::timeline::Event;
use super::{Effect, Local};

/// How long EC2 promises to remember the launch token of a terminated instance.
const TOKEN_MEMORY: SignedDuration = SignedDuration::from_hours(24);

/// How a stop came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An API call.
    User,
    /// An API call to hibernate.
    Hibernate,
    /// A shutdown inside the machine.
    Guest,
    /// A spot interruption.
    Spot,
    /// The host failed.
    Host,
}

impl Cause {
    /// The reason as EC2 writes it.
    pub(crate) fn reason(self, now: Timestamp) -> Reason {
        let (code, text) = match self {
            Self::User => ("Client.UserInitiatedShutdown", "User initiated shutdown"),
            Self::Hibernate => ("Client.UserInitiatedHibernate", "User initiated hibernate"),
            Self::Guest => (
                "Client.InstanceInitiatedShutdown",
                "Instance initiated shutdown",
            ),
            Self::Spot => (
                "Server.SpotInstanceTermination",
                "Spot instance termination",
            ),
            Self::Host => ("Server.InternalError", "Internal error on launch"),
        };
        let transition = match self {
            Self::User | Self::Hibernate => {
                format!("User initiated ({} GMT)", now.strftime("%Y-%m-%d %H:%M:%S"))
            }
            Self::Guest => "Instance initiated shutdown".to_owned(),
            Self::Spot | Self::Host => code.to_owned(),
        };
        Reason {
            code,
            message: format!("{code}: {text}"),
            transition,
        }
    }
}

impl Local<'_> {
    /// Puts a new instance on the list; it is pending.
    pub(crate) fn admit(&mut self, instance: Instance) {
        let (id, seq) = (instance.id.clone(), instance.seq);
        self.homes.insert(id.clone(), self.place.clone());
        self.region.order.insert(id.clone(), seq);
        self.region.instances.insert(seq, instance);
        if let Some(owner) = self
            .region
            .tags_of(&id)
            .and_then(|tags| tags.get(OWNER_TAG))
        {
            self.core.audit.born(&id, owner);
        }
        self.enter(&id, State::Pending, None);
    }

    /// Starts the end of an instance that may still be live.
    pub(crate) fn terminate(&mut self, id: &str, cause: Cause) {
        let Some(state) = self.state(id) else { return };
        let reason = Some(cause.reason(self.now));
        match state {
            State::ShuttingDown | State::Terminated => {}
            // A stopped instance has no machine that would need time to shut down.
            State::Stopped => self.enter(id, State::Terminated, reason),
            State::Pending | State::Running | State::Stopping => {
                self.enter(id, State::ShuttingDown, reason);
            }
        }
    }

    /// Ends an instance at once, as when its host fails.
    pub(crate) fn drop_dead(&mut self, id: &str, cause: Cause) {
        if self
            .state(id)
            .is_some_and(|state| state != State::Terminated)
        {
            let reason = cause.reason(self.now);
            self.enter(id, State::Terminated, Some(reason));
        }
    }

    /// Starts to stop an instance that is running.
    pub(crate) fn stop(&mut self, id: &str, cause: Cause) {
        if matches!(self.state(id), Some(State::Pending | State::Running)) {
            let reason = cause.reason(self.now);
            self.enter(id, State::Stopping, Some(reason));
        }
    }

    /// Starts a stopped instance.
    pub(crate) fn start(&mut self, id: &str) {
        let now = self.now;
        if let Some(instance) = self.region.instance_mut(id)
            && instance.state == State::Stopped
        {
            instance.launch_time = now;
            self.enter(id, State::Pending, None);
        }
    }

    /// Reboots a running instance: its machine dies and comes back.
    pub(crate) fn reboot(&mut self, id: &str) {
        if self.state(id) == Some(State::Running) {
            self.core
                .effects
                .extend([Effect::Kill(id.to_owned()), Effect::Boot(id.to_owned())]);
            if let Some(instance) = self.region.instance_mut(id) {
                instance.boots += 1;
            }
        }
    }

    /// The machine has powered itself off: the shutdown behavior decides.
    pub(crate) fn guest_shutdown(&mut self, id: &str) {
        let Some(instance) = self.region.instance(id) else {
            return;
        };
        if instance.state != State::Running {
            return;
        }
        if instance.shutdown_behavior == "terminate" || self.is_one_time_spot(id) {
            self.terminate(id, Cause::Guest);
        } else {
            self.stop(id, Cause::Guest);
        }
    }

    /// Gives a spot instance its notice.
    pub(crate) fn notice(&mut self, id: &str, action: &str, at: Timestamp) {
        if let Some(instance) = self.region.instance_mut(id) {
            instance.condition.spot_notice = Some(SpotNotice {
                action: action.to_owned(),
                at,
            });
            self.core.timeline.schedule(
                at,
                self.place,
                Event::Interrupt {
                    id: id.to_owned(),
                    at,
                },
            );
        }
    }

    /// A spot notice has run out.
    pub(super) fn interrupt(&mut self, id: &str, at: Timestamp) {
        let Some(instance) = self.region.instance_mut(id) else {
            return;
        };
        let Some(notice) = instance
            .condition
            .spot_notice
            .take_if(|notice| notice.at == at)
        else {
            return;
        };
        if notice.action == "terminate" {
            self.terminate(id, Cause::Spot);
        } else {
            self.stop(id, Cause::Spot);
        }
    }

    /// A transitional state has lasted its time.
    pub(super) fn settle(&mut self, id: &str, generation: u64) {
        let Some(instance) = self.region.instance(id) else {
            return;
        };
        if instance.generation != generation {
            return;
        }
        let reason = instance.reason.clone();
        match instance.state {
            State::Pending => self.enter(id, State::Running, None),
            State::Stopping => self.enter(id, State::Stopped, reason),
            State::ShuttingDown => self.enter(id, State::Terminated, reason),
            State::Running | State::Stopped | State::Terminated => {}
        }
    }

    /// The work of an instance is done: it says so and powers itself off.
    pub(super) fn finish(&mut self, id: &str, generation: u64) {
        let unchanged = self
            .region
            .instance(id)
            .is_some_and(|instance| instance.generation == generation);
        let Some(work) = self.core.work.as_ref().filter(|_| unchanged) else {
            return;
        };
        let now = format!("{:.0}", self.now);
        let told = work
            .tags
            .iter()
            .map(|(key, value)| (key.clone(), value.replace("{now}", &now)));
        let tags = self.region.tags.entry(id.to_owned()).or_default();
        tags.extend(told);
        self.guest_shutdown(id);
    }

    /// A terminated instance leaves the lists.
    pub(super) fn vanish(&mut self, id: &str) {
        let Some(seq) = self.region.order.remove(id) else {
            return;
        };
        let Some(instance) = self.region.instances.remove(&seq) else {
            return;
        };
        self.region.tags.remove(id);
        if instance.client_token.is_empty() {
            self.homes.remove(id);
            return;
        }
        self.region.retired.insert(id.to_owned(), instance);
        let at = self.now + TOKEN_MEMORY;
        self.core
            .timeline
            .schedule(at, self.place, Event::Forget(id.to_owned()));
    }

    /// A vanished instance is forgotten for good.
    pub(super) fn forget(&mut self, id: &str) {
        self.homes.remove(id);
        let Some(instance) = self.region.retired.remove(id) else {
            return;
        };
        let token = &instance.client_token;
        let region = &mut *self.region;
        let known = |id: &String| region.order.contains_key(id) || region.retired.contains_key(id);
        // As long as one instance of a launch is known, its token must not launch again.
        if region
            .launches
            .get(token)
            .is_some_and(|launch| !launch.instances.iter().any(known))
        {
            region.launches.remove(token);
        }
    }

    fn enter(&mut self, id: &str, state: State, reason: Option<Reason>) {
        let config = self.core.config.clone();
        let Some(instance) = self.region.instance_mut(id) else {
            return;
        };
        let before = instance.state;
        instance.state = state;
        instance.reason = reason;
        instance.generation += 1;
        let generation = instance.generation;
        let settle = Event::Settle {
            id: id.to_owned(),
            generation,
        };
        let (delay, event) = match state {
            State::Pending => (config.pending, settle),
            State::Stopping => (config.stopping, settle),
            State::ShuttingDown => (config.shutting_down, settle),
            State::Terminated => (config.terminated_visible, Event::Vanish(id.to_owned())),
            State::Running | State::Stopped => return self.entered(id, before, state),
        };
        self.core
            .timeline
            .schedule(self.now + delay, self.place, event);
        self.entered(id, before, state);
    }

    fn entered(&mut self, id: &str, before: State, state: State) {
        if state == State::Running {
            self.give_public_address(id);
            if let Some(instance) = self.region.instance_mut(id) {
                instance.boots += 1;
            }
            self.core.effects.push(Effect::Boot(id.to_owned()));
            self.begin_work(id);
        } else if before == State::Running {
            self.core.effects.push(Effect::Kill(id.to_owned()));
        }
        if before.is_live() && !state.is_live() {
            self.core.audit.died(id);
        }
        match state {
            State::Stopped => self.take_public_address(id),
            State::Terminated => self.release_everything(id),
            State::Pending | State::Running | State::Stopping | State::ShuttingDown => {}
        }
        self.update_spot_request(id);
    }

    fn begin_work(&mut self, id: &str) {
        let Some(work) = &self.core.work else { return };
        let Some(instance) = self.region.instance(id) else {
            return;
        };
        let finish = Event::Finish {
            id: id.to_owned(),
            generation: instance.generation,
        };
        let at = self.now + work.takes;
        self.core.timeline.schedule(at, self.place, finish);
    }

    fn is_one_time_spot(&self, id: &str) -> bool {
        let instance = self.region.instance(id);
        instance
            .and_then(|i| i.spot.as_ref())
            .is_some_and(|spot| !spot.persistent)
    }

    fn state(&self, id: &str) -> Option<State> {
        self.region.instance(id).map(|instance| instance.state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::world::region::LaunchRecord;
    use crate::world::{Place, World};

    fn launched(world: &mut World, place: &Place, now: Timestamp, ids: &[&str]) {
        for (id, seq) in ids.iter().zip(1..) {
            let mut instance = Instance::example(id, now);
            instance.seq = seq;
            instance.client_token = "t".into();
            world.local(place, now).admit(instance);
        }
        let instances = ids.iter().map(|id| (*id).to_owned()).collect();
        let record = LaunchRecord {
            fingerprint: [0; 32],
            instances,
        };
        world
            .local(place, now)
            .region
            .launches
            .insert("t".into(), record);
    }

    #[test]
    fn a_token_is_free_again_a_day_after_the_last_of_its_instances() {
        let start = Timestamp::UNIX_EPOCH;
        let hour = |n: u64| start + Duration::from_secs(3600 * n);
        let place = Place {
            account: "1".into(),
            region: "us-east-1".into(),
        };
        let mut world = World::new(Arc::new(Config::default()));
        launched(&mut world, &place, start, &["i-1", "i-2"]);
        world.advance(hour(1));
        world.local(&place, hour(1)).terminate("i-1", Cause::User);
        world.advance(hour(40));
        let known = |world: &mut World, now| {
            let region = world.local(&place, now).region;
            (
                region.order.len() + region.retired.len(),
                region.launches.contains_key("t"),
            )
        };
        assert_eq!(known(&mut world, hour(40)), (1, true));
        world.local(&place, hour(40)).terminate("i-2", Cause::User);
        world.advance(hour(64));
        assert_eq!(known(&mut world, hour(64)), (1, true));
        world.advance(hour(66));
        assert_eq!(known(&mut world, hour(66)), (0, false));
    }

    #[test]
    fn a_timed_change_of_an_earlier_state_does_nothing() {
        let start = Timestamp::UNIX_EPOCH;
        let place = Place {
            account: "1".into(),
            region: "us-east-1".into(),
        };
        let mut world = World::new(Arc::new(Config::default()));
        launched(&mut world, &place, start, &["i-1"]);
        // Terminated while pending: the end of pending must not make it run.
        world.local(&place, start).terminate("i-1", Cause::User);
        world.advance(start + Duration::from_secs(5));
        let state = world.instance("i-1").map(|(_, instance)| instance.state);
        assert_eq!(state, Some(State::Terminated));
        assert!(world.core.effects.is_empty());
    }
}
