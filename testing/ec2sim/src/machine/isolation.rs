//! How this host lets us isolate machines.

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::MachineError;

/// How this host lets us make namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    Root,
    Unprivileged,
}

impl Isolation {
    /// Arguments of `unshare`.
    pub(super) fn flags(self) -> &'static [&'static str] {
        const FLAGS: &[&str] = &[
            "--user",
            "--map-root-user",
            "--mount",
            "--propagation=private",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child=SIGKILL",
        ];
        match self {
            Self::Root => &FLAGS[2..],
            Self::Unprivileged => FLAGS,
        }
    }
}

/// Found out once: as root if that works, else in a user namespace.
pub(super) async fn isolation() -> Result<Isolation, MachineError> {
    static FOUND: OnceCell<Isolation> = OnceCell::const_new();
    FOUND.get_or_try_init(probe).await.copied()
}

async fn probe() -> Result<Isolation, MachineError> {
    let mut detail = String::new();
    for candidate in [Isolation::Root, Isolation::Unprivileged] {
        let tried = Command::new("unshare")
            .args(candidate.flags())
            .args(["--", "true"])
            .output()
            .await;
        let output = tried.map_err(|source| MachineError::Start {
            program: "unshare",
            instance: "any machine".to_owned(),
            source,
        })?;
        if output.status.success() {
            return Ok(candidate);
        }
        detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    }
    Err(MachineError::NoNamespaces { detail })
}
