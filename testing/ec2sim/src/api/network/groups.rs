//! Security groups.

use super::rules;
use super::vpc_mut;
use crate::api::listing::Listing;
use crate::api::tags::{self, TagSpecs};
use crate::api::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Values, maybe, one};
use crate::world::ids::is_well_formed;
use crate::world::network::{Peer, Rule, SecurityGroup};
use crate::world::region::Region;
use crate::xml::Xml;

/// CreateSecurityGroup.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (name, description) = (params.need("GroupName")?, params.need("GroupDescription")?);
    let specs = TagSpecs::parse(params, &["security-group"])?;
    let vpc_id = match params.str("VpcId") {
        Some(id) => vpc_mut(ctx, id)?.id.clone(),
        None => ctx
            .region()
            .default_vpc()
            .map(|vpc| vpc.id.clone())
            .ok_or_else(|| ApiError::new("VPCIdNotSpecified", "No default VPC for this user"))?,
    };
    if name.len() > 255 || name.starts_with("sg-") {
        let why = "Group names must be at most 255 long and not begin with sg-.";
        return Err(ApiError::invalid("GroupName", name, why));
    }
    if ctx
        .region()
        .groups
        .values()
        .any(|group| group.vpc_id == vpc_id && group.name == name)
    {
        let message = format!("The security group '{name}' already exists for VPC '{vpc_id}'");
        return Err(ApiError::new("InvalidGroup.Duplicate", message));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let id = local.core.ids.fresh("sg");
    let open = Rule {
        id: local.core.ids.fresh("sgr"),
        egress: true,
        protocol: "-1".into(),
        from_port: None,
        to_port: None,
        peer: Peer::V4("0.0.0.0/0".into()),
        description: None,
    };
    let group = SecurityGroup {
        id: id.clone(),
        name: name.to_owned(),
        description: description.to_owned(),
        vpc_id,
        rules: vec![open],
    };
    tags::attach(local.region, &id, specs.of("security-group"));
    let mut xml = done();
    xml.text("groupId", &id);
    xml.text("securityGroupArn", arn(local.region, &id));
    tags::write(&mut xml, local.region, &id);
    local.region.groups.insert(id, group);
    Ok(xml)
}

fn arn(region: &Region, id: &str) -> String {
    format!(
        "arn:aws:ec2:{}:{}:security-group/{id}",
        region.name, region.account
    )
}

/// The id of the group that a call names by id or, in the default VPC, by name.
pub(crate) fn named(ctx: &mut Ctx<'_>) -> ApiResult<String> {
    let params = ctx.params();
    let region = ctx.region();
    let found = match (params.str("GroupId"), params.str("GroupName")) {
        (Some(id), _) => {
            if !is_well_formed("sg", id) {
                let message = format!("Invalid id: \"{id}\" (expecting \"sg-...\")");
                return Err(ApiError::new("InvalidGroupId.Malformed", message));
            }
            region.groups.get(id).ok_or(id)
        }
        (None, Some(name)) => {
            let vpc = region.default_vpc().map(|vpc| vpc.id.as_str());
            let in_default = |group: &&SecurityGroup| Some(group.vpc_id.as_str()) == vpc;
            let mut groups = region.groups.values().filter(in_default);
            groups.find(|group| group.name == name).ok_or(name)
        }
        (None, None) => return Err(ApiError::missing("GroupId")),
    };
    found.map(|group| group.id.clone()).map_err(|unknown| {
        let message = format!("The security group '{unknown}' does not exist");
        ApiError::new("InvalidGroup.NotFound", message)
    })
}

/// DescribeSecurityGroups.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let names = ctx.params().strings("GroupName");
    let region = ctx.region();
    let known = |name: &str| region.groups.values().any(|group| group.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let message = format!("The security group '{unknown}' does not exist");
        return Err(ApiError::new("InvalidGroup.NotFound", message));
    }
    Listing {
        action: "DescribeSecurityGroups",
        ids: "GroupId",
        not_found: "InvalidGroup.NotFound",
        what: "security group",
        filters: &[
            "description",
            "egress.ip-permission.cidr",
            "egress.ip-permission.from-port",
            "egress.ip-permission.group-id",
            "egress.ip-permission.group-name",
            "egress.ip-permission.ipv6-cidr",
            "egress.ip-permission.prefix-list-id",
            "egress.ip-permission.protocol",
            "egress.ip-permission.to-port",
            "egress.ip-permission.user-id",
            "group-id",
            "group-name",
            "ip-permission.cidr",
            "ip-permission.from-port",
            "ip-permission.group-id",
            "ip-permission.group-name",
            "ip-permission.ipv6-cidr",
            "ip-permission.prefix-list-id",
            "ip-permission.protocol",
            "ip-permission.to-port",
            "ip-permission.user-id",
            "owner-id",
            "vpc-id",
        ],
        all: |region| &region.groups,
        values,
        set: "securityGroupInfo",
        write,
    }
    .answer_if(ctx, |group| {
        names.is_empty() || names.contains(&group.name.as_str())
    })
}

fn values<'a>(region: &'a Region, group: &'a SecurityGroup, filter: &str) -> Values<'a> {
    let of_rules = |egress: bool, field: &str| -> Values<'a> {
        let rules = group.rules.iter().filter(|rule| rule.egress == egress);
        rules
            .flat_map(|rule| rule_values(region, rule, field))
            .collect()
    };
    if let Some(field) = filter.strip_prefix("egress.ip-permission.") {
        return of_rules(true, field);
    }
    if let Some(field) = filter.strip_prefix("ip-permission.") {
        return of_rules(false, field);
    }
    match filter {
        "description" => one(group.description.as_str()),
        "group-id" => one(group.id.as_str()),
        "group-name" => one(group.name.as_str()),
        "owner-id" => one(region.account.as_str()),
        _ => one(group.vpc_id.as_str()),
    }
}

fn rule_values<'a>(region: &'a Region, rule: &'a Rule, field: &str) -> Values<'a> {
    match (field, &rule.peer) {
        ("cidr", Peer::V4(cidr)) | ("ipv6-cidr", Peer::V6(cidr)) => one(cidr.as_str()),
        ("group-id", Peer::Group(id)) => one(id.as_str()),
        ("group-name", Peer::Group(id)) => {
            maybe(region.groups.get(id).map(|group| group.name.as_str()))
        }
        ("user-id", Peer::Group(_)) => one(region.account.as_str()),
        ("prefix-list-id", Peer::PrefixList(id)) => one(id.as_str()),
        ("protocol", _) => one(rule.protocol.as_str()),
        ("from-port", _) => maybe(rule.from_port.map(|port| port.to_string())),
        ("to-port", _) => maybe(rule.to_port.map(|port| port.to_string())),
        _ => Vec::new(),
    }
}

fn write(xml: &mut Xml, region: &Region, group: &SecurityGroup) {
    xml.text("ownerId", &region.account);
    xml.text("groupId", &group.id);
    xml.text("groupName", &group.name);
    xml.text("groupDescription", &group.description);
    xml.text("vpcId", &group.vpc_id);
    xml.text("securityGroupArn", arn(region, &group.id));
    rules::write_permissions(xml, region, "ipPermissions", group, false);
    rules::write_permissions(xml, region, "ipPermissionsEgress", group, true);
    tags::write(xml, region, &group.id);
}

/// DeleteSecurityGroup.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let id = named(ctx)?;
    let region = ctx.region();
    if region
        .groups
        .get(&id)
        .is_some_and(|group| group.name == "default")
    {
        let message = format!("the specified group: \"{id}\" name: \"default\" cannot be deleted");
        return Err(ApiError::new("CannotDelete", message));
    }
    let used = region.interfaces.values().any(|e| e.groups.contains(&id));
    let referred = region
        .groups
        .values()
        .filter(|group| group.id != id)
        .any(|group| {
            group
                .rules
                .iter()
                .any(|rule| rule.peer == Peer::Group(id.clone()))
        });
    if used || referred {
        let message = format!("resource {id} has a dependent object");
        return Err(ApiError::new("DependencyViolation", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    region.groups.remove(&id);
    region.tags.remove(&id);
    let mut xml = done();
    xml.text("groupId", id);
    Ok(xml)
}
