use jiff::Span;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn calendar(cron: &str, name: &str) -> Calendar {
    Calendar::Cron {
        cron: Box::new(Cron::parse(cron).unwrap()),
        zone: zone(name).unwrap(),
    }
}

/// The times from one moment to another, both included, as the zone's clocks show them.
fn times(cron: &str, name: &str, from: &str, to: &str) -> Vec<String> {
    let calendar = calendar(cron, name);
    let zone = zone(name).unwrap();
    let first = calendar.next(at(from) - Span::new().nanoseconds(1));
    std::iter::successors(first, |time| calendar.next(*time))
        .take_while(|time| *time <= at(to))
        .map(|time| {
            time.to_zoned(zone.clone())
                .strftime("%d %H:%M%:z")
                .to_string()
        })
        .collect()
}

#[test]
fn a_time_that_does_not_exist_is_due_at_the_next_moment_that_does() {
    for (name, cron, from, to, expected) in [
        // 02:00 to 03:00 is skipped on 8 March 2026.
        (
            "America/New_York",
            "30 2 * * *",
            "2026-03-07T12:00:00Z",
            "2026-03-09T12:00:00Z",
            &["08 03:00-04:00", "09 02:30-04:00"][..],
        ),
        (
            "America/New_York",
            "0 2 * * *",
            "2026-03-08T00:00:00Z",
            "2026-03-08T12:00:00Z",
            &["08 03:00-04:00"],
        ),
        (
            "America/New_York",
            "0 3 * * *",
            "2026-03-08T00:00:00Z",
            "2026-03-08T12:00:00Z",
            &["08 03:00-04:00"],
        ),
        // Several times in the gap are one moment.
        (
            "America/New_York",
            "*/15 2 * * *",
            "2026-03-08T00:00:00Z",
            "2026-03-08T12:00:00Z",
            &["08 03:00-04:00"],
        ),
        (
            "America/New_York",
            "30 1,2,3 * * *",
            "2026-03-08T00:00:00Z",
            "2026-03-08T12:00:00Z",
            &["08 01:30-05:00", "08 03:00-04:00", "08 03:30-04:00"],
        ),
        // 02:00 to 03:00 is skipped on 29 March 2026.
        (
            "Europe/Berlin",
            "15 2 29 3 *",
            "2026-01-01T00:00:00Z",
            "2026-12-31T00:00:00Z",
            &["29 03:00+02:00"],
        ),
        (
            "Europe/Berlin",
            "59 1 * * *",
            "2026-03-29T00:00:00Z",
            "2026-03-29T12:00:00Z",
            &["29 01:59+01:00"],
        ),
        // 02:00 to 02:30 is skipped on 4 October 2026.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03T12:00:00Z",
            "2026-10-04T12:00:00Z",
            &["04 02:30+11:00"],
        ),
        (
            "Australia/Lord_Howe",
            "30 2 * * *",
            "2026-10-03T12:00:00Z",
            "2026-10-04T12:00:00Z",
            &["04 02:30+11:00"],
        ),
    ] {
        assert_eq!(times(cron, name, from, to), expected, "{cron} in {name}");
    }
}

#[test]
fn a_time_that_comes_twice_is_due_once() {
    for (name, cron, from, to, expected) in [
        // 01:00 to 02:00 comes twice on 1 November 2026.
        (
            "America/New_York",
            "30 1 * * *",
            "2026-10-31T12:00:00Z",
            "2026-11-02T12:00:00Z",
            &["01 01:30-04:00", "02 01:30-05:00"][..],
        ),
        (
            "America/New_York",
            "0 */2 * * *",
            "2026-11-01T04:00:00Z",
            "2026-11-01T10:00:00Z",
            &["01 00:00-04:00", "01 02:00-05:00", "01 04:00-05:00"],
        ),
        (
            "America/New_York",
            "*/30 1 * * *",
            "2026-11-01T00:00:00Z",
            "2026-11-01T12:00:00Z",
            &["01 01:00-04:00", "01 01:30-04:00"],
        ),
        // 02:00 to 03:00 comes twice on 25 October 2026.
        (
            "Europe/Berlin",
            "0 2 * * *",
            "2026-10-24T12:00:00Z",
            "2026-10-26T12:00:00Z",
            &["25 02:00+02:00", "26 02:00+01:00"],
        ),
        (
            "Europe/Berlin",
            "0 3 * * *",
            "2026-10-25T00:00:00Z",
            "2026-10-25T12:00:00Z",
            &["25 03:00+01:00"],
        ),
        // 01:30 to 02:00 comes twice on 5 April 2026.
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04T12:00:00Z",
            "2026-04-05T12:00:00Z",
            &["05 01:45+11:00"],
        ),
    ] {
        assert_eq!(times(cron, name, from, to), expected, "{cron} in {name}");
    }
}

#[test]
fn a_pattern_of_every_hour_goes_on_by_hours_that_pass() {
    let spring = times(
        "0 * * * *",
        "America/New_York",
        "2026-03-08T06:00:00Z",
        "2026-03-08T09:00:00Z",
    );
    assert_eq!(
        spring,
        [
            "08 01:00-05:00",
            "08 03:00-04:00",
            "08 04:00-04:00",
            "08 05:00-04:00"
        ]
    );
    let autumn = times(
        "0 * * * *",
        "America/New_York",
        "2026-11-01T04:00:00Z",
        "2026-11-01T07:00:00Z",
    );
    assert_eq!(
        autumn,
        [
            "01 00:00-04:00",
            "01 01:00-04:00",
            "01 01:00-05:00",
            "01 02:00-05:00"
        ]
    );
    let half = times(
        "15,45 * * * *",
        "Australia/Lord_Howe",
        "2026-04-04T14:00:00Z",
        "2026-04-04T16:00:00Z",
    );
    assert_eq!(
        half,
        [
            "05 01:15+11:00",
            "05 01:45+11:00",
            "05 01:45+10:30",
            "05 02:15+10:30"
        ]
    );
}

#[test]
fn patterns_mean_what_crontab_says() {
    let days = |cron: &str| times(cron, "UTC", "2026-02-01T00:00:00Z", "2026-02-28T23:59:00Z");
    assert_eq!(
        times(
            "0 */6 * * *",
            "UTC",
            "2026-02-01T00:00:00Z",
            "2026-02-01T23:59:00Z"
        ),
        [
            "01 00:00+00:00",
            "01 06:00+00:00",
            "01 12:00+00:00",
            "01 18:00+00:00"
        ]
    );
    assert_eq!(days("0 9 * * mon-tue").len(), 8);
    assert_eq!(days("0 9 1 FEB *"), ["01 09:00+00:00"]);
    // Day of month or day of week, if both are said.
    assert_eq!(days("0 0 14 2 SUN").len(), 5);
    assert_eq!(days("0 0 * * 7"), days("0 0 * * 0"));
    for (nickname, plain) in [
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@Monthly", "0 0 1 * *"),
    ] {
        assert_eq!(days(nickname), days(plain), "{nickname}");
    }
    assert_eq!(
        times(
            "@yearly",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2028-01-01T00:00:00Z"
        )
        .len(),
        3
    );
    assert_eq!(
        times(
            "0 0 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2032-12-31T00:00:00Z"
        )
        .len(),
        2
    );
}

#[test]
fn what_is_wrong_with_a_pattern_is_said() {
    for (text, says) in [
        ("", "has 0 fields"),
        ("0 9 * *", "has 4 fields; five are needed"),
        ("0 0 9 * * *", "has 6 fields"),
        ("60 9 * * *", "cannot be read"),
        ("0 24 * * *", "cannot be read"),
        ("*/0 * * * *", "cannot be read"),
        ("5-1 * * * *", "cannot be read"),
        ("0 9 * * FUNDAY", "cannot be read"),
        ("0 9 31 2 *", "never comes"),
        ("@every 5m", "there is no \"@every 5m\"; there are @yearly"),
        ("@reboot", "@hourly"),
        ("TZ=Europe/Berlin 0 9 * * *", "write it into timeZone"),
        ("CRON_TZ=UTC 0 9 * * *", "write it into timeZone"),
    ] {
        let error = Cron::parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert!(Cron::parse(&"1,".repeat(100)).is_err());
}

#[test]
fn an_unknown_zone_is_answered_with_the_nearest() {
    for (name, meant) in [
        ("Europe/Berln", Some("Europe/Berlin")),
        ("berlin", Some("Europe/Berlin")),
        ("new york", Some("America/New_York")),
        ("US/Pacifc", Some("US/Pacific")),
        ("", None),
        ("Middle-earth/Minas_Tirith", None),
    ] {
        let error = zone(name).expect_err(name);
        assert_eq!(error.nearest, meant, "{name}");
    }
    assert!(zone("europe/berlin").is_ok());
    let error = zone("Europe/Berln").unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no time zone \"Europe/Berln\"; did you mean Europe/Berlin?"
    );
}

#[test]
fn a_moment_without_an_offset_is_local() {
    let berlin = zone("Europe/Berlin").unwrap();
    for (text, expected) in [
        ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00Z"),
        ("2026-12-01T08:00:00-05:00", "2026-12-01T13:00:00Z"),
        ("2026-12-01T08:00:00", "2026-12-01T07:00:00Z"),
        ("2026-12-01T08:00", "2026-12-01T07:00:00Z"),
        ("2026-12-01 08:00", "2026-12-01T07:00:00Z"),
        // In the gap, and in the hour that comes twice.
        ("2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
    ] {
        assert_eq!(moment(text, &berlin), Ok(at(expected)), "{text}");
    }
    for wrong in [
        "soon",
        "2026-12-01",
        "2026-13-01T00:00:00",
        "9999-12-31T23:59:59Z",
        "2026-12-01T08:00:00[Europe/Berlin]",
        "",
    ] {
        assert!(moment(wrong, &berlin).is_err(), "{wrong}");
    }
}

const ZONES: [&str; 7] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
    // Its clocks change at midnight.
    "America/Asuncion",
];

/// Every minute of a span that a pattern means, found by looking at each.
fn by_looking(
    cron: &Cron,
    every_hour: bool,
    zone: &TimeZone,
    from: Timestamp,
    minutes: i64,
) -> Vec<Timestamp> {
    let mut due = std::collections::BTreeSet::new();
    let mut shown = std::collections::BTreeSet::new();
    // A day ahead, so that it is known which local times have been.
    let mut before: Option<DateTime> = None;
    for minute in -1440..minutes {
        let now = from + Span::new().minutes(minute);
        let local = zone.to_datetime(now);
        let mut skipped = before
            .map(|b| b + Span::new().minutes(1))
            .filter(|next| *next < local);
        while let Some(time) = skipped.filter(|time| *time < local) {
            if !every_hour && cron.shows(time) {
                due.insert(now);
            }
            skipped = Some(time + Span::new().minutes(1));
        }
        if cron.shows(local) && (every_hour || shown.insert(local)) {
            due.insert(now);
        }
        before = Some(local);
    }
    due.into_iter().filter(|time| *time >= from).collect()
}

fn field(low: u8, high: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (low..=high).prop_map(|n| n.to_string()),
        1 => (1..=high).prop_map(|step| format!("*/{step}")),
        1 => (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (low..=high, low..=high).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn the_times_are_those_that_looking_at_every_minute_finds(
        minute in field(0, 59), hour in field(0, 23), weekday in field(0, 6),
        zone_index in 0..ZONES.len(), change in 0..4_usize, offset in -2880..0_i64,
    ) {
        let text = format!("{minute} {hour} * * {weekday}");
        let cron = Cron::parse(&text).unwrap();
        let zone = zone(ZONES[zone_index]).unwrap();
        let changes = zone.following(at("2024-01-01T00:00:00Z")).nth(change);
        let around = changes.map_or(at("2024-06-01T00:00:00Z"), |change| change.timestamp());
        let from = around + Span::new().minutes(offset);
        let span = 2 * 2880;
        let expected = by_looking(&cron, cron.is_every_hour(), &zone, from, span);
        let calendar = Calendar::Cron { cron: Box::new(cron), zone };
        let end = from + Span::new().minutes(span);
        let first = calendar.next(from - Span::new().nanoseconds(1));
        let found = std::iter::successors(first, |time| calendar.next(*time))
            .take_while(|time| *time < end).collect::<Vec<_>>();
        prop_assert_eq!(&found, &expected, "{}", text);
        // Looking back finds the same.
        for pair in found.windows(2) {
            let just_before = pair[1] - Span::new().nanoseconds(1);
            prop_assert_eq!(calendar.latest(just_before), Some(pair[0]), "{}", &text);
            prop_assert_eq!(calendar.latest(pair[1]), Some(pair[1]));
        }
        prop_assert_eq!(calendar.count(from - Span::new().nanoseconds(1), end, usize::MAX), found.len());
    }

    #[test]
    fn nothing_that_can_be_written_breaks_the_reader(text in "\\PC{0,40}", odd in "[0-9A-Za-z*,/?#+@ -]{0,40}") {
        let _ = (Cron::parse(&text), Cron::parse(&odd));
        let _ = (zone(&text), moment(&text, &TimeZone::UTC));
    }
}
