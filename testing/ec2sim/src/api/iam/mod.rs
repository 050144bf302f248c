//! IAM: roles, their policies, instance profiles.

mod policies;
mod profiles;
mod roles;

use super::{Ctx, unknown};
use crate::error::{ApiError, ApiResult};
use crate::filters::Tags;
use crate::params::Params;
use crate::xml::Xml;

/// Executes an IAM call.
pub(crate) fn dispatch(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    match ctx.call.action.as_str() {
        "CreateRole" => roles::create(ctx),
        "GetRole" => roles::get(ctx),
        "ListRoles" => roles::list(ctx),
        "DeleteRole" => roles::delete(ctx),
        "UpdateAssumeRolePolicy" => roles::update_trust(ctx),
        "TagRole" => roles::tag(ctx),
        "UntagRole" => roles::untag(ctx),
        "ListRoleTags" => roles::list_tags(ctx),
        "PutRolePolicy" => policies::put(ctx),
        "GetRolePolicy" => policies::get(ctx),
        "ListRolePolicies" => policies::list(ctx),
        "DeleteRolePolicy" => policies::delete(ctx),
        "AttachRolePolicy" => policies::attach(ctx),
        "DetachRolePolicy" => policies::detach(ctx),
        "ListAttachedRolePolicies" => policies::list_attached(ctx),
        "CreateInstanceProfile" => profiles::create(ctx),
        "GetInstanceProfile" => profiles::get(ctx),
        "ListInstanceProfiles" => profiles::list(ctx),
        "ListInstanceProfilesForRole" => profiles::list_for_role(ctx),
        "DeleteInstanceProfile" => profiles::delete(ctx),
        "AddRoleToInstanceProfile" => profiles::add_role(ctx),
        "RemoveRoleFromInstanceProfile" => profiles::remove_role(ctx),
        "TagInstanceProfile" => profiles::tag(ctx),
        _ => Err(unknown(ctx)),
    }
}

fn no_such(what: &str, name: &str) -> ApiError {
    let message = format!("The {what} with name {name} cannot be found.");
    ApiError::new("NoSuchEntity", message)
}

fn taken(what: &str, name: &str) -> ApiError {
    let message = format!("{what} with name {name} already exists.");
    ApiError::new("EntityAlreadyExists", message)
}

fn check_name(parameter: &str, name: &str, longest: usize) -> ApiResult<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if name.len() <= longest && name.chars().all(fits) {
        return Ok(());
    }
    let message = format!(
        "The specified value for {parameter} is invalid. It must contain only alphanumeric \
         characters and/or the following: +=,.@_- and be at most {longest} long"
    );
    Err(ApiError::new("ValidationError", message))
}

fn check_document(document: &str) -> ApiResult<()> {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(document);
    if parsed.is_ok_and(|value| value.get("Statement").is_some()) {
        return Ok(());
    }
    Err(ApiError::new(
        "MalformedPolicyDocument",
        "This policy contains invalid Json or no Statement",
    ))
}

fn path(params: &Params) -> String {
    params.str("Path").unwrap_or("/").to_owned()
}

fn read_tags(params: &Params) -> ApiResult<Tags> {
    let mut tags = Tags::new();
    for tag in params.list("Tags") {
        tags.insert(
            tag.need("Key")?.to_owned(),
            tag.str("Value").unwrap_or_default().to_owned(),
        );
    }
    if tags.len() > 50 {
        return Err(ApiError::new(
            "LimitExceeded",
            "At most 50 tags are allowed.",
        ));
    }
    Ok(tags)
}

fn write_tags(xml: &mut Xml, tags: &Tags) {
    members(xml, "Tags", tags, |xml, (key, value)| {
        xml.text("Key", key);
        xml.text("Value", value);
    });
}

/// IAM's lists: `<name><member>…</member></name>`.
fn members<I: IntoIterator>(
    xml: &mut Xml,
    name: &str,
    items: I,
    mut each: impl FnMut(&mut Xml, I::Item),
) {
    xml.nest(name, |xml| {
        for item in items {
            xml.nest("member", |xml| each(xml, item));
        }
    });
}

/// Everything fits one page here.
fn not_truncated(xml: &mut Xml) {
    xml.text("IsTruncated", false);
}

/// Policy documents come back percent-encoded.
fn encoded(document: &str) -> String {
    form_urlencoded::byte_serialize(document.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
