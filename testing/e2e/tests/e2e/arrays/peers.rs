//! Members that know each other.

use std::{collections::BTreeSet, time::Duration};

use kube::ResourceExt as _;
use serde_json::{Value, json};
use spore_core::agent_config::PEERS_FILE;
use spore_crds::{
    SporeArray,
    conditions::{AGENT_READY, PEERS_PUBLISHED},
};
use spore_e2e::{
    ec2::{file_on_machine, instance_of, on_machine},
    group::{create, delete, instances, told, until},
    kubectl, until_true,
};
use spore_world::{Fault, World, poll, sim::Instance};

/// The peers that a member knows, as soon as there are so many.
async fn peers(instance: &Instance, count: usize) -> Vec<Value> {
    let read = |text: &str| serde_json::from_str::<Vec<Value>>(text).ok();
    let whole = |text: &str| read(text).is_some_and(|peers| peers.len() == count);
    let text = file_on_machine(instance, PEERS_FILE, whole).await;
    read(&text).unwrap()
}

/// The addresses that a name stands for on a machine.
fn addresses(instance: &Instance, name: &str) -> BTreeSet<String> {
    let hosts = std::fs::read_to_string(on_machine(instance, "/etc/hosts")).unwrap();
    let lines = hosts.lines().filter(|line| {
        let mut names = line.split_whitespace().skip(1);
        names.any(|found| found == name)
    });
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_a17_peers_are_told_when_all_run_and_the_arrays_name_finds_all_of_them() {
    let world = World::start("array-peers").await.unwrap();
    let one = Fault::on("RunInstances").capacity(1);
    world.sim().add_fault(one).await.unwrap();
    let waits = "spored wait-peers --timeout 5m && touch /tmp/together && sleep 1000";
    let template = json!({"instanceType": "t3.micro", "ttl": "1h", "command": ["sh", "-c", waits]});
    let spec = json!({"replicas": 2, "template": template});
    let array = create::<SporeArray>(&world, "ring", spec).await;
    let first = instance_of(&world, "ring-0").await;
    until_true(&world, "ring-0", AGENT_READY).await;
    let status = until::<SporeArray>(&world, "ring", "waits", |status| {
        told(status, PEERS_PUBLISHED).0 == "WaitingForMembers"
    })
    .await;
    assert_eq!(status.peers_version, 0);
    let early = poll(Duration::from_secs(3), async || {
        on_machine(&first, PEERS_FILE).exists().then_some(())
    });
    assert!(early.await.is_none(), "a list that is not complete");
    assert!(!on_machine(&first, "/tmp/together").exists());

    world.sim().clear_faults().await.unwrap();
    let second = instance_of(&world, "ring-1").await;
    until_true(&world, "ring-1", AGENT_READY).await;
    let known = peers(&first, 2).await;
    assert_eq!(known, peers(&second, 2).await);
    for (index, (peer, instance)) in known.iter().zip([&first, &second]).enumerate() {
        assert_eq!(peer["index"], index);
        assert_eq!(peer["instance_id"], instance.id.as_str());
        assert_eq!(peer["dns"], format!("ring-{index}"));
        assert_eq!(peer["ip"], peer["private_ip"]);
    }
    let all = known
        .iter()
        .map(|peer| peer["ip"].as_str().unwrap().to_owned());
    let all = all.collect::<BTreeSet<_>>();
    assert_eq!(all.len(), 2);
    for instance in [&first, &second] {
        file_on_machine(instance, "/tmp/together", |_| true).await;
        assert_eq!(addresses(instance, "ring"), all, "the name of the array");
        let of_first = addresses(instance, "ring-0");
        assert_eq!(
            of_first,
            BTreeSet::from([known[0]["ip"].as_str().unwrap().to_owned()])
        );
    }
    let status = until::<SporeArray>(&world, "ring", "told", |status| {
        told(status, PEERS_PUBLISHED).0 == "Published"
    });
    assert_eq!(told(&status.await, PEERS_PUBLISHED).0, "Published");

    kubectl(&world, &["scale", "spa/ring", "--replicas=3"]).await;
    let third = instance_of(&world, "ring-2").await;
    until_true(&world, "ring-2", AGENT_READY).await;
    for instance in [&first, &second, &third] {
        peers(instance, 3).await;
    }
    assert_eq!(instances(&world, &array.uid().unwrap()).await.len(), 3);
    delete::<SporeArray>(&world, "ring").await;
}
