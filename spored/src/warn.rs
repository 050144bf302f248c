//! Tells people on the instance what is about to happen to it.

use std::{fs, io, path::Path, process::Stdio, time::Duration};

use jiff::Timestamp;
use spore_core::{
    agent_config::WARNING_FILE,
    duration::Duration as Span,
    lifecycle::{Action, End, EndReason},
};
use tokio::{io::AsyncWriteExt as _, process::Command, time};

use crate::{files, imds::Imds, sensors::spot::Notice};

/// Where programs on the instance find that EC2 takes it back.
const INTERRUPTION_FILE: &str = "/tmp/spawn-spot-interruption.json";
/// How long telling the terminals may take.
const WALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Warns of an end: in the log, in the warning file, and on every terminal.
pub(crate) fn warn(end: End, now: Timestamp) {
    let text = text(end, now);
    tracing::warn!("{}", text.trim_end());
    if let Err(error) = files::write_atomically(Path::new(WARNING_FILE), text.as_bytes(), 0o644) {
        tracing::error!("cannot write {WARNING_FILE}: {error}");
    }
    tokio::spawn(async move {
        if let Err(error) = wall(&text).await {
            tracing::debug!("cannot tell the terminals: {error}");
        }
    });
}

/// Takes a warning back.
pub(crate) fn unwarn() {
    tracing::info!("the end that was warned of does not come");
    if let Err(error) = fs::remove_file(WARNING_FILE)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::error!("cannot remove {WARNING_FILE}: {error}");
    }
}

/// Leaves the mark of a spot interruption.
pub(crate) async fn mark_interruption(imds: &Imds, notice: Notice, now: Timestamp) {
    let identity = time::timeout(WALL_TIMEOUT, imds.identity()).await.ok();
    let mark = serde_json::json!({
        "event": "spot_interruption",
        "instance_id": identity.map(|identity| &identity.instance_id),
        "action": notice.action,
        "time": notice.time,
        "detected_at": now,
    });
    let path = Path::new(INTERRUPTION_FILE);
    if let Err(error) = files::write_atomically(path, mark.to_string().as_bytes(), 0o644) {
        tracing::error!("cannot write {INTERRUPTION_FILE}: {error}");
    }
}

fn text(end: End, now: Timestamp) -> String {
    let End { reason, at, action } = end;
    let what = match action {
        Action::Terminate => "will be terminated, with everything on it,",
        Action::Stop => "will be stopped",
    };
    let when = if at <= now {
        "now".to_owned()
    } else {
        format!("in {}, at {at}", Span::between(now, at))
    };
    let why = match reason {
        EndReason::SpotInterruption => "EC2 takes this Spot instance back",
        EndReason::Completed => "the work is done",
        EndReason::TTLExpired => "its time to live is over (kubectl spawn extend prolongs it)",
        EndReason::CostLimit => "it has cost what it was allowed to",
        EndReason::Idle => "it does nothing",
        EndReason::UserRequested
        | EndReason::EndedOutside
        | EndReason::PoweredOff
        | EndReason::HostFailure => "it was ended from outside",
    };
    format!("This instance {what} {when}: {why}.\n")
}

async fn wall(text: &str) -> io::Result<()> {
    let mut wall = Command::new("wall")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let told = async {
        if let Some(mut input) = wall.stdin.take() {
            input.write_all(text.as_bytes()).await?;
        }
        wall.wait().await
    };
    match time::timeout(WALL_TIMEOUT, told).await {
        Ok(status) => status.map(drop),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_what_happens_when_and_why() {
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let end = End {
            reason: EndReason::TTLExpired,
            at,
            action: Action::Terminate,
        };
        assert_eq!(
            text(end, "2026-11-21T09:55:00Z".parse().unwrap()),
            "This instance will be terminated, with everything on it, in 5m, at 2026-11-21T10:00:00Z: \
             its time to live is over (kubectl spawn extend prolongs it).\n"
        );
        let end = End {
            reason: EndReason::Idle,
            action: Action::Stop,
            ..end
        };
        assert_eq!(
            text(end, at),
            "This instance will be stopped now: it does nothing.\n"
        );
    }
}
