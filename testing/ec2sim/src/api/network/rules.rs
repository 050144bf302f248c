//! The rules of security groups.

use super::groups::named;
use crate::api::{Ctx, done, tags};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, one};
use crate::paging::{Page, PageRule};
use crate::params::Params;
use crate::world::network::{Cidr, Peer, Rule, SecurityGroup};
use crate::world::region::Region;
use crate::xml::Xml;

/// AuthorizeSecurityGroupIngress and -Egress.
pub(crate) fn authorize(ctx: &mut Ctx<'_>, egress: bool) -> ApiResult<Xml> {
    let id = named(ctx)?;
    let mut rules = read(ctx, egress)?;
    let specs = tags::TagSpecs::parse(ctx.params(), &["security-group-rule"])?;
    let present = &ctx.region().groups[&id].rules;
    if let Some(known) = rules
        .iter()
        .find(|rule| present.iter().any(|p| p.same_traffic(rule)))
    {
        let message = format!("the specified rule \"{}\" already exists", known.words());
        return Err(ApiError::new("InvalidPermission.Duplicate", message));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    for rule in &mut rules {
        rule.id = local.core.ids.fresh("sgr");
        tags::attach(local.region, &rule.id, specs.of("security-group-rule"));
    }
    let mut xml = done();
    xml.list("securityGroupRuleSet", &rules, |xml, rule| {
        write_rule(xml, local.region, &id, rule);
    });
    if let Some(group) = local.region.groups.get_mut(&id) {
        group.rules.extend(rules);
    }
    Ok(xml)
}

/// RevokeSecurityGroupIngress and -Egress.
pub(crate) fn revoke(ctx: &mut Ctx<'_>, egress: bool) -> ApiResult<Xml> {
    let id = named(ctx)?;
    let by_id = ctx.params().strings("SecurityGroupRuleId");
    let wanted = if by_id.is_empty() {
        read(ctx, egress)?
    } else {
        Vec::new()
    };
    let rules = &ctx.region().groups[&id].rules;
    let unknown_id = by_id
        .iter()
        .find(|rule_id| !rules.iter().any(|rule| rule.id == **rule_id));
    if let Some(unknown) = unknown_id {
        let code = "InvalidSecurityGroupRuleId.NotFound";
        return Err(ApiError::not_found(code, "security group rule ID", unknown));
    }
    if wanted
        .iter()
        .any(|rule| !rules.iter().any(|present| present.same_traffic(rule)))
    {
        let message = "The specified rule does not exist in this security group.";
        return Err(ApiError::new("InvalidPermission.NotFound", message));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    if let Some(group) = region.groups.get_mut(&id) {
        group.rules.retain(|rule| {
            !by_id.contains(&rule.id.as_str()) && !wanted.iter().any(|w| w.same_traffic(rule))
        });
    }
    Ok(done())
}

impl Rule {
    fn words(&self) -> String {
        let direction = if self.egress { "to" } else { "from" };
        let (Peer::V4(peer) | Peer::V6(peer) | Peer::Group(peer) | Peer::PrefixList(peer)) =
            &self.peer;
        format!(
            "{direction} {peer}, protocol {}, {:?}",
            self.protocol, self.from_port
        )
    }
}

/// The rules that a call writes out, one for each peer.
fn read(ctx: &mut Ctx<'_>, egress: bool) -> ApiResult<Vec<Rule>> {
    let params = ctx.params();
    let region = ctx.region();
    let mut rules = Vec::new();
    for permission in params.list("IpPermissions") {
        read_permission(region, permission, egress, &mut rules)?;
    }
    if params.get("IpProtocol").is_some() {
        read_permission(region, params, egress, &mut rules)?;
    }
    if rules.is_empty() {
        return Err(ApiError::missing("ipPermissions"));
    }
    Ok(rules)
}

fn read_permission(
    region: &Region,
    permission: &Params,
    egress: bool,
    rules: &mut Vec<Rule>,
) -> ApiResult<()> {
    let protocol = match permission.need("IpProtocol")? {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        other => other,
    };
    let (from_port, to_port) = match protocol {
        "-1" => (None, None),
        _ => (permission.int("FromPort")?, permission.int("ToPort")?),
    };
    if matches!(protocol, "tcp" | "udp") && (from_port.is_none() || to_port.is_none()) {
        let message = "The ports of a rule for tcp or udp must be specified.";
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let mut push = |peer: Peer, description: Option<&str>| {
        rules.push(Rule {
            id: String::new(),
            egress,
            protocol: protocol.to_owned(),
            from_port,
            to_port,
            peer,
            description: description.map(str::to_owned),
        });
    };
    let flat = permission.str("CidrIp").map(|cidr| (cidr, None));
    let listed = permission.list("IpRanges");
    let listed = listed
        .iter()
        .filter_map(|r| Some((r.str("CidrIp")?, r.str("Description"))));
    for (cidr, description) in flat.into_iter().chain(listed) {
        push(Peer::V4(Cidr::parse(cidr)?.to_string()), description);
    }
    for range in permission.list("Ipv6Ranges") {
        push(
            Peer::V6(range.need("CidrIpv6")?.to_owned()),
            range.str("Description"),
        );
    }
    for group in permission.list("Groups") {
        push(
            Peer::Group(peer_group(region, group)?),
            group.str("Description"),
        );
    }
    for list in permission.list("PrefixListIds") {
        push(
            Peer::PrefixList(list.need("PrefixListId")?.to_owned()),
            list.str("Description"),
        );
    }
    Ok(())
}

fn peer_group(region: &Region, pair: &Params) -> ApiResult<String> {
    // Groups of other accounts are not modelled; the account given is the caller's own.
    let _ = pair.str("UserId");
    let found = match (pair.str("GroupId"), pair.str("GroupName")) {
        (Some(id), _) => region.groups.get(id).ok_or(id),
        (None, Some(name)) => region.groups.values().find(|g| g.name == name).ok_or(name),
        (None, None) => return Err(ApiError::missing("GroupId")),
    };
    found.map(|group| group.id.clone()).map_err(|unknown| {
        let message = format!("The security group '{unknown}' does not exist");
        ApiError::new("InvalidGroup.NotFound", message)
    })
}

/// The rules of a group as permissions: rules of one protocol and port range together.
pub(crate) fn write_permissions(
    xml: &mut Xml,
    region: &Region,
    name: &str,
    group: &SecurityGroup,
    egress: bool,
) {
    let mut permissions: Vec<Vec<&Rule>> = Vec::new();
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        let same = permissions.iter_mut().find(|rules| {
            rules.first().is_some_and(|first| {
                (&first.protocol, first.from_port, first.to_port)
                    == (&rule.protocol, rule.from_port, rule.to_port)
            })
        });
        match same {
            Some(rules) => rules.push(rule),
            None => permissions.push(vec![rule]),
        }
    }
    xml.list(name, permissions, |xml, rules| {
        write_permission(xml, region, &rules);
    });
}

fn write_permission(xml: &mut Xml, region: &Region, rules: &[&Rule]) {
    let Some(first) = rules.first() else { return };
    xml.text("ipProtocol", &first.protocol);
    xml.opt("fromPort", first.from_port);
    xml.opt("toPort", first.to_port);
    let of = |pick: fn(&Peer) -> Option<&String>| {
        rules
            .iter()
            .filter_map(move |rule| Some((pick(&rule.peer)?, &rule.description)))
    };
    let groups = of(|peer| {
        if let Peer::Group(id) = peer {
            Some(id)
        } else {
            None
        }
    });
    xml.list("groups", groups, |xml, (id, description)| {
        xml.text("groupId", id);
        xml.text("userId", &region.account);
        xml.opt("description", description.as_ref());
    });
    let v4 = of(|peer| {
        if let Peer::V4(cidr) = peer {
            Some(cidr)
        } else {
            None
        }
    });
    xml.list("ipRanges", v4, |xml, (cidr, description)| {
        xml.text("cidrIp", cidr);
        xml.opt("description", description.as_ref());
    });
    let v6 = of(|peer| {
        if let Peer::V6(cidr) = peer {
            Some(cidr)
        } else {
            None
        }
    });
    xml.list("ipv6Ranges", v6, |xml, (cidr, description)| {
        xml.text("cidrIpv6", cidr);
        xml.opt("description", description.as_ref());
    });
    let lists = of(|peer| {
        if let Peer::PrefixList(id) = peer {
            Some(id)
        } else {
            None
        }
    });
    xml.list("prefixListIds", lists, |xml, (id, description)| {
        xml.text("prefixListId", id);
        xml.opt("description", description.as_ref());
    });
}

fn write_rule(xml: &mut Xml, region: &Region, group_id: &str, rule: &Rule) {
    xml.text("securityGroupRuleId", &rule.id);
    xml.text("groupId", group_id);
    xml.text("groupOwnerId", &region.account);
    xml.text("isEgress", rule.egress);
    xml.text("ipProtocol", &rule.protocol);
    xml.text("fromPort", rule.from_port.unwrap_or(-1));
    xml.text("toPort", rule.to_port.unwrap_or(-1));
    match &rule.peer {
        Peer::V4(cidr) => xml.text("cidrIpv4", cidr),
        Peer::V6(cidr) => xml.text("cidrIpv6", cidr),
        Peer::PrefixList(id) => xml.text("prefixListId", id),
        Peer::Group(id) => xml.nest("referencedGroupInfo", |xml| {
            xml.text("groupId", id);
            xml.text("userId", &region.account);
        }),
    }
    xml.opt("description", rule.description.as_ref());
    tags::write(xml, region, &rule.id);
}

/// DescribeSecurityGroupRules.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, &["group-id", "security-group-rule-id"])?;
    let ids = params.strings("SecurityGroupRuleId");
    let rule = PageRule::usual("DescribeSecurityGroupRules");
    let page = Page::parse(params, rule, !ids.is_empty())?;
    ctx.dry_run_ends()?;
    let region = ctx.region();
    let mut all: Vec<(&str, &Rule)> = region
        .groups
        .values()
        .flat_map(|group| group.rules.iter().map(|rule| (group.id.as_str(), rule)))
        .collect();
    all.sort_by(|a, b| a.1.id.cmp(&b.1.id));
    if let Some(unknown) = ids
        .iter()
        .find(|id| !all.iter().any(|(_, rule)| rule.id == **id))
    {
        let code = "InvalidSecurityGroupRuleId.NotFound";
        return Err(ApiError::not_found(code, "security group rule ID", unknown));
    }
    let found = all.into_iter().filter(|(group_id, rule)| {
        (ids.is_empty() || ids.contains(&rule.id.as_str()))
            && filters.pass(region.tags_of(&rule.id), |name| match name {
                "group-id" => one(*group_id),
                _ => one(rule.id.as_str()),
            })
    });
    let (found, token) = page.take_sorted(found, |(_, rule)| rule.id.clone());
    let mut xml = Xml::new();
    xml.list("securityGroupRuleSet", found, |xml, (group_id, rule)| {
        write_rule(xml, region, group_id, rule);
    });
    xml.opt("nextToken", token);
    Ok(xml)
}
