//! EC2 client tokens: the key under which a launch happens at most once.

use sha2::{Digest, Sha256};

/// What a launch is: one attempt of one batch of one object of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// UID of the cluster's `kube-system` namespace.
    pub cluster_uid: &'a str,
    /// UID of the object that owns the launch.
    pub object_uid: &'a str,
    /// Counts definite failures and replacements: a new attempt must never be answered with the
    /// instance of an old one.
    pub attempt: u32,
    /// Position of the RunInstances call among those of the same attempt.
    pub batch: u32,
}

impl Launch<'_> {
    /// The `ClientToken` of this launch: at most 64 ASCII characters, which is EC2's limit.
    ///
    /// Every field goes in with its length, so that two different launches cannot spell the same input.
    #[must_use]
    pub fn token(&self) -> String {
        let mut hash = Sha256::new();
        for text in [self.cluster_uid, self.object_uid] {
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(text);
        }
        hash.update(self.attempt.to_be_bytes());
        hash.update(self.batch.to_be_bytes());
        let digest = hash.finalize();
        let hex = digest
            .iter()
            .take(24)
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        format!("spore-{hex}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch<'a>(cluster_uid: &'a str, object_uid: &'a str, attempt: u32, batch: u32) -> String {
        Launch {
            cluster_uid,
            object_uid,
            attempt,
            batch,
        }
        .token()
    }

    #[test]
    fn a_token_is_stable_and_within_ec2s_limit() {
        let token = launch("c", "o", 1, 0);
        assert_eq!(token, launch("c", "o", 1, 0));
        assert!(token.len() <= 64 && token.is_ascii(), "{token}");
    }

    #[test]
    fn every_part_changes_the_token() {
        let tokens = [
            launch("c", "o", 1, 0),
            launch("c", "o", 2, 0),
            launch("c", "o", 1, 1),
            launch("co", "", 1, 0),
            launch("", "co", 1, 0),
        ];
        for (i, token) in tokens.iter().enumerate() {
            assert!(!tokens[i + 1..].contains(token), "{token} twice");
        }
    }
}
