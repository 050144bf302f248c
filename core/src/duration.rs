//! Spans of time as people write them: `30m`, `1d12h`, `30m2h`.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The grammar as a regular expression, for API schemas: exactly what [`Duration::from_str`] takes.
pub const PATTERN: &str = "^([0-9]{1,6}[smhd]){1,4}$";

const MAX_PARTS: usize = 4;
const MAX_DIGITS: usize = 6;

/// A non-negative span of time, whole seconds.
///
/// Written as one to four parts of a number and a unit (`s`, `m`, `h`, `d`), in any order and
/// without spaces; the parts add up. Printed with the largest units first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    seconds: u32,
}

/// Why a text is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: write numbers with the units s, m, h, d and no spaces, such as 30m, 8h or 1d12h"
)]
pub struct ParseDurationError {
    text: String,
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self { seconds: 0 };

    /// This many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self { seconds }
    }

    /// The whole span in seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.seconds
    }

    /// Whether the span is empty.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.seconds == 0
    }

    /// The moment this long after `start`; the last representable moment if there is none.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        start.checked_add(self.signed()).unwrap_or(Timestamp::MAX)
    }

    /// The moment this long before `end`; the first representable moment if there is none.
    #[must_use]
    pub fn before(self, end: Timestamp) -> Timestamp {
        end.checked_sub(self.signed()).unwrap_or(Timestamp::MIN)
    }

    /// The span from `start` to `end`, zero if `end` is earlier.
    #[must_use]
    pub fn between(start: Timestamp, end: Timestamp) -> Self {
        let seconds = end.as_second().saturating_sub(start.as_second());
        Self {
            seconds: u32::try_from(seconds.max(0)).unwrap_or(u32::MAX),
        }
    }

    fn signed(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.seconds))
    }
}

impl From<Duration> for std::time::Duration {
    fn from(span: Duration) -> Self {
        Self::from_secs(u64::from(span.seconds))
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError {
            text: text.to_owned(),
        };
        let (mut rest, mut parts, mut total) = (text, 0, 0_u64);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 || digits > MAX_DIGITS || parts == MAX_PARTS {
                return Err(error());
            }
            let (number, tail) = rest.split_at(digits);
            let unit = match tail.bytes().next() {
                Some(b's') => 1,
                Some(b'm') => 60,
                Some(b'h') => 3_600,
                Some(b'd') => 86_400,
                _ => return Err(error()),
            };
            total += number.parse::<u64>().map_err(|_| error())? * unit;
            rest = &tail[1..];
            parts += 1;
        }
        if parts == 0 {
            return Err(error());
        }
        // Four parts of 999999d exceed 32 bits of seconds (136 years); nobody can tell the difference.
        Ok(Self {
            seconds: u32::try_from(total).unwrap_or(u32::MAX),
        })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.seconds;
        for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a05_ttl_grammar() {
        for (text, seconds) in [
            ("30s", 30),
            ("10m", 600),
            ("2h", 7_200),
            ("1d", 86_400),
            ("1d12h", 129_600),
            ("30m2h", 9_000),
            ("1d2h30m", 95_400),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "", "2 hours", "2h 30m", "h", "5", "1.5h", "-1h", "1w", "1H", "1h ", "1234567s",
        ] {
            assert!(
                text.parse::<Duration>().is_err(),
                "{text:?} must be refused"
            );
        }
    }

    #[test]
    fn the_error_shows_the_text_and_the_grammar() {
        let error = "2 hours".parse::<Duration>().unwrap_err().to_string();
        assert!(
            error.contains("\"2 hours\"") && error.contains("1d12h"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(seconds in any::<u32>()) {
            let span = Duration::from_secs(seconds);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn order_of_parts_does_not_matter(h in 0..999_999_u32, m in 0..999_999_u32) {
            prop_assert_eq!(
                format!("{h}h{m}m").parse::<Duration>(),
                format!("{m}m{h}h").parse::<Duration>()
            );
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "\\PC*") {
            let _ = text.parse::<Duration>();
        }
    }
}
