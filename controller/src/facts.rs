//! What AWS told us of types, images, profiles and prices, kept with the time at which it told it.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use spore_crds::{LaunchPlan, Market};

use crate::{
    cloud::{Class, CloudError, ImageFacts, TypeFacts},
    price::Prices,
};

/// How long a question asked beside counts as being asked: longer than any call takes.
const ASKING: Duration = Duration::from_secs(60);

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
    /// What an instance type costs by the hour, in every zone of a region.
    ///
    /// One question for all zones, because EC2 answers for all of them in one call; the zone is chosen
    /// when the price is told.
    Price {
        /// Where.
        region: String,
        /// Which type.
        instance_type: String,
        /// For which market.
        market: Market,
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
    /// To [`Fact::Price`].
    Price(Prices),
    /// To [`Fact::Parameter`] and [`Fact::AgentProfile`].
    Name(String),
}

/// Everything told so far.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    told: HashMap<Fact, Told>,
    /// What is being asked beside, and since when.
    asking: HashMap<Fact, Timestamp>,
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
        self.asking.remove(&fact);
        self.told.insert(
            fact,
            Told {
                answer,
                at: now,
                failures,
            },
        );
    }

    /// Whether a question is to be asked beside now: it is open, and nobody is asking it. From here on
    /// it counts as being asked, until it is answered or would have been long ago.
    pub fn ask_beside(&mut self, fact: &Fact, now: Timestamp) -> bool {
        let asked = self.asking.get(fact).copied();
        let still = |at: Timestamp| at.checked_add(ASKING).unwrap_or(Timestamp::MAX) > now;
        if self.get(fact, now) != Standing::Unknown || asked.is_some_and(still) {
            return false;
        }
        self.asking.insert(fact.clone(), now);
        true
    }

    /// Forgets the agent's profile, so that it is checked (and made again) before the next launch.
    pub fn doubt_agent_profile(&mut self) {
        self.told.remove(&Fact::AgentProfile);
    }
}

impl Fact {
    /// What a launch costs by the hour.
    #[must_use]
    pub fn price_of(plan: &LaunchPlan) -> Self {
        Self::Price {
            region: plan.region.clone(),
            instance_type: plan.instance_type.clone(),
            market: plan.market,
        }
    }

    /// How long an answer holds.
    const fn good_for(&self) -> Duration {
        match self {
            Self::Type { .. }
            | Self::Zones { .. }
            | Self::AgentProfile
            | Self::Price {
                market: Market::OnDemand,
                ..
            } => Duration::from_secs(24 * 3_600),
            Self::Price {
                market: Market::Spot,
                ..
            } => Duration::from_secs(600),
            Self::Image { .. } | Self::Parameter { .. } => Duration::from_secs(3_600),
        }
    }

    /// Whether it is asked beside everything else: nothing waits for its answer.
    #[must_use]
    pub const fn is_beside(&self) -> bool {
        matches!(self, Self::Price { .. })
    }

    /// The region it is about; `None` for what is the same everywhere.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Type { region, .. }
            | Self::Zones { region, .. }
            | Self::Image { region, .. }
            | Self::Parameter { region, .. }
            | Self::Price { region, .. } => Some(region),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_question_is_asked_beside_once_until_its_answer_is_overdue() {
        let fact = Fact::Price {
            region: "us-east-1".into(),
            instance_type: "m7i.large".into(),
            market: Market::Spot,
        };
        let mut facts = Facts::default();
        assert!(facts.ask_beside(&fact, at(0)));
        assert!(!facts.ask_beside(&fact, at(30)), "it is being asked");
        assert!(facts.ask_beside(&fact, at(60)), "whoever asked is gone");
        let refused = || {
            Err(not_found(
                "GetProducts",
                "us-east-1",
                "NoPrice",
                "none".into(),
            ))
        };
        facts.put(fact.clone(), refused(), at(61));
        assert!(!facts.ask_beside(&fact, at(62)), "it is refused for now");
        assert!(facts.ask_beside(&fact, at(200)), "the answer is old");
    }
}
