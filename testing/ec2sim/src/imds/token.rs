//! Session tokens of the metadata service.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// The longest life of a session.
pub(crate) const MAX_TTL: u64 = 21_600;

/// All sessions of all instances.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<String, Session>);

#[derive(Debug)]
struct Session {
    instance: String,
    ends: Timestamp,
}

impl Tokens {
    /// Opens a session.
    pub(crate) fn open(&mut self, token: String, instance: &str, ttl: Duration, now: Timestamp) {
        self.0.retain(|_, session| session.ends > now);
        self.0.insert(
            token,
            Session {
                instance: instance.to_owned(),
                ends: now + ttl,
            },
        );
    }

    /// Whether a token is of an open session with this instance.
    pub(crate) fn is_open(&self, token: &str, instance: &str, now: Timestamp) -> bool {
        self.0
            .get(token)
            .is_some_and(|session| session.instance == instance && session.ends > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_instance_and_its_time() {
        let now = Timestamp::now();
        let mut tokens = Tokens::default();
        tokens.open("t".into(), "i-1", Duration::from_secs(60), now);
        assert!(tokens.is_open("t", "i-1", now));
        assert!(!tokens.is_open("t", "i-2", now));
        assert!(!tokens.is_open("u", "i-1", now));
        assert!(!tokens.is_open("t", "i-1", now + Duration::from_secs(60)));
    }
}
