//! What can go wrong when a machine is to boot.

use std::path::PathBuf;

/// Why a machine could not be booted.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Neither root nor an unprivileged user namespace is to be had.
    #[error(
        "this host cannot isolate machines: {detail}; run as root with CAP_SYS_ADMIN, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
    )]
    NoNamespaces {
        /// What `unshare` said.
        detail: String,
    },
    /// A program that the runner needs did not start.
    #[error(
        "cannot start `{program}` for {instance}: {source}; it is part of util-linux and must be on PATH"
    )]
    Start {
        /// The program.
        program: &'static str,
        /// The instance that was to boot.
        instance: String,
        /// Why.
        source: std::io::Error,
    },
    /// The machine's directory cannot be used.
    #[error("cannot use {path} as the directory of {instance}: {source}")]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// The instance that was to boot.
        instance: String,
        /// Why.
        source: std::io::Error,
    },
    /// This program's own executable, which becomes the machine's init, cannot be found.
    #[error("cannot find this program's executable, which is the machine's init: {0}")]
    Executable(std::io::Error),
    /// Init gave up while it built the machine.
    #[error("{instance} does not boot: {why} (console: {console})")]
    NotReady {
        /// The instance that was to boot.
        instance: String,
        /// What init said.
        why: String,
        /// Where to read on.
        console: PathBuf,
    },
}
