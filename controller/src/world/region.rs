//! What is known of one region, and the rules by which that changes.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::Belonging;
use crate::{
    cloud::{CloudError, Instance, InstanceState, Seek},
    plan::RegionView,
    settings::ABSENT_LISTS,
};

/// What is known of one region.
#[derive(Debug, Default)]
pub struct Region {
    pub(super) instances: HashMap<String, Entry>,
    /// Ids by the UID of the object that launched them, then by index.
    by_uid: HashMap<String, BTreeMap<Option<u32>, Vec<String>>>,
    pub(super) lists: VecDeque<Timestamp>,
    first_list: Option<Timestamp>,
    pub(super) error: Option<CloudError>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) instance: Instance,
    /// When we last learned of it: a list begun earlier knows less.
    pub(super) known_at: Timestamp,
    /// Complete lists in a row that did not show it.
    missed: u32,
}

/// How long an instance that is gone is kept if nobody takes that in: as long as EC2 shows it.
const GONE_KEPT: SignedDuration = SignedDuration::from_hours(1);

impl Region {
    /// Live instances that a list of everything present does not show. What became of them is to be
    /// looked up before the list is taken in.
    pub(super) fn missing(&self, shown: &HashSet<&str>) -> HashSet<Seek> {
        self.instances
            .values()
            .map(|entry| &entry.instance)
            .filter(|instance| instance.state != InstanceState::Terminated)
            .filter(|instance| !shown.contains(instance.id.as_str()))
            .map(|instance| Seek::Instance(instance.id.clone()))
            .collect()
    }

    /// Takes in a complete list that was begun at `begun`: everything present, and what was found of
    /// that which was looked up. Returns the instances that changed.
    ///
    /// An instance that the list does not show is kept, unchanged, until it is missing from
    /// [`ABSENT_LISTS`] lists and older than `absence`: EC2's lists lag. One that is gone is in no
    /// list; it is kept until its owner has taken that in ([`taken_in`](super::World::taken_in)), or for
    /// an hour.
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
            let lagging = age < SignedDuration::try_from(absence).unwrap_or_default();
            if entry.instance.state == InstanceState::Terminated {
                return begun.duration_since(entry.known_at) >= GONE_KEPT;
            }
            entry.missed >= ABSENT_LISTS && !lagging
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
    pub(super) fn put(&mut self, instance: Instance, at: Timestamp) -> bool {
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

    /// Forgets instances of a member, or of whoever is none, that are gone.
    pub(super) fn drop_gone(
        &mut self,
        (uid, member): &Belonging,
        which: impl Fn(&Instance) -> bool,
    ) {
        let ids = self.by_uid.get(uid).and_then(|members| members.get(member));
        for id in ids.cloned().unwrap_or_default() {
            let gone = self.instances.get(&id).is_some_and(|entry| {
                entry.instance.state == InstanceState::Terminated && which(&entry.instance)
            });
            if gone && let Some(entry) = self.instances.remove(&id) {
                self.unindex(&entry.instance);
            }
        }
    }

    /// Forgets all instances of an array or a sweep that are gone.
    pub(super) fn drop_all_gone(&mut self, uid: &str) {
        let members = self.by_uid.get(uid).into_iter().flat_map(BTreeMap::keys);
        for member in members.copied().collect::<Vec<_>>() {
            self.drop_gone(&(uid.to_owned(), member), |_| true);
        }
    }

    /// All instances that an object launched.
    pub fn of(&self, uid: &str) -> impl Iterator<Item = &Instance> {
        let members = self.by_uid.get(uid).into_iter();
        self.known(members.flat_map(BTreeMap::values).flatten())
    }

    /// The instances of one member, in all its attempts.
    pub(super) fn of_member(&self, uid: &str, index: u32) -> impl Iterator<Item = &Instance> {
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

#[cfg(test)]
mod tests {
    use spore_core::tags::{Identity, Kind, Report};

    use super::*;

    const ABSENCE: Duration = Duration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn instance(id: &str, state: InstanceState) -> Instance {
        Instance {
            id: id.into(),
            region: "r".into(),
            state,
            state_reason: None,
            instance_type: "t3.micro".into(),
            zone: None,
            image_id: None,
            private_ip: None,
            public_ip: None,
            launched_at: Some(at(0)),
            client_token: None,
            identity: Identity {
                cluster: "c".into(),
                uid: "u".into(),
                parent: "u".into(),
                owner: "ns/name".into(),
                kind: Kind::SporeInstance,
                attempt: 1,
                deadline: None,
                members: None,
            },
            report: Report::default(),
            member: None,
            peers: None,
            market: spore_crds::Market::OnDemand,
            keep: false,
        }
    }

    fn missing(region: &Region, shown: &[&str]) -> HashSet<Seek> {
        region.missing(&shown.iter().copied().collect())
    }

    #[test]
    fn what_has_vanished_is_looked_up_until_it_was_found_gone() {
        let mut region = Region::default();
        let running = || instance("i-1", InstanceState::Running);
        region.apply(vec![running()], at(0), ABSENCE);
        assert!(missing(&region, &["i-1"]).is_empty());
        let sought = HashSet::from([Seek::Instance("i-1".into())]);
        assert_eq!(missing(&region, &[]), sought);
        // Not found: EC2 lags. It is looked for with the next list too.
        assert!(region.apply(vec![], at(1), ABSENCE).is_empty());
        assert_eq!(missing(&region, &[]), sought);
        let gone = instance("i-1", InstanceState::Terminated);
        assert_eq!(
            region.apply(vec![gone.clone()], at(2), ABSENCE),
            std::slice::from_ref(&gone)
        );
        assert!(missing(&region, &[]).is_empty());
        // No list shows it any more; it stays until its owner has taken that in.
        assert!(region.apply(vec![], at(3), ABSENCE).is_empty());
        assert_eq!(region.of("u").collect::<Vec<_>>(), [&gone]);
        region.drop_gone(&("u".into(), None), |_| true);
        assert_eq!(region.of("u").count(), 0);
    }

    #[test]
    fn what_is_gone_and_taken_in_by_nobody_is_forgotten_after_an_hour() {
        let mut region = Region::default();
        region.apply(
            vec![instance("i-1", InstanceState::Terminated)],
            at(0),
            ABSENCE,
        );
        region.apply(vec![], at(3_599), ABSENCE);
        assert_eq!(region.of("u").count(), 1);
        region.apply(vec![], at(3_600), ABSENCE);
        assert_eq!(region.of("u").count(), 0);
    }

    #[test]
    fn only_what_is_gone_is_dropped() {
        let mut region = Region::default();
        let live = instance("i-2", InstanceState::Running);
        let gone = instance("i-1", InstanceState::Terminated);
        region.apply(vec![gone, live.clone()], at(0), ABSENCE);
        region.drop_all_gone("u");
        assert_eq!(region.of("u").collect::<Vec<_>>(), [&live]);
        // Absent for too short a time, and then for long enough.
        for second in 1..=300 {
            region.apply(vec![], at(second), ABSENCE);
            assert_eq!(region.of("u").count(), usize::from(second < 300));
        }
    }
}
