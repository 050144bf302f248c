//! The smaller options of a launch.

use super::devices::Device;
use super::request::SpotWish;
use crate::api::Ctx;
use crate::api::spot::current_price;
use crate::catalogue::InstanceType;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::instance::MetadataOptions;

/// Hibernation keeps the memory on the root volume; more than this does not hibernate.
const MAX_HIBERNATION_MIB: i64 = 150 * 1024;

/// One of the allowed words, or the default.
pub(crate) fn word(
    params: &Params,
    name: &str,
    allowed: &[&str],
    default: &str,
) -> ApiResult<String> {
    match params.str(name) {
        None => Ok(default.to_owned()),
        Some(value) if allowed.contains(&value) => Ok(value.to_owned()),
        Some(value) => {
            let why = format!("Expecting one of: {}.", allowed.join(", "));
            Err(ApiError::invalid(name, value, &why))
        }
    }
}

/// Metadata options: those given over the defaults.
pub(crate) fn metadata(params: &Params) -> ApiResult<MetadataOptions> {
    let defaults = MetadataOptions {
        http_tokens: "required".into(),
        hop_limit: 2,
        http_endpoint: "enabled".into(),
        http_protocol_ipv6: "disabled".into(),
        instance_tags: "disabled".into(),
    };
    match params.get("MetadataOptions") {
        Some(given) => metadata_over(given, &defaults),
        None => Ok(defaults),
    }
}

/// Metadata options: those given over others.
pub(crate) fn metadata_over(
    given: &Params,
    present: &MetadataOptions,
) -> ApiResult<MetadataOptions> {
    const SWITCH: [&str; 2] = ["enabled", "disabled"];
    let hop_limit = given
        .int("HttpPutResponseHopLimit")?
        .unwrap_or(present.hop_limit);
    if !(1..=64).contains(&hop_limit) {
        let why = "Expecting a value between 1 and 64.";
        return Err(ApiError::invalid(
            "HttpPutResponseHopLimit",
            &hop_limit.to_string(),
            why,
        ));
    }
    Ok(MetadataOptions {
        http_tokens: word(
            given,
            "HttpTokens",
            &["required", "optional"],
            &present.http_tokens,
        )?,
        hop_limit,
        http_endpoint: word(given, "HttpEndpoint", &SWITCH, &present.http_endpoint)?,
        http_protocol_ipv6: word(
            given,
            "HttpProtocolIpv6",
            &SWITCH,
            &present.http_protocol_ipv6,
        )?,
        instance_tags: word(
            given,
            "InstanceMetadataTags",
            &SWITCH,
            &present.instance_tags,
        )?,
    })
}

/// The placement as asked for.
#[derive(Debug)]
pub(crate) struct PlacementWish {
    /// The zone.
    pub(crate) zone: Option<String>,
    /// The placement group, or empty.
    pub(crate) group: String,
    /// The partition.
    pub(crate) partition: Option<i64>,
    /// `default`, `dedicated` or `host`.
    pub(crate) tenancy: String,
}

/// Reads `Placement`.
pub(crate) fn placement(ctx: &mut Ctx<'_>, params: &Params) -> ApiResult<PlacementWish> {
    let none = Params::default();
    let wish = params.get("Placement").unwrap_or(&none);
    let by_id = wish.str("AvailabilityZoneId");
    let region = ctx.region();
    let zone =
        match (wish.str("AvailabilityZone"), by_id) {
            (Some(name), _) => Some(region.zones.iter().find(|z| z.name == name).ok_or_else(
                || {
                    let message = format!("Invalid availability zone: [{name}]");
                    ApiError::new("InvalidParameterValue", message)
                },
            )?),
            (None, Some(id)) => {
                Some(region.zones.iter().find(|z| z.id == id).ok_or_else(|| {
                    let message = format!("Invalid availability zone id: [{id}]");
                    ApiError::new("InvalidParameterValue", message)
                })?)
            }
            (None, None) => None,
        };
    let zone = zone.map(|zone| zone.name.clone());
    let group = match (wish.str("GroupName"), wish.str("GroupId")) {
        (Some(name), _) => region.placement_group(name).ok_or(name).map(Some),
        (None, Some(id)) => region.placement_groups.get(id).ok_or(id).map(Some),
        (None, None) => Ok(None),
    };
    let group = group.map_err(|unknown| {
        let message = format!("The Placement Group '{unknown}' is unknown.");
        ApiError::new("InvalidPlacementGroup.Unknown", message)
    })?;
    let partition = wish.int("PartitionNumber")?;
    if partition.is_some() && group.is_none_or(|g| g.strategy != "partition") {
        let message = "A partition number needs a placement group of strategy partition.";
        return Err(ApiError::combination(message));
    }
    let group = group.map(|g| g.name.clone()).unwrap_or_default();
    let tenancy = word(
        wish,
        "Tenancy",
        &["default", "dedicated", "host"],
        "default",
    )?;
    Ok(PlacementWish {
        zone,
        group,
        partition,
        tenancy,
    })
}

/// Reads `InstanceInitiatedShutdownBehavior`.
pub(crate) fn shutdown_behavior(params: &Params) -> ApiResult<String> {
    word(
        params,
        "InstanceInitiatedShutdownBehavior",
        &["stop", "terminate"],
        "stop",
    )
}

/// Reads `HibernationOptions` and checks what hibernation needs.
pub(crate) fn hibernation(
    params: &Params,
    kind: &InstanceType,
    devices: &[Device],
) -> ApiResult<bool> {
    let wanted = params
        .get("HibernationOptions")
        .map(|h| h.bool("Configured"))
        .transpose()?;
    if wanted.flatten() != Some(true) {
        return Ok(false);
    }
    let refuse = |why: String| {
        Err(ApiError::new(
            "UnsupportedHibernationConfiguration",
            format!("Unsupported hibernation configuration: {why}"),
        ))
    };
    if !kind.hibernation || kind.memory_mib >= MAX_HIBERNATION_MIB {
        return refuse(format!(
            "the instance type {} does not support it.",
            kind.name
        ));
    }
    let root = devices.iter().find(|device| device.is_root);
    if root.is_none_or(|root| !root.encrypted) {
        return refuse("the root volume must be encrypted.".to_owned());
    }
    if root.is_some_and(|root| root.size * 1024 < kind.memory_mib) {
        return refuse(format!(
            "the root volume must be large enough for {} MiB of memory.",
            kind.memory_mib
        ));
    }
    Ok(true)
}

/// Reads `InstanceMarketOptions`.
pub(crate) fn spot(
    params: &Params,
    kind: &InstanceType,
    zone: Option<&str>,
    ctx: &mut Ctx<'_>,
) -> ApiResult<Option<SpotWish>> {
    let Some(market) = params.get("InstanceMarketOptions") else {
        return Ok(None);
    };
    match market.str("MarketType") {
        Some("spot") => {}
        None => return Ok(None),
        Some(other) => {
            return Err(ApiError::invalid("MarketType", other, "Expecting spot."));
        }
    }
    if !kind.usage.iter().any(|class| class == "spot") {
        let message = format!("The instance type {} is not offered as spot.", kind.name);
        return Err(ApiError::new("UnsupportedOperation", message));
    }
    let none = Params::default();
    let options = market.get("SpotOptions").unwrap_or(&none);
    let kind_of_request = word(
        options,
        "SpotInstanceType",
        &["one-time", "persistent"],
        "one-time",
    )?;
    let persistent = kind_of_request == "persistent";
    let interruption = word(
        options,
        "InstanceInterruptionBehavior",
        &["terminate", "stop", "hibernate"],
        "terminate",
    )?;
    if interruption != "terminate" && !persistent {
        let message = format!(
            "The interruption behavior {interruption} needs a persistent Spot Instance request."
        );
        return Err(ApiError::combination(message));
    }
    let max_price = options.str("MaxPrice").map(str::to_owned);
    if let Some(price) = &max_price {
        let place = ctx
            .region()
            .zones
            .first()
            .map_or(String::new(), |z| z.name.clone());
        check_price(
            price,
            current_price(ctx.region(), kind, zone.unwrap_or(&place)),
        )?;
    }
    Ok(Some(SpotWish {
        max_price,
        persistent,
        interruption,
        existing: None,
        params: again(params),
    }))
}

/// The launch of one more such instance.
fn again(params: &Params) -> Vec<(String, String)> {
    const ONCE: [&str; 4] = ["ClientToken", "DryRun", "MinCount", "MaxCount"];
    let mut pairs = params.pairs();
    pairs.retain(|(path, _)| !ONCE.contains(&path.as_str()));
    pairs.extend([("MinCount", "1"), ("MaxCount", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    pairs
}

fn check_price(offer: &str, current: f64) -> ApiResult<()> {
    let price: f64 = offer
        .parse()
        .ok()
        .filter(|price: &f64| price.is_finite() && *price > 0.0)
        .ok_or_else(|| ApiError::invalid("MaxPrice", offer, "It must be a price above zero."))?;
    if price < current {
        let message = format!(
            "Your Spot request price of {offer} is lower than the minimum required Spot request \
             fulfillment price of {current:.4}."
        );
        return Err(ApiError::new("SpotMaxPriceTooLow", message));
    }
    Ok(())
}

/// Reads `CapacityReservationSpecification`: the preference and the target.
pub(crate) fn reservation(params: &Params) -> ApiResult<(String, Option<String>)> {
    const PREFERENCES: [&str; 3] = ["open", "none", "capacity-reservations-only"];
    let none = Params::default();
    let wish = params
        .get("CapacityReservationSpecification")
        .unwrap_or(&none);
    let target = wish
        .get("CapacityReservationTarget")
        .and_then(|target| target.str("CapacityReservationId"))
        .map(str::to_owned);
    if target.is_some()
        && wish
            .str("CapacityReservationPreference")
            .is_some_and(|p| p != "capacity-reservations-only")
    {
        let message = "A preference and a target cannot be given together.";
        return Err(ApiError::combination(message));
    }
    Ok((
        word(wish, "CapacityReservationPreference", &PREFERENCES, "open")?,
        target,
    ))
}

/// Reads `CpuOptions`: cores and threads per core.
pub(crate) fn cpu(params: &Params, kind: &InstanceType) -> ApiResult<(i64, i64)> {
    let (cores, threads) = (kind.vcpus / kind.threads, kind.threads);
    let Some(wish) = params.get("CpuOptions") else {
        return Ok((cores, threads));
    };
    let wanted = wish.int("CoreCount")?.unwrap_or(cores);
    let wanted_threads = wish.int("ThreadsPerCore")?.unwrap_or(threads);
    if !(1..=cores).contains(&wanted) || !(1..=threads).contains(&wanted_threads) {
        let message = format!(
            "The CPU options ({wanted} cores, {wanted_threads} threads) are not valid for {}.",
            kind.name
        );
        return Err(ApiError::new("InvalidParameterCombination", message));
    }
    Ok((wanted, wanted_threads))
}
