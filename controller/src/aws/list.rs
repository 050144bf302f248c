//! Listing instances: everything present, and by name what is gone.

use aws_sdk_ec2::types::{Filter, Instance as Described, InstanceLifecycleType};
use jiff::Timestamp;
use spore_core::{
    peers,
    tags::{self, Identity, Report, Tags},
};
use spore_crds::Market;

use super::{Aws, ec2::filter};
use crate::cloud::{CloudError, Instance, InstanceState};

/// Most instances on one page of DescribeInstances (EC2 API Reference).
const PAGE: i32 = 1_000;

/// Most values of one filter (EC2 API Reference, DescribeInstances).
pub const FILTER_VALUES: usize = 200;

/// Every state but `terminated`.
const NOT_GONE: [&str; 5] = ["pending", "running", "stopping", "stopped", "shutting-down"];

/// What a list showed.
#[derive(Debug)]
pub struct Listed {
    /// The instances.
    pub instances: Vec<Instance>,
    /// How many calls it took.
    pub pages: u32,
}

impl Listed {
    /// Adds what another call showed.
    pub fn extend(&mut self, other: Self) {
        self.instances.extend(other.instances);
        self.pages += other.pages;
    }
}

impl Aws {
    /// Lists every instance of this cluster in a region that is not gone. EC2 shows those that are for
    /// an hour more: after a large sweep they would be many times as many as those that live.
    ///
    /// # Errors
    /// If any page cannot be had: half a list is none.
    pub async fn list(&self, region: &str, cluster_uid: &str) -> Result<Listed, CloudError> {
        let states = NOT_GONE.map(str::to_owned).to_vec();
        let present = any_of("instance-state-name", states);
        self.describe(region, cluster_uid, present).await
    }

    /// Looks for instances of this cluster in whatever state, at most [`FILTER_VALUES`]. What EC2 does
    /// not know is left out of the answer.
    ///
    /// # Errors
    /// If any page cannot be had.
    pub async fn look_up(
        &self,
        region: &str,
        cluster_uid: &str,
        ids: Vec<String>,
    ) -> Result<Listed, CloudError> {
        self.describe(region, cluster_uid, any_of("instance-id", ids))
            .await
    }

    /// Looks for the instances of launches, as [`Self::look_up`] does.
    ///
    /// # Errors
    /// If any page cannot be had.
    pub async fn look_up_launches(
        &self,
        region: &str,
        cluster_uid: &str,
        tokens: Vec<String>,
    ) -> Result<Listed, CloudError> {
        self.describe(region, cluster_uid, any_of("client-token", tokens))
            .await
    }

    async fn describe(
        &self,
        region: &str,
        cluster_uid: &str,
        which: Filter,
    ) -> Result<Listed, CloudError> {
        const CALL: &str = "DescribeInstances";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let (mut instances, mut pages, mut next) = (Vec::new(), 0, None);
        loop {
            let reply = ec2
                .describe_instances()
                .filters(filter(&format!("tag:{}", tags::CLUSTER), cluster_uid))
                .filters(which.clone())
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
}

fn any_of(name: &str, values: Vec<String>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}

/// Reads what concerns us of an instance; `None` if it is no spore's.
pub(super) fn translate(region: &str, instance: &Described) -> Option<Instance> {
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
