//! What a sweep's rows say, how it reaches the members, and rows that cannot be launched.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use spore_core::agent_config::PARAMS_FILE;
use spore_crds::{GroupState, SporeSweep, conditions::READY};
use spore_e2e::{
    ec2::{calls_by, file_on_machine, instance_of},
    group::{
        create, delete, ended, instances, members, never_two, nothing_left, stalled, told, until,
        until_over, until_up,
    },
    kubectl,
    results::results,
    without_machines,
};
use spore_world::{World, sim::ACCESS_KEY};

use super::script;

/// The first sweep of the original's guide, as it was written.
const FIRST: &str = r#"{
  "defaults": {
    "instance_type": "t3.micro",
    "region": "us-east-1",
    "ttl": "2h"
  },
  "params": [
    {"name": "model-alpha-0.1", "alpha": 0.1},
    {"name": "model-alpha-0.2", "alpha": 0.2},
    {"name": "model-alpha-0.3", "alpha": 0.3}
  ]
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a18_the_first_sweep_of_the_original_runs_as_it_was_written() {
    let world = without_machines("sweep-first").await;
    let spec: Value = serde_json::from_str(FIRST).unwrap();
    let manifest = json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeSweep",
        "metadata": {"name": "alphas"}, "spec": spec,
    });
    world.apply(&manifest.to_string()).await.unwrap();
    let status = until_up::<SporeSweep>(&world, "alphas", 3).await;
    assert_eq!(status.progress.as_deref(), Some("3/3 (100%)"));
    for (index, child) in members(&world, "alphas").await {
        assert_eq!(child.spec.instance_type, "t3.micro");
        assert_eq!(child.spec.ttl.unwrap().to_string(), "2h");
        assert_eq!(child.name_any(), format!("alphas-{index}"));
        let name = &child.annotations()["spore.host/row"];
        assert_eq!(*name, format!("model-alpha-0.{}", index + 1));
        assert_eq!(child.labels()["spore.host/sweep"], "alphas");
    }
    assert_eq!(
        calls_by(&world, ACCESS_KEY, "RunInstances").await,
        1,
        "rows of one plan"
    );
    delete::<SporeSweep>(&world, "alphas").await;
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_parameters_reach_the_workload_as_they_are() {
    let world = World::start("sweep-params").await.unwrap();
    let hostile = "$(touch /tmp/pwned); `id`; ' \" \\ ${HOME} %n\n#{}";
    let spec = json!({
        "template": script("env -0 > /tmp/env; sleep 1000"),
        "defaults": {"optimizer": "adam"},
        "params": [
            {"count": 3, "rate": 0.1, "on": true, "none": null, "list": [1, "a"], "deep": {"k": 1}},
            {"hostile": hostile, "optimizer": "sgd", "instance_type": "t3.small", "ttl": "2h"},
        ],
    });
    create::<SporeSweep>(&world, "typed", spec).await;
    let first = instance_of(&world, "typed-0").await;
    let second = instance_of(&world, "typed-1").await;
    assert_eq!(second.instance_type, "t3.small");
    let ttl = members(&world, "typed").await[&1].spec.ttl.unwrap();
    assert_eq!(ttl.to_string(), "2h");

    let is_whole = |text: &str| text.contains("SWEEP_INDEX=") && text.contains("PARAM_");
    let env = file_on_machine(&first, "/tmp/env", is_whole).await;
    let env: Vec<&str> = env.split('\0').collect();
    for expected in [
        "SWEEP_NAME=typed",
        "SWEEP_SIZE=2",
        "SWEEP_INDEX=0",
        "PARAM_count=3",
        "PARAM_rate=0.1",
        "PARAM_on=true",
        "PARAM_list=[1,\"a\"]",
        "PARAM_deep={\"k\":1}",
        "PARAM_optimizer=adam",
    ] {
        assert!(env.contains(&expected), "no {expected} in {env:?}");
    }
    let typed = file_on_machine(&first, PARAMS_FILE, |text| !text.is_empty()).await;
    let typed: Value = serde_json::from_str(&typed).unwrap();
    let written = json!({
        "count": 3, "rate": 0.1, "on": true, "none": null, "list": [1, "a"], "deep": {"k": 1},
        "optimizer": "adam",
    });
    assert_eq!(typed, written);

    let env = file_on_machine(&second, "/tmp/env", is_whole).await;
    let env: Vec<&str> = env.split('\0').collect();
    let expected = format!("PARAM_hostile={hostile}");
    assert!(env.contains(&expected.as_str()), "{env:?}");
    assert!(env.contains(&"PARAM_optimizer=sgd"), "{env:?}");
    assert!(
        !env.iter().any(|pair| pair.starts_with("PARAM_count")),
        "{env:?}"
    );
    let pwned = spore_e2e::ec2::on_machine(&second, "/tmp/pwned");
    assert!(!pwned.exists(), "a value was run");
    delete::<SporeSweep>(&world, "typed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_rows_that_cannot_be_launched_are_told_before_anything_is() {
    let world = without_machines("sweep-invalid").await;
    let good = json!({"alpha": 0.1});
    let cases = [
        (
            "near",
            json!([good, {"instanceTyp": "t3.small"}]),
            "InvalidRows",
            vec!["1", "instanceTyp", "instanceType"],
        ),
        (
            "value",
            json!([good, {"ttl": 2}]),
            "InvalidRows",
            vec!["1", "ttl"],
        ),
        (
            "setting",
            json!([good, {"max_concurrent": 2}]),
            "InvalidRows",
            vec!["1", "max_concurrent", "parallelism"],
        ),
        (
            "type",
            json!([good, good, good, {"instance_type": "x9.large"}]),
            "InvalidRequest",
            vec!["x9.large"],
        ),
        (
            "region",
            json!([good, {"region": "eu-central-1"}]),
            "RegionNotManaged",
            vec!["eu-central-1"],
        ),
    ];
    for (name, params, ..) in &cases {
        create::<SporeSweep>(&world, name, json!({"params": params})).await;
    }
    for (name, _, reason, says) in &cases {
        let (told, message) = stalled::<SporeSweep>(&world, name).await;
        assert_eq!(told, *reason, "{name}: {message}");
        for words in says {
            assert!(message.contains(words), "{name}: no {words:?} in {message}");
        }
        assert!(message.len() < 600, "{name}: too long to read: {message}");
    }
    assert_eq!(calls_by(&world, ACCESS_KEY, "RunInstances").await, 0);
    assert_eq!(kubectl(&world, &["get", "spi", "-o", "name"]).await, "");
    // Corrected, it goes on.
    let rows = json!({"params": [good, {"instanceType": "t3.small"}]});
    spore_e2e::group::change::<SporeSweep>(&world, "near", rows)
        .await
        .unwrap();
    until_up::<SporeSweep>(&world, "near", 2).await;
    kubectl(&world, &["delete", "spw", "--all", "--timeout=60s"]).await;
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_launched_may_not_change_and_rows_may_follow_them() {
    let world = without_machines("sweep-edited").await;
    let first = json!({"params": [{"a": 1}, {"a": 2}]});
    create::<SporeSweep>(&world, "edited", first).await;
    until_up::<SporeSweep>(&world, "edited", 2).await;
    let change = async |params: Value| {
        let spec = json!({"params": params});
        spore_e2e::group::change::<SporeSweep>(&world, "edited", spec)
            .await
            .unwrap();
    };
    change(json!([{"a": 1}, {"a": 3}, {"a": 4}])).await;
    let (reason, message) = stalled::<SporeSweep>(&world, "edited").await;
    assert_eq!(reason, "RowsChanged");
    assert!(message.contains("restore them"), "{message}");
    change(json!([{"a": 1}, {"a": 2}, {"a": 4}])).await;
    let status = until_up::<SporeSweep>(&world, "edited", 3).await;
    assert_eq!(status.progress.as_deref(), Some("3/3 (100%)"));
    assert_eq!(world.sim().instances().await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_rows_in_a_configmap_are_read_in_every_format_and_waited_for() {
    let world = without_machines("sweep-files").await;
    let from = |key: &str| json!({"paramsFrom": {"configMap": "rows", "key": key}});
    for (name, key) in [
        ("json", "a.json"),
        ("yaml", "b.yaml"),
        ("csv", "c.csv"),
        ("odd", "d.txt"),
    ] {
        create::<SporeSweep>(&world, name, from(key)).await;
    }
    let (reason, message) = stalled::<SporeSweep>(&world, "json").await;
    assert_eq!(reason, "InvalidRows");
    for words in ["no ConfigMap rows", "create it"] {
        assert!(message.contains(words), "{message}");
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"},
        "data": {
            "a.json": r#"{"defaults": {"instance_type": "t3.small"}, "params": [{"x": 1}], "grid": {"y": [1, 2]}}"#,
            "b.yaml": "- {x: 1, ttl: 2h}\n- {x: no}\n",
            "c.csv": "name,instance_type,x\nfirst,t3.small,1\nsecond,,007\n",
            "d.txt": "x",
        },
    });
    world.apply(&map.to_string()).await.unwrap();
    until_up::<SporeSweep>(&world, "json", 3).await;
    until_up::<SporeSweep>(&world, "yaml", 2).await;
    until_up::<SporeSweep>(&world, "csv", 2).await;
    let types = members(&world, "json").await.into_values();
    assert!(
        types
            .map(|child| child.spec.instance_type)
            .eq(["t3.small"; 3])
    );
    let of_yaml = members(&world, "yaml").await;
    assert_eq!(of_yaml[&0].spec.ttl.unwrap().to_string(), "2h");
    let of_csv = members(&world, "csv").await;
    assert_eq!(of_csv[&0].spec.instance_type, "t3.small");
    assert_eq!(of_csv[&1].spec.instance_type, "t3.micro");
    let (_, message) = stalled::<SporeSweep>(&world, "odd").await;
    assert!(message.contains("JSON, YAML or CSV"), "{message}");
    // What was read and launched goes on without it.
    kubectl(&world, &["delete", "configmap", "rows"]).await;
    delete::<SporeSweep>(&world, "json").await;
    let status = until::<SporeSweep>(&world, "csv", "still up", |_| true).await;
    assert_eq!(status.active, 2, "{:?}", told(&status, READY));
    kubectl(&world, &["delete", "spw", "--all", "--timeout=60s"]).await;
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a20_failed_rows_are_told_and_results_outlive_their_members() {
    let world = World::start("sweep-results").await.unwrap();
    let says = "spored complete --status $PARAM_how --message \"loss=$PARAM_x s3://bucket/$SWEEP_INDEX\"; sleep 100";
    let spec = json!({
        "template": script(says),
        "params": [
            {"name": "one", "x": 1, "how": "success"}, {"x": 2, "how": "success"},
            {"x": 3, "how": "failed"}, {"x": 4, "how": "failed"},
        ],
        "parallelism": 2,
        "successfulHistoryLimit": 1,
        "failedHistoryLimit": 0,
    });
    let sweep = create::<SporeSweep>(&world, "kept", spec).await;
    let status = until_over::<SporeSweep>(&world, "kept").await;
    assert_eq!(
        (status.state, ended(&status)),
        (Some(GroupState::Failed), "MembersFailed")
    );
    assert_eq!(status.succeeded_indexes.to_string(), "0-1");
    assert_eq!(status.failed_indexes.to_string(), "2-3");
    let failures = status
        .failures
        .iter()
        .map(|failure| failure.message.as_str());
    let failures = failures.collect::<Vec<_>>().join("; ");
    for words in ["loss=3", "loss=4"] {
        assert!(failures.contains(words), "{failures}");
    }
    let all = results(&world, "kept").await;
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    for (index, row) in &all {
        assert_eq!(row.succeeded, *index < 2, "{row:?}");
        assert_eq!(row.attempts, 1);
        let message = row.message.as_deref().unwrap_or_default();
        assert!(message.contains(&format!("loss={}", index + 1)), "{row:?}");
        assert_eq!(
            row.location,
            Some(format!("s3://bucket/{index}")),
            "{row:?}"
        );
        assert!(
            row.started_at.is_some() && row.finished_at >= row.started_at,
            "{row:?}"
        );
    }
    assert_eq!(all[&0].name.as_deref(), Some("one"));
    assert_eq!(all[&2].reason, "WorkloadFailed");
    spore_world::eventually("history is trimmed", spore_e2e::PATIENCE, async || {
        let left = members(&world, "kept")
            .await
            .into_keys()
            .collect::<Vec<_>>();
        // The one of the two that ended last.
        (left == [0] || left == [1]).then_some(())
    })
    .await;
    assert_eq!(
        results(&world, "kept").await,
        all,
        "trimming takes nothing away"
    );
    assert!(spore_e2e::group::most_at_once(&world, &sweep.uid().unwrap()).await <= 2);
    never_two(&instances(&world, &sweep.uid().unwrap()).await);
    nothing_left(&world).await;
    delete::<SporeSweep>(&world, "kept").await;
    spore_world::eventually("results go with it", spore_e2e::PATIENCE, async || {
        results(&world, "kept").await.is_empty().then_some(())
    })
    .await;
}
