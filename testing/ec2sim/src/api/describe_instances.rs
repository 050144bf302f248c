//! DescribeInstances.

use std::ops::Bound;

use super::{Ctx, instance_filters, instance_xml};
use crate::error::{ApiError, ApiResult};
use crate::filters::Filters;
use crate::paging::{Page, PageRule};
use crate::world::ids::is_well_formed;
use crate::world::instance::Instance;
use crate::xml::Xml;

const PAGE: PageRule = PageRule::usual("DescribeInstances");

/// Checks instance ids: all well formed, all known to this call.
pub(crate) fn check_ids(ctx: &mut Ctx<'_>, ids: &[&str]) -> ApiResult<()> {
    if let Some(bad) = ids.iter().find(|id| !is_well_formed("i", id)) {
        return Err(ApiError::malformed("InvalidInstanceID.Malformed", bad));
    }
    let (lag, now) = (ctx.lag, ctx.now);
    let region = ctx.region();
    let seen = |id: &str| {
        region
            .instance(id)
            .is_some_and(|i| lag.is_zero() || i.created_at + lag <= now)
    };
    let unknown: Vec<&str> = ids.iter().copied().filter(|id| !seen(id)).collect();
    match unknown.as_slice() {
        [] => Ok(()),
        [id] => Err(ApiError::not_found(
            "InvalidInstanceID.NotFound",
            "instance ID",
            id,
        )),
        many => {
            let message = format!("The instance IDs '{}' do not exist", many.join(", "));
            Err(ApiError::new("InvalidInstanceID.NotFound", message))
        }
    }
}

/// DescribeInstances.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, instance_filters::KNOWN)?;
    let ids = params.strings("InstanceId");
    let page = Page::parse(params, PAGE, !ids.is_empty())?;
    check_ids(ctx, &ids)?;
    ctx.dry_run_ends()?;
    let (lag, now) = (ctx.lag, ctx.now);
    let region = ctx.region();
    // Keys of pages are launch numbers, so that a page begins without looking at those before.
    let from = match page.after.as_deref().map(str::parse::<u64>) {
        Some(Ok(seq)) => Bound::Excluded(seq),
        Some(Err(_)) => return Err(ApiError::new("InvalidNextToken", "The token is not valid.")),
        None => Bound::Unbounded,
    };
    let wanted = |i: &&Instance| {
        (lag.is_zero() || i.created_at + lag <= now)
            && filters.pass(region.tags_of(&i.id), |name| {
                instance_filters::values(region, i, name)
            })
    };
    let (found, token) = if ids.is_empty() {
        let rest = region
            .instances
            .range((from, Bound::Unbounded))
            .map(|(_, i)| i);
        page.take(rest.filter(wanted), |i| i.seq.to_string())
    } else {
        let mut named: Vec<&Instance> = ids.iter().filter_map(|id| region.instance(id)).collect();
        named.sort_by_key(|i| i.seq);
        named.dedup_by_key(|i| i.seq);
        (named.into_iter().filter(wanted).collect(), None)
    };
    let mut xml = Xml::new();
    instance_xml::write_reservations(&mut xml, region, &found);
    xml.opt("nextToken", token);
    Ok(xml)
}
