//! What ends an instance, with everything alive and with parts of it dead: by the deadline plus a grace
//! it is gone, and the spore tells why.

use std::{fs, time::Duration};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use spore_core::{
    agent_config::{POWER_OFF_TIMER, WARNING_FILE, power_off_timer_unit},
    duration,
};
use spore_crds::{
    SporeInstanceStatus, State,
    conditions::{AGENT_READY, READY, SUCCEEDED},
};
use spore_e2e::{
    PATIENCE, create,
    ec2::{
        calls_by, file_on_machine, find, instance_of, on_machine, until_instance, until_terminated,
    },
    ended, kubectl, spores, told, until, until_finished, until_true,
};
use spore_world::{
    World, WorldOptions, eventually, poll,
    sim::{ACCESS_KEY, Instance, Load},
};

const TERMINATE: &str = "TerminateInstances";

/// A world in which whoever stands in for the agent does so after this many seconds.
async fn world_with_grace(name: &str, controller: u32, power_off: u32) -> World {
    let options = WorldOptions {
        controller_args: vec![
            format!("--deadline-grace={controller}s"),
            format!("--power-off-grace={power_off}s"),
        ],
        ..WorldOptions::default()
    };
    World::start_with(name, options).await.unwrap()
}

/// A spore whose workload never ends by itself, once its agent reports.
async fn running(world: &World, name: &str, spec: Value) -> (Instance, SporeInstanceStatus) {
    create(world, name, spec).await.unwrap();
    let status = until_true(world, name, READY).await;
    (instance_of(world, name).await, status)
}

fn sleeping(ttl: &str) -> Value {
    json!({"ttl": ttl, "command": ["sleep", "1000"]})
}

/// Says how long after the deadline it is.
fn past(status: &SporeInstanceStatus) -> i64 {
    let deadline = status.deadline.expect("a launched spore has a deadline");
    Timestamp::now().duration_since(deadline).as_secs()
}

/// Nothing of what has ended may come back.
async fn never_again(world: &World) {
    let launched = world.sim().instances().await.unwrap().len();
    let more = poll(Duration::from_secs(4), async || {
        (world.sim().instances().await.ok()?.len() != launched).then_some(())
    });
    assert!(more.await.is_none(), "what had ended was launched again");
}

// ---- three locks ----

#[tokio::test(flavor = "multi_thread")]
async fn a04_with_the_controller_gone_the_agent_ends_the_instance_at_its_deadline() {
    let mut world = World::start("controller-gone").await.unwrap();
    let (instance, status) = running(&world, "alone", sleeping("15s")).await;
    world.controller().kill();
    let gone = until_terminated(&world, &instance.id).await;
    assert!((0..15).contains(&past(&status)), "{} s late", past(&status));
    assert_eq!(gone.tags["spawn:last-stop-reason"], "TTLExpired");
    assert!(calls_by(&world, &instance.access_key, TERMINATE).await >= 1);
    assert_eq!(calls_by(&world, ACCESS_KEY, TERMINATE).await, 0);

    world.controller().start().await.unwrap();
    assert_eq!(ended(&until_finished(&world, "alone").await), "TTLExpired");
    never_again(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_with_the_agent_dead_the_controller_ends_the_instance_after_a_grace() {
    let world = world_with_grace("agent-dead", 2, 300).await;
    let done = json!({"command": ["true"], "onComplete": {"delay": "12s"}});
    create(&world, "done", done).await.unwrap();
    let (instance, status) = running(&world, "late", sleeping("15s")).await;
    until_true(&world, "done", SUCCEEDED).await;
    let done = instance_of(&world, "done").await;
    for id in [&instance.id, &done.id] {
        world.sim().agent_break(id).await.unwrap();
    }
    for (name, id, reason) in [
        ("late", &instance.id, "TTLExpired"),
        ("done", &done.id, "Completed"),
    ] {
        let status = until_finished(&world, name).await;
        assert_eq!(ended(&status), reason);
        let gone = find(&world, id).await.unwrap();
        assert_eq!(
            gone.state_reason.as_deref(),
            Some("Client.UserInitiatedShutdown")
        );
        assert_eq!(calls_by(&world, &gone.access_key, TERMINATE).await, 0);
    }
    assert!(past(&status) >= 2, "the agent's time is its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_with_controller_and_agent_dead_the_machines_own_timer_ends_the_instance() {
    let mut world = world_with_grace("both-dead", 1, 3).await;
    let (instance, status) = running(&world, "forgotten", sleeping("15s")).await;
    world.sim().agent_break(&instance.id).await.unwrap();
    world.controller().kill();
    let gone = until_terminated(&world, &instance.id).await;
    assert!((3..20).contains(&past(&status)), "{} s late", past(&status));
    assert_eq!(
        gone.state_reason.as_deref(),
        Some("Client.InstanceInitiatedShutdown")
    );
    assert!(
        !world
            .sim()
            .calls()
            .await
            .unwrap()
            .counts
            .contains_key(TERMINATE)
    );

    world.controller().start().await.unwrap();
    let status = until_finished(&world, "forgotten").await;
    assert_eq!(ended(&status), "TTLExpired");
    assert!(
        told(&status, READY).1.contains("powered itself off"),
        "{:?}",
        status.ended
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_an_instance_without_rights_still_powers_itself_off() {
    let mut world = world_with_grace("no-rights", 1, 8).await;
    let (instance, status) = running(&world, "powerless", sleeping("15s")).await;
    world.sim().revoke_iam(&instance.id).await.unwrap();
    world.controller().kill();
    let gone = until_terminated(&world, &instance.id).await;
    assert!((8..25).contains(&past(&status)), "{} s late", past(&status));
    assert_eq!(
        gone.state_reason.as_deref(),
        Some("Client.InstanceInitiatedShutdown")
    );
    assert!(
        calls_by(&world, &instance.access_key, TERMINATE).await >= 1,
        "the agent tried"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_came_while_the_controller_was_away_is_not_lost() {
    let mut world = world_with_grace("result-away", 1, 300).await;
    let spec = json!({
        "ttl": "15s", "command": ["sh", "-c", "sleep 4; spored complete -m '42 epochs'"],
        "onComplete": {"delay": "0s"},
    });
    let (instance, status) = running(&world, "away", spec).await;
    world.controller().kill();
    until_terminated(&world, &instance.id).await;
    eventually("the deadline passes", PATIENCE, async || {
        (past(&status) >= 2).then_some(())
    })
    .await;
    world.controller().start().await.unwrap();
    let status = until_finished(&world, "away").await;
    assert_eq!(
        (ended(&status), status.state),
        ("Completed", Some(State::Succeeded))
    );
    assert!(told(&status, SUCCEEDED).1.contains("42 epochs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_an_extension_moves_tag_agent_and_power_off_timer() {
    let world = World::start("extension").await.unwrap();
    let (instance, before) = running(&world, "longer", sleeping("25s")).await;
    let warning = file_on_machine(&instance, WARNING_FILE, |_| true).await;
    assert!(
        warning.contains("will be terminated") && warning.contains("extend"),
        "{warning}"
    );

    let first = before.deadline.unwrap();
    let later = first + Duration::from_secs(7_200);
    extend(&world, "longer", later).await;
    let status = until(&world, "longer", "armed anew", |status| {
        status.agent.as_ref().and_then(|agent| agent.armed_deadline) == Some(later)
    })
    .await;
    assert_eq!(status.deadline, Some(later));
    let tags = find(&world, &instance.id).await.unwrap().tags;
    assert_eq!(tags["spawn:ttl-deadline"], later.to_string());
    assert_eq!(tags["spawn:armed-deadline"], later.to_string());
    let unit = on_machine(&instance, &format!("/etc/systemd/system/{POWER_OFF_TIMER}"));
    let grace = duration::Duration::from_secs(300);
    assert_eq!(
        fs::read_to_string(unit).unwrap(),
        power_off_timer_unit(later, grace)
    );
    let warning = on_machine(&instance, WARNING_FILE);
    eventually("the warning is taken back", PATIENCE, async || {
        (!warning.exists()).then_some(())
    })
    .await;

    // Earlier than the deadline in force: nothing is cut short.
    extend(&world, "longer", first + Duration::from_secs(60)).await;
    eventually("the first deadline has passed", PATIENCE, async || {
        (Timestamp::now() > first + Duration::from_secs(3)).then_some(())
    })
    .await;
    assert_eq!(find(&world, &instance.id).await.unwrap().state, "running");
    let status = spores(&world).get("longer").await.unwrap().status.unwrap();
    assert_eq!(status.deadline, Some(later));
    assert_eq!(
        calls_by(&world, ACCESS_KEY, "CreateTags").await,
        1,
        "one write for one extension"
    );
}

async fn extend(world: &World, name: &str, to: Timestamp) {
    let patch = Patch::Merge(json!({"spec": {"extendTo": to}}));
    spores(world)
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_survives_the_death_of_its_agent_and_its_result_is_reported() {
    let world = World::start("agent-restarts").await.unwrap();
    let script = "echo run >> /var/log/runs; sleep 8; exit 4";
    let spec = json!({"command": ["sh", "-c", script], "onComplete": {"delay": "1s"}});
    let (instance, _) = running(&world, "survives", spec).await;
    world.sim().agent_kill(&instance.id).await.unwrap();
    let status = until_finished(&world, "survives").await;
    assert_eq!(
        (status.state, ended(&status)),
        (Some(State::Failed), "Completed")
    );
    assert_eq!(status.workload.unwrap().exit_code, Some(4));
    let runs = fs::read_to_string(on_machine(&instance, "/var/log/runs")).unwrap();
    assert_eq!(runs, "run\n", "the workload is never run twice");
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
