//! Carrying out what was planned. Nothing is chosen here.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt as _,
    runtime::events::{Event, EventType},
};
use spore_core::{
    peers,
    tags::{self, Tags},
};
use spore_crds::{Launch, SporeInstance};

use crate::{
    aws::Run,
    cloud::{Class, CloudError, InstanceState},
    facts::Fact,
    limiter::Call,
    plan::{Action, LaunchOutcome, Note},
    reconcile::Context,
    terminate::{Refusal, States},
};

impl Context {
    /// Carries out one action; says whether it may have changed what the plan was made from.
    pub async fn act(self: &Arc<Self>, spore: &SporeInstance, action: Action) -> bool {
        match action {
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
            Action::Seek { region, what } => {
                self.world.seek(&region, what);
                false
            }
            Action::Note(note) => {
                self.publish(spore, note).await;
                false
            }
        }
    }

    /// Asks once, however many spores want to know.
    pub(crate) async fn learn(self: &Arc<Self>, fact: Fact) -> bool {
        if fact.is_beside() {
            self.learn_beside(fact);
            return false;
        }
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
        let launched = self
            .call(Run::from(launch), 1, &spore.object_ref(&()))
            .await;
        if let Some(created) = spore
            .metadata
            .creation_timestamp
            .as_ref()
            .filter(|_| launched)
        {
            let took = (self.clock)().duration_since(created.0);
            self.metrics.launched(took.as_secs_f64());
        }
        true
    }

    /// Calls RunInstances for `count` instances, if the limiter admits it, and keeps how that went;
    /// says whether EC2 gave any.
    pub(crate) async fn call(&self, run: Run<'_>, count: u32, object: &ObjectReference) -> bool {
        let (region, token) = (run.plan.region.as_str(), run.token);
        if let Err(until) = self.limiter.take(region, Call::Run, count, (self.clock)()) {
            self.world.deferred(token, until);
            return false;
        }
        let before = self.world.calling(token, (self.clock)());
        let outcome = match self.aws.run(&run).await {
            Ok(instances) => {
                let instance_ids = instances.iter().map(|i| i.id.clone()).collect::<Vec<_>>();
                tracing::info!(
                    kind = object.kind,
                    name = object.name,
                    namespace = object.namespace,
                    count = instance_ids.len(),
                    first = instance_ids.first(),
                    token,
                    "launched"
                );
                for instance in instances {
                    self.world.saw(instance, (self.clock)());
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
        let launched = matches!(outcome, LaunchOutcome::Launched { .. });
        self.world.called(token, before, outcome);
        self.inventory.hurry(region);
        launched
    }

    /// Terminates instances, if the limiter admits it.
    ///
    /// # Errors
    /// As EC2 says; [`Class::Throttle`] if the limiter holds the call back.
    pub(crate) async fn terminate(&self, region: &str, ids: &[String]) -> Result<(), CloudError> {
        let result = self.terminate_some(region, ids).await;
        result.map(drop).map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            Refusal::Later(_) => held_back("TerminateInstances", region),
        })
    }

    /// One call of TerminateInstances.
    async fn terminate_some(&self, region: &str, ids: &[String]) -> Result<States, Refusal> {
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        self.limiter
            .take(region, Call::Terminate, count, (self.clock)())
            .map_err(Refusal::Later)?;
        let gone = self.aws.terminate(region, ids).await;
        let states = gone.map_err(|error| {
            self.after_failure(region, Call::Terminate, &error);
            Refusal::Failed(error)
        })?;
        let now = (self.clock)();
        for (id, state) in &states {
            self.world
                .change(region, id, now, |known| known.state = *state);
        }
        self.inventory.hurry(region);
        Ok(states)
    }

    /// Writes tags onto instances, if the limiter admits it.
    ///
    /// # Errors
    /// As EC2 says; [`Class::Throttle`] if the limiter holds the call back.
    pub(crate) async fn tell(
        &self,
        region: &str,
        ids: &[String],
        tags: &Tags,
    ) -> Result<(), CloudError> {
        self.limiter
            .take(region, Call::Tag, 0, (self.clock)())
            .map_err(|_| held_back("CreateTags", region))?;
        let told = self.aws.tag(region, ids, tags).await;
        told.inspect_err(|error| self.after_failure(region, Call::Tag, error))?;
        let now = (self.clock)();
        let header = tags.get(peers::HEADER);
        for id in ids.iter().filter(|_| header.is_some()) {
            self.world
                .change(region, id, now, |known| known.peers = header.cloned());
        }
        self.inventory.hurry(region);
        Ok(())
    }

    /// Our limiter holds a call for a spore back.
    fn held_back(&self, uid: &str, region: &str, change: Change, until: Timestamp) -> bool {
        let error = held_back(change.name(), region);
        self.world.failed(uid, error, Some(until), (self.clock)());
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
        // A termination shares its call with others, which takes the tokens for all of them.
        let taken = match change {
            Change::Terminate => Ok(()),
            Change::Stop | Change::Deadline(_) => {
                self.limiter.take(region, call, 1, (self.clock)())
            }
        };
        if let Err(until) = taken {
            return self.held_back(&uid, region, change, until);
        }
        let result = match change {
            Change::Terminate => {
                let one = self
                    .terminations
                    .one(region, instance_id, |ids| async move {
                        self.terminate_some(region, &ids).await
                    });
                match one.await {
                    Ok(state) => Ok(Known::State(state)),
                    Err(Refusal::Later(until)) => {
                        return self.held_back(&uid, region, change, until);
                    }
                    Err(Refusal::Failed(error)) => Err(error),
                }
            }
            Change::Stop => self.aws.stop(region, instance_id).await.map(Known::State),
            Change::Deadline(at) => self
                .aws
                .tag(region, &[instance_id.to_owned()], &deadline_tag(at))
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
                if !matches!(change, Change::Terminate) {
                    self.after_failure(region, call, &error);
                }
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
    pub(crate) async fn publish<K>(&self, spore: &K, note: Note)
    where
        K: Resource<DynamicType = ()>,
    {
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

/// What is told of a call that our limiter holds back.
fn held_back(call: &'static str, region: &str) -> CloudError {
    CloudError {
        call,
        region: region.to_owned(),
        class: Class::Throttle,
        code: None,
        message: "EC2 admits no more calls of this kind for now".into(),
    }
}

/// Tells an instance of a later deadline.
fn deadline_tag(at: Timestamp) -> Tags {
    Tags::from([(tags::DEADLINE.to_owned(), at.to_string())])
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
