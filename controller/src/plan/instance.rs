//! What a `SporeInstance` needs now.
//!
//! ```text
//!            decide            call               seen                 end due
//!  no launch ──────► open ───────────► expected ─────────► live ──────────────► ending ─► finished
//!      ▲              │  definite error    │                 │  ended by itself            ▲
//!      └──────────────┘                    └─ proven absent ─┴─────────────────────────────┘
//! ```
//!
//! A launch is *decided* in one pass, stored by the caller, and *called* in a later one: what is in
//! the status is all that a successor needs to go on after a crash.

use jiff::Timestamp;
use kube::ResourceExt as _;
use spore_core::{
    duration::Duration,
    lifecycle::{self, Action as EndAction, EndReason, Policy, Signals, Verdict},
    tags::{Report, WorkloadPhase},
};
use spore_crds::{
    AgentStatus, Ended, InstanceStatus, Launch, LaunchPlan, Market, SporeInstance,
    SporeInstanceStatus, WorkloadStatus,
};

use super::{
    Action, LaunchOutcome, LaunchRecord, Note, Plan, View,
    launch::{self, Resolution},
    stage::{self, Agent, Stage, Waiting},
};
use crate::{
    cloud::{Class, CloudError, Instance, InstanceState},
    settings::Settings,
};

/// Set to `true` by a person on a spore whose AWS side cannot be reached any more: the spore is then
/// let go of without waiting for its instance to be gone.
pub const ABANDON: &str = "spore.host/abandon";

/// How long a boot may take until a silent agent is called silent.
const BOOT_PATIENCE: Duration = Duration::from_secs(600);
/// How long an inherited launch may be replayed. EC2 keeps a token for at least 24 hours after the
/// instance is gone; beyond that a replay could launch a second time.
const REPLAY_WINDOW: Duration = Duration::from_secs(12 * 3_600);
/// How old an instance must be before it can count as a stray: younger ones may belong to a launch
/// that this view has not caught up with.
const STRAY_AGE: Duration = Duration::from_secs(60);

/// Decides what a spore needs at `now`. The status in the result is to be stored before its actions
/// are carried out.
#[must_use]
pub fn plan(spore: &SporeInstance, view: &View<'_>, settings: &Settings, now: Timestamp) -> Plan {
    let mut planner = Planner {
        spore,
        view,
        settings,
        now,
        status: spore.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        wake: None,
        trouble: None,
    };
    planner.status.observed_generation = spore.metadata.generation;
    let (stage, hold) = if spore.metadata.deletion_timestamp.is_some() {
        planner.delete()
    } else {
        (planner.advance(), true)
    };
    let generation = spore.metadata.generation;
    let trouble = planner.trouble.take();
    if let Some(stage) = stage {
        stage::tell(
            &mut planner.status,
            &stage,
            trouble.as_deref(),
            generation,
            now,
        );
    }
    Plan {
        status: planner.status,
        hold,
        actions: planner.actions,
        wake: planner.wake,
    }
}

struct Planner<'a> {
    spore: &'a SporeInstance,
    view: &'a View<'a>,
    settings: &'a Settings,
    now: Timestamp,
    status: SporeInstanceStatus,
    actions: Vec<Action>,
    wake: Option<Timestamp>,
    /// What keeps an action from being carried out.
    trouble: Option<String>,
}

/// What is known of the launch in the status.
enum Located {
    Seen(Box<Instance>),
    Expected(String),
    Gone(String),
    Open,
}

impl Planner<'_> {
    /// The way of a spore that is wanted. `None` leaves state and conditions as they are.
    fn advance(&mut self) -> Option<Stage> {
        if self.finished() {
            let ended = self.status.ended.clone()?;
            return Some(Stage::Finished(ended));
        }
        let Some(launch) = self.status.launch.clone() else {
            return self.before_launch();
        };
        self.keep_deadline(&launch);
        let located = self.locate(&launch);
        self.terminate_strays(match &located {
            Located::Seen(instance) => Some(instance.id.as_str()),
            Located::Expected(id) | Located::Gone(id) => Some(id.as_str()),
            Located::Open => None,
        });
        Some(match located {
            Located::Seen(instance) => self.with_instance(&instance),
            Located::Expected(id) => self.expected(id),
            Located::Gone(id) => self.gone(&id),
            Located::Open => self.open(&launch),
        })
    }

    /// Whether the end is recorded and the instance was seen gone, so that nothing can change any more.
    fn finished(&self) -> bool {
        self.status.ended.is_some()
            && self.status.instance.as_ref().is_some_and(|instance| {
                instance.state.as_deref() == Some(InstanceState::Terminated.as_str())
            })
            && !self
                .view
                .instances
                .iter()
                .any(|instance| instance.state.is_live())
    }

    fn locate(&self, launch: &Launch) -> Located {
        let known = launch.instance_id.as_deref();
        let seen = self.view.instances.iter().find(|instance| {
            known == Some(instance.id.as_str())
                || instance.client_token.as_deref() == Some(launch.token.as_str())
        });
        match (seen, known) {
            (Some(instance), _) => Located::Seen(Box::new(instance.clone())),
            (None, Some(id)) if self.proven_absent(launch) => Located::Gone(id.to_owned()),
            (None, Some(id)) => Located::Expected(id.to_owned()),
            (None, None) => Located::Open,
        }
    }

    fn proven_absent(&self, launch: &Launch) -> bool {
        self.view
            .region
            .proves_absence(launch.decided_at, self.now, self.settings.absence)
    }

    // ---- before the launch ----

    fn before_launch(&mut self) -> Option<Stage> {
        if let Some(instance) = self
            .view
            .instances
            .iter()
            .min_by_key(|i| i.launched_at)
            .cloned()
        {
            return Some(self.adopt(&instance));
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
        let resolution = launch::resolve(
            self.spore,
            attempt,
            &self.view.facts,
            self.settings,
            self.now,
        );
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
            Resolution::Ready(launch) => {
                self.status.attempts = attempt;
                self.keep_deadline(&launch);
                self.status.launch = Some(*launch);
                // Not called in this pass: the intent must be stored first.
                self.wake_at(self.now);
                Stage::Waiting(Waiting::Call)
            }
        }
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
                market: Market::default(),
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
        self.note(
            false,
            "Adopted",
            "Adopt",
            format!("{} is this spore's instance", instance.id),
        );
        self.with_instance(instance)
    }

    // ---- a launch that is decided ----

    fn open(&mut self, launch: &Launch) -> Stage {
        // A launch that this process did not decide may have been called by a predecessor.
        let inherited = LaunchRecord {
            unclear: true,
            ..LaunchRecord::default()
        };
        let record = self.view.launch.as_ref().unwrap_or(&inherited).clone();
        match &record.last {
            Some(LaunchOutcome::Launched { instance_id }) => self.launched(instance_id.clone()),
            Some(LaunchOutcome::Deferred { until }) if *until > self.now => {
                self.wake_at(*until);
                Stage::Waiting(Waiting::RateLimit { until: *until })
            }
            Some(LaunchOutcome::Failed { error, at }) => self.failed(launch, &record, error, *at),
            None | Some(LaunchOutcome::Deferred { .. }) => self.call(launch),
        }
    }

    fn call(&mut self, launch: &Launch) -> Stage {
        let replayable = REPLAY_WINDOW.after(launch.decided_at) > self.now;
        if launch.deadline <= self.now || !replayable {
            return self.too_late(launch);
        }
        self.actions.push(Action::Launch(Box::new(launch.clone())));
        Stage::Waiting(Waiting::Call)
    }

    fn launched(&mut self, instance_id: String) -> Stage {
        self.note(
            false,
            "Launched",
            "RunInstances",
            format!("EC2 gave {instance_id}"),
        );
        self.status.instance = Some(InstanceStatus {
            id: instance_id.clone(),
            ..InstanceStatus::default()
        });
        if let Some(launch) = &mut self.status.launch {
            launch.instance_id = Some(instance_id.clone());
            launch.plan.user_data = None;
        }
        Stage::Waiting(Waiting::Appearance { instance_id })
    }

    fn failed(
        &mut self,
        launch: &Launch,
        record: &LaunchRecord,
        error: &CloudError,
        at: Timestamp,
    ) -> Stage {
        let retry_at = at
            .checked_add(error.class.retry_after(record.calls))
            .unwrap_or(at);
        if matches!(
            error.class,
            Class::Unclear | Class::Throttle | Class::NotYetKnown
        ) {
            if retry_at <= self.now {
                return self.call(launch);
            }
            self.wake_at(retry_at);
            return Stage::Waiting(Waiting::Retry {
                error: error.clone(),
                at: retry_at,
            });
        }
        // A refusal is final for this token only if no earlier call may have taken effect.
        let mismatch = error.code.as_deref() == Some("IdempotentParameterMismatch");
        if (record.unclear || mismatch) && !self.proven_absent(launch) {
            self.look_again();
            return Stage::Waiting(Waiting::Unclear {
                detail: format!(
                    "{error}; an earlier call may have launched an instance, which would show up in EC2's lists; nothing else is launched until that is certain"
                ),
            });
        }
        self.close(error, at)
    }

    /// Ends an attempt that made nothing.
    fn close(&mut self, error: &CloudError, at: Timestamp) -> Stage {
        let wait = error.class.retry_after(self.status.attempts);
        let retry_at = at.checked_add(wait).unwrap_or(at).max(self.now);
        self.status.launch = None;
        self.status.deadline = None;
        self.status.retry_at = Some(retry_at);
        self.wake_at(retry_at);
        self.note(true, "LaunchFailed", "RunInstances", error.to_string());
        stage::after_failure(error, retry_at)
    }

    /// A launch whose outcome is unknown and that may not be replayed.
    fn too_late(&mut self, launch: &Launch) -> Stage {
        if !self.proven_absent(launch) {
            self.look_again();
            return Stage::Waiting(Waiting::Unclear {
                detail: "whether the launch took effect is not known, and it is too late to repeat it; EC2's lists will tell".into(),
            });
        }
        self.end(
            EndReason::TTLExpired,
            "the deadline passed before EC2 confirmed an instance, and there is none".into(),
        );
        self.status.instance = Some(InstanceStatus {
            state: Some(InstanceState::Terminated.as_str().to_owned()),
            ..InstanceStatus::default()
        });
        self.finish()
    }

    fn expected(&mut self, instance_id: String) -> Stage {
        if self
            .due()
            .is_some_and(|end| end.action == EndAction::Terminate)
        {
            self.end(EndReason::TTLExpired, "the deadline passed".into());
            self.terminate(&instance_id);
            self.look_again();
            return Stage::Terminating;
        }
        self.look_again();
        Stage::Waiting(Waiting::Appearance { instance_id })
    }

    fn gone(&mut self, instance_id: &str) -> Stage {
        let past = self
            .status
            .deadline
            .is_some_and(|deadline| deadline <= self.now);
        let reason = if past {
            EndReason::TTLExpired
        } else {
            EndReason::EndedOutside
        };
        self.end(reason, format!("EC2 no longer knows {instance_id}"));
        let instance = self.status.instance.get_or_insert_default();
        instance_id.clone_into(&mut instance.id);
        instance.state = Some(InstanceState::Terminated.as_str().to_owned());
        self.finish()
    }

    // ---- an instance that EC2 shows ----

    fn with_instance(&mut self, instance: &Instance) -> Stage {
        self.record(instance);
        match instance.state {
            InstanceState::Terminated => {
                self.end_of(instance);
                self.finish()
            }
            InstanceState::ShuttingDown => {
                self.end_of(instance);
                Stage::Terminating
            }
            InstanceState::Pending | InstanceState::Running | InstanceState::Unknown => {
                self.up(instance)
            }
            InstanceState::Stopping => self.down(instance, Stage::Stopping),
            InstanceState::Stopped => self.down(instance, Stage::Stopped),
        }
    }

    fn up(&mut self, instance: &Instance) -> Stage {
        if self.ending(instance) {
            return Stage::Terminating;
        }
        if let Some(end) = self.due()
            && end.action == EndAction::Stop
        {
            self.stop(&instance.id);
            return Stage::Stopping;
        }
        self.move_deadline(instance);
        let running = instance.state == InstanceState::Running;
        Stage::Up {
            running,
            agent: self.agent(instance),
        }
    }

    fn down(&mut self, instance: &Instance, stage: Stage) -> Stage {
        if self.ending(instance) {
            return Stage::Terminating;
        }
        self.move_deadline(instance);
        stage
    }

    /// Terminates the instance if that is due, or was decided before.
    fn ending(&mut self, instance: &Instance) -> bool {
        if self.status.ended.is_none() {
            match self.due() {
                Some(end) if end.action == EndAction::Terminate => {
                    let message = match end.reason {
                        EndReason::TTLExpired => "the deadline passed",
                        _ => "the work is done",
                    };
                    let by = "its agent did not end it in time, so the controller does";
                    self.note(
                        true,
                        "EndedFromOutside",
                        "Terminate",
                        format!("{message}; {by}"),
                    );
                    self.end(end.reason, message.into());
                }
                _ => return false,
            }
        }
        self.terminate(&instance.id);
        true
    }

    /// The end that is due, as far as it can be told from outside, after a grace in which the agent
    /// should have acted. Idleness is not enforced from outside: the last report of it may be stale.
    fn due(&mut self) -> Option<lifecycle::End> {
        let spec = &self.spore.spec;
        let policy = Policy {
            idle: None,
            on_complete: lifecycle::CompletionPolicy {
                action: spec.on_complete.action,
                delay: spec.on_complete.delay,
            },
        };
        let signals = Signals {
            deadline: self.status.deadline,
            completed_at: self
                .status
                .workload
                .as_ref()
                .and_then(|workload| workload.finished_at),
            ..Signals::default()
        };
        let grace = self.settings.deadline_grace;
        match lifecycle::decide(grace.before(self.now), &policy, &signals) {
            Verdict::End(end) => Some(end),
            Verdict::Continue { next, .. } => {
                if let Some(next) = next {
                    self.wake_at(grace.after(next.at));
                }
                None
            }
        }
    }

    fn agent(&mut self, instance: &Instance) -> Agent {
        if instance.report.reported_at.is_some() {
            return Agent::Reporting;
        }
        let patience = BOOT_PATIENCE.after(instance.launched_at.unwrap_or(self.now));
        if patience <= self.now {
            return Agent::Silent;
        }
        self.wake_at(patience);
        Agent::Awaited
    }

    /// Tells the instance of a deadline later than the one that it carries.
    fn move_deadline(&mut self, instance: &Instance) {
        let Some(deadline) = self.status.deadline else {
            return;
        };
        if instance
            .identity
            .deadline
            .is_some_and(|carried| carried >= deadline)
            || self.blocked()
        {
            return;
        }
        self.actions.push(Action::MoveDeadline {
            region: instance.region.clone(),
            instance_id: instance.id.clone(),
            deadline,
        });
    }

    /// Writes what EC2 and the agent say into the status.
    fn record(&mut self, instance: &Instance) {
        if let Some(launch) = &mut self.status.launch {
            launch.instance_id = Some(instance.id.clone());
            launch.plan.user_data = None;
        }
        let before = self.status.instance.take().unwrap_or_default();
        self.status.instance = Some(InstanceStatus {
            id: instance.id.clone(),
            state: Some(instance.state.as_str().to_owned()),
            type_: Some(instance.instance_type.clone()),
            region: Some(instance.region.clone()),
            zone: instance.zone.clone().or(before.zone),
            image_id: instance.image_id.clone().or(before.image_id),
            // A stopped instance has no public address; a gone one has none at all.
            private_ip: instance.private_ip.clone(),
            public_ip: instance.public_ip.clone(),
            launched_at: before.launched_at.or(instance.launched_at),
        });
        let Report {
            agent_version,
            reported_at,
            phase,
            started_at,
            finished_at,
            exit_code,
            message,
            idle_since,
            end_reason: _,
            ended_at: _,
            armed_deadline,
        } = instance.report.clone();
        if reported_at.is_none() {
            return;
        }
        self.status.agent = Some(AgentStatus {
            version: agent_version,
            reported_at,
            armed_deadline,
        });
        self.status.idle_since = idle_since;
        self.status.workload = phase.map(|phase: WorkloadPhase| WorkloadStatus {
            phase: Some(phase.to_string()),
            exit_code,
            message,
            started_at,
            finished_at,
        });
    }

    /// Records why an instance that is going or gone has ended, unless that is recorded already.
    fn end_of(&mut self, instance: &Instance) {
        if self.status.ended.is_some() {
            return;
        }
        let past = self
            .status
            .deadline
            .is_some_and(|deadline| deadline <= self.now);
        let (reason, message) = match (instance.report.end_reason, instance.state_reason.as_deref())
        {
            (Some(reason), _) => (reason, told_by_agent(reason)),
            (None, Some("Server.SpotInstanceTermination")) => (
                EndReason::SpotInterruption,
                "EC2 took the Spot instance back".into(),
            ),
            (None, Some("Client.InstanceInitiatedShutdown")) if past => (
                EndReason::TTLExpired,
                "the instance powered itself off after its deadline".into(),
            ),
            (None, Some("Client.InstanceInitiatedShutdown")) => (
                EndReason::PoweredOff,
                "the instance was shut down from inside".into(),
            ),
            (None, Some(code)) if code.starts_with("Server.") => (
                EndReason::HostFailure,
                format!("EC2 ended the instance: {code}"),
            ),
            (None, _) => (
                EndReason::EndedOutside,
                "the instance was terminated by something other than Spore".into(),
            ),
        };
        self.end(reason, message);
    }

    // ---- deletion ----

    /// The way of a spore that is deleted: nothing may be left of it in EC2.
    fn delete(&mut self) -> (Option<Stage>, bool) {
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
        (Some(Stage::Terminating), hold)
    }

    /// Whether an instance that EC2 does not show may still exist.
    fn may_appear(&mut self) -> bool {
        let Some(launch) = self.status.launch.clone() else {
            return false;
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
                Some(LaunchOutcome::Launched { instance_id }) => {
                    self.terminate(&instance_id.clone())
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

    // ---- small things ----

    /// Terminates instances of this spore beside the one it has.
    fn terminate_strays(&mut self, keep: Option<&str>) {
        let strays = self
            .view
            .instances
            .iter()
            .filter(|instance| instance.state.is_live() && Some(instance.id.as_str()) != keep)
            .filter(|instance| {
                instance
                    .launched_at
                    .is_some_and(|at| STRAY_AGE.after(at) <= self.now)
            })
            .filter(|instance| keep.is_some() && !instance.keep)
            .map(|instance| instance.id.clone())
            .collect::<Vec<_>>();
        for id in strays {
            let message = format!("{id} is a second instance of this spore");
            self.note(true, "StrayTerminated", "Terminate", message);
            self.terminate(&id);
        }
    }

    /// Fixes the deadline: the launch's, or a later one that was asked for; never earlier than before.
    fn keep_deadline(&mut self, launch: &Launch) {
        let asked = self.spore.spec.extend_to;
        let latest = [Some(launch.deadline), asked, self.status.deadline]
            .into_iter()
            .flatten()
            .max();
        if self.status.deadline.is_some() && self.status.deadline < latest {
            let message = format!(
                "the deadline moves to {}",
                latest.unwrap_or(launch.deadline)
            );
            self.note(false, "Extended", "Extend", message);
        }
        self.status.deadline = latest;
    }

    fn end(&mut self, reason: EndReason, message: String) {
        if self.status.ended.is_some() {
            return;
        }
        self.note(false, reason.as_str(), "End", message.clone());
        let at = launch::whole_second(self.now);
        self.status.ended = Some(Ended {
            reason: reason.to_string(),
            at,
            message,
        });
    }

    fn finish(&mut self) -> Stage {
        // Idleness and addresses belong to a live instance.
        self.status.idle_since = None;
        match &self.status.ended {
            Some(ended) => Stage::Finished(ended.clone()),
            None => Stage::Terminating,
        }
    }

    fn terminate(&mut self, instance_id: &str) {
        if !self.blocked() {
            let region = self.region();
            let instance_id = instance_id.to_owned();
            self.actions.push(Action::Terminate {
                region,
                instance_id,
            });
        }
    }

    fn stop(&mut self, instance_id: &str) {
        if !self.blocked() {
            let region = self.region();
            let instance_id = instance_id.to_owned();
            self.actions.push(Action::Stop {
                region,
                instance_id,
            });
        }
    }

    /// Whether the last call failed and is not to be tried again yet; says so and sets the alarm.
    fn blocked(&mut self) -> bool {
        let Some(problem) = &self.view.problem else {
            return false;
        };
        let (error, retry_at) = (problem.error.clone(), problem.retry_at);
        // Right after a launch EC2 may not know the instance everywhere; that is no trouble yet.
        if error.class != Class::NotFound {
            self.trouble = Some(format!("{error}; {}", error.class.advice()));
        }
        if retry_at <= self.now {
            return false;
        }
        self.wake_at(retry_at);
        true
    }

    fn region(&self) -> String {
        match &self.status.launch {
            Some(launch) => launch.plan.region.clone(),
            None => launch::region(&self.spore.spec, self.settings).to_owned(),
        }
    }

    /// The inventory wakes us on changes; this is for the case that nothing ever shows up.
    fn look_again(&mut self) {
        self.wake_at(Duration::from_secs(5).after(self.now));
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn note(&mut self, warning: bool, reason: &'static str, action: &'static str, message: String) {
        self.actions.push(Action::Note(Note {
            warning,
            reason,
            action,
            message,
        }));
    }
}

fn told_by_agent(reason: EndReason) -> String {
    match reason {
        EndReason::SpotInterruption => "EC2 took the Spot instance back",
        EndReason::Completed => "the work is done",
        EndReason::TTLExpired => "the deadline passed",
        EndReason::CostLimit => "the cost limit was reached",
        EndReason::Idle => "the instance did nothing for the idle timeout",
        EndReason::UserRequested => "the spore was deleted",
        EndReason::EndedOutside => "the instance was ended by something other than Spore",
        EndReason::PoweredOff => "the instance was shut down from inside",
        EndReason::HostFailure => "EC2 ended the instance",
    }
    .to_owned()
}
