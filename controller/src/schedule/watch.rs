//! Wakes a schedule when one of its executions appears, ends, is deleted or is gone: not whenever
//! one changes, which a large sweep does all the time.

use std::collections::HashMap;

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        reflector::ObjectRef,
        watcher::{self, Event},
    },
};
use spore_crds::SCHEDULE_LABEL;

use super::Watched;
use crate::plan::schedule::{Kind, end};

/// The schedules whose executions of a kind have changed.
pub(super) fn changes(
    client: Client,
    namespace: Option<&str>,
    kind: Kind,
) -> stream::BoxStream<'static, ObjectRef<Watched>> {
    let resource = kind.resource();
    let api = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = watcher::Config::default().labels(SCHEDULE_LABEL);
    news(watcher::watcher(api, config).default_backoff()).boxed()
}

fn news(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
) -> impl Stream<Item = ObjectRef<Watched>> {
    let mut seen = Seen::default();
    events.flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => seen.take_in(event),
            Err(error) => {
                tracing::warn!(%error, "watching executions of schedules");
                Vec::new()
            }
        })
    })
}

/// What is known of one execution.
#[derive(Clone, PartialEq)]
struct Known {
    schedule: ObjectRef<Watched>,
    ended: bool,
    deleting: bool,
}

/// What is known of all, by UID.
#[derive(Default)]
struct Seen {
    known: HashMap<String, Known>,
    /// What a list that is under way has not shown yet.
    unshown: HashMap<String, Known>,
}

impl Seen {
    /// Takes in an event; returns the schedules to which it matters.
    fn take_in(&mut self, event: Event<DynamicObject>) -> Vec<ObjectRef<Watched>> {
        match event {
            Event::Init => {
                self.unshown = std::mem::take(&mut self.known);
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let uid = object.uid().unwrap_or_default();
                let Some(now) = Known::read(&object) else {
                    return Vec::new();
                };
                let before = self.unshown.remove(&uid);
                let before = self.known.insert(uid, now.clone()).or(before);
                match before.as_ref() == Some(&now) {
                    true => Vec::new(),
                    false => vec![now.schedule],
                }
            }
            Event::InitDone => {
                let gone = std::mem::take(&mut self.unshown);
                gone.into_values().map(|known| known.schedule).collect()
            }
            Event::Delete(object) => {
                let known = self.known.remove(&object.uid().unwrap_or_default());
                known.into_iter().map(|known| known.schedule).collect()
            }
        }
    }
}

impl Known {
    fn read(object: &DynamicObject) -> Option<Self> {
        let owners = object.owner_references();
        let owner = owners
            .iter()
            .find(|owner| owner.controller == Some(true) && owner.kind == "SporeSchedule")?;
        let namespace = object.namespace()?;
        Some(Self {
            schedule: ObjectRef::new(&owner.name).within(&namespace),
            ended: end(&object.data["status"]).is_some(),
            deleting: object.metadata.deletion_timestamp.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn execution(uid: &str, state: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "lab", "uid": uid, "ownerReferences": [
                {"apiVersion": "spore.host/v1alpha1", "kind": "SporeSchedule", "name": "nightly", "uid": "s", "controller": true},
            ]},
            "status": {"state": state},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_matters_to_a_schedule_wakes_it() {
        let mut seen = Seen::default();
        let mut told = |event| seen.take_in(event).len();
        assert_eq!(told(Event::Init), 0);
        assert_eq!(told(Event::InitApply(execution("a", "Running"))), 1);
        assert_eq!(told(Event::InitDone), 0);
        assert_eq!(told(Event::Apply(execution("a", "Ending"))), 0);
        assert_eq!(told(Event::Apply(execution("a", "Succeeded"))), 1);
        assert_eq!(told(Event::Apply(execution("a", "Succeeded"))), 0);
        assert_eq!(told(Event::Delete(execution("a", "Succeeded"))), 1);
    }

    #[test]
    fn what_went_while_nobody_looked_wakes_its_schedule() {
        let mut seen = Seen::default();
        seen.take_in(Event::Apply(execution("a", "Running")));
        seen.take_in(Event::Apply(execution("b", "Running")));
        assert!(seen.take_in(Event::Init).is_empty());
        assert!(
            seen.take_in(Event::InitApply(execution("b", "Running")))
                .is_empty()
        );
        assert_eq!(seen.take_in(Event::InitDone).len(), 1);
        assert!(
            seen.take_in(Event::Delete(execution("a", "Running")))
                .is_empty()
        );
    }
}
