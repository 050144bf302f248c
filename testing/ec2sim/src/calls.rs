//! What was called, by whom and with what result: the stand-in counts, not the client.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

/// The log keeps so many calls; counts are complete.
const LOG_LENGTH: usize = 20_000;

/// One call.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Its number since the last reset.
    pub(crate) seq: u64,
    /// The API.
    pub(crate) action: String,
    /// The region.
    pub(crate) region: String,
    /// The caller.
    pub(crate) access_key: String,
    /// When it came in.
    pub(crate) at: Timestamp,
    /// The HTTP status of its execution; 0 while it runs or when it never ran.
    pub(crate) status: u16,
    /// The AWS error code, or empty.
    pub(crate) code: String,
    /// What a fault did to the reply, or empty.
    pub(crate) fault: String,
}

/// Counts and log of calls.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    counts: BTreeMap<String, u64>,
    by_caller: BTreeMap<String, BTreeMap<String, u64>>,
    log: VecDeque<Entry>,
    #[serde(skip)]
    last: u64,
}

impl Calls {
    /// Notes a call that came in; returns its number.
    pub(crate) fn begin(
        &mut self,
        action: &str,
        region: &str,
        access_key: &str,
        at: Timestamp,
    ) -> u64 {
        self.last += 1;
        *self.counts.entry(action.to_owned()).or_default() += 1;
        let caller = self.by_caller.entry(access_key.to_owned()).or_default();
        *caller.entry(action.to_owned()).or_default() += 1;
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        self.log.push_back(Entry {
            seq: self.last,
            action: action.to_owned(),
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            at,
            status: 0,
            code: String::new(),
            fault: String::new(),
        });
        self.last
    }

    /// Notes the result of a call.
    pub(crate) fn result(&mut self, seq: u64, status: u16, code: &str) {
        if let Some(entry) = self.entry(seq) {
            entry.status = status;
            code.clone_into(&mut entry.code);
        }
    }

    /// Notes what a fault did to a call.
    pub(crate) fn fault(&mut self, seq: u64, what: &str) {
        if let Some(entry) = self.entry(seq) {
            what.clone_into(&mut entry.fault);
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let first = self.log.front()?.seq;
        self.log
            .get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }
}
