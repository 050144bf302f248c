//! The loop over one spore: plan, store, act.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    core::error_boundary::DeserializeGuard,
    runtime::{controller::Action as Requeue, events::Recorder},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use spore_core::tags::Kind;
use spore_crds::{FINALIZER, SporeInstance, SporeInstanceStatus};

use crate::{
    aws::Aws,
    inventory::Inventory,
    limiter::Limiter,
    metrics::Metrics,
    plan::{Action, Plan, instance},
    settings::Settings,
    terminate::Terminations,
    world::{Owner, World, parent},
};

/// Rounds of planning in one pass. A launch from nothing takes five; more means that two rules
/// contradict each other, and the pass gives up rather than spin.
const ROUNDS: u32 = 12;

/// What every pass shares.
pub struct Context {
    /// To Kubernetes.
    pub client: Client,
    /// To AWS.
    pub aws: Aws,
    /// What is known.
    pub world: World,
    /// Lists of EC2.
    pub inventory: Inventory,
    /// EC2's call budget.
    pub limiter: Limiter,
    /// Terminations that wait to be made together.
    pub terminations: Terminations,
    /// The operator's decisions.
    pub settings: Settings,
    /// Publishes Events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// Takes objects that are to be looked at again.
    pub concerned: UnboundedSender<Owner>,
    /// Held while AWS is asked a fact, so that it is asked once.
    pub asking: tokio::sync::Mutex<()>,
}

/// Why a pass over a spore could not be finished. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or could not be reached.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] Box<kube::Error>),
    /// The plan did not settle.
    #[error("planning {namespace}/{name} did not settle in {ROUNDS} rounds")]
    Unsettled {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

impl Error {
    /// Whether our copy of the object was old: a newer one is on its way.
    fn is_stale(&self) -> bool {
        match self {
            Self::Kubernetes(error) => matches!(
                error.as_ref(),
                kube::Error::Api(status) if matches!(status.code, 404 | 409)
            ),
            Self::Unsettled { .. } => false,
        }
    }
}

/// A spore as it is watched: one that cannot be read does not hide the others.
pub type Watched = DeserializeGuard<SporeInstance>;

/// One pass over one spore, readable or not.
///
/// # Errors
/// If Kubernetes refuses a write, usually because our copy was old.
pub async fn reconcile(watched: Arc<Watched>, ctx: Arc<Context>) -> Result<Requeue, Error> {
    match &watched.0 {
        Ok(spore) => pass(spore.clone(), ctx).await,
        Err(unreadable) => ctx.unreadable::<SporeInstance>(unreadable).await,
    }
}

async fn pass(mut spore: SporeInstance, ctx: Arc<Context>) -> Result<Requeue, Error> {
    let api = Api::namespaced(ctx.client.clone(), &spore.namespace().unwrap_or_default());
    for _ in 0..ROUNDS {
        let now = (ctx.clock)();
        let plan = ctx.world.view(&spore, &ctx.settings, |view| {
            instance::plan(&spore, view, &ctx.settings, now)
        });
        let Plan {
            status,
            hold,
            actions,
            wake,
        } = plan;
        if !hold {
            return ctx.release(&api, &spore, actions).await;
        }
        if !spore.finalizers().iter().any(|name| name == FINALIZER) {
            if spore.metadata.deletion_timestamp.is_some() {
                return Ok(Requeue::await_change());
            }
            // Before anything is asked of AWS: from here on a deletion waits for us.
            let mut finalizers = spore.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            spore = set_finalizers(&api, &spore, finalizers).await?;
            continue;
        }
        let stored = spore.status.as_ref() != Some(&status);
        if stored {
            spore = ctx.store(&api, spore, status).await?;
        }
        let mut again = stored;
        for action in actions {
            again |= ctx.act(&spore, action).await;
        }
        if !again {
            ctx.metrics.reconciled("settled");
            ctx.world.taken_in(&spore);
            ctx.wake_parent(&spore);
            return Ok(requeue(wake, now));
        }
    }
    Err(Error::Unsettled {
        namespace: spore.namespace().unwrap_or_default(),
        name: spore.name_any(),
    })
}

/// What happens after a pass that failed.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the runtime calls"
)]
pub fn after_error(spore: Arc<Watched>, error: &Error, ctx: Arc<Context>) -> Requeue {
    failed(
        &ctx,
        Kind::SporeInstance,
        (spore.namespace().as_deref(), &spore.name_any()),
        error,
    )
}

/// Tells of a pass that failed, and says when it is tried again.
pub(crate) fn failed(
    ctx: &Context,
    kind: Kind,
    (namespace, name): (Option<&str>, &str),
    error: &Error,
) -> Requeue {
    if error.is_stale() {
        ctx.metrics.reconciled("stale");
        return Requeue::requeue(Duration::from_millis(500));
    }
    ctx.metrics.reconciled("failed");
    tracing::warn!(%kind, name, namespace, %error, "will be tried again");
    Requeue::requeue(Duration::from_secs(5))
}

impl Context {
    /// Stores a status, provided that nobody has changed the object since we read it: that is what
    /// keeps two controllers, or one with an old copy, from deciding two launches.
    async fn store(
        &self,
        api: &Api<SporeInstance>,
        mut spore: SporeInstance,
        status: SporeInstanceStatus,
    ) -> Result<SporeInstance, Error> {
        let decided = |status: Option<&SporeInstanceStatus>| {
            status
                .and_then(|status| status.launch.as_ref())
                .map(|launch| launch.token.clone())
        };
        let before = decided(spore.status.as_ref());
        let after = decided(Some(&status));
        spore.status = Some(status);
        let stored = api
            .replace_status(&spore.name_any(), &PostParams::default(), &spore)
            .await?;
        if let Some(token) = after.filter(|token| before.as_ref() != Some(token)) {
            self.world.decided(&token);
        }
        Ok(stored)
    }

    /// Has the array or sweep of a member look at it again.
    fn wake_parent(&self, spore: &SporeInstance) {
        if let Some(owner) = parent(spore).and_then(|uid| self.world.owner(uid)) {
            // The receiver lives as long as the controller; without it nobody needs to know.
            let _ = self.concerned.unbounded_send(owner);
        }
    }

    /// Lets go of an object of which nothing is left.
    async fn release(
        self: &Arc<Self>,
        api: &Api<SporeInstance>,
        spore: &SporeInstance,
        actions: Vec<Action>,
    ) -> Result<Requeue, Error> {
        if !spore.finalizers().iter().any(|name| name == FINALIZER) {
            return Ok(Requeue::await_change());
        }
        for action in actions {
            self.act(spore, action).await;
        }
        let others = spore
            .finalizers()
            .iter()
            .filter(|name| *name != FINALIZER)
            .cloned()
            .collect();
        set_finalizers(api, spore, others).await?;
        self.world.forget(spore);
        self.wake_parent(spore);
        self.metrics.reconciled("released");
        Ok(Requeue::await_change())
    }
}

/// Replaces the finalizers, provided that nobody has changed the object since we read it.
pub(crate) async fn set_finalizers<K>(
    api: &Api<K>,
    object: &K,
    finalizers: Vec<String>,
) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let patch = json!({
        "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers }
    });
    Ok(api
        .patch(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?)
}

pub(crate) fn requeue(wake: Option<Timestamp>, now: Timestamp) -> Requeue {
    match wake {
        None => Requeue::await_change(),
        Some(at) => {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
            // Never quicker than this: a wake in the past would spin.
            Requeue::requeue(wait.max(Duration::from_millis(100)))
        }
    }
}
