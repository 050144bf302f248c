//! `kubectl spawn extend` and `kubectl spawn delete`.

use std::{fs, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use spore_crds::{
    SporeInstanceStatus,
    conditions::{LAUNCHED, READY},
};
use spore_e2e::{
    PATIENCE, create,
    ec2::{find, instance_of, until_instance},
    kubectl, spores, until, until_finished, until_true, without_machines,
};
use spore_world::{Fault, When, World, eventually};
use tokio::process::Command;

use super::{assert_failed, assert_plain, plugin, spawn, spawned, without_controller};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn deadline(status: &SporeInstanceStatus) -> Timestamp {
    status.deadline.expect("what is launched has a deadline")
}

async fn deadline_of(world: &World, name: &str) -> Timestamp {
    deadline(&spores(world).get(name).await.unwrap().status.unwrap())
}

/// A moment to the second, as the plugin prints it.
fn clock(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

// ---- extend ----

#[tokio::test(flavor = "multi_thread")]
async fn a13_extend_tells_old_delta_and_new_and_reaches_the_instance_and_its_agent() {
    let world = World::start("plugin-extend").await.unwrap();
    create(&world, "train", json!({})).await.unwrap();
    let old = deadline(&until_true(&world, "train", READY).await);
    let said = spawned(&world, "extend train 1d2h").await;
    let new = old + 26 * HOUR;
    let told = format!(
        "train: deadline {} + 1d2h = {} (in ",
        clock(old),
        clock(new)
    );
    assert!(said.starts_with(&told), "{said}");
    until(&world, "train", "extended", |status| {
        status.deadline == Some(new)
    })
    .await;

    let id = instance_of(&world, "train").await.id;
    until_instance(&world, &id, "its tag says so", |instance| {
        instance.tags["spawn:ttl-deadline"].parse().ok() == Some(new)
    })
    .await;
    until(&world, "train", "armed", |status| {
        status.agent.as_ref().and_then(|agent| agent.armed_deadline) == Some(new)
    })
    .await;
    let page = spawned(&world, "status train").await;
    assert!(!page.contains("still set for"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_an_extension_outlives_the_manifest_that_the_spore_came_from() {
    let world = without_machines("plugin-gitops").await;
    let manifest = |name: &str, more: &Value| {
        json!({
            "apiVersion": "spore.host/v1alpha1", "kind": "SporeInstance",
            "metadata": {"name": name, "labels": more}, "spec": {"instanceType": "t3.micro", "ttl": "1h"},
        })
        .to_string()
    };
    let clients = vec!["apply", "-f", "-"];
    let servers = vec![
        "apply",
        "--server-side",
        "--field-manager=gitops",
        "-f",
        "-",
    ];
    for (name, apply) in [("client", clients), ("server", servers)] {
        let apply = async |more: &[&str], labels: Value| {
            let args = [&apply[..], more].concat();
            let output = world
                .kubectl_with(&args, &manifest(name, &labels))
                .await
                .unwrap();
            assert_eq!(output.stderr, "", "no warning, no conflict");
            output.ok().unwrap()
        };
        apply(&[], json!({"round": "1"})).await;
        until_true(&world, name, LAUNCHED).await;
        let said = spawned(&world, &format!("extend {name} 2h --wait -o json")).await;
        let extended: Value = serde_json::from_str(&said).unwrap();
        let until_then = extended["spec"]["extendTo"].clone();
        assert_eq!(
            extended["status"]["deadline"], until_then,
            "--wait waits for that"
        );

        let again = apply(&[], json!({"round": "1"})).await;
        let done = if name == "client" {
            "unchanged"
        } else {
            "serverside-applied"
        };
        assert!(again.contains(done), "{again}");
        apply(&[], json!({"round": "2"})).await;
        if name == "server" {
            apply(&["--force-conflicts"], json!({"round": "3"})).await;
        }
        let generation = spores(&world).get(name).await.unwrap().metadata.generation;
        until(&world, name, "seen as it is now", |status| {
            status.observed_generation == generation
        })
        .await;
        let spore = spores(&world).get(name).await.unwrap();
        assert_eq!(json!(spore.spec.extend_to), until_then);
        let id = instance_of(&world, name).await.id;
        let (spec, status) = (spore.spec, spore.status.unwrap());
        assert_eq!(status.deadline, spec.extend_to);
        let tag = find(&world, &id).await.unwrap().tags["spawn:ttl-deadline"].clone();
        assert_eq!(tag.parse().ok(), spec.extend_to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_extensions_at_the_same_time_add_up() {
    let world = without_machines("plugin-add-up").await;
    create(&world, "train", json!({})).await.unwrap();
    let old = deadline(&until_true(&world, "train", LAUNCHED).await);
    let extend = || spawned(&world, "extend train 1h");
    tokio::join!(extend(), extend(), extend(), extend());
    let new = old + 4 * HOUR;
    until(&world, "train", "extended four times", |status| {
        deadline(status) == new
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_a_deadline_moves_later_or_not_at_all() {
    let mut world = without_controller("plugin-later").await;
    create(&world, "train", json!({})).await.unwrap();
    let early = spawn(&world, "extend train 1h").await;
    assert_failed(&early, 2, &["train has no deadline yet", "--to"]);
    world.controller().start().await.unwrap();
    let old = deadline(&until_true(&world, "train", LAUNCHED).await);

    let earlier = format!("extend train --to {}", clock(old - HOUR / 2));
    let says = ["a deadline only moves later", "kubectl spawn delete train"];
    assert_failed(&spawn(&world, &earlier).await, 2, &says);
    let moment = spawn(&world, "extend train --to tomorrow").await;
    assert_failed(&moment, 2, &["not a moment in RFC 3339; now is 2"]);
    assert_failed(&spawn(&world, "extend train 2hours").await, 2, &["2h"]);
    assert_eq!(deadline_of(&world, "train").await, old);

    let to = old + 3 * HOUR;
    let said = spawned(&world, &format!("extend train --to {} --wait", clock(to))).await;
    assert!(said.contains(&format!(" = {} (in ", clock(to))), "{said}");
    assert_eq!(deadline_of(&world, "train").await, to);

    let id = instance_of(&world, "train").await.id;
    world.sim().die(&id).await.unwrap();
    until_finished(&world, "train").await;
    let ended = spawn(&world, "extend train 1h").await;
    assert_failed(&ended, 1, &["train has ended: ", "launch a new one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_an_extension_that_nobody_puts_into_effect_ends_with_6() {
    let mut world = without_machines("plugin-extend-wait").await;
    create(&world, "train", json!({})).await.unwrap();
    until_true(&world, "train", LAUNCHED).await;
    world.controller().kill();
    let output = spawn(&world, "extend train 1h --wait --timeout 2s").await;
    assert_failed(
        &output,
        6,
        &["gave up after 2s: the deadline of train is asked for"],
    );
    let page = spawned(&world, "status train").await;
    assert!(page.contains("asked for, not in effect yet"), "{page}");
    world.controller().start().await.unwrap();
    spawned(&world, "extend train 1h --wait").await;
    let page = spawned(&world, "status train").await;
    assert!(!page.contains("not in effect yet"), "{page}");
}

// ---- delete ----

#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_until_ec2_has_nothing_left() {
    let world = without_machines("plugin-delete").await;
    for name in ["one", "two", "three"] {
        create(&world, name, json!({})).await.unwrap();
    }
    for name in ["one", "two", "three"] {
        until_true(&world, name, LAUNCHED).await;
    }
    let output = spawn(&world, "delete one two one --yes").await;
    for name in ["one", "two"] {
        let says = format!("delete: {name}: done: gone\n");
        assert!(output.stderr.contains(&says), "{}", output.stderr);
    }
    assert_plain("delete", &output.stderr);
    let said = output.ok().unwrap();
    let deleted = |name: &str| format!("sporeinstance.spore.host/{name} deleted\n");
    assert_eq!(said, deleted("one") + &deleted("two"));
    let audit = world.sim().audit().await.unwrap();
    assert_eq!(
        (
            audit.live_instances,
            audit.volumes,
            audit.network_interfaces
        ),
        (1, 1, 1)
    );
    assert_eq!(
        spawned(&world, "list -o name").await,
        "sporeinstance.spore.host/three\n"
    );

    let hold = Fault::on("TerminateInstances").hold(When::Before);
    world.sim().add_fault(hold).await.unwrap();
    let late = spawn(&world, "delete three --yes --timeout 2s").await;
    assert_failed(
        &late,
        6,
        &["gave up after 2s: EC2 still has something of three"],
    );
    assert_eq!(late.stdout, deleted("three"));
    // Deleting what is being deleted is waiting for it.
    let (again, ()) = tokio::join!(spawned(&world, "delete three --yes"), async {
        world.sim().clear_faults().await.unwrap();
    });
    assert_eq!(again, deleted("three"));
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_takes_several_names_labels_or_all_and_nothing_if_one_name_is_wrong() {
    let world = without_machines("plugin-delete-many").await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        create(&world, name, json!({})).await.unwrap();
        until_true(&world, name, LAUNCHED).await;
    }
    kubectl(&world, &["label", "spi", "a", "b", "team=ml"]).await;
    let wrong = spawn(&world, "delete a b nobody --yes").await;
    assert_failed(&wrong, 5, &["there is no spore named nobody"]);
    assert_eq!(spawned(&world, "list -o name").await.lines().count(), 4);

    spawned(&world, "delete -l team=ml --yes").await;
    let left = spawned(&world, "list -o name").await;
    assert_eq!(
        left,
        "sporeinstance.spore.host/c\nsporeinstance.spore.host/d\n"
    );
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 2);
    let none = spawn(&world, "delete -l team=ml --yes").await;
    assert!(none.stderr.contains("No spores found"), "{}", none.stderr);
    assert_eq!(none.code, Some(0));

    let said = spawned(&world, "delete --all --yes --wait=false").await;
    assert_eq!(said.lines().count(), 2);
    eventually("all are gone", PATIENCE, async || {
        let left = spores(&world).list(&Default::default()).await.ok()?;
        left.items.is_empty().then_some(())
    })
    .await;
    assert_failed(
        &spawn(&world, "delete --yes").await,
        2,
        &["--all", "--selector"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_without_a_terminal_wants_to_be_told_yes() {
    let world = without_controller("plugin-no-terminal").await;
    create(&world, "train", json!({})).await.unwrap();
    for line in ["delete train", "delete --all", "delete train --wait=false"] {
        let output = spawn(&world, line).await;
        assert_failed(
            &output,
            2,
            &["1 spore would be deleted", "Say --yes if it is meant."],
        );
    }
    let spore = spores(&world).get("train").await.unwrap();
    assert_eq!(spore.metadata.deletion_timestamp, None);
}

/// Runs the plugin on a terminal of its own on which somebody types this.
async fn on_a_terminal(world: &World, line: &str, typed: &str) -> (Option<i32>, String) {
    let input = world.dir().join("typed");
    fs::write(&input, typed).unwrap();
    let program = plugin(world, line);
    let program = Path::new(program.as_std().get_program())
        .display()
        .to_string();
    let output = Command::new("script")
        .args(["-qec", &format!("{program} {line}"), "/dev/null"])
        .env("KUBECONFIG", world.kubeconfig())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(fs::File::open(&input).unwrap())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await;
    let output = output.expect("it ends").unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_on_a_terminal_shows_what_would_be_lost_and_asks() {
    let world = without_machines("plugin-terminal").await;
    create(&world, "train", json!({})).await.unwrap();
    until_true(&world, "train", LAUNCHED).await;
    let id = instance_of(&world, "train").await.id;
    for answer in ["n\n", "\n", "yesterday\n", ""] {
        let (code, screen) = on_a_terminal(&world, "delete train", answer).await;
        assert_eq!(code, Some(1), "{answer:?}: {screen}");
        for words in [
            "Delete 1 spore? [y/N]",
            &id,
            world.namespace(),
            "nothing was deleted",
        ] {
            assert!(screen.contains(words), "no {words:?} in\n{screen}");
        }
    }
    assert_eq!(spawned(&world, "list -o name").await.lines().count(), 1);
    let (code, screen) = on_a_terminal(&world, "delete train", "y\n").await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("\u{1b}["),
        "progress is redrawn: {screen:?}"
    );
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 0);
    assert!(spores(&world).get_opt("train").await.unwrap().is_none());
}
