//! An instance that EC2 shows: following it, and ending it when that is due.

use spore_core::{
    duration::Duration,
    lifecycle::{self, Action as EndAction, EndReason, Policy, Signals, Verdict},
    tags::{Report, WorkloadPhase},
};
use spore_crds::{AgentStatus, InstanceStatus, WorkloadStatus};

use super::{Planner, money::Run};
use crate::{
    cloud::{Instance, InstanceState},
    plan::{
        Action,
        stage::{Agent, Stage},
    },
};

/// How long a boot may take until a silent agent is called silent.
const BOOT_PATIENCE: Duration = Duration::from_secs(600);

impl Planner<'_> {
    pub(super) fn with_instance(&mut self, instance: &Instance) -> Stage {
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
                    let message = sentence(end.reason);
                    let by = "its agent did not end it in time, so the controller does";
                    self.note(
                        true,
                        "EndedFromOutside",
                        "Terminate",
                        format!("{message}; {by}"),
                    );
                    self.end(end.reason, message);
                }
                _ => return false,
            }
        }
        self.terminate(&instance.id);
        true
    }

    /// The end that is due, as far as it can be told from outside, after a grace in which the agent
    /// should have acted. Idleness is not enforced from outside: the last report of it may be stale.
    pub(super) fn due(&mut self) -> Option<lifecycle::End> {
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
        // Whatever else is due or comes first: nothing may keep us from being there at the deadline.
        if let Some(enforced) = self.status.deadline.map(|at| grace.after(at))
            && enforced > self.now
        {
            self.wake_at(enforced);
        }
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
    pub(super) fn record(&mut self, instance: &Instance) {
        self.confirm(&instance.id);
        self.seen = Some(Run::of(instance));
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
        // Tags outlive a stop: an end told before the latest start is not this one.
        let told = instance.report.end_reason.filter(|_| {
            let times = instance.report.ended_at.zip(instance.launched_at);
            times.is_none_or(|(ended, launched)| ended >= launched)
        });
        let (reason, message) = match (told, instance.state_reason.as_deref()) {
            (Some(reason), _) => (reason, sentence(reason)),
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
}

fn sentence(reason: EndReason) -> String {
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
