use serde_json::json;

use super::client::Sim;

#[tokio::test]
async fn an_instance_runs_stops_starts_and_ends_with_its_reasons() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    let running = sim.until(&id, "running").await;
    assert!(running.find("ipAddress").is_some());
    assert!(running.find("stateReason").is_none());
    let stopping = sim.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(
        stopping.text("instancesSet/item/currentState/name"),
        "stopping"
    );
    assert_eq!(
        stopping.text("instancesSet/item/previousState/name"),
        "running"
    );
    assert_eq!(
        sim.code("StartInstances", &[("InstanceId.1", &id)]).await,
        "IncorrectInstanceState"
    );
    let stopped = sim.until(&id, "stopped").await;
    assert_eq!(
        stopped.text("stateReason/code"),
        "Client.UserInitiatedShutdown"
    );
    assert!(stopped.text("reason").starts_with("User initiated ("));
    assert!(stopped.find("ipAddress").is_none());
    sim.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    sim.until(&id, "running").await;
    let ending = sim.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(
        ending.text("instancesSet/item/currentState/name"),
        "shutting-down"
    );
    let ended = sim.until(&id, "terminated").await;
    assert_eq!(
        ended.text("stateReason/code"),
        "Client.UserInitiatedShutdown"
    );
    assert_eq!(
        sim.code("StopInstances", &[("InstanceId.1", &id)]).await,
        "IncorrectInstanceState"
    );
    // Ending it again is fine, and changes nothing.
    let again = sim.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(
        again.text("instancesSet/item/currentState/name"),
        "terminated"
    );
}

#[tokio::test]
async fn one_unknown_id_refuses_the_whole_termination() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    let both = [
        ("InstanceId.1", id.as_str()),
        ("InstanceId.2", "i-0123456789abcdef0"),
    ];
    assert_eq!(
        sim.code("TerminateInstances", &both).await,
        "InvalidInstanceID.NotFound"
    );
    sim.until(&id, "running").await;
}

#[tokio::test]
async fn a_protected_instance_refuses_the_whole_termination() {
    let sim = Sim::start().await;
    let ids = sim.run(2, &[]).await;
    let protect = |on| {
        [
            ("InstanceId", ids[0].as_str()),
            ("DisableApiTermination.Value", on),
        ]
    };
    sim.ok("ModifyInstanceAttribute", &protect("true")).await;
    let both = [
        ("InstanceId.1", ids[0].as_str()),
        ("InstanceId.2", ids[1].as_str()),
    ];
    assert_eq!(
        sim.code("TerminateInstances", &both).await,
        "OperationNotPermitted"
    );
    sim.until(&ids[1], "running").await;
    sim.ok("ModifyInstanceAttribute", &protect("false")).await;
    sim.ok("TerminateInstances", &both).await;
}

#[tokio::test]
async fn the_shutdown_behavior_decides_what_a_power_off_does() {
    let sim = Sim::start().await;
    let stops = sim.run(1, &[]).await.remove(0);
    let behavior = [("InstanceInitiatedShutdownBehavior", "terminate")];
    let ends = sim.run(1, &behavior).await.remove(0);
    for id in [&stops, &ends] {
        sim.until(id, "running").await;
        sim.control("POST", &format!("instances/{id}/power-off"), json!({}))
            .await;
    }
    for (id, state) in [(&stops, "stopped"), (&ends, "terminated")] {
        let ended = sim.until(id, state).await;
        assert_eq!(
            ended.text("stateReason/code"),
            "Client.InstanceInitiatedShutdown"
        );
    }
}

#[tokio::test]
async fn hibernation_needs_what_ec2_asks_for() {
    let sim = Sim::start().await;
    let hibernating = [
        ("InstanceType", "m5.large"),
        ("HibernationOptions.Configured", "true"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "16"),
    ];
    let id = sim.run(1, &hibernating).await.remove(0);
    sim.until(&id, "running").await;
    sim.ok(
        "StopInstances",
        &[("InstanceId.1", &id), ("Hibernate", "true")],
    )
    .await;
    let stopped = sim.until(&id, "stopped").await;
    assert_eq!(
        stopped.text("stateReason/code"),
        "Client.UserInitiatedHibernate"
    );
    let plain = sim.run(1, &[]).await.remove(0);
    sim.until(&plain, "running").await;
    assert_eq!(
        sim.code(
            "StopInstances",
            &[("InstanceId.1", &plain), ("Hibernate", "true")]
        )
        .await,
        "UnsupportedHibernationConfiguration"
    );
}

#[tokio::test]
async fn a_one_time_spot_instance_cannot_be_stopped_but_is_interrupted() {
    let sim = Sim::start().await;
    let spot = [("InstanceMarketOptions.MarketType", "spot")];
    let id = sim.run(1, &spot).await.remove(0);
    let running = sim.until(&id, "running").await;
    assert_eq!(running.text("instanceLifecycle"), "spot");
    assert_eq!(
        sim.code("StopInstances", &[("InstanceId.1", &id)]).await,
        "UnsupportedOperation"
    );
    let path = format!("instances/{id}/spot-interrupt");
    sim.control("POST", &path, json!({ "inSeconds": 0 })).await;
    let ended = sim.until(&id, "terminated").await;
    assert_eq!(
        ended.text("stateReason/code"),
        "Server.SpotInstanceTermination"
    );
    let request = sim.ok("DescribeSpotInstanceRequests", &[]).await;
    assert_eq!(request.text("spotInstanceRequestSet/item/state"), "closed");
    assert_eq!(
        request.text("spotInstanceRequestSet/item/status/code"),
        "instance-terminated-no-capacity"
    );
}

#[tokio::test]
async fn a_persistent_spot_request_launches_again_until_it_is_cancelled() {
    let sim = Sim::start().await;
    let persistent = [
        ("InstanceMarketOptions.MarketType", "spot"),
        (
            "InstanceMarketOptions.SpotOptions.SpotInstanceType",
            "persistent",
        ),
        ("ClientToken", "t"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "k"),
    ];
    let first = sim.run(1, &persistent).await.remove(0);
    let request = sim
        .until(&first, "running")
        .await
        .text("spotInstanceRequestId")
        .to_owned();
    let live = async || {
        let filter = [
            ("Filter.1.Name", "spot-instance-request-id"),
            ("Filter.1.Value.1", request.as_str()),
            ("Filter.2.Name", "tag-key"),
            ("Filter.2.Value.1", "k"),
            ("Filter.3.Name", "instance-state-name"),
            ("Filter.3.Value.1", "pending"),
            ("Filter.3.Value.2", "running"),
        ];
        let listed = sim.ok("DescribeInstances", &filter).await;
        listed.texts("reservationSet/item/instancesSet/item/instanceId")
    };
    sim.ok("TerminateInstances", &[("InstanceId.1", &first)])
        .await;
    sim.until(&first, "terminated").await;
    let second = live().await;
    assert_eq!(second.len(), 1);
    assert_ne!(second[0], first);
    sim.ok(
        "CancelSpotInstanceRequests",
        &[("SpotInstanceRequestId.1", &request)],
    )
    .await;
    sim.until(&second[0], "running").await;
    sim.ok("TerminateInstances", &[("InstanceId.1", &second[0])])
        .await;
    sim.until(&second[0], "terminated").await;
    assert!(live().await.is_empty());
}

#[tokio::test]
async fn a_host_that_fails_ends_its_instance_at_once() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    sim.until(&id, "running").await;
    sim.control("POST", &format!("instances/{id}/die"), json!({}))
        .await;
    let ended = sim.instance(&id).await;
    assert_eq!(ended.text("instanceState/name"), "terminated");
    assert_eq!(ended.text("stateReason/code"), "Server.InternalError");
}

#[tokio::test]
async fn attributes_are_read_back_and_changed() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[("UserData", "IyEvYmluL3No")]).await.remove(0);
    let user_data = [("InstanceId", id.as_str()), ("Attribute", "userData")];
    let read = sim.ok("DescribeInstanceAttribute", &user_data).await;
    assert_eq!(read.text("userData/value"), "IyEvYmluL3No");
    let tokens = [("InstanceId", id.as_str()), ("HttpTokens", "optional")];
    let changed = sim.ok("ModifyInstanceMetadataOptions", &tokens).await;
    assert_eq!(
        changed.text("instanceMetadataOptions/httpTokens"),
        "optional"
    );
    let running = sim.until(&id, "running").await;
    assert_eq!(running.text("metadataOptions/httpTokens"), "optional");
    assert_eq!(running.text("metadataOptions/state"), "applied");
    let kind = [
        ("InstanceId", id.as_str()),
        ("InstanceType.Value", "t3.small"),
    ];
    assert_eq!(
        sim.code("ModifyInstanceAttribute", &kind).await,
        "IncorrectInstanceState"
    );
}
