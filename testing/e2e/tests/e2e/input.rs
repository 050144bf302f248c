//! What is asked for and cannot be had: refused at admission, or stalled with advice; and nobody else
//! has to wait for it.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use spore_crds::{
    State,
    conditions::{LAUNCHED, READY, STALLED},
};
use spore_e2e::{
    create, delete,
    ec2::{aws_text, calls_by},
    kstatus, manifest, spores, told, until, until_true, without_machines,
};
use spore_world::{Fault, World, WorldOptions, poll, sim::ACCESS_KEY};

/// What kubectl tells of a spec that is refused.
async fn refusal(world: &World, spec: &Value) -> String {
    let output = world
        .kubectl_with(
            &["apply", "-f", "-"],
            &manifest("refused", spec).to_string(),
        )
        .await
        .unwrap();
    assert_ne!(output.code, Some(0), "{spec} was accepted");
    output.stderr
}

/// Waits until a spore is stalled; reason and message of that.
async fn stalled(world: &World, name: &str) -> (String, String) {
    let status = until_true(world, name, STALLED).await;
    assert_eq!(status.state, Some(State::Stalled), "{name}");
    told(&status, STALLED)
}

/// Changes a spec; tells what the API server says if it refuses.
async fn change(world: &World, name: &str, spec: Value) -> Result<(), String> {
    let patch = Patch::Merge(json!({"spec": spec}));
    let changed = spores(world)
        .patch(name, &PatchParams::default(), &patch)
        .await;
    changed.map(drop).map_err(|error| error.to_string())
}

// ---- at admission ----

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_with_a_message_that_helps() {
    let world = World::start_with(
        "refused",
        WorldOptions {
            no_controller: true,
            no_machines: true,
            ..WorldOptions::default()
        },
    )
    .await
    .unwrap();
    let groups: Vec<String> = (0..17).map(|n| format!("sg-{n:017x}")).collect();
    let cases = [
        (
            json!({"instancetype": "t3.micro"}),
            vec![r#"unknown field "spec.instancetype""#],
        ),
        (
            json!({"idle": {"timeout": "5m", "cpu": 5}}),
            vec![r#"unknown field "spec.idle.cpu""#],
        ),
        (json!({"ttl": "2 hours"}), vec!["spec.ttl", "30m", "1d12h"]),
        (json!({"ttl": "2h 30m"}), vec!["spec.ttl", "30m", "1d12h"]),
        (json!({"ttl": "1.5h"}), vec!["spec.ttl", "30m", "1d12h"]),
        (
            json!({"ttl": "0s"}),
            vec!["spec.ttl", "longer than nothing"],
        ),
        (json!({"ttl": 3600}), vec!["spec.ttl", "string"]),
        (json!({"instanceType": "large"}), vec!["spec.instanceType"]),
        (
            json!({"instanceType": "T3.MICRO"}),
            vec!["spec.instanceType"],
        ),
        (json!({"subnetId": "my-subnet"}), vec!["spec.subnetId"]),
        (json!({"imageId": "ubuntu"}), vec!["spec.imageId"]),
        (json!({"region": "Frankfurt"}), vec!["spec.region"]),
        (
            json!({"market": "spot"}),
            vec!["spec.market", r#""OnDemand""#, r#""Spot""#],
        ),
        (
            json!({"tags": {"spawn:uid": "mine"}}),
            vec!["spec.tags", "reserved"],
        ),
        (
            json!({"tags": {"a/b": "c"}}),
            vec!["spec.tags", "letters, digits"],
        ),
        (
            json!({"securityGroupIds": groups}),
            vec!["spec.securityGroupIds", "16"],
        ),
        (
            json!({"securityGroupIds": [groups[0], groups[0]]}),
            vec!["securityGroupIds", "Duplicate"],
        ),
        (
            json!({"command": [""]}),
            vec!["spec.command", "the program to run"],
        ),
        (
            json!({"market": "Spot", "onComplete": {"action": "Stop"}}),
            vec!["spec.onComplete", "a Spot instance cannot be stopped"],
        ),
        (
            json!({"market": "Spot", "idle": {"timeout": "5m", "action": "Stop"}}),
            vec!["spec.idle", "a Spot instance cannot be stopped"],
        ),
        (
            json!({"onComplete": {"action": "Hibernate"}}),
            vec!["spec.onComplete.action", r#""Terminate""#],
        ),
    ];
    let mut unhelpful = Vec::new();
    for (spec, says) in cases {
        let message = refusal(&world, &spec).await;
        let missing = says.into_iter().filter(|words| !message.contains(words));
        unhelpful.extend(missing.map(|words| format!("{spec}: no {words:?} in\n{message}")));
    }
    assert!(unhelpful.is_empty(), "{}", unhelpful.join("\n"));
    let nothing = ["get", "sporeinstances", "-o", "name"];
    assert_eq!(
        world.kubectl(&nothing).await.unwrap().ok().unwrap(),
        "",
        "nothing was created"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a05_a_time_to_live_is_written_in_any_order_of_units() {
    let world = without_machines("ttl-grammar").await;
    let (minute, hour, day) = (60, 3_600, 86_400);
    let cases = [
        ("90s", 90),
        ("30m2h", 30 * minute + 2 * hour),
        ("1d2h30m", day + 2 * hour + 30 * minute),
    ];
    for (ttl, _) in cases {
        create(&world, ttl, json!({"ttl": ttl})).await.unwrap();
    }
    for (ttl, seconds) in cases {
        let status = until_true(&world, ttl, LAUNCHED).await;
        let launch = status.launch.unwrap();
        let lives = status.deadline.unwrap().duration_since(launch.decided_at);
        assert_eq!(lives.as_secs(), seconds, "{ttl}");
    }
    // Without a ttl: a day, or a week for those who are watched for idleness.
    for (name, spec, days) in [
        ("unsaid", json!({"ttl": null}), 1),
        (
            "watched",
            json!({"ttl": null, "idle": {"timeout": "1h"}}),
            7,
        ),
    ] {
        create(&world, name, spec).await.unwrap();
        let status = until_true(&world, name, LAUNCHED).await;
        let lives = status
            .deadline
            .unwrap()
            .duration_since(status.launch.unwrap().decided_at);
        assert_eq!(lives.as_hours(), days * 24, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_defines_a_launch_may_be_corrected_before_it_and_not_after() {
    let world = without_machines("immutable").await;
    create(&world, "edited", json!({"instanceType": "x9.large"}))
        .await
        .unwrap();
    stalled(&world, "edited").await;
    change(
        &world,
        "edited",
        json!({"instanceType": "t3.small", "ttl": "2h"}),
    )
    .await
    .unwrap();
    let status = until_true(&world, "edited", LAUNCHED).await;
    assert_eq!(status.launch.unwrap().plan.instance_type, "t3.small");

    for (spec, says) in [
        (
            json!({"instanceType": "t3.large"}),
            "delete this spore and create another",
        ),
        (json!({"ttl": "3h"}), "kubectl spawn extend"),
        (json!({"ttl": null}), "kubectl spawn extend"),
        (json!({"command": ["true"]}), "command is fixed"),
        (json!({"idle": {"timeout": "1h"}}), "idle is fixed"),
        (json!({"market": "Spot"}), "market is fixed"),
        (json!({"tags": {"a": "b"}}), "tags"),
        (
            json!({"onComplete": {"delay": "1m"}}),
            "onComplete is fixed",
        ),
    ] {
        let message = change(&world, "edited", spec.clone())
            .await
            .expect_err("it is fixed");
        assert!(message.contains(says), "{spec}: {message}");
    }
    change(
        &world,
        "edited",
        json!({"extendTo": "2036-01-01T00:00:00Z"}),
    )
    .await
    .unwrap();
    assert_eq!(world.sim().instances().await.unwrap().len(), 1);
}

// ---- after admission ----

#[tokio::test(flavor = "multi_thread")]
async fn a23_what_aws_does_not_have_stalls_with_advice_and_others_go_on() {
    let world = without_machines("stalled").await;
    let arm = [
        "ec2",
        "describe-images",
        "--filters",
        "Name=architecture,Values=arm64",
    ];
    let arm = aws_text(&world, &arm, "Images[0].ImageId").await;
    let cases = [
        (
            "type",
            json!({"instanceType": "x9.large"}),
            "InvalidRequest",
            vec!["x9.large", "correct the spec"],
        ),
        (
            "subnet",
            json!({"subnetId": "subnet-0123456789abcdef0"}),
            "InvalidRequest",
            vec![
                "subnet-0123456789abcdef0",
                "does not exist",
                "correct the spec",
            ],
        ),
        (
            "group",
            json!({"securityGroupIds": ["sg-0123456789abcdef0"]}),
            "InvalidRequest",
            vec!["sg-0123456789abcdef0", "correct the spec"],
        ),
        (
            "key",
            json!({"keyName": "nobodys"}),
            "InvalidRequest",
            vec!["nobodys", "correct the spec"],
        ),
        (
            "image",
            json!({"imageId": "ami-0123456789abcdef0"}),
            "InvalidRequest",
            vec!["ami-0123456789abcdef0", "correct the spec"],
        ),
        (
            "architecture",
            json!({"imageId": arm}),
            "ImageArchitectureMismatch",
            vec!["x86_64", "arm64", "choose another imageId"],
        ),
        (
            "region",
            json!({"region": "eu-central-1"}),
            "RegionNotManaged",
            vec!["eu-central-1", "us-east-1, us-west-2"],
        ),
        (
            "command",
            json!({"command": ["echo", noise(1), noise(2)]}),
            "UserDataTooLarge",
            vec!["16384", "object store"],
        ),
    ];
    for (name, spec, ..) in &cases {
        create(&world, name, spec.clone()).await.unwrap();
    }
    create(&world, "good", json!({})).await.unwrap();
    until_true(&world, "good", LAUNCHED).await;
    for (name, _, reason, says) in &cases {
        let (told, message) = stalled(&world, name).await;
        assert_eq!(told, *reason, "{name}: {message}");
        for words in says {
            assert!(
                message.contains(words),
                "{name}: no {words:?} in {message:?}"
            );
        }
        assert!(message.len() < 600, "{name}: too long to read: {message}");
    }
    calm(&world).await;
    assert_eq!(
        world.sim().instances().await.unwrap().len(),
        1,
        "only the good one"
    );
    delete(&world, "type").await;
}

/// A text that does not compress to what EC2 takes, within what the API server takes.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        // Knuth's MMIX generator: the same text in every run.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'#' + u8::try_from((state >> 33) % 90).expect("less than 90"))
    };
    (0..16_000).map(|_| next()).collect()
}

/// Nothing is asked of AWS again and again.
async fn calm(world: &World) {
    world.sim().reset_calls().await.unwrap();
    let hot = poll(Duration::from_secs(10), async || {
        let calls = world.sim().calls().await.ok()?;
        let ours: u64 = calls.by_caller.get(ACCESS_KEY)?.values().sum();
        (ours > 40).then_some(ours)
    });
    assert_eq!(
        hot.await,
        None,
        "so many calls within 10 s: {:?}",
        world.sim().calls().await.unwrap().counts
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_stall_with_advice() {
    let without =
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.to_owned(), None));
    let options = WorldOptions {
        no_machines: true,
        controller_env: without.into(),
        ..WorldOptions::default()
    };
    let mut world = World::start_with("no-credentials", options).await.unwrap();
    create(&world, "waits", json!({})).await.unwrap();
    let (reason, message) = stalled(&world, "waits").await;
    assert_eq!(reason, "AccessDenied");
    for words in [
        "no AWS credentials",
        "check the controller's AWS credentials",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert!(message.len() < 600, "too long to read: {message}");
    assert_eq!(
        world.controller().get("/healthz").await.unwrap(),
        "ok\n",
        "it runs on"
    );
    assert_eq!(calls_by(&world, ACCESS_KEY, "RunInstances").await, 0);
    // Nothing was launched, so nothing keeps it.
    delete(&world, "waits").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_stall_with_advice_and_others_go_on() {
    let world = without_machines("denied").await;
    let denied = Fault::on("RunInstances")
        .instance_type("m7i.large")
        .error("UnauthorizedOperation");
    world.sim().add_fault(denied).await.unwrap();
    create(&world, "denied", json!({"instanceType": "m7i.large"}))
        .await
        .unwrap();
    create(&world, "allowed", json!({})).await.unwrap();
    until_true(&world, "allowed", LAUNCHED).await;
    let (reason, message) = stalled(&world, "denied").await;
    assert_eq!(reason, "AccessDenied");
    for words in [
        "RunInstances",
        "us-east-1",
        "UnauthorizedOperation",
        "policy",
        "next try",
    ] {
        assert!(message.contains(words), "no {words:?} in {message}");
    }
    calm(&world).await;
    // Any change of the spec is tried at once, long before the next try that was told.
    world.sim().clear_faults().await.unwrap();
    change(&world, "denied", json!({"ttl": "2h"}))
        .await
        .unwrap();
    until_true(&world, "denied", LAUNCHED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_says_so_and_does_not_hold_others_up() {
    let world = without_machines("quota").await;
    let full = Fault::on("RunInstances")
        .instance_type("g5.xlarge")
        .error("VcpuLimitExceeded");
    world.sim().add_fault(full).await.unwrap();
    create(&world, "full", json!({"instanceType": "g5.xlarge"}))
        .await
        .unwrap();
    create(&world, "other", json!({})).await.unwrap();
    until_true(&world, "other", LAUNCHED).await;
    let (reason, message) = stalled(&world, "full").await;
    assert_eq!(reason, "QuotaExceeded");
    assert!(
        message.contains("Service Quotas") && message.contains("next try"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_spore_that_was_never_launched_is_gone_at_once() {
    let world = without_machines("never-launched").await;
    create(&world, "stalled", json!({"instanceType": "x9.large"}))
        .await
        .unwrap();
    stalled(&world, "stalled").await;
    delete(&world, "stalled").await;
    assert_eq!(calls_by(&world, ACCESS_KEY, "RunInstances").await, 0);
    assert_eq!(calls_by(&world, ACCESS_KEY, "TerminateInstances").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_time_heals_is_waited_for_and_is_no_failure() {
    let options = WorldOptions {
        no_controller: true,
        no_machines: true,
        ..WorldOptions::default()
    };
    let mut world = World::start_with("heals", options).await.unwrap();
    let unlisted = [
        Fault::on("DescribeInstances")
            .region("us-east-1")
            .throttle(),
        Fault::on("DescribeInstances").region("us-west-2").reset(),
    ];
    for fault in unlisted {
        world.sim().add_fault(fault).await.unwrap();
    }
    world.controller().start().await.unwrap();
    create(&world, "throttled", json!({})).await.unwrap();
    create(&world, "unreachable", json!({"region": "us-west-2"}))
        .await
        .unwrap();
    for (name, reason) in [
        ("throttled", "Throttled"),
        ("unreachable", "AWSUnreachable"),
    ] {
        let status = until(&world, name, "says why it waits", |status| {
            told(status, READY).0 == reason
        })
        .await;
        let (_, message) = told(&status, READY);
        assert!(
            message.contains("by itself") && message.len() < 600,
            "{name}: {message}"
        );
        assert_eq!(
            kstatus(&world, name).await,
            "InProgress",
            "{name}: {message}"
        );
    }
    calm(&world).await;
    world.sim().clear_faults().await.unwrap();
    for name in ["throttled", "unreachable"] {
        until_true(&world, name, LAUNCHED).await;
    }
}
