//! What a failed request means for whoever made it.

use kube::core::Status;

use crate::{
    client::Cluster,
    error::{Error, chain},
    kind::Kind,
};

impl Cluster {
    /// What a failure means.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other failures are about one request, and a new one would be too"
    )]
    pub(crate) fn explain(
        &self,
        verb: &'static str,
        resource: &'static str,
        error: &kube::Error,
    ) -> Error {
        match error {
            kube::Error::Api(status) => self.explain_status(verb, resource, status),
            kube::Error::HyperError(_) | kube::Error::Service(_) => Error::Unreachable {
                server: self.server.clone(),
                context: self.context.clone(),
                detail: root(error),
            },
            kube::Error::Auth(_) => Error::Unauthorized {
                context: self.context.clone(),
                detail: chain(error),
            },
            kube::Error::SerdeError(_) => Error::Unreadable {
                what: "an answer of the cluster".into(),
                detail: root(error),
            },
            other => Error::Api {
                verb,
                resource,
                detail: chain(other),
            },
        }
    }

    fn explain_status(&self, verb: &'static str, resource: &'static str, status: &Status) -> Error {
        let detail = status.message.clone();
        let details = status.details.as_ref();
        let name = details
            .map(|details| details.name.clone())
            .unwrap_or_default();
        let context = self.context.clone();
        let namespace = self.namespace.clone();
        // By code, because an API that is not served is answered with a code and a bare text.
        match status.code {
            401 => Error::Unauthorized { context, detail },
            403 => Error::Forbidden {
                verb,
                resource,
                place: place(&detail, &namespace),
                detail: reason_of(&detail),
            },
            404 if details.is_some_and(|details| details.kind == "namespaces") => {
                Error::NoNamespace(name)
            }
            404 if name.is_empty() => Error::NotInstalled { context },
            404 => Error::NotFound {
                noun: noun(resource),
                name,
                namespace,
                nearest: None,
            },
            409 if status.is_already_exists() => Error::Exists {
                noun: noun(resource),
                name,
                namespace,
            },
            409 => Error::Busy(name),
            400 | 422 => Error::Refused(detail),
            _ => Error::Api {
                verb,
                resource,
                detail,
            },
        }
    }
}

/// What people call one of a resource.
fn noun(resource: &'static str) -> &'static str {
    let known = Kind::ALL
        .into_iter()
        .find(|kind| kind.resource() == resource);
    known.map_or(resource, Kind::noun)
}

/// Where something is not allowed, as flags of kubectl.
fn place(message: &str, namespace: &str) -> String {
    match message.contains("at the cluster scope") {
        true => "-A".into(),
        false => format!("-n {namespace}"),
    }
}

/// An API server's refusal begins with the resource's name, which is said already.
fn reason_of(message: &str) -> String {
    match message.split_once("is forbidden: ") {
        Some((_, reason)) => reason.to_owned(),
        None => message.to_owned(),
    }
}

/// The innermost cause: what lies around it only names libraries.
fn root(error: &kube::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    match innermost.to_string().as_str() {
        "deadline has elapsed" => "it does not answer".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::tests::cluster, error::Exit};

    #[test]
    fn a_refusal_does_not_name_the_resource_twice() {
        let message = "sporeinstances.spore.host is forbidden: User \"eve\" cannot list resource";
        assert_eq!(reason_of(message), "User \"eve\" cannot list resource");
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(…) in place"
    )]
    fn refusal(code: u16, reason: &str, message: &str, details: serde_json::Value) -> Error {
        let status = serde_json::json!({
            "status": "Failure", "code": code, "reason": reason, "message": message, "details": details,
        });
        cluster().explain_status(
            "get",
            Kind::Spore.resource(),
            &serde_json::from_value(status).unwrap(),
        )
    }

    #[tokio::test]
    async fn every_refusal_of_the_api_server_has_its_exit_code_and_advice() {
        let spore = serde_json::json!({"name": "train", "kind": "sporeinstances"});
        let none = serde_json::json!({});
        for (error, exit, says) in [
            (
                refusal(404, "NotFound", "", spore.clone()),
                Exit::NotFound,
                "no spore named train",
            ),
            (
                refusal(
                    404,
                    "NotFound",
                    "",
                    serde_json::json!({"name": "lab", "kind": "namespaces"}),
                ),
                Exit::NotFound,
                "no namespace named lab",
            ),
            (
                refusal(
                    404,
                    "Failed to parse error data",
                    "404 page not found",
                    none.clone(),
                ),
                Exit::Failure,
                "not installed",
            ),
            (
                refusal(
                    403,
                    "Forbidden",
                    "x is forbidden: User \"eve\" cannot get",
                    spore.clone(),
                ),
                Exit::Permission,
                "User \"eve\" cannot get",
            ),
            (
                refusal(401, "Unauthorized", "Unauthorized", none.clone()),
                Exit::Permission,
                "does not know you",
            ),
            (
                refusal(409, "AlreadyExists", "", spore.clone()),
                Exit::Failure,
                "already exists",
            ),
            (
                refusal(409, "Conflict", "", spore.clone()),
                Exit::Failure,
                "at the same time",
            ),
            (
                refusal(422, "Invalid", "spec.ttl: bad", spore),
                Exit::Failure,
                "spec.ttl: bad",
            ),
            (
                refusal(500, "InternalError", "disk full", none),
                Exit::Failure,
                "disk full",
            ),
        ] {
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn where_something_is_not_allowed_is_said_as_flags() {
        let message = "x is forbidden: User cannot list resource at the cluster scope";
        let everywhere = refusal(403, "Forbidden", message, serde_json::json!({}));
        assert!(
            everywhere.advice().unwrap().contains(" -A` tells"),
            "{everywhere:?}"
        );
        let here = refusal(403, "Forbidden", "in the namespace", serde_json::json!({}));
        assert!(
            here.advice().unwrap().contains(" -n lab` tells"),
            "{here:?}"
        );
    }
}
