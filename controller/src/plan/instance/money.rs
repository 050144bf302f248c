//! Price and cost of an instance: told beside everything else, never in its way.
//!
//! The price is asked when the launch is decided, and put into a status that is written anyway. Only one
//! that comes late has a write of its own, once.

use jiff::Timestamp;
use spore_core::{duration::Duration, money::Usd};
use spore_crds::{Cost, Ended, Price};

use super::Planner;
use crate::{
    cloud::Instance,
    facts::{Answer, Fact, Standing},
    plan::{Action, cost, launch::whole_second},
    price::why_unknown,
};

/// How old an instance is when a price that no other write has told is written by itself.
const LATE: Duration = Duration::from_secs(60);
/// How long after the end of an instance its price is still asked for.
const AFTER_END: Duration = Duration::from_secs(600);
/// How soon an answer is looked for.
const SOON: Duration = Duration::from_secs(5);
/// How often a price that could not be had is asked again.
const AGAIN: Duration = Duration::from_secs(600);

/// The latest run of an instance, as EC2 and its agent tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// When it began.
    started: Option<Timestamp>,
    /// When the agent ended it.
    ended: Option<Timestamp>,
}

impl Run {
    pub(super) fn of(instance: &Instance) -> Self {
        Self {
            started: instance.launched_at,
            ended: instance.report.ended_at,
        }
    }
}

impl Planner<'_> {
    /// Puts price and cost into the status, if there is reason to write it. Comes last.
    pub(super) fn tell_money(&mut self) {
        let stored = self.spore.status.as_ref();
        if self.status.launch.is_none() || self.deleted() {
            return;
        }
        let price = self.price();
        let cost = price
            .as_ref()
            .and_then(|price| price.per_hour)
            .and_then(|per_hour| self.cost(per_hour));
        let known = |price: Option<&Price>| price.map(|price| price.per_hour.is_some());
        let news = known(price.as_ref()) != known(self.status.price.as_ref());
        let late = self.is_over()
            || self
                .launched_at()
                .is_some_and(|at| LATE.after(at) <= self.now);
        if stored != Some(&self.status) || (news && late) {
            self.status.price = price;
            self.status.cost = cost;
        } else if news && let Some(launched) = self.launched_at() {
            self.wake_at(LATE.after(launched));
        }
    }

    /// The price, as far as it is known, once EC2 shows the instance. One that is known stays: it is
    /// that of the launch.
    fn price(&mut self) -> Option<Price> {
        let told = self.status.price.clone();
        if told.as_ref().is_some_and(|price| price.per_hour.is_some()) || !self.may_ask() {
            return told;
        }
        let plan = &self.status.launch.as_ref()?.plan;
        let market = plan.market;
        let fact = Fact::price_of(plan);
        let unknown = |why: String| Price {
            market,
            unknown: Some(why),
            ..Price::default()
        };
        let facts = self.view.facts;
        let (price, look) = match facts.get(&fact, self.now) {
            Standing::Known(Answer::Price(prices)) => {
                let zone = self.status.instance.as_ref();
                let zone = zone.and_then(|instance| instance.zone.as_deref());
                (Some(prices.tell(market, zone)), AGAIN.after(self.now))
            }
            // Once it is said that the price is not known, there is no hurry any more.
            Standing::Refused(error, until) if told.is_some() => (
                Some(unknown(why_unknown(error))),
                until.max(AGAIN.after(self.now)),
            ),
            Standing::Refused(error, until) => (Some(unknown(why_unknown(error))), until),
            Standing::Known(_) | Standing::Unknown => {
                self.actions.push(Action::Learn(fact));
                (told, SOON.after(self.now))
            }
        };
        if price.as_ref().is_none_or(|price| price.per_hour.is_none()) {
            self.wake_at(look);
        }
        price.filter(|_| self.launched_at().is_some())
    }

    /// What the instance has cost, once it is known when it was launched.
    fn cost(&self, per_hour: Usd) -> Option<Cost> {
        let before = self.status.cost.as_ref();
        let earlier = before.map_or(Usd::ZERO, |cost| cost.earlier);
        let since = before.and_then(|cost| cost.running_since);
        let started = self.seen.and_then(|run| run.started);
        if cost::runs(&self.status) {
            let since = since.or(started).or(self.launched_at())?;
            return Some(Cost {
                accrued: earlier.plus(per_hour.of_run(since, self.now)),
                as_of: whole_second(self.now),
                running_since: Some(since),
                earlier,
            });
        }
        let (since, seen_ending) = match (before, since) {
            (Some(_), Some(since)) => (since, None),
            (Some(settled), None) => return Some(settled.clone()),
            // The price comes after the end.
            (None, _) => (
                started.or(self.launched_at())?,
                self.status.ended.as_ref().map(|ended| ended.at),
            ),
        };
        let told = self.seen.and_then(|run| run.ended);
        let until = told
            .filter(|at| *at >= since)
            .or(seen_ending)
            .unwrap_or(self.now);
        // Nothing runs longer, and it may be long ago that EC2 knew of it.
        let last = self
            .status
            .deadline
            .map(|at| self.settings.power_off_grace.after(at));
        let until = whole_second(until.min(last.unwrap_or(self.now)).min(self.now).max(since));
        let accrued = earlier.plus(per_hour.of_run(since, until));
        Some(Cost {
            accrued,
            as_of: until,
            running_since: None,
            earlier: accrued,
        })
    }

    fn deleted(&self) -> bool {
        self.spore.metadata.deletion_timestamp.is_some()
    }

    fn launched_at(&self) -> Option<Timestamp> {
        self.status.instance.as_ref()?.launched_at
    }

    /// Whether the instance has ended and nothing else will be written of it.
    fn is_over(&self) -> bool {
        self.status.ended.is_some() && !cost::runs(&self.status)
    }

    /// Whether the price is still of interest: a record of the past is left as it is.
    fn may_ask(&self) -> bool {
        let recent = |ended: &Ended| AFTER_END.after(ended.at) > self.now;
        match &self.status.ended {
            Some(ended) if self.is_over() => self.launched_at().is_some() && recent(ended),
            Some(_) | None => true,
        }
    }
}
