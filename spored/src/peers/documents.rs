//! The peers as programs on the instance read them.

use std::net::Ipv4Addr;

use serde::Serialize;
use spore_core::peers::{Peer, Peers};

use super::hosts::Entry;
use crate::member::Group;

/// A peer as programs read it. The names are those that job arrays have always had.
#[derive(Serialize)]
struct PeerDocument<'a> {
    index: u32,
    instance_id: &'a str,
    /// The address at which members reach each other.
    ip: Ipv4Addr,
    dns: String,
    private_ip: Ipv4Addr,
    public_ip: Option<Ipv4Addr>,
}

/// The array as programs read it.
#[derive(Serialize)]
struct ArrayDocument<'a> {
    version: u32,
    id: &'a str,
    name: &'a str,
    size: usize,
    peers: Vec<PeerDocument<'a>>,
}

/// The file of the peers: a JSON array, sorted by index.
pub(super) fn peers(group: &Group, peers: &Peers) -> Vec<u8> {
    json(&list(group, peers))
}

/// The file beside it, which says what the list is of.
pub(super) fn array(group: &Group, peers: &Peers) -> Vec<u8> {
    json(&ArrayDocument {
        version: peers.version,
        id: &group.id,
        name: &group.name,
        size: peers.peers.len(),
        peers: list(group, peers),
    })
}

/// The names of the peers: each has its own, and all have that of the array.
pub(super) fn host_names(group: &Group, peers: &Peers) -> Vec<Entry> {
    let entry = |peer: &Peer| Entry {
        address: peer.private_ip,
        names: vec![host_name(group, peer), group.name.clone()],
    };
    peers.peers.iter().map(entry).collect()
}

fn list<'a>(group: &Group, peers: &'a Peers) -> Vec<PeerDocument<'a>> {
    let document = |peer: &'a Peer| PeerDocument {
        index: peer.index,
        instance_id: &peer.instance_id,
        ip: peer.private_ip,
        dns: host_name(group, peer),
        private_ip: peer.private_ip,
        public_ip: peer.public_ip,
    };
    peers.peers.iter().map(document).collect()
}

fn host_name(group: &Group, peer: &Peer) -> String {
    format!("{}-{}", group.name, peer.index)
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("a document has only string keys");
    json.push(b'\n');
    json
}
