//! The command line. Doc comments here and beside each verb's arguments are the help.

use std::{fmt, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{check, cmd};

/// Ephemeral EC2 instances as Kubernetes objects: launched once, watched, and gone by their deadline.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-spawn",
    bin_name = "kubectl spawn",
    after_help = EXIT_CODES,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no capacity or quota, 4 not allowed, 5 not found,
6 timed out, 7 the workload failed.";

/// What every verb takes, as everywhere in kubectl.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Global {
    /// The namespace; the context's if not given
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig context
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// The kubeconfig file, instead of KUBECONFIG or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How long one request may take, such as 10s; 0 for no limit
    #[arg(long, global = true, value_name = "DURATION", default_value = "0", value_parser = limit)]
    pub(crate) request_timeout: Limit,
    /// The user to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) as_user: Option<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Launch(cmd::launch::LaunchArgs),
    List(cmd::list::ListArgs),
    Status(cmd::status::StatusArgs),
    Extend(cmd::extend::ExtendArgs),
    Delete(cmd::delete::DeleteArgs),
    Schedule(cmd::schedule::ScheduleArgs),
    Version(cmd::version::VersionArgs),
    Completion(cmd::completion::CompletionArgs),
}

/// A form of output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Kind and name only
    Name,
}

/// A limit in time; none for 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.map_or(0, |limit| limit.as_secs());
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        spore_core::duration::Duration::from_secs(seconds).fmt(f)
    }
}

/// Reads a limit as kubectl does: `0` is none, a bare number is seconds.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    let span = match text.parse::<u32>() {
        Ok(seconds) => spore_core::duration::Duration::from_secs(seconds),
        Err(_) => check::duration(text)?,
    };
    Ok(Limit((!span.is_zero()).then(|| span.into())))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_calls_the_plugin_as_kubectl_does() {
        let error = Cli::try_parse_from(["kubectl-spawn", "launch", "--help"]).unwrap_err();
        assert!(
            error.to_string().contains("Usage: kubectl spawn launch"),
            "{error}"
        );
    }

    #[test]
    fn a_limit_is_read_as_kubectl_reads_it() {
        assert_eq!(limit("0"), Ok(Limit(None)));
        assert_eq!(limit("30"), Ok(Limit(Some(Duration::from_secs(30)))));
        assert_eq!(limit("1m30s"), Ok(Limit(Some(Duration::from_secs(90)))));
        assert!(limit("soon").is_err());
        assert_eq!(limit("90").unwrap().to_string(), "1m30s");
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for line in [
            &["kubectl-spawn"][..],
            &["kubectl-spawn", "lanch"],
            &[
                "kubectl-spawn",
                "launch",
                "--instance-type",
                "t3.micro",
                "--ttl",
                "2 hours",
            ],
            &["kubectl-spawn", "delete"],
            &["kubectl-spawn", "extend", "train"],
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}: {error}");
        }
    }
}
