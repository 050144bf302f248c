//! SSM parameters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Ctx, unknown};
use crate::error::{ApiError, ApiResult};
use crate::paging::{Page, PageRule};
use crate::world::region::SsmParameter;

/// Executes an SSM call.
pub(crate) fn dispatch(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    match ctx.call.action.as_str() {
        "GetParameter" => get(ctx),
        "GetParameters" => get_many(ctx),
        "GetParametersByPath" => get_by_path(ctx),
        "PutParameter" => put(ctx),
        "DeleteParameter" => delete(ctx),
        _ => Err(unknown(ctx)),
    }
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ParameterNotFound", format!("Parameter {name} not found."))
}

fn shown(ctx: &Ctx<'_>, name: &str, parameter: &SsmParameter) -> Value {
    let public = name.starts_with("/aws/");
    let account = if public {
        ""
    } else {
        ctx.place.account.as_str()
    };
    let slash = if name.starts_with('/') { "" } else { "/" };
    json!({
        "ARN": format!("arn:aws:ssm:{}:{account}:parameter{slash}{name}", ctx.place.region),
        "DataType": parameter.data_type,
        "LastModifiedDate": seconds(parameter.modified_at),
        "Name": name,
        "Type": parameter.kind,
        "Value": parameter.value,
        "Version": parameter.version,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this century fit exactly"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

fn find(ctx: &mut Ctx<'_>, name: &str) -> Option<Value> {
    // A version selector (`name:3`) is not modelled; an ARN names the same parameter.
    let name = name
        .find(":parameter/")
        .map_or(name, |at| &name[at + ":parameter".len()..]);
    let parameter = ctx.region().parameters.get(name)?.clone();
    Some(shown(ctx, name, &parameter))
}

fn get(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    let name = ctx.params().need("Name")?;
    let _ = ctx.params().bool("WithDecryption")?;
    let parameter = find(ctx, name).ok_or_else(|| not_found(name))?;
    Ok(json!({ "Parameter": parameter }))
}

fn get_many(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    let names = ctx.params().strings("Names");
    let _ = ctx.params().bool("WithDecryption")?;
    if names.is_empty() || names.len() > 10 {
        let message = "names must have between 1 and 10 members";
        return Err(ApiError::new("ValidationException", message));
    }
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for name in names {
        match find(ctx, name) {
            Some(parameter) => found.push(parameter),
            None => invalid.push(name),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": invalid }))
}

fn get_by_path(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    const RULE: PageRule = PageRule {
        action: "GetParametersByPath",
        min: 1,
        max: 10,
    };
    let params = ctx.params();
    let path = params.need("Path")?.trim_end_matches('/');
    let recursive = params.bool("Recursive")?.unwrap_or(false);
    let page = Page::parse(params, RULE, false)?;
    let below = |name: &str| {
        name.strip_prefix(path)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| recursive || !rest.contains('/'))
    };
    let all: BTreeMap<String, SsmParameter> = ctx
        .region()
        .parameters
        .iter()
        .filter(|(name, _)| below(name))
        .map(|(name, parameter)| (name.clone(), parameter.clone()))
        .collect();
    let (found, token) = page.take_sorted(all.iter(), |(name, _)| (*name).clone());
    let found: Vec<Value> = found
        .into_iter()
        .map(|(name, parameter)| shown(ctx, name, parameter))
        .collect();
    let mut answer = json!({ "Parameters": found });
    if let Some(token) = token {
        answer["NextToken"] = token.into();
    }
    Ok(answer)
}

fn put(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    let params = ctx.params();
    let name = params.need("Name")?;
    let value = params.need("Value")?;
    let kind = params.str("Type").unwrap_or("String");
    let overwrite = params.bool("Overwrite")?.unwrap_or(false);
    let data_type = params.str("DataType").unwrap_or("text");
    if name.starts_with("/aws") || name.starts_with("aws") {
        let message = "No access to reserved parameter name: it begins with \"aws\".";
        return Err(ApiError::new("AccessDeniedException", message));
    }
    let now = ctx.now;
    let parameters = &mut ctx.local().region.parameters;
    let version = parameters
        .get(name)
        .map_or(1, |present| present.version + 1);
    if version > 1 && !overwrite {
        let message = "The parameter already exists. To overwrite this value, set the overwrite \
                       option in the request to true.";
        return Err(ApiError::new("ParameterAlreadyExists", message));
    }
    parameters.insert(
        name.to_owned(),
        SsmParameter {
            kind: kind.to_owned(),
            value: value.to_owned(),
            version,
            modified_at: now,
            data_type: data_type.to_owned(),
        },
    );
    Ok(json!({ "Version": version, "Tier": "Standard" }))
}

fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Value> {
    let name = ctx.params().need("Name")?;
    let removed = ctx.local().region.parameters.remove(name);
    removed.map(|_| json!({})).ok_or_else(|| not_found(name))
}
