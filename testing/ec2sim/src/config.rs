//! How a stand-in is set up.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of one stand-in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether the token buckets apply.
    pub limits: bool,
    /// How long an instance stays `pending`.
    pub pending: Duration,
    /// How long an instance stays `stopping`.
    pub stopping: Duration,
    /// How long an instance stays `shutting-down`.
    pub shutting_down: Duration,
    /// How long a terminated instance stays visible.
    pub terminated_visible: Duration,
    /// How long a new instance profile stays unknown to RunInstances.
    pub profile_delay: Duration,
    /// The directory behind `/_artifacts/`.
    pub artifacts: Option<PathBuf>,
    /// Where machines have their directories; without it no instance is booted.
    pub machines: Option<PathBuf>,
    /// The port of every instance's own metadata address; 0 picks a free one.
    pub imds_port: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: true,
            pending: Duration::from_secs(1),
            stopping: Duration::from_secs(1),
            shutting_down: Duration::from_secs(1),
            terminated_visible: Duration::from_secs(3600),
            profile_delay: Duration::ZERO,
            artifacts: None,
            machines: None,
            imds_port: 0,
        }
    }
}
