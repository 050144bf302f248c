//! What is asked of EC2 for a spore, as the `aws` command shows it.

use std::fs;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use spore_crds::conditions::LAUNCHED;
use spore_e2e::{
    create, delete,
    ec2::{aws, aws_text, calls_by, instance_of},
    until_true, without_machines,
};
use spore_world::{World, sim::ACCESS_KEY};

/// Everything of a spore that the `aws` command shows: instances that are not gone, volumes, interfaces.
async fn shown_by_aws(world: &World, uid: &str) -> [Vec<Value>; 3] {
    let mine = format!("Name=tag:spawn:uid,Values={uid}");
    let live = "Name=instance-state-name,Values=pending,running,stopping,stopped,shutting-down";
    let [instances, volumes, interfaces] = [
        vec!["ec2", "describe-instances", "--filters", &mine, live],
        vec!["ec2", "describe-volumes", "--filters", &mine],
        vec!["ec2", "describe-network-interfaces", "--filters", &mine],
    ];
    let (instances, volumes, interfaces) = tokio::join!(
        aws(world, &instances),
        aws(world, &volumes),
        aws(world, &interfaces)
    );
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let reservations = list(&instances["Reservations"]);
    [
        reservations
            .iter()
            .flat_map(|reservation| list(&reservation["Instances"]))
            .collect(),
        list(&volumes["Volumes"]),
        list(&interfaces["NetworkInterfaces"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_deletion_leaves_no_instance_volume_or_interface_in_aws() {
    let world = without_machines("leaves-nothing").await;
    let spore = create(&world, "gone", json!({})).await.unwrap();
    let uid = spore.uid().unwrap();
    until_true(&world, "gone", LAUNCHED).await;
    let before = shown_by_aws(&world, &uid).await;
    assert_eq!(before.each_ref().map(Vec::len), [1, 1, 1], "{before:?}");
    delete(&world, "gone").await;
    let after = shown_by_aws(&world, &uid).await;
    assert_eq!(after.each_ref().map(Vec::len), [0, 0, 0], "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_the_launch_is_safe_and_complete_in_one_call() {
    let world = without_machines("launch-facts").await;
    let spec = json!({"tags": {"team": "vision"}, "command": ["true"]});
    let uid = create(&world, "facts", spec).await.unwrap().uid().unwrap();
    until_true(&world, "facts", LAUNCHED).await;
    let [instances, volumes, interfaces] = shown_by_aws(&world, &uid).await;
    let instance = &instances[0];

    let metadata = &instance["MetadataOptions"];
    assert_eq!(metadata["HttpTokens"], "required", "IMDSv2 only");
    assert_eq!(metadata["HttpPutResponseHopLimit"], 1);
    assert_eq!(metadata["InstanceMetadataTags"], "enabled");
    let disk = &instance["BlockDeviceMappings"][0]["Ebs"];
    assert_eq!(disk["DeleteOnTermination"], true);
    assert_eq!(volumes[0]["Encrypted"], true);
    let interface = &instance["NetworkInterfaces"][0]["Attachment"];
    assert_eq!(interface["DeleteOnTermination"], true);

    let owner = format!("{}/facts", world.namespace());
    let tags = [
        ("spawn:owner", owner.as_str()),
        ("team", "vision"),
        ("spawn:managed", "true"),
    ];
    for thing in [instance, &volumes[0], &interfaces[0]] {
        for (key, value) in tags {
            assert_eq!(tag(thing, key), Some(value), "{thing}");
        }
    }

    let id = instance["InstanceId"].as_str().unwrap();
    let attribute = |name| {
        let args = [
            "ec2",
            "describe-instance-attribute",
            "--instance-id",
            id,
            "--attribute",
            name,
        ];
        args.map(str::to_owned)
    };
    let shutdown = attribute("instanceInitiatedShutdownBehavior");
    let shutdown = aws(&world, &shutdown.each_ref().map(String::as_str)).await;
    assert_eq!(
        shutdown["InstanceInitiatedShutdownBehavior"]["Value"],
        "terminate"
    );

    assert_eq!(calls_by(&world, ACCESS_KEY, "RunInstances").await, 1);
    assert_eq!(
        calls_by(&world, ACCESS_KEY, "CreateTags").await,
        0,
        "tags come with the launch"
    );
}

fn tag<'a>(thing: &'a Value, key: &str) -> Option<&'a str> {
    // EC2 calls the tags of an interface a set.
    let tags = thing
        .get("Tags")
        .or_else(|| thing.get("TagSet"))?
        .as_array()?;
    tags.iter().find(|tag| tag["Key"] == key)?["Value"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_user_data_holds_no_secret_and_the_instance_may_only_end_and_tag_itself() {
    let world = World::start("no-secrets").await.unwrap();
    create(&world, "plain", json!({"command": ["true"]}))
        .await
        .unwrap();
    let id = instance_of(&world, "plain").await.id;
    let args = [
        "ec2",
        "describe-instance-attribute",
        "--instance-id",
        &id,
        "--attribute",
        "userData",
    ];
    let base64 = aws_text(&world, &args, "UserData.Value").await;
    let script = unpacked(&base64).await;
    assert!(script.contains("spore-power-off.timer"), "{script}");
    let controller = fs::read_to_string(world.dir().join("controller.kubeconfig")).unwrap();
    let token = controller
        .lines()
        .find_map(|line| line.trim().strip_prefix("token:"))
        .unwrap();
    for secret in [
        token.trim(),
        ACCESS_KEY,
        "not-a-secret",
        "BEGIN",
        "AKIA",
        "eyJ",
    ] {
        assert!(
            !script.contains(secret),
            "user data holds {secret}:\n{script}"
        );
    }

    let name = aws_text(
        &world,
        &["ec2", "describe-instances", "--instance-ids", &id],
        "Reservations[0].Instances[0].IamInstanceProfile.Arn",
    )
    .await;
    let name = name.rsplit('/').next().unwrap().to_owned();
    let args = [
        "iam",
        "get-role-policy",
        "--role-name",
        &name,
        "--policy-name",
        "self",
    ];
    let policy = aws(&world, &args).await["PolicyDocument"].clone();
    let mut actions = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let itself = &statement["Condition"]["StringLike"]["aws:userid"];
        assert_eq!(
            itself, "*:${ec2:InstanceID}",
            "bound to the instance itself: {statement}"
        );
        let action = &statement["Action"];
        match action.as_array() {
            Some(all) => actions.extend(all.iter().cloned()),
            None => actions.push(action.clone()),
        }
    }
    actions.sort_by_key(Value::to_string);
    assert_eq!(
        json!(actions),
        json!([
            "ec2:CreateTags",
            "ec2:StopInstances",
            "ec2:TerminateInstances"
        ])
    );
}

/// Base64 and gzip undone, with the tools that every machine has.
async fn unpacked(base64: &str) -> String {
    let script = "printf %s \"$1\" | base64 -d | gunzip";
    let output = tokio::process::Command::new("sh")
        .args(["-c", script, "sh", base64])
        .output();
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_spec_reaches_ec2() {
    let world = without_machines("spec-fields").await;
    let in_default_vpc = [
        "ec2",
        "describe-subnets",
        "--filters",
        "Name=availability-zone,Values=us-east-1c",
    ];
    let (subnet, vpc) = tokio::join!(
        aws_text(&world, &in_default_vpc, "Subnets[0].SubnetId"),
        aws_text(&world, &["ec2", "describe-vpcs"], "Vpcs[0].VpcId"),
    );
    let group = [
        "ec2",
        "create-security-group",
        "--group-name",
        "g",
        "--description",
        "g",
        "--vpc-id",
        &vpc,
    ];
    let ubuntu = [
        "ec2",
        "describe-images",
        "--filters",
        "Name=name,Values=ubuntu*amd64*",
    ];
    let key = ["ec2", "create-key-pair", "--key-name", "mine"];
    let (group, image, _key) = tokio::join!(
        aws_text(&world, &group, "GroupId"),
        aws_text(&world, &ubuntu, "Images[0].ImageId"),
        aws_text(&world, &key, "KeyName"),
    );
    let spec = json!({
        "instanceType": "m7i.large", "subnetId": subnet, "securityGroupIds": [group],
        "keyName": "mine", "imageId": image, "market": "Spot", "tags": {"Name": "render farm"},
    });
    let uid = create(&world, "fields", spec).await.unwrap().uid().unwrap();
    until_true(&world, "fields", LAUNCHED).await;
    let [instances, ..] = shown_by_aws(&world, &uid).await;
    let instance = &instances[0];
    for (field, value) in [
        ("InstanceType", "m7i.large"),
        ("SubnetId", &subnet),
        ("KeyName", "mine"),
        ("ImageId", &image),
        ("InstanceLifecycle", "spot"),
    ] {
        assert_eq!(instance[field], value, "{field}");
    }
    assert_eq!(
        instance["SecurityGroups"],
        json!([{"GroupName": "g", "GroupId": group}])
    );
    assert_eq!(instance["Placement"]["AvailabilityZone"], "us-east-1c");
    assert_eq!(
        tag(instance, "Name"),
        Some("render farm"),
        "the user's own name wins"
    );

    create(&world, "west", json!({"region": "us-west-2"}))
        .await
        .unwrap();
    assert_eq!(instance_of(&world, "west").await.region, "us-west-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a03_the_image_fits_the_processor_and_the_gpu() {
    let world = without_machines("images").await;
    let gpu = "deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id";
    let cases = [
        (
            "t3.micro",
            "ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        ),
        (
            "t4g.micro",
            "ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
        ),
        ("g5.xlarge", gpu),
    ];
    for (number, (instance_type, parameter)) in cases.into_iter().enumerate() {
        let name = format!("image-{number}");
        create(&world, &name, json!({"instanceType": instance_type}))
            .await
            .unwrap();
        let parameter = format!("/aws/service/{parameter}");
        let parameter = ["ssm", "get-parameter", "--name", &parameter];
        let (instance, image) = tokio::join!(
            instance_of(&world, &name),
            aws_text(&world, &parameter, "Parameter.Value"),
        );
        assert_eq!(instance.image_id, image, "{instance_type}");
    }
}
