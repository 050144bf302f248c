//! When the power-off timer is to be set.

use jiff::Timestamp;

use super::TRY_AGAIN;

/// How far the timer is set.
#[derive(Debug, Default)]
pub(super) struct Arming {
    armed: Option<Timestamp>,
    tried: Option<(Timestamp, Timestamp)>,
    settled: bool,
}

impl Arming {
    /// The deadline for which it is set.
    pub(super) fn armed(&self) -> Option<Timestamp> {
        self.armed
    }

    /// Whether it is known if it can be set at all.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// It was set, or could not be.
    pub(super) fn settle(&mut self, armed: Option<Timestamp>) {
        self.armed = armed.or(self.armed);
        self.settled = true;
    }

    /// Whether to set it for this deadline now; if so it counts as tried.
    pub(super) fn is_due(&mut self, deadline: Timestamp, now: Timestamp) -> bool {
        let tried = self
            .tried
            .is_some_and(|(tried, at)| tried == deadline && now < TRY_AGAIN.after(at));
        let due = self.armed != Some(deadline) && !tried;
        if due {
            self.tried = Some((deadline, now));
        }
        due
    }
}
