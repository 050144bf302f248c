//! What AWS told us of types, images and profiles, kept with the time at which it told it.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use crate::cloud::{Class, CloudError, ImageFacts, TypeFacts};

/// A question to AWS whose answer rarely changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// What an instance type is.
    Type {
        /// Where.
        region: String,
        /// Its name.
        name: String,
    },
    /// What an image is.
    Image {
        /// Where.
        region: String,
        /// Its id.
        id: String,
    },
    /// Which image a public parameter names now.
    Parameter {
        /// Where.
        region: String,
        /// Its path.
        path: String,
    },
    /// Which zones offer an instance type.
    Zones {
        /// Where.
        region: String,
        /// The type.
        instance_type: String,
    },
    /// The instance profile that this controller makes and keeps for the agent.
    AgentProfile,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Fact::Type`].
    Type(TypeFacts),
    /// To [`Fact::Image`].
    Image(ImageFacts),
    /// To [`Fact::Zones`], in alphabetical order.
    Zones(Vec<String>),
    /// To [`Fact::Parameter`] and [`Fact::AgentProfile`].
    Name(String),
}

/// Everything told so far.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    told: HashMap<Fact, Told>,
}

#[derive(Clone, Debug)]
struct Told {
    answer: Result<Answer, CloudError>,
    at: Timestamp,
    failures: u32,
}

/// How a fact stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Told, and still good.
    Known(&'a Answer),
    /// Never asked, or too long ago.
    Unknown,
    /// AWS refused to answer; not to be asked again before the time given.
    Refused(&'a CloudError, Timestamp),
}

impl Facts {
    /// How a fact stands at `now`.
    #[must_use]
    pub fn get(&self, fact: &Fact, now: Timestamp) -> Standing<'_> {
        let Some(told) = self.told.get(fact) else {
            return Standing::Unknown;
        };
        let until = |span: Duration| told.at.checked_add(span).unwrap_or(Timestamp::MAX);
        match &told.answer {
            Ok(answer) if until(fact.good_for()) > now => Standing::Known(answer),
            Err(error) if until(error.class.retry_after(told.failures)) > now => {
                Standing::Refused(error, until(error.class.retry_after(told.failures)))
            }
            Ok(_) | Err(_) => Standing::Unknown,
        }
    }

    /// Keeps an answer.
    pub fn put(&mut self, fact: Fact, answer: Result<Answer, CloudError>, now: Timestamp) {
        let failures = match &answer {
            Ok(_) => 0,
            Err(_) => self.told.get(&fact).map_or(0, |told| told.failures) + 1,
        };
        self.told.insert(
            fact,
            Told {
                answer,
                at: now,
                failures,
            },
        );
    }

    /// Forgets the agent's profile, so that it is checked (and made again) before the next launch.
    pub fn doubt_agent_profile(&mut self) {
        self.told.remove(&Fact::AgentProfile);
    }
}

impl Fact {
    /// How long an answer holds.
    const fn good_for(&self) -> Duration {
        match self {
            Self::Type { .. } | Self::Zones { .. } | Self::AgentProfile => {
                Duration::from_secs(24 * 3_600)
            }
            Self::Image { .. } | Self::Parameter { .. } => Duration::from_secs(3_600),
        }
    }

    /// The region to ask in; `None` for what is the same everywhere.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Type { region, .. }
            | Self::Zones { region, .. }
            | Self::Image { region, .. }
            | Self::Parameter { region, .. } => Some(region),
            Self::AgentProfile => None,
        }
    }
}

/// What a missing thing is called when AWS does not know it.
pub(crate) fn not_found(
    call: &'static str,
    region: &str,
    code: &str,
    message: String,
) -> CloudError {
    CloudError {
        call,
        region: region.to_owned(),
        class: Class::Invalid,
        code: Some(code.to_owned()),
        message,
    }
}
