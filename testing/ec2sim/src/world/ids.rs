//! Resource ids in EC2's long form: a prefix and 17 hexadecimal digits.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// A source of ids that never repeats one, in this process or the next.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    count: u64,
}

impl Default for Ids {
    fn default() -> Self {
        // RandomState is the standard library's only source of randomness.
        let seed = RandomState::new().hash_one(SystemTime::now());
        Self { seed, count: 0 }
    }
}

impl Ids {
    /// A fresh id: `fresh("i")` is `i-0…`.
    pub(crate) fn fresh(&mut self, prefix: &str) -> String {
        format!("{prefix}-0{}", &self.hex()[..16])
    }

    /// A fresh request id in the form of a UUID.
    pub(crate) fn request_id(&mut self) -> String {
        let hex = self.hex();
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..32],
        ];
        parts.join("-")
    }

    /// A fresh access-key-like id: `AROA…`, `AIPA…`.
    pub(crate) fn iam(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.hex()[..17].to_uppercase())
    }

    /// 64 fresh hexadecimal digits.
    pub(crate) fn hex(&mut self) -> String {
        self.count += 1;
        hex(&Sha256::digest(format!("{}/{}", self.seed, self.count)))
    }
}

/// An id that is the same in every stand-in, for seeded resources.
pub(crate) fn stable(prefix: &str, name: &str) -> String {
    format!("{prefix}-0{}", &hex(&Sha256::digest(name))[..16])
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Whether text is an id with that prefix: 8 or 17 hexadecimal digits.
pub(crate) fn is_well_formed(prefix: &str, id: &str) -> bool {
    id.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|digits| {
            matches!(digits.len(), 8 | 17)
                && digits
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_well_formed_and_differ() {
        let mut ids = Ids::default();
        let (one, two) = (ids.fresh("i"), ids.fresh("i"));
        assert_ne!(one, two);
        assert!(is_well_formed("i", &one), "{one}");
        assert!(is_well_formed("ami", "ami-12345678"));
        assert!(!is_well_formed("i", "i-xyz"));
        assert!(!is_well_formed("i", "vol-0123456789abcdef0"));
    }
}
