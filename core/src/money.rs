//! Money: United States dollars, exact to a millionth.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::duration::Duration;

/// The grammar as a regular expression, for API schemas. Narrower than [`Usd::from_str`], which also
/// takes what AWS writes.
pub const PATTERN: &str = "^[0-9]{1,13}([.][0-9]{1,6})?$";

/// Millionths in a dollar.
const MICROS: u64 = 1_000_000;
/// Decimals that are kept.
const DECIMALS: usize = 6;
/// What a run of an instance is billed for at least (EC2 User Guide, "On-Demand Instances": by the
/// second, with a minimum of 60 seconds; the same for Spot Instances with Linux).
const LEAST: Duration = Duration::from_secs(60);
/// Seconds in an hour.
const HOUR: u128 = 3_600;

/// A non-negative amount of United States dollars, in whole micro-dollars.
///
/// Written as a decimal number without a sign, a unit or separators (`0.0416`, `12`), printed with two
/// to six decimals (`12.00`). All arithmetic saturates: an amount never wraps around to a smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd {
    micros: u64,
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an amount of dollars: write a decimal number such as 0.0416 or 250")]
pub struct ParseUsdError {
    text: String,
}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self { micros: 0 };
    /// More than anything costs: where arithmetic saturates.
    pub const MAX: Self = Self { micros: u64::MAX };

    /// This many millionths of a dollar.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// The amount in millionths of a dollar.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.micros == 0
    }

    /// The sum, [`Self::MAX`] if it is larger than that.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_micros(self.micros.saturating_add(other.micros))
    }

    /// What is left after `other`, nothing if that is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self::from_micros(self.micros.saturating_sub(other.micros))
    }

    /// What this rate per hour comes to over a span. A part of a micro-dollar counts as a whole one,
    /// so that a cost is never told too small.
    #[must_use]
    pub fn per_hour_over(self, span: Duration) -> Self {
        let exact = u128::from(self.micros) * u128::from(span.as_secs());
        Self::from_micros(u64::try_from(exact.div_ceil(HOUR)).unwrap_or(u64::MAX))
    }

    /// What a run of an instance from `since` to `until` costs at this rate per hour: by the second,
    /// and at least a minute.
    #[must_use]
    pub fn of_run(self, since: Timestamp, until: Timestamp) -> Self {
        self.per_hour_over(Duration::between(since, until).max(LEAST))
    }

    /// How long this amount lasts at a rate per hour, in whole seconds; `None` if it lasts for ever,
    /// or longer than a [`Duration`] can tell.
    #[must_use]
    pub fn lasts(self, per_hour: Self) -> Option<Duration> {
        let seconds = (u128::from(self.micros) * HOUR).checked_div(u128::from(per_hour.micros))?;
        u32::try_from(seconds).ok().map(Duration::from_secs)
    }
}

impl FromIterator<Usd> for Usd {
    fn from_iter<T: IntoIterator<Item = Self>>(amounts: T) -> Self {
        amounts.into_iter().fold(Self::ZERO, Self::plus)
    }
}

impl FromStr for Usd {
    type Err = ParseUsdError;

    /// Decimals beyond the sixth round up.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUsdError {
            text: text.chars().take(64).collect(),
        };
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return Err(error()),
            Some((whole, decimals)) => (whole, decimals),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) {
            return Err(error());
        }
        let (kept, beyond) = decimals.split_at(decimals.len().min(DECIMALS));
        let part = format!("{kept:0<DECIMALS$}")
            .parse::<u64>()
            .map_err(|_| error())?;
        let rounding = u64::from(beyond.bytes().any(|digit| digit != b'0'));
        let micros = whole
            .parse::<u64>()
            .ok()
            .and_then(|whole| whole.checked_mul(MICROS)?.checked_add(part + rounding));
        micros.map(Self::from_micros).ok_or_else(error)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.micros % MICROS);
        let (cents, rest) = decimals.split_at(2);
        let text = format!(
            "{}.{cents}{}",
            self.micros / MICROS,
            rest.trim_end_matches('0')
        );
        f.pad(&text)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_are_written_as_decimals_and_printed_with_cents() {
        for (text, micros, printed) in [
            ("0.0416", 41_600, "0.0416"),
            ("0.0416000000", 41_600, "0.0416"),
            ("12", 12_000_000, "12.00"),
            ("0.5", 500_000, "0.50"),
            ("007.10", 7_100_000, "7.10"),
            ("0.000001", 1, "0.000001"),
            ("0.00000001", 1, "0.000001"),
            ("0", 0, "0.00"),
        ] {
            assert_eq!(usd(text).as_micros(), micros, "{text}");
            assert_eq!(usd(text).to_string(), printed);
        }
        assert_eq!(serde_json::to_string(&usd("1.5")).unwrap(), r#""1.50""#);
        assert!(
            serde_json::from_str::<Usd>("1.5").is_err(),
            "no floats in the API"
        );
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "$1",
            "1,5",
            " 1",
            "NaN",
            "٣",
            "18446744073709551616",
            "18446744073710",
        ] {
            assert!(text.parse::<Usd>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_over_time_is_its_cost() {
        let rate = usd("0.0416");
        assert_eq!(rate.per_hour_over(Duration::from_secs(3_600)), rate);
        assert_eq!(rate.per_hour_over(Duration::from_secs(60)), usd("0.000694"));
        assert_eq!(rate.per_hour_over(Duration::ZERO), Usd::ZERO);
        assert_eq!(Usd::MAX.per_hour_over(Duration::from_secs(7_200)), Usd::MAX);
        assert_eq!(usd("1").lasts(usd("0.5")), Some(Duration::from_secs(7_200)));
        assert_eq!(usd("1").lasts(Usd::ZERO), None);
        assert_eq!(Usd::MAX.plus(rate), Usd::MAX);
        assert_eq!(Usd::ZERO.minus(rate), Usd::ZERO);
    }

    proptest! {
        #[test]
        fn every_amount_reads_back(micros: u64) {
            let amount = Usd::from_micros(micros);
            prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
        }

        #[test]
        fn whatever_the_schema_admits_is_read(text in "[0-9]{1,13}([.][0-9]{1,6})?") {
            prop_assert!(text.parse::<Usd>().is_ok());
        }

        #[test]
        fn reading_never_panics_and_what_it_takes_prints_canonically(text in "[0-9.eE+-]{0,24}|\\PC{0,8}") {
            if let Ok(amount) = text.parse::<Usd>() {
                prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
            }
        }

        #[test]
        fn a_longer_time_or_a_higher_rate_never_costs_less(rate: u64, more: u64, a: u32, b: u32) {
            let (short, long) = (Duration::from_secs(a.min(b)), Duration::from_secs(a.max(b)));
            let (low, high) = (Usd::from_micros(rate.min(more)), Usd::from_micros(rate.max(more)));
            prop_assert!(low.per_hour_over(short) <= low.per_hour_over(long));
            prop_assert!(low.per_hour_over(long) <= high.per_hour_over(long));
        }

        #[test]
        fn an_amount_lasts_until_it_is_used_up_and_no_longer(
            amount in 0..=1_000_000_000_000_u64, rate in 1..=100_000_000_u64
        ) {
            let (amount, rate) = (Usd::from_micros(amount), Usd::from_micros(rate));
            if let Some(span) = amount.lasts(rate) {
                prop_assert!(rate.per_hour_over(span) <= amount);
                let longer = Duration::from_secs(span.as_secs().saturating_add(1));
                prop_assert!(longer == span || rate.per_hour_over(longer) >= amount);
            }
        }
    }
}
