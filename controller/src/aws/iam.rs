//! The agent's rights: a role with which an instance can tag, stop and terminate itself, and nothing
//! else.

use aws_sdk_iam::{error::SdkError, types::Tag};
use sha2::{Digest, Sha256};
use spore_core::tags;

use super::Aws;
use crate::{
    cloud::{Class, CloudError},
    user_data::hex,
};

/// What the agent may do, the same file that the documentation explains. `aws:userid` of a call made
/// with an instance's role ends in the id of that instance (IAM User Guide, "Principal key values"),
/// which binds the right to the instance itself.
const POLICY: &str = include_str!("../../../charts/spore/files/agent-policy.json");

const TRUST: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
  ]
}"#;

/// Role, policy and profile share one name; it changes with the policy, so that an upgrade never
/// alters the rights of instances that run.
fn profile_name() -> String {
    format!("spore-agent-{}", &hex(&Sha256::digest(POLICY))[..8])
}

impl Aws {
    /// Makes the agent's profile if it is not there; returns its name. Repeating it is harmless.
    pub(super) async fn ensure_agent_profile(&self) -> Result<String, CloudError> {
        let name = profile_name();
        let found = self
            .iam
            .get_instance_profile()
            .instance_profile_name(&name)
            .send()
            .await;
        match self.done("GetInstanceProfile", "iam", found) {
            Ok(reply)
                if reply
                    .instance_profile()
                    .is_some_and(|p| !p.roles().is_empty()) =>
            {
                return Ok(name);
            }
            Ok(_) => {}
            Err(error) if code(&error) == "NoSuchEntity" => {}
            Err(error) => return Err(error),
        }
        let tag = managed()?;
        let iam = &self.iam;
        let role = iam
            .create_role()
            .role_name(&name)
            .assume_role_policy_document(TRUST)
            .description("Lets a spore's instance tag, stop and terminate itself")
            .tags(tag.clone())
            .send()
            .await;
        self.unless_there("CreateRole", role)?;
        let policy = iam
            .put_role_policy()
            .role_name(&name)
            .policy_name("self")
            .policy_document(POLICY)
            .send()
            .await;
        self.unless_there("PutRolePolicy", policy)?;
        let profile = iam
            .create_instance_profile()
            .instance_profile_name(&name)
            .tags(tag)
            .send()
            .await;
        self.unless_there("CreateInstanceProfile", profile)?;
        let added = iam
            .add_role_to_instance_profile()
            .instance_profile_name(&name)
            .role_name(&name)
            .send()
            .await;
        self.unless_there("AddRoleToInstanceProfile", added)?;
        tracing::info!(profile = name, "made the agent's role and instance profile");
        Ok(name)
    }

    /// What another controller has made already is as good as made here. A profile holds one role,
    /// so a second addition exceeds its limit.
    fn unless_there<T, E>(
        &self,
        call: &'static str,
        result: Result<T, SdkError<E>>,
    ) -> Result<(), CloudError>
    where
        E: aws_sdk_iam::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        match self.done(call, "iam", result) {
            Err(error) if !matches!(code(&error), "EntityAlreadyExists" | "LimitExceeded") => {
                Err(error)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn code(error: &CloudError) -> &str {
    error.code.as_deref().unwrap_or_default()
}

fn managed() -> Result<Tag, CloudError> {
    Tag::builder()
        .key(tags::MANAGED)
        .value("true")
        .build()
        .map_err(|error| CloudError {
            call: "CreateRole",
            region: "iam".into(),
            class: Class::Invalid,
            code: None,
            message: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use spore_core::{
        lifecycle::EndReason,
        tags::{Report, WorkloadPhase},
    };

    use super::*;

    #[test]
    fn an_agent_may_write_what_it_reports_and_no_other_tag() {
        let now = Some(Timestamp::UNIX_EPOCH);
        let everything = Report {
            agent_version: Some(String::new()),
            reported_at: now,
            phase: Some(WorkloadPhase::None),
            started_at: now,
            finished_at: now,
            exit_code: Some(0),
            message: Some(String::new()),
            idle_since: now,
            end_reason: Some(EndReason::Idle),
            ended_at: now,
            armed_deadline: now,
        };
        let policy: serde_json::Value = serde_json::from_str(POLICY).unwrap();
        let allowed =
            policy["Statement"][1]["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key.as_str().unwrap().to_owned());
        assert_eq!(
            allowed.collect::<BTreeSet<_>>(),
            everything.to_tags().into_keys().collect::<BTreeSet<_>>()
        );
    }
}
