//! What the commands inside the machine ask for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::super::super::wire::{Reply, Request};
use super::super::unit::UnitError;
use super::super::{journal, process};
use super::runtime::{Next, Runtime, State};
use super::{Goal, Manager, Scheduled, Waiting, enable};

const NOT_FOUND: i32 = 5;
const NOT_RUNNING: i32 = 3;
const TRANSIENT_DIR: &str = "/run/systemd/system";
const WALL_LOG: &str = "/var/log/wall.log";
const SCHEDULED_FILE: &str = "/run/systemd/shutdown/scheduled";

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

fn full_names(names: Vec<String>) -> Vec<String> {
    names.iter().map(|name| full_name(name)).collect()
}

impl Manager {
    /// Does what is asked, and answers, now or once the units are where they shall be.
    pub(super) fn request(&mut self, request: Request, reply: Sender<Reply>) {
        let answer = match request {
            Request::Start { units, wait } => {
                return self.start_units(full_names(units), wait, String::new(), reply);
            }
            Request::Stop { units, wait } => {
                return self.stop_units(full_names(units), wait, String::new(), reply);
            }
            Request::Restart {
                units,
                only_active,
                wait,
            } => {
                return self.restart_units(full_names(units), only_active, wait, reply);
            }
            Request::Enable { units, now } => {
                let units = full_names(units);
                let answer = self.enable_units(&units);
                if now && answer.code == 0 {
                    return self.start_units(units, true, answer.err, reply);
                }
                answer
            }
            Request::Disable { units, now } => {
                let units = full_names(units);
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
            Request::Kill { units, signal } => self.signal_units(&full_names(units), signal),
            Request::ResetFailed { units } => self.reset_failed(&full_names(units)),
            Request::IsActive { units, failed } => self.is_active(&full_names(units), failed),
            Request::IsEnabled { units } => self.are_enabled(&full_names(units)),
            Request::Status { units } => self.status(&full_names(units)),
            Request::Show {
                units,
                properties,
                values_only,
            } => self.show(&full_names(units), &properties, values_only),
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

    fn enable_units(&mut self, units: &[String]) -> Reply {
        let mut reply = Reply::ok();
        for name in units {
            match self.unit(name) {
                Ok(unit) => enable::enable(name, &unit, &mut reply),
                Err(error) => return Reply::fail(1, format!("Failed to enable unit: {error}\n")),
            }
        }
        reply
    }

    fn signal_units(&self, units: &[String], signal: i32) -> Reply {
        for name in units {
            let Some(service) = self.services.get(name) else {
                return Reply::fail(
                    1,
                    format!("Failed to kill unit {name}: Unit {name} not loaded.\n"),
                );
            };
            service
                .members()
                .into_iter()
                .for_each(|pid| process::signal(pid, signal));
        }
        Reply::ok()
    }

    fn reset_failed(&mut self, units: &[String]) -> Reply {
        for (name, service) in &mut self.services {
            if units.is_empty() || units.contains(name) {
                service.starts.clear();
                if service.state == State::Failed {
                    service.set(State::Dead);
                }
            }
        }
        Reply::ok()
    }

    fn is_active(&self, units: &[String], failed: bool) -> Reply {
        let wanted = if failed { "failed" } else { "active" };
        let mut reply = Reply {
            code: if failed { 1 } else { NOT_RUNNING },
            ..Reply::ok()
        };
        for name in units {
            let (active, _) = self.words(name);
            if active == wanted {
                reply.code = 0;
            }
            let _ = writeln!(reply.out, "{active}");
        }
        reply
    }

    fn are_enabled(&mut self, units: &[String]) -> Reply {
        let mut reply = Reply {
            code: 1,
            ..Reply::ok()
        };
        for name in units {
            match self.enabled_word(name) {
                Some(word) => {
                    if word != "disabled" {
                        reply.code = 0;
                    }
                    let _ = writeln!(reply.out, "{word}");
                }
                None => {
                    let _ = writeln!(
                        reply.err,
                        "Failed to get unit file state for {name}: No such file or directory"
                    );
                }
            }
        }
        reply
    }

    fn status(&mut self, units: &[String]) -> Reply {
        let mut reply = Reply::ok();
        for name in units {
            match self.unit(name) {
                Ok(unit) => {
                    if self.words(name).0 != "active" {
                        reply.code = NOT_RUNNING;
                    }
                    reply.out.push_str(&self.describe(name, &unit));
                }
                Err(error) => {
                    reply.code = 4;
                    let _ = writeln!(reply.err, "{error}");
                }
            }
        }
        reply
    }

    fn show(&mut self, units: &[String], properties: &[String], values_only: bool) -> Reply {
        let mut reply = Reply::ok();
        for name in units {
            let known = self.properties(name);
            for unknown in properties
                .iter()
                .filter(|p| !known.iter().any(|(k, _)| k == p))
            {
                let _ = writeln!(
                    reply.err,
                    "machine-init: the property {unknown} of {name} is not modelled"
                );
            }
            for (key, value) in known
                .iter()
                .filter(|(k, _)| properties.is_empty() || properties.iter().any(|p| p == k))
            {
                let _ = if values_only {
                    writeln!(reply.out, "{value}")
                } else {
                    writeln!(reply.out, "{key}={value}")
                };
            }
        }
        reply
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

    fn power_off(&mut self, reboot: bool, at_once: bool) -> Reply {
        self.go_down(reboot);
        if at_once && let Some(ending) = &mut self.ending {
            ending.latest = Instant::now();
        }
        Reply::ok()
    }

    fn schedule(&mut self, reboot: bool, in_seconds: u64, message: &str) -> Reply {
        let mode = if reboot { "reboot" } else { "poweroff" };
        if !message.is_empty() {
            wall(message);
        }
        let at = jiff::Timestamp::now() + Duration::from_secs(in_seconds);
        let file = Path::new(SCHEDULED_FILE);
        let dir = file.parent().unwrap_or(file);
        let text = format!("USEC={}\nWARN_WALL=1\nMODE={mode}\n", at.as_microsecond());
        if let Err(error) = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(file, text)) {
            return Reply::fail(1, format!("{SCHEDULED_FILE}: {error}\n"));
        }
        self.scheduled = Some(Scheduled {
            at: Instant::now() + Duration::from_secs(in_seconds),
            reboot,
        });
        Reply {
            err: format!("Shutdown scheduled for {at:.0}, use 'shutdown -c' to cancel.\n"),
            ..Reply::ok()
        }
    }

    fn cancel_scheduled(&mut self) -> Reply {
        self.scheduled = None;
        // It may not be there: then nothing was scheduled.
        let _ = std::fs::remove_file(SCHEDULED_FILE);
        Reply::ok()
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

fn wall(text: &str) {
    journal::append(
        Path::new(WALL_LOG),
        &format!("{:.3} {}\n", jiff::Timestamp::now(), text.trim_end()),
    );
}

fn send(reply: &Sender<Reply>, answer: Reply) {
    // The command may have been killed; then nobody is there to be told.
    let _ = reply.send(answer);
}
