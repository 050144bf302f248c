//! From `kubectl apply` to a running machine, and back to nothing.

use std::fs;

use serde_json::{Value, json};
use spore_crds::{
    SporeSweep, State,
    conditions::{READY, SUCCEEDED},
};
use spore_e2e::{
    create, delete,
    ec2::{calls_by, instance_of},
    ended, group, kstatus, kubectl, told, until, until_finished, until_true,
};
use spore_world::{Fault, When, World, WorldOptions, layout};

/// The cells of the table that `kubectl get` prints: the header, and the row of a name.
async fn table(world: &World, name: &str, more: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut args = vec!["get", "sporeinstances"];
    args.extend(more);
    let text = kubectl(world, &args).await;
    let cells = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut lines = text.lines().map(cells);
    let header = lines.next().unwrap();
    let row = lines.find(|row| row[0] == name);
    (
        header,
        row.unwrap_or_else(|| panic!("no {name} in\n{text}")),
    )
}

// ---- a whole life ----

#[tokio::test(flavor = "multi_thread")]
async fn a01_every_example_is_ready_within_seconds_of_kubectl_apply() {
    let world = World::start("examples").await.unwrap();
    let examples = layout::root().join("examples");
    kubectl(&world, &["apply", "-f", examples.to_str().unwrap()]).await;
    let files = fs::read_dir(&examples).unwrap();
    let files = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let files = files.collect::<Vec<_>>();
    for kind in ["SporeInstance", "SporeArray"] {
        let of_kind = |text: &&String| text.contains(&format!("kind: {kind}\n"));
        let count = files.iter().filter(of_kind).count();
        let ready = [
            "wait",
            kind,
            "--all",
            "--for=condition=Ready",
            "--timeout=45s",
        ];
        let said = kubectl(&world, &ready).await;
        assert!(
            count > 0 && said.matches("condition met").count() >= count,
            "{said}"
        );
    }
    // A sweep is ready when its last rows run; before that it makes progress.
    group::until::<SporeSweep>(&world, "alphas", "under way", |status| status.succeeded > 0).await;
    let all = ["delete", "spa,spw,spi", "--all"];
    world.kubectl(&all).await.unwrap().ok().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spore_runs_its_command_and_is_gone_when_that_is_done() {
    let world = World::start("whole-life").await.unwrap();
    let example = layout::root().join("examples/spore.yaml");
    kubectl(&world, &["apply", "-f", example.to_str().unwrap()]).await;
    kubectl(
        &world,
        &[
            "wait",
            "spi/hello",
            "--for=condition=Ready",
            "--timeout=30s",
        ],
    )
    .await;

    let instance = instance_of(&world, "hello").await;
    let (header, row) = table(&world, "hello", &[]).await;
    let columns = "NAME READY STATE TYPE MARKET ZONE WORKLOAD EXPIRES AGE";
    assert_eq!(header.join(" "), columns);
    assert_eq!(
        row[..5],
        ["hello", "True", "Running", "t3.micro", "OnDemand"]
    );
    assert!(row[5].starts_with("us-east-1"), "{row:?}");
    assert_eq!(row[6], "Running");
    row[7]
        .parse::<jiff::Timestamp>()
        .expect("Expires is a moment");

    kubectl(
        &world,
        &[
            "wait",
            "spi/hello",
            "--for=condition=Succeeded",
            "--timeout=30s",
        ],
    )
    .await;
    let status = until_finished(&world, "hello").await;
    assert_eq!(
        (status.state, ended(&status)),
        (Some(State::Succeeded), "Completed")
    );
    assert_eq!(status.workload.unwrap().exit_code, Some(0));
    let (header, row) = table(&world, "hello", &["-o", "wide"]).await;
    assert_eq!(
        header[9..].join(" "),
        "INSTANCE IP AMI COST ENDED REASON INDEX DELETING"
    );
    assert_eq!(row[1..3], ["True", "Succeeded"]);
    assert!(
        row.contains(&"Completed".to_owned()) && row.contains(&"Finished".to_owned()),
        "{row:?}"
    );

    assert_eq!(events_of(&world, "hello").await, ["Launched", "Completed"]);
    let audit = world.sim().audit().await.unwrap();
    assert_eq!(
        (
            audit.live_instances,
            audit.volumes,
            audit.network_interfaces
        ),
        (0, 0, 0)
    );
    let reports = calls_by(&world, &instance.access_key, "CreateTags").await;
    assert!((2..=6).contains(&reports), "{reports} tag writes in a life");
    // The object is a record now: it goes at once.
    delete(&world, "hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_makes_a_failed_spore() {
    let world = World::start("failing").await.unwrap();
    let command = |command: Value| json!({"command": command, "onComplete": {"delay": "1s"}});
    create(&world, "exits", command(json!(["sh", "-c", "exit 3"])))
        .await
        .unwrap();
    create(&world, "missing", command(json!(["no-such-program"])))
        .await
        .unwrap();
    for (name, code, says) in [
        ("exits", 3, "exit code 3"),
        ("missing", 127, "no-such-program"),
    ] {
        let status = until_finished(&world, name).await;
        assert_eq!(
            (status.state, ended(&status)),
            (Some(State::Failed), "Completed"),
            "{name}"
        );
        let (reason, message) = told(&status, SUCCEEDED);
        assert_eq!(reason, "WorkloadFailed", "{name}");
        assert!(message.contains(says), "{message}");
        assert_eq!(status.workload.unwrap().exit_code, Some(code), "{name}");
    }
}

/// The reasons of a spore's Events, oldest first.
async fn events_of(world: &World, name: &str) -> Vec<String> {
    let text = kubectl(world, &["get", "events.events.k8s.io", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut events: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
    events.retain(|event| event["regarding"]["name"] == name);
    events.sort_by_key(|event| event["eventTime"].as_str().unwrap().to_owned());
    let told = |event: &&Value| {
        assert_eq!(event["regarding"]["kind"], "SporeInstance");
        assert_eq!(event["reportingController"], "spore-controller");
        assert!(!event["note"].as_str().unwrap().is_empty(), "{event}");
        event["reason"].as_str().unwrap().to_owned()
    };
    events.iter().map(told).collect()
}

// ---- what GitOps makes of it ----

#[tokio::test(flavor = "multi_thread")]
async fn kstatus_sees_every_stage_of_a_life_as_it_is() {
    let mut world = World::start_with(
        "kstatus",
        WorldOptions {
            no_controller: true,
            ..WorldOptions::default()
        },
    )
    .await
    .unwrap();
    create(&world, "lives", json!({"command": ["sleep", "1000"]}))
        .await
        .unwrap();
    assert_eq!(
        kstatus(&world, "lives").await,
        "InProgress",
        "before any controller saw it"
    );

    world
        .sim()
        .add_fault(Fault::on("RunInstances").hold(When::Before))
        .await
        .unwrap();
    world.controller().start().await.unwrap();
    until(&world, "lives", "launching", |status| {
        told(status, READY).0 == "Launching"
    })
    .await;
    assert_eq!(
        kstatus(&world, "lives").await,
        "InProgress",
        "while it is launched"
    );
    world.sim().clear_faults().await.unwrap();

    let fast = |command: &str| json!({"command": [command], "onComplete": {"delay": "0s"}});
    create(&world, "succeeds", fast("true")).await.unwrap();
    create(&world, "fails", fast("false")).await.unwrap();
    create(&world, "expires", json!({"ttl": "12s"}))
        .await
        .unwrap();
    create(&world, "bad", json!({"instanceType": "x9.large"}))
        .await
        .unwrap();
    until_true(&world, "lives", READY).await;
    assert_eq!(kstatus(&world, "lives").await, "Current", "while it runs");
    until(&world, "bad", "stalled", |status| {
        status.state == Some(State::Stalled)
    })
    .await;
    assert_eq!(
        kstatus(&world, "bad").await,
        "Failed",
        "when it cannot be launched"
    );
    for name in ["succeeds", "fails", "expires"] {
        until_finished(&world, name).await;
        assert_eq!(kstatus(&world, name).await, "Current", "finished: {name}");
    }

    world
        .sim()
        .add_fault(Fault::on("TerminateInstances").hold(When::Before))
        .await
        .unwrap();
    kubectl(&world, &["delete", "spi", "lives", "--wait=false"]).await;
    assert_eq!(kstatus(&world, "lives").await, "Terminating");
    world.sim().clear_faults().await.unwrap();
}
