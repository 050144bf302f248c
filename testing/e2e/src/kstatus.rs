//! What GitOps tools make of a spore: kstatus itself, built from its Go module.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use spore_world::{World, layout};
use tokio::{fs, io::AsyncWriteExt as _, process::Command, sync::OnceCell};

/// The status of a spore in kstatus's words: `InProgress`, `Failed`, `Current`, `Terminating`.
pub async fn kstatus(world: &World, name: &str) -> String {
    let object = world
        .kubectl(&["get", "sporeinstance", name, "-o", "json"])
        .await;
    let object = object.and_then(spore_world::Output::ok);
    let said = compute(&object.expect("the spore is there")).await;
    said.expect("kstatus understands the spore")
}

async fn compute(object: &str) -> Result<String> {
    let mut child = Command::new(program().await?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(object.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "kstatus: {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let (status, _message) = said.split_once('\t').context("kstatus printed no status")?;
    Ok(status.to_owned())
}

/// The program, built if its sources are newer: Go keeps what it has compiled.
async fn program() -> Result<&'static Path> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_try_init(build).await.map(PathBuf::as_path)
}

async fn build() -> Result<PathBuf> {
    let program = layout::local("bin").join("kstatus");
    // Under its name only when it is whole: tests of another process may be running the one before.
    let fresh = program.with_extension(std::process::id().to_string());
    let output = Command::new("go")
        // As testing/controlplane/ensure.sh builds, so that what helm has compiled is not compiled again.
        .envs([("CGO_ENABLED", "0"), ("GOWORK", "off")])
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .args(["build", "-trimpath", "-o"])
        .arg(&fresh)
        .arg(".")
        .current_dir(layout::root().join("testing/kstatus"))
        .output()
        .await
        .context("cannot run go, which testing/kstatus is built with: install Go 1.26 or newer")?;
    ensure!(
        output.status.success(),
        "go build in testing/kstatus: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&fresh, &program).await?;
    Ok(program)
}
