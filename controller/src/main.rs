//! Starts the controller.

use clap::Parser as _;
use spore_controller::args::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Args::parse().run().await
}
