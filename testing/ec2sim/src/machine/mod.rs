//! The instance runner: a *machine* for every running instance.
//!
//! A machine is a process tree in mount, PID, UTS and IPC namespaces of its own, with a root directory of its
//! own. It executes the instance's real user data as cloud-init does and runs the units that the user
//! data installs, so that the production boot script and the production agent run unchanged, with
//! their real paths.
//!
//! ```text
//! Machine (this process) ── unshare ── machine-init (PID 1 of the machine)
//!    orders: JSON lines on its stdin        ├─ user data (first boot only)
//!    stdin closed: the machine dies         ├─ services, timers
//!    exit code: how the machine ended       └─ whatever they start
//! ```
//!
//! It is a model of a machine, not a security boundary: user data runs with this user's rights.

mod boot;
mod ctl;
mod error;
mod init;
mod isolation;
mod wire;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use boot::{Machine, use_executable};
pub use error::MachineError;

/// What a machine is booted from.
#[derive(Debug, Clone)]
pub struct BootSpec {
    /// The EC2 instance id, `i-…`.
    pub instance_id: String,
    /// The region the instance lives in.
    pub region: String,
    /// The machine's directory; its disk is `<dir>/root`, its console `<dir>/console.log`.
    pub dir: PathBuf,
    /// Where this machine finds its instance metadata service.
    pub imds_endpoint: String,
    /// Where this machine finds the AWS APIs.
    pub api_endpoint: String,
    /// The user data, as decoded from the launch request; possibly gzip-compressed.
    pub user_data: Vec<u8>,
    /// The machine's host name.
    pub hostname: String,
    /// Whether user data is to run: once in an instance's life.
    pub first_boot: bool,
}

impl BootSpec {
    /// The machine's disk, as its own processes see it at `/`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        root_of(&self.dir)
    }
}

/// The root directory of the machine that lives in `dir`.
#[must_use]
pub fn root_of(dir: &Path) -> PathBuf {
    dir.join("root")
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It powered itself off.
    PoweredOff,
    /// Its init ended in a way that no machine asks for; the text says how.
    Crashed(String),
    /// It was killed with [`Machine::kill`].
    Killed,
}

/// What the machine's counters show, beside what its own processes really use of the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Busy share of the whole machine, 0 to 100.
    pub cpu_percent: f64,
    /// Bytes a second over the network interface, both directions together.
    pub net_bytes_per_sec: u64,
    /// Bytes a second to and from the disk together.
    pub disk_bytes_per_sec: u64,
}

impl Default for Load {
    /// A machine on which nothing happens but what always does: ARP, DHCP, time, a flushed log.
    fn default() -> Self {
        Self {
            cpu_percent: 1.0,
            net_bytes_per_sec: 60,
            disk_bytes_per_sec: 512,
        }
    }
}

/// Runs this process as a part of a machine: its init, or one of the commands that talk to it.
///
/// `args` are the arguments after `machine-init`. Returns the exit code.
#[must_use]
pub fn machine_init(args: &[String]) -> i32 {
    match args {
        [] => init::run(),
        [ctl, program, rest @ ..] if ctl == "ctl" => ctl::run(program, rest),
        other => {
            eprintln!(
                "machine-init: unexpected arguments {other:?}; it is started by the machine runner only"
            );
            2
        }
    }
}
