//! Members of arrays and sweeps: the real agent on machines of one launch call, against EC2's
//! stand-in, through the user data that the controller writes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fleet;

use std::{fs, net::Ipv4Addr};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use spore_core::{
    agent_config::{
        AgentConfig, JOB_ARRAY_FILE, Members, OnComplete, PARAMS_FILE, PEERS_FILE, PROFILE_FILE,
        VERSION,
    },
    duration::Duration as Span,
    lifecycle::Action,
    peers::{self, Peer},
    tags::{Kind, MESSAGE},
};

use fleet::Fleet;

/// Writes what it sees where a test can look, then waits for its peers and writes what that gave. The
/// status is written again and again.
const WORKLOAD: &str = r#"
cd /root
env -0 > env.new; sh -lc 'env -0' > login; cp /etc/spawn/params.json params 2>/dev/null
mv env.new env
spored wait-peers --timeout 60s 2> why; echo $? > code.new; mv code.new code
getent ahostsv4 train > group
while :; do spored status -o json > status.new && mv status.new status; sleep 0.5; done
"#;

fn config(kind: Kind, indexes: &str, rows: &[Value]) -> AgentConfig {
    let row = |row: &Value| row.as_object().unwrap().clone().into_iter().collect();
    AgentConfig {
        version: VERSION,
        owner: "default/train".into(),
        deadline: Timestamp::now() + SignedDuration::from_hours(1),
        power_off_grace: Span::from_secs(300),
        idle: None,
        on_complete: OnComplete {
            action: Action::Terminate,
            delay: Span::ZERO,
        },
        command: ["sh", "-c", WORKLOAD].map(str::to_owned).to_vec(),
        env: [("JOB_ARRAY_INDEX", "mine"), ("OTHER", "mine")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        members: Some(Members {
            kind,
            id: "train-20261121-0a1b2c".into(),
            name: "train".into(),
            size: 3,
            indexes: indexes.parse().unwrap(),
            parameters: rows.iter().map(row).collect(),
            peers: kind == Kind::SporeArray,
        }),
    }
}

fn peer(index: u32, id: &str) -> Peer {
    let host = u8::try_from(index).unwrap() + 10;
    Peer {
        index,
        instance_id: id.to_owned(),
        private_ip: Ipv4Addr::new(10, 0, 0, host),
        public_ip: (index == 0).then_some(Ipv4Addr::new(198, 51, 100, 7)),
    }
}

fn document(peers: &[Peer]) -> Value {
    let document = |peer: &Peer| {
        json!({
            "index": peer.index, "instance_id": peer.instance_id, "dns": format!("train-{}", peer.index),
            "ip": peer.private_ip, "private_ip": peer.private_ip, "public_ip": peer.public_ip,
        })
    };
    peers.iter().map(document).collect()
}

/// A variable in what `env -0` wrote.
fn variable<'a>(env: &'a str, name: &str) -> Option<&'a str> {
    let prefix = format!("{name}=");
    env.split('\0').find_map(|line| line.strip_prefix(&prefix))
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_an_array_know_their_index_and_find_each_other() {
    let fleet = Fleet::start("array").await;
    let ids = fleet.launch(3, &config(Kind::SporeArray, "0-2", &[])).await;
    for (index, id) in ids.iter().enumerate() {
        for env in [
            fleet.file(id, "/root/env").await,
            fleet.file(id, "/root/login").await,
        ] {
            let index = index.to_string();
            assert_eq!(variable(&env, "JOB_ARRAY_INDEX"), Some(index.as_str()));
            assert_eq!(
                variable(&env, "JOB_ARRAY_ID"),
                Some("train-20261121-0a1b2c")
            );
            assert_eq!(variable(&env, "JOB_ARRAY_NAME"), Some("train"));
            assert_eq!(variable(&env, "JOB_ARRAY_SIZE"), Some("3"));
        }
        let env = fleet.file(id, "/root/env").await;
        assert_eq!(variable(&env, "OTHER"), Some("mine"));
        assert!(
            !fleet.path(id, PEERS_FILE).await.exists(),
            "not complete yet"
        );
        assert!(!fleet.path(id, "/root/code").await.exists(), "it waits");
    }

    let mut list = (0..)
        .zip(&ids)
        .map(|(index, id)| peer(index, id))
        .collect::<Vec<_>>();
    fleet.tag(&ids, &peers::encode(1, &list, 28).unwrap()).await;
    for id in &ids {
        assert_eq!(fleet.file(id, "/root/code").await, "0\n");
        assert_eq!(fleet.json(id, PEERS_FILE).await, document(&list));
        let group = fleet.file_with(id, "/root/group", "10.0.0.12").await;
        for address in ["10.0.0.10", "10.0.0.11"] {
            assert!(group.contains(address), "{group}");
        }
        let hosts = fleet.file(id, "/etc/hosts").await;
        assert!(hosts.starts_with("127.0.0.1 localhost\n"), "{hosts}");
        assert!(hosts.contains("10.0.0.11\ttrain-1 train\n"), "{hosts}");
    }

    // The second is replaced.
    list[1].instance_id = "i-0fedcba9876543210".into();
    list[1].private_ip = Ipv4Addr::new(10, 0, 9, 1);
    fleet.sim.agent_kill(&ids[2]).await.unwrap();
    let others = [ids[0].clone(), ids[2].clone()];
    fleet
        .tag(&others, &peers::encode(2, &list, 28).unwrap())
        .await;
    for (id, index) in others.iter().zip([0, 2]) {
        fleet.file_with(id, PEERS_FILE, "i-0fedcba9876543210").await;
        assert_eq!(fleet.json(id, PEERS_FILE).await, document(&list));
        let array = json!({
            "version": 2, "id": "train-20261121-0a1b2c", "name": "train", "size": 3,
            "peers": document(&list),
        });
        assert_eq!(fleet.json(id, JOB_ARRAY_FILE).await, array);
        let hosts = fleet.file(id, "/etc/hosts").await;
        assert!(hosts.contains("10.0.9.1\ttrain-1 train\n"), "{hosts}");
        assert_eq!(hosts.matches("train-1").count(), 1, "{hosts}");
        let status = fleet
            .file_with(id, "/root/status", r#""peersVersion":2"#)
            .await;
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["member"]["index"], index, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_sweep_reaches_the_workload_typed_and_never_interpreted() {
    let fleet = Fleet::start("sweep").await;
    let hostile = "'$(touch /root/pwned)`id`\"\n'; echo \\";
    let rows = [
        json!({"lr": 0.1, "name": "first"}),
        json!({"lr": 1e-3, "name": hostile, "none": null, "layers": [64, 32], "a b": true}),
    ];
    let ids = fleet
        .launch(2, &config(Kind::SporeSweep, "4,7", &rows))
        .await;
    let env = fleet.file(&ids[0], "/root/env").await;
    assert_eq!(variable(&env, "SWEEP_INDEX"), Some("4"));
    assert_eq!(variable(&env, "PARAM_name"), Some("first"));
    for file in ["/root/env", "/root/login"] {
        let env = fleet.file(&ids[1], file).await;
        assert_eq!(variable(&env, "SWEEP_INDEX"), Some("7"));
        assert_eq!(variable(&env, "SWEEP_SIZE"), Some("3"));
        assert_eq!(variable(&env, "PARAM_lr"), Some("0.001"));
        assert_eq!(variable(&env, "PARAM_name"), Some(hostile));
        assert_eq!(variable(&env, "PARAM_layers"), Some("[64,32]"));
        assert_eq!(variable(&env, "PARAM_none"), None);
        assert_eq!(variable(&env, "SPAWN_PARAMS_FILE"), Some(PARAMS_FILE));
    }
    let params = fleet.json(&ids[1], "/root/params").await;
    assert_eq!(params, rows[1], "there before the workload");
    assert_eq!(
        fleet.file(&ids[1], "/root/code").await,
        "2\n",
        "a sweep has no peers"
    );
    let why = fleet.file(&ids[1], "/root/why").await;
    assert!(
        why.contains("only the members of an array have peers"),
        "{why}"
    );
    assert!(!fleet.path(&ids[1], "/root/pwned").await.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_the_configuration_does_not_know_runs_nothing_and_ends_by_its_deadline() {
    let fleet = Fleet::start("beyond").await;
    let mut config = config(Kind::SporeArray, "5", &[]);
    config.deadline = Timestamp::now() + SignedDuration::from_secs(20);
    let ids = fleet.launch(2, &config).await;
    let env = fleet.file(&ids[0], "/root/env").await;
    assert_eq!(variable(&env, "JOB_ARRAY_INDEX"), Some("5"));
    let instance = fleet
        .until(&ids[1], "it says why", |instance| {
            instance.tags.contains_key(MESSAGE)
        })
        .await;
    let message = &instance.tags[MESSAGE];
    assert!(message.contains("the workload is not started"), "{message}");
    let instance = fleet
        .until(&ids[1], "it ends", |instance| !instance.is_live())
        .await;
    assert_eq!(instance.tags["spawn:last-stop-reason"], "TTLExpired");
    assert!(!fleet.path(&ids[1], "/root/env").await.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_waits_until_the_metadata_service_tells_which_member_it_is() {
    // Time to switch the metadata service off before the machine boots.
    let fleet = Fleet::start_with("silent", &["--pending", "3s"]).await;
    let ids = fleet.launch(1, &config(Kind::SporeArray, "2", &[])).await;
    fleet.sim.imds_off(&ids[0], true).await.unwrap();
    fleet
        .file_with(
            &ids[0],
            "/var/log/journal-spored.log",
            "did not answer ami-launch-index",
        )
        .await;
    assert!(!fleet.path(&ids[0], "/root/env").await.exists());
    fleet.sim.imds_off(&ids[0], false).await.unwrap();
    let env = fleet.file(&ids[0], "/root/env").await;
    assert_eq!(variable(&env, "JOB_ARRAY_INDEX"), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_stopped_and_started_is_the_same_member() {
    let fleet = Fleet::start("started").await;
    let mut config = config(Kind::SporeArray, "1,8", &[]);
    config.command.clear();
    let ids = fleet.launch(2, &config).await;
    let list = [peer(0, &ids[0]), peer(1, &ids[1])];
    fleet.tag(&ids, &peers::encode(3, &list, 28).unwrap()).await;
    fleet.file(&ids[1], PEERS_FILE).await;
    fleet
        .stop_and_start(&ids[1], async |id| {
            for file in [PROFILE_FILE, JOB_ARRAY_FILE] {
                fs::remove_file(fleet.path(id, file).await).unwrap();
            }
        })
        .await;
    fleet
        .file_with(&ids[1], PROFILE_FILE, "export JOB_ARRAY_INDEX='8'\n")
        .await;
    fleet
        .file_with(&ids[1], JOB_ARRAY_FILE, r#""version": 3"#)
        .await;
}
