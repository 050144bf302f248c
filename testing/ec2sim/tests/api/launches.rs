use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ec2sim::config::Config;
use serde_json::json;

use super::client::{Sim, quick};

#[tokio::test]
async fn the_same_token_gives_the_same_instances_also_in_parallel() {
    let sim = Sim::start().await;
    let token = [("ClientToken", "once")];
    let (one, two, three) =
        tokio::join!(sim.run(2, &token), sim.run(2, &token), sim.run(2, &token));
    assert_eq!(one.len(), 2);
    assert_eq!(one, two);
    assert_eq!(one, three);
    let listed = sim.ok("DescribeInstances", &[]).await;
    assert_eq!(listed.all("reservationSet/item/instancesSet/item").len(), 2);
}

#[tokio::test]
async fn the_same_token_with_other_parameters_is_refused() {
    let sim = Sim::start().await;
    sim.run(1, &[("ClientToken", "t")]).await;
    let other = sim
        .try_run(1, &[("ClientToken", "t"), ("InstanceType", "t3.small")])
        .await;
    assert_eq!(
        other.expect_err("mismatch").1,
        "IdempotentParameterMismatch"
    );
}

#[tokio::test]
async fn a_token_is_of_one_region_and_one_account() {
    let sim = Sim::start().await;
    let here = sim.run(1, &[("ClientToken", "t")]).await;
    let there = sim
        .in_region("us-west-2")
        .run(1, &[("ClientToken", "t")])
        .await;
    let theirs = sim
        .with_key("AKIA210987654321")
        .run(1, &[("ClientToken", "t")])
        .await;
    assert_ne!(here, there);
    assert_ne!(here, theirs);
}

#[tokio::test]
async fn a_token_outlives_its_instance_even_when_that_is_no_longer_listed() {
    let config = Config {
        terminated_visible: Duration::from_millis(50),
        ..quick()
    };
    let sim = Sim::start_with(config).await;
    let ids = sim.run(1, &[("ClientToken", "t")]).await;
    sim.ok("TerminateInstances", &[("InstanceId.1", &ids[0])])
        .await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while sim
        .ec2("DescribeInstances", &[("InstanceId.1", &ids[0])])
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "the instance stays listed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let again = sim
        .try_run(1, &[("ClientToken", "t")])
        .await
        .expect("the same answer");
    assert_eq!(again.texts("instancesSet/item/instanceId"), ids);
    assert_eq!(
        again.text("instancesSet/item/instanceState/name"),
        "terminated"
    );
}

#[tokio::test]
async fn a_failed_call_does_not_use_its_token_up() {
    let sim = Sim::start().await;
    let profile = [("ClientToken", "t"), ("IamInstanceProfile.Name", "late")];
    let refused = sim.try_run(1, &profile).await.expect_err("no such profile");
    assert_eq!(refused.1, "InvalidParameterValue");
    let name = [("InstanceProfileName", "late")];
    sim.query("iam", "CreateInstanceProfile", &name)
        .await
        .expect("a reply")
        .expect("created");
    assert_eq!(sim.run(1, &profile).await.len(), 1);
}

#[tokio::test]
async fn members_of_a_launch_are_numbered_and_share_a_reservation() {
    let sim = Sim::start().await;
    let launched = sim.try_run(3, &[]).await.expect("launched");
    assert_eq!(
        launched.texts("instancesSet/item/amiLaunchIndex"),
        ["0", "1", "2"]
    );
    assert_eq!(
        launched.texts("instancesSet/item/instanceState/name"),
        ["pending"; 3]
    );
    let filter = [("Filter.1.Name", "launch-index"), ("Filter.1.Value.1", "2")];
    let third = sim.ok("DescribeInstances", &filter).await;
    assert_eq!(
        third.text("reservationSet/item/instancesSet/item/instanceId"),
        launched.texts("instancesSet/item/instanceId")[2]
    );
    assert_eq!(
        third.text("reservationSet/item/reservationId"),
        launched.text("reservationId")
    );
}

#[tokio::test]
async fn tags_on_create_reach_instance_volume_interface_and_spot_request() {
    let sim = Sim::start().await;
    let kinds = [
        "instance",
        "volume",
        "network-interface",
        "spot-instances-request",
    ];
    let names: Vec<(String, String)> = kinds
        .iter()
        .zip(1..)
        .flat_map(|(kind, n)| {
            let at = |field: &str| format!("TagSpecification.{n}.{field}");
            [
                (at("ResourceType"), (*kind).to_owned()),
                (at("Tag.1.Key"), "who".to_owned()),
                (at("Tag.1.Value"), (*kind).to_owned()),
            ]
        })
        .collect();
    let mut params: Vec<(&str, &str)> = names
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    params.push(("InstanceMarketOptions.MarketType", "spot"));
    sim.run(1, &params).await;
    let tags = sim.ok("DescribeTags", &[]).await;
    let mut found = tags.texts("tagSet/item/resourceType");
    found.sort();
    let mut values = tags.texts("tagSet/item/value");
    values.sort();
    assert_eq!(
        found,
        [
            "instance",
            "network-interface",
            "spot-instances-request",
            "volume"
        ]
    );
    assert_eq!(found, values);
}

#[tokio::test]
async fn bad_launches_are_refused_with_the_documented_codes() {
    let sim = Sim::start().await;
    let arm = sim.image("arm64").await;
    let long = STANDARD.encode(vec![b'x'; 16 * 1024 + 1]);
    let cases: [(&str, &[(&str, &str)]); 16] = [
        (
            "InvalidAMIID.NotFound",
            &[("ImageId", "ami-0123456789abcdef0")],
        ),
        ("InvalidAMIID.Malformed", &[("ImageId", "ubuntu")]),
        ("InvalidInstanceType", &[("InstanceType", "x9.huge")]),
        ("InvalidParameterValue", &[("ImageId", &arm)]),
        (
            "InvalidSubnetID.NotFound",
            &[("SubnetId", "subnet-0123456789abcdef0")],
        ),
        (
            "InvalidGroup.NotFound",
            &[("SecurityGroupId.1", "sg-0123456789abcdef0")],
        ),
        ("InvalidKeyPair.NotFound", &[("KeyName", "nobody")]),
        (
            "InvalidParameterValue",
            &[("MinCount", "2"), ("MaxCount", "1")],
        ),
        ("InvalidParameterValue", &[("UserData", &long)]),
        ("InvalidUserData.Malformed", &[("UserData", "%%%")]),
        (
            "InvalidPlacementGroup.Unknown",
            &[("Placement.GroupName", "nowhere")],
        ),
        (
            "Unsupported",
            &[
                ("InstanceType", "m7i.large"),
                ("Placement.AvailabilityZone", "us-east-1e"),
            ],
        ),
        (
            "InvalidBlockDeviceMapping",
            &[
                ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "1"),
            ],
        ),
        (
            "UnsupportedHibernationConfiguration",
            &[("HibernationOptions.Configured", "true")],
        ),
        (
            "SpotMaxPriceTooLow",
            &[
                ("InstanceMarketOptions.MarketType", "spot"),
                ("InstanceMarketOptions.SpotOptions.MaxPrice", "0.0001"),
            ],
        ),
        (
            "InvalidParameterValue",
            &[
                ("MetadataOptions.InstanceMetadataTags", "enabled"),
                ("TagSpecification.1.ResourceType", "instance"),
                ("TagSpecification.1.Tag.1.Key", "a/b"),
            ],
        ),
    ];
    for (code, params) in cases {
        let refused = sim.try_run(1, params).await.expect_err("refused");
        assert_eq!(refused.1, code, "{params:?}");
    }
    let listed = sim.ok("DescribeInstances", &[]).await;
    assert!(listed.all("reservationSet/item").is_empty());
    let volumes = sim.ok("DescribeVolumes", &[]).await;
    assert!(volumes.all("volumeSet/item").is_empty());
}

#[tokio::test]
async fn a_dry_run_checks_and_launches_nothing() {
    let sim = Sim::start().await;
    let dry = [("DryRun", "true"), ("ClientToken", "t")];
    assert_eq!(
        sim.try_run(1, &dry).await.expect_err("dry"),
        (412, "DryRunOperation".to_owned())
    );
    let bad = [("DryRun", "true"), ("InstanceType", "x9.huge")];
    assert_eq!(
        sim.try_run(1, &bad).await.expect_err("bad").1,
        "InvalidInstanceType"
    );
    // The token of a dry run is still free.
    sim.run(2, &[("ClientToken", "t")]).await;
}

#[tokio::test]
async fn a_volume_that_is_kept_outlives_its_instance() {
    let sim = Sim::start().await;
    let keep = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "12"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "5"),
        ("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "false"),
    ];
    let ids = sim.run(1, &keep).await;
    sim.until(&ids[0], "running").await;
    let volumes = sim.ok("DescribeVolumes", &[]).await;
    let mut sizes = volumes.texts("volumeSet/item/size");
    sizes.sort();
    assert_eq!(sizes, ["12", "5"]);
    sim.ok("TerminateInstances", &[("InstanceId.1", &ids[0])])
        .await;
    sim.until(&ids[0], "terminated").await;
    let left = sim.ok("DescribeVolumes", &[]).await;
    assert_eq!(left.texts("volumeSet/item/size"), ["5"]);
    assert_eq!(left.texts("volumeSet/item/status"), ["available"]);
    let interfaces = sim.ok("DescribeNetworkInterfaces", &[]).await;
    assert!(interfaces.all("networkInterfaceSet/item").is_empty());
}

#[tokio::test]
async fn the_documented_launch_rates_apply_when_limits_are_on() {
    let sim = Sim::start_with(Config {
        limits: true,
        ..quick()
    })
    .await;
    for _ in 0..5 {
        sim.run(1, &[]).await;
    }
    let refused = sim.try_run(1, &[]).await.expect_err("over the burst");
    assert_eq!(refused, (503, "RequestLimitExceeded".to_owned()));
    // Other APIs have buckets of their own.
    sim.ok("DescribeInstances", &[]).await;
    let west = sim.in_region("us-west-2");
    west.run(800, &[]).await;
    let refused = west
        .try_run(300, &[])
        .await
        .expect_err("over the resource bucket");
    assert_eq!(refused.1, "RequestLimitExceeded");
    west.run(150, &[]).await;
}

#[tokio::test]
async fn a_fleet_fills_from_its_pools_and_reports_those_that_refuse() {
    let sim = Sim::start().await;
    let image = sim.image("x86_64").await;
    let template = sim
        .ok(
            "CreateLaunchTemplate",
            &[
                ("LaunchTemplateName", "t"),
                ("LaunchTemplateData.ImageId", &image),
            ],
        )
        .await;
    let template = template.text("launchTemplate/launchTemplateId").to_owned();
    sim.fault(json!({
        "action": "RunInstances",
        "match": { "instanceType": "t3.small" },
        "effect": { "capacity": { "code": "InsufficientInstanceCapacity", "available": 2 } },
    }))
    .await;
    let config = "LaunchTemplateConfigs.1.";
    let names: Vec<(String, &str)> = vec![
        (
            format!("{config}LaunchTemplateSpecification.LaunchTemplateId"),
            &template,
        ),
        (format!("{config}Overrides.1.InstanceType"), "t3.small"),
        (format!("{config}Overrides.2.InstanceType"), "t3.medium"),
    ];
    let mut params: Vec<(&str, &str)> = names.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    params.extend([
        ("Type", "instant"),
        ("ClientToken", "f"),
        ("TargetCapacitySpecification.TotalTargetCapacity", "5"),
    ]);
    let fleet = sim.ok("CreateFleet", &params).await;
    let launched: Vec<usize> = fleet
        .all("fleetInstanceSet/item")
        .iter()
        .map(|pool| pool.all("instanceIds/item").len())
        .collect();
    assert_eq!(launched, [2, 3]);
    let again = sim.ok("CreateFleet", &params).await;
    assert_eq!(again.text("fleetId"), fleet.text("fleetId"));
    let listed = sim.ok("DescribeInstances", &[]).await;
    assert_eq!(listed.all("reservationSet/item/instancesSet/item").len(), 5);
}
