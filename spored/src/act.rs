//! Ends the instance: through EC2, and by power-off if EC2 does not.

use std::{sync::Arc, time::Duration};

use spore_core::lifecycle::Action;
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{ec2::Ec2, power_off};

/// How long EC2 may refuse or be silent before the machine powers itself off, which its shutdown
/// behaviour makes a termination. A stop is only asked for: a power-off would cost the disks that a stop
/// is to keep, and the deadline turns it into a termination in time.
const EC2_PATIENCE: Duration = Duration::from_secs(30);
/// How long an instance may go on after EC2 agreed to end it.
const MACHINE_PATIENCE: Duration = Duration::from_secs(120);
/// When EC2 is asked again although it agreed.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// The shortest and the longest wait after a refusal.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// When a power-off that had no effect is tried again.
const POWER_OFF_AGAIN: Duration = Duration::from_secs(60);

/// What to do after EC2 answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    power_off: bool,
    wait: Duration,
}

/// How far the attempts to end the instance went. Times are counted from the first attempt.
#[derive(Debug)]
struct Escalation {
    powered_off: Option<Duration>,
    backoff: Duration,
}

/// Ends the instance and goes on trying until the machine dies under it. What is asked of EC2 may change
/// meanwhile.
pub(crate) async fn end(ec2: Arc<Ec2>, action: watch::Receiver<Option<Action>>) {
    let began = Instant::now();
    let mut escalation = Escalation::new();
    loop {
        let Some(wanted) = *action.borrow() else {
            return;
        };
        let answer = ec2.end(wanted).await;
        let next = escalation.next(began.elapsed(), wanted, answer.is_ok());
        match answer {
            Ok(()) => tracing::info!("EC2 agreed to end this instance: {wanted:?}"),
            Err(error) => tracing::error!("this instance does not end yet: {error}"),
        }
        if next.power_off {
            power_off::now().await;
        }
        time::sleep(next.wait).await;
    }
}

impl Escalation {
    fn new() -> Self {
        Self {
            powered_off: None,
            backoff: BACKOFF.0,
        }
    }

    fn next(&mut self, elapsed: Duration, wanted: Action, agreed: bool) -> Next {
        let wait = if agreed {
            self.backoff = BACKOFF.0;
            ASK_AGAIN
        } else {
            let wait = self.backoff;
            self.backoff = (wait * 2).min(BACKOFF.1);
            wait
        };
        let refused = !agreed && elapsed >= EC2_PATIENCE;
        let stuck = elapsed >= MACHINE_PATIENCE;
        let again = self
            .powered_off
            .is_none_or(|at| elapsed >= at + POWER_OFF_AGAIN);
        let power_off = wanted == Action::Terminate && (refused || stuck) && again;
        if power_off {
            self.powered_off = Some(elapsed);
        }
        Next { power_off, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets EC2 answer so for some minutes, each call taking a second; when was the power cut?
    fn power_offs(agreed: impl Fn(u64) -> bool) -> Vec<u64> {
        power_offs_for(Action::Terminate, agreed)
    }

    fn power_offs_for(wanted: Action, agreed: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut escalation = Escalation::new();
        let (mut now, mut cut) = (0, Vec::new());
        while now < 240 {
            now += 1;
            let next = escalation.next(Duration::from_secs(now), wanted, agreed(now));
            if next.power_off {
                cut.push(now);
            }
            now += next.wait.as_secs();
        }
        cut
    }

    #[test]
    fn a_refusal_of_half_a_minute_cuts_the_power_and_again_every_minute() {
        let cut = power_offs(|_| false);
        assert!((30..=45).contains(&cut[0]), "{cut:?}");
        assert!(
            cut.windows(2).all(|pair| pair[1] - pair[0] >= 60),
            "{cut:?}"
        );
        assert!(cut.len() >= 3, "{cut:?}");
    }

    #[test]
    fn a_stop_that_is_refused_never_cuts_the_power() {
        assert!(power_offs_for(Action::Stop, |_| false).is_empty());
    }

    #[test]
    fn an_agreement_is_trusted_for_two_minutes() {
        let cut = power_offs(|_| true);
        assert!((120..=160).contains(&cut[0]), "{cut:?}");
    }

    #[test]
    fn a_short_refusal_is_only_retried() {
        let cut = power_offs(|now| now > 10);
        assert!(cut[0] >= 120, "{cut:?}");
    }

    #[test]
    fn refusals_are_retried_slower_and_slower() {
        let mut escalation = Escalation::new();
        let waits: Vec<_> = (1..7)
            .map(|n| {
                escalation
                    .next(Duration::from_secs(n), Action::Terminate, false)
                    .wait
                    .as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    }
}
