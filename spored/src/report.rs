//! Writes the reports into the instance's tags: the newest one, soon, and again until it is written.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use spore_core::tags::Report;
use tokio::{
    sync::{Notify, mpsc, watch},
    time,
};

use crate::{agent::Event, ec2::Ec2};

/// Instances that were launched together have much to tell at the same moment: each waits up to this
/// long, so that EC2 does not have to refuse the crowd.
const JITTER: Duration = Duration::from_millis(500);
/// The shortest and the longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Where reports are handed in.
#[derive(Debug)]
pub(crate) struct Reporter {
    newest: watch::Sender<Option<Report>>,
    written: watch::Receiver<Option<Report>>,
    hurry: Arc<Notify>,
}

impl Reporter {
    /// Starts the task that writes.
    pub(crate) fn start(ec2: Arc<Ec2>, events: mpsc::Sender<Event>) -> Self {
        let (newest, to_write) = watch::channel(None);
        let (done, written) = watch::channel(None);
        let hurry = Arc::new(Notify::new());
        tokio::spawn(write(ec2, to_write, done, events, Arc::clone(&hurry)));
        Self {
            newest,
            written,
            hurry,
        }
    }

    /// Hands in a report; it takes the place of one that was not written yet.
    pub(crate) fn send(&self, report: Report) {
        self.newest.send_replace(Some(report));
    }

    /// Waits until the newest report is written, but not longer than this.
    pub(crate) fn flush(&self, within: Duration) -> impl Future<Output = ()> + use<> {
        let newest = self.newest.borrow().clone();
        let mut written = self.written.clone();
        let hurry = Arc::clone(&self.hurry);
        async move {
            if newest.is_none() || *written.borrow() == newest {
                return;
            }
            hurry.notify_one();
            let done = written.wait_for(|written| *written == newest);
            if time::timeout(within, done).await.is_err() {
                tracing::warn!("the last report is not written after {within:?}");
            }
        }
    }
}

async fn write(
    ec2: Arc<Ec2>,
    mut newest: watch::Receiver<Option<Report>>,
    done: watch::Sender<Option<Report>>,
    events: mpsc::Sender<Event>,
    hurry: Arc<Notify>,
) {
    while newest.changed().await.is_ok() {
        let mut backoff = BACKOFF.0;
        pause(random_part(JITTER), &hurry).await;
        loop {
            let Some(report) = newest.borrow_and_update().clone() else {
                break;
            };
            match ec2.tag(report.to_tags()).await {
                Ok(()) => {
                    done.send_replace(Some(report.clone()));
                    let _ = events.send(Event::Reported(report)).await;
                    break;
                }
                Err(error) => tracing::warn!("cannot report (again in {backoff:?}): {error}"),
            }
            pause(backoff / 2 + random_part(backoff / 2), &hurry).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }
}

/// Waits, unless somebody is in a hurry.
async fn pause(time: Duration, hurry: &Notify) {
    tokio::select! {
        () = time::sleep(time) => {}
        () = hurry.notified() => {}
    }
}

/// A random part of a span. The hasher's keys are random, and nothing depends on how random.
fn random_part(span: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    span.mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_part_is_a_part() {
        let parts: Vec<_> = (0..100).map(|_| random_part(BACKOFF.1)).collect();
        assert!(parts.iter().all(|&part| part <= BACKOFF.1));
        assert!(parts.iter().any(|&part| part != parts[0]));
    }
}
