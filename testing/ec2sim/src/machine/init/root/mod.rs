//! Building the machine's view of the world: its disk, and what lies over it.

mod mounts;
mod skeleton;

use std::path::{Path, PathBuf};

use super::super::root_of;
use super::super::wire::{Boot, INIT_EXE};

/// Where the machine finds the files that model its hardware.
pub(super) const MODEL_DIR: &str = "/run/machine/model";

/// A step of the set-up that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}")]
pub(super) struct SetupError {
    what: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl SetupError {
    pub(super) fn new(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<std::io::Error>,
    ) -> Self {
        Self {
            what,
            path: path.into(),
            source: source.into(),
        }
    }
}

/// Names what was tried when it fails.
pub(super) trait Tried<T> {
    fn tried(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, SetupError>;
}

impl<T, E: Into<std::io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, SetupError> {
        self.map_err(|e| SetupError::new(what, path, e))
    }
}

/// Makes the machine's directory the root of this process and of all it will start.
///
/// The hardware model's files must lie in [`model_dir`] already.
pub(super) fn enter(boot: &Boot) -> Result<(), SetupError> {
    let root = root_of(&boot.dir);
    skeleton::write(&root, boot)?;
    mounts::bind(&root, &root)?;
    mounts::host_programs(&root)?;
    mounts::devices(&root, boot.single_user)?;
    let model = root.join(&MODEL_DIR[1..]);
    create_dir(&model)?;
    mounts::bind(&model_dir(&boot.dir), &model)?;
    mounts::kernel_files(&root, &model)?;
    let exe = root.join(&INIT_EXE[1..]);
    mounts::bind_read_only(&boot.exe, &exe)?;
    mounts::commands(&root)?;
    mounts::pivot(&root)?;
    rustix::system::sethostname(boot.hostname.as_bytes())
        .tried("set the host name to", &boot.hostname)
}

/// Where the files that model the hardware lie on the host.
pub(super) fn model_dir(dir: &Path) -> PathBuf {
    dir.join("model")
}

pub(super) fn create_dir(path: &Path) -> Result<(), SetupError> {
    std::fs::create_dir_all(path).tried("create the directory", path)
}

pub(super) fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), SetupError> {
    std::fs::write(path, text).tried("write", path)
}
