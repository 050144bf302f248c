//! Roles.

use super::{
    Ctx, check_document, check_name, encoded, members, no_such, not_truncated, path, read_tags,
    taken, write_tags,
};
use crate::api::time;
use crate::error::{ApiError, ApiResult};
use crate::world::iam::Role;
use crate::xml::Xml;

/// The role that a call names, to change it.
pub(crate) fn named<'a>(ctx: &'a mut Ctx<'_>) -> ApiResult<&'a mut Role> {
    let name = ctx.params().need("RoleName")?;
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    iam.roles.get_mut(name).ok_or_else(|| no_such("role", name))
}

/// CreateRole.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = params.need("RoleName")?;
    check_name("roleName", name, 64)?;
    let trust = params.need("AssumeRolePolicyDocument")?;
    check_document(trust)?;
    let path = path(params);
    let (account, now) = (&ctx.place.account, ctx.now);
    let (iam, core) = ctx.world.iam(account);
    if iam.roles.contains_key(name) {
        return Err(taken("Role", name));
    }
    let role = Role {
        name: name.to_owned(),
        id: core.ids.iam("AROA"),
        arn: format!("arn:aws:iam::{account}:role{path}{name}"),
        path,
        trust: trust.to_owned(),
        description: params.str("Description").map(str::to_owned),
        max_session: params.int("MaxSessionDuration")?.unwrap_or(3600),
        boundary: params.str("PermissionsBoundary").map(str::to_owned),
        inline: std::collections::BTreeMap::new(),
        attached: Vec::new(),
        tags: read_tags(params)?,
        created_at: now,
    };
    let mut xml = Xml::new();
    xml.nest("Role", |xml| write(xml, &role));
    iam.roles.insert(name.to_owned(), role);
    Ok(xml)
}

/// GetRole.
pub(crate) fn get(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = named(ctx)?;
    let mut xml = Xml::new();
    xml.nest("Role", |xml| write(xml, role));
    Ok(xml)
}

/// ListRoles.
pub(crate) fn list(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let prefix = ctx.params().str("PathPrefix").unwrap_or("/");
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    let found = iam
        .roles
        .values()
        .filter(|role| role.path.starts_with(prefix));
    let mut xml = Xml::new();
    members(&mut xml, "Roles", found, write);
    not_truncated(&mut xml);
    Ok(xml)
}

/// DeleteRole.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = named(ctx)?;
    let name = role.name.clone();
    let conflict = |message: &str| Err(ApiError::new("DeleteConflict", message));
    if !role.inline.is_empty() {
        return conflict("Cannot delete entity, must delete policies first.");
    }
    if !role.attached.is_empty() {
        return conflict("Cannot delete entity, must detach all policies first.");
    }
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    if iam
        .profiles
        .values()
        .any(|profile| profile.role.as_ref() == Some(&name))
    {
        return conflict("Cannot delete entity, must remove roles from instance profile first.");
    }
    iam.roles.remove(&name);
    Ok(Xml::new())
}

/// UpdateAssumeRolePolicy.
pub(crate) fn update_trust(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let trust = ctx.params().need("PolicyDocument")?;
    check_document(trust)?;
    named(ctx)?.trust = trust.to_owned();
    Ok(Xml::new())
}

/// TagRole.
pub(crate) fn tag(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let tags = read_tags(ctx.params())?;
    named(ctx)?.tags.extend(tags);
    Ok(Xml::new())
}

/// UntagRole.
pub(crate) fn untag(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let keys = ctx.params().strings("TagKeys");
    let role = named(ctx)?;
    for key in keys {
        role.tags.remove(key);
    }
    Ok(Xml::new())
}

/// ListRoleTags.
pub(crate) fn list_tags(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = named(ctx)?;
    let mut xml = Xml::new();
    write_tags(&mut xml, &role.tags);
    not_truncated(&mut xml);
    Ok(xml)
}

/// The inside of a role.
pub(crate) fn write(xml: &mut Xml, role: &Role) {
    xml.text("Path", &role.path);
    xml.text("RoleName", &role.name);
    xml.text("RoleId", &role.id);
    xml.text("Arn", &role.arn);
    xml.text("CreateDate", time(role.created_at));
    xml.text("AssumeRolePolicyDocument", encoded(&role.trust));
    xml.opt("Description", role.description.as_ref());
    xml.text("MaxSessionDuration", role.max_session);
    if let Some(boundary) = &role.boundary {
        xml.nest("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "PermissionsBoundaryPolicy");
            xml.text("PermissionsBoundaryArn", boundary);
        });
    }
    write_tags(xml, &role.tags);
}
