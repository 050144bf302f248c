//! A block of names in a hosts file, between two marks; whatever else is in the file stays as it is,
//! byte for byte.

use std::{collections::BTreeSet, net::Ipv4Addr};

/// The line before the block.
const BEGIN: &str =
    "# BEGIN spore job array: written by spored, and again when a member is replaced";
/// The line after it.
const END: &str = "# END spore job array";

/// Names of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The address.
    pub(super) address: Ipv4Addr,
    /// Its names, its own first.
    pub(super) names: Vec<String>,
}

/// The file with this block in the place of an earlier one, or at its end; without one if there are no
/// names. A name that the rest of the file has (`localhost`) is left to it.
pub(super) fn with_block(text: &[u8], entries: &[Entry]) -> Vec<u8> {
    let (mut before, after) = around(text);
    let taken = names(before.iter().chain(&after));
    let lines = entries
        .iter()
        .filter_map(|entry| line(entry, &taken))
        .collect::<Vec<_>>();
    let mut block = String::new();
    if !lines.is_empty() {
        if before.last().is_some_and(|line| !line.ends_with(b"\n")) {
            before.push(b"\n");
        }
        block = format!("{BEGIN}\n{}{END}\n", lines.concat());
    }
    [before.concat(), block.into_bytes(), after.concat()].concat()
}

/// The lines before and after the block. A mark without its other half marks nothing, and is dropped.
fn around(text: &[u8]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let lines = text
        .split_inclusive(|byte| *byte == b'\n')
        .collect::<Vec<_>>();
    let block = lines.iter().position(|line| is(line, END)).and_then(|end| {
        let begin = lines[..end].iter().rposition(|line| is(line, BEGIN))?;
        Some((begin, end + 1))
    });
    let (start, end) = block.unwrap_or((lines.len(), lines.len()));
    (others(&lines[..start]), others(&lines[end..]))
}

fn others<'a>(lines: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let lines = lines.iter().copied();
    lines
        .filter(|line| !is(line, BEGIN) && !is(line, END))
        .collect()
}

fn is(line: &[u8], mark: &str) -> bool {
    line.trim_ascii() == mark.as_bytes()
}

/// The names that these lines give, in small letters.
fn names<'a>(lines: impl Iterator<Item = &'a &'a [u8]>) -> BTreeSet<String> {
    lines
        .flat_map(|line| {
            let line = String::from_utf8_lossy(line).to_ascii_lowercase();
            let (entry, _) = line.split_once('#').unwrap_or((&line, ""));
            let names = entry.split_whitespace().skip(1).map(str::to_owned);
            names.collect::<Vec<_>>()
        })
        .collect()
}

fn line(entry: &Entry, taken: &BTreeSet<String>) -> Option<String> {
    let names = entry
        .names
        .iter()
        .filter(|name| !taken.contains(*name))
        .map(String::as_str)
        .collect::<Vec<_>>();
    (!names.is_empty()).then(|| format!("{}\t{}\n", entry.address, names.join(" ")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(host: u8, names: &[&str]) -> Entry {
        Entry {
            address: Ipv4Addr::new(10, 0, 0, host),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn written(text: &str, entries: &[Entry]) -> String {
        String::from_utf8(with_block(text.as_bytes(), entries)).unwrap()
    }

    #[test]
    fn the_block_is_put_at_the_end_and_replaced_where_it_is() {
        let one = written("127.0.0.1 localhost", &[entry(1, &["a-0", "a"])]);
        assert_eq!(
            one,
            format!("127.0.0.1 localhost\n{BEGIN}\n10.0.0.1\ta-0 a\n{END}\n")
        );
        let edited = format!("{one}192.0.2.1 mine\n");
        let two = written(&edited, &[entry(1, &["a-0", "a"]), entry(2, &["a-1", "a"])]);
        assert_eq!(
            two,
            format!(
                "127.0.0.1 localhost\n{BEGIN}\n10.0.0.1\ta-0 a\n10.0.0.2\ta-1 a\n{END}\n192.0.2.1 mine\n"
            )
        );
        assert_eq!(written(&two, &[]), "127.0.0.1 localhost\n192.0.2.1 mine\n");
    }

    #[test]
    fn a_mark_without_its_other_half_takes_no_line_along() {
        for marks in [
            format!("{BEGIN}\n"),
            format!("{END}\n"),
            format!("{END}\n{BEGIN}\n"),
        ] {
            assert_eq!(
                written(&format!("1.1.1.1 x\n{marks}2.2.2.2 y\n"), &[]),
                "1.1.1.1 x\n2.2.2.2 y\n"
            );
        }
    }

    #[test]
    fn names_that_are_taken_are_left_alone() {
        let text = "127.0.0.1 Localhost # a-0\n";
        let new = written(
            text,
            &[entry(1, &["a-0", "localhost"]), entry(2, &["localhost"])],
        );
        assert_eq!(new, format!("{text}{BEGIN}\n10.0.0.1\ta-0\n{END}\n"));
    }

    proptest! {
        #[test]
        fn what_others_wrote_stays_byte_for_byte(
            lines in proptest::collection::vec("[^\n]{0,20}", 0..6), hosts in 1..5_u8, more in 1..5_u8,
        ) {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let block = |hosts| (0..hosts).map(|n| entry(n, &[&format!("zz-{n}")])).collect::<Vec<_>>();
            let one = with_block(text.as_bytes(), &block(hosts));
            prop_assert_eq!(with_block(&one, &block(hosts)), one.clone(), "twice is once");
            let two = with_block(&one, &block(more));
            prop_assert_eq!(&two, &with_block(text.as_bytes(), &block(more)));
            prop_assert_eq!(with_block(&two, &[]), text.into_bytes());
        }
    }
}
