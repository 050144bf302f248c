//! What the tests must be able to say about the past: how many instances were alive at once.

use std::collections::{BTreeMap, HashMap};

/// The tag that says which object an instance belongs to.
pub(crate) const OWNER_TAG: &str = "spawn:uid";

#[derive(Debug, Clone, Copy, Default)]
struct Live {
    now: usize,
    max: usize,
}

/// Counts of live instances by owner tag.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    by_owner: BTreeMap<String, Live>,
    owners: HashMap<String, String>,
}

impl Audit {
    /// An instance with this owner came to life.
    pub(crate) fn born(&mut self, instance: &str, owner: &str) {
        let live = self.by_owner.entry(owner.to_owned()).or_default();
        live.now += 1;
        live.max = live.max.max(live.now);
        self.owners.insert(instance.to_owned(), owner.to_owned());
    }

    /// An instance stopped being alive.
    pub(crate) fn died(&mut self, instance: &str) {
        if let Some(live) = self
            .owners
            .remove(instance)
            .and_then(|o| self.by_owner.get_mut(&o))
        {
            live.now = live.now.saturating_sub(1);
        }
    }

    /// For every owner, the most instances ever alive at one time.
    pub(crate) fn maxima(&self) -> BTreeMap<&str, usize> {
        self.by_owner
            .iter()
            .map(|(owner, live)| (owner.as_str(), live.max))
            .collect()
    }
}
