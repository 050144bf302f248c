//! What this process knows of the world: EC2's instances, its own calls, AWS's answers.
//!
//! One lock, held only to look or to write, never over a call. The rules by which knowledge changes
//! are in [`Region::apply`] and are pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use spore_core::tags::Kind;
use spore_crds::SporeInstance;

use crate::{
    cloud::{CloudError, Instance, InstanceState},
    facts::{Answer, Fact, Facts},
    plan::{LaunchOutcome, LaunchRecord, Problem, RegionView, View, launch},
    settings::{ABSENT_LISTS, Settings},
};

/// An object to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Everything known.
#[derive(Debug, Default)]
pub struct World {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    regions: HashMap<String, Region>,
    launches: HashMap<String, LaunchRecord>,
    problems: HashMap<String, Problem>,
    owners: HashMap<Belonging, Owner>,
    facts: Facts,
}

/// To what an instance belongs: the UID of the object that launched it, and the index of the member.
type Belonging = (String, Option<u32>);

/// What is known of one region.
#[derive(Debug, Default)]
pub struct Region {
    instances: HashMap<String, Entry>,
    /// Ids by the UID of the object that launched them, then by index.
    by_uid: HashMap<String, BTreeMap<Option<u32>, Vec<String>>>,
    lists: VecDeque<Timestamp>,
    first_list: Option<Timestamp>,
    error: Option<CloudError>,
}

#[derive(Debug)]
struct Entry {
    instance: Instance,
    /// When we last learned of it: a list begun earlier knows less.
    known_at: Timestamp,
    /// Complete lists in a row that did not show it.
    missed: u32,
}

impl Region {
    /// Takes in a complete list that was begun at `begun`; returns the instances that changed.
    ///
    /// An instance that the list does not show is kept, unchanged, until it is missing from
    /// [`ABSENT_LISTS`] lists and older than `absence`: EC2's lists lag. One that is gone already is
    /// dropped at once.
    pub fn apply(
        &mut self,
        list: Vec<Instance>,
        begun: Timestamp,
        absence: Duration,
    ) -> Vec<Instance> {
        self.error = None;
        self.first_list.get_or_insert(begun);
        self.lists.push_back(begun);
        while self.lists.len() > ABSENT_LISTS as usize {
            self.lists.pop_front();
        }
        let mut changed = Vec::new();
        for entry in self.instances.values_mut() {
            entry.missed += 1;
        }
        for instance in list {
            if self.put(instance.clone(), begun) {
                changed.push(instance);
            }
        }
        let is_gone = |entry: &Entry| {
            let age = begun.duration_since(entry.instance.launched_at.unwrap_or(entry.known_at));
            let lagging = age < jiff::SignedDuration::try_from(absence).unwrap_or_default();
            entry.missed > 0
                && (entry.instance.state == InstanceState::Terminated
                    || (entry.missed >= ABSENT_LISTS && !lagging))
        };
        let gone = self
            .instances
            .iter()
            .filter(|(_, e)| is_gone(e))
            .map(|(id, _)| id.clone())
            .collect::<Vec<_>>();
        for id in gone {
            if let Some(entry) = self.instances.remove(&id) {
                self.unindex(&entry.instance);
                changed.push(entry.instance);
            }
        }
        changed
    }

    fn unindex(&mut self, instance: &Instance) {
        let uid = &instance.identity.uid;
        let Some(members) = self.by_uid.get_mut(uid) else {
            return;
        };
        if let Some(ids) = members.get_mut(&instance.member) {
            ids.retain(|other| *other != instance.id);
            if ids.is_empty() {
                members.remove(&instance.member);
            }
        }
        if members.is_empty() {
            self.by_uid.remove(uid);
        }
    }

    /// Takes in one instance as it was at `at`; says whether that is news.
    fn put(&mut self, instance: Instance, at: Timestamp) -> bool {
        if let Some(entry) = self.instances.get_mut(&instance.id) {
            entry.missed = 0;
            if at < entry.known_at || entry.instance.state == InstanceState::Terminated {
                return false;
            }
            entry.known_at = at;
            if entry.instance == instance {
                return false;
            }
            entry.instance = instance;
            return true;
        }
        let members = self.by_uid.entry(instance.identity.uid.clone());
        let ids = members.or_default().entry(instance.member).or_default();
        ids.push(instance.id.clone());
        self.instances.insert(
            instance.id.clone(),
            Entry {
                instance,
                known_at: at,
                missed: 0,
            },
        );
        true
    }

    /// All instances that an object launched.
    pub fn of(&self, uid: &str) -> impl Iterator<Item = &Instance> {
        let members = self.by_uid.get(uid).into_iter();
        self.known(members.flat_map(BTreeMap::values).flatten())
    }

    /// The instances of one member, in all its attempts.
    fn of_member(&self, uid: &str, index: u32) -> impl Iterator<Item = &Instance> {
        let members = self.by_uid.get(uid);
        self.known(
            members
                .and_then(|members| members.get(&Some(index)))
                .into_iter()
                .flatten(),
        )
    }

    fn known<'a>(
        &'a self,
        ids: impl Iterator<Item = &'a String>,
    ) -> impl Iterator<Item = &'a Instance> {
        ids.filter_map(|id| self.instances.get(id).map(|entry| &entry.instance))
    }

    /// Every instance.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().map(|entry| &entry.instance)
    }

    /// How well it is known.
    #[must_use]
    pub fn view(&self) -> RegionView {
        RegionView {
            lists: self.lists.iter().copied().collect(),
            first_list: self.first_list,
            error: self.error.clone(),
        }
    }
}

/// What is known of an array or a sweep.
#[derive(Debug)]
pub struct Known<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// All regions.
    pub regions: &'a HashMap<String, Region>,
    /// What became of launches, by token.
    pub launches: &'a HashMap<String, LaunchRecord>,
    /// The last call for it that failed and has not succeeded since.
    pub problem: Option<&'a Problem>,
    /// What AWS told.
    pub facts: &'a Facts,
}

/// UID of the array or sweep that controls a member, which launched its instance.
#[must_use]
pub fn parent(spore: &SporeInstance) -> Option<&str> {
    spore.spec.member.as_ref()?;
    let owners = spore.meta().owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    controllers
        .find(|owner| {
            owner.api_version.starts_with("spore.host/")
                && matches!(owner.kind.as_str(), "SporeArray" | "SporeSweep")
        })
        .map(|owner| owner.uid.as_str())
}

/// To what the instances of a spore say that they belong.
fn belonging(spore: &SporeInstance) -> Belonging {
    match (parent(spore), &spore.spec.member) {
        (Some(parent), Some(member)) => (parent.to_owned(), Some(member.index)),
        _ => (spore.metadata.uid.clone().unwrap_or_default(), None),
    }
}

impl Inner {
    /// Instances tell their owner by UID; its name in their tags is for people, and cut short.
    fn remember(&mut self, belonging: &Belonging, kind: Kind, metadata: &ObjectMeta) {
        if self.owners.contains_key(belonging) {
            return;
        }
        let owner = Owner {
            kind,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        self.owners.insert(belonging.clone(), owner);
    }

    /// The instances of a spore, in any region. A member's are found under the UID of its array or
    /// sweep, which anybody could write into an object of their own namespace: only instances of the
    /// same namespace count.
    fn instances(&self, spore: &SporeInstance, belonging: &Belonging) -> Vec<Instance> {
        let (uid, member) = belonging;
        let namespace = spore.metadata.namespace.as_deref();
        let same = |instance: &&Instance| {
            let owner = instance.identity.owner.split_once('/');
            owner.map(|(namespace, _)| namespace) == namespace
        };
        let regions = self.regions.values();
        match member {
            Some(index) => regions
                .flat_map(|region| region.of_member(uid, *index))
                .filter(same)
                .cloned()
                .collect(),
            None => regions.flat_map(|region| region.of(uid)).cloned().collect(),
        }
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked held no half-made state: every write below is a single insertion.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows to `look` what is known of a spore.
    pub fn view<T>(
        &self,
        spore: &SporeInstance,
        settings: &Settings,
        look: impl FnOnce(&View<'_>) -> T,
    ) -> T {
        let mut inner = self.lock();
        let uid = spore.metadata.uid.as_deref().unwrap_or_default();
        let belonging = belonging(spore);
        inner.remember(&belonging, Kind::SporeInstance, &spore.metadata);
        let launch = spore
            .status
            .as_ref()
            .and_then(|status| status.launch.as_ref());
        let region = launch.map_or_else(
            || launch::region(&spore.spec, settings),
            |launch| launch.plan.region.as_str(),
        );
        look(&View {
            instances: inner.instances(spore, &belonging),
            region: inner
                .regions
                .get(region)
                .map(Region::view)
                .unwrap_or_default(),
            launch: launch
                .and_then(|launch| inner.launches.get(&launch.token))
                .cloned(),
            problem: inner.problems.get(uid).cloned(),
            facts: &inner.facts,
        })
    }

    /// The instances of one object, in any region, that are as wanted.
    #[must_use]
    pub fn instances_of(&self, uid: &str, wanted: impl Fn(&Instance) -> bool) -> Vec<Instance> {
        let inner = self.lock();
        let all = inner.regions.values().flat_map(|region| region.of(uid));
        all.filter(|instance| wanted(instance)).cloned().collect()
    }

    /// Takes in a complete list; returns the owners of what changed.
    pub fn listed(
        &self,
        region: &str,
        list: Vec<Instance>,
        begun: Timestamp,
        absence: Duration,
    ) -> Vec<Owner> {
        let mut inner = self.lock();
        let Inner {
            regions, owners, ..
        } = &mut *inner;
        let region = regions.entry(region.to_owned()).or_default();
        let first = region.lists.is_empty() || region.error.is_some();
        let changed = region.apply(list, begun, absence);
        // A change of a member concerns the member and what launched it.
        let concerned = |instance: &Instance| {
            let uid = &instance.identity.uid;
            let member = instance
                .member
                .and_then(|index| owners.get(&(uid.clone(), Some(index))));
            [member, owners.get(&(uid.clone(), None))]
                .into_iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
        };
        let concerned: HashSet<Owner> = if first {
            region.instances().flat_map(concerned).collect()
        } else {
            changed.iter().flat_map(concerned).collect()
        };
        concerned.into_iter().collect()
    }

    /// Shows to `look` what is known of an array or a sweep.
    pub fn group_view<T>(
        &self,
        kind: Kind,
        metadata: &ObjectMeta,
        look: impl FnOnce(&Known<'_>) -> T,
    ) -> T {
        let mut inner = self.lock();
        let uid = metadata.uid.clone().unwrap_or_default();
        inner.remember(&(uid.clone(), None), kind, metadata);
        look(&Known {
            uid: &uid,
            regions: &inner.regions,
            launches: &inner.launches,
            problem: inner.problems.get(&uid),
            facts: &inner.facts,
        })
    }

    /// The owner of what an object launched, told by UID.
    #[must_use]
    pub fn owner(&self, uid: &str) -> Option<Owner> {
        self.lock().owners.get(&(uid.to_owned(), None)).cloned()
    }

    /// A list failed.
    pub fn list_failed(&self, region: &str, error: CloudError) {
        self.lock()
            .regions
            .entry(region.to_owned())
            .or_default()
            .error = Some(error);
    }

    /// Looks at one region.
    pub fn region<T>(&self, region: &str, look: impl FnOnce(&Region) -> T) -> T {
        look(self.lock().regions.entry(region.to_owned()).or_default())
    }

    /// Takes in an instance from the reply of a call.
    pub fn saw(&self, instance: Instance, at: Timestamp) {
        self.lock()
            .regions
            .entry(instance.region.clone())
            .or_default()
            .put(instance, at);
    }

    /// Changes what is known of an instance after a call that EC2 accepted; says whether the instance
    /// is known at all.
    pub fn change(
        &self,
        region: &str,
        instance_id: &str,
        at: Timestamp,
        change: impl FnOnce(&mut Instance),
    ) -> bool {
        let mut inner = self.lock();
        let entry = inner
            .regions
            .get_mut(region)
            .and_then(|r| r.instances.get_mut(instance_id));
        let Some(entry) = entry else { return false };
        change(&mut entry.instance);
        entry.known_at = at;
        true
    }

    /// This process decided a launch: no earlier call of it can exist.
    pub fn decided(&self, token: &str) {
        self.lock().launches.entry(token.to_owned()).or_default();
    }

    /// A RunInstances call is about to be made. Until its answer is taken in by [`Self::called`] its
    /// effect is unclear, also if this task dies under it. Returns whether it was unclear before.
    #[must_use]
    pub fn calling(&self, token: &str, now: Timestamp) -> bool {
        let mut inner = self.lock();
        let record = inner
            .launches
            .entry(token.to_owned())
            .or_insert_with(LaunchRecord::inherited);
        record.calls += 1;
        record.called_at = Some(now);
        std::mem::replace(&mut record.unclear, true)
    }

    /// How a launch went; `before` is what [`Self::calling`] returned.
    pub fn called(&self, token: &str, before: bool, outcome: LaunchOutcome) {
        if let Some(record) = self.lock().launches.get_mut(token) {
            record.unclear = before
                || matches!(&outcome, LaunchOutcome::Failed { error, .. } if !error.class.is_definite());
            record.last = Some(outcome);
        }
    }

    /// A launch had to wait before it was called.
    pub fn deferred(&self, token: &str, until: Timestamp) {
        let mut inner = self.lock();
        let record = inner
            .launches
            .entry(token.to_owned())
            .or_insert_with(LaunchRecord::inherited);
        record.last = Some(LaunchOutcome::Deferred { until });
    }

    /// Keeps an answer of AWS.
    pub fn learned(&self, fact: Fact, answer: Result<Answer, CloudError>, now: Timestamp) {
        self.lock().facts.put(fact, answer, now);
    }

    /// Whether a fact is known or refused for now, so that it need not be asked.
    #[must_use]
    pub fn knows(&self, fact: &Fact, now: Timestamp) -> bool {
        self.lock().facts.get(fact, now) != crate::facts::Standing::Unknown
    }

    /// Whether a question is to be asked beside now; from here on it counts as being asked.
    pub fn ask_beside(&self, fact: &Fact, now: Timestamp) -> bool {
        self.lock().facts.ask_beside(fact, now)
    }

    /// Forgets the agent's profile.
    pub fn doubt_agent_profile(&self) {
        self.lock().facts.doubt_agent_profile();
    }

    /// A call for a spore failed.
    pub fn failed(
        &self,
        uid: &str,
        error: CloudError,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let mut inner = self.lock();
        let failures = inner
            .problems
            .get(uid)
            .map_or(0, |problem| problem.failures)
            + 1;
        let retry_at = retry_at.unwrap_or_else(|| {
            now.checked_add(error.class.retry_after(failures))
                .unwrap_or(Timestamp::MAX)
        });
        inner.problems.insert(
            uid.to_owned(),
            Problem {
                error,
                failures,
                retry_at,
            },
        );
    }

    /// A call for a spore succeeded.
    pub fn succeeded(&self, uid: &str) {
        self.lock().problems.remove(uid);
    }

    /// An array or a sweep is gone.
    pub fn forget_group(&self, metadata: &ObjectMeta) {
        let mut inner = self.lock();
        if let Some(uid) = &metadata.uid {
            inner.problems.remove(uid);
            inner.owners.remove(&(uid.clone(), None));
        }
    }

    /// A launch is certain or given up: its record is needed no more.
    pub fn closed(&self, token: &str) {
        self.lock().launches.remove(token);
    }

    /// A spore is gone.
    pub fn forget(&self, spore: &SporeInstance) {
        let mut inner = self.lock();
        if let Some(uid) = &spore.metadata.uid {
            inner.problems.remove(uid);
        }
        inner.owners.remove(&belonging(spore));
        // A member shares its launch with others.
        let own = spore
            .status
            .as_ref()
            .filter(|_| spore.spec.member.is_none());
        if let Some(launch) = own.and_then(|status| status.launch.as_ref()) {
            inner.launches.remove(&launch.token);
        }
    }
}
