//! `kubectl spawn launch`.

mod wait;

use clap::{Args, ValueEnum};
use kube::{
    ResourceExt,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};
use spore_core::{duration::Duration, lifecycle::Action};

use crate::{
    check,
    cli::{Format, Global, Limit, limit},
    client::Cluster,
    error::Error,
    manifest, print,
    steps::WaitFor,
};

/// The field manager of what this verb writes.
const MANAGER: &str = "kubectl-spawn";
/// How long `--wait` waits for an instance if nothing else is said.
const READY_LIMIT: std::time::Duration = std::time::Duration::from_secs(600);

/// Launch an instance
#[derive(Args, Debug)]
#[command(
    visible_aliases = ["run", "create"],
    after_help = "\
Examples:
  # Four hours of a machine
  kubectl spawn launch box --instance-type m7i.large --ttl 4h

  # Run a program, wait for its result, and exit with 0 only if it succeeds
  kubectl spawn launch train --instance-type g5.xlarge --spot --ttl 8h \\
    --wait-for completion -- python3 train.py

  # Write the object instead of creating it
  kubectl spawn launch box --instance-type m7i.large --ttl 4h --dry-run=client -o yaml"
)]
pub(crate) struct LaunchArgs {
    /// Name of the spore; one is made up if it is left out
    #[arg(value_parser = check::name)]
    pub(crate) name: Option<String>,
    /// The program to run and its arguments, after --; success is exit status 0
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,

    /// EC2 instance type, such as m7i.large or g5.xlarge
    #[arg(long, value_name = "TYPE", value_parser = check::instance_type)]
    pub(crate) instance_type: String,
    /// AWS region; the controller's default if left out
    #[arg(long, value_parser = check::region)]
    pub(crate) region: Option<String>,
    /// Machine image; the newest Amazon Linux 2023 that fits the type if left out
    #[arg(long, visible_alias = "ami", value_name = "AMI", value_parser = check::image_id)]
    pub(crate) image_id: Option<String>,
    /// Use the Spot market
    #[arg(long)]
    pub(crate) spot: bool,

    /// How long the instance may live: 30m, 8h, 1d12h
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
    /// Wait until the instance is ready, showing progress
    #[arg(long, help_heading = "Output")]
    pub(crate) wait: bool,
    /// What to wait for; implies --wait
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Output")]
    pub(crate) wait_for: Option<WaitFor>,
    /// How long to wait, 0 for no limit; 10m for ready, no limit for completion if left out
    #[arg(long, value_name = "DURATION", value_parser = limit, help_heading = "Output")]
    pub(crate) timeout: Option<Limit>,
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
    fn wait_for(&self) -> Option<WaitFor> {
        self.wait_for.or(self.wait.then_some(WaitFor::Ready))
    }

    fn limit(&self, wait_for: WaitFor) -> Option<std::time::Duration> {
        match (self.timeout, wait_for) {
            (Some(Limit(limit)), _) => limit,
            (None, WaitFor::Ready) => Some(READY_LIMIT),
            // The TTL is the limit.
            (None, WaitFor::Completion) => None,
        }
    }
}

/// Launches.
pub(crate) async fn run(args: LaunchArgs, global: &Global) -> Result<(), Error> {
    let mut object = manifest::build(&args, global.namespace.as_deref())?;
    if args.dry_run == DryRun::Client {
        return print_draft(&object, &args);
    }
    let cluster = Cluster::connect(global).await?;
    object["metadata"]["namespace"] = json!(cluster.namespace);
    let params = PostParams {
        dry_run: args.dry_run == DryRun::Server,
        field_manager: Some(MANAGER.into()),
    };
    let created = cluster.create(&object, &params).await?;
    if params.dry_run {
        return match args.output {
            Some(format) => print::object(created, format),
            None => print::line(&format!(
                "{} created (server dry run)",
                print::full_name(&created.name_any())
            )),
        };
    }
    match args.wait_for() {
        Some(wait_for) => wait::wait(&cluster, &created, &args, wait_for).await,
        None => announce(created, &args, &cluster),
    }
}

fn print_draft(object: &Value, args: &LaunchArgs) -> Result<(), Error> {
    let name = args.name.as_deref().unwrap_or("(generated)");
    match args.output {
        Some(Format::Json) => print::out(&print::json(object)),
        Some(Format::Yaml) => print::out(&print::yaml(object)),
        Some(Format::Name) => print::line(&print::full_name(name)),
        None => print::line(&format!("{} created (dry run)", print::full_name(name))),
    }
}

fn announce(created: DynamicObject, args: &LaunchArgs, cluster: &Cluster) -> Result<(), Error> {
    let name = created.name_any();
    match args.output {
        Some(format) => print::object(created, format),
        None => {
            print::line(&format!("{} created", print::full_name(&name)))?;
            if print::live() {
                print::note(&format!(
                    "Watch it with `kubectl spawn status {}`.",
                    cluster.target(&name)
                ));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn parsed(line: &str) -> LaunchArgs {
        let cli = Cli::try_parse_from(format!("kubectl-spawn launch {line}").split(' ')).unwrap();
        let Verb::Launch(args) = cli.verb else {
            panic!("it is a launch")
        };
        args
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
    }

    #[test]
    fn an_idle_action_without_an_idle_timeout_is_wrong_usage() {
        let line = [
            "kubectl-spawn",
            "launch",
            "--instance-type",
            "t3.micro",
            "--on-idle",
            "stop",
        ];
        let error = Cli::try_parse_from(line).unwrap_err();
        assert!(error.to_string().contains("--idle-timeout"), "{error}");
    }

    #[test]
    fn what_follows_two_dashes_is_the_command_as_it_is() {
        let args = parsed("a --instance-type t3.micro -- sh -c --wait");
        assert_eq!(args.command, ["sh", "-c", "--wait"]);
        assert!(!args.wait);
    }
}
