//! Price and cost of a spore: told beside everything else.

use jiff::SignedDuration;
use spore_controller::{cloud::InstanceState, plan::cost};
use spore_core::money::Usd;
use spore_crds::{Cost, Market, Price, conditions::READY};

use crate::world::{Loop, PriceDesk, spore, start};

/// A spore whose instance runs and whose agent has reported, 10 seconds after its launch.
fn reporting(market: Market, prices: PriceDesk) -> Loop {
    let mut it = Loop::new(spore(|spec| spec.market = market));
    it.prices = prices;
    it.list().settle();
    it.ec2.tick();
    it.pass_time(5).list().settle();
    let now = it.now;
    it.ec2.only().report.reported_at = Some(now);
    it.pass_time(5).list().settle();
    assert_eq!(it.condition(READY).0, "True");
    it
}

/// EC2 and agent end the instance.
fn end(it: &mut Loop) {
    it.ec2.only().state = InstanceState::Terminated;
    it.list().settle();
}

fn usd(text: &str) -> Usd {
    text.parse().expect("an amount")
}

fn price(it: &Loop) -> Price {
    it.status().price.clone().expect("it was asked")
}

fn cost(it: &Loop) -> Cost {
    it.status().cost.clone().expect("the price is known")
}

#[test]
fn the_price_is_told_with_source_and_time_and_costs_no_write() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Answers);
    let told = price(&it);
    assert_eq!(told.per_hour, Some(usd("3.60")));
    assert_eq!(told.source.as_deref(), Some("AWS Price List"));
    assert_eq!((told.as_of, told.zone), (Some(start()), None));
    let without = reporting(Market::OnDemand, PriceDesk::Silent);
    assert_eq!(it.writes, without.writes);
    assert_eq!(it.price_calls, 1);
    // Nor later, for as long as nothing else happens.
    let writes = it.writes;
    it.live_on(20);
    assert_eq!((it.writes, it.price_calls), (writes, 1));
}

#[test]
fn a_spot_instance_has_the_price_of_its_zone() {
    let it = reporting(Market::Spot, PriceDesk::Answers);
    let told = price(&it);
    assert_eq!(told.zone.as_deref(), Some("us-east-1a"));
    assert_eq!(told.per_hour, Some(usd("0.36")), "not the other zone's");
    assert_eq!(told.source.as_deref(), Some("EC2 Spot price history"));
}

#[test]
fn the_cost_is_exact_once_the_instance_has_ended() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Answers);
    assert_eq!(cost(&it).accrued, usd("0.06"), "a minute is the least");
    it.pass_time(990);
    end(&mut it);
    let last = cost(&it);
    assert_eq!(last.accrued, usd("1.00"), "1,000 seconds");
    assert_eq!(last.as_of, start() + SignedDuration::from_secs(1_000));
    assert_eq!(last.running_since, None);
    let later = it.now + SignedDuration::from_hours(5);
    assert_eq!(cost::instance_cost(it.status(), later), Some(usd("1.00")));
    it.pass_time(600).list().settle();
    assert_eq!(cost(&it), last);
}

#[test]
fn the_agents_word_on_when_it_ended_the_instance_counts() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Answers);
    it.ec2.only().report.ended_at = Some(start() + SignedDuration::from_secs(500));
    // Nobody looked for an hour.
    it.pass_time(3_590);
    end(&mut it);
    assert_eq!(cost(&it).accrued, usd("0.50"));
}

#[test]
fn an_instance_found_gone_long_after_its_deadline_did_not_run_until_then() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Answers);
    it.ec2.instances.clear();
    it.pass_time(86_400);
    for _ in 0..4 {
        it.pass_time(400).list().settle();
    }
    assert!(it.status().ended.is_some());
    // An hour of life and five minutes until the instance's own timer.
    assert_eq!(cost(&it).accrued, usd("3.90"));
}

#[test]
fn a_stopped_instance_accrues_nothing_until_it_is_started_again() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Answers);
    it.pass_time(490);
    it.ec2.only().state = InstanceState::Stopped;
    it.list().settle();
    assert_eq!(cost(&it).accrued, usd("0.50"));
    it.pass_time(1_000);
    let again = it.now;
    it.ec2.only().state = InstanceState::Running;
    it.ec2.only().launched_at = Some(again);
    it.list().settle();
    assert_eq!(cost(&it).running_since, Some(again));
    it.pass_time(100);
    end(&mut it);
    assert_eq!(cost(&it).accrued, usd("0.60"));
}

#[test]
fn a_price_that_is_refused_is_unknown_and_harms_nothing() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Refuses);
    let told = price(&it);
    assert_eq!((told.per_hour, told.source), (None, None));
    let why = told.unknown.unwrap();
    assert!(
        why.contains("GetProducts") && why.contains("AccessDeniedException"),
        "{why}"
    );
    assert!(why.contains("docs/aws-permissions.md"), "{why}");
    assert_eq!(it.status().cost, None, "unknown is not zero");
    let without = reporting(Market::OnDemand, PriceDesk::Silent);
    assert_eq!(it.writes, without.writes);
    let (writes, calls) = (it.writes, it.price_calls);
    it.live_on(30);
    assert_eq!(it.writes, writes, "said once");
    assert!(
        (1..=4).contains(&(it.price_calls - calls)),
        "asked again, not hot: {}",
        it.price_calls
    );
    // The right is granted.
    it.prices = PriceDesk::Answers;
    it.live_on(25);
    assert_eq!(price(&it).per_hour, Some(usd("3.60")));
    assert_eq!(price(&it).unknown, None);
    assert_eq!(it.writes, writes + 1);
}

#[test]
fn a_price_that_comes_late_is_written_once() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Silent);
    assert_eq!(
        (it.status().price.clone(), it.status().cost.clone()),
        (None, None)
    );
    let writes = it.writes;
    it.prices = PriceDesk::Answers;
    it.live_on(5);
    assert_eq!(price(&it).per_hour, Some(usd("3.60")));
    assert_eq!(it.writes, writes + 1);
}

#[test]
fn a_price_that_comes_after_the_end_still_gives_the_cost() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Silent);
    it.pass_time(90);
    end(&mut it);
    it.prices = PriceDesk::Answers;
    it.live_on(3);
    assert_eq!(cost(&it).accrued, usd("0.10"));
    assert_eq!(cost(&it).running_since, None);
}

#[test]
fn a_record_of_the_past_is_left_as_it_is() {
    let mut it = reporting(Market::OnDemand, PriceDesk::Silent);
    end(&mut it);
    it.live_on(15);
    let (writes, calls) = (it.writes, it.price_calls);
    it.prices = PriceDesk::Answers;
    it.live_on(15);
    assert_eq!((it.writes, it.price_calls), (writes, calls));
    assert_eq!(it.plan().wake, None);
}

#[test]
fn an_adopted_instance_is_priced_as_what_it_is() {
    let mut it = reporting(Market::Spot, PriceDesk::Answers);
    // The status is lost, and the spec says otherwise by now.
    it.spore.status = None;
    it.spore.spec.market = Market::OnDemand;
    let writes = it.writes;
    it.crash().list().settle();
    it.live_on(2);
    assert_eq!(price(&it).market, Market::Spot);
    assert_eq!(price(&it).per_hour, Some(usd("0.36")));
    assert!(it.writes <= writes + 2, "adopted, and priced");
}
