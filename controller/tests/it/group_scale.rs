//! Ten thousand members and a hundred thousand rows: how large the status gets, and how long a look
//! takes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use serde_json::json;
use spore_controller::{
    facts::{Fact, Facts},
    plan::{
        RegionView,
        group::{
            self, Group, GroupPlan, GroupView,
            source::{self, MemberSpec, Source},
        },
    },
};
use spore_core::indexes::IndexSet;
use spore_crds::{
    Attempt, GroupStatus, Member, Row, SporeArray, SporeInstance, SporeInstanceSpec, SporeSweep,
    State,
};

use crate::world::{REGION, answer_of, settings, start};

/// The size below which every status stays.
const LIMIT: usize = 256 * 1_024;

fn spec() -> SporeInstanceSpec {
    serde_json::from_value(json!({"instanceType": "m7i.large", "ttl": "1h", "command": ["work"]}))
        .expect("a spec")
}

/// Text that does not compress: from a linear congruential generator.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let letter = u8::try_from(state >> 58).expect("six bits");
        char::from(b'0' + letter)
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn child(index: u32, attempt: u32, state: State, exit_code: i32) -> SporeInstance {
    let mut spec = spec();
    spec.member = Some(Member { index, attempt });
    let mut child = SporeInstance::new(&format!("many-{index}"), spec);
    child.metadata.uid = Some(format!("uid-{index}"));
    let phase = if exit_code == 0 {
        "Succeeded"
    } else {
        "Failed"
    };
    let workload = if state == State::Running {
        json!({"phase": "Running"})
    } else {
        json!({"phase": phase, "exitCode": exit_code})
    };
    child.status = Some(
        serde_json::from_value(json!({
            "state": state,
            "workload": workload,
            "launch": {
                "attempt": attempt, "token": "t", "decidedAt": start(), "deadline": start(),
                "plan": {"region": REGION, "instanceType": "m7i.large", "imageId": "ami-1",
                    "rootDevice": "/dev/xvda", "market": "OnDemand", "tags": {},
                    "userDataSha256": ""},
            },
        }))
        .expect("a status"),
    );
    child
}

fn facts() -> Facts {
    let mut facts = Facts::default();
    let region = || REGION.to_owned();
    for fact in [
        Fact::AgentProfile,
        Fact::Type {
            region: region(),
            name: "m7i.large".into(),
        },
        Fact::Parameter {
            region: region(),
            path: "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64".into(),
        },
        Fact::Image {
            region: region(),
            id: "ami-00000000000000001".into(),
        },
    ] {
        let told = answer_of(&fact, start());
        facts.put(fact, told, start());
    }
    facts
}

fn look(group: &Group<'_>, children: &[SporeInstance]) -> GroupPlan {
    let launches = HashMap::new();
    let facts = facts();
    let region = RegionView {
        lists: vec![start()],
        first_list: Some(start()),
        error: None,
    };
    let view = GroupView {
        unreadable: Vec::new(),
        taken: Vec::new(),
        children: children.iter().collect(),
        instances: Vec::new(),
        regions: BTreeMap::from([(REGION.to_owned(), region)]),
        launches: &launches,
        problem: None,
        facts: &facts,
    };
    group::plan(group, &view, &settings(), start())
}

/// The shortest of some looks: others may use the machine at the same time.
fn time(look: impl Fn() -> GroupPlan) -> Duration {
    let once = || {
        let begun = Instant::now();
        let plan = look();
        assert!(plan.hold);
        begun.elapsed()
    };
    (0..5).map(|_| once()).min().expect("some")
}

fn bytes(status: &GroupStatus) -> usize {
    serde_json::to_string(status).expect("a status").len()
}

fn every(third: u32, of: u32, end: u32) -> IndexSet {
    (0..end).filter(|index| index % of == third).collect()
}

/// An array of 10,000 of which 8,000 were launched, neighbours never alike: failed, succeeded, to be
/// launched again and running, at their first to third attempt; and the largest user data that there
/// can be.
fn adversarial() -> (SporeArray, Vec<SporeInstance>) {
    let mut template = serde_json::to_value(spec()).expect("a spec");
    template["env"] = json!({"NOISE": noise(17_000)});
    let array = json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeArray",
        "metadata": {"name": "many", "namespace": "default", "uid": "u", "generation": 1},
        "spec": {
            "replicas": 10_000,
            "template": template,
            "failurePolicy": {"rules": [{"onExitCodes": [42], "action": "Replace"}]},
        },
    });
    let mut array = serde_json::from_value::<SporeArray>(array).expect("an array");
    let launched = 8_000;
    array.status = Some(GroupStatus {
        observed_generation: Some(1),
        next: launched,
        batches_decided: 80,
        attempts: [2, 3]
            .map(|attempt| Attempt {
                attempt,
                indexes: every(attempt - 1, 3, launched),
            })
            .to_vec(),
        ..GroupStatus::default()
    });
    let children = (0..launched).map(|index| {
        let (state, code) = [
            (State::Failed, 1),
            (State::Succeeded, 0),
            (State::Failed, 42),
            (State::Running, 0),
        ][index as usize % 4];
        child(index, index % 3 + 1, state, code)
    });
    (array, children.collect())
}

#[test]
fn the_status_of_ten_thousand_members_stays_below_its_limit_whatever_their_neighbours_do() {
    let (mut array, children) = adversarial();
    for _ in 0..3 {
        let plan = look(&source::of_array(&array), &children);
        let status = plan.status;
        assert!(!status.batches.is_empty(), "{:?}", status.conditions);
        assert!(bytes(&status) < LIMIT, "{} bytes", bytes(&status));
        array.status = Some(status);
    }
    let status = array.status.expect("it was looked at");
    assert_eq!((status.failed, status.succeeded), (2_000, 2_000));
    assert_eq!(status.retried, 2_000);
    let open = status
        .batches
        .iter()
        .map(|batch| batch.plan.user_data.as_ref());
    let open = open.map(|data| data.map_or(0, String::len)).sum::<usize>();
    assert!(
        open > 40_000,
        "{open} bytes of user data: the test tests nothing"
    );
}

#[test]
fn a_look_at_ten_thousand_members_is_quick() {
    let (mut array, children) = adversarial();
    let first = time(|| look(&source::of_array(&array), &children));
    array.status = Some(look(&source::of_array(&array), &children).status);
    let again = time(|| look(&source::of_array(&array), &children));
    println!("10,000 members: {first:?}, then {again:?}");
    // Some tens of times what it takes, even unoptimised: only what grows with the square fails.
    assert!(
        first.max(again) < Duration::from_secs(3),
        "{first:?} {again:?}"
    );
}

/// Rows that are all the same.
struct Rows(SporeInstanceSpec);

impl Source for Rows {
    fn member(&self, _index: u32) -> Result<MemberSpec<'_>, String> {
        Ok(MemberSpec {
            spec: Cow::Borrowed(&self.0),
            parameters: Row::from([("p".to_owned(), json!(1))]),
            name: None,
        })
    }

    fn digest(&self, count: u32) -> Option<String> {
        Some(count.to_string())
    }

    fn types(&self) -> Vec<(Option<String>, String)> {
        vec![(None, self.0.instance_type.clone())]
    }
}

fn long_sweep(retry: u32) -> (SporeSweep, Vec<SporeInstance>) {
    let sweep = json!({
        "apiVersion": "spore.host/v1alpha1", "kind": "SporeSweep",
        "metadata": {"name": "many", "namespace": "default", "uid": "u", "generation": 1},
        "spec": {"parallelism": 1_500, "retryFailed": retry},
    });
    let mut sweep = serde_json::from_value::<SporeSweep>(sweep).expect("a sweep");
    let (done, launched) = (90_000, 90_500);
    sweep.status = Some(GroupStatus {
        observed_generation: Some(1),
        replicas: 100_000,
        next: launched,
        rows_digest: Some(launched.to_string()),
        batches_decided: 905,
        succeeded_indexes: every(0, 2, done),
        failed_indexes: every(1, 2, done),
        ..GroupStatus::default()
    });
    let children = (done..launched).map(|index| child(index, 1, State::Running, 0));
    (sweep, children.collect())
}

#[test]
fn a_look_at_a_hundred_thousand_rows_is_quick_and_no_status_nears_what_etcd_holds() {
    for retry in [0, 1] {
        let (mut sweep, children) = long_sweep(retry);
        let rows = Rows(spec());
        let first = time(|| look(&source::of_sweep(&sweep, &rows, 100_000), &children));
        let plan = look(&source::of_sweep(&sweep, &rows, 100_000), &children);
        let open = plan.status.batches.len();
        assert!((10..=12).contains(&open), "a thousand more are launched");
        assert!(bytes(&plan.status) < 900_000, "{}", bytes(&plan.status));
        sweep.status = Some(plan.status);
        let again = time(|| look(&source::of_sweep(&sweep, &rows, 100_000), &children));
        println!("100,000 rows: {first:?}, then {again:?}");
        assert!(
            first.max(again) < Duration::from_secs(6),
            "{first:?} {again:?}"
        );
    }
}
