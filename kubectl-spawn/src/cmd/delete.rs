//! `kubectl spawn delete`.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgAction, ArgGroup, Args};
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    ResourceExt,
    api::{DeleteParams, DynamicObject, Preconditions, PropagationPolicy},
};
use spore_crds::{SporeArray, SporeInstance, SporeSweep, conditions};

use crate::{
    cli::{Global, Limit, limit},
    client::{self, Cluster},
    cmd::list::state_word,
    complete,
    confirm::{self, Question},
    error::Error,
    group::{Group, counted},
    kind::{Kind, Reference, Spawned},
    print::{self, table::Table},
    progress::{Mark, Progress, Row},
    watch::{self, Outcome, Seen},
};

/// What is said if nothing is done about a deletion.
const UNSEEN: &str = "The controller does nothing about it yet. Does it run? `kubectl get pods -A -l app.kubernetes.io/name=spore`";

/// What is said of a spore before the controller says anything.
const WAITING: &str = "waiting for the controller";

/// Delete spores, arrays and sweeps and terminate their instances
#[derive(Args, Debug)]
#[command(
    visible_aliases = ["terminate", "rm"],
    group = ArgGroup::new("which").args(["names", "all", "selector", "job_array_name", "sweep"]).required(true).multiple(true)
)]
pub(crate) struct DeleteArgs {
    /// NAME, array/NAME or sweep/NAME
    #[arg(value_name = "NAME", conflicts_with_all = ["all", "selector"], add = ArgValueCompleter::new(complete::names))]
    names: Vec<Reference>,
    /// This array with all of its members
    #[arg(long, visible_alias = "array", value_name = "NAME", conflicts_with_all = ["all", "selector"], add = ArgValueCompleter::new(complete::arrays))]
    job_array_name: Option<String>,
    /// This sweep with all of its members and results
    #[arg(long, alias = "sweep-id", value_name = "NAME", conflicts_with_all = ["all", "selector"], add = ArgValueCompleter::new(complete::sweeps))]
    sweep: Option<String>,
    /// All spores, arrays and sweeps of the namespace, also those that have ended
    #[arg(long)]
    all: bool,
    /// All with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Wait until EC2 has nothing left of them
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", value_name = "BOOL")]
    wait: bool,
    /// How long to wait, 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = limit)]
    timeout: Limit,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Deletes.
pub(crate) async fn run(args: DeleteArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let objects = chosen(&cluster, &args).await?;
    if objects.is_empty() {
        print::note(&format!(
            "No spores found in {} namespace.",
            cluster.namespace
        ));
        return Ok(());
    }
    if !args.yes {
        let question = Question {
            done: "deleted",
            would: "would be deleted",
            ask: "Delete",
        };
        print::note(&format!(
            "This deletes from namespace {} and terminates in EC2:",
            cluster.namespace
        ));
        print::note(overview(&objects).trim_end());
        confirm::ask(&question, &count(&objects))?;
    }
    let mut waiting = BTreeMap::<_, Waiting>::new();
    for object in &objects {
        if delete(&cluster, object).await? {
            print::line(&format!("{} deleted", print::full_name(object)))?;
        }
        let of_kind = waiting.entry(Kind::of(object).resource()).or_default();
        of_kind.insert(object.name_any(), object.uid());
    }
    if !args.wait {
        return Ok(());
    }
    let mut left = |kind: Kind| waiting.remove(kind.resource()).unwrap_or_default();
    until_gone::<SporeInstance>(&cluster, left(Kind::Spore), args.timeout).await?;
    until_gone::<SporeArray>(&cluster, left(Kind::Array), args.timeout).await?;
    until_gone::<SporeSweep>(&cluster, left(Kind::Sweep), args.timeout).await
}

async fn chosen(cluster: &Cluster, args: &DeleteArgs) -> Result<Vec<DynamicObject>, Error> {
    let mut references = args.names.clone();
    let array = args.job_array_name.as_ref();
    references.extend(array.map(|name| Reference::to(Kind::Array, name)));
    let sweep = args.sweep.as_ref();
    references.extend(sweep.map(|name| Reference::to(Kind::Sweep, name)));
    let mut objects = Vec::new();
    if references.is_empty() {
        let selector = args.selector.as_deref();
        for kind in Kind::ALL {
            match cluster.list_raw(kind, false, selector).await {
                // An older installation has no groups.
                Err(Error::NotInstalled { .. }) if kind != Kind::Spore => {}
                found => objects.extend(found?),
            }
        }
        // A member goes with its group; alone, it might be replaced.
        let groups = objects
            .iter()
            .filter_map(ResourceExt::uid)
            .collect::<BTreeSet<_>>();
        let goes_along = |object: &DynamicObject| {
            let mut owners = object.owner_references().iter();
            owners.any(|owner| groups.contains(&owner.uid))
        };
        objects.retain(|object| !goes_along(object));
        return Ok(objects);
    }
    // A wrong name is found before anything is deleted.
    for reference in &references {
        objects.push(cluster.find(reference).await?);
    }
    objects.sort_by_key(ResourceExt::uid);
    objects.dedup_by_key(|object| object.uid());
    objects.sort_by_key(|object| (Kind::of(object).resource(), object.name_any()));
    Ok(objects)
}

fn count(objects: &[DynamicObject]) -> String {
    let of = |kind: Kind| {
        let count = objects
            .iter()
            .filter(|object| Kind::of(object) == kind)
            .count();
        match count {
            0 => None,
            1 => Some(format!("1 {}", kind.noun())),
            many => Some(format!("{many} {}s", kind.noun())),
        }
    };
    Kind::ALL
        .into_iter()
        .filter_map(of)
        .collect::<Vec<_>>()
        .join(" and ")
}

fn overview(objects: &[DynamicObject]) -> String {
    let mut table = Table::new(&["NAME", "STATE", "TYPE", "INSTANCE", "WORKLOAD"]);
    for object in objects {
        let cells = match Kind::of(object) {
            Kind::Spore => client::guarded(object.clone())
                .0
                .ok()
                .map(|spore| of_spore(&spore)),
            Kind::Array => {
                let array = client::guarded::<SporeArray>(object.clone());
                array.0.ok().map(|array| of_group(&array))
            }
            Kind::Sweep => {
                let sweep = client::guarded::<SporeSweep>(object.clone());
                sweep.0.ok().map(|sweep| of_group(&sweep))
            }
        };
        let mut row = vec![Some(Reference::of(object).to_string())];
        row.extend(cells.unwrap_or_default());
        table.row(row);
    }
    table.render("  ")
}

fn of_spore(spore: &SporeInstance) -> [Option<String>; 4] {
    let status = spore.status.clone().unwrap_or_default();
    [
        state_word(spore),
        Some(spore.spec.instance_type.clone()),
        status.instance.map(|instance| instance.id),
        status.workload.and_then(|workload| workload.phase),
    ]
}

fn of_group<G: Group>(group: &G) -> [Option<String>; 4] {
    let status = group.status().filter(|status| status.state.is_some());
    [
        group.state_word(),
        group.instance_type().map(ToOwned::to_owned),
        status.map(|status| format!("{} active", status.active)),
        status.map(counted),
    ]
}

/// Deletes exactly what was shown, not another that has taken its name since. Returns whether it was
/// still there.
async fn delete(cluster: &Cluster, object: &DynamicObject) -> Result<bool, Error> {
    let kind = Kind::of(object);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        // So that a group is there as long as its members are.
        propagation_policy: (kind != Kind::Spore).then_some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    let api = cluster.raw(kind);
    match cluster
        .ask(
            "delete",
            kind.resource(),
            api.delete(&object.name_any(), &params),
        )
        .await
    {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. } | Error::Busy(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names and UIDs of what is not gone yet.
type Waiting = BTreeMap<String, Option<String>>;

/// Waits until the objects are gone, which they are when EC2 says that nothing is left.
async fn until_gone<K: Leaving>(
    cluster: &Cluster,
    mut waiting: Waiting,
    timeout: Limit,
) -> Result<(), Error> {
    if waiting.is_empty() {
        return Ok(());
    }
    let names = waiting.keys().cloned().collect::<BTreeSet<_>>();
    let mut progress = Progress::new("delete");
    // Whether it is known that the controller is at it, or was said that it is not.
    let mut settled = false;
    let outcome = watch::follow::<K, _>(cluster, &names, timeout.0, |seen| {
        match seen {
            Seen::Is(object) if waiting.get(&object.name_any()) == Some(&object.uid()) => {
                let row = going(object);
                settled |= row.detail != WAITING;
                progress.show(&[row]);
            }
            // Another one of the same name: the one that was meant is gone.
            Seen::Is(object) => gone::<K>(&mut waiting, &mut progress, &object.name_any()),
            Seen::Unreadable(object) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                // Whatever it says, the one that was meant is there as long as its UID is.
                if waiting.get(&name) != Some(&object.metadata.uid) {
                    gone::<K>(&mut waiting, &mut progress, &name);
                }
            }
            Seen::Gone(name) => gone::<K>(&mut waiting, &mut progress, name),
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
    let left = waiting.into_keys().map(|name| named::<K>(&name));
    let left = left.collect::<Vec<_>>().join(", ");
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

/// What can be waited for until it is gone.
trait Leaving: Spawned {
    /// What the controller says of it.
    fn conditions(&self) -> &[Condition];
}

impl Leaving for SporeInstance {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Leaving for SporeArray {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Leaving for SporeSweep {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

fn named<K: Spawned>(name: &str) -> String {
    Reference::to(K::KIND, name).to_string()
}

fn gone<K: Spawned>(waiting: &mut Waiting, progress: &mut Progress, name: &str) {
    if waiting.remove(name).is_some() {
        progress.show(&[Row {
            name: named::<K>(name),
            mark: Mark::Done,
            detail: "gone".into(),
        }]);
    }
}

/// What is being done about it.
fn going<K: Leaving>(object: &K) -> Row {
    let ready = conditions::get(object.conditions(), conditions::READY);
    let detail = match (ready, object.meta().deletion_timestamp.is_some()) {
        (Some(ready), true) if ready.status != "True" => ready.message.clone(),
        _ => WAITING.into(),
    };
    Row {
        name: named::<K>(&object.name_any()),
        mark: Mark::Doing,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kube::api::ObjectMeta;
    use serde_json::json;

    use super::*;
    use crate::{
        cli::{Cli, Verb},
        group::tests::array,
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
        for line in [
            "a b",
            "--all",
            "-l team=ml",
            "array/a b",
            "--job-array-name a",
            "--sweep a",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in [
            "--yes",
            "a --all",
            "a -l team=ml",
            "pod/x",
            "--sweep a --all",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn waiting_can_be_turned_off() {
        assert!(parse("a").unwrap().wait);
        assert!(parse("a --wait").unwrap().wait);
        assert!(!parse("a --wait=false").unwrap().wait);
    }

    fn stored(object: &impl serde::Serialize) -> DynamicObject {
        serde_json::from_value(json!(object)).unwrap()
    }

    #[test]
    fn the_question_shows_what_would_be_lost() {
        let spore = spore(json!({
            "state": "Running",
            "instance": {"id": "i-0123"},
            "workload": {"phase": "Running"},
        }));
        let array = array(json!({
            "state": "Running", "conditions": [], "active": 98, "succeeded": 2,
        }));
        let mut odd = stored(&spore);
        odd.metadata = ObjectMeta {
            name: Some("odd".into()),
            ..ObjectMeta::default()
        };
        odd.data = json!({"spec": 1});
        let shown = [stored(&spore), odd, stored(&array)];
        insta::assert_snapshot!(overview(&shown), @"
        NAME           STATE     TYPE        INSTANCE    WORKLOAD
        train          Running   g5.xlarge   i-0123      Running
        odd            -         -           -           -
        array/search   Running   t3.small    98 active   2 succeeded, 0 failed
        ");
        assert_eq!(count(&shown), "2 spores and 1 array");
    }
}
