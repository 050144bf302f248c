//! What the runner, the machine's init and the commands inside the machine say to each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Load;

/// Exit code of init after a power-off from inside the machine.
pub(super) const EXIT_POWERED_OFF: i32 = 84;
/// Exit code of init after a reboot from inside the machine: the runner boots it again.
pub(super) const EXIT_REBOOT: i32 = 85;

/// Where init listens for the commands inside the machine.
pub(super) const INIT_SOCKET: &str = "/run/machine-init.sock";
/// Where the machine finds this program.
pub(super) const INIT_EXE: &str = "/run/machine/init";

/// The first line that init reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Boot {
    pub(super) instance_id: String,
    pub(super) region: String,
    pub(super) dir: PathBuf,
    pub(super) imds_endpoint: String,
    pub(super) api_endpoint: String,
    /// Base64.
    pub(super) user_data: String,
    pub(super) hostname: String,
    pub(super) first_boot: bool,
    /// This program, as the host sees it.
    pub(super) exe: PathBuf,
    /// Only uid 0 exists in the machine (it was started by an unprivileged user).
    pub(super) single_user: bool,
}

/// What init answers once the machine stands, or why it does not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Hello {
    /// The machine is up; `pid` is init's, as the runner sees it.
    Ready { pid: i32 },
    /// It could not be set up.
    Failed { why: String },
}

/// A later line that init reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    Load(Load),
    KillProcess(String),
    BreakUnit(String),
}

/// What a command inside the machine asks of init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    DaemonReload,
    Enable {
        units: Vec<String>,
        now: bool,
    },
    Disable {
        units: Vec<String>,
        now: bool,
    },
    Start {
        units: Vec<String>,
        wait: bool,
    },
    Stop {
        units: Vec<String>,
        wait: bool,
    },
    Restart {
        units: Vec<String>,
        only_active: bool,
        wait: bool,
    },
    Kill {
        units: Vec<String>,
        signal: i32,
    },
    ResetFailed {
        units: Vec<String>,
    },
    IsActive {
        units: Vec<String>,
        failed: bool,
    },
    IsEnabled {
        units: Vec<String>,
    },
    Status {
        units: Vec<String>,
    },
    Show {
        units: Vec<String>,
        properties: Vec<String>,
        values_only: bool,
    },
    PowerOff {
        reboot: bool,
        at_once: bool,
    },
    /// A shutdown in `in_seconds`, as `shutdown +m` schedules it.
    Schedule {
        reboot: bool,
        in_seconds: u64,
        message: String,
    },
    CancelScheduled,
    Wall {
        text: String,
    },
    /// A unit made of these files, started at once.
    Transient {
        start: String,
        files: BTreeMap<String, String>,
        wait: bool,
    },
}

/// What init answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Reply {
    pub(super) fn ok() -> Self {
        Self::default()
    }

    pub(super) fn fail(code: i32, err: impl Into<String>) -> Self {
        Self {
            code,
            out: String::new(),
            err: err.into(),
        }
    }
}
