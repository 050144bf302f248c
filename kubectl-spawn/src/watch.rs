//! Waiting: follows objects until a condition holds, the time is over or the user has had enough.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    ResourceExt,
    core::error_boundary::InvalidObject,
    runtime::{WatchStreamExt, watcher},
};
use spore_crds::SporeInstance;
use tokio::time::{Instant, sleep_until};

use crate::{
    client::{Cluster, Guarded},
    error::Error,
    kind::Spawned,
};

/// After this long without news, [`Seen::Quiet`] is reported, and again each time.
const QUIET: Duration = Duration::from_secs(15);

/// What is seen while waiting.
pub(crate) enum Seen<'a, K = SporeInstance> {
    /// An object is like this now.
    Is(&'a K),
    /// An object is like this now, which this program does not understand.
    Unreadable(&'a InvalidObject),
    /// There is no object of this name, or no more.
    Gone(&'a str),
    /// The cluster cannot be asked for the moment.
    Trouble(&'a Error),
    /// Nothing was heard for a while.
    Quiet,
}

/// How waiting ended.
pub(crate) enum Outcome<T> {
    /// What was waited for.
    Reached(T),
    /// The time is over.
    TimedOut,
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// Follows the objects of these names, shows `see` what happens, and returns what it returns.
pub(crate) async fn follow<K: Spawned, T>(
    cluster: &Cluster,
    names: &BTreeSet<String>,
    limit: Option<Duration>,
    mut see: impl FnMut(Seen<'_, K>) -> Option<T>,
) -> Result<Outcome<T>, Error> {
    let mut config = watcher::Config::default();
    if let (1, Some(name)) = (names.len(), names.first()) {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let mut events = pin!(watcher(cluster.api::<Guarded<K>>(false), config).default_backoff());
    let end = limit.map(|limit| Instant::now() + limit);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut listed = BTreeSet::new();
    loop {
        let event = tokio::select! {
            biased;
            _ = &mut interrupt => return Ok(Outcome::Interrupted),
            () = until(end) => return Ok(Outcome::TimedOut),
            event = events.next() => event,
            () = tokio::time::sleep(QUIET) => {
                if let Some(reached) = see(Seen::Quiet) {
                    return Ok(Outcome::Reached(reached));
                }
                continue;
            }
        };
        let reached = match event {
            Some(Ok(event)) => report(event, names, &mut listed, &mut see),
            Some(Err(error)) => see(Seen::Trouble(&lasting(
                cluster,
                K::KIND.resource(),
                &error,
            )?)),
            // A watcher goes on for ever.
            None => return Ok(Outcome::TimedOut),
        };
        if let Some(reached) = reached {
            return Ok(Outcome::Reached(reached));
        }
    }
}

fn report<K: Spawned, T>(
    event: watcher::Event<Guarded<K>>,
    names: &BTreeSet<String>,
    listed: &mut BTreeSet<String>,
    see: &mut impl FnMut(Seen<'_, K>) -> Option<T>,
) -> Option<T> {
    match event {
        watcher::Event::Init => {
            listed.clear();
            None
        }
        watcher::Event::InitApply(spore) | watcher::Event::Apply(spore) => {
            let name = spore.name_any();
            if !names.contains(&name) {
                return None;
            }
            listed.insert(name);
            match &spore.0 {
                Ok(spore) => see(Seen::Is(spore)),
                Err(object) => see(Seen::Unreadable(object)),
            }
        }
        watcher::Event::InitDone => names
            .difference(listed)
            .find_map(|name| see(Seen::Gone(name))),
        watcher::Event::Delete(spore) => {
            let name = spore.name_any();
            if names.contains(&name) {
                see(Seen::Gone(&name))
            } else {
                None
            }
        }
    }
}

/// A failure that time may heal is returned to be told; one that it does not heal ends the wait.
fn lasting(
    cluster: &Cluster,
    resource: &'static str,
    error: &watcher::Error,
) -> Result<Error, Error> {
    let told = match error {
        watcher::Error::InitialListFailed(error) => cluster.explain("list", resource, error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            cluster.explain("watch", resource, error)
        }
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => Error::Api {
            verb: "watch",
            resource,
            detail: error.to_string(),
        },
    };
    let final_ = matches!(
        told,
        Error::Forbidden { .. } | Error::Unauthorized { .. } | Error::NotInstalled { .. }
    );
    if final_ { Err(told) } else { Ok(told) }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
