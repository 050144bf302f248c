//! What this instance is in its array or sweep.
//!
//! One launch call makes many members, and all of them read the same configuration: the launch index
//! tells which of them this one is.

mod environment;
mod files;

use std::collections::BTreeMap;

use serde_json::Value;
use spore_core::{agent_config::Members, tags::Kind};

pub(crate) use self::files::forget;

/// An array or a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Which of the two.
    pub(crate) kind: Kind,
    /// Names it among all.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// How many members it had altogether when this one was launched.
    pub(crate) size: u32,
    /// Whether the addresses of all members will be told.
    pub(crate) peers: bool,
}

/// This instance in its array or sweep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    /// The array or sweep.
    pub(crate) group: Group,
    /// Its index there.
    pub(crate) index: u32,
    /// Its parameters; `None` if the launch call has none for any of its members.
    pub(crate) parameters: Option<BTreeMap<String, Value>>,
}

/// The configuration does not say what this instance is. Nothing on the instance can heal that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the workload is not started: this is instance {slot} of its launch call, counted from 0, and the configuration tells of {known} members of {id} only"
)]
pub(crate) struct NoSuchMember {
    slot: u32,
    known: usize,
    id: String,
}

impl Group {
    /// What the configuration says of it.
    pub(crate) fn of(members: &Members) -> Self {
        let Members {
            kind,
            id,
            name,
            size,
            indexes: _,
            parameters: _,
            peers,
        } = members;
        Self {
            kind: *kind,
            id: id.clone(),
            name: name.clone(),
            size: *size,
            peers: *peers && *kind == Kind::SporeArray,
        }
    }
}

impl Member {
    /// The member with this launch index.
    pub(crate) fn find(mut members: Members, slot: u32) -> Result<Self, NoSuchMember> {
        let group = Group::of(&members);
        let position = usize::try_from(slot).unwrap_or(usize::MAX);
        let no_such = |known: usize| NoSuchMember {
            slot,
            known,
            id: group.id.clone(),
        };
        let index = members
            .indexes
            .nth(slot)
            .ok_or_else(|| no_such(members.indexes.len() as usize))?;
        let rows = members.parameters.len();
        let parameters = match rows {
            0 => None,
            rows if position < rows => Some(members.parameters.swap_remove(position)),
            rows => return Err(no_such(rows)),
        };
        Ok(Self {
            group,
            index,
            parameters,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// The members 3, 4 and 7 of a group.
    pub(crate) fn members(kind: Kind) -> Members {
        Members {
            kind,
            id: "train-20261121-0a1b2c".into(),
            name: "train".into(),
            size: 8,
            indexes: "3-4,7".parse().unwrap(),
            parameters: Vec::new(),
            peers: true,
        }
    }

    #[test]
    fn the_launch_index_tells_the_index_and_the_parameters() {
        let mut members = members(Kind::SporeSweep);
        members.parameters = ["a", "b", "c"]
            .map(|value| [("x".to_owned(), json!(value))].into())
            .to_vec();
        let told = [0, 1, 2].map(|slot| {
            let member = Member::find(members.clone(), slot).unwrap();
            (member.index, member.parameters.unwrap()["x"].clone())
        });
        assert_eq!(told, [(3, json!("a")), (4, json!("b")), (7, json!("c"))]);
    }

    #[test]
    fn a_launch_index_beyond_the_list_is_said() {
        let error = Member::find(members(Kind::SporeArray), 3).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("instance 3") && text.contains("3 members of train-20261121-0a1b2c"),
            "{text}"
        );
        let mut short = members(Kind::SporeSweep);
        short.parameters = vec![BTreeMap::new()];
        assert!(Member::find(short.clone(), 0).is_ok());
        assert!(Member::find(short, 1).is_err(), "without its parameters");
    }

    #[test]
    fn only_an_array_has_peers() {
        assert!(Group::of(&members(Kind::SporeArray)).peers);
        assert!(!Group::of(&members(Kind::SporeSweep)).peers);
    }
}
