//! Arrays and sweeps, case by case.

use jiff::SignedDuration;
use serde_json::{Value, json};
use spore_controller::{
    cloud::{Class, InstanceState},
    plan::group::GroupAction,
};
use spore_crds::{GroupState, GroupStatus, SporeInstanceSpec, conditions};

use crate::{
    group_cloud::NextCall,
    group_world::{OTHER_REGION, Object, Table, Universe},
    world::REGION,
};

fn template() -> Value {
    json!({"instanceType": "m7i.large", "ttl": "1h", "command": ["work"]})
}

/// An array of so many members, with this beside.
fn array(replicas: u32, beside: Value) -> Universe {
    let mut spec = json!({"replicas": replicas, "template": template(), "peers": "Disabled"});
    merge(&mut spec, beside);
    let object = json!({"apiVersion": "spore.host/v1alpha1", "kind": "SporeArray",
        "metadata": {}, "spec": spec});
    begin(Object::Array(
        serde_json::from_value(object).expect("an array"),
    ))
}

/// A sweep with these rows, and this beside.
fn sweep(rows: Vec<SporeInstanceSpec>, beside: Value) -> Universe {
    let mut spec = json!({"parallelism": 100});
    merge(&mut spec, beside);
    let object = json!({"apiVersion": "spore.host/v1alpha1", "kind": "SporeSweep",
        "metadata": {}, "spec": spec});
    let sweep = serde_json::from_value(object).expect("a sweep");
    begin(Object::Sweep(sweep, Table(rows)))
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn begin(object: Object) -> Universe {
    let mut it = Universe::new(object);
    it.list(REGION);
    it.list(OTHER_REGION);
    it
}

fn row(instance_type: &str) -> SporeInstanceSpec {
    let mut spec = template();
    spec["instanceType"] = json!(instance_type);
    serde_json::from_value(spec).expect("a spec")
}

fn rows(count: usize) -> Vec<SporeInstanceSpec> {
    vec![row("m7i.large"); count]
}

/// Rounds over the array or sweep alone until it waits for something.
fn launch(it: &mut Universe) {
    it.copy = it.group.clone();
    for _ in 0..8 {
        if it.group_round() == Ok(false) {
            break;
        }
    }
}

/// Time goes by in which no workload ends.
fn wait(it: &mut Universe, seconds: i64) {
    it.now += SignedDuration::from_secs(seconds);
    let now = it.now;
    it.ec2.tick(now);
    it.list(REGION);
    it.list(OTHER_REGION);
    it.settle();
    it.broken().expect("all promises hold");
}

/// All instances run.
fn up(it: &mut Universe) {
    it.settle();
    wait(it, 5);
    wait(it, 5);
}

fn id(it: &Universe, index: u32) -> String {
    let live = it.ec2.live().find(|i| i.member == Some(index));
    live.expect("it lives").id.clone()
}

fn exits(it: &mut Universe, index: u32, code: i32) {
    let (id, now) = (id(it, index), it.now);
    it.ec2.works(&id, now, code);
    wait(it, 5);
    wait(it, 5);
}

fn dies(it: &mut Universe, index: u32, reason: &str) {
    let (id, now) = (id(it, index), it.now);
    it.ec2.dies(&id, now, reason);
    wait(it, 5);
    wait(it, 5);
}

fn says(status: &GroupStatus, type_: &str) -> (String, String) {
    let said = conditions::get(&status.conditions, type_).expect("it is told");
    (said.status.clone(), said.reason.clone())
}

fn ended(it: &Universe) -> String {
    it.status().ended.map(|e| e.reason).unwrap_or_default()
}

fn edit_sweep(it: &mut Universe, change: impl FnOnce(&mut spore_crds::SporeSweep, &mut Table)) {
    it.edit(|object| {
        if let Object::Sweep(sweep, rows) = object {
            change(sweep, rows);
        }
    });
}

const SPOT: &str = "Server.SpotInstanceTermination";

fn replace_all() -> Value {
    json!({"failurePolicy": {"rules": [{"action": "Replace"}]}})
}

#[test]
fn a_thousand_members_need_exactly_ten_calls_none_before_it_is_stored() {
    let mut it = array(1_000, json!({}));
    while it.status().batches.is_empty() {
        assert_eq!(it.ec2.calls, 0);
        it.group_round().expect("no fault");
    }
    launch(&mut it);
    assert_eq!(it.ec2.calls, 10);
    assert_eq!(it.ec2.live().count(), 1_000);
    it.settle();
    assert_eq!(it.ec2.calls, 10);
    assert_eq!(it.members.len(), 1_000);
    assert!(it.status().batches.is_empty());
    assert_eq!(it.status().progress.as_deref(), Some("1000/1000 (100%)"));
}

#[test]
fn rows_of_two_interleaved_kinds_come_to_few_calls() {
    let kinds = ["m7i.large", "c7i.large"].into_iter().cycle();
    let mut it = sweep(kinds.take(100).map(row).collect(), json!({}));
    it.settle();
    assert_eq!(it.ec2.live().count(), 100);
    assert_eq!(it.ec2.calls, 2);
    it.broken().expect("all promises hold");
}

#[test]
fn partial_fulfilment_fills_the_first_slots_and_the_rest_goes_on_at_the_same_attempt() {
    let mut it = array(10, json!({}));
    it.ec2.free_anywhere = Some(6);
    it.settle();
    let status = it.status();
    assert_eq!(status.active_indexes.to_string(), "0-5");
    assert_eq!(status.retries[0].indexes.to_string(), "6-9");
    assert_eq!((status.launched, status.attempts.len()), (6, 0));
    assert_eq!(
        says(&status, conditions::READY),
        ("False".into(), "InsufficientCapacity".into())
    );
    it.ec2.free_anywhere = None;
    wait(&mut it, 16);
    assert_eq!(it.ec2.calls, 2);
    assert_eq!(it.status().active_indexes.to_string(), "0-9");
    assert!(it.status().attempts.is_empty());
}

#[test]
fn a_definite_refusal_closes_the_line_and_is_tried_again_with_another_token() {
    let mut it = array(3, json!({}));
    it.ec2.next = NextCall::Refused(Class::Quota, "VcpuLimitExceeded");
    it.settle();
    let status = it.status();
    assert!(status.batches.is_empty());
    assert_eq!(
        says(&status, conditions::STALLED),
        ("True".into(), "QuotaExceeded".into())
    );
    assert_eq!(status.state, Some(GroupState::Stalled));
    wait(&mut it, 59);
    assert_eq!(it.ec2.calls, 1, "not tried hot");
    wait(&mut it, 2);
    assert_eq!((it.ec2.calls, it.ec2.live().count()), (2, 3));
    assert_eq!(it.ec2.tokens.len(), 1, "the refused one made nothing");
}

#[test]
fn a_call_without_an_answer_is_made_again_with_the_same_token() {
    for next in [NextCall::ReplyLost, NextCall::NeverArrives] {
        let mut it = array(3, json!({}));
        it.ec2.next = next;
        it.settle();
        assert_eq!(it.status().batches.len(), 1);
        wait(&mut it, 2);
        assert_eq!(it.ec2.live().count(), 3);
        assert_eq!(it.ec2.tokens.len(), 1);
        it.settle();
        assert_eq!(it.members.len(), 3);
    }
}

#[test]
fn a_lost_reply_followed_by_a_refusal_is_settled_by_ec2s_lists() {
    let mut it = array(3, json!({}));
    it.ec2.next = NextCall::ReplyLost;
    it.lag = SignedDuration::from_secs(60);
    it.settle();
    it.ec2.next = NextCall::Refused(Class::Denied, "UnauthorizedOperation");
    wait(&mut it, 2);
    let status = it.status();
    assert_eq!(
        says(&status, conditions::READY),
        ("False".into(), "LaunchUnclear".into())
    );
    wait(&mut it, 60);
    assert_eq!((it.ec2.calls, it.members.len()), (2, 3));
    assert!(it.status().batches.is_empty());
}

#[test]
fn a_failure_is_handled_by_its_reason_or_its_exit_code() {
    let policy = json!({"failurePolicy": {"rules": [
        {"onReasons": ["SpotInterruption"], "action": "Replace"},
        {"onExitCodes": [42], "action": "TerminateAll"},
        {"onExitCodes": [7], "action": "Replace"},
    ]}});
    let mut it = array(4, policy);
    up(&mut it);
    dies(&mut it, 0, SPOT);
    exits(&mut it, 1, 7);
    exits(&mut it, 2, 1);
    let status = it.status();
    assert_eq!(status.failed_indexes.to_string(), "2");
    assert_eq!(status.retried, 2);
    assert_eq!(status.reasons["SpotInterruption"], 1);
    assert_eq!(status.reasons["WorkloadFailed"], 2);
    wait(&mut it, 10);
    wait(&mut it, 5);
    assert!(it.ec2.had.contains(&(0, 2)) && it.ec2.had.contains(&(1, 2)));
    exits(&mut it, 3, 42);
    assert_eq!(ended(&it), "FailurePolicy");
    wait(&mut it, 30);
    wait(&mut it, 30);
    assert_eq!(it.ec2.live().count(), 0);
    assert_eq!(it.status().state, Some(GroupState::Failed));
}

#[test]
fn everything_ends_when_the_quorum_is_lost() {
    let mut it = array(4, json!({"failurePolicy": {"quorum": 3}}));
    up(&mut it);
    exits(&mut it, 0, 1);
    assert_eq!(ended(&it), "");
    exits(&mut it, 1, 1);
    assert_eq!(ended(&it), "QuorumLost");
}

#[test]
fn one_index_is_replaced_as_often_as_declared_with_growing_pauses() {
    let mut it = array(2, json!({"failurePolicy": {"backoffLimitPerIndex": 2}}));
    up(&mut it);
    for pause in [10, 20] {
        exits(&mut it, 0, 1);
        assert!(it.status().failed_indexes.is_empty());
        let at = it.status().retries[0].at;
        let left = at.duration_since(it.now).as_secs();
        assert!((pause - 11..=pause).contains(&left), "{left}");
        wait(&mut it, left + 1);
        up(&mut it);
    }
    exits(&mut it, 0, 1);
    assert_eq!(it.status().failed_indexes.to_string(), "0");
    assert_eq!((it.status().retried, ended(&it)), (2, String::new()));
}

#[test]
fn one_replacement_too_many_ends_everything() {
    let mut it = array(3, json!({"failurePolicy": {"backoffLimit": 1}}));
    up(&mut it);
    exits(&mut it, 0, 1);
    exits(&mut it, 1, 1);
    assert_eq!(ended(&it), "BackoffLimitExceeded");
    assert_eq!(it.status().retried, 1);
}

#[test]
fn success_is_what_the_policy_says() {
    for (policy, exits_of, met) in [
        (json!({}), vec![0, 1], false),
        (json!({}), vec![0, 1, 2], true),
        (json!({"succeededCount": 1}), vec![2], true),
        (json!({"succeededCount": 2}), vec![2], false),
        (json!({"succeededCount": 2}), vec![2, 0], true),
        (json!({"succeededIndexes": "0,2"}), vec![0, 1], false),
        (json!({"succeededIndexes": "0,2"}), vec![0, 2], true),
    ] {
        let mut it = array(3, json!({"successPolicy": policy}));
        up(&mut it);
        for index in &exits_of {
            exits(&mut it, *index, 0);
        }
        let expected = if met { "Completed" } else { "" };
        assert_eq!(ended(&it), expected, "{policy} {exits_of:?}");
        if met {
            wait(&mut it, 30);
            wait(&mut it, 30);
            let status = it.status();
            assert_eq!((it.ec2.live().count(), status.failed), (0, 0));
            assert_eq!(status.state, Some(GroupState::Succeeded));
            assert!(status.reasons.is_empty(), "nothing was done wrong");
        }
    }
}

#[test]
fn spot_members_are_replaced_as_declared_and_not_otherwise() {
    for (policy, replaced) in [(json!({}), false), (replace_all(), true)] {
        let mut it = array(2, policy);
        up(&mut it);
        dies(&mut it, 1, SPOT);
        wait(&mut it, 20);
        wait(&mut it, 5);
        assert_eq!(it.ec2.had.contains(&(1, 2)), replaced);
        let failed = it.status().failed_indexes.to_string();
        assert_eq!(failed, if replaced { "" } else { "1" });
    }
}

#[test]
fn a_gang_that_cannot_be_had_in_one_zone_moves_to_the_next_as_a_whole() {
    let mut it = array(150, json!({"minAvailable": 150}));
    it.ec2.free.insert(format!("{REGION}a"), 120);
    it.settle();
    assert!(it.notes.iter().any(|note| note == "Releasing"));
    for _ in 0..20 {
        wait(&mut it, 5);
    }
    let status = it.status();
    assert!(status.formed, "{status:#?}");
    assert_eq!(status.zone.as_deref(), Some("us-east-1b"));
    assert_eq!(it.ec2.live().count(), 150);
    let in_b = it
        .ec2
        .live()
        .filter(|i| i.zone.as_deref() == Some("us-east-1b"));
    assert_eq!(in_b.count(), 150);
    assert_eq!((status.failed, status.retried), (0, 0), "nobody has failed");
}

#[test]
fn zone_moves_of_a_gang_leave_its_replacements_untouched() {
    let policy = json!({"minAvailable": 150, "failurePolicy": {"backoffLimitPerIndex": 1}});
    let mut it = array(150, policy);
    it.ec2.free.insert(format!("{REGION}a"), 120);
    it.settle();
    for _ in 0..20 {
        wait(&mut it, 5);
    }
    assert!(it.status().formed);
    exits(&mut it, 3, 1);
    assert_eq!(it.status().failed, 0);
    assert_eq!(it.status().retried, 1);
}

#[test]
fn a_gang_that_cannot_be_had_anywhere_leaves_nothing_and_waits() {
    let mut it = array(150, json!({"minAvailable": 140}));
    for zone in ["a", "b", "c"] {
        it.ec2.free.insert(format!("{REGION}{zone}"), 120);
    }
    it.settle();
    for _ in 0..60 {
        wait(&mut it, 5);
        let live = it.ec2.live().count();
        assert!(live <= 120 && !it.status().formed);
    }
    let calls = it.ec2.calls;
    for _ in 0..60 {
        wait(&mut it, 5);
    }
    assert!(
        it.ec2.calls <= calls + 6,
        "a round costs money: they grow rare"
    );
    assert_eq!(it.ec2.live().count(), 0);
    assert_eq!(it.status().failed, 0);
    it.ec2.free.clear();
    for _ in 0..70 {
        wait(&mut it, 5);
    }
    assert_eq!(it.ec2.live().count(), 150);
}

#[test]
fn a_gang_takes_what_it_needs_and_has_the_others_later() {
    let mut it = array(10, json!({"minAvailable": 4}));
    it.ec2.free_anywhere = Some(6);
    it.settle();
    assert!(it.status().formed);
    assert_eq!(it.ec2.live().count(), 6);
    it.ec2.free_anywhere = None;
    wait(&mut it, 16);
    assert_eq!(it.ec2.live().count(), 10);
}

#[test]
fn suspending_holds_launches_and_resuming_goes_on() {
    let mut it = sweep(rows(5), json!({"parallelism": 2}));
    up(&mut it);
    edit_sweep(&mut it, |sweep, _| sweep.spec.suspend = true);
    exits(&mut it, 0, 0);
    assert_eq!(it.ec2.live().count(), 1);
    assert_eq!(it.status().state, Some(GroupState::Suspended));
    assert_eq!(
        says(&it.status(), conditions::READY),
        ("True".into(), "Suspended".into())
    );
    edit_sweep(&mut it, |sweep, _| sweep.spec.suspend = false);
    wait(&mut it, 1);
    assert_eq!(it.ec2.live().count(), 2);
}

#[test]
fn a_call_that_was_decided_is_not_made_while_suspended() {
    let mut it = sweep(rows(2), json!({}));
    it.ec2.next = NextCall::Refused(Class::Throttle, "RequestLimitExceeded");
    launch(&mut it);
    assert_eq!(it.ec2.calls, 1);
    edit_sweep(&mut it, |sweep, _| sweep.spec.suspend = true);
    wait(&mut it, 60);
    wait(&mut it, 600);
    assert_eq!((it.ec2.calls, it.status().launched), (1, 0));
    edit_sweep(&mut it, |sweep, _| sweep.spec.suspend = false);
    wait(&mut it, 1);
    assert_eq!(it.ec2.live().count(), 2);
    assert!(it.status().attempts.is_empty(), "it was never launched");
}

#[test]
fn a_cancelled_sweep_ends_what_runs_and_keeps_results_of_all_that_was_launched() {
    let mut it = sweep(rows(5), json!({"parallelism": 3}));
    up(&mut it);
    exits(&mut it, 0, 0);
    edit_sweep(&mut it, |sweep, _| sweep.spec.cancel = true);
    for _ in 0..4 {
        wait(&mut it, 20);
    }
    let status = it.status();
    assert_eq!(it.ec2.live().count(), 0);
    assert_eq!(status.state, Some(GroupState::Cancelled));
    assert_eq!(status.succeeded_indexes.to_string(), "0");
    assert_eq!(status.reasons.keys().collect::<Vec<_>>(), ["Cancelled"]);
    let told = it.results.values().map(|row| row.reason.as_str());
    let launched = status.next as usize;
    let expected = ["Succeeded"].into_iter().chain(["Cancelled"; 4]);
    assert_eq!(
        told.collect::<Vec<_>>(),
        expected.take(launched).collect::<Vec<_>>()
    );
    assert!(it.results[&1].instance_id.is_some());
}

#[test]
fn cancelling_between_a_call_and_its_members_makes_no_members() {
    let mut it = sweep(rows(3), json!({}));
    it.ec2.next = NextCall::ReplyLost;
    launch(&mut it);
    edit_sweep(&mut it, |sweep, _| sweep.spec.cancel = true);
    for _ in 0..45 {
        wait(&mut it, 10);
    }
    assert_eq!((it.members.len(), it.ec2.live().count()), (0, 0));
    assert_eq!(it.status().state, Some(GroupState::Cancelled));
}

#[test]
fn the_deadline_of_a_sweep_ends_it_from_its_first_launch_on() {
    let mut it = sweep(rows(2), json!({"deadline": "10m"}));
    it.now += SignedDuration::from_mins(30);
    up(&mut it);
    let latest = it.now + SignedDuration::from_mins(10);
    assert!(it.ec2.live().all(|i| i.identity.deadline <= Some(latest)));
    wait(&mut it, 500);
    assert_eq!(ended(&it), "");
    wait(&mut it, 100);
    assert_eq!(ended(&it), "DeadlineExceeded");
    wait(&mut it, 20);
    assert_eq!(it.ec2.live().count(), 0);
}

#[test]
fn the_launch_interval_lies_between_any_two_members() {
    let mut it = sweep(rows(4), json!({"launchInterval": "60s"}));
    for expected in 1..=4 {
        it.settle();
        wait(&mut it, 30);
        assert_eq!(it.ec2.live().count(), expected);
        wait(&mut it, 30);
    }
    assert_eq!(it.ec2.calls, 4);
}

#[test]
fn rows_may_be_added_and_launched_rows_may_not_change() {
    let mut it = sweep(rows(2), json!({}));
    up(&mut it);
    edit_sweep(&mut it, |_, rows| rows.0.push(row("c7i.large")));
    wait(&mut it, 1);
    assert_eq!(it.ec2.live().count(), 3);
    edit_sweep(&mut it, |_, rows| rows.0[0].ttl = None);
    wait(&mut it, 1);
    assert_eq!(
        says(&it.status(), conditions::STALLED),
        ("True".into(), "RowsChanged".into())
    );
    assert_eq!(it.ec2.live().count(), 3, "what runs goes on");
}

#[test]
fn launched_rows_may_not_be_taken_away_either() {
    let mut it = sweep(rows(3), json!({}));
    up(&mut it);
    exits(&mut it, 2, 0);
    edit_sweep(&mut it, |_, rows| rows.0.truncate(1));
    wait(&mut it, 5);
    let status = it.status();
    assert_eq!(
        says(&status, conditions::STALLED),
        ("True".into(), "RowsChanged".into())
    );
    assert_eq!((it.ec2.live().count(), status.succeeded), (2, 1));
    edit_sweep(&mut it, |_, table| table.0 = rows(3));
    wait(&mut it, 5);
    assert_eq!(says(&it.status(), conditions::STALLED).0, "False");
}

#[test]
fn failed_rows_alone_are_launched_once_more() {
    let mut it = sweep(rows(3), json!({}));
    up(&mut it);
    exits(&mut it, 0, 0);
    exits(&mut it, 1, 1);
    exits(&mut it, 2, 1);
    wait(&mut it, 30);
    assert_eq!(ended(&it), "MembersFailed");
    let finished = it.status().finished_at;
    assert!(finished.is_some());
    edit_sweep(&mut it, |sweep, _| sweep.spec.retry_failed = Some(1));
    wait(&mut it, 5);
    let status = it.status();
    assert_eq!(status.active_indexes.to_string(), "1-2");
    assert_eq!((status.ended, status.finished_at), (None, None));
    it.live_on(5);
    assert_eq!(ended(&it), "Completed");
    assert!(it.results.values().all(|row| row.succeeded));
}

#[test]
fn ended_members_are_kept_as_objects_up_to_the_limits() {
    let limits = json!({"successfulHistoryLimit": 1, "failedHistoryLimit": 0});
    let mut it = sweep(rows(5), limits);
    up(&mut it);
    exits(&mut it, 3, 1);
    exits(&mut it, 0, 0);
    exits(&mut it, 1, 0);
    wait(&mut it, 5);
    let left = it.members.keys().cloned().collect::<Vec<_>>();
    assert_eq!(left, ["many-1", "many-2", "many-4"]);
    assert_eq!(it.results.len(), 3);
}

#[test]
fn a_member_deleted_by_hand_is_handled_by_the_policy() {
    for (policy, failed) in [(json!({}), "1"), (replace_all(), "")] {
        let mut it = array(2, policy);
        up(&mut it);
        it.delete_member("many-1");
        for _ in 0..4 {
            wait(&mut it, 10);
        }
        let status = it.status();
        assert_eq!(status.reasons["UserRequested"], 1);
        assert_eq!(status.failed_indexes.to_string(), failed);
        assert_eq!(it.ec2.had.contains(&(1, 2)), failed.is_empty());
    }
}

#[test]
fn a_member_of_an_older_attempt_is_gone_before_its_index_is_launched_again() {
    let policy = json!({"failurePolicy": {"rules":
        [{"onReasons": ["BootTimeout"], "action": "Replace"}]}});
    let mut it = array(1, policy);
    up(&mut it);
    wait(&mut it, 700);
    assert_eq!(it.status().retried, 1);
    for _ in 0..6 {
        wait(&mut it, 10);
    }
    assert!(it.ec2.had.contains(&(0, 2)));
    assert_eq!(it.ec2.live().count(), 1);
}

#[test]
fn conditions_are_as_kstatus_reads_them() {
    let mut it = array(2, json!({}));
    launch(&mut it);
    assert_eq!(says(&it.status(), conditions::RECONCILING).0, "True");
    up(&mut it);
    assert_eq!(says(&it.status(), conditions::RECONCILING).0, "True");
    let now = it.now;
    for index in 0..2 {
        let id = id(&it, index);
        it.ec2.reports(&id, now);
    }
    wait(&mut it, 5);
    let all = |status: &GroupStatus| {
        [
            conditions::READY,
            conditions::RECONCILING,
            conditions::STALLED,
        ]
        .map(|type_| says(status, type_).0)
    };
    assert_eq!(all(&it.status()), ["True", "False", "False"]);
    exits(&mut it, 0, 0);
    exits(&mut it, 1, 1);
    wait(&mut it, 30);
    assert_eq!(all(&it.status()), ["True", "False", "False"], "finished");
    assert_eq!(it.status().state, Some(GroupState::Failed));
    assert_eq!(says(&it.status(), conditions::SUCCEEDED).0, "False");
}

#[test]
fn a_gap_taken_away_and_wanted_again_gets_new_instances_after_the_old_are_gone() {
    let mut it = array(4, json!({}));
    up(&mut it);
    let resize = |it: &mut Universe, size: u32| {
        it.edit(|object| {
            if let Object::Array(array) = object {
                array.spec.replicas = size;
            }
        });
    };
    resize(&mut it, 2);
    launch(&mut it);
    resize(&mut it, 4);
    for _ in 0..6 {
        wait(&mut it, 10);
    }
    assert_eq!(it.ec2.live().count(), 4);
    assert!(it.ec2.had.contains(&(2, 2)) && it.ec2.had.contains(&(3, 2)));
    assert_eq!(it.status().failed, 0);
}

#[test]
fn a_refused_member_that_is_not_wanted_any_more_is_not_launched() {
    let mut it = array(4, json!({}));
    it.ec2.next = NextCall::Refused(Class::Throttle, "RequestLimitExceeded");
    launch(&mut it);
    it.edit(|object| {
        if let Object::Array(array) = object {
            array.spec.replicas = 2;
        }
    });
    it.ec2.next = NextCall::Refused(Class::Capacity, "InsufficientInstanceCapacity");
    for _ in 0..6 {
        wait(&mut it, 10);
    }
    assert_eq!(it.ec2.live().count(), 2);
    assert_eq!(it.ec2.had.len(), 2);
}

#[test]
fn a_full_region_does_not_hold_up_another() {
    let mut there = row("m7i.large");
    there.region = Some(OTHER_REGION.into());
    let mut all = rows(50);
    all.extend(vec![there; 10]);
    let mut it = sweep(all, json!({"parallelism": 10, "parallelismPerRegion": 5}));
    it.settle();
    assert_eq!(it.ec2.live().count(), 10);
    it.broken().expect("all promises hold");
}

#[test]
fn a_deletion_waits_for_a_launch_whose_reply_was_lost() {
    let mut it = array(3, json!({}));
    it.ec2.next = NextCall::ReplyLost;
    it.lag = SignedDuration::from_secs(60);
    launch(&mut it);
    it.crash();
    it.list(REGION);
    it.list(OTHER_REGION);
    it.delete();
    it.settle();
    assert!(!it.released, "what came is not listed yet");
    for _ in 0..60 {
        wait(&mut it, 10);
    }
    assert!(it.released);
    assert_eq!(it.ec2.live().count(), 0);
}

#[test]
fn nothing_is_terminated_twice_and_a_settled_plan_is_empty() {
    let mut it = array(3, json!({}));
    up(&mut it);
    it.live_on(10);
    assert_eq!(ended(&it), "Completed");
    let plan = it.plan();
    let acts = plan.actions.iter();
    let acts = acts.filter(|action| !matches!(action, GroupAction::Note(_)));
    assert_eq!(acts.count(), 0);
    assert_eq!(plan.wake, None);
    assert_eq!(plan.status, it.status());
    assert!(
        it.ec2
            .machines
            .iter()
            .all(|m| m.now.state == InstanceState::Terminated)
    );
}
