//! What ends a spore before its deadline: idleness, completion, EC2, and people.

use std::{fs, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use spore_core::agent_config::WARNING_FILE;
use spore_crds::{
    State,
    conditions::{AGENT_READY, READY, SUCCEEDED},
};
use spore_e2e::{
    PATIENCE, create,
    ec2::{calls_by, file_on_machine, find, instance_of, on_machine, until_instance},
    ended, kubectl,
    life::{never_again, past, running, sleeping, world_with_grace},
    spores, told, until, until_finished, until_true,
};
use spore_world::{Fault, World, eventually, sim::Load};

// ---- idleness ----

#[tokio::test(flavor = "multi_thread")]
async fn a06_an_idle_instance_ends_and_a_busy_one_does_not() {
    let world = World::start("idle").await.unwrap();
    create(&world, "busy", json!({"idle": {"timeout": "8s"}}))
        .await
        .unwrap();
    create(&world, "quiet", json!({"idle": {"timeout": "16s"}}))
        .await
        .unwrap();
    create(
        &world,
        "paused",
        json!({"idle": {"timeout": "8s", "action": "Stop"}}),
    )
    .await
    .unwrap();
    let busy = instance_of(&world, "busy").await;
    let work = Load {
        cpu_percent: 60.0,
        ..Load::default()
    };
    eventually("the busy one works", PATIENCE, async || {
        world.sim().set_load(&busy.id, work).await.ok()
    })
    .await;

    let status = until(&world, "quiet", "idle", |status| {
        status.idle_since.is_some()
    })
    .await;
    assert_eq!(status.ended, None, "idle, but not for long enough yet");
    let quiet = until_finished(&world, "quiet").await;
    assert_eq!((ended(&quiet), quiet.state), ("Idle", Some(State::Ended)));
    assert_eq!(quiet.idle_since, None);
    assert_eq!(told(&quiet, SUCCEEDED).0, "EndedBeforeCompletion");
    let paused = until(&world, "paused", "stopped", |status| {
        status.state == Some(State::Stopped)
    })
    .await;
    assert_eq!(told(&paused, READY).0, "Stopped");

    assert_eq!(
        find(&world, &busy.id).await.unwrap().state,
        "running",
        "work is going on there"
    );
    world
        .sim()
        .set_load(&busy.id, Load::default())
        .await
        .unwrap();
    assert_eq!(ended(&until_finished(&world, "busy").await), "Idle");
}

// ---- completion ----

#[tokio::test(flavor = "multi_thread")]
async fn a08_the_workload_or_anybody_on_the_machine_can_say_that_the_work_is_done() {
    let world = World::start("completion").await.unwrap();
    let says = "spored complete --status failed --message 'no data'; sleep 1000";
    let spec = json!({"command": ["sh", "-c", says], "onComplete": {"delay": "1s"}});
    create(&world, "says", spec).await.unwrap();
    for name in ["touches", "writes"] {
        create(&world, name, json!({"onComplete": {"delay": "1s"}}))
            .await
            .unwrap();
    }
    for (name, content) in [
        ("touches", ""),
        ("writes", r#"{"status":"success","message":"42 epochs"}"#),
    ] {
        let status = until_true(&world, name, AGENT_READY).await;
        assert_eq!(
            status.workload.unwrap().phase.as_deref(),
            Some("None"),
            "{name}"
        );
        let instance = instance_of(&world, name).await;
        fs::write(on_machine(&instance, "/tmp/SPAWN_COMPLETE"), content).unwrap();
    }
    for (name, state, reason, says) in [
        ("says", State::Failed, "WorkloadFailed", "no data"),
        (
            "touches",
            State::Succeeded,
            "WorkloadSucceeded",
            "the workload succeeded",
        ),
        ("writes", State::Succeeded, "WorkloadSucceeded", "42 epochs"),
    ] {
        let status = until_finished(&world, name).await;
        assert_eq!(
            (status.state, ended(&status)),
            (Some(state), "Completed"),
            "{name}"
        );
        let (told, message) = told(&status, SUCCEEDED);
        assert_eq!(told, reason, "{name}");
        assert!(message.contains(says), "{name}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a08_stopping_on_completion_keeps_the_disk_until_the_deadline() {
    let world = world_with_grace("stops", 1, 300).await;
    let spec = json!({
        "ttl": "25s", "command": ["true"], "onComplete": {"action": "Stop", "delay": "0s"},
    });
    create(&world, "stops", spec).await.unwrap();
    let status = until(&world, "stops", "stopped", |status| {
        status.state == Some(State::Stopped)
    })
    .await;
    assert_eq!(
        (told(&status, READY).0.as_str(), &status.ended),
        ("Stopped", &None)
    );
    assert_eq!(told(&status, SUCCEEDED).0, "WorkloadSucceeded");
    assert_eq!(
        world.sim().audit().await.unwrap().volumes,
        1,
        "the disk is kept"
    );

    let finished = until_finished(&world, "stops").await;
    assert_eq!(
        (finished.state, ended(&finished)),
        (Some(State::Succeeded), "TTLExpired")
    );
    assert!(past(&finished) >= 1);
    assert_eq!(world.sim().audit().await.unwrap().volumes, 0);
}

// ---- ends that nobody here asked for ----

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_spot_interruption_is_seen_within_seconds_and_ends_the_spore_for_good() {
    let world = World::start("spot").await.unwrap();
    let spec = json!({"market": "Spot", "command": ["sleep", "1000"]});
    let (instance, _) = running(&world, "taken", spec).await;
    assert_eq!(instance.market, "spot");
    let noticed = Timestamp::now();
    let notice = Duration::from_secs(15);
    world
        .sim()
        .spot_interrupt(&instance.id, "terminate", notice)
        .await
        .unwrap();

    let mark = "/tmp/spawn-spot-interruption.json";
    let mark = file_on_machine(&instance, mark, |text| !text.is_empty()).await;
    let mark: Value = serde_json::from_str(&mark).unwrap();
    assert_eq!(
        (&mark["action"], &mark["instance_id"]),
        (&json!("terminate"), &json!(instance.id))
    );
    let seen: Timestamp = mark["detected_at"].as_str().unwrap().parse().unwrap();
    let took = seen.duration_since(noticed).as_secs_f64();
    assert!(took < 8.0, "looked for every 5 s, seen after {took} s");
    let warning = file_on_machine(&instance, WARNING_FILE, |_| true).await;
    assert!(
        warning.contains("EC2 takes this Spot instance back"),
        "{warning}"
    );

    let status = until_finished(&world, "taken").await;
    assert_eq!(ended(&status), "SpotInterruption");
    never_again(&world).await;
    assert_eq!(
        spores(&world)
            .get("taken")
            .await
            .unwrap()
            .status
            .unwrap()
            .attempts,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_or_is_ended_by_others_is_told_of_and_not_launched_again() {
    let world = World::start("ended-outside").await.unwrap();
    for name in ["dies", "terminated"] {
        create(&world, name, sleeping("1h")).await.unwrap();
    }
    let (stopped, _) = running(&world, "stopped", sleeping("1h")).await;
    for name in ["dies", "terminated"] {
        until_true(&world, name, READY).await;
    }
    world
        .sim()
        .die(&instance_of(&world, "dies").await.id)
        .await
        .unwrap();
    let terminated = instance_of(&world, "terminated").await.id;
    for args in [
        ["terminate-instances", terminated.as_str()],
        ["stop-instances", stopped.id.as_str()],
    ] {
        let [verb, id] = args;
        world
            .aws(&["ec2", verb, "--instance-ids", id])
            .await
            .unwrap()
            .ok()
            .unwrap();
    }
    for (name, reason) in [("dies", "HostFailure"), ("terminated", "EndedOutside")] {
        let status = until_finished(&world, name).await;
        assert_eq!((ended(&status), status.attempts), (reason, 1), "{name}");
    }
    let status = until(&world, "stopped", "stopped", |status| {
        status.state == Some(State::Stopped)
    })
    .await;
    assert_eq!(status.ended, None, "it can be started again");
    world
        .aws(&["ec2", "start-instances", "--instance-ids", &stopped.id])
        .await
        .unwrap()
        .ok()
        .unwrap();
    until(&world, "stopped", "running again", |status| {
        status.state == Some(State::Running)
    })
    .await;
    until_instance(&world, &stopped.id, "booted twice", |instance| {
        instance.boots == 2
    })
    .await;
    never_again(&world).await;
    kubectl(&world, &["delete", "sporeinstances", "--all"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_restarts_does_not_run_its_workload_again() {
    let world = World::start("reboot").await.unwrap();
    let script = "echo run >> /var/log/runs; sleep 1000";
    let spec = json!({"command": ["sh", "-c", script], "onComplete": {"delay": "3s"}});
    let (instance, _) = running(&world, "reboots", spec).await;
    let reboot = ["ec2", "reboot-instances", "--instance-ids", &instance.id];
    world.aws(&reboot).await.unwrap().ok().unwrap();
    let status = until_finished(&world, "reboots").await;
    assert_eq!(ended(&status), "Completed");
    let (reason, message) = told(&status, SUCCEEDED);
    assert_eq!(reason, "WorkloadFailed");
    assert!(message.contains("restart of the machine"), "{message}");
    let runs = fs::read_to_string(on_machine(&instance, "/var/log/runs")).unwrap();
    assert_eq!(runs, "run\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_not_lost_when_ec2_takes_no_tags_for_a_while() {
    let world = World::start("tags-refused").await.unwrap();
    let spec = json!({"command": ["sleep", "4"], "onComplete": {"delay": "0s"}});
    let (instance, _) = running(&world, "patient", spec).await;
    let before = calls_by(&world, &instance.access_key, "CreateTags").await;
    let refused = Fault::on("CreateTags").by(&instance.access_key).throttle();
    world.sim().add_fault(refused).await.unwrap();
    eventually(
        "the report was refused several times",
        PATIENCE,
        async || {
            let tries = calls_by(&world, &instance.access_key, "CreateTags").await - before;
            (tries >= 5).then_some(())
        },
    )
    .await;
    assert_eq!(find(&world, &instance.id).await.unwrap().state, "running");
    world.sim().clear_faults().await.unwrap();
    let status = until_finished(&world, "patient").await;
    assert_eq!(
        (status.state, ended(&status)),
        (Some(State::Succeeded), "Completed")
    );
}
