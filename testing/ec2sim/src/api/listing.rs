//! What most Describe calls share: named ids must exist, filters, pages.

use std::collections::BTreeMap;

use super::Ctx;
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Values};
use crate::paging::{Page, PageRule};
use crate::world::region::Region;
use crate::xml::Xml;

/// One kind of resource as a Describe call lists it.
pub(crate) struct Listing<'a, T> {
    /// The API.
    pub(crate) action: &'static str,
    /// The parameter with ids.
    pub(crate) ids: &'a str,
    /// The code for an unknown id.
    pub(crate) not_found: &'static str,
    /// What the resource is called in messages.
    pub(crate) what: &'a str,
    /// The filters beside the tag ones.
    pub(crate) filters: &'a [&'a str],
    /// Where the resources are.
    pub(crate) all: fn(&Region) -> &BTreeMap<String, T>,
    /// What a resource answers for a filter.
    pub(crate) values: for<'v> fn(&'v Region, &'v T, &str) -> Values<'v>,
    /// The element around the items.
    pub(crate) set: &'a str,
    /// Writes one item.
    pub(crate) write: fn(&mut Xml, &Region, &T),
}

impl<T> Listing<'_, T> {
    /// Answers the call.
    pub(crate) fn answer(&self, ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
        self.answer_if(ctx, |_| true)
    }

    /// Answers the call with those resources that also pass a check of the caller.
    pub(crate) fn answer_if(&self, ctx: &mut Ctx<'_>, keep: impl Fn(&T) -> bool) -> ApiResult<Xml> {
        let params = ctx.params();
        let filters = Filters::parse(params, self.filters)?;
        let ids = params.strings(self.ids);
        let page = Page::parse(params, PageRule::usual(self.action), !ids.is_empty())?;
        let all = (self.all)(ctx.region());
        if let Some(unknown) = ids.iter().find(|id| !all.contains_key(**id)) {
            return Err(ApiError::not_found(self.not_found, self.what, unknown));
        }
        ctx.dry_run_ends()?;
        let region = ctx.region();
        let found = (self.all)(region).iter().filter(|(id, resource)| {
            (ids.is_empty() || ids.contains(&id.as_str()))
                && keep(resource)
                && filters.pass(region.tags_of(id), |name| {
                    (self.values)(region, resource, name)
                })
        });
        let (found, token) = page.take_sorted(found, |(id, _)| (*id).clone());
        let mut xml = Xml::new();
        xml.list(self.set, found, |xml, (_, resource)| {
            (self.write)(xml, region, resource);
        });
        xml.opt("nextToken", token);
        Ok(xml)
    }
}
