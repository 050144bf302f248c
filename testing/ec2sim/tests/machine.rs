//! Machines boot, run what user data says, and die, in real namespaces.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ec2sim::machine::{BootSpec, Ended, Load, Machine, use_executable};

const PATIENCE: Duration = Duration::from_secs(30);

/// A machine's directory, gone with the test.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        use_executable(env!("CARGO_BIN_EXE_ec2sim"));
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn spec(&self, user_data: impl Into<Vec<u8>>) -> BootSpec {
        BootSpec {
            instance_id: "i-0123456789abcdef0".to_owned(),
            region: "us-east-1".to_owned(),
            dir: self.dir.path().to_owned(),
            imds_endpoint: "http://127.1.2.3:1338".to_owned(),
            api_endpoint: "http://127.0.0.1:4566".to_owned(),
            user_data: user_data.into(),
            hostname: "ip-10-0-0-7".to_owned(),
            first_boot: true,
        }
    }

    async fn boot(&self, script: &str) -> Machine {
        Machine::boot(self.spec(format!("#!/bin/bash\n{script}")))
            .await
            .unwrap()
    }

    async fn boot_again(&self, script: &str) -> Machine {
        let spec = BootSpec {
            first_boot: false,
            ..self.spec(format!("#!/bin/bash\n{script}"))
        };
        Machine::boot(spec).await.unwrap()
    }

    /// A path as the machine sees it.
    fn path(&self, inside: &str) -> PathBuf {
        self.dir
            .path()
            .join("root")
            .join(inside.trim_start_matches('/'))
    }

    fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap_or_default()
    }

    async fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {what}\n{}",
                self.console()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the file at that path holds that text.
    async fn holds(&self, inside: &str, text: &str) {
        self.eventually(&format!("{inside} holds {text:?}"), |b| {
            b.read(inside).contains(text)
        })
        .await;
    }

    async fn ended(&self, machine: &Machine) -> Ended {
        match tokio::time::timeout(PATIENCE, machine.ended()).await {
            Ok(how) => how,
            Err(_) => panic!("the machine goes on\n{}", self.console()),
        }
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default()
    }
}

/// The command lines of processes on this host that hold `marker`.
fn processes_of(marker: &str) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|cmdline| cmdline.contains(marker))
        .collect()
}

fn service(exec: &str, more: &str) -> String {
    format!(
        "[Unit]\nDescription=Test\n[Service]\nExecStart={exec}\n{more}\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// A script that installs a unit file.
fn install(name: &str, text: &str) -> String {
    format!("cat > /etc/systemd/system/{name} <<'UNIT'\n{text}\nUNIT\n")
}

#[tokio::test]
async fn user_data_runs_as_root_of_a_machine_of_its_own() {
    let bench = Bench::new();
    let script = "set -eu\n\
        { id -u; hostname; env; } > /root/seen\n\
        mkdir /etc/spored && echo here > /etc/spored/config.yaml\n\
        echo to the console\n\
        touch /root/done\n";
    let started = Instant::now();
    let machine = bench.boot(script).await;
    println!("boot: {:?}", started.elapsed());
    bench
        .eventually("user data is done", |b| b.path("/root/done").exists())
        .await;
    let seen = bench.read("/root/seen");
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(&lines[..2], ["0", "ip-10-0-0-7"]);
    assert!(lines.contains(&"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.1.2.3:1338"));
    assert!(lines.contains(&"AWS_ENDPOINT_URL=http://127.0.0.1:4566"));
    assert!(
        !seen.contains("AWS_REGION"),
        "a machine must ask its metadata service: {seen}"
    );
    assert!(
        !seen.contains("CARGO"),
        "nothing of the host's environment gets in: {seen}"
    );
    assert!(
        !Path::new("/etc/spored/config.yaml").exists(),
        "the host's /etc is untouched"
    );
    bench
        .holds("/var/log/cloud-init-output.log", "to the console")
        .await;
    assert!(bench.console().contains("to the console"));
    drop(machine);
}

#[tokio::test]
async fn compressed_user_data_is_unpacked() {
    let bench = Bench::new();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer
        .write_all(b"#!/bin/sh\necho unpacked > /root/done\n")
        .unwrap();
    let _machine = Machine::boot(bench.spec(packer.finish().unwrap()))
        .await
        .unwrap();
    bench.holds("/root/done", "unpacked").await;
}

#[tokio::test]
async fn user_data_that_is_no_script_is_refused_aloud_and_the_machine_stays_up() {
    let bench = Bench::new();
    let machine = Machine::boot(bench.spec("#cloud-config\n")).await.unwrap();
    bench
        .eventually("a refusal", |b| {
            b.console().contains("user data is not run")
        })
        .await;
    machine.kill();
    assert_eq!(bench.ended(&machine).await, Ended::Killed);
}

#[tokio::test]
async fn two_machines_see_nothing_of_each_other() {
    let (one, two) = (Bench::new(), Bench::new());
    let script = "touch /tmp/SPAWN_COMPLETE /usr/local/bin/mine; ls /tmp /usr/local/bin > /root/list; ps ax > /root/ps; echo x > /root/done";
    let _first = one.boot(script).await;
    one.holds("/root/done", "x").await;
    let _second = two.boot("ls /tmp /usr/local/bin > /root/list; ls -d /proc/[0-9]* | wc -l > /root/count; echo x > /root/done").await;
    two.holds("/root/done", "x").await;
    assert!(one.read("/root/list").contains("SPAWN_COMPLETE"));
    assert!(!two.read("/root/list").contains("SPAWN_COMPLETE"));
    assert!(!two.read("/root/list").contains("mine"));
    let count: u32 = two.read("/root/count").trim().parse().unwrap();
    assert!(count < 10, "a machine sees its own processes only: {count}");
}

#[tokio::test]
async fn a_service_comes_back_when_its_process_is_killed_and_takes_its_children_along() {
    let bench = Bench::new();
    let agent = "#!/bin/bash\n[ -e /root/pids ] || setsid env -i /bin/sleep 7777 &\necho $$ >> /root/pids\nexec sleep 8888\n";
    let script = format!(
        "cat > /usr/local/bin/spored <<'AGENT'\n{agent}AGENT\nchmod +x /usr/local/bin/spored\n{}systemctl enable --now spored && touch /root/done",
        install(
            "spored.service",
            &service("/usr/local/bin/spored", "Restart=always\nRestartSec=200ms")
        )
    );
    let machine = bench.boot(&script).await;
    bench
        .eventually("the agent runs", |b| b.path("/root/done").exists())
        .await;
    bench
        .eventually("its pid", |b| b.read("/root/pids").lines().count() == 1)
        .await;
    // `exec` has made the script a `sleep`; its child hides in a session and an environment of its own.
    machine.kill_process("sleep");
    bench
        .eventually("a second start", |b| {
            b.read("/root/pids").lines().count() == 2
        })
        .await;
    assert!(
        bench
            .read("/var/log/journal-spored.log")
            .contains("killed by signal 9")
    );
    let spec = bench.spec("");
    assert!(
        spec.root()
            .join("etc/systemd/system/multi-user.target.wants/spored.service")
            .is_symlink()
    );
}

#[tokio::test]
async fn when_the_agent_dies_its_detached_workload_dies_too() {
    let bench = Bench::new();
    // The workload hides in a session and an environment of its own. The second run looks for it.
    let agent = r#"#!/bin/bash
if [ ! -e /root/pid ]; then
  setsid env -i /bin/sh -c 'echo $$ > /root/pid.new; mv /root/pid.new /root/pid; exec sleep 9999' &
elif kill -0 "$(cat /root/pid)"; then
  echo alive > /root/verdict
else
  echo gone > /root/verdict
fi
while :; do read -r -t 3600 < <(:) || sleep 1; done
"#;
    let script = format!(
        "cat > /usr/local/bin/spored <<'AGENT'\n{agent}AGENT\nchmod +x /usr/local/bin/spored\n{}systemctl start spored",
        install(
            "spored.service",
            &service("/usr/local/bin/spored", "Restart=always\nTimeoutStopSec=1")
        )
    );
    let machine = bench.boot(&script).await;
    bench
        .eventually("the workload lives", |b| b.path("/root/pid").exists())
        .await;
    machine.kill_process("spored");
    bench
        .eventually("the second run", |b| b.path("/root/verdict").exists())
        .await;
    assert_eq!(bench.read("/root/verdict"), "gone\n", "{}", bench.console());
}

#[tokio::test]
async fn with_kill_mode_process_the_workload_outlives_its_agent() {
    let bench = Bench::new();
    let agent = r#"#!/bin/bash
if [ ! -e /root/pid ]; then
  setsid sleep 9999 & echo $! > /root/pid.new; mv /root/pid.new /root/pid
else
  kill -0 "$(cat /root/pid)" && echo alive > /root/verdict
fi
while :; do sleep 1; done
"#;
    let script = format!(
        "cat > /usr/local/bin/spored <<'AGENT'\n{agent}AGENT\nchmod +x /usr/local/bin/spored\n{}systemctl start spored",
        install(
            "spored.service",
            &service("/usr/local/bin/spored", "Restart=always\nKillMode=process")
        )
    );
    let machine = bench.boot(&script).await;
    bench
        .eventually("the workload lives", |b| b.path("/root/pid").exists())
        .await;
    machine.kill_process("spored");
    bench.holds("/root/verdict", "alive").await;
}

#[tokio::test]
async fn a_broken_unit_stays_dead() {
    let bench = Bench::new();
    let unit = service(
        "/bin/sh -c 'echo up >> /root/starts; exec sleep 9999'",
        "Restart=always\nRestartSec=50ms",
    );
    let machine = bench
        .boot(&format!(
            "{}systemctl start a; touch /root/done",
            install("a.service", &unit)
        ))
        .await;
    bench
        .eventually("it started", |b| {
            b.path("/root/done").exists() && b.read("/root/starts").lines().count() == 1
        })
        .await;
    machine.break_unit("a");
    bench
        .holds(
            "/var/log/journal-a.log",
            "Failed to start: broken from outside",
        )
        .await;
    assert_eq!(bench.read("/root/starts").lines().count(), 1);
}

#[tokio::test]
async fn an_enabled_unit_starts_by_itself_at_the_second_boot_and_user_data_does_not() {
    let bench = Bench::new();
    let unit = service("/bin/sh -c 'echo up >> /root/starts; exec sleep 9999'", "");
    let script = format!(
        "echo ran >> /root/user-data\n{}systemctl daemon-reload; systemctl enable --now a",
        install("a.service", &unit)
    );
    let machine = bench.boot(&script).await;
    bench
        .eventually("first start", |b| {
            b.read("/root/starts").lines().count() == 1
        })
        .await;
    std::fs::write(bench.path("/tmp/leftover"), "").unwrap();
    machine.kill();
    assert_eq!(bench.ended(&machine).await, Ended::Killed);

    let _machine = bench.boot_again(&script).await;
    bench
        .eventually("second start", |b| {
            b.read("/root/starts").lines().count() == 2
        })
        .await;
    assert_eq!(bench.read("/root/user-data"), "ran\n");
    assert!(
        !bench.path("/tmp/leftover").exists(),
        "/tmp does not outlive a boot"
    );
}

#[tokio::test]
async fn a_notify_service_is_up_when_it_says_so_and_is_killed_when_it_falls_silent() {
    let bench = Bench::new();
    let unit = service(
        "/bin/bash -c 'echo run >> /root/runs; sleep 0.3; touch /root/ready; systemd-notify --ready --status=fine; exec sleep 9999'",
        "Type=notify\nNotifyAccess=all\nWatchdogSec=400ms\nRestart=on-failure\nRestartSec=100ms",
    );
    let script = format!(
        "{}systemctl start a && ls /root/ready > /root/order; systemctl is-active a > /root/active",
        install("a.service", &unit)
    );
    let _machine = bench.boot(&script).await;
    bench.holds("/root/order", "ready").await;
    bench.holds("/root/active", "active").await;
    bench
        .holds("/var/log/journal-a.log", "Watchdog timeout")
        .await;
    bench
        .eventually("a restart", |b| b.read("/root/runs").lines().count() >= 2)
        .await;
}

#[tokio::test]
async fn a_start_that_fails_is_told_to_who_asked() {
    let bench = Bench::new();
    let unit = service("/usr/local/bin/nothing-there", "");
    let script = format!(
        "{}systemctl start a; echo $? > /root/bad; systemctl start nowhere; echo $? > /root/missing; systemctl isolate x; echo $? > /root/unknown; systemctl is-failed a > /root/state",
        install("a.service", &unit)
    );
    let _machine = bench.boot(&script).await;
    bench.holds("/root/state", "failed").await;
    assert_eq!(bench.read("/root/bad"), "1\n");
    assert_eq!(bench.read("/root/missing"), "5\n");
    assert_eq!(bench.read("/root/unknown"), "1\n");
    bench
        .eventually("a loud refusal", |b| {
            b.console().contains("isolate is not modelled")
        })
        .await;
}

#[tokio::test]
async fn power_off_stops_services_gently_and_ends_the_machine() {
    let bench = Bench::new();
    let unit = service(
        "/bin/bash -c 'trap \"echo bye > /root/bye; exit 0\" TERM; touch /root/up; while :; do sleep 0.05; done'",
        "",
    );
    let script = format!(
        "{}systemctl start a; until [ -e /root/up ]; do sleep 0.01; done; shutdown -h now",
        install("a.service", &unit)
    );
    let machine = bench.boot(&script).await;
    assert_eq!(
        bench.ended(&machine).await,
        Ended::PoweredOff,
        "{}",
        bench.console()
    );
    assert_eq!(bench.read("/root/bye"), "bye\n");
}

#[tokio::test]
async fn an_absolute_timer_powers_the_machine_off() {
    let bench = Bench::new();
    let script = "at=$(date -u -d '+2 seconds' '+%Y-%m-%d %H:%M:%S UTC')\n\
        printf '[Timer]\\nOnCalendar=%s\\nPersistent=true\\nAccuracySec=1s\\n[Install]\\nWantedBy=timers.target\\n' \"$at\" > /etc/systemd/system/off.timer\n\
        printf '[Service]\\nType=oneshot\\nExecStart=/usr/bin/systemctl poweroff\\n' > /etc/systemd/system/off.service\n\
        systemctl enable --now off.timer\n\
        systemctl show off.timer -p NextElapseUSecRealtime > /root/next; date +%s -d \"$at\" > /root/at\n";
    let machine = bench.boot(script).await;
    assert_eq!(
        bench.ended(&machine).await,
        Ended::PoweredOff,
        "{}",
        bench.console()
    );
    let at: i64 = bench.read("/root/at").trim().parse().unwrap();
    let now = jiff::Timestamp::now().as_second();
    assert!(
        (at..at + 10).contains(&now),
        "fired at {now}, was set to {at}"
    );
    assert!(
        bench.read("/root/next").contains("UTC"),
        "{}",
        bench.read("/root/next")
    );
}

#[tokio::test]
async fn a_timer_that_elapsed_while_the_machine_was_off_fires_at_boot() {
    let bench = Bench::new();
    // The stamp says when the timer was last looked after.
    let script = "printf '[Timer]\\nOnCalendar=2026-02-01 00:00:00 UTC\\nPersistent=true\\n[Install]\\nWantedBy=timers.target\\n' > /etc/systemd/system/off.timer\n\
        printf '[Service]\\nType=oneshot\\nExecStart=systemctl poweroff\\n' > /etc/systemd/system/off.service\n\
        systemctl enable --now off.timer && touch -d '2026-01-01 UTC' /var/lib/systemd/timers/stamp-off.timer\n\
        systemctl is-active off.timer > /root/before\n";
    let machine = bench.boot(script).await;
    bench.holds("/root/before", "active\n").await;
    machine.kill();
    assert_eq!(bench.ended(&machine).await, Ended::Killed);
    assert!(
        !bench.console().contains("Elapsed"),
        "what is past when a timer is first started is not made up for"
    );

    let machine = bench.boot_again("").await;
    assert_eq!(
        bench.ended(&machine).await,
        Ended::PoweredOff,
        "{}",
        bench.console()
    );
    assert!(bench.console().contains("Elapsed: starting off.service"));
}

#[tokio::test]
async fn reboot_brings_the_same_machine_up_again_without_user_data() {
    let bench = Bench::new();
    let unit = service(
        "/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >> /root/boots; exec sleep 9999'",
        "",
    );
    let script = format!(
        "echo ran >> /root/user-data; {}systemctl enable --now a; until [ -s /root/boots ]; do sleep 0.01; done; reboot",
        install("a.service", &unit)
    );
    let _machine = bench.boot(&script).await;
    bench
        .eventually("two boots", |b| b.read("/root/boots").lines().count() == 2)
        .await;
    let boots = bench.read("/root/boots");
    let ids: std::collections::BTreeSet<&str> = boots.lines().collect();
    assert_eq!(ids.len(), 2, "every boot has its own id: {boots}");
    assert_eq!(bench.read("/root/user-data"), "ran\n");
}

#[tokio::test]
async fn kill_leaves_no_process_and_happens_at_once() {
    let bench = Bench::new();
    let marker = format!("marker-{}", std::process::id());
    let script = format!(
        "trap '' TERM; (trap '' TERM; exec -a {marker} sleep 9999) & setsid nohup bash -c 'exec -a {marker} sleep 9999' & touch /root/up; wait"
    );
    let machine = bench.boot(&script).await;
    bench
        .eventually("both sleep", |b| {
            b.path("/root/up").exists()
                && processes_of(&marker)
                    .iter()
                    .filter(|c| c.starts_with("marker"))
                    .count()
                    == 2
        })
        .await;
    machine.kill();
    assert_eq!(bench.ended(&machine).await, Ended::Killed);
    assert_eq!(processes_of(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_machine_dies() {
    let bench = Bench::new();
    let marker = format!("dropped-{}", std::process::id());
    let machine = bench.boot(&format!("exec -a {marker} sleep 9999")).await;
    bench
        .eventually("it sleeps", |_| {
            processes_of(&marker).iter().any(|c| c.starts_with(&marker))
        })
        .await;
    drop(machine);
    bench
        .eventually("it is gone", |_| processes_of(&marker).is_empty())
        .await;
}

#[tokio::test]
async fn the_counters_show_the_load_that_is_set() {
    let bench = Bench::new();
    let script = "while :; do { head -1 /proc/stat; grep ens5 /proc/net/dev; grep 'nvme0n1 ' /proc/diskstats; cat /sys/class/net/ens5/statistics/rx_bytes; } > /root/new; mv /root/new /root/seen; sleep 0.05; done";
    let machine = bench.boot(script).await;
    bench
        .eventually("counters", |b| b.path("/root/seen").exists())
        .await;
    let busy = |text: &str| -> (f64, f64) {
        let fields: Vec<f64> = text
            .split_whitespace()
            .skip(1)
            .take(4)
            .map(|f| f.parse().unwrap())
            .collect();
        (fields[0] + fields[2], fields[3])
    };
    let sample = || {
        let text = bench.read("/root/seen");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let bytes: f64 = lines[1].split_whitespace().nth(1).unwrap().parse().unwrap();
        let sectors: f64 = lines[2].split_whitespace().nth(5).unwrap().parse().unwrap();
        (busy(&lines[0]), bytes, sectors)
    };
    machine.set_load(Load {
        cpu_percent: 60.0,
        net_bytes_per_sec: 2_000_000,
        disk_bytes_per_sec: 1_024_000,
    });
    let (_, idle_bytes, _) = sample();
    bench
        .eventually("the load is set", |_| sample().1 > idle_bytes + 500_000.0)
        .await;
    let ((busy_1, idle_1), bytes_1, sectors_1) = sample();
    bench
        .eventually("two more seconds of it", |_| {
            sample().1 > bytes_1 + 2_000_000.0
        })
        .await;
    let ((busy_2, idle_2), _, sectors_2) = sample();
    let share = (busy_2 - busy_1) / (busy_2 - busy_1 + idle_2 - idle_1) * 100.0;
    // The loop above really uses some CPU, which counts too.
    assert!((58.0..90.0).contains(&share), "busy {share} %");
    assert!(
        sectors_2 - sectors_1 > 1_500.0,
        "read {} sectors",
        sectors_2 - sectors_1
    );
}

#[tokio::test]
async fn what_the_machine_cannot_change_is_the_host() {
    let bench = Bench::new();
    let script = "touch /usr/bin/x 2>/dev/null && echo usr; echo 1 > /proc/sys/vm/drop_caches 2>/dev/null && echo sysctl; mknod /root/disk b 8 0 2>/dev/null && echo mknod; touch /usr/local/bin/ok && echo local; echo end";
    let _machine = bench.boot(&format!("{{ {script}; }} > /root/out")).await;
    bench.holds("/root/out", "end").await;
    assert_eq!(bench.read("/root/out"), "local\nend\n");
}

#[tokio::test]
async fn walls_and_schedules_are_kept_where_one_can_look() {
    let bench = Bench::new();
    let script = "wall 'ends in 5 minutes'; shutdown -P +5 'and over'; cat /run/systemd/shutdown/scheduled > /root/scheduled; shutdown -c; systemd-run --on-active=100ms --unit=later touch /root/later";
    let _machine = bench.boot(script).await;
    bench
        .eventually("the transient timer", |b| b.path("/root/later").exists())
        .await;
    let walls = bench.read("/var/log/wall.log");
    assert!(
        walls.contains("ends in 5 minutes") && walls.contains("and over"),
        "{walls}"
    );
    assert!(bench.read("/root/scheduled").contains("MODE=poweroff"));
    assert!(!bench.path("/run/systemd/shutdown/scheduled").exists());
}

#[tokio::test]
async fn a_unit_that_would_wait_for_user_data_cannot_be_started_from_it() {
    let bench = Bench::new();
    let unit = "[Unit]\nAfter=cloud-final.service\n[Service]\nExecStart=/bin/sleep 9999\n";
    let script = format!(
        "{}systemctl start a; echo $? > /root/code",
        install("a.service", unit)
    );
    let _machine = bench.boot(&script).await;
    bench.holds("/root/code", "1").await;
    bench
        .eventually("why", |b| b.console().contains("wait for each other"))
        .await;
}

#[tokio::test]
async fn a_moved_timer_counts_from_its_new_time() {
    let bench = Bench::new();
    let script = "printf '[Timer]\\nOnCalendar=2100-01-01 00:00:00 UTC\\n' > /etc/systemd/system/off.timer\n\
        printf '[Service]\\nType=oneshot\\nExecStart=systemctl poweroff\\n' > /etc/systemd/system/off.service\n\
        systemctl start off.timer\n\
        at=$(date -u -d '+2 seconds' '+%Y-%m-%d %H:%M:%S UTC')\n\
        printf '[Timer]\\nOnCalendar=%s\\n' \"$at\" > /etc/systemd/system/off.timer\n\
        systemctl is-active --quiet off.timer && systemctl daemon-reload && systemctl restart off.timer\n";
    let machine = bench.boot(script).await;
    assert_eq!(
        bench.ended(&machine).await,
        Ended::PoweredOff,
        "{}",
        bench.console()
    );
}

#[tokio::test]
async fn twenty_machines_boot_side_by_side() {
    let benches: Vec<Bench> = (0..20).map(|_| Bench::new()).collect();
    let started = Instant::now();
    let mut machines = Vec::new();
    for bench in &benches {
        machines.push(bench.boot("echo up > /root/up").await);
    }
    println!("20 boots one after the other: {:?}", started.elapsed());
    for bench in &benches {
        bench.holds("/root/up", "up").await;
    }
    println!("all user data done: {:?}", started.elapsed());
}

/// Where the helper below boots its machine.
const HELPER_DIR: &str = "EC2SIM_TEST_HELPER_DIR";

#[tokio::test]
async fn when_the_process_that_boots_machines_is_killed_none_of_them_survives() {
    let bench = Bench::new();
    let marker = format!("orphan-{}", std::process::id());
    std::fs::write(bench.dir.path().join("marker"), &marker).unwrap();
    let mut helper = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "helper_that_holds_a_machine_until_it_is_killed",
            "--ignored",
        ])
        .env(HELPER_DIR, bench.dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let runs = |_: &Bench| processes_of(&marker).iter().any(|c| c.starts_with(&marker));
    bench.eventually("the machine's process", runs).await;
    helper.kill().unwrap();
    helper.wait().unwrap();
    bench
        .eventually("all gone", |_| processes_of(&marker).is_empty())
        .await;
}

#[tokio::test]
#[ignore = "started by the test above, which kills it"]
async fn helper_that_holds_a_machine_until_it_is_killed() {
    let Some(dir) = std::env::var_os(HELPER_DIR) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let marker = std::fs::read_to_string(dir.join("marker")).unwrap();
    use_executable(env!("CARGO_BIN_EXE_ec2sim"));
    let bench = Bench::new();
    let script = format!("#!/bin/bash\ntrap '' TERM HUP INT\nexec -a {marker} sleep 9999");
    let machine = Machine::boot(BootSpec {
        dir,
        ..bench.spec(script)
    })
    .await
    .unwrap();
    machine.ended().await;
}
