//! The peers as bytes: columns of numbers, each with what all of them begin with written once.
//!
//! A random instance id cannot be made shorter than its digits, but the first ones are mostly the same
//! (`i-0…`), and so are the networks of the addresses. Indexes are not written: they are 0, 1, 2, …

use std::net::Ipv4Addr;

use super::{
    Peer,
    bits::{BitReader, BitWriter},
};

/// Hexadecimal digits of an instance id: of today's, and of those before 2016 (EC2 User Guide,
/// "Longer IDs").
const LONG: u32 = 17;
/// See [`LONG`].
const SHORT: u32 = 8;
/// Width of the number that says how many digits of an id, or bits of an address, all share.
const SHARED_WIDTH: u32 = 7;
/// Width of the choices below.
const CHOICE_WIDTH: u32 = 2;
/// All ids are long; all have a public address.
const ALL: u128 = 0;
/// All ids are short; none has a public address.
const NONE: u128 = 1;
/// Each one says which.
const SOME: u128 = 2;

/// An instance id as a number and how many hexadecimal digits it has; `None` if it is none.
pub(super) fn parse_id(id: &str) -> Option<(u128, u32)> {
    let digits = id.strip_prefix("i-")?;
    let width = u32::try_from(digits.len()).ok()?;
    let plain = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !plain || !matches!(width, LONG | SHORT) {
        return None;
    }
    Some((u128::from_str_radix(digits, 16).ok()?, width))
}

fn write_id(number: u128, width: u32) -> String {
    format!("i-{number:0width$x}", width = width as usize)
}

/// Packs peers whose ids are valid; they are taken in the order given.
pub(super) fn pack(peers: &[Peer]) -> Vec<u8> {
    let mut out = BitWriter::default();
    if peers.is_empty() {
        return out.finish();
    }
    let ids = peers
        .iter()
        .filter_map(|peer| parse_id(&peer.instance_id))
        .collect::<Vec<_>>();
    pack_ids(&mut out, &ids);
    let private = peers.iter().map(|peer| address(peer.private_ip));
    pack_column(&mut out, 32, &private.collect::<Vec<_>>());
    let public = peers
        .iter()
        .filter_map(|peer| peer.public_ip.map(address))
        .collect::<Vec<_>>();
    let choice = choice(public.len() == peers.len(), public.is_empty());
    out.put(choice, CHOICE_WIDTH);
    if choice == SOME {
        for peer in peers {
            out.put(u128::from(peer.public_ip.is_some()), 1);
        }
    }
    if choice != NONE {
        pack_column(&mut out, 32, &public);
    }
    out.finish()
}

/// Unpacks so many peers; `None` if these bytes are not what [`pack`] writes for so many.
pub(super) fn unpack(bytes: &[u8], count: u32) -> Option<Vec<Peer>> {
    let length = usize::try_from(count).ok()?;
    if length == 0 {
        return bytes.is_empty().then(Vec::new);
    }
    // Ids differ, so each takes a bit at least: nobody can make this ask for more memory than it gets.
    if length > bytes.len() * 8 {
        return None;
    }
    let mut from = BitReader::new(bytes);
    let ids = unpack_ids(&mut from, length)?;
    let private = unpack_column(&mut from, 32, length)?;
    let has_public = match from.take(CHOICE_WIDTH)? {
        ALL => vec![true; length],
        NONE => vec![false; length],
        SOME => flags(&mut from, length)?,
        _ => return None,
    };
    let publics = has_public.iter().filter(|has| **has).count();
    let public = match publics {
        0 => Vec::new(),
        publics => unpack_column(&mut from, 32, publics)?,
    };
    if !from.at_end() {
        return None;
    }
    let mut public = public.into_iter();
    (0..count)
        .zip(ids)
        .zip(private.into_iter().zip(has_public))
        .map(|((index, instance_id), (private, has_public))| {
            Some(Peer {
                index,
                instance_id,
                private_ip: ip(private)?,
                public_ip: match has_public {
                    true => Some(ip(public.next()?)?),
                    false => None,
                },
            })
        })
        .collect()
}

fn pack_ids(out: &mut BitWriter, ids: &[(u128, u32)]) {
    let long = ids.iter().filter(|(_, width)| *width == LONG).count();
    let choice = choice(long == ids.len(), long == 0);
    out.put(choice, CHOICE_WIDTH);
    if choice == SOME {
        for (number, width) in ids {
            out.put(u128::from(*width == LONG), 1);
            out.put(*number, width * 4);
        }
        return;
    }
    let width = if choice == ALL { LONG } else { SHORT };
    let numbers = ids.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    pack_column(out, width * 4, &numbers);
}

fn unpack_ids(from: &mut BitReader<'_>, count: usize) -> Option<Vec<String>> {
    let of = |width| move |number| write_id(number, width);
    match from.take(CHOICE_WIDTH)? {
        ALL => unpack_column(from, LONG * 4, count)
            .map(|column| column.into_iter().map(of(LONG)).collect()),
        NONE => unpack_column(from, SHORT * 4, count)
            .map(|column| column.into_iter().map(of(SHORT)).collect()),
        SOME => (0..count)
            .map(|_| {
                let width = if from.take(1)? == 1 { LONG } else { SHORT };
                Some(write_id(from.take(width * 4)?, width))
            })
            .collect(),
        _ => None,
    }
}

/// Numbers of `width` bits: how many leading bits all share, those, then the rest of each.
fn pack_column(out: &mut BitWriter, width: u32, numbers: &[u128]) {
    let first = numbers.first().copied().unwrap_or(0);
    let differing = numbers
        .iter()
        .fold(0, |bits, number| bits | (number ^ first));
    let rest = u128::BITS - differing.leading_zeros();
    out.put(u128::from(width - rest), SHARED_WIDTH);
    out.put(first >> rest, width - rest);
    for number in numbers {
        out.put(*number, rest);
    }
}

fn unpack_column(from: &mut BitReader<'_>, width: u32, count: usize) -> Option<Vec<u128>> {
    let shared = u32::try_from(from.take(SHARED_WIDTH)?).ok()?;
    let rest = width.checked_sub(shared)?;
    let first = from.take(shared)? << rest;
    (0..count).map(|_| Some(first | from.take(rest)?)).collect()
}

fn flags(from: &mut BitReader<'_>, count: usize) -> Option<Vec<bool>> {
    (0..count).map(|_| Some(from.take(1)? == 1)).collect()
}

fn choice(all: bool, none: bool) -> u128 {
    if all {
        ALL
    } else if none {
        NONE
    } else {
        SOME
    }
}

fn address(ip: Ipv4Addr) -> u128 {
    u32::from(ip).into()
}

fn ip(number: u128) -> Option<Ipv4Addr> {
    u32::try_from(number).ok().map(Ipv4Addr::from)
}
