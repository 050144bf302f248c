//! CreateFleet of type instant: one call that launches over several pools.

use super::run_instances;
use super::tags::TagSpecs;
use super::templates::{self, Resolved};
use super::{Ctx, time};
use crate::api::spot::current_price;
use crate::catalogue;
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, one};
use crate::params::Params;
use crate::world::lifecycle::Cause;
use crate::world::region::Fleet;
use crate::xml::Xml;

/// One pool that the fleet may launch in: a template version and what overrides it.
struct Pool<'a> {
    template: Resolved,
    overrides: Option<&'a Params>,
    priority: f64,
    price: f64,
}

/// What a pool gave.
struct Attempt<'a> {
    pool: &'a Pool<'a>,
    market: &'static str,
    outcome: ApiResult<Vec<String>>,
}

/// CreateFleet.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    if params.str("Type") != Some("instant") {
        let message = "Only fleets of type instant are modelled by this stand-in.";
        return Err(ApiError::new("UnsupportedOperation", message));
    }
    let token = params.str("ClientToken").unwrap_or_default();
    TagSpecs::parse(
        params,
        &[
            "fleet",
            "instance",
            "volume",
            "network-interface",
            "spot-instances-request",
        ],
    )?;
    let wanted = targets(params)?;
    let pools = pools(ctx)?;
    ctx.dry_run_ends()?;
    let id = ctx.local().core.ids.fresh("fleet");
    let mut results = Vec::new();
    for (market, count) in wanted {
        launch(ctx, &pools, market, count, &id, &mut results);
    }
    enforce_minimum(ctx, &mut results)?;
    let xml = write(&id, &results);
    let instances = results
        .iter()
        .filter_map(|r| r.outcome.as_ref().ok())
        .flatten()
        .cloned();
    let fleet = Fleet {
        id: id.clone(),
        client_token: token.to_owned(),
        created_at: ctx.now,
        instances: instances.collect(),
        deleted: false,
    };
    ctx.local().region.fleets.insert(id, fleet);
    Ok(xml)
}

/// How many instances of each market.
fn targets(params: &Params) -> ApiResult<[(&'static str, i64); 2]> {
    let name = "TargetCapacitySpecification";
    let spec = params.get(name).ok_or_else(|| ApiError::missing(name))?;
    let total = spec
        .int("TotalTargetCapacity")?
        .ok_or_else(|| ApiError::missing("TotalTargetCapacity"))?;
    let (on_demand, spot) = (
        spec.int("OnDemandTargetCapacity")?,
        spec.int("SpotTargetCapacity")?,
    );
    let default = spec.str("DefaultTargetCapacityType").unwrap_or("on-demand");
    if total < 1 || on_demand.unwrap_or(0) + spot.unwrap_or(0) > total {
        let message = "The target capacities do not fit the total.";
        return Err(ApiError::new("InvalidTargetCapacity", message));
    }
    let (mut on_demand, mut spot) = (on_demand.unwrap_or(0), spot.unwrap_or(0));
    let rest = total - on_demand - spot;
    if default == "spot" {
        spot += rest;
    } else {
        on_demand += rest;
    }
    Ok([("on-demand", on_demand), ("spot", spot)])
}

fn pools<'a>(ctx: &mut Ctx<'a>) -> ApiResult<Vec<Pool<'a>>> {
    let configs = ctx.params().list("LaunchTemplateConfigs");
    if configs.is_empty() {
        return Err(ApiError::missing("LaunchTemplateConfigs"));
    }
    let mut pools = Vec::new();
    for config in configs {
        let name = "LaunchTemplateSpecification";
        let by = config.get(name).ok_or_else(|| ApiError::missing(name))?;
        let template = templates::resolve(ctx, by)?;
        let overrides: Vec<Option<&Params>> = match config.list("Overrides") {
            none if none.is_empty() => vec![None],
            some => some.into_iter().map(Some).collect(),
        };
        for overrides in overrides {
            let priority = overrides
                .and_then(|o| o.str("Priority"))
                .and_then(|p| p.parse().ok());
            pools.push(Pool {
                price: price(ctx, &template, overrides),
                template: template.clone(),
                overrides,
                priority: priority.unwrap_or(f64::MAX),
            });
        }
    }
    Ok(pools)
}

/// The spot price of a pool, to order pools by.
fn price(ctx: &mut Ctx<'_>, template: &Resolved, overrides: Option<&Params>) -> f64 {
    let name = overrides
        .and_then(|o| o.str("InstanceType"))
        .or(template.version.text("InstanceType"));
    let Some(kind) = name.and_then(catalogue::find) else {
        return f64::MAX;
    };
    let region = ctx.region();
    let subnet = overrides
        .and_then(|o| o.str("SubnetId"))
        .and_then(|id| region.subnets.get(id));
    let zone = subnet
        .map(|subnet| subnet.zone.as_str())
        .or(overrides.and_then(|o| o.str("AvailabilityZone")))
        .or(region.zones.first().map(|zone| zone.name.as_str()));
    current_price(region, kind, zone.unwrap_or_default())
}

fn launch<'a>(
    ctx: &mut Ctx<'_>,
    pools: &'a [Pool<'a>],
    market: &'static str,
    count: i64,
    fleet: &str,
    results: &mut Vec<Attempt<'a>>,
) {
    let mut order: Vec<&Pool<'_>> = pools.iter().collect();
    let strategy = strategy(ctx.params(), market);
    if strategy.ends_with("prioritized") {
        order.sort_by(|a, b| a.priority.total_cmp(&b.priority));
    } else {
        order.sort_by(|a, b| a.price.total_cmp(&b.price));
    }
    let mut missing = count;
    for pool in order {
        if missing == 0 {
            return;
        }
        let request = request(ctx.params(), pool, market, missing);
        let mut system = pool.template.system_tags();
        system.push(("aws:ec2:fleet-id", fleet.to_owned()));
        let outcome = run_instances::launch(ctx, &request, &system);
        if let Ok(ids) = &outcome {
            missing -= i64::try_from(ids.len()).unwrap_or(missing);
        }
        results.push(Attempt {
            pool,
            market,
            outcome,
        });
    }
}

fn strategy(params: &Params, market: &str) -> String {
    let options = if market == "spot" {
        "SpotOptions"
    } else {
        "OnDemandOptions"
    };
    let given = params
        .get(options)
        .and_then(|options| options.str("AllocationStrategy"));
    given.unwrap_or("lowest-price").to_owned()
}

/// The launch in one pool as parameters of RunInstances.
fn request(params: &Params, pool: &Pool<'_>, market: &str, count: i64) -> Params {
    let mut given: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| given.push((name.to_owned(), value.to_owned()));
    set("MinCount", "1");
    set("MaxCount", &count.to_string());
    if market == "spot" {
        set("InstanceMarketOptions.MarketType", "spot");
    }
    if let Some(overrides) = pool.overrides {
        for name in ["InstanceType", "ImageId", "SubnetId"] {
            if let Some(value) = overrides.str(name) {
                set(name, value);
            }
        }
        if let Some(zone) = overrides.str("AvailabilityZone") {
            set("Placement.AvailabilityZone", zone);
        }
        if let Some(price) = overrides.str("MaxPrice").filter(|_| market == "spot") {
            set("InstanceMarketOptions.SpotOptions.MaxPrice", price);
        }
        for (path, value) in overrides.pairs() {
            if path.starts_with("Placement.") || path.starts_with("BlockDeviceMapping.") {
                set(&path, &value);
            }
        }
    }
    // The template's tags stay; the fleet's own for instances follow them.
    let data = &pool.template.version.data;
    let after = data
        .iter()
        .filter(|(path, _)| path.starts_with("TagSpecification."))
        .count();
    for (path, value) in data
        .iter()
        .filter(|(path, _)| path.starts_with("TagSpecification."))
    {
        set(path, value);
    }
    for (spec, n) in params.list("TagSpecification").iter().zip(after + 1..) {
        if spec.str("ResourceType") != Some("fleet") {
            for (path, value) in spec.pairs() {
                set(&format!("TagSpecification.{n}.{path}"), &value);
            }
        }
    }
    templates::merge(&pool.template, &Params::from_pairs(given))
}

/// With less than the minimum the fleet launches nothing.
fn enforce_minimum(ctx: &mut Ctx<'_>, results: &mut [Attempt<'_>]) -> ApiResult<()> {
    for (options, market) in [("SpotOptions", "spot"), ("OnDemandOptions", "on-demand")] {
        let minimum = ctx
            .params()
            .get(options)
            .map(|o| o.int("MinTargetCapacity"))
            .transpose()?;
        let Some(minimum) = minimum.flatten() else {
            continue;
        };
        let of_market = || results.iter().filter(|r| r.market == market);
        let got: usize = of_market()
            .filter_map(|r| r.outcome.as_ref().ok())
            .map(Vec::len)
            .sum();
        if i64::try_from(got).unwrap_or(i64::MAX) >= minimum {
            continue;
        }
        for result in results.iter_mut().filter(|r| r.market == market) {
            for id in std::mem::replace(&mut result.outcome, Err(too_few()))
                .into_iter()
                .flatten()
            {
                ctx.local().terminate(&id, Cause::User);
            }
        }
    }
    Ok(())
}

fn too_few() -> ApiError {
    let message = "The minimum target capacity could not be fulfilled.";
    ApiError::new("UnfulfillableCapacity", message)
}

fn write(id: &str, results: &[Attempt<'_>]) -> Xml {
    let mut xml = Xml::new();
    xml.text("fleetId", id);
    let errors = results
        .iter()
        .filter_map(|r| Some((r, r.outcome.as_ref().err()?)));
    xml.list("errorSet", errors, |xml, (result, error)| {
        write_pool(xml, result);
        xml.text("errorCode", &error.code);
        xml.text("errorMessage", &error.message);
    });
    let launched = results
        .iter()
        .filter_map(|r| Some((r, r.outcome.as_ref().ok()?)));
    xml.list("fleetInstanceSet", launched, |xml, (result, ids)| {
        write_pool(xml, result);
        xml.texts("instanceIds", ids);
        xml.opt("instanceType", instance_type(result.pool));
    });
    xml
}

fn instance_type<'a>(pool: &'a Pool<'_>) -> Option<&'a str> {
    let overridden = pool.overrides.and_then(|o| o.str("InstanceType"));
    overridden.or(pool.template.version.text("InstanceType"))
}

fn write_pool(xml: &mut Xml, result: &Attempt<'_>) {
    let template = &result.pool.template;
    xml.nest("launchTemplateAndOverrides", |xml| {
        xml.nest("launchTemplateSpecification", |xml| {
            xml.text("launchTemplateId", &template.template_id);
            xml.text("launchTemplateName", &template.template_name);
            xml.text("version", template.version.number);
        });
        xml.nest("overrides", |xml| {
            for (name, element) in [
                ("InstanceType", "instanceType"),
                ("MaxPrice", "maxPrice"),
                ("SubnetId", "subnetId"),
                ("AvailabilityZone", "availabilityZone"),
                ("Priority", "priority"),
                ("ImageId", "imageId"),
            ] {
                xml.opt(element, result.pool.overrides.and_then(|o| o.str(name)));
            }
        });
    });
    xml.text("lifecycle", result.market);
}

/// DescribeFleets.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, &["activity-status", "fleet-state", "type"])?;
    let ids = params.strings("FleetId");
    let region = ctx.region();
    if let Some(unknown) = ids.iter().find(|id| !region.fleets.contains_key(**id)) {
        return Err(ApiError::not_found(
            "InvalidFleetId.NotFound",
            "fleet ID",
            unknown,
        ));
    }
    let state = |fleet: &Fleet| {
        if fleet.deleted {
            "deleted_terminating"
        } else {
            "active"
        }
    };
    let found = region.fleets.values().filter(|fleet| {
        (ids.is_empty() || ids.contains(&fleet.id.as_str()))
            && filters.pass(region.tags_of(&fleet.id), |name| match name {
                "fleet-state" => one(state(fleet)),
                "type" => one("instant"),
                _ => one("fulfilled"),
            })
    });
    let mut xml = Xml::new();
    xml.list("fleetSet", found, |xml, fleet| {
        xml.text("fleetId", &fleet.id);
        xml.text("fleetState", state(fleet));
        xml.text("activityStatus", "fulfilled");
        xml.text("type", "instant");
        xml.text("clientToken", &fleet.client_token);
        xml.text("createTime", time(fleet.created_at));
        xml.text("fulfilledCapacity", fleet.instances.len());
    });
    Ok(xml)
}

/// DeleteFleets.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let ids = params.strings("FleetId");
    let terminate = params.bool("TerminateInstances")?.unwrap_or(false);
    if !terminate {
        let message = "An instant fleet can only be deleted together with its instances.";
        return Err(ApiError::new("UnsupportedOperation", message));
    }
    if let Some(unknown) = ids
        .iter()
        .find(|id| !ctx.region().fleets.contains_key(**id))
    {
        return Err(ApiError::not_found(
            "InvalidFleetId.NotFound",
            "fleet ID",
            unknown,
        ));
    }
    ctx.dry_run_ends()?;
    for id in &ids {
        let Some(fleet) = ctx.local().region.fleets.get_mut(*id) else {
            continue;
        };
        fleet.deleted = true;
        for instance in fleet.instances.clone() {
            ctx.local().terminate(&instance, Cause::User);
        }
    }
    let mut xml = Xml::new();
    xml.list("successfulFleetDeletionSet", ids, |xml, id| {
        xml.text("fleetId", id);
        xml.text("currentFleetState", "deleted_terminating");
        xml.text("previousFleetState", "active");
    });
    xml.nest("unsuccessfulFleetDeletionSet", |_| {});
    Ok(xml)
}
