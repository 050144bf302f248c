//! Whole lives of arrays and sweeps under faults: whatever happens in whatever order, every promise
//! holds at every step; and once the faults end all settles, without a trace after deletion.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};
use spore_controller::cloud::{Class, InstanceState};

use crate::{
    group_cloud::NextCall,
    group_world::{OTHER_REGION, Object, Stop, Table, Universe},
    world::REGION,
};

#[derive(Clone, Debug)]
enum Step {
    /// A pass over the array or sweep, of so many rounds, from a fresh copy or the one it had.
    Group {
        rounds: u32,
        fresh: bool,
    },
    /// The same, and the process dies after so many effects.
    GroupDies {
        fuel: u32,
    },
    /// A pass over one member.
    Member {
        which: usize,
        rounds: u32,
    },
    /// The same, and the process dies after so many effects.
    MemberDies {
        which: usize,
        fuel: u32,
    },
    /// A pass over every member.
    Members,
    Deliver(usize),
    Prompt(bool),
    List(bool),
    Crash,
    Time(i64),
    Lag(i64),
    Ec2Goes,
    Next(NextCall),
    Free(Option<u32>),
    ZoneFree(u32),
    Reports(usize),
    Works {
        which: usize,
        exit_code: i32,
    },
    Dies {
        which: usize,
        code: &'static str,
    },
    DeleteMember(usize),
    Resize(u32),
    Spoil,
    Suspend(bool),
    Cancel,
    RetryFailed,
    Extend,
    Delete,
}

fn call() -> impl Strategy<Value = NextCall> {
    prop_oneof![
        3 => Just(NextCall::ReplyLost),
        2 => Just(NextCall::NeverArrives),
        2 => Just(NextCall::Refused(Class::Capacity, "InsufficientInstanceCapacity")),
        1 => Just(NextCall::Refused(Class::Throttle, "RequestLimitExceeded")),
        1 => Just(NextCall::Refused(Class::Quota, "VcpuLimitExceeded")),
        1 => Just(NextCall::Refused(Class::Denied, "UnauthorizedOperation")),
        1 => Just(NextCall::Refused(Class::Invalid, "InvalidParameterValue")),
        1 => Just(NextCall::Refused(Class::Invalid, "IdempotentParameterMismatch")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..5_u32, prop::bool::weighted(0.8)).prop_map(|(rounds, fresh)| Step::Group { rounds, fresh }),
        4 => (0..12_u32).prop_map(|fuel| Step::GroupDies { fuel }),
        4 => (0..12_usize, 1..4_u32).prop_map(|(which, rounds)| Step::Member { which, rounds }),
        2 => (0..12_usize, 0..4_u32).prop_map(|(which, fuel)| Step::MemberDies { which, fuel }),
        6 => Just(Step::Members),
        4 => (1..8_usize).prop_map(Step::Deliver),
        1 => any::<bool>().prop_map(Step::Prompt),
        6 => any::<bool>().prop_map(Step::List),
        2 => Just(Step::Crash),
        4 => (0..200_i64).prop_map(Step::Time),
        1 => (0..61_i64).prop_map(Step::Lag),
        4 => Just(Step::Ec2Goes),
        5 => call().prop_map(Step::Next),
        1 => prop::option::of(0..5_u32).prop_map(Step::Free),
        1 => (0..4_u32).prop_map(Step::ZoneFree),
        2 => (0..12_usize).prop_map(Step::Reports),
        4 => (0..12_usize, prop_oneof![Just(0), Just(1), Just(42)])
            .prop_map(|(which, exit_code)| Step::Works { which, exit_code }),
        2 => (0..12_usize, prop_oneof![
            Just("Server.SpotInstanceTermination"),
            Just("Client.UserInitiatedShutdown"),
            Just("Server.InternalError"),
        ]).prop_map(|(which, code)| Step::Dies { which, code }),
        2 => (0..12_usize).prop_map(Step::DeleteMember),
        2 => (0..10_u32).prop_map(Step::Resize),
        1 => Just(Step::Spoil),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => Just(Step::RetryFailed),
        1 => Just(Step::Extend),
    ]
}

fn policies() -> impl Strategy<Value = (Value, Value)> {
    let action =
        || prop_oneof![3 => Just("Replace"), 1 => Just("Continue"), 1 => Just("TerminateAll")];
    let rule = prop_oneof![
        action().prop_map(
            |action| json!({"onReasons": ["SpotInterruption", "HostFailure"], "action": action})
        ),
        action().prop_map(|action| json!({"onExitCodes": [42], "action": action})),
        action().prop_map(
            |action| json!({"onReasons": ["UserRequested", "EndedOutside"], "action": action})
        ),
        action().prop_map(|action| json!({"onReasons": ["BootTimeout"], "action": action})),
        action().prop_map(|action| json!({"action": action})),
    ];
    let failure = (
        prop::collection::vec(rule, 0..3),
        prop::option::weighted(0.2, 1..5_u32),
        prop::option::weighted(0.4, 0..3_u32),
        prop::option::weighted(0.3, 0..6_u32),
    )
        .prop_map(|(rules, quorum, each, all)| {
            let mut policy = json!({ "rules": rules });
            let limits = [
                ("quorum", quorum),
                ("backoffLimitPerIndex", each),
                ("backoffLimit", all),
            ];
            for (key, value) in limits {
                if let Some(value) = value {
                    policy[key] = json!(value);
                }
            }
            policy
        });
    let success = prop_oneof![
        3 => Just(Value::Null),
        1 => (1..4_u32).prop_map(|count| json!({"succeededCount": count})),
        1 => Just(json!({"succeededIndexes": "0,2"})),
    ];
    (failure, success)
}

fn template(region: Option<&str>, type_: &str) -> Value {
    let mut spec = json!({"instanceType": type_, "ttl": "1h", "command": ["work"]});
    if let Some(region) = region {
        spec["region"] = json!(region);
    }
    spec
}

fn array() -> impl Strategy<Value = Object> {
    (
        1..10_u32,
        policies(),
        prop::option::weighted(0.4, 1..10_u32),
    )
        .prop_map(|(replicas, (failure, success), gang)| {
            let mut spec = json!({
                "replicas": replicas,
                "template": template(None, "m7i.large"),
                "failurePolicy": failure,
            });
            if !success.is_null() {
                spec["successPolicy"] = success;
            }
            if let Some(gang) = gang {
                spec["minAvailable"] = json!(gang.min(replicas));
            }
            let array = json!({"apiVersion": "spore.host/v1alpha1", "kind": "SporeArray",
                "metadata": {}, "spec": spec});
            Object::Array(serde_json::from_value(array).expect("an array"))
        })
}

fn sweep() -> impl Strategy<Value = Object> {
    (
        1..10_u32,
        policies(),
        1..6_u32,
        prop::option::weighted(0.4, 1..4_u32),
        prop::option::weighted(0.3, 1..90_u32),
        prop::option::weighted(0.2, 10..120_u32),
        0..3_u32,
    )
        .prop_map(
            |(size, (failure, success), parallelism, in_region, interval, deadline, history)| {
                let mut spec = json!({
                    "parallelism": parallelism,
                    "failurePolicy": failure,
                    "successfulHistoryLimit": history,
                    "failedHistoryLimit": history,
                });
                if !success.is_null() {
                    spec["successPolicy"] = success;
                }
                if let Some(most) = in_region {
                    spec["parallelismPerRegion"] = json!(most);
                }
                if let Some(seconds) = interval {
                    spec["launchInterval"] = json!(format!("{seconds}s"));
                }
                if let Some(minutes) = deadline {
                    spec["deadline"] = json!(format!("{minutes}m"));
                }
                let sweep = json!({"apiVersion": "spore.host/v1alpha1", "kind": "SporeSweep",
                    "metadata": {}, "spec": spec});
                let sweep = serde_json::from_value(sweep).expect("a sweep");
                Object::Sweep(sweep, Table((0..size).map(row).collect()))
            },
        )
}

fn row(index: u32) -> spore_crds::SporeInstanceSpec {
    let spec = match index % 4 {
        0 | 1 => template(None, "m7i.large"),
        2 => template(Some(OTHER_REGION), "m7i.large"),
        _ => template(None, "c7i.large"),
    };
    serde_json::from_value(spec).expect("a spec")
}

/// The rows that the sweep began with, as many as it has now.
fn restore(table: &mut Table) {
    for (index, spec) in table.0.iter_mut().enumerate() {
        *spec = row(u32::try_from(index).expect("few"));
    }
}

fn change(it: &mut Universe, step: &Step) {
    let (now, launched) = (it.now, it.status().next > 0);
    it.edit(|object| match (object, step) {
        (Object::Array(array), Step::Resize(size)) => {
            array.spec.replicas = (*size).max(array.spec.min_available.unwrap_or(0));
        }
        (Object::Sweep(_, rows), Step::Resize(size)) => {
            let have = u32::try_from(rows.0.len()).expect("few");
            // Appended, or as seldom as not, cut off.
            if *size > have {
                rows.0.extend((have..*size).map(row));
            } else if *size == 3 {
                rows.0.truncate(3);
            }
        }
        (Object::Sweep(_, rows), Step::Spoil) if launched => {
            if let Some(first) = rows.0.first_mut() {
                first.instance_type = "r7i.large".into();
            }
        }
        (Object::Sweep(sweep, _), Step::Suspend(suspend)) => sweep.spec.suspend = *suspend,
        (Object::Sweep(sweep, _), Step::Cancel) => sweep.spec.cancel = true,
        (Object::Sweep(sweep, _), Step::RetryFailed) => {
            sweep.spec.retry_failed = Some(sweep.spec.retry_failed.unwrap_or(0) + 1);
        }
        (Object::Sweep(sweep, _), Step::Extend) => {
            sweep.spec.extend_to = Some(now + SignedDuration::from_mins(90));
        }
        (Object::Array(array), Step::Extend) => {
            array.spec.extend_to = Some(now + SignedDuration::from_mins(90));
        }
        _ => {}
    });
}

fn name(it: &Universe, which: usize) -> Option<String> {
    let count = it.members.len();
    (count > 0).then(|| it.members.keys().nth(which % count).cloned())?
}

fn machine(it: &Universe, which: usize) -> Option<String> {
    let running = it.ec2.machines.iter().map(|machine| &machine.now);
    let running = running.filter(|i| i.state == InstanceState::Running);
    let running = running.map(|i| i.id.clone()).collect::<Vec<_>>();
    (!running.is_empty()).then(|| running[which % running.len()].clone())
}

fn group_pass(it: &mut Universe, rounds: u32, fresh: bool) -> Result<(), Stop> {
    if fresh {
        it.copy = it.group.clone();
    }
    for _ in 0..rounds {
        match it.group_round() {
            Ok(true) => {}
            Ok(false) => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}

fn take(it: &mut Universe, step: Step) {
    let now = it.now;
    match step {
        Step::Group { rounds, fresh } => {
            let _ = group_pass(it, rounds, fresh);
        }
        Step::GroupDies { fuel } => {
            it.fuel = Some(fuel);
            let _ = group_pass(it, 4, true);
            it.crash();
        }
        Step::Member { which, rounds } => {
            if let Some(name) = name(it, which) {
                let _ = it.member_pass(&name, rounds);
            }
        }
        Step::MemberDies { which, fuel } => {
            it.fuel = Some(fuel);
            if let Some(name) = name(it, which) {
                let _ = it.member_pass(&name, 4);
            }
            it.crash();
        }
        Step::Members => {
            for name in it.watched.keys().cloned().collect::<Vec<_>>() {
                let _ = it.member_pass(&name, 12);
            }
        }
        Step::Deliver(most) => {
            it.deliver(most);
        }
        Step::Prompt(prompt) => it.prompt = prompt,
        Step::List(home) => {
            it.list(if home { REGION } else { OTHER_REGION });
        }
        Step::Crash => it.crash(),
        Step::Time(seconds) => it.now += SignedDuration::from_secs(seconds),
        Step::Lag(seconds) => it.lag = SignedDuration::from_secs(seconds),
        Step::Ec2Goes => it.ec2.tick(now),
        Step::Next(next) => it.ec2.next = next,
        Step::Free(free) => it.ec2.free_anywhere = free,
        Step::ZoneFree(free) => {
            it.ec2.free.insert(format!("{REGION}a"), free);
        }
        Step::Reports(which) => {
            if let Some(id) = machine(it, which) {
                it.ec2.reports(&id, now);
            }
        }
        Step::Works { which, exit_code } => {
            if let Some(id) = machine(it, which) {
                it.ec2.works(&id, now, exit_code);
            }
        }
        Step::Dies { which, code } => {
            if let Some(id) = machine(it, which) {
                it.ec2.dies(&id, now, code);
            }
        }
        Step::DeleteMember(which) => {
            if let Some(name) = name(it, which) {
                it.delete_member(&name);
            }
        }
        Step::Delete => it.delete(),
        Step::Resize(_)
        | Step::Spoil
        | Step::Suspend(_)
        | Step::Cancel
        | Step::RetryFailed
        | Step::Extend => change(it, &step),
    }
}

/// Whether it is over as declared: ended with nothing live, or standing still because it is told to.
fn is_over(it: &mut Universe) -> Result<(), String> {
    let status = it.status();
    let (size, suspended, gang) = it
        .group
        .object
        .look(|group| (group.size, group.suspend, group.min_available));
    let live = it.ec2.live().count();
    if live > 0 {
        return Err(format!("{live} instances live: {status:?}"));
    }
    if !status.batches.is_empty() || status.active > 0 {
        return Err(format!("something is still open: {status:?}"));
    }
    if status.ended.is_none() && !suspended && size > 0 {
        return Err(format!("it has not ended: {status:?}"));
    }
    if status.ended.is_some() && status.finished_at.is_none() {
        return Err(format!("it has ended and is not finished: {status:?}"));
    }
    if gang.is_some() && status.releasing {
        return Err(format!("still releasing: {status:?}"));
    }
    Ok(())
}

fn whole_life(object: Object, steps: Vec<Step>, fate: Option<Step>) -> Result<(), TestCaseError> {
    let mut it = Universe::new(object);
    it.list(REGION);
    it.list(OTHER_REGION);
    let middle = steps.len() / 2;
    for (at, step) in steps.into_iter().enumerate() {
        if let Some(fate) = fate.clone().filter(|_| at == middle) {
            take(&mut it, fate);
        }
        let told = format!("{step:?}");
        take(&mut it, step);
        it.broken()
            .map_err(|what| TestCaseError::fail(format!("after {told}: {what}")))?;
    }
    it.faults_end();
    // A sweep whose launched rows were changed or cut off goes on once they are back.
    let launched = it.status().next;
    it.edit(|object| {
        if let Object::Sweep(_, rows) = object {
            restore(rows);
            let have = u32::try_from(rows.0.len()).expect("few");
            rows.0.extend((have..launched).map(row));
        }
    });
    it.live_on(240);
    it.broken().map_err(TestCaseError::fail)?;
    if !it.released {
        is_over(&mut it).map_err(TestCaseError::fail)?;
        let writes = it.writes;
        it.now += SignedDuration::from_mins(10);
        it.list(REGION);
        it.list(OTHER_REGION);
        it.settle();
        it.broken().map_err(TestCaseError::fail)?;
        prop_assert_eq!(it.writes, writes, "still writing after the faults ended");
        it.delete();
        it.live_on(30);
        it.broken().map_err(TestCaseError::fail)?;
    }
    prop_assert!(it.released, "it was never let go of: {:#?}", it.plan());
    prop_assert!(
        it.members.is_empty(),
        "members are left: {:#?}",
        it.members.keys()
    );
    prop_assert_eq!(it.ec2.live().count(), 0, "something was left over");
    Ok(())
}

fn fate() -> impl Strategy<Value = Option<Step>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(Step::Cancel)), 1 => Just(Some(Step::Delete))]
}

/// How many lives are lived in a usual run; `PROPTEST_CASES` says otherwise.
fn lives() -> ProptestConfig {
    let told = std::env::var("PROPTEST_CASES").ok();
    let cases = told.and_then(|cases| cases.parse().ok()).unwrap_or(1_000);
    ProptestConfig {
        cases,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(lives())]

    #[test]
    fn an_array_keeps_every_promise_whatever_happens(
        object in array(), steps in prop::collection::vec(step(), 0..80), fate in fate()
    ) {
        whole_life(object, steps, fate)?;
    }

    #[test]
    fn a_sweep_keeps_every_promise_whatever_happens(
        object in sweep(), steps in prop::collection::vec(step(), 0..80), fate in fate()
    ) {
        whole_life(object, steps, fate)?;
    }
}
