//! What is decided, case by case.

use jiff::SignedDuration;
use spore_controller::{
    cloud::{Class, InstanceState},
    plan::Action,
};
use spore_core::{lifecycle::EndReason, tags::WorkloadPhase};
use spore_crds::{Market, State, conditions::*};

use crate::world::{Loop, NextRun, REGION, failure, spore, start};

/// A spore whose instance runs.
fn running() -> Loop {
    let mut it = Loop::new(spore(|_| ()));
    it.list().settle();
    it.ec2.tick();
    it.pass_time(5).list().settle();
    it
}

/// A spore whose instance runs and whose agent has reported.
fn reporting() -> Loop {
    let mut it = running();
    let now = it.now;
    let report = &mut it.ec2.only().report;
    report.reported_at = Some(now);
    report.agent_version = Some("0.1.0".into());
    report.phase = Some(WorkloadPhase::Running);
    it.pass_time(1).list().settle();
    it
}

#[test]
fn nothing_is_launched_before_the_region_was_listed_once() {
    let mut it = Loop::new(spore(|_| ()));
    it.settle();
    assert_eq!(it.ec2.runs, 0);
    assert_eq!(
        it.condition(READY),
        ("False".into(), "ListingInstances".into())
    );
    assert!(it.plan().wake.is_some(), "or it would wait for ever");
    it.list().settle();
    assert_eq!(it.ec2.runs, 1);
}

#[test]
fn the_intent_is_stored_in_a_pass_that_calls_nothing() {
    let mut it = Loop::new(spore(|_| ()));
    it.list();
    while it
        .spore
        .status
        .as_ref()
        .is_none_or(|status| status.launch.is_none())
    {
        assert_eq!(it.ec2.runs, 0);
        let plan = it.plan();
        let decides = plan.status.launch.is_some();
        let calls = plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::Launch(_)));
        assert!(!(decides && calls), "decided and called in one pass");
        it.round(usize::MAX).expect("not there yet");
    }
    let launch = it.status().launch.clone().unwrap();
    assert_eq!(launch.deadline, start() + SignedDuration::from_hours(1));
    assert!(launch.plan.user_data.is_some() && launch.instance_id.is_none());
}

#[test]
fn a_spore_becomes_ready_when_its_agent_reports() {
    let mut it = running();
    assert_eq!(
        it.condition(READY),
        ("False".into(), "WaitingForAgent".into())
    );
    assert_eq!(it.status().state, Some(State::Booting));
    it = reporting();
    assert_eq!(it.condition(READY), ("True".into(), "Running".into()));
    assert_eq!(it.condition(RECONCILING).0, "False");
    assert_eq!(it.condition(SUCCEEDED).0, "Unknown");
    assert_eq!(
        it.status().workload.as_ref().unwrap().phase.as_deref(),
        Some("Running")
    );
    assert_eq!(
        it.status().launch.as_ref().unwrap().plan.user_data,
        None,
        "no longer needed"
    );
}

#[test]
fn every_condition_is_there_from_the_first_status_on() {
    let mut it = Loop::new(spore(|_| ()));
    it.settle();
    let told = it
        .status()
        .conditions
        .iter()
        .map(|c| c.type_.as_str())
        .collect::<Vec<_>>();
    assert_eq!(told, ALL);
    assert_eq!(
        it.condition(RECONCILING).0,
        "True",
        "or kstatus would read it as current"
    );
}

#[test]
fn a_settled_spore_is_not_written_again() {
    let mut it = reporting();
    let writes = it.writes;
    for _ in 0..10 {
        it.pass_time(30).list().settle();
    }
    assert_eq!(it.writes, writes);
}

#[test]
fn a_lost_reply_is_replayed_with_the_same_token_and_makes_one_instance() {
    let mut it = Loop::new(spore(|_| ()));
    it.lag = SignedDuration::from_secs(60);
    it.next_run = NextRun::ReplyLost;
    it.list().settle();
    assert_eq!((it.ec2.runs, it.ec2.live()), (1, 1));
    assert_eq!(it.condition(LAUNCHED).0, "Unknown");
    it.pass_time(2).list().settle();
    assert_eq!((it.ec2.runs, it.ec2.live()), (2, 1));
    assert_eq!(it.condition(LAUNCHED).0, "True");
}

#[test]
fn a_crash_after_the_call_is_recovered_without_a_second_instance() {
    let mut it = Loop::new(spore(|_| ()));
    it.lag = SignedDuration::from_secs(60);
    it.next_run = NextRun::ReplyLost;
    it.list().settle();
    it.crash().pass_time(1).list().settle();
    assert_eq!((it.ec2.live(), it.ec2.most_live), (1, 1));
    assert_eq!(it.status().attempts, 1);
}

#[test]
fn lack_of_capacity_opens_a_new_attempt_with_a_new_token_later() {
    let mut it = Loop::new(spore(|_| ()));
    it.next_run = NextRun::Refused(Class::Capacity, "InsufficientInstanceCapacity");
    it.list().settle();
    assert_eq!(
        it.condition(READY),
        ("False".into(), "InsufficientCapacity".into())
    );
    assert_eq!(it.condition(STALLED).0, "False", "time heals it");
    assert!(it.status().launch.is_none() && it.status().deadline.is_none());
    it.pass_time(5).list().settle();
    assert_eq!(it.ec2.runs, 0, "not before its time");
    it.pass_time(15).list().settle();
    assert_eq!((it.ec2.runs, it.status().attempts), (1, 2));
    let launch = it.status().launch.clone().unwrap();
    assert_eq!(
        launch.deadline,
        launch.decided_at + SignedDuration::from_hours(1)
    );
}

#[test]
fn a_refusal_after_an_unclear_call_does_not_open_a_new_attempt_until_absence_is_proven() {
    let mut it = Loop::new(spore(|_| ()));
    it.lag = SignedDuration::from_secs(100_000);
    it.next_run = NextRun::NeverArrives;
    it.list().settle();
    it.next_run = NextRun::Refused(Class::Capacity, "InsufficientInstanceCapacity");
    it.pass_time(2).list().settle();
    assert_eq!(it.condition(READY).1, "LaunchUnclear");
    it.pass_time(60).list().settle();
    assert_eq!((it.ec2.runs, it.status().attempts), (0, 1));
    it.live_on(7);
    assert_eq!((it.ec2.runs, it.status().attempts), (1, 2));
}

#[test]
fn quota_and_bad_input_stall_and_say_what_to_do() {
    for (class, code, reason) in [
        (Class::Quota, "VcpuLimitExceeded", "QuotaExceeded"),
        (Class::Invalid, "InvalidSubnetID.NotFound", "InvalidRequest"),
        (Class::Denied, "UnauthorizedOperation", "AccessDenied"),
    ] {
        let mut it = Loop::new(spore(|_| ()));
        it.next_run = NextRun::Refused(class, code);
        it.list().settle();
        assert_eq!(it.condition(STALLED), ("True".into(), reason.into()));
        let message = &get(&it.status().conditions, STALLED).unwrap().message;
        assert!(
            message.contains(code) && message.contains(class.advice()),
            "{message}"
        );
        for _ in 0..50 {
            it.pass_time(1).list().settle();
        }
        assert_eq!(it.ec2.runs, 0, "{code} looped hot");
    }
}

#[test]
fn an_unknown_type_stalls_and_a_corrected_spec_goes_on_at_once() {
    let mut it = Loop::new(spore(|spec| spec.instance_type = "x9.none".into()));
    it.list().settle();
    assert_eq!(
        it.condition(STALLED),
        ("True".into(), "InvalidRequest".into())
    );
    it.spore.spec.instance_type = "m7i.large".into();
    it.spore.metadata.generation = Some(2);
    it.settle();
    assert_eq!(it.ec2.runs, 1);
}

#[test]
fn what_the_spec_cannot_mean_is_said() {
    for (change, reason) in [
        (
            (|spec| spec.region = Some("ap-south-2".into()))
                as fn(&mut spore_crds::SporeInstanceSpec),
            "RegionNotManaged",
        ),
        (
            |spec| spec.image_id = Some("ami-00000000000000a64".into()),
            "ImageArchitectureMismatch",
        ),
        (
            |spec| {
                spec.instance_type = "mac2.metal".into();
                spec.market = Market::Spot;
            },
            "MarketNotOffered",
        ),
        (
            |spec| {
                spec.command = (0..9_000_u64)
                    .map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                    .collect();
            },
            "UserDataTooLarge",
        ),
    ] {
        let mut it = Loop::new(spore(change));
        it.list().settle();
        assert_eq!(it.condition(STALLED), ("True".into(), reason.into()));
        assert_eq!(it.ec2.runs, 0);
    }
}

#[test]
fn a03_types_with_nvidia_gpus_get_the_image_with_drivers() {
    for (type_, image) in [
        ("m7i.large", "ami-00000000000000001"),
        ("g5.xlarge", "ami-00000000000000009"),
    ] {
        let mut it = Loop::new(spore(|spec| spec.instance_type = type_.into()));
        it.list().settle();
        assert_eq!(it.status().launch.as_ref().unwrap().plan.image_id, image);
    }
}

#[test]
fn without_ttl_the_default_for_its_kind_is_the_deadline() {
    for (idle, hours) in [(None, 24), (Some("30m"), 7 * 24)] {
        let mut it = Loop::new(spore(|spec| {
            spec.ttl = None;
            spec.idle = idle.map(|timeout| spore_crds::IdleSpec {
                timeout: timeout.parse().unwrap(),
                action: spore_core::lifecycle::Action::Terminate,
            });
        }));
        it.list().settle();
        assert_eq!(
            it.status().deadline,
            Some(start() + SignedDuration::from_hours(hours))
        );
    }
}

#[test]
fn an_instance_past_its_deadline_and_grace_is_terminated_from_outside_and_never_launched_again() {
    let mut it = reporting();
    it.pass_time(3_600).list().settle();
    assert_eq!(it.ec2.terminates, 0, "the agent has its grace");
    it.pass_time(60).list().settle();
    assert_eq!(it.ec2.terminates, 1);
    assert_eq!(it.status().ended.as_ref().unwrap().reason, "TTLExpired");
    it.ec2.tick();
    it.pass_time(2).list().settle();
    assert_eq!(it.status().state, Some(State::Ended));
    assert_eq!(it.condition(READY), ("True".into(), "Finished".into()));
    assert_eq!(
        it.condition(SUCCEEDED),
        ("False".into(), "EndedBeforeCompletion".into())
    );
    for _ in 0..20 {
        it.pass_time(600).list().settle();
    }
    assert_eq!((it.ec2.instances.len(), it.ec2.live()), (1, 0));
}

#[test]
fn an_instance_that_was_never_listed_is_terminated_at_its_deadline_too() {
    let mut it = Loop::new(spore(|_| ()));
    it.lag = SignedDuration::from_hours(100);
    it.settings.absence = std::time::Duration::from_secs(100_000);
    it.list().settle();
    it.crash().list().settle();
    it.pass_time(3_661).list().settle();
    assert_eq!(it.ec2.live(), 0);
}

#[test]
fn success_and_failure_are_the_workloads() {
    for (phase, code, state, status) in [
        (WorkloadPhase::Succeeded, 0, State::Succeeded, "True"),
        (WorkloadPhase::Failed, 3, State::Failed, "False"),
    ] {
        let mut it = reporting();
        let now = it.now;
        let instance = it.ec2.only();
        instance.report.phase = Some(phase);
        instance.report.exit_code = Some(code);
        instance.report.finished_at = Some(now);
        instance.report.end_reason = Some(EndReason::Completed);
        instance.state = InstanceState::Terminated;
        it.pass_time(1).list().settle();
        assert_eq!(it.status().state, Some(state));
        assert_eq!(it.condition(SUCCEEDED).0, status);
        assert_eq!(it.condition(READY).0, "True", "a finished spore is current");
        assert_eq!(it.condition(STALLED).0, "False", "and never degraded");
        assert_eq!(it.status().ended.as_ref().unwrap().reason, "Completed");
    }
}

#[test]
fn a_completed_workload_whose_agent_died_is_ended_from_outside() {
    let mut it = reporting();
    let now = it.now;
    let report = &mut it.ec2.only().report;
    report.phase = Some(WorkloadPhase::Succeeded);
    report.finished_at = Some(now);
    it.pass_time(1).list().settle();
    assert_eq!(it.ec2.terminates, 0);
    it.pass_time(90).list().settle();
    assert_eq!(it.ec2.terminates, 1);
    assert_eq!(it.status().ended.as_ref().unwrap().reason, "Completed");
}

#[test]
fn why_an_instance_ended_is_told_from_what_ec2_says() {
    for (code, passed, reason) in [
        ("Server.SpotInstanceTermination", 10, "SpotInterruption"),
        ("Client.InstanceInitiatedShutdown", 10, "PoweredOff"),
        ("Client.InstanceInitiatedShutdown", 3_620, "TTLExpired"),
        ("Server.InternalError", 10, "HostFailure"),
        ("Client.UserInitiatedShutdown", 10, "EndedOutside"),
    ] {
        let mut it = reporting();
        let instance = it.ec2.only();
        instance.state = InstanceState::Terminated;
        instance.state_reason = Some(code.into());
        it.pass_time(passed).list().settle();
        assert_eq!(it.status().ended.as_ref().unwrap().reason, reason, "{code}");
    }
}

#[test]
fn a13_an_extension_moves_every_copy_of_the_deadline_and_never_back() {
    let mut it = reporting();
    let later = start() + SignedDuration::from_hours(3);
    it.spore.spec.extend_to = Some(later);
    it.settle();
    assert_eq!(it.status().deadline, Some(later));
    assert_eq!(it.ec2.only().identity.deadline, Some(later));
    it.spore.spec.extend_to = Some(start());
    it.pass_time(1).list().settle();
    it.spore.spec.extend_to = None;
    it.pass_time(1).list().settle();
    assert_eq!(it.status().deadline, Some(later));
    it.pass_time(2 * 3_600).list().settle();
    assert_eq!(it.ec2.live(), 1, "not ended at the old deadline");
}

#[test]
fn a_stop_on_completion_leaves_a_stopped_instance_until_the_deadline() {
    let mut it = Loop::new(spore(|spec| {
        spec.on_complete.action = spore_core::lifecycle::Action::Stop;
    }));
    it.list().settle();
    it.ec2.tick();
    let now = it.now;
    let report = &mut it.ec2.only().report;
    report.reported_at = Some(now);
    report.phase = Some(WorkloadPhase::Succeeded);
    report.finished_at = Some(now);
    it.pass_time(120).list().settle();
    it.ec2.tick();
    it.pass_time(1).list().settle();
    assert_eq!(it.status().state, Some(State::Stopped));
    assert_eq!(it.condition(READY).0, "True");
    assert_eq!(it.condition(SUCCEEDED).0, "True");
    assert_eq!(it.ec2.live(), 1);
    it.live_on(70);
    assert_eq!(it.ec2.live(), 0, "nobody looked at the deadline");
}

#[test]
fn a_result_that_came_while_the_controller_was_away_is_not_lost() {
    let mut it = reporting();
    let now = it.now;
    let instance = it.ec2.only();
    instance.report.phase = Some(WorkloadPhase::Succeeded);
    instance.report.exit_code = Some(0);
    instance.report.finished_at = Some(now);
    instance.report.end_reason = Some(EndReason::Completed);
    instance.state = InstanceState::Terminated;
    it.crash().pass_time(7_200).settle();
    assert!(
        it.status().ended.is_none(),
        "nothing is known before the first list"
    );
    it.list().settle();
    assert_eq!(it.status().state, Some(State::Succeeded));
    assert_eq!(it.status().ended.as_ref().unwrap().reason, "Completed");
}

#[test]
fn deletion_waits_until_ec2_says_terminated() {
    let mut it = reporting();
    it.delete().settle();
    assert_eq!((it.ec2.live(), it.released), (0, false));
    it.pass_time(1).list().settle();
    assert!(!it.released, "shutting down is not gone");
    it.ec2.tick();
    it.pass_time(1).list().settle();
    assert!(it.released);
}

#[test]
fn deletion_before_any_launch_is_immediate() {
    let mut it = Loop::new(spore(|_| ()));
    it.delete().settle();
    assert!(it.released);
}

#[test]
fn deletion_after_an_unclear_launch_waits_for_the_instance_to_show() {
    let mut it = Loop::new(spore(|_| ()));
    it.lag = SignedDuration::from_secs(60);
    it.next_run = NextRun::ReplyLost;
    it.list().settle();
    it.delete().crash().list().settle();
    assert!(!it.released);
    it.pass_time(61).list().settle();
    assert_eq!((it.ec2.live(), it.released), (0, false));
    it.ec2.tick();
    it.pass_time(1).list().settle();
    assert!(it.released);
    assert_eq!(it.ec2.runs, 1, "nothing is launched for a deleted spore");
}

#[test]
fn deletion_after_a_launch_that_never_happened_ends_when_absence_is_proven() {
    let mut it = Loop::new(spore(|_| ()));
    it.next_run = NextRun::NeverArrives;
    it.list().settle();
    it.delete().settle();
    for _ in 0..4 {
        it.pass_time(10).list().settle();
    }
    assert!(!it.released, "EC2's lists may lag by minutes");
    it.live_on(7);
    assert!(it.released);
}

#[test]
fn a_deletion_that_cannot_go_on_says_why_and_what_to_do() {
    let mut it = reporting();
    it.delete().settle();
    let error = failure("DescribeInstances", Class::Denied, "UnauthorizedOperation");
    it.world.list_failed(REGION, error);
    it.settle();
    assert!(!it.released);
    let message = &get(&it.status().conditions, READY).unwrap().message;
    assert!(
        message.contains("UnauthorizedOperation") && message.contains("spore.host/abandon"),
        "{message}"
    );
}

#[test]
fn a_workload_that_its_deadline_interrupts_has_neither_succeeded_nor_failed() {
    let mut it = reporting();
    let instance = it.ec2.only();
    instance.report.phase = Some(WorkloadPhase::Interrupted);
    instance.report.end_reason = Some(EndReason::TTLExpired);
    instance.state = InstanceState::Terminated;
    it.pass_time(1).list().settle();
    assert_eq!(it.status().state, Some(State::Ended));
    assert_eq!(
        it.condition(SUCCEEDED),
        ("False".into(), "EndedBeforeCompletion".into())
    );
}

#[test]
fn an_abandoned_spore_is_let_go_at_once() {
    let mut it = reporting();
    let abandon = spore_controller::plan::instance::ABANDON;
    it.spore.metadata.annotations = Some([(abandon.into(), "true".into())].into());
    it.delete().settle();
    assert!(it.released);
}

#[test]
fn a_second_instance_of_one_spore_is_terminated() {
    let mut it = reporting();
    let mut twin = it.ec2.only().clone();
    twin.id = "i-twin".into();
    twin.client_token = Some("another".into());
    let now = it.now;
    it.ec2.instances.push((twin, now));
    it.pass_time(1).list().settle();
    it.pass_time(61).list().settle();
    assert_eq!(it.ec2.live(), 1);
    assert!(it.notes.contains(&"StrayTerminated"));
    assert_eq!(it.status().instance.as_ref().unwrap().id, "i-1");
}

#[test]
fn an_instance_unknown_to_the_status_is_adopted_instead_of_launching_another() {
    let mut it = reporting();
    it.spore.status = None;
    it.crash().list().settle();
    assert_eq!(it.ec2.instances.len(), 1);
    assert_eq!(it.status().instance.as_ref().unwrap().id, "i-1");
    assert_eq!(it.condition(READY).0, "True");
}

#[test]
fn an_instance_that_vanished_is_waited_for_and_then_recorded_as_gone() {
    let mut it = reporting();
    it.ec2.instances.clear();
    it.pass_time(10)
        .list()
        .pass_time(10)
        .list()
        .pass_time(10)
        .list()
        .settle();
    assert!(it.status().ended.is_none(), "unknown is not absent");
    it.live_on(7);
    assert_eq!(it.status().ended.as_ref().unwrap().reason, "EndedOutside");
    assert_eq!(it.ec2.runs, 1);
}
