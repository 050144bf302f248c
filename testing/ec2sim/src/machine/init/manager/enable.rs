//! `enable` and `disable`: links under `*.wants`, as systemd makes them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::super::wire::Reply;
use super::super::unit::{ENABLED_DIR, Unit};

/// The units that start at boot.
pub(super) fn enabled() -> Vec<String> {
    let mut names: Vec<String> = links()
        .into_iter()
        .filter_map(|link| file_name(&link))
        .collect();
    names.sort();
    names.dedup();
    names
}

pub(super) fn is_enabled(name: &str) -> bool {
    enabled().iter().any(|enabled| enabled == name)
}

fn links() -> Vec<PathBuf> {
    list(Path::new(ENABLED_DIR))
        .into_iter()
        .filter(|dir| {
            dir.extension()
                .is_some_and(|e| e == "wants" || e == "requires")
        })
        .flat_map(|dir| list(&dir))
        .collect()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

pub(super) fn enable(name: &str, unit: &Unit, reply: &mut Reply) {
    if unit.wanted_by.is_empty() {
        let _ = writeln!(
            reply.err,
            "The unit file {name} has no installation config (WantedBy= in [Install])."
        );
    }
    for target in &unit.wanted_by {
        let dir = Path::new(ENABLED_DIR).join(format!("{target}.wants"));
        let link = dir.join(name);
        if link.symlink_metadata().is_ok() {
            continue;
        }
        let made = std::fs::create_dir_all(&dir)
            .and_then(|()| std::os::unix::fs::symlink(&unit.path, &link));
        match made {
            Ok(()) => {
                let _ = writeln!(
                    reply.err,
                    "Created symlink {} → {}.",
                    link.display(),
                    unit.path.display()
                );
            }
            Err(error) => {
                reply.code = 1;
                let _ = writeln!(
                    reply.err,
                    "Failed to enable {name}: {}: {error}",
                    link.display()
                );
            }
        }
    }
}

pub(super) fn disable(name: &str, reply: &mut Reply) {
    for link in links()
        .into_iter()
        .filter(|link| file_name(link).is_some_and(|n| n == name))
    {
        match std::fs::remove_file(&link) {
            Ok(()) => {
                let _ = writeln!(reply.err, "Removed \"{}\".", link.display());
            }
            Err(error) => {
                reply.code = 1;
                let _ = writeln!(
                    reply.err,
                    "Failed to disable {name}: {}: {error}",
                    link.display()
                );
            }
        }
    }
}
