use serde_json::{Value, json};

use super::client::{Sim, quick};
use ec2sim::config::Config;

#[tokio::test]
async fn calls_are_counted_by_api_and_caller_and_logged_with_their_result() {
    let sim = Sim::start().await;
    sim.ok("DescribeVpcs", &[]).await;
    sim.code("DescribeVpcs", &[("VpcId.1", "vpc-0123456789abcdef0")])
        .await;
    sim.with_key("AKIAOTHER").ok("DescribeSubnets", &[]).await;
    let calls = sim.control("GET", "calls", Value::Null).await;
    assert_eq!(
        calls["counts"],
        json!({ "DescribeVpcs": 2, "DescribeSubnets": 1 })
    );
    assert_eq!(
        calls["byCaller"]["AKIAOTHER"],
        json!({ "DescribeSubnets": 1 })
    );
    let log = calls["log"].as_array().expect("a log");
    assert_eq!(log[1]["code"], "InvalidVpcID.NotFound");
    assert_eq!(log[1]["status"], 400);
    assert_eq!(log[2]["accessKey"], "AKIAOTHER");
    sim.control("POST", "calls/reset", Value::Null).await;
    let calls = sim.control("GET", "calls", Value::Null).await;
    assert_eq!(calls["counts"], json!({}));
}

#[tokio::test]
async fn the_audit_remembers_how_many_lived_at_once() {
    let sim = Sim::start().await;
    let owned = [
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "spawn:uid"),
        ("TagSpecification.1.Tag.1.Value", "u-1"),
    ];
    let first = sim.run(1, &owned).await.remove(0);
    sim.until(&first, "running").await;
    sim.ok("TerminateInstances", &[("InstanceId.1", &first)])
        .await;
    let one_after_another = sim.run(1, &owned).await;
    let audit = sim.control("GET", "audit", Value::Null).await;
    assert_eq!(audit["maxLivePerTag"]["spawn:uid"]["u-1"], 1);
    sim.run(1, &owned).await;
    let audit = sim.control("GET", "audit", Value::Null).await;
    assert_eq!(audit["maxLivePerTag"]["spawn:uid"]["u-1"], 2);
    assert_eq!(audit["liveInstances"], 2);
    assert_eq!(one_after_another.len(), 1);
}

#[tokio::test]
async fn bad_control_requests_are_refused_with_a_reason() {
    let sim = Sim::start().await;
    for (method, path, body, status) in [
        (
            "POST",
            "/_sim/faults",
            r#"{"action":"*","effect":{"explode":{}}}"#,
            400,
        ),
        ("POST", "/_sim/faults", "not json", 400),
        ("POST", "/_sim/instances/i-0/die", "{}", 404),
        ("POST", "/_sim/nothing", "{}", 404),
        ("GET", "/nothing", "", 404),
    ] {
        let reply = sim
            .http(method, path, &[], body.as_bytes())
            .await
            .expect("a reply");
        assert_eq!(reply.status, status, "{path}");
        let reason: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(reason["error"].is_string());
    }
}

#[tokio::test]
async fn artifacts_are_served_from_their_directory_only() {
    let directory = std::env::temp_dir().join(format!("ec2sim-artifacts-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("agent"), b"\x7fELF").expect("a file");
    let sim = Sim::start_with(Config {
        artifacts: Some(directory.clone()),
        ..quick()
    })
    .await;
    let get = async |path: &str| sim.http("GET", path, &[], b"").await.expect("a reply");
    let found = get("/_artifacts/agent").await;
    assert_eq!(
        (found.status, found.body.as_slice()),
        (200, b"\x7fELF".as_slice())
    );
    for path in [
        "/_artifacts/none",
        "/_artifacts/../Cargo.toml",
        "/_artifacts//etc/passwd",
    ] {
        assert_ne!(get(path).await.status, 200, "{path}");
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[tokio::test]
async fn a_test_can_add_an_image_of_its_own() {
    let sim = Sim::start().await;
    let image = json!({ "region": "us-east-1", "name": "mine", "architecture": "arm64" });
    let image = sim.control("POST", "images", image).await;
    let id = image["imageId"].as_str().expect("an id");
    let own = sim.ok("DescribeImages", &[("Owner.1", "self")]).await;
    assert_eq!(own.texts("imagesSet/item/imageId"), [id]);
    sim.run(1, &[("ImageId", id), ("InstanceType", "t4g.micro")])
        .await;
}

#[tokio::test]
async fn instances_without_machines_work_tag_themselves_and_power_off() {
    let sim = Sim::start().await;
    let work = json!({ "takesMs": 50, "tags": { "said": "done at {now}" } });
    sim.control("POST", "work", work).await;
    let behavior = [("InstanceInitiatedShutdownBehavior", "terminate")];
    let id = sim.run(1, &behavior).await.remove(0);
    let gone = sim.until(&id, "terminated").await;
    assert_eq!(
        gone.text("stateReason/code"),
        "Client.InstanceInitiatedShutdown"
    );
    let said = gone.text("tagSet/item/value");
    assert!(said.starts_with("done at 2"), "{said}");
}
