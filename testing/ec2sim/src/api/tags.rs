//! Tags: CreateTags, DeleteTags, DescribeTags, and the tag specifications of other calls.

use std::collections::BTreeMap;

use super::{Ctx, done};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Tags, one};
use crate::paging::{Page, PageRule};
use crate::params::Params;
use crate::world::region::Region;
use crate::xml::Xml;

const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;
const MAX_RESOURCES: usize = 1000;

/// The prefix of ids, what the resource is called in tag specifications, and the code for an
/// unknown id.
const KINDS: [(&str, &str, &str); 17] = [
    ("i", "instance", "InvalidInstanceID.NotFound"),
    ("vol", "volume", "InvalidVolume.NotFound"),
    (
        "eni",
        "network-interface",
        "InvalidNetworkInterfaceID.NotFound",
    ),
    (
        "sir",
        "spot-instances-request",
        "InvalidSpotInstanceRequestID.NotFound",
    ),
    ("ami", "image", "InvalidAMIID.NotFound"),
    ("snap", "snapshot", "InvalidSnapshot.NotFound"),
    ("vpc", "vpc", "InvalidVpcID.NotFound"),
    ("subnet", "subnet", "InvalidSubnetID.NotFound"),
    ("sg", "security-group", "InvalidGroup.NotFound"),
    (
        "sgr",
        "security-group-rule",
        "InvalidSecurityGroupRuleId.NotFound",
    ),
    (
        "igw",
        "internet-gateway",
        "InvalidInternetGatewayID.NotFound",
    ),
    ("rtb", "route-table", "InvalidRouteTableID.NotFound"),
    ("key", "key-pair", "InvalidKeyPair.NotFound"),
    ("pg", "placement-group", "InvalidPlacementGroup.Unknown"),
    (
        "cr",
        "capacity-reservation",
        "InvalidCapacityReservationId.NotFound",
    ),
    ("lt", "launch-template", "InvalidLaunchTemplateId.NotFound"),
    ("fleet", "fleet", "InvalidFleetId.NotFound"),
];

/// Tags by the kind of resource they are for.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagSpecs(BTreeMap<String, Tags>);

impl TagSpecs {
    /// Reads `TagSpecification.N`; only the kinds that the call makes are allowed.
    pub(crate) fn parse(params: &Params, allowed: &[&str]) -> ApiResult<Self> {
        let mut specs: BTreeMap<String, Tags> = BTreeMap::new();
        // EC2 names this list in two ways.
        let names = ["TagSpecification", "TagSpecifications"];
        for spec in names.iter().flat_map(|name| params.list(name)) {
            let kind = spec.need("ResourceType")?;
            if !allowed.contains(&kind) {
                let message =
                    format!("'{kind}' is not a valid taggable resource type for this operation.");
                return Err(ApiError::new("InvalidParameterValue", message));
            }
            let tags = specs.entry(kind.to_owned()).or_default();
            for tag in spec.list("Tag") {
                let (key, value) = read_tag(tag)?;
                if tags.insert(key.clone(), value).is_some() {
                    let message = format!("Duplicate tag key '{key}' specified.");
                    return Err(ApiError::new("InvalidParameterValue", message));
                }
            }
            check_count(tags.len())?;
        }
        Ok(Self(specs))
    }

    /// Adds a tag that EC2 itself gives.
    pub(crate) fn add_system(&mut self, kind: &str, key: &str, value: &str) {
        self.0
            .entry(kind.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
    }

    /// The tags for one kind of resource.
    pub(crate) fn of(&self, kind: &str) -> Option<&Tags> {
        self.0.get(kind)
    }
}

fn read_tag(tag: &Params) -> ApiResult<(String, String)> {
    let key = tag.str("Key").unwrap_or_default();
    let value = tag.str("Value").unwrap_or_default();
    check_key(key)?;
    if value.chars().count() > MAX_VALUE {
        let message = format!("Tag value exceeds the maximum length of {MAX_VALUE} characters.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn check_key(key: &str) -> ApiResult<()> {
    let refuse = |message: String| Err(ApiError::new("InvalidParameterValue", message));
    if key.is_empty() {
        return refuse("Tag key cannot be empty.".to_owned());
    }
    if key.chars().count() > MAX_KEY {
        return refuse(format!(
            "Tag key exceeds the maximum length of {MAX_KEY} characters."
        ));
    }
    if is_reserved(key) {
        return refuse("Tag keys starting with 'aws:' are reserved for internal use.".to_owned());
    }
    Ok(())
}

/// Keys of EC2's own tags; they do not count and cannot be changed.
fn is_reserved(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with("aws:")
}

fn check_count(count: usize) -> ApiResult<()> {
    if count > MAX_TAGS {
        let message = format!("More than {MAX_TAGS} tags specified for a resource.");
        return Err(ApiError::new("TagLimitExceeded", message));
    }
    Ok(())
}

/// Whether the metadata service could show a tag of this key; it has stricter rules than EC2.
pub(crate) fn fits_metadata(key: &str) -> bool {
    !matches!(key, "." | ".." | "_index")
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c))
}

/// The refusal of a tag key that the metadata service could not show.
pub(crate) fn metadata_key_error(key: &str) -> ApiError {
    let message = format!(
        "'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), \
         and must not be a reserved name ('.', '..', '_index')"
    );
    ApiError::new("InvalidParameterValue", message)
}

/// The kind of a resource by its id.
pub(crate) fn kind_of(id: &str) -> Option<&'static str> {
    let prefix = id.split('-').next()?;
    KINDS
        .iter()
        .find(|(known, ..)| *known == prefix)
        .map(|(_, kind, _)| *kind)
}

fn exists(ctx: &mut Ctx<'_>, id: &str) -> bool {
    let lag = ctx.lag;
    let now = ctx.now;
    let region = ctx.region();
    match kind_of(id) {
        Some("instance") => region
            .instance(id)
            .is_some_and(|instance| lag.is_zero() || instance.created_at + lag <= now),
        Some("volume") => region.volumes.contains_key(id),
        Some("network-interface") => region.interfaces.contains_key(id),
        Some("spot-instances-request") => region.spot_requests.contains_key(id),
        Some("image") => region.images.contains_key(id),
        Some("snapshot") => region.images.values().any(|image| image.snapshot_id == id),
        Some("vpc") => region.vpcs.contains_key(id),
        Some("subnet") => region.subnets.contains_key(id),
        Some("security-group") => region.groups.contains_key(id),
        Some("security-group-rule") => region
            .groups
            .values()
            .any(|group| group.rules.iter().any(|rule| rule.id == id)),
        Some("internet-gateway") => region.gateways.contains_key(id),
        Some("route-table") => region.route_tables.contains_key(id),
        Some("key-pair") => region.key_pairs.contains_key(id),
        Some("placement-group") => region.placement_groups.contains_key(id),
        Some("capacity-reservation") => region.reservations.contains_key(id),
        Some("launch-template") => region.templates.contains_key(id),
        _ => false,
    }
}

fn resources<'a>(ctx: &mut Ctx<'a>) -> ApiResult<Vec<&'a str>> {
    let ids = ctx.params().strings("ResourceId");
    if ids.is_empty() {
        return Err(ApiError::missing("resourceIdSet"));
    }
    if ids.len() > MAX_RESOURCES {
        let message = format!("A call can tag at most {MAX_RESOURCES} resources.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    for id in &ids {
        let prefix = id.split('-').next().unwrap_or_default();
        let Some((_, kind, code)) = KINDS.iter().find(|(known, ..)| *known == prefix) else {
            let message = format!("The ID '{id}' is not valid");
            return Err(ApiError::new("InvalidID", message));
        };
        if !exists(ctx, id) {
            return Err(ApiError::new(
                *code,
                format!("The {kind} ID '{id}' does not exist"),
            ));
        }
    }
    Ok(ids)
}

/// CreateTags.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = resources(ctx)?;
    let mut tags = Tags::new();
    for tag in ctx.params().list("Tag") {
        let (key, value) = read_tag(tag)?;
        tags.insert(key, value);
    }
    if tags.is_empty() {
        return Err(ApiError::missing("tagSet"));
    }
    let region = ctx.local().region;
    for id in &ids {
        let present = region.tags.get(*id);
        let new = tags
            .keys()
            .filter(|key| present.is_none_or(|have| !have.contains_key(*key)));
        let own = present
            .into_iter()
            .flatten()
            .filter(|(key, _)| !is_reserved(key));
        check_count(own.count() + new.count())?;
        let shown = region
            .instance(id)
            .is_some_and(|i| i.metadata.instance_tags == "enabled");
        if let Some(bad) = tags.keys().find(|key| shown && !fits_metadata(key)) {
            return Err(metadata_key_error(bad));
        }
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    for id in ids {
        region
            .tags
            .entry(id.to_owned())
            .or_default()
            .extend(tags.clone());
    }
    Ok(done())
}

/// DeleteTags.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let ids = resources(ctx)?;
    let wanted: Vec<(&str, Option<&str>)> = ctx
        .params()
        .list("Tag")
        .into_iter()
        .map(|tag| (tag.str("Key").unwrap_or_default(), tag.str("Value")))
        .collect();
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    for id in ids {
        let Some(tags) = region.tags.get_mut(id) else {
            continue;
        };
        if wanted.is_empty() {
            tags.retain(|key, _| is_reserved(key));
        }
        for (key, value) in &wanted {
            if value.is_none_or(|value| tags.get(*key).is_some_and(|have| have == value)) {
                tags.remove(*key);
            }
        }
    }
    Ok(done())
}

/// DescribeTags.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let filters = Filters::parse(params, &["key", "resource-id", "resource-type", "value"])?;
    let page = Page::parse(params, PageRule::usual("DescribeTags"), false)?;
    ctx.dry_run_ends()?;
    let region = ctx.region();
    let all = region.tags.iter().flat_map(|(id, tags)| {
        tags.iter()
            .map(move |(key, value)| (id.as_str(), key.as_str(), value.as_str(), tags))
    });
    let found = all.filter(|(id, key, value, tags)| {
        filters.pass(Some(tags), |name| match name {
            "key" => one(*key),
            "resource-id" => one(*id),
            "resource-type" => one(kind_of(id).unwrap_or_default()),
            _ => one(*value),
        })
    });
    let (found, token) = page.take_sorted(found, |(id, key, ..)| format!("{id}\n{key}"));
    let mut xml = Xml::new();
    xml.list("tagSet", found, |xml, (id, key, value, _)| {
        xml.text("resourceId", id);
        xml.text("resourceType", kind_of(id).unwrap_or_default());
        xml.text("key", key);
        xml.text("value", value);
    });
    xml.opt("nextToken", token);
    Ok(xml)
}

/// Gives a new resource its tags.
pub(crate) fn attach(region: &mut Region, id: &str, tags: Option<&Tags>) {
    if let Some(tags) = tags.filter(|tags| !tags.is_empty()) {
        region.tags.insert(id.to_owned(), tags.clone());
    }
}

/// `<tagSet>` of a resource.
pub(crate) fn write(xml: &mut Xml, region: &Region, id: &str) {
    let tags = region.tags_of(id).into_iter().flatten();
    xml.list("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key);
        xml.text("value", value);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_specifications_are_checked() {
        let parse = |query: &str| {
            TagSpecs::parse(&Params::parse(query.as_bytes()), &["instance", "volume"])
        };
        let one = "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=";
        let specs = parse(&format!("{one}a&TagSpecification.1.Tag.1.Value=b")).expect("valid");
        assert_eq!(
            specs
                .of("instance")
                .and_then(|tags| tags.get("a"))
                .map(String::as_str),
            Some("b")
        );
        for (query, code) in [
            (format!("{one}aws:x"), "InvalidParameterValue"),
            (format!("{one}{}", "k".repeat(129)), "InvalidParameterValue"),
            (
                format!("{one}k&TagSpecification.1.Tag.1.Value={}", "v".repeat(257)),
                "InvalidParameterValue",
            ),
            (
                "TagSpecification.1.ResourceType=vpc".to_owned(),
                "InvalidParameterValue",
            ),
        ] {
            assert_eq!(parse(&query).expect_err("refused").code, code, "{query}");
        }
    }

    #[test]
    fn the_metadata_service_has_stricter_keys() {
        for good in ["Name", "spawn:uid", "a+b-c=d.e,f_g@h"] {
            assert!(fits_metadata(good), "{good}");
        }
        for bad in ["a b", "a/b", ".", "..", "_index", "ü"] {
            assert!(!fits_metadata(bad), "{bad}");
        }
    }
}
