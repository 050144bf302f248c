//! `bench`: measures what the project promises about its speed and size, on real parts.
//!
//! One JSON object a figure on standard output, progress on standard error. How each figure is
//! measured, and what it is expected to be, is told in `docs/performance.md`.

mod agent;
mod array;
mod clock;
mod ec2;
mod figure;
mod fleet;
mod fleet_figures;
mod kubernetes;
mod launch;
mod plugin;
mod process;
mod prometheus;
mod stage;
mod sweep;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use spore_world::layout;

use crate::figure::Wanted;

/// Measures the figures whose names begin with a prefix.
#[derive(Parser)]
struct Cli {
    /// The beginning of the names of the figures to measure; left out: all.
    #[arg(default_value = "")]
    prefix: String,
    /// How many rows the sweep has, in hundreds; its figures are named after it.
    #[arg(long, env = "ROWS")]
    rows: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace, which says nothing to whoever started this.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Cli { prefix, rows }: Cli) -> Result<()> {
    let sweep = sweep::figures(rows);
    let groups = [
        plugin::FIGURES,
        agent::FIGURES,
        launch::FIGURES,
        array::FIGURES,
        fleet_figures::FIGURES,
    ];
    let wanted = Wanted::new(&prefix);
    ensure!(
        groups.iter().any(|group| wanted.any(group)) || wanted.any(&sweep),
        "no figure begins with {prefix:?}; there are {}",
        [groups.concat().join(", "), sweep.join(", ")].join(", ")
    );
    let _alone = lock()?;
    if wanted.any(plugin::FIGURES) {
        plugin::measure(&wanted).await.context("plugin figures")?;
    }
    if wanted.any(agent::FIGURES) {
        agent::measure(&wanted).await.context("spored figures")?;
    }
    if wanted.any(launch::FIGURES) {
        launch::measure(&wanted).await.context("launch figures")?;
    }
    if wanted.any(array::FIGURES) {
        array::measure(&wanted).await.context("array figures")?;
    }
    if wanted.any(&sweep) {
        sweep::measure(&wanted, rows)
            .await
            .context("sweep figures")?;
    }
    if wanted.any(fleet_figures::FIGURES) {
        fleet_figures::measure(&wanted)
            .await
            .context("figures of 10,000 spores")?;
    }
    Ok(())
}

/// Two benches at once would measure each other.
fn lock() -> Result<fs::File> {
    let dir = layout::local("bench");
    fs::create_dir_all(&dir)?;
    let file = fs::File::create(dir.join("lock"))?;
    file.try_lock()
        .context("another bench runs in this checkout: wait for its end")?;
    Ok(file)
}
