//! What Argo CD makes of a spore: the chart's health script in Argo CD's own interpreter.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;
use spore_world::layout;
use tokio::process::Command;

use crate::go;

/// Says health and message of an object.
pub struct Health {
    program: PathBuf,
}

impl Health {
    /// Builds the interpreter.
    pub async fn new() -> Result<Self> {
        let program = go::program("argohealth").await?;
        Ok(Self { program })
    }

    /// Health and message of an object.
    pub async fn of(&self, object: &Value) -> Result<(String, String)> {
        let mut script = Command::new(&self.program);
        script.arg(layout::root().join("charts/spore/files/argocd/health.lua"));
        let said = go::ask(script, &object.to_string()).await?;
        let (health, message) = said.trim_end().split_once('\t').context("no health")?;
        Ok((health.to_owned(), message.to_owned()))
    }
}
