//! What an instance may do with its role's credentials: tag, stop and terminate itself.

use super::Ctx;
use crate::call::Service;
use crate::error::{ApiError, ApiResult};
use crate::world::instance::State;

/// The tags that an instance may write on itself.
const OWN_TAG_PREFIX: &str = "spawn:";

/// Refuses what an instance's credentials do not allow; other callers may do everything.
pub(crate) fn check(ctx: &Ctx<'_>) -> ApiResult<()> {
    let Some(id) = &ctx.caller.instance else {
        return Ok(());
    };
    let Some((_, instance)) = ctx.world.instance(id) else {
        return Err(invalid_credentials());
    };
    if instance.state == State::Terminated || instance.profile.is_none() {
        return Err(invalid_credentials());
    }
    if instance.condition.iam_revoked || !allowed(ctx, id) {
        return Err(refusal(ctx, id));
    }
    Ok(())
}

fn allowed(ctx: &Ctx<'_>, id: &str) -> bool {
    let params = ctx.params();
    let only_itself = |list: &str| {
        let ids = params.strings(list);
        !ids.is_empty() && ids.iter().all(|other| *other == id)
    };
    match (ctx.call.service, ctx.call.action.as_str()) {
        (Service::Ec2, "CreateTags" | "DeleteTags") => {
            only_itself("ResourceId")
                && params.list("Tag").iter().all(|tag| {
                    tag.str("Key")
                        .is_some_and(|key| key.starts_with(OWN_TAG_PREFIX))
                })
        }
        (Service::Ec2, "StopInstances" | "TerminateInstances") => only_itself("InstanceId"),
        (Service::Ec2, "DescribeTags" | "DescribeInstances")
        | (Service::Sts, "GetCallerIdentity") => true,
        _ => false,
    }
}

fn refusal(ctx: &Ctx<'_>, id: &str) -> ApiError {
    let message = format!(
        "You are not authorized to perform this operation. The role of instance {id} is not \
         authorized to perform: {} on the resources given",
        ctx.call.action
    );
    let code = if ctx.call.service == Service::Ec2 {
        "UnauthorizedOperation"
    } else {
        "AccessDenied"
    };
    ApiError::new(code, message)
}

fn invalid_credentials() -> ApiError {
    ApiError::new(
        "AuthFailure",
        "AWS was not able to validate the provided access credentials",
    )
}
