//! The process between agent and workload.
//!
//! It outlives the agent, waits for the workload, and leaves the result on disk. So neither a crash
//! nor an upgrade of the agent ends the workload or loses how it ended. The workload runs as root, as
//! boot scripts do; a command that wants less starts with `runuser -u USER --`.

use std::{
    fs, io,
    os::unix::{
        fs::OpenOptionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use super::record::{Begun, Exit, Process, Records};
use crate::clock;

/// What a shell answers for a program that it does not find.
const NOT_FOUND: i32 = 127;
/// What a shell answers for a program that it cannot execute.
const NOT_EXECUTABLE: i32 = 126;

/// Runs the workload, unless it was begun before, and records how it ended.
///
/// # Errors
/// If what becomes of the workload cannot be recorded.
pub(crate) fn run(command: &[String], dir: &Path, log: &Path, boot_id: &str) -> io::Result<()> {
    // A session of its own: what ends the agent's terminal or group does not end this. It fails only
    // for a group leader, who needs none.
    let _ = rustix::process::setsid();
    let records = Records::new(dir);
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let supervisor = Process::find(pid).ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    let mut begun = Begun {
        boot_id: boot_id.to_owned(),
        at: clock::now(),
        supervisor,
        leader: None,
    };
    match records.claim(&begun) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        claimed => claimed?,
    }
    let mut child = match spawn(command, log) {
        Ok(child) => child,
        Err(error) => return records.finish(&not_started(command, &error)),
    };
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // The agent is the last that the kernel may kill when memory is short, the workload is not.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
    begun.leader = Process::find(pid);
    let recorded = records.update(&begun);
    let exit = ended(child.wait()?);
    records.finish(&exit)?;
    recorded
}

fn spawn(command: &[String], log: &Path) -> io::Result<std::process::Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("the command is empty"))?;
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(log)?;
    Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// What becomes of a workload that cannot be started.
pub(super) fn not_started(command: &[String], error: &io::Error) -> Exit {
    let program = command.first().map_or("", String::as_str);
    let (code, why) = if error.kind() == io::ErrorKind::NotFound {
        (
            NOT_FOUND,
            "neither it nor its interpreter is on the instance".to_owned(),
        )
    } else {
        (NOT_EXECUTABLE, error.to_string())
    };
    Exit {
        at: clock::now(),
        code: Some(code),
        message: Some(format!("cannot start {program}: {why}")),
    }
}

fn ended(status: ExitStatus) -> Exit {
    let (code, message) = match (status.code(), status.signal()) {
        (Some(0), _) => (Some(0), None),
        (Some(code), _) => (Some(code), Some(format!("exit status {code}"))),
        (None, Some(signal)) => (
            Some(128 + signal),
            Some(format!("killed by signal {signal}")),
        ),
        (None, None) => (None, Some(status.to_string())),
    };
    Exit {
        at: clock::now(),
        code,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_as_shells_count_it() {
        let exit = ended(ExitStatus::from_raw(9));
        assert_eq!(
            (exit.code, exit.message.as_deref()),
            (Some(137), Some("killed by signal 9"))
        );
        let exit = ended(ExitStatus::from_raw(3 << 8));
        assert_eq!(
            (exit.code, exit.message.as_deref()),
            (Some(3), Some("exit status 3"))
        );
        let exit = ended(ExitStatus::from_raw(0));
        assert_eq!((exit.code, exit.message), (Some(0), None));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_by_name() {
        let error = io::Error::from(io::ErrorKind::NotFound);
        let exit = not_started(&["pyton".into()], &error);
        assert_eq!(exit.code, Some(127));
        assert_eq!(
            exit.message.as_deref(),
            Some("cannot start pyton: neither it nor its interpreter is on the instance")
        );
    }
}
