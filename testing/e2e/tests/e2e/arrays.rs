//! Arrays: members by index, their number, their deadline, and their end with the array.

mod gang;
mod peers;
mod policies;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::{Value, json};
use spore_core::tags;
use spore_crds::{GroupState, SporeArray, State, conditions::READY};
use spore_e2e::{
    PATIENCE,
    ec2::{calls_by, find},
    group::{
        all, change, create, delete, ended, instances, members, most_at_once, never_two,
        nothing_left, one_each, stalled, told, until, until_gone, until_over, until_up,
    },
    kubectl, spores, without_machines,
};
use spore_world::{World, eventually, sim::ACCESS_KEY};

/// The fields of a line of a table.
fn cells(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_members_have_indexes_of_their_own_and_each_ends_by_itself() {
    let world = World::start("array").await.unwrap();
    // What a member finds in its environment comes back as its exit code and its message.
    let says = "spored complete --status failed --message \
                \"$JOB_ARRAY_INDEX of $JOB_ARRAY_SIZE in $JOB_ARRAY_NAME ($JOB_ARRAY_ID)\"; \
                sleep 1; exit $((JOB_ARRAY_INDEX + 3))";
    let template = json!({
        "instanceType": "t3.micro", "ttl": "1h", "command": ["sh", "-c", says],
        "onComplete": {"delay": "2s"},
    });
    let array = create::<SporeArray>(
        &world,
        "train",
        json!({"replicas": 3, "template": template, "peers": "Disabled"}),
    )
    .await;
    let uid = array.uid().unwrap();
    let status = until_over::<SporeArray>(&world, "train").await;
    assert_eq!(
        (status.state, ended(&status)),
        (Some(GroupState::Failed), "MembersFailed")
    );
    assert_eq!(
        (status.launched, status.failed, status.active),
        (3, 3, 0),
        "{status:?}"
    );
    assert_eq!(status.failed_indexes.to_string(), "0-2");
    assert_eq!(
        status.reasons,
        BTreeMap::from([("WorkloadFailed".into(), 3)])
    );
    let id = format!(
        "train-{}-",
        array.creation_timestamp().unwrap().0.strftime("%Y%m%d")
    );
    let told_by_members = status.failures.iter();
    for failure in told_by_members {
        let said = format!("{} of 3 in train ({id}", failure.index);
        assert!(
            failure.message.contains(&said),
            "{said}: {}",
            failure.message
        );
    }

    let found = members(&world, "train").await;
    for (index, child) in &found {
        assert_eq!(child.name_any(), format!("train-{index}"));
        assert_eq!(child.labels()["spore.host/array"], "train");
        assert_eq!(child.labels()["spore.host/index"], index.to_string());
        let owner = &child.owner_references()[0];
        assert_eq!((owner.kind.as_str(), &owner.uid), ("SporeArray", &uid));
        assert_eq!(owner.controller, Some(true));
        let status = child.status.as_ref().unwrap();
        assert_eq!(status.state, Some(State::Failed), "{index}");
    }
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    // Each ended by itself: nobody else asked EC2 for it, and one call made all of them.
    assert_eq!(calls_by(&world, ACCESS_KEY, "TerminateInstances").await, 0);
    assert_eq!(calls_by(&world, ACCESS_KEY, "RunInstances").await, 1);
    assert_eq!(calls_by(&world, ACCESS_KEY, "CreateTags").await, 0);
    let found = instances(&world, &uid).await;
    assert_eq!(found.len(), 3);
    never_two(&found);
    nothing_left(&world).await;

    let table = kubectl(&world, &["get", "spa"]).await;
    let mut lines = table.lines().map(cells);
    assert_eq!(
        lines.next().unwrap().join(" "),
        "NAME READY STATE SIZE LAUNCHED UP SUCCEEDED FAILED EXPIRES AGE"
    );
    let row = lines.next().unwrap().join(" ");
    assert!(
        row.starts_with("train True Failed 3 3/3 (100%) 0 0 3 "),
        "{row}"
    );
    delete::<SporeArray>(&world, "train").await;
}

/// The scale subresource, as an autoscaler reads it.
async fn scale(world: &World, name: &str) -> Value {
    let namespace = world.namespace();
    let path = format!("/apis/spore.host/v1alpha1/namespaces/{namespace}/sporearrays/{name}/scale");
    serde_json::from_str(&kubectl(world, &["get", "--raw", &path]).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_kubectl_scale_adds_and_takes_away_members_at_the_end() {
    let world = without_machines("array-scale").await;
    let array = create::<SporeArray>(&world, "scaled", json!({"replicas": 2})).await;
    let uid = array.uid().unwrap();
    until_up::<SporeArray>(&world, "scaled", 2).await;
    one_each(&world, &uid, 2).await;
    let first = instances(&world, &uid).await[&0][0].id.clone();

    kubectl(&world, &["scale", "spa/scaled", "--replicas=4"]).await;
    until_up::<SporeArray>(&world, "scaled", 4).await;
    one_each(&world, &uid, 4).await;
    let read = scale(&world, "scaled").await;
    assert_eq!(read["spec"]["replicas"], 4);
    assert_eq!(read["status"]["replicas"], 4);
    let selector = read["status"]["selector"].as_str().unwrap();
    let selected = ["get", "spi", "-l", selector, "-o", "name"];
    let selected = kubectl(&world, &selected).await;
    assert_eq!(selected.lines().count(), 4, "{selector}: {selected}");

    kubectl(&world, &["scale", "spa/scaled", "--replicas=1"]).await;
    eventually("one is left", PATIENCE, async || {
        let alone = members(&world, "scaled").await.into_keys().eq([0]);
        let live = world.sim().audit().await.ok()?.live_instances;
        (alone && live == 1).then_some(())
    })
    .await;
    assert!(
        find(&world, &first).await.unwrap().is_live(),
        "member 0 stays"
    );

    // Indexes that come back are new attempts at them.
    kubectl(&world, &["scale", "spa/scaled", "--replicas=3"]).await;
    until_up::<SporeArray>(&world, "scaled", 3).await;
    one_each(&world, &uid, 3).await;
    let status = until::<SporeArray>(&world, "scaled", "settled", |_| true).await;
    assert_eq!(status.attempts[0].attempt, 2, "{:?}", status.attempts);
    assert_eq!((status.failed, status.retried), (0, 0), "{status:?}");

    kubectl(&world, &["scale", "spa/scaled", "--replicas=0"]).await;
    nothing_left(&world).await;
    kubectl(&world, &["scale", "spa/scaled", "--replicas=1"]).await;
    until_up::<SporeArray>(&world, "scaled", 1).await;
    delete::<SporeArray>(&world, "scaled").await;
    nothing_left(&world).await;
    never_two(&instances(&world, &uid).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_array_leaves_nothing_whichever_way_it_is_deleted() {
    let world = without_machines("array-deleted").await;
    for (name, policy) in [
        ("background", PropagationPolicy::Background),
        ("foreground", PropagationPolicy::Foreground),
        ("orphan", PropagationPolicy::Orphan),
    ] {
        create::<SporeArray>(&world, name, json!({"replicas": 2})).await;
        until_up::<SporeArray>(&world, name, 2).await;
        let now = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        all::<SporeArray>(&world).delete(name, &now).await.unwrap();
        until_gone::<SporeArray>(&world, name).await;
        nothing_left(&world).await;
    }
    // What was let go of is a record: its instances are gone, and it can be deleted at once.
    let left = kubectl(&world, &["get", "spi", "-o", "name"]).await;
    assert_eq!(left.lines().count(), 2, "{left}");
    kubectl(&world, &["delete", "spi", "--all", "--timeout=30s"]).await;

    // One that is deleted before anything was launched is gone at once.
    let never = json!({"replicas": 2, "template": {"instanceType": "x9.large"}});
    create::<SporeArray>(&world, "never", never).await;
    until::<SporeArray>(&world, "never", "stalled", |status| {
        status.state == Some(GroupState::Stalled)
    })
    .await;
    delete::<SporeArray>(&world, "never").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_deleted_by_hand_has_failed_and_is_replaced_where_that_is_declared() {
    let world = without_machines("array-member").await;
    let kept = create::<SporeArray>(&world, "kept", json!({"replicas": 2})).await;
    let policy = json!({"rules": [{"onReasons": ["UserRequested"], "action": "Replace"}]});
    let healed = json!({"replicas": 2, "failurePolicy": policy});
    let healed = create::<SporeArray>(&world, "healed", healed).await;
    for name in ["kept", "healed"] {
        until_up::<SporeArray>(&world, name, 2).await;
        spores(&world)
            .delete(&format!("{name}-1"), &DeleteParams::default())
            .await
            .unwrap();
    }
    let status = until::<SporeArray>(&world, "kept", "told", |status| status.failed == 1).await;
    assert_eq!(status.failed_indexes.to_string(), "1");
    assert_eq!(status.failures[0].reason, "UserRequested");
    assert_eq!(status.ended, None, "the other goes on");
    let kept = instances(&world, &kept.uid().unwrap()).await;
    assert!(kept[&0][0].is_live() && !kept[&1][0].is_live() && kept[&1].len() == 1);

    until::<SporeArray>(&world, "healed", "replaced", |status| status.retried == 1).await;
    until_up::<SporeArray>(&world, "healed", 2).await;
    one_each(&world, &healed.uid().unwrap(), 2).await;
    let member = &members(&world, "healed").await[&1];
    assert_eq!(member.spec.member.as_ref().unwrap().attempt, 2);
    assert_eq!(most_at_once(&world, &healed.uid().unwrap()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_extending_an_array_moves_the_deadline_of_every_member() {
    let world = without_machines("array-extend").await;
    let array = create::<SporeArray>(&world, "longer", json!({"replicas": 3})).await;
    let uid = array.uid().unwrap();
    until_up::<SporeArray>(&world, "longer", 3).await;
    let to = Timestamp::now().checked_add(5.hours()).unwrap();
    let to = Timestamp::from_second(to.as_second()).unwrap();
    let spec = json!({"extendTo": to.to_string()});
    change::<SporeArray>(&world, "longer", spec).await.unwrap();
    eventually("all deadlines move", PATIENCE, async || {
        let moved = members(&world, "longer")
            .await
            .into_values()
            .all(|child| child.status.and_then(|status| status.deadline) == Some(to));
        let told = instances(&world, &uid)
            .await
            .into_values()
            .all(|instances| {
                instances[0].tags[tags::DEADLINE].parse::<Timestamp>().ok() == Some(to)
            });
        (moved && told).then_some(())
    })
    .await;
    let status = until::<SporeArray>(&world, "longer", "tells", |_| true).await;
    assert_eq!(status.deadline, Some(to));
    // Members that come later live as long.
    kubectl(&world, &["scale", "spa/longer", "--replicas=4"]).await;
    until_up::<SporeArray>(&world, "longer", 4).await;
    eventually("the new one too", PATIENCE, async || {
        let last = members(&world, "longer").await.remove(&3)?;
        (last.status?.deadline? == to).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_member_sees_and_ends_nothing_of_another_namespace() {
    let world = without_machines("array-forged").await;
    let real = create::<SporeArray>(&world, "real", json!({"replicas": 1})).await;
    until_up::<SporeArray>(&world, "real", 1).await;
    // Another tenant's member in the same cluster and account: only the namespace differs.
    let theirs = "0a0a0a0a-1111-2222-3333-444444444444";
    let mut all_tags = instances(&world, &real.uid().unwrap()).await[&0][0]
        .tags
        .clone();
    all_tags.insert(tags::UID.into(), theirs.into());
    all_tags.insert(tags::PARENT.into(), theirs.into());
    all_tags.insert(tags::OWNER.into(), "tenant/array".into());
    let id = run(&world, &all_tags).await;

    let forged = json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeInstance",
        "metadata": {
            "name": "forged",
            // So that the garbage collector does not remove it before the controller has seen it.
            "finalizers": ["spore.host/ec2", "test.example/seen"],
            "ownerReferences": [{
                "apiVersion": "spore.host/v1alpha1", "kind": "SporeArray", "name": "array",
                "uid": theirs, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "instanceType": "t3.micro", "ttl": "1s", "extendTo": "2036-01-01T00:00:00Z",
            "member": {"index": 0, "attempt": 1},
        },
    });
    world.apply(&forged.to_string()).await.unwrap();
    eventually("the controller has done with it", PATIENCE, async || {
        let forged = spores(&world).get("forged").await.ok()?;
        let status = forged.status.unwrap_or_default();
        assert_eq!(status.instance, None, "it sees what is not its own");
        let deleted = forged.metadata.deletion_timestamp.is_some();
        let held = forged.metadata.finalizers.iter().flatten();
        let left = held.into_iter().any(|name| name == "spore.host/ec2");
        (deleted && !left).then_some(())
    })
    .await;
    let untouched = find(&world, &id).await.unwrap();
    assert!(untouched.is_live());
    assert_eq!(untouched.tags, all_tags, "nothing of it was changed");
    assert_eq!(calls_by(&world, ACCESS_KEY, "TerminateInstances").await, 0);
    let free = [
        "patch",
        "spi",
        "forged",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ];
    kubectl(&world, &free).await;
    let status = until::<SporeArray>(&world, "real", "still there", |_| true).await;
    assert_eq!(status.active, 1, "{:?}", told(&status, READY));
}

/// Launches an instance with these tags, as somebody else would; returns its id.
async fn run(world: &World, tags: &BTreeMap<String, String>) -> String {
    let list = tags
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}));
    let specification = json!([{"ResourceType": "instance", "Tags": list.collect::<Vec<_>>()}]);
    let image = world.sim().instances().await.unwrap()[0].image_id.clone();
    let made = spore_e2e::ec2::aws(
        world,
        &[
            "ec2",
            "run-instances",
            "--instance-type",
            "t3.micro",
            "--image-id",
            &image,
            "--tag-specifications",
            &specification.to_string(),
        ],
    )
    .await;
    made["Instances"][0]["InstanceId"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_spore_has_stops_the_launch_until_it_is_free() {
    let world = without_machines("array-name").await;
    let json = json!({"instanceType": "t3.micro"});
    spore_e2e::create(&world, "twin-1", json).await.unwrap();
    let array = create::<SporeArray>(&world, "twin", json!({"replicas": 3})).await;
    let uid = array.uid().unwrap();
    let (reason, message) = stalled::<SporeArray>(&world, "twin").await;
    assert_eq!(reason, "NameTaken");
    assert!(message.contains("SporeInstance twin-1"), "{message}");
    assert!(instances(&world, &uid).await.is_empty());

    spore_e2e::delete(&world, "twin-1").await;
    until_up::<SporeArray>(&world, "twin", 3).await;
    one_each(&world, &uid, 3).await;
    delete::<SporeArray>(&world, "twin").await;
    nothing_left(&world).await;
}
