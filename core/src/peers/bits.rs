//! Numbers of any width, packed without gaps.

/// Packs.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// How many bits of the last byte are in use; 0 if it is full or there is none.
    used: u32,
}

impl BitWriter {
    /// Appends the lowest `width` bits of a number.
    pub(super) fn put(&mut self, value: u128, width: u32) {
        for position in (0..width).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = (value >> position & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Unpacks.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Takes a number of `width` bits, at most 128; `None` if so many are not left.
    pub(super) fn take(&mut self, width: u32) -> Option<u128> {
        let mut value = 0;
        for _ in 0..width {
            let byte = self.bytes.get(self.position / 8)?;
            let bit = byte >> (7 - self.position % 8) & 1;
            value = value << 1 | u128::from(bit);
            self.position += 1;
        }
        Some(value)
    }

    /// Whether nothing is left but what fills the last byte up.
    pub(super) fn at_end(mut self) -> bool {
        let padding = (8 - self.position % 8) % 8;
        self.position + padding == self.bytes.len() * 8
            && self.take(padding as u32).is_some_and(|bits| bits == 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(numbers in proptest::collection::vec((any::<u128>(), 0..=128_u32), 0..20)) {
            let mut writer = BitWriter::default();
            for (value, width) in &numbers {
                writer.put(*value, *width);
            }
            let bytes = writer.finish();
            let bits = numbers.iter().map(|(_, width)| *width as usize).sum::<usize>();
            prop_assert_eq!(bytes.len(), bits.div_ceil(8));
            let mut reader = BitReader::new(&bytes);
            for (value, width) in numbers {
                let kept = if width == 128 { value } else { value & ((1 << width) - 1) };
                prop_assert_eq!(reader.take(width), Some(kept));
            }
            prop_assert_eq!(reader.take(8), None);
            prop_assert!(reader.at_end());
        }
    }
}
