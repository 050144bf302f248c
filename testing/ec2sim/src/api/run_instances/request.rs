//! What a launch asks for, checked.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::devices::{Device, devices};
use super::interfaces::{InterfaceSpec, interfaces};
use super::options;
use crate::api::tags::{TagSpecs, fits_metadata, metadata_key_error};
use crate::api::{Ctx, images};
use crate::catalogue::{self, InstanceType};
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::world::instance::{MetadataOptions, ProfileRef};
use crate::world::storage::Image;

/// User data may be this long, decoded.
const MAX_USER_DATA: usize = 16 * 1024;
/// The kinds of resources that a launch can tag.
const TAGGABLE: [&str; 4] = [
    "instance",
    "volume",
    "network-interface",
    "spot-instances-request",
];

/// A spot purchase as asked for.
#[derive(Debug)]
pub(crate) struct SpotWish {
    /// The most it pays an hour.
    pub(crate) max_price: Option<String>,
    /// Whether the request outlives the instance.
    pub(crate) persistent: bool,
    /// What an interruption does.
    pub(crate) interruption: String,
    /// The request, when it exists already.
    pub(crate) existing: Option<String>,
    /// What a persistent request launches when it launches again.
    pub(crate) params: Vec<(String, String)>,
}

/// A launch.
#[derive(Debug)]
pub(crate) struct Request {
    /// At least so many.
    pub(crate) min: usize,
    /// At most so many.
    pub(crate) max: usize,
    /// The type.
    pub(crate) kind: &'static InstanceType,
    /// The image.
    pub(crate) image: Image,
    /// The key pair.
    pub(crate) key_name: Option<String>,
    /// Decoded user data.
    pub(crate) user_data: Arc<[u8]>,
    /// The subnet of the first interface, when given.
    pub(crate) subnet_id: Option<String>,
    /// The zone, when given.
    pub(crate) zone: Option<String>,
    /// The placement group, or empty.
    pub(crate) group: String,
    /// The partition.
    pub(crate) partition: Option<i64>,
    /// `default`, `dedicated` or `host`.
    pub(crate) tenancy: String,
    /// The interfaces in device order; always one at least.
    pub(crate) interfaces: Vec<InterfaceSpec>,
    /// The volumes, root first.
    pub(crate) devices: Vec<Device>,
    /// Tags by kind.
    pub(crate) tags: TagSpecs,
    /// The instance profile.
    pub(crate) profile: Option<ProfileRef>,
    /// The metadata options.
    pub(crate) metadata: MetadataOptions,
    /// `stop` or `terminate`.
    pub(crate) shutdown_behavior: String,
    /// Termination protection.
    pub(crate) disable_api_termination: bool,
    /// Stop protection.
    pub(crate) disable_api_stop: bool,
    /// Whether it may hibernate.
    pub(crate) hibernation: bool,
    /// Whether detailed monitoring is on.
    pub(crate) monitoring: bool,
    /// Whether it is EBS optimized.
    pub(crate) ebs_optimized: bool,
    /// Whether it has an enclave.
    pub(crate) enclave: bool,
    /// Cores and threads per core.
    pub(crate) cpu: (i64, i64),
    /// The spot purchase.
    pub(crate) spot: Option<SpotWish>,
    /// `open`, `none` or `capacity-reservations-only`.
    pub(crate) reservation_preference: String,
    /// The capacity reservation, when named.
    pub(crate) reservation_target: Option<String>,
}

impl Request {
    /// Reads and checks the parameters of RunInstances.
    pub(crate) fn parse(ctx: &mut Ctx<'_>, params: &Params) -> ApiResult<Self> {
        let (min, max) = counts(params)?;
        let image = images::find(ctx.region(), params.need("ImageId")?)?.clone();
        let kind = kind(params, &image)?;
        let tags = TagSpecs::parse(params, &TAGGABLE)?;
        let metadata = options::metadata(params)?;
        check_metadata_keys(&tags, &metadata)?;
        let key_name = key_name(ctx, params)?;
        let placement = options::placement(ctx, params)?;
        let interfaces = interfaces(ctx, params, max)?;
        let devices = devices(params, &image)?;
        let hibernation = options::hibernation(params, kind, &devices)?;
        let spot = options::spot(params, kind, placement.zone.as_deref(), ctx)?;
        let (reservation_preference, reservation_target) = options::reservation(params)?;
        let shutdown_behavior = options::shutdown_behavior(params)?;
        let flag = |name: &str| Ok::<_, ApiError>(params.bool(name)?.unwrap_or(false));
        let nested = |name: &str, field: &str| {
            let value = params
                .get(name)
                .map(|p| p.bool(field))
                .transpose()?
                .flatten();
            Ok::<_, ApiError>(value.unwrap_or(false))
        };
        Ok(Self {
            min,
            max,
            kind,
            key_name,
            user_data: user_data(params)?,
            subnet_id: interfaces.first().and_then(|first| first.subnet_id.clone()),
            zone: placement.zone,
            group: placement.group,
            partition: placement.partition,
            tenancy: placement.tenancy,
            interfaces,
            devices,
            tags,
            profile: profile(ctx, params)?,
            metadata,
            shutdown_behavior,
            disable_api_termination: flag("DisableApiTermination")?,
            disable_api_stop: flag("DisableApiStop")?,
            hibernation,
            monitoring: nested("Monitoring", "Enabled")?,
            ebs_optimized: flag("EbsOptimized")?,
            enclave: nested("EnclaveOptions", "Enabled")?,
            cpu: options::cpu(params, kind)?,
            spot,
            reservation_preference,
            reservation_target,
            image,
        })
    }
}

fn counts(params: &Params) -> ApiResult<(usize, usize)> {
    let count =
        |name: &str| -> ApiResult<i64> { params.int(name)?.ok_or_else(|| ApiError::missing(name)) };
    let (min, max) = (count("MinCount")?, count("MaxCount")?);
    for (name, value) in [("minCount", min), ("maxCount", max)] {
        if value < 1 {
            return Err(ApiError::invalid(
                name,
                &value.to_string(),
                "It must be at least 1.",
            ));
        }
    }
    if min > max {
        let why = "The minimum must not be greater than the maximum.";
        return Err(ApiError::invalid("minCount", &min.to_string(), why));
    }
    let count = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok((count(min), count(max)))
}

fn kind(params: &Params, image: &Image) -> ApiResult<&'static InstanceType> {
    let name = params.str("InstanceType").unwrap_or("m1.small");
    let kind = catalogue::find(name).ok_or_else(|| {
        ApiError::new(
            "InvalidInstanceType",
            format!("Invalid value '{name}' for InstanceType."),
        )
    })?;
    if !kind.architectures.contains(&image.architecture) {
        let message = format!(
            "The architecture '{}' of the specified instance type does not match the architecture \
             '{}' of the specified AMI. Specify an instance type and an AMI that have matching \
             architectures, and try again.",
            kind.architectures.join(","),
            image.architecture
        );
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok(kind)
}

fn check_metadata_keys(tags: &TagSpecs, metadata: &MetadataOptions) -> ApiResult<()> {
    if metadata.instance_tags != "enabled" {
        return Ok(());
    }
    let keys = tags.of("instance").into_iter().flat_map(|tags| tags.keys());
    match keys.into_iter().find(|key| !fits_metadata(key)) {
        Some(bad) => Err(metadata_key_error(bad)),
        None => Ok(()),
    }
}

fn key_name(ctx: &mut Ctx<'_>, params: &Params) -> ApiResult<Option<String>> {
    let Some(name) = params.str("KeyName") else {
        return Ok(None);
    };
    if ctx.region().key_pair(name).is_none() {
        let message = format!("The key pair '{name}' does not exist");
        return Err(ApiError::new("InvalidKeyPair.NotFound", message));
    }
    Ok(Some(name.to_owned()))
}

fn user_data(params: &Params) -> ApiResult<Arc<[u8]>> {
    let Some(encoded) = params.str("UserData") else {
        return Ok(Arc::default());
    };
    let compact: String = encoded
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .collect();
    let decoded = STANDARD.decode(compact).map_err(|_| {
        let message = "Invalid BASE64 encoding of user data.";
        ApiError::new("InvalidUserData.Malformed", message)
    })?;
    if decoded.len() > MAX_USER_DATA {
        let message = format!("User data is limited to {MAX_USER_DATA} bytes");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok(decoded.into())
}

fn profile(ctx: &mut Ctx<'_>, params: &Params) -> ApiResult<Option<ProfileRef>> {
    let Some(wish) = params.get("IamInstanceProfile") else {
        return Ok(None);
    };
    let (field, name) = match (wish.str("Name"), wish.str("Arn")) {
        (Some(_), Some(_)) => {
            let message = "The parameter 'iamInstanceProfile.name' may not be used in combination \
                           with 'iamInstanceProfile.arn'";
            return Err(ApiError::combination(message));
        }
        (Some(name), None) => ("name", name),
        (None, Some(arn)) => ("arn", arn),
        (None, None) => return Ok(None),
    };
    let (now, delay) = (ctx.now, ctx.world.core.config.profile_delay);
    let (iam, _) = ctx.world.iam(&ctx.place.account);
    let found = iam
        .profile(name)
        .filter(|profile| {
            if field == "name" {
                profile.name == name
            } else {
                profile.arn == name
            }
        })
        .filter(|profile| profile.created_at + delay <= now);
    let profile = found.ok_or_else(|| {
        let what = if field == "name" { "name" } else { "ARN" };
        let message = format!(
            "Value ({name}) for parameter iamInstanceProfile.{field} is invalid. Invalid IAM \
             Instance Profile {what}"
        );
        ApiError::new("InvalidParameterValue", message)
    })?;
    Ok(Some(profile.into()))
}
