use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ec2sim::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Sim, quick};

async fn start() -> (Sim, TempDir) {
    ec2sim::machine::use_executable(env!("CARGO_BIN_EXE_ec2sim"));
    let directory = TempDir::new().expect("a directory");
    let machines = Some(directory.path().to_owned());
    (
        Sim::start_with(Config {
            machines,
            ..quick()
        })
        .await,
        directory,
    )
}

async fn run(sim: &Sim, script: &str, behavior: &str) -> String {
    let user_data = STANDARD.encode(script);
    let params = [
        ("UserData", user_data.as_str()),
        ("InstanceInitiatedShutdownBehavior", behavior),
    ];
    sim.run(1, &params).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_its_user_data_and_its_power_off_ends_the_instance() {
    let (sim, directory) = start().await;
    let id = run(
        &sim,
        "#!/bin/sh\ntouch /root/booted\npoweroff\n",
        "terminate",
    )
    .await;
    let ended = sim.until(&id, "terminated").await;
    assert_eq!(
        ended.text("stateReason/code"),
        "Client.InstanceInitiatedShutdown"
    );
    assert!(directory.path().join(&id).join("root/root/booted").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_started_instance_keeps_its_disk_and_runs_its_user_data_no_more() {
    let (sim, directory) = start().await;
    let id = run(
        &sim,
        "#!/bin/sh\necho once >> /root/boots\npoweroff\n",
        "stop",
    )
    .await;
    sim.until(&id, "stopped").await;
    sim.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    sim.until(&id, "running").await;
    // The second boot is complete when its machine takes orders.
    let path = format!("/_sim/instances/{id}/load");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while sim
        .http("POST", &path, &[], b"{}")
        .await
        .expect("a reply")
        .status
        != 200
    {
        assert!(
            std::time::Instant::now() < deadline,
            "the machine does not come back"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let boots = directory.path().join(&id).join("root/root/boots");
    assert_eq!(std::fs::read_to_string(boots).expect("the disk"), "once\n");
    let listed = sim.control("GET", "instances", Value::Null).await;
    assert_eq!(listed[0]["boots"], 2);
    sim.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    sim.until(&id, "terminated").await;
    let gone = sim
        .http("POST", &path, &[], json!({}).to_string().as_bytes())
        .await;
    assert_eq!(gone.expect("a reply").status, 409);
}
