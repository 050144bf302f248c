//! The peers in the instance's own tags, which the controller writes once all members run, and again
//! when one is replaced.
//!
//! Read from the metadata service, which costs no API call.

use std::{sync::Arc, time::Duration};

use spore_core::{
    peers::{self, DecodeError, HEADER, Header, Peers},
    tags::Tags,
};
use tokio::{sync::watch, time};

use crate::{
    imds::{self, Imds},
    member::Group,
    peers::Places,
};

/// How often the tags are read until there are peers: everybody waits for them.
const POLL_SOON: Duration = Duration::from_secs(2);
/// How often they are read then.
const POLL: Duration = Duration::from_secs(5);

/// Why there is nothing new to read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Imds(#[from] imds::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Reads the tags for ever, writes each newer version, and tells which one is written.
pub(crate) async fn watch(imds: Arc<Imds>, group: Group, told: watch::Sender<Option<u32>>) {
    let places = Places::of_machine();
    // An agent that comes back writes what it finds once more, but nothing older than before: tags
    // may be late.
    let mut least = places.version(&group).unwrap_or(0);
    let mut complaint = String::new();
    loop {
        match read(&imds, least).await {
            Ok(Some(peers)) => match places.write(&group, &peers) {
                Ok(()) => {
                    let Peers { version, peers } = peers;
                    tracing::info!("the addresses of {} peers, version {version}", peers.len());
                    told.send_replace(Some(version));
                    least = version.saturating_add(1);
                }
                Err(error) => tracing::error!("the peers are not told: {error}"),
            },
            Ok(None) => {}
            // What is being written is whole a moment later; what another build writes never is.
            Err(error @ (Error::Imds(_) | Error::Decode(DecodeError::Partial { .. }))) => {
                tracing::debug!("cannot read the peers yet: {error}");
            }
            Err(error) if error.to_string() == complaint => {}
            Err(error) => {
                complaint = error.to_string();
                tracing::error!("{complaint}");
            }
        }
        let poll = if told.borrow().is_some() {
            POLL
        } else {
            POLL_SOON
        };
        time::sleep(poll).await;
    }
}

/// Reads the list if it is of this version or a newer one.
async fn read(imds: &Imds, least: u32) -> Result<Option<Peers>, Error> {
    let mut tags = Tags::new();
    let Some(text) = tag(imds, HEADER).await? else {
        return Ok(None);
    };
    let header = text.trim().parse::<Header>()?;
    if header.version < least {
        return Ok(None);
    }
    tags.insert(HEADER.to_owned(), text.trim().to_owned());
    for key in (0..header.parts).map(peers::part_key) {
        let Some(part) = tag(imds, &key).await? else {
            break;
        };
        tags.insert(key, part.trim().to_owned());
    }
    Ok(peers::decode(&tags)?)
}

async fn tag(imds: &Imds, key: &str) -> Result<Option<String>, imds::Error> {
    imds.get(&format!("tags/instance/{key}")).await
}
