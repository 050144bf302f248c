//! The time, and progress that tells it.

use jiff::Timestamp;

/// Now, on the clock that the EC2 stand-in stamps its calls with.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A line of progress on standard error.
pub(crate) fn progress(text: &str) {
    eprintln!("[bench] {:.0} {text}", now());
}
