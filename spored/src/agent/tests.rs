//! Lives of an instance, told as events and times.

mod member;

use proptest::prelude::*;
use spore_core::{
    agent_config::{Idle, OnComplete, VERSION},
    tags,
};

use super::*;
use crate::procfs::Counters;

const DEADLINE: i64 = 10_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn config() -> AgentConfig {
    AgentConfig {
        version: VERSION,
        owner: "default/train".into(),
        deadline: at(DEADLINE),
        power_off_grace: Duration::from_secs(300),
        idle: Some(Idle {
            timeout: Duration::from_secs(600),
            action: Action::Stop,
        }),
        on_complete: OnComplete {
            action: Action::Terminate,
            delay: Duration::from_secs(30),
        },
        command: vec!["work".into()],
        env: [].into(),
        members: None,
    }
}

fn idle(since: i64) -> Event {
    Event::Idle(Some(Idleness {
        since: at(since),
        counters: Counters::default(),
    }))
}

fn ended(second: i64, code: i32) -> Event {
    let message = (code != 0).then(|| format!("exit status {code}"));
    Event::WorkloadEnded(Exit {
        at: at(second),
        code: Some(code),
        message,
    })
}

fn said(second: i64, succeeded: Option<bool>) -> Event {
    Event::Completed(Completion {
        at: at(second),
        succeeded,
        message: Some("42 epochs".into()),
    })
}

fn notice(second: i64) -> Event {
    Event::Spot(Notice {
        action: "terminate".into(),
        time: at(second),
    })
}

/// An agent whose effects are kept.
struct Life {
    agent: Agent,
    effects: Vec<(i64, Effect)>,
}

impl Life {
    fn of(config: &AgentConfig) -> Self {
        Self::remembering(config, Memory::default(), Found::Nothing, 0)
    }

    fn remembering(config: &AgentConfig, memory: Memory, found: Found, now: i64) -> Self {
        let agent = Agent::new(config, memory, found, at(now));
        Self {
            agent,
            effects: Vec::new(),
        }
        .step(now)
    }

    /// A life in which the timer is armed and the workload runs since second 1.
    fn running(config: &AgentConfig) -> Self {
        Self::of(config)
            .hear(1, Event::Armed(at(DEADLINE)))
            .hear(1, Event::WorkloadStarted(at(1)))
    }

    fn step(mut self, now: i64) -> Self {
        let effects = self.agent.step(at(now));
        self.effects
            .extend(effects.into_iter().map(|effect| (now, effect)));
        self
    }

    fn hear(mut self, now: i64, event: Event) -> Self {
        self.agent.perceive(event);
        self.step(now)
    }

    /// Steps every second.
    fn until(mut self, from: i64, to: i64) -> Self {
        for now in from..=to {
            self = self.step(now);
        }
        self
    }

    fn acts(&self) -> Vec<(i64, Action)> {
        let mut acts = Vec::new();
        for (now, effect) in &self.effects {
            if let Effect::Act(action) = effect {
                acts.push((*now, *action));
            }
        }
        acts
    }

    fn reports(&self) -> Vec<(i64, Report)> {
        let mut reports = Vec::new();
        for (now, effect) in &self.effects {
            if let Effect::Report(report) = effect {
                reports.push((*now, report.as_ref().clone()));
            }
        }
        reports
    }

    fn last_report(&self) -> Report {
        self.reports().pop().expect("something was reported").1
    }

    fn memory(&self) -> Memory {
        self.agent.memory.clone()
    }

    fn when(&self, wanted: impl Fn(&Effect) -> bool) -> Vec<i64> {
        self.effects
            .iter()
            .filter(|(_, effect)| wanted(effect))
            .map(|(now, _)| *now)
            .collect()
    }
}

#[test]
fn a_whole_life_takes_three_reports() {
    let life = Life::running(&config())
        .hear(100, ended(100, 0))
        .until(101, 200);
    let told: Vec<_> = life
        .reports()
        .into_iter()
        .map(|(now, r)| (now, r.phase, r.end_reason))
        .collect();
    assert_eq!(
        told,
        [
            (1, Some(WorkloadPhase::Running), None),
            (100, Some(WorkloadPhase::Succeeded), None),
            (
                130,
                Some(WorkloadPhase::Succeeded),
                Some(EndReason::Completed)
            ),
        ]
    );
    assert_eq!(life.acts(), [(130, Action::Terminate)]);
    assert_eq!(life.last_report().armed_deadline, Some(at(DEADLINE)));
}

#[test]
fn the_workload_is_started_once_and_again_only_if_it_did_not_begin() {
    let start = |effect: &Effect| *effect == Effect::StartWorkload;
    let life = Life::running(&config()).until(2, 100);
    assert_eq!(life.when(start), [0]);
    let life = Life::of(&config()).until(1, 65);
    assert_eq!(life.when(start), [0, 30, 60]);
    let life = Life::remembering(&config(), Memory::default(), Found::Running(at(5)), 50);
    assert!(life.when(start).is_empty());
}

#[test]
fn nothing_is_started_when_the_deadline_is_over() {
    let life = Life::remembering(&config(), Memory::default(), Found::Nothing, DEADLINE + 1);
    assert!(
        life.when(|effect| *effect == Effect::StartWorkload)
            .is_empty()
    );
    assert_eq!(life.acts(), [(DEADLINE + 1, Action::Terminate)]);
}

#[test]
fn the_deadline_stops_the_workload_then_tells_then_ends() {
    let life = Life::running(&config())
        .step(DEADLINE)
        .hear(DEADLINE + 3, ended(DEADLINE + 3, 143));
    assert_eq!(
        life.when(|effect| matches!(effect, Effect::StopWorkload { force: true })),
        [DEADLINE]
    );
    let (now, report) = life.reports().pop().unwrap();
    assert_eq!(now, DEADLINE + 3, "one report for both");
    assert_eq!(
        (report.exit_code, report.end_reason),
        (Some(143), Some(EndReason::TTLExpired))
    );
    assert_eq!(report.ended_at, Some(at(DEADLINE)));
    assert_eq!(life.acts(), [(DEADLINE + 3, Action::Terminate)]);
    let last = &life.effects[life.effects.len() - 1].1;
    assert_eq!(
        *last,
        Effect::Act(Action::Terminate),
        "remembered and told before"
    );
}

#[test]
fn a_workload_that_does_not_stop_holds_nothing_up() {
    let life = Life::running(&config()).until(DEADLINE, DEADLINE + 20);
    assert_eq!(life.acts(), [(DEADLINE + 12, Action::Terminate)]);
    assert_eq!(life.last_report().end_reason, Some(EndReason::TTLExpired));
}

#[test]
fn an_extension_moves_the_end_the_timer_and_the_warning() {
    let life = Life::running(&config())
        .step(DEADLINE - 300)
        .hear(DEADLINE - 200, Event::Deadline(at(DEADLINE + 5_000)))
        .hear(DEADLINE - 199, Event::Armed(at(DEADLINE + 5_000)))
        .until(DEADLINE, DEADLINE + 100);
    assert_eq!(
        life.when(|effect| matches!(effect, Effect::Warn(_))),
        [DEADLINE - 300]
    );
    assert_eq!(
        life.when(|effect| *effect == Effect::Unwarn),
        [DEADLINE - 200]
    );
    assert_eq!(
        life.when(|effect| *effect == Effect::ArmPowerOff(at(DEADLINE + 5_000))),
        [DEADLINE - 200]
    );
    assert!(life.acts().is_empty());
    assert_eq!(
        life.last_report().armed_deadline,
        Some(at(DEADLINE + 5_000))
    );
}

#[test]
fn an_earlier_deadline_in_the_tags_is_not_heeded() {
    let life = Life::running(&config())
        .hear(50, Event::Deadline(at(60)))
        .until(51, 100);
    assert!(life.acts().is_empty());
}

#[test]
fn an_extension_survives_a_restart_of_the_agent_without_metadata() {
    let memory = Life::running(&config())
        .hear(50, Event::Deadline(at(DEADLINE + 5_000)))
        .memory();
    let life = Life::remembering(&config(), memory, Found::Running(at(1)), DEADLINE + 1);
    assert!(life.acts().is_empty());
}

#[test]
fn a_restarted_agent_repeats_no_report() {
    let life = Life::running(&config());
    let report = life.last_report();
    let memory = life.hear(2, Event::Reported(report)).memory();
    let life = Life::remembering(&config(), memory, Found::Running(at(1)), 50)
        .hear(51, Event::Armed(at(DEADLINE)))
        .until(52, 100);
    assert_eq!(life.reports(), []);
}

#[test]
fn a_restarted_agent_goes_on_with_the_end() {
    let memory = Life::running(&config()).step(DEADLINE).memory();
    let life = Life::remembering(&config(), memory, Found::Running(at(1)), DEADLINE + 5)
        .until(DEADLINE + 6, DEADLINE + 20);
    assert_eq!(life.acts(), [(DEADLINE + 12, Action::Terminate)]);
}

#[test]
fn what_the_workload_says_counts_more_than_its_exit_code() {
    for (succeeded, code, phase) in [
        (Some(false), 0, WorkloadPhase::Failed),
        (Some(true), 3, WorkloadPhase::Succeeded),
        (None, 3, WorkloadPhase::Failed),
        (None, 0, WorkloadPhase::Succeeded),
    ] {
        let report = Life::running(&config())
            .hear(50, said(50, succeeded))
            .hear(60, ended(60, code))
            .last_report();
        assert_eq!(report.phase, Some(phase), "{succeeded:?} {code}");
        assert_eq!(report.message.as_deref(), Some("42 epochs"));
        assert_eq!(report.exit_code, Some(code));
    }
}

#[test]
fn completion_is_dated_from_the_first_sign_of_it() {
    let life = Life::running(&config())
        .hear(50, said(50, None))
        .hear(70, ended(70, 0))
        .until(71, 100);
    assert_eq!(life.acts(), [(80, Action::Terminate)]);
}

#[test]
fn a_workload_that_the_deadline_cuts_short_is_interrupted_and_not_failed() {
    let life = Life::of(&config())
        .hear(1, Event::Armed(at(DEADLINE)))
        .hear(2, Event::WorkloadStarted(at(2)))
        .until(3, DEADLINE)
        .hear(DEADLINE + 1, ended(DEADLINE + 1, 143))
        .until(DEADLINE + 2, DEADLINE + 20);
    assert_eq!(life.last_report().phase, Some(WorkloadPhase::Interrupted));
    assert_eq!(life.last_report().end_reason, Some(EndReason::TTLExpired));
}

#[test]
fn an_interruption_is_remembered_when_a_stopped_machine_is_started_again() {
    let life = Life::running(&config())
        .hear(1_000, idle(900))
        .step(1_500)
        .hear(1_501, ended(1_501, 143));
    let memory = Memory {
        ended: None,
        reported: None,
        spent: true,
        ..life.memory()
    };
    let found = life.agent.workload.clone();
    let life = Life::remembering(&config(), memory, found, 5_000).hear(5_001, Event::ArmingFailed);
    assert_eq!(life.last_report().phase, Some(WorkloadPhase::Interrupted));
}

#[test]
fn a_workload_that_was_done_before_the_end_is_not_interrupted() {
    let life = Life::running(&config())
        .step(DEADLINE)
        .hear(DEADLINE + 1, ended(DEADLINE - 1, 0));
    assert_eq!(life.last_report().phase, Some(WorkloadPhase::Succeeded));
}

#[test]
fn a_spore_without_command_waits_for_the_completion_file() {
    let config = AgentConfig {
        command: Vec::new(),
        ..config()
    };
    let life = Life::of(&config).hear(1, Event::Armed(at(DEADLINE)));
    assert_eq!(life.last_report().phase, Some(WorkloadPhase::None));
    let life = life.hear(500, said(500, Some(false))).until(501, 540);
    assert_eq!(life.last_report().phase, Some(WorkloadPhase::Failed));
    assert_eq!(life.acts(), [(530, Action::Terminate)]);
}

#[test]
fn a_spot_notice_lets_the_workload_go_and_leaves_the_end_to_ec2() {
    let life = Life::running(&config())
        .hear(100, notice(220))
        .hear(105, ended(105, 143))
        .until(106, 400);
    assert_eq!(
        life.when(|effect| *effect == Effect::StopWorkload { force: false }),
        [100]
    );
    assert_eq!(
        life.when(|effect| matches!(effect, Effect::MarkInterruption(_))),
        [100]
    );
    assert_eq!(life.acts(), []);
    let reasons: Vec<_> = life
        .reports()
        .into_iter()
        .map(|(now, r)| (now, r.end_reason))
        .collect();
    let spot = Some(EndReason::SpotInterruption);
    assert_eq!(reasons, [(1, None), (100, spot), (105, spot)]);
}

#[test]
fn a_spot_instance_that_is_not_taken_back_still_ends_at_its_deadline() {
    let life = Life::running(&config())
        .hear(100, notice(220))
        .hear(105, ended(105, 0))
        .until(106, DEADLINE + 5);
    assert_eq!(life.acts(), [(DEADLINE, Action::Terminate)]);
    assert_eq!(
        life.last_report().end_reason,
        Some(EndReason::SpotInterruption)
    );
}

#[test]
fn idleness_stops_and_a_stop_that_does_not_happen_becomes_a_termination_at_the_deadline() {
    let life = Life::running(&config())
        .hear(1_000, idle(900))
        .until(1_001, 1_600)
        .until(DEADLINE - 1, DEADLINE + 20);
    assert_eq!(
        life.acts(),
        [(1_512, Action::Stop), (DEADLINE, Action::Terminate)]
    );
    assert_eq!(life.last_report().end_reason, Some(EndReason::Idle));
}

#[test]
fn each_end_is_warned_of_once_and_idleness_that_ends_takes_it_back() {
    let life = Life::running(&config())
        .hear(1_000, idle(900))
        .until(1_001, 1_300)
        .hear(1_301, Event::Idle(None))
        .until(1_302, 1_400)
        .hear(1_500, idle(1_500))
        .until(1_501, 1_900);
    assert_eq!(
        life.when(|effect| matches!(effect, Effect::Warn(_))),
        [1_200, 1_800]
    );
    assert_eq!(life.when(|effect| *effect == Effect::Unwarn), [1_301]);
}

#[test]
fn an_instance_that_is_idle_now_and_then_writes_few_tags() {
    let mut life = Life::running(&config());
    for minute in 1..=140 {
        let now = minute * 60;
        let event = if minute % 2 == 0 {
            Event::Idle(None)
        } else {
            idle(now)
        };
        life = life.hear(now, event);
    }
    let reports = life.reports().len();
    assert!(
        (3..=9).contains(&reports),
        "{reports} reports in 140 changes"
    );
}

#[test]
fn a_machine_that_was_stopped_after_completion_stays_up_when_started_again() {
    let config = AgentConfig {
        on_complete: OnComplete {
            action: Action::Stop,
            ..config().on_complete
        },
        ..config()
    };
    let done = Exit {
        at: at(100),
        code: Some(0),
        message: None,
    };
    let memory = Memory {
        spent: true,
        ..Memory::default()
    };
    let found = Found::Ended {
        began: Some(at(1)),
        exit: done,
    };
    let life = Life::remembering(&config, memory, found, 5_000).until(5_001, DEADLINE);
    assert_eq!(life.acts(), [(DEADLINE, Action::Terminate)]);
}

#[test]
fn an_agent_without_configuration_enforces_the_deadline_and_says_what_is_wrong() {
    let mut agent = Agent::without_config(at(500), "cannot read it".into(), at(0));
    let mut effects = Vec::new();
    agent.perceive(idle(0));
    for now in 0..=500 {
        effects.extend(agent.step(at(now)));
    }
    assert!(effects.contains(&Effect::Act(Action::Terminate)));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::ArmPowerOff(_)))
    );
    let Some(Effect::Report(report)) = effects
        .iter()
        .find(|effect| matches!(effect, Effect::Report(_)))
    else {
        panic!("it must tell")
    };
    assert_eq!(report.message.as_deref(), Some("cannot read it"));
    assert_eq!(report.phase, None);
}

#[test]
fn a_timer_that_cannot_be_armed_is_tried_again_and_not_reported_as_armed() {
    let life = Life::of(&config())
        .hear(1, Event::ArmingFailed)
        .hear(1, Event::WorkloadStarted(at(1)))
        .until(2, 65);
    let tries = life.when(|effect| matches!(effect, Effect::ArmPowerOff(_)));
    assert_eq!(tries, [0, 30, 60]);
    assert_eq!(life.last_report().armed_deadline, None);
}

#[test]
fn the_last_report_stays_within_ec2s_limit_of_a_value() {
    let long = Completion {
        at: at(5),
        succeeded: None,
        message: Some("x".repeat(2_000)),
    };
    let report = Life::running(&config())
        .hear(5, Event::Completed(long))
        .last_report();
    assert!(
        report
            .to_tags()
            .values()
            .all(|value| value.chars().count() <= tags::MAX_VALUE)
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let time = 0..12_000_i64;
    prop_oneof![
        time.clone().prop_map(|t| Event::Deadline(at(t))),
        time.clone().prop_map(|t| Event::Armed(at(t))),
        Just(Event::ArmingFailed),
        time.clone().prop_map(idle),
        Just(Event::Idle(None)),
        (time.clone(), proptest::option::of(any::<bool>())).prop_map(|(t, ok)| said(t, ok)),
        time.clone().prop_map(|t| Event::WorkloadStarted(at(t))),
        (time.clone(), 0..3_i32).prop_map(|(t, code)| ended(t, code)),
        time.prop_map(notice),
    ]
}

proptest! {
    /// Whatever happens, and however often the agent restarts: by the last deadline it heard of plus the
    /// workload's patience EC2 is asked to terminate, and nothing is asked twice by one agent.
    #[test]
    fn no_life_outlasts_its_deadline(
        events in proptest::collection::vec((1..600_i64, any_event(), any::<bool>()), 0..30),
    ) {
        let mut life = Life::of(&config());
        let mut now = 0;
        for (wait, event, restart) in events {
            now += wait;
            life = life.hear(now, event);
            if restart {
                let (memory, found) = (life.memory(), life.agent.workload.clone());
                life = Life::remembering(&config(), memory, found, now);
            }
        }
        let deadline = life.agent.deadline().unwrap().as_second();
        let end = deadline.max(now) + 13;
        let life = life.until(end - 13, end);
        let acts = life.acts();
        prop_assert!(acts.last().is_some_and(|(_, action)| *action == Action::Terminate), "{acts:?}");
        prop_assert!(acts.windows(2).all(|pair| pair[0].1 != pair[1].1), "{acts:?}");
    }
}
