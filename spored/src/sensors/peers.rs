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

/// Why the newest list is not written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Imds(#[from] imds::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Write(#[from] crate::peers::Error),
}

impl Error {
    /// Whether it heals by itself in the next moments: what is being written is whole soon, what another
    /// build writes never is.
    fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Imds(_) | Self::Decode(DecodeError::Partial { .. })
        )
    }
}

/// Reads the tags for ever, writes each newer version, and tells which one is written.
pub(crate) async fn watch(imds: Arc<Imds>, group: Group, told: watch::Sender<Option<u32>>) {
    let places = Places::of_machine();
    // An agent that comes back writes what it finds once more, but nothing older than before: tags
    // may be late.
    let mut least = places.version(&group).unwrap_or(0);
    let mut complaint = String::new();
    loop {
        match update(&imds, &group, &places, least).await {
            Ok(None) => {}
            Ok(Some(version)) => {
                told.send_replace(Some(version));
                least = version.saturating_add(1);
            }
            Err(error) if error.is_passing() => tracing::debug!("no peers yet: {error}"),
            Err(error) => {
                let text = format!("the peers are not told: {}", imds::chain(&error));
                if text != complaint {
                    tracing::error!("{text}");
                }
                complaint = text;
            }
        }
        let known = told.borrow().is_some();
        time::sleep(if known { POLL } else { POLL_SOON }).await;
    }
}

/// Writes the list in the tags if it is of this version or a newer one; says which one it is.
async fn update(
    imds: &Imds,
    group: &Group,
    places: &Places,
    least: u32,
) -> Result<Option<u32>, Error> {
    let Some(list) = read(imds, least).await? else {
        return Ok(None);
    };
    places.write(group, &list)?;
    let Peers { version, peers } = list;
    tracing::info!("the addresses of {} peers, version {version}", peers.len());
    Ok(Some(version))
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
