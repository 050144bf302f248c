//! From a spec to the arguments of RunInstances.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use spore_core::{
    agent_config::{self, AgentConfig, Idle, Members, OnComplete},
    tags::{Identity, Kind},
    token,
};
use spore_crds::{Launch, LaunchPlan, Market, SporeInstanceSpec};

use crate::{
    cloud::{Architecture, CloudError, ImageFacts, TypeFacts},
    facts::{Answer, Fact, Facts, Standing},
    settings::Settings,
    user_data::{self, Agent},
};

/// What came of resolving a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// These must be known first.
    Need(Vec<Fact>),
    /// Everything is known.
    Ready(Box<Resolved>),
    /// AWS refused to tell something.
    Refused {
        /// What it said.
        error: CloudError,
        /// When it is asked again.
        until: Timestamp,
    },
    /// The spec cannot be launched as it is.
    Impossible {
        /// One CamelCase word.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

/// What is to be launched, and for whom.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// What it is to be.
    pub spec: &'a SporeInstanceSpec,
    /// Kind of the object that launches it.
    pub kind: Kind,
    /// UID of that object.
    pub uid: &'a str,
    /// Its `namespace/name`.
    pub owner: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// Position of the call among those of the same object.
    pub batch: u32,
    /// The members that the call makes, if it is an array's or a sweep's.
    pub members: Option<Members>,
    /// The zone, if the launch is bound to one.
    pub zone: Option<String>,
    /// A moment by which the instance must be gone, however long it may live otherwise.
    pub latest: Option<Timestamp>,
}

/// A launch with everything decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The ClientToken.
    pub token: String,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// When the instance is gone at the latest.
    pub deadline: Timestamp,
    /// What RunInstances is called with.
    pub plan: LaunchPlan,
}

impl Resolved {
    /// The launch of a single instance.
    #[must_use]
    pub fn launch(self, attempt: u32) -> Launch {
        let Self {
            token,
            decided_at,
            deadline,
            plan,
        } = self;
        Launch {
            attempt,
            token,
            decided_at,
            deadline,
            plan,
            instance_id: None,
        }
    }
}

/// Public parameters that name the newest images (Systems Manager User Guide, "Calling AMI public
/// parameters"; AWS Deep Learning AMIs Developer Guide, "Finding the id").
fn image_parameter(facts: &TypeFacts) -> String {
    let arch = facts.architecture.as_str();
    if facts.nvidia {
        format!(
            "/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"
        )
    } else {
        format!("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{arch}")
    }
}

/// The region of a spore.
#[must_use]
pub fn region<'a>(spec: &'a SporeInstanceSpec, settings: &'a Settings) -> &'a str {
    spec.region
        .as_deref()
        .or_else(|| settings.regions.first().map(String::as_str))
        .unwrap_or("")
}

/// Resolves everything that RunInstances needs, or says what is missing.
#[must_use]
pub fn resolve(
    subject: &Subject<'_>,
    facts: &Facts,
    settings: &Settings,
    now: Timestamp,
) -> Resolution {
    match try_resolve(subject, facts, settings, now) {
        Ok(resolved) => Resolution::Ready(Box::new(resolved)),
        Err(other) => other,
    }
}

fn try_resolve(
    subject: &Subject<'_>,
    facts: &Facts,
    settings: &Settings,
    now: Timestamp,
) -> Result<Resolved, Resolution> {
    let spec = subject.spec;
    let region = known_region(spec, settings)?;
    let know = |fact: Fact| know(facts, fact, now);

    let type_fact = Fact::Type {
        region: region.to_owned(),
        name: spec.instance_type.clone(),
    };
    // Independent questions are asked together, so that a first launch waits for one round only.
    let profile = match own_profile(spec, settings)?.or(settings.instance_profile.as_ref()) {
        Some(name) => Ok(name.clone()),
        None => know(Fact::AgentProfile).and_then(name),
    };
    let type_facts = match (know(type_fact).and_then(type_facts), &profile) {
        (Ok(facts), _) => facts,
        (Err(missing), Err(also)) => return Err(together(missing, also.clone())),
        (Err(missing), Ok(_)) => return Err(missing),
    };
    check_market(spec, &type_facts)?;

    let image_id = match &spec.image_id {
        Some(id) => id.clone(),
        None => {
            let path = image_parameter(&type_facts);
            let found = know(Fact::Parameter {
                region: region.to_owned(),
                path,
            })
            .and_then(name);
            match (found, &profile) {
                (Err(missing), Err(also)) => return Err(together(missing, also.clone())),
                (found, _) => found?,
            }
        }
    };
    let image = know(Fact::Image {
        region: region.to_owned(),
        id: image_id,
    })
    .and_then(image_facts)?;
    check_architecture(spec, &type_facts, &image)?;
    let profile = profile?;

    let own = ttl(spec, settings).after(whole_second(now));
    let deadline = subject.latest.map_or(own, |latest| latest.min(own));
    let data = encode_user_data(subject, deadline, region, type_facts.architecture, settings)?;
    let token = token::Launch {
        cluster_uid: &settings.cluster_uid,
        object_uid: subject.uid,
        attempt: subject.attempt,
        batch: subject.batch,
    }
    .token();
    Ok(Resolved {
        token,
        decided_at: whole_second(now),
        deadline,
        plan: LaunchPlan {
            region: region.to_owned(),
            instance_type: spec.instance_type.clone(),
            image_id: image.id,
            root_device: image.root_device,
            market: spec.market,
            zone: subject.zone.clone(),
            subnet_id: spec.subnet_id.clone(),
            security_group_ids: spec.security_group_ids.clone(),
            key_name: spec.key_name.clone(),
            instance_profile: Some(profile),
            tags: tags(subject, deadline, settings),
            user_data_sha256: data.sha256,
            user_data: Some(data.base64),
        },
    })
}

fn known_region<'a>(
    spec: &'a SporeInstanceSpec,
    settings: &'a Settings,
) -> Result<&'a str, Resolution> {
    let region = region(spec, settings);
    if settings.regions.iter().any(|known| known == region) {
        return Ok(region);
    }
    Err(Resolution::Impossible {
        reason: "RegionNotManaged",
        message: format!(
            "this controller does not manage the region {region}: use one of {}, or have it added to the controller's regions",
            settings.regions.join(", ")
        ),
    })
}

/// The profile that a spec names, if it is allowed.
fn own_profile<'a>(
    spec: &'a SporeInstanceSpec,
    settings: &Settings,
) -> Result<Option<&'a String>, Resolution> {
    match &spec.instance_profile {
        Some(name) if !settings.allowed_instance_profiles.contains(name) => {
            Err(Resolution::Impossible {
                reason: "InstanceProfileNotAllowed",
                message: format!(
                    "the instance profile {name} may not be used: leave it out, or have it added to the controller's --allowed-instance-profiles (chart value agent.allowedInstanceProfiles)"
                ),
            })
        }
        profile => Ok(profile.as_ref()),
    }
}

fn know(facts: &Facts, fact: Fact, now: Timestamp) -> Result<&Answer, Resolution> {
    match facts.get(&fact, now) {
        Standing::Known(answer) => Ok(answer),
        Standing::Unknown => Err(Resolution::Need(vec![fact])),
        Standing::Refused(error, until) => Err(Resolution::Refused {
            error: error.clone(),
            until,
        }),
    }
}

/// Joins two lists of questions; a refusal counts before a question.
fn together(one: Resolution, other: Resolution) -> Resolution {
    match (one, other) {
        (Resolution::Need(mut facts), Resolution::Need(more)) => {
            facts.extend(more);
            Resolution::Need(facts)
        }
        (Resolution::Need(_), other) => other,
        (one, _) => one,
    }
}

fn mismatch() -> Resolution {
    Resolution::Impossible {
        reason: "InternalError",
        message: "an answer of AWS was kept under the wrong question: please report this".into(),
    }
}

fn name(answer: &Answer) -> Result<String, Resolution> {
    match answer {
        Answer::Name(name) => Ok(name.clone()),
        Answer::Type(_) | Answer::Image(_) | Answer::Zones(_) | Answer::Price(_) => Err(mismatch()),
    }
}

fn type_facts(answer: &Answer) -> Result<TypeFacts, Resolution> {
    match answer {
        Answer::Type(facts) => Ok(facts.clone()),
        Answer::Name(_) | Answer::Image(_) | Answer::Zones(_) | Answer::Price(_) => Err(mismatch()),
    }
}

fn image_facts(answer: &Answer) -> Result<ImageFacts, Resolution> {
    match answer {
        Answer::Image(facts) => Ok(facts.clone()),
        Answer::Name(_) | Answer::Type(_) | Answer::Zones(_) | Answer::Price(_) => Err(mismatch()),
    }
}

fn check_market(spec: &SporeInstanceSpec, facts: &TypeFacts) -> Result<(), Resolution> {
    let (offered, other) = match spec.market {
        Market::Spot => (facts.spot, "OnDemand"),
        Market::OnDemand => (facts.on_demand, "Spot"),
    };
    if offered {
        return Ok(());
    }
    Err(Resolution::Impossible {
        reason: "MarketNotOffered",
        message: format!(
            "{} is not offered with market {:?}: set market to {other} or choose another instanceType",
            spec.instance_type, spec.market
        ),
    })
}

fn check_architecture(
    spec: &SporeInstanceSpec,
    facts: &TypeFacts,
    image: &ImageFacts,
) -> Result<(), Resolution> {
    let wanted = facts.architecture.as_str();
    if image.architecture == wanted {
        return Ok(());
    }
    Err(Resolution::Impossible {
        reason: "ImageArchitectureMismatch",
        message: format!(
            "{} has {wanted} processors and {} is made for {}: choose another imageId, or leave it out",
            spec.instance_type, image.id, image.architecture
        ),
    })
}

/// How long a spore may live: what it says, else the controller's default for its kind.
fn ttl(spec: &SporeInstanceSpec, settings: &Settings) -> spore_core::duration::Duration {
    spec.ttl.unwrap_or(match spec.idle {
        Some(_) => settings.default_ttl_idle,
        None => settings.default_ttl,
    })
}

fn encode_user_data(
    subject: &Subject<'_>,
    deadline: Timestamp,
    region: &str,
    architecture: Architecture,
    settings: &Settings,
) -> Result<user_data::UserData, Resolution> {
    let arch = architecture.as_str();
    let sha256 = settings.agent.sha256.get(arch).ok_or_else(|| Resolution::Impossible {
        reason: "AgentNotAvailable",
        message: format!(
            "the controller knows no agent for {arch}: set its digest with --agent-sha256 {arch}=… (chart value agent.sha256.{arch})"
        ),
    })?;
    let url = settings.agent.url(region, arch);
    let spec = subject.spec;
    let config = AgentConfig {
        version: agent_config::VERSION,
        owner: subject.owner.clone(),
        deadline,
        power_off_grace: settings.power_off_grace,
        idle: spec.idle.as_ref().map(|idle| Idle {
            timeout: idle.timeout,
            action: idle.action,
        }),
        on_complete: OnComplete {
            action: spec.on_complete.action,
            delay: spec.on_complete.delay,
        },
        command: spec.command.clone(),
        env: spec.env.clone(),
        members: subject.members.clone(),
    };
    user_data::encode(&config, &Agent { url: &url, sha256 }).map_err(|error| {
        Resolution::Impossible {
            reason: "UserDataTooLarge",
            message: error.to_string(),
        }
    })
}

fn tags(
    subject: &Subject<'_>,
    deadline: Timestamp,
    settings: &Settings,
) -> BTreeMap<String, String> {
    let own = Identity {
        cluster: settings.cluster_uid.clone(),
        uid: subject.uid.to_owned(),
        parent: subject.uid.to_owned(),
        owner: subject.owner.clone(),
        kind: subject.kind,
        attempt: subject.attempt,
        deadline: Some(deadline),
        members: subject
            .members
            .as_ref()
            .map(|members| members.indexes.clone()),
    }
    .to_tags();
    // Ours win: admission already refuses reserved keys, and a user's own `Name` is welcome.
    let mut tags = own;
    for (key, value) in &subject.spec.tags {
        if key == spore_core::tags::NAME {
            tags.insert(key.clone(), value.clone());
        } else {
            tags.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    tags
}

/// `namespace/name`.
#[must_use]
pub fn owner(metadata: &ObjectMeta) -> String {
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}

/// Tags, timers and people count in seconds.
pub(super) fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
