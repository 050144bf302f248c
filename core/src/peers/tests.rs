//! Lists that are written, read, mixed and measured.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tags::{Identity, Kind};

/// A list of so many members in a network of 20 bits, with ids as EC2 gives them.
fn list(count: u32, public: bool) -> Vec<Peer> {
    (0..count)
        .map(|index| {
            let noise = Sha256::digest(index.to_be_bytes());
            let id = u64::from_be_bytes(noise[..8].try_into().unwrap());
            let [a, b, c, d] = noise[8..12].try_into().unwrap();
            Peer {
                index,
                instance_id: format!("i-0{id:016x}"),
                private_ip: Ipv4Addr::from(0xac1f_3000 | (index * 7 % 4_096)),
                public_ip: public.then_some(Ipv4Addr::new(a, b, c, d)),
            }
        })
        .collect()
}

/// The tags that an array's member is launched with if its user gives none.
fn identity() -> Tags {
    let uid = "0f6d5a0e-5b0c-4f4e-9d4e-6f1f7b1f2a3c";
    Identity {
        cluster: uid.into(),
        uid: uid.into(),
        parent: uid.into(),
        owner: "ns/name".into(),
        kind: Kind::SporeArray,
        attempt: 1,
        deadline: Some(jiff::Timestamp::UNIX_EPOCH),
        members: Some("0-99".parse().unwrap()),
    }
    .to_tags()
}

fn capacity(free: usize, public: bool) -> usize {
    match encode(1, &list(4_000, public), free) {
        Err(EncodeError::TooMany(TooMany { count: 4_000, fit })) => fit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_capacity_is_as_documented() {
    let free = free_tags(&identity());
    assert_eq!(free, 28);
    assert_eq!(capacity(free, false), 545);
    assert_eq!(capacity(free, true), 383);
    assert_eq!(
        capacity(free - 5, false),
        444,
        "with five tags of the user's"
    );
    for public in [false, true] {
        let fit = u32::try_from(capacity(free, public)).unwrap();
        let tags = encode(1, &list(fit, public), free).unwrap();
        assert_eq!(tags.len(), free);
        assert!(encode(1, &list(fit + 1, public), free).is_err());
    }
    assert_eq!((capacity(1, false), capacity(0, false)), (0, 0));
}

#[test]
fn tags_that_are_counted_are_those_that_stay() {
    let mut tags = identity();
    tags.extend(encode(1, &list(100, true), 28).unwrap());
    tags.insert("aws:ec2:fleet-id".into(), "f".into());
    tags.insert(tags::MESSAGE.into(), "told".into());
    assert_eq!(free_tags(&tags), 28);
    tags.insert("team".into(), "vision".into());
    assert_eq!(free_tags(&tags), 27);
    tags.extend((0..40).map(|n| (format!("t{n}"), String::new())));
    assert_eq!(free_tags(&tags), 0);
}

#[test]
fn only_a_complete_list_of_instances_is_written() {
    let mut peers = list(4, false);
    peers.reverse();
    assert_eq!(
        decode(&encode(7, &peers, 28).unwrap()),
        Ok(Some(Peers {
            version: 7,
            peers: list(4, false)
        })),
        "the order does not matter"
    );
    let gap = [list(4, false)[0].clone(), list(4, false)[2].clone()];
    assert_eq!(
        encode(1, &gap, 28),
        Err(EncodeError::Incomplete { index: 1 })
    );
    let twice = [list(1, false), list(1, false)].concat();
    assert_eq!(
        encode(1, &twice, 28),
        Err(EncodeError::Incomplete { index: 1 })
    );
    let same = {
        let mut peers = list(2, false);
        peers[1].instance_id = peers[0].instance_id.clone();
        encode(1, &peers, 28)
    };
    assert!(
        matches!(same, Err(EncodeError::InvalidId { index: 1, .. })),
        "{same:?}"
    );
    for id in [
        "",
        "i-",
        "i-123",
        "i-0123456789ABCDEF0",
        "vol-0123456789abcdef0",
    ] {
        let mut peers = list(1, false);
        peers[0].instance_id = id.into();
        let refused = encode(1, &peers, 28);
        assert!(
            matches!(refused, Err(EncodeError::InvalidId { index: 0, .. })),
            "{id}"
        );
    }
}

#[test]
fn what_another_build_writes_is_named() {
    let tags = |header: &str| Tags::from([(HEADER.to_owned(), header.to_owned())]);
    assert_eq!(decode(&tags("2:who:knows")), Err(DecodeError::Schema(2)));
    for header in ["", "1", "1:2:3:4", "1:2:3:4:5:6", "1:2:3:50:5", "a:b"] {
        assert!(
            matches!(decode(&tags(header)), Err(DecodeError::Garbled(_))),
            "{header}"
        );
    }
    assert_eq!(decode(&Tags::new()), Ok(None));
    assert_eq!(
        decode(&tags("1:2:3:1:x")),
        Err(DecodeError::Partial { version: 2 })
    );
}

#[test]
fn a_header_that_promises_the_world_asks_for_no_memory() {
    let mut header = Header {
        version: 1,
        count: u32::MAX,
        parts: 1,
        checksum: String::new(),
    };
    header.checksum = checksum(&header, "AAAA");
    let tags = Tags::from([
        (HEADER.to_owned(), header.to_string()),
        (part_key(0), "AAAA".into()),
    ]);
    assert!(matches!(decode(&tags), Err(DecodeError::Garbled(_))));
}

fn ids() -> impl Strategy<Value = Vec<String>> {
    let id = prop_oneof!["i-0[0-9a-f]{16}", "i-[0-9a-f]{17}", "i-[0-9a-f]{8}"];
    proptest::collection::btree_set(id, 0..60).prop_map(|ids| ids.into_iter().collect())
}

fn lists() -> impl Strategy<Value = Vec<Peer>> {
    let network = prop_oneof![Just(u32::MAX), Just(0xfff), Just(0)];
    let publics = prop_oneof![Just([false; 2]), Just([false, true]), Just([true; 2])];
    (ids(), any::<u32>(), network, publics).prop_flat_map(|(ids, base, network, publics)| {
        let addresses = any::<(u32, u32, bool)>();
        proptest::collection::vec(addresses, ids.len()).prop_map(move |addresses| {
            (0..)
                .zip(ids.clone())
                .zip(addresses)
                .map(|((index, instance_id), (private, public, flag))| Peer {
                    index,
                    instance_id,
                    private_ip: Ipv4Addr::from(base & !network | private & network),
                    public_ip: publics[usize::from(flag)].then(|| Ipv4Addr::from(public)),
                })
                .collect()
        })
    })
}

proptest! {
    #[test]
    fn a_list_reads_back_and_its_tags_are_legal(peers in lists(), version in any::<u32>()) {
        let tags = encode(version, &peers, MAX_TAGS).unwrap();
        for (key, value) in &tags {
            prop_assert!(is_peers_key(key));
            prop_assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c)));
            prop_assert!(value.chars().count() <= MAX_VALUE);
            prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "+-=._:/@".contains(c)));
        }
        prop_assert_eq!(decode(&tags), Ok(Some(Peers { version, peers })));
    }

    #[test]
    fn parts_of_two_versions_are_never_one_list(one in lists(), two in lists(), choice in any::<u64>()) {
        let written = [(1, one), (2, two)].map(|(version, peers)| {
            (encode(version, &peers, MAX_TAGS).unwrap(), Peers { version, peers })
        });
        let keys = written.iter().flat_map(|(tags, _)| tags.keys()).collect::<BTreeSet<_>>();
        // Each tag is of one write or of the other, where that has it.
        let mixed = keys
            .into_iter()
            .enumerate()
            .filter_map(|(position, key)| {
                let (tags, _) = &written[(choice >> (position % 64) & 1) as usize];
                Some((key.clone(), tags.get(key)?.clone()))
            })
            .collect::<BTreeMap<_, _>>();
        if let Ok(Some(read)) = decode(&mixed) {
            prop_assert!(written.iter().any(|(_, peers)| *peers == read), "{:?}", read);
        }
    }

    #[test]
    fn a_list_with_one_character_changed_is_not_read(peers in lists(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9+/:]") {
        let mut tags = encode(3, &peers, MAX_TAGS).unwrap();
        let places = tags
            .iter()
            .flat_map(|(key, value)| (0..value.len()).map(move |place| (key.clone(), place)))
            .collect::<Vec<_>>();
        let (key, place) = at.get(&places);
        let value = tags.get_mut(key).unwrap();
        prop_assume!(value[*place..=*place] != *to);
        value.replace_range(*place..=*place, &to);
        prop_assert!(decode(&tags).is_err());
    }

    #[test]
    fn any_tags_are_read_without_panic(
        header in "1:[0-9]{1,3}:[0-9]{1,3}:[0-3]:[0-9a-f]{16}|\\PC{0,40}",
        parts in proptest::collection::vec("\\PC{0,40}", 0..4),
    ) {
        let mut tags = Tags::from([(HEADER.to_owned(), header)]);
        tags.extend((0..).map(part_key).zip(parts));
        let _ = decode(&tags);
    }

    #[test]
    fn any_payload_is_unpacked_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), count in 0..100_u32) {
        if let Some(peers) = payload::unpack(&bytes, count) {
            prop_assert_eq!(peers.len(), count as usize);
        }
    }
}
