//! STS.

use std::time::Duration;

use super::{Ctx, time, unknown};
use crate::error::{ApiError, ApiResult};
use crate::xml::Xml;

/// Executes an STS call.
pub(crate) fn dispatch(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    match ctx.call.action.as_str() {
        "GetCallerIdentity" => Ok(caller_identity(ctx)),
        "AssumeRole" => assume_role(ctx),
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

fn assume_role(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let arn = params.need("RoleArn")?;
    let session = params.need("RoleSessionName")?;
    let external_id = params.str("ExternalId");
    let seconds = params.int("DurationSeconds")?.unwrap_or(3600);
    let account = arn.split(':').nth(4).unwrap_or_default().to_owned();
    let denied = || {
        let message = format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            ctx.caller.access_key
        );
        ApiError::new("AccessDenied", message)
    };
    let expires = ctx.now + Duration::from_secs(u64::try_from(seconds).unwrap_or(3600));
    let (iam, core) = ctx.world.iam(&account);
    let role = iam
        .roles
        .values()
        .find(|role| role.arn == arn)
        .ok_or_else(denied)?;
    if !(900..=role.max_session).contains(&seconds) {
        let message =
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(ApiError::new("ValidationError", message));
    }
    if let Some(required) = required_external_id(&role.trust)
        && external_id != Some(required.as_str())
    {
        return Err(denied());
    }
    let (name, id) = (role.name.clone(), role.id.clone());
    let secret = core.ids.hex();
    let mut xml = Xml::new();
    xml.nest("Credentials", |xml| {
        // The account is part of the key, so that calls with it act there.
        xml.text(
            "AccessKeyId",
            format!("ASIA{account}{}", secret[..4].to_uppercase()),
        );
        xml.text("SecretAccessKey", &secret[..40]);
        xml.text("SessionToken", format!("session-{secret}"));
        xml.text("Expiration", time(expires));
    });
    xml.nest("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", format!("{id}:{session}"));
        xml.text(
            "Arn",
            format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"),
        );
    });
    Ok(xml)
}

/// The external id that a trust policy asks for.
fn required_external_id(trust: &str) -> Option<String> {
    let trust: serde_json::Value = serde_json::from_str(trust).ok()?;
    let statements = trust.get("Statement")?;
    let one = std::slice::from_ref(statements);
    let statements = statements.as_array().map_or(one, Vec::as_slice);
    let found = statements.iter().find_map(|statement| {
        statement
            .pointer("/Condition/StringEquals/sts:ExternalId")?
            .as_str()
    });
    found.map(str::to_owned)
}
