//! Calls that a fault holds until a test lets them go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::lock::Lock as _;

/// A held call.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeldCall {
    /// Its number.
    pub(crate) id: u64,
    /// The fault that holds it.
    pub(crate) fault: u64,
    /// The API.
    pub(crate) action: String,
    /// `before` or `after` execution.
    pub(crate) when: &'static str,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    calls: BTreeMap<u64, (HeldCall, oneshot::Sender<()>)>,
}

/// All held calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Inner>>);

/// Takes a call off the list when its client goes away.
struct Listed {
    held: Held,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.held.0.hold().calls.remove(&self.id);
    }
}

impl Held {
    /// Waits until the call is released. Dropping the future takes it off the list.
    pub(crate) async fn wait(&self, fault: u64, action: &str, when: &'static str) {
        let (release, released) = oneshot::channel();
        let id = {
            let mut inner = self.0.hold();
            inner.last += 1;
            let id = inner.last;
            let call = HeldCall {
                id,
                fault,
                action: action.to_owned(),
                when,
            };
            inner.calls.insert(id, (call, release));
            id
        };
        let _listed = Listed {
            held: self.clone(),
            id,
        };
        // An error means that the sender was dropped, which releases as well.
        let _ = released.await;
    }

    /// The held calls.
    pub(crate) fn list(&self) -> Vec<HeldCall> {
        self.0
            .hold()
            .calls
            .values()
            .map(|(call, _)| call.clone())
            .collect()
    }

    /// Releases one call, or all; returns how many.
    pub(crate) fn release(&self, id: Option<u64>) -> usize {
        let mut inner = self.0.hold();
        let chosen: Vec<u64> = inner
            .calls
            .keys()
            .copied()
            .filter(|call| id.is_none_or(|id| id == *call))
            .collect();
        for call in &chosen {
            inner.calls.remove(call);
        }
        chosen.len()
    }
}
