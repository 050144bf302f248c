//! The machine's disk: what an image holds before the first boot.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::super::wire::{Boot, INIT_EXE};
use super::super::environment;
use super::{SetupError, Tried as _, create_dir};

/// What the host's programs need of its configuration, besides the files below.
pub(super) const HOST_CONFIG_DIRS: [&str; 7] = [
    "ssl",
    "pki",
    "ca-certificates",
    "alternatives",
    "pam.d",
    "security",
    "ld.so.conf.d",
];
const HOST_CONFIG_FILES: [&str; 7] = [
    "ld.so.cache",
    "ld.so.conf",
    "nsswitch.conf",
    "resolv.conf",
    "services",
    "protocols",
    "login.defs",
];

/// Commands that speak to init.
pub(super) const COMMANDS: [&str; 8] = [
    "systemctl",
    "systemd-run",
    "shutdown",
    "poweroff",
    "halt",
    "reboot",
    "wall",
    "journalctl",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
bin:x:1:1:bin:/bin:/usr/sbin/nologin
daemon:x:2:2:daemon:/sbin:/usr/sbin/nologin
nobody:x:65534:65534:Kernel Overflow User:/:/usr/sbin/nologin
ec2-user:x:1000:1000:EC2 Default User:/home/ec2-user:/bin/bash
";
const GROUP: &str = "root:x:0:
bin:x:1:
daemon:x:2:
tty:x:5:
wheel:x:10:ec2-user
nobody:x:65534:
ec2-user:x:1000:
";
const SHADOW: &str = "root:*:19000:0:99999:7:::
ec2-user:!:19000:0:99999:7:::
";
const SUDOERS: &str = "root ALL=(ALL:ALL) ALL
ec2-user ALL=(ALL) NOPASSWD: ALL
@includedir /etc/sudoers.d
";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n";
const PROFILE: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
export PATH
for script in /etc/profile.d/*.sh; do [ -r \"$script\" ] && . \"$script\"; done
unset script
";

/// Writes what is missing, and empties what does not outlive a boot.
pub(super) fn write(root: &Path, boot: &Boot) -> Result<(), SetupError> {
    // AL2023 keeps /run and /tmp in memory. Here they are plain directories, so that a test can look in.
    for volatile in ["run", "tmp"] {
        let dir = root.join(volatile);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).tried("empty", &dir)?;
        }
    }
    for dir in [
        "etc/systemd/system",
        "etc/profile.d",
        "etc/sudoers.d",
        "etc/default",
        "etc/skel",
        "usr/local/bin",
        "usr/local/sbin",
        "usr/local/lib",
        "usr/local/etc",
        "usr/local/share",
        "var/lib/cloud",
        "var/lib/systemd/timers",
        "var/log",
        "var/cache",
        "var/spool",
        "var/tmp",
        "run/lock",
        "run/systemd/system",
        "run/machine",
        "run/user",
        "opt",
        "srv",
        "mnt",
        "media",
        "home/ec2-user",
        "root",
        "tmp",
        "sys",
    ] {
        create_dir(&root.join(dir))?;
    }
    for (dir, mode) in [
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
        ("root", 0o700),
        ("home/ec2-user", 0o700),
    ] {
        set_mode(&root.join(dir), mode)?;
    }
    if !boot.single_user {
        let home = root.join("home/ec2-user");
        std::os::unix::fs::chown(&home, Some(1000), Some(1000))
            .tried("hand over to ec2-user", &home)?;
    }
    links(root)?;
    configuration(root, boot)?;
    commands(root)
}

fn links(root: &Path) -> Result<(), SetupError> {
    for (link, target) in [
        ("var/run", "/run"),
        ("var/lock", "/run/lock"),
        ("etc/mtab", "/proc/self/mounts"),
        ("etc/os-release", "/usr/lib/os-release"),
        ("etc/localtime", "/usr/share/zoneinfo/UTC"),
    ] {
        let link = root.join(link);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(target, &link).tried("create the link", &link)?;
        }
    }
    Ok(())
}

fn configuration(root: &Path, boot: &Boot) -> Result<(), SetupError> {
    let etc = root.join("etc");
    for name in HOST_CONFIG_FILES {
        // Read and write, not copy: the file shall be the machine's to change, whatever its mode on the host.
        if let Ok(text) = std::fs::read(Path::new("/etc").join(name)) {
            write_new(&etc.join(name), text, 0o644)?;
        }
    }
    let host = &boot.hostname;
    let mut for_logins = String::new();
    for (key, value) in environment(boot) {
        if key.starts_with("AWS_") {
            let _ = writeln!(for_logins, "{key}={value}");
        }
    }
    for (name, text, mode) in [
        ("passwd", PASSWD.to_owned(), 0o644),
        ("group", GROUP.to_owned(), 0o644),
        ("shadow", SHADOW.to_owned(), 0o600),
        ("gshadow", String::new(), 0o600),
        ("shells", "/bin/sh\n/bin/bash\n".to_owned(), 0o644),
        ("sudoers", SUDOERS.to_owned(), 0o440),
        ("nsswitch.conf", NSSWITCH.to_owned(), 0o644),
        // As AL2023, Debian and Ubuntu have it: a name has all addresses that the hosts file gives it.
        ("host.conf", "multi on\n".to_owned(), 0o644),
        ("profile", PROFILE.to_owned(), 0o644),
        ("environment", for_logins, 0o644),
        ("fstab", String::new(), 0o644),
        (
            "hosts",
            format!("127.0.0.1 localhost\n::1 localhost\n127.0.0.1 {host}\n"),
            0o644,
        ),
        ("hostname", format!("{host}\n"), 0o644),
        (
            "machine-id",
            format!("{}\n", machine_id(&boot.instance_id)),
            0o444,
        ),
    ] {
        write_new(&etc.join(name), text, mode)?;
    }
    Ok(())
}

/// 32 hexadecimal digits that are the instance's for good.
fn machine_id(instance_id: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(instance_id);
    digest.iter().take(16).fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// One script under every name: it passes the name it was called by.
fn commands(root: &Path) -> Result<(), SetupError> {
    let script = format!("#!/bin/sh\nexec {INIT_EXE} machine-init ctl \"${{0##*/}}\" \"$@\"\n");
    let wrapper = root.join("run/machine/command");
    super::write(&wrapper, &script)?;
    set_mode(&wrapper, 0o755)?;
    for name in COMMANDS {
        write_new(&root.join("usr/local/sbin").join(name), &script, 0o755)?;
    }
    Ok(())
}

fn write_new(path: &Path, text: impl AsRef<[u8]>, mode: u32) -> Result<(), SetupError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    super::write(path, text)?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), SetupError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .tried("set the mode of", path)
}
