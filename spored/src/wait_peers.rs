//! The barrier: waits until the addresses of all members of the array are there.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use spore_core::{
    agent_config::{self, AgentConfig, PEERS_FILE},
    duration::Duration as Span,
    tags::Kind,
};

use crate::{config, member::Group, status};

/// How often the file is looked for.
const POLL: Duration = Duration::from_millis(200);
/// Exit code where there is nothing to wait for.
const NO_PEERS: u8 = 2;
/// Exit code after the time is over, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// Arguments of `wait-peers`.
#[derive(Debug, Args)]
pub(crate) struct WaitPeers {
    /// How long to wait at most, such as 90s or 1h30m.
    #[arg(long, default_value = "10m")]
    timeout: Span,
    /// The agent's configuration.
    #[arg(long, hide = true, default_value = agent_config::PATH)]
    config: PathBuf,
    /// The file that is waited for.
    #[arg(long, hide = true, default_value = PEERS_FILE)]
    file: PathBuf,
}

impl WaitPeers {
    /// Waits.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let group = match group(config::read(&self.config)?) {
            Ok(group) => group,
            Err(why) => {
                eprintln!("spored: {why}");
                return Ok(NO_PEERS.into());
            }
        };
        let began = Instant::now();
        let timeout = Duration::from(self.timeout);
        while !self.file.exists() {
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                eprintln!("spored: {}", self.missing(&group));
                return Ok(TIMED_OUT.into());
            }
            thread::sleep(POLL.min(left));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn missing(&self, group: &Group) -> String {
        let Group { id, name, size, .. } = group;
        let text = format!(
            "the array {id} has {size} members, and after {} not all of them are known to run, so {} is not there yet; `kubectl describe sporearray {name}` tells what is missing",
            self.timeout,
            self.file.display(),
        );
        match status::ask(Path::new(status::SOCKET)) {
            Ok(_) => text,
            Err(_) => format!(
                "{text}; nor does the agent of this instance answer, which writes it: is it running? (systemctl status spored)"
            ),
        }
    }
}

/// The array whose peers are told, or why there is none.
fn group(config: AgentConfig) -> Result<Group, String> {
    let AgentConfig { owner, members, .. } = config;
    let group = members
        .as_ref()
        .map(Group::of)
        .ok_or_else(|| format!("{owner} is no member of an array: it has no peers"))?;
    match group.kind {
        Kind::SporeArray if group.peers => Ok(group),
        Kind::SporeArray => Err(format!(
            "the array {} does not tell its members each other's addresses (spec.peers)",
            group.id
        )),
        kind @ (Kind::SporeSweep | Kind::SporeInstance) => Err(format!(
            "{} is a {kind}: only the members of an array have peers",
            group.id
        )),
    }
}
