//! The command: `ec2sim serve`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ec2sim::Standin;
use ec2sim::config::Config;

/// A faithful EC2 stand-in over HTTP.
#[derive(Debug, Parser)]
#[command(name = "ec2sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the APIs on a loopback address until told to stop.
    Serve(Serve),
    /// A part of a machine; only the machine runner starts this.
    #[command(hide = true, disable_help_flag = true)]
    MachineInit {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Debug, Args)]
struct Serve {
    /// Where to listen; a loopback address. Port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// Write the port here once it is open.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// EC2's documented request and resource limits.
    #[arg(long, value_enum, default_value = "on")]
    limits: OnOff,
    /// How long instances stay pending.
    #[arg(long, value_parser = duration, default_value = "1s")]
    pending: Duration,
    /// How long instances stay stopping.
    #[arg(long, value_parser = duration, default_value = "1s")]
    stopping: Duration,
    /// How long instances stay shutting-down.
    #[arg(long, value_parser = duration, default_value = "1s")]
    shutting_down: Duration,
    /// How long terminated instances stay visible.
    #[arg(long, value_parser = duration, default_value = "1h")]
    terminated_visible: Duration,
    /// How long a new instance profile stays unknown to RunInstances.
    #[arg(long, value_parser = duration, default_value = "0s")]
    profile_delay: Duration,
    /// Serve the files of this directory under /_artifacts/.
    #[arg(long)]
    artifacts: Option<PathBuf>,
    /// Boot a machine for each running instance, in a directory below this one.
    #[arg(long)]
    machines: Option<PathBuf>,
    /// The port of every instance's own metadata address; 0 picks one. Without --machines, a port
    /// other than 0 turns these addresses on.
    #[arg(long, default_value_t = 0)]
    imds_port: u16,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(span).map_err(|_| format!("{text} is less than nothing"))
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::MachineInit { args } => std::process::exit(ec2sim::machine::machine_init(&args)),
        Command::Serve(serve) => {
            let filter = tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "info".into());
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .init();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .context("cannot start the runtime")?;
            runtime.block_on(run(serve))
        }
    }
}

async fn run(serve: Serve) -> anyhow::Result<()> {
    let Serve {
        listen,
        port_file,
        limits,
        pending,
        stopping,
        shutting_down,
        terminated_visible,
        profile_delay,
        artifacts,
        machines,
        imds_port,
    } = serve;
    let machines = machines
        .map(std::path::absolute)
        .transpose()
        .context("--machines")?;
    let config = Config {
        limits: limits == OnOff::On,
        pending,
        stopping,
        shutting_down,
        terminated_visible,
        profile_delay,
        artifacts,
        machines,
        imds_port,
    };
    let standin = Standin::bind(config, listen).await?;
    let address = standin.address();
    if let Some(file) = &port_file {
        // Complete or absent: readers poll for it.
        let partial = file.with_extension("partial");
        std::fs::write(&partial, address.port().to_string())
            .and_then(|()| std::fs::rename(&partial, file))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    tracing::info!(%address, "listening");
    standin.run(stop_signal()).await;
    tracing::info!("stopped");
    Ok(())
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
