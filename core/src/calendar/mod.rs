//! When a schedule is due.
//!
//! The grammar and the calendar of cron are croner's; what a clock that is put forward or back means
//! is said here, because it decides whether something that costs money runs.
//!
//! - A time that a zone skips is due at the first moment after the gap.
//! - A time that a zone has twice is due the first time only.
//! - A pattern that holds in every hour is for whoever counts in hours that pass, not in names of
//!   hours: it is due whenever the clock shows its minute.

mod cron;
mod zone;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

pub use cron::{Cron, CronError};
pub use zone::{UnknownZone, zone};

use zone::first_moment;

/// When something is due.
#[derive(Clone, Debug)]
pub enum Calendar {
    /// Again and again.
    Cron {
        /// The pattern.
        cron: Box<Cron>,
        /// The zone whose clocks it is about.
        zone: TimeZone,
    },
    /// Once.
    At(Timestamp),
}

impl Calendar {
    /// The first time after a moment; `None` if there is none in the next decades.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, zone } => cron.next(after, zone),
            Self::At(at) => Some(*at).filter(|at| *at > after),
        }
    }

    /// The last time that is not after a moment.
    #[must_use]
    pub fn latest(&self, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, zone } => cron.latest(until, zone),
            Self::At(at) => Some(*at).filter(|at| *at <= until),
        }
    }

    /// How many times there are after one moment and before another, counted up to `most`.
    #[must_use]
    pub fn count(&self, after: Timestamp, before: Timestamp, most: usize) -> usize {
        let first = self.next(after);
        std::iter::successors(first, |time| self.next(*time))
            .take_while(|time| *time < before)
            .take(most)
            .count()
    }
}

/// What is neither a moment nor a local time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no moment: write 2026-12-01T08:00:00Z, 2026-12-01T08:00:00+01:00, or 2026-12-01T08:00:00 for a local time"
)]
pub struct NoMoment(pub String);

/// Years beyond which nothing is read, so that every reader has room to add to a moment.
const YEARS: std::ops::Range<i16> = 1970..9000;

/// Reads a moment in RFC 3339, or a time without an offset on the clocks of a zone.
///
/// # Errors
/// If it is neither.
pub fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, NoMoment> {
    let wrong = || NoMoment(text.to_owned());
    // An offset is said by its sign or by Z; jiff would take the name of a zone in brackets too.
    let (_, time) = text.split_once(['T', 't', ' ']).ok_or_else(wrong)?;
    if text.contains('[') {
        return Err(wrong());
    }
    let at = match time.contains(['Z', 'z', '+', '-']) {
        true => text.parse::<Timestamp>().map_err(|_| wrong())?,
        false => {
            let local = text.parse::<DateTime>().map_err(|_| wrong())?;
            first_moment(local, zone).ok_or_else(wrong)?
        }
    };
    let year = at.to_zoned(TimeZone::UTC).year();
    if YEARS.contains(&year) {
        Ok(at)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests;
