//! Where a schedule is, and how that is told.

use jiff::Timestamp;
use spore_crds::{
    ScheduleState, ScheduleStatus,
    conditions::{self, Say},
};

/// Where a schedule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The next execution is known.
    Scheduled(Timestamp),
    /// An execution is due and waits for earlier ones to end.
    Waiting {
        time: Timestamp,
        active: String,
    },
    /// An execution is decided and about to be created.
    Starting(Timestamp),
    /// An execution is decided; what runs is being deleted first.
    Replacing {
        time: Timestamp,
        active: String,
    },
    /// An execution is decided, and the API server refuses it.
    Refused {
        time: Timestamp,
        why: String,
    },
    /// It cannot be read as written.
    Wrong {
        reason: &'static str,
        message: String,
    },
    Suspended,
    /// Nothing is started any more.
    Finished(String),
}

/// Writes state and conditions.
pub(super) fn tell(
    status: &mut ScheduleStatus,
    standing: &Standing,
    generation: Option<i64>,
    now: Timestamp,
) {
    status.state = Some(state(standing));
    let [ready, reconciling, stalled] = summary(standing);
    for (type_, say) in [
        (conditions::READY, ready),
        (conditions::RECONCILING, reconciling),
        (conditions::STALLED, stalled),
    ] {
        conditions::set(&mut status.conditions, type_, say, generation, now);
    }
}

fn state(standing: &Standing) -> ScheduleState {
    match standing {
        Standing::Scheduled(_)
        | Standing::Waiting { .. }
        | Standing::Starting(_)
        | Standing::Replacing { .. } => ScheduleState::Active,
        Standing::Suspended => ScheduleState::Suspended,
        Standing::Finished(_) => ScheduleState::Finished,
        Standing::Refused { .. } | Standing::Wrong { .. } => ScheduleState::Stalled,
    }
}

/// Ready, Reconciling and Stalled, as kstatus reads them.
fn summary(standing: &Standing) -> [Say; 3] {
    let reached = |reason: &'static str, message: String| {
        [
            Say::yes(reason, message),
            Say::no(reason, "nothing left to do"),
            Say::no(reason, "nothing is in the way"),
        ]
    };
    let progress = |reason: &'static str, message: String| {
        [
            Say::no(reason, message.clone()),
            Say::yes(reason, message),
            Say::no("Progressing", "on its way"),
        ]
    };
    let stalled = |reason: &'static str, message: String| {
        [
            Say::no(reason, message.clone()),
            Say::no(reason, "waiting for a change"),
            Say::yes(reason, message),
        ]
    };
    match standing {
        Standing::Scheduled(next) => {
            reached("Scheduled", format!("the next execution is at {next}"))
        }
        Standing::Waiting { time, active } => reached(
            "WaitingForActive",
            format!("the execution for {time} waits until {active} has ended"),
        ),
        Standing::Starting(time) => {
            progress("Starting", format!("creating the execution for {time}"))
        }
        Standing::Replacing { time, active } => progress(
            "Replacing",
            format!("the execution for {time} starts when nothing is left of {active}"),
        ),
        Standing::Refused { time, why } => stalled(
            "Refused",
            format!(
                "the execution for {time} cannot be created: {why}; correct the template, or what refuses it"
            ),
        ),
        Standing::Wrong { reason, message } => stalled(reason, message.clone()),
        Standing::Suspended => reached(
            "Suspended",
            "nothing is started until spec.suspend is false".into(),
        ),
        Standing::Finished(why) => reached("Finished", why.clone()),
    }
}
