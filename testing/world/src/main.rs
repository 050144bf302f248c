//! `world`: starts and stops the local world.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use spore_world::{controlplane::ControlPlane, layout};

/// The local world: a real control plane, the EC2 stand-in, the controller.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start
    Up,
    /// Stop the control plane that end-to-end tests share.
    TestDown,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace, which says nothing to whoever started this.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    match Cli::parse().command {
        Verb::Up => {
            let tools = layout::Tools::find()?;
            let cp = ControlPlane::start(&layout::local("test"), &tools).await?;
            println!("{}", cp.server());
            Ok(())
        }
        Verb::TestDown => ControlPlane::stop(&layout::local("test")),
    }
}
