//! `spored`, the agent on each instance.
//!
//! Sensors ([`sensors`], [`workload`]) tell events to the agent's mind ([`agent`]), which decides with
//! the function that it shares with the controller and says what is to be done; [`daemon`] does it.

mod act;
mod agent;
mod cli;
mod clock;
mod config;
mod daemon;
mod ec2;
mod files;
mod imds;
mod member;
mod notify;
mod peers;
mod power_off;
mod procfs;
mod report;
mod sensors;
mod status;
mod wait_peers;
mod warn;
mod workload;

use std::{io, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command};

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command.unwrap_or(Command::Run) {
        Command::Run => run()?,
        Command::Complete(arguments) => arguments.execute()?,
        Command::Status(arguments) => arguments.execute()?,
        Command::WaitPeers(arguments) => return arguments.execute(),
        Command::ExecWorkload(arguments) => arguments.execute()?,
        Command::Version => println!("spored {}", env!("CARGO_PKG_VERSION")),
    }
    Ok(ExitCode::SUCCESS)
}

fn run() -> anyhow::Result<()> {
    // The journal adds the time; `SPORED_LOG=debug` tells more.
    let level = std::env::var("SPORED_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
    tracing::info!("spored {}", env!("CARGO_PKG_VERSION"));
    // One thread: the agent mostly waits, and must not compete with the workload.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(daemon::run())
}
