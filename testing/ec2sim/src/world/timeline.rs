//! What happens later, in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;

use super::Place;

/// Something that becomes due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A transitional state ends, unless the instance has changed since.
    Settle {
        /// The instance.
        id: String,
        /// [`super::instance::Instance::generation`] when this was scheduled.
        generation: u64,
    },
    /// A terminated instance leaves the lists.
    Vanish(String),
    /// A vanished instance is forgotten: its launch token is free again.
    Forget(String),
    /// The work of an instance is done, unless the instance has changed since.
    Finish {
        /// The instance.
        id: String,
        /// [`super::instance::Instance::generation`] when this was scheduled.
        generation: u64,
    },
    /// A spot notice runs out.
    Interrupt {
        /// The instance.
        id: String,
        /// The notice, so that an older one does nothing.
        at: Timestamp,
    },
}

/// Events in order of time.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    due: BinaryHeap<Reverse<(Timestamp, u64, Place, Event)>>,
    count: u64,
}

impl Timeline {
    /// Schedules an event.
    pub(crate) fn schedule(&mut self, at: Timestamp, place: &Place, event: Event) {
        self.count += 1;
        self.due
            .push(Reverse((at, self.count, place.clone(), event)));
    }

    /// When the next event is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next event that is due by now.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Place, Event)> {
        if self.next()? > now {
            return None;
        }
        self.due
            .pop()
            .map(|Reverse((at, _, place, event))| (at, place, event))
    }
}
