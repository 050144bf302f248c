//! One number for the first rows of a sweep, which changes when one of them does.
//!
//! What a row says is a set of settings. Each is hashed on its own and a row's number is their sum, so
//! that a combination of a grid costs one addition for each of its names and not a new hash of all
//! that it says. The numbers of the rows go, in order, through one SHA-256.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Rows,
    layer::{self, Layer, Target},
};

/// A digest that grows with the rows.
#[derive(Clone, Debug, Default)]
pub struct RowsDigest {
    hasher: Sha256,
    rows: u32,
}

impl RowsDigest {
    /// How many rows it covers.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Takes in the rows up to `end`, without `end` itself, as far as there are so many. What it
    /// covers already stays as it is.
    pub fn advance(&mut self, rows: &Rows, end: u32) {
        let end = end.min(rows.len());
        let sums = rows.sums();
        for index in self.rows..end {
            self.hasher.update(sums.row(rows, index).to_be_bytes());
        }
        self.rows = self.rows.max(end);
    }

    /// The digest, 32 hexadecimal digits.
    #[must_use]
    pub fn text(&self) -> String {
        let digest = self.hasher.clone().finalize();
        format!("{:032x}", first_half(&digest))
    }
}

/// What the rows' numbers are made of.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// What `defaults` say.
    defaults: u128,
    /// How each value of each name of the grid changes that.
    grid: Vec<Vec<u128>>,
}

impl Sums {
    pub(super) fn new(rows: &Rows) -> Self {
        let grid = rows.grid.dimensions().iter().map(|dimension| {
            let value = |value| difference(rows, [(&dimension.key, value)]);
            dimension.values.iter().map(value).collect()
        });
        Self {
            defaults: sum(&rows.defaults),
            grid: grid.collect(),
        }
    }

    fn row(&self, rows: &Rows, index: u32) -> u128 {
        match rows.explicit.get(index as usize) {
            Some(row) => self.defaults.wrapping_add(difference(rows, &row.row)),
            None => {
                let positions = rows.grid.positions(index - rows.first_of_grid());
                let differences = self.grid.iter().zip(positions);
                differences
                    .filter_map(|(values, position)| values.get(position))
                    .fold(self.defaults, |sum, difference| {
                        sum.wrapping_add(*difference)
                    })
            }
        }
    }
}

/// What the row adds to the number of the defaults: its own settings less those that they replace.
fn difference<'r>(rows: &Rows, row: impl IntoIterator<Item = (&'r String, &'r Value)>) -> u128 {
    let row = row.into_iter().collect::<Vec<_>>();
    let mut problems = Vec::new();
    let own = layer::read(row.iter().copied(), &rows.keys, &mut problems);
    let replaced = rows.defaults.iter().filter(|(target, _)| match target {
        Target::Inner(field, _) => {
            own.contains_key(target) || own.contains_key(&Target::Field(field))
        }
        Target::Name | Target::Field(_) | Target::Parameter(_) => own.contains_key(target),
    });
    let replaced = replaced.fold(0_u128, |sum, (target, value)| {
        sum.wrapping_add(setting(target, value))
    });
    // What is wrong counts as it stands.
    let wrong = problems.iter().fold(0_u128, |sum, (key, _)| {
        let value = row.iter().find(|(other, _)| *other == key);
        let raw = Target::Parameter(format!("\0{key}"));
        sum.wrapping_add(setting(
            &raw,
            value.map_or(&Value::Null, |(_, value)| value),
        ))
    });
    self::sum(&own).wrapping_sub(replaced).wrapping_add(wrong)
}

fn sum(layer: &Layer) -> u128 {
    layer.iter().fold(0, |sum, (target, value)| {
        sum.wrapping_add(setting(target, value))
    })
}

fn setting(target: &Target, value: &Value) -> u128 {
    let mut hasher = Sha256::new();
    // Neither names nor keys contain the byte 0xff, and each has a first byte of its own.
    let (kind, outer, inner) = match target {
        Target::Name => (b'n', "", ""),
        Target::Field(field) => (b'f', *field, ""),
        Target::Inner(field, inner) => (b'i', *field, inner.as_str()),
        Target::Parameter(name) => (b'p', name.as_str(), ""),
    };
    hasher.update([kind]);
    hasher.update(outer);
    hasher.update([0xff]);
    hasher.update(inner);
    hasher.update([0xff]);
    hasher.update(value.to_string());
    first_half(&hasher.finalize())
}

fn first_half(digest: &[u8]) -> u128 {
    digest
        .iter()
        .take(16)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}
