//! The addresses of all members of an array, as tags that every member carries: the controller writes
//! them once all members run, and the agent of each reads them through its metadata service.
//!
//! | tag | holds |
//! |---|---|
//! | `spawn:peers` | the header: schema, version, number of members, number of parts, checksum |
//! | `spawn:peers-0`, `spawn:peers-1`, … | the parts of the payload, in base64 |
//!
//! A list is complete or absent. Tags are not written all at once for a reader, and those of an older
//! and longer list stay behind; the checksum covers all that the header says and the whole payload, so
//! that parts of two versions are never taken for one list.
//!
//! **Capacity.** An instance has 50 tags. Without tags of the user's, [`free_tags`] leaves 28 for this,
//! which hold 545 members that have only private addresses in one network of 20 bits, and 383 with a
//! public address each. Each tag of the user's costs about 20 and 14 members. A test measures it.

mod bits;
mod payload;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::tags::{self, MAX_TAGS, MAX_VALUE, Report, Tags};

/// Key of the header.
pub const HEADER: &str = "spawn:peers";
/// What the keys of the parts begin with; their number follows.
const PART: &str = "spawn:peers-";
/// Version of this format.
const SCHEMA: u32 = 1;

/// A member of an array as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its index.
    pub index: u32,
    /// Its EC2 id.
    pub instance_id: String,
    /// Its address in the VPC.
    pub private_ip: Ipv4Addr,
    /// Its address on the internet, if it has one.
    pub public_ip: Option<Ipv4Addr>,
}

/// All members of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Counts up with every change of the list.
    pub version: u32,
    /// The members, indexes 0 to their number less one.
    pub peers: Vec<Peer>,
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the list.
    pub version: u32,
    /// How many members there are.
    pub count: u32,
    /// How many parts the payload has.
    pub parts: u32,
    /// See [`checksum`].
    checksum: String,
}

/// Why a list cannot be written into tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The tags do not hold it.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// A member is missing, or there twice.
    #[error("the list of peers is not complete: index {index} is missing or there twice")]
    Incomplete {
        /// The first index that is not there once.
        index: u32,
    },
    /// An instance id is not of the form that EC2 gives, or two members have the same.
    #[error(
        "the instance id {id:?} of the peer with index {index} is none that EC2 gives, or is there twice"
    )]
    InvalidId {
        /// Whose.
        index: u32,
        /// The id.
        id: String,
    },
}

/// The list is longer than the tags hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the addresses of {count} members do not fit into the tags of an instance, only those of {fit}: use fewer tags of your own, or a smaller array"
)]
pub struct TooMany {
    /// How many members there are.
    pub count: usize,
    /// How many of them, from index 0 on, would fit.
    pub fit: usize,
}

/// Why tags hold no list although they have a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another build wrote it.
    #[error("the peers are written in schema {0}, and this build reads schema {SCHEMA}")]
    Schema(u32),
    /// Not all of it is there, or parts of several versions are: it is being written.
    #[error("version {version} of the peers is not there as a whole")]
    Partial {
        /// The version that the header tells.
        version: u32,
    },
    /// It is nothing that [`encode`] writes.
    #[error("the tags of the peers are garbled: {0}")]
    Garbled(&'static str),
}

/// How many tags a list may take on an instance that has these tags (its identity and the user's),
/// with room left for all that the agent reports. Tags of EC2's own do not count, nor does a list that
/// is there already.
#[must_use]
pub fn free_tags(tags: &Tags) -> usize {
    let others = tags
        .keys()
        .map(String::as_str)
        .filter(|key| !is_peers_key(key) && !key.starts_with("aws:"));
    let taken = others.chain(Report::KEYS).collect::<BTreeSet<_>>();
    MAX_TAGS.saturating_sub(taken.len())
}

/// Whether a tag belongs to a list of peers.
#[must_use]
pub fn is_peers_key(key: &str) -> bool {
    key == HEADER || key.starts_with(PART)
}

/// The key of a part, counted from 0.
#[must_use]
pub fn part_key(part: u32) -> String {
    format!("{PART}{part}")
}

/// Writes the list of all members, in any order, into at most `free_tags` tags. The same list in the
/// same version gives the same tags.
///
/// # Errors
/// If the list is too long for so many tags, is not complete, or names what is no instance.
pub fn encode(version: u32, peers: &[Peer], free_tags: usize) -> Result<Tags, EncodeError> {
    let mut peers = peers.to_vec();
    peers.sort_by_key(|peer| peer.index);
    check(&peers)?;
    let parts = parts(&peers);
    if parts.len() >= free_tags {
        return Err(TooMany {
            count: peers.len(),
            fit: fit(&peers, free_tags),
        }
        .into());
    }
    let number = |length: usize| u32::try_from(length).expect("an index is a u32");
    let mut header = Header {
        version,
        count: number(peers.len()),
        parts: number(parts.len()),
        checksum: String::new(),
    };
    header.checksum = checksum(&header, &parts.concat());
    let parts = (0..).map(part_key).zip(parts);
    Ok(parts
        .chain([(HEADER.to_owned(), header.to_string())])
        .collect())
}

/// Reads the list out of an instance's tags; `None` if it has none.
///
/// # Errors
/// If there is a header, but not the whole list that it tells of.
pub fn decode(tags: &Tags) -> Result<Option<Peers>, DecodeError> {
    let Some(header) = tags.get(HEADER) else {
        return Ok(None);
    };
    let header = header.parse::<Header>()?;
    let (version, count) = (header.version, header.count);
    let parts = (0..header.parts)
        .map(|part| tags.get(&part_key(part)).map(String::as_str))
        .collect::<Option<String>>();
    let payload = parts
        .filter(|payload| checksum(&header, payload) == header.checksum)
        .ok_or(DecodeError::Partial { version })?;
    let bytes = STANDARD_NO_PAD
        .decode(payload)
        .map_err(|_| DecodeError::Garbled("the payload is not base64"))?;
    let peers = payload::unpack(&bytes, count).ok_or(DecodeError::Garbled(
        "the payload holds another number of members",
    ))?;
    Ok(Some(Peers { version, peers }))
}

fn check(peers: &[Peer]) -> Result<(), EncodeError> {
    let mut ids = BTreeSet::new();
    for (index, peer) in (0..).zip(peers) {
        if peer.index != index {
            return Err(EncodeError::Incomplete { index });
        }
        let id = &peer.instance_id;
        if payload::parse_id(id).is_none() || !ids.insert(id) {
            let id = id.clone();
            return Err(EncodeError::InvalidId { index, id });
        }
    }
    Ok(())
}

/// The payload, cut into values of tags.
fn parts(peers: &[Peer]) -> Vec<String> {
    let text = STANDARD_NO_PAD.encode(payload::pack(peers));
    text.as_bytes()
        .chunks(MAX_VALUE)
        .map(|part| part.iter().copied().map(char::from).collect())
        .collect()
}

/// How many of the first peers fit. A longer list never takes fewer tags.
fn fit(peers: &[Peer], free_tags: usize) -> usize {
    let (mut fits, mut beyond) = (0, peers.len());
    while fits + 1 < beyond {
        let middle = usize::midpoint(fits, beyond);
        if parts(&peers[..middle]).len() < free_tags {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    fits
}

/// 16 hexadecimal digits over what the header says and the whole payload.
fn checksum(header: &Header, payload: &str) -> String {
    let Header {
        version,
        count,
        parts,
        checksum: _,
    } = header;
    let digest = Sha256::digest(format!("{SCHEMA}:{version}:{count}:{parts}:{payload}"));
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            count,
            parts,
            checksum,
        } = self;
        write!(f, "{SCHEMA}:{version}:{count}:{parts}:{checksum}")
    }
}

impl FromStr for Header {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let garbled = || DecodeError::Garbled("the header is not of the form 1:2:3:4:checksum");
        let mut fields = text.split(':');
        let mut number = || {
            let field = fields.next().ok_or_else(garbled)?;
            field.parse::<u32>().map_err(|_| garbled())
        };
        let schema = number()?;
        if schema != SCHEMA {
            return Err(DecodeError::Schema(schema));
        }
        let (version, count, parts) = (number()?, number()?, number()?);
        let checksum = fields.next().ok_or_else(garbled)?.to_owned();
        if fields.next().is_some() || parts as usize >= tags::MAX_TAGS {
            return Err(garbled());
        }
        Ok(Self {
            version,
            count,
            parts,
            checksum,
        })
    }
}
