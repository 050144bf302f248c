//! Every combination of lists of values, without ever making them all.

use std::collections::BTreeMap;

use serde_json::Value;

/// Names with their values; a combination is found by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Grid {
    dimensions: Vec<Dimension>,
    len: u128,
}

/// One name with its values.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    pub(super) key: String,
    pub(super) values: Vec<Value>,
    /// How many combinations go by until the value changes.
    stride: u128,
}

impl Grid {
    /// In the order of the names, the last varying fastest.
    pub(super) fn new(lists: BTreeMap<String, Vec<Value>>) -> Self {
        let mut dimensions = Vec::with_capacity(lists.len());
        let mut len = u128::from(!lists.is_empty());
        for (key, values) in lists.into_iter().rev() {
            let stride = len;
            len = len.saturating_mul(values.len() as u128);
            dimensions.push(Dimension {
                key,
                values,
                stride,
            });
        }
        dimensions.reverse();
        Self { dimensions, len }
    }

    /// How many combinations there are; none without names.
    pub(super) fn len(&self) -> u128 {
        self.len
    }

    pub(super) fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The combination with this number, as the position of each value in its list.
    pub(super) fn positions(&self, number: u32) -> impl Iterator<Item = usize> {
        let number = u128::from(number);
        self.dimensions.iter().map(move |dimension| {
            let turn = number / dimension.stride.max(1);
            let position = turn % (dimension.values.len() as u128).max(1);
            usize::try_from(position).unwrap_or_default()
        })
    }

    /// The same as names and values.
    pub(super) fn combination(&self, number: u32) -> impl Iterator<Item = (&String, &Value)> {
        let positions = self.positions(number);
        self.dimensions
            .iter()
            .zip(positions)
            .filter_map(|(dimension, position)| {
                Some((&dimension.key, dimension.values.get(position)?))
            })
    }

    /// The number of the combination with these positions; the first value of what is not named.
    pub(super) fn number(&self, positions: impl IntoIterator<Item = (usize, usize)>) -> u32 {
        let number = positions
            .into_iter()
            .filter_map(|(dimension, position)| {
                Some(self.dimensions.get(dimension)?.stride * position as u128)
            })
            .sum::<u128>();
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}
