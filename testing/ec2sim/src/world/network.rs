//! VPCs and what is in them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;

use jiff::Timestamp;

use crate::error::{ApiError, ApiResult};

/// An IPv4 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// Parses `a.b.c.d/n`; the address is reduced to the block's first.
    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let bad = || ApiError::invalid("cidrBlock", text, "This is not a valid CIDR block.");
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let address = Ipv4Addr::from_str(address).map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > 32 {
            return Err(bad());
        }
        let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
        Ok(Self {
            base: address.to_bits() & mask,
            prefix,
        })
    }

    /// The prefix length.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    /// The number of addresses.
    pub(crate) fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    fn last(self) -> u32 {
        // A block of 2^32 addresses cannot come out of a /16 to /28.
        self.base + u32::try_from(self.size() - 1).unwrap_or(u32::MAX)
    }

    /// Whether another block is inside.
    pub(crate) fn contains_block(self, other: Self) -> bool {
        self.base <= other.base && other.last() <= self.last()
    }

    /// Whether two blocks share an address.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.base <= other.last() && other.base <= self.last()
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

/// A VPC.
#[derive(Debug, Clone)]
pub(crate) struct Vpc {
    /// Its id.
    pub(crate) id: String,
    /// Its addresses.
    pub(crate) cidr: Cidr,
    /// Whether it is the region's default.
    pub(crate) is_default: bool,
    /// `default` or `dedicated`.
    pub(crate) tenancy: String,
    /// DNS resolution.
    pub(crate) dns_support: bool,
    /// DNS host names.
    pub(crate) dns_hostnames: bool,
}

/// A subnet.
#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    /// Its id.
    pub(crate) id: String,
    /// Its VPC.
    pub(crate) vpc_id: String,
    /// Its addresses.
    pub(crate) cidr: Cidr,
    /// Its zone's name.
    pub(crate) zone: String,
    /// Its zone's id.
    pub(crate) zone_id: String,
    /// Whether it is the zone's default.
    pub(crate) is_default: bool,
    /// Whether instances get a public address.
    pub(crate) map_public_ip: bool,
    used: BTreeSet<u32>,
    cursor: u32,
}

impl Subnet {
    /// An empty subnet.
    pub(crate) fn new(id: String, vpc_id: String, cidr: Cidr, zone: (&str, &str)) -> Self {
        Self {
            id,
            vpc_id,
            cidr,
            zone: zone.0.to_owned(),
            zone_id: zone.1.to_owned(),
            is_default: false,
            map_public_ip: false,
            used: BTreeSet::new(),
            cursor: 0,
        }
    }

    /// How many addresses are free; EC2 keeps five of each subnet.
    pub(crate) fn free(&self) -> u64 {
        self.cidr.size().saturating_sub(5 + self.used.len() as u64)
    }

    /// Takes a free address.
    pub(crate) fn allocate(&mut self) -> Option<Ipv4Addr> {
        if self.free() == 0 {
            return None;
        }
        let (first, last) = (self.cidr.base + 4, self.cidr.last() - 1);
        loop {
            if !(first..=last).contains(&self.cursor) {
                self.cursor = first;
            }
            let candidate = self.cursor;
            self.cursor += 1;
            if self.used.insert(candidate) {
                return Some(Ipv4Addr::from_bits(candidate));
            }
        }
    }

    /// Takes one address by name.
    pub(crate) fn claim(&mut self, address: Ipv4Addr) -> ApiResult<()> {
        let (first, last) = (self.cidr.base + 4, self.cidr.last() - 1);
        if !(first..=last).contains(&address.to_bits()) {
            let why = "Address does not fall within the subnet's address range";
            return Err(ApiError::new("InvalidParameterValue", why));
        }
        if self.used.insert(address.to_bits()) {
            Ok(())
        } else {
            Err(ApiError::new(
                "InvalidIPAddress.InUse",
                format!("Address {address} is in use."),
            ))
        }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.to_bits());
    }
}

/// One rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The rule's id.
    pub(crate) id: String,
    /// Whether it is for traffic out of the group.
    pub(crate) egress: bool,
    /// `tcp`, `udp`, `icmp`, a number, or `-1`.
    pub(crate) protocol: String,
    /// The first port.
    pub(crate) from_port: Option<i64>,
    /// The last port.
    pub(crate) to_port: Option<i64>,
    /// Whom it is about.
    pub(crate) peer: Peer,
    /// What it is for.
    pub(crate) description: Option<String>,
}

impl Rule {
    /// Whether two rules allow the same traffic.
    pub(crate) fn same_traffic(&self, other: &Self) -> bool {
        self.egress == other.egress
            && self.protocol == other.protocol
            && self.from_port == other.from_port
            && self.to_port == other.to_port
            && self.peer == other.peer
    }
}

/// The other end of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An IPv4 block.
    V4(String),
    /// An IPv6 block.
    V6(String),
    /// A security group.
    Group(String),
    /// A prefix list.
    PrefixList(String),
}

/// A security group.
#[derive(Debug, Clone)]
pub(crate) struct SecurityGroup {
    /// Its id.
    pub(crate) id: String,
    /// Its name, unique in the VPC.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) description: String,
    /// Its VPC.
    pub(crate) vpc_id: String,
    /// Its rules.
    pub(crate) rules: Vec<Rule>,
}

/// An internet gateway.
#[derive(Debug, Clone)]
pub(crate) struct InternetGateway {
    /// Its id.
    pub(crate) id: String,
    /// The VPC it is attached to.
    pub(crate) vpc_id: Option<String>,
}

/// A route.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Where to.
    pub(crate) destination: String,
    /// The gateway, or `local`.
    pub(crate) gateway: String,
    /// `CreateRouteTable` or `CreateRoute`.
    pub(crate) origin: &'static str,
}

/// What a route table applies to.
#[derive(Debug, Clone)]
pub(crate) struct Association {
    /// Its id.
    pub(crate) id: String,
    /// The subnet; none for the VPC's main table.
    pub(crate) subnet_id: Option<String>,
}

/// A route table.
#[derive(Debug, Clone)]
pub(crate) struct RouteTable {
    /// Its id.
    pub(crate) id: String,
    /// Its VPC.
    pub(crate) vpc_id: String,
    /// Its routes.
    pub(crate) routes: Vec<Route>,
    /// Where it applies.
    pub(crate) associations: Vec<Association>,
}

impl RouteTable {
    /// Whether it is the main table of its VPC.
    pub(crate) fn is_main(&self) -> bool {
        self.associations
            .iter()
            .any(|association| association.subnet_id.is_none())
    }
}

/// An interface's attachment to an instance.
#[derive(Debug, Clone)]
pub(crate) struct EniAttachment {
    /// Its id.
    pub(crate) id: String,
    /// The instance.
    pub(crate) instance_id: String,
    /// The device index.
    pub(crate) device_index: i64,
    /// Whether the interface goes with the instance.
    pub(crate) delete_on_termination: bool,
    /// Since when.
    pub(crate) attached_at: Timestamp,
}

/// A network interface.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    /// Its id.
    pub(crate) id: String,
    /// Its subnet.
    pub(crate) subnet_id: String,
    /// Its VPC.
    pub(crate) vpc_id: String,
    /// Its zone's name.
    pub(crate) zone: String,
    /// What it is for.
    pub(crate) description: String,
    /// Its private address.
    pub(crate) private_ip: Ipv4Addr,
    /// Its public address.
    pub(crate) public_ip: Option<Ipv4Addr>,
    /// Its hardware address.
    pub(crate) mac: String,
    /// Its security groups.
    pub(crate) groups: Vec<String>,
    /// `interface`, `efa` or `efa-only`.
    pub(crate) kind: String,
    /// Whether source and destination are checked.
    pub(crate) source_dest_check: bool,
    /// The instance it is attached to.
    pub(crate) attachment: Option<EniAttachment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_hands_out_each_usable_address_once() {
        let cidr = Cidr::parse("10.0.0.0/28").expect("valid");
        let mut subnet = Subnet::new("subnet-1".into(), "vpc-1".into(), cidr, ("a", "az1"));
        let all: BTreeSet<Ipv4Addr> = std::iter::from_fn(|| subnet.allocate()).collect();
        assert_eq!(all.len(), 11);
        assert_eq!(
            all.first().map(ToString::to_string).as_deref(),
            Some("10.0.0.4")
        );
        assert_eq!(
            all.last().map(ToString::to_string).as_deref(),
            Some("10.0.0.14")
        );
        subnet.release(Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(subnet.allocate(), Some(Ipv4Addr::new(10, 0, 0, 9)));
    }

    #[test]
    fn blocks_know_what_they_hold() {
        let vpc = Cidr::parse("10.0.0.0/16").expect("valid");
        let subnet = Cidr::parse("10.0.1.0/24").expect("valid");
        assert!(vpc.contains_block(subnet) && vpc.overlaps(subnet));
        assert!(!subnet.overlaps(Cidr::parse("10.0.2.0/24").expect("valid")));
        assert!(Cidr::parse("10.0.0.0/33").is_err() && Cidr::parse("x").is_err());
    }
}
