//! What a process uses, as the kernel counts it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Clock ticks a second in `/proc`, fixed in the kernel's interface (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Resident memory in MB (10⁶ bytes).
pub(crate) fn resident_mb(pid: i32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("process {pid} has no resident memory"))?;
    Ok(kib * 1024.0 / 1e6)
}

/// Processor time used so far, in seconds, of threads that have ended too.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let fields = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    let ticks = |at: usize| -> Option<f64> { fields.get(at)?.parse().ok() };
    // utime and stime (proc_pid_stat(5)): fields 14 and 15 of all, the first here is the third.
    let used = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    Ok(used.context("an unexpected /proc/<pid>/stat")? / TICKS)
}

/// The processes that call themselves so below a process, at any depth, in whatever PID namespace.
pub(crate) fn below(ancestor: i32, name: &str) -> Vec<i32> {
    let all: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    all.into_iter()
        .filter(|pid| called(*pid).is_some_and(|called| called == name) && descends(*pid, ancestor))
        .collect()
}

/// The program's name in the first argument, which says more than the name that the kernel gives.
fn called(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let path = String::from_utf8_lossy(first).into_owned();
    Some(Path::new(&path).file_name()?.to_string_lossy().into_owned())
}

fn descends(mut pid: i32, ancestor: i32) -> bool {
    while pid > 1 {
        let parent = stat(pid).and_then(|fields| fields.get(1)?.parse().ok());
        match parent {
            Some(parent) if parent == ancestor => return true,
            Some(parent) => pid = parent,
            None => return false,
        }
    }
    false
}

/// The fields of `/proc/<pid>/stat` from the third on; the second may itself contain anything.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some(fields.map(str::to_owned).collect())
}

/// The size of a file in MB (10⁶ bytes).
pub(crate) fn file_mb(path: &Path) -> Result<f64> {
    let size = fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    // Exact up to 2^53 bytes.
    #[expect(clippy::cast_precision_loss, reason = "no program is that large")]
    Ok(size as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn our_own_use_can_be_read() {
        assert!(resident_mb(own()).unwrap() > 0.5);
        assert!(cpu_seconds(own()).unwrap() < 1e6);
        assert!(resident_mb(-1).is_err());
    }

    #[test]
    fn children_are_found_below_us_and_nowhere_else() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // The kernel lets us go on before the program has its arguments.
        let found = (0..500)
            .map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                below(own(), "sleep")
            })
            .find(|found| found.contains(&pid))
            .unwrap_or_default();
        let elsewhere = below(pid, "sleep");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&pid));
        assert!(elsewhere.is_empty());
    }
}
