//! The mounts of a machine, made in its own mount namespace.

use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind_recursive,
    mount_remount, move_mount, open_tree, unmount,
};

use super::{MODEL_DIR, SetupError, Tried as _, create_dir, skeleton, write};

/// Binds `source` over `target`, which is made when it does not exist.
pub(super) fn bind(source: &Path, target: &Path) -> Result<(), SetupError> {
    if !target.exists() {
        if source.is_dir() {
            create_dir(target)?;
        } else {
            write(target, "")?;
        }
    }
    mount_bind_recursive(source, target).tried("bind-mount over", target)
}

pub(super) fn bind_read_only(source: &Path, target: &Path) -> Result<(), SetupError> {
    bind(source, target)?;
    // An unprivileged remount must keep the flags that the host's mount has.
    let had = statvfs(target)
        .tried("read the mount flags of", target)?
        .f_flag;
    let keep = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (seen, flag) in keep {
        if had.contains(seen) {
            flags |= flag;
        }
    }
    mount_remount(target, flags, "").tried("make read-only", target)
}

/// The host's programs and libraries, read-only; `/usr/local` stays the machine's own.
pub(super) fn host_programs(root: &Path) -> Result<(), SetupError> {
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        mirror(&Path::new("/").join(name), &root.join(name))?;
    }
    let usr = std::fs::read_dir("/usr").tried("list", "/usr")?;
    for entry in usr {
        let name = entry.tried("list", "/usr")?.file_name();
        if name != "local" {
            mirror(
                &Path::new("/usr").join(&name),
                &root.join("usr").join(&name),
            )?;
        }
    }
    for name in skeleton::HOST_CONFIG_DIRS {
        mirror(&Path::new("/etc").join(name), &root.join("etc").join(name))?;
    }
    Ok(())
}

/// A link is copied, a directory bound; what the host does not have, the machine does not have.
fn mirror(host: &Path, target: &Path) -> Result<(), SetupError> {
    if let Ok(link) = std::fs::read_link(host) {
        if target.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(link, target).tried("create the link", target)?;
        }
        return Ok(());
    }
    if host.is_dir() {
        bind_read_only(host, target)
    } else {
        Ok(())
    }
}

/// A minimal `/dev`.
pub(super) fn devices(root: &Path, single_user: bool) -> Result<(), SetupError> {
    let dev = root.join("dev");
    create_dir(&dev)?;
    mount(
        "tmpfs",
        &dev,
        "tmpfs",
        MountFlags::NOSUID,
        Some(c"mode=755"),
    )
    .tried("mount a tmpfs at", &dev)?;
    for node in ["null", "zero", "full", "random", "urandom", "tty"] {
        bind(&Path::new("/dev").join(node), &dev.join(node))?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let link = dev.join(link);
        std::os::unix::fs::symlink(target, &link).tried("create the link", &link)?;
    }
    let shm = dev.join("shm");
    create_dir(&shm)?;
    let shm_flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", &shm, "tmpfs", shm_flags, Some(c"mode=1777")).tried("mount a tmpfs at", &shm)?;
    let pts = dev.join("pts");
    create_dir(&pts)?;
    // Group 5 is `tty`; where only uid 0 exists, so does only gid 0.
    let options = if single_user {
        c"newinstance,ptmxmode=0666"
    } else {
        c"newinstance,ptmxmode=0666,mode=620,gid=5"
    };
    let pts_flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", &pts, "devpts", pts_flags, Some(options)).tried("mount devpts at", &pts)
}

/// `/proc` and `/sys`, with the machine's own counters over the host's.
pub(super) fn kernel_files(root: &Path, model: &Path) -> Result<(), SetupError> {
    let proc = root.join("proc");
    create_dir(&proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, None).tried("mount proc at", &proc)?;
    // The host's kernel settings are not the machine's to change.
    bind_read_only(&proc.join("sys"), &proc.join("sys"))?;
    for (file, over) in [
        ("stat", "stat"),
        ("uptime", "uptime"),
        ("diskstats", "diskstats"),
        ("boot_id", "sys/kernel/random/boot_id"),
    ] {
        bind(&model.join(file), &proc.join(over))?;
    }
    let sysrq = proc.join("sysrq-trigger");
    if sysrq.exists() {
        // It would switch off the host.
        bind(Path::new("/dev/null"), &sysrq)?;
    }
    replace_proc_net(&proc, model)?;
    bind_read_only(&model.join("sys"), &root.join("sys"))
}

/// `/proc/net` is a link to `self/net`, a directory of every process's own, which no bind mount can
/// replace for processes to come. A link can be mounted over a link, though.
fn replace_proc_net(proc: &Path, model: &Path) -> Result<(), SetupError> {
    let link = model.join("proc-net");
    if link.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(format!("{MODEL_DIR}/net"), &link)
            .tried("create the link", &link)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_tree(CWD, &link, flags).tried("take a copy of the link", &link)?;
    let over = proc.join("net");
    move_mount(
        &tree,
        "",
        CWD,
        &over,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .tried("mount a link over", &over)
}

/// Ours in place of the host's commands that would speak to the host's init.
pub(super) fn commands(root: &Path) -> Result<(), SetupError> {
    let wrapper = root.join("run/machine/command");
    for name in skeleton::COMMANDS {
        for dir in ["usr/bin", "usr/sbin", "bin", "sbin"] {
            let path = root.join(dir).join(name);
            // Links (`shutdown`, `poweroff`) lead to `systemctl`, which is replaced itself.
            if path.symlink_metadata().is_ok_and(|m| m.is_file()) {
                bind(&wrapper, &path)?;
            }
        }
    }
    Ok(())
}

/// Makes `root` the root directory and drops the host's.
pub(super) fn pivot(root: &Path) -> Result<(), SetupError> {
    std::env::set_current_dir(root).tried("enter", root)?;
    rustix::process::pivot_root(".", ".").tried("make the root directory of", root)?;
    // The old root is stacked on the new one and, being on top, is what `.` now names.
    unmount(".", UnmountFlags::DETACH).tried("let go of the host's root for", root)?;
    std::env::set_current_dir("/").tried("enter", "/")
}
