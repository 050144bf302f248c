//! The Price List: what AWS sells, product by product.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Ctx, unknown};
use crate::catalogue::{self, InstanceType};
use crate::error::{ApiError, ApiResult};
use crate::paging::{Page, PageRule};
use crate::world::zones::REGIONS;

/// The regions that have the API (AWS Billing User Guide, "Price List Query API endpoints").
const ENDPOINTS: [&str; 3] = ["ap-south-1", "eu-central-1", "us-east-1"];
/// The day from which prices hold.
const EFFECTIVE: &str = "2026-11-01T00:00:00Z";
/// The codes of "on demand" and "by the hour" in every key of a term.
const ON_DEMAND: &str = "JRTCKXETXF";
const HOURLY: &str = "6YS6EN2CT7";

/// A way in which an instance type is sold beside the usual one, and its share of the usual price.
struct Offer {
    system: &'static str,
    tenancy: &'static str,
    software: &'static str,
    capacity: &'static str,
    share: f64,
}

const fn offer(
    system: &'static str,
    tenancy: &'static str,
    software: &'static str,
    capacity: &'static str,
    share: f64,
) -> Offer {
    Offer {
        system,
        tenancy,
        software,
        capacity,
        share,
    }
}

/// A few of the many: enough that a caller who forgets a filter gets more than one price.
const OFFERS: [Offer; 6] = [
    offer("Linux", "Shared", "NA", "Used", 1.0),
    offer("Linux", "Shared", "NA", "UnusedCapacityReservation", 1.0),
    offer("Linux", "Shared", "NA", "AllocatedCapacityReservation", 0.0),
    offer("Linux", "Shared", "SQL Web", "Used", 1.7),
    offer("Linux", "Dedicated", "NA", "Used", 1.1),
    offer("Windows", "Shared", "NA", "Used", 1.9),
];

/// Executes a call of the Price List.
pub(crate) fn dispatch(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    if !ENDPOINTS.contains(&ctx.place.region.as_str()) {
        let message = format!("The Price List has no endpoint in {}", ctx.place.region);
        return Err(ApiError::new("UnknownEndpoint", message));
    }
    match ctx.call.action.as_str() {
        "GetProducts" => products(ctx),
        _ => Err(unknown(ctx)),
    }
}

fn products(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    const RULE: PageRule = PageRule {
        action: "GetProducts",
        min: 1,
        max: 100,
    };
    let params = ctx.params();
    let service = params.need("ServiceCode")?;
    let format = params.str("FormatVersion").unwrap_or("aws_v1");
    if format != "aws_v1" {
        let message = format!("Invalid format version: {format}");
        return Err(ApiError::new("InvalidParameterException", message));
    }
    if service != "AmazonEC2" {
        let message = format!("Service code {service} is not modelled");
        return Err(ApiError::new("NotFoundException", message));
    }
    let mut wanted = Vec::new();
    for filter in params.list("Filters") {
        let (kind, field, value) = (
            filter.need("Type")?,
            filter.need("Field")?,
            filter.need("Value")?,
        );
        if kind != "TERM_MATCH" {
            let message = format!("filters of type {kind} are not modelled");
            return Err(ApiError::new("InvalidParameterException", message));
        }
        wanted.push((field, value));
    }
    let page = Page::parse(params, RULE, false)?;
    let passes = |attributes: &Value| {
        wanted.iter().all(|(field, value)| {
            let attribute = attributes[*field].as_str();
            // Without regard to case, as the Price List does.
            attribute.is_some_and(|attribute| attribute.eq_ignore_ascii_case(value))
        })
    };
    let mut found = Vec::new();
    for kind in catalogue::all() {
        for region in REGIONS {
            for offer in &OFFERS {
                let attributes = attributes(kind, region, offer);
                if passes(&attributes) {
                    let sku = sku(&attributes);
                    let price = price(kind, region) * offer.share;
                    let product = product(kind, &sku, &attributes, offer, price);
                    found.push((sku, product));
                }
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let (page, token) = page.take_sorted(found.into_iter(), |(sku, _)| sku.clone());
    // Each product is a document in a string.
    let list: Vec<Value> = page
        .into_iter()
        .map(|(_, product)| product.to_string().into())
        .collect();
    let mut answer = json!({ "FormatVersion": "aws_v1", "PriceList": list });
    if let Some(token) = token {
        answer["NextToken"] = token.into();
    }
    Ok(answer)
}

/// The price on demand: dearer outside the United States, as a rule.
fn price(kind: &InstanceType, region: &str) -> f64 {
    let price = kind.on_demand_usd.parse().unwrap_or(0.0);
    if region.starts_with("us-") {
        price
    } else {
        price * 1.2
    }
}

fn attributes(kind: &InstanceType, region: &str, offer: &Offer) -> Value {
    let usage = match offer.capacity {
        "UnusedCapacityReservation" => "UnusedBox",
        "AllocatedCapacityReservation" => "Reservation",
        _ if offer.tenancy == "Dedicated" => "DedicatedUsage",
        _ => "BoxUsage",
    };
    json!({
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "instanceType": kind.name,
        "currentGeneration": if kind.old { "No" } else { "Yes" },
        "vcpu": kind.vcpus.to_string(),
        "memory": format!("{} GiB", kind.memory_mib / 1024),
        "networkPerformance": kind.network,
        "regionCode": region,
        "locationType": "AWS Region",
        "operatingSystem": offer.system,
        "licenseModel": "No License required",
        "preInstalledSw": offer.software,
        "tenancy": offer.tenancy,
        "capacitystatus": offer.capacity,
        "marketoption": "OnDemand",
        "usagetype": format!("{usage}:{}", kind.name),
    })
}

/// Sixteen capital letters and digits that name a product.
fn sku(attributes: &Value) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let digest = Sha256::digest(attributes.to_string());
    let letters = digest.iter().take(16);
    letters
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

fn product(kind: &InstanceType, sku: &str, attributes: &Value, offer: &Offer, price: f64) -> Value {
    let (term, rate) = (
        format!("{sku}.{ON_DEMAND}"),
        format!("{sku}.{ON_DEMAND}.{HOURLY}"),
    );
    let about = format!("{} {} Instance Hour", offer.system, kind.name);
    json!({
        "product": {
            "productFamily": "Compute Instance",
            "attributes": attributes,
            "sku": sku,
        },
        "serviceCode": "AmazonEC2",
        "terms": { "OnDemand": { term: {
            "sku": sku,
            "offerTermCode": ON_DEMAND,
            "effectiveDate": EFFECTIVE,
            "termAttributes": {},
            "priceDimensions": { rate.clone(): {
                "rateCode": rate,
                "unit": "Hrs",
                "beginRange": "0",
                "endRange": "Inf",
                "description": format!("${price} per On Demand {about}"),
                "appliesTo": [],
                "pricePerUnit": { "USD": format!("{price:.10}") },
            }},
        }}},
        "version": "20261101000000",
        "publicationDate": EFFECTIVE,
    })
}
