//! Time spans and points in time as systemd writes them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Parses `90`, `5min 20s`, `1h30m`, `infinity` (`None`).
pub(super) fn parse_span(text: &str) -> Result<Option<Duration>, String> {
    let text = text.trim();
    if text == "infinity" {
        return Ok(None);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not a time span"))?;
        let tail = tail.trim_start();
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total +=
            number * seconds_in(unit).ok_or_else(|| format!("{text:?}: unknown unit {unit:?}"))?;
        rest = tail.trim_start();
    }
    if text.is_empty() {
        return Err("an empty time span".to_owned());
    }
    Duration::try_from_secs_f64(total)
        .map(Some)
        .map_err(|e| format!("{text:?}: {e}"))
}

fn seconds_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "usec" => 1e-6,
        "ms" | "msec" => 1e-3,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// Parses an absolute point in time: `2026-11-21 03:04:05 UTC` (the zone may be left out: the
/// machine's is UTC) or `@1795230245`.
pub(super) fn parse_calendar(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let unknown = || {
        format!(
            "OnCalendar={text} is not modelled; write an absolute time such as 2026-11-21 03:04:05 UTC"
        )
    };
    if let Some(epoch) = text.strip_prefix('@') {
        let seconds: i64 = epoch.parse().map_err(|_| unknown())?;
        return Timestamp::from_second(seconds).map_err(|_| unknown());
    }
    let local = text.strip_suffix("UTC").map_or(text, str::trim_end);
    let date_only = local.len() == "2026-11-21".len();
    let civil: DateTime = if date_only {
        format!("{local} 00:00:00")
    } else {
        local.to_owned()
    }
    .parse()
    .map_err(|_| unknown())?;
    civil
        .to_zoned(TimeZone::UTC)
        .map(|zoned| zoned.timestamp())
        .map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_over_units() {
        for (text, seconds) in [
            ("90", 90.0),
            ("5min 20s", 320.0),
            ("1h30m", 5400.0),
            ("100ms", 0.1),
            ("2 days", 172_800.0),
        ] {
            assert_eq!(
                parse_span(text),
                Ok(Some(Duration::from_secs_f64(seconds))),
                "{text}"
            );
        }
        assert_eq!(parse_span("infinity"), Ok(None));
        for bad in ["", "x", "5 parsecs", "-1"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn absolute_times_are_read_in_utc_and_patterns_are_refused() {
        let expected: Timestamp = "2026-11-21T03:04:05Z".parse().unwrap();
        for text in [
            "2026-11-21 03:04:05 UTC",
            "2026-11-21 03:04:05",
            "@1795230245",
        ] {
            assert_eq!(parse_calendar(text), Ok(expected), "{text}");
        }
        assert_eq!(
            parse_calendar("2026-11-21"),
            Ok("2026-11-21T00:00:00Z".parse().unwrap())
        );
        for bad in [
            "daily",
            "*-*-* 03:00:00",
            "Mon 2026-11-21",
            "2026-11-21 03:04:05 CET",
        ] {
            assert!(parse_calendar(bad).is_err(), "{bad}");
        }
    }
}
