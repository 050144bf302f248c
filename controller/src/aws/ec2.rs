//! Instances: the one place that builds a RunInstances request, and the one that lists them all.

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState, IamInstanceProfileSpecification,
    Instance as Described, InstanceLifecycleType, InstanceMarketOptionsRequest,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
    InstanceStateChange, InstanceType, LocationType, MarketType, Placement, PlatformValues,
    ProcessorInfo, ResourceType, ShutdownBehavior, SpotInstanceType, SpotMarketOptions, Tag,
    TagSpecification, UsageClassType, VolumeType,
};
use jiff::Timestamp;
use spore_core::{
    peers,
    tags::{self, Identity, Report, Tags},
};
use spore_crds::{Batch, Launch, LaunchPlan, Market};

use super::Aws;
use crate::{
    cloud::{Architecture, Class, CloudError, ImageFacts, Instance, InstanceState, TypeFacts},
    facts::not_found,
};

/// Most instances on one page of DescribeInstances (EC2 API Reference).
const PAGE: i32 = 1_000;

/// A complete list of the instances of this cluster in one region.
#[derive(Debug)]
pub struct Listed {
    /// Every instance, gone ones too for as long as EC2 shows them.
    pub instances: Vec<Instance>,
    /// How many calls it took.
    pub pages: u32,
}

/// A RunInstances call.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The ClientToken.
    pub token: &'a str,
    /// What to launch.
    pub plan: &'a LaunchPlan,
    /// The fewest instances with which the call succeeds.
    pub min_count: u32,
    /// How many instances are wanted.
    pub max_count: u32,
}

impl<'a> From<&'a Launch> for Run<'a> {
    fn from(launch: &'a Launch) -> Self {
        Self {
            token: &launch.token,
            plan: &launch.plan,
            min_count: 1,
            max_count: 1,
        }
    }
}

impl<'a> From<&'a Batch> for Run<'a> {
    fn from(batch: &'a Batch) -> Self {
        Self {
            token: &batch.token,
            plan: &batch.plan,
            min_count: batch.min_count,
            max_count: batch.members.len(),
        }
    }
}

impl Aws {
    /// Lists every instance of this cluster in a region.
    ///
    /// # Errors
    /// If any page cannot be had: half a list is none.
    pub async fn list(&self, region: &str, cluster_uid: &str) -> Result<Listed, CloudError> {
        const CALL: &str = "DescribeInstances";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let (mut instances, mut pages, mut next) = (Vec::new(), 0, None);
        loop {
            let reply = ec2
                .describe_instances()
                .filters(filter(&format!("tag:{}", tags::CLUSTER), cluster_uid))
                .max_results(PAGE)
                .set_next_token(next)
                .send()
                .await;
            let reply = self.done(CALL, region, reply)?;
            pages += 1;
            let described = reply
                .reservations
                .unwrap_or_default()
                .into_iter()
                .flat_map(|r| r.instances.unwrap_or_default());
            instances.extend(described.filter_map(|instance| translate(region, &instance)));
            next = reply.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(Listed { instances, pages });
            }
        }
    }

    /// Calls RunInstances for a stored launch. Repeating it is harmless: EC2 answers the same token
    /// with the same instances. They come in the order of their launch index.
    ///
    /// # Errors
    /// As EC2 says; [`Class::Unclear`] if it is not known whether the call took effect.
    pub async fn run(&self, run: &Run<'_>) -> Result<Vec<Instance>, CloudError> {
        const CALL: &str = "RunInstances";
        let region = run.plan.region.as_str();
        let ec2 = &self.clients(CALL, region)?.ec2;
        let reply = request(ec2, run).send().await;
        let mut launched = self
            .done(CALL, region, reply)?
            .instances
            .unwrap_or_default();
        launched.sort_by_key(Described::ami_launch_index);
        let named = launched
            .iter()
            .filter_map(|instance| translate(region, instance))
            .collect::<Vec<_>>();
        if named.is_empty() {
            return Err(CloudError {
                call: CALL,
                region: region.to_owned(),
                class: Class::Unclear,
                code: None,
                message: "EC2 accepted the launch but named no instance of ours".into(),
            });
        }
        Ok(named)
    }

    /// Terminates instances; returns their new states. Repeating it is harmless.
    ///
    /// # Errors
    /// As EC2 says. One id that EC2 does not know fails the whole call.
    pub async fn terminate(
        &self,
        region: &str,
        ids: &[String],
    ) -> Result<Vec<(String, InstanceState)>, CloudError> {
        const CALL: &str = "TerminateInstances";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let call = ec2.terminate_instances();
        let reply = call.set_instance_ids(Some(ids.to_vec())).send().await;
        let changes = self
            .done(CALL, region, reply)?
            .terminating_instances
            .unwrap_or_default();
        let state = |change: InstanceStateChange| {
            let name = change.current_state().and_then(|state| state.name());
            let state = name.map_or(InstanceState::ShuttingDown, |name| {
                InstanceState::parse(name.as_str())
            });
            Some((change.instance_id?, state))
        };
        Ok(changes.into_iter().filter_map(state).collect())
    }

    /// Writes tags onto instances. Repeating it is harmless.
    ///
    /// # Errors
    /// As EC2 says.
    pub async fn tag(&self, region: &str, ids: &[String], tags: &Tags) -> Result<(), CloudError> {
        const CALL: &str = "CreateTags";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let tags = tags.iter().map(|(key, value)| tag(key, value)).collect();
        let call = ec2.create_tags().set_resources(Some(ids.to_vec()));
        let reply = call.set_tags(Some(tags)).send().await;
        self.done(CALL, region, reply).map(|_| ())
    }

    /// Stops an instance; returns its new state. Repeating it is harmless.
    ///
    /// # Errors
    /// As EC2 says.
    pub async fn stop(&self, region: &str, id: &str) -> Result<InstanceState, CloudError> {
        const CALL: &str = "StopInstances";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let reply = ec2.stop_instances().instance_ids(id).send().await;
        let reply = self.done(CALL, region, reply)?;
        let state = reply
            .stopping_instances()
            .first()
            .and_then(|change| change.current_state());
        Ok(state
            .and_then(|state| state.name())
            .map_or(InstanceState::Stopping, |name| {
                InstanceState::parse(name.as_str())
            }))
    }

    pub(super) async fn instance_type(
        &self,
        region: &str,
        name: &str,
    ) -> Result<TypeFacts, CloudError> {
        const CALL: &str = "DescribeInstanceTypes";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let reply = ec2
            .describe_instance_types()
            .instance_types(InstanceType::from(name))
            .send()
            .await;
        let reply = self.done(CALL, region, reply)?;
        let unknown = || {
            let message = format!("there is no instance type {name} in {region}");
            not_found(CALL, region, "InvalidInstanceType", message)
        };
        let info = reply.instance_types().first().ok_or_else(unknown)?;
        let offered = |class: &UsageClassType| info.supported_usage_classes().contains(class);
        let architectures = info
            .processor_info()
            .map(ProcessorInfo::supported_architectures)
            .unwrap_or_default();
        let supports = |word: &str| architectures.iter().any(|a| a.as_str() == word);
        let architecture = if supports("arm64") {
            Architecture::Arm64
        } else if supports("x86_64") {
            Architecture::X86_64
        } else {
            let message = format!("{name} has neither x86_64 nor arm64 processors: choose another");
            return Err(not_found(CALL, region, "InvalidInstanceType", message));
        };
        let nvidia = info.gpu_info().is_some_and(|gpus| {
            gpus.gpus().iter().any(|gpu| {
                gpu.manufacturer()
                    .is_some_and(|maker| maker.eq_ignore_ascii_case("nvidia"))
            })
        });
        Ok(TypeFacts {
            architecture,
            nvidia,
            spot: offered(&UsageClassType::Spot),
            on_demand: offered(&UsageClassType::OnDemand),
        })
    }

    pub(super) async fn zones(
        &self,
        region: &str,
        instance_type: &str,
    ) -> Result<Vec<String>, CloudError> {
        const CALL: &str = "DescribeInstanceTypeOfferings";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let reply = ec2
            .describe_instance_type_offerings()
            .location_type(LocationType::AvailabilityZone)
            .filters(filter("instance-type", instance_type))
            .send()
            .await;
        let reply = self.done(CALL, region, reply)?;
        let offered = reply.instance_type_offerings.unwrap_or_default();
        let mut zones = offered
            .into_iter()
            .filter_map(|offering| offering.location)
            .collect::<Vec<_>>();
        zones.sort();
        if zones.is_empty() {
            let message = format!("no zone offers {instance_type}");
            return Err(not_found(CALL, region, "NotOffered", message));
        }
        Ok(zones)
    }

    pub(super) async fn image(&self, region: &str, id: &str) -> Result<ImageFacts, CloudError> {
        const CALL: &str = "DescribeImages";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let reply = ec2.describe_images().image_ids(id).send().await;
        let reply = self.done(CALL, region, reply)?;
        let image = reply.images().first().ok_or_else(|| {
            let message = format!("there is no image {id} in {region} that this account may use");
            not_found(CALL, region, "InvalidAMIID.NotFound", message)
        })?;
        if image.platform() == Some(&PlatformValues::Windows) {
            let message = format!("{id} is a Windows image; the agent runs on Linux only");
            return Err(not_found(CALL, region, "WindowsImage", message));
        }
        let root_device = image.root_device_name().ok_or_else(|| {
            let message =
                format!("{id} names no root device: it cannot be given an encrypted disk");
            not_found(CALL, region, "NoRootDevice", message)
        })?;
        Ok(ImageFacts {
            id: id.to_owned(),
            architecture: image
                .architecture()
                .map(|a| a.as_str().to_owned())
                .unwrap_or_default(),
            root_device: root_device.to_owned(),
        })
    }
}

fn request(
    ec2: &aws_sdk_ec2::Client,
    run: &Run<'_>,
) -> aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder {
    // Taken apart, so that a field added to the plan cannot be left out here.
    let Run {
        token,
        plan,
        min_count,
        max_count,
    } = run;
    let LaunchPlan {
        region: _,
        instance_type,
        image_id,
        root_device,
        market,
        zone,
        subnet_id,
        security_group_ids,
        key_name,
        instance_profile,
        tags,
        user_data_sha256: _,
        user_data,
    } = plan;
    let profile = instance_profile.as_ref().map(|name| {
        IamInstanceProfileSpecification::builder()
            .name(name)
            .build()
    });
    let placement = zone
        .as_ref()
        .map(|zone| Placement::builder().availability_zone(zone).build());
    let groups = Some(security_group_ids.clone()).filter(|groups| !groups.is_empty());
    let labelled = |kind: ResourceType| {
        let tags = tags.iter().map(|(key, value)| tag(key, value)).collect();
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags))
            .build()
    };
    ec2.run_instances()
        .client_token(*token)
        .min_count(i32::try_from(*min_count).unwrap_or(i32::MAX))
        .max_count(i32::try_from(*max_count).unwrap_or(i32::MAX))
        .instance_type(InstanceType::from(instance_type.as_str()))
        .image_id(image_id)
        .block_device_mappings(root_volume(root_device))
        .set_instance_market_options(match market {
            Market::OnDemand => None,
            Market::Spot => Some(spot()),
        })
        .set_placement(placement)
        .set_subnet_id(subnet_id.clone())
        .set_security_group_ids(groups)
        .set_key_name(key_name.clone())
        .set_iam_instance_profile(profile)
        .set_user_data(user_data.clone())
        // A shutdown from inside ends the bill, also with the agent dead and EC2 out of its reach.
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata_options())
        .tag_specifications(labelled(ResourceType::Instance))
        .tag_specifications(labelled(ResourceType::Volume))
        .tag_specifications(labelled(ResourceType::NetworkInterface))
}

fn root_volume(device: &str) -> BlockDeviceMapping {
    let disk = EbsBlockDevice::builder()
        .encrypted(true)
        .delete_on_termination(true)
        .volume_type(VolumeType::Gp3)
        .build();
    BlockDeviceMapping::builder()
        .device_name(device)
        .ebs(disk)
        .build()
}

fn spot() -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .build();
    InstanceMarketOptionsRequest::builder()
        .market_type(MarketType::Spot)
        .spot_options(options)
        .build()
}

/// Tokens required, and tags readable: that is how the agent learns of a later deadline without
/// spending any of the account's call budget.
fn metadata_options() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .instance_metadata_tags(InstanceMetadataTagsState::Enabled)
        .build()
}

pub(super) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Reads what concerns us of an instance; `None` if it is no spore's.
fn translate(region: &str, instance: &Described) -> Option<Instance> {
    let tags = instance
        .tags()
        .iter()
        .filter_map(|tag| {
            Some((
                tag.key()?.to_owned(),
                tag.value().unwrap_or_default().to_owned(),
            ))
        })
        .collect::<Tags>();
    let identity = Identity::from_tags(&tags)?;
    let slot = instance
        .ami_launch_index()
        .and_then(|slot| u32::try_from(slot).ok());
    let member = identity
        .members
        .as_ref()
        .zip(slot)
        .and_then(|(members, slot)| members.nth(slot));
    let text = |value: Option<&str>| value.filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Instance {
        id: instance.instance_id()?.to_owned(),
        region: region.to_owned(),
        state: instance
            .state()
            .and_then(|state| state.name())
            .map_or(InstanceState::Unknown, |name| {
                InstanceState::parse(name.as_str())
            }),
        state_reason: text(instance.state_reason().and_then(|reason| reason.code())),
        instance_type: instance
            .instance_type()
            .map(|t| t.as_str().to_owned())
            .unwrap_or_default(),
        market: if instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot) {
            Market::Spot
        } else {
            Market::OnDemand
        },
        zone: text(
            instance
                .placement()
                .and_then(|placement| placement.availability_zone()),
        ),
        image_id: text(instance.image_id()),
        private_ip: text(instance.private_ip_address()),
        public_ip: text(instance.public_ip_address()),
        launched_at: instance
            .launch_time()
            .and_then(|time| Timestamp::from_second(time.secs()).ok()),
        client_token: text(instance.client_token()),
        identity,
        report: Report::from_tags(&tags),
        member,
        peers: tags.get(peers::HEADER).cloned(),
        keep: tags.get(tags::KEEP).is_some_and(|value| value == "true"),
    })
}
