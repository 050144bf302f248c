//! A large sweep: whether the controller's memory grows with the rows that are done, and how large
//! any object becomes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use spore_core::{
    lifecycle::EndReason,
    tags::{Report, WorkloadPhase},
};
use spore_crds::{SporeResults, SporeSweep};
use tokio::time::{Instant, sleep};

use crate::{
    clock::{now, progress},
    figure::{Figure, Wanted},
    kubernetes,
    process::{cpu_seconds, resident_mb},
    stage::{NAMESPACE, Stage},
};

/// How many rows.
const ROWS: u32 = 100_000;

/// What this group measures, after the name of the sweep.
const MEASURED: [&str; 3] = ["rss_growth_mb", "run_s", "largest_object_kb"];

/// Members at once.
const PARALLELISM: u32 = 500;
/// How long an instance works.
const WORK: Duration = Duration::from_millis(300);
const SAMPLED: Duration = Duration::from_secs(2);
const TOLD: Duration = Duration::from_secs(30);
/// So long without any further row done, and something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

/// What this group measures of a sweep of so many rows.
pub(crate) fn figures(rows: Option<u32>) -> Vec<String> {
    let rows = rows.unwrap_or(ROWS);
    MEASURED.map(|name| format!("sweep_{rows}_{name}")).into()
}

/// Measures them.
pub(crate) async fn measure(wanted: &Wanted, rows: Option<u32>) -> Result<()> {
    let names = figures(rows);
    let rows = rows.unwrap_or(ROWS);
    // An account with raised limits: with EC2's defaults, two launches a second, it takes 14 hours.
    let limits = json!({
        "RunInstances": "requests:100/50,resources:2000/1000",
        "TerminateInstances": "requests:100/50,resources:2000/1000",
    });
    let times = [
        "--limits",
        "off",
        "--pending",
        "200ms",
        "--shutting-down",
        "200ms",
    ];
    let mut stage = Stage::raised("sweep", &times, &limits).await?;
    let work = json!({ "takesMs": WORK.as_millis(), "tags": report() });
    let _: Value = stage.sim.post("/_sim/work", &work).await?;
    stage.controller.start().await?;
    let api = Api::<SporeSweep>::namespaced(stage.client.clone(), NAMESPACE);
    progress(&format!("sweep: {rows} rows, {PARALLELISM} at once"));
    let begun = Instant::now();
    api.create(&PostParams::default(), &sweep(rows)?).await?;
    let (growth, mut largest) = follow(&stage, &api, rows, begun).await?;
    let took = begun.elapsed();

    let results = Api::<SporeResults>::namespaced(stage.client.clone(), NAMESPACE);
    let results = results.list(&ListParams::default()).await?;
    let mut kept = 0;
    for chunk in &results {
        kept += chunk.spec.count;
        largest = largest.max(serde_json::to_vec(chunk)?.len());
    }
    ensure!(
        kept == rows,
        "the results of {kept} of {rows} rows are kept"
    );

    let [name_growth, name_run, name_largest] = names.as_slice() else {
        anyhow::bail!("{} names", names.len());
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let largest = largest as f64 / 1024.0;
    wanted.tell(&Figure::new(name_growth.clone(), growth, "MB", 1))?;
    wanted.tell(&Figure::new(name_run.clone(), took.as_secs_f64(), "s", 1))?;
    wanted.tell(&Figure::new(name_largest.clone(), largest, "KiB", 1))?;
    Ok(())
}

/// What the agent of a spore whose work is done would have said; `{now}` is filled in by the stand-in.
fn report() -> Value {
    let at = now();
    let report = Report {
        agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        reported_at: Some(at),
        phase: Some(WorkloadPhase::Succeeded),
        started_at: Some(at),
        finished_at: Some(at),
        exit_code: Some(0),
        message: Some("accuracy=0.93".to_owned()),
        end_reason: Some(EndReason::Completed),
        ended_at: Some(at),
        ..Report::default()
    };
    let at = at.to_string();
    let told = report.to_tags().into_iter();
    let told = told.map(|(key, value)| (key, value.replace(&at, "{now}").into()));
    Value::Object(told.collect())
}

fn sweep(rows: u32) -> Result<SporeSweep> {
    let columns: Vec<u32> = (0..100).collect();
    let lines: Vec<u32> = (0..rows / 100).collect();
    ensure!(
        rows.is_multiple_of(100) && rows > 0,
        "rows must be a multiple of 100"
    );
    Ok(serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeSweep",
        "metadata": {"name": "sweep"},
        "spec": {
            "template": {"instanceType": "t3.micro", "ttl": "1h", "command": ["true"]},
            "grid": {"seed": lines, "learningRate": columns},
            "parallelism": PARALLELISM,
        },
    }))?)
}

/// Follows the sweep to its end; returns by how much the controller's memory has grown since a tenth
/// of the rows was done, and the size of the sweep at its largest.
async fn follow(
    stage: &Stage,
    api: &Api<SporeSweep>,
    rows: u32,
    begun: Instant,
) -> Result<(f64, usize)> {
    let pid = stage.controller.pid().context("the controller died")?;
    let (mut largest, mut at_tenth, mut peak) = (0, None, 0_f64);
    let (mut before, mut last, mut told) = (0, Instant::now(), Instant::now());
    loop {
        sleep(SAMPLED).await;
        let sweep = api.get("sweep").await?;
        largest = largest.max(serde_json::to_vec(&sweep)?.len());
        let resident = resident_mb(pid)?;
        let status = sweep.status.unwrap_or_default();
        ensure!(
            status.failed == 0,
            "rows have failed: {:?}",
            status.failures
        );
        let done = status.succeeded;
        if done > before {
            (before, last) = (done, Instant::now());
        }
        ensure!(
            last.elapsed() < PATIENCE,
            "nothing more is done since {done} rows; see {}",
            stage.controller.log_file().display()
        );
        if at_tenth.is_none() && done >= rows / 10 {
            at_tenth = Some(resident);
        }
        if at_tenth.is_some() {
            peak = peak.max(resident);
        }
        if told.elapsed() > TOLD {
            told = Instant::now();
            progress(&format!(
                "sweep: {done} done, {} active, {resident:.0} MB, after {:.0?}",
                status.active,
                begun.elapsed()
            ));
        }
        if status.finished_at.is_some() {
            ensure!(done == rows, "{done} of {rows} rows have succeeded");
            let tenth = at_tenth.context("the sweep was never looked at on its way")?;
            progress(&format!(
                "sweep: {tenth:.1} MB at a tenth, at most {peak:.1} MB; writes to Kubernetes: {}; processor time: {:.1} s; calls to EC2: {:?}",
                kubernetes::writes(&stage.client).await?,
                cpu_seconds(pid)?,
                stage.sim.calls().await?.counts
            ));
            return Ok((peak - tenth, largest));
        }
    }
}
