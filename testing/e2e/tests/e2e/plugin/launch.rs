//! `kubectl spawn launch`: what becomes of its flags, its waits and its exit codes.

use std::time::Duration;

use serde_json::{Value, json};
use spore_crds::conditions::{LAUNCHED, READY};
use spore_e2e::{
    PATIENCE, delete,
    ec2::{aws_text, find, instance_of},
    kubectl, spores, told, until, until_true, without_machines,
};
use spore_world::{Fault, World, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{assert_failed, assert_plain, plugin, spawn, spawn_words, spawned, without_controller};

/// An object as kubectl shows it.
async fn object(world: &World, name: &str) -> Value {
    let text = kubectl(world, &["get", "sporeinstance", name, "-o", "json"]).await;
    serde_json::from_str(&text).expect("kubectl prints JSON")
}

// ---- flags ----

#[tokio::test(flavor = "multi_thread")]
async fn every_flag_of_launch_reaches_the_object_and_ec2() {
    let world = without_machines("plugin-flags").await;
    let zone = [
        "ec2",
        "describe-subnets",
        "--filters",
        "Name=availability-zone,Values=us-west-2b",
    ];
    let west = |args: &[&'static str]| [args, &["--region", "us-west-2"]].concat();
    let (zone, group) = (west(&zone), west(&["ec2", "describe-security-groups"]));
    let ubuntu = [
        "ec2",
        "describe-images",
        "--filters",
        "Name=name,Values=ubuntu*amd64*",
    ];
    let (ubuntu, key) = (
        west(&ubuntu),
        west(&["ec2", "create-key-pair", "--key-name", "mine"]),
    );
    let (subnet, group, image, _key) = tokio::join!(
        aws_text(&world, &zone, "Subnets[0].SubnetId"),
        aws_text(&world, &group, "SecurityGroups[0].GroupId"),
        aws_text(&world, &ubuntu, "Images[0].ImageId"),
        aws_text(&world, &key, "KeyName"),
    );
    let flags = format!(
        "launch box --instance-type m7i.large --region us-west-2 --ami {image} --ttl 1d12h \
         --idle-timeout 30m --on-idle stop --on-complete stop --completion-delay 2m \
         --subnet-id {subnet} --security-group-ids {group} --key-name mine \
         --tag team=vision --tag cost=a=b -- sh -c"
    );
    let mut words = flags.split_whitespace().collect::<Vec<_>>();
    words.push("echo 'two  words' --wait");
    let created = spawn_words(&world, &words).await.ok().unwrap();
    assert_eq!(created, "sporeinstance.spore.host/box created\n");
    assert_eq!(
        object(&world, "box").await["spec"],
        json!({
            "instanceType": "m7i.large", "region": "us-west-2", "imageId": image, "ttl": "1d12h",
            "idle": {"timeout": "30m", "action": "Stop"},
            "onComplete": {"action": "Stop", "delay": "2m"}, "market": "OnDemand",
            "subnetId": subnet, "securityGroupIds": [group], "keyName": "mine",
            "tags": {"team": "vision", "cost": "a=b"},
            "command": ["sh", "-c", "echo 'two  words' --wait"],
        })
    );
    let id = instance_of(&world, "box").await.id;
    let describe = west(&["ec2", "describe-instances"]);
    let facts = "Reservations[0].Instances[0].[InstanceId, InstanceType, ImageId, SubnetId, \
        KeyName, SecurityGroups[0].GroupId, Placement.AvailabilityZone]";
    let facts = aws_text(&world, &describe, facts).await;
    assert_eq!(
        facts.split_whitespace().collect::<Vec<_>>(),
        [
            &id,
            "m7i.large",
            &image,
            &subnet,
            "mine",
            &group,
            "us-west-2b"
        ]
    );
    let tags = find(&world, &id).await.unwrap().tags;
    assert_eq!(
        (tags["team"].as_str(), tags["cost"].as_str()),
        ("vision", "a=b")
    );

    let line = "launch cheap --instance-type t3.micro --spot -o name";
    assert_eq!(
        spawned(&world, line).await,
        "sporeinstance.spore.host/cheap\n"
    );
    assert_eq!(instance_of(&world, "cheap").await.market, "spot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_creates_nothing_and_its_yaml_is_what_kubectl_apply_takes() {
    let world = without_controller("plugin-dry-run").await;
    let flags = "launch box --instance-type m7i.large --ttl 4h --tag team=ml";
    let yaml = spawned(
        &world,
        &format!("{flags} --dry-run=client -o yaml -- make all"),
    )
    .await;
    let checked = spawn(&world, &format!("{flags} --dry-run=server -o json")).await;
    let checked: Value = serde_json::from_str(&checked.ok().unwrap()).unwrap();
    assert_eq!(
        checked["spec"]["market"], "OnDemand",
        "the API server's defaults are in it"
    );
    assert!(checked["metadata"]["uid"].is_string());
    for (who, said) in [("client", "dry run"), ("server", "server dry run")] {
        let line = spawned(&world, &format!("{flags} --dry-run={who}")).await;
        assert_eq!(
            line,
            format!("sporeinstance.spore.host/box created ({said})\n")
        );
    }
    assert_eq!(
        spawned(&world, "list --all -o name").await,
        "",
        "nothing was created"
    );

    let apply = ["apply", "-f", "-"];
    for done in ["created", "unchanged"] {
        let output = world.kubectl_with(&apply, &yaml).await.unwrap();
        assert_eq!(output.stderr, "", "no warning");
        assert_eq!(
            output.stdout,
            format!("sporeinstance.spore.host/box {done}\n")
        );
    }
    assert_eq!(
        object(&world, "box").await["spec"]["command"],
        json!(["make", "all"])
    );
    // The API server would refuse it, so a dry run that asks it does.
    let taken = spawn(&world, &format!("{flags} --dry-run=server")).await;
    assert_failed(&taken, 1, &["a spore named box already exists"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_the_api_server_makes_one_up_and_the_plugin_tells_it() {
    let world = without_controller("plugin-no-name").await;
    let line = "launch --instance-type t3.micro";
    let first = spawned(&world, &format!("{line} -o name")).await;
    let name = first.trim();
    let get = kubectl(&world, &["get", name, "-o", "name"]).await;
    assert_eq!(get, first, "kubectl takes the name as it is printed");
    assert!(
        name.starts_with("sporeinstance.spore.host/spore-"),
        "{name}"
    );
    let second = spawned(&world, line).await;
    let created = second.strip_suffix(" created\n").expect("it says so");
    assert_ne!(created, name);
    let yaml = spawned(&world, &format!("{line} --dry-run=client -o yaml")).await;
    let create = world
        .kubectl_with(&["create", "-f", "-"], &yaml)
        .await
        .unwrap();
    create.ok().unwrap();
    assert_eq!(spawned(&world, "list -o name").await.lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_refused_and_nothing_is_changed() {
    let world = without_controller("plugin-taken").await;
    spawned(&world, "launch box --instance-type t3.micro --ttl 1h").await;
    let before = object(&world, "box").await;
    for more in ["", "--wait", "--wait-for completion -o json"] {
        let line = format!("launch box --instance-type m7i.large --ttl 4h {more}");
        let output = spawn(&world, &line).await;
        let says = [
            "already exists",
            "kubectl spawn status box",
            "kubectl spawn delete box",
        ];
        assert_failed(&output, 1, &says);
        assert_eq!(output.stdout, "");
    }
    assert_eq!(object(&world, "box").await, before);
}

// ---- waits ----

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_readiness_shows_a_line_for_each_step_and_ends_when_the_agent_reports() {
    let world = World::start("plugin-wait").await.unwrap();
    let output = spawn(
        &world,
        "launch box --instance-type t3.micro --ttl 1h --wait",
    )
    .await;
    let status = spores(&world).get("box").await.unwrap().status.unwrap();
    assert_eq!(told(&status, READY).0, "Running", "{}", output.stderr);
    assert_plain("box", &output.stderr);
    let mut rest = output.stderr.as_str();
    let id = status.instance.unwrap().id;
    for step in [
        "box: Accepted: done\n",
        &format!("box: Launched: done: {id} in us-east-1"),
        "box: Running: done: ",
        "box: Agent ready: done: spored ",
    ] {
        let found = rest.split_once(step).map(|(_, after)| after);
        rest = found.unwrap_or_else(|| panic!("no {step:?} in its place in\n{}", output.stderr));
    }
    let stdout = output.ok().unwrap();
    let lines = stdout.lines().collect::<Vec<_>>();
    assert_eq!(lines[0], "sporeinstance.spore.host/box created");
    let ready = format!("box is ready: {id}, t3.micro in us-east-1");
    assert!(
        lines[1].starts_with(&ready) && lines[1].contains("gone by "),
        "{stdout}"
    );

    let line = "launch again --instance-type t3.micro --ttl 1h --wait -o json";
    let json: Value = serde_json::from_str(&spawned(&world, line).await).unwrap();
    assert_eq!(
        json["status"]["state"], "Running",
        "as it is after the wait: {json}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_completion_ends_with_the_result_of_the_work() {
    let world = World::start("plugin-completion").await.unwrap();
    let launch = async |name: &str, more: &str| {
        let line = format!("launch {name} --instance-type t3.micro --wait-for completion {more}");
        spawn(&world, &line).await
    };
    let (done, fails, late) = tokio::join!(
        launch("done", "--ttl 1h -- true"),
        launch("fails", "--ttl 1h -- grep -q x /dev/null/none"),
        launch("late", "--ttl 6s -- sleep 1000"),
    );
    assert_plain("done", &done.stderr);
    assert!(
        done.stderr.contains("done: Completed: done"),
        "{}",
        done.stderr
    );
    let said = done.ok().unwrap();
    assert!(
        said.ends_with("done: the workload succeeded with exit code 0\n"),
        "{said}"
    );

    assert_failed(
        &fails,
        7,
        &[
            "fails: Completed: failed",
            "error: fails: the workload failed with exit code 2",
            "kubectl spawn status fails",
        ],
    );
    assert_eq!(fails.stdout, "sporeinstance.spore.host/fails created\n");
    assert_failed(&late, 1, &["late has ended: "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_without_capacity_or_quota_ends_with_3_and_without_rights_in_aws_with_4() {
    let world = without_machines("plugin-capacity").await;
    let on = |kind: &str| Fault::on("RunInstances").instance_type(kind);
    for fault in [
        on("g5.xlarge").capacity(0),
        on("m7i.large").error("VcpuLimitExceeded"),
        on("t3.small").error("UnauthorizedOperation"),
    ] {
        world.sim().add_fault(fault).await.unwrap();
    }
    let launch = async |name: &str, kind: &str, timeout: &str| {
        let line = format!("launch {name} --instance-type {kind} --wait --timeout {timeout}");
        spawn(&world, &line).await
    };
    let (none, full, denied, wrong) = tokio::join!(
        launch("none", "g5.xlarge", "4s"),
        launch("full", "m7i.large", "30s"),
        launch("denied", "t3.small", "30s"),
        launch("wrong", "x9.large", "30s"),
    );
    // There may be capacity in a minute, so it is waited for; the others are told at once.
    assert_failed(
        &none,
        3,
        &[
            "gave up after 4s: none: InsufficientCapacity: ",
            "kubectl spawn delete none",
        ],
    );
    assert_failed(
        &full,
        3,
        &["full is stalled: QuotaExceeded: ", "The spore stays"],
    );
    assert_failed(
        &denied,
        4,
        &["denied is stalled: AccessDenied: ", "UnauthorizedOperation"],
    );
    assert_failed(&wrong, 1, &["wrong is stalled: ", "x9.large"]);
    let stay = spawned(&world, "list -o name").await;
    assert_eq!(
        stay.lines().count(),
        4,
        "all of them go on without the wait: {stay}"
    );
    world.sim().clear_faults().await.unwrap();
    until_true(&world, "none", LAUNCHED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_takes_too_long_ends_with_6_and_the_spore_goes_on() {
    let world = without_machines("plugin-timeout").await;
    let line = "launch box --instance-type t3.micro --wait --timeout 3s";
    let output = spawn(&world, line).await;
    assert_failed(
        &output,
        6,
        &[
            "gave up after 3s: box: WaitingForAgent: ",
            "kubectl spawn status box",
        ],
    );
    assert_plain("box", output.stderr.split_once("error: ").unwrap().0);
    assert!(instance_of(&world, "box").await.is_live());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_what_is_deleted_meanwhile_ends_with_5() {
    let world = without_machines("plugin-deleted").await;
    let line = "launch box --instance-type t3.micro --wait --timeout 30s";
    let (waited, ()) = tokio::join!(spawn(&world, line), async {
        eventually("box is there", PATIENCE, async || {
            spores(&world).get_opt("box").await.ok().flatten()
        })
        .await;
        until_true(&world, "box", LAUNCHED).await;
        delete(&world, "box").await;
    });
    assert_failed(&waited, 5, &["box was deleted in the meantime"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_watching_with_130_and_not_the_spore() {
    let world = without_machines("plugin-interrupt").await;
    let line = "launch box --instance-type t3.micro --wait";
    let mut child = plugin(&world, line)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let pid = child.id().unwrap().to_string();
    let end = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("box: Launched: done") {
                let kill = Command::new("kill").args(["-INT", &pid]).status().await;
                assert!(kill.unwrap().success());
            }
            said.push(line);
        }
        child.wait().await.unwrap()
    });
    assert_eq!(end.await.unwrap().code(), Some(130), "{said:?}");
    let said = said.join("\n");
    assert!(
        said.contains("interrupted: box goes on without you"),
        "{said}"
    );
    let spore = spores(&world).get("box").await.unwrap();
    assert!(spore.metadata.deletion_timestamp.is_none());
    assert!(instance_of(&world, "box").await.is_live());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_while_no_controller_runs_says_so() {
    let mut world = without_controller("plugin-nobody").await;
    let line = "launch box --instance-type t3.micro --wait --timeout 17s";
    let output = spawn(&world, line).await;
    let says = [
        "The controller has not taken it up yet",
        "box was not taken up by the controller",
    ];
    assert_failed(&output, 6, &says);
    world.controller().start().await.unwrap();
    until(&world, "box", "taken up", |status| {
        status.observed_generation.is_some()
    })
    .await;
}
