//! Starting a unit's processes, and finding all of them again.
//!
//! systemd knows a unit's processes by their control group. Here every unit has a UTS namespace of its
//! own instead, which whatever it starts inherits, however it detaches itself: exact, cheap, and
//! without a trace on the host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::PipeReader;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::unit::Service;

const NAMESPACES: &str = "/run/machine/units";

/// The mark that all processes of one unit carry.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    file: PathBuf,
    /// The namespace's inode.
    id: u64,
}

impl Mark {
    /// Makes a unit's mark; it stays the unit's until the machine goes down.
    pub(super) fn create(unit: &str) -> Result<Self, String> {
        let file = Path::new(NAMESPACES).join(unit);
        let made = std::fs::create_dir_all(NAMESPACES).and_then(|()| File::create(&file));
        made.map_err(|e| format!("{}: {e}", file.display()))?;
        let mut option = std::ffi::OsString::from("--uts=");
        option.push(&file);
        let status = Command::new("/usr/bin/unshare")
            .arg(option)
            .arg("true")
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("unshare --uts: {status}")),
            Err(error) => return Err(format!("unshare --uts: {error}")),
        }
        let id = std::fs::metadata(&file)
            .map_err(|e| format!("{}: {e}", file.display()))?
            .ino();
        Ok(Self { file, id })
    }

    /// The processes of the unit that live now.
    pub(super) fn members(&self) -> Vec<i32> {
        processes().filter(|pid| self.is_on(*pid)).collect()
    }

    fn is_on(&self, pid: i32) -> bool {
        // The name of the link is `uts:[inode]`; a zombie has none.
        std::fs::metadata(format!("/proc/{pid}/ns/uts")).is_ok_and(|ns| ns.ino() == self.id)
    }
}

/// All processes of the machine but init.
pub(super) fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != 1)
}

/// The processes whose name (`/proc/<pid>/comm`, 15 bytes at most) is `name`.
pub(super) fn named(name: &str) -> Vec<i32> {
    let short = name.get(..15).unwrap_or(name);
    let comm = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    processes()
        .filter(|pid| comm(pid).trim_end() == short)
        .collect()
}

/// Signals a process that may be gone already.
pub(super) fn signal(pid: i32, number: i32) {
    let target = Pid::from_raw(pid).zip(Signal::from_named_raw(number));
    if let Some((pid, signal)) = target {
        let _ = kill_process(pid, signal);
    }
}

/// Starts one command of a unit. Returns its pid and what it will print.
pub(super) fn start(
    mark: &Mark,
    service: &Service,
    argv: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<(i32, PipeReader), String> {
    let [program, arguments @ ..] = argv else {
        return Err("an empty command".to_owned());
    };
    let program = resolve(program, environment)?;
    let (reader, writer) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    let also_writer = writer.try_clone().map_err(|e| format!("pipe: {e}"))?;
    let mut command = Command::new("/usr/bin/nsenter");
    command
        .arg(format!("--uts={}", mark.file.display()))
        .arg("--");
    restrict(&mut command, service);
    let spawned = command
        .arg(&program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(
            service
                .working_directory
                .as_deref()
                .unwrap_or(Path::new("/")),
        )
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(also_writer)
        .spawn();
    match spawned {
        // Init reaps: it learns of the end by pid, and the handle is not needed.
        Ok(child) => i32::try_from(child.id())
            .map(|pid| (pid, reader))
            .map_err(|e| e.to_string()),
        Err(error) => Err(format!("{}: {error}", program.display())),
    }
}

fn restrict(command: &mut Command, service: &Service) {
    if service.user.is_none() && !service.no_new_privileges {
        return;
    }
    command.arg("/usr/bin/setpriv");
    if let Some(user) = &service.user {
        command.args([
            format!("--reuid={user}"),
            format!("--regid={user}"),
            "--init-groups".to_owned(),
        ]);
    }
    if service.no_new_privileges {
        command.arg("--no-new-privs");
    }
    command.arg("--");
}

/// The program's file, found and executable, so that a start that cannot work fails as one.
fn resolve(program: &str, environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let runnable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let path = environment
        .get("PATH")
        .map(String::as_str)
        .unwrap_or_default();
    let found = if program.contains('/') {
        Some(PathBuf::from(program)).filter(runnable)
    } else {
        path.split(':')
            .map(|dir| Path::new(dir).join(program))
            .find(runnable)
    };
    found.ok_or_else(|| format!("{program} does not exist or is not executable"))
}
