//! Listing what exists: one paged list a region, however many spores there are.
//!
//! Instances that are gone are left out, though EC2 shows them for an hour: what has vanished from the
//! list is looked up by its id, once, to learn why it ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    aws::{Aws, FILTER_VALUES, Listed},
    cloud::{CloudError, Seek},
    limiter::{Call, Limiter},
    metrics::Metrics,
    settings::Settings,
    world::{Owner, World},
};

/// The most list calls in a minute while nothing changes: a calm fleet of 10,000 is ten pages. One
/// call a minute is left for the search for orphans.
const CALM_CALLS_PER_MINUTE: u32 = 9;
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
            watch.admitted(region, clock).await;
            let begun = clock();
            let pause = match watch.list(region, clock).await {
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
    /// Lists everything present, and looks up what is gone of that which somebody waits for. The list
    /// is complete only with both.
    async fn list(&self, region: &str, clock: fn() -> Timestamp) -> Result<Listed, CloudError> {
        let cluster = &self.settings.cluster_uid;
        let mut all = self.aws.list(region, cluster).await?;
        let (ids, tokens) = apart(self.world.missing(region, &all.instances));
        for some in ids.chunks(FILTER_VALUES) {
            self.admitted(region, clock).await;
            let found = self.aws.look_up(region, cluster, some.to_vec()).await?;
            all.extend(found);
        }
        for some in tokens.chunks(FILTER_VALUES) {
            self.admitted(region, clock).await;
            let some = some.to_vec();
            let found = self.aws.look_up_launches(region, cluster, some).await?;
            all.extend(found);
        }
        Ok(all)
    }

    /// Waits until EC2 admits a call that reads.
    async fn admitted(&self, region: &str, clock: fn() -> Timestamp) {
        while let Err(until) = self.limiter.take(region, Call::Read, 0, clock()) {
            tokio::time::sleep(until_then(until, clock())).await;
        }
    }

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

/// Ids and tokens.
fn apart(sought: HashSet<Seek>) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut tokens) = (Vec::new(), Vec::new());
    for what in sought {
        match what {
            Seek::Instance(id) => ids.push(id),
            Seek::Launch(token) => tokens.push(token),
        }
    }
    (ids, tokens)
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
    fn a_calm_fleet_costs_nine_calls_a_minute_whatever_its_size() {
        for pages in 1..=100 {
            let lists_a_minute = 60.0 / pause(pages, false).as_secs_f64();
            assert!(lists_a_minute * f64::from(pages) <= 9.001, "{pages} pages");
        }
    }

    #[test]
    fn a_busy_region_is_looked_at_more_often() {
        assert!(pause(1, true) < pause(1, false));
        assert!(pause(10, true) < pause(10, false));
    }
}
