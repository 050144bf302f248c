//! Finding the object that somebody names.

use futures::future::join_all;
use kube::api::DynamicObject;

use crate::{
    client::{Cluster, nearest},
    error::Error,
    kind::{Kind, Reference},
};

impl Cluster {
    /// One object of a kind as stored. If there is none, the error names the one that was probably
    /// meant.
    pub(crate) async fn get_raw(&self, kind: Kind, name: &str) -> Result<DynamicObject, Error> {
        let api = self.raw(kind);
        match self.ask("get", kind.resource(), api.get(name)).await {
            Err(error @ Error::NotFound { .. }) => Err(self.did_you_mean(error, &[kind]).await),
            answer => answer,
        }
    }

    /// The object that a reference means. A name without a kind is that of a spore; if there is none,
    /// that of an array; if there is none, that of a sweep.
    pub(crate) async fn find(&self, reference: &Reference) -> Result<DynamicObject, Error> {
        let name = &reference.name;
        if let Some(kind) = reference.kind {
            return self.get_raw(kind, name).await;
        }
        let get = |kind: Kind| async move {
            let api = self.raw(kind);
            self.ask("get", kind.resource(), api.get(name)).await
        };
        let error = match get(Kind::Spore).await {
            Err(error @ Error::NotFound { .. }) => error,
            answer => return answer,
        };
        // Who may not see groups, or has none, is answered as if there were no such kinds.
        let groups = join_all([Kind::Array, Kind::Sweep].map(get)).await;
        match groups.into_iter().find_map(Result::ok) {
            Some(group) => Ok(group),
            None => Err(self.did_you_mean(error, &Kind::ALL).await),
        }
    }

    /// Adds to an error the nearest name among those of these kinds.
    async fn did_you_mean(&self, error: Error, kinds: &[Kind]) -> Error {
        let Error::NotFound {
            noun,
            name,
            namespace,
            ..
        } = error
        else {
            return error;
        };
        let names = join_all(kinds.iter().map(|kind| self.names(*kind))).await;
        let mut known = Vec::new();
        for (kind, names) in kinds.iter().zip(names) {
            known.extend(
                names
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| (*kind, name)),
            );
        }
        let bare = known
            .iter()
            .map(|(_, name)| name.clone())
            .collect::<Vec<_>>();
        let nearest = nearest(&name, &bare).map(|near| {
            let same = known.iter().find(|(_, name)| *name == near);
            // Where only one kind is asked for, its name says all.
            match same.filter(|_| kinds.len() > 1) {
                Some((kind, name)) => Reference::to(*kind, name).to_string(),
                None => near,
            }
        });
        Error::NotFound {
            noun,
            name,
            namespace,
            nearest,
        }
    }
}
