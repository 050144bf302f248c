//! What is spent, case by case.

use proptest::prelude::*;
use spore_crds::{Cost, Ended, InstanceStatus, Price};

use super::*;
use crate::price::{Prices, Rates};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

/// A member whose instance runs since 0, at this price.
fn running(per_hour: Option<&str>) -> SporeInstanceStatus {
    SporeInstanceStatus {
        instance: Some(InstanceStatus {
            state: Some("running".into()),
            launched_at: Some(at(0)),
            ..InstanceStatus::default()
        }),
        price: Some(Price {
            per_hour: per_hour.map(usd),
            ..Price::default()
        }),
        ..SporeInstanceStatus::default()
    }
}

/// The same, gone since `second`.
fn ended(per_hour: Option<&str>, second: i64) -> SporeInstanceStatus {
    let mut status = running(per_hour);
    status.instance.as_mut().unwrap().state = Some("terminated".into());
    status.ended = Some(Ended {
        reason: "Completed".into(),
        at: at(second),
        message: String::new(),
    });
    status
}

#[test]
fn an_instance_costs_by_the_second_and_at_least_a_minute() {
    let status = running(Some("3.60"));
    assert_eq!(instance_cost(&status, at(1)), Some(usd("0.06")));
    assert_eq!(instance_cost(&status, at(61)), Some(usd("0.061")));
    assert_eq!(instance_cost(&status, at(7_200)), Some(usd("7.20")));
    assert_eq!(hourly(&status), Some(usd("3.60")));
}

#[test]
fn what_has_ended_costs_no_more() {
    let status = ended(Some("3.60"), 100);
    assert_eq!(instance_cost(&status, at(9_000)), Some(usd("0.10")));
    assert_eq!(hourly(&status), Some(Usd::ZERO));
}

#[test]
fn earlier_runs_count_and_a_stopped_instance_accrues_nothing() {
    let mut status = running(Some("3.60"));
    status.cost = Some(Cost {
        accrued: usd("1.00"),
        as_of: at(500),
        running_since: None,
        earlier: usd("1.00"),
    });
    status.instance.as_mut().unwrap().state = Some("stopped".into());
    assert_eq!(instance_cost(&status, at(9_000)), Some(usd("1.00")));
    status.cost.as_mut().unwrap().running_since = Some(at(9_000));
    assert_eq!(instance_cost(&status, at(9_100)), Some(usd("1.10")));
}

#[test]
fn an_unknown_price_is_neither_zero_nor_a_guess() {
    assert_eq!(instance_cost(&running(None), at(100)), None);
    assert_eq!(hourly(&running(None)), None);
    let nothing = SporeInstanceStatus::default();
    assert_eq!(instance_cost(&nothing, at(100)), Some(Usd::ZERO));
}

#[test]
fn members_add_up_and_the_settled_ones_are_remembered() {
    let now = at(100);
    let mut spend = Spend::resume(None);
    spend.add(&running(Some("3.60")), None, at(1_100), now);
    spend.add(&running(None), Some(usd("36")), at(100), now);
    spend.add(&ended(Some("3.60"), 90), None, at(1_100), now);
    spend.settle(&ended(Some("3.60"), 70), None, now);
    spend.settle(&ended(None, 70), None, now);
    assert_eq!(spend.accrued, usd("1.26"), "0.10 + 1.00 + 0.09 + 0.07");
    assert_eq!(spend.per_hour, usd("39.60"));
    assert_eq!(spend.committed, usd("1.00"), "1,000 s of the first");
    assert_eq!(spend.unpriced, 1);
    let resumed = Spend::resume(Some(&spend.tell(now)));
    assert_eq!((resumed.accrued, resumed.unpriced), (usd("0.07"), 1));
    assert_eq!(
        (resumed.per_hour, resumed.committed),
        (Usd::ZERO, Usd::ZERO)
    );
}

#[test]
fn a_member_that_is_being_launched_is_committed_at_the_price_it_is_launched_for() {
    let nothing = SporeInstanceStatus::default();
    let mut spend = Spend::default();
    spend.add(&nothing, Some(usd("1")), at(3_600), at(0));
    assert_eq!((spend.accrued, spend.committed), (Usd::ZERO, usd("1")));
    assert_eq!((spend.per_hour, spend.unpriced), (Usd::ZERO, 0));
    spend.add(&nothing, None, at(3_600), at(0));
    assert_eq!(spend.unpriced, 1);
}

#[test]
fn a_groups_cost_is_not_written_for_the_clocks_sake() {
    let running = running(Some("3.60"));
    let spend = |second| {
        let mut spend = Spend::resume(None);
        spend.add(&running, None, at(9_000), at(second));
        spend
    };
    let mut status = GroupStatus::default();
    tell_group(
        Some(&GroupStatus::default()),
        &mut status,
        &spend(100),
        at(100),
    );
    let stored = status.clone();
    let accrued = |status: &GroupStatus| status.cost.as_ref().map(|cost| cost.accrued);
    assert_eq!(accrued(&stored), Some(usd("0.10")));
    tell_group(Some(&stored), &mut status, &spend(200), at(200));
    assert_eq!(status, stored, "nothing but time has gone by");
    status.active += 1;
    tell_group(Some(&stored), &mut status, &spend(200), at(200));
    assert_eq!(accrued(&status), Some(usd("0.20")), "written anyway");
    status = stored.clone();
    let mut settled = spend(200);
    settled.settle(&ended(Some("3.60"), 100), None, at(200));
    tell_group(Some(&stored), &mut status, &settled, at(200));
    assert_eq!(accrued(&status), Some(usd("0.30")), "one more is settled");
}

#[test]
fn a_launch_is_quoted_as_aws_tells_and_never_guessed() {
    let plan: LaunchPlan = serde_json::from_value(serde_json::json!({
        "region": "us-east-1", "instanceType": "m7i.large", "imageId": "ami-1", "rootDevice": "",
        "market": "Spot", "tags": {}, "userDataSha256": "",
    }))
    .unwrap();
    let mut facts = Facts::default();
    let fact = Fact::price_of(&plan);
    assert_eq!(quote(&facts, &plan, at(0)), Quote::Ask(fact.clone()));
    let rates = [("a", "0.1"), ("b", "0.3")].map(|(zone, rate)| (zone.to_owned(), usd(rate)));
    let prices = Prices {
        rates: Rates::ByZone(rates.into()),
        as_of: at(0),
    };
    facts.put(fact.clone(), Ok(Answer::Price(prices)), at(0));
    assert_eq!(quote(&facts, &plan, at(1)), Quote::Known(usd("0.3")));
    let in_zone = |zone: &str| LaunchPlan {
        zone: Some(zone.into()),
        ..plan.clone()
    };
    assert_eq!(
        quote(&facts, &in_zone("a"), at(1)),
        Quote::Known(usd("0.1"))
    );
    let elsewhere = quote(&facts, &in_zone("c"), at(1));
    assert!(matches!(elsewhere, Quote::Refused { .. }), "{elsewhere:?}");
    // Spot prices are good for ten minutes.
    assert_eq!(quote(&facts, &plan, at(600)), Quote::Ask(fact.clone()));
    let denied = crate::cloud::CloudError {
        call: "DescribeSpotPriceHistory",
        region: "us-east-1".into(),
        class: crate::cloud::Class::Denied,
        code: Some("UnauthorizedOperation".into()),
        message: "no".into(),
    };
    facts.put(fact, Err(denied), at(600));
    let refused = quote(&facts, &plan, at(601));
    assert!(
        matches!(&refused, Quote::Refused { why, until }
            if why.contains("UnauthorizedOperation") && *until == at(660)),
        "{refused:?}"
    );
}

fn spent(accrued: &str, committed: &str, unpriced: u32) -> Spend {
    Spend {
        accrued: usd(accrued),
        committed: usd(committed),
        unpriced,
        ..Spend::default()
    }
}

#[test]
fn a_budget_is_kept() {
    let budget = usd("10");
    for (spend, next, verdict) in [
        (spent("0", "0", 0), Some("10"), Verdict::Go),
        (spent("0", "0", 0), Some("10.01"), Verdict::StopLaunching),
        (spent("4", "4", 0), Some("2"), Verdict::Go),
        (spent("4", "5", 0), Some("2"), Verdict::StopLaunching),
        (spent("4", "50", 0), Some("0"), Verdict::StopLaunching),
        (spent("10", "0", 0), Some("0"), Verdict::EndAll),
        (spent("0", "0", 0), None, Verdict::Unknown),
        (spent("0", "0", 1), Some("1"), Verdict::Unknown),
        (spent("10", "0", 1), None, Verdict::EndAll),
    ] {
        let next = next.map(usd);
        assert_eq!(
            budget_verdict(budget, &spend, next),
            verdict,
            "{spend:?} {next:?}"
        );
    }
}

#[test]
fn it_is_known_when_the_budget_will_be_reached() {
    let mut spend = spent("4", "0", 0);
    assert_eq!(spend.reaches(usd("10"), at(0)), None, "nothing runs");
    spend.per_hour = usd("6");
    assert_eq!(spend.reaches(usd("10"), at(0)), Some(at(3_601)));
}

proptest! {
    #[test]
    fn room_is_how_often_one_more_may_be_launched(
        budget in 1..1_000_u64, accrued in 0..1_000_u64, committed in 0..1_000_u64, next in 1..200_u64
    ) {
        let (budget, next) = (Usd::from_micros(budget), Usd::from_micros(next));
        let mut spend = Spend {
            accrued: Usd::from_micros(accrued),
            committed: Usd::from_micros(committed),
            ..Spend::default()
        };
        let room = room(budget, &spend, next);
        let mut launched = 0;
        while budget_verdict(budget, &spend, Some(next)) == Verdict::Go {
            spend.committed = spend.committed.plus(next);
            launched += 1;
        }
        let expected = if accrued >= budget.as_micros() { 0 } else { room };
        prop_assert_eq!(launched, expected);
        prop_assert!(launched == 0 || spend.accrued.plus(spend.committed) <= budget);
    }
}
