//! Listing what exists: one paged list a region, however many spores there are.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    aws::Aws,
    limiter::{Call, Limiter},
    metrics::Metrics,
    settings::Settings,
    world::{Owner, World},
};

/// The most list calls in a minute while nothing changes: a calm fleet of 10,000 is ten pages.
const CALM_CALLS_PER_MINUTE: u32 = 10;
/// The least time between two lists while something changes.
const BUSY_PAUSE: Duration = Duration::from_millis(1_000);
/// The least time between a call of ours and the list that looks for its effect.
const HURRY_PAUSE: Duration = Duration::from_millis(200);
/// How long after a call of ours the region is listed at the busy pace.
const BUSY_FOR: Duration = Duration::from_secs(20);

/// Keeps the world's regions up to date.
pub struct Inventory {
    hurry: HashMap<String, Arc<Notify>>,
}

impl Inventory {
    /// An inventory of these regions.
    #[must_use]
    pub fn new(regions: &[String]) -> Self {
        Self {
            hurry: regions
                .iter()
                .map(|region| (region.clone(), Arc::default()))
                .collect(),
        }
    }

    /// A call has just changed something in this region.
    pub fn hurry(&self, region: &str) {
        if let Some(notify) = self.hurry.get(region) {
            notify.notify_one();
        }
    }

    /// Lists one region for ever and sends out the owners of what changed.
    pub async fn run(
        &self,
        region: &str,
        watch: &Watch<'_>,
        changed: UnboundedSender<Owner>,
        clock: fn() -> Timestamp,
    ) {
        let hurry = self.hurry.get(region).cloned().unwrap_or_default();
        let mut busy_until = clock();
        let mut failures = 0;
        loop {
            while let Err(until) = watch.limiter.take(region, Call::Read, 0, clock()) {
                tokio::time::sleep(until_then(until, clock())).await;
            }
            let begun = clock();
            let pause = match watch.aws.list(region, &watch.settings.cluster_uid).await {
                Ok(listed) => {
                    failures = 0;
                    watch.take_in(region, listed.instances, begun, &changed);
                    let busy = begun < busy_until || watch.in_transition(region);
                    pause(listed.pages, busy)
                }
                Err(error) => {
                    failures += 1;
                    let pause = error
                        .class
                        .retry_after(failures)
                        .min(Duration::from_secs(60));
                    watch.world.list_failed(region, error);
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = hurry.notified() => {
                    busy_until = clock().checked_add(BUSY_FOR).unwrap_or(Timestamp::MAX);
                    tokio::time::sleep(HURRY_PAUSE.min(pause)).await;
                }
            }
        }
    }
}

/// What listing needs.
pub struct Watch<'a> {
    /// The border to AWS.
    pub aws: &'a Aws,
    /// The call budget.
    pub limiter: &'a Limiter,
    /// Where it is kept.
    pub world: &'a World,
    /// Whose instances.
    pub settings: &'a Settings,
    /// What is counted.
    pub metrics: &'a Metrics,
}

impl Watch<'_> {
    fn take_in(
        &self,
        region: &str,
        list: Vec<crate::cloud::Instance>,
        begun: Timestamp,
        changed: &UnboundedSender<Owner>,
    ) {
        let live = list
            .iter()
            .filter(|instance| instance.state.is_live())
            .count();
        self.metrics.listed(region, live, begun);
        for owner in self
            .world
            .listed(region, list, begun, self.settings.absence)
        {
            // The receiver lives as long as the controller; without it nobody needs to know.
            let _ = changed.unbounded_send(owner);
        }
    }

    /// Whether EC2 or an agent is about to change something by itself.
    fn in_transition(&self, region: &str) -> bool {
        self.world.region(region, |region| {
            region.instances().any(|instance| {
                instance.state.is_transient()
                    || (instance.state == crate::cloud::InstanceState::Running
                        && instance.report.reported_at.is_none())
            })
        })
    }
}

fn pause(pages: u32, busy: bool) -> Duration {
    if busy {
        BUSY_PAUSE * pages.max(1)
    } else {
        Duration::from_secs(60) * pages.max(1) / CALM_CALLS_PER_MINUTE
    }
}

fn until_then(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calm_fleet_costs_ten_calls_a_minute_whatever_its_size() {
        for pages in 1..=100 {
            let lists_a_minute = 60.0 / pause(pages, false).as_secs_f64();
            assert!(lists_a_minute * f64::from(pages) <= 10.001, "{pages} pages");
        }
    }

    #[test]
    fn a_busy_region_is_looked_at_more_often() {
        assert!(pause(1, true) < pause(1, false));
        assert!(pause(10, true) < pause(10, false));
    }
}
