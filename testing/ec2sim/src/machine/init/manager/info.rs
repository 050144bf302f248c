//! What `systemctl` shows of units, and the verbs that need no waiting.

use std::fmt::Write as _;

use super::super::super::wire::Reply;
use super::super::journal::journal_path;
use super::super::process;
use super::super::unit::{self, Unit};
use super::runtime::{Runtime, State};
use super::{Manager, enable};

const NOT_RUNNING: i32 = 3;

impl Manager {
    /// The active state and the sub-state.
    pub(super) fn words(&self, name: &str) -> (&'static str, &'static str) {
        if let Some(armed) = self.timers.get(name) {
            let waits = armed.due(self.booted).is_some();
            return ("active", if waits { "waiting" } else { "elapsed" });
        }
        self.services
            .get(name)
            .map_or(("inactive", "dead"), Runtime::words)
    }

    pub(super) fn enabled_word(&mut self, name: &str) -> Option<&'static str> {
        let unit = self.unit(name).ok()?;
        Some(
            match (enable::is_enabled(name), unit.wanted_by.is_empty()) {
                (true, _) => "enabled",
                (false, true) => "static",
                (false, false) => "disabled",
            },
        )
    }

    /// The text of `systemctl status`.
    pub(super) fn describe(&mut self, name: &str, unit: &Unit) -> String {
        let (active, sub) = self.words(name);
        let enabled = self.enabled_word(name).unwrap_or("disabled");
        let mut text = format!(
            "● {name} - {}\n     Loaded: loaded ({}; {enabled})\n",
            unit.description,
            unit.path.display()
        );
        let _ = writeln!(text, "     Active: {active} ({sub})");
        if let Some(armed) = self.timers.get(name) {
            if let Some(at) = armed.next_calendar() {
                let _ = writeln!(text, "    Trigger: {at}");
            }
            let _ = writeln!(text, "   Triggers: {}", armed.timer.starts);
        }
        if let Some(service) = self.services.get(name) {
            let _ = writeln!(text, "      Since: {:.3}", service.since);
            if let Some(pid) = service.main {
                let _ = writeln!(text, "   Main PID: {pid}");
            }
            if !service.status_text.is_empty() {
                let _ = writeln!(text, "     Status: \"{}\"", service.status_text);
            }
        }
        let log = std::fs::read_to_string(journal_path(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(10)..] {
            let _ = write!(text, "\n{line}");
        }
        text + "\n"
    }

    /// The properties of `systemctl show`; unknown units have the few that systemd gives them too.
    pub(super) fn properties(&mut self, name: &str) -> Vec<(&'static str, String)> {
        let (active, sub) = self.words(name);
        let unit = self.unit(name).ok();
        let loaded = if unit.is_some() {
            "loaded"
        } else {
            "not-found"
        };
        let enabled = self.enabled_word(name).unwrap_or_default();
        let mut shown = vec![
            ("Id", name.to_owned()),
            ("LoadState", loaded.to_owned()),
            ("ActiveState", active.to_owned()),
            ("SubState", sub.to_owned()),
            ("UnitFileState", enabled.to_owned()),
            (
                "Description",
                unit.as_ref()
                    .map_or_else(|| name.to_owned(), |u| u.description.clone()),
            ),
            (
                "FragmentPath",
                unit::find(name).map_or_else(String::new, |p| p.display().to_string()),
            ),
        ];
        let service = self.services.get(name);
        if name.ends_with(".service") {
            let number = |value: Option<String>| value.unwrap_or_else(|| "0".to_owned());
            shown.extend([
                (
                    "Result",
                    service.map_or("success", |s| s.outcome.name()).to_owned(),
                ),
                (
                    "MainPID",
                    number(service.and_then(|s| s.main).map(|pid| pid.to_string())),
                ),
                ("NRestarts", number(service.map(|s| s.restarts.to_string()))),
                (
                    "ExecMainStatus",
                    number(service.map(|s| s.last_code.to_string())),
                ),
                (
                    "StatusText",
                    service.map_or_else(String::new, |s| s.status_text.clone()),
                ),
            ]);
        }
        if let Some(armed) = self.timers.get(name) {
            let next = armed
                .next_calendar()
                .map(|at| at.strftime("%a %Y-%m-%d %H:%M:%S UTC").to_string());
            shown.push(("NextElapseUSecRealtime", next.unwrap_or_default()));
            shown.push(("Unit", armed.timer.starts.clone()));
        }
        shown
    }

    pub(super) fn enable_units(&mut self, units: &[String]) -> Reply {
        let mut reply = Reply::ok();
        for name in units {
            match self.unit(name) {
                Ok(unit) => enable::enable(name, &unit, &mut reply),
                Err(error) => return Reply::fail(1, format!("Failed to enable unit: {error}\n")),
            }
        }
        reply
    }

    pub(super) fn signal_units(&self, units: &[String], signal: i32) -> Reply {
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

    pub(super) fn reset_failed(&mut self, units: &[String]) -> Reply {
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

    pub(super) fn is_active(&self, units: &[String], failed: bool) -> Reply {
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

    pub(super) fn are_enabled(&mut self, units: &[String]) -> Reply {
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

    pub(super) fn status(&mut self, units: &[String]) -> Reply {
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

    pub(super) fn show(
        &mut self,
        units: &[String],
        properties: &[String],
        values_only: bool,
    ) -> Reply {
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
}
