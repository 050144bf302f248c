//! What is left of a test's world when the test is over, and its removal.

use std::{fs, path::Path};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    discovery::{self, Scope},
};
use serde_json::json;

use crate::{chart::Release, controlplane::ControlPlane};

/// Removes what Kubernetes holds of this world; what had finalizers has nobody left to obey them.
pub(crate) async fn remove(plane: &ControlPlane, release: &Release, namespace: &str) -> Result<()> {
    let client = plane.client().await?;
    let group = discovery::group(&client, "spore.host").await?;
    for (resource, capabilities) in group.recommended_resources() {
        if !matches!(capabilities.scope, Scope::Namespaced) {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        for object in api.list(&ListParams::default()).await? {
            let free = json!({"metadata": {"finalizers": null}});
            api.patch(
                &object.name_any(),
                &PatchParams::default(),
                &Patch::Merge(free),
            )
            .await?;
        }
    }
    release.delete_cluster_scoped(&client).await?;
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces
        .delete(namespace, &DeleteParams::background())
        .await?;
    Ok(())
}

/// Removes large files that are not logs: every machine has a copy of the agent.
pub(crate) fn remove_bulk(dir: &Path) {
    const LARGE: u64 = 1 << 20;
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => remove_bulk(&path),
            Ok(meta) if meta.is_file() && meta.len() > LARGE && !is_log(&path) => {
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}
