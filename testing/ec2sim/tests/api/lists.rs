use std::collections::BTreeSet;
use std::time::Instant;

use super::client::{Node, Sim};

fn ids(answer: &Node) -> Vec<String> {
    answer.texts("reservationSet/item/instancesSet/item/instanceId")
}

#[tokio::test]
async fn pages_show_every_instance_once_and_never_more_than_asked_for() {
    let sim = Sim::start().await;
    let launched: BTreeSet<String> = [sim.run(7, &[]).await, sim.run(6, &[]).await]
        .concat()
        .into_iter()
        .collect();
    let (mut seen, mut token, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut params = vec![("MaxResults", "5")];
        params.extend(token.as_deref().map(|token| ("NextToken", token)));
        let page = sim.ok("DescribeInstances", &params).await;
        assert!(ids(&page).len() <= 5);
        seen.extend(ids(&page));
        pages += 1;
        token = page.find("nextToken").map(|node| node.text.clone());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen.len(), 13);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), launched);
}

#[tokio::test]
async fn ten_thousand_instances_are_listed_in_ten_pages_well_under_a_second() {
    let sim = Sim::start().await;
    for _ in 0..10 {
        sim.run(
            1000,
            &[
                ("TagSpecification.1.ResourceType", "instance"),
                ("TagSpecification.1.Tag.1.Key", "mine"),
                ("TagSpecification.1.Tag.1.Value", "yes"),
            ],
        )
        .await;
    }
    let started = Instant::now();
    let (mut bytes, mut pages, mut token) = (0, 0, None::<String>);
    loop {
        let mut form = String::from(
            "Action=DescribeInstances&MaxResults=1000&Filter.1.Name=tag:mine&Filter.1.Value.1=yes",
        );
        if let Some(token) = &token {
            form.push_str(&format!("&NextToken={token}"));
        }
        let scope = "AWS4-HMAC-SHA256 Credential=A/20261121/us-east-1/ec2/aws4_request, X";
        let reply = sim
            .http("POST", "/", &[("Authorization", scope)], form.as_bytes())
            .await;
        let text = reply.expect("a reply").text();
        bytes += text.len();
        pages += 1;
        token = text
            .rsplit_once("<nextToken>")
            .and_then(|(_, rest)| rest.split_once('<'))
            .map(|(token, _)| token.to_owned());
        if token.is_none() {
            break;
        }
    }
    let took = started.elapsed();
    println!("10 pages, {bytes} bytes in {took:?}");
    assert_eq!(pages, 10);
    assert!(bytes > 10_000 * 1000, "only {bytes} bytes");
    // An unoptimized build on a busy machine: far above what it takes, far below a minute.
    assert!(took.as_secs() < 5, "{took:?}");
}

#[tokio::test]
async fn sizes_tokens_and_filters_are_checked() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("InvalidParameterValue", &[("MaxResults", "4")]),
        ("InvalidParameterValue", &[("MaxResults", "1001")]),
        (
            "InvalidParameterCombination",
            &[("MaxResults", "5"), ("InstanceId.1", &id)],
        ),
        (
            "InvalidNextToken",
            &[("MaxResults", "5"), ("NextToken", "made-up")],
        ),
        (
            "InvalidParameterValue",
            &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")],
        ),
        ("InvalidInstanceID.Malformed", &[("InstanceId.1", "web-1")]),
    ];
    for (code, params) in cases {
        assert_eq!(
            sim.code("DescribeInstances", params).await,
            code,
            "{params:?}"
        );
    }
}

#[tokio::test]
async fn filters_select_by_what_an_instance_is_and_how_it_does() {
    let sim = Sim::start().await;
    let tag = |value: &'static str| {
        [
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "team"),
            ("TagSpecification.1.Tag.1.Value", value),
        ]
    };
    let red = sim.run(2, &tag("red")).await;
    let mut west = tag("green").to_vec();
    west.extend([
        ("InstanceType", "m7i.large"),
        ("Placement.AvailabilityZone", "us-east-1c"),
    ]);
    let green = sim.run(1, &west).await;
    sim.until(&green[0], "running").await;
    for (name, value, expected) in [
        ("tag:team", "red", &red),
        ("tag:team", "gr*", &green),
        ("tag-key", "te?m", &[red.clone(), green.clone()].concat()),
        ("tag:team", "Red", &Vec::new()),
        ("instance-type", "m7i.*", &green),
        ("availability-zone", "us-east-1c", &green),
        ("instance-id", &red[1], &vec![red[1].clone()]),
        ("launch-index", "1", &vec![red[1].clone()]),
        ("instance-lifecycle", "spot", &Vec::new()),
        (
            "network-interface.subnet-id",
            "subnet-*",
            &[red.clone(), green.clone()].concat(),
        ),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(
            ids(&sim.ok("DescribeInstances", &filter).await),
            *expected,
            "{name}={value}"
        );
    }
    let both = [
        ("Filter.1.Name", "tag:team"),
        ("Filter.1.Value.1", "red"),
        ("Filter.1.Value.2", "green"),
        ("Filter.2.Name", "instance-type"),
        ("Filter.2.Value.1", "t3.micro"),
    ];
    assert_eq!(ids(&sim.ok("DescribeInstances", &both).await), red);
}

#[tokio::test]
async fn types_say_what_they_can_and_where_they_are_offered() {
    let sim = Sim::start().await;
    let types = [
        ("InstanceType.1", "g5.xlarge"),
        ("InstanceType.2", "m7g.large"),
    ];
    let types = sim.ok("DescribeInstanceTypes", &types).await;
    let [gpu, arm] = types.all("instanceTypeSet/item")[..] else {
        panic!("two types: {types:?}")
    };
    assert_eq!(gpu.text("gpuInfo/gpus/item/manufacturer"), "NVIDIA");
    assert_eq!(gpu.text("hibernationSupported"), "false");
    assert_eq!(
        arm.texts("processorInfo/supportedArchitectures/item"),
        ["arm64"]
    );
    assert_eq!(arm.text("memoryInfo/sizeInMiB"), "8192");
    assert_eq!(
        sim.code("DescribeInstanceTypes", &[("InstanceType.1", "m7i.huge")])
            .await,
        "InvalidInstanceType"
    );
    let offered = [
        ("LocationType", "availability-zone"),
        ("Filter.1.Name", "instance-type"),
        ("Filter.1.Value.1", "p5.48xlarge"),
    ];
    let offered = sim.ok("DescribeInstanceTypeOfferings", &offered).await;
    assert_eq!(
        offered.texts("instanceTypeOfferingSet/item/location"),
        ["us-east-1a", "us-east-1c"]
    );
}

#[tokio::test]
async fn spot_prices_are_listed_and_can_be_set() {
    let sim = Sim::start().await;
    sim.control(
        "POST",
        "price",
        serde_json::json!({
            "region": "us-east-1", "instanceType": "m7i.large", "zone": "us-east-1b", "price": "0.5"
        }),
    )
    .await;
    let now = "2026-11-21T00:00:00Z";
    let query = [
        ("InstanceType.1", "m7i.large"),
        ("AvailabilityZone", "us-east-1b"),
        ("StartTime", now),
        ("ProductDescription.1", "Linux/UNIX"),
    ];
    let prices = sim.ok("DescribeSpotPriceHistory", &query).await;
    let newest = prices.text("spotPriceHistorySet/item/spotPrice");
    assert_eq!(newest.parse::<f64>().expect("a price"), 0.5);
}
