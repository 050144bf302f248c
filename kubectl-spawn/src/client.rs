//! The connection to the cluster, and what its answers mean.

use std::{
    fmt::{Debug, Display},
    future::Future,
    time::Duration,
};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams, Request},
    core::{DeserializeGuard, NamespaceResourceScope, TypeMeta, error_boundary::InvalidObject},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spore_crds::SporeInstance;

use crate::{
    cli::Global,
    error::{Error, chain},
    kind::{Kind, Spawned},
    kubeconfig, transport,
};

/// Enough for any cluster that answers at all; the default is three times as long.
const CONNECT: Duration = Duration::from_secs(10);
/// The field manager of what this program writes.
pub(crate) const MANAGER: &str = "kubectl-spawn";
/// As many as kubectl asks for at once.
const PAGE: u32 = 500;

/// An object, or what is known of one that this program does not understand. One such object must not
/// keep the others from being seen.
pub(crate) type Guarded<K = SporeInstance> = DeserializeGuard<K>;

/// A cluster, and the namespace in it that the command is about.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// The connection.
    pub(crate) client: Client,
    /// The namespace.
    pub(crate) namespace: String,
    /// The URL of the API server.
    pub(crate) server: String,
    /// The kubeconfig context.
    pub(crate) context: String,
    patience: Option<Duration>,
    namespace_said: bool,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub(crate) async fn connect(global: &Global) -> Result<Self, Error> {
        let (mut config, context) = kubeconfig::load(global).await?;
        config.connect_timeout = Some(CONNECT);
        if let Some(user) = &global.as_user {
            config.auth_info.impersonate = Some(user.clone());
        }
        let server = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let namespace = global
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = transport::client(config).map_err(|error| Error::Config(chain(&error)))?;
        Ok(Self {
            client,
            namespace,
            server,
            context,
            patience: global.request_timeout.0,
            namespace_said: global.namespace.is_some(),
        })
    }

    /// An object as further commands must name it: `train`, or `array/train -n lab` if a namespace was
    /// given.
    pub(crate) fn target(&self, name: impl Display) -> String {
        match self.namespace_said {
            true => format!("{name} -n {}", self.namespace),
            false => name.to_string(),
        }
    }

    /// The objects of the namespace, or of all namespaces.
    pub(crate) fn api<K>(&self, everywhere: bool) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match everywhere {
            true => Api::all(self.client.clone()),
            false => Api::namespaced(self.client.clone(), &self.namespace),
        }
    }

    /// The objects of the namespace as stored.
    pub(crate) fn raw(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.api())
    }

    /// Waits for an answer, no longer than `--request-timeout`, and says what a failure means.
    pub(crate) async fn ask<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let answer = match self.patience {
            None => answer.await,
            Some(patience) => {
                tokio::time::timeout(patience, answer)
                    .await
                    .map_err(|_| Error::Slow {
                        server: self.server.clone(),
                        seconds: patience.as_secs(),
                    })?
            }
        };
        answer.map_err(|error| self.explain(verb, resource, &error))
    }

    /// The names of all objects of a kind in the namespace.
    pub(crate) async fn names(&self, kind: Kind) -> Result<Vec<String>, Error> {
        let api = self.raw(kind);
        let params = ListParams::default();
        let list = self
            .ask("list", kind.resource(), api.list_metadata(&params))
            .await?;
        Ok(list.items.iter().map(PartialObjectMeta::name_any).collect())
    }

    /// All objects of the namespace, or of all namespaces, that a label selector picks.
    pub(crate) async fn list<K: Spawned>(
        &self,
        everywhere: bool,
        selector: Option<&str>,
    ) -> Result<Vec<Guarded<K>>, Error> {
        let resource = K::KIND.resource();
        let all = self.api::<K>(everywhere);
        match self.pages(resource, &all, selector).await {
            // Reading each by itself takes several times as long, so only if it must be.
            Err(Error::Unreadable { .. }) => {
                let guarded = self.api::<Guarded<K>>(everywhere);
                self.pages(resource, &guarded, selector).await
            }
            objects => Ok(objects?
                .into_iter()
                .map(|object| DeserializeGuard(Ok(object)))
                .collect()),
        }
    }

    /// The same as stored, with whatever this program does not know.
    pub(crate) async fn list_raw(
        &self,
        kind: Kind,
        everywhere: bool,
        selector: Option<&str>,
    ) -> Result<Vec<DynamicObject>, Error> {
        let api = match everywhere {
            true => Api::all_with(self.client.clone(), &kind.api()),
            false => self.raw(kind),
        };
        let mut objects = self.pages(kind.resource(), &api, selector).await?;
        let types = TypeMeta {
            api_version: kind.api().api_version,
            kind: kind.word().to_owned(),
        };
        for object in &mut objects {
            // Members of a list come without it; outside of the list it is missed.
            object.types = Some(types.clone());
        }
        Ok(objects)
    }

    /// All pages of a list.
    pub(crate) async fn pages<K>(
        &self,
        resource: &'static str,
        api: &Api<K>,
        selector: Option<&str>,
    ) -> Result<Vec<K>, Error>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector = selector.map(ToOwned::to_owned);
        let mut all = Vec::new();
        loop {
            let page = self.ask("list", resource, api.list(&params)).await;
            let page = page.map_err(|error| about_selector(error, selector))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// Changes some fields of an object, unless another has taken its name since it was read.
    pub(crate) async fn merge<K: Spawned>(&self, object: &K, change: &Value) -> Result<(), Error> {
        let mut change = change.clone();
        change["metadata"] = json!({"uid": object.meta().uid});
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&change);
        let api = self.raw(K::KIND);
        let name = object.name_any();
        let answer = api.patch(&name, &params, &patch);
        self.ask("patch", K::KIND.resource(), answer)
            .await
            .map(|_| ())
    }

    /// Stores a new object, or only has it checked; refused if its name is taken.
    pub(crate) async fn create(
        &self,
        kind: Kind,
        object: &Value,
        params: &PostParams,
    ) -> Result<DynamicObject, Error> {
        let path = DynamicObject::url_path(&kind.api(), Some(&self.namespace));
        let body = object.to_string().into_bytes();
        let answer = async {
            let request = Request::new(path)
                .create(params, body)
                .map_err(kube::Error::BuildRequest)?;
            self.client.request(request).await
        };
        self.ask("create", kind.resource(), answer).await
    }
}

/// Of a list, the API server can refuse nothing but the selector.
pub(crate) fn about_selector(error: Error, selector: Option<&str>) -> Error {
    match (error, selector) {
        (Error::Refused(detail), Some(selector)) => Error::Usage {
            what: format!("{selector} does not select by labels: {detail}"),
            advice: "Write -l team=ml, -l 'team in (ml, web)', or several with commas between."
                .into(),
        },
        (error, _) => error,
    }
}

/// Reads what is stored.
pub(crate) fn read<K: Spawned>(raw: DynamicObject) -> Result<K, Error> {
    guarded(raw).0.map_err(|object| Error::unreadable(&object))
}

/// Reads what is stored, as far as it can be read.
pub(crate) fn guarded<K: Spawned>(raw: DynamicObject) -> Guarded<K> {
    let metadata = raw.metadata.clone();
    DeserializeGuard(raw.try_parse().map_err(|error| InvalidObject {
        error: chain(&error),
        metadata,
    }))
}

/// The known name nearest to one that is not there, if it is near enough to be a slip.
pub(crate) fn nearest(name: &str, known: &[String]) -> Option<String> {
    let near = name.len() / 3 + 1;
    known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, other)| other.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::Config;

    use super::*;

    #[test]
    fn a_slip_is_answered_with_the_name_that_was_meant() {
        let known = ["train", "render-1", "render-2"].map(ToOwned::to_owned);
        assert_eq!(nearest("tarin", &known).as_deref(), Some("train"));
        assert_eq!(nearest("render1", &known).as_deref(), Some("render-1"));
        assert_eq!(nearest("database", &known), None);
    }

    pub(crate) fn cluster() -> Cluster {
        let config = Config::new("https://127.0.0.1:1".parse().unwrap());
        crate::install_crypto();
        Cluster {
            client: Client::try_from(config).unwrap(),
            namespace: "lab".into(),
            server: "https://127.0.0.1:1".into(),
            context: "test".into(),
            patience: None,
            namespace_said: true,
        }
    }

    #[tokio::test]
    async fn further_commands_name_the_namespace_only_if_the_user_did() {
        let mut cluster = cluster();
        assert_eq!(cluster.target("train"), "train -n lab");
        cluster.namespace_said = false;
        assert_eq!(cluster.target("train"), "train");
    }
}
