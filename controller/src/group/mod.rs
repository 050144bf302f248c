//! The loop over one array or sweep: plan, store, act.
//!
//! It is the loop of [`crate::reconcile`] with two differences: its members are objects of their own,
//! seen through a watch, so that it waits for that watch after it has made some; and what it launches,
//! it launches many at a time.

mod act;
mod results;
mod sweep;
mod wake;

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Resource, ResourceExt as _,
    api::PostParams,
    core::{NamespaceResourceScope, error_boundary::DeserializeGuard},
    runtime::{controller::Action as Requeue, reflector::Store},
};
use serde::{Serialize, de::DeserializeOwned};
use spore_core::tags::Kind;
use spore_crds::{FINALIZER, GroupStatus, SporeArray, SporeInstance};

pub use self::wake::route;
use crate::{
    plan::{
        RegionView,
        group::{self, Group, GroupAction, GroupPlan, GroupView, Taken, Unreadable, source},
    },
    reconcile::{Context, Error, Watched, set_finalizers},
    world::parent,
};

/// Rounds of planning in one pass. Each launches or makes up to a hundred members; a pass that needs
/// more goes on in the next.
const ROUNDS: u32 = 64;

/// What every pass over arrays and sweeps shares.
pub struct Groups {
    /// What it shares with the rest of the controller.
    pub context: Arc<Context>,
    /// Every `SporeInstance` that there is.
    pub members: Store<Watched>,
    /// The resource version that we wrote last of each object, by UID: older copies are not planned
    /// from.
    written: Mutex<HashMap<String, u64>>,
    /// The rows of each sweep, by UID.
    rows: Mutex<HashMap<String, Arc<sweep::Read>>>,
}

impl Groups {
    /// Shares a context, with a watch of all members.
    #[must_use]
    pub fn new(context: Arc<Context>, members: Store<Watched>) -> Self {
        Self {
            context,
            members,
            written: Mutex::default(),
            rows: Mutex::default(),
        }
    }
}

/// An array or a sweep.
pub trait Collection:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Which of the two.
    const KIND: Kind;

    /// What was stored of it.
    fn status(&self) -> Option<&GroupStatus>;

    /// Sets what is to be stored of it.
    fn set_status(&mut self, status: GroupStatus);

    /// Reads what makes up its members and shows it to `look`.
    fn look<T: Send>(
        &self,
        groups: &Groups,
        look: impl FnOnce(&Group<'_>) -> T + Send,
    ) -> impl Future<Output = T> + Send;
}

impl Collection for SporeArray {
    const KIND: Kind = Kind::SporeArray;

    fn status(&self) -> Option<&GroupStatus> {
        self.status.as_ref()
    }

    fn set_status(&mut self, status: GroupStatus) {
        self.status = Some(status);
    }

    async fn look<T: Send>(
        &self,
        _groups: &Groups,
        look: impl FnOnce(&Group<'_>) -> T + Send,
    ) -> T {
        look(&source::of_array(self))
    }
}

/// One pass over one array or sweep, readable or not.
///
/// # Errors
/// If Kubernetes refuses a write, usually because our copy was old.
pub async fn reconcile<K: Collection>(
    watched: Arc<DeserializeGuard<K>>,
    groups: Arc<Groups>,
) -> Result<Requeue, Error> {
    match &watched.0 {
        Ok(object) => pass(object.clone(), &groups).await,
        Err(unreadable) => groups.context.unreadable::<K>(unreadable).await,
    }
}

async fn pass<K: Collection>(mut object: K, groups: &Groups) -> Result<Requeue, Error> {
    let ctx = &groups.context;
    let namespace = object.namespace().unwrap_or_default();
    let api = Api::<K>::namespaced(ctx.client.clone(), &namespace);
    if groups.is_old(&object) {
        // The newer one is on its way through the watch.
        return Ok(Requeue::requeue(Duration::from_millis(100)));
    }
    for _ in 0..ROUNDS {
        let now = (ctx.clock)();
        let plan = groups.plan(&object, now).await;
        let GroupPlan {
            results,
            status,
            hold,
            actions,
            wake,
        } = plan;
        if !hold {
            return groups.release(&api, &object, actions).await;
        }
        if !object.finalizers().iter().any(|name| name == FINALIZER) {
            if object.meta().deletion_timestamp.is_some() {
                return Ok(Requeue::await_change());
            }
            // Before anything is asked of AWS: from here on a deletion waits for us.
            let mut finalizers = object.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            object = groups.set_finalizers(&api, &object, finalizers).await?;
            continue;
        }
        // Results before the status that counts them, so that none can be counted and lost.
        groups.keep(&object, results).await?;
        let stored = object.status() != Some(&status);
        if stored {
            object = groups.store(&api, object, status).await?;
        }
        let again = groups.act(&object, actions).await;
        if !(again || stored) {
            ctx.metrics.reconciled("settled");
            return Ok(crate::reconcile::requeue(wake, now));
        }
    }
    Ok(Requeue::requeue(Duration::from_millis(100)))
}

/// What happens after a pass that failed.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the runtime calls"
)]
pub fn after_error<K: Collection>(
    object: Arc<DeserializeGuard<K>>,
    error: &Error,
    groups: Arc<Groups>,
) -> Requeue {
    crate::reconcile::failed(
        &groups.context,
        K::KIND,
        (object.namespace().as_deref(), &object.name_any()),
        error,
    )
}

impl Groups {
    async fn plan<K: Collection>(&self, object: &K, now: Timestamp) -> GroupPlan {
        let ctx = &self.context;
        let uid = object.uid().unwrap_or_default();
        let all = self.members.state();
        let children = || {
            all.iter()
                .filter_map(|watched| watched.0.as_ref().ok())
                .filter(|child| parent(child) == Some(&uid))
                .filter(|child| child.metadata.namespace == object.namespace())
                .collect::<Vec<&SporeInstance>>()
        };
        let unreadable = || {
            all.iter()
                .filter_map(|watched| watched.0.as_ref().err())
                .filter(|unread| unread.metadata.namespace == object.namespace())
                .filter_map(|unread| unreadable_member(&unread.metadata, &uid))
                .collect::<Vec<_>>()
        };
        let taken = |size: u32| {
            let others = all
                .iter()
                .filter(|other| other.namespace() == object.namespace());
            others
                .filter(|other| is_name_of_member(&other.name_any(), &object.name_any(), size))
                .filter_map(|other| taken_by(object, other))
                .collect::<Vec<_>>()
        };
        object
            .look(self, |group| {
                ctx.world.group_view(K::KIND, object.meta(), |known| {
                    let regions = ctx.settings.regions.iter().map(|region| {
                        let view = known.regions.get(region).map(crate::world::Region::view);
                        (region.clone(), view.unwrap_or_default())
                    });
                    let view = GroupView {
                        children: children(),
                        unreadable: unreadable(),
                        taken: taken(group.size),
                        instances: known
                            .regions
                            .values()
                            .flat_map(|region| region.of(known.uid))
                            .collect(),
                        regions: regions.collect::<std::collections::BTreeMap<_, RegionView>>(),
                        launches: known.launches,
                        problem: known.problem,
                        facts: known.facts,
                    };
                    group::plan(group, &view, &ctx.settings, now)
                })
            })
            .await
    }

    /// Stores a status, provided that nobody has changed the object since we read it.
    async fn store<K: Collection>(
        &self,
        api: &Api<K>,
        mut object: K,
        status: GroupStatus,
    ) -> Result<K, Error> {
        let tokens = |status: &GroupStatus| {
            let batches = status.batches.iter();
            batches.map(|batch| batch.token.clone()).collect::<Vec<_>>()
        };
        let before = object.status().map(tokens).unwrap_or_default();
        let after = tokens(&status);
        object.set_status(status);
        let stored = api
            .replace_status(&object.name_any(), &PostParams::default(), &object)
            .await?;
        for token in after.iter().filter(|token| !before.contains(token)) {
            self.context.world.decided(token);
        }
        self.wrote(&stored);
        Ok(stored)
    }

    async fn set_finalizers<K: Collection>(
        &self,
        api: &Api<K>,
        object: &K,
        finalizers: Vec<String>,
    ) -> Result<K, Error> {
        let stored = set_finalizers(api, object, finalizers).await?;
        self.wrote(&stored);
        Ok(stored)
    }

    /// Lets go of an object of which nothing is left.
    async fn release<K: Collection>(
        &self,
        api: &Api<K>,
        object: &K,
        actions: Vec<GroupAction>,
    ) -> Result<Requeue, Error> {
        if !object.finalizers().iter().any(|name| name == FINALIZER) {
            return Ok(Requeue::await_change());
        }
        self.act(object, actions).await;
        let others = object
            .finalizers()
            .iter()
            .filter(|name| *name != FINALIZER)
            .cloned()
            .collect();
        self.set_finalizers(api, object, others).await?;
        self.context.world.forget_group(object.meta());
        if let Some(uid) = object.uid() {
            self.lock_written().remove(&uid);
            self.lock_rows().remove(&uid);
        }
        self.context.metrics.reconciled("released");
        Ok(Requeue::await_change())
    }

    /// Whether we have written a newer version of this object. Resource versions of one kind grow
    /// (Kubernetes API concepts, "Resource versions").
    fn is_old<K: Collection>(&self, object: &K) -> bool {
        let version = version(object);
        let uid = object.uid().unwrap_or_default();
        self.lock_written()
            .get(&uid)
            .is_some_and(|written| version.is_some_and(|version| version < *written))
    }

    fn wrote<K: Collection>(&self, object: &K) {
        if let Some((uid, version)) = object.uid().zip(version(object)) {
            self.lock_written().insert(uid, version);
        }
    }

    fn lock_rows(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<sweep::Read>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_written(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the metadata of a member tells, of which nothing else can be read.
fn unreadable_member(metadata: &ObjectMeta, parent: &str) -> Option<Unreadable> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.uid == parent && owner.controller == Some(true))?;
    let name = metadata.name.clone()?;
    let (_, index) = name.rsplit_once('-')?;
    Some(Unreadable {
        index: index.parse().ok()?,
        uid: metadata.uid.clone()?,
        name,
    })
}

/// Whether a name is that of a member of a group of this name and size.
fn is_name_of_member(name: &str, group: &str, size: u32) -> bool {
    let index = name
        .strip_prefix(group)
        .and_then(|rest| rest.strip_prefix('-'))
        .filter(|digits| !digits.starts_with('+') && (*digits == "0" || !digits.starts_with('0')));
    index
        .and_then(|digits| digits.parse::<u32>().ok())
        .is_some_and(|index| index < size)
}

/// An object that has the name of a member and is none.
fn taken_by<K: Collection>(object: &K, other: &Watched) -> Option<Taken> {
    let owners = other.meta().owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    let owner = controllers.next();
    if owner.is_some_and(|owner| Some(&owner.uid) == object.uid().as_ref()) {
        return None;
    }
    let same =
        |owner: &OwnerReference| owner.kind == K::KIND.as_str() && owner.name == object.name_any();
    Some(Taken {
        name: other.name_any(),
        left_over: owner.is_some_and(same),
    })
}

fn version<K: Collection>(object: &K) -> Option<u64> {
    object.resource_version()?.parse().ok()
}
