//! Starting a machine from outside, and watching it to its end.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

use super::isolation::{Isolation, isolation};
use super::wire::{Boot, EXIT_POWERED_OFF, EXIT_REBOOT, Hello, Order};
use super::{BootSpec, Ended, Load, MachineError};

/// A machine that does not stand by then never will.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();

/// Names the executable that serves `machine-init`, for programs that are not it (tests).
///
/// Only the first call counts. Without it, the running executable is used.
pub fn use_executable(path: impl Into<PathBuf>) {
    EXECUTABLE.get_or_init(|| path.into());
}

fn executable() -> Result<PathBuf, MachineError> {
    if let Some(path) = EXECUTABLE.get() {
        return Ok(path.clone());
    }
    let path = std::env::current_exe().map_err(MachineError::Executable)?;
    // Rebuilt while it runs: the new one has taken its place.
    match path.to_str().and_then(|p| p.strip_suffix(" (deleted)")) {
        Some(replaced) => Ok(PathBuf::from(replaced)),
        None => Ok(path),
    }
}

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub struct Machine {
    orders: mpsc::UnboundedSender<Order>,
    life: Arc<Mutex<Life>>,
    ended: watch::Receiver<Option<Ended>>,
}

#[derive(Debug, Default)]
struct Life {
    /// Init of the current boot; a pidfd, so that a late kill never hits a stranger.
    init: Option<OwnedFd>,
    killed: bool,
}

fn lock(life: &Mutex<Life>) -> MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Boots a machine and returns when it stands: its root is built, its init runs, its user data
    /// (on the first boot) is starting.
    ///
    /// # Errors
    /// When the host cannot isolate machines or the machine's directory cannot be used.
    pub async fn boot(spec: BootSpec) -> Result<Self, MachineError> {
        let life = Arc::new(Mutex::new(Life::default()));
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (tell_ended, ended) = watch::channel(None);
        let running = start(&spec, &life).await?;
        tokio::spawn(attend(
            spec,
            running,
            Arc::clone(&life),
            order_queue,
            tell_ended,
        ));
        Ok(Self {
            orders,
            life,
            ended,
        })
    }

    /// Kills every process of the machine at once, as a machine dies.
    pub fn kill(&self) {
        kill(&self.life);
    }

    /// SIGKILLs the machine's processes of that name (`/proc/<pid>/comm`), as if each had crashed.
    pub fn kill_process(&self, name: &str) {
        self.order(Order::KillProcess(name.to_owned()));
    }

    /// Kills what a unit runs and makes it unstartable until the next boot.
    pub fn break_unit(&self, unit: &str) {
        self.order(Order::BreakUnit(unit.to_owned()));
    }

    /// Sets what the machine's counters show from now on.
    pub fn set_load(&self, load: Load) {
        self.order(Order::Load(load));
    }

    /// Waits until no process of the machine is left, and says how it came to that.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(value) => value.clone().unwrap_or(Ended::Killed),
            // The attending task is gone without a word: its runtime shut down and took the machine with it.
            Err(_) => Ended::Killed,
        }
    }

    fn order(&self, order: Order) {
        // A machine that has ended takes no orders.
        let _ = self.orders.send(order);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill(life: &Mutex<Life>) {
    let mut life = lock(life);
    life.killed = true;
    if let Some(init) = &life.init {
        // It may be gone already; then there is nothing to kill.
        let _ = pidfd_send_signal(init, Signal::KILL);
    }
}

/// One boot's processes, as this side holds them.
struct Running {
    unshare: Child,
    /// Closing it ends the machine, also when this process dies of SIGKILL.
    orders: ChildStdin,
}

async fn attend(
    mut spec: BootSpec,
    mut running: Running,
    life: Arc<Mutex<Life>>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    ended: watch::Sender<Option<Ended>>,
) {
    // Orders outlive a reboot: the load and the kills are the test's, not the boot's.
    let how = loop {
        let status = tokio::select! {
            status = running.unshare.wait() => status,
            Some(order) = orders.recv() => {
                // A machine that is just ending cannot be told anything; the wait above sees the end.
                let _ = running.orders.write_all(line(&order).as_bytes()).await;
                continue;
            }
        };
        lock(&life).init = None;
        let end = status.map_or_else(|e| Verdict::Over(Ended::Crashed(e.to_string())), verdict);
        let killed = lock(&life).killed;
        match end {
            _ if killed => break Ended::Killed,
            Verdict::Over(how) => break how,
            Verdict::Reboot => {
                spec.first_boot = false;
                match start(&spec, &life).await {
                    Ok(next) => running = next,
                    Err(error) => break Ended::Crashed(format!("reboot: {error}")),
                }
            }
        }
    };
    tracing::info!(instance = %spec.instance_id, ?how, "machine ended");
    ended.send_replace(Some(how));
}

enum Verdict {
    Over(Ended),
    Reboot,
}

/// `unshare` ends as init did. reboot(2) inside a PID namespace ends its init with SIGINT (power-off,
/// halt) or SIGHUP (restart).
fn verdict(status: ExitStatus) -> Verdict {
    const SIGHUP: i32 = 1;
    const SIGINT: i32 = 2;
    match (status.code(), status.signal()) {
        (Some(EXIT_POWERED_OFF), _) | (_, Some(SIGINT)) => Verdict::Over(Ended::PoweredOff),
        (Some(EXIT_REBOOT), _) | (_, Some(SIGHUP)) => Verdict::Reboot,
        (Some(code), _) => Verdict::Over(Ended::Crashed(format!("init exited with code {code}"))),
        (None, Some(signal)) => {
            Verdict::Over(Ended::Crashed(format!("init died of signal {signal}")))
        }
        (None, None) => Verdict::Over(Ended::Crashed("init ended in an unknown way".to_owned())),
    }
}

fn line(message: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string(message).expect("plain data serializes");
    text.push('\n');
    text
}

async fn start(spec: &BootSpec, life: &Mutex<Life>) -> Result<Running, MachineError> {
    let isolation = isolation().await?;
    let exe = executable()?;
    let console = open_console(spec)?;
    let mut unshare = Command::new("unshare")
        .args(isolation.flags())
        .arg("--")
        .arg(&exe)
        .arg("machine-init")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(console)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| MachineError::Start {
            program: "unshare",
            instance: spec.instance_id.clone(),
            source,
        })?;
    let mut orders = unshare.stdin.take().expect("stdin is piped above");
    let replies = unshare.stdout.take().expect("stdout is piped above");

    let boot = line(&boot_message(spec, exe, isolation));
    // If init is gone already, the missing hello below says so.
    let _ = orders.write_all(boot.as_bytes()).await;
    let hello =
        tokio::time::timeout(BOOT_TIMEOUT, BufReader::new(replies).lines().next_line()).await;
    let not_ready = |why: String| MachineError::NotReady {
        instance: spec.instance_id.clone(),
        why,
        console: spec.dir.join("console.log"),
    };
    let hello = hello
        .map_err(|_| not_ready(format!("init was silent for {BOOT_TIMEOUT:?}")))?
        .ok()
        .flatten()
        .ok_or_else(|| not_ready("init ended at once".to_owned()))?;
    match serde_json::from_str(&hello) {
        Ok(Hello::Ready { pid }) => adopt(pid, life).map_err(not_ready)?,
        Ok(Hello::Failed { why }) => return Err(not_ready(why)),
        Err(error) => return Err(not_ready(format!("init said {hello:?}: {error}"))),
    }
    Ok(Running { unshare, orders })
}

/// Takes hold of a new boot's init; a kill that came during the boot is carried out now.
fn adopt(pid: i32, life: &Mutex<Life>) -> Result<(), String> {
    let raw = Pid::from_raw(pid).ok_or_else(|| format!("init reported pid {pid}"))?;
    let init = pidfd_open(raw, PidfdFlags::empty())
        .map_err(|e| format!("cannot hold init (pid {pid}): {e}"))?;
    let killed = {
        let mut life = lock(life);
        life.init = Some(init);
        life.killed
    };
    if killed {
        kill(life);
    }
    Ok(())
}

fn open_console(spec: &BootSpec) -> Result<Stdio, MachineError> {
    let fail = |path: &Path, source| MachineError::Directory {
        path: path.to_owned(),
        instance: spec.instance_id.clone(),
        source,
    };
    std::fs::create_dir_all(&spec.dir).map_err(|e| fail(&spec.dir, e))?;
    let path = spec.dir.join("console.log");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path);
    Ok(file.map_err(|e| fail(&path, e))?.into())
}

fn boot_message(spec: &BootSpec, exe: PathBuf, isolation: Isolation) -> Boot {
    Boot {
        instance_id: spec.instance_id.clone(),
        region: spec.region.clone(),
        dir: std::path::absolute(&spec.dir).unwrap_or_else(|_| spec.dir.clone()),
        imds_endpoint: spec.imds_endpoint.clone(),
        api_endpoint: spec.api_endpoint.clone(),
        user_data: base64::engine::general_purpose::STANDARD.encode(&spec.user_data),
        hostname: spec.hostname.clone(),
        first_boot: spec.first_boot,
        exe,
        single_user: isolation == Isolation::Unprivileged,
    }
}
