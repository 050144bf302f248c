//! How long it takes from a spore's creation to the launch call.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kube::api::PostParams;
use serde_json::json;
use spore_crds::SporeInstance;
use spore_world::poll;
use tokio::time::{Instant, sleep_until};

use crate::{
    clock::{now, progress},
    figure::{Figure, Wanted, percentile},
    stage::Stage,
};

/// What this group measures.
pub(crate) const FIGURES: &[&str] = &["launch_first_call_p50_ms", "launch_first_call_p99_ms"];

const LAUNCHES: usize = 100;
/// EC2 admits two RunInstances a second in the long run; at this pace it never holds one back.
const PACE: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures them.
pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    // Booting machines would use the processors that the controller is measured on.
    let mut stage = Stage::start("launch", false, &[]).await?;
    stage.controller.start().await?;
    // The first launch asks for type, image and profile; those after it know them.
    first_call(&stage, "warm-up").await?;
    progress(&format!("launch: {LAUNCHES} spores, one every {PACE:?}"));
    let mut took = Vec::new();
    for number in 0..LAUNCHES {
        let next = Instant::now() + PACE;
        took.push(first_call(&stage, &format!("spore-{number}")).await?);
        sleep_until(next).await;
    }
    let figure = |name, percent| Figure::new(name, percentile(&took, percent), "ms", took.len());
    wanted.tell(&figure("launch_first_call_p50_ms", 50))?;
    wanted.tell(&figure("launch_first_call_p99_ms", 99))?;
    Ok(())
}

/// Milliseconds from sending a create request to the arrival of RunInstances at the stand-in.
async fn first_call(stage: &Stage, name: &str) -> Result<f64> {
    stage.sim.reset_calls().await?;
    let spore: SporeInstance = serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeInstance",
        "metadata": {"name": name},
        "spec": {"instanceType": "t3.micro", "ttl": "1h", "command": ["true"]},
    }))?;
    let sent = now();
    stage
        .spores()
        .create(&PostParams::default(), &spore)
        .await?;
    // Not looked for at once: answering us would take time from the controller.
    sleep_until(Instant::now() + PACE / 2).await;
    let arrivals = poll(PATIENCE, async || {
        let calls = stage.sim.calls().await.ok()?;
        let launches = calls
            .log
            .iter()
            .filter(|call| call.action == "RunInstances");
        let arrivals: Vec<String> = launches.map(|call| call.at.clone()).collect();
        (!arrivals.is_empty()).then_some(arrivals)
    });
    let arrivals = arrivals
        .await
        .with_context(|| format!("{name} was not launched within {PATIENCE:?}"))?;
    let [arrived] = arrivals.as_slice() else {
        anyhow::bail!("{} launch calls for {name}", arrivals.len());
    };
    let arrived: Timestamp = arrived.parse()?;
    let took = arrived.duration_since(sent).as_secs_f64() * 1e3;
    ensure!(took > 0.0, "{name} was launched before it was created");
    Ok(took)
}
