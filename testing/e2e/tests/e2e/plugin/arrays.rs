//! `kubectl spawn` and arrays. No controller looks at them: what it would say, the tests say.

use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use spore_crds::{SporeArray, SporeInstance};
use spore_e2e::{PATIENCE, spores};
use spore_world::{World, eventually};

use super::{assert_failed, plugin, spawn, spawn_words, spawned, without_controller};

/// The seed's first array, word by word.
const SEED: [&str; 10] = [
    "launch",
    "--count",
    "100",
    "--job-array-name",
    "hyperparam-sweep",
    "--instance-type",
    "t3.small",
    "--ttl",
    "2h",
    "--command",
];
const LINE: &str = "python train.py --param-id $JOB_ARRAY_INDEX";

fn arrays(world: &World) -> Api<SporeArray> {
    Api::namespaced(world.client(), world.namespace())
}

/// Says of an array what the controller would say.
async fn say(world: &World, name: &str, status: Value) {
    let generation = arrays(world).get(name).await.unwrap().metadata.generation;
    let mut status = status;
    status["observedGeneration"] = json!(generation);
    let patch = json!({"status": status});
    let patch = Patch::Merge(&patch);
    let params = PatchParams::default();
    let said = arrays(world).patch_status(name, &params, &patch).await;
    said.expect("the status is taken");
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    })
}

/// Makes members as the controller does.
pub(super) async fn members(world: &World, label: &str, owner: &Value, count: u32) {
    let name = owner["name"].as_str().unwrap();
    for index in 0..count {
        let spore: SporeInstance = serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1", "kind": "SporeInstance",
            "metadata": {
                "name": format!("{name}-{index}"),
                "labels": {label: name, "spore.host/index": index.to_string()},
                "ownerReferences": [owner],
            },
            "spec": {"instanceType": "t3.small", "member": {"index": index, "attempt": 1}},
        }))
        .unwrap();
        let created = spores(world).create(&PostParams::default(), &spore).await;
        created.expect("the member is created");
    }
}

fn owner(array: &SporeArray) -> Value {
    json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeArray", "controller": true,
        "blockOwnerDeletion": true, "name": array.metadata.name, "uid": array.metadata.uid,
    })
}

fn names(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| Some(line.split_once('/')?.1))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_the_seeds_array_command_makes_its_array_and_list_counts_it_in_one_line() {
    let world = without_controller("plugin-array").await;
    let created = spawn_words(&world, &[SEED.as_slice(), &[LINE]].concat()).await;
    assert_eq!(
        created.ok().unwrap(),
        "sporearray.spore.host/hyperparam-sweep created\n"
    );
    let array = arrays(&world).get("hyperparam-sweep").await.unwrap();
    assert_eq!(array.spec.replicas, 100);
    assert_eq!(array.spec.template.instance_type, "t3.small");
    assert_eq!(array.spec.template.ttl.unwrap().to_string(), "2h");
    assert_eq!(array.spec.template.command, ["/bin/sh", "-c", LINE]);

    members(&world, "spore.host/array", &owner(&array), 12).await;
    spawned(&world, "launch box --instance-type m7i.large").await;
    say(
        &world,
        "hyperparam-sweep",
        json!({
            "state": "Launching", "replicas": 100, "launched": 12, "active": 12,
            "activeIndexes": "0-11", "deadline": "2100-01-01T00:00:00Z",
            "conditions": [condition("Ready", "False", "Launching", "12 of 100 are launched")],
        }),
    )
    .await;

    let folded = spawned(&world, "list -o name").await;
    assert_eq!(names(&folded), ["hyperparam-sweep", "box"]);
    let table = spawned(&world, "list").await;
    let line = table
        .lines()
        .find(|line| line.starts_with("array/"))
        .unwrap();
    let cells = line.split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        cells[..8],
        [
            "array/hyperparam-sweep",
            "False",
            "Launching",
            "t3.small",
            "12/100",
            "12",
            "0",
            "0"
        ]
    );
    assert!(!table.contains("hyperparam-sweep-3"), "{table}");
    let all = spawned(&world, "list --members -o name").await;
    assert_eq!(all.lines().count(), 13);
    let typed = spawned(&world, "list --instance-type t3.small -o name").await;
    assert_eq!(
        typed.lines().count(),
        12,
        "a filter of instances finds members"
    );
    let of = spawned(&world, "list --job-array-name hyperparam-sweep").await;
    let indexes = of
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).unwrap());
    let wanted = (0..12).map(|index| index.to_string()).collect::<Vec<_>>();
    assert_eq!(indexes.collect::<Vec<_>>(), wanted, "by index, not by name");
    let wrong = spawn(&world, "list --job-array-name hyperparam-swep").await;
    assert_failed(
        &wrong,
        5,
        &["no array named", "Did you mean hyperparam-sweep?"],
    );

    // A name alone finds the array, too.
    for line in ["status hyperparam-sweep", "array status hyperparam-sweep"] {
        let page = spawned(&world, line).await;
        for says in [
            "Array: hyperparam-sweep\n",
            "Status: LAUNCHING\n",
            "Progress: 12/100 launched (12.0%)\n",
            "Active: 12 running\n",
            "Asked for: 100 of t3.small OnDemand for 2h\n",
            "  and 2 more: --all shows them\n",
        ] {
            assert!(page.contains(says), "no {says:?} in\n{page}");
        }
    }
    // An array that is gone no longer hides what it leaves behind.
    spawned(&world, "array scale hyperparam-sweep 120").await;
    let scaled = arrays(&world).get("hyperparam-sweep").await.unwrap();
    assert_eq!(scaled.spec.replicas, 120);
    let fewer = spawn(&world, "array scale hyperparam-sweep 5").await;
    assert_failed(
        &fewer,
        2,
        &["members 5-119 of array/hyperparam-sweep", "--yes"],
    );
    world
        .kubectl(&[
            "delete",
            "sporearray",
            "hyperparam-sweep",
            "--cascade=orphan",
        ])
        .await
        .unwrap();
    eventually("its members are listed", PATIENCE, async || {
        let left = spawned(&world, "list -o name").await;
        (left.lines().count() == 13).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_an_array_is_extended_as_one_and_tells_old_delta_and_new() {
    let world = without_controller("plugin-array-extend").await;
    spawned(
        &world,
        "launch --count 3 --name search --instance-type t3.small",
    )
    .await;
    let early = spawn(&world, "extend --job-array-name search 1h").await;
    assert_failed(&early, 2, &["array/search has no deadline yet"]);
    let deadline = "2100-01-01T10:00:00Z";
    say(
        &world,
        "search",
        json!({"state": "Running", "replicas": 3, "deadline": deadline}),
    )
    .await;
    for (line, told) in [
        (
            "extend --job-array-name search 1h",
            "array/search: deadline 2100-01-01T10:00:00Z + 1h = 2100-01-01T11:00:00Z (in ",
        ),
        (
            "extend array/search 1d",
            "array/search: deadline 2100-01-01T11:00:00Z + 1d = 2100-01-02T11:00:00Z (in ",
        ),
        (
            "extend search --to 2100-01-03T00:00:00Z",
            "array/search: deadline 2100-01-02T11:00:00Z + 13h = 2100-01-03T00:00:00Z (in ",
        ),
    ] {
        let said = spawned(&world, line).await;
        assert!(said.starts_with(told), "{line}: {said}");
    }
    let array = arrays(&world).get("search").await.unwrap();
    let moved = array.spec.extend_to.unwrap().to_string();
    assert_eq!(moved, "2100-01-03T00:00:00Z");
    let managers = array.metadata.managed_fields.unwrap();
    let own = |manager: &str| {
        managers
            .iter()
            .any(|entry| entry.manager.as_deref() == Some(manager))
    };
    assert!(own("kubectl-spawn-extend"), "GitOps keeps what it has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_waits_for_an_array_and_its_exit_code_tells_how_it_went() {
    let world = without_controller("plugin-array-wait").await;
    let line =
        "launch --count 3 --job-array-name search --instance-type t3.small --wait --timeout 60s";
    let waiting = plugin(&world, line)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the array", PATIENCE, async || {
        arrays(&world).get("search").await.ok()
    })
    .await;
    say(
        &world,
        "search",
        json!({"state": "Launching", "replicas": 3, "launched": 1, "ready": 0,
            "conditions": [condition("Ready", "False", "Launching", "")]}),
    )
    .await;
    say(
        &world,
        "search",
        json!({"state": "Running", "replicas": 3, "launched": 3, "ready": 3,
            "deadline": "2100-01-01T10:00:00Z",
            "conditions": [condition("Ready", "True", "Running", "")]}),
    )
    .await;
    let output = waiting.wait_with_output().await.unwrap();
    let (told, progress) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(
        told,
        "sporearray.spore.host/search created\n\
         array/search is ready: 3 of t3.small OnDemand, gone by 2100-01-01T10:00:00Z\n",
        "{progress}"
    );
    assert!(
        progress.contains("array/search: Ready: done: 3/3\n"),
        "{progress}"
    );
    assert_eq!(output.status.code(), Some(0));

    say(
        &world,
        "search",
        json!({"state": "Failed", "replicas": 3, "launched": 3, "succeeded": 1, "failed": 2,
            "conditions": [condition("Succeeded", "False", "MembersFailed", "2 of 3 have failed")]}),
    )
    .await;
    let failed = spawn(&world, "array wait search --for completion").await;
    assert_failed(&failed, 7, &["array/search: 2 of 3 have failed"]);
    let hidden = spawn(&world, "list").await;
    assert!(
        hidden.stderr.contains("1 ended: --all shows them"),
        "{}",
        hidden.stderr
    );
    assert!(spawned(&world, "list --all").await.contains("array/search"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_deleted_with_its_members_and_only_when_they_are_gone() {
    let world = without_controller("plugin-array-delete").await;
    spawned(
        &world,
        "launch --count 2 --name search --instance-type t3.small",
    )
    .await;
    let array = arrays(&world).get("search").await.unwrap();
    members(&world, "spore.host/array", &owner(&array), 2).await;
    let asked = spawn(&world, "delete search").await;
    assert_failed(
        &asked,
        2,
        &["array/search", "1 array would be deleted", "--yes"],
    );
    let told = spawned(&world, "terminate --job-array-name search --yes").await;
    assert_eq!(told, "sporearray.spore.host/search deleted\n");
    assert!(arrays(&world).get_opt("search").await.unwrap().is_none());
    assert_eq!(spawned(&world, "list --members --all -o name").await, "");

    // All means all, and a member goes with its array instead of by itself.
    spawned(
        &world,
        "launch --count 2 --name search --instance-type t3.small",
    )
    .await;
    let array = arrays(&world).get("search").await.unwrap();
    members(&world, "spore.host/array", &owner(&array), 2).await;
    spawned(&world, "launch box --instance-type t3.small").await;
    let told = spawned(&world, "delete --all --yes").await;
    let mut lines = told.lines().collect::<Vec<_>>();
    lines.sort_unstable();
    let wanted = [
        "sporearray.spore.host/search deleted",
        "sporeinstance.spore.host/box deleted",
    ];
    assert_eq!(lines, wanted);
    assert_eq!(spawned(&world, "list --members --all -o name").await, "");
}
