//! Going down: now, later, or not after all.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::super::wire::Reply;
use super::super::journal;
use super::Manager;
use super::runtime::Runtime;

/// How long a machine that goes down waits for its services.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
const WALL_LOG: &str = "/var/log/wall.log";
const SCHEDULED_FILE: &str = "/run/systemd/shutdown/scheduled";

/// A shutdown to come.
pub(super) struct Scheduled {
    pub(super) at: Instant,
    pub(super) reboot: bool,
}

/// A shutdown under way.
pub(super) struct Ending {
    pub(super) reboot: bool,
    pub(super) latest: Instant,
}

impl Manager {
    /// Whether the machine is down, and then whether it is to come up again.
    pub(in super::super) fn is_down(&self) -> Option<bool> {
        let ending = self.ending.as_ref()?;
        let all_stopped = self.services.values().all(Runtime::is_down);
        (all_stopped || Instant::now() >= ending.latest).then_some(ending.reboot)
    }

    /// Stops everything, then the machine.
    pub(super) fn go_down(&mut self, reboot: bool) {
        if self.ending.is_some() {
            return;
        }
        journal::console(if reboot {
            "The system will reboot now!"
        } else {
            "The system will power off now!"
        });
        self.ending = Some(Ending {
            reboot,
            latest: Instant::now() + SHUTDOWN_LIMIT,
        });
        self.timers.clear();
        let names: Vec<String> = self.services.keys().cloned().collect();
        for name in names {
            self.stop_service(&name);
        }
    }

    pub(super) fn power_off(&mut self, reboot: bool, at_once: bool) -> Reply {
        self.go_down(reboot);
        if at_once && let Some(ending) = &mut self.ending {
            ending.latest = Instant::now();
        }
        Reply::ok()
    }

    pub(super) fn schedule(&mut self, reboot: bool, in_seconds: u64, message: &str) -> Reply {
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

    pub(super) fn cancel_scheduled(&mut self) -> Reply {
        self.scheduled = None;
        // It may not be there: then nothing was scheduled.
        let _ = std::fs::remove_file(SCHEDULED_FILE);
        Reply::ok()
    }
}

/// Tells everybody on the machine.
pub(super) fn wall(text: &str) {
    journal::append(
        Path::new(WALL_LOG),
        &format!("{:.3} {}\n", jiff::Timestamp::now(), text.trim_end()),
    );
}
