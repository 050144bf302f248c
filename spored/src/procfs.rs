//! The kernel's counters, read from texts of `/proc`. Pure; what is not understood is `None` or left
//! out, never a guess.

use serde::{Deserialize, Serialize};

/// What the machine has done since it booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Time of all processors.
    pub(crate) cpu: CpuTime,
    /// Bytes received and sent.
    pub(crate) network: u64,
    /// Bytes read and written.
    pub(crate) disk: u64,
}

/// Time of all processors together, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CpuTime {
    /// Time at work.
    pub(crate) busy: u64,
    /// All time.
    pub(crate) total: u64,
    /// Number of processors.
    pub(crate) count: u32,
}

/// Sectors of `/proc/diskstats` have this size whatever the device (kernel, admin-guide/iostats).
const SECTOR: u64 = 512;

/// Reads `/proc/stat`.
pub(crate) fn cpu_time(stat: &str) -> Option<CpuTime> {
    let mut all = None;
    let mut count = 0;
    for line in stat.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            continue;
        };
        match rest.as_bytes().first() {
            Some(b' ') => all = Some(rest),
            Some(byte) if byte.is_ascii_digit() => count += 1,
            _ => {}
        }
    }
    let mut fields = all?
        .split_ascii_whitespace()
        .map(|field| field.parse::<u64>().ok());
    let mut next = || fields.next().flatten();
    // proc_stat(5). Guest time is part of user time already. Waiting for a disk is not work, and neither
    // is what the hypervisor gave to others.
    let (user, nice, system, idle) = (next()?, next()?, next()?, next()?);
    let [iowait, irq, softirq, steal] = [(); 4].map(|()| next().unwrap_or(0));
    let sum = |parts: &[u64]| {
        parts
            .iter()
            .fold(0_u64, |sum, &part| sum.saturating_add(part))
    };
    let busy = sum(&[user, nice, system, irq, softirq]);
    Some(CpuTime {
        busy,
        total: sum(&[busy, idle, iowait, steal]),
        count: count.max(1),
    })
}

/// Reads `/proc/net/dev`: bytes of every interface but the loopback.
pub(crate) fn network_bytes(dev: &str) -> Option<u64> {
    let mut lines = dev.lines();
    // Two lines of headings.
    lines
        .by_ref()
        .take(2)
        .filter(|line| line.contains('|'))
        .count()
        .eq(&2)
        .then_some(())?;
    let mut total = 0_u64;
    for line in lines {
        let Some((name, numbers)) = line.rsplit_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let number = |n: usize| numbers.split_ascii_whitespace().nth(n)?.parse::<u64>().ok();
        // Received and sent bytes are columns 1 and 9.
        if let (Some(received), Some(sent)) = (number(0), number(8)) {
            total = total.saturating_add(received).saturating_add(sent);
        }
    }
    Some(total)
}

/// Reads `/proc/diskstats`: bytes of whole disks, so that a partition's are not counted twice.
pub(crate) fn disk_bytes(diskstats: &str) -> u64 {
    diskstats
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            if !is_whole_disk(fields.get(2)?) {
                return None;
            }
            let sectors = |n: usize| fields.get(n)?.parse::<u64>().ok();
            Some(sectors(5)?.saturating_add(sectors(9)?))
        })
        .fold(0_u64, u64::saturating_add)
        .saturating_mul(SECTOR)
}

/// Whether a name is that of a disk and not of a part, a mapping or a disk of memory.
fn is_whole_disk(name: &str) -> bool {
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = name.strip_prefix("nvme") {
        return rest
            .split_once('n')
            .is_some_and(|(c, n)| numeric(c) && numeric(n));
    }
    ["xvd", "sd", "vd"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NITRO_STAT: &str = include_str!("../testdata/nitro/stat");
    const NITRO_NET: &str = include_str!("../testdata/nitro/net_dev");
    const NITRO_DISK: &str = include_str!("../testdata/nitro/diskstats");
    const XEN_NET: &str = include_str!("../testdata/xen/net_dev");
    const XEN_DISK: &str = include_str!("../testdata/xen/diskstats");

    #[test]
    fn processors_are_counted_and_their_time_is_split() {
        let time = cpu_time(NITRO_STAT).unwrap();
        assert_eq!(
            time,
            CpuTime {
                busy: 4_512 + 36 + 2_210 + 110 + 95,
                total: 366_963 + 814 + 21,
                count: 2
            }
        );
    }

    #[test]
    fn a_machine_of_192_processors_is_read() {
        let lines: String = (0..192)
            .map(|n| format!("cpu{n} 5 0 5 990 0 0 0 0 0 0\n"))
            .collect();
        let stat = format!("cpu  960 0 960 190080 0 0 0 0 0 0\n{lines}intr 1 2 3\nctxt 9\n");
        let time = cpu_time(&stat).unwrap();
        assert_eq!(
            time,
            CpuTime {
                busy: 1_920,
                total: 192_000,
                count: 192
            }
        );
    }

    #[test]
    fn every_interface_but_the_loopback_is_read_whatever_its_name() {
        assert_eq!(
            network_bytes(NITRO_NET),
            Some(15_234_567 + 2_345_678 + 4_096 + 8_192)
        );
        assert_eq!(network_bytes(XEN_NET), Some(9_000_111 + 1_000_222));
        let odd = "h|h\nh|h\n enp125s0:100 0 0 0 0 0 0 0 7 0\neth0:1: 1 0 0 0 0 0 0 0 2 0\n";
        assert_eq!(network_bytes(odd), Some(110));
    }

    #[test]
    fn whole_disks_are_read_and_their_parts_are_not() {
        assert_eq!(
            disk_bytes(NITRO_DISK),
            (301_234 + 150_000 + 1_000 + 2_000) * 512
        );
        assert_eq!(disk_bytes(XEN_DISK), (400_500 + 90_000) * 512);
        for (name, whole) in [
            ("nvme0n1", true),
            ("nvme10n1", true),
            ("nvme0n1p1", false),
            ("nvme0c0n1", false),
            ("xvda", true),
            ("xvda1", false),
            ("sda", true),
            ("sdaa", true),
            ("sda1", false),
            ("vdb", true),
            ("loop0", false),
            ("dm-0", false),
            ("ram0", false),
            ("md127", false),
            ("nvme", false),
            ("sd", false),
        ] {
            assert_eq!(is_whole_disk(name), whole, "{name}");
        }
    }

    #[test]
    fn what_is_no_such_text_is_not_taken_for_silence() {
        assert_eq!(cpu_time(""), None);
        assert_eq!(cpu_time("cpu  1 2 x 4\n"), None);
        assert_eq!(network_bytes(""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "(cpu[0-9 ]*|nvme0n1|lo:|[0-9]{1,25}|[ \n|:]|\\PC){0,60}") {
            let _ = (cpu_time(&text), network_bytes(&text), disk_bytes(&text));
        }
    }
}
