//! Spans and moments for people.

use jiff::{Timestamp, tz::TimeZone};
use spore_core::duration::Duration;

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

/// The present moment.
#[expect(
    clippy::disallowed_methods,
    reason = "the plugin is an edge: its verbs read the clock once and pass the time on"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A span with as much detail as a person wants of it, by kubectl's rules: `90s`, `5m30s`, `3h20m`,
/// `5d6h`, `120d`.
pub(crate) fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |whole: u32, unit: char, rest: u32, small: char| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{small}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, 'm', seconds % MINUTE, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, 'h', seconds % HOUR / MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, 'd', seconds % DAY / HOUR, 'h'),
        _ => format!("{}d", seconds / DAY),
    }
}

/// How long ago a moment was.
pub(crate) fn since(moment: Timestamp, now: Timestamp) -> String {
    rough(Duration::between(moment, now))
}

/// A moment and how far off it is: `2026-11-21T10:00:00Z (in 3h20m)`.
pub(crate) fn moment(at: Timestamp, now: Timestamp) -> String {
    let at_second = clock(at);
    if at > now {
        format!("{at_second} (in {})", rough(Duration::between(now, at)))
    } else {
        format!("{at_second} ({} ago)", since(at, now))
    }
}

/// A moment to the second, as in the objects.
pub(crate) fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A moment as a clock on the wall shows it, and how far off it is: `3:45 PM PST (in 1h 23m)`.
pub(crate) fn local(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (there, here) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let form = match there.date() == here.date() {
        true => "%-I:%M %p %Z",
        false => "%b %-d %-I:%M %p %Z",
    };
    let off = match at > now {
        true => format!("in {}", spaced(Duration::between(now, at))),
        false => "now".to_owned(),
    };
    format!("{} ({off})", there.strftime(form))
}

/// The two largest units of a span: `1h 23m`.
fn spaced(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |whole: u32, unit: char, rest: u32, small: char| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit} {rest}{small}"),
    };
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => two(seconds / HOUR, 'h', seconds % HOUR / MINUTE, 'm'),
        _ => two(seconds / DAY, 'd', seconds % DAY / HOUR, 'h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_detail_that_kubectl_gives_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (330, "5m30s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (453_600, "5d6h"),
            (10_368_000, "120d"),
        ] {
            assert_eq!(rough(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_completion_is_told_by_the_clock_on_the_wall() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let now = "2026-11-21T22:22:00Z".parse::<Timestamp>().unwrap();
        for (at, told) in [
            ("2026-11-21T23:45:00Z", "3:45 PM PST (in 1h 23m)"),
            ("2026-11-22T23:45:00Z", "Nov 22 3:45 PM PST (in 1d 1h)"),
            ("2026-11-21T22:22:30Z", "2:22 PM PST (in 30s)"),
            ("2026-11-21T22:00:00Z", "2:00 PM PST (now)"),
        ] {
            assert_eq!(local(at.parse().unwrap(), now, &zone), told);
        }
    }

    #[test]
    fn a_moment_is_told_from_now() {
        let now = "2026-11-21T10:00:00.5Z".parse::<Timestamp>().unwrap();
        let later = "2026-11-21T13:20:00.5Z".parse::<Timestamp>().unwrap();
        assert_eq!(moment(later, now), "2026-11-21T13:20:00Z (in 3h20m)");
        assert_eq!(moment(now, later), "2026-11-21T10:00:00Z (3h20m ago)");
    }
}
