//! Watching, stopping and restarting services.

use std::time::Instant;

use rustix::process::WaitStatus;

use super::super::unit::{KillMode, ServiceType};
use super::super::{journal, process};
use super::Manager;
use super::runtime::{Next, Outcome, State, deadline};

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

impl Manager {
    pub(super) fn notified(&mut self, name: &str, text: &str) {
        for line in text.lines() {
            let Some(runtime) = self.services.get_mut(name) else {
                return;
            };
            match (line.split_once('='), runtime.state) {
                (Some(("READY", "1")), State::Starting { .. }) => self.is_ready(name),
                (Some(("WATCHDOG", "1")), State::Running { .. }) => {
                    runtime.state = State::Running {
                        watchdog: deadline(runtime.service.watchdog),
                    };
                }
                (Some(("STATUS", status)), _) => status.clone_into(&mut runtime.status_text),
                _ => {}
            }
        }
    }

    /// The process that stood for the service has ended.
    pub(super) fn main_ended(&mut self, name: &str, status: WaitStatus) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        runtime.main = None;
        runtime.last_code = status
            .exit_status()
            .or(status.terminating_signal())
            .unwrap_or_default();
        let outcome = Outcome::of(status, &runtime.service);
        let was_the_service =
            runtime.remaining.is_empty() && runtime.service.kind != ServiceType::Oneshot;
        if outcome != Outcome::Success {
            journal::note(name, &format!("Main process {outcome}."));
        }
        match runtime.state {
            State::Starting { .. } if was_the_service && outcome == Outcome::Success => {
                self.wind_down(name, Outcome::Protocol, Next::Policy);
            }
            State::Starting { .. }
                if !was_the_service && (outcome == Outcome::Success || runtime.may_fail) =>
            {
                self.next_command(name);
            }
            State::Starting { .. } | State::Running { .. } => {
                self.wind_down(name, outcome, Next::Policy);
            }
            State::Stopping { .. } => {
                if runtime.outcome == Outcome::Success {
                    runtime.outcome = outcome;
                }
                self.try_settle(name, Instant::now());
            }
            State::Dead | State::Exited | State::Delayed { .. } | State::Failed => {}
        }
    }

    pub(super) fn stop_service(&mut self, name: &str) {
        self.halt(name, Next::Stay);
    }

    pub(super) fn restart_service(&mut self, name: &str) {
        self.halt(name, Next::Start);
    }

    fn halt(&mut self, name: &str, then: Next) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        match &mut runtime.state {
            State::Starting { .. } | State::Running { .. } | State::Exited => {
                self.wind_down(name, Outcome::Success, then);
            }
            State::Stopping { next, .. } => *next = then,
            State::Delayed { .. } if then == Next::Stay => runtime.set(State::Dead),
            State::Dead | State::Delayed { .. } | State::Failed => {}
        }
    }

    pub(super) fn kill_service(&mut self, name: &str) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        for pid in runtime.members() {
            process::signal(pid, SIGKILL);
        }
        if matches!(runtime.state, State::Delayed { .. }) {
            runtime.set(State::Failed);
        }
    }

    /// Ends what is left of a service, as `KillMode=` says.
    pub(super) fn wind_down(&mut self, name: &str, outcome: Outcome, next: Next) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        let gentle = runtime.service.kill_signal;
        let watchdog = outcome == Outcome::Watchdog;
        match (runtime.service.kill_mode, runtime.main) {
            (_, Some(main)) if watchdog => process::signal(main, SIGABRT),
            (KillMode::Mixed | KillMode::Process, Some(main)) => process::signal(main, gentle),
            (KillMode::Process, None) => {}
            (KillMode::Mixed, None) => runtime
                .members()
                .into_iter()
                .for_each(|pid| process::signal(pid, SIGKILL)),
            (KillMode::ControlGroup, _) => {
                runtime
                    .members()
                    .into_iter()
                    .for_each(|pid| process::signal(pid, gentle));
            }
        }
        runtime.outcome = outcome;
        let kill_at = deadline(runtime.service.stop_timeout);
        runtime.set(State::Stopping { kill_at, next });
        self.try_settle(name, Instant::now());
    }

    /// Moves on once no process is left; kills what overstays.
    fn try_settle(&mut self, name: &str, now: Instant) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        let State::Stopping { kill_at, next } = runtime.state else {
            return;
        };
        let left = runtime.to_stop();
        if left.is_empty() {
            return self.settle(name, next);
        }
        let orphans = runtime.service.kill_mode == KillMode::Mixed && runtime.main.is_none();
        let overdue = kill_at.is_some_and(|at| at <= now);
        if !orphans && !overdue {
            return;
        }
        if overdue {
            journal::note(name, "Stopping timed out. Killing.");
            if runtime.outcome == Outcome::Success && runtime.main.is_some() {
                runtime.outcome = Outcome::Timeout;
            }
            runtime.state = State::Stopping {
                kill_at: None,
                next,
            };
        }
        left.into_iter()
            .for_each(|pid| process::signal(pid, SIGKILL));
    }

    fn settle(&mut self, name: &str, next: Next) {
        let going_down = self.ending.is_some();
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        let failed = runtime.outcome != Outcome::Success;
        match next {
            Next::Start if !going_down => return self.begin(name),
            Next::Policy if !going_down && runtime.wants_restart() => {
                let until = Instant::now() + runtime.service.restart_delay;
                journal::note(
                    name,
                    &format!("Scheduled restart ({}).", runtime.outcome.name()),
                );
                runtime.set(State::Delayed { until });
                return;
            }
            Next::Policy | Next::Stay | Next::Start => {}
        }
        let words = if failed {
            format!("Failed with result '{}'.", runtime.outcome.name())
        } else {
            "Stopped.".to_owned()
        };
        journal::note(name, &words);
        runtime.set(if failed { State::Failed } else { State::Dead });
    }

    /// What time alone asks of a service.
    pub(super) fn service_due(&mut self, name: &str, now: Instant) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        match runtime.state {
            State::Starting { until: Some(until) } if until <= now => {
                journal::note(name, "Start operation timed out. Terminating.");
                self.wind_down(name, Outcome::Timeout, Next::Policy);
            }
            State::Running { watchdog: Some(at) } if at <= now => {
                journal::note(name, "Watchdog timeout! Killing.");
                self.wind_down(name, Outcome::Watchdog, Next::Policy);
            }
            State::Stopping { .. } => self.try_settle(name, now),
            State::Delayed { until } if until <= now => {
                runtime.restarts += 1;
                self.begin(name);
            }
            State::Starting { .. }
            | State::Running { .. }
            | State::Dead
            | State::Exited
            | State::Delayed { .. }
            | State::Failed => {}
        }
    }
}
