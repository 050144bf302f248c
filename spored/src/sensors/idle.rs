//! Idleness: neither processors nor network nor disks do anything worth paying for.

use std::{collections::VecDeque, fs, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spore_core::duration::Duration as Timeout;
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use crate::{
    agent::Event,
    clock,
    procfs::{self, Counters, CpuTime},
};

/// Processors: busy from this part of all of them. The rule that users know: below 5 % is idle.
const CPU_SHARE: f64 = 0.05;
/// Processors: busy in any case from this much of a single one, or else one thread at full speed would
/// count as nothing on a machine with many processors.
const CPU_CORES: f64 = 0.5;
/// Network: busy above this many bytes a minute. Ten times less was tried before us and is exceeded by
/// the agents and metadata requests of an instance that does nothing.
const NETWORK_PER_MINUTE: f64 = 100_000.0;
/// Disks: busy above this many bytes a minute.
const DISK_PER_MINUTE: f64 = 100_000.0;
/// The longest and the shortest time between two looks.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Bytes are counted over a minute, so that a log written now and then is not taken for work.
const MINUTE: Duration = Duration::from_secs(60);

/// The instance does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Idleness {
    /// Since when.
    pub(crate) since: Timestamp,
    /// The counters at that moment. An agent that comes back compares with them what went on while it
    /// was away.
    pub(crate) counters: Counters,
}

/// One look at the counters.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Timestamp,
    /// Time since the first look on a clock that nobody sets.
    elapsed: Duration,
    counters: Counters,
}

/// Judges looks at the counters.
#[derive(Debug)]
struct Detector {
    window: Duration,
    looks: VecDeque<Look>,
    idleness: Option<Idleness>,
}

/// Samples the counters for ever, and tells when idleness begins and ends. `before` is the idleness that
/// held when an earlier agent of this boot looked last.
pub(crate) async fn watch(timeout: Timeout, before: Option<Idleness>, events: mpsc::Sender<Event>) {
    let interval = interval(timeout.into());
    let mut detector = Detector::new(timeout.into(), before);
    let (mut told, mut complained) = (before, false);
    let began = Instant::now();
    loop {
        match counters() {
            Ok(counters) => detector.look(Look {
                at: clock::now(),
                elapsed: began.elapsed(),
                counters,
            }),
            Err(file) => {
                if !complained {
                    complained = true;
                    tracing::error!("{file} cannot be understood: idleness is not detected");
                }
                detector.blind();
            }
        }
        if told != detector.idleness {
            told = detector.idleness;
            if events.send(Event::Idle(told)).await.is_err() {
                return;
            }
        }
        time::sleep(interval).await;
    }
}

/// How often to look for a timeout: often enough to be no later than a sixth of it.
fn interval(timeout: Duration) -> Duration {
    (timeout / 6).clamp(INTERVAL.0, INTERVAL.1)
}

fn counters() -> Result<Counters, &'static str> {
    let read = |path: &'static str| fs::read_to_string(path).map_err(|_| path);
    Ok(Counters {
        cpu: procfs::cpu_time(&read("/proc/stat")?).ok_or("/proc/stat")?,
        network: procfs::network_bytes(&read("/proc/net/dev")?).ok_or("/proc/net/dev")?,
        disk: procfs::disk_bytes(&read("/proc/diskstats")?),
    })
}

impl Detector {
    fn new(timeout: Duration, before: Option<Idleness>) -> Self {
        Self {
            // Not longer than half the timeout: any steady rate is noticed well before it.
            window: (timeout / 2).clamp(INTERVAL.0, MINUTE),
            looks: VecDeque::new(),
            idleness: before,
        }
    }

    fn look(&mut self, look: Look) {
        let old = |second: &Look| look.elapsed - second.elapsed >= self.window;
        while self.looks.get(1).is_some_and(old) {
            self.looks.pop_front();
        }
        match (self.looks.back().copied(), self.idleness) {
            (Some(last), _) if self.quiet(&last, &look) => {
                self.idleness.get_or_insert(Idleness {
                    since: last.at,
                    counters: last.counters,
                });
            }
            // An earlier agent saw idleness begin: it lasts if all that happened since is not more than
            // nothing much.
            (None, Some(before)) if quiet_since(&before, &look) => {}
            // Busy, or the first look of all, which has nothing to be compared with.
            _ => self.idleness = None,
        }
        self.looks.push_back(look);
    }

    /// Without counters nothing is known, and not known is not idle.
    fn blind(&mut self) {
        self.looks.clear();
        self.idleness = None;
    }

    fn quiet(&self, last: &Look, look: &Look) -> bool {
        let first = self.looks.front().unwrap_or(last);
        let allowed = self.window.max(look.elapsed.saturating_sub(first.elapsed));
        processors_quiet(last.counters.cpu, look.counters.cpu)
            && bytes_quiet(&first.counters, &look.counters, allowed)
    }
}

fn quiet_since(before: &Idleness, look: &Look) -> bool {
    let span = Timeout::between(before.since, look.at).into();
    processors_quiet(before.counters.cpu, look.counters.cpu)
        && bytes_quiet(&before.counters, &look.counters, span)
}

fn processors_quiet(from: CpuTime, to: CpuTime) -> bool {
    let busy = to.busy.saturating_sub(from.busy);
    let total = to.total.saturating_sub(from.total);
    if total == 0 {
        // No time has passed on this clock: nothing was done in it.
        return busy == 0;
    }
    let share = busy as f64 / total as f64;
    share < CPU_SHARE.min(CPU_CORES / f64::from(to.count))
}

fn bytes_quiet(from: &Counters, to: &Counters, span: Duration) -> bool {
    let minutes = span.as_secs_f64() / 60.0;
    let within = |from: u64, to: u64, per_minute: f64| {
        to.saturating_sub(from) as f64 <= per_minute * minutes
    };
    within(from.network, to.network, NETWORK_PER_MINUTE)
        && within(from.disk, to.disk, DISK_PER_MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose counters run as told, looked at as the agent does.
    struct Machine {
        detector: Detector,
        interval: Duration,
        processors: u32,
        now: Duration,
        counters: Counters,
    }

    /// What the machine does: part of one processor, bytes a second of network and disk.
    type Load = (f64, u64, u64);
    const QUIET: Load = (0.01, 100, 200);

    impl Machine {
        fn new(timeout: u64, processors: u32) -> Self {
            let timeout = Duration::from_secs(timeout);
            let mut machine = Self {
                detector: Detector::new(timeout, None),
                interval: interval(timeout),
                processors,
                now: Duration::ZERO,
                // Much was done before the agent came: the counters' height must not matter.
                counters: Counters {
                    cpu: CpuTime {
                        busy: 1 << 40,
                        total: 1 << 41,
                        count: processors,
                    },
                    network: 1 << 50,
                    disk: 1 << 50,
                },
            };
            machine.look();
            machine
        }

        fn at(&self) -> Timestamp {
            Timestamp::from_second(i64::try_from(self.now.as_secs()).unwrap()).unwrap()
        }

        fn look(&mut self) {
            let look = Look {
                at: self.at(),
                elapsed: self.now,
                counters: self.counters,
            };
            self.detector.look(look);
        }

        /// Lets the machine do this for so many looks.
        fn run(&mut self, looks: u32, (processors, network, disk): Load) -> &mut Self {
            for _ in 0..looks {
                let seconds = self.interval.as_secs();
                let ticks = seconds * 100;
                self.counters.cpu.total += ticks * u64::from(self.processors);
                self.counters.cpu.busy += (ticks as f64 * processors).round() as u64;
                self.counters.network += network * seconds;
                self.counters.disk += disk * seconds;
                self.now += self.interval;
                self.look();
            }
            self
        }

        fn idle_since(&self) -> Option<i64> {
            self.detector
                .idleness
                .map(|idleness| idleness.since.as_second())
        }
    }

    #[test]
    fn the_first_look_says_nothing_and_the_second_dates_idleness_from_the_first() {
        let mut machine = Machine::new(600, 2);
        assert_eq!(machine.idle_since(), None);
        assert_eq!(machine.run(1, QUIET).idle_since(), Some(0));
        assert_eq!(machine.run(50, QUIET).idle_since(), Some(0));
    }

    #[test]
    fn a06_each_of_processors_network_and_disk_alone_is_work() {
        for (name, load) in [
            ("5 % of 2 processors", (0.1, 0, 0)),
            ("200 KB of network a minute", (0.0, 3_400, 0)),
            ("200 KB of disk a minute", (0.0, 0, 3_400)),
        ] {
            let mut machine = Machine::new(600, 2);
            machine.run(7, load);
            assert_eq!(machine.idle_since(), None, "{name}");
            machine.run(10, load);
            assert_eq!(machine.idle_since(), None, "{name}");
            machine.run(12, QUIET);
            assert!(machine.idle_since().is_some(), "{name} is over");
        }
    }

    #[test]
    fn any_work_starts_the_time_anew() {
        let mut machine = Machine::new(600, 2);
        machine.run(30, QUIET).run(1, (1.5, 0, 0));
        assert_eq!(machine.idle_since(), None);
        assert_eq!(machine.run(1, QUIET).idle_since(), Some(310));
    }

    #[test]
    fn a_log_written_now_and_then_is_no_work() {
        let mut machine = Machine::new(600, 2);
        for _ in 0..20 {
            machine.run(1, (0.0, 0, 6_000)).run(5, (0.0, 0, 0));
        }
        assert_eq!(machine.idle_since(), Some(0));
    }

    #[test]
    fn one_thread_at_full_speed_is_work_on_192_processors() {
        let mut machine = Machine::new(600, 192);
        assert_eq!(machine.run(3, (1.0, 0, 0)).idle_since(), None);
        assert_eq!(machine.run(3, (0.2, 0, 0)).idle_since(), Some(30));
    }

    #[test]
    fn a_steady_rate_is_noticed_before_a_short_timeout_is_over() {
        let mut machine = Machine::new(12, 2);
        machine.run(4, (0.0, 4_000, 0));
        assert_eq!(machine.idle_since(), None, "240 KB a minute");
    }

    #[test]
    fn an_agent_that_comes_back_keeps_the_time_unless_something_went_on() {
        let mut machine = Machine::new(600, 2);
        let before = machine.run(20, QUIET).detector.idleness;
        for (away, kept) in [
            (QUIET, true),
            ((2.0, 0, 0), false),
            ((0.0, 50_000, 0), false),
        ] {
            machine.detector = Detector::new(Duration::from_secs(600), None);
            machine.run(6, away);
            machine.detector = Detector::new(Duration::from_secs(600), before);
            machine.look();
            assert_eq!(machine.idle_since().is_some(), kept, "{away:?}");
        }
    }

    #[test]
    fn counters_that_cannot_be_read_are_not_idleness() {
        let mut machine = Machine::new(600, 2);
        machine.run(5, QUIET);
        machine.detector.blind();
        assert_eq!(machine.idle_since(), None);
        machine.look();
        assert_eq!(machine.idle_since(), None, "the next is a first look again");
    }

    #[test]
    fn looks_are_a_sixth_of_the_timeout_apart_within_bounds() {
        let seconds = |timeout| interval(Duration::from_secs(timeout)).as_secs();
        assert_eq!([1, 12, 30, 60, 3_600].map(seconds), [1, 2, 5, 10, 10]);
    }
}
