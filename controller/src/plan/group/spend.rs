//! What the members cost together, and whether a budget admits more of them.

use spore_core::{duration::Duration, money::Usd};
use spore_crds::{LaunchPlan, SporeInstanceStatus};

use super::{GroupAction, Planner, outcome};
use crate::plan::cost::{self, Quote, Verdict, budget_verdict};

/// How soon a price that was asked is looked for.
const PRICE_PATIENCE: Duration = Duration::from_secs(2);

/// How many members a budget admits.
pub(super) enum Affordable {
    /// So many, of those that were asked for.
    Some(u32),
    /// None for now; why is told.
    None,
}

impl Planner<'_> {
    /// Adds up what members cost that are not settled: those that are launched and have not been
    /// recorded.
    pub(super) fn tally(&mut self) {
        let now = self.now;
        let nothing = SporeInstanceStatus::default();
        let mut spend = self.spend;
        for (&index, objects) in &self.children {
            let attempt = self.attempt(index);
            if self.is_recorded(index) || self.is_queued(index) {
                continue;
            }
            for child in objects {
                let member = child.spec.member.as_ref();
                if let Some(status) = child.status.as_ref()
                    && member.is_some_and(|member| member.attempt == attempt)
                {
                    spend.add(status, None, status.deadline.unwrap_or(now), now);
                }
            }
        }
        for batch in &self.status.batches {
            let quote = match cost::quote(self.view.facts, &batch.plan, now) {
                Quote::Known(price) => Some(price),
                Quote::Ask(_) | Quote::Refused { .. } => None,
            };
            for index in batch.members.iter() {
                if !self.children.contains_key(&index) {
                    spend.add(&nothing, quote, batch.deadline, now);
                }
            }
        }
        self.spend = spend;
        let Some(budget) = self.group.budget else {
            return;
        };
        if self.status.ended.is_none() && self.spend.accrued >= budget {
            let message = format!("the members have cost {budget} dollars, which is the budget");
            self.end(outcome::BUDGET_REACHED, message);
        } else if let Some(at) = self.spend.reaches(budget, now) {
            self.wake_at(at);
        }
    }

    /// How many of `count` members of a resolved plan the budget admits.
    pub(super) fn affordable(
        &mut self,
        plan: &LaunchPlan,
        life: Duration,
        count: u32,
    ) -> Affordable {
        let Some(budget) = self.group.budget else {
            return Affordable::Some(count);
        };
        let price = match cost::quote(self.view.facts, plan, self.now) {
            Quote::Known(price) => price,
            Quote::Ask(fact) => {
                self.actions.push(GroupAction::Learn(fact));
                self.wake_at(PRICE_PATIENCE.after(self.now));
                let message = "asking AWS for the price, which the budget needs";
                self.waiting = Some((cost::PRICE_UNKNOWN, message.into()));
                return Affordable::None;
            }
            Quote::Refused { why, until } => {
                self.wake_at(until);
                let message = format!(
                    "{why}; with a budget nothing is launched whose price is not known: it is asked again at {until}, or remove the budget"
                );
                self.stalled = Some((cost::PRICE_UNKNOWN, message));
                return Affordable::None;
            }
        };
        let each = price.per_hour_over(life);
        match budget_verdict(budget, &self.spend, Some(each)) {
            Verdict::Go => {}
            Verdict::StopLaunching | Verdict::EndAll => return self.too_dear(budget, each),
            Verdict::Unknown => {
                let message = "the price of members that run is not known, so that the budget cannot be kept: nothing more is launched";
                self.wake_at(Duration::from_secs(30).after(self.now));
                self.waiting = Some((cost::PRICE_UNKNOWN, message.into()));
                return Affordable::None;
            }
        }
        let room = cost::room(budget, &self.spend, each);
        let admitted = u32::try_from(room).unwrap_or(u32::MAX).min(count);
        if admitted == count {
            // They are decided next; the call after that must know of them.
            let nothing = SporeInstanceStatus::default();
            for _ in 0..count {
                self.spend
                    .add(&nothing, Some(price), life.after(self.now), self.now);
            }
        }
        Affordable::Some(admitted)
    }

    fn too_dear(&mut self, budget: Usd, each: Usd) -> Affordable {
        let message = format!(
            "the budget is {budget} dollars, {} are spent and {} may still be by members that run; another member could cost {each}",
            self.spend.accrued, self.spend.committed
        );
        if self.active.is_empty() {
            let advice = "raise spec.budget, or give members a shorter ttl";
            self.stalled = Some((cost::BUDGET_REACHED, format!("{message}: {advice}")));
        } else {
            self.waiting = Some((cost::BUDGET_REACHED, message));
        }
        Affordable::None
    }
}
