//! Arrays and sweeps: writing them and waiting for what becomes of them.

use std::{collections::BTreeMap, fmt::Debug};

use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{NamespaceResourceScope, error_boundary::DeserializeGuard},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spore_core::{indexes::IndexSet, tags};
use spore_crds::{GroupStatus, SporeArray, SporeInstance, SporeSweep, conditions};
use spore_world::{World, eventually, sim::Instance};

use crate::{PATIENCE, spores};

/// An array or a sweep.
pub trait Group:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + serde::Serialize
{
    /// What was stored of it.
    fn status(&self) -> Option<&GroupStatus>;

    /// A spec that is complete, over which a test lays its own.
    fn usual() -> Value;
}

impl Group for SporeArray {
    fn status(&self) -> Option<&GroupStatus> {
        self.status.as_ref()
    }

    fn usual() -> Value {
        json!({"template": {"instanceType": "t3.micro", "ttl": "1h"}})
    }
}

impl Group for SporeSweep {
    fn status(&self) -> Option<&GroupStatus> {
        self.status.as_ref()
    }

    fn usual() -> Value {
        json!({"template": {"instanceType": "t3.micro", "ttl": "1h"}})
    }
}

/// The objects of a kind in a world.
#[must_use]
pub fn all<K: Group>(world: &World) -> Api<K> {
    Api::namespaced(world.client(), world.namespace())
}

/// An object as the API server takes it: the spec given over the usual one.
#[must_use]
pub fn manifest<K: Group>(name: &str, spec: &Value) -> Value {
    let mut whole = K::usual();
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec.clone());
    }
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "spec": whole,
    })
}

/// Creates the object of a [`manifest`].
///
/// # Panics
/// If the API server refuses it.
pub async fn create<K: Group>(world: &World, name: &str, spec: Value) -> K {
    let object =
        serde_json::from_value(manifest::<K>(name, &spec)).expect("a spec that can be read");
    let made = all::<K>(world)
        .create(&PostParams::default(), &object)
        .await;
    made.expect("a spec that is taken")
}

/// Changes a spec; tells what the API server says if it refuses.
///
/// # Errors
/// What the API server says.
pub async fn change<K: Group>(world: &World, name: &str, spec: Value) -> Result<(), String> {
    let patch = Patch::Merge(json!({"spec": spec}));
    let api = all::<K>(world);
    let changed = api.patch(name, &PatchParams::default(), &patch).await;
    changed.map(drop).map_err(|error| error.to_string())
}

/// Waits until a status answers the present spec and is as wanted, and returns it.
pub async fn until<K: Group>(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&GroupStatus) -> bool,
) -> GroupStatus {
    let api = all::<K>(world);
    eventually(&format!("{name}: {what}"), PATIENCE, async || {
        let object = api.get(name).await.ok()?;
        let status = object.status()?.clone();
        let current = status.observed_generation == object.meta().generation;
        (current && wanted(&status)).then_some(status)
    })
    .await
}

/// Waits until every member has an instance that is up.
pub async fn until_up<K: Group>(world: &World, name: &str, members: u32) -> GroupStatus {
    let api = spores(world);
    eventually(&format!("{name}: {members} run"), PATIENCE, async || {
        let list = api.list(&ListParams::default()).await.ok()?;
        let mine = list.items.iter().filter(|child| is_of(child, name));
        let up = mine.filter(|child| instance_state(child) == Some("running"));
        (up.count() == members as usize).then_some(())
    })
    .await;
    until::<K>(world, name, "all launched", |status| {
        status.active == members && status.batches.is_empty()
    })
    .await
}

/// State of the instance of a member.
#[must_use]
pub fn instance_state(child: &SporeInstance) -> Option<&str> {
    child.status.as_ref()?.instance.as_ref()?.state.as_deref()
}

/// Waits until everything has ended and is gone.
pub async fn until_over<K: Group>(world: &World, name: &str) -> GroupStatus {
    until::<K>(world, name, "over", |status| status.finished_at.is_some()).await
}

/// Reason and message of a condition.
#[must_use]
pub fn told(status: &GroupStatus, condition: &str) -> (String, String) {
    conditions::get(&status.conditions, condition)
        .map(|condition| (condition.reason.clone(), condition.message.clone()))
        .unwrap_or_default()
}

/// Waits until a group is stalled; reason and message of that.
pub async fn stalled<K: Group>(world: &World, name: &str) -> (String, String) {
    let status = until::<K>(world, name, "stalled", |status| {
        conditions::is_true(&status.conditions, conditions::STALLED)
    })
    .await;
    told(&status, conditions::STALLED)
}

/// Why a group ended, empty if it has not.
#[must_use]
pub fn ended(status: &GroupStatus) -> &str {
    let ended = status.ended.as_ref();
    ended.map_or("", |ended| ended.reason.as_str())
}

fn is_of(child: &SporeInstance, name: &str) -> bool {
    let owners = child.owner_references().iter();
    owners.into_iter().any(|owner| owner.name == name)
}

/// The members that exist as objects and can be read, by index.
pub async fn members(world: &World, name: &str) -> BTreeMap<u32, SporeInstance> {
    let api = Api::<DeserializeGuard<SporeInstance>>::namespaced(world.client(), world.namespace());
    let list = api.list(&ListParams::default()).await;
    let list = list.expect("the API server answers").items.into_iter();
    list.filter_map(|child| child.0.ok())
        .filter(|child| is_of(child, name))
        .filter_map(|child| Some((child.spec.member.as_ref()?.index, child)))
        .collect()
}

/// Deletes a group and waits until nothing is left of it, objects of members included.
pub async fn delete<K: Group>(world: &World, name: &str) {
    let done = all::<K>(world).delete(name, &DeleteParams::default()).await;
    done.expect("it is there");
    until_gone::<K>(world, name).await;
}

/// Waits until nothing is left of a group, objects of members included.
pub async fn until_gone<K: Group>(world: &World, name: &str) {
    let api = all::<K>(world);
    eventually(&format!("{name} is gone"), 2 * PATIENCE, async || {
        let gone = matches!(api.get_opt(name).await, Ok(None));
        (gone && members(world, name).await.is_empty()).then_some(())
    })
    .await;
}

// ---- in EC2 ----

/// Every instance that a group ever had, by index, oldest first.
pub async fn instances(world: &World, uid: &str) -> BTreeMap<u32, Vec<Instance>> {
    let all = world.sim().instances().await.expect("the stand-in answers");
    let mut found = BTreeMap::<u32, Vec<Instance>>::new();
    for instance in all {
        if instance
            .tags
            .get(tags::PARENT)
            .is_some_and(|parent| parent == uid)
        {
            let index = index(&instance).expect("a member's instance tells its index");
            found.entry(index).or_default().push(instance);
        }
    }
    found
}

/// The index of the member that an instance is.
#[must_use]
pub fn index(instance: &Instance) -> Option<u32> {
    let members = instance.tags.get(tags::MEMBERS)?;
    members.parse::<IndexSet>().ok()?.nth(instance.launch_index)
}

/// Each of the first `size` indexes has exactly one live instance and never had another at the same
/// attempt.
///
/// # Panics
/// If one has none or two.
pub async fn one_each(world: &World, uid: &str, size: u32) {
    let found = instances(world, uid).await;
    let live = |all: &Vec<Instance>| all.iter().filter(|instance| instance.is_live()).count();
    for index in 0..size {
        let all = found.get(&index).cloned().unwrap_or_default();
        assert_eq!(live(&all), 1, "live instances of member {index}: {all:?}");
    }
    never_two(&found);
}

/// No index ever had two instances at the same attempt.
///
/// # Panics
/// If one had.
pub fn never_two(found: &BTreeMap<u32, Vec<Instance>>) {
    for (index, all) in found {
        let attempts = all.iter().map(|instance| &instance.tags[tags::ATTEMPT]);
        let mut attempts = attempts.collect::<Vec<_>>();
        attempts.sort();
        let before = attempts.len();
        attempts.dedup();
        assert_eq!(
            attempts.len(),
            before,
            "member {index} was launched twice: {all:?}"
        );
    }
}

/// Waits until nothing of ours is left in EC2.
pub async fn nothing_left(world: &World) {
    eventually("EC2 is empty", PATIENCE, async || {
        let audit = world.sim().audit().await.ok()?;
        let left = audit.live_instances + audit.volumes + audit.network_interfaces;
        (left == 0).then_some(())
    })
    .await;
}

/// The most instances of a group that were ever alive at one moment, by the stand-in's own records.
pub async fn most_at_once(world: &World, uid: &str) -> u64 {
    let audit = world.sim().audit().await.expect("the stand-in answers");
    let most = audit
        .max_live_per_tag
        .get(tags::UID)
        .and_then(|tag| tag.get(uid));
    most.copied().unwrap_or_default()
}
