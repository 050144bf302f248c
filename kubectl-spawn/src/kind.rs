//! The kinds of objects that the plugin speaks of, and how people name one of them.

use std::{fmt, fmt::Debug, str::FromStr};

use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt, api::ApiResource, api::DynamicObject};
use serde::de::DeserializeOwned;
use spore_crds::{SporeArray, SporeInstance, SporeSweep};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One instance.
    Spore,
    /// N instances of one template.
    Array,
    /// One instance for each row.
    Sweep,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Spore, Self::Array, Self::Sweep];

    /// What people call one.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Spore => "spore",
            Self::Array => "array",
            Self::Sweep => "sweep",
        }
    }

    /// The resource's name in full, as in RBAC rules.
    pub(crate) const fn resource(self) -> &'static str {
        match self {
            Self::Spore => "sporeinstances.spore.host",
            Self::Array => "sporearrays.spore.host",
            Self::Sweep => "sporesweeps.spore.host",
        }
    }

    /// What the API calls one.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Spore => "SporeInstance",
            Self::Array => "SporeArray",
            Self::Sweep => "SporeSweep",
        }
    }

    /// Where the API has them.
    pub(crate) fn api(self) -> ApiResource {
        match self {
            Self::Spore => ApiResource::erase::<SporeInstance>(&()),
            Self::Array => ApiResource::erase::<SporeArray>(&()),
            Self::Sweep => ApiResource::erase::<SporeSweep>(&()),
        }
    }

    /// The kind of an object as stored. What does not say otherwise is a spore.
    pub(crate) fn of(object: &DynamicObject) -> Self {
        let word = object.types.as_ref().map(|types| types.kind.as_str());
        let is = |kind: &Self| Some(kind.word()) == word;
        Self::ALL.into_iter().find(is).unwrap_or(Self::Spore)
    }

    /// The name that `kubectl` takes and prints.
    pub(crate) fn full_name(self, name: &str) -> String {
        format!(
            "{}.{}/{name}",
            self.word().to_lowercase(),
            spore_crds::GROUP
        )
    }

    /// The kind that a word before a slash means: as people, kubectl or this program write it.
    fn named(word: &str) -> Option<Self> {
        let word = word
            .strip_suffix(&format!(".{}", spore_crds::GROUP))
            .unwrap_or(word);
        let singular = word.strip_suffix('s').unwrap_or(word);
        Self::ALL.into_iter().find(|kind| {
            let short = match kind {
                Self::Spore => "spi",
                Self::Array => "spa",
                Self::Sweep => "spw",
            };
            singular == kind.noun() || singular == kind.word().to_lowercase() || word == short
        })
    }
}

/// A type of object with its kind.
pub(crate) trait Spawned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
    /// Its kind.
    const KIND: Kind;
}

impl Spawned for SporeInstance {
    const KIND: Kind = Kind::Spore;
}

impl Spawned for SporeArray {
    const KIND: Kind = Kind::Array;
}

impl Spawned for SporeSweep {
    const KIND: Kind = Kind::Sweep;
}

/// An object as somebody names it: `train`, or `array/train` if the kind matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The kind, if it is said.
    pub(crate) kind: Option<Kind>,
    /// The name.
    pub(crate) name: String,
}

impl Reference {
    /// A reference to an object of a kind.
    pub(crate) fn to(kind: Kind, name: &str) -> Self {
        Self {
            kind: Some(kind),
            name: name.to_owned(),
        }
    }

    /// A reference to an object as stored.
    pub(crate) fn of(object: &DynamicObject) -> Self {
        Self::to(Kind::of(object), &object.name_any())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // A name alone is that of a spore first.
            None | Some(Kind::Spore) => f.write_str(&self.name),
            Some(kind) => write!(f, "{}/{}", kind.noun(), self.name),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((word, name)) => match Kind::named(&word.to_lowercase()) {
                Some(kind) => (Some(kind), name),
                None => {
                    return Err(format!(
                        "{word} is no kind of spore: write NAME, array/NAME or sweep/NAME"
                    ));
                }
            },
        };
        if name.is_empty() {
            return Err("there is no name in it".into());
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_understood_as_people_and_kubectl_write_it() {
        for text in [
            "array/x",
            "arrays/x",
            "spa/x",
            "sporearray/x",
            "sporearrays.spore.host/x",
        ] {
            let reference = text.parse::<Reference>().unwrap();
            assert_eq!(reference, Reference::to(Kind::Array, "x"), "{text}");
            assert_eq!(reference.to_string(), "array/x");
        }
        assert_eq!("x".parse::<Reference>().unwrap().kind, None);
        assert_eq!("spore/x".parse::<Reference>().unwrap().to_string(), "x");
        assert!(
            "pod/x"
                .parse::<Reference>()
                .unwrap_err()
                .contains("array/NAME")
        );
        assert!("array/".parse::<Reference>().is_err());
    }

    #[test]
    fn what_this_program_prints_it_also_reads() {
        for kind in Kind::ALL {
            let reference = kind.full_name("x").parse::<Reference>().unwrap();
            assert_eq!(reference, Reference::to(kind, "x"));
            assert_eq!(kind.api().kind, kind.word());
            let api = kind.api();
            assert_eq!(format!("{}.{}", api.plural, api.group), kind.resource());
        }
    }
}
