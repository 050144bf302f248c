//! Carrying out what was planned. Nothing is chosen here.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{
    Resource as _, ResourceExt as _,
    runtime::events::{Event, EventType},
};
use spore_crds::{Launch, SporeInstance};

use crate::{
    aws::Run,
    cloud::{Class, CloudError, InstanceState},
    facts::Fact,
    limiter::Call,
    plan::{Action, LaunchOutcome, Note},
    reconcile::Context,
};

impl Context {
    /// Carries out one action; says whether it may have changed what the plan was made from.
    pub async fn act(self: &Arc<Self>, spore: &SporeInstance, action: Action) -> bool {
        match action {
            Action::Learn(fact) if fact.is_beside() => {
                self.learn_beside(fact);
                false
            }
            Action::Learn(fact) => self.learn(fact).await,
            Action::Launch(launch) => self.launch(spore, &launch).await,
            Action::Terminate {
                region,
                instance_id,
            } => {
                self.change(spore, &region, &instance_id, Change::Terminate)
                    .await
            }
            Action::Stop {
                region,
                instance_id,
            } => {
                self.change(spore, &region, &instance_id, Change::Stop)
                    .await
            }
            Action::MoveDeadline {
                region,
                instance_id,
                deadline,
            } => {
                self.change(spore, &region, &instance_id, Change::Deadline(deadline))
                    .await
            }
            Action::Note(note) => {
                self.publish(spore, note).await;
                false
            }
        }
    }

    /// Asks once, however many spores want to know.
    async fn learn(&self, fact: Fact) -> bool {
        let _asking = self.asking.lock().await;
        if !self.world.knows(&fact, (self.clock)()) {
            let answer = self.aws.ask(&fact, (self.clock)()).await;
            self.world.learned(fact, answer, (self.clock)());
        }
        true
    }

    /// Asks once, and waits for nothing: whatever becomes of the call, no spore is held up by it.
    fn learn_beside(self: &Arc<Self>, fact: Fact) {
        if self.world.ask_beside(&fact, (self.clock)()) {
            let ctx = Arc::clone(self);
            tokio::spawn(async move {
                let answer = ctx.aws.ask(&fact, (ctx.clock)()).await;
                ctx.world.learned(fact, answer, (ctx.clock)());
            });
        }
    }

    async fn launch(&self, spore: &SporeInstance, launch: &Launch) -> bool {
        let region = launch.plan.region.as_str();
        if let Err(until) = self.limiter.take(region, Call::Run, 1, (self.clock)()) {
            self.world.deferred(&launch.token, until);
            return true;
        }
        let before = self.world.calling(&launch.token, (self.clock)());
        let outcome = match self.aws.run(&Run::from(launch)).await {
            Ok(instances) => {
                let instance_ids = instances.iter().map(|i| i.id.clone()).collect::<Vec<_>>();
                tracing::info!(
                    spore = %spore.name_any(),
                    namespace = spore.namespace(),
                    instances = ?instance_ids,
                    token = launch.token,
                    "launched"
                );
                for instance in instances {
                    self.world.saw(instance, (self.clock)());
                }
                if let Some(created) = &spore.metadata.creation_timestamp {
                    let took = (self.clock)().duration_since(created.0);
                    self.metrics.launched(took.as_secs_f64());
                }
                LaunchOutcome::Launched { instance_ids }
            }
            Err(error) => {
                self.after_failure(region, Call::Run, &error);
                LaunchOutcome::Failed {
                    error,
                    at: (self.clock)(),
                }
            }
        };
        self.world.called(&launch.token, before, outcome);
        self.inventory.hurry(region);
        true
    }

    async fn change(
        &self,
        spore: &SporeInstance,
        region: &str,
        instance_id: &str,
        change: Change,
    ) -> bool {
        let uid = spore.uid().unwrap_or_default();
        let call = change.call();
        if let Err(until) = self.limiter.take(region, call, 1, (self.clock)()) {
            let error = CloudError {
                call: change.name(),
                region: region.to_owned(),
                class: Class::Throttle,
                code: None,
                message: "EC2 admits no more calls of this kind for now".into(),
            };
            self.world.failed(&uid, error, Some(until), (self.clock)());
            return true;
        }
        let result = match change {
            Change::Terminate => self
                .aws
                .terminate(region, instance_id)
                .await
                .map(Known::State),
            Change::Stop => self.aws.stop(region, instance_id).await.map(Known::State),
            Change::Deadline(at) => self
                .aws
                .move_deadline(region, instance_id, at)
                .await
                .map(|()| Known::Deadline(at)),
        };
        let now = (self.clock)();
        match result {
            Ok(known) => {
                tracing::info!(
                    spore = %spore.name_any(),
                    namespace = spore.namespace(),
                    instance = instance_id,
                    "{}",
                    change.name()
                );
                self.world.succeeded(&uid);
                self.inventory.hurry(region);
                self.world
                    .change(region, instance_id, now, |instance| match known {
                        Known::State(state) => instance.state = state,
                        Known::Deadline(at) => instance.identity.deadline = Some(at),
                    })
            }
            Err(error) => {
                self.after_failure(region, call, &error);
                self.world.failed(&uid, error, None, now);
                true
            }
        }
    }

    fn after_failure(&self, region: &str, call: Call, error: &CloudError) {
        match error.class {
            Class::Throttle => self.limiter.throttled(region, call, (self.clock)()),
            Class::NotYetKnown => self.world.doubt_agent_profile(),
            Class::Capacity
            | Class::Quota
            | Class::Denied
            | Class::Invalid
            | Class::NotFound
            | Class::Unclear => {}
        }
    }

    /// An Event is for people: failing to publish it must not keep anything from being done.
    async fn publish(&self, spore: &SporeInstance, note: Note) {
        let Note {
            warning,
            reason,
            action,
            message,
        } = note;
        let event = Event {
            type_: if warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_owned(),
            note: Some(message.chars().take(1_000).collect()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &spore.object_ref(&())).await {
            tracing::warn!(spore = %spore.name_any(), reason, %error, "event not published");
        }
    }
}

#[derive(Clone, Copy)]
enum Change {
    Terminate,
    Stop,
    Deadline(Timestamp),
}

enum Known {
    State(InstanceState),
    Deadline(Timestamp),
}

impl Change {
    const fn call(self) -> Call {
        match self {
            Self::Terminate => Call::Terminate,
            Self::Stop => Call::Stop,
            Self::Deadline(_) => Call::Tag,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TerminateInstances",
            Self::Stop => "StopInstances",
            Self::Deadline(_) => "CreateTags",
        }
    }
}
