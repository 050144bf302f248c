//! The machine's hardware as its processes see it: two virtual CPUs, one network interface, one disk.
//!
//! The counters grow with the load that was set, and with the CPU time that the machine's processes
//! really use. Each file is rewritten in place, so that the mounts over `/proc` keep showing it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::Load;
use super::super::wire::Boot;
use super::root::{MODEL_DIR, SetupError, Tried as _, create_dir, model_dir, write};

/// How often the counters move.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// What the kernel counts CPU time in: a hundredth of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
const CPUS: f64 = 2.0;
const SECTOR: f64 = 512.0;
const INTERFACE: &str = "ens5";
const DISK: &str = "nvme0n1";

/// The running totals behind the files.
pub(super) struct Model {
    load: Load,
    booted: Instant,
    boot_time: i64,
    moved: Instant,
    /// CPU ticks over all CPUs.
    busy: f64,
    idle: f64,
    /// Ticks that the machine's processes had used at the last look.
    used: f64,
    net_bytes: f64,
    disk_bytes: f64,
    files: Files,
}

struct Files {
    stat: File,
    uptime: File,
    diskstats: File,
    net_dev: File,
    disk_stat: File,
    /// rx_bytes, tx_bytes, rx_packets, tx_packets
    interface: [File; 4],
}

const STATISTICS: [&str; 4] = ["rx_bytes", "tx_bytes", "rx_packets", "tx_packets"];

/// Lays the files out on the host, before they are mounted.
pub(super) fn lay_out(boot: &Boot) -> Result<(), SetupError> {
    let dir = model_dir(&boot.dir);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).tried("empty", &dir)?;
    }
    create_dir(&dir)?;
    for file in ["stat", "uptime", "diskstats"] {
        write(&dir.join(file), "")?;
    }
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .tried("read", "/proc/sys/kernel/random/uuid")?;
    write(&dir.join("boot_id"), boot_id)?;
    lay_out_proc_net(&dir.join("net"))?;
    lay_out_sys(&dir.join("sys"), &boot.instance_id)
}

/// Everything but `dev` is the real thing.
fn lay_out_proc_net(dir: &Path) -> Result<(), SetupError> {
    create_dir(dir)?;
    let real = std::fs::read_dir("/proc/self/net").tried("list", "/proc/self/net")?;
    for entry in real {
        let name = entry.tried("list", "/proc/self/net")?.file_name();
        if name != "dev" {
            let link = dir.join(&name);
            std::os::unix::fs::symlink(Path::new("/proc/self/net").join(&name), &link)
                .tried("create the link", &link)?;
        }
    }
    write(&dir.join("dev"), "")
}

fn lay_out_sys(sys: &Path, instance_id: &str) -> Result<(), SetupError> {
    for (name, operstate, address, mtu) in [
        ("lo", "unknown", "00:00:00:00:00:00", "65536"),
        (INTERFACE, "up", "02:00:00:00:00:01", "9001"),
    ] {
        let interface = sys.join("class/net").join(name);
        create_dir(&interface.join("statistics"))?;
        for (file, text) in [("operstate", operstate), ("address", address), ("mtu", mtu)] {
            write(&interface.join(file), format!("{text}\n"))?;
        }
        for file in STATISTICS {
            write(&interface.join("statistics").join(file), "0\n")?;
        }
    }
    let disk = sys.join("block").join(DISK);
    let dmi = sys.join("class/dmi/id");
    let cpu = sys.join("devices/system/cpu");
    for dir in [&disk, &dmi, &cpu, &sys.join("fs/cgroup")] {
        create_dir(dir)?;
    }
    write(&disk.join("stat"), "")?;
    // 8 GiB, the root volume of the usual images.
    write(&disk.join("size"), "16777216\n")?;
    write(&dmi.join("sys_vendor"), "Amazon EC2\n")?;
    write(&dmi.join("board_asset_tag"), format!("{instance_id}\n"))?;
    write(&cpu.join("online"), "0-1\n")
}

impl Model {
    /// Opens the files, from inside the machine, and shows the first counters.
    pub(super) fn open() -> Result<Self, SetupError> {
        let now = Instant::now();
        let mut model = Self {
            load: Load::default(),
            booted: now,
            boot_time: jiff::Timestamp::now().as_second(),
            moved: now,
            busy: 0.0,
            idle: 0.0,
            used: 0.0,
            net_bytes: 0.0,
            disk_bytes: 0.0,
            files: Files::open()?,
        };
        model.advance(now);
        Ok(model)
    }

    pub(super) fn set_load(&mut self, load: Load) {
        self.advance(Instant::now());
        self.load = load;
    }

    /// Moves the counters to `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.moved).as_secs_f64();
        self.moved = now;
        // A process that nobody waited for takes its count with it: the sum may fall, the counters never do.
        let used = processes_used().max(self.used);
        let capacity = seconds * TICKS_PER_SECOND * CPUS;
        let busy =
            (capacity * self.load.cpu_percent / 100.0 + used - self.used).clamp(0.0, capacity);
        self.used = used;
        self.busy += busy;
        self.idle += capacity - busy;
        self.net_bytes += seconds * self.load.net_bytes_per_sec as f64;
        self.disk_bytes += seconds * self.load.disk_bytes_per_sec as f64;
        if let Err(error) = self.show(now) {
            eprintln!("machine-init: cannot show the machine's counters: {error}");
        }
    }

    fn show(&self, now: Instant) -> std::io::Result<()> {
        let up = now.saturating_duration_since(self.booted).as_secs_f64();
        let files = &self.files;
        put(&files.stat, &self.stat())?;
        put(
            &files.uptime,
            &format!("{up:.2} {:.2}\n", self.idle / TICKS_PER_SECOND),
        )?;
        let disk = self.disk_counters();
        // As on a real machine the partition shows the same traffic again.
        put(
            &files.diskstats,
            &format!(" 259       0 {DISK} {disk}\n 259       1 {DISK}p1 {disk}\n"),
        )?;
        put(&files.disk_stat, &format!("{disk}\n"))?;
        let (bytes, packets) = self.net_counters();
        put(&files.net_dev, &net_dev(bytes, packets))?;
        for (file, value) in files.interface.iter().zip([bytes, bytes, packets, packets]) {
            put(file, &format!("{value}\n"))?;
        }
        Ok(())
    }

    fn stat(&self) -> String {
        let line = |name: &str, share: f64| {
            let (busy, idle) = (self.busy * share, self.idle * share);
            let system = (busy * 0.3) as u64;
            format!(
                "{name} {} 0 {system} {} 0 0 0 0 0 0\n",
                busy as u64 - system,
                idle as u64
            )
        };
        let mut text = line("cpu ", 1.0);
        for cpu in ["cpu0", "cpu1"] {
            text.push_str(&line(cpu, 1.0 / CPUS));
        }
        let _ = write!(
            text,
            "intr 0\nctxt {}\nbtime {}\n",
            self.busy as u64, self.boot_time
        );
        text.push_str(
            "processes 100\nprocs_running 1\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
        );
        text
    }

    /// reads, merged, sectors, ms; writes, merged, sectors, ms; in flight, ms, weighted ms
    fn disk_counters(&self) -> String {
        let sectors = (self.disk_bytes / SECTOR / 2.0) as u64;
        let operations = sectors / 8;
        format!(
            "{operations} 0 {sectors} {operations} {operations} 0 {sectors} {operations} 0 {operations} {operations}"
        )
    }

    /// Bytes and packets of one direction.
    fn net_counters(&self) -> (u64, u64) {
        let bytes = (self.net_bytes / 2.0) as u64;
        (bytes, bytes / 1000)
    }
}

fn net_dev(bytes: u64, packets: u64) -> String {
    let line = |name: &str, bytes: u64, packets: u64| {
        let direction =
            format!("{bytes:>8} {packets:>7}    0    0    0     0          0         0");
        format!("{name:>6}: {direction} {direction}\n")
    };
    format!(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n{}{}",
        line("lo", 0, 0),
        line(INTERFACE, bytes, packets)
    )
}

impl Files {
    fn open() -> Result<Self, SetupError> {
        let open = |name: String| {
            let path = Path::new(MODEL_DIR).join(name);
            OpenOptions::new()
                .write(true)
                .open(&path)
                .tried("open", &path)
        };
        let statistic = |n: usize| {
            open(format!(
                "sys/class/net/{INTERFACE}/statistics/{}",
                STATISTICS[n]
            ))
        };
        Ok(Self {
            stat: open("stat".to_owned())?,
            uptime: open("uptime".to_owned())?,
            diskstats: open("diskstats".to_owned())?,
            net_dev: open("net/dev".to_owned())?,
            disk_stat: open(format!("sys/block/{DISK}/stat"))?,
            interface: [statistic(0)?, statistic(1)?, statistic(2)?, statistic(3)?],
        })
    }
}

/// One write, no truncation: counters only grow, so that the new text is never the shorter one and a
/// reader never finds an empty file.
fn put(file: &File, text: &str) -> std::io::Result<()> {
    file.write_all_at(text.as_bytes(), 0)
}

/// CPU ticks used by the machine's processes and by those they have waited for.
fn processes_used() -> f64 {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0.0;
    };
    entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        })
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .map(|stat| ticks_of(&stat))
        .sum()
}

/// utime, stime, cutime and cstime: the 14th to 17th field, counted after the name, which may hold anything.
fn ticks_of(stat: &str) -> f64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum()
}
