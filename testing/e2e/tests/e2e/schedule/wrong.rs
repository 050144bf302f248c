//! Schedules that cannot be carried out as written, and those beside them.

use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use spore_crds::{ScheduleState, SporeSchedule};
use spore_e2e::{PATIENCE, kstatus_of, without_machines};
use spore_world::eventually;

use super::{apply, change, events, manifest, soon, told, until};

#[tokio::test(flavor = "multi_thread")]
async fn a24_wrong_schedules_are_refused_or_stall_with_a_reason() {
    let world = without_machines("schedule-wrong").await;
    let two = json!({"instance": {"instanceType": "t3.micro"}, "array": {"replicas": 1, "template": {"instanceType": "t3.micro"}}});
    let member =
        json!({"instance": {"instanceType": "t3.micro", "member": {"index": 0, "attempt": 1}}});
    let own = json!({"instance": {"instanceType": "t3.micro"}, "metadata": {"labels": {"spore.host/sweep": "x"}}});
    let spot = json!({"instance": {"instanceType": "t3.micro", "market": "Spot", "onComplete": {"action": "Stop"}}});
    for (name, spec, says) in [
        ("neither", json!({}), "write either schedule"),
        (
            "both",
            json!({"schedule": "@daily", "at": "2036-01-01T00:00:00Z"}),
            "write either schedule",
        ),
        (
            "six",
            json!({"schedule": "0 0 9 * * *"}),
            "write five fields",
        ),
        (
            "words",
            json!({"schedule": "every day"}),
            "write five fields",
        ),
        ("day", json!({"at": "2036-01-01"}), "write a moment"),
        (
            "none",
            json!({"schedule": "@daily", "template": {}}),
            "exactly one of instance",
        ),
        (
            "two",
            json!({"schedule": "@daily", "template": two}),
            "exactly one of instance",
        ),
        (
            "member",
            json!({"schedule": "@daily", "template": member}),
            "member is set by arrays",
        ),
        (
            "own",
            json!({"schedule": "@daily", "template": own}),
            "set by Spore",
        ),
        (
            "spot",
            json!({"schedule": "@daily", "template": spot}),
            "a Spot instance cannot be stopped",
        ),
        (
            "type",
            json!({"schedule": "@daily", "template": {"instance": {"instanceType": "large"}}}),
            "instanceType",
        ),
        (
            "zero",
            json!({"schedule": "@daily", "maxExecutions": 0}),
            "maxExecutions",
        ),
        (
            "deadline",
            json!({"schedule": "@daily", "startingDeadline": "0s"}),
            "longer than nothing",
        ),
        (
            &"n".repeat(53),
            json!({"schedule": "@daily"}),
            "may have 52 characters",
        ),
    ] {
        let text = manifest(name, spec).to_string();
        let output = world
            .kubectl_with(&["apply", "-f", "-"], &text)
            .await
            .unwrap();
        assert!(
            output.code != Some(0) && output.stderr.contains(says),
            "{name}: {}",
            output.stderr
        );
    }
    for (name, spec, reason, says) in [
        (
            "hour",
            json!({"schedule": "0 25 * * *"}),
            "InvalidSchedule",
            "cannot be read",
        ),
        (
            "never",
            json!({"schedule": "0 0 31 2 *"}),
            "InvalidSchedule",
            "never comes",
        ),
        (
            "every",
            json!({"schedule": "@every"}),
            "InvalidSchedule",
            "there are @yearly",
        ),
        (
            "zone",
            json!({"schedule": "@daily", "timeZone": "Europe/Berln"}),
            "UnknownTimeZone",
            "did you mean Europe/Berlin?",
        ),
        (
            "past",
            json!({"at": "2020-01-01T00:00:00Z"}),
            "InThePast",
            "set a later moment",
        ),
    ] {
        apply(&world, name, spec).await;
        let status = until(&world, name, "stalled", |status| {
            status.state == Some(ScheduleState::Stalled)
        })
        .await;
        let (told, message) = told(&status);
        assert!(
            told == reason && message.contains(says),
            "{name}: {told}: {message}"
        );
        assert_eq!(kstatus_of(&world, "sporeschedule", name).await, "Failed");
    }
    change(&world, "zone", json!({"timeZone": "Europe/Berlin"})).await;
    until(&world, "zone", "corrected", |status| {
        status.next_schedule_time.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_what_the_api_server_refuses_is_told_and_starts_once_corrected() {
    let world = without_machines("schedule-refused").await;
    let template = |label: &str| {
        let metadata = json!({"labels": {label: "x"}});
        json!({"metadata": metadata, "instance": {"instanceType": "t3.micro", "ttl": "1h"}})
    };
    apply(
        &world,
        "odd",
        json!({"at": soon(1), "template": template("no label")}),
    )
    .await;
    let status = until(&world, "odd", "refused", |status| {
        told(status).0 == "Refused"
    })
    .await;
    assert!(
        told(&status).1.contains("metadata.labels"),
        "{:?}",
        told(&status)
    );
    assert_eq!(
        (status.state, status.executions),
        (Some(ScheduleState::Stalled), 0)
    );
    assert!(events(&world).await.contains("\"Refused\""));
    let labels = json!({"no label": null, "label": "x"});
    change(
        &world,
        "odd",
        json!({"template": {"metadata": {"labels": labels}}}),
    )
    .await;
    until(&world, "odd", "started", |status| status.executions == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_schedule_that_cannot_be_read_does_not_stop_others_and_a_settled_one_is_left_alone() {
    let mut world = without_machines("schedule-unreadable").await;
    apply(&world, "odd", json!({"schedule": "@yearly"})).await;
    apply(&world, "calm", json!({"schedule": "@yearly"})).await;
    until(&world, "odd", "looked at", |status| status.state.is_some()).await;
    let calm = until(&world, "calm", "looked at", |status| status.state.is_some()).await;
    let raw: Api<DynamicObject> = Api::namespaced_with(
        world.client(),
        world.namespace(),
        &ApiResource::erase::<SporeSchedule>(&()),
    );
    let patch = Patch::Merge(json!({"status": {"lastScheduleTime": "9999-12-31T23:59:59Z"}}));
    raw.patch_status("odd", &PatchParams::default(), &patch)
        .await
        .unwrap();
    eventually("an Event tells", PATIENCE, async || {
        events(&world)
            .await
            .contains("\"Unreadable\"")
            .then_some(())
    })
    .await;
    let version = async || raw.get("calm").await.unwrap().resource_version();
    let before = version().await;
    world.controller().start().await.unwrap();
    apply(&world, "after", json!({"at": soon(1)})).await;
    until(&world, "after", "started", |status| status.executions == 1).await;
    assert_eq!(version().await, before, "{calm:?}");
}
