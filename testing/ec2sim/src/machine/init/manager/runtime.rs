//! The state of a service.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::WaitStatus;

use super::super::process::Mark;
use super::super::unit::{CommandLine, KillMode, Restart, Service};
use super::STOP_POLL;

/// A service that has been started at least once.
pub(super) struct Runtime {
    pub(super) service: Service,
    pub(super) mark: Mark,
    pub(super) state: State,
    /// How the last run ended.
    pub(super) outcome: Outcome,
    pub(super) main: Option<i32>,
    /// Commands of this start that are still to run; the last one may be the service itself.
    pub(super) remaining: VecDeque<CommandLine>,
    /// The command that runs now.
    pub(super) may_fail: bool,
    pub(super) starts: VecDeque<Instant>,
    pub(super) restarts: u32,
    pub(super) status_text: String,
    pub(super) since: Timestamp,
    pub(super) last_code: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Dead,
    Starting {
        until: Option<Instant>,
    },
    Running {
        watchdog: Option<Instant>,
    },
    Exited,
    Stopping {
        kill_at: Option<Instant>,
        next: Next,
    },
    Delayed {
        until: Instant,
    },
    Failed,
}

/// What follows once all processes are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// What `Restart=` says.
    Policy,
    /// Nothing: it was stopped by request.
    Stay,
    /// A start: it is being restarted by request.
    Start,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Exited(i32),
    Signal(i32),
    Timeout,
    Watchdog,
    Protocol,
    StartLimit,
    Resources(String),
}

impl Outcome {
    pub(super) fn of(status: WaitStatus, service: &Service) -> Self {
        const CLEAN_SIGNALS: [i32; 4] = [1, 2, 13, 15];
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) if code == 0 || service.success_exit.contains(&code) => Self::Success,
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) if CLEAN_SIGNALS.contains(&signal) => Self::Success,
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }

    /// systemd's word for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Exited(_) => "exit-code",
            Self::Signal(_) => "signal",
            Self::Timeout => "timeout",
            Self::Watchdog => "watchdog",
            Self::Protocol => "protocol",
            Self::StartLimit => "start-limit-hit",
            Self::Resources(_) => "resources",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Resources(why) => f.write_str(why),
            Self::Success | Self::Timeout | Self::Watchdog | Self::Protocol | Self::StartLimit => {
                f.write_str(self.name())
            }
        }
    }
}

impl Runtime {
    /// All its processes that count as the service's own when it stops.
    pub(super) fn to_stop(&self) -> Vec<i32> {
        match self.service.kill_mode {
            KillMode::Process => self.main.into_iter().collect(),
            KillMode::ControlGroup | KillMode::Mixed => self.members(),
        }
    }

    /// All its processes.
    pub(super) fn members(&self) -> Vec<i32> {
        let mut members = self.mark.members();
        // One that is just being started does not carry the mark yet.
        members.extend(self.main.filter(|main| !members.contains(main)));
        members
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Dead | State::Failed)
    }

    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Starting { until } => until,
            State::Running { watchdog } => watchdog,
            State::Stopping { .. } => Some(now + STOP_POLL),
            State::Delayed { until } => Some(until),
            State::Dead | State::Exited | State::Failed => None,
        }
    }

    /// Whether `Restart=` asks for another run.
    pub(super) fn wants_restart(&self) -> bool {
        if matches!(self.outcome, Outcome::StartLimit) {
            return false;
        }
        if matches!(self.outcome, Outcome::Exited(code) if self.service.no_restart_exit.contains(&code))
        {
            return false;
        }
        let clean = self.outcome == Outcome::Success;
        let abnormal = matches!(
            self.outcome,
            Outcome::Signal(_) | Outcome::Timeout | Outcome::Watchdog
        );
        match self.service.restart {
            Restart::No => false,
            Restart::Always => true,
            Restart::OnSuccess => clean,
            Restart::OnFailure => !clean,
            Restart::OnAbnormal => abnormal,
        }
    }

    /// Counts a start; `false` when there were too many.
    pub(super) fn may_start(&mut self, now: Instant) -> bool {
        let Some((burst, interval)) = self.service.start_limit else {
            return true;
        };
        self.starts
            .retain(|start| now.saturating_duration_since(*start) < interval);
        if self.starts.len() >= usize::try_from(burst).unwrap_or(usize::MAX) {
            return false;
        }
        self.starts.push_back(now);
        true
    }

    pub(super) fn set(&mut self, state: State) {
        self.state = state;
        self.since = Timestamp::now();
    }

    /// systemd's words: the active state and the sub-state.
    pub(super) fn words(&self) -> (&'static str, &'static str) {
        match self.state {
            State::Dead => ("inactive", "dead"),
            State::Starting { .. } => ("activating", "start"),
            State::Running { .. } => ("active", "running"),
            State::Exited => ("active", "exited"),
            State::Stopping { .. } => ("deactivating", "stop-sigterm"),
            State::Delayed { .. } => ("activating", "auto-restart"),
            State::Failed => ("failed", "failed"),
        }
    }
}

/// `after` from now on; `None` for never.
pub(super) fn deadline(after: Option<Duration>) -> Option<Instant> {
    after.map(|after| Instant::now() + after)
}
