//! Deletion: nothing of the spore may be left in EC2.

use kube::ResourceExt as _;

use super::Planner;
use crate::{
    cloud::InstanceState,
    plan::{LaunchOutcome, stage::Stage},
};

/// Set to `true` by a person on a spore whose AWS side cannot be reached any more: the spore is then
/// let go of without waiting for its instance to be gone.
pub const ABANDON: &str = "spore.host/abandon";

impl Planner<'_> {
    /// The way of a spore that is deleted: nothing may be left of it in EC2.
    pub(super) fn delete(&mut self) -> (Option<Stage>, bool) {
        if self
            .spore
            .annotations()
            .get(ABANDON)
            .is_some_and(|value| value == "true")
        {
            let id = self
                .status
                .instance
                .as_ref()
                .map_or("none known", |i| i.id.as_str());
            let message = format!("let go of without waiting for EC2; instance: {id}");
            self.note(true, "Abandoned", "Release", message);
            return (Some(Stage::Terminating), false);
        }
        let going = self
            .view
            .instances
            .iter()
            .filter(|instance| instance.state != InstanceState::Terminated)
            .cloned()
            .collect::<Vec<_>>();
        for instance in going.iter().filter(|instance| instance.state.is_live()) {
            self.terminate(&instance.id);
        }
        let hold = !going.is_empty() || self.may_appear();
        if let Some(error) = self.view.region.error.as_ref().filter(|_| hold) {
            self.trouble = Some(format!(
                "{error}; {}; deletion waits until EC2 says that the instance is gone, or until it is let go of with the annotation {ABANDON}=true",
                error.class.advice()
            ));
        }
        (Some(Stage::Terminating), hold)
    }

    /// A member exists since its instance was launched, but the status may not tell yet which it is:
    /// then EC2's lists do.
    fn member_may_appear(&mut self) -> bool {
        let unlisted = self.spore.spec.member.is_some() && self.view.region.lists.is_empty();
        if unlisted {
            self.look_again();
        }
        unlisted
    }

    /// Whether an instance that EC2 does not show may still exist.
    fn may_appear(&mut self) -> bool {
        let Some(launch) = self.status.launch.clone() else {
            return self.member_may_appear();
        };
        if self.finished() {
            return false;
        }
        let seen_gone = self.view.instances.iter().any(|instance| {
            instance.client_token.as_deref() == Some(launch.token.as_str())
                || launch.instance_id.as_deref() == Some(instance.id.as_str())
        });
        if seen_gone || self.proven_absent(&launch) {
            return false;
        }
        if let Some(id) = &launch.instance_id {
            self.terminate(id);
        } else if let Some(record) = &self.view.launch {
            match &record.last {
                Some(LaunchOutcome::Launched { instance_ids }) => {
                    for id in instance_ids {
                        self.terminate(id);
                    }
                }
                None | Some(LaunchOutcome::Deferred { .. }) if !record.unclear => return false,
                Some(LaunchOutcome::Failed { error, .. })
                    if !record.unclear && error.class.is_definite() =>
                {
                    return false;
                }
                Some(_) | None => {}
            }
        }
        self.look_again();
        true
    }
}
