//! Processes that the world starts: logged to a file, and never left behind.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// How long a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Dies with the process that started it, however that one ends.
    WithUs,
    /// Outlives it, in a session of its own; found again through its pid file.
    Detached,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Names the log, the pid file and the process in messages.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment, apart from `PATH` and `HOME`: nothing else leaks in, above all no AWS
    /// credentials of the person who runs this.
    pub env: Vec<(String, String)>,
    /// Directory for `<name>.log` and `<name>.pid`.
    pub dir: PathBuf,
    /// How long it lives.
    pub life: Life,
}

/// A process that was started, by this program or an earlier one.
#[derive(Debug)]
pub struct Process {
    name: String,
    identity: Identity,
    child: Option<Child>,
    dir: PathBuf,
    life: Life,
}

/// A pid alone may have been given to another process since; with its start time it is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    pid: i32,
    started: u64,
}

impl Process {
    /// Starts it.
    pub fn start(launch: &Launch) -> Result<Self> {
        fs::create_dir_all(&launch.dir)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(launch.log())?;
        let mut command = match launch.life {
            Life::WithUs => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]);
                command
            }
            Life::Detached => Command::new("setsid"),
        };
        command
            .arg(&launch.program)
            .args(&launch.args)
            .env_clear()
            .envs(
                ["PATH", "HOME"]
                    .iter()
                    .filter_map(|key| Some((key, std::env::var_os(key)?))),
            )
            .envs(launch.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = spawn(command).with_context(|| {
            format!(
                "cannot start {} ({})",
                launch.name,
                launch.program.display()
            )
        })?;
        let pid = i32::try_from(child.id()).context("pid out of range")?;
        let Some(identity) = Identity::of(pid) else {
            bail!("{} died at once:\n{}", launch.name, tail(&launch.log(), 15));
        };
        fs::write(
            launch.dir.join(format!("{}.pid", launch.name)),
            identity.to_line(),
        )?;
        Ok(Self {
            name: launch.name.clone(),
            identity,
            child: Some(child),
            dir: launch.dir.clone(),
            life: launch.life,
        })
    }

    /// The process that an earlier run left in this directory under this name, if it lives.
    pub fn find(dir: &Path, name: &str) -> Option<Self> {
        let line = fs::read_to_string(dir.join(format!("{name}.pid"))).ok()?;
        let identity = Identity::from_line(&line)?;
        let process = Self {
            name: name.to_owned(),
            identity,
            child: None,
            dir: dir.to_path_buf(),
            // Whoever started it may still want it.
            life: Life::Detached,
        };
        process.alive().then_some(process)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// Whether it still runs.
    pub fn alive(&self) -> bool {
        Identity::of(self.identity.pid) == Some(self.identity)
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// Fails, with the end of its log, if it no longer runs.
    pub fn check(&self) -> Result<()> {
        if self.alive() {
            return Ok(());
        }
        bail!(
            "{} died; the end of {}:\n{}",
            self.name,
            self.log().display(),
            tail(&self.log(), 15)
        )
    }

    /// Whether it runs this very file: a rebuild puts a new one in its place.
    pub fn runs(&self, program: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let file = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        let exe = PathBuf::from(format!("/proc/{}/exe", self.identity.pid));
        file(&exe).is_some() && file(&exe) == file(program)
    }

    /// The arguments it was started with.
    pub fn args(&self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.identity.pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&line);
        text.split_terminator('\0')
            .skip(1)
            .map(str::to_owned)
            .collect()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(child) = &mut self.child {
            // It cannot be waited for twice; then it is gone already.
            let _ = child.wait();
        }
        self.child = None;
        while self.alive() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, then SIGKILL if it is still there after `patience`. True if it went by itself.
    pub async fn terminate(&mut self, patience: Duration) -> bool {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + patience;
        while self.alive() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let in_time = !self.alive();
        self.kill();
        in_time
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.identity.pid)
            && self.alive()
        {
            // It may end between the look and the signal, which is what we want.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.life == Life::WithUs {
            self.kill();
        }
    }
}

impl Launch {
    fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }
}

impl Identity {
    /// None when there is no such process, or only its remains that nobody has waited for.
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, in parentheses, may itself contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z" && state != "X").then_some(Self { pid, started })
    }

    fn to_line(self) -> String {
        format!("{} {}\n", self.pid, self.started)
    }

    fn from_line(line: &str) -> Option<Self> {
        let (pid, started) = line.trim().split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        })
    }
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Starts a command from a thread that lives as long as this program: the kernel sends the parent
/// death signal when the *thread* that forked ends, and the threads of a test or of a runtime do.
fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static KEEPER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (send, receive) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in receive {
                // Whoever asked may have given up.
                let _ = reply.send(command.spawn());
            }
        });
        send
    });
    let (send, receive) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts processes is gone");
    keeper
        .send((command, send))
        .map_err(|error| gone(error.to_string()))?;
    receive.recv().map_err(|error| gone(error.to_string()))?
}
