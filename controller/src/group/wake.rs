//! Waking arrays and sweeps: a thousand members that change at once are one reason to look.

use std::{collections::HashSet, time::Duration};

use futures::{
    StreamExt as _,
    channel::mpsc::{UnboundedReceiver, UnboundedSender},
};
use spore_core::tags::Kind;

use crate::world::Owner;

/// How long news of members are gathered.
const GATHER: Duration = Duration::from_millis(200);

/// Passes on which objects are to be looked at again: spores at once, what they are members of a
/// little later, once for all of them.
pub async fn route(
    mut news: UnboundedReceiver<Owner>,
    spores: UnboundedSender<Owner>,
    arrays: UnboundedSender<Owner>,
    sweeps: UnboundedSender<Owner>,
) {
    let mut gathered = HashSet::new();
    let mut flush = tokio::time::interval(GATHER);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            owner = news.next() => match owner {
                None => return,
                Some(owner) if owner.kind == Kind::SporeInstance => {
                    // The receiver lives as long as the controller; without it nobody needs to know.
                    let _ = spores.unbounded_send(owner);
                }
                Some(owner) => {
                    gathered.insert(owner);
                }
            },
            _ = flush.tick(), if !gathered.is_empty() => {
                for owner in gathered.drain() {
                    let to = if owner.kind == Kind::SporeArray { &arrays } else { &sweeps };
                    let _ = to.unbounded_send(owner);
                }
            }
        }
    }
}
