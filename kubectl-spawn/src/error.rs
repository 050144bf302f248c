//! What can go wrong, said once: what happened, what to do, and the exit code that scripts read.

use std::{io, process::ExitCode};

use kube::core::error_boundary::InvalidObject;

/// The exit codes, a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Failure = 1,
    /// The command line cannot be carried out as written.
    Usage = 2,
    /// EC2 has no capacity, or the account's quota is used up.
    Capacity = 3,
    /// Kubernetes or AWS does not allow it.
    Permission = 4,
    /// The spore is not there.
    NotFound = 5,
    /// The time given with `--timeout` is over.
    Timeout = 6,
    /// The workload ran and failed.
    WorkloadFailed = 7,
    /// Ended with Ctrl-C: 128 plus the signal's number, as shells do.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure, for people ([`Display`](std::fmt::Display) and [`Error::advice`]) and for scripts
/// ([`Error::exit`]).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line cannot be carried out as written.
    #[error("{what}")]
    Usage { what: String, advice: String },
    /// There is no usable kubeconfig.
    #[error("cannot tell which cluster to use: {0}")]
    Config(String),
    /// No answer from the API server.
    #[error("cannot reach the cluster at {server} (context {context}): {detail}")]
    Unreachable {
        server: String,
        context: String,
        detail: String,
    },
    /// The API server took too long.
    #[error("the cluster at {server} did not answer within {seconds} s")]
    Slow { server: String, seconds: u64 },
    /// The credentials are missing, expired or wrong.
    #[error("the cluster does not know you: {detail}")]
    Unauthorized { context: String, detail: String },
    /// The user may not do this.
    #[error("not allowed to {verb} {resource}: {detail}")]
    Forbidden {
        verb: &'static str,
        resource: &'static str,
        place: String,
        detail: String,
    },
    /// The API is not installed.
    #[error("Spore is not installed in this cluster (context {context})")]
    NotInstalled { context: String },
    /// There is no such spore.
    #[error("there is no spore named {name} in namespace {namespace}")]
    NotFound {
        name: String,
        namespace: String,
        nearest: Option<String>,
    },
    /// There is no such schedule.
    #[error("there is no schedule named {name} in namespace {namespace}")]
    NoSchedule {
        name: String,
        namespace: String,
        nearest: Option<String>,
    },
    /// The name of a schedule is taken.
    #[error("a schedule named {name} already exists in namespace {namespace}")]
    ScheduleExists { name: String, namespace: String },
    /// The API server refused a schedule.
    #[error("the cluster refuses it: {0}")]
    ScheduleRefused(String),
    /// A file cannot be read, or is not what is asked for.
    #[error("{file}: {what}")]
    File {
        file: String,
        what: String,
        advice: String,
    },
    /// There is no such namespace.
    #[error("there is no namespace named {0}")]
    NoNamespace(String),
    /// The name is taken.
    #[error("a spore named {name} already exists in namespace {namespace}")]
    Exists { name: String, namespace: String },
    /// The API server refused the object.
    #[error("the cluster refuses it: {0}")]
    Refused(String),
    /// An object is not what this program takes for a spore.
    #[error("{what} is not as this version of the plugin knows spores: {detail}")]
    Unreadable { what: String, detail: String },
    /// Somebody else changed the object at the same time.
    #[error("{0} is being changed by somebody else at the same time")]
    Busy(String),
    /// The spore cannot go on.
    #[error("{name} is stalled: {reason}: {message}")]
    Stalled {
        name: String,
        target: String,
        reason: String,
        message: String,
    },
    /// The time is over.
    #[error("gave up after {after}: {what}")]
    TimedOut {
        after: String,
        what: String,
        advice: String,
        capacity: bool,
    },
    /// The workload failed.
    #[error("{name}: {message}")]
    WorkloadFailed {
        name: String,
        target: String,
        message: String,
    },
    /// The spore has ended, so it can no longer reach what was asked for.
    #[error("{name} has ended: {message}")]
    Ended {
        name: String,
        message: String,
        advice: String,
    },
    /// The spore was deleted while something was expected of it.
    #[error("{0} was deleted in the meantime")]
    Deleted(String),
    /// Ctrl-C.
    #[error("interrupted: {what}")]
    Interrupted { what: String, advice: String },
    /// The user said no.
    #[error("nothing was deleted")]
    Declined,
    /// Anything else that the API server or the way to it reported.
    #[error("cannot {verb} {resource}: {detail}")]
    Api {
        verb: &'static str,
        resource: &'static str,
        detail: String,
    },
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// The operating system refuses what every program needs.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
}

/// An error and its causes in one line, without what is said twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Words for conditions that mean: EC2 has none, or the account may not have more.
const CAPACITY: [&str; 3] = ["InsufficientCapacity", "QuotaExceeded", "MarketNotOffered"];

/// Whether a condition's reason is about capacity or quota.
pub(crate) fn is_capacity(reason: &str) -> bool {
    CAPACITY.contains(&reason)
}

impl Error {
    /// What to say of an object that is not as it should be.
    pub(crate) fn unreadable(object: &InvalidObject) -> Self {
        Self::Unreadable {
            what: object.metadata.name.clone().unwrap_or_default(),
            detail: object.error.clone(),
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::File { .. } => Exit::Usage,
            Self::Unauthorized { .. } | Self::Forbidden { .. } => Exit::Permission,
            Self::NotFound { .. }
            | Self::NoSchedule { .. }
            | Self::NoNamespace(_)
            | Self::Deleted(_) => Exit::NotFound,
            Self::Stalled { reason, .. } if is_capacity(reason) => Exit::Capacity,
            Self::Stalled { reason, .. } if reason == "AccessDenied" => Exit::Permission,
            Self::TimedOut { capacity: true, .. } => Exit::Capacity,
            Self::TimedOut { .. } | Self::Slow { .. } => Exit::Timeout,
            Self::WorkloadFailed { .. } => Exit::WorkloadFailed,
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Config(_)
            | Self::Unreachable { .. }
            | Self::NotInstalled { .. }
            | Self::Exists { .. }
            | Self::ScheduleExists { .. }
            | Self::Refused(_)
            | Self::ScheduleRefused(_)
            | Self::Unreadable { .. }
            | Self::Busy(_)
            | Self::Declined
            | Self::Stalled { .. }
            | Self::Ended { .. }
            | Self::Api { .. }
            | Self::Output(_)
            | Self::Runtime(_) => Exit::Failure,
        }
    }

    /// What to do about it, if there is anything to say.
    pub(crate) fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Usage { advice, .. }
            | Self::File { advice, .. }
            | Self::TimedOut { advice, .. }
            | Self::Ended { advice, .. }
            | Self::Interrupted { advice, .. } => advice.clone(),
            Self::Config(_) => "Give a kubeconfig with --kubeconfig or KUBECONFIG, and a context with --context; `kubectl config get-contexts` lists them.".into(),
            Self::Unreachable { .. } => "Check that the cluster runs and that this is the right context: `kubectl cluster-info`.".into(),
            Self::Slow { .. } => "Allow more time with --request-timeout.".into(),
            Self::Unauthorized { context, .. } => format!("Log in again, or correct the user of context {context}: `kubectl auth whoami` must succeed."),
Self::Forbidden { verb, resource, place, .. } => {
                let role = if ["get", "list", "watch"].contains(verb) { "view" } else { "edit" };
                format!("Ask an administrator for the verb {verb} on {resource}; the cluster role {role} has it. `kubectl auth can-i {verb} {resource} {place}` tells when you have it.")
            }
            Self::NotInstalled { .. } => "Install it with `helm install spore charts/spore -n spore-system --create-namespace`, or choose another cluster with --context.".into(),
            Self::NotFound { nearest: Some(nearest), .. } | Self::NoSchedule { nearest: Some(nearest), .. } => format!("Did you mean {nearest}?"),
            Self::NotFound { nearest: None, .. } => "`kubectl spawn list --all` shows the spores of this namespace, `kubectl spawn list -A --all` those of all.".into(),
            Self::NoSchedule { nearest: None, .. } => "`kubectl spawn schedule list` shows the schedules of this namespace, with -A those of all.".into(),
            Self::ScheduleExists { name, namespace } => format!("Look at it with `kubectl spawn schedule show {name} -n {namespace}`; choose another with --name, or end it first with `kubectl spawn schedule cancel {name} -n {namespace}`."),
            Self::ScheduleRefused(_) => "`kubectl explain sporeschedule.spec` describes every field.".into(),
            Self::NoNamespace(namespace) => format!("Create it with `kubectl create namespace {namespace}`, or choose another with -n."),
            Self::Exists { name, namespace } => format!("Look at it with `kubectl spawn status {name} -n {namespace}`; choose another name, or delete it first with `kubectl spawn delete {name} -n {namespace}`."),
            Self::Refused(_) => "`kubectl explain sporeinstance.spec` describes every field.".into(),
            Self::Unreadable { .. } => "Another version of the plugin may know it; kubectl and -o json show it as it is.".into(),
            Self::Busy(_) => "Try again.".into(),
            Self::Stalled { target, .. } => format!("The spore stays: put that right and it goes on, or give up with `kubectl spawn delete {target}`."),
            Self::WorkloadFailed { target, .. } => format!("`kubectl spawn status {target}` shows what is known of it."),
            Self::Deleted(_) | Self::Declined | Self::Api { .. } | Self::Output(_) | Self::Runtime(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled(reason: &str) -> Error {
        Error::Stalled {
            name: "train".into(),
            target: "train".into(),
            reason: reason.into(),
            message: "no".into(),
        }
    }

    #[test]
    fn what_stalls_a_spore_decides_the_exit_code() {
        assert_eq!(stalled("QuotaExceeded").exit(), Exit::Capacity);
        assert_eq!(stalled("InsufficientCapacity").exit(), Exit::Capacity);
        assert_eq!(stalled("AccessDenied").exit(), Exit::Permission);
        assert_eq!(stalled("InvalidRequest").exit(), Exit::Failure);
    }

    #[test]
    fn a_wait_that_ends_for_lack_of_capacity_says_so_to_scripts() {
        let timed_out = |capacity| Error::TimedOut {
            after: "10m".into(),
            what: "train is not ready".into(),
            advice: String::new(),
            capacity,
        };
        assert_eq!(timed_out(true).exit(), Exit::Capacity);
        assert_eq!(timed_out(false).exit(), Exit::Timeout);
    }

    #[test]
    fn the_codes_are_the_published_ones() {
        let codes = [
            Exit::Failure,
            Exit::Usage,
            Exit::Capacity,
            Exit::Permission,
            Exit::NotFound,
            Exit::Timeout,
            Exit::WorkloadFailed,
        ];
        assert_eq!(codes.map(|exit| exit as u8), [1, 2, 3, 4, 5, 6, 7]);
    }
}
