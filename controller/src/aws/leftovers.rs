//! Volumes and network interfaces of spores that are attached to nothing.

use spore_core::tags::{self, Identity, Tags};

use super::{Aws, ec2::filter};
use crate::cloud::CloudError;

/// A resource of ours that is attached to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Whose it is.
    pub identity: Identity,
    /// Whether somebody marked it as never to be collected.
    pub keep: bool,
}

/// What can be left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeftoverKind {
    /// An EBS volume.
    Volume,
    /// A network interface.
    NetworkInterface,
}

impl Aws {
    /// Lists every volume and network interface of this cluster that is attached to nothing.
    ///
    /// # Errors
    /// If any page cannot be had.
    pub async fn leftovers(
        &self,
        region: &str,
        cluster: &str,
    ) -> Result<Vec<Leftover>, CloudError> {
        let mut found = self.free_volumes(region, cluster).await?;
        found.extend(self.free_interfaces(region, cluster).await?);
        Ok(found)
    }

    async fn free_volumes(&self, region: &str, cluster: &str) -> Result<Vec<Leftover>, CloudError> {
        const CALL: &str = "DescribeVolumes";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let reply = ec2
                .describe_volumes()
                .filters(filter(&format!("tag:{}", tags::CLUSTER), cluster))
                .filters(filter("status", "available"))
                .max_results(500)
                .set_next_token(next)
                .send()
                .await;
            let reply = self.done(CALL, region, reply)?;
            found.extend(reply.volumes().iter().filter_map(|volume| {
                leftover(
                    LeftoverKind::Volume,
                    region,
                    volume.volume_id()?,
                    volume.tags(),
                )
            }));
            next = reply.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn free_interfaces(
        &self,
        region: &str,
        cluster: &str,
    ) -> Result<Vec<Leftover>, CloudError> {
        const CALL: &str = "DescribeNetworkInterfaces";
        let ec2 = &self.clients(CALL, region)?.ec2;
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let reply = ec2
                .describe_network_interfaces()
                .filters(filter(&format!("tag:{}", tags::CLUSTER), cluster))
                .filters(filter("status", "available"))
                .max_results(500)
                .set_next_token(next)
                .send()
                .await;
            let reply = self.done(CALL, region, reply)?;
            found.extend(reply.network_interfaces().iter().filter_map(|interface| {
                let kind = LeftoverKind::NetworkInterface;
                leftover(
                    kind,
                    region,
                    interface.network_interface_id()?,
                    interface.tag_set(),
                )
            }));
            next = reply.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// Deletes a leftover. One that is gone already is no failure.
    ///
    /// # Errors
    /// As EC2 says.
    pub async fn delete_leftover(&self, leftover: &Leftover) -> Result<(), CloudError> {
        let Leftover {
            kind, id, region, ..
        } = leftover;
        let result = match kind {
            LeftoverKind::Volume => {
                let ec2 = &self.clients("DeleteVolume", region)?.ec2;
                let reply = ec2.delete_volume().volume_id(id).send().await;
                self.done("DeleteVolume", region, reply).map(|_| ())
            }
            LeftoverKind::NetworkInterface => {
                let ec2 = &self.clients("DeleteNetworkInterface", region)?.ec2;
                let reply = ec2
                    .delete_network_interface()
                    .network_interface_id(id)
                    .send()
                    .await;
                self.done("DeleteNetworkInterface", region, reply)
                    .map(|_| ())
            }
        };
        result.or_else(|error| {
            let gone = error
                .code
                .as_deref()
                .is_some_and(|code| code.ends_with(".NotFound"));
            if gone { Ok(()) } else { Err(error) }
        })
    }
}

fn leftover(
    kind: LeftoverKind,
    region: &str,
    id: &str,
    tags: &[aws_sdk_ec2::types::Tag],
) -> Option<Leftover> {
    let tags = tags
        .iter()
        .filter_map(|tag| {
            Some((
                tag.key()?.to_owned(),
                tag.value().unwrap_or_default().to_owned(),
            ))
        })
        .collect::<Tags>();
    Some(Leftover {
        kind,
        id: id.to_owned(),
        region: region.to_owned(),
        identity: Identity::from_tags(&tags)?,
        keep: tags.get(tags::KEEP).is_some_and(|value| value == "true"),
    })
}
