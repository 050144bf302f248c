//! The controller as a process: started, killed and started again.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use hyper::Method;

use crate::{
    controlplane::free_ports,
    eventually::poll,
    http, layout,
    process::{Launch, Life, Process, tail},
};

/// The name of its binary, its log and its pid file.
pub const NAME: &str = "spore-controller";

const LISTEN: &str = "--http-listen";

/// Where the controller works.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Kubeconfig with the rights that the chart gives.
    pub kubeconfig: PathBuf,
    /// The environment for AWS.
    pub aws: Vec<(String, String)>,
    /// The namespace that it is installed in.
    pub namespace: String,
    /// Its arguments, from the chart.
    pub args: Vec<String>,
    /// Arguments that replace the chart's ones of the same name.
    pub more_args: Vec<String>,
    /// Directory for log and pid file.
    pub dir: PathBuf,
    /// Whether it outlives us.
    pub life: Life,
}

/// A controller process, or the place of one.
#[derive(Debug)]
pub struct Controller {
    launch: Launch,
    address: SocketAddr,
    process: Option<Process>,
}

impl Controller {
    /// Prepares one. It runs already if an earlier run left it, with the same program and arguments.
    pub fn new(setup: Setup) -> Result<Self> {
        let mut args = setup.args;
        let given: Vec<&str> = setup.more_args.iter().map(|arg| name(arg)).collect();
        args.retain(|arg| name(arg) != LISTEN && !given.contains(&name(arg)));
        args.extend(setup.more_args);
        let mut env = setup.aws;
        env.push((
            "KUBECONFIG".to_owned(),
            setup.kubeconfig.display().to_string(),
        ));
        // As the chart's Deployment tells a pod who and where it is. The name stays the same over
        // restarts, so that a killed controller need not wait for its own lease to run out.
        env.push(("POD_NAMESPACE".to_owned(), setup.namespace));
        env.push(("POD_NAME".to_owned(), NAME.to_owned()));
        env.push(("RUST_BACKTRACE".to_owned(), "1".to_owned()));
        if let Ok(level) = std::env::var("SPORE_LOG") {
            env.push(("SPORE_LOG".to_owned(), level));
        }
        let [port] = free_ports()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut launch = Launch {
            name: NAME.to_owned(),
            program: layout::bin(NAME)?,
            args,
            env,
            dir: setup.dir,
            life: setup.life,
        };
        let found = Process::find(&launch.dir, NAME)
            .and_then(|process| Some((listens_on(&process, &launch)?, process)));
        let (address, process) = match found {
            Some((address, process)) => (address, Some(process)),
            None => (address, None),
        };
        launch.args.push(format!("{LISTEN}={address}"));
        Ok(Self {
            launch,
            address,
            process,
        })
    }

    /// Starts it, after killing what runs in its place, and waits until it is ready.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready(Duration::from_secs(30)).await
    }

    /// Starts it and does not wait.
    pub fn spawn(&mut self) -> Result<()> {
        self.kill();
        if let Some(mut earlier) = Process::find(&self.launch.dir, NAME) {
            earlier.kill();
        }
        self.process = Some(Process::start(&self.launch)?);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        let process = self
            .process
            .as_ref()
            .context("the controller was not started")?;
        poll(patience, async || match process.check() {
            Ok(()) => self.get("/readyz").await.ok().map(|_| Ok(())),
            Err(dead) => Some(Err(dead)),
        })
        .await
        .with_context(|| {
            let log = process.log();
            format!(
                "the controller is not ready within {patience:?}; the end of {}:\n{}",
                log.display(),
                tail(&log, 15)
            )
        })?
    }

    /// SIGKILL, if it runs.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM. True if it went by itself within 30 s; else it was killed.
    pub async fn terminate(&mut self) -> bool {
        match self.process.take() {
            Some(mut process) => process.terminate(Duration::from_secs(30)).await,
            None => true,
        }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::alive)
    }

    /// Its process id, if it runs.
    pub fn pid(&self) -> Option<i32> {
        self.process
            .as_ref()
            .filter(|process| process.alive())
            .map(Process::pid)
    }

    /// What it has logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The file of its log.
    pub fn log_file(&self) -> PathBuf {
        self.launch.dir.join(format!("{NAME}.log"))
    }

    /// Its answer to a GET: `/metrics`, `/healthz`, `/readyz`.
    pub async fn get(&self, path: &str) -> Result<String> {
        let answer = http::call(self.address, Method::GET, path, None).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Where a process listens that is what `launch` would start, but for its port.
fn listens_on(process: &Process, launch: &Launch) -> Option<SocketAddr> {
    let args = process.args();
    let (listen, same) = args.split_last()?;
    let is_it = same == launch.args && process.runs(&launch.program);
    is_it.then(|| listen.strip_prefix(LISTEN)?.strip_prefix('=')?.parse().ok())?
}

/// The name in `--name=value`.
fn name(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(name, _)| name)
}
