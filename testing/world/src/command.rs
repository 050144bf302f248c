//! Commands run to their end, with what they printed.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt, process::Command};

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
