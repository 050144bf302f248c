//! The service manager: which units are up, what ended, what is due.
//!
//! ```text
//! service:  Dead ─► Starting ─► Running ─► Stopping ─► Dead | Failed
//!                      │  ▲                   │
//!                      │  └── Delayed ◄───────┘ (Restart=)
//!                      └► Exited (RemainAfterExit=)
//! ```

mod enable;
mod info;
mod power;
mod request;
mod runtime;
mod service;
mod start;
mod timer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, wait};

use super::super::wire::{Order, Reply};
use super::unit::{CommandLine, Kind, Output, Service, Unit, UnitError};
use super::{Event, journal, process, unit};
use power::{Ending, Scheduled};
use runtime::{Runtime, State};
use timer::Armed;

/// The service that runs user data, as on a real machine.
const CLOUD_FINAL: &str = "cloud-final.service";
/// The target that is reached once user data has run.
const CLOUD_INIT_TARGET: &str = "cloud-init.target";
/// How often a stopping service is looked at.
const STOP_POLL: Duration = Duration::from_millis(20);

pub(super) struct Manager {
    environment: BTreeMap<String, String>,
    /// Units as last read; a changed file counts after `daemon-reload`.
    units: HashMap<String, Rc<Unit>>,
    services: BTreeMap<String, Runtime>,
    timers: BTreeMap<String, Armed>,
    /// Whose main process a child is.
    mains: HashMap<i32, String>,
    waiting: Vec<Waiting>,
    broken: HashSet<String>,
    scheduled: Option<Scheduled>,
    ending: Option<Ending>,
    booted: Instant,
    events: Sender<Event>,
    /// Tells the watcher of children that there is one.
    child_started: Sender<()>,
}

/// A command that waits for its units.
struct Waiting {
    units: Vec<String>,
    goal: Goal,
    /// What the command has to say whatever comes of it.
    said: String,
    reply: Sender<Reply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Started,
    Stopped,
}

impl Manager {
    pub(super) fn new(
        environment: BTreeMap<String, String>,
        events: Sender<Event>,
        child_started: Sender<()>,
    ) -> Self {
        Self {
            environment,
            units: HashMap::new(),
            services: BTreeMap::new(),
            timers: BTreeMap::new(),
            mains: HashMap::new(),
            waiting: Vec::new(),
            broken: HashSet::new(),
            scheduled: None,
            ending: None,
            booted: Instant::now(),
            events,
            child_started,
        }
    }

    pub(super) fn start_enabled(&mut self) {
        for name in enable::enabled() {
            if let Err(why) = self.start(&name) {
                journal::note(&name, &format!("error: not started at boot: {why}"));
            }
        }
    }

    /// Runs user data as the service that does so on a real machine: what it leaves running stays.
    pub(super) fn run_user_data(&mut self, script: &Path) {
        let script = script.to_string_lossy();
        let service = Service {
            output: Output::CloudInit,
            kill_mode: unit::KillMode::Process,
            remain_after_exit: true,
            ..Service::oneshot(CommandLine::literal(&[&script]))
        };
        let unit = Unit {
            description: "Execute cloud user/final scripts".to_owned(),
            path: std::path::PathBuf::new(),
            wants: Vec::new(),
            after: Vec::new(),
            wanted_by: Vec::new(),
            kind: Kind::Service(Box::new(service)),
            complaints: Vec::new(),
        };
        self.units.insert(CLOUD_FINAL.to_owned(), Rc::new(unit));
        if let Err(why) = self.start(CLOUD_FINAL) {
            journal::note(CLOUD_FINAL, &format!("error: user data is not run: {why}"));
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Children(done) => {
                self.reap();
                // The watcher lives as long as this process.
                let _ = done.send(());
            }
            Event::Request(request, reply) => self.request(request, reply),
            Event::Notify { unit, text } => self.notified(&unit, &text),
            Event::Order(Order::KillProcess(name)) => self.kill_named(&name),
            Event::Order(Order::BreakUnit(name)) => self.break_unit(&name),
            Event::Order(Order::Load(_)) => {}
        }
        self.answer_waiting();
    }

    /// When time alone will make something happen.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let services = self.services.values().filter_map(|s| s.due(now));
        let timers = self.timers.values().filter_map(|t| t.due(self.booted));
        services
            .chain(timers)
            .chain(self.scheduled.as_ref().map(|s| s.at))
            .min()
    }

    /// Does what is due.
    pub(super) fn act_on_time(&mut self, now: Instant) {
        let names: Vec<String> = self.services.keys().cloned().collect();
        for name in names {
            self.service_due(&name, now);
        }
        self.fire_timers();
        if self.scheduled.as_ref().is_some_and(|s| s.at <= now)
            && let Some(scheduled) = self.scheduled.take()
        {
            self.go_down(scheduled.reboot);
        }
        self.answer_waiting();
    }

    /// The unit as it was read last, or as it is on disk.
    fn unit(&mut self, name: &str) -> Result<Rc<Unit>, UnitError> {
        if let Some(known) = self.units.get(name) {
            return Ok(Rc::clone(known));
        }
        let unit = Rc::new(unit::load(name)?);
        for complaint in &unit.complaints {
            journal::note(
                name,
                &format!("error: {}: {complaint}", unit.path.display()),
            );
        }
        self.units.insert(name.to_owned(), Rc::clone(&unit));
        Ok(unit)
    }

    /// Reads every unit again.
    fn reload(&mut self) {
        self.units.retain(|name, _| name == CLOUD_FINAL);
        let names: Vec<String> = self
            .services
            .keys()
            .chain(self.timers.keys())
            .cloned()
            .collect();
        for name in names {
            match self.unit(&name) {
                Ok(unit) => self.replace(&name, &unit),
                Err(error) => journal::note(&name, &format!("error: {error}")),
            }
        }
    }

    fn replace(&mut self, name: &str, unit: &Unit) {
        match &unit.kind {
            Kind::Service(service) => {
                if let Some(runtime) = self.services.get_mut(name) {
                    runtime.service = service.as_ref().clone();
                }
            }
            Kind::Timer(timer) => {
                if let Some(armed) = self.timers.get_mut(name) {
                    armed.timer = timer.clone();
                }
            }
        }
    }

    /// Starts a unit and those it wants.
    fn start(&mut self, name: &str) -> Result<(), String> {
        if self.ending.is_some() {
            return Err(format!("{name}: the system is going down"));
        }
        let unit = self.unit(name).map_err(|e| e.to_string())?;
        if self.waits_for_itself(&unit) {
            return Err(format!(
                "{name} has After={CLOUD_FINAL}, which runs this user data: on a real machine the two wait for each other for ever"
            ));
        }
        for wanted in &unit.wants {
            // Targets order the boot on a real machine; what they stand for is always up here.
            let exists = unit::find(wanted).is_some();
            let known = !wanted.ends_with(".target");
            if exists && known && !self.is_up(wanted) {
                self.start(wanted)?;
            } else if !exists && known {
                journal::note(
                    name,
                    &format!("error: it wants {wanted}, which does not exist"),
                );
            }
        }
        match &unit.kind {
            Kind::Service(service) => self.start_service(name, service),
            Kind::Timer(timer) => {
                self.start_timer(name, timer);
                Ok(())
            }
        }
    }

    fn waits_for_itself(&self, unit: &Unit) -> bool {
        let user_data_runs = self
            .services
            .get(CLOUD_FINAL)
            .is_some_and(|s| matches!(s.state, State::Starting { .. }));
        user_data_runs
            && unit
                .after
                .iter()
                .any(|a| a == CLOUD_FINAL || a == CLOUD_INIT_TARGET)
    }

    fn is_up(&self, name: &str) -> bool {
        self.timers.contains_key(name) || self.services.get(name).is_some_and(|s| !s.is_down())
    }

    fn stop(&mut self, name: &str) {
        if self.timers.remove(name).is_some() {
            journal::note(name, "Stopped.");
        }
        self.stop_service(name);
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            if let Some(name) = self.mains.remove(&pid) {
                self.main_ended(&name, status);
            }
        }
    }

    fn kill_named(&mut self, name: &str) {
        let found = process::named(name);
        journal::console(&format!("killing {} processes named {name}", found.len()));
        for pid in found {
            process::signal(pid, 9);
        }
    }

    fn break_unit(&mut self, name: &str) {
        let name = request::full_name(name);
        journal::note(
            &name,
            "broken from outside: it cannot start until the next boot",
        );
        self.broken.insert(name.clone());
        self.kill_service(&name);
    }
}
