use super::client::Sim;

#[tokio::test]
async fn a_network_is_taken_down_in_order_only() {
    let sim = Sim::start().await;
    let vpc = sim.ok("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await;
    let vpc = vpc.text("vpc/vpcId").to_owned();
    let in_vpc = ("VpcId", vpc.as_str());
    let subnet = sim
        .ok("CreateSubnet", &[in_vpc, ("CidrBlock", "10.0.1.0/24")])
        .await;
    let subnet = subnet.text("subnet/subnetId").to_owned();
    let group = [in_vpc, ("GroupName", "g"), ("GroupDescription", "d")];
    let group = sim
        .ok("CreateSecurityGroup", &group)
        .await
        .text("groupId")
        .to_owned();
    let gateway = sim.ok("CreateInternetGateway", &[]).await;
    let gateway = gateway.text("internetGateway/internetGatewayId").to_owned();
    let attached = [("InternetGatewayId", gateway.as_str()), in_vpc];
    sim.ok("AttachInternetGateway", &attached).await;
    let place = [
        ("SubnetId", subnet.as_str()),
        ("SecurityGroupId.1", group.as_str()),
    ];
    let id = sim.run(1, &place).await.remove(0);
    sim.until(&id, "running").await;
    let steps: [(&str, &[(&str, &str)]); 4] = [
        ("DeleteSecurityGroup", &[("GroupId", &group)]),
        ("DeleteSubnet", &[("SubnetId", &subnet)]),
        ("DeleteInternetGateway", &[("InternetGatewayId", &gateway)]),
        ("DeleteVpc", &[in_vpc]),
    ];
    for (action, params) in steps {
        assert_eq!(
            sim.code(action, params).await,
            "DependencyViolation",
            "{action}"
        );
    }
    sim.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    // The interface goes when the instance has ended, not before.
    assert_eq!(
        sim.code(steps[0].0, steps[0].1).await,
        "DependencyViolation"
    );
    sim.until(&id, "terminated").await;
    sim.ok("DetachInternetGateway", &attached).await;
    for (action, params) in steps {
        sim.ok(action, params).await;
    }
    assert_eq!(
        sim.code("DescribeVpcs", &[("VpcId.1", &vpc)]).await,
        "InvalidVpcID.NotFound"
    );
}

#[tokio::test]
async fn a_region_begins_with_a_default_network() {
    let sim = Sim::start().await.in_region("us-west-2");
    let vpcs = sim
        .ok(
            "DescribeVpcs",
            &[
                ("Filter.1.Name", "is-default"),
                ("Filter.1.Value.1", "true"),
            ],
        )
        .await;
    assert_eq!(vpcs.texts("vpcSet/item/cidrBlock"), ["172.31.0.0/16"]);
    let subnets = sim.ok("DescribeSubnets", &[]).await;
    let mut zones = subnets.texts("subnetSet/item/availabilityZone");
    zones.sort();
    assert_eq!(
        zones,
        ["us-west-2a", "us-west-2b", "us-west-2c", "us-west-2d"]
    );
    let groups = sim.ok("DescribeSecurityGroups", &[]).await;
    assert_eq!(
        groups.texts("securityGroupInfo/item/groupName"),
        ["default"]
    );
}

#[tokio::test]
async fn a_subnet_can_be_full() {
    let sim = Sim::start().await;
    let vpc = sim.ok("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await;
    let vpc = vpc.text("vpc/vpcId").to_owned();
    let subnet = sim
        .ok(
            "CreateSubnet",
            &[("VpcId", &vpc), ("CidrBlock", "10.0.1.0/28")],
        )
        .await;
    let here = [("SubnetId", subnet.text("subnet/subnetId"))];
    sim.run(11, &here).await;
    let refused = sim.try_run(1, &here).await.expect_err("full");
    assert_eq!(refused.1, "InsufficientFreeAddressesInSubnet");
}

#[tokio::test]
async fn rules_are_added_once_and_revoked() {
    let sim = Sim::start().await;
    let group = sim
        .ok(
            "CreateSecurityGroup",
            &[("GroupName", "g"), ("GroupDescription", "d")],
        )
        .await;
    let ssh = [
        ("GroupId", group.text("groupId")),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
    ];
    sim.ok("AuthorizeSecurityGroupIngress", &ssh).await;
    let again = sim.code("AuthorizeSecurityGroupIngress", &ssh).await;
    assert_eq!(again, "InvalidPermission.Duplicate");
    let listed = sim
        .ok("DescribeSecurityGroups", &[("GroupId.1", ssh[0].1)])
        .await;
    let rules = "securityGroupInfo/item/ipPermissions/item";
    assert_eq!(
        listed.texts(&format!("{rules}/ipRanges/item/cidrIp")),
        ["10.0.0.0/8"]
    );
    sim.ok("RevokeSecurityGroupIngress", &ssh).await;
    assert_eq!(
        sim.code("RevokeSecurityGroupIngress", &ssh).await,
        "InvalidPermission.NotFound"
    );
}
