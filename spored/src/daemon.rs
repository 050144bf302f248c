//! Wires sensors, mind and effects, and turns the loop.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use spore_core::{
    agent_config::{self, AgentConfig},
    duration::Duration as Span,
    lifecycle::{Action, EndReason},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{SetOnce, mpsc, watch},
    time,
};

use crate::{
    act,
    agent::{Agent, Effect, Event, Memory},
    clock, config,
    ec2::Ec2,
    imds::{self, Imds},
    member::{self, Group, Member},
    notify::Notify,
    power_off,
    report::Reporter,
    sensors,
    status::{self, MemberStatus, Status},
    warn,
    workload::Workload,
};

/// What must survive a restart of the agent or the machine.
const STATE_DIR: &str = "/var/lib/spored";
/// Where the workload's output goes.
const WORKLOAD_LOG: &str = "/var/log/spawn-command.log";
/// How often the time is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long an end waits for the last report: it is worth less than the end.
const REPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long it waits if the report is of the work's result, which nobody would know without it. Where
/// many complete at once they take turns, because EC2 admits few tag writes per second.
const RESULT_WITHIN: Duration = Duration::from_secs(120);
/// How long to look for a deadline in the tags when there is no configuration.
/// Shorter than a service manager's patience with a silent service.
const TAG_PATIENCE: Duration = Duration::from_secs(30);
/// Held by the one agent of the instance.
const LOCK: &str = "/run/spored.lock";

/// The agent with its hands.
struct Daemon {
    config: Option<AgentConfig>,
    agent: Agent,
    /// The array or sweep that this instance is a member of.
    group: Option<Group>,
    /// Which member it is, as soon as that is known.
    member: Arc<SetOnce<Member>>,
    /// Which version of the peers is written.
    peers: watch::Sender<Option<u32>>,
    imds: Arc<Imds>,
    ec2: Arc<Ec2>,
    reporter: Reporter,
    workload: Workload,
    action: watch::Sender<Option<Action>>,
    status: watch::Sender<Status>,
    events: mpsc::Sender<Event>,
}

/// Runs until the service manager ends it.
pub(crate) async fn run() -> anyhow::Result<()> {
    let _lock = lock(Path::new(LOCK))?;
    let mut notify = Notify::from_env();
    let mut terminated = signal(SignalKind::terminate())?;
    let (events, mut perceived) = mpsc::channel(64);
    let mut daemon = Daemon::start(events, &mut notify).await?;
    let mut tick = time::interval(TICK);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        daemon.step(clock::now());
        notify.alive();
        tokio::select! {
            event = perceived.recv() => {
                let Some(event) = event else { break };
                daemon.agent.perceive(event);
                // What belongs together is judged together.
                while let Ok(event) = perceived.try_recv() {
                    daemon.agent.perceive(event);
                }
            }
            _ = tick.tick() => {}
            _ = terminated.recv() => break,
        }
    }
    tracing::info!("stopping; the workload goes on");
    notify.stopping();
    Ok(())
}

impl Daemon {
    async fn start(events: mpsc::Sender<Event>, notify: &mut Notify) -> anyhow::Result<Self> {
        let http = imds::http_client();
        let imds = Arc::new(Imds::new(http.clone()));
        let ec2 = Arc::new(Ec2::new(Arc::clone(&imds), http));
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let workload = Workload::new(
            Path::new(STATE_DIR),
            Path::new(WORKLOAD_LOG),
            boot_id.trim(),
            Path::new(agent_config::COMPLETION_FILE),
        );
        if let Err(error) = fs::create_dir_all(STATE_DIR) {
            tracing::error!("nothing will be remembered: cannot make {STATE_DIR}: {error}");
        }
        let config = config::read(Path::new(agent_config::PATH));
        notify.ready();
        // Before anything is decided: an extension may have come while the agent was away.
        let in_tag = sensors::deadline::read(&imds).await;
        let (mut config, agent) = match config {
            Ok(config) => {
                let agent = wake(&config, in_tag, &workload, boot_id.trim());
                (Some(config), agent)
            }
            Err(error) => {
                let error = imds::chain(&error);
                tracing::error!("{error}; only the deadline in the instance's tags is enforced");
                let deadline = deadline_from_tag(in_tag, &imds)
                    .await
                    .context(error.clone())?;
                (None, Agent::without_config(deadline, error, clock::now()))
            }
        };
        let reporter = Reporter::start(Arc::clone(&ec2), events.clone());
        let (action, status) = (
            watch::Sender::new(None),
            watch::Sender::new(Status::default()),
        );
        // Taken out: the parameters of all members of a call are much, and those of one are needed.
        let members = config.as_mut().and_then(|config| config.members.take());
        let daemon = Self {
            config,
            agent,
            group: members.as_ref().map(Group::of),
            member: Arc::default(),
            peers: watch::Sender::new(None),
            imds,
            ec2,
            reporter,
            workload,
            action,
            status,
            events,
        };
        daemon.start_sensors();
        if let Some(members) = members {
            let (imds, known) = (Arc::clone(&daemon.imds), Arc::clone(&daemon.member));
            let events = daemon.events.clone();
            tokio::spawn(sensors::member::learn(imds, members, known, events));
        }
        Ok(daemon)
    }

    fn start_sensors(&self) {
        let (imds, events) = (|| Arc::clone(&self.imds), || self.events.clone());
        let unknown = imds();
        tokio::spawn(async move { unknown.learn_identity().await });
        tokio::spawn(sensors::deadline::watch(imds(), events()));
        let status = self.status.subscribe();
        tokio::spawn(async move { status::serve(Path::new(status::SOCKET), status).await });
        let Some(config) = &self.config else {
            return;
        };
        tokio::spawn(sensors::spot::watch(imds(), events()));
        let completion_file = agent_config::COMPLETION_FILE.into();
        tokio::spawn(sensors::completion::watch(completion_file, events()));
        if let Some(idle) = &config.idle {
            let before = self.agent.idleness();
            tokio::spawn(sensors::idle::watch(idle.timeout, before, events()));
        }
        if let Some(group) = self.group.clone().filter(|group| group.peers) {
            tokio::spawn(sensors::peers::watch(imds(), group, self.peers.clone()));
        }
        if !config.command.is_empty() {
            tokio::spawn(self.workload.clone().watch(events()));
        }
    }

    fn step(&mut self, now: Timestamp) {
        for effect in self.agent.step(now) {
            self.perform(effect, now);
        }
        let status = Status {
            owner: self.config.as_ref().map(|config| config.owner.clone()),
            deadline: self.agent.deadline(),
            member: self.member_status(),
            next_end: self.agent.next_end(now).map(Into::into),
            report: self.agent.told().cloned().unwrap_or_default(),
        };
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    fn member_status(&self) -> Option<MemberStatus> {
        let Group {
            kind,
            id,
            name,
            size,
            peers,
        } = self.group.clone()?;
        Some(MemberStatus {
            kind,
            id,
            name,
            size,
            index: self.member.get().map(|member| member.index),
            peers,
            peers_version: *self.peers.borrow(),
        })
    }

    fn perform(&self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::ArmPowerOff(deadline) => self.arm(deadline),
            Effect::StartWorkload => {
                if let Some(config) = &self.config {
                    tracing::info!("starting {:?}", config.command);
                    match self.member.get() {
                        None => self.workload.start(&config.command, &config.env),
                        Some(member) => self
                            .workload
                            .start(&config.command, &member.environment(&config.env)),
                    }
                }
            }
            Effect::StopWorkload { force: true } => {
                tokio::spawn(self.workload.clone().stop());
            }
            Effect::StopWorkload { force: false } => self.workload.terminate(),
            Effect::Warn(end) => warn::warn(end, now),
            Effect::Unwarn => warn::unwarn(),
            Effect::MarkInterruption(notice) => {
                let imds = Arc::clone(&self.imds);
                tokio::spawn(async move { warn::mark_interruption(&imds, notice, now).await });
            }
            Effect::Report(report) => {
                tracing::info!("reporting {}", describe(&report));
                self.reporter.send(*report);
            }
            Effect::Save(memory) => self.save(&memory),
            Effect::Act(action) => self.act(action, now),
        }
    }

    fn arm(&self, deadline: Timestamp) {
        let Some(grace) = self.config.as_ref().map(|config| config.power_off_grace) else {
            return;
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = match power_off::arm(deadline, grace).await {
                Ok(()) => {
                    tracing::info!("deadline {deadline}; power-off {grace} later");
                    Event::Armed(deadline)
                }
                Err(error) => {
                    tracing::error!("the power-off timer is not set: {error}");
                    Event::ArmingFailed
                }
            };
            let _ = events.send(event).await;
        });
    }

    fn save(&self, memory: &Memory) {
        // Without a configuration the launch is unknown, and a memory of it would be nobody's.
        if self.config.is_some()
            && let Err(error) = memory.save(&state_file())
        {
            tracing::error!("cannot remember: {}: {error}", state_file().display());
        }
    }

    fn act(&self, action: Action, now: Timestamp) {
        if self.action.send_replace(Some(action)).is_some() {
            // The task that is at it takes up the change.
            return;
        }
        let end = self.agent.next_end(now).map(|end| end.reason);
        let last_report = self
            .reporter
            .flush(report_patience(end, self.agent.deadline(), now));
        let (ec2, action) = (Arc::clone(&self.ec2), self.action.subscribe());
        tokio::spawn(async move {
            last_report.await;
            act::end(ec2, action).await;
        });
    }
}

/// How long an end waits for the last report.
fn report_patience(
    end: Option<EndReason>,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    if end != Some(EndReason::Completed) {
        return REPORT_WITHIN;
    }
    let left = deadline.map_or(Duration::MAX, |deadline| {
        Span::between(now, deadline).into()
    });
    RESULT_WITHIN.min(left).max(REPORT_WITHIN)
}

/// Makes sure that this is the only agent. Two would report and end the instance at cross purposes.
fn lock(path: &Path) -> anyhow::Result<fs::File> {
    let file = fs::File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).with_context(|| {
        format!(
            "another agent holds {}: see `spored status`",
            path.display()
        )
    })?;
    Ok(file)
}

/// The agent with what it remembers of this launch.
fn wake(
    config: &AgentConfig,
    in_tag: Option<Timestamp>,
    workload: &Workload,
    boot_id: &str,
) -> Agent {
    // Of two launches of one object the deadlines differ.
    let launch = format!("{}@{}", config.owner, config.deadline);
    let memory = Memory::load(&state_file(), &launch, boot_id);
    if memory.is_none() {
        forget_other_launch(workload);
    }
    let fresh = || Memory {
        launch,
        boot_id: boot_id.to_owned(),
        ..Memory::default()
    };
    let memory = memory.unwrap_or_else(fresh);
    let found = workload.find();
    let mut agent = Agent::new(config, memory, found, clock::now());
    if let Some(deadline) = in_tag {
        agent.perceive(Event::Deadline(deadline));
    }
    agent
}

/// An image of a spore's machine brings along what became of the workload there.
fn forget_other_launch(workload: &Workload) {
    if !state_file().exists() {
        return;
    }
    tracing::warn!("the state on this disk is of another launch and is dropped");
    workload.clear();
    member::forget();
    for path in [
        state_file().as_path(),
        Path::new(agent_config::COMPLETION_FILE),
    ] {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("cannot remove {}: {error}", path.display());
        }
    }
}

async fn deadline_from_tag(in_tag: Option<Timestamp>, imds: &Imds) -> anyhow::Result<Timestamp> {
    if let Some(deadline) = in_tag {
        return Ok(deadline);
    }
    let look = async {
        loop {
            time::sleep(TICK).await;
            if let Some(deadline) = sensors::deadline::read(imds).await {
                return deadline;
            }
        }
    };
    time::timeout(TAG_PATIENCE, look)
        .await
        .context("and there is no deadline in the instance's tags: there is nothing to enforce")
}

fn state_file() -> std::path::PathBuf {
    Path::new(STATE_DIR).join("state.json")
}

fn describe(report: &spore_core::tags::Report) -> String {
    let tags = report.to_tags();
    let words: Vec<_> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_waited_for_longer_than_any_other_report_but_not_past_the_deadline() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let patience = |end, deadline: Option<i64>| {
            report_patience(Some(end), deadline.map(at), at(1_000)).as_secs()
        };
        assert_eq!(patience(EndReason::Completed, None), 120);
        assert_eq!(patience(EndReason::Completed, Some(9_000)), 120);
        assert_eq!(patience(EndReason::Completed, Some(1_030)), 30);
        assert_eq!(patience(EndReason::Completed, Some(900)), 5);
        assert_eq!(patience(EndReason::TTLExpired, Some(9_000)), 5);
        assert_eq!(patience(EndReason::Idle, None), 5);
    }
}
