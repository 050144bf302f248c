//! What GitOps tools make of a spore: kstatus itself, built from its Go module.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use spore_world::{Output, World};
use tokio::{process::Command, sync::OnceCell};

use crate::go;

/// The status of a spore in kstatus's words: `InProgress`, `Failed`, `Current`, `Terminating`.
pub async fn kstatus(world: &World, name: &str) -> String {
    kstatus_of(world, "sporeinstance", name).await
}

/// The same of an object of any kind.
pub async fn kstatus_of(world: &World, kind: &str, name: &str) -> String {
    let object = world.kubectl(&["get", kind, name, "-o", "json"]).await;
    let object = object.and_then(Output::ok);
    let said = compute(&object.expect("the object is there")).await;
    said.expect("kstatus understands the object")
}

async fn compute(object: &str) -> Result<String> {
    let said = go::ask(Command::new(program().await?), object).await?;
    let (status, _message) = said.split_once('\t').context("kstatus printed no status")?;
    Ok(status.to_owned())
}

async fn program() -> Result<&'static Path> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let built = BUILT.get_or_try_init(|| go::program("kstatus")).await;
    built.map(PathBuf::as_path)
}
