//! Cron patterns of five fields.

use croner::parser::{CronParser, Seconds, Year};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::zone::{begin_of_offset, first_moment, latest_local};

/// Longest pattern that is read.
const LONGEST: usize = 128;
/// Names of patterns, as in crontab(5).
const NICKNAMES: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];
const HOURS: usize = 24;

/// A cron pattern: minute, hour, day of month, month, day of week.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: croner::Cron,
    every_hour: bool,
}

/// What is wrong with a cron pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It has not five fields.
    #[error(
        "{pattern:?} has {fields} fields; five are needed: minute, hour, day of month, month, day of week"
    )]
    Fields {
        /// The pattern.
        pattern: String,
        /// How many it has.
        fields: usize,
    },
    /// It begins with @ and is no name of a pattern.
    #[error("there is no {0:?}; there are {all}", all = NICKNAMES.join(", "))]
    Nickname(String),
    /// It names a time zone.
    #[error("{0:?} names a time zone: write it into timeZone instead")]
    Zone(String),
    /// It is longer than any that people write.
    #[error("the pattern has {0} characters, which is more than 128")]
    Long(usize),
    /// A field is wrong.
    #[error("{pattern:?} cannot be read: {detail}")]
    Field {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        detail: String,
    },
    /// There is no such day.
    #[error("{0:?} never comes: no such day exists")]
    Never(String),
}

impl Cron {
    /// Reads a pattern, or a name of one such as `@daily`.
    ///
    /// # Errors
    /// If it is none, or never comes.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        check(text)?;
        let plain = match text.to_ascii_lowercase().as_str() {
            "@midnight" => "@daily".to_owned(),
            _ => text.to_owned(),
        };
        let pattern = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(&plain)
            .map_err(|error| CronError::Field {
                pattern: text.to_owned(),
                detail: detail(&error.to_string()),
            })?;
        let every_hour = pattern.pattern.hours.values().len() == HOURS;
        let cron = Self {
            pattern,
            every_hour,
        };
        match cron.after(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(text.to_owned())),
        }
    }

    /// The first time after a moment.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.every_hour {
            return self.next_by_the_clock(after, zone);
        }
        let mut local = zone.to_datetime(after);
        loop {
            local = self.after(local, false)?;
            let at = first_moment(local, zone)?;
            if at > after {
                return Some(at);
            }
        }
    }

    /// The last time that is not after a moment.
    pub(super) fn latest(&self, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.every_hour {
            return self.latest_by_the_clock(until, zone);
        }
        let mut local = self.before(latest_local(until, zone), true)?;
        loop {
            let at = first_moment(local, zone)?;
            if at <= until {
                return Some(at);
            }
            local = self.before(local, false)?;
        }
    }

    /// As [`next`](Self::next), whenever the clock shows it.
    fn next_by_the_clock(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = zone.to_offset(from);
            let local = self.after(offset.to_datetime(from), inclusive)?;
            let at = offset.to_timestamp(local).ok()?;
            match zone.following(from).next() {
                Some(change) if change.timestamp() <= at => {
                    (from, inclusive) = (change.timestamp(), true);
                }
                Some(_) | None => return Some(at),
            }
        }
    }

    /// As [`latest`](Self::latest), whenever the clock showed it.
    fn latest_by_the_clock(&self, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut until = until;
        loop {
            let offset = zone.to_offset(until);
            let local = self.before(offset.to_datetime(until), true)?;
            let at = offset.to_timestamp(local).ok()?;
            match begin_of_offset(until, zone) {
                Some(change) if at < change => {
                    until = change.checked_sub(SignedDuration::from_nanos(1)).ok()?;
                }
                Some(_) | None => return Some(at),
            }
        }
    }

    /// Whether it is due whenever the clock shows it.
    #[cfg(test)]
    pub(super) fn is_every_hour(&self) -> bool {
        self.every_hour
    }

    /// Whether it is due when the clock shows this.
    #[cfg(test)]
    pub(super) fn shows(&self, local: DateTime) -> bool {
        self.pattern.is_time_matching(&local).unwrap_or(false)
    }

    fn after(&self, local: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&local, inclusive).ok()
    }

    fn before(&self, local: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern
            .find_previous_occurrence(&local, inclusive)
            .ok()
    }
}

fn check(text: &str) -> Result<(), CronError> {
    if text.len() > LONGEST {
        return Err(CronError::Long(text.len()));
    }
    if text.to_ascii_uppercase().contains("TZ=") {
        return Err(CronError::Zone(text.to_owned()));
    }
    if text.starts_with('@') {
        return match NICKNAMES.contains(&text.to_ascii_lowercase().as_str()) {
            true => Ok(()),
            false => Err(CronError::Nickname(text.to_owned())),
        };
    }
    match text.split_whitespace().count() {
        5 => Ok(()),
        fields => Err(CronError::Fields {
            pattern: text.to_owned(),
            fields,
        }),
    }
}

/// croner begins with the kind of its errors, which says nothing to whoever wrote the pattern.
fn detail(error: &str) -> String {
    let plain = error
        .strip_prefix("Component error: ")
        .or_else(|| error.strip_prefix("Invalid pattern: "))
        .or_else(|| error.strip_prefix("Pattern contains illegal characters: "))
        .unwrap_or(error);
    plain.trim_end_matches('.').to_owned()
}
