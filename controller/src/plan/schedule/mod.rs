//! Deciding what a schedule starts, and when.
//!
//! The semantics are those of a Kubernetes `CronJob`; where its documents leave something open, the
//! rule stands beside the code. An execution is written into the status before it is created, under
//! a name that follows from its time: whatever crashes in between, and whoever goes on, it is
//! created once.

mod child;
mod history;
mod tell;

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::Value;
use spore_core::calendar::{self, Calendar, Cron};
use spore_crds::{ConcurrencyPolicy, ScheduleStatus, SporeSchedule, SporeScheduleSpec, Starting};

use super::Note;
use tell::Standing;

pub use child::{Child, End, Kind, end, manifest, name};

/// As many missed times as are counted. `CronJob` gives up at as many; here only the counting ends.
const MOST_MISSED: usize = 100;
/// When a refused execution is tried again, if nobody corrects the template before.
const RETRY: Duration = Duration::from_secs(60);
/// A moment that had passed by no more than this when the schedule was created is meant: it was near
/// when it was written.
const PRESENT: Duration = Duration::from_secs(60);

/// What is known beside the schedule itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// Every execution that exists as an object, by a list that is no older than the schedule.
    pub children: &'a [Child],
    /// Why the API server has just refused to create the decided execution.
    pub refused: Option<&'a str>,
}

/// What is to be done about one schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The status to be stored, before anything in `actions` is done.
    pub status: ScheduleStatus,
    /// What to do, in order. Repeating any of it is harmless.
    pub actions: Vec<Action>,
    /// When to look again at the latest, if nothing changes before.
    pub wake: Option<Timestamp>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create an execution that is already stored. That it exists is success.
    Create {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// The object.
        object: Box<Value>,
    },
    /// Delete an execution, with all that belongs to it.
    Delete {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID, so that no other of the same name is deleted.
        uid: String,
    },
    /// Publish an Event.
    Note(Note),
}

impl Action {
    fn delete(child: &Child) -> Self {
        Self::Delete {
            kind: child.kind,
            name: child.name.clone(),
            uid: child.uid.clone(),
        }
    }
}

fn note(warning: bool, reason: &'static str, action: &'static str, message: String) -> Action {
    Action::Note(Note {
        warning,
        reason,
        action,
        message,
    })
}

/// Decides.
#[must_use]
pub fn plan(schedule: &SporeSchedule, view: &View<'_>, now: Timestamp) -> Plan {
    let status = schedule.status.clone().unwrap_or_default();
    if schedule.metadata.deletion_timestamp.is_some() {
        // What it created goes by its owner, or stays if that was asked for.
        return Plan {
            status,
            actions: Vec::new(),
            wake: None,
        };
    }
    let mut round = Round {
        schedule,
        spec: &schedule.spec,
        children: view.children,
        now,
        status,
        actions: Vec::new(),
        wake: None,
    };
    round.look_back(view.refused);
    let standing = match read(&schedule.spec) {
        Ok(calendar) => round.decide(&calendar),
        Err(wrong) => {
            round.drop_starting("the schedule cannot be read any more");
            round.status.next_schedule_time = None;
            wrong
        }
    };
    round
        .actions
        .extend(history::prune(round.spec, round.children));
    let generation = schedule.metadata.generation;
    let mut status = round.status;
    status.observed_generation = generation;
    tell::tell(&mut status, &standing, generation, now);
    Plan {
        status,
        actions: round.actions,
        wake: round.wake,
    }
}

/// Reads when a schedule is due.
fn read(spec: &SporeScheduleSpec) -> Result<Calendar, Standing> {
    let wrong = |reason, message: String| Standing::Wrong { reason, message };
    let zone = calendar::zone(&spec.time_zone)
        .map_err(|error| wrong("UnknownTimeZone", format!("timeZone: {error}")))?;
    match (&spec.schedule, &spec.at) {
        (Some(pattern), None) => {
            let cron = Cron::parse(pattern)
                .map_err(|error| wrong("InvalidSchedule", format!("schedule: {error}")))?;
            Ok(Calendar::Cron {
                cron: Box::new(cron),
                zone,
            })
        }
        (None, Some(at)) => calendar::moment(at, &zone)
            .map(Calendar::At)
            .map_err(|error| wrong("InvalidTime", format!("at: {error}"))),
        (Some(_), Some(_)) | (None, None) => Err(wrong(
            "InvalidSchedule",
            "write either schedule or at".into(),
        )),
    }
}

/// One round of planning.
struct Round<'a> {
    schedule: &'a SporeSchedule,
    spec: &'a SporeScheduleSpec,
    children: &'a [Child],
    now: Timestamp,
    status: ScheduleStatus,
    actions: Vec<Action>,
    wake: Option<Timestamp>,
}

impl Round<'_> {
    /// Takes in what has happened since.
    fn look_back(&mut self, refused: Option<&str>) {
        let news = history::record(&mut self.status, self.children, self.now);
        self.actions.extend(news);
        let Some(starting) = &mut self.status.starting else {
            return;
        };
        if let Some(child) = self
            .children
            .iter()
            .find(|child| child.name == starting.name)
        {
            self.status.executions = self.status.executions.saturating_add(1);
            self.actions.push(note(
                false,
                "Started",
                "Start",
                format!(
                    "created {} {} for {}",
                    child.kind.as_str(),
                    child.name,
                    starting.time
                ),
            ));
            self.status.starting = None;
            return;
        }
        if self.schedule.metadata.generation != self.status.observed_generation {
            // Whoever corrected it need not wait.
            starting.refused = None;
            starting.retry_at = None;
        }
        if let Some(why) = refused {
            if starting.refused.as_deref() != Some(why) {
                let message = format!("{} for {}: {why}", starting.name, starting.time);
                self.actions.push(note(true, "Refused", "Start", message));
            }
            starting.refused = Some(why.to_owned());
            starting.retry_at = self.now.checked_add(RETRY).ok();
        }
    }

    /// Decides on a schedule that can be read.
    fn decide(&mut self, calendar: &Calendar) -> Standing {
        let since = self.since(calendar);
        let exhausted = self
            .spec
            .max_executions
            .is_some_and(|most| self.status.executions >= most);
        let end = self.spec.end_after;
        let until = end.map_or(self.now, |end| end.min(self.now));
        let due = calendar
            .latest(until)
            .filter(|time| *time > since && !exhausted);
        let next = calendar
            .next(self.now)
            .filter(|next| end.is_none_or(|end| *next <= end) && !exhausted);
        let over = next.is_none() && due.is_none() && self.status.starting.is_none();
        self.status.next_schedule_time = next.filter(|_| !self.spec.suspend);
        if self.spec.suspend && !over {
            self.drop_starting("the schedule was suspended before it had started");
            return Standing::Suspended;
        }
        if let Some(next) = next {
            self.wake_at(next);
        }
        let waiting = due.and_then(|time| self.consider(calendar, since, time));
        if let Some(standing) = self.start() {
            return standing;
        }
        match (waiting, next) {
            (Some(waiting), _) => waiting,
            (None, Some(next)) => Standing::Scheduled(next),
            (None, None) => self.over(calendar, exhausted),
        }
    }

    /// The moment after which a time can be due: nothing before it was, or it is decided already.
    fn since(&self, calendar: &Calendar) -> Timestamp {
        let created = self.schedule.creation_timestamp().map(|time| time.0);
        let created = created.unwrap_or(self.now);
        let begin = match calendar {
            Calendar::Cron { .. } => created,
            Calendar::At(_) => created - PRESENT,
        };
        let recorded = self.status.history.iter().map(|entry| entry.time);
        let existing = self.children.iter().map(|child| child.scheduled);
        recorded
            .chain(existing)
            .chain(self.status.last_schedule_time)
            // What lies ahead, by whoever's hand, must not keep it from being due.
            .map(|time| time.min(self.now))
            .fold(begin, Timestamp::max)
    }

    /// Looks at a time that is due: decides on its execution, lets it wait, or gives it up.
    fn consider(
        &mut self,
        calendar: &Calendar,
        since: Timestamp,
        time: Timestamp,
    ) -> Option<Standing> {
        let active = self.active();
        let forbidden = self.spec.concurrency_policy == ConcurrencyPolicy::Forbid;
        if self.too_late(time) {
            let deadline = self.spec.starting_deadline.unwrap_or_default();
            let why = match (forbidden, active.is_empty()) {
                (true, false) => format!("{active} did not end within {deadline}"),
                _ => format!("it could not be started within {deadline}"),
            };
            self.actions
                .push(history::missed(&mut self.status, time, &why));
            return None;
        }
        if forbidden && !active.is_empty() {
            if let Some(latest) = self.latest_start(time) {
                self.wake_at(latest);
            }
            return Some(Standing::Waiting { time, active });
        }
        self.drop_starting("a later time came before it had started");
        let missed = calendar.count(since, time, MOST_MISSED + 1);
        if missed > 0 {
            self.actions.push(made_up_for(missed, time));
        }
        self.status.last_schedule_time = Some(time);
        self.status.starting = Some(Starting {
            time,
            name: name(&self.schedule.name_any(), time),
            refused: None,
            retry_at: None,
        });
        None
    }

    /// Goes on with the execution that is decided, if there is one.
    fn start(&mut self) -> Option<Standing> {
        let Starting {
            time,
            name,
            refused,
            retry_at,
        } = self.status.starting.clone()?;
        if let Some(why) = &refused
            && self.too_late(time)
        {
            self.drop_starting(why);
            return None;
        }
        let active = self.active();
        if self.spec.concurrency_policy == ConcurrencyPolicy::Replace && !active.is_empty() {
            let going = self.children.iter().filter(|child| child.end.is_none());
            let going = going.filter(|child| !child.deleting);
            self.actions.extend(going.map(Action::delete));
            return Some(Standing::Replacing { time, active });
        }
        let later = retry_at.filter(|at| *at > self.now);
        if let Some(later) = later {
            self.wake_at(later);
        } else if let Some((kind, object)) = manifest(self.schedule, &name, time) {
            self.actions.push(Action::Create {
                kind,
                name,
                object: Box::new(object),
            });
        }
        Some(match refused {
            Some(why) => Standing::Refused { time, why },
            None => Standing::Starting(time),
        })
    }

    /// Why nothing is started any more.
    fn over(&self, calendar: &Calendar, exhausted: bool) -> Standing {
        if exhausted {
            let most = self.spec.max_executions.unwrap_or_default();
            return Standing::Finished(format!("all {most} executions were started"));
        }
        if let (Calendar::At(at), true) = (calendar, self.status.history.is_empty()) {
            // Said rather than done: what was meant for yesterday may be wrong today.
            return Standing::Wrong {
                reason: "InThePast",
                message: format!(
                    "at: {at} had passed when this schedule was created; set a later moment"
                ),
            };
        }
        match (calendar, self.spec.end_after) {
            (Calendar::Cron { .. }, Some(end)) => {
                Standing::Finished(format!("nothing is due after {end}"))
            }
            (Calendar::At(at), _) => Standing::Finished(format!("{at} has passed")),
            (Calendar::Cron { .. }, None) => {
                Standing::Finished("nothing is due in the coming decades".into())
            }
        }
    }

    /// Gives up an execution that is decided and not created.
    fn drop_starting(&mut self, why: &str) {
        if let Some(starting) = self.status.starting.take() {
            let said = starting.refused.unwrap_or_else(|| why.to_owned());
            self.actions
                .push(history::missed(&mut self.status, starting.time, &said));
        }
    }

    /// The latest moment at which the execution for a time may start.
    fn latest_start(&self, time: Timestamp) -> Option<Timestamp> {
        let deadline = self.spec.starting_deadline?;
        time.checked_add(Duration::from(deadline)).ok()
    }

    fn too_late(&self, time: Timestamp) -> bool {
        self.latest_start(time)
            .is_some_and(|latest| latest < self.now)
    }

    /// The active executions by name; empty if there are none.
    fn active(&self) -> String {
        let names = self.status.active.iter().map(|active| active.name.as_str());
        let named = names.collect::<Vec<_>>().join(", ");
        let count = usize::try_from(self.status.active_count).unwrap_or(usize::MAX);
        match count.saturating_sub(self.status.active.len()) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

fn made_up_for(missed: usize, time: Timestamp) -> Action {
    let times = match missed {
        1 => "1 earlier time was".to_owned(),
        2..=MOST_MISSED => format!("{missed} earlier times were"),
        _ => format!("more than {MOST_MISSED} earlier times were"),
    };
    note(
        true,
        "MissedTimes",
        "Start",
        format!("{times} missed and not made up for; starting for {time}"),
    )
}
