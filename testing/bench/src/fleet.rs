//! A fleet of live spores, without launching each: objects, instances that carry their tags as
//! launches of ours do, and a controller that finds both and adopts.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;
use spore_core::{
    duration::Duration as Span,
    tags::{Identity, Kind, Report, WorkloadPhase},
    token,
};
use spore_crds::{
    SporeInstance,
    conditions::{self, READY},
};
use tokio::time::{Instant, sleep};

use crate::{
    clock::{now, progress},
    ec2, prometheus,
    stage::{NAMESPACE, REGION, Stage},
};

/// So many create requests at once.
const IN_FLIGHT: usize = 32;
/// So long without a pass over any spore, and the controller's queue is empty. The longest pause
/// between two tries of anything that is not settled is shorter.
const QUIET: Duration = Duration::from_secs(15);
const SAMPLED: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1_800);
const LIFE: Span = Span::from_secs(24 * 3_600);

/// Makes so many live spores and starts the controller, which finds them settled at the end.
pub(crate) async fn settle(stage: &mut Stage, count: usize) -> Result<()> {
    progress(&format!("fleet: creating {count} spores"));
    let spores = create(stage, count).await?;
    progress(&format!("fleet: launching {count} instances"));
    let launches = spores.iter().map(|spore| launch(stage, spore)).collect();
    ec2::launch(&stage.sim, launches).await?;
    progress("fleet: the controller adopts them");
    let begun = Instant::now();
    stage.controller.start().await?;
    let settled = settled(stage, count, begun).await?;
    progress(&format!("fleet: adopted after {settled:.1?}"));
    all_ready(stage, count).await
}

async fn create(stage: &Stage, count: usize) -> Result<Vec<SporeInstance>> {
    let (api, done) = (stage.spores(), AtomicUsize::new(0));
    stream::iter(0..count)
        .map(|number| {
            let (api, done) = (&api, &done);
            async move {
                let spore = serde_json::from_value(json!({
                    "apiVersion": "spore.host/v1alpha1",
                    "kind": "SporeInstance",
                    "metadata": {"name": format!("spore-{number:05}")},
                    "spec": {
                        "instanceType": "t3.micro",
                        "ttl": LIFE.to_string(),
                        "command": ["sleep", "infinity"],
                    },
                }))?;
                let created = api.create(&PostParams::default(), &spore).await?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(2_000) {
                    progress(&format!("fleet: {done} created"));
                }
                Ok(created)
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

/// What a launch of a spore would have asked for, and its agent reported.
fn launch(stage: &Stage, spore: &SporeInstance) -> ec2::Launch {
    let uid = spore.uid().unwrap_or_default();
    let launched_at = now();
    let deadline = LIFE.after(launched_at);
    let identity = Identity {
        cluster: stage.cluster.clone(),
        uid: uid.clone(),
        parent: uid.clone(),
        owner: format!("{NAMESPACE}/{}", spore.name_any()),
        kind: Kind::SporeInstance,
        attempt: 1,
        deadline: Some(deadline),
        members: None,
    };
    let report = Report {
        agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        reported_at: Some(launched_at),
        phase: Some(WorkloadPhase::Running),
        started_at: Some(launched_at),
        armed_deadline: Some(deadline),
        ..Report::default()
    };
    let mut tags = identity.to_tags();
    tags.extend(report.to_tags());
    let token = token::Launch {
        cluster_uid: &stage.cluster,
        object_uid: &uid,
        attempt: 1,
        batch: 0,
    }
    .token();
    ec2::Launch { token, tags }
}

/// Waits until the controller, started at `begun`, has taken in a complete list of EC2 and has done
/// its last pass; returns how long that took, without the quiet time that proves it.
pub(crate) async fn settled(stage: &Stage, count: usize, begun: Instant) -> Result<Duration> {
    let (mut listed, mut last, mut passes) = (None, begun, 0.0);
    let mut told = Instant::now();
    while last.elapsed() < QUIET || listed.is_none() || passes < 1.0 {
        ensure!(
            begun.elapsed() < PATIENCE,
            "the controller has not settled after {PATIENCE:?} and {passes} passes; see {}",
            stage.controller.log_file().display()
        );
        sleep(SAMPLED).await;
        // It does not listen in its first moments.
        let Ok(text) = stage.controller.get("/metrics").await else {
            ensure!(stage.controller.is_running(), "the controller died");
            continue;
        };
        let in_region = prometheus::sum(&text, "spore_inventory_timestamp_seconds", |labels| {
            labels.is("region", &[REGION])
        });
        if in_region.is_some() && listed.is_none() {
            listed = Some(Instant::now());
        }
        let now_passes = prometheus::sum(&text, "spore_reconciles_total", |_| true).unwrap_or(0.0);
        if now_passes > passes {
            (passes, last) = (now_passes, Instant::now());
        }
        if told.elapsed() > Duration::from_secs(20) {
            told = Instant::now();
            progress(&format!("fleet: {passes} passes"));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let each = count as f64;
    ensure!(passes >= each, "{passes} passes over {count} spores");
    let listed = listed.context("EC2 was never listed")?;
    Ok(last.max(listed).duration_since(begun))
}

/// Fails unless every spore is ready, so that nothing is measured on a fleet that is not settled.
pub(crate) async fn all_ready(stage: &Stage, count: usize) -> Result<()> {
    let spores = stage.spores().list(&ListParams::default()).await?;
    let ready = spores.items.iter().filter(|spore| {
        spore
            .status
            .as_ref()
            .is_some_and(|status| conditions::is_true(&status.conditions, READY))
    });
    let ready = ready.count();
    ensure!(ready == count, "{ready} of {count} spores are ready");
    Ok(())
}
