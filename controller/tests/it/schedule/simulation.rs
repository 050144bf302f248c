//! Random lives of schedules: crashes at any point, old copies, slow ends.

use std::collections::BTreeSet;

use jiff::{Span, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use spore_controller::plan::schedule::{Action, Child, View, plan};
use spore_crds::{ConcurrencyPolicy, SporeSchedule};

use super::{at, child, schedule};

/// What happens in a minute.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Nothing,
    /// The process ends after so many of the writes of its next pass.
    Crash(usize),
    /// The oldest active execution ends.
    End(bool),
    /// What is being deleted is gone.
    Gone,
    /// Suspended or resumed.
    Switch,
}

struct World {
    stored: SporeSchedule,
    children: Vec<Child>,
    /// The time of every execution that was ever created.
    created: Vec<Timestamp>,
    policy: ConcurrencyPolicy,
}

impl World {
    /// A pass of the controller that may end before it is through.
    fn pass(&mut self, now: Timestamp, mut writes: usize) {
        for round in 0.. {
            assert!(round < 6, "it does not settle");
            let view = View {
                children: &self.children,
                refused: None,
            };
            let plan = plan(&self.stored, &view, now);
            if self.stored.status.as_ref() != Some(&plan.status) {
                if writes == 0 {
                    return;
                }
                writes -= 1;
                self.stored.status = Some(plan.status);
            }
            let mut again = false;
            for action in plan.actions {
                if matches!(action, Action::Note(_)) {
                    continue;
                }
                if writes == 0 {
                    return;
                }
                writes -= 1;
                again |= self.act(action);
            }
            if !again {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Create { name, object, .. } => {
                if self.children.iter().any(|child| child.name == name) {
                    return true;
                }
                let active = self.children.iter().filter(|child| child.end.is_none());
                assert!(
                    self.policy == ConcurrencyPolicy::Allow || active.count() == 0,
                    "two at once"
                );
                let annotation = &object["metadata"]["annotations"]["spore.host/scheduled-at"];
                let time = at(annotation.as_str().unwrap());
                assert!(!self.created.contains(&time), "{time} is made twice");
                self.created.push(time);
                self.children.push(child(time, None));
                true
            }
            Action::Delete { uid, .. } => {
                for child in &mut self.children {
                    if child.uid == uid {
                        let active = child.end.is_none();
                        assert!(
                            !active || self.policy == ConcurrencyPolicy::Replace,
                            "an active one"
                        );
                        child.deleting = true;
                    }
                }
                false
            }
            Action::Note(_) => false,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::End(succeeded) => {
                let oldest = self.children.iter_mut().find(|child| child.end.is_none());
                if let Some(oldest) = oldest {
                    *oldest = Child {
                        deleting: oldest.deleting,
                        ..child(oldest.scheduled, Some(succeeded))
                    };
                }
            }
            Happening::Gone => self.children.retain(|child| !child.deleting),
            Happening::Switch => {
                self.stored.spec.suspend = !self.stored.spec.suspend;
                self.stored.metadata.generation = self.stored.metadata.generation.map(|g| g + 1);
            }
            Happening::Nothing | Happening::Crash(_) => {}
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Nothing),
        2 => (0..5_usize).prop_map(Happening::Crash),
        2 => any::<bool>().prop_map(Happening::End),
        2 => Just(Happening::Gone),
        1 => Just(Happening::Switch),
    ]
}

fn policy() -> impl Strategy<Value = ConcurrencyPolicy> {
    prop_oneof![
        Just(ConcurrencyPolicy::Allow),
        Just(ConcurrencyPolicy::Forbid),
        Just(ConcurrencyPolicy::Replace),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_happens_each_time_is_executed_once_at_most(
        policy in policy(),
        step in 1..7_u32,
        most in proptest::option::of(1..6_u32),
        deadline in proptest::option::of(1..9_u32),
        kept in (0..4_u32, 0..3_u32),
        happenings in proptest::collection::vec(happening(), 1..90),
    ) {
        let spec = json!({
            "schedule": format!("*/{step} * * * *"),
            "concurrencyPolicy": policy,
            "maxExecutions": most,
            "startingDeadline": deadline.map(|minutes| format!("{minutes}m")),
            "successfulHistoryLimit": kept.0,
            "failedHistoryLimit": kept.1,
        });
        let mut world = World {
            stored: schedule(spec),
            children: Vec::new(),
            created: Vec::new(),
            policy,
        };
        let mut now = at("10:00:30");
        for happening in happenings {
            now += Span::new().minutes(1);
            world.happen(happening);
            match happening {
                Happening::Crash(writes) => world.pass(now, writes),
                Happening::Nothing | Happening::End(_) | Happening::Gone | Happening::Switch => {
                    world.pass(now, usize::MAX);
                }
            }
        }
        // Faults stop: it settles, and then nothing is written any more.
        world.stored.spec.suspend = true;
        for _ in 0..3 {
            world.happen(Happening::Gone);
            world.pass(now, usize::MAX);
        }
        let view = View { children: &world.children, refused: None };
        let settled = plan(&world.stored, &view, now);
        prop_assert_eq!(Some(&settled.status), world.stored.status.as_ref());
        prop_assert_eq!(&settled.actions, &[]);

        let executions = usize::try_from(settled.status.executions).unwrap();
        prop_assert_eq!(executions, world.created.len());
        if let Some(most) = most {
            prop_assert!(executions <= usize::try_from(most).unwrap());
        }
        prop_assert!(world.created.is_sorted());
        for time in &world.created {
            prop_assert_eq!(time.as_second().div_euclid(60) % 60 % i64::from(step), 0);
        }
        let ended = |succeeded| world.children.iter()
            .filter(|child| child.end.as_ref().is_some_and(|end| end.succeeded == succeeded)).count();
        prop_assert!(ended(true) <= usize::try_from(kept.0).unwrap());
        prop_assert!(ended(false) <= usize::try_from(kept.1).unwrap());
    }

    #[test]
    fn undisturbed_every_time_is_executed(step in 1..30_u32, minutes in 1..90_i64) {
        let mut world = World {
            stored: schedule(json!({"schedule": format!("*/{step} * * * *")})),
            children: Vec::new(),
            created: Vec::new(),
            policy: ConcurrencyPolicy::Allow,
        };
        let begin = at("10:00:00");
        let mut expected = BTreeSet::new();
        for minute in 1..=minutes {
            let now = begin + Span::new().minutes(minute);
            if minute % 60 % i64::from(step) == 0 {
                expected.insert(now);
            }
            world.pass(now, usize::MAX);
        }
        prop_assert_eq!(world.created, expected.into_iter().collect::<Vec<_>>());
    }
}
