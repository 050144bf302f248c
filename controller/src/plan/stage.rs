//! Where a spore is, and how that is told: the one place that words conditions.

use jiff::Timestamp;
use spore_crds::{
    Ended, SporeInstanceStatus, State,
    conditions::{self, Say},
};

use crate::cloud::CloudError;

/// Why nothing can be done yet. Not an error: time or somebody else will change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The region has not been listed since the controller started, so a launch made earlier could
    /// be overlooked.
    Inventory {
        /// Which region.
        region: String,
    },
    /// AWS is being asked for what the launch needs.
    Facts,
    /// EC2 said something that time heals.
    Retry {
        /// What it said.
        error: CloudError,
        /// When it is tried again.
        at: Timestamp,
    },
    /// The region cannot be listed, which time heals.
    Unlisted {
        /// Why.
        error: CloudError,
    },
    /// A launch ended without an answer; whether there is an instance is being found out.
    Unclear {
        /// What is known.
        detail: String,
    },
    /// The launch is decided and about to be made.
    Call,
    /// The controller's own limiter holds the call back.
    RateLimit {
        /// Until when.
        until: Timestamp,
    },
    /// The array or sweep that the spore is a member of launches it.
    Group,
    /// EC2 gave an instance that its lists do not show yet.
    Appearance {
        /// Which.
        instance_id: String,
    },
}

/// Where a spore is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing can be done yet.
    Waiting(Waiting),
    /// It cannot go on as declared.
    Stalled {
        /// One CamelCase word.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The instance is starting, or runs.
    Up {
        /// Whether EC2 says that it runs.
        running: bool,
        /// Whether its agent has reported.
        agent: Agent,
    },
    /// The instance is being stopped.
    Stopping,
    /// The instance is stopped.
    Stopped,
    /// The instance is being terminated.
    Terminating,
    /// The instance is gone.
    Finished(Ended),
}

/// How the agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// It reports.
    Reporting,
    /// It has not reported yet, and there is still time.
    Awaited,
    /// It has not reported in all the time that a boot may take.
    Silent,
}

impl Waiting {
    fn reason(&self) -> &'static str {
        match self {
            Self::Inventory { .. } => "ListingInstances",
            Self::Facts => "Resolving",
            Self::Retry { error, .. } | Self::Unlisted { error } => error.class.reason(),
            Self::Unclear { .. } => "LaunchUnclear",
            Self::Group | Self::Call | Self::Appearance { .. } => "Launching",
            Self::RateLimit { .. } => "RateLimited",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Inventory { region } => {
                format!("listing what already exists in {region} before anything is done")
            }
            Self::Facts => "asking AWS for instance type, image and profile".into(),
            Self::Retry { error, at } => {
                format!("{error}; {}; next try at {at}", error.class.advice())
            }
            Self::Unlisted { error } => format!("{error}; {}", error.class.advice()),
            Self::Unclear { detail } => detail.clone(),
            Self::Group => "waiting for its array or sweep to launch it".into(),
            Self::Call => "calling RunInstances".into(),
            Self::RateLimit { until } => {
                format!("EC2 admits no more launches for now; next call at {until}")
            }
            Self::Appearance { instance_id } => {
                format!("{instance_id} is launched; waiting for EC2 to list it")
            }
        }
    }
}

/// Says of a failure how it stands: waiting if time heals it, else stalled.
#[must_use]
pub fn after_failure(error: &CloudError, retry_at: Timestamp) -> Stage {
    if error.class.heals() {
        return Stage::Waiting(Waiting::Retry {
            error: error.clone(),
            at: retry_at,
        });
    }
    Stage::Stalled {
        reason: error.class.reason(),
        message: format!("{error}; {}; next try at {retry_at}", error.class.advice()),
    }
}

/// Says of a region that cannot be listed how a spore in it stands. No time is named: the region is
/// listed again all the while, and a status that changes with every try would never settle.
#[must_use]
pub fn unlisted(error: &CloudError) -> Stage {
    if error.class.heals() {
        return Stage::Waiting(Waiting::Unlisted {
            error: error.clone(),
        });
    }
    Stage::Stalled {
        reason: error.class.reason(),
        message: format!("{error}; {}", error.class.advice()),
    }
}

/// Writes state and conditions for a stage.
pub fn tell(
    status: &mut SporeInstanceStatus,
    stage: &Stage,
    trouble: Option<&str>,
    generation: Option<i64>,
    now: Timestamp,
) {
    status.state = Some(state(stage, status));
    let [ready, reconciling, stalled] = summary(stage, trouble);
    let launched = launched(status);
    let agent = agent(stage, status);
    let succeeded = succeeded(stage, status);
    for (type_, say) in [
        (conditions::READY, ready),
        (conditions::RECONCILING, reconciling),
        (conditions::STALLED, stalled),
        (conditions::LAUNCHED, launched),
        (conditions::AGENT_READY, agent),
        (conditions::SUCCEEDED, succeeded),
    ] {
        conditions::set(&mut status.conditions, type_, say, generation, now);
    }
}

fn state(stage: &Stage, status: &SporeInstanceStatus) -> State {
    match stage {
        Stage::Waiting(_) if status.launch.is_some() => State::Launching,
        Stage::Waiting(_) => State::Pending,
        Stage::Stalled { .. } => State::Stalled,
        Stage::Up {
            running: true,
            agent: Agent::Reporting,
        } => State::Running,
        Stage::Up { .. } => State::Booting,
        Stage::Stopping => State::Stopping,
        Stage::Stopped => State::Stopped,
        Stage::Terminating => State::Terminating,
        Stage::Finished(_) => match work(status) {
            Some(true) => State::Succeeded,
            Some(false) => State::Failed,
            None => State::Ended,
        },
    }
}

/// Ready, Reconciling and Stalled, as kstatus reads them.
fn summary(stage: &Stage, trouble: Option<&str>) -> [Say; 3] {
    let progress = |reason: &'static str, message: String| {
        [
            Say::no(reason, message.clone()),
            Say::yes(reason, message),
            Say::no("Progressing", "on its way"),
        ]
    };
    let reached = |reason: &'static str, message: String| {
        [
            Say::yes(reason, message),
            Say::no(reason, "nothing left to do"),
            Say::no(reason, "nothing is in the way"),
        ]
    };
    if let Some(trouble) = trouble {
        return progress("ActionFailing", trouble.to_owned());
    }
    match stage {
        Stage::Waiting(waiting) => progress(waiting.reason(), waiting.message()),
        Stage::Stalled { reason, message } => [
            Say::no(reason, message.clone()),
            Say::no(reason, "waiting for a change"),
            Say::yes(reason, message.clone()),
        ],
        Stage::Up { running: true, agent: Agent::Reporting } => {
            reached("Running", "the instance runs and its agent reports".into())
        }
        Stage::Up { running: true, agent: Agent::Awaited } => {
            progress("WaitingForAgent", "the instance runs; waiting for its agent to report".into())
        }
        Stage::Up { running: true, agent: Agent::Silent } => progress(
            "AgentSilent",
            "the instance runs but its agent has not reported: it may be unable to fetch the agent or to reach EC2 (see its console output); the deadline still ends it".into(),
        ),
        Stage::Up { running: false, .. } => progress("Booting", "EC2 is starting the instance".into()),
        Stage::Stopping => progress("Stopping", "EC2 is stopping the instance".into()),
        Stage::Stopped => reached(
            "Stopped",
            "the instance is stopped; its disks cost until the deadline".into(),
        ),
        Stage::Terminating => progress("Terminating", "EC2 is terminating the instance".into()),
        Stage::Finished(ended) => reached("Finished", ended.message.clone()),
    }
}

fn launched(status: &SporeInstanceStatus) -> Say {
    match &status.instance {
        Some(instance) => Say::yes("Launched", format!("EC2 gave {}", instance.id)),
        None if status.launch.is_some() => Say::unknown(
            "LaunchUnclear",
            "a launch was decided; EC2 has not confirmed it yet",
        ),
        None => Say::no("NotLaunched", "no launch was made"),
    }
}

fn agent(stage: &Stage, status: &SporeInstanceStatus) -> Say {
    match stage {
        Stage::Up {
            agent: Agent::Reporting,
            ..
        } => {
            let version = status
                .agent
                .as_ref()
                .and_then(|agent| agent.version.as_deref());
            Say::yes(
                "Reporting",
                format!("spored {}", version.unwrap_or("of unknown version")),
            )
        }
        Stage::Up {
            agent: Agent::Awaited,
            ..
        } => Say::unknown("Awaited", "no report yet"),
        Stage::Up {
            agent: Agent::Silent,
            ..
        } => Say::no("AgentSilent", "no report in the time that a boot may take"),
        Stage::Waiting(_) | Stage::Stalled { .. } => {
            Say::unknown("NotLaunched", "there is no instance yet")
        }
        Stage::Stopping | Stage::Stopped | Stage::Terminating | Stage::Finished(_) => {
            Say::no("InstanceDown", "the instance does not run")
        }
    }
}

fn succeeded(stage: &Stage, status: &SporeInstanceStatus) -> Say {
    let workload = status.workload.as_ref();
    let detail = workload.and_then(|workload| workload.message.clone());
    let code = workload.and_then(|workload| workload.exit_code);
    let result = |word: &str| match (code, &detail) {
        (Some(code), Some(detail)) => format!("{word} with exit code {code}: {detail}"),
        (Some(code), None) => format!("{word} with exit code {code}"),
        (None, Some(detail)) => format!("{word}: {detail}"),
        (None, None) => word.to_owned(),
    };
    match (work(status), stage) {
        (Some(true), _) => Say::yes("WorkloadSucceeded", result("the workload succeeded")),
        (Some(false), _) => Say::no("WorkloadFailed", result("the workload failed")),
        (None, Stage::Finished(ended)) => Say::no("EndedBeforeCompletion", ended.message.clone()),
        (None, _) => Say::unknown("NotCompleted", "the work is not done"),
    }
}

/// Whether the work succeeded, if it is done.
fn work(status: &SporeInstanceStatus) -> Option<bool> {
    match status.workload.as_ref()?.phase.as_deref()? {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ => None,
    }
}
