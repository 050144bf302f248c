//! `kubectl spawn list` and `kubectl spawn status`.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use spore_crds::{
    SporeInstance, State,
    conditions::{LAUNCHED, READY},
};
use spore_e2e::{
    create, ec2::instance_of, kubectl, spores, told, until, until_finished, until_true,
    without_machines,
};
use spore_world::{Fault, World};

use super::{assert_failed, spawn, spawned, without_controller};

/// The names that a list shows, in its order.
async fn names(world: &World, filters: &str) -> Vec<String> {
    let text = spawned(world, &format!("list -o name {filters}")).await;
    let name = |line: &str| {
        line.strip_prefix("sporeinstance.spore.host/")
            .map(str::to_owned)
    };
    text.lines()
        .map(|line| name(line).expect("kind and name"))
        .collect()
}

/// The cells of a table.
fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// What a status page says behind a label.
#[track_caller]
fn fact<'a>(page: &'a str, label: &str) -> &'a str {
    let label = format!("{label}:");
    let said = page.lines().find_map(|line| line.strip_prefix(&label));
    said.unwrap_or_else(|| panic!("no {label} in\n{page}"))
        .trim()
}

fn spore(name: &str, labels: &Value, spec: &Value) -> SporeInstance {
    serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeInstance",
        "metadata": {"name": name, "labels": labels}, "spec": spec,
    }))
    .expect("it is a spore")
}

// ---- list ----

#[tokio::test(flavor = "multi_thread")]
async fn a12_list_shows_all_regions_and_its_filters_must_all_hold() {
    let world = without_machines("plugin-filters").await;
    for (name, kind, region, team) in [
        ("big", "m7i.large", "us-west-2", "web"),
        ("east", "t3.micro", "us-east-1", "ml"),
        ("no-such-type", "x9.large", "us-west-2", "ml"),
        ("west", "t3.micro", "us-west-2", "ml"),
    ] {
        let mut spec = json!({"instanceType": kind, "ttl": "1h"});
        if region != "us-east-1" {
            spec["region"] = json!(region);
        }
        let spore = spore(name, &json!({"team": team}), &spec);
        spores(&world)
            .create(&PostParams::default(), &spore)
            .await
            .unwrap();
    }
    for name in ["big", "east", "west"] {
        until(&world, name, "booting", |status| {
            status.state == Some(State::Booting)
        })
        .await;
    }
    until(&world, "no-such-type", "stalled", |status| {
        status.state == Some(State::Stalled)
    })
    .await;
    for (filters, shown) in [
        ("", "big east no-such-type west"),
        // The controller's default region counts as well as one that was asked for.
        ("--region us-east-1", "east"),
        ("--region us-west-2", "big no-such-type west"),
        ("--instance-type t3.micro", "east west"),
        ("-l team=ml", "east no-such-type west"),
        ("--state stalled", "no-such-type"),
        ("--state booting,stalled", "big east no-such-type west"),
        ("--region us-west-2 --instance-type t3.micro", "west"),
        ("--region us-west-2 -l team=ml", "no-such-type west"),
        ("--region us-west-2 -l team=ml --state booting", "west"),
        ("--region us-east-1 -l team=web", ""),
        (
            "-l team!=ml --state booting --region us-west-2 --instance-type m7i.large",
            "big",
        ),
    ] {
        assert_eq!(names(&world, filters).await.join(" "), shown, "{filters}");
    }
    let none = spawn(&world, "list --region us-east-1 -l team=web").await;
    let place = format!("No spores found in {} namespace.\n", world.namespace());
    assert_eq!(
        (none.code, none.stdout, none.stderr),
        (Some(0), String::new(), place)
    );
    let state = spawn(&world, "list --state asleep").await;
    assert_failed(&state, 2, &["asleep", "running, stopping, stopped"]);
    let labels = spawn(&world, "list -l a=b=c").await;
    assert_failed(
        &labels,
        2,
        &["a=b=c does not select by labels", "-l team=ml"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_list_shows_all_namespaces_on_request() {
    let world = without_controller("plugin-namespaces").await;
    create(&world, "here", json!({})).await.unwrap();
    let other = format!("{}-other", world.namespace());
    let namespaces: Api<Namespace> = Api::all(world.client());
    let namespace = serde_json::from_value(json!({"metadata": {"name": other}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let there: Api<SporeInstance> = Api::namespaced(world.client(), &other);
    let spec = json!({"instanceType": "t3.micro"});
    let spore = spore("there", &json!({}), &spec);
    there.create(&PostParams::default(), &spore).await.unwrap();

    assert_eq!(names(&world, "").await, ["here"]);
    assert_eq!(names(&world, &format!("-n {other}")).await, ["there"]);
    // Other tests' spores are shown as well.
    let table = spawned(&world, "list -A").await;
    let rows = table.lines().map(cells).collect::<Vec<_>>();
    assert_eq!(rows[0][..2], ["NAMESPACE", "NAME"]);
    for (namespace, name) in [(world.namespace(), "here"), (&other, "there")] {
        assert!(
            rows.iter().any(|row| row[..2] == [namespace, name]),
            "{table}"
        );
    }
    namespaces
        .delete(&other, &DeleteParams::background())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_list_prints_json_yaml_names_and_tables() {
    let world = without_machines("plugin-formats").await;
    for name in ["one", "two"] {
        create(&world, name, json!({})).await.unwrap();
        // Nothing changes by itself any more: there is no agent to wait for.
        until(&world, name, "running, without an agent", |status| {
            let state = status.instance.as_ref().and_then(|i| i.state.as_deref());
            status.state == Some(State::Booting) && state == Some("running")
        })
        .await;
    }
    let theirs: Value =
        serde_json::from_str(&kubectl(&world, &["get", "spi", "-o", "json"]).await).unwrap();
    let json: Value = serde_json::from_str(&spawned(&world, "list -o json").await).unwrap();
    assert_eq!(json, theirs, "the same that kubectl prints");
    let yaml: Value = serde_saphyr::from_str(&spawned(&world, "list -o yaml").await).unwrap();
    assert_eq!(yaml, theirs);

    let table = spawned(&world, "list").await;
    let rows = table.lines().map(cells).collect::<Vec<_>>();
    assert_eq!(
        rows[0].join(" "),
        "NAME READY STATE TYPE MARKET ZONE WORKLOAD TTL-LEFT AGE"
    );
    assert_eq!(
        rows[1][..5],
        ["one", "False", "Booting", "t3.micro", "OnDemand"]
    );
    assert!(rows[1][5].starts_with("us-east-1"), "{table}");
    assert_eq!(
        rows[1][6], "-",
        "there is no agent that could tell of a workload"
    );
    assert!(["59m", "60m"].contains(&rows[1][7]), "{table}");
    assert_eq!(rows[2][0], "two");
    let wide = spawned(&world, "list -o wide").await;
    let rows = wide.lines().map(cells).collect::<Vec<_>>();
    assert_eq!(
        rows[0][9..].join(" "),
        "INSTANCE REGION PUBLIC-IP AMI COST ENDED"
    );
    let instance = instance_of(&world, "one").await;
    assert_eq!(rows[1][9..11], [&instance.id, "us-east-1"]);
    assert_eq!(rows[1][12], instance.image_id);
    assert_eq!(rows[1][14..], ["-"], "{wide}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_what_has_ended_is_listed_only_when_it_is_asked_for() {
    let world = without_machines("plugin-ended").await;
    for name in ["ends", "lives"] {
        create(&world, name, json!({})).await.unwrap();
        until_true(&world, name, LAUNCHED).await;
    }
    let id = instance_of(&world, "ends").await.id;
    world.sim().die(&id).await.unwrap();
    until_finished(&world, "ends").await;
    assert_eq!(names(&world, "").await, ["lives"]);
    assert_eq!(names(&world, "--all").await, ["ends", "lives"]);
    assert_eq!(names(&world, "--state ended").await, ["ends"]);
    let wide = spawned(&world, "list --all -o wide").await;
    assert_eq!(
        cells(wide.lines().nth(1).unwrap()).last(),
        Some(&"HostFailure"),
        "{wide}"
    );
    let none = spawn(
        &world,
        "list --instance-type t3.micro --region us-east-1 -l none=such",
    )
    .await;
    assert!(
        !none.stderr.contains("--all"),
        "nothing is hidden: {}",
        none.stderr
    );
    kubectl(&world, &["delete", "spi", "lives"]).await;
    let hidden = spawn(&world, "list").await;
    assert!(
        hidden.stderr.contains("1 ended: --all shows them."),
        "{}",
        hidden.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn list_shows_more_spores_than_the_api_server_hands_out_at_once() {
    const MANY: usize = 503;
    let world = without_controller("plugin-pages").await;
    let api = spores(&world);
    let spec = json!({"instanceType": "t3.micro"});
    let created = stream::iter(0..MANY)
        .map(async |number| {
            let spore = spore(&format!("s{number:03}"), &json!({}), &spec);
            api.create(&PostParams::default(), &spore).await.unwrap();
        })
        .buffer_unordered(16)
        .count();
    assert_eq!(created.await, MANY);
    let shown = names(&world, "").await;
    let all = (0..MANY)
        .map(|number| format!("s{number:03}"))
        .collect::<Vec<_>>();
    assert_eq!(shown, all);
    assert_eq!(spawned(&world, "list").await.lines().count(), MANY + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_cannot_be_read_does_not_hide_the_others() {
    let world = without_controller("plugin-unreadable").await;
    create(&world, "plain", json!({})).await.unwrap();
    // The API server takes it for a moment; no clock on earth shows it. A version of the schema that
    // came before or comes after may admit other things that this plugin does not know.
    let odd = json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeInstance", "metadata": {"name": "odd"},
        "spec": {"instanceType": "t3.micro"},
        "status": {"deadline": "2036-01-01T00:00:00+99:99"},
    });
    for how in [
        &["create", "-f", "-"][..],
        &["replace", "--subresource=status", "-f", "-"],
    ] {
        let stored = world.kubectl_with(how, &odd.to_string()).await.unwrap();
        stored.ok().unwrap();
    }

    assert_eq!(names(&world, "").await, ["odd", "plain"]);
    // What the list shows the API server reads; what only objects say, the plugin does.
    let table = spawned(&world, "list").await;
    for name in ["plain ", "odd "] {
        assert!(table.lines().any(|line| line.starts_with(name)), "{table}");
    }
    let wide = spawn(&world, "list -o wide").await;
    let note = "odd is not as this version of the plugin knows spores";
    assert!(wide.stderr.contains(note), "{}", wide.stderr);
    let wide = wide.ok().unwrap();
    assert!(
        wide.lines().any(|line| line.starts_with("plain ")),
        "{wide}"
    );
    assert_failed(
        &spawn(&world, "status odd").await,
        1,
        &["odd is not as this version"],
    );
    let json: Value = serde_json::from_str(&spawned(&world, "status odd -o json").await).unwrap();
    assert_eq!(json["status"]["deadline"], odd["status"]["deadline"]);
    // More than one name is waited for by watching them all, the odd one too.
    create(&world, "other", json!({})).await.unwrap();
    spawned(&world, "delete plain other --yes --timeout 10s").await;
    assert_eq!(names(&world, "").await, ["odd"]);
    spawned(&world, "delete odd --yes --timeout 10s").await;
    assert_eq!(names(&world, "").await, [""; 0]);
}

// ---- status ----

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_why_a_spore_waits_and_when_it_is_tried_again() {
    let mut world = without_controller("plugin-why").await;
    create(&world, "box", json!({})).await.unwrap();
    let page = spawned(&world, "status box").await;
    assert_eq!(fact(&page, "State"), "not taken up by the controller yet");
    assert!(page.ends_with("\nEvents: none\n"), "{page}");

    let none = Fault::on("RunInstances").capacity(0);
    world.sim().add_fault(none).await.unwrap();
    world.controller().start().await.unwrap();
    let status = until(&world, "box", "without capacity", |status| {
        told(status, READY).0 == "InsufficientCapacity" && status.retry_at.is_some()
    })
    .await;
    let page = spawned(&world, "status box").await;
    let why = fact(&page, "Why");
    assert!(why.ends_with("(InsufficientCapacity)"), "{why}");
    assert!(why.starts_with(&told(&status, READY).1), "{why}");
    assert!(fact(&page, "Next try").contains(" (in "), "{page}");
    assert_eq!(fact(&page, "Asked for"), "t3.micro OnDemand for 1h");
    assert!(!page.contains("\nInstance:"), "{page}");

    world.sim().clear_faults().await.unwrap();
    create(&world, "bad", json!({"instanceType": "x9.large"}))
        .await
        .unwrap();
    let status = until(&world, "bad", "stalled", |status| {
        status.state == Some(State::Stalled)
    })
    .await;
    let (reason, message) = told(&status, "Stalled");
    let page = spawned(&world, "status bad").await;
    assert_eq!(fact(&page, "State"), "Stalled");
    assert_eq!(fact(&page, "Why"), format!("{message} ({reason})"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_of_instance_workload_agent_end_and_events_through_a_life() {
    let world = World::start("plugin-status").await.unwrap();
    let spec = json!({
        "command": ["sh", "-c", "while [ ! -e go ]; do sleep 0.1; done; exit 3"],
        "onComplete": {"delay": "0s"},
        "idle": {"timeout": "30m"},
    });
    create(&world, "box", spec).await.unwrap();
    let status = until(&world, "box", "working", |status| {
        let phase = status
            .workload
            .as_ref()
            .and_then(|workload| workload.phase.as_deref());
        phase == Some("Running") && told(status, READY).0 == "Running"
    })
    .await;
    let instance = instance_of(&world, "box").await;
    let page = spawned(&world, "status box").await;
    assert_eq!(fact(&page, "State"), "Running");
    let running = format!(
        "{} running, t3.micro in {}, {}",
        instance.id, instance.zone, instance.image_id
    );
    assert_eq!(fact(&page, "Instance"), running);
    assert_eq!(
        fact(&page, "Command"),
        "sh -c 'while [ ! -e go ]; do sleep 0.1; done; exit 3'"
    );
    assert_eq!(fact(&page, "Workload"), "Running");
    let deadline = status
        .deadline
        .unwrap()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    assert!(
        fact(&page, "Deadline").starts_with(&format!("{deadline} (in 59m")),
        "{page}"
    );
    assert_eq!(fact(&page, "Idle"), "no, terminated after 30m of it");
    let end = fact(&page, "Next end");
    assert!(
        end.starts_with("terminated in 59m because its time is over"),
        "{end}"
    );
    assert!(fact(&page, "Agent").starts_with("spored "), "{page}");
    assert!(!page.contains("\nWhy:"), "{page}");
    for words in ["\nConditions:\n", "\nEvents:\n", "Launched"] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    let get = kubectl(&world, &["get", "spi", "box", "-o", "json"]).await;
    let theirs: Value = serde_json::from_str(&get).unwrap();
    let ours: Value = serde_json::from_str(&spawned(&world, "status box -o json").await).unwrap();
    assert_eq!(ours, theirs, "the same that kubectl prints");

    let root = instance.machine_dir.unwrap().join("root");
    std::fs::write(root.join("go"), "").unwrap();
    until_finished(&world, "box").await;
    let page = spawned(&world, "status box").await;
    assert_eq!(fact(&page, "State"), "Failed");
    assert!(
        fact(&page, "Workload").starts_with("Failed, exit code 3"),
        "{page}"
    );
    assert!(fact(&page, "Ended").contains(" ago) Completed: "), "{page}");
    for label in ["Deadline:", "Idle:", "Next end:"] {
        assert!(!page.contains(label), "{label} of what has ended:\n{page}");
    }
}
