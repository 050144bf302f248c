//! Starting services.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;

use super::super::process::{self, Mark};
use super::super::unit::{Service, ServiceType};
use super::super::{Event, journal};
use super::Manager;
use super::runtime::{Next, Outcome, Runtime, State, deadline};

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

    pub(super) fn begin(&mut self, name: &str) {
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
    pub(super) fn next_command(&mut self, name: &str) {
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

    pub(super) fn is_ready(&mut self, name: &str) {
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
