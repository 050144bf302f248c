//! What the agent costs an instance, and EC2's budget of tag writes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::PostParams;
use serde_json::{Value, json};
use spore_crds::{
    SporeInstance, SporeInstanceStatus, State,
    conditions::{self, READY},
};
use spore_world::{layout, poll};
use tokio::time::{Instant, sleep};

use crate::{
    clock::progress,
    figure::{Figure, Wanted},
    process::{below, cpu_seconds, file_mb, resident_mb},
    stage::Stage,
};

/// What this group measures.
pub(crate) const FIGURES: &[&str] = &[
    "spored_binary_mb",
    "spored_tag_writes_per_life",
    "spored_rss_mb",
    "spored_cpu_percent",
];

const LIVES: usize = 3;
/// After its start the agent has looked at everything several times.
const WARM_UP: Duration = Duration::from_secs(30);
const WATCHED: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures them.
pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let binary = file_mb(&layout::bin("spored")?)?;
    wanted.tell(&Figure::new("spored_binary_mb", binary, "MB", 1))?;
    if !wanted.any(&FIGURES[1..]) {
        return Ok(());
    }
    let mut stage = Stage::start("spored", true, &[]).await?;
    stage.controller.start().await?;
    if wanted.any(&["spored_tag_writes_per_life"]) {
        lives(wanted, &stage).await?;
    }
    if wanted.any(&["spored_rss_mb", "spored_cpu_percent"]) {
        idle(wanted, &stage).await?;
    }
    Ok(())
}

/// Whole lives: launch, workload, completion, end.
async fn lives(wanted: &Wanted, stage: &Stage) -> Result<()> {
    progress(&format!("spored: {LIVES} lives from launch to end"));
    let mut most = 0;
    for number in 0..LIVES {
        let name = format!("life-{number}");
        let spec = json!({
            "instanceType": "t3.micro",
            "ttl": "1h",
            "command": ["sleep", "10"],
            "onComplete": {"delay": "5s"},
        });
        let status = live(stage, &name, spec, |status| {
            matches!(
                status.state,
                Some(State::Succeeded | State::Failed | State::Ended)
            )
        });
        let status = status.await?;
        ensure!(
            status.state == Some(State::Succeeded),
            "{name} ended as {:?}",
            status.state
        );
        most = most.max(tag_writes(stage, &status).await?);
    }
    ensure!(most > 0, "the agents reported without a tag");
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    wanted.tell(&Figure::new(
        "spored_tag_writes_per_life",
        most as f64,
        "calls",
        LIVES,
    ))?;
    Ok(())
}

/// Tag writes with the credentials of a spore's instance.
async fn tag_writes(stage: &Stage, status: &SporeInstanceStatus) -> Result<u64> {
    let id = status.instance.as_ref().map(|instance| &instance.id);
    let instances = stage.sim.instances().await?;
    let instance = instances
        .iter()
        .find(|instance| Some(&instance.id) == id)
        .context("the instance is no longer known to EC2")?;
    let calls = stage.sim.calls().await?;
    let own = calls.by_caller.get(&instance.access_key);
    let count = |api: &str| own.and_then(|own| own.get(api)).copied().unwrap_or(0);
    Ok(count("CreateTags") + count("DeleteTags"))
}

/// An agent that watches an instance on which nothing happens.
async fn idle(wanted: &Wanted, stage: &Stage) -> Result<()> {
    progress(&format!("spored: idle for {WATCHED:?}"));
    let spec = json!({
        "instanceType": "t3.micro",
        "ttl": "6h",
        "idle": {"timeout": "3h"},
        "command": ["sleep", "infinity"],
    });
    let at_work = |status: &SporeInstanceStatus| {
        let workload = status.workload.as_ref();
        workload.and_then(|workload| workload.phase.as_deref()) == Some("Running")
            && conditions::is_true(&status.conditions, READY)
    };
    live(stage, "idle", spec, at_work).await?;
    // The agent, and the small process between it and the workload.
    let sim = stage.sim.process().pid();
    let pids = below(sim, "spored");
    ensure!(
        pids.len() == 2,
        "{} processes of spored, not agent and supervisor",
        pids.len()
    );
    sleep(WARM_UP).await;
    let cpu = || {
        pids.iter()
            .map(|pid| cpu_seconds(*pid))
            .sum::<Result<f64>>()
    };
    let (before, begun) = (cpu()?, Instant::now());
    sleep(WATCHED).await;
    let share = (cpu()? - before) / begun.elapsed().as_secs_f64() * 100.0;
    let resident = pids
        .iter()
        .map(|pid| resident_mb(*pid))
        .sum::<Result<f64>>()?;
    ensure!(
        below(sim, "spored") == pids,
        "the agent was started again while it was watched"
    );
    wanted.tell(&Figure::new("spored_rss_mb", resident, "MB", 1))?;
    wanted.tell(&Figure::new("spored_cpu_percent", share, "%", 1))?;
    Ok(())
}

/// Creates a spore and waits until its status is as it should be.
async fn live(
    stage: &Stage,
    name: &str,
    spec: Value,
    reached: impl Fn(&SporeInstanceStatus) -> bool,
) -> Result<SporeInstanceStatus> {
    let spores = stage.spores();
    let spore: SporeInstance = serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeInstance",
        "metadata": {"name": name},
        "spec": spec,
    }))?;
    spores.create(&PostParams::default(), &spore).await?;
    let status = poll(PATIENCE, async || {
        let status = spores.get(name).await.ok()?.status?;
        reached(&status).then_some(status)
    });
    status.await.with_context(|| {
        let log = stage.controller.log_file();
        format!(
            "{name} did not get that far in {PATIENCE:?}; see {}",
            log.display()
        )
    })
}
