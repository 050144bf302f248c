//! What the commands inside the machine ask for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::Sender;

use super::super::super::wire::{Reply, Request};
use super::super::unit::UnitError;
use super::power::wall;
use super::runtime::{Next, Runtime, State};
use super::{Goal, Manager, Waiting, enable};

const NOT_FOUND: i32 = 5;
const TRANSIENT_DIR: &str = "/run/systemd/system";

/// `spored` means `spored.service`.
pub(super) fn full_name(name: &str) -> String {
    let has_type = name
        .rsplit_once('.')
        .is_some_and(|(_, t)| matches!(t, "service" | "timer" | "target" | "socket"));
    if has_type {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

fn full_names(names: &[String]) -> Vec<String> {
    names.iter().map(|name| full_name(name)).collect()
}

impl Manager {
    /// Does what is asked, and answers, now or once the units are where they shall be.
    pub(super) fn request(&mut self, request: Request, reply: Sender<Reply>) {
        let answer = match request {
            Request::Start { units, wait } => {
                return self.start_units(full_names(&units), wait, String::new(), reply);
            }
            Request::Stop { units, wait } => {
                return self.stop_units(full_names(&units), wait, String::new(), reply);
            }
            Request::Restart {
                units,
                only_active,
                wait,
            } => {
                return self.restart_units(full_names(&units), only_active, wait, reply);
            }
            Request::Enable { units, now } => {
                let units = full_names(&units);
                let answer = self.enable_units(&units);
                if now && answer.code == 0 {
                    return self.start_units(units, true, answer.err, reply);
                }
                answer
            }
            Request::Disable { units, now } => {
                let units = full_names(&units);
                let mut answer = Reply::ok();
                for name in &units {
                    enable::disable(name, &mut answer);
                }
                if now {
                    return self.stop_units(units, true, answer.err, reply);
                }
                answer
            }
            Request::Transient { start, files, wait } => {
                return self.transient(start, &files, wait, reply);
            }
            Request::DaemonReload => {
                self.reload();
                Reply::ok()
            }
            Request::Kill { units, signal } => self.signal_units(&full_names(&units), signal),
            Request::ResetFailed { units } => self.reset_failed(&full_names(&units)),
            Request::IsActive { units, failed } => self.is_active(&full_names(&units), failed),
            Request::IsEnabled { units } => self.are_enabled(&full_names(&units)),
            Request::Status { units } => self.status(&full_names(&units)),
            Request::Show {
                units,
                properties,
                values_only,
            } => self.show(&full_names(&units), &properties, values_only),
            Request::PowerOff { reboot, at_once } => self.power_off(reboot, at_once),
            Request::Schedule {
                reboot,
                in_seconds,
                message,
            } => self.schedule(reboot, in_seconds, &message),
            Request::CancelScheduled => self.cancel_scheduled(),
            Request::Wall { text } => {
                wall(&text);
                Reply::ok()
            }
        };
        send(&reply, answer);
    }

    /// `said` is what the command has to say already.
    fn start_units(&mut self, units: Vec<String>, wait: bool, said: String, reply: Sender<Reply>) {
        for name in &units {
            if let Err(why) = self.start(name) {
                let code = if self.unit(name).is_err() {
                    NOT_FOUND
                } else {
                    1
                };
                return send(
                    &reply,
                    Reply::fail(code, format!("{said}Failed to start {name}: {why}\n")),
                );
            }
        }
        self.wait_for(units, Goal::Started, wait, said, reply);
    }

    fn stop_units(&mut self, units: Vec<String>, wait: bool, said: String, reply: Sender<Reply>) {
        for name in &units {
            if !self.is_up(name) && self.unit(name).is_err() {
                let why = UnitError::NotFound(name.clone());
                return send(
                    &reply,
                    Reply::fail(NOT_FOUND, format!("{said}Failed to stop {name}: {why}\n")),
                );
            }
            self.stop(name);
        }
        self.wait_for(units, Goal::Stopped, wait, said, reply);
    }

    fn restart_units(
        &mut self,
        mut units: Vec<String>,
        only_active: bool,
        wait: bool,
        reply: Sender<Reply>,
    ) {
        if only_active {
            units.retain(|name| self.is_up(name));
        }
        let mut to_start = Vec::new();
        for name in &units {
            self.timers.remove(name);
            if self
                .services
                .get(name)
                .is_some_and(|s| !s.is_down() && !matches!(s.state, State::Delayed { .. }))
            {
                self.restart_service(name);
            } else {
                to_start.push(name.clone());
            }
        }
        for name in to_start {
            if let Err(why) = self.start(&name) {
                return send(
                    &reply,
                    Reply::fail(1, format!("Failed to restart {name}: {why}\n")),
                );
            }
        }
        self.wait_for(units, Goal::Started, wait, String::new(), reply);
    }

    fn wait_for(
        &mut self,
        units: Vec<String>,
        goal: Goal,
        wait: bool,
        said: String,
        reply: Sender<Reply>,
    ) {
        if wait {
            self.waiting.push(Waiting {
                units,
                goal,
                said,
                reply,
            });
        } else {
            send(
                &reply,
                Reply {
                    err: said,
                    ..Reply::ok()
                },
            );
        }
    }

    /// Answers the commands whose units have got where they were to go, or cannot.
    pub(super) fn answer_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|w| match self.reached(&w.units, w.goal) {
            Some(mut reply) => {
                reply.err.insert_str(0, &w.said);
                send(&w.reply, reply);
                false
            }
            None => true,
        });
        self.waiting.append(&mut waiting);
    }

    fn reached(&self, units: &[String], goal: Goal) -> Option<Reply> {
        let mut reply = Reply::ok();
        for name in units {
            let Some(service) = self.services.get(name) else {
                continue;
            };
            match (goal, service.state) {
                (
                    _,
                    State::Stopping {
                        next: Next::Start, ..
                    },
                )
                | (Goal::Started, State::Starting { .. }) => return None,
                (Goal::Started, State::Stopping { .. }) if failed_to_start(service).is_none() => {
                    return None;
                }
                (Goal::Stopped, state)
                    if !service.is_down() && !matches!(state, State::Delayed { .. }) =>
                {
                    return None;
                }
                (Goal::Started, _) => {
                    if let Some(why) = failed_to_start(service) {
                        reply.code = 1;
                        let _ = writeln!(
                            reply.err,
                            "Job for {name} failed: {why}. See \"systemctl status {name}\"."
                        );
                    }
                }
                (Goal::Stopped, _) => {}
            }
        }
        Some(reply)
    }

    fn transient(
        &mut self,
        start: String,
        files: &BTreeMap<String, String>,
        wait: bool,
        reply: Sender<Reply>,
    ) {
        for (name, text) in files {
            if self.is_up(name) {
                return send(
                    &reply,
                    Reply::fail(
                        1,
                        format!(
                            "Failed to start transient unit: Unit {name} was already loaded.\n"
                        ),
                    ),
                );
            }
            if let Err(error) = std::fs::write(Path::new(TRANSIENT_DIR).join(name), text) {
                return send(
                    &reply,
                    Reply::fail(
                        1,
                        format!("Failed to start transient unit {name}: {error}\n"),
                    ),
                );
            }
            self.units.remove(name);
        }
        self.start_units(vec![start], wait, String::new(), reply);
    }
}

/// Why a start did not succeed. A service that is to be restarted has failed all the same.
fn failed_to_start(service: &Runtime) -> Option<String> {
    let came_to_nothing = matches!(
        service.state,
        State::Stopping { .. } | State::Delayed { .. } | State::Failed
    );
    (came_to_nothing && service.outcome != super::runtime::Outcome::Success)
        .then(|| service.outcome.to_string())
}

fn send(reply: &Sender<Reply>, answer: Reply) {
    // The command may have been killed; then nobody is there to be told.
    let _ = reply.send(answer);
}
