//! Before the launch: deciding what EC2 will be asked.

use spore_core::{duration::Duration, tags::Kind};
use spore_crds::{Launch, LaunchPlan};

use super::Planner;
use crate::{
    cloud::Instance,
    plan::{
        Action,
        launch::{self, Resolution},
        stage::{self, Stage, Waiting},
    },
    world::parent,
};

impl Planner<'_> {
    pub(super) fn before_launch(&mut self) -> Option<Stage> {
        if let Some(instance) = self.own_instance() {
            return Some(self.adopt(&instance));
        }
        if self.spore.spec.member.is_some() {
            if parent(self.spore).is_none() {
                return Some(Stage::Stalled {
                    reason: "NotAMember",
                    message: "no array or sweep controls it, and spec.member is only for members: delete it, and create it without spec.member".into(),
                });
            }
            // Its array or sweep launches it, and wakes it when there is something to see.
            return Some(Stage::Waiting(Waiting::Group));
        }
        let region = launch::region(&self.spore.spec, self.settings).to_owned();
        if self.settings.regions.contains(&region) && self.view.region.lists.is_empty() {
            return Some(match &self.view.region.error {
                Some(error) => {
                    let retry_at = Duration::from_secs(10).after(self.now);
                    self.wake_at(retry_at);
                    stage::unlisted(error)
                }
                None => {
                    self.wake_at(Duration::from_secs(1).after(self.now));
                    Stage::Waiting(Waiting::Inventory { region })
                }
            });
        }
        let edited = self
            .spore
            .status
            .as_ref()
            .and_then(|status| status.observed_generation)
            != self.spore.metadata.generation;
        match self.status.retry_at {
            Some(at) if at > self.now && !edited => {
                self.wake_at(at);
                return None;
            }
            _ => self.status.retry_at = None,
        }
        Some(self.decide_launch())
    }

    fn decide_launch(&mut self) -> Stage {
        let attempt = self.status.attempts + 1;
        let metadata = &self.spore.metadata;
        let subject = launch::Subject {
            spec: &self.spore.spec,
            kind: Kind::SporeInstance,
            uid: metadata.uid.as_deref().unwrap_or_default(),
            owner: launch::owner(metadata),
            attempt,
            batch: 0,
            members: None,
            zone: None,
            latest: None,
        };
        let resolution = launch::resolve(&subject, self.view.facts, self.settings, self.now);
        match resolution {
            Resolution::Need(facts) => {
                self.actions.extend(facts.into_iter().map(Action::Learn));
                Stage::Waiting(Waiting::Facts)
            }
            Resolution::Refused { error, until } => {
                self.status.retry_at = Some(until);
                self.wake_at(until);
                stage::after_failure(&error, until)
            }
            Resolution::Impossible { reason, message } => Stage::Stalled { reason, message },
            Resolution::Ready(resolved) => {
                let launch = resolved.launch(attempt);
                self.status.attempts = attempt;
                self.keep_deadline(&launch);
                self.status.launch = Some(launch);
                // Not called in this pass: the intent must be stored first.
                self.wake_at(self.now);
                Stage::Waiting(Waiting::Call)
            }
        }
    }

    /// The instance that is this spore's, if EC2 shows one. A member has those of its own attempt.
    fn own_instance(&self) -> Option<Instance> {
        let attempt = self.spore.spec.member.as_ref().map(|member| member.attempt);
        let own = |instance: &&Instance| {
            attempt.is_none_or(|attempt| instance.identity.attempt == attempt)
        };
        let instances = self.view.instances.iter().filter(own);
        instances
            .min_by_key(|instance| instance.launched_at)
            .cloned()
    }

    /// An instance of ours that the status knows nothing of, after a restored backup for example: it
    /// is this spore's instance, and launching another would make two.
    fn adopt(&mut self, instance: &Instance) -> Stage {
        let deadline = instance.identity.deadline.unwrap_or(self.now);
        let launch = Launch {
            attempt: instance.identity.attempt,
            token: instance.client_token.clone().unwrap_or_default(),
            decided_at: instance.launched_at.unwrap_or(self.now),
            deadline,
            plan: LaunchPlan {
                region: instance.region.clone(),
                instance_type: instance.instance_type.clone(),
                image_id: instance.image_id.clone().unwrap_or_default(),
                root_device: String::new(),
                market: instance.market,
                zone: None,
                subnet_id: None,
                security_group_ids: Vec::new(),
                key_name: None,
                instance_profile: None,
                tags: instance.identity.to_tags(),
                user_data_sha256: String::new(),
                user_data: None,
            },
            instance_id: Some(instance.id.clone()),
        };
        self.status.attempts = self.status.attempts.max(instance.identity.attempt);
        self.keep_deadline(&launch);
        self.status.launch = Some(launch);
        if self.spore.spec.member.is_some() {
            // Nothing special: that is how every member comes to its instance.
            return self.with_instance(instance);
        }
        self.note(
            false,
            "Adopted",
            "Adopt",
            format!("{} is this spore's instance", instance.id),
        );
        self.with_instance(instance)
    }
}
