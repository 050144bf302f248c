//! What the agent knows, for whoever works on the instance: one line of JSON from a socket.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spore_core::{
    duration::Duration as Span,
    lifecycle::{Action, End, EndReason},
    tags::{Kind, Report},
};
use tokio::{io::AsyncWriteExt as _, net::UnixListener, sync::watch};

/// Where the agent listens.
pub(crate) const SOCKET: &str = "/run/spored.sock";
/// How long the agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the agent knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// `namespace/name` of the object.
    pub(crate) owner: Option<String>,
    /// What the instance is in its array or sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<MemberStatus>,
    /// The deadline in force.
    pub(crate) deadline: Option<Timestamp>,
    /// The end that comes first if nothing changes, or that has begun.
    pub(crate) next_end: Option<NextEnd>,
    /// What the agent reported last.
    pub(crate) report: Report,
}

/// What the instance is in its array or sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemberStatus {
    /// An array or a sweep.
    pub(crate) kind: Kind,
    /// Names it among all.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// How many members it had when this instance was launched.
    pub(crate) size: u32,
    /// The index of this instance, as soon as it is known.
    pub(crate) index: Option<u32>,
    /// Whether the addresses of all members will be told.
    pub(crate) peers: bool,
    /// Which version of them is written.
    pub(crate) peers_version: Option<u32>,
}

/// An end to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextEnd {
    /// Why.
    pub(crate) reason: EndReason,
    /// When.
    pub(crate) at: Timestamp,
    /// What is done to the instance.
    pub(crate) action: Action,
}

impl From<End> for NextEnd {
    fn from(end: End) -> Self {
        let End { reason, at, action } = end;
        Self { reason, at, action }
    }
}

/// Answers everybody on the instance, for ever.
pub(crate) async fn serve(path: &Path, status: watch::Receiver<Status>) {
    let listener = match listen(path) {
        Ok(listener) => listener,
        Err(error) => {
            return tracing::error!("`spored status` does not work: {}: {error}", path.display());
        }
    };
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let mut line = json(&status.borrow());
                line.push('\n');
                tokio::spawn(async move { stream.write_all(line.as_bytes()).await });
            }
            Err(error) => {
                tracing::warn!("{}: {error}", path.display());
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    // Everybody on the instance may know: it holds nothing secret and takes no orders.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Asks the agent.
pub(crate) fn ask(path: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

pub(crate) fn json(status: &Status) -> String {
    serde_json::to_string(status).expect("a status has only string keys")
}

/// The status for people.
pub(crate) fn text(status: &Status, now: Timestamp) -> String {
    let Status {
        owner,
        member,
        deadline,
        next_end,
        report,
    } = status;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{:<10} {value}", format!("{name}:"));
    };
    line("Spore", owner.clone().unwrap_or_else(|| "unknown".into()));
    if let Some(member) = member {
        let word = match member.kind {
            Kind::SporeArray => "Array",
            Kind::SporeSweep => "Sweep",
            Kind::SporeInstance => "Group",
        };
        let index = member
            .index
            .map_or("not known yet".into(), |index| index.to_string());
        line(
            word,
            format!("{}, index {index} of {}", member.id, member.size),
        );
        match member.peers_version {
            Some(version) => line("Peers", format!("version {version}")),
            None if member.peers => line("Peers", "not all are known to run yet".into()),
            None => {}
        }
    }
    if let Some(phase) = report.phase {
        let code = report
            .exit_code
            .map(|code| format!(", exit code {code}"))
            .unwrap_or_default();
        line("Workload", format!("{phase}{code}"));
    }
    if let Some(message) = &report.message {
        line("Message", message.clone());
    }
    if let Some(deadline) = deadline {
        line(
            "Deadline",
            format!("{deadline} (in {})", Span::between(now, *deadline)),
        );
    }
    if let Some(since) = report.idle_since {
        line(
            "Idle",
            format!("since {since} ({})", Span::between(since, now)),
        );
    }
    if let Some(NextEnd { reason, at, action }) = next_end {
        line("Next end", format!("{action:?} at {at}: {reason}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            owner: Some("default/train".into()),
            deadline: Some("2026-11-21T10:00:00Z".parse().unwrap()),
            ..Status::default()
        }
    }

    #[test]
    fn people_read_what_programs_read() {
        let text = text(&status(), "2026-11-21T08:30:00Z".parse().unwrap());
        assert_eq!(
            text,
            "Spore:     default/train\nDeadline:  2026-11-21T10:00:00Z (in 1h30m)\n"
        );
    }

    #[test]
    fn a_member_is_told_as_what_it_is() {
        let told = |index, peers_version| {
            let member = MemberStatus {
                kind: Kind::SporeArray,
                id: "train-20261121-0a1b2c".into(),
                name: "train".into(),
                size: 8,
                index,
                peers: true,
                peers_version,
            };
            let status = Status {
                member: Some(member),
                ..Status::default()
            };
            text(&status, Timestamp::UNIX_EPOCH)
        };
        assert_eq!(
            told(Some(3), Some(2)),
            "Spore:     unknown\nArray:     train-20261121-0a1b2c, index 3 of 8\nPeers:     version 2\n"
        );
        let early = told(None, None);
        assert!(
            early.contains("index not known yet of 8") && early.contains("not all are known"),
            "{early}"
        );
    }

    #[tokio::test]
    async fn the_socket_answers_with_the_status() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (_sender, receiver) = watch::channel(status());
        let (server_path, client_path) = (path.clone(), path);
        let server = tokio::spawn(async move { serve(&server_path, receiver).await });
        let asked = tokio::task::spawn_blocking(move || {
            let deadline = std::time::Instant::now() + TIMEOUT;
            loop {
                match ask(&client_path) {
                    Err(_) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                    asked => return asked,
                }
            }
        });
        assert_eq!(asked.await.unwrap().unwrap(), status());
        server.abort();
    }
}
