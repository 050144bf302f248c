//! `kubectl spawn delete`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, IsTerminal},
};

use clap::{ArgAction, ArgGroup, Args};
use clap_complete::engine::ArgValueCompleter;
use kube::{
    ResourceExt,
    api::{DeleteParams, Preconditions},
};
use spore_crds::{SporeInstance, conditions};

use crate::{
    cli::{Global, Limit, limit},
    client::{self, Cluster, Guarded, RESOURCE},
    cmd::list::state_word,
    complete,
    error::Error,
    print::{self, table::Table},
    progress::{Mark, Progress, Row},
    watch::{self, Outcome, Seen},
};

/// What is said if nothing is done about a deletion.
const UNSEEN: &str = "The controller does nothing about it yet. Does it run? `kubectl get pods -A -l app.kubernetes.io/name=spore`";

/// What is said of a spore before the controller says anything.
const WAITING: &str = "waiting for the controller";

/// Delete spores and terminate their instances
#[derive(Args, Debug)]
#[command(
    visible_aliases = ["terminate", "rm"],
    group = ArgGroup::new("which").args(["names", "all", "selector"]).required(true).multiple(true)
)]
pub(crate) struct DeleteArgs {
    /// Names of the spores
    #[arg(value_name = "NAME", conflicts_with_all = ["all", "selector"], add = ArgValueCompleter::new(complete::names))]
    pub(crate) names: Vec<String>,
    /// All spores of the namespace, also those that have ended
    #[arg(long)]
    pub(crate) all: bool,
    /// All spores with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Wait until EC2 has nothing left of them
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) wait: bool,
    /// How long to wait, 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = limit)]
    pub(crate) timeout: Limit,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Deletes.
pub(crate) async fn run(args: DeleteArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let spores = chosen(&cluster, &args).await?;
    if spores.is_empty() {
        print::note(&format!(
            "No spores found in {} namespace.",
            cluster.namespace
        ));
        return Ok(());
    }
    if !args.yes {
        confirm(&cluster, &spores)?;
    }
    let mut waiting = BTreeMap::new();
    for spore in &spores {
        let name = spore.name_any();
        if delete(&cluster, spore).await? {
            print::line(&format!("{} deleted", print::full_name(&name)))?;
        }
        waiting.insert(name, spore.uid());
    }
    if args.wait {
        until_gone(&cluster, waiting, args.timeout).await
    } else {
        Ok(())
    }
}

async fn chosen(cluster: &Cluster, args: &DeleteArgs) -> Result<Vec<Guarded>, Error> {
    if args.names.is_empty() {
        return cluster.list(false, args.selector.as_deref()).await;
    }
    let mut spores = Vec::new();
    // A wrong name is found before anything is deleted.
    for name in BTreeSet::from_iter(&args.names) {
        spores.push(client::guarded(cluster.get_raw(name).await?));
    }
    Ok(spores)
}

/// Asks whoever sits at the terminal.
fn confirm(cluster: &Cluster, spores: &[Guarded]) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage {
            what: format!(
                "{} would be deleted, and there is nobody to ask",
                count(spores.len())
            ),
            advice: "Say --yes if it is meant.".into(),
        });
    }
    print::note(&format!(
        "This deletes from namespace {} and terminates in EC2:",
        cluster.namespace
    ));
    print::note(overview(spores).trim_end());
    print::note(&format!("Delete {}? [y/N]", count(spores.len())));
    let mut answer = String::new();
    // An answer that cannot be read is no consent.
    let _ = io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}

fn count(spores: usize) -> String {
    match spores {
        1 => "1 spore".into(),
        many => format!("{many} spores"),
    }
}

fn overview(spores: &[Guarded]) -> String {
    let mut table = Table::new(&["NAME", "STATE", "TYPE", "INSTANCE", "WORKLOAD"]);
    for spore in spores {
        let Ok(spore) = &spore.0 else {
            table.row(vec![Some(spore.name_any()), None, None, None, None]);
            continue;
        };
        let status = spore.status.clone().unwrap_or_default();
        table.row(vec![
            Some(spore.name_any()),
            state_word(spore),
            Some(spore.spec.instance_type.clone()),
            status.instance.map(|instance| instance.id),
            status.workload.and_then(|workload| workload.phase),
        ]);
    }
    table.render("  ")
}

/// Deletes exactly the spore that was shown, not another that has taken its name since. Returns
/// whether it was still there.
async fn delete(cluster: &Cluster, spore: &Guarded) -> Result<bool, Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: spore.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let api = cluster.raw();
    match cluster
        .ask("delete", RESOURCE, api.delete(&spore.name_any(), &params))
        .await
    {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. } | Error::Busy(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until the objects are gone, which they are when EC2 says that nothing is left.
async fn until_gone(
    cluster: &Cluster,
    mut waiting: BTreeMap<String, Option<String>>,
    timeout: Limit,
) -> Result<(), Error> {
    let names = waiting.keys().cloned().collect::<BTreeSet<_>>();
    let mut progress = Progress::new("delete");
    // Whether it is known that the controller is at it, or was said that it is not.
    let mut settled = false;
    let outcome = watch::follow(cluster, &names, timeout.0, |seen| {
        match seen {
            Seen::Is(spore) if waiting.get(&spore.name_any()) == Some(&spore.uid()) => {
                let row = going(spore);
                settled |= row.detail != WAITING;
                progress.show(&[row]);
            }
            // Another one of the same name: the one that was meant is gone.
            Seen::Is(spore) => gone(&mut waiting, &mut progress, &spore.name_any()),
            Seen::Unreadable(object) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                // Whatever it says, the one that was meant is there as long as its UID is.
                if waiting.get(&name) != Some(&object.metadata.uid) {
                    gone(&mut waiting, &mut progress, &name);
                }
            }
            Seen::Gone(name) => gone(&mut waiting, &mut progress, name),
            Seen::Trouble(error) => progress.say(&format!("{error}; trying again")),
            Seen::Quiet if settled => {}
            Seen::Quiet => {
                progress.say(UNSEEN);
                settled = true;
            }
        }
        waiting.is_empty().then_some(())
    })
    .await;
    progress.finish();
    let left = waiting.into_keys().collect::<Vec<_>>().join(", ");
    match outcome? {
        Outcome::Reached(()) => Ok(()),
        Outcome::TimedOut => Err(Error::TimedOut {
            after: timeout.to_string(),
            what: format!("EC2 still has something of {left}"),
            advice: "The deletion goes on: `kubectl spawn list --all` shows what is left.".into(),
            capacity: false,
        }),
        Outcome::Interrupted => Err(Error::Interrupted {
            what: format!("the deletion of {left} goes on without you"),
            advice: "`kubectl spawn list --all` shows what is left.".into(),
        }),
    }
}

fn gone(waiting: &mut BTreeMap<String, Option<String>>, progress: &mut Progress, name: &str) {
    if waiting.remove(name).is_some() {
        progress.show(&[Row {
            name: name.to_owned(),
            mark: Mark::Done,
            detail: "gone".into(),
        }]);
    }
}

/// What is being done about a spore.
fn going(spore: &SporeInstance) -> Row {
    let status = spore.status.as_ref();
    let ready = status.and_then(|status| conditions::get(&status.conditions, conditions::READY));
    let detail = match (ready, spore.metadata.deletion_timestamp.is_some()) {
        (Some(ready), true) if ready.status != "True" => ready.message.clone(),
        _ => WAITING.into(),
    };
    Row {
        name: spore.name_any(),
        mark: Mark::Doing,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kube::{
        api::ObjectMeta,
        core::{DeserializeGuard, error_boundary::InvalidObject},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        cli::{Cli, Verb},
        steps::tests::spore,
    };

    fn parse(line: &str) -> Result<DeleteArgs, clap::Error> {
        let cli = Cli::try_parse_from(format!("kubectl-spawn delete {line}").split(' '))?;
        let Verb::Delete(args) = cli.verb else {
            panic!("it is a delete")
        };
        Ok(args)
    }

    #[test]
    fn what_is_deleted_must_be_said_and_said_in_one_way() {
        assert!(parse("a b").is_ok());
        assert!(parse("--all").is_ok());
        assert!(parse("-l team=ml").is_ok());
        assert!(parse("--yes").is_err());
        assert!(parse("a --all").is_err());
        assert!(parse("a -l team=ml").is_err());
    }

    #[test]
    fn waiting_can_be_turned_off() {
        assert!(parse("a").unwrap().wait);
        assert!(parse("a --wait").unwrap().wait);
        assert!(!parse("a --wait=false").unwrap().wait);
    }

    #[test]
    fn the_question_shows_what_would_be_lost() {
        let spore = spore(json!({
            "state": "Running",
            "instance": {"id": "i-0123"},
            "workload": {"phase": "Running"},
        }));
        let odd = InvalidObject {
            error: "it cannot be read".into(),
            metadata: ObjectMeta {
                name: Some("odd".into()),
                ..ObjectMeta::default()
            },
        };
        let shown = [DeserializeGuard(Ok(spore)), DeserializeGuard(Err(odd))];
        insta::assert_snapshot!(overview(&shown), @"
          NAME    STATE     TYPE        INSTANCE   WORKLOAD
          train   Running   g5.xlarge   i-0123     Running
          odd     -         -           -          -
        ");
    }
}
