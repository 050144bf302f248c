//! PID 1 of a machine: builds its root, runs its user data and its units, reaps, and powers off.
//!
//! One thread owns all state and takes one event at a time; other threads only wait for something and
//! turn it into an event.

mod journal;
mod manager;
mod model;
mod process;
mod root;
mod unit;
mod user_data;

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::wire::{Boot, EXIT_POWERED_OFF, EXIT_REBOOT, Hello, INIT_SOCKET, Order, Reply, Request};
use manager::Manager;
use model::{Model, TICK};
use root::{SetupError, Tried as _};

pub(super) use journal::journal_path;
pub(super) use unit::parse_signal;

/// Exit code when the runner is gone; nobody is left to read it.
const EXIT_ORPHANED: i32 = 1;

/// What can happen to init.
enum Event {
    /// A child may have ended; the answer says that all that had are reaped.
    Children(Sender<()>),
    Request(Request, Sender<Reply>),
    Notify {
        unit: String,
        text: String,
    },
    Order(Order),
}

/// Runs the machine until it goes down; returns the exit code.
pub(super) fn run() -> i32 {
    let mut first = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut first) {
        return refuse(&format!("cannot read what to boot: {error}"));
    }
    let boot: Boot = match serde_json::from_str(&first) {
        Ok(boot) => boot,
        Err(error) => return refuse(&format!("cannot understand what to boot: {error}")),
    };
    match set_up(&boot) {
        Ok((pid, model, listener)) => live(&boot, pid, model, listener),
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(why: &str) -> i32 {
    say(&Hello::Failed {
        why: why.to_owned(),
    });
    1
}

fn say(hello: &Hello) {
    let text = serde_json::to_string(hello).expect("plain data serializes");
    // Without a reader the machine dies anyway: its stdin is closed.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn set_up(boot: &Boot) -> Result<(i32, Model, UnixListener), SetupError> {
    // Still the host's /proc: so this is the pid that the host knows.
    let pid = std::fs::read_link("/proc/self").tried("read", "/proc/self")?;
    let pid = pid
        .to_str()
        .and_then(|pid| pid.parse().ok())
        .unwrap_or_default();
    model::lay_out(boot)?;
    root::enter(boot)?;
    drop_dangerous_rights()?;
    let model = Model::open()?;
    let listener = UnixListener::bind(INIT_SOCKET).tried("listen on", INIT_SOCKET)?;
    Ok((pid, model, listener))
}

/// Rights with which a machine could change its host; nothing that boots here needs them.
fn drop_dangerous_rights() -> Result<(), SetupError> {
    for right in [
        CapabilitySet::SYS_MODULE,
        CapabilitySet::SYS_RAWIO,
        CapabilitySet::SYS_TIME,
        CapabilitySet::NET_ADMIN,
        CapabilitySet::MKNOD,
    ] {
        remove_capability_from_bounding_set(right).tried("drop a capability of", "/sbin/init")?;
    }
    Ok(())
}

/// What every process of the machine finds in its environment. The endpoints are the only difference
/// from a real machine; as there, the region is for the metadata service to say.
pub(super) fn environment(boot: &Boot) -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &boot.imds_endpoint),
        ("AWS_ENDPOINT_URL", &boot.api_endpoint),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn live(boot: &Boot, pid: i32, mut model: Model, listener: UnixListener) -> i32 {
    let (events, queue) = mpsc::channel();
    let children = watch_children(events.clone());
    watch_requests(listener, events.clone());
    watch_orders(events.clone());
    say(&Hello::Ready { pid });

    let mut manager = Manager::new(environment(boot), events, children);
    let how = if boot.first_boot {
        "first boot"
    } else {
        "boot"
    };
    journal::console(&format!("{} ({}) {how}", boot.instance_id, boot.hostname));
    manager.start_enabled();
    if boot.first_boot {
        match user_data::prepare(&boot.instance_id, &boot.user_data) {
            Ok(Some(script)) => manager.run_user_data(&script),
            Ok(None) => journal::console("no user data"),
            Err(why) => journal::console(&format!("error: user data is not run: {why}")),
        }
    }
    events_until_the_end(&mut manager, &mut model, &queue)
}

fn events_until_the_end(manager: &mut Manager, model: &mut Model, queue: &Receiver<Event>) -> i32 {
    let mut next_tick = Instant::now() + TICK;
    loop {
        let wake = manager
            .due(Instant::now())
            .map_or(next_tick, |due| due.min(next_tick));
        match queue.recv_timeout(wake.saturating_duration_since(Instant::now())) {
            Ok(Event::Order(Order::Load(load))) => model.set_load(load),
            Ok(event) => manager.handle(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return EXIT_ORPHANED,
        }
        let now = Instant::now();
        if now >= next_tick {
            model.advance(now);
            next_tick = now + TICK;
        }
        manager.act_on_time(now);
        if let Some(reboot) = manager.is_down() {
            journal::console(if reboot { "Restarting." } else { "Power down." });
            return if reboot {
                EXIT_REBOOT
            } else {
                EXIT_POWERED_OFF
            };
        }
    }
}

/// Says when a child has ended. It only looks: reaping is the owner's, because the standard library
/// waits for a child that failed to execute, and must find it.
///
/// The returned channel wakes it after it found no children at all.
fn watch_children(events: Sender<Event>) -> Sender<()> {
    let (wake, woken) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            if waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).is_err() {
                // No children: until one is started.
                if woken.recv().is_err() {
                    return;
                }
                continue;
            }
            let (done, wait_done) = mpsc::channel();
            if events.send(Event::Children(done)).is_err() || wait_done.recv().is_err() {
                return;
            }
        }
    });
    wake
}

/// Takes requests from the commands inside the machine; each connection is one request.
fn watch_requests(listener: UnixListener, events: Sender<Event>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let events = events.clone();
            std::thread::spawn(move || {
                if let Err(error) = answer(&stream, &events) {
                    journal::console(&format!("a request was not answered: {error}"));
                }
            });
        }
    });
}

fn answer(stream: &UnixStream, events: &Sender<Event>) -> std::io::Result<()> {
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line)?;
    let (reply, replied) = mpsc::channel();
    let request = serde_json::from_str(&line)?;
    let gone = |_| std::io::Error::other("init is going down");
    events
        .send(Event::Request(request, reply))
        .map_err(|_| gone(mpsc::RecvError))?;
    let reply = replied.recv().map_err(gone)?;
    let mut out = stream;
    // Whoever asked may have been stopped meanwhile; what was asked is done all the same.
    let _ = writeln!(out, "{}", serde_json::to_string(&reply)?);
    Ok(())
}

/// Takes the runner's orders. Their end is the machine's end: it may not outlive its host.
fn watch_orders(events: Sender<Event>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => drop(events.send(Event::Order(order))),
                Err(error) => journal::console(&format!("error: order {line:?}: {error}")),
            }
        }
        std::process::exit(EXIT_ORPHANED);
    });
}
