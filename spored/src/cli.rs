//! The commands that people and workloads give on the instance.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use spore_core::agent_config::COMPLETION_FILE;

use crate::{clock, files, sensors::completion::Content, status, wait_peers::WaitPeers, workload};

/// The agent of a spore: runs its workload and ends its instance in time.
#[derive(Debug, Parser)]
#[command(name = "spored", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent (the default).
    Run,
    /// Say that the work is done: the spore ends as its onComplete says.
    Complete(Complete),
    /// Show what the agent knows.
    Status(StatusArgs),
    /// Wait until the addresses of all members of this instance's array are known.
    ///
    /// They are in /etc/spawn/job-array-peers.json then, and their names can be looked up. Exit code 124
    /// says that the time is over, 2 that this instance has no peers.
    WaitPeers(WaitPeers),
    /// Print the version.
    Version,
    /// Wait for the workload on the agent's behalf.
    #[command(hide = true)]
    ExecWorkload(ExecWorkload),
}

/// Arguments of `complete`.
#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// How the work went.
    #[arg(long, value_enum, default_value_t = Outcome::Success)]
    status: Outcome,
    /// What there is to say of the result.
    #[arg(long, short)]
    message: Option<String>,
    /// The file by which completion is told.
    #[arg(long, default_value = COMPLETION_FILE)]
    file: PathBuf,
}

/// How the work went.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outcome {
    /// Well.
    Success,
    /// Badly.
    Failed,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Arguments of `exec-workload`.
#[derive(Debug, Args)]
pub(crate) struct ExecWorkload {
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long)]
    log: PathBuf,
    #[arg(long)]
    boot_id: String,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Complete {
    /// Says that the work is done.
    pub(crate) fn execute(self) -> anyhow::Result<()> {
        let Self {
            status,
            message,
            file,
        } = self;
        let status = match status {
            Outcome::Success => "success",
            Outcome::Failed => "failed",
        };
        let content = Content {
            status: Some(status.to_owned()),
            message,
        };
        let json = serde_json::to_vec(&content)?;
        files::write_atomically(&file, &json, 0o644)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

impl StatusArgs {
    /// Shows what the agent knows.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let status = status::ask(Path::new(status::SOCKET)).with_context(|| {
            format!(
                "the agent does not answer at {}: is it running? (systemctl status spored)",
                status::SOCKET
            )
        })?;
        match self.output {
            Output::Json => println!("{}", status::json(&status)),
            Output::Text => print!("{}", status::text(&status, clock::now())),
        }
        Ok(())
    }
}

impl ExecWorkload {
    /// Runs the workload and waits for it.
    pub(crate) fn execute(self) -> anyhow::Result<()> {
        let Self {
            state_dir,
            log,
            boot_id,
            command,
        } = self;
        workload::supervise(&command, &state_dir, &log, &boot_id)
            .context("cannot record what becomes of the workload")
    }
}
