//! Objects that are stored but cannot be read.
//!
//! They are told of and otherwise left alone: their instances belong to a living object and end at
//! their deadline by agent and timer. Deletion works all the same, because metadata can always be read.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::{NamespaceResourceScope, error_boundary::InvalidObject},
    runtime::{
        controller::Action as Requeue,
        events::{Event, EventType},
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use spore_crds::FINALIZER;

use crate::{
    cloud::{Instance, InstanceState},
    reconcile::{Context, Error},
};

/// How soon a deletion is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A kind of object of a namespace.
pub trait Readable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}

impl<K> Readable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
{
}

impl Context {
    /// One pass over an object that cannot be read.
    ///
    /// # Errors
    /// If Kubernetes refuses to let go of an object of which nothing is left.
    pub async fn unreadable<K: Readable>(&self, object: &InvalidObject) -> Result<Requeue, Error> {
        let metadata = &object.metadata;
        let held = metadata
            .finalizers
            .iter()
            .flatten()
            .any(|name| name == FINALIZER);
        let Some(deleted) = metadata.deletion_timestamp.as_ref().filter(|_| held) else {
            self.tell_unreadable::<K>(object).await;
            return Ok(Requeue::await_change());
        };
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let going = self
            .world
            .instances_of(uid, |i| i.state != InstanceState::Terminated);
        for instance in going.iter().filter(|instance| instance.state.is_live()) {
            self.terminate_unread(instance).await;
        }
        // Whether a launch is under way stands in the status, which cannot be read.
        let absence = self.settings.absence;
        let certain = self.settings.regions.iter().all(|region| {
            self.world.region(region, |known| {
                known.view().proves_absence(deleted.0, absence)
            })
        });
        if !going.is_empty() || !certain {
            return Ok(Requeue::requeue(LOOK_AGAIN));
        }
        self.let_go_unread::<K>(object).await?;
        Ok(Requeue::await_change())
    }

    async fn terminate_unread(&self, instance: &Instance) {
        let Instance { id, region, .. } = instance;
        // A failure is told by whoever made the call; the next pass tries again.
        let _ = self.terminate(region, std::slice::from_ref(id)).await;
    }

    async fn let_go_unread<K: Readable>(&self, object: &InvalidObject) -> Result<(), Error> {
        let metadata = &object.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let others = metadata
            .finalizers
            .iter()
            .flatten()
            .filter(|name| *name != FINALIZER);
        let patch = json!({ "metadata": {
            "resourceVersion": metadata.resource_version,
            "finalizers": others.collect::<Vec<_>>(),
        }});
        Api::<K>::namespaced(self.client.clone(), namespace)
            .patch_metadata(
                metadata.name.as_deref().unwrap_or_default(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        self.metrics.reconciled("released");
        Ok(())
    }

    async fn tell_unreadable<K: Readable>(&self, object: &InvalidObject) {
        let metadata = &object.metadata;
        tracing::error!(
            spore = metadata.name,
            namespace = metadata.namespace,
            error = object.error,
            "this spore cannot be read; nothing is done about it until it is corrected or deleted"
        );
        self.metrics.reconciled("unreadable");
        let reference = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: "Unreadable".into(),
            note: Some(format!(
                "cannot be read: {}; correct it or delete it",
                object.error
            )),
            action: "Read".into(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(%error, "event not published");
        }
    }
}
