//! `kubectl spawn schedule`: from a file to executions, and what can be done about them.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt};
use spore_crds::{ScheduleState, SporeSchedule};
use spore_e2e::{PATIENCE, spores, without_machines};
use spore_world::{World, eventually};

use super::{assert_failed, spawn, spawn_words, spawned, without_controller};

fn soon(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn file(world: &World, name: &str, text: &str) -> String {
    let path = world.dir().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn schedule(world: &World, name: &str) -> SporeSchedule {
    let api = Api::<SporeSchedule>::namespaced(world.client(), world.namespace());
    api.get(name).await.unwrap()
}

const PARAMETERS: &str = r#"{
  "defaults": {"instance_type": "t3.micro", "ttl": "1h", "script": "train.sh"},
  "params": [{"name": "a", "rate": 0.1}, {"name": "b", "rate": 1}]
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_file_of_parameters_becomes_a_scheduled_sweep() {
    let world = without_controller("plugin-schedule-create").await;
    let parameters = file(&world, "Night Run.json", PARAMETERS);
    let words = [
        "schedule",
        "create",
        &parameters,
        "--cron",
        "0 8 * * MON-FRI",
        "--timezone",
        "Europe/Berlin",
    ];
    let more = [
        "--concurrency",
        "forbid",
        "--max-executions",
        "3",
        "--starting-deadline",
        "2h",
    ];
    let all = [&words[..], &more[..]].concat();
    let server = spawn_words(&world, &[&all[..], &["--dry-run=server"]].concat())
        .await
        .ok()
        .unwrap();
    assert_eq!(
        server,
        "sporeschedule.spore.host/night-run created (server dry run)\n"
    );
    let created = spawn_words(&world, &all).await;
    assert_eq!(
        created.stdout,
        "sporeschedule.spore.host/night-run created\n"
    );
    assert!(
        created.stderr.contains("First execution: 20"),
        "{}",
        created.stderr
    );
    let stored = schedule(&world, "night-run").await.spec;
    let sweep = stored.template.sweep.unwrap();
    assert_eq!(sweep["defaults"]["script"], "train.sh");
    assert_eq!(sweep["params"][1]["rate"], 1);
    assert_eq!(
        (stored.time_zone.as_str(), stored.max_executions),
        ("Europe/Berlin", Some(3))
    );
    assert_failed(
        &spawn_words(&world, &all).await,
        1,
        &["a schedule named night-run already exists", "--name"],
    );

    let manifest = file(
        &world,
        "array.yaml",
        "apiVersion: spore.host/v1alpha1\nkind: SporeArray\nmetadata: {name: ranks}\nspec: {replicas: 2, template: {instanceType: t3.micro}}\n",
    );
    let yaml = spawned(
        &world,
        &format!("schedule create {manifest} --cron @daily --dry-run -o yaml"),
    )
    .await;
    world
        .apply(&yaml)
        .await
        .expect("what is printed can be applied");
    assert_eq!(
        schedule(&world, "ranks").await.spec.template.array.unwrap()["replicas"],
        2
    );

    for (line, code, says) in [
        ("--at 2020-01-01T00:00:00Z", 2, "has passed"),
        (
            "--cron @daily --timezone Europe/Berln",
            2,
            "did you mean Europe/Berlin?",
        ),
        ("--cron @weakly", 2, "there is no \"@weakly\""),
    ] {
        let output = spawn(&world, &format!("schedule create {manifest} {line}")).await;
        assert_failed(&output, code, &[says]);
    }
    let odd = file(
        &world,
        "odd.yaml",
        "apiVersion: spore.host/v1alpha1\nkind: SporeArray\nspec: {replicas: -1, template: {}}\n",
    );
    let refused = spawn(&world, &format!("schedule create {odd} --cron @daily")).await;
    assert_failed(
        &refused,
        1,
        &["spec.template.array", "kubectl explain sporeschedule.spec"],
    );
    let nowhere = spawn(&world, "schedule create no-such-file --cron @daily").await;
    assert_failed(&nowhere, 2, &["no-such-file: cannot be read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_schedule_is_paused_resumed_and_cancelled_and_what_runs_stays() {
    let world = without_machines("plugin-schedule").await;
    let spore = file(
        &world,
        "box.yaml",
        "apiVersion: spore.host/v1alpha1\nkind: SporeInstance\nspec: {instanceType: t3.micro, ttl: 1h}\n",
    );
    let at = soon(2);
    spawned(
        &world,
        &format!("schedule create {spore} --at {at} --name once"),
    )
    .await;
    spawned(
        &world,
        &format!("schedule create {spore} --cron @yearly --name rare"),
    )
    .await;
    eventually("one has run and one is known", PATIENCE, async || {
        let ran = schedule(&world, "once").await.status?;
        let known = schedule(&world, "rare")
            .await
            .status?
            .next_schedule_time
            .is_some();
        (ran.state == Some(ScheduleState::Finished) && known).then_some(())
    })
    .await;
    let list = spawned(&world, "schedule list").await;
    assert!(list.starts_with("NAME   STATUS     SCHEDULE"), "{list}");
    let only = async |status: &str| {
        spawned(&world, &format!("schedule list --status {status} -o name")).await
    };
    assert_eq!(only("finished").await, "sporeschedule.spore.host/once\n");
    assert_eq!(only("active").await, "sporeschedule.spore.host/rare\n");

    assert!(
        spawned(&world, "schedule pause rare")
            .await
            .ends_with("rare paused\n")
    );
    eventually("it is paused", PATIENCE, async || {
        (only("paused").await == "sporeschedule.spore.host/rare\n").then_some(())
    })
    .await;
    let resumed = spawned(&world, "schedule resume rare").await;
    assert!(
        resumed.contains("rare resumed; next execution: "),
        "{resumed}"
    );
    assert_failed(
        &spawn(&world, "schedule resume once").await,
        1,
        &["once has ended", "spec.at"],
    );

    let shown = spawned(&world, "schedule show once").await;
    for says in ["Status:", "finished", "History:", "Active", "Started"] {
        assert!(shown.contains(says), "no {says} in\n{shown}");
    }
    assert!(
        spawned(&world, "schedule describe once -o json")
            .await
            .contains("\"history\"")
    );

    let made = schedule(&world, "once").await.status.unwrap().active[0]
        .name
        .clone();
    let cancelled = spawned(&world, "schedule cancel once").await;
    assert!(
        cancelled.contains(&format!(
            "what runs goes on to its end: sporeinstance/{made}"
        )),
        "{cancelled}"
    );
    let spore = eventually("it is on its own", PATIENCE, async || {
        let spore = spores(&world).get(&made).await.unwrap();
        spore.owner_references().is_empty().then_some(spore)
    })
    .await;
    assert!(spore.metadata.deletion_timestamp.is_none());
    eventually("the schedule is gone", PATIENCE, async || {
        let output = spawn(&world, "schedule show once").await;
        (output.code == Some(5)).then_some(())
    })
    .await;
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 1);
    let slip = spawn(&world, "schedule show raer").await;
    assert_failed(
        &slip,
        5,
        &["there is no schedule named raer", "Did you mean rare?"],
    );
}
