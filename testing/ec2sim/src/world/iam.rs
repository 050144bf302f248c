//! Roles and instance profiles of one account.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::instance::ProfileRef;
use crate::filters::Tags;

/// A role.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// Its ARN.
    pub(crate) arn: String,
    /// Its path.
    pub(crate) path: String,
    /// Who may assume it, as JSON.
    pub(crate) trust: String,
    /// What it is for.
    pub(crate) description: Option<String>,
    /// The longest session in seconds.
    pub(crate) max_session: i64,
    /// The ARN of its permissions boundary.
    pub(crate) boundary: Option<String>,
    /// Inline policies by name, as JSON.
    pub(crate) inline: BTreeMap<String, String>,
    /// ARNs of attached policies.
    pub(crate) attached: Vec<String>,
    /// Its tags.
    pub(crate) tags: Tags,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

/// An instance profile.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// Its ARN.
    pub(crate) arn: String,
    /// Its path.
    pub(crate) path: String,
    /// The role in it.
    pub(crate) role: Option<String>,
    /// Its tags.
    pub(crate) tags: Tags,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

/// The roles and profiles of one account.
#[derive(Debug, Default)]
pub(crate) struct Iam {
    /// Roles by name.
    pub(crate) roles: BTreeMap<String, Role>,
    /// Instance profiles by name.
    pub(crate) profiles: BTreeMap<String, Profile>,
}

impl Iam {
    /// A profile by name or ARN.
    pub(crate) fn profile(&self, name_or_arn: &str) -> Option<&Profile> {
        self.profiles.get(name_or_arn).or_else(|| {
            self.profiles
                .values()
                .find(|profile| profile.arn == name_or_arn)
        })
    }
}

impl From<&Profile> for ProfileRef {
    fn from(profile: &Profile) -> Self {
        Self {
            arn: profile.arn.clone(),
            id: profile.id.clone(),
            role: profile.role.clone(),
        }
    }
}
