//! The world that stays up for a person: `make up`, `make down`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    kubeconfig::{self, Credential},
    layout::{self, local},
    pki::write_secret,
    process::Life,
    sim::Sim,
    standing::Standing,
};

/// Starts what does not run, and writes `.local/kubeconfig` and `.local/env`.
pub async fn up() -> Result<()> {
    let _lock = lock()?;
    let world = Standing::start(&directory(), Life::Detached).await?;
    let admin = Credential::Certificate("admin".to_owned());
    let plane = &world.plane;
    kubeconfig::write(
        &kubeconfig_file(),
        plane.server(),
        &plane.pki(),
        "default",
        &admin,
    )?;
    write_secret(&env_file(), &environment(&world.sim)?)
}

/// Stops everything that `up` started. Logs, and the programs that were built, stay.
pub fn down() -> Result<()> {
    let _lock = lock()?;
    Standing::stop(&directory())?;
    for file in [kubeconfig_file(), env_file()] {
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// The kubeconfig that `up` writes.
pub fn kubeconfig_file() -> PathBuf {
    local("kubeconfig")
}

/// The shell file that `up` writes.
pub fn env_file() -> PathBuf {
    local("env")
}

fn directory() -> PathBuf {
    local("world")
}

/// One `up` or `down` at a time.
fn lock() -> Result<fs::File> {
    fs::create_dir_all(directory())?;
    let file = fs::File::create(directory().join("lock"))?;
    file.lock().context("cannot lock the world")?;
    Ok(file)
}

/// Lines for a shell to source.
fn environment(sim: &Sim) -> Result<String> {
    let mut lines = String::from("# The local world of this checkout: source this file.\n");
    let mut export = |key: &str, value: &str| {
        lines.push_str(&format!("export {key}={value}\n"));
    };
    export("KUBECONFIG", &quoted(&kubeconfig_file()));
    for (key, value) in sim.client_env() {
        export(&key, &value);
    }
    let ours = [layout::bin_dir()?, local("bin")];
    export(
        "PATH",
        &format!("{}:{}:\"$PATH\"", quoted(&ours[0]), quoted(&ours[1])),
    );
    lines.push_str("unset AWS_PROFILE AWS_SESSION_TOKEN\n");
    Ok(lines)
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
