//! What AWS says an instance costs by the hour.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spore_core::money::Usd;
use spore_crds::{Market, Price};

use crate::cloud::{Class, CloudError};

/// Hourly prices of an instance type in a region, for one market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// The prices.
    pub rates: Rates,
    /// When AWS told them.
    pub as_of: Timestamp,
}

/// Where which price holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rates {
    /// The same in all zones, as on demand.
    Everywhere(Usd),
    /// By zone, as on the Spot market.
    ByZone(BTreeMap<String, Usd>),
}

impl Prices {
    /// The price in a zone. If the zone is not known yet, the highest of all zones: what it costs at
    /// most. `None` if AWS names no price there.
    #[must_use]
    pub fn per_hour(&self, zone: Option<&str>) -> Option<Usd> {
        match (&self.rates, zone) {
            (Rates::Everywhere(rate), _) => Some(*rate),
            (Rates::ByZone(rates), Some(zone)) => rates.get(zone).copied(),
            (Rates::ByZone(rates), None) => rates.values().max().copied(),
        }
    }

    /// The price in a zone as it is told in status.
    #[must_use]
    pub fn tell(&self, market: Market, zone: Option<&str>) -> Price {
        let by_zone = matches!(self.rates, Rates::ByZone(_));
        let zone = zone.filter(|_| by_zone);
        let per_hour = self.per_hour(zone);
        let unknown = || format!("AWS names no price in {}", zone.unwrap_or("any zone"));
        Price {
            per_hour,
            market,
            zone: zone.map(str::to_owned),
            source: Some(source(market).to_owned()),
            as_of: Some(self.as_of),
            unknown: per_hour.is_none().then(unknown),
        }
    }
}

/// Who tells prices for a market.
#[must_use]
pub const fn source(market: Market) -> &'static str {
    match market {
        Market::OnDemand => "AWS Price List",
        Market::Spot => "EC2 Spot price history",
    }
}

/// Why a price is not known, and what to do about it if anything.
#[must_use]
pub fn why_unknown(error: &CloudError) -> String {
    if error.class == Class::Denied {
        return format!("{error}; {}", error.class.advice());
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot() -> Prices {
        let rates = [("a", 10), ("b", 30), ("c", 20)];
        let rates = rates.map(|(zone, micros)| (zone.to_owned(), Usd::from_micros(micros)));
        Prices {
            rates: Rates::ByZone(rates.into()),
            as_of: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_price_is_that_of_the_zone_and_the_highest_while_there_is_none() {
        let micros = |zone| spot().per_hour(zone).map(Usd::as_micros);
        assert_eq!(micros(Some("c")), Some(20));
        assert_eq!(micros(None), Some(30));
    }

    #[test]
    fn a_zone_without_a_price_has_none() {
        let told = spot().tell(Market::Spot, Some("d"));
        assert_eq!(told.per_hour, None, "another zone's price would be a guess");
        assert_eq!(told.unknown.as_deref(), Some("AWS names no price in d"));
    }

    #[test]
    fn a_price_that_is_the_same_everywhere_names_no_zone() {
        let prices = Prices {
            rates: Rates::Everywhere(Usd::from_micros(41_600)),
            as_of: Timestamp::UNIX_EPOCH,
        };
        let told = prices.tell(Market::OnDemand, Some("a"));
        assert_eq!(
            (told.zone, told.per_hour.map(Usd::as_micros)),
            (None, Some(41_600))
        );
        assert_eq!(told.source.as_deref(), Some("AWS Price List"));
    }
}
