//! What belongs to an instance and follows its states: addresses, volumes, interfaces, its spot
//! request.

use super::Local;
use super::instance::State;

impl Local<'_> {
    /// A running instance gets its public address.
    pub(super) fn give_public_address(&mut self, id: &str) {
        let Some(instance) = self.region.instance(id) else {
            return;
        };
        if !instance.wants_public_ip || instance.public_ip.is_some() {
            return;
        }
        let address = Some(self.core.public_address());
        self.set_public_address(id, address);
    }

    /// A stopped instance has no public address.
    pub(super) fn take_public_address(&mut self, id: &str) {
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
    pub(super) fn release_everything(&mut self, id: &str) {
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

    /// The spot request of an instance follows its state.
    pub(super) fn update_spot_request(&mut self, id: &str) {
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
}
