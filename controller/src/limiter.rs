//! EC2's rate language: token buckets per region and call, kept on our side.
//!
//! EC2 counts requests and, for some calls, instances; each call has buckets of its own, so a storm
//! of one kind never starves another. Nothing here sleeps: a call that must wait is told until when,
//! and the planner shows it. When EC2 throttles all the same (other callers share the account's
//! buckets), the bucket is emptied and refills at half the speed, recovering over [`RECOVERY`].
//!
//! Sizes: Amazon EC2 Developer Guide, "Request throttling for the Amazon EC2 API", defaults of an
//! account in one region; [`CallLimits`] tells those of an account with raised limits.

mod limits;

use std::{collections::HashMap, sync::Mutex, time::Duration};

pub use limits::{CallLimits, InvalidLimits, check};

use jiff::Timestamp;

/// Calls with buckets of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// RunInstances.
    Run,
    /// TerminateInstances.
    Terminate,
    /// StopInstances.
    Stop,
    /// CreateTags.
    Tag,
    /// Calls that only read.
    Read,
    /// Every other call that changes something.
    Change,
}

/// For how long a throttled bucket refills at half the speed.
pub const RECOVERY: Duration = Duration::from_secs(30);

/// The size of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Size {
    most: f64,
    per_second: f64,
}

impl Call {
    const fn requests(self) -> Size {
        match self {
            Self::Run => Size {
                most: 5.0,
                per_second: 2.0,
            },
            Self::Terminate => Size {
                most: 100.0,
                per_second: 5.0,
            },
            Self::Tag => Size {
                most: 100.0,
                per_second: 10.0,
            },
            Self::Stop | Self::Change => Size {
                most: 50.0,
                per_second: 5.0,
            },
            Self::Read => Size {
                most: 100.0,
                per_second: 20.0,
            },
        }
    }

    const fn resources(self) -> Option<Size> {
        match self {
            Self::Run => Some(Size {
                most: 1_000.0,
                per_second: 2.0,
            }),
            Self::Terminate | Self::Stop => Some(Size {
                most: 1_000.0,
                per_second: 20.0,
            }),
            Self::Tag | Self::Read | Self::Change => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    size: Size,
    tokens: f64,
    at: Timestamp,
    slow_until: Option<Timestamp>,
}

impl Bucket {
    const fn full(size: Size, now: Timestamp) -> Self {
        Self {
            size,
            tokens: size.most,
            at: now,
            slow_until: None,
        }
    }

    fn speed(&self, now: Timestamp) -> f64 {
        let slow = self.slow_until.is_some_and(|until| until > now);
        if slow {
            self.size.per_second / 2.0
        } else {
            self.size.per_second
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + passed * self.speed(now)).min(self.size.most);
        self.at = self.at.max(now);
    }

    /// How long until `wanted` tokens are there. More than the bucket holds is asked as a full one.
    fn wait(&self, wanted: f64, now: Timestamp) -> Duration {
        let missing = wanted.min(self.size.most) - self.tokens;
        Duration::from_secs_f64((missing / self.speed(now)).max(0.0))
    }
}

#[derive(Debug)]
struct Buckets {
    requests: Bucket,
    resources: Option<Bucket>,
}

/// The buckets of all regions.
#[derive(Debug, Default)]
pub struct Limiter {
    buckets: Mutex<HashMap<(String, Call), Buckets>>,
    raised: HashMap<Call, CallLimits>,
}

impl Limiter {
    /// Buckets of EC2's default sizes, but for these calls.
    #[must_use]
    pub fn new(raised: &[CallLimits]) -> Self {
        Self {
            buckets: Mutex::default(),
            raised: raised.iter().map(|limits| (limits.call, *limits)).collect(),
        }
    }

    /// Takes the tokens for one call that touches `instances` instances.
    ///
    /// # Errors
    /// The time at which they will be there, if they are not; nothing is taken then.
    pub fn take(
        &self,
        region: &str,
        call: Call,
        instances: u32,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        self.with(region, call, now, |buckets| {
            let wanted = f64::from(instances);
            let wait = buckets.requests.wait(1.0, now).max(
                buckets
                    .resources
                    .as_ref()
                    .map_or(Duration::ZERO, |bucket| bucket.wait(wanted, now)),
            );
            if !wait.is_zero() {
                return Err(now.checked_add(wait).unwrap_or(Timestamp::MAX));
            }
            buckets.requests.tokens -= 1.0;
            if let Some(resources) = &mut buckets.resources {
                resources.tokens -= wanted;
            }
            Ok(())
        })
    }

    /// EC2 throttled a call: the bucket is emptier than we thought.
    pub fn throttled(&self, region: &str, call: Call, now: Timestamp) {
        self.with(region, call, now, |buckets| {
            for bucket in [Some(&mut buckets.requests), buckets.resources.as_mut()]
                .into_iter()
                .flatten()
            {
                bucket.slow_until = now.checked_add(RECOVERY).ok();
            }
            buckets.requests.tokens = 0.0;
        });
    }

    fn with<T>(
        &self,
        region: &str,
        call: Call,
        now: Timestamp,
        act: impl FnOnce(&mut Buckets) -> T,
    ) -> T {
        let mut all = self
            .buckets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let buckets = all.entry((region.to_owned(), call)).or_insert_with(|| {
            let raised = self.raised.get(&call);
            let requests = raised.and_then(|limits| limits.requests);
            let resources = raised.and_then(|limits| limits.resources);
            let resources = resources.or_else(|| call.resources());
            Buckets {
                requests: Bucket::full(requests.unwrap_or_else(|| call.requests()), now),
                resources: resources.map(|size| Bucket::full(size, now)),
            }
        });
        buckets.requests.refill(now);
        if let Some(resources) = &mut buckets.resources {
            resources.refill(now);
        }
        act(buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: f64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs_f64(second)
    }

    #[test]
    fn five_launch_calls_at_once_then_two_a_second() {
        let limiter = Limiter::default();
        for _ in 0..5 {
            assert_eq!(limiter.take("r", Call::Run, 1, at(0.0)), Ok(()));
        }
        assert_eq!(limiter.take("r", Call::Run, 1, at(0.0)), Err(at(0.5)));
        assert_eq!(limiter.take("r", Call::Run, 1, at(0.5)), Ok(()));
    }

    #[test]
    fn instances_are_counted_beside_calls() {
        let limiter = Limiter::default();
        assert_eq!(limiter.take("r", Call::Run, 1_000, at(0.0)), Ok(()));
        assert_eq!(limiter.take("r", Call::Run, 100, at(0.0)), Err(at(50.0)));
        assert_eq!(limiter.take("r", Call::Terminate, 100, at(0.0)), Ok(()));
    }

    #[test]
    fn regions_do_not_share() {
        let limiter = Limiter::default();
        for _ in 0..5 {
            assert_eq!(limiter.take("a", Call::Run, 1, at(0.0)), Ok(()));
        }
        assert_eq!(limiter.take("b", Call::Run, 1, at(0.0)), Ok(()));
    }

    #[test]
    fn a_throttled_bucket_slows_down_and_recovers() {
        let limiter = Limiter::default();
        limiter.throttled("r", Call::Run, at(0.0));
        assert_eq!(limiter.take("r", Call::Run, 1, at(0.0)), Err(at(1.0)));
        assert_eq!(limiter.take("r", Call::Run, 1, at(1.0)), Ok(()));
        for _ in 0..5 {
            assert_eq!(limiter.take("r", Call::Run, 1, at(60.0)), Ok(()));
        }
        assert_eq!(limiter.take("r", Call::Run, 1, at(60.0)), Err(at(60.5)));
    }
}
