//! Prices: the Price List on demand, the Spot price history on the Spot market.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_ec2::types::InstanceType;
use aws_sdk_pricing::types::{Filter, FilterType};
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use serde::Deserialize;
use spore_core::money::Usd;
use spore_crds::Market;

use super::Aws;
use crate::{
    cloud::CloudError,
    facts::not_found,
    price::{Prices, Rates},
};

/// Where the Price List is asked: one of the few regions that have it, for prices of all (AWS Billing
/// User Guide, "Price List Query API endpoints").
pub(super) const PRICING_REGION: &str = "us-east-1";
/// The product of the Spot price history that a plain Linux instance is billed as (EC2 API Reference,
/// DescribeSpotPriceHistory).
const LINUX: &str = "Linux/UNIX";
/// Pages that are read of any one answer; more would not be about one instance type.
const MOST_PAGES: u32 = 10;

impl Aws {
    pub(super) async fn prices(
        &self,
        region: &str,
        instance_type: &str,
        market: Market,
        now: Timestamp,
    ) -> Result<Prices, CloudError> {
        let rates = match market {
            Market::OnDemand => {
                let rate = self.on_demand_price(region, instance_type).await?;
                Rates::Everywhere(rate)
            }
            Market::Spot => Rates::ByZone(self.spot_prices(region, instance_type, now).await?),
        };
        Ok(Prices { rates, as_of: now })
    }

    async fn on_demand_price(&self, region: &str, instance_type: &str) -> Result<Usd, CloudError> {
        const CALL: &str = "GetProducts";
        let (mut products, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let reply = self
                .pricing
                .get_products()
                .service_code("AmazonEC2")
                .set_filters(Some(product_filters(region, instance_type)))
                .set_next_token(next)
                .send()
                .await;
            let reply = self.done(CALL, PRICING_REGION, reply)?;
            products.extend(reply.price_list.unwrap_or_default());
            next = reply.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        hourly(&products).map_err(|problem| {
            let message = format!("{instance_type} in {region}: {problem}");
            not_found(CALL, PRICING_REGION, "NoPrice", message)
        })
    }

    async fn spot_prices(
        &self,
        region: &str,
        instance_type: &str,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Usd>, CloudError> {
        const CALL: &str = "DescribeSpotPriceHistory";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let (mut told, mut next) = (BTreeMap::<String, (DateTime, Usd)>::new(), None);
        for _ in 0..MOST_PAGES {
            let reply = ec2
                .describe_spot_price_history()
                .instance_types(InstanceType::from(instance_type))
                .product_descriptions(LINUX)
                // From now on: the answer begins with the prices that are in force.
                .start_time(DateTime::from_secs(now.as_second()))
                .set_next_token(next)
                .send()
                .await;
            let reply = self.done(CALL, region, reply)?;
            for price in reply.spot_price_history() {
                let read = || {
                    let rate = price.spot_price()?.parse::<Usd>().ok()?;
                    Some((price.availability_zone()?, *price.timestamp()?, rate))
                };
                let Some((zone, at, rate)) = read() else {
                    continue;
                };
                let latest = told.entry(zone.to_owned()).or_insert((at, rate));
                if at > latest.0 {
                    *latest = (at, rate);
                }
            }
            next = reply.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        if told.is_empty() {
            let message = format!("{instance_type} has no Spot price in {region}");
            return Err(not_found(CALL, region, "NoPrice", message));
        }
        Ok(told
            .into_iter()
            .map(|(zone, (_, rate))| (zone, rate))
            .collect())
    }
}

/// What tells a plain Linux instance on shared hardware, paid for while it runs, from the dozens of
/// other products of the same type.
fn product_filters(region: &str, instance_type: &str) -> Vec<Filter> {
    [
        ("instanceType", instance_type),
        ("regionCode", region),
        ("operatingSystem", "Linux"),
        ("tenancy", "Shared"),
        ("preInstalledSw", "NA"),
        ("capacitystatus", "Used"),
    ]
    .into_iter()
    .filter_map(|(field, value)| {
        let filter = Filter::builder()
            .r#type(FilterType::TermMatch)
            .field(field)
            .value(value);
        // Fails only without a field, type or value.
        filter.build().ok()
    })
    .collect()
}

/// A product of the Price List (AWS Billing User Guide, "Reading the service price list file").
#[derive(Deserialize)]
struct Product {
    product: Described,
    #[serde(default)]
    terms: Terms,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    attributes: HashMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Terms {
    #[serde(rename = "OnDemand", default)]
    on_demand: HashMap<String, Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    price_dimensions: HashMap<String, Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    unit: String,
    price_per_unit: HashMap<String, String>,
}

/// The one hourly price that products agree on, or why there is none.
fn hourly(products: &[String]) -> Result<Usd, String> {
    let mut rates = BTreeSet::new();
    for text in products {
        let product = serde_json::from_str::<Product>(text)
            .map_err(|error| format!("the Price List's product cannot be read: {error}"))?;
        let market = product.product.attributes.get("marketoption");
        // Capacity blocks are products of the same type with another way to pay.
        if market.is_some_and(|market| market != "OnDemand") {
            continue;
        }
        for dimension in product
            .terms
            .on_demand
            .values()
            .flat_map(|term| term.price_dimensions.values())
            .filter(|dimension| dimension.unit == "Hrs")
        {
            let rate = dimension.price_per_unit.get("USD").ok_or_else(|| {
                let currencies = dimension.price_per_unit.keys().cloned();
                let currencies = currencies.collect::<Vec<_>>().join(", ");
                format!("the Price List has no price in USD, but in {currencies}")
            })?;
            rates.insert(rate.parse::<Usd>().map_err(|error| error.to_string())?);
        }
    }
    match (rates.pop_first(), rates.pop_first()) {
        (Some(rate), None) if !rate.is_zero() => Ok(rate),
        (Some(_), None) => Err("the Price List says that it is free, which cannot be".into()),
        (Some(one), Some(other)) => Err(format!(
            "the Price List names several prices, {one} and {other} among them"
        )),
        (None, _) => Err("the Price List has no hourly price on demand".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn product(market: &str, unit: &str, price: &serde_json::Value) -> String {
        json!({
            "product": {"attributes": {"instanceType": "m7i.large", "marketoption": market}, "sku": "S"},
            "terms": {"OnDemand": {"S.J": {"priceDimensions": {"S.J.6": {"unit": unit, "pricePerUnit": price}}}}},
        })
        .to_string()
    }

    #[test]
    fn the_price_is_the_one_that_all_products_name() {
        let on_demand = product("OnDemand", "Hrs", &json!({"USD": "0.1008000000"}));
        let block = product("CapacityBlock", "Hrs", &json!({"USD": "9.0"}));
        let upfront = product("OnDemand", "Quantity", &json!({"USD": "700"}));
        let all = [on_demand.clone(), block, upfront, on_demand];
        assert_eq!(hourly(&all), Ok(Usd::from_micros(100_800)));
    }

    #[test]
    fn what_is_not_one_price_in_dollars_is_no_price() {
        let dollars = |text: &str| product("OnDemand", "Hrs", &json!({"USD": text}));
        for (products, part) in [
            (vec![], "no hourly price"),
            (vec!["{".into()], "cannot be read"),
            (vec![dollars("0.0000000000")], "free"),
            (vec![dollars("0.1"), dollars("0.2")], "several prices"),
            (vec![dollars("cheap")], "not an amount"),
            (
                vec![product("OnDemand", "Hrs", &json!({"CNY": "0.7"}))],
                "no price in USD, but in CNY",
            ),
            (vec![json!({"product": {}}).to_string()], "no hourly price"),
        ] {
            let problem = hourly(&products).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
