//! Rows of a sweep against the API server: what one takes, the other takes.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};
use spore_crds::{SporeInstance, SporeSweepSpec, rows::Rows};
use spore_world::World;

use crate::plugin::without_controller;

/// What is at the edge of one rule or another.
fn texts() -> Vec<String> {
    let mut texts = [
        "",
        " ",
        "a",
        "A",
        "1",
        "_",
        ".",
        "..",
        "_index",
        "a b",
        "a/b",
        "a@b",
        "ä",
        "a\u{0}b",
        "a\n",
        "t3.micro",
        "T3.micro",
        "t3.micro\n",
        "t3.",
        "t3..micro",
        "us-east-1",
        "us-east",
        "us-east-1a",
        "ami-01234567",
        "ami-0123456789abcdef0",
        "ami-0123456789ABCDEF0",
        "ami-012345678",
        "subnet-01234567",
        "sg-01234567",
        "2h",
        "0s",
        "00m0s",
        "0m1s",
        "1d12h",
        "2 hours",
        "1h1h1h1h",
        "1h1h1h1h1h",
        "1234567s",
        "Stop",
        "stop",
        "Terminate",
        "Spot",
        "OnDemand",
        "spot",
        "PARAM_x",
        "PARAM",
        "SWEEP_ID",
        "JOB_ARRAY_X",
        "aws:x",
        "AWS:x",
        "awsx",
        "spawn:x",
        "Spawn:x",
        "9x",
        "x9",
    ]
    .map(str::to_owned)
    .to_vec();
    for length in [32, 33, 64, 65, 128, 129, 255, 256, 257, 16384, 16385] {
        texts.push("x".repeat(length));
        texts.push("ä".repeat(length));
    }
    texts
}

/// Every field with every text, and with what is not a text.
fn fields() -> Vec<Value> {
    let mut fields = Vec::new();
    for text in texts() {
        for field in [
            "ttl",
            "region",
            "imageId",
            "instanceType",
            "instanceProfile",
            "keyName",
            "market",
            "subnetId",
        ] {
            fields.push(json!({ field: text }));
        }
        fields.extend([
            json!({"idle": {"timeout": text}}),
            json!({"idle": {"timeout": "5m", "action": text}}),
            json!({"onComplete": {"action": text}}),
            json!({"onComplete": {"delay": text}}),
            json!({"securityGroupIds": [text]}),
            json!({"command": [text]}),
            json!({"command": ["true", text]}),
            json!({"env": {"A": text}}),
            json!({"env": {&text: "v"}}),
            json!({"tags": {"k": text}}),
            json!({"tags": {&text: "v"}}),
        ]);
    }
    for other in [json!(1), json!(1.5), json!(true), json!([]), json!([1])] {
        for field in [
            "ttl",
            "region",
            "imageId",
            "instanceType",
            "instanceProfile",
            "keyName",
            "market",
            "subnetId",
            "idle",
            "onComplete",
            "securityGroupIds",
            "command",
            "env",
            "tags",
        ] {
            fields.push(json!({ field: other }));
        }
    }
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), json!("v")));
    for count in [30, 31, 256, 257] {
        let map = many(count).collect::<serde_json::Map<_, _>>();
        fields.push(json!({"tags": map}));
        fields.push(json!({"env": map}));
        fields.push(json!({"command": vec!["x"; count]}));
    }
    for count in [16_u32, 17] {
        let groups = (0..count).map(|n| format!("sg-{n:08x}"));
        fields.push(json!({"securityGroupIds": groups.collect::<Vec<_>>()}));
    }
    fields.push(json!({"securityGroupIds": ["sg-01234567", "sg-01234567"]}));
    for market in ["Spot", "OnDemand"] {
        for action in ["Stop", "Terminate"] {
            fields.push(json!({"market": market, "idle": {"timeout": "5m", "action": action}}));
            fields.push(json!({"market": market, "onComplete": {"action": action}}));
        }
    }
    fields
}

async fn taken_by_api(world: &World, spec: &Value) -> Result<(), String> {
    let kind = ApiResource::erase::<SporeInstance>(&());
    let api = Api::<DynamicObject>::namespaced_with(world.client(), world.namespace(), &kind);
    let mut spore = DynamicObject::new("row", &kind);
    spore.data = json!({ "spec": spec });
    let check = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let made = api.create(&check, &spore).await;
    made.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_a_row_is_taken_if_and_only_if_the_api_server_takes_its_instance() {
    let world = without_controller("rows").await;
    let (mut taken, mut refused) = (0, 0);
    for row in fields() {
        let mut spec = json!({"instanceType": "t3.micro"});
        let own = row.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(own);
        let api = taken_by_api(&world, &spec).await;

        let sweep = json!({"template": {"instanceType": "t3.micro"}, "params": [row]});
        let sweep = serde_json::from_value::<SporeSweepSpec>(sweep).unwrap();
        let rows = Rows::new(&sweep, None).unwrap();
        match rows.check() {
            Ok(()) => {
                assert_eq!(api, Ok(()), "taken as a row: {row}");
                let made = serde_json::to_value(rows.resolve(0).unwrap().spec).unwrap();
                assert_eq!(taken_by_api(&world, &made).await, Ok(()), "made from {row}");
                taken += 1;
            }
            Err(error) => {
                assert!(api.is_err(), "refused as a row ({error}): {row}");
                refused += 1;
            }
        }
    }
    assert!(
        taken > 200 && refused > 500,
        "{taken} taken, {refused} refused"
    );
}
