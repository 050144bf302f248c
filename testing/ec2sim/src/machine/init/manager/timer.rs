//! Timers that have been started.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::super::journal;
use super::super::unit::Timer;
use super::Manager;

const STAMPS: &str = "/var/lib/systemd/timers";

/// A started timer.
pub(super) struct Armed {
    pub(super) timer: Timer,
    started: Instant,
    /// Points in time up to this one are past: they count as missed or as done.
    calendar_done: Timestamp,
    /// The last moment at which a span had elapsed.
    spans_done: Option<Instant>,
}

impl Armed {
    /// The next point in time on the calendar.
    pub(super) fn next_calendar(&self) -> Option<Timestamp> {
        self.timer
            .calendar
            .iter()
            .filter(|at| **at > self.calendar_done)
            .min()
            .copied()
    }

    fn next_span(&self, booted: Instant) -> Option<Instant> {
        let from_start = self
            .timer
            .after_activation
            .iter()
            .map(|span| self.started + *span);
        let from_boot = self.timer.after_boot.iter().map(|span| booted + *span);
        from_start
            .chain(from_boot)
            .filter(|at| self.spans_done.is_none_or(|done| *at > done))
            .min()
    }

    /// When to look again. The wall clock may be set, so it is not trusted for long.
    pub(super) fn due(&self, booted: Instant) -> Option<Instant> {
        let calendar = self.next_calendar().map(|at| {
            let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
            Instant::now() + left.min(Duration::from_secs(1))
        });
        calendar.into_iter().chain(self.next_span(booted)).min()
    }

    /// Whether it has elapsed; counts what has as done.
    fn elapse(&mut self, booted: Instant) -> bool {
        let (now, wall) = (Instant::now(), Timestamp::now());
        let by_calendar = self.next_calendar().is_some_and(|at| at <= wall);
        let by_span = self.next_span(booted).is_some_and(|at| at <= now);
        if by_calendar {
            self.calendar_done = wall;
        }
        if by_span {
            self.spans_done = Some(now);
        }
        by_calendar || by_span
    }
}

impl Manager {
    pub(super) fn start_timer(&mut self, name: &str, timer: &Timer) {
        let now = Timestamp::now();
        // What elapsed while the machine was off is made up for when a stamp tells so.
        let missed_since = if timer.persistent {
            last_stamp(name)
        } else {
            None
        };
        if timer.persistent && missed_since.is_none() {
            stamp(name);
        }
        let armed = Armed {
            timer: timer.clone(),
            started: Instant::now(),
            calendar_done: missed_since.unwrap_or(now),
            spans_done: None,
        };
        let next = armed
            .next_calendar()
            .map_or_else(String::new, |at| format!(" Next: {at}."));
        journal::note(name, &format!("Started.{next}"));
        self.timers.insert(name.to_owned(), armed);
    }

    pub(super) fn fire_timers(&mut self) {
        let booted = self.booted;
        let elapsed: Vec<(String, Timer)> = self
            .timers
            .iter_mut()
            .filter_map(|(name, armed)| {
                armed
                    .elapse(booted)
                    .then(|| (name.clone(), armed.timer.clone()))
            })
            .collect();
        for (name, timer) in elapsed {
            journal::note(&name, &format!("Elapsed: starting {}.", timer.starts));
            if timer.persistent {
                stamp(&name);
            }
            if let Err(why) = self.start(&timer.starts) {
                journal::note(
                    &name,
                    &format!("error: cannot start {}: {why}", timer.starts),
                );
            }
        }
    }
}

fn stamp_path(name: &str) -> PathBuf {
    Path::new(STAMPS).join(format!("stamp-{name}"))
}

fn last_stamp(name: &str) -> Option<Timestamp> {
    let modified: SystemTime = std::fs::metadata(stamp_path(name))
        .and_then(|m| m.modified())
        .ok()?;
    Timestamp::try_from(modified).ok()
}

fn stamp(name: &str) {
    let path = stamp_path(name);
    if let Err(error) = std::fs::write(&path, "") {
        journal::note(name, &format!("error: {}: {error}", path.display()));
    }
}
