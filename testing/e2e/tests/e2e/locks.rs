//! What ends an instance, with everything alive and with parts of it dead: by the deadline plus a grace
//! it is gone, and the spore tells why.

use std::{fs, time::Duration};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use spore_core::{
    agent_config::{POWER_OFF_TIMER, WARNING_FILE, power_off_timer_unit},
    duration,
};
use spore_crds::{
    State,
    conditions::{READY, SUCCEEDED},
};
use spore_e2e::{
    PATIENCE, create,
    ec2::{calls_by, file_on_machine, find, instance_of, on_machine, until_terminated},
    ended,
    life::{never_again, past, running, sleeping, world_with_grace},
    spores, told, until, until_finished, until_true,
};
use spore_world::{World, WorldOptions, eventually, sim::ACCESS_KEY};

const TERMINATE: &str = "TerminateInstances";

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
    let status = until_finished(&world, "alone").await;
    assert_eq!(
        (ended(&status), status.state),
        ("TTLExpired", Some(State::Ended))
    );
    assert_eq!(
        told(&status, SUCCEEDED).0,
        "EndedBeforeCompletion",
        "cut short, not failed"
    );
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
async fn a04_an_instance_that_gets_a_wrong_agent_refuses_it_and_still_ends() {
    let zeros = "0".repeat(64);
    let options = WorldOptions {
        controller_args: vec![
            format!("--agent-sha256=x86_64={zeros},arm64={zeros}"),
            "--deadline-grace=1s".into(),
        ],
        ..WorldOptions::default()
    };
    let world = World::start_with("wrong-agent", options).await.unwrap();
    let spec = json!({"ttl": "15s", "command": ["touch", "/var/log/ran"]});
    create(&world, "wary", spec).await.unwrap();
    let instance = instance_of(&world, "wary").await;
    let console = instance.machine_dir.as_ref().unwrap().join("console.log");
    eventually("the digest is compared", PATIENCE, async || {
        fs::read_to_string(&console)
            .ok()?
            .contains("refused")
            .then_some(())
    })
    .await;
    let status = until_finished(&world, "wary").await;
    assert_eq!((ended(&status), &status.agent), ("TTLExpired", &None));
    assert!(!on_machine(&instance, "/usr/local/bin/spored").exists());
    assert!(!on_machine(&instance, "/var/log/ran").exists());
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

#[tokio::test(flavor = "multi_thread")]
async fn a34_the_agents_log_warning_and_status_are_where_people_look_for_them() {
    let world = World::start("on-machine").await.unwrap();
    let look = "sleep 2; journalctl -u spored > /tmp/log; spored status > /tmp/status; sleep 1000";
    let spec = json!({"ttl": "4m", "command": ["sh", "-c", look]});
    let (instance, status) = running(&world, "looks", spec).await;
    let log = file_on_machine(&instance, "/tmp/log", |text| text.contains("spored")).await;
    assert!(log.contains("reporting"), "{log}");
    let said = file_on_machine(&instance, "/tmp/status", |text| text.contains("Deadline")).await;
    let deadline = status.deadline.unwrap().to_string();
    for words in ["looks", "Running", &deadline, "Terminate at", "TTLExpired"] {
        assert!(said.contains(words), "no {words} in {said}");
    }
    let warning = file_on_machine(&instance, WARNING_FILE, |_| true).await;
    assert!(warning.contains(&deadline), "{warning}");
}

async fn extend(world: &World, name: &str, to: Timestamp) {
    let patch = Patch::Merge(json!({"spec": {"extendTo": to}}));
    spores(world)
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
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
