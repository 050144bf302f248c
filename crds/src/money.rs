//! Money as it is told in status. Amounts are United States dollars, written as decimal numbers.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spore_core::money::Usd;

use crate::Market;

/// What an instance costs by the hour, and who says so. Disks, addresses and traffic are not in it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Dollars an hour. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::usd")]
    pub per_hour: Option<Usd>,
    /// For which market.
    pub market: Market,
    /// For which zone. Absent: the same in all zones, or the highest of them if the zone is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Who says so: `AWS Price List` or `EC2 Spot price history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it said so. A Spot price may be another by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Why the price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// What an instance has cost, at its price: each run by the second, and at least a minute.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Dollars, all runs together, until `asOf`.
    #[schemars(schema_with = "crate::schema::usd")]
    pub accrued: Usd,
    /// Until when. Once the instance no longer runs, when it ceased to.
    pub as_of: Timestamp,
    /// Since when it runs. Absent: it does not, and nothing accrues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// Dollars of the runs that have ended.
    #[serde(default, skip_serializing_if = "Usd::is_zero")]
    #[schemars(schema_with = "crate::schema::usd")]
    pub earlier: Usd,
}

impl Cost {
    /// What it has cost until `now`, at its price per hour.
    #[must_use]
    pub fn at(&self, per_hour: Usd, now: Timestamp) -> Usd {
        match self.running_since {
            Some(since) => self.earlier.plus(per_hour.of_run(since, now)),
            None => self.accrued,
        }
    }
}

/// What the members of an array or a sweep have cost and cost now, as far as their prices are known.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GroupCost {
    /// Dollars of all members whose price is known, until `asOf`.
    #[schemars(schema_with = "crate::schema::usd")]
    pub accrued: Usd,
    /// Dollars an hour of all members that run now and whose price is known.
    #[schemars(schema_with = "crate::schema::usd")]
    pub per_hour: Usd,
    /// How many members there are or were whose price is not known: what they cost is not in the
    /// figures above.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub unpriced: u32,
    /// Until when.
    pub as_of: Timestamp,
    /// Dollars of the members that have ended; part of `accrued`.
    #[serde(default, skip_serializing_if = "Usd::is_zero")]
    #[schemars(schema_with = "crate::schema::usd")]
    pub settled: Usd,
    /// How many of `unpriced` have ended.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::count")]
    pub settled_unpriced: u32,
}
