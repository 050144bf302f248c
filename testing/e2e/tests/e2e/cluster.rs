//! A spore and its controller as citizens of a cluster: owners, namespaces, rights, replicas, quiet.

use std::{fs, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde_json::json;
use spore_crds::{
    State,
    conditions::{LAUNCHED, READY, STALLED},
};
use spore_e2e::{
    PATIENCE, create,
    ec2::{instance_of, until_terminated},
    kubectl, spores, told, until, until_finished, until_true, without_machines,
};
use spore_world::{
    Controller, World, WorldOptions, controller::Setup, eventually, layout, poll, process::Life,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_owner_takes_its_spore_along() {
    let world = without_machines("owner").await;
    let owners = Api::<ConfigMap>::namespaced(world.client(), world.namespace());
    let owner = ConfigMap {
        metadata: ObjectMeta {
            name: Some("owner".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let owner = owners.create(&PostParams::default(), &owner).await.unwrap();
    let manifest = json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeInstance",
        "metadata": {"name": "owned", "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid(),
        }]},
        "spec": {"instanceType": "t3.micro", "ttl": "1h"},
    });
    world.apply(&manifest.to_string()).await.unwrap();
    let instance = instance_of(&world, "owned").await;
    owners
        .delete("owner", &DeleteParams::default())
        .await
        .unwrap();
    until_terminated(&world, &instance.id).await;
    eventually("the spore is gone", PATIENCE, async || {
        matches!(spores(&world).get_opt("owned").await, Ok(None)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_takes_its_spores_along() {
    // Rights in the whole cluster, as the chart gives them by default, so that they outlive the
    // namespace; the controller still looks at one namespace only, since other tests run beside.
    let namespace = format!("doomed-{}", std::process::id());
    let options = WorldOptions {
        no_machines: true,
        controller_args: vec![format!("--namespace={namespace}")],
        chart_values: [("watchNamespace".to_owned(), json!(""))].into(),
        ..WorldOptions::default()
    };
    let world = World::start_with("namespace", options).await.unwrap();
    let namespaces = Api::<Namespace>::all(world.client());
    kubectl(&world, &["create", "namespace", &namespace]).await;
    let example = layout::root().join("examples/spore.yaml");
    kubectl(
        &world,
        &["apply", "-n", &namespace, "-f", example.to_str().unwrap()],
    )
    .await;
    eventually("it is launched", PATIENCE, async || {
        (world.sim().audit().await.ok()?.live_instances == 1).then_some(())
    })
    .await;
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the namespace is gone", PATIENCE, async || {
        matches!(namespaces.get_opt(&namespace).await, Ok(None)).then_some(())
    })
    .await;
    let states = world.sim().instances().await.unwrap();
    let states: Vec<&str> = states
        .iter()
        .map(|instance| instance.state.as_str())
        .collect();
    assert_eq!(states, ["terminated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spore_with_the_longest_name_lives_like_any_other() {
    let world = World::start("long-name").await.unwrap();
    // What Kubernetes admits; with the namespace it is longer than a tag's value may be.
    let name = "n".repeat(253);
    let spec = json!({"command": ["true"], "onComplete": {"delay": "0s"}});
    create(&world, &name, spec).await.unwrap();
    let status = until_finished(&world, &name).await;
    assert_eq!(status.state, Some(State::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_world_is_left_alone() {
    let world = World::start("settled").await.unwrap();
    create(&world, "runs", json!({"command": ["sleep", "1000"]}))
        .await
        .unwrap();
    let stops = json!({"command": ["true"], "onComplete": {"action": "Stop", "delay": "0s"}});
    create(&world, "stopped", stops).await.unwrap();
    let ends = json!({"command": ["true"], "onComplete": {"delay": "0s"}});
    create(&world, "finished", ends).await.unwrap();
    create(&world, "stalled", json!({"region": "eu-central-1"}))
        .await
        .unwrap();
    until_true(&world, "runs", READY).await;
    until_true(&world, "stalled", STALLED).await;
    until_finished(&world, "finished").await;
    until(&world, "stopped", "stopped", |status| {
        status.state == Some(State::Stopped)
    })
    .await;

    let versions = async || {
        let list = spores(&world).list(&ListParams::default()).await.unwrap();
        list.items
            .iter()
            .map(ResourceExt::resource_version)
            .collect::<Vec<_>>()
    };
    let before = versions().await;
    world.sim().reset_calls().await.unwrap();
    let changed = poll(Duration::from_secs(10), async || {
        (versions().await != before).then_some(())
    });
    assert!(
        changed.await.is_none(),
        "a status was written though nothing happened"
    );
    let calls = world.sim().calls().await.unwrap().counts;
    // The region may still be listed at the pace that follows a launch: once a second.
    let only_lists = calls.keys().all(|action| action == "DescribeInstances");
    assert!(only_lists && calls["DescribeInstances"] <= 25, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_ec2_refuses_says_so_and_goes_on_when_it_may() {
    let world = without_machines("protected").await;
    create(&world, "protected", json!({})).await.unwrap();
    let id = instance_of(&world, "protected").await.id;
    until(&world, "protected", "running", |status| {
        status
            .instance
            .as_ref()
            .is_some_and(|i| i.state.as_deref() == Some("running"))
    })
    .await;
    let protection = |on: &str| {
        let flag = format!("--{on}");
        [
            "ec2",
            "modify-instance-attribute",
            "--instance-id",
            &id,
            &flag,
        ]
        .map(str::to_owned)
    };
    let protect = protection("disable-api-termination");
    world
        .aws(&protect.each_ref().map(String::as_str))
        .await
        .unwrap()
        .ok()
        .unwrap();
    kubectl(&world, &["delete", "spi", "protected", "--wait=false"]).await;
    let status = until(&world, "protected", "says what is wrong", |status| {
        told(status, READY).1.contains("OperationNotPermitted")
    })
    .await;
    let (_, message) = told(&status, READY);
    assert!(
        message.contains("TerminateInstances in us-east-1"),
        "{message}"
    );
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 1);
    let free = protection("no-disable-api-termination");
    world
        .aws(&free.each_ref().map(String::as_str))
        .await
        .unwrap()
        .ok()
        .unwrap();
    eventually("it is gone", Duration::from_secs(100), async || {
        matches!(spores(&world).get_opt("protected").await, Ok(None)).then_some(())
    })
    .await;
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_when_the_leader_dies() {
    let mut world = without_machines("standby").await;
    let mut standby = standby_of(&mut world);
    standby.start().await.unwrap();
    create(&world, "before", json!({})).await.unwrap();
    until_true(&world, "before", LAUNCHED).await;
    assert!(!standby.log().contains("launched"), "it stands by");

    world.controller().kill();
    create(&world, "after", json!({})).await.unwrap();
    until_true(&world, "after", LAUNCHED).await;
    assert!(standby.log().contains("launched"), "it has taken over");
    assert_eq!(world.sim().instances().await.unwrap().len(), 2);
    standby.kill();
}

/// A second controller like the first, under a name of its own.
fn standby_of(world: &mut World) -> Controller {
    let pid = world.controller().pid().expect("the first one runs");
    let args = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let args = args
        .trim_end_matches('\0')
        .split('\0')
        .skip(1)
        .map(str::to_owned);
    Controller::new(Setup {
        kubeconfig: world.dir().join("controller.kubeconfig"),
        aws: world.sim().client_env(),
        namespace: world.namespace().to_owned(),
        args: args.collect(),
        more_args: vec!["--identity=standby".into()],
        dir: world.dir().join("standby"),
        life: Life::WithUs,
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served() {
    let mut world = without_machines("health").await;
    create(&world, "counted", json!({})).await.unwrap();
    until_true(&world, "counted", LAUNCHED).await;
    assert_eq!(world.controller().get("/healthz").await.unwrap(), "ok\n");
    assert_eq!(world.controller().get("/readyz").await.unwrap(), "ok\n");
    let controller = world.controller();
    let metrics = eventually("the launch is counted", PATIENCE, async || {
        let metrics = controller.get("/metrics").await.ok()?;
        (sum(&metrics, "spore_reconciles_total", "settled") > 0).then_some(metrics)
    })
    .await;
    assert_eq!(
        sum(&metrics, "spore_aws_calls_total", "RunInstances"),
        1,
        "{metrics}"
    );
    assert_eq!(
        sum(&metrics, "spore_launch_seconds_count", ""),
        1,
        "{metrics}"
    );
    assert!(sum(&metrics, "spore_inventory_timestamp_seconds", "us-west-2") > 1_700_000_000);
}

/// The sum of a metric over the lines that have a text in their labels.
fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controllers_account_reads_no_secrets_and_nothing_of_other_namespaces() {
    let world = without_machines("rights").await;
    let config = world.dir().join("controller.kubeconfig");
    let config = config.to_str().unwrap();
    let refused = [
        vec!["get", "secrets"],
        vec!["get", "pods"],
        vec!["get", "configmaps"],
        vec!["get", "namespaces"],
        vec!["get", "pods", "--all-namespaces"],
        vec!["get", "secrets", "-n", "kube-system"],
        vec!["get", "sporeinstances", "--all-namespaces"],
        vec!["delete", "sporeresults", "other"],
        vec!["create", "configmap", "x"],
    ];
    for args in refused {
        let mut all = vec!["--kubeconfig", config];
        all.extend(&args);
        let output = world.kubectl(&all).await.unwrap();
        assert_ne!(output.code, Some(0), "{args:?}");
        assert!(
            output.stderr.to_lowercase().contains("forbidden"),
            "{args:?}: {}",
            output.stderr
        );
    }
    kubectl(&world, &["--kubeconfig", config, "get", "sporeinstances"]).await;
}
