//! Sets of member indexes as people read them: `0-3,7`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The grammar as a regular expression, for API schemas. The order of the numbers is checked on top.
pub const PATTERN: &str = "^([0-9]{1,7}(-[0-9]{1,7})?(,[0-9]{1,7}(-[0-9]{1,7})?)*)?$";

/// The largest index that is read: seven digits, as in [`PATTERN`].
pub const MAX: u32 = 9_999_999;

/// A set of indexes, kept as ranges: its size in memory and in text is that of its gaps, not of its
/// members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSet {
    /// First index of each range to its last; ranges neither overlap nor touch.
    ranges: BTreeMap<u32, u32>,
    len: u32,
}

/// Why a text is not an [`IndexSet`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a set of indexes: write numbers and ranges from small to large, such as 0-3,7"
)]
pub struct ParseIndexesError {
    text: String,
}

impl IndexSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: BTreeMap::new(),
            len: 0,
        }
    }

    /// All indexes from `first` on, without `end` itself.
    #[must_use]
    pub fn range(first: u32, end: u32) -> Self {
        let mut set = Self::new();
        if first < end {
            set.ranges.insert(first, end - 1);
            set.len = end - first;
        }
        set
    }

    /// How many indexes are in it.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether an index is in it.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        self.ranges
            .range(..=index)
            .next_back()
            .is_some_and(|(_, &last)| index <= last)
    }

    /// Puts an index in; says whether it was new.
    pub fn insert(&mut self, index: u32) -> bool {
        if self.contains(index) {
            return false;
        }
        let (mut first, mut last) = (index, index);
        let before = self.ranges.range(..index).next_back();
        if let Some((&start, &end)) = before
            && end + 1 == index
        {
            first = start;
        }
        if let Some(end) = index
            .checked_add(1)
            .and_then(|next| self.ranges.remove(&next))
        {
            last = end;
        }
        self.ranges.insert(first, last);
        self.len += 1;
        true
    }

    /// Takes an index out; says whether it was there.
    pub fn remove(&mut self, index: u32) -> bool {
        let found = self.ranges.range(..=index).next_back();
        let Some((first, last)) = found.map(|(&first, &last)| (first, last)) else {
            return false;
        };
        if index > last {
            return false;
        }
        self.ranges.remove(&first);
        if first < index {
            self.ranges.insert(first, index - 1);
        }
        if index < last {
            self.ranges.insert(index + 1, last);
        }
        self.len -= 1;
        true
    }

    /// Takes every index out that is not below `end`.
    pub fn truncate(&mut self, end: u32) {
        let beyond = self.ranges.split_off(&end);
        let dropped = beyond
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum::<u32>();
        self.len -= dropped;
        if let Some((_, last)) = self.ranges.iter_mut().next_back()
            && *last >= end
        {
            self.len -= *last - end + 1;
            *last = end - 1;
        }
    }

    /// The indexes, from small to large.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(&first, &last)| first..=last)
    }

    /// The index at a position, counted from small to large.
    #[must_use]
    pub fn nth(&self, position: u32) -> Option<u32> {
        let mut left = position;
        for (first, last) in &self.ranges {
            let size = last - first + 1;
            if left < size {
                return Some(first + left);
            }
            left -= size;
        }
        None
    }

    /// The set of the first `count` indexes.
    #[must_use]
    pub fn first(&self, count: u32) -> Self {
        match self.nth(count) {
            None => self.clone(),
            Some(end) => {
                let mut set = self.clone();
                set.truncate(end);
                set
            }
        }
    }
}

impl FromIterator<u32> for IndexSet {
    fn from_iter<T: IntoIterator<Item = u32>>(indexes: T) -> Self {
        let mut set = Self::new();
        set.extend(indexes);
        set
    }
}

impl Extend<u32> for IndexSet {
    fn extend<T: IntoIterator<Item = u32>>(&mut self, indexes: T) {
        for index in indexes {
            self.insert(index);
        }
    }
}

impl fmt::Display for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for IndexSet {
    type Err = ParseIndexesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIndexesError {
            text: text.to_owned(),
        };
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = plain.then(|| digits.parse::<u32>().ok()).flatten();
            number.filter(|number| *number <= MAX).ok_or_else(error)
        };
        let mut set = Self::new();
        if text.is_empty() {
            return Ok(set);
        }
        let mut least = 0;
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first < least || last < first {
                return Err(error());
            }
            least = last + 1;
            set.push_range(first, last);
        }
        Ok(set)
    }
}

impl IndexSet {
    /// Adds a range beyond all others.
    fn push_range(&mut self, first: u32, last: u32) {
        self.len += last - first + 1;
        match self.ranges.iter_mut().next_back() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => {
                self.ranges.insert(first, last);
            }
        }
    }
}

impl Serialize for IndexSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IndexSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn indexes_are_written_as_ranges() {
        let set = [7, 1, 0, 3, 2].into_iter().collect::<IndexSet>();
        assert_eq!(set.to_string(), "0-3,7");
        assert_eq!((set.len(), set.nth(4), set.nth(5)), (5, Some(7), None));
        assert_eq!(set.first(2).to_string(), "0-1");
        assert_eq!(IndexSet::range(0, 0).to_string(), "");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in [
            "a", "1-", "-1", "3-1", "2,1", "1,1", "0-3,2", "1,,2", " 1", "+1", "10000000",
        ] {
            assert!(text.parse::<IndexSet>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_set(steps in proptest::collection::vec((any::<bool>(), 0..60_u32), 0..80), end in 0..70_u32) {
            let (mut set, mut model) = (IndexSet::new(), BTreeSet::new());
            for (add, index) in steps {
                if add {
                    prop_assert_eq!(set.insert(index), model.insert(index));
                } else {
                    prop_assert_eq!(set.remove(index), model.remove(&index));
                }
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len() as usize, model.len());
            prop_assert_eq!(set.to_string().parse::<IndexSet>().unwrap(), set.clone());
            prop_assert_eq!(set.first(end).iter().collect::<Vec<_>>(), model.iter().copied().take(end as usize).collect::<Vec<_>>());
            set.truncate(end);
            model.retain(|index| *index < end);
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len() as usize, model.len());
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[0-9,-]{0,20}") {
            let _ = text.parse::<IndexSet>();
        }
    }
}
