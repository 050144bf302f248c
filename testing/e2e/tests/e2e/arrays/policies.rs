//! What follows when members end: by reason, within limits, and when enough have succeeded.

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use spore_crds::{GroupState, SporeArray, conditions::SUCCEEDED};
use spore_e2e::{
    group::{
        create, ended, instances, members, most_at_once, never_two, nothing_left, one_each, told,
        until, until_over, until_up,
    },
    kubectl, without_machines,
};
use spore_world::World;

/// A template whose members do what a script says about their index.
fn script(text: &str) -> Value {
    json!({
        "instanceType": "t3.micro", "ttl": "1h", "command": ["sh", "-c", text],
        "onComplete": {"delay": "0s"},
    })
}

/// Member 0 does something and the others sleep.
fn first(does: &str) -> Value {
    script(&format!(
        "[ $JOB_ARRAY_INDEX = 0 ] || exec sleep 1000; sleep 2; {does}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_failure_and_success_policies_end_arrays_as_declared() {
    let world = World::start("array-policies").await.unwrap();
    let cases = [
        (
            "all-end",
            json!({"template": first("exit 4"), "failurePolicy": {"rules": [
                {"onExitCodes": [3], "action": "Continue"},
                {"onReasons": ["WorkloadFailed"], "action": "TerminateAll"},
            ]}}),
            (GroupState::Failed, "FailurePolicy", "0-1", ""),
        ),
        (
            "quorum",
            json!({"template": first("exit 1"), "failurePolicy": {"quorum": 2}}),
            (GroupState::Failed, "QuorumLost", "0-1", ""),
        ),
        (
            "any",
            json!({"template": first("exit 0"), "successPolicy": {"succeededCount": 1}}),
            (GroupState::Succeeded, "Completed", "", "0"),
        ),
        (
            "leader",
            json!({"template": first("exit 0"), "successPolicy": {"succeededIndexes": "0"}}),
            (GroupState::Succeeded, "Completed", "", "0"),
        ),
    ];
    let mut uids = Vec::new();
    for (name, spec, _) in &cases {
        let mut spec = spec.clone();
        spec["replicas"] = json!(2);
        let array = create::<SporeArray>(&world, name, spec).await;
        uids.push(array.uid().unwrap());
    }
    for ((name, _, (state, reason, failed, succeeded)), uid) in cases.iter().zip(&uids) {
        let status = until_over::<SporeArray>(&world, name).await;
        assert_eq!(
            (status.state, ended(&status)),
            (Some(*state), *reason),
            "{name}: {status:?}"
        );
        assert_eq!(status.failed_indexes.to_string(), *failed, "{name}");
        assert_eq!(status.succeeded_indexes.to_string(), *succeeded, "{name}");
        assert_eq!(status.retried, 0, "{name}");
        let (told, message) = told(&status, SUCCEEDED);
        assert_eq!(told, *reason, "{name}: {message}");
        never_two(&instances(&world, uid).await);
    }
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_an_index_that_fails_is_launched_again_up_to_its_limit() {
    let world = World::start("array-replace").await.unwrap();
    // Index 0 succeeds in its second attempt, which it knows by nothing but its exit code's rule.
    let template = script("[ $JOB_ARRAY_INDEX = 0 ] && exit 0; exit 3");
    let policy = json!({
        "rules": [{"onExitCodes": [3], "action": "Replace"}], "backoffLimitPerIndex": 1,
    });
    let spec = json!({"replicas": 2, "template": template, "failurePolicy": policy});
    let array = create::<SporeArray>(&world, "again", spec).await;
    let total = json!({
        "replicas": 2, "template": script("exit 3"),
        "failurePolicy": {"backoffLimit": 1},
    });
    let limited = create::<SporeArray>(&world, "limited", total).await;
    let status = until_over::<SporeArray>(&world, "again").await;
    assert_eq!(ended(&status), "MembersFailed", "{status:?}");
    assert_eq!((status.retried, status.failed, status.succeeded), (1, 1, 1));
    assert_eq!(status.failed_indexes.to_string(), "1");
    assert_eq!(status.reasons["WorkloadFailed"], 2);
    let attempts = status.failures.iter().map(|failure| failure.attempt);
    assert_eq!(attempts.collect::<Vec<_>>(), [1, 2]);
    let found = instances(&world, &array.uid().unwrap()).await;
    assert_eq!((found[&0].len(), found[&1].len()), (1, 2));
    never_two(&found);
    let kept = &members(&world, "again").await[&1];
    assert_eq!(kept.spec.member.as_ref().unwrap().attempt, 2);

    let status = until_over::<SporeArray>(&world, "limited").await;
    assert_eq!(ended(&status), "BackoffLimitExceeded", "{status:?}");
    assert_eq!(status.retried, 1);
    never_two(&instances(&world, &limited.uid().unwrap()).await);
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_spot_member_that_is_taken_back_is_replaced_where_that_is_declared() {
    let world = without_machines("array-spot").await;
    let template = json!({"instanceType": "t3.micro", "ttl": "1h", "market": "Spot"});
    let policy = json!({"rules": [{"onReasons": ["SpotInterruption"], "action": "Replace"}]});
    let spec = json!({"replicas": 2, "template": template, "failurePolicy": policy});
    let array = create::<SporeArray>(&world, "spot", spec).await;
    let uid = array.uid().unwrap();
    until_up::<SporeArray>(&world, "spot", 2).await;
    let taken = instances(&world, &uid).await[&1][0].clone();
    assert_eq!(taken.market, "spot");
    let notice = Duration::from_secs(1);
    let interrupted = world.sim().spot_interrupt(&taken.id, "terminate", notice);
    interrupted.await.unwrap();
    let status = until::<SporeArray>(&world, "spot", "noticed", |status| status.retried == 1).await;
    assert_eq!(status.reasons["SpotInterruption"], 1);
    until_up::<SporeArray>(&world, "spot", 2).await;
    one_each(&world, &uid, 2).await;
    assert_eq!(most_at_once(&world, &uid).await, 2);

    // A second array without such a rule: it has failed, and the other goes on.
    let spec = json!({"replicas": 2, "template": template});
    let array = create::<SporeArray>(&world, "plain", spec).await;
    until_up::<SporeArray>(&world, "plain", 2).await;
    let found = instances(&world, &array.uid().unwrap()).await;
    world.sim().die(&found[&0][0].id).await.unwrap();
    let status = until::<SporeArray>(&world, "plain", "noticed", |status| status.failed == 1).await;
    assert_eq!(status.reasons["HostFailure"], 1);
    assert_eq!((status.active, &status.ended), (1, &None));
    kubectl(&world, &["delete", "spa", "--all"]).await;
    nothing_left(&world).await;
}
