//! TerminateInstances, StopInstances, StartInstances, RebootInstances.

use super::describe_instances::check_ids;
use super::instance_xml::write_state;
use super::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::world::instance::{Instance, State};
use crate::world::lifecycle::Cause;
use crate::xml::Xml;

const MAX_IDS: usize = 1000;

/// The ids of a call, all known, each once.
fn targets<'a>(ctx: &mut Ctx<'a>) -> ApiResult<Vec<&'a str>> {
    let mut ids = ctx.params().strings("InstanceId");
    if ids.is_empty() {
        return Err(ApiError::missing("InstanceId"));
    }
    if ids.len() > MAX_IDS {
        let message = format!("A call can name at most {MAX_IDS} instances.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    check_ids(ctx, &ids)?;
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(ids)
}

/// Refuses the whole call if one instance does not allow it.
fn check_each(
    ctx: &mut Ctx<'_>,
    ids: &[&str],
    check: impl Fn(&Instance) -> ApiResult<()>,
) -> ApiResult<()> {
    let region = ctx.region();
    ids.iter()
        .filter_map(|id| region.instance(id))
        .try_for_each(check)
}

/// Changes each instance and writes its state before and after.
fn change(ctx: &mut Ctx<'_>, ids: &[&str], act: impl Fn(&mut Ctx<'_>, &str)) -> Xml {
    let mut changes = Vec::new();
    for id in ids {
        let state = |ctx: &mut Ctx<'_>| ctx.region().instance(id).map(|i| i.state);
        let before = state(ctx);
        act(ctx, id);
        changes.extend(before.zip(state(ctx)).map(|states| (*id, states)));
    }
    let mut xml = Xml::new();
    xml.list("instancesSet", changes, |xml, (id, (before, after))| {
        xml.text("instanceId", id);
        write_state(xml, "currentState", after);
        write_state(xml, "previousState", before);
    });
    xml
}

fn wrong_state(i: &Instance, verb: &str) -> ApiError {
    let message = format!(
        "The instance '{}' is not in a state from which it can be {verb}.",
        i.id
    );
    ApiError::new("IncorrectInstanceState", message)
}

/// TerminateInstances.
pub(crate) fn terminate(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = targets(ctx)?;
    for flag in ["Force", "SkipOsShutdown"] {
        // Machines die at once here, so that there is nothing to force or skip.
        let _ = ctx.params().bool(flag)?;
    }
    check_each(ctx, &ids, |i| {
        if i.disable_api_termination && i.state != State::Terminated {
            let message = format!(
                "The instance '{}' may not be terminated. Modify its 'disableApiTermination' \
                 instance attribute and try again.",
                i.id
            );
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        Ok(())
    })?;
    ctx.dry_run_ends()?;
    ctx.take_resources(ids.len())?;
    Ok(change(ctx, &ids, |ctx, id| {
        ctx.local().terminate(id, Cause::User);
    }))
}

/// StopInstances.
pub(crate) fn stop(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = targets(ctx)?;
    let hibernate = ctx.params().bool("Hibernate")?.unwrap_or(false);
    for flag in ["Force", "SkipOsShutdown"] {
        let _ = ctx.params().bool(flag)?;
    }
    check_each(ctx, &ids, |i| {
        if i.spot.as_ref().is_some_and(|spot| !spot.persistent) {
            let message = format!(
                "You can't stop the Spot Instance '{}' because it is associated with a one-time \
                 Spot Instance request. You can only stop Spot Instances associated with \
                 persistent Spot Instance requests.",
                i.id
            );
            return Err(ApiError::new("UnsupportedOperation", message));
        }
        if !matches!(i.state, State::Running | State::Stopping | State::Stopped) {
            return Err(wrong_state(i, "stopped"));
        }
        if i.disable_api_stop {
            let message = format!(
                "The instance '{}' may not be stopped. Modify its 'disableApiStop' instance \
                 attribute and try again.",
                i.id
            );
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        if hibernate && !i.hibernation {
            let message = format!("The instance '{}' is not enabled for hibernation.", i.id);
            return Err(ApiError::new(
                "UnsupportedHibernationConfiguration",
                message,
            ));
        }
        Ok(())
    })?;
    ctx.dry_run_ends()?;
    ctx.take_resources(ids.len())?;
    let cause = if hibernate {
        Cause::Hibernate
    } else {
        Cause::User
    };
    Ok(change(ctx, &ids, |ctx, id| ctx.local().stop(id, cause)))
}

/// StartInstances.
pub(crate) fn start(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = targets(ctx)?;
    check_each(ctx, &ids, |i| match i.state {
        State::Stopped | State::Pending | State::Running => Ok(()),
        State::Stopping | State::ShuttingDown | State::Terminated => Err(wrong_state(i, "started")),
    })?;
    ctx.dry_run_ends()?;
    ctx.take_resources(ids.len())?;
    Ok(change(ctx, &ids, |ctx, id| ctx.local().start(id)))
}

/// RebootInstances.
pub(crate) fn reboot(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = targets(ctx)?;
    check_each(ctx, &ids, |i| {
        if i.state == State::Running {
            Ok(())
        } else {
            Err(wrong_state(i, "rebooted"))
        }
    })?;
    ctx.dry_run_ends()?;
    for id in ids {
        ctx.local().reboot(id);
    }
    Ok(done())
}
