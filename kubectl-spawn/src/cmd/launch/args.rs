//! The arguments of `kubectl spawn launch`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use spore_core::{duration::Duration, lifecycle::Action};

use crate::{
    check,
    cli::{Format, Limit, limit},
    steps::WaitFor,
};

/// How long `--wait` waits for instances if nothing else is said.
const READY_LIMIT: std::time::Duration = std::time::Duration::from_secs(600);
/// The most members that an array may have, as in its schema.
const MOST_MEMBERS: i64 = 10_000;

/// Launch an instance, an array of them, or a sweep over parameters
#[derive(Args, Debug)]
#[command(
    visible_aliases = ["run", "create"],
    group = ArgGroup::new("waiting").args(["wait", "wait_for"]).multiple(true),
    after_help = "\
Examples:
  # Four hours of a machine
  kubectl spawn launch box --instance-type m7i.large --ttl 4h

  # Run a program, wait for its result, and exit with 0 only if it succeeds
  kubectl spawn launch train --instance-type g5.xlarge --spot --ttl 8h \\
    --wait-for completion -- python3 train.py

  # A hundred machines, each with its own index
  kubectl spawn launch --count 100 --job-array-name search --instance-type t3.small --ttl 2h \\
    --command 'python3 train.py --param-id $JOB_ARRAY_INDEX'

  # One machine for each row of a file, five at a time
  kubectl spawn launch --param-file sweep.json --max-concurrent 5

  # Write the object instead of creating it
  kubectl spawn launch box --instance-type m7i.large --ttl 4h --dry-run=client -o yaml"
)]
pub(crate) struct LaunchArgs {
    /// Name of the spore, array or sweep; one is made up if it is left out
    #[arg(value_parser = check::name)]
    pub(crate) name: Option<String>,
    /// The program to run and its arguments, after --; success is exit status 0
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) words: Vec<String>,

    /// The same as NAME
    #[arg(long = "name", value_name = "NAME", value_parser = check::name, conflicts_with = "name")]
    pub(crate) name_flag: Option<String>,
    /// EC2 instance type, such as m7i.large or g5.xlarge
    #[arg(long, value_name = "TYPE", value_parser = check::instance_type, required_unless_present = "param_file")]
    pub(crate) instance_type: Option<String>,
    /// AWS region; the controller's default if left out
    #[arg(long, value_parser = check::region)]
    pub(crate) region: Option<String>,
    /// Machine image; the newest Amazon Linux 2023 that fits the type if left out
    #[arg(long, visible_alias = "ami", value_name = "AMI", value_parser = check::image_id)]
    pub(crate) image_id: Option<String>,
    /// Use the Spot market
    #[arg(long)]
    pub(crate) spot: bool,
    /// A line for sh to run, instead of a program after --
    #[arg(long, value_name = "LINE", value_parser = check::line, conflicts_with = "words")]
    pub(crate) command: Option<String>,
    /// A variable in the environment of the program; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = check::env)]
    pub(crate) env: Vec<(String, String)>,
    /// Instance profile whose role the program may use
    #[arg(long, value_name = "NAME", value_parser = check::instance_profile)]
    pub(crate) instance_profile: Option<String>,

    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) sweep: SweepArgs,

    /// How long an instance may live: 30m, 8h, 1d12h
    #[arg(long, value_name = "DURATION", value_parser = check::positive_duration, help_heading = "End")]
    pub(crate) ttl: Option<Duration>,
    /// End an instance that does nothing for this long
    #[arg(long, value_name = "DURATION", value_parser = check::positive_duration, help_heading = "End")]
    pub(crate) idle_timeout: Option<Duration>,
    /// What happens to an idle instance
    #[arg(
        long,
        value_name = "ACTION",
        value_enum,
        default_value_t,
        requires = "idle_timeout",
        help_heading = "End"
    )]
    pub(crate) on_idle: EndAction,
    /// What happens when the work is done
    #[arg(
        long,
        value_name = "ACTION",
        value_enum,
        default_value_t,
        help_heading = "End"
    )]
    pub(crate) on_complete: EndAction,
    /// How long after the work is done; 30s if left out
    #[arg(long, value_name = "DURATION", value_parser = check::duration, help_heading = "End")]
    pub(crate) completion_delay: Option<Duration>,

    /// Subnet; one of the default VPC's if left out
    #[arg(long, value_name = "ID", value_parser = check::subnet_id, help_heading = "Network and tags")]
    pub(crate) subnet_id: Option<String>,
    /// Security groups, separated by commas; the VPC's default group if left out
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = check::security_group_id, help_heading = "Network and tags")]
    pub(crate) security_group_ids: Vec<String>,
    /// Name of an EC2 key pair for SSH
    #[arg(long, value_name = "NAME", value_parser = check::key_name, help_heading = "Network and tags")]
    pub(crate) key_name: Option<String>,
    /// A tag for instance, volumes and network interfaces; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = check::tag, help_heading = "Network and tags")]
    pub(crate) tag: Vec<(String, String)>,

    /// Create nothing: client only writes the object, server has it checked by the API
    #[arg(long, value_name = "WHO", value_enum, default_value_t, num_args = 0..=1, require_equals = true, default_missing_value = "client", help_heading = "Output")]
    pub(crate) dry_run: DryRun,
    /// Print the object
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub(crate) output: Option<Format>,
    /// Wait until every instance is ready, or a sweep is done, showing progress
    #[arg(long, help_heading = "Output")]
    pub(crate) wait: bool,
    /// What to wait for; implies --wait
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Output")]
    pub(crate) wait_for: Option<WaitFor>,
    /// How long to wait, 0 for no limit; 10m for ready, no limit for completion if left out
    #[arg(long, visible_alias = "wait-timeout", value_name = "DURATION", value_parser = limit, help_heading = "Output")]
    pub(crate) timeout: Option<Limit>,
}

/// What makes many of one.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Array")]
pub(crate) struct ArrayArgs {
    /// How many instances, each with an index from 0; more than 1 make an array
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_MEMBERS), conflicts_with = "param_file")]
    pub(crate) count: Option<u32>,
    /// Name of the array
    #[arg(long, value_name = "NAME", value_parser = check::name, requires = "count", conflicts_with_all = ["name", "name_flag"])]
    pub(crate) job_array_name: Option<String>,
    /// How many instances must be had together: while so many cannot, none is kept
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_MEMBERS), requires = "count")]
    pub(crate) min_available: Option<u32>,
}

/// What makes one of each row.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Sweep")]
pub(crate) struct SweepArgs {
    /// File with rows of parameters, .json, .yaml or .csv: one instance for each row
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) param_file: Option<PathBuf>,
    /// How many instances at once, 0 for all; as many as there are rows, up to 10, if left out
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(0..=1_000_000), requires = "param_file")]
    pub(crate) max_concurrent: Option<u32>,
    /// How many instances at once in each region
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000), requires = "param_file")]
    pub(crate) max_concurrent_per_region: Option<u32>,
    /// The least time between two launches
    #[arg(long, value_name = "DURATION", value_parser = check::duration, requires = "param_file")]
    pub(crate) launch_delay: Option<Duration>,
    /// Name of the sweep; the file's and a suffix if left out
    #[arg(long, value_name = "NAME", value_parser = check::name, requires = "param_file", conflicts_with_all = ["name", "name_flag"])]
    pub(crate) sweep_name: Option<String>,
    /// Changes nothing: every sweep goes on without this program
    #[arg(long, requires = "param_file", conflicts_with = "no_detach")]
    pub(crate) detach: bool,
    /// Refused, and says why
    #[arg(long, hide = true)]
    pub(crate) no_detach: bool,
}

/// What is done to the instance at an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndAction {
    /// It is gone, with its disks
    #[default]
    Terminate,
    /// It is shut down; its disks cost until the TTL
    Stop,
}

impl From<EndAction> for Action {
    fn from(action: EndAction) -> Self {
        match action {
            EndAction::Terminate => Self::Terminate,
            EndAction::Stop => Self::Stop,
        }
    }
}

/// Who looks at an object that is not created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Create it
    #[default]
    None,
    /// Only this program
    Client,
    /// The API server, with all of its rules
    Server,
}

impl LaunchArgs {
    /// The name that was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name
            .as_deref()
            .or(self.name_flag.as_deref())
            .or(self.array.job_array_name.as_deref())
            .or(self.sweep.sweep_name.as_deref())
    }

    /// The workload: as it is, or a line for a shell.
    pub(crate) fn command(&self) -> Vec<String> {
        match &self.command {
            Some(line) => ["/bin/sh", "-c", line].map(ToOwned::to_owned).to_vec(),
            None => self.words.clone(),
        }
    }

    /// How many members an array is to have, if it is to be one.
    pub(crate) fn members(&self) -> Option<u32> {
        let named = self.array.job_array_name.is_some() || self.array.min_available.is_some();
        self.array.count.filter(|count| *count > 1 || named)
    }

    /// What is waited for, if anything is.
    pub(crate) fn wait_for(&self) -> Option<WaitFor> {
        let all = match self.sweep.param_file {
            // Its instances come and go.
            Some(_) => WaitFor::Completion,
            None => WaitFor::Ready,
        };
        self.wait_for.or(self.wait.then_some(all))
    }

    /// How long it is waited for.
    pub(crate) fn limit(&self, wait_for: WaitFor) -> Option<std::time::Duration> {
        match (self.timeout, wait_for) {
            (Some(Limit(limit)), _) => limit,
            (None, WaitFor::Ready) => Some(READY_LIMIT),
            // The TTL is the limit.
            (None, WaitFor::Completion) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    pub(crate) fn parse(words: &[&str]) -> Result<LaunchArgs, clap::Error> {
        let line = ["kubectl-spawn", "launch"].iter().chain(words);
        let Verb::Launch(args) = Cli::try_parse_from(line)?.verb else {
            panic!("it is a launch")
        };
        Ok(*args)
    }

    fn parsed(line: &str) -> LaunchArgs {
        parse(&line.split(' ').collect::<Vec<_>>()).unwrap()
    }

    fn refused(line: &str) -> String {
        let error = parse(&line.split(' ').collect::<Vec<_>>()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn dry_run_without_a_value_is_the_clients() {
        assert_eq!(parsed("a --instance-type t3.micro").dry_run, DryRun::None);
        assert_eq!(
            parsed("a --instance-type t3.micro --dry-run").dry_run,
            DryRun::Client
        );
        assert_eq!(
            parsed("a --instance-type t3.micro --dry-run=server").dry_run,
            DryRun::Server
        );
    }

    #[test]
    fn waiting_for_readiness_is_limited_and_waiting_for_the_result_is_not() {
        let args = parsed("a --instance-type t3.micro --wait");
        assert_eq!(args.wait_for(), Some(WaitFor::Ready));
        assert_eq!(args.limit(WaitFor::Ready), Some(READY_LIMIT));
        let args = parsed("a --instance-type t3.micro --wait-for completion");
        assert_eq!(args.wait_for(), Some(WaitFor::Completion));
        assert_eq!(args.limit(WaitFor::Completion), None);
        let args = parsed("a --instance-type t3.micro --wait --timeout 0");
        assert_eq!(args.limit(WaitFor::Ready), None);
        let args = parsed("--param-file a.json --wait --wait-timeout 5m");
        assert_eq!(args.wait_for(), Some(WaitFor::Completion));
        let five = std::time::Duration::from_secs(300);
        assert_eq!(args.limit(WaitFor::Completion), Some(five));
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        for (line, says) in [
            ("--instance-type t3.micro --on-idle stop", "--idle-timeout"),
            ("a --ttl 1h", "--instance-type"),
            (
                "--instance-type t3.micro --max-concurrent 2",
                "--param-file",
            ),
            ("--instance-type t3.micro --detach", "--param-file"),
            ("--instance-type t3.micro --job-array-name a", "--count"),
            ("--instance-type t3.micro --min-available 2", "--count"),
            ("--param-file a.json --count 2", "--count"),
            ("a --name b --instance-type t3.micro", "--name"),
            ("a --instance-type t3.micro --count 0", "--count"),
            ("a --instance-type t3.micro --count 10001", "--count"),
            ("a --instance-type t3.micro --command x -- y", "--command"),
        ] {
            let error = refused(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn more_than_one_or_a_name_for_it_makes_an_array() {
        for (line, members) in [
            ("a", None),
            ("a --count 1", None),
            ("--count 1 --job-array-name a", Some(1)),
            ("--count 3", Some(3)),
            ("a --count 3", Some(3)),
        ] {
            let args = parsed(&format!("{line} --instance-type t3.micro"));
            assert_eq!(args.members(), members, "{line}");
        }
        let args = parsed("--count 3 --name a --instance-type t3.micro");
        assert_eq!(args.name(), Some("a"));
    }

    #[test]
    fn what_follows_two_dashes_is_the_command_as_it_is_and_a_line_is_for_a_shell() {
        let args = parsed("a --instance-type t3.micro -- sh -c --wait");
        assert_eq!(args.command(), ["sh", "-c", "--wait"]);
        assert!(!args.wait);
        let args = parse(&["--instance-type", "t3.micro", "--command", "a $B"]).unwrap();
        assert_eq!(args.command(), ["/bin/sh", "-c", "a $B"]);
    }
}
