//! RunInstances.

mod capacity;
mod devices;
pub(crate) mod interfaces;
mod launch;
pub(crate) mod options;
mod request;

use super::Ctx;
use super::{instance_xml, replay, templates};
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::instance::Instance;
use crate::world::region::{LaunchRecord, Region};
use crate::xml::Xml;
use request::Request;

/// The longest client token.
const MAX_TOKEN: usize = 64;

/// RunInstances.
pub(crate) fn run(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let ids = match params.get("LaunchTemplate") {
        Some(template) => {
            let version = templates::resolve(ctx, template)?;
            let merged = templates::merge(&version, params);
            launch(ctx, &merged, &version.system_tags())?
        }
        None => launch(ctx, params, &[])?,
    };
    let region = ctx.region();
    let launched: Vec<&Instance> = ids.iter().filter_map(|id| known(region, id)).collect();
    let mut xml = Xml::new();
    instance_xml::write_reservation(&mut xml, region, &launched);
    Ok(xml)
}

/// An instance that a launch token knows, listed or not.
fn known<'a>(region: &'a Region, id: &str) -> Option<&'a Instance> {
    region.instance(id).or_else(|| region.retired.get(id))
}

/// Launches what the parameters ask for, or finds what the same token launched before.
/// The instances get the system tags beside their own.
pub(crate) fn launch(
    ctx: &mut Ctx<'_>,
    params: &Params,
    system_tags: &[(&str, String)],
) -> ApiResult<Vec<String>> {
    let token = params.str("ClientToken").filter(|token| !token.is_empty());
    if token.is_some_and(|token| token.len() > MAX_TOKEN || !token.is_ascii()) {
        let message = format!("ClientToken must be at most {MAX_TOKEN} ASCII characters.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let fingerprint = replay::fingerprint(params);
    if let Some(record) = token.and_then(|token| ctx.region().launches.get(token)) {
        if record.fingerprint != fingerprint {
            return Err(replay::mismatch());
        }
        params.settle();
        return Ok(record.instances.clone());
    }
    let mut request = Request::parse(ctx, params)?;
    for (key, value) in system_tags {
        request.tags.add_system("instance", key, value);
    }
    ctx.dry_run_ends()?;
    ctx.take_resources(request.max)?;
    let grant = capacity::find(ctx, &request)?;
    let ids = launch::build(ctx, &request, &grant, token.unwrap_or_default())?;
    if let Some(token) = token {
        let record = LaunchRecord {
            fingerprint,
            instances: ids.clone(),
        };
        ctx.local().region.launches.insert(token.to_owned(), record);
    }
    Ok(ids)
}

/// Launches one instance for a spot request that exists.
pub(crate) fn relaunch(ctx: &mut Ctx<'_>, spot_request: &str) -> ApiResult<String> {
    let mut request = Request::parse(ctx, ctx.params())?;
    if let Some(spot) = &mut request.spot {
        spot.existing = Some(spot_request.to_owned());
    }
    let grant = capacity::find(ctx, &request)?;
    let ids = launch::build(ctx, &request, &grant, "")?;
    ids.into_iter().next().ok_or_else(ApiError::no_capacity)
}
