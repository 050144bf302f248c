//! What a `SporeInstance` needs now.
//!
//! ```text
//!            decide            call               seen                 end due
//!  no launch ──────► open ───────────► expected ─────────► live ──────────────► ending ─► finished
//!      ▲              │  definite error    │                 │  ended by itself            ▲
//!      └──────────────┘                    └─ proven absent ─┴─────────────────────────────┘
//! ```
//!
//! A launch is *decided* in one pass, stored by the caller, and *called* in a later one: what is in
//! the status is all that a successor needs to go on after a crash.

mod before;
mod deletion;
mod live;
mod money;
mod open;

use jiff::Timestamp;
use spore_core::{duration::Duration, lifecycle::EndReason};
use spore_crds::{Ended, Launch, SporeInstance, SporeInstanceStatus};

pub use self::deletion::ABANDON;
use super::{
    Action, Note, Plan, View, launch,
    stage::{self, Stage},
};
use crate::{
    cloud::{Class, Instance, InstanceState},
    settings::Settings,
};

/// How old an instance must be before it can count as a stray: younger ones may belong to a launch
/// that this view has not caught up with.
const STRAY_AGE: Duration = Duration::from_secs(60);

/// Decides what a spore needs at `now`. The status in the result is to be stored before its actions
/// are carried out.
#[must_use]
pub fn plan(spore: &SporeInstance, view: &View<'_>, settings: &Settings, now: Timestamp) -> Plan {
    let mut planner = Planner {
        spore,
        view,
        settings,
        now,
        status: spore.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        wake: None,
        trouble: None,
        seen: None,
    };
    planner.status.observed_generation = spore.metadata.generation;
    let (stage, hold) = if spore.metadata.deletion_timestamp.is_some() {
        planner.delete()
    } else {
        (planner.advance(), true)
    };
    let generation = spore.metadata.generation;
    let trouble = planner.trouble.take();
    if let Some(stage) = stage {
        stage::tell(
            &mut planner.status,
            &stage,
            trouble.as_deref(),
            generation,
            now,
        );
    }
    planner.tell_money();
    Plan {
        status: planner.status,
        hold,
        actions: planner.actions,
        wake: planner.wake,
    }
}

struct Planner<'a> {
    spore: &'a SporeInstance,
    view: &'a View<'a>,
    settings: &'a Settings,
    now: Timestamp,
    status: SporeInstanceStatus,
    actions: Vec<Action>,
    wake: Option<Timestamp>,
    /// What keeps an action from being carried out.
    trouble: Option<String>,
    /// When the instance that EC2 shows was started last, and when its agent says that it ended.
    seen: Option<money::Run>,
}

/// What is known of the launch in the status.
enum Located {
    Seen(Box<Instance>),
    Expected(String),
    Gone(String),
    Open,
}

impl Planner<'_> {
    /// The way of a spore that is wanted. `None` leaves state and conditions as they are.
    fn advance(&mut self) -> Option<Stage> {
        if self.finished() {
            let ended = self.status.ended.clone()?;
            return Some(Stage::Finished(ended));
        }
        let Some(launch) = self.status.launch.clone() else {
            return self.before_launch();
        };
        self.keep_deadline(&launch);
        let located = self.locate(&launch);
        self.terminate_strays(match &located {
            Located::Seen(instance) => Some(instance.id.as_str()),
            Located::Expected(id) | Located::Gone(id) => Some(id.as_str()),
            Located::Open => None,
        });
        Some(match located {
            Located::Seen(instance) => self.with_instance(&instance),
            Located::Expected(id) => self.expected(id),
            Located::Gone(id) => self.gone(&id),
            Located::Open => self.open(&launch),
        })
    }

    /// Whether the end is recorded and the instance was seen gone, so that nothing can change any more.
    fn finished(&self) -> bool {
        self.status.ended.is_some()
            && self.status.instance.as_ref().is_some_and(|instance| {
                instance.state.as_deref() == Some(InstanceState::Terminated.as_str())
            })
            && !self
                .view
                .instances
                .iter()
                .any(|instance| instance.state.is_live())
    }

    fn locate(&self, launch: &Launch) -> Located {
        let known = launch.instance_id.as_deref();
        let seen = self.view.instances.iter().find(|instance| {
            known == Some(instance.id.as_str())
                || instance.client_token.as_deref() == Some(launch.token.as_str())
        });
        match (seen, known) {
            (Some(instance), _) => Located::Seen(Box::new(instance.clone())),
            (None, Some(id)) if self.proven_absent(launch) => Located::Gone(id.to_owned()),
            (None, Some(id)) => Located::Expected(id.to_owned()),
            (None, None) => Located::Open,
        }
    }

    fn proven_absent(&self, launch: &Launch) -> bool {
        let called = self
            .view
            .launch
            .as_ref()
            .and_then(|record| record.called_at);
        let asked = called.map_or(launch.decided_at, |at| at.max(launch.decided_at));
        self.view
            .region
            .proves_absence(asked, self.settings.absence)
    }

    /// Terminates instances of this spore beside the one it has.
    fn terminate_strays(&mut self, keep: Option<&str>) {
        let strays = self
            .view
            .instances
            .iter()
            .filter(|instance| instance.state.is_live() && Some(instance.id.as_str()) != keep)
            .filter(|instance| {
                instance
                    .launched_at
                    .is_some_and(|at| STRAY_AGE.after(at) <= self.now)
            })
            .filter(|instance| keep.is_some() && !instance.keep)
            .map(|instance| instance.id.clone())
            .collect::<Vec<_>>();
        for id in strays {
            let message = format!("{id} is a second instance of this spore");
            self.note(true, "StrayTerminated", "Terminate", message);
            self.terminate(&id);
        }
    }

    /// Fixes the deadline: the launch's, or a later one that was asked for; never earlier than before.
    fn keep_deadline(&mut self, launch: &Launch) {
        let asked = self.spore.spec.extend_to;
        let latest = [Some(launch.deadline), asked, self.status.deadline]
            .into_iter()
            .flatten()
            .max();
        if self.status.deadline.is_some() && self.status.deadline < latest {
            let message = format!(
                "the deadline moves to {}",
                latest.unwrap_or(launch.deadline)
            );
            self.note(false, "Extended", "Extend", message);
        }
        self.status.deadline = latest;
    }

    fn end(&mut self, reason: EndReason, message: String) {
        if self.status.ended.is_some() {
            return;
        }
        self.note(false, reason.as_str(), "End", message.clone());
        let at = launch::whole_second(self.now);
        self.status.ended = Some(Ended {
            reason: reason.to_string(),
            at,
            message,
        });
    }

    fn finish(&mut self) -> Stage {
        // Idleness and addresses belong to a live instance.
        self.status.idle_since = None;
        match &self.status.ended {
            Some(ended) => Stage::Finished(ended.clone()),
            None => Stage::Terminating,
        }
    }

    fn terminate(&mut self, instance_id: &str) {
        if !self.blocked() {
            let region = self.region();
            let instance_id = instance_id.to_owned();
            self.actions.push(Action::Terminate {
                region,
                instance_id,
            });
        }
    }

    fn stop(&mut self, instance_id: &str) {
        if !self.blocked() {
            let region = self.region();
            let instance_id = instance_id.to_owned();
            self.actions.push(Action::Stop {
                region,
                instance_id,
            });
        }
    }

    /// Whether the last call failed and is not to be tried again yet; says so and sets the alarm.
    fn blocked(&mut self) -> bool {
        let Some(problem) = &self.view.problem else {
            return false;
        };
        let (error, retry_at) = (problem.error.clone(), problem.retry_at);
        // Right after a launch EC2 may not know the instance everywhere; that is no trouble yet.
        if error.class != Class::NotFound {
            self.trouble = Some(format!("{error}; {}", error.class.advice()));
        }
        if retry_at <= self.now {
            return false;
        }
        self.wake_at(retry_at);
        true
    }

    fn region(&self) -> String {
        match &self.status.launch {
            Some(launch) => launch.plan.region.clone(),
            None => launch::region(&self.spore.spec, self.settings).to_owned(),
        }
    }

    /// The inventory wakes us on changes; this is for the case that nothing ever shows up.
    fn look_again(&mut self) {
        self.wake_at(Duration::from_secs(5).after(self.now));
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn note(&mut self, warning: bool, reason: &'static str, action: &'static str, message: String) {
        // The usual course of a thousand members is told by their array or sweep.
        if self.spore.spec.member.is_some() && !warning {
            return;
        }
        self.actions.push(Action::Note(Note {
            warning,
            reason,
            action,
            message,
        }));
    }
}
