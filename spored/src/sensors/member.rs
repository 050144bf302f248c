//! Learns which member of an array or a sweep this instance is, before its workload starts.

use std::{sync::Arc, time::Duration};

use spore_core::agent_config::Members;
use tokio::{
    sync::{SetOnce, mpsc},
    time,
};

use crate::{agent::Event, imds::Imds, member::Member};

/// When files that could not be written are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Learns it, writes what the workload must find, tells that, and returns.
pub(crate) async fn learn(
    imds: Arc<Imds>,
    members: Members,
    known: Arc<SetOnce<Member>>,
    events: mpsc::Sender<Event>,
) {
    let slot = imds.launch_index().await;
    let member = match Member::find(members, slot) {
        Ok(member) => member,
        Err(error) => {
            tracing::error!("{error}");
            let _ = events.send(Event::Unpreparable(error.to_string())).await;
            return;
        }
    };
    tracing::info!("this is index {} of {}", member.index, member.group.id);
    // Only this task sets it.
    let _ = known.set(member.clone());
    while let Err(error) = member.write_files() {
        tracing::error!("the workload waits: its parameters cannot be written: {error}");
        time::sleep(TRY_AGAIN).await;
    }
    let _ = events.send(Event::Prepared).await;
}
