//! Waiting for something to become true, with a deadline instead of a sleep.

use std::{panic::Location, time::Duration};

use tokio::time::{Instant, sleep};

/// Asks again and again until `probe` gives an answer, and returns it.
///
/// # Panics
/// When there is none within `timeout`; the message says what was waited for, and where.
#[track_caller]
pub fn eventually<T, F, Fut>(
    what: &str,
    timeout: Duration,
    probe: F,
) -> impl Future<Output = T> + use<'_, T, F, Fut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let caller = Location::caller();
    async move {
        match poll(timeout, probe).await {
            Some(answer) => answer,
            None => panic!("not within {timeout:?}: {what} (waited for at {caller})"),
        }
    }
}

/// The same for callers that go on without an answer.
pub async fn poll<T, F, Fut>(timeout: Duration, mut probe: F) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(10);
    loop {
        // Also bounds a probe that hangs; the last one still gets a moment of its own.
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_secs(1));
        if let Ok(Some(answer)) = tokio::time::timeout(left, probe()).await {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
