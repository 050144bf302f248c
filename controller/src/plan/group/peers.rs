//! Telling the members of an array each other's addresses, once all of them run.

use std::collections::BTreeMap;

use spore_core::{
    peers::{self, EncodeError, Peer},
    tags::Tags,
};
use spore_crds::conditions::{self, Say};

use super::{GroupAction, Planner};
use crate::cloud::{Instance, InstanceState};

/// Instances that one call tells. EC2 takes 1,000 and advises smaller batches (CreateTags, API
/// Reference).
const TELL_AT_ONCE: usize = 100;

impl Planner<'_> {
    /// Tells the members of a complete array each other's addresses.
    pub(super) fn tell_peers(&mut self) {
        if !self.group.peers || self.group.size < 2 {
            return;
        }
        let replacing = !self.status.retries.is_empty() || !self.status.batches.is_empty();
        let say = match self.running() {
            // Some are done: what was told of them stays true.
            Err(_) if self.status.peers_version > 0 && !replacing => return,
            Err(running) => Say::no(
                "WaitingForMembers",
                format!("{running} of {} members run", self.group.size),
            ),
            Ok(instances) => self.publish(&instances),
        };
        let generation = self.group.metadata.generation;
        let conditions = &mut self.status.conditions;
        conditions::set(
            conditions,
            conditions::PEERS_PUBLISHED,
            say,
            generation,
            self.now,
        );
    }

    /// The instance of every member, if all of them run; else how many do.
    fn running(&self) -> Result<BTreeMap<u32, Instance>, usize> {
        let running = self
            .view
            .instances
            .iter()
            .filter(|instance| instance.state == InstanceState::Running)
            .filter(|instance| instance.private_ip.is_some())
            .filter_map(|instance| Some((instance.member?, *instance)))
            .filter(|(index, instance)| {
                *index < self.group.size && instance.identity.attempt == self.attempt(*index)
            })
            .map(|(index, instance)| (index, instance.clone()))
            .collect::<BTreeMap<_, _>>();
        if running.len() == self.group.size as usize {
            Ok(running)
        } else {
            Err(running.len())
        }
    }

    fn publish(&mut self, instances: &BTreeMap<u32, Instance>) -> Say {
        let list = instances
            .iter()
            .filter_map(|(&index, instance)| peer(index, instance))
            .collect::<Vec<_>>();
        let free = self.free_tags(instances);
        let told = self.status.peers_version;
        let tags = peers::encode(told, &list, free).and_then(|tags| {
            if told > 0 && tags.get(peers::HEADER) == self.status.peers_digest.as_ref() {
                return Ok((told, tags));
            }
            peers::encode(told + 1, &list, free).map(|tags| (told + 1, tags))
        });
        let (version, tags) = match tags {
            Ok(news) => news,
            Err(error) => return unpublished(&error),
        };
        let header = tags.get(peers::HEADER).cloned();
        self.status.peers_version = version;
        self.status.peers_digest.clone_from(&header);
        let behind = self.tell_those_behind(instances, &tags);
        if behind == 0 {
            return Say::yes(
                "Published",
                format!("all members know each other's addresses (version {version})"),
            );
        }
        Say::no("Publishing", format!("telling {behind} members"))
    }

    /// Says how many do not know the list yet.
    fn tell_those_behind(&mut self, instances: &BTreeMap<u32, Instance>, tags: &Tags) -> usize {
        let header = tags.get(peers::HEADER);
        let mut behind = BTreeMap::<String, Vec<String>>::new();
        for instance in instances.values() {
            if instance.peers.as_ref() != header {
                let ids = behind.entry(instance.region.clone()).or_default();
                ids.push(instance.id.clone());
            }
        }
        let count = behind.values().map(Vec::len).sum();
        if count == 0 || self.blocked() {
            return count;
        }
        for (region, ids) in behind {
            for some in ids.chunks(TELL_AT_ONCE) {
                self.actions.push(GroupAction::Tell {
                    region: region.clone(),
                    instance_ids: some.to_vec(),
                    tags: tags.clone(),
                });
            }
        }
        count
    }

    /// How many tags the list may take on each of these instances.
    fn free_tags(&self, instances: &BTreeMap<u32, Instance>) -> usize {
        let Some((&index, instance)) = instances.iter().next() else {
            return 0;
        };
        let mut tags = instance.identity.to_tags();
        if let Ok(member) = self.group.members.member(index) {
            tags.extend(member.spec.tags.clone());
        }
        peers::free_tags(&tags)
    }
}

fn peer(index: u32, instance: &Instance) -> Option<Peer> {
    let address = |text: &Option<String>| text.as_ref()?.parse().ok();
    Some(Peer {
        index,
        instance_id: instance.id.clone(),
        private_ip: address(&instance.private_ip)?,
        public_ip: address(&instance.public_ip),
    })
}

fn unpublished(error: &EncodeError) -> Say {
    let reason = match error {
        EncodeError::TooMany(_) => "TooManyMembers",
        EncodeError::Incomplete { .. } | EncodeError::InvalidId { .. } => "NotTold",
    };
    Say::no(reason, error.to_string())
}
