use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Sim;

#[tokio::test]
async fn a_lost_reply_took_effect_and_the_token_recovers_it() {
    let sim = Sim::start().await;
    let image = sim.image("x86_64").await;
    let launch = [
        ("ImageId", image.as_str()),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("ClientToken", "t"),
    ];
    sim.fault(json!({ "action": "RunInstances", "times": 1, "effect": { "loseReply": {} } }))
        .await;
    assert!(sim.query("ec2", "RunInstances", &launch).await.is_none());
    let by_token = [("Filter.1.Name", "client-token"), ("Filter.1.Value.1", "t")];
    let found = sim.ok("DescribeInstances", &by_token).await;
    let id = found
        .text("reservationSet/item/instancesSet/item/instanceId")
        .to_owned();
    let again = sim.ok("RunInstances", &launch).await;
    assert_eq!(again.texts("instancesSet/item/instanceId"), [id]);
}

#[tokio::test]
async fn a_reset_and_a_5xx_before_the_effect_leave_nothing() {
    let sim = Sim::start().await;
    sim.fault(json!({ "action": "CreateVolume", "times": 1, "effect": { "reset": {} } }))
        .await;
    sim.fault(json!({
        "action": "CreateVolume", "times": 1,
        "effect": { "status": 503, "afterEffect": false },
    }))
    .await;
    let volume = [("AvailabilityZone", "us-east-1a"), ("Size", "1")];
    assert!(sim.query("ec2", "CreateVolume", &volume).await.is_none());
    let refused = sim.ec2("CreateVolume", &volume).await.expect_err("a 503");
    assert_eq!(refused, (503, String::new()));
    assert!(
        sim.ok("DescribeVolumes", &[])
            .await
            .all("volumeSet/item")
            .is_empty()
    );
    sim.ok("CreateVolume", &volume).await;
    let volumes = sim.ok("DescribeVolumes", &[]).await;
    assert_eq!(volumes.all("volumeSet/item").len(), 1);
}

#[tokio::test]
async fn a_5xx_after_the_effect_leaves_the_effect() {
    let sim = Sim::start().await;
    sim.fault(json!({
        "action": "CreateVolume", "effect": { "status": 500, "afterEffect": true },
    }))
    .await;
    let volume = [("AvailabilityZone", "us-east-1a"), ("Size", "1")];
    let refused = sim.ec2("CreateVolume", &volume).await.expect_err("a 500");
    assert_eq!(refused, (500, String::new()));
    let volumes = sim.ok("DescribeVolumes", &[]).await;
    assert_eq!(volumes.all("volumeSet/item").len(), 1);
}

#[tokio::test]
async fn capacity_runs_out_by_type_zone_and_market() {
    let sim = Sim::start().await;
    sim.fault(json!({
        "action": "RunInstances",
        "match": { "instanceType": "g5.xlarge", "zone": "us-east-1a", "market": "spot" },
        "effect": { "capacity": { "code": "InsufficientInstanceCapacity" } },
    }))
    .await;
    let gpu = ("InstanceType", "g5.xlarge");
    let here = ("Placement.AvailabilityZone", "us-east-1a");
    let spot = ("InstanceMarketOptions.MarketType", "spot");
    let refused = sim
        .try_run(1, &[gpu, here, spot])
        .await
        .expect_err("no room");
    assert_eq!(refused, (500, "InsufficientInstanceCapacity".to_owned()));
    sim.run(1, &[gpu, here]).await;
    let elsewhere = sim
        .try_run(1, &[gpu, spot])
        .await
        .expect("another zone has room");
    assert_ne!(
        elsewhere.text("instancesSet/item/placement/availabilityZone"),
        "us-east-1a"
    );
}

#[tokio::test]
async fn scarce_capacity_fulfils_a_launch_in_part_or_not_at_all() {
    let sim = Sim::start().await;
    let capacity = json!({ "code": "InsufficientInstanceCapacity", "available": 3 });
    sim.fault(json!({ "action": "RunInstances", "effect": { "capacity": capacity } }))
        .await;
    let refused = sim.try_run(4, &[]).await.expect_err("needs all four");
    assert_eq!(refused.1, "InsufficientInstanceCapacity");
    assert_eq!(sim.run(4, &[("MinCount", "2")]).await.len(), 3);
    assert!(sim.try_run(1, &[]).await.is_err());
}

#[tokio::test]
async fn list_lag_hides_what_was_just_launched() {
    let sim = Sim::start().await;
    let fault = sim
        .fault(json!({ "action": "DescribeInstances", "effect": { "listLag": { "ms": 600_000 } } }))
        .await;
    let id = sim.run(1, &[("ClientToken", "t")]).await.remove(0);
    assert_eq!(
        sim.code("DescribeInstances", &[("InstanceId.1", &id)])
            .await,
        "InvalidInstanceID.NotFound"
    );
    let by_token = [("Filter.1.Name", "client-token"), ("Filter.1.Value.1", "t")];
    let listed = sim.ok("DescribeInstances", &by_token).await;
    assert!(listed.all("reservationSet/item").is_empty());
    sim.control("DELETE", &format!("faults/{}", fault["id"]), Value::Null)
        .await;
    sim.instance(&id).await;
}

#[tokio::test]
async fn a_held_call_waits_until_it_is_released() {
    let sim = Sim::start().await;
    sim.fault(json!({
        "action": "CreateVolume", "times": 1, "effect": { "hold": { "when": "after" } },
    }))
    .await;
    let volume = [("AvailabilityZone", "us-east-1a"), ("Size", "1")];
    let release = async {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let held = sim.control("GET", "held", Value::Null).await;
            if held.as_array().is_some_and(|held| !held.is_empty()) {
                break;
            }
            assert!(Instant::now() < deadline, "nothing is held");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Held after its effect: the volume is there, the caller does not know yet.
        let volumes = sim.ok("DescribeVolumes", &[]).await;
        assert_eq!(volumes.all("volumeSet/item").len(), 1);
        sim.control("POST", "held/release", json!({})).await
    };
    let (made, released) = tokio::join!(sim.ec2("CreateVolume", &volume), release);
    assert!(made.is_ok());
    assert_eq!(released["released"], 1);
}

#[tokio::test]
async fn a_held_call_whose_client_goes_away_is_never_executed() {
    let sim = Sim::start().await;
    sim.fault(json!({ "action": "CreateVolume", "effect": { "hold": { "when": "before" } } }))
        .await;
    let volume = [("AvailabilityZone", "us-east-1a"), ("Size", "1")];
    let call = sim.ec2("CreateVolume", &volume);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), call)
            .await
            .is_err()
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while sim.control("GET", "held", Value::Null).await != json!([]) {
        assert!(Instant::now() < deadline, "the call stays on the list");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let volumes = sim.ok("DescribeVolumes", &[]).await;
    assert!(volumes.all("volumeSet/item").is_empty());
}

#[tokio::test]
async fn a_fault_can_be_for_one_caller() {
    let sim = Sim::start().await;
    sim.fault(json!({
        "action": "*", "accessKey": "AKIAOTHER",
        "effect": { "error": { "code": "UnauthorizedOperation" } },
    }))
    .await;
    sim.ok("DescribeVpcs", &[]).await;
    let other = sim.with_key("AKIAOTHER").ec2("DescribeVpcs", &[]).await;
    assert_eq!(
        other.expect_err("refused"),
        (403, "UnauthorizedOperation".to_owned())
    );
}
