//! Everything that one account has in one region.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::instance::Instance;
use super::network::{Interface, InternetGateway, RouteTable, SecurityGroup, Subnet, Vpc};
use super::storage::{Image, Volume};
use super::zones::{Zone, zones};
use crate::api::replay::Replay;
use crate::filters::Tags;

/// A key pair.
#[derive(Debug, Clone)]
pub(crate) struct KeyPair {
    /// Its id.
    pub(crate) id: String,
    /// Its name, unique in the region.
    pub(crate) name: String,
    /// `rsa` or `ed25519`.
    pub(crate) kind: &'static str,
    /// Its fingerprint.
    pub(crate) fingerprint: String,
    /// The public key, as imported.
    pub(crate) public_key: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

/// A placement group.
#[derive(Debug, Clone)]
pub(crate) struct PlacementGroup {
    /// Its id.
    pub(crate) id: String,
    /// Its name, unique in the region.
    pub(crate) name: String,
    /// `cluster`, `spread` or `partition`.
    pub(crate) strategy: String,
    /// The number of partitions, in a partition group.
    pub(crate) partitions: Option<i64>,
    /// `host` or `rack`, in a spread group.
    pub(crate) spread_level: Option<String>,
}

/// A spot request.
#[derive(Debug, Clone)]
pub(crate) struct SpotRequest {
    /// Its id.
    pub(crate) id: String,
    /// The instance that fulfils it.
    pub(crate) instance_id: String,
    /// `open`, `active`, `closed` or `cancelled`.
    pub(crate) state: &'static str,
    /// For example `fulfilled`, and a sentence.
    pub(crate) status: (&'static str, &'static str),
    /// When the status last changed.
    pub(crate) updated_at: Timestamp,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// Whether it is persistent.
    pub(crate) persistent: bool,
    /// What an interruption does.
    pub(crate) interruption: String,
    /// The most it pays an hour.
    pub(crate) max_price: String,
    /// The launch, as far as it is described again.
    pub(crate) launch: SpotLaunch,
    /// The parameters of the launch: a persistent request launches again.
    pub(crate) params: Vec<(String, String)>,
}

/// What a spot request launched.
#[derive(Debug, Clone)]
pub(crate) struct SpotLaunch {
    /// The image.
    pub(crate) image_id: String,
    /// The type.
    pub(crate) instance_type: String,
    /// The key pair.
    pub(crate) key_name: Option<String>,
    /// The subnet.
    pub(crate) subnet_id: String,
    /// The zone.
    pub(crate) zone: String,
    /// The security groups.
    pub(crate) groups: Vec<String>,
}

/// A capacity reservation.
#[derive(Debug, Clone)]
pub(crate) struct CapacityReservation {
    /// Its id.
    pub(crate) id: String,
    /// The type.
    pub(crate) instance_type: String,
    /// `Linux/UNIX` and the like.
    pub(crate) platform: String,
    /// The zone's name.
    pub(crate) zone: String,
    /// The number of instances it is for.
    pub(crate) total: i64,
    /// `active` or `cancelled`.
    pub(crate) state: &'static str,
    /// `open` or `targeted`.
    pub(crate) matching: String,
    /// When it ends by itself.
    pub(crate) end: Option<Timestamp>,
    /// `default` or `dedicated`.
    pub(crate) tenancy: String,
    /// Whether its instances are EBS optimized.
    pub(crate) ebs_optimized: bool,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

/// An SSM parameter.
#[derive(Debug, Clone)]
pub(crate) struct SsmParameter {
    /// `String`, `StringList` or `SecureString`.
    pub(crate) kind: String,
    /// The value.
    pub(crate) value: String,
    /// Counts the writes.
    pub(crate) version: i64,
    /// The last write.
    pub(crate) modified_at: Timestamp,
    /// `text` or `aws:ec2:image`.
    pub(crate) data_type: String,
}

/// A launch template.
#[derive(Debug, Clone)]
pub(crate) struct LaunchTemplate {
    /// Its id.
    pub(crate) id: String,
    /// Its name, unique in the region.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// The version that `$Default` means.
    pub(crate) default_version: i64,
    /// Its versions, oldest first.
    pub(crate) versions: Vec<TemplateVersion>,
}

/// One version of a launch template.
#[derive(Debug, Clone)]
pub(crate) struct TemplateVersion {
    /// Its number.
    pub(crate) number: i64,
    /// What it is for.
    pub(crate) description: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// `LaunchTemplateData` as query parameters, names relative to it.
    pub(crate) data: Vec<(String, String)>,
}

impl TemplateVersion {
    /// One plain parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.data
            .iter()
            .find(|(path, _)| path == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A fleet of type instant.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Its id.
    pub(crate) id: String,
    /// The client token of its call.
    pub(crate) client_token: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// The instances it launched.
    pub(crate) instances: Vec<String>,
    /// Whether it has been deleted.
    pub(crate) deleted: bool,
}

/// What a client token stands for.
#[derive(Debug, Clone)]
pub(crate) struct LaunchRecord {
    /// Digest of the request.
    pub(crate) fingerprint: [u8; 32],
    /// The instances it launched.
    pub(crate) instances: Vec<String>,
}

/// The state of one account in one region.
#[derive(Debug)]
pub(crate) struct Region {
    /// The account.
    pub(crate) account: String,
    /// The region's name.
    pub(crate) name: String,
    /// The zones.
    pub(crate) zones: Vec<Zone>,
    /// Instances that are listed, in the order of their launch.
    pub(crate) instances: BTreeMap<u64, Instance>,
    /// Where in that order an instance is.
    pub(crate) order: HashMap<String, u64>,
    /// Terminated instances that are no longer listed; launch tokens still know them.
    pub(crate) retired: HashMap<String, Instance>,
    /// Client tokens of launches.
    pub(crate) launches: HashMap<String, LaunchRecord>,
    /// Answers to calls with client tokens, by API and token.
    pub(crate) replays: HashMap<(String, String), Replay>,
    /// Volumes by id.
    pub(crate) volumes: BTreeMap<String, Volume>,
    /// Network interfaces by id.
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// VPCs by id.
    pub(crate) vpcs: BTreeMap<String, Vpc>,
    /// Subnets by id.
    pub(crate) subnets: BTreeMap<String, Subnet>,
    /// Security groups by id.
    pub(crate) groups: BTreeMap<String, SecurityGroup>,
    /// Internet gateways by id.
    pub(crate) gateways: BTreeMap<String, InternetGateway>,
    /// Route tables by id.
    pub(crate) route_tables: BTreeMap<String, RouteTable>,
    /// Images by id.
    pub(crate) images: BTreeMap<String, Image>,
    /// Key pairs by id.
    pub(crate) key_pairs: BTreeMap<String, KeyPair>,
    /// Placement groups by id.
    pub(crate) placement_groups: BTreeMap<String, PlacementGroup>,
    /// Spot requests by id.
    pub(crate) spot_requests: BTreeMap<String, SpotRequest>,
    /// Capacity reservations by id.
    pub(crate) reservations: BTreeMap<String, CapacityReservation>,
    /// Launch templates by id.
    pub(crate) templates: BTreeMap<String, LaunchTemplate>,
    /// Fleets by id.
    pub(crate) fleets: BTreeMap<String, Fleet>,
    /// SSM parameters by name.
    pub(crate) parameters: BTreeMap<String, SsmParameter>,
    /// Spot prices that tests have set: by type and zone.
    pub(crate) spot_prices: BTreeMap<(String, String), String>,
    /// Tags by resource id.
    pub(crate) tags: BTreeMap<String, Tags>,
}

impl Region {
    /// A region with nothing in it.
    pub(crate) fn empty(account: &str, name: &str) -> Self {
        Self {
            account: account.to_owned(),
            name: name.to_owned(),
            zones: zones(name),
            instances: BTreeMap::new(),
            order: HashMap::new(),
            retired: HashMap::new(),
            launches: HashMap::new(),
            replays: HashMap::new(),
            volumes: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            vpcs: BTreeMap::new(),
            subnets: BTreeMap::new(),
            groups: BTreeMap::new(),
            gateways: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            images: BTreeMap::new(),
            key_pairs: BTreeMap::new(),
            placement_groups: BTreeMap::new(),
            spot_requests: BTreeMap::new(),
            reservations: BTreeMap::new(),
            templates: BTreeMap::new(),
            fleets: BTreeMap::new(),
            parameters: BTreeMap::new(),
            spot_prices: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// A listed instance.
    pub(crate) fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.get(self.order.get(id)?)
    }

    /// A listed instance, to change it.
    pub(crate) fn instance_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.instances.get_mut(self.order.get(id)?)
    }

    /// The tags of a resource.
    pub(crate) fn tags_of(&self, id: &str) -> Option<&Tags> {
        self.tags.get(id)
    }

    /// The default VPC.
    pub(crate) fn default_vpc(&self) -> Option<&Vpc> {
        self.vpcs.values().find(|vpc| vpc.is_default)
    }

    /// The group named `default` of a VPC.
    pub(crate) fn default_group(&self, vpc_id: &str) -> Option<&SecurityGroup> {
        self.groups
            .values()
            .find(|group| group.vpc_id == vpc_id && group.name == "default")
    }

    /// A key pair by name.
    pub(crate) fn key_pair(&self, name: &str) -> Option<&KeyPair> {
        self.key_pairs.values().find(|key| key.name == name)
    }

    /// A placement group by name.
    pub(crate) fn placement_group(&self, name: &str) -> Option<&PlacementGroup> {
        self.placement_groups
            .values()
            .find(|group| group.name == name)
    }

    /// A zone by name.
    pub(crate) fn zone(&self, name: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.name == name)
    }

    /// How many instances occupy a capacity reservation.
    pub(crate) fn occupied(&self, reservation: &CapacityReservation) -> i64 {
        let used = self.instances.values().filter(|instance| {
            instance.state.is_live()
                && instance.capacity_reservation.as_deref() == Some(reservation.id.as_str())
        });
        i64::try_from(used.count()).unwrap_or(i64::MAX)
    }
}
