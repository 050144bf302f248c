//! What became of the executions of a schedule.

use jiff::Timestamp;
use spore_crds::{ActiveExecution, Execution, Outcome, ScheduleStatus, SporeScheduleSpec};

use super::{Action, Child, child::End, note};

/// How many executions the history tells of, beside those that are active.
const ENTRIES: usize = 20;
/// How many active executions are named.
const NAMED: usize = 10;

/// Writes down how the children stand, and says what is new.
pub(super) fn record(
    status: &mut ScheduleStatus,
    children: &[Child],
    now: Timestamp,
) -> Vec<Action> {
    let mut news = Vec::new();
    for child in children {
        let known = status
            .history
            .iter()
            .position(|entry| entry.name.as_ref() == Some(&child.name));
        if known.is_none() && child.end.is_some() && is_forgotten(status, child.scheduled) {
            continue;
        }
        let index = known.unwrap_or_else(|| {
            status.history.push(Execution {
                time: child.scheduled,
                name: Some(child.name.clone()),
                outcome: Outcome::Active,
                ended_at: None,
                message: None,
            });
            status.history.len() - 1
        });
        let entry = &mut status.history[index];
        if let (Outcome::Active, Some(end)) = (entry.outcome, &child.end) {
            close(entry, end, now);
            if end.succeeded {
                status.last_successful_time = status.last_successful_time.max(entry.ended_at);
            }
            news.push(ended(child, end));
        }
    }
    for entry in &mut status.history {
        let there = children
            .iter()
            .any(|child| Some(&child.name) == entry.name.as_ref());
        if entry.outcome == Outcome::Active && !there {
            entry.outcome = Outcome::Deleted;
            entry.ended_at = Some(now);
        }
    }
    trim(status);
    name_active(status, children);
    news
}

/// Whether the history is full of later ones.
fn is_forgotten(status: &ScheduleStatus, time: Timestamp) -> bool {
    let ended = status
        .history
        .iter()
        .filter(|entry| entry.outcome != Outcome::Active);
    ended.filter(|entry| entry.time > time).count() >= ENTRIES
}

fn close(entry: &mut Execution, end: &End, now: Timestamp) {
    entry.outcome = match end.succeeded {
        true => Outcome::Succeeded,
        false => Outcome::Failed,
    };
    entry.ended_at = Some(end.at.unwrap_or(now));
    entry.message.clone_from(&end.message);
}

fn ended(child: &Child, end: &End) -> Action {
    let (word, reason) = match end.succeeded {
        true => ("has succeeded", "ExecutionSucceeded"),
        false => ("has ended without success", "ExecutionFailed"),
    };
    let detail = end
        .message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    let message = format!("{} {} {word}{detail}", child.kind.as_str(), child.name);
    note(!end.succeeded, reason, "Watch", message)
}

/// Writes down a time at which nothing was started.
pub(super) fn missed(status: &mut ScheduleStatus, time: Timestamp, why: &str) -> Action {
    status.history.push(Execution {
        time,
        name: None,
        outcome: Outcome::Missed,
        ended_at: None,
        message: Some(why.to_owned()),
    });
    trim(status);
    note(
        true,
        "Missed",
        "Start",
        format!("nothing was started for {time}: {why}"),
    )
}

/// Keeps the latest, and all that are active.
fn trim(status: &mut ScheduleStatus) {
    status.history.sort_by_key(|entry| entry.time);
    let ended = status
        .history
        .iter()
        .filter(|entry| entry.outcome != Outcome::Active);
    let mut surplus = ended.count().saturating_sub(ENTRIES);
    status.history.retain(|entry| {
        let drop = surplus > 0 && entry.outcome != Outcome::Active;
        surplus -= usize::from(drop);
        !drop
    });
}

fn name_active(status: &mut ScheduleStatus, children: &[Child]) {
    let mut active = children
        .iter()
        .filter(|child| child.end.is_none())
        .collect::<Vec<_>>();
    active.sort_by_key(|child| child.scheduled);
    status.active_count = u32::try_from(active.len()).unwrap_or(u32::MAX);
    let unnamed = active.len().saturating_sub(NAMED);
    status.active = active[unnamed..]
        .iter()
        .map(|child| ActiveExecution {
            kind: child.kind.as_str().to_owned(),
            name: child.name.clone(),
        })
        .collect();
}

/// Deletes ended children beyond the limits, the oldest first. What they were stays in the history.
pub(super) fn prune(spec: &SporeScheduleSpec, children: &[Child]) -> Vec<Action> {
    let mut actions = Vec::new();
    for (succeeded, limit) in [
        (true, spec.successful_history_limit),
        (false, spec.failed_history_limit),
    ] {
        let mut ended = children
            .iter()
            .filter(|child| child.end.as_ref().map(|end| end.succeeded) == Some(succeeded))
            .collect::<Vec<_>>();
        ended.sort_by_key(|child| child.scheduled);
        let kept = usize::try_from(limit).unwrap_or(usize::MAX);
        let surplus = ended.len().saturating_sub(kept);
        let going = ended.into_iter().take(surplus);
        actions.extend(going.filter(|child| !child.deleting).map(Action::delete));
    }
    actions
}
