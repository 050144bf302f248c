//! What instances cost, and whether a budget allows more of it.
//!
//! Costs are those of running instances: disks, addresses and traffic are not in them.

use jiff::Timestamp;
use spore_core::{duration::Duration, money::Usd};
use spore_crds::{GroupCost, GroupStatus, LaunchPlan, SporeInstanceStatus};

use crate::{
    cloud::InstanceState,
    facts::{Answer, Fact, Facts, Standing},
    price::why_unknown,
};

/// What an instance has cost until `now`; `None` if its price is not known. One that was never
/// launched has cost nothing.
#[must_use]
pub fn instance_cost(status: &SporeInstanceStatus, now: Timestamp) -> Option<Usd> {
    cost_at(status, price(status), now)
}

/// What an instance costs by the hour at present: nothing if it does not run, `None` if it does and
/// its price is not known.
#[must_use]
pub fn hourly(status: &SporeInstanceStatus) -> Option<Usd> {
    if runs(status) {
        price(status)
    } else {
        Some(Usd::ZERO)
    }
}

fn price(status: &SporeInstanceStatus) -> Option<Usd> {
    status.price.as_ref().and_then(|price| price.per_hour)
}

/// Whether EC2 bills the instance, as far as the status tells.
pub(super) fn runs(status: &SporeInstanceStatus) -> bool {
    let instance = status.instance.as_ref();
    let state = instance.and_then(|instance| instance.state.as_deref());
    state.is_some_and(|state| match InstanceState::parse(state) {
        InstanceState::Pending | InstanceState::Running | InstanceState::Unknown => true,
        InstanceState::Stopping
        | InstanceState::Stopped
        | InstanceState::ShuttingDown
        | InstanceState::Terminated => false,
    })
}

fn cost_at(status: &SporeInstanceStatus, per_hour: Option<Usd>, now: Timestamp) -> Option<Usd> {
    if let Some(cost) = &status.cost {
        return Some(cost.at(per_hour?, now));
    }
    let instance = status.instance.as_ref();
    let Some(since) = instance.and_then(|instance| instance.launched_at) else {
        return Some(Usd::ZERO);
    };
    let until = match &status.ended {
        Some(ended) if !runs(status) => ended.at,
        Some(_) | None => now,
    };
    Some(per_hour?.of_run(since, until))
}

/// What the members of an array or a sweep cost together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// What all of them have cost so far.
    pub accrued: Usd,
    /// What those that are active cost by the hour.
    pub per_hour: Usd,
    /// What those that are active will still cost at most.
    pub committed: Usd,
    /// How many there are or were whose price is not known.
    pub unpriced: u32,
    settled: Usd,
    settled_unpriced: u32,
}

impl Spend {
    /// Begins with the members that were settled before.
    #[must_use]
    pub fn resume(stored: Option<&GroupCost>) -> Self {
        let (settled, settled_unpriced) =
            stored.map_or((Usd::ZERO, 0), |cost| (cost.settled, cost.settled_unpriced));
        Self {
            accrued: settled,
            unpriced: settled_unpriced,
            settled,
            settled_unpriced,
            ..Self::default()
        }
    }

    /// Counts a member that is not settled. `quote` is the price of what it is launched as, for as
    /// long as its own status tells none. `until` is when it ends: its deadline, or earlier if that is
    /// known.
    pub fn add(
        &mut self,
        status: &SporeInstanceStatus,
        quote: Option<Usd>,
        until: Timestamp,
        now: Timestamp,
    ) {
        let per_hour = price(status).or(quote);
        let ended = status.ended.is_some() && !runs(status);
        match cost_at(status, per_hour, now) {
            Some(cost) => self.accrued = self.accrued.plus(cost),
            None => {
                self.unpriced = self.unpriced.saturating_add(1);
                return;
            }
        }
        if ended {
            return;
        }
        match per_hour {
            Some(per_hour) => {
                let rest = per_hour.per_hour_over(Duration::between(now, until));
                if runs(status) {
                    self.per_hour = self.per_hour.plus(per_hour);
                }
                self.committed = self.committed.plus(rest);
            }
            None => self.unpriced = self.unpriced.saturating_add(1),
        }
    }

    /// Counts a member for good that has ended, so that its object may be deleted after this.
    pub fn settle(&mut self, status: &SporeInstanceStatus, quote: Option<Usd>, now: Timestamp) {
        match cost_at(status, price(status).or(quote), now) {
            Some(cost) => {
                self.accrued = self.accrued.plus(cost);
                self.settled = self.settled.plus(cost);
            }
            None => {
                self.unpriced = self.unpriced.saturating_add(1);
                self.settled_unpriced = self.settled_unpriced.saturating_add(1);
            }
        }
    }

    /// As it is told in status.
    #[must_use]
    pub const fn tell(&self, now: Timestamp) -> GroupCost {
        GroupCost {
            accrued: self.accrued,
            per_hour: self.per_hour,
            unpriced: self.unpriced,
            as_of: now,
            settled: self.settled,
            settled_unpriced: self.settled_unpriced,
        }
    }

    /// When the cost reaches the budget if nothing changes; `None` if it never does.
    #[must_use]
    pub fn reaches(&self, budget: Usd, now: Timestamp) -> Option<Timestamp> {
        let left = budget.minus(self.accrued).lasts(self.per_hour)?;
        // Whole seconds are rounded down: a moment later it has reached it.
        Some(Duration::from_secs(left.as_secs().saturating_add(1)).after(now))
    }
}

/// Puts the cost into a status, if that is written anyway or a figure changed other than by time:
/// a status that changes with the clock would never settle. `status` still has the cost of `stored`.
pub fn tell_group(
    stored: Option<&GroupStatus>,
    status: &mut GroupStatus,
    spend: &Spend,
    now: Timestamp,
) {
    let told = spend.tell(now);
    let lasting = |cost: &GroupCost| {
        (
            cost.per_hour,
            cost.unpriced,
            cost.settled,
            cost.settled_unpriced,
        )
    };
    let news = status.cost.as_ref().map(lasting) != Some(lasting(&told));
    if news || stored != Some(status) {
        status.cost = Some(told);
    }
}

/// What a launch costs by the hour, before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quote {
    /// This much; in a zone that is not known yet, at most.
    Known(Usd),
    /// Not known yet: to be asked with [`Action::Learn`](super::Action::Learn), which waits for
    /// nothing, and looked for again a few seconds later.
    Ask(Fact),
    /// AWS does not tell.
    Refused {
        /// Why, and what to do.
        why: String,
        /// When it may be asked again.
        until: Timestamp,
    },
}

/// What a launch costs by the hour, as far as AWS has told.
#[must_use]
pub fn quote(facts: &Facts, plan: &LaunchPlan, now: Timestamp) -> Quote {
    let fact = Fact::price_of(plan);
    match facts.get(&fact, now) {
        Standing::Known(Answer::Price(prices)) => {
            let told = prices.tell(plan.market, plan.zone.as_deref());
            match told.per_hour {
                Some(per_hour) => Quote::Known(per_hour),
                None => Quote::Refused {
                    why: told.unknown.unwrap_or_default(),
                    until: Duration::from_secs(600).after(now),
                },
            }
        }
        Standing::Refused(error, until) => Quote::Refused {
            why: why_unknown(error),
            until,
        },
        Standing::Known(_) | Standing::Unknown => Quote::Ask(fact),
    }
}

/// What a budget says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One more may be launched.
    Go,
    /// No more may be launched: it could pass the budget. Those that run go on.
    StopLaunching,
    /// The cost has reached the budget: everything ends.
    EndAll,
    /// A price is not known, so nothing more is launched until it is. Told as [`PRICE_UNKNOWN`].
    Unknown,
}

/// Why launches wait on [`Verdict::Unknown`]: the word for conditions and Events.
pub const PRICE_UNKNOWN: &str = "PriceUnknown";
/// Why launches stop on [`Verdict::StopLaunching`], and members end on [`Verdict::EndAll`].
pub const BUDGET_REACHED: &str = "BudgetReached";

/// Whether one more member may be launched. `next` is what it will cost at most, `None` if its price
/// is not known.
#[must_use]
pub fn budget_verdict(budget: Usd, spend: &Spend, next: Option<Usd>) -> Verdict {
    // What is known has reached it already, whatever the rest costs.
    if spend.accrued >= budget {
        return Verdict::EndAll;
    }
    let Some(next) = next.filter(|_| spend.unpriced == 0) else {
        return Verdict::Unknown;
    };
    if spend.accrued.plus(spend.committed).plus(next) > budget {
        return Verdict::StopLaunching;
    }
    Verdict::Go
}

/// How many members, each of which costs `next` at most, the budget still has room for.
#[must_use]
pub fn room(budget: Usd, spend: &Spend, next: Usd) -> u64 {
    let left = budget.minus(spend.accrued.plus(spend.committed));
    left.as_micros()
        .checked_div(next.as_micros())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
