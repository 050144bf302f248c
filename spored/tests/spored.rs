//! The program itself: what workloads and people call, and the process that waits for the workload.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

fn spored(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spored"));
    command.args(arguments);
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A directory in which workloads are waited for.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn supervise(&self, workload: &[&str]) -> Command {
        let mut command = spored(&["exec-workload", "--boot-id", "boot"]);
        command.arg("--state-dir").arg(self.dir.path());
        command
            .arg("--log")
            .arg(self.dir.path().join("log"))
            .arg("--")
            .args(workload);
        command
    }

    fn run(&self, workload: &[&str]) -> Output {
        self.supervise(workload).output().unwrap()
    }

    fn exit(&self) -> Value {
        json(&self.dir.path().join("exit.json"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_workload_leaves_its_output_and_its_exit_code() {
    let machine = Machine::new();
    machine.run(&["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(machine.log(), "out\nerr\n");
    assert_eq!(machine.exit()["code"], 7);
    assert_eq!(machine.exit()["message"], "exit status 7");
}

#[test]
fn a_workload_is_never_run_twice() {
    let machine = Machine::new();
    for _ in 0..3 {
        assert!(machine.run(&["sh", "-c", "echo once"]).status.success());
    }
    assert_eq!(machine.log(), "once\n");
}

#[test]
fn of_many_at_the_same_moment_one_runs_the_workload() {
    let machine = Machine::new();
    let all: Vec<_> = (0..8)
        .map(|_| {
            machine
                .supervise(&["sh", "-c", "echo once"])
                .spawn()
                .unwrap()
        })
        .collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(machine.log(), "once\n");
}

#[test]
fn a_workload_leads_a_process_group_of_its_own_in_another_session() {
    let machine = Machine::new();
    // Fields 5 and 6 of the shell's own stat: process group and session.
    machine.run(&[
        "sh",
        "-c",
        "read -r pid _ _ _ group session _ < /proc/$$/stat; echo $pid $group $session",
    ]);
    let numbers: Vec<u32> = machine
        .log()
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let [pid, group, session] = numbers[..] else {
        panic!("{numbers:?}")
    };
    assert_eq!(pid, group);
    assert_ne!(session, group);
    let ours = fs::read_to_string("/proc/self/stat").unwrap();
    let our_session: u32 = ours
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert_ne!(session, our_session);
}

#[test]
fn a_program_that_does_not_exist_is_a_failure_of_the_workload() {
    let machine = Machine::new();
    assert!(machine.run(&["/nowhere/pyton"]).status.success());
    assert_eq!(machine.exit()["code"], 127);
    let message = machine.exit()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("/nowhere/pyton"), "{message}");
}

#[test]
fn the_end_of_a_workload_by_a_signal_is_recorded() {
    let machine = Machine::new();
    let mut supervisor = machine.supervise(&["sleep", "1000"]).spawn().unwrap();
    let begun = machine.dir.path().join("workload.json");
    let leader = eventually("the workload's start", || {
        json(&begun.exists().then_some(begun.clone())?)["leader"]["pid"].as_i64()
    });
    assert!(
        Command::new("kill")
            .args(["-KILL", &leader.to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(supervisor.wait().unwrap().success());
    assert_eq!(machine.exit()["code"], 137);
}

#[test]
fn a08_complete_writes_the_file_that_the_agent_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("SPAWN_COMPLETE");
    let path = file.to_str().unwrap();
    let complete = |more: &[&str]| {
        spored(&["complete", "--file", path])
            .args(more)
            .output()
            .unwrap()
    };
    assert!(complete(&[]).status.success());
    assert_eq!(json(&file), serde_json::json!({"status": "success"}));
    assert!(
        complete(&["--status", "failed", "--message", "no \"space\""])
            .status
            .success()
    );
    assert_eq!(
        json(&file),
        serde_json::json!({"status": "failed", "message": "no \"space\""})
    );
    assert_eq!(complete(&["--status", "meh"]).status.code(), Some(2));
    let nowhere = spored(&["complete", "--file", "/nowhere/file"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere/file"));
}

/// An instance's configuration, and where its peers will be.
struct Waiting {
    dir: TempDir,
}

impl Waiting {
    fn new(members: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = serde_json::json!({
            "version": 1, "owner": "default/train", "deadline": "2026-11-21T10:00:00Z",
            "powerOffGrace": "5m", "onComplete": {"action": "Terminate", "delay": "30s"},
            "members": members,
        });
        fs::write(dir.path().join("config.yaml"), config.to_string()).unwrap();
        Self { dir }
    }

    fn in_group(kind: &str, peers: bool) -> Self {
        Self::new(&serde_json::json!({
            "kind": kind, "id": "train-20261121-0a1b2c", "name": "train", "size": 4,
            "indexes": "0-3", "peers": peers,
        }))
    }

    fn peers(&self) -> std::path::PathBuf {
        self.dir.path().join("peers.json")
    }

    fn command(&self, timeout: &str) -> Command {
        let mut command = spored(&["wait-peers", "--timeout", timeout]);
        command
            .arg("--config")
            .arg(self.dir.path().join("config.yaml"));
        command.arg("--file").arg(self.peers());
        command
    }

    /// The exit code and what was said.
    fn wait(&self, timeout: &str) -> (Option<i32>, String) {
        let output = self.command(timeout).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    }
}

#[test]
fn wait_peers_blocks_until_the_peers_are_there() {
    let waiting = Waiting::in_group("SporeArray", true);
    let mut child = waiting.command("60s").spawn().unwrap();
    assert!(child.try_wait().unwrap().is_none(), "there is nothing yet");
    fs::write(waiting.peers(), "[]").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(waiting.wait("0s"), (Some(0), String::new()), "at once");
}

#[test]
fn wait_peers_says_what_is_missing_when_the_time_is_over() {
    let (code, said) = Waiting::in_group("SporeArray", true).wait("1s");
    assert_eq!(code, Some(124));
    for part in [
        "train-20261121-0a1b2c has 4 members",
        "after 1s",
        "not all",
        "peers.json",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn wait_peers_ends_at_once_where_there_are_none() {
    for (waiting, why) in [
        (
            Waiting::new(&Value::Null),
            "default/train is no member of an array",
        ),
        (Waiting::in_group("SporeArray", false), "spec.peers"),
        (Waiting::in_group("SporeSweep", true), "is a SporeSweep"),
    ] {
        let (code, said) = waiting.wait("60s");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let nowhere = spored(&["wait-peers", "--config", "/nowhere/config"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn the_version_is_told_in_both_ways() {
    for arguments in ["version", "--version"] {
        let output = spored(&[arguments]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, format!("spored {}\n", env!("CARGO_PKG_VERSION")));
    }
}
