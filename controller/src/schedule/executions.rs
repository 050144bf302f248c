//! The executions of a schedule as objects in the cluster.

use futures::future;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PostParams, Preconditions, PropagationPolicy},
};
use serde_json::Value;
use spore_crds::{SCHEDULE_LABEL, SporeSchedule};

use super::Error;
use crate::plan::schedule::{Child, Kind};

/// What became of a creation.
pub(super) enum Created {
    /// The object exists, made now or before.
    Exists,
    /// The API server refuses it, for this reason.
    Refused(String),
}

fn api(client: &Client, schedule: &SporeSchedule, kind: Kind) -> Api<DynamicObject> {
    let namespace = schedule.namespace().unwrap_or_default();
    Api::namespaced_with(client.clone(), &namespace, &kind.resource())
}

/// All executions that exist. Of any kind, since the template may have named another before.
pub(super) async fn list(client: &Client, schedule: &SporeSchedule) -> Result<Vec<Child>, Error> {
    let selector = format!("{SCHEDULE_LABEL}={}", schedule.name_any());
    let params = ListParams::default().labels(&selector);
    let uid = schedule.uid().unwrap_or_default();
    let lists = Kind::ALL.map(|kind| {
        let (api, params, uid) = (api(client, schedule, kind), &params, &uid);
        async move {
            let list = api.list(params).await?;
            let read = |object: &DynamicObject| Child::read(kind, object, uid);
            Ok::<_, kube::Error>(list.items.iter().filter_map(read).collect::<Vec<_>>())
        }
    });
    Ok(future::try_join_all(lists).await?.concat())
}

/// Creates an execution, unless it exists.
pub(super) async fn create(
    client: &Client,
    schedule: &SporeSchedule,
    kind: Kind,
    name: &str,
    object: &Value,
) -> Result<Created, Error> {
    let api = api(client, schedule, kind);
    let object = match serde_json::from_value(object.clone()) {
        Ok(object) => object,
        Err(error) => return Ok(Created::Refused(error.to_string())),
    };
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(Created::Exists),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let uid = schedule.uid().unwrap_or_default();
            let existing = api.get_opt(name).await?;
            // Gone in between: the next pass creates it.
            let ours = existing.is_none_or(|object| Child::read(kind, &object, &uid).is_some());
            Ok(match ours {
                true => Created::Exists,
                false => Created::Refused(format!(
                    "a {} {name} exists that this schedule did not create: delete it, or wait for the next time",
                    kind.as_str()
                )),
            })
        }
        // What the API server says of the object, not of its own trouble.
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 413 | 422) => Ok(
            Created::Refused(status.message.chars().take(2_000).collect()),
        ),
        Err(error) => Err(error.into()),
    }
}

/// Deletes an execution, which is gone when all that belongs to it is gone.
pub(super) async fn delete(
    client: &Client,
    schedule: &SporeSchedule,
    kind: Kind,
    name: &str,
    uid: String,
) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid),
            resource_version: None,
        }),
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    match api(client, schedule, kind).delete(name, &params).await {
        // Not there, or another by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}
