//! Arrays and sweeps as objects: what the API server refuses, what cannot be read, what GitOps makes of
//! them.

use std::time::Duration;

use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use spore_crds::{GroupState, SporeArray, SporeInstance, SporeSweep, conditions::LAUNCHED};
use spore_e2e::{
    PATIENCE, create as create_spore, delete as delete_spore,
    group::{
        Group, change, create, delete, instances, manifest, members, nothing_left, one_each,
        stalled, until, until_over, until_up,
    },
    kstatus_of, kubectl, until_true, without_machines,
};
use spore_world::{Fault, When, World, WorldOptions, eventually, poll};

use crate::plugin::without_controller;

/// What kubectl tells of specs that are refused, as far as it does not say what it should.
async fn unhelpful<K: Group>(world: &World, cases: Vec<(Value, Vec<&str>)>) -> Vec<String> {
    let mut unhelpful = Vec::new();
    for (spec, says) in cases {
        let manifest = manifest::<K>("refused", &spec).to_string();
        let output = world.kubectl_with(&["apply", "-f", "-"], &manifest).await;
        let output = output.unwrap();
        if output.code == Some(0) {
            unhelpful.push(format!("{spec} was accepted"));
            kubectl(world, &["delete", "spa,spw", "--all"]).await;
            continue;
        }
        let missing = says
            .into_iter()
            .filter(|words| !output.stderr.contains(words));
        let missing = missing.map(|words| format!("{spec}: no {words:?} in\n{}", output.stderr));
        unhelpful.extend(missing);
    }
    unhelpful
}

/// What is wrong with every policy and name that arrays and sweeps share.
fn shared() -> Vec<(Value, Vec<&'static str>)> {
    let rule = |rule: Value| json!({"replicas": 1, "failurePolicy": {"rules": [rule]}});
    let policy = |policy: Value| json!({"replicas": 1, "failurePolicy": policy});
    let success = |policy: Value| json!({"replicas": 1, "successPolicy": policy});
    let codes = (0..256).collect::<Vec<_>>();
    vec![
        (
            rule(json!({"onReasons": ["Spot"], "action": "Replace"})),
            vec!["onReasons", r#""SpotInterruption""#],
        ),
        (
            rule(json!({"onReasons": ["Idle", "Idle"], "action": "Replace"})),
            vec!["onReasons", "Duplicate"],
        ),
        (
            rule(json!({"action": "Retry"})),
            vec!["action", r#""TerminateAll""#],
        ),
        (
            rule(json!({"onExitCodes": [1]})),
            vec!["action", "Required"],
        ),
        (
            rule(json!({"onExitCodes": codes, "action": "Replace"})),
            vec!["onExitCodes", "255"],
        ),
        (
            policy(json!({"rules": vec![json!({"action": "Replace"}); 21]})),
            vec!["rules", "20"],
        ),
        (
            policy(json!({"quorum": 0})),
            vec!["quorum", "greater than or equal to 1"],
        ),
        (
            policy(json!({"backoffLimit": -1})),
            vec!["backoffLimit", "greater than or equal to 0"],
        ),
        (
            policy(json!({"backofflimit": 1})),
            vec![r#"unknown field "spec.failurePolicy.backofflimit""#],
        ),
        (
            success(json!({"succeededCount": 0})),
            vec!["succeededCount", "greater than or equal to 1"],
        ),
        (
            success(json!({"succeededIndexes": "a"})),
            vec!["succeededIndexes"],
        ),
        (
            success(json!({"succeededIndexes": ""})),
            vec!["succeededIndexes", "at least 1"],
        ),
        (
            json!({"replicas": 1, "extendTo": "tomorrow"}),
            vec!["spec.extendTo"],
        ),
        (
            json!({"replicas": 1, "extendTo": "9999-12-31T23:59:59Z"}),
            vec!["before the year 9000"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_and_sweeps_that_cannot_be_meant_are_refused_with_a_message_that_helps() {
    let world = without_controller("groups-refused").await;
    let template = |more: Value| {
        let mut template = json!({"instanceType": "t3.micro", "ttl": "1h"});
        template
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"replicas": 1, "template": template})
    };
    let member = json!({"member": {"index": 0, "attempt": 1}});
    let later = json!({"extendTo": "2036-01-01T00:00:00Z"});
    let mut cases = shared();
    cases.extend([
        (json!({}), vec!["spec.replicas", "Required"]),
        (json!({"replicas": -1}), vec!["spec.replicas"]),
        (json!({"replicas": 10_001}), vec!["spec.replicas", "10000"]),
        (json!({"replicas": "3"}), vec!["spec.replicas", "integer"]),
        (
            json!({"replicas": 1, "count": 3}),
            vec![r#"unknown field "spec.count""#],
        ),
        (
            json!({"replicas": 2, "minAvailable": 3}),
            vec!["minAvailable is more than replicas"],
        ),
        (
            json!({"replicas": 2, "failurePolicy": {"quorum": 3}}),
            vec!["quorum is more than replicas"],
        ),
        (
            json!({"replicas": 2, "minAvailable": 0}),
            vec!["spec.minAvailable"],
        ),
        (
            json!({"replicas": 1, "zones": ["us east"]}),
            vec!["spec.zones"],
        ),
        (
            json!({"replicas": 1, "peers": "On"}),
            vec!["spec.peers", r#""Disabled""#],
        ),
        (
            json!({"replicas": 1, "template": {"ttl": "1h"}}),
            vec!["spec.template.instanceType", "Required"],
        ),
        (
            template(member.clone()),
            vec!["member is set by the array itself"],
        ),
        (
            template(later.clone()),
            vec!["write extendTo beside template"],
        ),
        (
            template(json!({"ttl": "2 hours"})),
            vec!["spec.template.ttl", "1d12h"],
        ),
        (
            template(json!({"env": {"JOB_ARRAY_INDEX": "1"}})),
            vec!["spec.template.env", "set by Spore"],
        ),
    ]);
    let mut wrong = unhelpful::<SporeArray>(&world, cases).await;

    let no_replicas = |(mut spec, says): (Value, Vec<&'static str>)| {
        spec.as_object_mut().unwrap().remove("replicas");
        (spec, says)
    };
    let mut cases = shared().into_iter().map(no_replicas).collect::<Vec<_>>();
    cases.extend([
        (json!({"parallelism": 0}), vec!["spec.parallelism"]),
        (
            json!({"parallelismPerRegion": 0}),
            vec!["spec.parallelismPerRegion"],
        ),
        (
            json!({"launchInterval": "10"}),
            vec!["spec.launchInterval", "1d12h"],
        ),
        (
            json!({"deadline": "0s"}),
            vec!["spec.deadline", "longer than nothing"],
        ),
        (json!({"params": {"a": 1}}), vec!["spec.params"]),
        (json!({"params": [1]}), vec!["spec.params[0]", "object"]),
        (
            json!({"grid": {"a": []}}),
            vec!["spec.grid.a", "at least 1"],
        ),
        (json!({"grid": {"a": 1}}), vec!["spec.grid.a", "array"]),
        (json!({"defaults": []}), vec!["spec.defaults", "object"]),
        (
            json!({"paramsFrom": {"configMap": "rows"}}),
            vec!["spec.paramsFrom.key", "Required"],
        ),
        (
            json!({"paramsFrom": {"configMap": "", "key": "a"}}),
            vec!["spec.paramsFrom.configMap"],
        ),
        (
            json!({"paramsFrom": {"configMap": "a", "key": "a", "format": "XML"}}),
            vec!["format", r#""CSV""#],
        ),
        (json!({"retryFailed": -1}), vec!["spec.retryFailed"]),
        (
            json!({"successfulHistoryLimit": -1}),
            vec!["spec.successfulHistoryLimit"],
        ),
        (
            json!({"template": {"instancetype": "t3.micro"}}),
            vec![r#"unknown field "spec.template.instancetype""#],
        ),
        (
            json!({"template": member}),
            vec!["member is set by the sweep itself"],
        ),
        (
            json!({"template": later}),
            vec!["write extendTo beside template"],
        ),
    ]);
    wrong.extend(unhelpful::<SporeSweep>(&world, cases).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let nothing = ["get", "spa,spw", "-o", "name"];
    assert_eq!(kubectl(&world, &nothing).await, "", "nothing was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_fixed_and_scaling_below_what_is_declared_is_refused() {
    let world = without_controller("groups-fixed").await;
    create::<SporeArray>(&world, "array", json!({"replicas": 3, "minAvailable": 2})).await;
    create::<SporeSweep>(&world, "sweep", json!({"params": [{"a": 1}]})).await;
    let small = json!({"template": {"instanceType": "t3.small"}});
    for message in [
        change::<SporeArray>(&world, "array", small.clone()).await,
        change::<SporeSweep>(&world, "sweep", small).await,
    ] {
        let message = message.expect_err("it is fixed");
        assert!(
            message.contains("template is fixed") && message.contains("create another"),
            "{message}"
        );
    }
    let scale = ["scale", "spa/array", "--replicas=1"];
    let refused = world.kubectl(&scale).await.unwrap();
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.stderr.contains("minAvailable is more"),
        "{}",
        refused.stderr
    );
    change::<SporeSweep>(&world, "sweep", json!({"template": null}))
        .await
        .unwrap_err();
    change::<SporeSweep>(&world, "sweep", json!({"cancel": true}))
        .await
        .unwrap();
    let resumed = change::<SporeSweep>(&world, "sweep", json!({"cancel": null})).await;
    assert!(resumed.unwrap_err().contains("cannot be resumed"));
}

// ---- what cannot be read ----

/// Writes something into a status that nobody can read, or takes it away.
async fn spoil(world: &World, resource: &ApiResource, name: &str, status: Value) {
    let api = Api::<DynamicObject>::namespaced_with(world.client(), world.namespace(), resource);
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_that_cannot_be_read_keeps_its_members_and_can_be_deleted() {
    let options = WorldOptions {
        no_machines: true,
        controller_args: vec!["--absence=5s".into(), "--orphan-interval=1s".into()],
        ..WorldOptions::default()
    };
    let mut world = World::start_with("groups-unreadable", options)
        .await
        .unwrap();
    let array = create::<SporeArray>(&world, "odd", json!({"replicas": 2})).await;
    until_up::<SporeArray>(&world, "odd", 2).await;
    // Admitted by the schema, and no set of indexes.
    let never = json!({"replicas": 1, "successPolicy": {"succeededIndexes": "3-1"}});
    let never = manifest::<SporeArray>("never", &never).to_string();
    world.apply(&never).await.unwrap();
    let resource = ApiResource::erase::<SporeArray>(&());
    spoil(
        &world,
        &resource,
        "odd",
        json!({"retryAt": "9999-12-31T23:59:59Z"}),
    )
    .await;
    for name in ["odd", "never"] {
        eventually(&format!("an Event tells of {name}"), PATIENCE, async || {
            let events = kubectl(&world, &["get", "events.events.k8s.io", "-o", "json"]).await;
            let events: Value = serde_json::from_str(&events).ok()?;
            let told = events["items"]
                .as_array()?
                .iter()
                .any(|event| event["reason"] == "Unreadable" && event["regarding"]["name"] == name);
            told.then_some(())
        })
        .await;
    }
    world.controller().start().await.unwrap();
    create::<SporeArray>(&world, "after", json!({"replicas": 1})).await;
    until_up::<SporeArray>(&world, "after", 1).await;
    let touched = poll(Duration::from_secs(4), async || {
        (world.sim().audit().await.ok()?.live_instances != 3).then_some(())
    });
    assert!(touched.await.is_none(), "what cannot be read is not gone");
    one_each(&world, &array.uid().unwrap(), 2).await;
    for name in ["odd", "never"] {
        kubectl(&world, &["delete", "spa", name, "--timeout=60s"]).await;
    }
    eventually("its members go with it", PATIENCE, async || {
        (members(&world, "odd").await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_cannot_be_read_is_not_launched_again() {
    let world = without_machines("member-unreadable").await;
    let policy = json!({"rules": [{"action": "Replace"}]});
    let spec = json!({"replicas": 2, "failurePolicy": policy});
    let array = create::<SporeArray>(&world, "array", spec).await;
    let uid = array.uid().unwrap();
    until_up::<SporeArray>(&world, "array", 2).await;
    let resource = ApiResource::erase::<SporeInstance>(&());
    spoil(
        &world,
        &resource,
        "array-1",
        json!({"idleSince": "9999-12-31T23:59:59Z"}),
    )
    .await;
    // A change of the array has it look at all of its members.
    change::<SporeArray>(&world, "array", json!({"replicas": 3}))
        .await
        .unwrap();
    eventually("the third is launched", PATIENCE, async || {
        (instances(&world, &uid).await.len() == 3).then_some(())
    })
    .await;
    let again = poll(Duration::from_secs(14), async || {
        let found = instances(&world, &uid).await;
        found.values().any(|all| all.len() > 1).then_some(found)
    });
    assert_eq!(again.await.map(|found| found.len()), None, "launched again");
    spoil(&world, &resource, "array-1", json!({"idleSince": null})).await;
    let status = until_up::<SporeArray>(&world, "array", 3).await;
    assert_eq!((status.failed, status.retried), (0, 0), "{status:?}");
    one_each(&world, &uid, 3).await;
    // Unreadable again, it goes with the array.
    spoil(
        &world,
        &resource,
        "array-1",
        json!({"idleSince": "9999-12-31T23:59:59Z"}),
    )
    .await;
    delete::<SporeArray>(&world, "array").await;
    nothing_left(&world).await;
    create_spore(&world, "beside", json!({})).await.unwrap();
    until_true(&world, "beside", LAUNCHED).await;
    delete_spore(&world, "beside").await;
}

// ---- what GitOps makes of it ----

#[tokio::test(flavor = "multi_thread")]
async fn kstatus_sees_every_stage_of_arrays_and_sweeps_as_it_is() {
    let options = WorldOptions {
        no_controller: true,
        ..WorldOptions::default()
    };
    let mut world = World::start_with("groups-kstatus", options).await.unwrap();
    let sleeps = json!({"instanceType": "t3.micro", "ttl": "1h", "command": ["sleep", "1000"]});
    let done = |command: &str| {
        json!({
            "instanceType": "t3.micro", "ttl": "1h", "command": [command],
            "onComplete": {"delay": "0s"},
        })
    };
    create::<SporeArray>(&world, "array", json!({"replicas": 2, "template": sleeps})).await;
    let rows = json!({"template": sleeps, "params": [{"x": 1}, {"x": 2}], "parallelism": 1});
    create::<SporeSweep>(&world, "sweep", rows).await;
    let both = [("spa", "array"), ("spw", "sweep")];
    for (kind, name) in both {
        assert_eq!(
            kstatus_of(&world, kind, name).await,
            "InProgress",
            "{name}: not seen yet"
        );
    }
    let held = Fault::on("RunInstances").hold(When::Before);
    world.sim().add_fault(held).await.unwrap();
    world.controller().start().await.unwrap();
    until::<SporeArray>(&world, "array", "launching", |status| {
        !status.batches.is_empty()
    })
    .await;
    until::<SporeSweep>(&world, "sweep", "launching", |status| {
        !status.batches.is_empty()
    })
    .await;
    for (kind, name) in both {
        assert_eq!(
            kstatus_of(&world, kind, name).await,
            "InProgress",
            "{name}: launching"
        );
    }
    world.sim().clear_faults().await.unwrap();
    create::<SporeArray>(
        &world,
        "fails",
        json!({"replicas": 1, "template": done("false")}),
    )
    .await;
    create::<SporeSweep>(
        &world,
        "succeeds",
        json!({"params": [{"x": 1}], "template": done("true")}),
    )
    .await;
    let bad = json!({"instanceType": "x9.large"});
    create::<SporeArray>(&world, "bad", json!({"replicas": 1, "template": bad})).await;
    create::<SporeSweep>(&world, "badrow", json!({"params": [{"ttl": 3}]})).await;

    until::<SporeArray>(&world, "array", "up", |status| status.ready == 2).await;
    let status = until::<SporeArray>(&world, "array", "running", |status| {
        status.state == Some(GroupState::Running)
    })
    .await;
    assert_eq!(
        kstatus_of(&world, "spa", "array").await,
        "Current",
        "{status:?}"
    );
    until::<SporeSweep>(&world, "sweep", "one up", |status| status.ready == 1).await;
    assert_eq!(
        kstatus_of(&world, "spw", "sweep").await,
        "InProgress",
        "rows are waiting"
    );
    change::<SporeSweep>(&world, "sweep", json!({"suspend": true}))
        .await
        .unwrap();
    until::<SporeSweep>(&world, "sweep", "suspended", |status| {
        status.state == Some(GroupState::Suspended)
    })
    .await;
    assert_eq!(
        kstatus_of(&world, "spw", "sweep").await,
        "Current",
        "held as declared"
    );
    stalled::<SporeArray>(&world, "bad").await;
    stalled::<SporeSweep>(&world, "badrow").await;
    assert_eq!(kstatus_of(&world, "spa", "bad").await, "Failed");
    assert_eq!(kstatus_of(&world, "spw", "badrow").await, "Failed");
    until_over::<SporeArray>(&world, "fails").await;
    until_over::<SporeSweep>(&world, "succeeds").await;
    assert_eq!(
        kstatus_of(&world, "spa", "fails").await,
        "Current",
        "finished"
    );
    assert_eq!(
        kstatus_of(&world, "spw", "succeeds").await,
        "Current",
        "finished"
    );

    let held = Fault::on("TerminateInstances").hold(When::Before);
    world.sim().add_fault(held).await.unwrap();
    kubectl(
        &world,
        &["delete", "spa/array", "spw/sweep", "--wait=false"],
    )
    .await;
    for (kind, name) in both {
        assert_eq!(
            kstatus_of(&world, kind, name).await,
            "Terminating",
            "{name}"
        );
    }
    world.sim().clear_faults().await.unwrap();
}
