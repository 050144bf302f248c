//! Starting, watching, stopping and restarting services.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use rustix::process::WaitStatus;

use super::super::process::{self, Mark};
use super::super::unit::{KillMode, Service, ServiceType};
use super::super::{Event, journal};
use super::Manager;
use super::runtime::{Next, Outcome, Runtime, State, deadline};

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

impl Manager {
    pub(super) fn start_service(&mut self, name: &str, service: &Service) -> Result<(), String> {
        if !self.services.contains_key(name) {
            let runtime = self.new_runtime(name, service)?;
            self.services.insert(name.to_owned(), runtime);
        }
        let Some(runtime) = self.services.get_mut(name) else {
            return Ok(());
        };
        match &mut runtime.state {
            State::Starting { .. } | State::Running { .. } | State::Exited => {}
            State::Stopping { next, .. } => *next = Next::Start,
            State::Dead | State::Delayed { .. } | State::Failed => {
                runtime.service = service.clone();
                self.begin(name);
            }
        }
        Ok(())
    }

    fn new_runtime(&mut self, name: &str, service: &Service) -> Result<Runtime, String> {
        let mark = Mark::create(name)?;
        if service.kind == ServiceType::Notify {
            self.listen_for(name)
                .map_err(|e| format!("notify socket: {e}"))?;
        }
        Ok(Runtime {
            service: service.clone(),
            mark,
            state: State::Dead,
            outcome: Outcome::Success,
            main: None,
            remaining: VecDeque::new(),
            may_fail: false,
            starts: VecDeque::new(),
            restarts: 0,
            status_text: String::new(),
            since: Timestamp::now(),
            last_code: 0,
        })
    }

    /// Opens the socket on which the service says that it is ready, and alive.
    fn listen_for(&self, name: &str) -> std::io::Result<()> {
        let path = notify_path(name);
        let socket = UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        let (unit, events) = (name.to_owned(), self.events.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if events
                    .send(Event::Notify {
                        unit: unit.clone(),
                        text,
                    })
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(())
    }

    fn begin(&mut self, name: &str) {
        let broken = self.broken.contains(name);
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        let refusal = if broken {
            Some(Outcome::Resources("broken from outside".to_owned()))
        } else if !runtime.may_start(Instant::now()) {
            Some(Outcome::StartLimit)
        } else {
            make_directories(&runtime.service)
                .err()
                .map(Outcome::Resources)
        };
        if let Some(outcome) = refusal {
            journal::note(name, &format!("Failed to start: {outcome}."));
            runtime.outcome = outcome;
            runtime.set(State::Failed);
            return;
        }
        let until = deadline(runtime.service.start_timeout);
        runtime.outcome = Outcome::Success;
        runtime.status_text.clear();
        runtime.remaining = runtime
            .service
            .before
            .iter()
            .chain(&runtime.service.commands)
            .cloned()
            .collect();
        runtime.set(State::Starting { until });
        self.next_command(name);
    }

    /// Runs the next command of a start, or ends the start when there is none.
    fn next_command(&mut self, name: &str) {
        let environment = self.service_environment(name);
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        let Some(command) = runtime.remaining.pop_front() else {
            return self.commands_done(name);
        };
        runtime.may_fail = command.may_fail;
        let started = environment.and_then(|environment| {
            let argv = command.expand(&environment);
            process::start(&runtime.mark, &runtime.service, &argv, &environment)
        });
        match started {
            Ok((pid, pipe)) => {
                journal::follow(pipe, name, &runtime.service.output);
                runtime.main = Some(pid);
                self.mains.insert(pid, name.to_owned());
                // The watcher lives as long as this process.
                let _ = self.child_started.send(());
                let is_the_service = runtime.remaining.is_empty();
                if is_the_service && runtime.service.kind == ServiceType::Simple {
                    self.is_ready(name);
                }
            }
            Err(why) => {
                journal::note(name, &format!("Failed to execute: {why}"));
                self.wind_down(name, Outcome::Resources(why), Next::Policy);
            }
        }
    }

    /// A one-shot whose commands have all run.
    fn commands_done(&mut self, name: &str) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        journal::note(name, "Finished.");
        if runtime.service.remain_after_exit {
            runtime.set(State::Exited);
        } else {
            self.wind_down(name, Outcome::Success, Next::Policy);
        }
    }

    fn is_ready(&mut self, name: &str) {
        let Some(runtime) = self.services.get_mut(name) else {
            return;
        };
        let watchdog = deadline(runtime.service.watchdog);
        runtime.set(State::Running { watchdog });
        journal::note(name, "Started.");
    }

    fn service_environment(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        let mut environment = self.environment.clone();
        let Some(service) = self.services.get(name).map(|r| &r.service) else {
            return Ok(environment);
        };
        if service.kind == ServiceType::Notify {
            environment.insert(
                "NOTIFY_SOCKET".to_owned(),
                notify_path(name).to_string_lossy().into_owned(),
            );
        }
        if let Some(watchdog) = service.watchdog {
            environment.insert("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string());
        }
        if let Some(user) = &service.user {
            environment.extend(
                [("USER", user), ("LOGNAME", user)].map(|(k, v)| (k.to_owned(), v.clone())),
            );
            environment.insert("HOME".to_owned(), format!("/home/{user}"));
        }
        for (variable, dir) in &service.directories {
            environment.insert((*variable).to_owned(), dir.to_string_lossy().into_owned());
        }
        environment.extend(service.environment.iter().cloned());
        for (path, optional) in &service.environment_files {
            match std::fs::read_to_string(path) {
                Ok(text) => environment.extend(text.lines().filter_map(assignment)),
                Err(_) if *optional => {}
                Err(error) => return Err(format!("EnvironmentFile={}: {error}", path.display())),
            }
        }
        Ok(environment)
    }

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
                self.wind_down(name, outcome, Next::Policy)
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
    fn wind_down(&mut self, name: &str, outcome: Outcome, next: Next) {
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

fn notify_path(name: &str) -> PathBuf {
    Path::new("/run/systemd").join(format!("notify-{name}"))
}

fn make_directories(service: &Service) -> Result<(), String> {
    for (_, dir) in &service.directories {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    Ok(())
}

/// A line of an `EnvironmentFile=`.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line
        .split_once('=')
        .filter(|_| !line.starts_with(['#', ';']))?;
    let quoted = ['"', '\'']
        .iter()
        .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    Some((name.trim().to_owned(), quoted.unwrap_or(value).to_owned()))
}
