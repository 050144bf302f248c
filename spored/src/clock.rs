//! The clock, read in this one place: everything that decides takes the time as an argument.

use jiff::{SignedDuration, Timestamp};

/// The present moment, cut to the whole second: what is told to people and tags needs no more, and a
/// cut moment is never later than the true one, so nothing is done early.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.checked_sub(SignedDuration::from_nanos(i64::from(
        now.subsec_nanosecond(),
    )))
    .unwrap_or(now)
}
