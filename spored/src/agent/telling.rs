//! When a report is worth a write of tags.

use jiff::Timestamp;
use spore_core::{duration::Duration, tags::Report};

/// The shortest time between two reports that tell of nothing but idleness. It doubles with each, up to
/// [`IDLE_GAP_MAX`]: an instance that does something now and then must not use up the account's tag
/// writes.
const IDLE_GAP_MIN: u32 = 180;
/// See [`IDLE_GAP_MIN`].
const IDLE_GAP_MAX: u32 = 3_600;

/// What was told, and when idleness was told last.
#[derive(Debug)]
pub(super) struct Telling {
    told: Option<Report>,
    idle_told: Option<Timestamp>,
    idle_gap: u32,
}

impl Telling {
    /// Nothing was told, or this by an earlier agent.
    pub(super) fn new(told: Option<Report>) -> Self {
        Self {
            told,
            idle_told: None,
            idle_gap: IDLE_GAP_MIN,
        }
    }

    /// What was told last.
    pub(super) fn last(&self) -> Option<&Report> {
        self.told.as_ref()
    }

    /// Whether this report is to be told now; if so it counts as told.
    pub(super) fn is_due(&mut self, report: &Report, now: Timestamp) -> bool {
        let due = match &self.told {
            None => true,
            Some(told) if without_idleness(told) != without_idleness(report) => true,
            Some(told) => told.idle_since != report.idle_since && self.idleness_is_due(now),
        };
        if due {
            self.told = Some(report.clone());
        }
        due
    }

    fn idleness_is_due(&mut self, now: Timestamp) -> bool {
        let gap = Duration::from_secs(self.idle_gap);
        if self.idle_told.is_some_and(|at| now < gap.after(at)) {
            return false;
        }
        if self.idle_told.is_some() {
            self.idle_gap = (self.idle_gap * 2).min(IDLE_GAP_MAX);
        }
        self.idle_told = Some(now);
        true
    }
}

/// A report less what changes often and what always changes.
fn without_idleness(report: &Report) -> Report {
    Report {
        idle_since: None,
        reported_at: None,
        ..report.clone()
    }
}
