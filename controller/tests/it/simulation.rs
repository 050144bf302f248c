//! Whole lives under faults: whatever happens in whatever order, at most one instance lives, and once
//! the faults end the spore settles, without a trace after deletion.

use jiff::SignedDuration;
use proptest::prelude::*;
use spore_controller::cloud::{Class, InstanceState};

use crate::world::{Loop, NextRun, PriceDesk, spore};

#[derive(Clone, Debug)]
enum Step {
    /// A round of the loop that is cut off after some of its actions.
    Round(usize),
    List,
    Crash,
    Time(i64),
    Lag(i64),
    Ec2Goes,
    NextRun(NextRun),
    InstanceDies,
    Prices(PriceDesk),
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_usize).prop_map(Step::Round),
        4 => Just(Step::List),
        2 => Just(Step::Crash),
        3 => (0..120_i64).prop_map(Step::Time),
        1 => (0..90_i64).prop_map(Step::Lag),
        2 => Just(Step::Ec2Goes),
        3 => prop_oneof![
            Just(NextRun::ReplyLost),
            Just(NextRun::NeverArrives),
            Just(NextRun::Refused(Class::Capacity, "InsufficientInstanceCapacity")),
            Just(NextRun::Refused(Class::Throttle, "RequestLimitExceeded")),
            Just(NextRun::Refused(Class::Denied, "UnauthorizedOperation")),
            Just(NextRun::Refused(Class::Invalid, "IdempotentParameterMismatch")),
        ].prop_map(Step::NextRun),
        1 => Just(Step::InstanceDies),
        1 => prop_oneof![
            Just(PriceDesk::Answers),
            Just(PriceDesk::Refuses),
            Just(PriceDesk::Silent),
        ].prop_map(Step::Prices),
        1 => Just(Step::Delete),
    ]
}

fn take(it: &mut Loop, step: Step) {
    match step {
        Step::Round(most) => {
            it.round(most);
        }
        Step::List => {
            it.list();
        }
        Step::Crash => {
            it.crash();
        }
        Step::Time(seconds) => {
            it.pass_time(seconds);
        }
        Step::Lag(seconds) => it.lag = SignedDuration::from_secs(seconds),
        Step::Ec2Goes => it.ec2.tick(),
        Step::NextRun(next) => it.next_run = next,
        Step::InstanceDies => {
            for (instance, _) in &mut it.ec2.instances {
                instance.state = InstanceState::Terminated;
            }
        }
        Step::Prices(desk) => it.prices = desk,
        Step::Delete => {
            it.delete();
        }
    }
}

/// The faults end and time goes by.
fn quiet_hours(it: &mut Loop) {
    it.lag = SignedDuration::ZERO;
    it.next_run = NextRun::Works;
    it.prices = PriceDesk::Answers;
    it.live_on(40);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn at_most_one_instance_lives_and_a_deleted_spore_leaves_nothing(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let mut it = Loop::new(spore(|_| ()));
        it.list();
        for step in steps {
            take(&mut it, step);
            prop_assert!(it.ec2.live() <= 1, "two live instances");
        }
        quiet_hours(&mut it);
        prop_assert!(it.ec2.most_live <= 1, "two live instances");
        let writes = it.writes;
        it.pass_time(60).list().settle();
        prop_assert_eq!(it.writes, writes, "still writing after the faults ended");
        prop_assert!(it.released || it.is_priced(), "the price was never told");
        if !it.released {
            prop_assert!(it.ec2.instances.len() <= 1 || it.status().attempts > 1);
            it.delete();
            quiet_hours(&mut it);
        }
        prop_assert!(it.released, "the finalizer was never released");
        prop_assert_eq!(it.ec2.live(), 0, "something was left over");
    }

    #[test]
    fn no_instance_outlives_its_deadline_and_the_grace(
        steps in proptest::collection::vec(step(), 0..40)
    ) {
        let mut it = Loop::new(spore(|_| ()));
        it.list();
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Delete)) {
            take(&mut it, step);
        }
        it.lag = SignedDuration::ZERO;
        it.next_run = NextRun::Works;
        // Past every deadline that any attempt so far can have.
        it.live_on(140);
        prop_assert_eq!(it.ec2.live(), 0);
    }
}
