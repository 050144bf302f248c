//! Instance profiles.

use super::{
    Ctx, check_name, members, no_such, not_truncated, path, read_tags, roles, taken, write_tags,
};
use crate::api::time;
use crate::error::{ApiError, ApiResult};
use crate::world::iam::{Iam, Profile};
use crate::xml::Xml;

fn named<'a>(ctx: &'a mut Ctx<'_>) -> ApiResult<(&'a mut Iam, &'a str)> {
    let name = ctx.params().need("InstanceProfileName")?;
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    if iam.profiles.contains_key(name) {
        Ok((iam, name))
    } else {
        Err(no_such_profile(name))
    }
}

fn no_such_profile(name: &str) -> ApiError {
    let message = format!("Instance Profile {name} cannot be found.");
    ApiError::new("NoSuchEntity", message)
}

/// CreateInstanceProfile.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = params.need("InstanceProfileName")?;
    check_name("instanceProfileName", name, 128)?;
    let path = path(params);
    let tags = read_tags(params)?;
    let (account, now) = (&ctx.place.account, ctx.now);
    let (iam, core) = ctx.world.iam(account);
    if iam.profiles.contains_key(name) {
        return Err(taken("Instance Profile", name));
    }
    let profile = Profile {
        name: name.to_owned(),
        id: core.ids.iam("AIPA"),
        arn: format!("arn:aws:iam::{account}:instance-profile{path}{name}"),
        path,
        role: None,
        tags,
        created_at: now,
    };
    let mut xml = Xml::new();
    xml.nest("InstanceProfile", |xml| write(xml, iam, &profile));
    iam.profiles.insert(name.to_owned(), profile);
    Ok(xml)
}

/// GetInstanceProfile.
pub(crate) fn get(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let (iam, name) = named(ctx)?;
    let mut xml = Xml::new();
    xml.nest("InstanceProfile", |xml| {
        write(xml, iam, &iam.profiles[name]);
    });
    Ok(xml)
}

/// ListInstanceProfiles.
pub(crate) fn list(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let prefix = ctx.params().str("PathPrefix").unwrap_or("/");
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    let found = iam
        .profiles
        .values()
        .filter(|profile| profile.path.starts_with(prefix));
    Ok(write_list(iam, found))
}

/// ListInstanceProfilesForRole.
pub(crate) fn list_for_role(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = roles::named(ctx)?.name.clone();
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    let found = iam
        .profiles
        .values()
        .filter(|profile| profile.role.as_ref() == Some(&role));
    Ok(write_list(iam, found))
}

/// DeleteInstanceProfile.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let (iam, name) = named(ctx)?;
    if iam.profiles[name].role.is_some() {
        let message = "Cannot delete entity, must remove roles from instance profile first.";
        return Err(ApiError::new("DeleteConflict", message));
    }
    iam.profiles.remove(name);
    Ok(Xml::new())
}

/// AddRoleToInstanceProfile.
pub(crate) fn add_role(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = ctx.params().need("RoleName")?;
    let (iam, name) = named(ctx)?;
    if !iam.roles.contains_key(role) {
        return Err(no_such("role", role));
    }
    let profile = iam
        .profiles
        .get_mut(name)
        .ok_or_else(|| no_such_profile(name))?;
    if profile.role.is_some() {
        let message = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1";
        return Err(ApiError::new("LimitExceeded", message));
    }
    profile.role = Some(role.to_owned());
    Ok(Xml::new())
}

/// RemoveRoleFromInstanceProfile.
pub(crate) fn remove_role(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let role = ctx.params().need("RoleName")?;
    let (iam, name) = named(ctx)?;
    let profile = iam
        .profiles
        .get_mut(name)
        .ok_or_else(|| no_such_profile(name))?;
    if profile.role.as_deref() != Some(role) {
        return Err(no_such("role", role));
    }
    profile.role = None;
    Ok(Xml::new())
}

/// TagInstanceProfile.
pub(crate) fn tag(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let tags = read_tags(ctx.params())?;
    let (iam, name) = named(ctx)?;
    let profile = iam
        .profiles
        .get_mut(name)
        .ok_or_else(|| no_such_profile(name))?;
    profile.tags.extend(tags);
    Ok(Xml::new())
}

fn write_list<'a>(iam: &Iam, profiles: impl Iterator<Item = &'a Profile>) -> Xml {
    let mut xml = Xml::new();
    members(&mut xml, "InstanceProfiles", profiles, |xml, profile| {
        write(xml, iam, profile);
    });
    not_truncated(&mut xml);
    xml
}

fn write(xml: &mut Xml, iam: &Iam, profile: &Profile) {
    xml.text("Path", &profile.path);
    xml.text("InstanceProfileName", &profile.name);
    xml.text("InstanceProfileId", &profile.id);
    xml.text("Arn", &profile.arn);
    xml.text("CreateDate", time(profile.created_at));
    let role = profile.role.as_ref().and_then(|name| iam.roles.get(name));
    members(xml, "Roles", role, roles::write);
    write_tags(xml, &profile.tags);
}
