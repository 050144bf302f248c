//! Collecting orphans: what of ours has no living parent, in the order in which EC2 lets go of it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    core::error_boundary::DeserializeGuard,
    runtime::{
        events::{Event, EventType, Recorder},
        reflector::{Store, store::WriterDropped},
    },
};
use spore_core::tags::{Identity, Kind};
use spore_crds::{SporeArray, SporeInstance, SporeSweep};

use crate::{
    aws::{Leftover, LeftoverKind},
    cloud::Instance,
    limiter::Call,
    plan::orphans::{Belonging, Suspects},
    reconcile::Context,
    unreadable::Readable,
};

/// Whether orphans are collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// They are.
    On,
    /// They are only told of.
    DryRun,
    /// They are left alone and not looked for.
    Off,
}

/// The objects of one kind, whatever it is.
pub struct Parents {
    ready: Box<dyn Fn() -> BoxFuture<'static, Result<(), WriterDropped>> + Send + Sync>,
    uids: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Parents {
    /// Those that a watch sees.
    #[must_use]
    pub fn of<K: Readable + Send + Sync + 'static>(store: Store<DeserializeGuard<K>>) -> Self {
        let waiting = store.clone();
        Self {
            ready: Box::new(move || {
                let store = waiting.clone();
                Box::pin(async move { store.wait_until_ready().await })
            }),
            uids: Box::new(move || {
                store
                    .state()
                    .iter()
                    .filter_map(|object| object.uid())
                    .collect()
            }),
        }
    }
}

/// Collects the orphans of all regions.
pub struct Collector {
    /// What it shares with the rest of the controller.
    pub context: Arc<Context>,
    /// Every object that may have launched something.
    pub parents: Vec<Parents>,
    /// To ask once more before anything is collected.
    pub client: Client,
    /// The one namespace that is judged, if there is only one.
    pub namespace: Option<String>,
    /// Whether it acts.
    pub mode: Mode,
    /// How often it looks.
    pub interval: Duration,
}

impl Collector {
    /// Collects for ever.
    pub async fn run(&self, region: &str) {
        if self.mode == Mode::Off {
            return;
        }
        for parents in &self.parents {
            if (parents.ready)().await.is_err() {
                return;
            }
        }
        let (mut instances, mut leftovers) = (Suspects::default(), Suspects::default());
        loop {
            tokio::time::sleep(self.interval).await;
            self.collect_instances(region, &mut instances).await;
            self.collect_leftovers(region, &mut leftovers).await;
        }
    }

    async fn collect_instances(&self, region: &str, suspects: &mut Suspects) {
        let live = self.context.world.region(region, |region| {
            region
                .instances()
                .filter(|instance| instance.state.is_live())
                .cloned()
                .collect::<Vec<_>>()
        });
        let belongings = live.iter().map(|i| Belonging {
            id: &i.id,
            identity: &i.identity,
            keep: i.keep,
        });
        let due = suspects.round(belongings, &self.living(), self.namespace.as_deref());
        for instance in live
            .iter()
            .filter(|instance| due.contains(&instance.id.as_str()))
        {
            if self.is_orphan(&instance.identity).await {
                self.collect_instance(instance).await;
            }
        }
    }

    async fn collect_instance(&self, instance: &Instance) {
        let Instance {
            id,
            region,
            identity,
            ..
        } = instance;
        if self.mode == Mode::DryRun {
            return self
                .tell("instance", id, identity, "would be terminated")
                .await;
        }
        let only = std::slice::from_ref(id);
        match self.context.terminate(region, only).await {
            Ok(()) => self.tell("instance", id, identity, "terminated").await,
            Err(error) => self.failed("instance", id, &error.to_string()),
        }
    }

    async fn collect_leftovers(&self, region: &str, suspects: &mut Suspects) {
        let cluster = &self.context.settings.cluster_uid;
        let Ok(found) = self.context.aws.leftovers(region, cluster).await else {
            // Told by whoever made the call; the next round looks again.
            return;
        };
        let belongings = found.iter().map(|l| Belonging {
            id: &l.id,
            identity: &l.identity,
            keep: l.keep,
        });
        // What is attached to nothing belongs to an instance that is gone, or not quite there yet; a
        // living parent's are left alone, because it may be the latter.
        let due = suspects.round(belongings, &self.living(), self.namespace.as_deref());
        for leftover in found
            .iter()
            .filter(|leftover| due.contains(&leftover.id.as_str()))
        {
            if self.is_orphan(&leftover.identity).await {
                self.collect_leftover(leftover).await;
            }
        }
    }

    async fn collect_leftover(&self, leftover: &Leftover) {
        let Leftover {
            kind,
            id,
            region,
            identity,
            ..
        } = leftover;
        let kind = match kind {
            LeftoverKind::Volume => "volume",
            LeftoverKind::NetworkInterface => "network interface",
        };
        if self.mode == Mode::DryRun {
            return self.tell(kind, id, identity, "would be deleted").await;
        }
        if self
            .context
            .limiter
            .take(region, Call::Change, 1, (self.context.clock)())
            .is_err()
        {
            return;
        }
        match self.context.aws.delete_leftover(leftover).await {
            Ok(()) => self.tell(kind, id, identity, "deleted").await,
            Err(error) => self.failed(kind, id, &error.to_string()),
        }
    }

    fn living(&self) -> HashSet<String> {
        let parents = self.parents.iter();
        parents.flat_map(|parents| (parents.uids)()).collect()
    }

    /// Asks the API server itself: the store may lag behind an object that has just been made.
    async fn is_orphan(&self, identity: &Identity) -> bool {
        let Some((namespace, _)) = identity.owner.split_once('/') else {
            return false;
        };
        // By UID and not by name, which the tag may have cut short; only metadata, which can always
        // be read.
        let uids = match identity.kind {
            Kind::SporeInstance => self.uids::<SporeInstance>(namespace).await,
            Kind::SporeArray => self.uids::<SporeArray>(namespace).await,
            Kind::SporeSweep => self.uids::<SporeSweep>(namespace).await,
        };
        match uids {
            Ok(uids) => !uids.contains(&identity.uid),
            Err(error) => {
                tracing::warn!(owner = identity.owner, %error, "cannot ask for a parent; nothing is collected");
                false
            }
        }
    }

    async fn uids<K: Readable>(&self, namespace: &str) -> Result<Vec<String>, kube::Error> {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let all = api.list_metadata(&ListParams::default()).await?;
        Ok(all
            .items
            .iter()
            .filter_map(kube::ResourceExt::uid)
            .collect())
    }

    async fn tell(&self, kind: &'static str, id: &str, identity: &Identity, what: &'static str) {
        let outcome = if self.mode == Mode::DryRun {
            "dry-run"
        } else {
            "collected"
        };
        self.context.metrics.orphan(kind, outcome);
        tracing::warn!(
            kind,
            id,
            owner = identity.owner,
            uid = identity.uid,
            "orphan {what}"
        );
        let Some((namespace, name)) = identity.owner.split_once('/') else {
            return;
        };
        let object = ObjectReference {
            api_version: Some("spore.host/v1alpha1".into()),
            kind: Some(identity.kind.to_string()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(identity.uid.clone()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: "OrphanCollected".into(),
            note: Some(format!("{kind} {id} has no living parent: {what}")),
            action: "Collect".into(),
            secondary: None,
        };
        let recorder: &Recorder = &self.context.recorder;
        if let Err(error) = recorder.publish(&event, &object).await {
            tracing::debug!(%error, "event not published");
        }
    }

    fn failed(&self, kind: &'static str, id: &str, error: &str) {
        self.context.metrics.orphan(kind, "failed");
        tracing::warn!(
            kind,
            id,
            error,
            "orphan not collected; the next round tries again"
        );
    }
}
