//! Small programs in Go, for what exists in Go only.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use spore_world::layout;
use tokio::{fs, io::AsyncWriteExt as _, process::Command};

/// The program of a module below `testing/`, built if its sources are newer: Go keeps what it has
/// compiled.
pub(crate) async fn program(module: &str) -> Result<PathBuf> {
    let program = layout::local("bin").join(module);
    // Under its name only when it is whole: tests of another process may be running the one before.
    let fresh = program.with_extension(std::process::id().to_string());
    let output = Command::new("go")
        // As testing/controlplane/ensure.sh builds, so that what helm has compiled is not compiled again.
        .envs([("CGO_ENABLED", "0"), ("GOWORK", "off")])
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .args(["build", "-trimpath", "-o"])
        .arg(&fresh)
        .arg(".")
        .current_dir(layout::root().join("testing").join(module))
        .output()
        .await
        .with_context(|| {
            format!("cannot run go, which testing/{module} is built with: install Go 1.26 or newer")
        })?;
    ensure!(
        output.status.success(),
        "go build in testing/{module}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&fresh, &program).await?;
    Ok(program)
}

/// What a program prints that reads this.
pub(crate) async fn ask(mut program: Command, input: &str) -> Result<String> {
    let name = program.as_std().get_program().display().to_string();
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name}: {}\n{complaint}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}
