//! What a spore costs, as the Price List and the Spot price history of the stand-in say.

use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::json;
use spore_core::money::Usd;
use spore_crds::{
    Price, SporeArray, SporeArraySpec, SporeInstanceStatus,
    conditions::{LAUNCHED, READY},
};
use spore_e2e::{
    PATIENCE, create,
    ec2::{aws_text, instance_of},
    kubectl, until, until_finished, until_true, without_machines,
};
use spore_world::{Fault, When, World, WorldOptions, eventually};

use crate::plugin::without_controller;

fn usd(text: &str) -> Usd {
    text.trim().parse().expect("an amount")
}

/// The price of a spore as soon as it is told.
async fn priced(world: &World, name: &str) -> (Price, SporeInstanceStatus) {
    let status = until(world, name, "priced", |status| status.price.is_some()).await;
    (status.price.clone().expect("just seen"), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn price_and_cost_of_a_life_are_told_with_source_and_time() {
    let begun = Timestamp::now();
    let world = World::start("price").await.unwrap();
    let fast = json!({"command": ["true"], "onComplete": {"delay": "0s"}});
    create(&world, "hello", fast).await.unwrap();
    let status = until_finished(&world, "hello").await;
    let price = status.price.expect("it was told by another write");
    assert_eq!(price.per_hour, Some(usd("0.0104")));
    assert_eq!(price.source.as_deref(), Some("AWS Price List"));
    let told_at = price.as_of.expect("when it was told");
    assert!(told_at >= begun && told_at <= Timestamp::now());
    let cost = status.cost.expect("the price is known");
    assert_eq!(cost.running_since, None, "it has ended");
    let launched = status.instance.unwrap().launched_at.unwrap();
    let of_its_life = usd("0.0104").of_run(launched, cost.as_of);
    assert_eq!(cost.accrued, of_its_life);
    let wide = kubectl(&world, &["get", "spi", "hello", "-o", "wide"]).await;
    assert!(wide.contains(&cost.accrued.to_string()), "{wide}");
    let calls = world.sim().calls().await.unwrap();
    assert_eq!(calls.counts["GetProducts"], 1, "{:?}", calls.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn price_of_a_spot_instance_is_that_of_its_zone_now() {
    let world = without_machines("price-spot").await;
    create(&world, "spot", json!({"market": "Spot"}))
        .await
        .unwrap();
    let (price, _) = priced(&world, "spot").await;
    let zone = instance_of(&world, "spot").await.zone;
    assert_eq!(price.zone.as_deref(), Some(zone.as_str()));
    assert_eq!(price.source.as_deref(), Some("EC2 Spot price history"));
    let history = [
        "ec2",
        "describe-spot-price-history",
        "--instance-types=t3.micro",
        "--product-descriptions=Linux/UNIX",
        &format!("--availability-zone={zone}"),
        "--max-items=1",
    ];
    let newest = aws_text(&world, &history, "SpotPriceHistory[0].SpotPrice").await;
    let newest = newest.lines().next().unwrap();
    assert_eq!(price.per_hour, Some(usd(newest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn price_that_is_refused_is_unknown_and_the_launch_unharmed() {
    let mut world = World::start_with(
        "price-refused",
        WorldOptions {
            no_controller: true,
            ..WorldOptions::default()
        },
    )
    .await
    .unwrap();
    let denied = Fault::on("GetProducts").error("AccessDeniedException");
    world.sim().add_fault(denied).await.unwrap();
    world.controller().start().await.unwrap();
    create(&world, "denied", json!({"command": ["sleep", "1000"]}))
        .await
        .unwrap();
    let status = until_true(&world, "denied", READY).await;
    assert_eq!(status.attempts, 1);
    let price = status.price.expect("told with what was written anyway");
    assert_eq!((price.per_hour, price.as_of), (None, None));
    let why = price.unknown.expect("why it is not known");
    assert!(
        why.contains("GetProducts in us-east-1") && why.contains("AccessDeniedException"),
        "{why}"
    );
    assert_eq!(status.cost, None, "unknown is not zero");
    let output = kubectl(&world, &["spawn", "status", "denied"]).await;
    assert!(
        output.contains("Price:") && output.contains("unknown: GetProducts"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn price_that_is_long_in_coming_keeps_nobody_waiting() {
    let mut world = without_machines("price-slow").await;
    let held = Fault::on("GetProducts").hold(When::Before);
    world.sim().add_fault(held).await.unwrap();
    for name in ["one", "two"] {
        create(&world, name, json!({})).await.unwrap();
        until_true(&world, name, LAUNCHED).await;
    }
    let status = until(&world, "two", "running", |status| {
        let instance = status.instance.as_ref();
        instance.is_some_and(|instance| instance.state.as_deref() == Some("running"))
    })
    .await;
    assert_eq!((status.price, status.cost), (None, None));
    let held = world.sim().held().await.unwrap();
    assert_eq!(held.len(), 1, "asked once for both");
    world.sim().clear_faults().await.unwrap();
    world.sim().release().await.unwrap();
    let controller = &*world.controller();
    eventually("the answer has arrived", PATIENCE, async || {
        let metrics = controller.get("/metrics").await.ok()?;
        metrics.contains("GetProducts").then_some(())
    })
    .await;
    // Told with whatever is written next.
    let later = json!({"spec": {"extendTo": "2999-01-01T00:00:00Z"}}).to_string();
    for name in ["one", "two"] {
        kubectl(
            &world,
            &["patch", "spi", name, "--type=merge", "-p", &later],
        )
        .await;
        let (price, status) = priced(&world, name).await;
        assert_eq!(price.per_hour, Some(usd("0.0104")));
        assert!(status.cost.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_an_amount_of_dollars_and_more_than_nothing() {
    let world = without_controller("budgets").await;
    let template = json!({"instanceType": "t3.micro"});
    let of_array = |budget: &str| {
        let spec = json!({"replicas": 1, "template": template, "budget": budget});
        serde_json::from_value::<SporeArraySpec>(spec).map(|spec| SporeArray::new("a", spec))
    };
    let arrays = Api::<SporeArray>::namespaced(world.client(), world.namespace());
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    for good in ["250", "0.50", "0.000001"] {
        let array = of_array(good).unwrap();
        arrays.create(&dry, &array).await.unwrap();
    }
    // What the types do not let through is sent as it is.
    for (bad, says) in [
        ("0", "more than nothing"),
        ("0.00", "more than nothing"),
        ("1.0000001", "at most six decimals"),
        ("$5", "write an amount of dollars"),
        ("-1", "write an amount of dollars"),
        ("1e3", "write an amount of dollars"),
    ] {
        for (kind, spec) in [
            ("SporeArray", json!({"replicas": 1, "template": template})),
            (
                "SporeSweep",
                json!({"params": [{"instanceType": "t3.micro"}]}),
            ),
        ] {
            let resource =
                ApiResource::from_gvk(&GroupVersionKind::gvk(spore_crds::GROUP, "v1alpha1", kind));
            let api =
                Api::<DynamicObject>::namespaced_with(world.client(), world.namespace(), &resource);
            let mut spec = spec;
            spec["budget"] = json!(bad);
            let object = DynamicObject::new("a", &resource).data(json!({"spec": spec}));
            let refused = api.create(&dry, &object).await.unwrap_err().to_string();
            assert!(refused.contains(says), "{kind} {bad}: {refused}");
        }
    }
}
