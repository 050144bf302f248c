//! The control plane does what a production one does, where our objects depend on it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::json;
use spore_world::{
    controlplane::ControlPlane,
    eventually,
    kubeconfig::{self, Credential},
    layout::Tools,
    process::{Life, Process},
};

#[tokio::test]
async fn a_control_plane_behaves_as_in_production_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tools = Tools::find().unwrap();
    let _stopped = Stopped(dir.path());
    let plane = ControlPlane::start(dir.path(), &tools, Life::Detached)
        .await
        .unwrap();
    let client = plane.client().await.unwrap();

    cel_rules_are_evaluated(&client).await;
    a_service_account_may_do_nothing_unless_bound(&plane, &client, dir.path()).await;
    owned_objects_go_with_their_owner(&client).await;
    namespaces_go_with_what_is_in_them(&client).await;

    let again = ControlPlane::running(dir.path())
        .await
        .expect("it is found again");
    assert_eq!(again.server(), plane.server());
    let names = ["etcd", "kube-apiserver", "kube-controller-manager"];
    let processes = names.map(|name| Process::find(dir.path(), name).expect("it runs"));
    ControlPlane::stop(dir.path()).unwrap();
    assert!(processes.iter().all(|process| !process.alive()));
    assert!(ControlPlane::running(dir.path()).await.is_none());
}

/// Stops the control plane of a test that fails: it is detached.
struct Stopped<'a>(&'a Path);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        ControlPlane::stop(self.0).unwrap();
    }
}

async fn cel_rules_are_evaluated(client: &Client) {
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {
                        "type": "object",
                        "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}},
                        "x-kubernetes-validations": [
                            {"rule": "self.low <= self.high", "message": "low is above high"},
                        ],
                    }},
                }},
            }],
        },
    }))
    .unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    await_condition(definitions, "things.example.com", is_crd_established())
        .await
        .unwrap();

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Thing"));
    let things: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
    let thing = |low: i64| {
        DynamicObject::new("thing", &kind).data(json!({"spec": {"low": low, "high": 2}}))
    };
    let error = things
        .create(&PostParams::default(), &thing(3))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("low is above high"), "{error}");
    things
        .create(&PostParams::default(), &thing(1))
        .await
        .unwrap();
}

async fn a_service_account_may_do_nothing_unless_bound(
    plane: &ControlPlane,
    client: &Client,
    dir: &Path,
) {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some("nobody".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let token = kubeconfig::service_account_token(client, "default", "nobody")
        .await
        .unwrap();
    let path = dir.join("nobody.kubeconfig");
    let credential = Credential::Token(token);
    kubeconfig::write(&path, plane.server(), &plane.pki(), "default", &credential).unwrap();
    let nobody = kubeconfig::client(&path).await.unwrap();
    let error = Api::<ConfigMap>::default_namespaced(nobody)
        .list(&ListParams::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("system:serviceaccount:default:nobody"),
        "{error}"
    );
    assert!(error.contains("cannot list"), "{error}");
}

async fn owned_objects_go_with_their_owner(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let owner = maps
        .create(&PostParams::default(), &config_map("owner", None))
        .await
        .unwrap();
    let reference = OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: "owner".into(),
        uid: owner.uid().unwrap(),
        ..Default::default()
    };
    let owned = config_map("owned", Some(vec![reference]));
    maps.create(&PostParams::default(), &owned).await.unwrap();
    maps.delete("owner", &DeleteParams::background())
        .await
        .unwrap();
    eventually(
        "the owned object is collected",
        Duration::from_secs(30),
        async || maps.get_opt("owned").await.unwrap().is_none().then_some(()),
    )
    .await;
}

async fn namespaces_go_with_what_is_in_them(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some("passing".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "passing");
    maps.create(&PostParams::default(), &config_map("inside", None))
        .await
        .unwrap();
    namespaces
        .delete("passing", &DeleteParams::default())
        .await
        .unwrap();
    eventually(
        "the namespace is gone",
        Duration::from_secs(60),
        async || {
            namespaces
                .get_opt("passing")
                .await
                .unwrap()
                .is_none()
                .then_some(())
        },
    )
    .await;
}

fn config_map(name: &str, owners: Option<Vec<OwnerReference>>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            owner_references: owners,
            ..Default::default()
        },
        ..Default::default()
    }
}
