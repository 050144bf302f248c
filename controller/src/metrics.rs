//! What Prometheus scrapes.

use std::sync::Mutex;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::cloud::CloudError;

/// Every metric, registered once.
pub struct Metrics {
    registry: Mutex<Registry>,
    aws_calls: Family<AwsCall, Counter>,
    launches: Histogram,
    reconciles: Family<Outcome, Counter>,
    orphans: Family<Orphan, Counter>,
    instances: Family<InRegion, Gauge>,
    last_list: Family<InRegion, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AwsCall {
    call: &'static str,
    region: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Orphan {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InRegion {
    region: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("spore");
        let metrics = Self {
            aws_calls: Family::default(),
            // 50 ms to about 100 s.
            launches: Histogram::new(exponential_buckets(0.05, 2.0, 12)),
            reconciles: Family::default(),
            orphans: Family::default(),
            instances: Family::default(),
            last_list: Family::default(),
            registry: Mutex::default(),
        };
        registry.register(
            "aws_calls",
            "Calls to AWS by call, region and outcome",
            metrics.aws_calls.clone(),
        );
        registry.register(
            "launch_seconds",
            "From the creation of a spore to EC2's confirmation of its instance",
            metrics.launches.clone(),
        );
        registry.register(
            "reconciles",
            "Passes over a spore by outcome",
            metrics.reconciles.clone(),
        );
        registry.register(
            "orphans",
            "Resources found without a living parent, by kind and outcome",
            metrics.orphans.clone(),
        );
        registry.register(
            "instances",
            "Instances that may cost, by region",
            metrics.instances.clone(),
        );
        registry.register(
            "inventory_timestamp_seconds",
            "When the latest complete list of a region was begun",
            metrics.last_list.clone(),
        );
        *metrics
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    /// A call to AWS ended.
    pub fn aws_call(&self, call: &'static str, region: &str, error: Option<&CloudError>) {
        let outcome = error.map_or("ok", |error| error.class.reason());
        self.aws_calls
            .get_or_create(&AwsCall {
                call,
                region: region.to_owned(),
                outcome,
            })
            .inc();
    }

    /// A spore got its instance, so many seconds after it was created.
    pub fn launched(&self, seconds: f64) {
        self.launches.observe(seconds);
    }

    /// A pass over a spore ended.
    pub fn reconciled(&self, outcome: &'static str) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
    }

    /// An orphan was found.
    pub fn orphan(&self, kind: &'static str, outcome: &'static str) {
        self.orphans.get_or_create(&Orphan { kind, outcome }).inc();
    }

    /// A region was listed.
    pub fn listed(&self, region: &str, live: usize, begun: jiff::Timestamp) {
        let label = InRegion {
            region: region.to_owned(),
        };
        self.instances
            .get_or_create(&label)
            .set(i64::try_from(live).unwrap_or(i64::MAX));
        self.last_list.get_or_create(&label).set(begun.as_second());
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let registry = self
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = String::new();
        match text::encode(&mut out, &registry) {
            Ok(()) => out,
            Err(error) => format!("# cannot encode: {error}\n"),
        }
    }
}
