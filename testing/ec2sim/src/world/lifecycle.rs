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
        if let Some(instance) = self.region.retired.remove(id) {
            self.region.launches.remove(&instance.client_token);
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

    fn give_public_address(&mut self, id: &str) {
        let Some(instance) = self.region.instance(id) else {
            return;
        };
        if !instance.wants_public_ip || instance.public_ip.is_some() {
            return;
        }
        let address = Some(self.core.public_address());
        self.set_public_address(id, address);
    }

    fn take_public_address(&mut self, id: &str) {
        self.set_public_address(id, None);
    }

    fn set_public_address(&mut self, id: &str, address: Option<std::net::Ipv4Addr>) {
        let Some(instance) = self.region.instance_mut(id) else {
            return;
        };
        instance.public_ip = address;
        let first = instance.interfaces.first().cloned();
        if let Some(interface) = first.and_then(|id| self.region.interfaces.get_mut(&id)) {
            interface.public_ip = address;
        }
    }

    /// Volumes and interfaces go with the instance, or stay and become free.
    fn release_everything(&mut self, id: &str) {
        self.take_public_address(id);
        let Some(instance) = self.region.instance_mut(id) else {
            return;
        };
        let interfaces = std::mem::take(&mut instance.interfaces);
        let devices = std::mem::take(&mut instance.block_devices);
        for device in devices {
            if device.delete_on_termination {
                self.region.volumes.remove(&device.volume_id);
                self.region.tags.remove(&device.volume_id);
            } else if let Some(volume) = self.region.volumes.get_mut(&device.volume_id) {
                volume.attachment = None;
            }
        }
        for interface in interfaces {
            self.release_interface(&interface);
        }
    }

    fn release_interface(&mut self, id: &str) {
        let Some(interface) = self.region.interfaces.get_mut(id) else {
            return;
        };
        let gone = interface
            .attachment
            .take()
            .is_none_or(|a| a.delete_on_termination);
        if gone {
            self.delete_interface(id);
        }
    }

    /// Removes an interface and frees its address.
    pub(crate) fn delete_interface(&mut self, id: &str) {
        if let Some(interface) = self.region.interfaces.remove(id) {
            self.region.tags.remove(id);
            if let Some(subnet) = self.region.subnets.get_mut(&interface.subnet_id) {
                subnet.release(interface.private_ip);
            }
        }
    }

    fn update_spot_request(&mut self, id: &str) {
        let Some(instance) = self.region.instance(id) else {
            return;
        };
        let Some(spot) = instance.spot.clone() else {
            return;
        };
        let by_spot = instance
            .reason
            .as_ref()
            .is_some_and(|r| r.code.starts_with("Server.Spot"));
        let status = match (instance.state, by_spot) {
            (State::Pending | State::Running, _) => {
                ("active", "fulfilled", "Your spot request is fulfilled.")
            }
            (State::Stopping, _) => (
                "active",
                "marked-for-stop",
                "The instance is being stopped.",
            ),
            (State::Stopped, true) => (
                "open",
                "instance-stopped-no-capacity",
                "The instance was stopped.",
            ),
            (State::Stopped, false) => (
                "disabled",
                "instance-stopped-by-user",
                "The instance was stopped by its user.",
            ),
            (State::ShuttingDown, _) => (
                "active",
                "marked-for-termination",
                "The instance is being terminated.",
            ),
            (State::Terminated, true) => (
                "closed",
                "instance-terminated-no-capacity",
                "The instance was interrupted.",
            ),
            (State::Terminated, false) => (
                "closed",
                "instance-terminated-by-user",
                "The instance was terminated.",
            ),
        };
        let now = self.now;
        let Some(request) = self.region.spot_requests.get_mut(&spot.request_id) else {
            return;
        };
        request.updated_at = now;
        if request.state == "cancelled" {
            return;
        }
        (request.state, request.status) = (status.0, (status.1, status.2));
        // A persistent request is not done when its instance is: it launches another one.
        if status.0 == "closed" && spot.persistent {
            request.state = "open";
            let id = spot.request_id.clone();
            self.core.respawns.push((self.place.clone(), id));
        }
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
