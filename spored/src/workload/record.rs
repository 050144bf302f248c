//! What the machine's disk remembers of the workload.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `workload.json` | the supervisor, exclusively | the workload was begun: never begin it again |
//! | `exit.json` | the supervisor | how it ended |
//!
//! An agent that comes back after a crash knows from these two what became of the workload.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::files;

/// A process that no later one can be taken for: its number and when it began, in ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) start: u64,
}

impl Process {
    /// The process of this number, if it runs.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            pid,
            start: start_if_running(&stat)?,
        })
    }

    /// Whether exactly this process still runs.
    pub(crate) fn runs(self) -> bool {
        Self::find(self.pid) == Some(self)
    }
}

/// Reads `/proc/<pid>/stat`; `None` if the process is dead and only waits to be collected.
fn start_if_running(stat: &str) -> Option<u64> {
    // The name is in parentheses and may itself hold parentheses and spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    // proc_pid_stat(5): state is field 3 and starttime field 22.
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(start)
}

/// The workload was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Which boot of the machine.
    pub(crate) boot_id: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Who waits for it.
    pub(crate) supervisor: Process,
    /// The workload itself, leader of its process group; absent until it runs.
    pub(crate) leader: Option<Process>,
}

impl Begun {
    /// Whether anything of it still runs.
    pub(crate) fn runs(&self) -> bool {
        self.supervisor.runs() || self.leader.is_some_and(Process::runs)
    }
}

/// How the workload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// When.
    pub(crate) at: Timestamp,
    /// Its exit code, or 128 plus the number of the signal that ended it; absent if nobody knows.
    pub(crate) code: Option<i32>,
    /// What there is to say beyond the code.
    pub(crate) message: Option<String>,
}

/// Where the records lie.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(crate) fn begun(&self) -> Option<Begun> {
        read(&self.begun_path())
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        read(&self.exit_path())
    }

    /// Claims the one run of this instance's life.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if it was claimed before.
    pub(crate) fn claim(&self, begun: &Begun) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        files::create_once(&self.begun_path(), &json(begun), 0o644)
    }

    pub(crate) fn update(&self, begun: &Begun) -> io::Result<()> {
        files::write_atomically(&self.begun_path(), &json(begun), 0o644)
    }

    pub(crate) fn finish(&self, exit: &Exit) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        files::write_atomically(&self.exit_path(), &json(exit), 0o644)
    }

    /// Forgets a workload of another launch, which an image of that machine brought along.
    pub(crate) fn clear(&self) {
        for path in [self.begun_path(), self.exit_path()] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::error!("cannot remove {}: {error}", path.display());
            }
        }
    }

    fn begun_path(&self) -> PathBuf {
        self.dir.join("workload.json")
    }

    fn exit_path(&self) -> PathBuf {
        self.dir.join("exit.json")
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a record has only string keys")
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::error!("{} is not readable: {error}", path.display()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_number_and_start() {
        let me = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.runs());
        assert!(
            !Process {
                start: me.start + 1,
                ..me
            }
            .runs()
        );
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 8 9";
        assert_eq!(
            start_if_running(&format!("42 (a) R (b) S {fields}")),
            Some(777)
        );
        assert_eq!(
            start_if_running(&format!("42 (a) Z {fields}")),
            None,
            "dead, not collected"
        );
        assert_eq!(start_if_running("42 (a"), None);
    }

    #[test]
    fn a_workload_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path());
        let begun = Begun {
            boot_id: "b".into(),
            at: Timestamp::UNIX_EPOCH,
            supervisor: Process { pid: 1, start: 1 },
            leader: None,
        };
        records.claim(&begun).unwrap();
        assert_eq!(
            records.claim(&begun).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(records.begun(), Some(begun));
    }
}
