//! The state of the stand-in: accounts, regions and what is in them. No I/O and no clock here;
//! time comes in with every call, and what must happen outside goes out as [`Effect`]s.

pub(crate) mod audit;
mod belongings;
pub(crate) mod iam;
pub(crate) mod ids;
pub(crate) mod instance;
pub(crate) mod lifecycle;
pub(crate) mod network;
pub(crate) mod region;
pub(crate) mod seed;
pub(crate) mod storage;
pub(crate) mod timeline;
pub(crate) mod zones;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::faults::Faults;
use crate::limits::Limits;
use audit::Audit;
use iam::Iam;
use ids::Ids;
use instance::Instance;
use region::Region;
use timeline::{Event, Timeline};

/// One account in one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The account's twelve digits.
    pub(crate) account: String,
    /// The region's name.
    pub(crate) region: String,
}

/// What the world wants done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// An instance began to run: boot its machine.
    Boot(String),
    /// An instance no longer runs: its machine dies.
    Kill(String),
}

/// What an instance does that has no machine: it runs for a while, tags itself and powers itself off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// How long it runs.
    pub(crate) takes: Duration,
    /// What it tags itself with at the end; `{now}` in a value stands for that moment.
    pub(crate) tags: BTreeMap<String, String>,
}

/// What all regions share.
#[derive(Debug)]
pub(crate) struct Core {
    /// The settings.
    pub(crate) config: Arc<Config>,
    /// Fresh ids.
    pub(crate) ids: Ids,
    /// What happens later.
    pub(crate) timeline: Timeline,
    /// What is to be done outside.
    pub(crate) effects: Vec<Effect>,
    /// Persistent spot requests that want another instance.
    pub(crate) respawns: Vec<(Place, String)>,
    /// Counts for the tests.
    pub(crate) audit: Audit,
    /// Faults in force.
    pub(crate) faults: Faults,
    /// The token buckets.
    pub(crate) limits: Limits,
    /// What instances do without a machine.
    pub(crate) work: Option<Work>,
    launched: u64,
    public_addresses: u32,
}

impl Core {
    /// The number of the next instance, over all regions.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.launched += 1;
        self.launched
    }

    /// A public address that no instance had before.
    pub(crate) fn public_address(&mut self) -> Ipv4Addr {
        self.public_addresses += 1;
        Ipv4Addr::from_bits(
            Ipv4Addr::new(54, 64, 0, 0).to_bits() + self.public_addresses % (1 << 22),
        )
    }
}

/// The whole stand-in's state.
#[derive(Debug)]
pub(crate) struct World {
    /// What all regions share.
    pub(crate) core: Core,
    regions: HashMap<Place, Region>,
    iam: HashMap<String, Iam>,
    homes: HashMap<String, Place>,
}

/// One region at one moment, with what all regions share.
#[derive(Debug)]
pub(crate) struct Local<'a> {
    /// Where.
    pub(crate) place: &'a Place,
    /// The region's state.
    pub(crate) region: &'a mut Region,
    /// What all regions share.
    pub(crate) core: &'a mut Core,
    /// Where every instance is.
    pub(crate) homes: &'a mut HashMap<String, Place>,
    /// The moment.
    pub(crate) now: Timestamp,
}

impl World {
    /// A world in which nothing has been launched.
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            core: Core {
                config,
                ids: Ids::default(),
                timeline: Timeline::default(),
                effects: Vec::new(),
                respawns: Vec::new(),
                audit: Audit::default(),
                faults: Faults::default(),
                limits: Limits::default(),
                work: None,
                launched: 0,
                public_addresses: 0,
            },
            regions: HashMap::new(),
            iam: HashMap::new(),
            homes: HashMap::new(),
        }
    }

    /// One region, seeded if this is the first look at it.
    pub(crate) fn local<'a>(&'a mut self, place: &'a Place, now: Timestamp) -> Local<'a> {
        let region = Self::seeded(&mut self.regions, place, now);
        Local {
            place,
            region,
            core: &mut self.core,
            homes: &mut self.homes,
            now,
        }
    }

    /// One region to read.
    pub(crate) fn region(&mut self, place: &Place, now: Timestamp) -> &Region {
        Self::seeded(&mut self.regions, place, now)
    }

    fn seeded<'a>(
        regions: &'a mut HashMap<Place, Region>,
        place: &Place,
        now: Timestamp,
    ) -> &'a mut Region {
        regions
            .entry(place.clone())
            .or_insert_with(|| seed::region(&place.account, &place.region, now))
    }

    /// All regions that have been looked at.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (&Place, &Region)> {
        self.regions.iter()
    }

    /// The roles and profiles of an account.
    pub(crate) fn iam(&mut self, account: &str) -> (&mut Iam, &mut Core) {
        (
            self.iam.entry(account.to_owned()).or_default(),
            &mut self.core,
        )
    }

    /// Where an instance is.
    pub(crate) fn home(&self, instance_id: &str) -> Option<&Place> {
        self.homes.get(instance_id)
    }

    /// A listed instance anywhere.
    pub(crate) fn instance(&self, id: &str) -> Option<(&Region, &Instance)> {
        let region = self.regions.get(self.homes.get(id)?)?;
        Some((region, region.instance(id)?))
    }

    /// Does something in the region of an instance; `None` if there is no such instance.
    pub(crate) fn at_home<T>(
        &mut self,
        instance_id: &str,
        now: Timestamp,
        act: impl FnOnce(&mut Local<'_>) -> T,
    ) -> Option<T> {
        let place = self.homes.get(instance_id)?.clone();
        Some(act(&mut self.local(&place, now)))
    }

    /// Lets everything happen that is due by now.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        while let Some((at, place, event)) = self.core.timeline.pop(now) {
            let mut local = self.local(&place, at);
            match event {
                Event::Settle { id, generation } => local.settle(&id, generation),
                Event::Finish { id, generation } => local.finish(&id, generation),
                Event::Vanish(id) => local.vanish(&id),
                Event::Forget(id) => local.forget(&id),
                Event::Interrupt { id, at } => local.interrupt(&id, at),
            }
        }
    }
}
