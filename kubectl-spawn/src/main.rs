//! `kubectl spawn`: ephemeral EC2 compute from the command line.
//!
//! The plugin speaks to the Kubernetes API only. Everything that it shows comes from objects that
//! the controller keeps up to date, so it works wherever `kubectl` works.

mod check;
mod cli;
mod client;
mod cmd;
mod complete;
mod confirm;
mod error;
mod find;
mod group;
mod group_wait;
mod kind;
mod kubeconfig;
mod manifest;
mod print;
mod progress;
mod refusal;
mod results;
mod steps;
mod transport;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::{cli::Cli, error::Error};

fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::complain(&error);
            error.code()
        }
    }
}

fn start(cli: Cli) -> Result<(), Error> {
    install_crypto();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?
        .block_on(cmd::run(cli))
}

/// Names the one implementation of cryptography, so that TLS never has to guess between several.
fn install_crypto() {
    // It fails only if one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
