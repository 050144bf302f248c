//! What a field takes, and what lies over what.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{refusal, row, rows, spec, spec_of};
use crate::rows::{Rows, fields::Node, fields::SPEC};

#[test]
fn the_whole_schema_is_understood() {
    fn walk(path: &str, node: &Node) {
        assert!(
            node.unknown.is_empty(),
            "{path}: teach fields.rs {:?}",
            node.unknown
        );
        for (name, field) in &node.fields {
            walk(&format!("{path}.{name}"), field);
        }
    }
    assert!(SPEC.fields.len() >= 14);
    walk("spec", &SPEC);
}

#[test]
fn a_value_of_another_type_is_refused_with_both_types() {
    for (fields, parts) in [
        (
            json!({"ttl": 2}),
            ["row 0, ttl: found the number 2", "a string", "8h"],
        ),
        (
            json!({"ttl": true}),
            ["found the boolean true", "a string", "8h"],
        ),
        (
            json!({"spot": "true"}),
            ["found the string \"true\"", "true or false", ""],
        ),
        (
            json!({"region": ["a"]}),
            ["found a list", "a string", "us-east-1"],
        ),
        (
            json!({"instanceType": 5}),
            ["found the number 5", "a string", "m7i.large"],
        ),
        (
            json!({"env": {"N": 4}}),
            ["row 0, env: N: found the number 4", "a string", ""],
        ),
        (
            json!({"tags": "a=b"}),
            ["found the string \"a=b\"", "an object of strings", ""],
        ),
        (
            json!({"idle": "5m"}),
            [
                "found the string \"5m\"",
                "an object with action and timeout",
                "",
            ],
        ),
        (
            json!({"command": 1}),
            ["found the number 1", "a list of strings", "python train.py"],
        ),
        (
            json!({"command": ["a", 1]}),
            ["1: found the number 1", "a string", ""],
        ),
        (json!({"name": 1}), ["found the number 1", "a string", ""]),
        (
            json!({"market": true}),
            ["found the boolean true", "\"OnDemand\" or \"Spot\"", ""],
        ),
    ] {
        let said = refusal(fields);
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
}

#[test]
fn a_value_that_the_api_server_would_refuse_is_refused() {
    let groups = (0..17).map(|n| format!("sg-{n:08x}")).collect::<Vec<_>>();
    let tags = (0..26)
        .map(|n| (format!("k{n}"), json!("v")))
        .collect::<serde_json::Map<_, _>>();
    for (fields, part) in [
        (json!({"ttl": "2 hours"}), "write a duration as numbers"),
        (json!({"ttl": "0s"}), "must be longer than nothing"),
        (json!({"idle_timeout": "0m"}), "must be longer than nothing"),
        (
            json!({"completion_delay": "x"}),
            "write a duration as numbers",
        ),
        (json!({"ttl": "1h".repeat(15)}), "at most 28"),
        (
            json!({"ami": "ami-pytorch"}),
            "such as \"ami-0123456789abcdef0\"",
        ),
        (json!({"instanceType": "large"}), "such as \"m7i.large\""),
        (json!({"region": "us-east"}), "such as \"us-east-1\""),
        (json!({"market": "spot"}), "\"OnDemand\" or \"Spot\""),
        (
            json!({"idle": {"timeout": "5m", "action": "stop"}}),
            "action: \"stop\" is not one of",
        ),
        (
            json!({"idle": {"timeout": "5m", "cpu": 5}}),
            "cpu: is unknown here",
        ),
        (
            json!({"idle": {"action": "Stop"}}),
            "idle.timeout: is said neither by the row",
        ),
        (
            json!({"idle_action": "Stop"}),
            "idle.timeout: is said neither by the row",
        ),
        (
            json!({"on_complete": "hibernate"}),
            "hibernation is not available yet",
        ),
        (
            json!({"on_complete": "reboot"}),
            "\"terminate\" or \"stop\"",
        ),
        (json!({"command": ""}), "is empty"),
        (
            json!({"command": ["", "a"]}),
            "the first element is the program",
        ),
        (json!({"command": ["a\u{0}"]}), "does not have the form"),
        (json!({"env": {"A-B": "1"}}), "names have letters"),
        (json!({"env": {"PARAM_x": "1"}}), "are set by Spore"),
        (json!({"tags": {"aws:x": "1"}}), "are reserved"),
        (json!({"tags": {"a b": "1"}}), "keys have up to 128 letters"),
        (json!({"tags": tags}), "26 entries, at most 25"),
        (
            json!({"security_group_ids": groups}),
            "17 elements, at most 16",
        ),
        (
            json!({"security_group_ids": ["sg-01234567", "sg-01234567"]}),
            "is there twice",
        ),
        (
            json!({"security_group_ids": ["web"]}),
            "does not have the form",
        ),
        (json!({"key_name": ""}), "at least 1"),
        (json!({"iam_role": "a/b"}), "such as \"ml-training\""),
        (
            json!({"instanceType": null}),
            "instanceType: is said neither by the row",
        ),
        (
            json!({"spot": true, "on_complete": "stop"}),
            "a Spot instance cannot be stopped",
        ),
        (
            json!({"spot": true, "idle": {"timeout": "5m", "action": "Stop"}}),
            "a Spot instance cannot",
        ),
        (json!({"name": ""}), "is empty"),
        (json!({"name": "a\nb"}), "control character"),
        (json!({"x": "a\u{0}b"}), "NUL"),
    ] {
        let said = refusal(fields);
        assert!(
            said.starts_with("row 0") && said.contains(part),
            "{part:?} in {said}"
        );
    }
}

#[test]
fn the_row_lies_over_defaults_and_those_over_the_template() {
    let rows = rows(json!({
        "template": {
            "instanceType": "t3.micro", "ttl": "1h", "region": "us-east-1",
            "idle": {"timeout": "5m", "action": "Stop"},
            "env": {"A": "template", "B": "template", "C": "template"},
            "command": ["one", "two"],
        },
        "defaults": {
            "instance_type": "t3.small", "ttl": "2h", "env": {"B": "defaults", "C": "defaults"},
            "alpha": 1, "beta": 1,
        },
        "params": [
            {"instance_type": "t3.large", "env": {"C": "row", "D": "row"}, "beta": 2},
            {"idle_timeout": "9m", "command": ["three"], "beta": null},
            {"idle": null, "region": null, "env": {"A": null}, "ttl": null},
            {"env": null},
        ],
    }))
    .unwrap();
    rows.check().unwrap();
    let spec = |index| serde_json::to_value(rows.resolve(index).unwrap().spec).unwrap();
    let first = spec(0);
    assert_eq!(first["instanceType"], "t3.large");
    assert_eq!(first["ttl"], "2h");
    assert_eq!(first["region"], "us-east-1");
    let env = json!({"A": "template", "B": "defaults", "C": "row", "D": "row"});
    assert_eq!(first["env"], env);
    let parameters = |index| json!(rows.resolve(index).unwrap().parameters);
    assert_eq!(parameters(0), json!({"alpha": 1, "beta": 2}));
    let second = spec(1);
    assert_eq!(second["instanceType"], "t3.small");
    assert_eq!(second["idle"], json!({"timeout": "9m", "action": "Stop"}));
    assert_eq!(second["command"], json!(["three"]));
    assert_eq!(parameters(1), json!({"alpha": 1, "beta": null}));
    let third = spec(2);
    assert_eq!(
        (&third["idle"], &third["region"], &third["ttl"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(third["env"], json!({"B": "defaults", "C": "defaults"}));
    assert_eq!(spec(3).get("env"), None);
}

#[test]
fn an_error_tells_the_row_its_name_and_the_key() {
    let rows = rows(json!({
        "template": {"instanceType": "t3.micro"},
        "params": [{}, {"name": "second", "ttl": 2, "regoin": "x"}, {"spot": 1}],
    }))
    .unwrap();
    rows.resolve(0).unwrap();
    let said = rows.check().unwrap_err();
    assert!(!said.more);
    let lines = said
        .errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines[0].starts_with("row 1 (\"second\"), regoin: "),
        "{lines:#?}"
    );
    assert!(
        lines[1].starts_with("row 1 (\"second\"), ttl: "),
        "{lines:#?}"
    );
    assert!(lines[2].starts_with("row 2, spot: "), "{lines:#?}");
    assert!(
        rows.resolve(3)
            .unwrap_err()
            .to_string()
            .starts_with("row 3: there is no such row")
    );
}

#[test]
fn no_more_than_ten_errors_are_told() {
    let bad = vec![json!({"ttl": 1}); 50];
    let rows = rows(json!({"template": {"instanceType": "t3.micro"}, "params": bad})).unwrap();
    let errors = rows.check().unwrap_err();
    assert_eq!((errors.errors.len(), errors.more), (10, true));
}

#[test]
fn the_types_of_all_rows_are_told_once_each() {
    let rows = rows(json!({
        "template": {"instanceType": "t3.micro"},
        "params": [{"region": "us-east-1"}, {"region": "us-east-1", "x": 1}, {"instance_type": "g5.xlarge"}],
        "grid": {"region": ["eu-west-1", "us-east-1"], "instance_type": ["t3.micro", "m7i.large"], "x": [1, 2, 3]},
    }))
    .unwrap();
    let types = rows
        .types()
        .into_iter()
        .map(|(region, kind)| format!("{} {kind}", region.unwrap_or_default()));
    assert_eq!(
        types.collect::<Vec<_>>(),
        [
            " g5.xlarge",
            "eu-west-1 m7i.large",
            "eu-west-1 t3.micro",
            "us-east-1 m7i.large",
            "us-east-1 t3.micro"
        ]
    );
}

/// Any JSON, with a liking for the keys and values that mean something.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "t3.micro",
            "2h",
            "0s",
            "Stop",
            "Spot",
            "us-east-1",
            "ami-01234567",
            "terminate",
            "5m",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "instance_type",
            "instanceType",
            "ttl",
            "idle",
            "idle_timeout",
            "timeout",
            "action",
            "spot",
            "market",
            "on_complete",
            "env",
            "tags",
            "command",
            "name",
            "region",
            "alpha",
            "param:x",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
    ]
}

proptest! {
    #[test]
    fn any_row_is_taken_or_refused_without_panic(
        defaults in prop::collection::btree_map(key(), anything(), 0..4),
        params in prop::collection::vec(prop::collection::btree_map(key(), anything(), 0..5), 0..4),
        grid in prop::collection::btree_map(key(), prop::collection::vec(anything(), 0..3), 0..4),
    ) {
        let spec = spec(json!({
            "template": {"instanceType": "t3.micro"},
            "defaults": defaults, "params": params, "grid": grid,
        }));
        if let Ok(rows) = Rows::new(&spec, None) {
            let all = (0..rows.len()).map(|index| rows.resolve(index)).collect::<Vec<_>>();
            let fine = all.iter().all(Result::is_ok);
            let checked = rows.check();
            prop_assert_eq!(fine, checked.is_ok(), "{:?} {:?}", checked, all);
            prop_assert_eq!(rows.digest(rows.len()).len(), 32);
            if fine {
                let types = all.iter().flatten().map(|row| (row.spec.region.clone(), row.spec.instance_type.clone()));
                prop_assert_eq!(rows.types(), types.collect());
            }
            for row in all.into_iter().flatten() {
                let stored = serde_json::to_value(row.spec).unwrap();
                prop_assert!(SPEC.check(&stored, true).is_ok(), "{}", stored);
            }
        }
    }
}

#[test]
fn a_row_may_say_all_without_a_template() {
    let rows = rows(json!({"params": [{"instance_type": "t3.micro"}, {}]})).unwrap();
    assert_eq!(rows.resolve(0).unwrap().spec.instance_type, "t3.micro");
    let said = rows.resolve(1).unwrap_err().to_string();
    assert!(
        said.starts_with("row 1, instanceType: is said neither by the row"),
        "{said}"
    );
    assert_eq!(row(json!({})).unwrap().spec.instance_type, "m7i.large");
    assert_eq!(
        spec_of(json!({}))["onComplete"],
        json!({"action": "Terminate", "delay": "30s"})
    );
}
