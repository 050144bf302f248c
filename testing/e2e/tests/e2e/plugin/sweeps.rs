//! `kubectl spawn` and sweeps. No controller looks at them: what it would say, the tests say.

use std::{fs, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use spore_crds::{SporeResults, SporeSweep};
use spore_world::World;

use super::{arrays::members, assert_failed, plugin, spawn, spawned, without_controller};

const SEED: &str = r#"{
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
}
"#;

fn sweeps(world: &World) -> Api<SporeSweep> {
    Api::namespaced(world.client(), world.namespace())
}

/// Writes a file and returns its path.
fn file(world: &World, name: &str, text: &str) -> String {
    let path = world.dir().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Launches the seed's file as a sweep of this name.
async fn seed(world: &World, name: &str) -> SporeSweep {
    let file = file(world, "sweep.json", SEED);
    let line =
        format!("launch --param-file {file} --max-concurrent 2 --detach --sweep-name {name}");
    spawned(world, &line).await;
    sweeps(world).get(name).await.unwrap()
}

/// Says of a sweep what the controller would say.
async fn say(world: &World, name: &str, mut status: Value) {
    let generation = sweeps(world).get(name).await.unwrap().metadata.generation;
    status["observedGeneration"] = json!(generation);
    let patch = json!({"status": status});
    let patch = Patch::Merge(&patch);
    let params = PatchParams::default();
    let said = sweeps(world).patch_status(name, &params, &patch).await;
    said.expect("the status is taken");
}

/// Keeps results as the controller does.
async fn keep(world: &World, sweep: &SporeSweep, results: &[Value]) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for result in results {
        writeln!(encoder, "{result}").unwrap();
    }
    let object: SporeResults = serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeResults",
        "metadata": {"name": format!("{}-0", sweep.name_any()), "ownerReferences": [owner(sweep)]},
        "spec": {"sweep": sweep.name_any(), "first": 0, "count": results.len(),
            "data": STANDARD.encode(encoder.finish().unwrap())},
    }))
    .unwrap();
    let api: Api<SporeResults> = Api::namespaced(world.client(), world.namespace());
    api.create(&PostParams::default(), &object).await.unwrap();
}

fn owner(sweep: &SporeSweep) -> Value {
    json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeSweep", "controller": true,
        "name": sweep.metadata.name, "uid": sweep.metadata.uid,
    })
}

// ---- launch ----

#[tokio::test(flavor = "multi_thread")]
async fn a18_the_seeds_sweep_file_runs_unchanged() {
    let world = without_controller("plugin-sweep").await;
    let path = file(&world, "sweep.json", SEED);
    let line = format!("launch --param-file {path} --max-concurrent 2 --detach");
    for who in ["client", "server"] {
        spawned(&world, &format!("{line} --dry-run={who} -o yaml")).await;
    }
    assert_eq!(
        spawned(&world, "list -o name").await,
        "",
        "nothing was created"
    );
    let created = spawned(&world, &line).await;
    let name = created
        .strip_prefix("sporesweep.spore.host/")
        .and_then(|rest| rest.strip_suffix(" created\n"))
        .unwrap_or_else(|| panic!("{created}"));
    assert!(
        name.starts_with("sweep-"),
        "the name of the file and a suffix: {name}"
    );
    let sweep = sweeps(&world).get(name).await.unwrap();
    let written: Value = serde_json::from_str(SEED).unwrap();
    assert_eq!(json!(sweep.spec.defaults), written["defaults"]);
    assert_eq!(json!(sweep.spec.params), written["params"]);
    assert_eq!(sweep.spec.parallelism, 2);

    let csv = file(
        &world,
        "grid.csv",
        "name,alpha,on\nfirst,0.5,true\nsecond,,false\n",
    );
    let line = "--instance-type t3.micro --ttl 1h --launch-delay 10s --max-concurrent-per-region 1";
    spawned(&world, &format!("launch csv --param-file {csv} {line}")).await;
    let sweep = sweeps(&world).get("csv").await.unwrap();
    assert_eq!(
        json!(sweep.spec.params),
        json!([{"name": "first", "alpha": 0.5, "on": true}, {"name": "second", "on": false}])
    );
    assert_eq!(
        json!(sweep.spec.template),
        json!({
            "instanceType": "t3.micro", "ttl": "1h",
            // As the API server fills in.
            "market": "OnDemand", "onComplete": {"action": "Terminate", "delay": "30s"},
        })
    );
    assert_eq!(json!(sweep.spec.launch_interval), "10s");
    assert_eq!(sweep.spec.parallelism_per_region, Some(1));
    assert_eq!(sweep.spec.parallelism, 2, "there are no more rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_a_row_that_cannot_be_launched_is_refused_before_anything_is_created() {
    let world = without_controller("plugin-sweep-rows").await;
    let bad = file(
        &world,
        "bad.json",
        r#"{"defaults": {"instance_type": "t3.micro"},
            "params": [{"alpha": 1}, {"instance_type": "t3micro"}, {"ttl": 3}, {"instance_typ": "a"}]}"#,
    );
    let refused = spawn(&world, &format!("launch --param-file {bad}")).await;
    assert_failed(
        &refused,
        2,
        &["bad.json", "row 1", "row 2", "row 3", "Nothing was created"],
    );
    for (line, says) in [
        (
            format!("launch --param-file {bad} --no-detach"),
            "--no-detach",
        ),
        (
            format!("launch --param-file {bad} --wait-for ready"),
            "a sweep is never ready",
        ),
        (
            "launch --param-file /no/such.json".into(),
            "cannot read /no/such.json",
        ),
    ] {
        assert_failed(&spawn(&world, &line).await, 2, &[says]);
    }
    assert_eq!(spawned(&world, "sweep list -o name").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_lie_in_a_config_map_that_goes_with_the_sweep() {
    let world = without_controller("plugin-sweep-large").await;
    let rows = format!("text\n{}", "0123456789012345678\n".repeat(30_000));
    let csv = file(&world, "rows.csv", &rows);
    let line = format!("launch large --param-file {csv} --instance-type t3.micro");
    spawned(&world, &line).await;
    let sweep = sweeps(&world).get("large").await.unwrap();
    let from = sweep.spec.params_from.clone().unwrap();
    assert_eq!(
        (from.config_map.as_str(), from.key.as_str()),
        ("large-rows", "rows.csv")
    );
    let maps: Api<ConfigMap> = Api::namespaced(world.client(), world.namespace());
    let map = maps.get("large-rows").await.unwrap();
    assert_eq!(map.data.as_ref().unwrap()["rows.csv"], rows);
    let owners = map.owner_references();
    assert_eq!(Some(&owners[0].uid), sweep.metadata.uid.as_ref());
    let table = spawned(&world, "sweep status large -o csv").await;
    assert_eq!(table.lines().count(), 30_001);
    assert!(
        table
            .lines()
            .next()
            .unwrap()
            .ends_with("location,cost,text")
    );

    // A sweep that cannot be created leaves no rows behind.
    maps.delete("large-rows", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    assert_failed(
        &spawn(&world, &line).await,
        1,
        &["a sweep named large already exists"],
    );
    let left = maps.list(&ListParams::default()).await.unwrap();
    assert!(left.iter().all(|map| map.name_any() != "large-rows"));
}

// ---- status and results ----

#[tokio::test(flavor = "multi_thread")]
async fn a20_a_sweep_tells_how_far_it_has_come_and_how_each_row_ended() {
    let world = without_controller("plugin-sweep-status").await;
    let sweep = seed(&world, "hyper").await;
    let status = |state: &str| {
        json!({
            "state": state, "replicas": 3, "launched": 2, "active": 1, "activeIndexes": "1",
            "succeeded": 1, "succeededIndexes": "0", "failed": 0,
            "estimatedCompletion": "2100-01-01T23:45:00Z",
            "failures": [{"index": 1, "attempt": 1, "reason": "SpotInterruption",
                "message": "EC2 took the instance back", "at": "2026-11-21T10:00:00Z"}],
        })
    };
    say(&world, "hyper", status("Running")).await;
    let mut page = plugin(&world, "status sweep/hyper");
    let page = page
        .env("TZ", "America/Los_Angeles")
        .output()
        .await
        .unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    for says in [
        "Sweep: hyper\n",
        "Status: RUNNING\n",
        "Progress: 2/3 launched (66.7%)\n",
        "Active: 1 running\n",
        "Failed: 0\n",
        "Est. Completion: Jan 1 3:45 PM PST (in ",
        "EC2 took the instance back",
    ] {
        assert!(page.contains(says), "no {says:?} in\n{page}");
    }
    assert!(!page.contains("Cost:"), "what is not known is not told");
    let old = spawned(&world, "status --sweep-id hyper").await;
    assert!(old.contains("Progress: 2/3 launched (66.7%)\n"), "{old}");

    keep(
        &world,
        &sweep,
        &[json!({
            "index": 0, "attempts": 1, "succeeded": true, "reason": "Completed", "exitCode": 0,
            "message": "{\"loss\": 0.25}", "instanceId": "i-0a", "startedAt": "2026-11-21T10:00:00Z",
            "finishedAt": "2026-11-21T10:01:30Z", "location": "s3://results/0",
        })],
    )
    .await;
    members(&world, "spore.host/sweep", &owner(&sweep), 2).await;
    let csv = spawned(&world, "sweep status hyper -o csv").await;
    let lines = csv.lines().collect::<Vec<_>>();
    assert_eq!(
        lines[0],
        "index,name,state,attempts,succeeded,reason,exitCode,message,instanceId,startedAt,\
         finishedAt,durationSeconds,location,cost,alpha"
    );
    assert_eq!(
        lines[1],
        "0,model-alpha-0.1,Succeeded,1,true,Completed,0,\"{\"\"loss\"\": 0.25}\",i-0a,\
         2026-11-21T10:00:00Z,2026-11-21T10:01:30Z,90,s3://results/0,,0.1"
    );
    assert!(
        lines[2].starts_with("1,model-alpha-0.2,Pending,1,"),
        "{csv}"
    );
    assert_eq!(lines[3], "2,model-alpha-0.3,Pending,0,,,,,,,,,,,0.3");
    let json: Value =
        serde_json::from_str(&spawned(&world, "sweep status hyper -o json").await).unwrap();
    assert_eq!(json[0]["parameters"], json!({"alpha": 0.1}));
    assert_eq!(json[0]["durationSeconds"], 90);

    let path = world.dir().join("best.jsonl");
    let line = format!(
        "sweep collect hyper --metric loss --best 1 --output-file {}",
        path.display()
    );
    assert!(
        spawned(&world, &line)
            .await
            .starts_with("1 rows written to ")
    );
    let best: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((&best["index"], &best["metric"]), (&json!(0), &json!(0.25)));
    let listed = spawned(&world, "list --sweep hyper -o name").await;
    assert_eq!(listed.lines().count(), 2);

    for (state, code) in [
        ("Running", 2),
        ("Succeeded", 0),
        ("Failed", 1),
        ("Cancelled", 1),
    ] {
        say(&world, "hyper", status(state)).await;
        for line in [
            "sweep status hyper --check-complete",
            "status --sweep-id hyper --check-complete",
        ] {
            let output = spawn(&world, line).await;
            assert_eq!(output.code, Some(code), "{state}: {}", output.stderr);
            assert_eq!(output.stderr, "");
            assert!(
                output.stdout.starts_with(&state.to_uppercase()),
                "{}",
                output.stdout
            );
        }
    }
    let none = spawn(&world, "sweep status hypr --check-complete").await;
    assert_failed(&none, 3, &["no sweep named hypr", "Did you mean hyper?"]);
    let dead = spawn(
        &world,
        "sweep status hyper --check-complete --kubeconfig /no/such",
    )
    .await;
    assert_eq!(dead.code, Some(3), "{}", dead.stderr);
}

// ---- steering ----

#[tokio::test(flavor = "multi_thread")]
async fn a21_a22_a_sweep_is_suspended_resumed_retried_and_cancelled() {
    let world = without_controller("plugin-sweep-steer").await;
    seed(&world, "hyper").await;
    let spec = async || json!(sweeps(&world).get("hyper").await.unwrap().spec);
    say(
        &world,
        "hyper",
        json!({"state": "Running", "replicas": 3, "active": 2}),
    )
    .await;
    spawned(&world, "sweep suspend hyper").await;
    assert_eq!(spec().await["suspend"], true);
    let told = spawned(
        &world,
        "resume --sweep-id hyper --max-concurrent 3 --detach",
    )
    .await;
    assert_eq!(told, "sweep/hyper resumed, 3 at once\n");
    assert_eq!(spec().await.get("suspend"), None);
    assert_eq!(spec().await["parallelism"], 3);
    assert_eq!(
        spawned(&world, "sweep retry hyper --failed").await,
        "sweep/hyper: no row has failed\n"
    );

    let failed = json!({"state": "Failed", "failed": 2, "failedIndexes": "1-2"});
    say(&world, "hyper", failed).await;
    for line in ["sweep resume hyper", "resume --sweep-id hyper"] {
        let refused = spawn(&world, line).await;
        assert_failed(
            &refused,
            1,
            &["it has failed", "sweep retry hyper --failed"],
        );
    }
    assert_failed(&spawn(&world, "sweep retry hyper").await, 2, &["--failed"]);
    for number in [1, 2] {
        let told = spawned(&world, "sweep retry hyper --failed").await;
        assert_eq!(told, "sweep/hyper: 2 rows launched once more: 1-2\n");
        assert_eq!(spec().await["retryFailed"], number);
    }

    say(&world, "hyper", json!({"state": "Running"})).await;
    let asked = spawn(&world, "sweep cancel hyper").await;
    assert_failed(
        &asked,
        2,
        &[
            "2 of its instances run",
            "sweep/hyper would be cancelled",
            "--yes",
        ],
    );
    assert_eq!(spec().await.get("cancel"), None);
    let told = spawned(&world, "cancel --sweep-id hyper --yes").await;
    assert_eq!(told, "sweep/hyper cancelled\n");
    assert_eq!(spec().await["cancel"], true);
    for line in [
        "sweep resume hyper",
        "sweep suspend hyper",
        "sweep retry hyper --failed",
    ] {
        assert_failed(&spawn(&world, line).await, 1, &["it is being cancelled"]);
    }
    say(&world, "hyper", json!({"state": "Cancelled"})).await;
    let listed = spawned(&world, "list-sweeps").await;
    assert!(
        listed.contains("sweep/hyper") && listed.contains("Cancelled"),
        "{listed}"
    );
    assert_eq!(
        spawned(&world, "sweep list --status running -o name").await,
        ""
    );
    let wait = spawn(&world, "sweep wait hyper").await;
    assert_failed(&wait, 1, &["sweep/hyper has ended: it was cancelled"]);
    spawned(&world, "delete sweep/hyper --yes").await;
    assert!(sweeps(&world).get_opt("hyper").await.unwrap().is_none());
}
