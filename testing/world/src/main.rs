//! `world`: starts and stops the local world.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use spore_world::{controlplane::ControlPlane, demo, layout, up};

/// The local world: a real control plane, the EC2 stand-in, the controller.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the world, or what of it does not run.
    Up,
    /// Stop it.
    Down,
    /// Show the main job on a world of its own.
    Demo,
    /// Stop the control plane that end-to-end tests share.
    TestDown,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().verb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace, which says nothing to whoever started this.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Up => {
            up::up().await?;
            println!("{}", next_steps());
        }
        Verb::Down => up::down()?,
        Verb::Demo => demo::demo().await?,
        Verb::TestDown => ControlPlane::stop(&layout::local("test"))?,
    }
    Ok(())
}

fn next_steps() -> String {
    format!(
        "The world is up. In any shell:

    source {}
    kubectl apply -f examples/spore.yaml
    kubectl get sporeinstances --watch
    aws ec2 describe-instances

`make down` stops it.",
        up::env_file().display()
    )
}
