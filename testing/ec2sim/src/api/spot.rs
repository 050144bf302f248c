//! Spot prices and spot requests.

use crate::catalogue::InstanceType;
use crate::world::region::Region;

/// The spot price of a type in a zone: what a test has set, or the catalogue's.
pub(crate) fn current_price(region: &Region, kind: &InstanceType, zone: &str) -> f64 {
    let set = region
        .spot_prices
        .get(&(kind.name.clone(), zone.to_owned()));
    set.and_then(|price| price.parse().ok())
        .unwrap_or_else(|| kind.spot_price(zone))
}

/// A price as EC2 writes it: six decimals.
pub(crate) fn price_text(price: &str) -> String {
    price
        .parse::<f64>()
        .map_or_else(|_| price.to_owned(), |price| format!("{price:.6}"))
}
