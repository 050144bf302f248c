//! What a key means.

use serde_json::{Value, json};

use super::{refusal, row, rows, spec_of};
use crate::rows::{fields::SPEC, names};

#[test]
fn every_field_has_its_own_name_and_that_in_snake_case() {
    let examples = [
        ("command", "command", json!(["true"])),
        ("env", "env", json!({"A": "1"})),
        ("idle", "idle", json!({"timeout": "5m", "action": "Stop"})),
        ("imageId", "image_id", json!("ami-0123456789abcdef0")),
        ("instanceProfile", "instance_profile", json!("ml")),
        ("instanceType", "instance_type", json!("g5.xlarge")),
        ("keyName", "key_name", json!("me")),
        ("market", "market", json!("Spot")),
        (
            "onComplete",
            "on_complete",
            json!({"action": "Stop", "delay": "1m"}),
        ),
        ("region", "region", json!("eu-west-1")),
        (
            "securityGroupIds",
            "security_group_ids",
            json!(["sg-01234567"]),
        ),
        ("subnetId", "subnet_id", json!("subnet-01234567")),
        ("tags", "tags", json!({"team": "a"})),
        ("ttl", "ttl", json!("8h")),
    ];
    let all = SPEC.fields.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        all,
        examples.each_ref().map(|(camel, ..)| *camel),
        "one example a field"
    );
    for (camel, snake, value) in examples {
        assert_eq!(spec_of(json!({camel: value}))[camel], value, "{camel}");
        assert_eq!(spec_of(json!({snake: value}))[camel], value, "{snake}");
    }
}

#[test]
fn names_of_the_original_set_the_fields_that_they_mean() {
    for (key, value, field, expected) in [
        (
            "ami",
            json!("ami-01234567"),
            "/imageId",
            json!("ami-01234567"),
        ),
        ("key_pair", json!("me"), "/keyName", json!("me")),
        ("spot", json!(true), "/market", json!("Spot")),
        ("spot", json!(false), "/market", json!("OnDemand")),
        ("idle_timeout", json!("30m"), "/idle/timeout", json!("30m")),
        ("idleTimeout", json!("30m"), "/idle/timeout", json!("30m")),
        (
            "on_complete",
            json!("stop"),
            "/onComplete/action",
            json!("Stop"),
        ),
        (
            "on_complete",
            json!("TERMINATE"),
            "/onComplete/action",
            json!("Terminate"),
        ),
        (
            "completion_delay",
            json!("1m"),
            "/onComplete/delay",
            json!("1m"),
        ),
        ("iam_role", json!("ml"), "/instanceProfile", json!("ml")),
        (
            "command",
            json!("a | b"),
            "/command",
            json!(["/bin/sh", "-c", "a | b"]),
        ),
        (
            "user_command",
            json!("a"),
            "/command",
            json!(["/bin/sh", "-c", "a"]),
        ),
        (
            "user_command",
            json!(["a", "b"]),
            "/command",
            json!(["a", "b"]),
        ),
    ] {
        let spec = spec_of(json!({ key: value }));
        assert_eq!(spec.pointer(field), Some(&expected), "{key}: {spec}");
    }
}

#[test]
fn what_is_no_field_is_a_parameter_of_its_own_type() {
    let parameters = json!({
        "alpha": 0.1, "steps": 1000, "config": "variant-a", "on": true, "nothing": null,
        "layers": [64, 32], "nested": {"a": {"b": 1}}, "A": "", "type": "resnet", "image": "cat",
        "tag": "v1", "seed": 7, "batch_size": 32, "learning_rate": 0.001, "subset": "train",
        "date": "2026-01-16", "names": [], "_": 1, "timeout_ms": 5, "data": "s3://b/k", "rate": 1,
        "model": "m", "mode": "fast", "dataset": "d", "end": 1, "time": 2, "game": "go",
    });
    let resolved = row(parameters.clone()).unwrap();
    assert_eq!(json!(resolved.parameters), parameters);
    assert_eq!(resolved.name, None);
    assert_eq!(
        row(json!({"name": "model-alpha-0.1"}))
            .unwrap()
            .name
            .unwrap(),
        "model-alpha-0.1"
    );
}

#[test]
fn a_near_miss_of_a_field_is_refused_with_the_nearest_name() {
    for (key, nearest) in [
        ("instanceTyp", "instanceType"),
        ("instance_typ", "instance_type"),
        ("instance-type", "instance_type"),
        ("InstanceType", "instanceType"),
        ("INSTANCE_TYPE", "instance_type"),
        ("instancetype", "instance_type"),
        ("instance_types", "instance_type"),
        ("TTL", "ttl"),
        ("regoin", "region"),
        ("Region", "region"),
        ("nmae", "name"),
        ("sopt", "spot"),
        ("comand", "command"),
        ("idle_timout", "idle_timeout"),
        ("idel_timeout", "idle_timeout"),
        ("subnet_ids", "subnet_id"),
        ("securityGroupId", "securityGroupIds"),
        ("on_completed", "on_complete"),
        ("spot_max_prize", "spot_max_price"),
    ] {
        let said = refusal(json!({ key: "x" }));
        let expected = format!("row 0, {key}: is not a field, but close to {nearest}: ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(&format!("param:{key} ")), "{said}");
    }
}

#[test]
fn what_is_not_available_yet_is_refused_and_never_a_parameter() {
    for key in [
        "az",
        "availability_zone",
        "spot_max_price",
        "cost_limit",
        "hibernate",
        "hibernate_on_idle",
        "session_timeout",
        "completion_file",
        "dns",
        "dns_name",
        "step",
        "user_data",
        "volume_size",
        "disk_size",
        "costLimit",
    ] {
        let said = refusal(json!({ key: "1" }));
        assert!(said.contains(" is not available yet: "), "{said}");
    }
    assert!(refusal(json!({"hibernate_on_idle": true})).contains("idle_action Stop"));
}

#[test]
fn what_belongs_elsewhere_is_refused_with_the_place() {
    for (key, advice) in [
        ("max_concurrent", "parallelism beside template"),
        ("launch_delay", "launchInterval beside template"),
        ("budget", "ttl"),
        ("ttl_hours", "write ttl"),
        ("member", "the sweep sets it"),
        ("extendTo", "extendTo beside template"),
        ("extend_to", "extendTo beside template"),
        ("subnet", "subnet_id"),
    ] {
        let said = refusal(json!({ key: 1 }));
        assert!(said.contains(advice), "{said}");
    }
}

#[test]
fn a_parameter_can_have_any_name_that_an_environment_variable_can() {
    let resolved = row(json!({"param:budget": 5, "param:ttl:": "x", "param:steps": 1})).unwrap();
    assert_eq!(
        json!(resolved.parameters),
        json!({"budget": 5, "ttl": "x", "steps": 1})
    );
    assert_eq!(resolved.spec.ttl, None);
    let long = "x".repeat(129);
    for key in [
        "9lives",
        "a b",
        "learning-rate",
        "",
        "a.b",
        "ä",
        "param:",
        "param:a-b",
        &long,
    ] {
        let said = refusal(json!({ key: 1 }));
        assert!(said.contains("cannot name a parameter"), "{said}");
    }
    assert!(refusal(json!({"param:x": 1, "x": 2})).contains("sets the same as "));
}

#[test]
fn one_field_in_two_spellings_is_refused() {
    for fields in [
        json!({"instance_type": "t3.micro", "instanceType": "t3.micro"}),
        json!({"spot": true, "market": "Spot"}),
        json!({"ami": "ami-01234567", "image_id": "ami-01234567"}),
        json!({"idle_timeout": "5m", "idle": {"timeout": "5m"}}),
        json!({"idle_timeout": "5m", "idle": null}),
        json!({"on_complete": "stop", "onComplete": {"action": "Stop"}}),
        json!({"command": "a", "user_command": "a"}),
    ] {
        let said = refusal(fields);
        assert!(
            said.contains("sets the same as ") && said.contains("keep one"),
            "{said}"
        );
    }
    let idle = spec_of(json!({"idle_timeout": "5m", "idle": {"action": "Stop"}}))["idle"].take();
    assert_eq!(idle, json!({"timeout": "5m", "action": "Stop"}));
}

#[test]
fn a_template_has_fields_alone_under_their_own_names() {
    let said = |template: Value| {
        let made = rows(json!({"template": template, "params": [{}]}));
        made.unwrap_err().to_string()
    };
    assert!(
        said(json!({"alpha": 1})).starts_with("template, alpha: is not a field of an instance")
    );
    assert!(said(json!({"instance_type": "t3.micro"})).contains("the field's own name"));
    assert!(said(json!({"instanceTyp": "t3.micro"})).contains("instanceType"));
    assert!(said(json!({"member": {"index": 0, "attempt": 1}})).contains("the sweep sets it"));
    assert!(
        said(json!({"ttl": "2 hours"})).starts_with("template, ttl: \"2 hours\": write a duration")
    );
}

#[test]
fn nothing_is_said_to_be_unavailable_that_is_a_field() {
    for name in SPEC.fields.keys() {
        assert!(
            names::meaning(name).is_ok(),
            "{name} is a field: take it out of the tables"
        );
    }
}
