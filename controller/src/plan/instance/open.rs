//! A launch that is decided: calling it until its outcome is certain.

use jiff::Timestamp;
use spore_core::{
    duration::Duration,
    lifecycle::{Action as EndAction, EndReason},
};
use spore_crds::{InstanceStatus, Launch};

use super::Planner;
use crate::{
    cloud::{Class, CloudError, InstanceState, Seek},
    plan::{
        Action, LaunchOutcome, LaunchRecord,
        stage::{self, Stage, Waiting},
    },
};

/// How long an inherited launch may be replayed. EC2 keeps a token for at least 24 hours after the
/// instance is gone; beyond that a replay could launch a second time.
const REPLAY_WINDOW: Duration = Duration::from_secs(12 * 3_600);

impl Planner<'_> {
    pub(super) fn open(&mut self, launch: &Launch) -> Stage {
        // A launch that this process did not decide may have been called by a predecessor.
        let inherited = LaunchRecord::inherited();
        let record = self.view.launch.as_ref().unwrap_or(&inherited).clone();
        match &record.last {
            Some(LaunchOutcome::Launched { instance_ids }) => {
                self.launched(instance_ids.first().cloned().unwrap_or_default())
            }
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

    /// EC2's reply named the instance; it is followed from the next round on.
    fn launched(&mut self, instance_id: String) -> Stage {
        self.confirm(&instance_id);
        self.status.instance = Some(InstanceStatus {
            id: instance_id.clone(),
            ..InstanceStatus::default()
        });
        Stage::Waiting(Waiting::Appearance { instance_id })
    }

    /// Closes the launch as made: it needs no replay any more.
    pub(super) fn confirm(&mut self, instance_id: &str) {
        let Some(launch) = &mut self.status.launch else {
            return;
        };
        launch.plan.user_data = None;
        if launch.instance_id.is_none() {
            launch.instance_id = Some(instance_id.to_owned());
            let message = format!("EC2 gave {instance_id}");
            self.note(false, "Launched", "RunInstances", message);
        }
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
            self.seek(Seek::Launch(launch.token.clone()));
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
            self.seek(Seek::Launch(launch.token.clone()));
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

    pub(super) fn expected(&mut self, instance_id: String) -> Stage {
        self.seek(Seek::Instance(instance_id.clone()));
        let region = &self.view.region;
        if !self.view.looked_up && region.error.is_none() {
            // We have just started: it may have ended by itself, and may have said how.
            self.look_again();
            let region = self.region();
            return Stage::Waiting(Waiting::Inventory { region });
        }
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

    pub(super) fn gone(&mut self, instance_id: &str) -> Stage {
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
}
