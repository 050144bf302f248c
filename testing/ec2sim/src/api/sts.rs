//! STS.

use super::{Ctx, unknown};
use crate::error::ApiResult;
use crate::xml::Xml;

/// Executes an STS call.
pub(crate) fn dispatch(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    match ctx.call.action.as_str() {
        "GetCallerIdentity" => Ok(caller_identity(ctx)),
        _ => Err(unknown(ctx)),
    }
}

fn caller_identity(ctx: &Ctx<'_>) -> Xml {
    let account = &ctx.caller.account;
    let role = ctx.caller.instance.as_deref().and_then(|id| {
        let (_, instance) = ctx.world.instance(id)?;
        Some((instance.profile.as_ref()?.role.clone()?, id))
    });
    let mut xml = Xml::new();
    match role {
        Some((role, id)) => {
            xml.text(
                "Arn",
                format!("arn:aws:sts::{account}:assumed-role/{role}/{id}"),
            );
            xml.text("UserId", format!("AROASIMROLE:{id}"));
        }
        None => {
            xml.text("Arn", format!("arn:aws:iam::{account}:user/developer"));
            xml.text("UserId", "AIDASIMDEVELOPER");
        }
    }
    xml.text("Account", account);
    xml
}
