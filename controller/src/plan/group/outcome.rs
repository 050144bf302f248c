//! How one member ended, and what is done about it.

use jiff::Timestamp;
use spore_crds::{FailureAction, FailurePolicy, FailureReason, RowResult, SporeInstance, State};

/// Reason of a group that succeeded.
pub(super) const COMPLETED: &str = "Completed";
/// Reason of a group of which members failed.
pub(super) const MEMBERS_FAILED: &str = "MembersFailed";
/// Reason of a group whose policy ended it.
pub(super) const FAILURE_POLICY: &str = "FailurePolicy";
/// Reason of a group too few of whose members can still succeed.
pub(super) const QUORUM_LOST: &str = "QuorumLost";
/// Reason of a group that replaced as many members as it may.
pub(super) const BACKOFF_LIMIT: &str = "BackoffLimitExceeded";
/// Reason of a group that took too long.
pub(super) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// Reason of a group that was cancelled.
pub(super) const CANCELLED: &str = "Cancelled";

/// Reason of a group whose members have cost what they were allowed to.
pub(super) const BUDGET_REACHED: &str = crate::plan::cost::BUDGET_REACHED;

/// Replacements of one index, where replacing is declared without a limit. The same as a Job's.
const DEFAULT_BACKOFF_LIMIT_PER_INDEX: u32 = 6;

/// The reason of an end as the reason of an Event.
pub(super) fn event(reason: &str) -> &'static str {
    [
        COMPLETED,
        MEMBERS_FAILED,
        FAILURE_POLICY,
        QUORUM_LOST,
        BACKOFF_LIMIT,
        DEADLINE_EXCEEDED,
        CANCELLED,
        BUDGET_REACHED,
    ]
    .into_iter()
    .find(|known| *known == reason)
    .unwrap_or("Ended")
}

/// How a member ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `None`: it succeeded.
    pub(super) failure: Option<FailureReason>,
    /// Exit code of its workload.
    pub(super) exit_code: Option<i32>,
    /// A sentence for people.
    pub(super) message: String,
}

/// How a member ended; `None` as long as it has not.
pub(super) fn of(child: &SporeInstance) -> Option<Outcome> {
    let status = child.status.as_ref()?;
    let workload = status.workload.as_ref();
    let phase = workload.and_then(|workload| workload.phase.as_deref());
    let ended = status.ended.as_ref();
    let over = match status.state? {
        State::Succeeded | State::Failed | State::Ended => true,
        // Its disks are kept until the deadline, but its work is done.
        State::Stopped => matches!(phase, Some("Succeeded" | "Failed")),
        // Deleted after its work was done: the object will not be there to tell of it.
        State::Terminating if child.metadata.deletion_timestamp.is_some() => {
            matches!(phase, Some("Succeeded" | "Failed"))
        }
        State::Pending
        | State::Launching
        | State::Booting
        | State::Running
        | State::Stopping
        | State::Terminating
        | State::Stalled => false,
    };
    if !over {
        return None;
    }
    let reason = ended.map_or("", |ended| ended.reason.as_str());
    // Without a command there is no work to fail: it has ended as declared.
    let declared =
        child.spec.command.is_empty() && matches!(reason, "TTLExpired" | "Idle" | "Completed");
    let failure = match phase {
        Some("Succeeded") => None,
        Some("Failed") => Some(FailureReason::WorkloadFailed),
        _ if declared => None,
        _ => Some(failure(reason)),
    };
    let said = workload.and_then(|workload| workload.message.clone());
    Some(Outcome {
        failure,
        exit_code: workload.and_then(|workload| workload.exit_code),
        message: said
            .or_else(|| ended.map(|ended| ended.message.clone()))
            .unwrap_or_default(),
    })
}

fn failure(reason: &str) -> FailureReason {
    match reason {
        "SpotInterruption" => FailureReason::SpotInterruption,
        "HostFailure" => FailureReason::HostFailure,
        "PoweredOff" => FailureReason::PoweredOff,
        "TTLExpired" => FailureReason::TTLExpired,
        "Idle" => FailureReason::Idle,
        "CostLimit" => FailureReason::CostLimit,
        "UserRequested" => FailureReason::UserRequested,
        "Completed" => FailureReason::WorkloadFailed,
        _ => FailureReason::EndedOutside,
    }
}

/// What a policy says of an end.
pub(super) fn action(policy: Option<&FailurePolicy>, outcome: &Outcome) -> FailureAction {
    let Some(policy) = policy else {
        return FailureAction::Continue;
    };
    let matching = policy.rules.iter().find(|rule| {
        let reason = outcome
            .failure
            .is_some_and(|reason| rule.on_reasons.contains(&reason));
        let code = outcome
            .exit_code
            .is_some_and(|code| rule.on_exit_codes.contains(&code));
        (rule.on_reasons.is_empty() || reason) && (rule.on_exit_codes.is_empty() || code)
    });
    match matching {
        Some(rule) => rule.action,
        // Limits without rules mean that every failure is tried again.
        None if policy.rules.is_empty()
            && (policy.backoff_limit_per_index.is_some() || policy.backoff_limit.is_some()) =>
        {
            FailureAction::Replace
        }
        None => FailureAction::Continue,
    }
}

/// How often one index may be replaced.
pub(super) fn limit_per_index(policy: Option<&FailurePolicy>) -> u32 {
    policy
        .and_then(|policy| policy.backoff_limit_per_index)
        .unwrap_or(DEFAULT_BACKOFF_LIMIT_PER_INDEX)
}

/// How long after its `attempt`th end an index is launched again: 10 s, doubled each time, at most six
/// minutes, as a Job does. Without jitter: members that failed together are launched together, in
/// one call.
pub(super) fn pause(attempt: u32) -> spore_core::duration::Duration {
    let doubled = 10_u32 << attempt.saturating_sub(1).min(8);
    spore_core::duration::Duration::from_secs(doubled.min(360))
}

/// How the row of a member ended, to be kept.
pub(super) fn result(
    child: Option<&SporeInstance>,
    (index, attempt): (u32, u32),
    name: Option<String>,
    outcome: &Outcome,
) -> RowResult {
    let status = child.and_then(|child| child.status.as_ref());
    let workload = status.and_then(|status| status.workload.as_ref());
    let instance = status.and_then(|status| status.instance.as_ref());
    let launched: Option<Timestamp> = instance.and_then(|instance| instance.launched_at);
    // A workload that says where its result lies, says it in its message.
    let location = outcome
        .message
        .split_whitespace()
        .find(|word| word.starts_with("s3://"))
        .map(str::to_owned);
    RowResult {
        index,
        name,
        attempts: attempt,
        succeeded: outcome.failure.is_none(),
        reason: outcome
            .failure
            .map_or("Succeeded", FailureReason::as_str)
            .to_owned(),
        exit_code: outcome.exit_code,
        message: Some(outcome.message.clone()).filter(|text| !text.is_empty()),
        instance_id: instance.map(|instance| instance.id.clone()),
        started_at: workload
            .and_then(|workload| workload.started_at)
            .or(launched),
        finished_at: workload
            .and_then(|workload| workload.finished_at)
            .or_else(|| {
                status
                    .and_then(|status| status.ended.as_ref())
                    .map(|ended| ended.at)
            }),
        location,
        cost: status
            .and_then(|status| status.cost.as_ref())
            .map(|cost| cost.accrued),
    }
}
