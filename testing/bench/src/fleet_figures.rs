//! What 10,000 live spores cost while nothing happens, and when the controller starts again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use spore_world::sim::{Call, Calls};
use tokio::time::{Instant, sleep};

use crate::{
    clock::progress,
    ec2::is_mutating,
    figure::{Figure, Wanted, median},
    fleet, kubernetes,
    process::resident_mb,
    stage::Stage,
};

/// What this group measures.
pub(crate) const FIGURES: &[&str] = &[
    "calm_10000_reads_per_min",
    "calm_10000_writes_per_min",
    "calm_10000_kube_writes_per_min",
    "calm_10000_rss_mb",
    "restart_10000_settle_s",
    "restart_10000_ec2_writes",
    "restart_10000_kube_writes",
];

const SPORES: usize = 10_000;
/// As long as the rarest of the controller's regular looks at EC2, the one for orphans.
const WATCHED: Duration = Duration::from_secs(300);
/// A list is over when its next page does not follow within this time.
const BETWEEN_PAGES: Duration = Duration::from_secs(4);
const RESTARTS: usize = 3;

/// Measures them.
pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let mut stage = Stage::start("fleet", false, &["--limits", "off"]).await?;
    fleet::settle(&mut stage, SPORES).await?;
    let restarts = FIGURES.partition_point(|name| name.starts_with("calm_"));
    if wanted.any(&FIGURES[..restarts]) {
        calm(wanted, &stage).await?;
    }
    if wanted.any(&FIGURES[restarts..]) {
        restart(wanted, &mut stage).await?;
    }
    Ok(())
}

async fn calm(wanted: &Wanted, stage: &Stage) -> Result<()> {
    progress(&format!("fleet: calm for {WATCHED:?} and more"));
    let pid = stage.controller.pid().context("the controller died")?;
    stage.sim.reset_calls().await?;
    let (writes, begun) = (kubernetes::writes(&stage.client).await?, Instant::now());
    let mut resident: Vec<f64> = Vec::new();
    let rounds = loop {
        ensure!(
            begun.elapsed() < 3 * WATCHED,
            "EC2 is no longer listed; see {}",
            stage.controller.log_file().display()
        );
        sleep(Duration::from_secs(1)).await;
        resident.push(resident_mb(pid)?);
        if begun.elapsed() > WATCHED
            && let Some(rounds) = Rounds::within(&stage.sim.calls().await?)?
        {
            break rounds;
        }
    };
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let kube_writes = kubernetes::writes(&stage.client).await? - writes;
    fleet::all_ready(stage, SPORES).await?;
    progress(&format!(
        "fleet: calls in the calm time: {:?}",
        rounds.calls
    ));

    let rate = |mutating| rounds.count(mutating) / rounds.minutes;
    wanted.tell(&Figure::new(
        "calm_10000_reads_per_min",
        rate(false),
        "calls/min",
        rounds.lists,
    ))?;
    wanted.tell(&Figure::new(
        "calm_10000_writes_per_min",
        rate(true),
        "calls/min",
        rounds.lists,
    ))?;
    wanted.tell(&Figure::new(
        "calm_10000_kube_writes_per_min",
        kube_writes / minutes,
        "writes/min",
        1,
    ))?;
    let most = resident.iter().copied().fold(0.0, f64::max);
    wanted.tell(&Figure::new(
        "calm_10000_rss_mb",
        most,
        "MB",
        resident.len(),
    ))?;
    Ok(())
}

/// The calls from the beginning of one list to the beginning of a later one. Any other window would
/// count a list too many or too few.
struct Rounds {
    lists: usize,
    minutes: f64,
    calls: BTreeMap<String, u64>,
}

impl Rounds {
    /// The shortest window that is as long as it should be, if the log has one.
    fn within(calls: &Calls) -> Result<Option<Self>> {
        let times = calls
            .log
            .iter()
            .map(|call| Ok((call.at.parse()?, call)))
            .collect::<Result<Vec<(Timestamp, &Call)>>>()?;
        let (mut begins, mut page): (Vec<Timestamp>, Option<Timestamp>) = (Vec::new(), None);
        for (at, _) in times.iter().filter(|(_, call)| is_list(call)) {
            // What came before the first one that we see is not known.
            if page.is_some_and(|page| apart(page, *at) > BETWEEN_PAGES) {
                begins.push(*at);
            }
            page = Some(*at);
        }
        let Some(first) = begins.first().copied() else {
            return Ok(None);
        };
        let Some(lists) = begins
            .iter()
            .position(|begin| apart(first, *begin) >= WATCHED)
        else {
            return Ok(None);
        };
        let end = begins[lists];
        let mut counts = BTreeMap::new();
        for (_, call) in times.iter().filter(|(at, _)| (first..end).contains(at)) {
            *counts.entry(call.action.clone()).or_default() += 1;
        }
        Ok(Some(Self {
            lists,
            minutes: apart(first, end).as_secs_f64() / 60.0,
            calls: counts,
        }))
    }

    fn count(&self, mutating: bool) -> f64 {
        let counted = self
            .calls
            .iter()
            .filter(|(api, _)| is_mutating(api) == mutating);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        counted.map(|(_, count)| *count as f64).sum()
    }
}

async fn restart(wanted: &Wanted, stage: &mut Stage) -> Result<()> {
    let (mut took, mut ec2_writes, mut kube_writes) = (Vec::new(), 0, 0.0);
    for number in 1..=RESTARTS {
        stage.controller.kill();
        stage.sim.reset_calls().await?;
        let before = kubernetes::writes(&stage.client).await?;
        let begun = Instant::now();
        stage.controller.spawn()?;
        let settled = fleet::settled(stage, SPORES, begun).await?;
        took.push(settled.as_secs_f64());
        let calls = stage.sim.calls().await?.counts;
        let mutating = calls.iter().filter(|(api, _)| is_mutating(api));
        ec2_writes += mutating.map(|(_, count)| count).sum::<u64>();
        let writes = kubernetes::writes(&stage.client).await? - before;
        kube_writes += writes;
        progress(&format!(
            "fleet: restart {number}: settled after {settled:.1?}, {writes} writes to Kubernetes, calls to EC2: {calls:?}"
        ));
        fleet::all_ready(stage, SPORES).await?;
    }
    wanted.tell(&Figure::new(
        "restart_10000_settle_s",
        median(&took),
        "s",
        RESTARTS,
    ))?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    wanted.tell(&Figure::new(
        "restart_10000_ec2_writes",
        ec2_writes as f64,
        "calls",
        RESTARTS,
    ))?;
    wanted.tell(&Figure::new(
        "restart_10000_kube_writes",
        kube_writes,
        "writes",
        RESTARTS,
    ))?;
    Ok(())
}

fn is_list(call: &Call) -> bool {
    call.action == "DescribeInstances"
}

fn apart(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(pages: &[(i64, &str)]) -> Calls {
        let call = |(second, action): &(i64, &str)| Call {
            seq: 0,
            action: (*action).to_owned(),
            region: String::new(),
            access_key: String::new(),
            at: Timestamp::from_second(*second).unwrap().to_string(),
            status: 200,
            code: None,
        };
        Calls {
            log: pages.iter().map(call).collect(),
            ..Calls::default()
        }
    }

    #[test]
    fn only_whole_rounds_are_counted() {
        let list = "DescribeInstances";
        // The end of a list, then one of two pages every 100 s, and something else between.
        let mut calls = vec![(0, list)];
        for round in 1..=4 {
            calls.extend([(round * 100, list), (round * 100 + 1, list)]);
        }
        calls.extend([(250, "DescribeVolumes"), (260, "CreateTags")]);
        calls.sort_unstable();
        let rounds = Rounds::within(&log(&calls)).unwrap().unwrap();
        assert_eq!((rounds.lists, rounds.minutes), (3, 5.0));
        assert_eq!((rounds.count(false), rounds.count(true)), (7.0, 1.0));
        assert!(Rounds::within(&log(&calls[..8])).unwrap().is_none());
    }
}
