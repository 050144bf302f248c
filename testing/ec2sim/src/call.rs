//! An AWS request as it comes over HTTP: which service, which region, who, what.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::Place;
use crate::world::zones::is_region;

/// The account of access keys that name no other.
pub(crate) const DEFAULT_ACCOUNT: &str = "123456789012";
/// How access keys of instance credentials begin; the instance's digits follow.
const INSTANCE_KEY: &str = "ASIASIM";

/// The service a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// EC2.
    Ec2,
    /// STS.
    Sts,
    /// IAM.
    Iam,
    /// SSM.
    Ssm,
    /// The Price List.
    Pricing,
}

/// Where a request says it comes from and goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The caller's access key.
    pub(crate) access_key: String,
    /// The region it signed for.
    pub(crate) region: String,
    /// The service's name.
    pub(crate) service: String,
}

impl Scope {
    /// Reads the credential scope of a signed request. The signature itself is not checked.
    pub(crate) fn read(headers: &HeaderMap, query: Option<&str>) -> Option<Self> {
        let header = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let signed = header.and_then(|text| {
            let rest = text
                .strip_prefix("AWS4-HMAC-SHA256")?
                .split("Credential=")
                .nth(1)?;
            Some(rest.split([',', ' ']).next().unwrap_or(rest).to_owned())
        });
        let presigned = || {
            form_urlencoded::parse(query?.as_bytes())
                .find(|(name, _)| name == "X-Amz-Credential")
                .map(|(_, value)| value.into_owned())
        };
        let credential = signed.or_else(presigned)?;
        let mut parts = credential.split('/');
        let access_key = parts.next()?.to_owned();
        let (_date, region, service) = (parts.next()?, parts.next()?, parts.next()?);
        (parts.next()? == "aws4_request").then(|| Self {
            access_key,
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The access key.
    pub(crate) access_key: String,
    /// The account.
    pub(crate) account: String,
    /// The instance whose role credentials these are.
    pub(crate) instance: Option<String>,
}

/// The instance that an access key belongs to.
pub(crate) fn instance_of(access_key: &str) -> Option<String> {
    access_key
        .strip_prefix(INSTANCE_KEY)
        .map(|digits| format!("i-{}", digits.to_lowercase()))
}

/// The access key of an instance's role credentials.
pub(crate) fn access_key_of(instance_id: &str) -> String {
    let digits = instance_id.strip_prefix("i-").unwrap_or(instance_id);
    format!("{INSTANCE_KEY}{}", digits.to_uppercase())
}

/// `AKIA` or `ASIA` and twelve digits select an account of that number.
pub(crate) fn account_of(access_key: &str) -> String {
    access_key
        .strip_prefix("AKIA")
        .or_else(|| access_key.strip_prefix("ASIA"))
        .and_then(|rest| rest.get(..12))
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .unwrap_or(DEFAULT_ACCOUNT)
        .to_owned()
}

/// An AWS call, read but not yet decided upon.
#[derive(Debug)]
pub(crate) struct Call {
    /// The service.
    pub(crate) service: Service,
    /// The API, for example `RunInstances`.
    pub(crate) action: String,
    /// The caller.
    pub(crate) access_key: String,
    /// The region.
    pub(crate) region: String,
    /// The parameters.
    pub(crate) params: Params,
}

impl Call {
    /// Reads a request.
    pub(crate) fn read(
        scope: Scope,
        headers: &HeaderMap,
        query: &str,
        body: &[u8],
    ) -> ApiResult<Self> {
        let service = match scope.service.as_str() {
            "ec2" => Service::Ec2,
            "sts" => Service::Sts,
            "iam" => Service::Iam,
            "ssm" => Service::Ssm,
            "pricing" => Service::Pricing,
            other => {
                tracing::error!(service = other, "call to a service that is not modelled");
                let message = format!("The service {other} is not modelled by this stand-in");
                return Err(ApiError::new("InvalidAction", message));
            }
        };
        if !is_region(&scope.region) {
            let message = format!(
                "Credential should be scoped to a valid region, not '{}'.",
                scope.region
            );
            return Err(ApiError::new("AuthFailure", message));
        }
        let (action, params) = match service {
            Service::Ssm => json_call("AmazonSSM", headers, body)?,
            Service::Pricing => json_call("AWSPriceListService", headers, body)?,
            Service::Ec2 | Service::Sts | Service::Iam => {
                let form = if body.is_empty() {
                    query.as_bytes()
                } else {
                    body
                };
                let params = Params::parse(form);
                let _ = params.get("Version").map(Params::value);
                (params.need("Action")?.to_owned(), params)
            }
        };
        Ok(Self {
            service,
            action,
            access_key: scope.access_key,
            region: scope.region,
            params,
        })
    }

    /// The place in which a caller's call acts.
    pub(crate) fn place(&self, caller: &Caller) -> Place {
        Place {
            account: caller.account.clone(),
            region: self.region.clone(),
        }
    }
}

/// A JSON 1.1 call, its document flattened into the form of a query. `target` is the service's name
/// in `X-Amz-Target`.
fn json_call(target: &str, headers: &HeaderMap, body: &[u8]) -> ApiResult<(String, Params)> {
    let named = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let action = named
        .strip_prefix(target)
        .and_then(|rest| rest.strip_prefix('.'))
        .ok_or_else(|| {
            ApiError::new(
                "InvalidAction",
                format!("X-Amz-Target '{named}' is not of {target}"),
            )
        })?;
    let document: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::new("SerializationException", error.to_string()))?;
    let mut pairs = Vec::new();
    flatten(String::new(), &document, &mut pairs);
    Ok((action.to_owned(), Params::from_pairs(pairs)))
}

fn flatten(path: String, value: &serde_json::Value, pairs: &mut Vec<(String, String)>) {
    let child = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::Bool(flag) => pairs.push((path, flag.to_string())),
        serde_json::Value::Number(number) => pairs.push((path, number.to_string())),
        serde_json::Value::String(text) => pairs.push((path, text.clone())),
        serde_json::Value::Array(items) => {
            for (item, n) in items.iter().zip(1_u32..) {
                flatten(child(&n.to_string()), item, pairs);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                flatten(child(name), field, pairs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_read_from_the_signature() {
        let mut headers = HeaderMap::new();
        let value = "AWS4-HMAC-SHA256 Credential=AKIAX/20261121/us-east-1/ec2/aws4_request, \
                     SignedHeaders=host, Signature=00";
        headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
        let scope = Scope::read(&headers, None).expect("signed");
        assert_eq!(
            (scope.access_key.as_str(), scope.region.as_str()),
            ("AKIAX", "us-east-1")
        );
        assert_eq!(scope.service, "ec2");
        assert_eq!(Scope::read(&HeaderMap::new(), None), None);
    }

    #[test]
    fn access_keys_name_accounts_and_instances() {
        assert_eq!(account_of("AKIAEXAMPLE"), DEFAULT_ACCOUNT);
        assert_eq!(account_of("AKIA210987654321XYZ"), "210987654321");
        let key = access_key_of("i-0123456789abcdef0");
        assert_eq!(instance_of(&key).as_deref(), Some("i-0123456789abcdef0"));
        assert_eq!(instance_of("AKIAEXAMPLE"), None);
    }
}
