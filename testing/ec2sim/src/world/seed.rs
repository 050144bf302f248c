//! What every account finds in a region it has never used: a default VPC and public images.

use jiff::{SignedDuration, Timestamp};

use super::ids::stable;
use super::network::{
    Association, Cidr, InternetGateway, Peer, Route, RouteTable, Rule, SecurityGroup, Subnet, Vpc,
};
use super::region::{Region, SsmParameter};
use super::storage::Image;

/// Amazon's own account for public images.
const AMAZON: &str = "137112412989";
/// Amazon's account for deep-learning images.
const AMAZON_DLAMI: &str = "898082745236";
/// Canonical's account.
const CANONICAL: &str = "099720109477";

/// A region as a new account finds it.
pub(crate) fn region(account: &str, name: &str, now: Timestamp) -> Region {
    let mut region = Region::empty(account, name);
    default_vpc(&mut region);
    images(&mut region, now);
    region
}

fn default_vpc(region: &mut Region) {
    let place = format!("{}/{}", region.account, region.name);
    let vpc_id = stable("vpc", &place);
    let gateway_id = stable("igw", &place);
    let cidr = Cidr::parse("172.31.0.0/16").expect("a valid block");
    region.vpcs.insert(
        vpc_id.clone(),
        Vpc {
            id: vpc_id.clone(),
            cidr,
            is_default: true,
            tenancy: "default".into(),
            dns_support: true,
            dns_hostnames: true,
        },
    );
    for (n, zone) in region.zones.iter().enumerate() {
        let id = stable("subnet", &format!("{place}/{}", zone.name));
        let block = Cidr::parse(&format!("172.31.{}.0/20", n * 16)).expect("a valid block");
        let mut subnet = Subnet::new(id.clone(), vpc_id.clone(), block, (&zone.name, &zone.id));
        subnet.is_default = true;
        subnet.map_public_ip = true;
        region.subnets.insert(id, subnet);
    }
    let group = default_group(stable("sg", &place), vpc_id.clone(), &place);
    region.groups.insert(group.id.clone(), group);
    region.gateways.insert(
        gateway_id.clone(),
        InternetGateway {
            id: gateway_id.clone(),
            vpc_id: Some(vpc_id.clone()),
        },
    );
    let mut table = main_route_table(stable("rtb", &place), vpc_id, cidr, &place);
    table.routes.push(Route {
        destination: "0.0.0.0/0".into(),
        gateway: gateway_id,
        origin: "CreateRoute",
    });
    region.route_tables.insert(table.id.clone(), table);
}

/// The security group that every VPC begins with.
pub(crate) fn default_group(id: String, vpc_id: String, unique: &str) -> SecurityGroup {
    let rule = |egress: bool, peer: Peer| Rule {
        id: stable("sgr", &format!("{unique}/{id}/{egress}")),
        egress,
        protocol: "-1".into(),
        from_port: None,
        to_port: None,
        peer,
        description: None,
    };
    let rules = vec![
        rule(false, Peer::Group(id.clone())),
        rule(true, Peer::V4("0.0.0.0/0".into())),
    ];
    SecurityGroup {
        rules,
        id,
        name: "default".into(),
        description: "default VPC security group".into(),
        vpc_id,
    }
}

/// The route table that every VPC begins with.
pub(crate) fn main_route_table(id: String, vpc_id: String, cidr: Cidr, unique: &str) -> RouteTable {
    RouteTable {
        associations: vec![Association {
            id: stable("rtbassoc", &format!("{unique}/{id}")),
            subnet_id: None,
        }],
        id,
        vpc_id,
        routes: vec![Route {
            destination: cidr.to_string(),
            gateway: "local".into(),
            origin: "CreateRouteTable",
        }],
    }
}

struct Seed {
    name: &'static str,
    description: &'static str,
    architecture: &'static str,
    owner: &'static str,
    alias: Option<&'static str>,
    root_device: &'static str,
    root_size: i64,
    parameters: &'static [&'static str],
}

const IMAGES: [Seed; 6] = [
    Seed {
        name: "al2023-ami-2023.9.20261107.0-kernel-6.12-x86_64",
        description: "Amazon Linux 2023 AMI x86_64 HVM kernel-6.12",
        architecture: "x86_64",
        owner: AMAZON,
        alias: Some("amazon"),
        root_device: "/dev/xvda",
        root_size: 8,
        parameters: &[
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.12-x86_64",
        ],
    },
    Seed {
        name: "al2023-ami-2023.9.20261107.0-kernel-6.12-arm64",
        description: "Amazon Linux 2023 AMI arm64 HVM kernel-6.12",
        architecture: "arm64",
        owner: AMAZON,
        alias: Some("amazon"),
        root_device: "/dev/xvda",
        root_size: 8,
        parameters: &[
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.12-arm64",
        ],
    },
    Seed {
        name: "Deep Learning Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) 20261106",
        description: "NVIDIA driver and libraries on Amazon Linux 2023, x86_64",
        architecture: "x86_64",
        owner: AMAZON_DLAMI,
        alias: Some("amazon"),
        root_device: "/dev/xvda",
        root_size: 65,
        parameters: &[
            "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id",
        ],
    },
    Seed {
        name: "Deep Learning ARM64 Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) 20261106",
        description: "NVIDIA driver and libraries on Amazon Linux 2023, arm64",
        architecture: "arm64",
        owner: AMAZON_DLAMI,
        alias: Some("amazon"),
        root_device: "/dev/xvda",
        root_size: 65,
        parameters: &[
            "/aws/service/deeplearning/ami/arm64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id",
        ],
    },
    Seed {
        name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261101",
        description: "Ubuntu Server 24.04, amd64",
        architecture: "x86_64",
        owner: CANONICAL,
        alias: None,
        root_device: "/dev/sda1",
        root_size: 8,
        parameters: &[
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
        ],
    },
    Seed {
        name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20261101",
        description: "Ubuntu Server 24.04, arm64",
        architecture: "arm64",
        owner: CANONICAL,
        alias: None,
        root_device: "/dev/sda1",
        root_size: 8,
        parameters: &[
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id",
        ],
    },
];

fn images(region: &mut Region, now: Timestamp) {
    let created_at = now - SignedDuration::from_hours(14 * 24);
    for seed in &IMAGES {
        let unique = format!("{}/{}", region.name, seed.name);
        let id = stable("ami", &unique);
        for parameter in seed.parameters {
            region.parameters.insert(
                (*parameter).to_owned(),
                SsmParameter {
                    kind: "String".into(),
                    value: id.clone(),
                    version: 1,
                    modified_at: created_at,
                    data_type: "aws:ec2:image".into(),
                },
            );
        }
        region.images.insert(
            id.clone(),
            Image {
                id,
                name: seed.name.into(),
                description: seed.description.into(),
                architecture: seed.architecture.into(),
                owner: seed.owner.into(),
                owner_alias: seed.alias,
                public: true,
                root_device: seed.root_device.into(),
                root_size: seed.root_size,
                snapshot_id: stable("snap", &unique),
                source_instance: None,
                created_at,
                available_at: created_at,
            },
        );
    }
}
