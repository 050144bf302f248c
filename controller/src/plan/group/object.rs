//! The object of a member, and what names its group on an instance.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use spore_core::tags::Kind;
use spore_crds::{ARRAY_LABEL, Batch, FINALIZER, INDEX_LABEL, Member, SWEEP_LABEL, SporeInstance};

use super::{Planner, source::MemberSpec};

impl Planner<'_> {
    /// The object of a member.
    pub(super) fn object(&self, batch: &Batch, index: u32) -> Result<SporeInstance, String> {
        let MemberSpec {
            spec,
            parameters: _,
            name,
        } = self.group.members.member(index)?;
        let mut spec = spec.into_owned();
        spec.member = Some(Member {
            index,
            attempt: batch.attempt,
        });
        spec.region = Some(batch.plan.region.clone());
        let metadata = self.group.metadata;
        let group = metadata.name.clone().unwrap_or_default();
        let label = match self.group.kind {
            Kind::SporeSweep => SWEEP_LABEL,
            Kind::SporeArray | Kind::SporeInstance => ARRAY_LABEL,
        };
        let mut labels = BTreeMap::from([(INDEX_LABEL.to_owned(), index.to_string())]);
        // A label holds 63 characters; a name may be longer, and is then told by the owner only.
        if group.len() <= 63 {
            labels.insert(label.to_owned(), group.clone());
        }
        Ok(SporeInstance {
            metadata: ObjectMeta {
                name: Some(format!("{group}-{index}")),
                namespace: metadata.namespace.clone(),
                labels: Some(labels),
                annotations: name.map(|name| [("spore.host/row".to_owned(), name)].into()),
                finalizers: Some(vec![FINALIZER.to_owned()]),
                owner_references: Some(vec![OwnerReference {
                    api_version: "spore.host/v1alpha1".into(),
                    kind: self.group.kind.to_string(),
                    name: group,
                    uid: metadata.uid.clone().unwrap_or_default(),
                    controller: Some(true),
                    block_owner_deletion: Some(true),
                }]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        })
    }
}

/// `{name}-{day of creation}-{6 digits of the UID}`.
pub(super) fn id(metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    let created = metadata.creation_timestamp.as_ref();
    let day = created.map_or_else(String::new, |time| time.0.strftime("%Y%m%d").to_string());
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let digits = uid
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(6)
        .collect::<String>();
    format!("{name}-{day}-{digits}")
}
