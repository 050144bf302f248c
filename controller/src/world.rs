//! What this process knows of the world: EC2's instances, its own calls, AWS's answers.
//!
//! One lock, held only to look or to write, never over a call. The rules by which knowledge changes
//! are in [`Region`] and are pure.

mod region;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use spore_core::tags::Kind;
use spore_crds::SporeInstance;

use crate::{
    cloud::{CloudError, Instance, InstanceState, Seek},
    facts::{Answer, Fact, Facts},
    plan::{LaunchOutcome, LaunchRecord, Problem, View, launch},
    settings::Settings,
};

pub use self::region::Region;

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
    owners: HashMap<OwnerKey, Owner>,
    facts: Facts,
    /// What the next list of a region is to look for among instances that are gone.
    sought: HashMap<String, HashSet<Seek>>,
    /// What the list that is being made of a region looks for.
    looking: HashMap<String, HashSet<Seek>>,
    /// What was looked for by a list that was completed since.
    looked_up: HashSet<Seek>,
}

/// To what an instance belongs: the UID of the object that launched it, and the index of the member.
type Belonging = (String, Option<u32>);

/// A [`Belonging`] with the namespace of the member: the UID of somebody else's array or sweep can be
/// written into any object, but not into another namespace.
type OwnerKey = (String, Option<(u32, String)>);

fn owner_key((uid, member): &Belonging, namespace: &str) -> OwnerKey {
    let member = member.map(|index| (index, namespace.to_owned()));
    (uid.clone(), member)
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

/// How the instance of a spore is looked for if no list shows it.
fn sought(spore: &SporeInstance) -> Option<Seek> {
    let launch = spore.status.as_ref()?.launch.as_ref()?;
    Some(match &launch.instance_id {
        Some(id) => Seek::Instance(id.clone()),
        None => Seek::Launch(launch.token.clone()),
    })
}

impl Inner {
    /// Instances tell their owner by UID; its name in their tags is for people, and cut short.
    fn remember(&mut self, belonging: &Belonging, kind: Kind, metadata: &ObjectMeta) {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = || metadata.name.clone().unwrap_or_default();
        let key = owner_key(belonging, &namespace);
        self.owners.entry(key).or_insert_with(|| Owner {
            kind,
            namespace,
            name: name(),
        });
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
            // Of a member that nothing controls any more: what it was launched as says so still.
            None if spore.spec.member.is_some() => {
                let status = spore.status.as_ref();
                let launch = status.and_then(|status| status.launch.as_ref());
                let id = launch.and_then(|launch| launch.instance_id.as_ref());
                regions
                    .filter_map(|region| Some(&region.instances.get(id?)?.instance))
                    .filter(same)
                    .cloned()
                    .collect()
            }
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
            looked_up: sought(spore).is_some_and(|what| inner.looked_up.contains(&what)),
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

    /// The next list of a region is to look for this among instances that are gone.
    pub fn seek(&self, region: &str, what: Seek) {
        let mut inner = self.lock();
        let sought = inner.sought.entry(region.to_owned()).or_default();
        sought.insert(what);
    }

    /// What must be looked up among instances that are gone before a list of those that are present
    /// is complete: the live ones that it does not show, and what somebody seeks.
    #[must_use]
    pub fn missing(&self, region: &str, list: &[Instance]) -> HashSet<Seek> {
        let mut inner = self.lock();
        let sought = inner.sought.remove(region).unwrap_or_default();
        let looking = inner.looking.entry(region.to_owned()).or_default();
        looking.extend(sought.iter().cloned());
        let shown = list
            .iter()
            .map(|instance| instance.id.as_str())
            .collect::<HashSet<_>>();
        let known = inner.regions.get(region);
        let mut missing = known
            .map(|region| region.missing(&shown))
            .unwrap_or_default();
        missing.extend(sought.into_iter().filter(|what| match what {
            Seek::Instance(id) => !shown.contains(id.as_str()),
            Seek::Launch(_) => true,
        }));
        missing
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
            regions,
            owners,
            looking,
            looked_up,
            ..
        } = &mut *inner;
        looked_up.extend(looking.remove(region).unwrap_or_default());
        let region = regions.entry(region.to_owned()).or_default();
        let first = region.lists.is_empty() || region.error.is_some();
        let changed = region.apply(list, begun, absence);
        // A change of a member concerns the member and what launched it.
        let concerned = |instance: &Instance| {
            let uid = &instance.identity.uid;
            let namespace = instance.identity.owner.split_once('/');
            let namespace = namespace.map_or("", |(namespace, _)| namespace);
            let member = instance
                .member
                .and_then(|index| owners.get(&owner_key(&(uid.clone(), Some(index)), namespace)));
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
        let mut inner = self.lock();
        let looking = inner.looking.remove(region).unwrap_or_default();
        let sought = inner.sought.entry(region.to_owned()).or_default();
        sought.extend(looking);
        inner.regions.entry(region.to_owned()).or_default().error = Some(error);
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

    /// The status of a spore says that its instance is gone: nobody needs to see that instance more.
    pub fn taken_in(&self, spore: &SporeInstance) {
        let instance = spore.status.as_ref().and_then(|s| s.instance.as_ref());
        let Some(gone) = instance.filter(|instance| {
            instance.state.as_deref() == Some(InstanceState::Terminated.as_str())
        }) else {
            return;
        };
        let belonging = belonging(spore);
        let mut inner = self.lock();
        if let Some(what) = sought(spore) {
            inner.looked_up.remove(&what);
        }
        for region in inner.regions.values_mut() {
            region.drop_gone(&belonging, |instance| instance.id == gone.id);
        }
    }

    /// An array or a sweep is gone.
    pub fn forget_group(&self, metadata: &ObjectMeta) {
        let mut inner = self.lock();
        if let Some(uid) = &metadata.uid {
            for region in inner.regions.values_mut() {
                region.drop_all_gone(uid);
            }
            inner.problems.remove(uid);
            inner.owners.remove(&(uid.clone(), None));
        }
    }

    /// A launch is certain or given up: its record is needed no more.
    pub fn closed(&self, token: &str) {
        let mut inner = self.lock();
        inner.looked_up.remove(&Seek::Launch(token.to_owned()));
        inner.launches.remove(token);
    }

    /// A spore is gone.
    pub fn forget(&self, spore: &SporeInstance) {
        let mut inner = self.lock();
        if let Some(uid) = &spore.metadata.uid {
            inner.problems.remove(uid);
        }
        if let Some(what) = sought(spore) {
            inner.looked_up.remove(&what);
        }
        let belonging = belonging(spore);
        let namespace = spore.metadata.namespace.as_deref().unwrap_or_default();
        inner.owners.remove(&owner_key(&belonging, namespace));
        let attempt = spore.spec.member.as_ref().map(|member| member.attempt);
        for region in inner.regions.values_mut() {
            // A later attempt's may be gone too; its own object has not taken that in.
            region.drop_gone(&belonging, |instance| {
                attempt.is_none_or(|attempt| instance.identity.attempt <= attempt)
            });
        }
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
