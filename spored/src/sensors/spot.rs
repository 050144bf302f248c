//! EC2's notice that it takes a Spot instance back, two minutes ahead.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::{sync::mpsc, time};

use crate::{agent::Event, imds::Imds};

/// How often the notice is looked for; EC2's documentation asks for this.
const POLL: Duration = Duration::from_secs(5);

/// EC2 takes the instance back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Notice {
    /// What EC2 does to the instance: `terminate`, `stop` or `hibernate`.
    pub(crate) action: String,
    /// When.
    pub(crate) time: Timestamp,
}

/// Looks for the notice, tells it, and returns. Returns at once if this is no Spot instance.
pub(crate) async fn watch(imds: Arc<Imds>, events: mpsc::Sender<Event>) {
    loop {
        match imds.get("instance-life-cycle").await {
            Ok(Some(market)) if market.trim() == "spot" => break,
            Ok(_) => return,
            Err(error) => tracing::debug!("cannot tell whether this is a Spot instance: {error}"),
        }
        time::sleep(POLL).await;
    }
    loop {
        match imds.get("spot/instance-action").await {
            Ok(None) => {}
            Ok(Some(text)) => match serde_json::from_str::<Notice>(&text) {
                Ok(notice) => {
                    let _ = events.send(Event::Spot(notice)).await;
                    return;
                }
                Err(error) => tracing::error!("the Spot notice {text:?} is not readable: {error}"),
            },
            Err(error) => tracing::debug!("cannot look for a Spot notice: {error}"),
        }
        time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_is_read_as_ec2_writes_it() {
        let text = r#"{"action": "terminate", "time": "2026-09-18T08:22:00Z"}"#;
        let notice: Notice = serde_json::from_str(text).unwrap();
        assert_eq!(notice.action, "terminate");
        assert_eq!(notice.time, "2026-09-18T08:22:00Z".parse().unwrap());
    }
}
