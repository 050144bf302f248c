//! The controller dies right before a write to Kubernetes, and right after one.

use futures::{StreamExt as _, stream};
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use spore_crds::{SporeArray, SporeInstance, SporeSweep};
use spore_e2e::{
    PATIENCE,
    group::{
        Group, all, create, delete, instances, members, never_two, nothing_left, one_each, until,
        until_gone, until_up,
    },
    kubectl,
    refuse::Refused,
    results::results,
    spores,
};
use spore_world::{World, eventually};

use super::world;

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_before_a_write_launches_each_member_once() {
    let mut world = world("kill-write").await;
    let batches = "(has(object.status) && has(object.status.batches) ? object.status.batches : [])";
    let cases = [
        // Nothing is stored yet.
        ("unheld", "sporearrays", "false".to_owned()),
        // The call is decided and not stored.
        (
            "undecided",
            "sporearrays/status",
            format!("{batches}.size() == 0"),
        ),
        // EC2 has answered, and that is not stored.
        (
            "unplaced",
            "sporearrays/status",
            format!("!{batches}.exists(batch, has(batch.placed))"),
        ),
        // Some members are made.
        (
            "half",
            "sporeinstances",
            "!object.metadata.name.endsWith('-1')".to_owned(),
        ),
        // All are made, and none knows its instance.
        ("unknowing", "sporeinstances/status", "false".to_owned()),
        // All is done but closing the line.
        (
            "unclosed",
            "sporearrays/status",
            format!(
                "!(has(object.status) && has(object.status.launched) && object.status.launched == 3) || {batches}.size() > 0"
            ),
        ),
    ];
    for (name, resource, allowed) in &cases {
        let refused = Refused::unless(&world, resource, allowed).await;
        let array = create::<SporeArray>(&world, name, json!({"replicas": 3})).await;
        until_refused(&world, name, &array.uid().unwrap()).await;
        world.controller().kill();
        refused.lift(&world).await;
        world.controller().start().await.unwrap();
        until_up::<SporeArray>(&world, name, 3).await;
        eprintln!("killed: {name}");
        one_each(&world, &array.uid().unwrap(), 3).await;
    }
    // And on the way out: nothing is left in EC2, and that cannot be stored.
    let refused = Refused::unless(
        &world,
        "sporearrays",
        "size(object.metadata.finalizers) > 0",
    );
    let refused = refused.await;
    kubectl(&world, &["delete", "spa", "--all", "--wait=false"]).await;
    nothing_left(&world).await;
    world.controller().kill();
    refused.lift(&world).await;
    world.controller().start().await.unwrap();
    for (name, ..) in &cases {
        until_gone::<SporeArray>(&world, name).await;
    }
    assert_eq!(
        world.sim().instances().await.unwrap().len(),
        3 * cases.len()
    );
}

/// Waits until the controller has got as far as it is let.
async fn until_refused(world: &World, name: &str, uid: &str) {
    eventually(
        &format!("{name}: as far as it gets"),
        PATIENCE,
        async || {
            let array = all::<SporeArray>(world).get(name).await.ok()?;
            let made = members(world, name).await;
            let launched = instances(world, uid).await.len();
            let lines = array
                .status
                .as_ref()
                .map_or(0, |status| status.batches.len());
            let reached = match name {
                "unheld" | "undecided" => log(world).contains(&format!("name=\"{name}\"")),
                "unplaced" => launched == 3 && lines == 1,
                "half" => launched == 3 && made.len() == 2 && !made.contains_key(&1),
                "unknowing" => made.len() == 3,
                _ => made.len() == 3 && lines == 1,
            };
            reached.then_some(())
        },
    )
    .await;
}

fn log(world: &World) -> String {
    std::fs::read_to_string(world.dir().join("spore-controller.log")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_results_that_cannot_be_kept_are_not_counted_and_not_lost() {
    let mut world = world("kill-results").await;
    let refused = Refused::unless(&world, "sporeresults", "false").await;
    let spec = json!({"params": [{"x": 1}, {"x": 2}], "template": {
        "instanceType": "t3.micro", "ttl": "1h", "command": ["true"],
    }});
    let sweep = create::<SporeSweep>(&world, "kept", spec).await;
    let uid = sweep.uid().unwrap();
    until_up::<SporeSweep>(&world, "kept", 2).await;
    let ids = instances(&world, &uid).await.into_values().flatten();
    for instance in ids.collect::<Vec<_>>() {
        world.sim().die(&instance.id).await.unwrap();
    }
    eventually("it cannot be kept", PATIENCE, async || {
        log(&world).contains("sporeresults").then_some(())
    })
    .await;
    let status = all::<SporeSweep>(&world)
        .get("kept")
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(status.failed, 0, "counted and not kept: {status:?}");
    world.controller().kill();
    refused.lift(&world).await;
    world.controller().start().await.unwrap();
    until::<SporeSweep>(&world, "kept", "over", |status| {
        status.finished_at.is_some()
    })
    .await;
    let all = results(&world, "kept").await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all.values().all(|row| row.reason == "HostFailure"),
        "{all:?}"
    );
    let found = instances(&world, &uid).await;
    assert!(
        found.values().all(|instances| instances.len() == 1),
        "{found:?}"
    );
}

/// Kills the controller when so many changes of a group and its members were seen.
async fn kill_after<K: Group + Send + Sync + 'static>(
    world: &mut World,
    name: &str,
    spec: Value,
    changes: usize,
) -> K {
    let group = watcher(all::<K>(world), watcher::Config::default());
    let group = group
        .touched_objects()
        .map(|event| event.map(|object| object.name_any()));
    let members: Api<SporeInstance> = spores(world);
    let members = watcher(members, watcher::Config::default());
    let members = members
        .touched_objects()
        .map(|event| event.map(|object| object.name_any()));
    let mine = name.to_owned();
    let changed = stream::select(group.boxed(), members.boxed())
        .filter(|event| {
            let ours = event.as_ref().is_ok_and(|object| object.starts_with(&mine));
            std::future::ready(ours)
        })
        .take(changes);
    let made = create::<K>(world, name, spec).await;
    let counted = tokio::time::timeout(PATIENCE, changed.count()).await;
    assert_eq!(counted.ok(), Some(changes), "there are fewer changes");
    world.controller().kill();
    world.controller().start().await.unwrap();
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_controller_after_any_write_launches_each_member_once() {
    let mut world = world("kill-change").await;
    let mut made = Vec::new();
    for changes in 2..12 {
        let name = format!("array-{changes}x");
        let array = kill_after::<SporeArray>(&mut world, &name, json!({"replicas": 3}), changes);
        let array = array.await;
        until_up::<SporeArray>(&world, &name, 3).await;
        one_each(&world, &array.uid().unwrap(), 3).await;
        made.push(array.uid().unwrap());
        if changes % 3 == 0 {
            delete::<SporeArray>(&world, &name).await;
        }
    }
    for changes in [3, 5, 7, 9] {
        let name = format!("sweep-{changes}x");
        let spec = json!({"params": [{"x": 1}, {"x": 2}, {"x": 3}], "parallelism": 2});
        let sweep = kill_after::<SporeSweep>(&mut world, &name, spec, changes).await;
        until_up::<SporeSweep>(&world, &name, 2).await;
        one_each(&world, &sweep.uid().unwrap(), 2).await;
        made.push(sweep.uid().unwrap());
    }
    kubectl(&world, &["delete", "spa,spw", "--all", "--timeout=60s"]).await;
    nothing_left(&world).await;
    for uid in made {
        never_two(&instances(&world, &uid).await);
    }
}
