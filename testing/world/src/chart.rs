//! The chart, rendered by helm and applied to the control plane, so that the controller runs with
//! exactly the rights that an installation gives it.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
    discovery::{Scope, pinned_kind},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::{Value, json};

use crate::layout::{Tools, root};

const CRD: &str = "CustomResourceDefinition";

/// Values with which the chart runs the controller in a local world, where instances fetch the agent
/// from `server`.
pub fn local_values(server: &str, agent_sha256: &str) -> Value {
    json!({
        "aws": {"regions": ["us-east-1", "us-west-2"]},
        "agent": {
            "url": format!("{server}/_artifacts/spored-linux-{{arch}}"),
            // Machines of either architecture run on this host, so they run this host's agent.
            "sha256": {"x86_64": agent_sha256, "arm64": agent_sha256},
        },
        "log": {"format": "text"},
        // There is no pod network to restrict.
        "networkPolicy": {"enabled": false},
    })
}

/// What the chart says for one release.
#[derive(Clone, Debug)]
pub struct Release {
    namespace: String,
    objects: Vec<DynamicObject>,
}

impl Release {
    /// Renders the chart with these values.
    pub fn render(tools: &Tools, name: &str, namespace: &str, values: &Value) -> Result<Self> {
        let chart = root().join("charts/spore");
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(values.to_string().as_bytes())?;
        let mut helm = Command::new(&tools.helm);
        helm.args(["template", name]).arg(&chart);
        helm.args(["--include-crds", "--namespace", namespace, "--values"])
            .arg(file.path());
        let output = helm
            .stdin(Stdio::null())
            .output()
            .context("cannot run helm")?;
        ensure!(
            output.status.success(),
            "helm template {}: {}",
            chart.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Self::parse(namespace, &String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("what helm renders from {} is not valid", chart.display()))
    }

    fn parse(namespace: &str, yaml: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
        let mut objects = documents
            .into_iter()
            .filter(|document| !document.is_null())
            .map(serde_json::from_value)
            .collect::<Result<Vec<DynamicObject>, _>>()?;
        // Hooks belong to helm's own install and test runs.
        objects.retain(|object| !object.annotations().contains_key("helm.sh/hook"));
        for object in &mut objects {
            if kind(object) == "Deployment" {
                // The process that it would run in a pod is run here without one.
                object.data["spec"]["replicas"] = json!(0);
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            objects,
        })
    }

    /// The service account that the controller's Deployment runs as.
    pub fn service_account(&self) -> Result<String> {
        let account = self
            .pod()?
            .get("serviceAccountName")
            .and_then(Value::as_str);
        account
            .map(str::to_owned)
            .context("the chart's Deployment names no service account")
    }

    /// The arguments that the Deployment gives the controller.
    pub fn controller_args(&self) -> Result<Vec<String>> {
        let args = self.pod()?.pointer("/containers/0/args");
        let args = args.context("the chart's Deployment gives the controller no arguments")?;
        Ok(serde_json::from_value(args.clone())?)
    }

    fn pod(&self) -> Result<&Value> {
        self.objects
            .iter()
            .find(|object| kind(object) == "Deployment")
            .and_then(|deployment| deployment.data.pointer("/spec/template/spec"))
            .context("the chart has no Deployment")
    }

    /// Applies the CRDs, and waits until the API server serves them.
    pub async fn apply_crds(&self, client: &Client) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for object in self.objects.iter().filter(|object| kind(object) == CRD) {
            self.apply_one(client, object).await?;
            let name = object.name_any();
            let established = await_condition(definitions.clone(), &name, is_crd_established());
            tokio::time::timeout(Duration::from_secs(20), established)
                .await
                .with_context(|| format!("the API server does not serve {name}"))??;
        }
        Ok(())
    }

    /// Applies everything but the CRDs.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        for object in self.objects.iter().filter(|object| kind(object) != CRD) {
            self.apply_one(client, object).await?;
        }
        Ok(())
    }

    /// Deletes what lies outside the release's namespace, CRDs excepted.
    pub async fn delete_cluster_scoped(&self, client: &Client) -> Result<()> {
        for object in self.objects.iter().filter(|object| kind(object) != CRD) {
            let (api, scope) = self.api(client, object).await?;
            let elsewhere = object.namespace().is_some_and(|ns| ns != self.namespace);
            if matches!(scope, Scope::Cluster) || elsewhere {
                api.delete(&object.name_any(), &DeleteParams::background())
                    .await?;
            }
        }
        Ok(())
    }

    async fn apply_one(&self, client: &Client, object: &DynamicObject) -> Result<()> {
        let (api, _) = self.api(client, object).await?;
        let params = PatchParams::apply("spore-world").force();
        let applied = api
            .patch(&object.name_any(), &params, &Patch::Apply(object))
            .await;
        applied.map_err(|error| {
            // The debug form of the API server's answer says everything three times.
            let why = if let kube::Error::Api(status) = error {
                status.message
            } else {
                error.to_string()
            };
            anyhow!("cannot apply {} {}: {why}", kind(object), object.name_any())
        })?;
        Ok(())
    }

    async fn api(
        &self,
        client: &Client,
        object: &DynamicObject,
    ) -> Result<(Api<DynamicObject>, Scope)> {
        let types = object
            .types
            .as_ref()
            .context("an object without apiVersion and kind")?;
        let gvk = GroupVersionKind::try_from(types)?;
        let (resource, capabilities) = pinned_kind(client, &gvk)
            .await
            .map_err(|error| anyhow!("the API server does not know {}: {error}", types.kind))?;
        let api = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.namespace().unwrap_or_else(|| self.namespace.clone());
                Api::namespaced_with(client.clone(), &namespace, &resource)
            }
        };
        Ok((api, capabilities.scope))
    }
}

fn kind(object: &DynamicObject) -> &str {
    object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = "
# an empty document
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: spore, namespace: here}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: spore, namespace: here}
spec:
  replicas: 2
  template: {spec: {serviceAccountName: spore, containers: [{args: [--a=b]}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: test, annotations: {helm.sh/hook: test}}
";

    #[test]
    fn hooks_are_left_out_and_deployments_get_no_pods() {
        let release = Release::parse("here", RENDERED).unwrap();
        let kinds: Vec<_> = release.objects.iter().map(kind).collect();
        assert_eq!(kinds, ["ServiceAccount", "Deployment"]);
        assert_eq!(release.objects[1].data["spec"]["replicas"], 0);
    }

    #[test]
    fn the_controller_gets_account_and_arguments_from_the_deployment() {
        let release = Release::parse("here", RENDERED).unwrap();
        assert_eq!(release.service_account().unwrap(), "spore");
        assert_eq!(release.controller_args().unwrap(), ["--a=b"]);
        let empty = Release::parse("here", "").unwrap();
        assert!(empty.service_account().is_err());
    }
}
