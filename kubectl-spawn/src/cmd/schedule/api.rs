//! Schedules in the cluster, and what is said when something is wrong with them.

use kube::{
    Api, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        Preconditions, PropagationPolicy,
    },
    core::TypeMeta,
};
use serde_json::{Value, json};
use spore_crds::SporeSchedule;

use crate::{
    cli::Format,
    client::{Cluster, nearest},
    error::{Error, chain},
    print,
};

/// The resource's name in full, as in RBAC rules.
const RESOURCE: &str = "sporeschedules.spore.host";
/// The field manager of what these verbs write.
const MANAGER: &str = "kubectl-spawn";

fn raw(cluster: &Cluster, everywhere: bool) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<SporeSchedule>(&());
    match everywhere {
        true => Api::all_with(cluster.client.clone(), &resource),
        false => Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource),
    }
}

/// Says of a schedule what is otherwise said of a spore.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other failures are not about one kind"
)]
fn of_schedule(error: Error) -> Error {
    match error {
        Error::NotFound {
            name, namespace, ..
        } => Error::NoSchedule {
            name,
            namespace,
            nearest: None,
        },
        Error::Exists { name, namespace } => Error::ScheduleExists { name, namespace },
        Error::Refused(detail) => Error::ScheduleRefused(detail),
        other => other,
    }
}

/// Stores a new schedule, or only has it checked.
pub(super) async fn create(
    cluster: &Cluster,
    object: &Value,
    dry_run: bool,
) -> Result<DynamicObject, Error> {
    let params = PostParams {
        dry_run,
        field_manager: Some(MANAGER.into()),
    };
    let object = serde_json::from_value(object.clone()).map_err(|error| Error::Unreadable {
        what: "the schedule".into(),
        detail: chain(&error),
    })?;
    let api = raw(cluster, false);
    let answer = cluster.ask("create", RESOURCE, api.create(&params, &object));
    answer.await.map_err(of_schedule)
}

/// One schedule as stored. If there is none, the error names the one that was probably meant.
pub(super) async fn get_raw(cluster: &Cluster, name: &str) -> Result<DynamicObject, Error> {
    let api = raw(cluster, false);
    let answer = cluster.ask("get", RESOURCE, api.get(name)).await;
    match answer.map_err(of_schedule) {
        Err(Error::NoSchedule {
            name, namespace, ..
        }) => Err(Error::NoSchedule {
            nearest: nearest(&name, &names(cluster).await.unwrap_or_default()),
            name,
            namespace,
        }),
        answer => answer,
    }
}

/// One schedule.
pub(super) async fn get(cluster: &Cluster, name: &str) -> Result<SporeSchedule, Error> {
    read(get_raw(cluster, name).await?)
}

/// Reads what is stored.
pub(super) fn read(raw: DynamicObject) -> Result<SporeSchedule, Error> {
    let what = raw.name_any();
    raw.try_parse().map_err(|error| Error::Unreadable {
        what,
        detail: chain(&error),
    })
}

/// The names of all schedules of the namespace.
pub(super) async fn names(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let api = raw(cluster, false);
    let params = ListParams::default();
    let list = cluster.ask("list", RESOURCE, api.list_metadata(&params));
    Ok(list
        .await?
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect())
}

/// All schedules of the namespace, or of all namespaces, that a label selector picks.
pub(super) async fn list(
    cluster: &Cluster,
    everywhere: bool,
    selector: Option<&str>,
) -> Result<Vec<DynamicObject>, Error> {
    let api = raw(cluster, everywhere);
    let params = ListParams {
        label_selector: selector.map(ToOwned::to_owned),
        ..ListParams::default()
    };
    let list = cluster.ask("list", RESOURCE, api.list(&params)).await;
    let mut list = list.map_err(|error| match (error, selector) {
        (Error::Refused(detail), Some(selector)) => Error::Usage {
            what: format!("{selector} does not select by labels: {detail}"),
            advice: "Write -l team=ml, -l 'team in (ml, web)', or several with commas between."
                .into(),
        },
        (error, _) => error,
    })?;
    for object in &mut list.items {
        // Members of a list come without it; outside of the list it is missed.
        object.types = Some(TypeMeta::resource::<SporeSchedule>());
    }
    Ok(list.items)
}

/// Suspends or resumes exactly the schedule that was looked at.
pub(super) async fn suspend(
    cluster: &Cluster,
    schedule: &SporeSchedule,
    suspend: bool,
) -> Result<DynamicObject, Error> {
    let patch = json!({"metadata": {"uid": schedule.uid()}, "spec": {"suspend": suspend}});
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    let (api, patch) = (raw(cluster, false), Patch::Merge(&patch));
    let name = schedule.name_any();
    let answer = cluster.ask("patch", RESOURCE, api.patch(&name, &params, &patch));
    answer.await.map_err(of_schedule)
}

/// Deletes exactly the schedule that was looked at, and nothing that it has started.
pub(super) async fn delete(cluster: &Cluster, schedule: &SporeSchedule) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: schedule.uid(),
            resource_version: None,
        }),
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    let (api, name) = (raw(cluster, false), schedule.name_any());
    let answer = cluster.ask("delete", RESOURCE, api.delete(&name, &params));
    answer.await.map(|_| ()).map_err(of_schedule)
}

/// Prints one schedule in a form for programs.
pub(super) fn print(object: DynamicObject, format: Format) -> Result<(), Error> {
    match format {
        Format::Name => print::line(&super::full_name(&object.name_any())),
        Format::Json | Format::Yaml => print::object(object, format),
    }
}
