//! The agent's mind: events and the time go in, effects come out. No task, no file, no network.

mod arming;
mod memory;
mod telling;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use spore_core::{
    agent_config::AgentConfig,
    duration::Duration,
    lifecycle::{Action, CompletionPolicy, End, EndReason, Policy, Signals, Verdict, decide},
    tags::{Report, WorkloadPhase},
};

pub(crate) use self::memory::{Ended, Memory};
use self::{arming::Arming, telling::Telling};
use crate::{
    sensors::{completion::Completion, idle::Idleness, spot::Notice},
    workload::{Exit, Found},
};

/// How long a stopping workload is waited for before the instance ends; a little more than the workload
/// is given.
const STOP_PATIENCE: Duration = Duration::from_secs(12);
/// How long the first report waits for what it is to contain.
const FIRST_REPORT_PATIENCE: Duration = Duration::from_secs(30);
/// When arming the power-off timer, or starting the workload, is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Something was perceived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The instance's tags hold this deadline.
    Deadline(Timestamp),
    /// The power-off timer is set for this deadline.
    Armed(Timestamp),
    /// The power-off timer could not be set.
    ArmingFailed,
    /// The instance does nothing since then, or does something.
    Idle(Option<Idleness>),
    /// The completion file appeared.
    Completed(Completion),
    /// The workload finds all that it must find: what it is in its array or sweep.
    Prepared,
    /// It never will, and why.
    Unpreparable(String),
    /// The workload was begun.
    WorkloadStarted(Timestamp),
    /// The workload is over.
    WorkloadEnded(Exit),
    /// EC2 is about to take the instance back.
    Spot(Notice),
    /// The tags were written.
    Reported(Report),
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Set the power-off timer for this deadline.
    ArmPowerOff(Timestamp),
    /// Start the workload.
    StartWorkload,
    /// End the workload: by force if asking does not help, or by asking alone.
    StopWorkload {
        /// Whether by force.
        force: bool,
    },
    /// Tell whoever works on the instance that this end is near or here.
    Warn(End),
    /// What was warned of does not come.
    Unwarn,
    /// Leave the mark of a spot interruption.
    MarkInterruption(Notice),
    /// Write the tags.
    Report(Box<Report>),
    /// Remember this.
    Save(Box<Memory>),
    /// End the instance.
    Act(Action),
}

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing ends it yet.
    Live,
    /// EC2 takes it back; only the deadline can end it earlier.
    LettingGo,
    /// It ends.
    Ending {
        /// What EC2 was asked for.
        asked: Option<Action>,
    },
}

/// The agent's mind.
#[derive(Debug)]
pub(crate) struct Agent {
    /// `None` if the configuration cannot be read; then only a deadline from the tags is enforced.
    policy: Option<Policy>,
    has_command: bool,
    /// Whether the workload would find all that it must find.
    prepared: bool,
    began: Timestamp,
    memory: Memory,
    saved: Memory,
    workload: Found,
    asked_to_start: Option<Timestamp>,
    notice: Option<Notice>,
    stage: Stage,
    arming: Arming,
    warned: Option<(EndReason, Timestamp)>,
    telling: Telling,
    trouble: Option<String>,
}

impl Agent {
    /// An agent with its configuration, what it remembers, and what became of the workload.
    pub(crate) fn new(
        config: &AgentConfig,
        memory: Memory,
        workload: Found,
        now: Timestamp,
    ) -> Self {
        let mut agent = Self::bare(memory, now);
        agent.policy = Some(config.policy());
        agent.has_command = !config.command.is_empty();
        agent.prepared = config.members.is_none();
        agent.workload = workload;
        agent.hear_deadline(config.deadline);
        agent
    }

    /// An agent that knows nothing but the deadline in the tags, and tells why.
    pub(crate) fn without_config(deadline: Timestamp, trouble: String, now: Timestamp) -> Self {
        let mut agent = Self::bare(Memory::default(), now);
        agent.trouble = Some(trouble);
        agent.arming.settle(None);
        agent.hear_deadline(deadline);
        agent
    }

    fn bare(memory: Memory, now: Timestamp) -> Self {
        let stage = match memory.ended {
            None => Stage::Live,
            Some(Ended {
                reason: EndReason::SpotInterruption,
                ..
            }) => Stage::LettingGo,
            Some(_) => Stage::Ending { asked: None },
        };
        Self {
            policy: None,
            has_command: false,
            prepared: true,
            began: now,
            saved: memory.clone(),
            workload: Found::Nothing,
            asked_to_start: None,
            notice: None,
            stage,
            arming: Arming::default(),
            warned: None,
            telling: Telling::new(memory.reported.clone()),
            trouble: None,
            memory,
        }
    }

    /// Takes in what was perceived.
    pub(crate) fn perceive(&mut self, event: Event) {
        match event {
            Event::Deadline(deadline) => self.hear_deadline(deadline),
            Event::Armed(deadline) => self.arming.settle(Some(deadline)),
            Event::ArmingFailed => self.arming.settle(None),
            Event::Idle(idleness) => self.memory.idleness = idleness,
            Event::Completed(completion) => {
                self.memory.completion.get_or_insert(completion);
            }
            Event::Prepared => self.prepared = true,
            Event::Unpreparable(why) => self.trouble = Some(why),
            Event::WorkloadStarted(at) => self.workload = Found::Running(at),
            Event::WorkloadEnded(exit) => {
                // It may have been done by itself and only be heard of late.
                self.memory.interrupted &= self.memory.ended.is_none_or(|end| end.at <= exit.at);
                let began = self.began_workload();
                self.workload = Found::Ended { began, exit };
            }
            Event::Spot(notice) => self.notice = Some(notice),
            Event::Reported(report) => self.memory.reported = Some(report),
        }
    }

    /// Decides what is to be done now.
    pub(crate) fn step(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.stage {
            Stage::Live => self.live(now, &mut effects),
            Stage::LettingGo | Stage::Ending { .. } => self.hold_to_deadline(now, &mut effects),
        }
        self.arm(now, &mut effects);
        self.tell(now, &mut effects);
        if self.memory != self.saved {
            self.saved = self.memory.clone();
            effects.push(Effect::Save(Box::new(self.saved.clone())));
        }
        self.act(now, &mut effects);
        effects
    }

    /// The end that comes first if nothing changes, or that has begun.
    pub(crate) fn next_end(&self, now: Timestamp) -> Option<End> {
        if let Some(Ended { reason, at, action }) = self.memory.ended {
            return Some(End { reason, at, action });
        }
        match decide(now, &self.policy(), &self.signals()) {
            Verdict::End(end) => Some(end),
            Verdict::Continue { next, .. } => next,
        }
    }

    /// The deadline in force.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.memory.deadline
    }

    /// The idleness that holds.
    pub(crate) fn idleness(&self) -> Option<Idleness> {
        self.memory.idleness
    }

    /// What was reported last.
    pub(crate) fn told(&self) -> Option<&Report> {
        self.telling.last()
    }

    fn hear_deadline(&mut self, deadline: Timestamp) {
        // Never earlier: a stale tag must not cut a life short that was extended.
        self.memory.deadline = self.memory.deadline.max(Some(deadline));
    }

    fn live(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match decide(now, &self.policy(), &self.signals()) {
            Verdict::End(end) => self.begin_end(end, now, effects),
            Verdict::Continue { next, warn } => {
                self.warn(next.filter(|_| warn), effects);
                self.start_workload(now, effects);
            }
        }
    }

    /// Safe to ask for again: whoever starts the workload claims its only run first.
    fn start_workload(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let asked = self
            .asked_to_start
            .is_some_and(|at| now < TRY_AGAIN.after(at));
        if self.has_command && self.prepared && self.workload == Found::Nothing && !asked {
            self.asked_to_start = Some(now);
            effects.push(Effect::StartWorkload);
        }
    }

    fn begin_end(&mut self, end: End, now: Timestamp, effects: &mut Vec<Effect>) {
        let End { reason, action, .. } = end;
        self.memory.ended = Some(Ended {
            reason,
            at: now,
            action,
        });
        self.memory.interrupted |= self.workload_runs() && reason != EndReason::Completed;
        effects.push(Effect::Warn(end));
        let taken_back = self
            .notice
            .clone()
            .filter(|_| reason == EndReason::SpotInterruption);
        self.stage = match &taken_back {
            Some(_) => Stage::LettingGo,
            None => Stage::Ending { asked: None },
        };
        if self.workload_runs() {
            effects.push(Effect::StopWorkload {
                force: taken_back.is_none(),
            });
        }
        effects.extend(taken_back.map(Effect::MarkInterruption));
    }

    /// An end that is under way may still take longer than the deadline allows: a stop that EC2 refuses,
    /// a spot instance that is not taken back after all.
    fn hold_to_deadline(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let over = self.memory.deadline.is_some_and(|deadline| deadline <= now);
        let ending = matches!(self.stage, Stage::Ending { .. });
        let Some(ended) = self.memory.ended.as_mut().filter(|_| over) else {
            return;
        };
        if ending && ended.action == Action::Terminate {
            return;
        }
        ended.action = Action::Terminate;
        if !ending {
            self.stage = Stage::Ending { asked: None };
            if self.workload_runs() {
                effects.push(Effect::StopWorkload { force: true });
            }
        }
    }

    fn warn(&mut self, end: Option<End>, effects: &mut Vec<Effect>) {
        let key = end.map(|end| (end.reason, end.at));
        if key == self.warned {
            return;
        }
        self.warned = key;
        effects.push(end.map_or(Effect::Unwarn, Effect::Warn));
    }

    fn arm(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        // Without a configuration the grace is unknown and the timer stays as the boot script set it.
        if let Some(deadline) = self.memory.deadline.filter(|_| self.policy.is_some())
            && self.arming.is_due(deadline, now)
        {
            effects.push(Effect::ArmPowerOff(deadline));
        }
    }

    fn tell(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let report = self.report(now);
        if self.has_all_to_tell(now) && self.telling.is_due(&report, now) {
            effects.push(Effect::Report(Box::new(report)));
        }
    }

    /// Whether a report now would not be overtaken at once by what is about to be known.
    fn has_all_to_tell(&self, now: Timestamp) -> bool {
        match self.stage {
            Stage::Ending { .. } => self.may_act(now),
            Stage::LettingGo => true,
            Stage::Live => {
                let begun =
                    !self.has_command || self.workload != Found::Nothing || self.trouble.is_some();
                (begun && self.arming.is_settled())
                    || FIRST_REPORT_PATIENCE.after(self.began) <= now
            }
        }
    }

    fn act(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (Stage::Ending { asked }, Some(ended)) = (self.stage, self.memory.ended) else {
            return;
        };
        if asked != Some(ended.action) && self.may_act(now) {
            self.stage = Stage::Ending {
                asked: Some(ended.action),
            };
            effects.push(Effect::Act(ended.action));
        }
    }

    fn may_act(&self, now: Timestamp) -> bool {
        let waited = self
            .memory
            .ended
            .is_some_and(|ended| STOP_PATIENCE.after(ended.at) <= now);
        !self.workload_runs() || waited
    }

    fn workload_runs(&self) -> bool {
        matches!(self.workload, Found::Running(_))
    }

    fn began_workload(&self) -> Option<Timestamp> {
        match &self.workload {
            Found::Nothing => None,
            Found::Running(began) => Some(*began),
            Found::Ended { began, .. } => *began,
        }
    }

    fn exit(&self) -> Option<&Exit> {
        match &self.workload {
            Found::Ended { exit, .. } => Some(exit),
            Found::Nothing | Found::Running(_) => None,
        }
    }

    fn policy(&self) -> Policy {
        let on_complete = CompletionPolicy {
            action: Action::Terminate,
            delay: Duration::ZERO,
        };
        self.policy.unwrap_or(Policy {
            idle: None,
            on_complete,
        })
    }

    fn signals(&self) -> Signals {
        let said = self
            .memory
            .completion
            .as_ref()
            .map(|completion| completion.at);
        let exited = self.exit().map(|exit| exit.at);
        let completed = said.into_iter().chain(exited).min();
        Signals {
            spot_interruption: self.notice.as_ref().map(|notice| notice.time),
            completed_at: completed.filter(|_| !self.memory.spent),
            deadline: self.memory.deadline,
            cost_limit_reached_at: None,
            idle_since: self.memory.idleness.as_ref().map(|idleness| idleness.since),
        }
    }

    fn report(&self, now: Timestamp) -> Report {
        let (exit, said) = (self.exit(), self.memory.completion.as_ref());
        let message = said
            .and_then(|said| said.message.clone())
            .or_else(|| exit.and_then(|exit| exit.message.clone()))
            .or_else(|| self.trouble.clone());
        Report {
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            reported_at: Some(now),
            phase: self.phase(),
            started_at: self.began_workload(),
            finished_at: exit.map(|exit| exit.at).or(said.map(|said| said.at)),
            exit_code: exit.and_then(|exit| exit.code),
            message,
            idle_since: self.memory.idleness.as_ref().map(|idleness| idleness.since),
            end_reason: self.memory.ended.map(|ended| ended.reason),
            ended_at: self.memory.ended.map(|ended| ended.at),
            armed_deadline: self.arming.armed(),
        }
    }

    /// What the workload said of itself counts; then that it was not let finish; then its exit code;
    /// then that it is done at all.
    fn phase(&self) -> Option<WorkloadPhase> {
        let said = self.memory.completion.as_ref();
        if said.is_none() && self.memory.interrupted {
            return Some(WorkloadPhase::Interrupted);
        }
        let succeeded = said
            .and_then(|said| said.succeeded)
            .or_else(|| self.exit().map(|exit| exit.code == Some(0)))
            .or_else(|| said.map(|_| true));
        match succeeded {
            Some(true) => Some(WorkloadPhase::Succeeded),
            Some(false) => Some(WorkloadPhase::Failed),
            None if self.workload_runs() => Some(WorkloadPhase::Running),
            None if self.has_command || self.policy.is_none() => None,
            None => Some(WorkloadPhase::None),
        }
    }
}
