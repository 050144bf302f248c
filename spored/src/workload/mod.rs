//! The workload: begun once in the life of an instance, watched, and stopped at its end.

mod record;
mod supervisor;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::Command,
    sync::{Notify, mpsc},
    time,
};

use self::record::{Begun, Records};
pub(crate) use self::{record::Exit, supervisor::run as supervise};
use crate::{agent::Event, clock, sensors::completion};

/// How often the records are looked at while the workload runs. Its end is mostly noticed at once,
/// because its supervisor is a child of this agent; not so if an earlier agent started it.
const POLL: Duration = Duration::from_secs(1);
/// How often the records are looked at until the workload has begun, and while it is to end.
const POLL_SOON: Duration = Duration::from_millis(200);
/// How long a workload may take to end after it was asked to.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The search path of boot scripts; the agent's own environment is none of the workload's business.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What has become of the workload so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was not begun.
    Nothing,
    /// It was begun then, and runs for all that is known.
    Running(Timestamp),
    /// It is over.
    Ended {
        /// When it was begun, if that is known.
        began: Option<Timestamp>,
        /// How it ended.
        exit: Exit,
    },
}

/// The workload of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    records: Records,
    dir: PathBuf,
    log: PathBuf,
    boot_id: String,
    completion_file: PathBuf,
    supervisor_ended: Arc<Notify>,
}

impl Workload {
    pub(crate) fn new(dir: &Path, log: &Path, boot_id: &str, completion_file: &Path) -> Self {
        Self {
            records: Records::new(dir),
            dir: dir.to_owned(),
            log: log.to_owned(),
            boot_id: boot_id.to_owned(),
            completion_file: completion_file.to_owned(),
            supervisor_ended: Arc::default(),
        }
    }

    /// Forgets what another launch left on this disk.
    pub(crate) fn clear(&self) {
        self.records.clear();
    }

    /// Looks at the records. A workload that a restart of the machine or the end of its supervisor cut
    /// off is recorded as ended now, so that later looks agree.
    pub(crate) fn find(&self) -> Found {
        let begun = self.records.begun();
        let began = begun.as_ref().map(|begun| begun.at);
        if let Some(exit) = self.records.exit() {
            return Found::Ended { began, exit };
        }
        let Some(begun) = begun else {
            return Found::Nothing;
        };
        let Some(why) = self.cut_off(&begun) else {
            return Found::Running(begun.at);
        };
        // The supervisor may have finished between the two looks.
        let exit = self.records.exit().unwrap_or_else(|| {
            let exit = Exit {
                at: clock::now(),
                code: None,
                message: Some(why.to_owned()),
            };
            if let Err(error) = self.records.finish(&exit) {
                tracing::error!("cannot record that the workload is over: {error}");
            }
            exit
        });
        Found::Ended { began, exit }
    }

    fn cut_off(&self, begun: &Begun) -> Option<&'static str> {
        if begun.boot_id != self.boot_id {
            Some("interrupted by a restart of the machine")
        } else if !begun.runs() {
            Some("its result is lost: the process that waited for it was killed")
        } else {
            None
        }
    }

    /// Starts the supervisor, which starts the workload unless it was begun before.
    pub(crate) fn start(&self, command: &[String], env: &BTreeMap<String, String>) {
        // Not the path of the program: that may have been replaced by a newer agent.
        let spawned = Command::new("/proc/self/exe")
            .arg0("spored")
            .arg("exec-workload")
            .args(["--state-dir".as_ref(), self.dir.as_os_str()])
            .args(["--log".as_ref(), self.log.as_os_str()])
            .args(["--boot-id", &self.boot_id, "--"])
            .args(command)
            .env_clear()
            .envs([
                ("PATH", PATH),
                ("HOME", "/root"),
                ("USER", "root"),
                ("LANG", "C.UTF-8"),
            ])
            .envs(env)
            .stdin(Stdio::null())
            .spawn();
        match spawned {
            Ok(mut supervisor) => {
                let ended = Arc::clone(&self.supervisor_ended);
                tokio::spawn(async move {
                    match supervisor.wait().await {
                        Ok(status) if status.success() => {}
                        other => tracing::error!("the workload's supervisor failed: {other:?}"),
                    }
                    ended.notify_one();
                });
            }
            Err(error) => self.not_started(command, &error),
        }
    }

    /// A command that no program can be given is over; anything else may go better the next time.
    fn not_started(&self, command: &[String], error: &io::Error) {
        tracing::error!("cannot start the workload's supervisor: {error}");
        let impossible = matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong
        );
        if impossible
            && self.records.begun().is_none()
            && let Err(error) = self
                .records
                .finish(&supervisor::not_started(command, error))
        {
            tracing::error!("cannot record that the workload is over: {error}");
        }
    }

    /// Tells when the workload begins and how it ends, then returns.
    pub(crate) async fn watch(self, events: mpsc::Sender<Event>) {
        let mut told_start = false;
        loop {
            let found = self.find();
            let began = match &found {
                Found::Nothing => None,
                Found::Running(at) => Some(*at),
                Found::Ended { began, .. } => *began,
            };
            if let (Some(at), false) = (began, told_start) {
                told_start = true;
                if events.send(Event::WorkloadStarted(at)).await.is_err() {
                    return;
                }
            }
            if let Found::Ended { exit, .. } = found {
                // What it said of its result before it ended belongs to the same report.
                if let Some(said) = completion::said(&self.completion_file) {
                    let _ = events.send(Event::Completed(said)).await;
                }
                let _ = events.send(Event::WorkloadEnded(exit)).await;
                return;
            }
            let poll = if told_start { POLL } else { POLL_SOON };
            tokio::select! {
                () = time::sleep(poll) => {}
                () = self.supervisor_ended.notified() => {}
            }
        }
    }

    /// Asks the workload to end, with every process of its group.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks the workload to end, and ends it if it has not after [`STOP_WITHIN`].
    pub(crate) async fn stop(self) {
        self.terminate();
        let deadline = time::Instant::now() + STOP_WITHIN;
        while time::Instant::now() < deadline {
            if self.records.exit().is_some() {
                return;
            }
            time::sleep(POLL_SOON).await;
        }
        tracing::warn!("the workload did not end within {STOP_WITHIN:?} and is killed");
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let Some(leader) = self.records.begun().and_then(|begun| begun.leader) else {
            return;
        };
        // Only while the leader runs is the group's number certainly its own.
        if leader.runs()
            && let Some(group) = Pid::from_raw(leader.pid)
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::warn!("cannot send {signal:?} to the workload: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::{record::Process, *};

    fn workload(dir: &TempDir, boot_id: &str) -> Workload {
        Workload::new(
            dir.path(),
            &dir.path().join("log"),
            boot_id,
            &dir.path().join("done"),
        )
    }

    fn begun(supervisor: Process) -> Begun {
        Begun {
            boot_id: "1".into(),
            at: Timestamp::UNIX_EPOCH,
            supervisor,
            leader: None,
        }
    }

    fn alive() -> Process {
        Process::find(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    fn message(found: &Found) -> &str {
        match found {
            Found::Ended { exit, .. } => exit.message.as_deref().unwrap_or(""),
            Found::Nothing | Found::Running(_) => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_workload_runs_as_long_as_anybody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let workload = workload(&dir, "1");
        assert_eq!(workload.find(), Found::Nothing);
        workload.records.claim(&begun(alive())).unwrap();
        assert_eq!(workload.find(), Found::Running(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_restart_of_the_machine_ends_a_workload_once_and_for_all() {
        let dir = tempfile::tempdir().unwrap();
        workload(&dir, "1").records.claim(&begun(alive())).unwrap();
        let found = workload(&dir, "2").find();
        assert!(
            message(&found).contains("restart of the machine"),
            "{found:?}"
        );
        assert_eq!(workload(&dir, "3").find(), found, "recorded");
    }

    #[test]
    fn a_workload_whose_supervisor_was_killed_runs_on_and_its_result_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let workload = workload(&dir, "1");
        let dead = Process {
            pid: alive().pid,
            start: alive().start + 1,
        };
        let orphan = Begun {
            leader: Some(alive()),
            ..begun(dead)
        };
        workload.records.claim(&orphan).unwrap();
        assert_eq!(workload.find(), Found::Running(Timestamp::UNIX_EPOCH));
        workload.records.update(&begun(dead)).unwrap();
        assert!(message(&workload.find()).contains("result is lost"));
    }

    #[tokio::test]
    async fn a_command_that_no_program_can_be_given_has_failed() {
        let too_long = "x".repeat(1 << 21);
        for argument in ["a\0b", too_long.as_str()] {
            let dir = tempfile::tempdir().unwrap();
            let workload = workload(&dir, "1");
            workload.start(&["echo".into(), argument.into()], &BTreeMap::new());
            let found = workload.find();
            assert!(message(&found).contains("cannot start echo"), "{found:?}");
            let Found::Ended { exit, .. } = found else {
                panic!("it is over")
            };
            assert_eq!(exit.code, Some(126));
        }
    }

    #[tokio::test]
    async fn what_the_workload_said_is_told_before_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let workload = workload(&dir, "1");
        workload.records.claim(&begun(alive())).unwrap();
        let exit = Exit {
            at: Timestamp::UNIX_EPOCH,
            code: Some(0),
            message: None,
        };
        workload.records.finish(&exit).unwrap();
        std::fs::write(&workload.completion_file, r#"{"status":"failed"}"#).unwrap();
        let (sender, mut events) = mpsc::channel(8);
        workload.watch(sender).await;
        assert_eq!(
            events.recv().await,
            Some(Event::WorkloadStarted(Timestamp::UNIX_EPOCH))
        );
        let Some(Event::Completed(said)) = events.recv().await else {
            panic!("it said so")
        };
        assert_eq!(said.succeeded, Some(false));
        assert_eq!(events.recv().await, Some(Event::WorkloadEnded(exit)));
    }
}
