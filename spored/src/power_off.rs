//! The operating system's own timer, which ends the instance if nothing else does, and the power switch.

use std::{fs, io, path::Path, time::Duration};

use jiff::Timestamp;
use spore_core::{
    agent_config::{
        POWER_OFF_SERVICE, POWER_OFF_TIMER, power_off_service_unit, power_off_timer_unit,
    },
    duration::Duration as Grace,
};
use tokio::{process::Command, time};

use crate::files;

/// Where units of the machine's owner lie.
const UNITS: &str = "/etc/systemd/system";
/// How long the service manager may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why the timer is not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A unit cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A program did not do what it was asked.
    #[error("`{command}` failed: {why}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// Why.
        why: String,
    },
}

/// Makes sure that the timer is set for the deadline plus the grace.
pub(crate) async fn arm(deadline: Timestamp, grace: Grace) -> Result<(), Error> {
    let service = write_unit(POWER_OFF_SERVICE, &power_off_service_unit())?;
    let timer = write_unit(POWER_OFF_TIMER, &power_off_timer_unit(deadline, grace))?;
    if !service
        && !timer
        && run("systemctl", &["is-active", "--quiet", POWER_OFF_TIMER])
            .await
            .is_ok()
    {
        return Ok(());
    }
    run("systemctl", &["daemon-reload"]).await?;
    run("systemctl", &["enable", POWER_OFF_TIMER]).await?;
    run("systemctl", &["restart", POWER_OFF_TIMER]).await
}

/// Cuts the power.
pub(crate) async fn now() {
    for (program, arguments) in [
        ("systemctl", &["poweroff"][..]),
        ("shutdown", &["-P", "now"]),
    ] {
        match run(program, arguments).await {
            Ok(()) => return tracing::warn!("powering off"),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// Writes a unit if it differs; says whether it did.
fn write_unit(name: &str, text: &str) -> Result<bool, Error> {
    let path = Path::new(UNITS).join(name);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    files::write_atomically(&path, text.as_bytes(), 0o644)
        .map(|()| true)
        .map_err(|source| Error::Write {
            path: path.display().to_string(),
            source,
        })
}

async fn run(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let failed = |why: String| Error::Command {
        command: format!("{program} {}", arguments.join(" ")),
        why,
    };
    let output = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output();
    match time::timeout(TIMEOUT, output).await {
        Err(_) => Err(failed(format!("not done within {TIMEOUT:?}"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(failed(format!("{}: {}", output.status, said.trim())))
        }
    }
}
