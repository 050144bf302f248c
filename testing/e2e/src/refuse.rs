//! Writes that the API server refuses: where a crash is to happen right before one of them.

use serde_json::json;
use spore_world::{World, eventually};

use crate::{PATIENCE, kubectl};

/// A rule of the API server by which it refuses writes of a world's controller.
#[derive(Debug)]
pub struct Refused {
    name: String,
}

impl Refused {
    /// Refuses the controller's writes of a resource, such as `sporearrays/status`, unless a CEL
    /// expression holds. It is in force when this returns.
    ///
    /// # Panics
    /// If the API server does not take the rule.
    pub async fn unless(world: &World, resource: &str, expression: &str) -> Self {
        let name = format!("{}-refused", world.namespace());
        let probe = "request.resource.resource == 'configmaps'";
        let controller = format!(
            "request.userInfo.username.contains(':{}:')",
            world.namespace()
        );
        let rule = |group: &str, resource: &str| {
            json!({
                "apiGroups": [group], "apiVersions": ["*"], "resources": [resource],
                "operations": ["CREATE", "UPDATE"],
            })
        };
        let rules = json!([
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": name},
                "spec": {
                    "failurePolicy": "Fail",
                    "matchConstraints": {"resourceRules": [rule("spore.host", resource), rule("", "configmaps")]},
                    "matchConditions": [{"name": "ours", "expression": format!("{probe} || {controller}")}],
                    "validations": [{"expression": format!("!({probe}) && ({expression})"), "reason": "Forbidden"}],
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": name},
                "spec": {
                    "policyName": name,
                    "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": world.namespace()},
                    }},
                },
            },
        ]);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": rules});
        world
            .apply(&list.to_string())
            .await
            .expect("the rule is taken");
        let probe = ["create", "configmap", "probe", "--dry-run=server"];
        eventually("writes are refused", PATIENCE, async || {
            let tried = world.kubectl(&probe).await.ok()?;
            tried.stderr.contains("denied").then_some(())
        })
        .await;
        Self { name }
    }

    /// Admits them again.
    pub async fn lift(self, world: &World) {
        for kind in [
            "validatingadmissionpolicybinding",
            "validatingadmissionpolicy",
        ] {
            kubectl(world, &["delete", kind, &self.name, "--wait=false"]).await;
        }
    }
}
