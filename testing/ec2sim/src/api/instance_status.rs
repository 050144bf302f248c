//! DescribeInstanceStatus.

use super::Ctx;
use super::describe_instances::check_ids;
use super::instance_xml::write_state;
use crate::error::ApiResult;
use crate::filters::{Filters, Values, one, shown};
use crate::paging::{Page, PageRule};
use crate::world::instance::{Instance, State};
use crate::xml::Xml;

const FILTERS: &[&str] = &[
    "attached-ebs-status.status",
    "availability-zone",
    "availability-zone-id",
    "event.code",
    "event.description",
    "event.instance-event-id",
    "event.not-after",
    "event.not-before",
    "event.not-before-deadline",
    "instance-state-code",
    "instance-state-name",
    "instance-status.reachability",
    "instance-status.status",
    "operator.managed",
    "operator.principal",
    "system-status.reachability",
    "system-status.status",
];

/// DescribeInstanceStatus: of running instances, or of all.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, FILTERS)?;
    let ids = params.strings("InstanceId");
    let all = params.bool("IncludeAllInstances")?.unwrap_or(false);
    let rule = PageRule::usual("DescribeInstanceStatus");
    let page = Page::parse(params, rule, !ids.is_empty())?;
    check_ids(ctx, &ids)?;
    ctx.dry_run_ends()?;
    let (lag, now) = (ctx.lag, ctx.now);
    let region = ctx.region();
    let found = region.instances.values().filter(|i| {
        (ids.is_empty() || ids.contains(&i.id.as_str()))
            && (lag.is_zero() || i.created_at + lag <= now)
            && (all || i.state == State::Running)
            && filters.pass(region.tags_of(&i.id), |name| values(i, name))
    });
    let (found, token) = page.take_sorted(found, |i| format!("{:020}", i.seq));
    let mut xml = Xml::new();
    xml.list("instanceStatusSet", found, |xml, i| {
        xml.text("instanceId", &i.id);
        xml.text("availabilityZone", &i.placement.zone);
        xml.text("availabilityZoneId", &i.placement.zone_id);
        write_state(xml, "instanceState", i.state);
        for name in ["instanceStatus", "systemStatus", "attachedEbsStatus"] {
            xml.nest(name, |xml| {
                xml.text("status", status(i));
                if i.state == State::Running {
                    xml.list("details", ["reachability"], |xml, name| {
                        xml.text("name", name);
                        xml.text("status", "passed");
                    });
                }
            });
        }
        xml.nest("eventsSet", |_| {});
    });
    xml.opt("nextToken", token);
    Ok(xml)
}

fn status(i: &Instance) -> &'static str {
    if i.state == State::Running {
        "ok"
    } else {
        "not-applicable"
    }
}

fn values<'a>(i: &'a Instance, filter: &str) -> Values<'a> {
    match filter {
        "availability-zone" => one(i.placement.zone.as_str()),
        "availability-zone-id" => one(i.placement.zone_id.as_str()),
        "instance-state-code" => shown(i.state.code()),
        "instance-state-name" => one(i.state.name()),
        "instance-status.status" | "system-status.status" | "attached-ebs-status.status" => {
            one(status(i))
        }
        "instance-status.reachability" | "system-status.reachability" => one("passed"),
        "operator.managed" => one("false"),
        _ => Vec::new(),
    }
}
