//! Commands run to their end, with what they printed.

use std::{env, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    layout::{self, Tools},
    sim::Sim,
};

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    command: String,
}

impl Output {
    /// Standard output, if the command succeeded.
    pub fn ok(self) -> Result<String> {
        let Self {
            code,
            stdout,
            stderr,
            command,
        } = self;
        ensure!(
            code == Some(0),
            "{command}: exit {code:?}\n{stdout}{stderr}"
        );
        Ok(stdout)
    }
}

/// kubectl for the cluster of a kubeconfig file, with our plugin at hand.
pub(crate) fn kubectl(tools: &Tools, kubeconfig: &Path) -> Result<Command> {
    let mut path = vec![layout::bin_dir()?];
    path.extend(tools.kubectl.parent().map(Path::to_path_buf));
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(&tools.kubectl);
    command
        .env("PATH", env::join_paths(path)?)
        .env("KUBECONFIG", kubeconfig);
    Ok(command)
}

/// The `aws` command for a stand-in, and for nothing else.
pub(crate) fn aws(sim: &Sim) -> Command {
    let mut command = Command::new("aws");
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("AWS_") {
            command.env_remove(key);
        }
    }
    command.envs(sim.client_env()).env("AWS_PAGER", "");
    command
}

/// Runs a command with this on its standard input.
pub(crate) async fn run(mut command: Command, stdin: &str) -> Result<Output> {
    let text = format!("{:?}", command.as_std());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {text}"))?;
    let mut input = child
        .stdin
        .take()
        .context("a piped standard input is there")?;
    // A command that does not read its input may be gone before it is written.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await?;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: text,
    })
}
