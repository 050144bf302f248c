//! The policies of roles.

use super::roles::named;
use super::{Ctx, check_document, check_name, encoded, members, no_such, not_truncated};
use crate::error::{ApiError, ApiResult};
use crate::xml::Xml;

/// How many policies can be attached to a role.
const MAX_ATTACHED: usize = 10;

/// PutRolePolicy.
pub(crate) fn put(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (name, document) = (params.need("PolicyName")?, params.need("PolicyDocument")?);
    check_name("policyName", name, 128)?;
    check_document(document)?;
    named(ctx)?
        .inline
        .insert(name.to_owned(), document.to_owned());
    Ok(Xml::new())
}

/// GetRolePolicy.
pub(crate) fn get(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let name = ctx.params().need("PolicyName")?;
    let role = named(ctx)?;
    let document = role
        .inline
        .get(name)
        .ok_or_else(|| no_such("role policy", name))?;
    let mut xml = Xml::new();
    xml.text("RoleName", &role.name);
    xml.text("PolicyName", name);
    xml.text("PolicyDocument", encoded(document));
    Ok(xml)
}

/// ListRolePolicies.
pub(crate) fn list(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = named(ctx)?;
    let mut xml = Xml::new();
    xml.nest("PolicyNames", |xml| {
        for name in role.inline.keys() {
            xml.text("member", name);
        }
    });
    not_truncated(&mut xml);
    Ok(xml)
}

/// DeleteRolePolicy.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let name = ctx.params().need("PolicyName")?;
    let removed = named(ctx)?.inline.remove(name);
    removed
        .map(|_| Xml::new())
        .ok_or_else(|| no_such("role policy", name))
}

/// AttachRolePolicy.
pub(crate) fn attach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let arn = ctx.params().need("PolicyArn")?;
    if !arn.starts_with("arn:aws:iam::") || !arn.contains(":policy/") {
        let message = format!("ARN {arn} is not valid.");
        return Err(ApiError::new("InvalidInput", message));
    }
    let role = named(ctx)?;
    if role.attached.iter().any(|have| have == arn) {
        return Ok(Xml::new());
    }
    if role.attached.len() == MAX_ATTACHED {
        let message = format!("Cannot exceed quota for PoliciesPerRole: {MAX_ATTACHED}");
        return Err(ApiError::new("LimitExceeded", message));
    }
    role.attached.push(arn.to_owned());
    Ok(Xml::new())
}

/// DetachRolePolicy.
pub(crate) fn detach(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let arn = ctx.params().need("PolicyArn")?;
    let role = named(ctx)?;
    let before = role.attached.len();
    role.attached.retain(|have| have != arn);
    if role.attached.len() == before {
        let message = format!("Policy {arn} was not found.");
        return Err(ApiError::new("NoSuchEntity", message));
    }
    Ok(Xml::new())
}

/// ListAttachedRolePolicies.
pub(crate) fn list_attached(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = named(ctx)?;
    let mut xml = Xml::new();
    members(&mut xml, "AttachedPolicies", &role.attached, |xml, arn| {
        xml.text("PolicyName", arn.rsplit('/').next().unwrap_or(arn));
        xml.text("PolicyArn", arn);
    });
    not_truncated(&mut xml);
    Ok(xml)
}
