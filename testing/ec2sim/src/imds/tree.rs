//! The documents of an instance's metadata service.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::api::instance_xml::{private_dns, public_dns};
use crate::api::time;
use crate::call::access_key_of;
use crate::world::instance::Instance;
use crate::world::region::Region;

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its type.
    pub(crate) content_type: &'static str,
    /// Its bytes.
    pub(crate) body: Vec<u8>,
}

/// All documents of an instance at one moment, by path below `latest/`.
#[derive(Debug)]
pub(crate) struct View {
    leaves: BTreeMap<String, String>,
    user_data: Option<Vec<u8>>,
}

impl View {
    /// What the metadata service of an instance says now.
    pub(crate) fn of(region: &Region, instance: &Instance, now: Timestamp) -> Self {
        let mut leaves = BTreeMap::new();
        identity(&mut leaves, region, instance);
        network(&mut leaves, region, instance);
        tags(&mut leaves, region, instance);
        spot(&mut leaves, instance);
        credentials(&mut leaves, region, instance, now);
        let user_data = (!instance.user_data.is_empty()).then(|| instance.user_data.to_vec());
        Self { leaves, user_data }
    }

    /// The document at a path such as `latest/meta-data/instance-id`, or the list of a directory.
    pub(crate) fn document(&self, path: &str) -> Option<Document> {
        let text = |body: String| Document {
            content_type: "text/plain",
            body: body.into_bytes(),
        };
        if path.is_empty() {
            return Some(text("latest".into()));
        }
        // Dated versions of the tree look the same here.
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        if version != "latest" && !version.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        if rest.is_empty() {
            let user_data = self.user_data.as_ref().map_or("", |_| "\nuser-data");
            return Some(text(format!("dynamic\nmeta-data{user_data}")));
        }
        if rest == "user-data" {
            let body = self.user_data.clone()?;
            return Some(Document {
                content_type: "application/octet-stream",
                body,
            });
        }
        if let Some(leaf) = self.leaves.get(rest) {
            return Some(text(leaf.clone()));
        }
        self.list(rest.trim_end_matches('/')).map(text)
    }

    fn list(&self, directory: &str) -> Option<String> {
        let prefix = format!("{directory}/");
        let mut names: Vec<String> = Vec::new();
        let below = self.leaves.range(prefix.clone()..);
        for (path, _) in below.take_while(|(path, _)| path.starts_with(&prefix)) {
            let rest = &path[prefix.len()..];
            let name = match rest.split_once('/') {
                Some((directory, _)) => format!("{directory}/"),
                None => rest.to_owned(),
            };
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| names.join("\n"))
    }
}

fn put(leaves: &mut BTreeMap<String, String>, path: &str, value: impl std::fmt::Display) {
    leaves.insert(format!("meta-data/{path}"), value.to_string());
}

fn identity(leaves: &mut BTreeMap<String, String>, region: &Region, i: &Instance) {
    put(leaves, "ami-id", &i.image_id);
    put(leaves, "ami-launch-index", i.launch_index);
    put(leaves, "instance-action", "none");
    put(leaves, "instance-id", &i.id);
    put(leaves, "instance-type", &i.instance_type);
    put(
        leaves,
        "instance-life-cycle",
        if i.spot.is_some() {
            "spot"
        } else {
            "on-demand"
        },
    );
    put(leaves, "reservation-id", &i.reservation_id);
    put(leaves, "placement/region", &region.name);
    put(leaves, "placement/availability-zone", &i.placement.zone);
    put(
        leaves,
        "placement/availability-zone-id",
        &i.placement.zone_id,
    );
    if !i.placement.group.is_empty() {
        put(leaves, "placement/group-name", &i.placement.group);
    }
    if let Some(partition) = i.placement.partition {
        put(leaves, "placement/partition-number", partition);
    }
    put(leaves, "services/domain", "amazonaws.com");
    put(leaves, "services/partition", "aws");
    for device in &i.block_devices {
        let name = if device.device == i.root_device {
            "root"
        } else {
            "ebs"
        };
        let path = format!("block-device-mapping/{name}");
        put(leaves, &path, device.device.trim_start_matches("/dev/"));
    }
    if let Some(key) = &i.key_name {
        let public_key = region.key_pair(key).map_or("", |pair| &pair.public_key);
        put(
            leaves,
            "public-keys/0/openssh-key",
            format!("{public_key} {key}"),
        );
    }
    let document = json!({
        "accountId": region.account,
        "architecture": i.architecture,
        "availabilityZone": i.placement.zone,
        "billingProducts": null,
        "imageId": i.image_id,
        "instanceId": i.id,
        "instanceType": i.instance_type,
        "kernelId": null,
        "pendingTime": i.launch_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "privateIp": i.private_ip,
        "ramdiskId": null,
        "region": region.name,
        "version": "2017-09-30",
    });
    let path = "dynamic/instance-identity/document".to_owned();
    leaves.insert(path, format!("{document:#}"));
}

fn network(leaves: &mut BTreeMap<String, String>, region: &Region, i: &Instance) {
    let name = private_dns(&region.name, i.private_ip);
    put(leaves, "hostname", &name);
    put(leaves, "local-hostname", &name);
    put(leaves, "local-ipv4", i.private_ip);
    if let Some(address) = i.public_ip {
        put(leaves, "public-ipv4", address);
        put(leaves, "public-hostname", public_dns(&region.name, address));
    }
    let groups = i.groups.iter().filter_map(|id| region.groups.get(id));
    let names: Vec<&str> = groups.map(|group| group.name.as_str()).collect();
    put(leaves, "security-groups", names.join("\n"));
    let interfaces = i
        .interfaces
        .iter()
        .filter_map(|id| region.interfaces.get(id));
    for (interface, index) in interfaces.zip(0..) {
        if index == 0 {
            put(leaves, "mac", &interface.mac);
        }
        let at = |leaf: &str| format!("network/interfaces/macs/{}/{leaf}", interface.mac);
        put(leaves, &at("device-number"), index);
        put(leaves, &at("interface-id"), &interface.id);
        put(leaves, &at("local-ipv4s"), interface.private_ip);
        put(leaves, &at("mac"), &interface.mac);
        put(leaves, &at("owner-id"), &region.account);
        put(
            leaves,
            &at("security-group-ids"),
            interface.groups.join("\n"),
        );
        put(leaves, &at("subnet-id"), &interface.subnet_id);
        put(leaves, &at("vpc-id"), &interface.vpc_id);
    }
}

fn tags(leaves: &mut BTreeMap<String, String>, region: &Region, i: &Instance) {
    if i.metadata.instance_tags == "enabled" {
        for (key, value) in region.tags_of(&i.id).into_iter().flatten() {
            put(leaves, &format!("tags/instance/{key}"), value);
        }
    }
}

fn spot(leaves: &mut BTreeMap<String, String>, i: &Instance) {
    let second = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    if let Some(notice) = &i.condition.spot_notice {
        let action = json!({ "action": notice.action, "time": second(notice.at) });
        put(leaves, "spot/instance-action", action);
        if notice.action == "terminate" {
            put(leaves, "spot/termination-time", second(notice.at));
        }
    }
    if let Some(at) = i.condition.rebalance_at {
        let notice = json!({ "noticeTime": second(at) });
        put(leaves, "events/recommendations/rebalance", notice);
    }
}

fn credentials(
    leaves: &mut BTreeMap<String, String>,
    region: &Region,
    i: &Instance,
    now: Timestamp,
) {
    let Some(profile) = &i.profile else { return };
    let info = json!({
        "Code": "Success",
        "LastUpdated": time(now),
        "InstanceProfileArn": profile.arn,
        "InstanceProfileId": profile.id,
    });
    put(leaves, "iam/info", format!("{info:#}"));
    let Some(role) = &profile.role else { return };
    let credentials = json!({
        "Code": "Success",
        "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "Type": "AWS-HMAC",
        "AccessKeyId": access_key_of(&i.id),
        "SecretAccessKey": format!("secret-of-{}", i.id),
        "Token": format!("session-of-{}-in-{}", i.id, region.name),
        "Expiration": (now + std::time::Duration::from_secs(6 * 3600))
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
    });
    put(
        leaves,
        &format!("iam/security-credentials/{role}"),
        format!("{credentials:#}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let mut leaves = BTreeMap::new();
        put(&mut leaves, "instance-id", "i-1");
        put(&mut leaves, "placement/region", "us-east-1");
        put(&mut leaves, "tags/instance/a", "1");
        View {
            leaves,
            user_data: None,
        }
    }

    fn read(path: &str) -> Option<String> {
        view()
            .document(path)
            .and_then(|d| String::from_utf8(d.body).ok())
    }

    #[test]
    fn leaves_and_directories_are_served() {
        assert_eq!(read("latest/meta-data/instance-id").as_deref(), Some("i-1"));
        assert_eq!(
            read("latest/meta-data/").as_deref(),
            Some("instance-id\nplacement/\ntags/")
        );
        assert_eq!(
            read("2024-01-01/meta-data/placement").as_deref(),
            Some("region")
        );
        assert_eq!(
            read("latest/meta-data/tags/instance/").as_deref(),
            Some("a")
        );
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(read("latest/meta-data/spot/instance-action"), None);
        assert_eq!(read("latest/user-data"), None);
        assert_eq!(read("elsewhere"), None);
    }
}
