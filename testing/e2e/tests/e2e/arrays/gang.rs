//! Members that must be had together.

use kube::ResourceExt as _;
use serde_json::json;
use spore_crds::{SporeArray, conditions::READY};
use spore_e2e::{
    group::{create, delete, instances, never_two, nothing_left, one_each, told, until, until_up},
    kubectl, without_machines,
};
use spore_world::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_gang_moves_as_a_whole_to_a_zone_that_has_room() {
    let world = without_machines("gang-moves").await;
    // Room for two of three, and the order of zones is declared.
    let full = Fault::on("RunInstances").zone("us-east-1a").capacity(2);
    world.sim().add_fault(full).await.unwrap();
    let spec = json!({"replicas": 3, "minAvailable": 3, "zones": ["us-east-1a", "us-east-1b"]});
    let array = create::<SporeArray>(&world, "gang", spec).await;
    let uid = array.uid().unwrap();
    let status = until_up::<SporeArray>(&world, "gang", 3).await;
    assert!(status.formed, "{status:?}");
    assert_eq!(status.zone.as_deref(), Some("us-east-1b"));
    one_each(&world, &uid, 3).await;
    let zones = instances(&world, &uid).await.into_values().flatten();
    let zones = zones.map(|instance| instance.zone).collect::<Vec<_>>();
    assert_eq!(
        zones, ["us-east-1b"; 3],
        "all in one zone, and none was ever elsewhere"
    );
    delete::<SporeArray>(&world, "gang").await;
    nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_gang_that_cannot_be_had_releases_what_came_and_says_so() {
    let world = without_machines("gang-releases").await;
    // Two calls: the first is given all that there is, and the second nothing.
    let most = Fault::on("RunInstances").capacity(100);
    world.sim().add_fault(most).await.unwrap();
    let spec = json!({"replicas": 101, "minAvailable": 101, "zones": ["us-east-1a"]});
    let array = create::<SporeArray>(&world, "gang", spec).await;
    let uid = array.uid().unwrap();
    let status = until::<SporeArray>(&world, "gang", "says why it waits", |status| {
        told(status, READY).0 == "InsufficientCapacity"
    })
    .await;
    let (_, message) = told(&status, READY);
    for words in ["us-east-1a", "together", "next try"] {
        assert!(message.contains(words), "no {words:?} in {message}");
    }
    assert!(!status.formed);
    let events = kubectl(&world, &["get", "events.events.k8s.io", "-o", "json"]).await;
    for words in [r#""reason": "Releasing""#, "what came is released"] {
        assert!(events.contains(words), "no {words:?} in {events}");
    }
    nothing_left(&world).await;
    let came = instances(&world, &uid).await;
    // Either call may have come first.
    assert!(matches!(came.len(), 1 | 100), "{}", came.len());

    world.sim().clear_faults().await.unwrap();
    until::<SporeArray>(&world, "gang", "formed", |status| status.formed).await;
    until_up::<SporeArray>(&world, "gang", 101).await;
    one_each(&world, &uid, 101).await;
    delete::<SporeArray>(&world, "gang").await;
    nothing_left(&world).await;
    never_two(&instances(&world, &uid).await);
}
