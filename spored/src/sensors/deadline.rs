//! The deadline in the instance's own tags, which the controller moves when a life is extended.
//!
//! Read from the metadata service, which costs no API call.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use spore_core::tags;
use tokio::{sync::mpsc, time};

use crate::{agent::Event, imds::Imds};

/// How often the tag is read.
const POLL: Duration = Duration::from_secs(5);

/// Reads the tag once. What cannot be read or understood is no deadline.
pub(crate) async fn read(imds: &Imds) -> Option<Timestamp> {
    let text = match imds.get(&format!("tags/instance/{}", tags::DEADLINE)).await {
        Ok(text) => text?,
        Err(error) => {
            tracing::debug!("cannot read the deadline's tag: {error}");
            return None;
        }
    };
    text.trim()
        .parse()
        .inspect_err(|error| tracing::debug!("the deadline's tag {text:?} is ignored: {error}"))
        .ok()
}

/// Reads the tag for ever and tells when it changes.
pub(crate) async fn watch(imds: Arc<Imds>, events: mpsc::Sender<Event>) {
    let mut told = None;
    loop {
        let deadline = read(&imds).await;
        if let Some(deadline) = deadline.filter(|_| deadline != told) {
            told = Some(deadline);
            if events.send(Event::Deadline(deadline)).await.is_err() {
                return;
            }
        }
        time::sleep(POLL).await;
    }
}
