//! Carrying out what was planned for an array or a sweep. Nothing is chosen here.

use std::time::Duration;

use futures::{StreamExt as _, future, stream};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::reflector::ObjectRef,
};
use serde_json::json;
use spore_crds::SporeInstance;

use super::{Collection, Groups};
use crate::{
    aws::Run,
    cloud::{Class, CloudError},
    plan::group::GroupAction,
    reconcile::Watched,
};

/// Requests to the API server at once, for one array or sweep.
const REQUESTS_AT_ONCE: usize = 16;
/// How long the watch may take to show what was made.
const WATCH_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at.
const WATCH_PAUSE: Duration = Duration::from_millis(10);

impl Groups {
    /// Carries out actions, launches first; says whether any may have changed what the plan was made
    /// from.
    pub(super) async fn act<K: Collection>(&self, object: &K, actions: Vec<GroupAction>) -> bool {
        let (mut launches, mut objects, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for action in actions {
            match action {
                GroupAction::Launch(batch) => launches.push(batch),
                GroupAction::CreateMember(_)
                | GroupAction::DeleteMember { .. }
                | GroupAction::Extend { .. } => objects.push(action),
                GroupAction::Learn(_)
                | GroupAction::Terminate { .. }
                | GroupAction::Tell { .. }
                | GroupAction::Seek { .. }
                | GroupAction::Forget { .. }
                | GroupAction::Note(_) => rest.push(action),
            }
        }
        let reference = object.object_ref(&());
        let calls = launches.iter().map(|batch| {
            let count = batch.members.len();
            self.context
                .call(Run::from(batch.as_ref()), count, &reference)
        });
        let mut again = !launches.is_empty();
        future::join_all(calls).await;
        for action in rest {
            again |= self.one(object, action).await;
        }
        again | self.objects(object, objects).await
    }

    async fn one<K: Collection>(&self, object: &K, action: GroupAction) -> bool {
        let ctx = &self.context;
        match action {
            GroupAction::Learn(fact) => ctx.learn(fact).await,
            GroupAction::Terminate {
                region,
                instance_ids,
            } => self.terminate(object, &region, instance_ids).await,
            GroupAction::Tell {
                region,
                instance_ids,
                tags,
            } => {
                let uid = object.uid().unwrap_or_default();
                let result = ctx.tell(&region, &instance_ids, &tags).await;
                self.settle(&uid, result)
            }
            GroupAction::Seek { region, what } => {
                ctx.world.seek(&region, what);
                false
            }
            GroupAction::Forget { token } => {
                ctx.world.closed(&token);
                false
            }
            GroupAction::Note(note) => {
                ctx.publish(object, note).await;
                false
            }
            GroupAction::Launch(_)
            | GroupAction::CreateMember(_)
            | GroupAction::DeleteMember { .. }
            | GroupAction::Extend { .. } => false,
        }
    }

    async fn terminate<K: Collection>(&self, object: &K, region: &str, ids: Vec<String>) -> bool {
        let uid = object.uid().unwrap_or_default();
        let mut result = self.context.terminate(region, &ids).await;
        if ids.len() > 1 && matches!(&result, Err(error) if error.class == Class::NotFound) {
            // One id that EC2 does not know fails the whole call.
            for id in &ids {
                let one = self
                    .context
                    .terminate(region, std::slice::from_ref(id))
                    .await;
                result = match one {
                    Err(error) if error.class == Class::NotFound => Ok(()),
                    other => other,
                };
                if result.is_err() {
                    break;
                }
            }
        }
        self.settle(&uid, result)
    }

    /// Takes in how a call for an object ended.
    fn settle(&self, uid: &str, result: Result<(), CloudError>) -> bool {
        let ctx = &self.context;
        match result {
            Ok(()) => ctx.world.succeeded(uid),
            Err(error) => ctx.world.failed(uid, error, None, (ctx.clock)()),
        }
        true
    }

    /// Makes, changes and deletes members, and waits until the watch shows those that were made.
    async fn objects<K: Collection>(&self, object: &K, actions: Vec<GroupAction>) -> bool {
        if actions.is_empty() {
            return false;
        }
        let namespace = object.namespace().unwrap_or_default();
        let api = Api::<SporeInstance>::namespaced(self.context.client.clone(), &namespace);
        let made = stream::iter(actions.into_iter().map(|action| self.object(&api, action)))
            .buffer_unordered(REQUESTS_AT_ONCE)
            .filter_map(future::ready)
            .collect::<Vec<_>>()
            .await;
        let any = !made.is_empty();
        self.shown(made).await;
        any
    }

    /// One change of one member; returns one that was made.
    async fn object(&self, api: &Api<SporeInstance>, action: GroupAction) -> Option<SporeInstance> {
        let (what, result) = match action {
            GroupAction::CreateMember(member) => {
                let result = api.create(&PostParams::default(), &member).await;
                match result {
                    Ok(made) => return Some(made),
                    Err(error) => (format!("create {}", member.name_any()), error),
                }
            }
            GroupAction::DeleteMember { name, uid } => {
                let only = DeleteParams::background().preconditions(Preconditions {
                    uid: Some(uid),
                    ..Preconditions::default()
                });
                match api.delete(&name, &only).await {
                    Ok(_) => return None,
                    Err(error) => (format!("delete {name}"), error),
                }
            }
            GroupAction::Extend { name, to } => {
                let patch = json!({ "spec": { "extendTo": to.to_string() } });
                let params = PatchParams::default();
                match api
                    .patch_metadata(&name, &params, &Patch::Merge(patch))
                    .await
                {
                    Ok(_) => return None,
                    Err(error) => (format!("extend {name}"), error),
                }
            }
            GroupAction::Learn(_)
            | GroupAction::Launch(_)
            | GroupAction::Terminate { .. }
            | GroupAction::Tell { .. }
            | GroupAction::Seek { .. }
            | GroupAction::Forget { .. }
            | GroupAction::Note(_) => return None,
        };
        // Made already, or gone already: the watch has not told us yet.
        let known = matches!(&result, kube::Error::Api(status) if matches!(status.code, 404 | 409));
        if !known {
            tracing::warn!(error = %result, "cannot {what}; the next pass tries again");
        }
        None
    }

    /// Waits until the watch shows members that were made: planned from an older view, they would be
    /// made again.
    async fn shown(&self, mut made: Vec<SporeInstance>) {
        let deadline = tokio::time::Instant::now() + WATCH_PATIENCE;
        loop {
            made.retain(|member| {
                let namespace = member.namespace().unwrap_or_default();
                let reference = ObjectRef::<Watched>::new(&member.name_any()).within(&namespace);
                let seen = self.members.get(&reference);
                seen.is_none_or(|seen| seen.uid() != member.uid())
            });
            if made.is_empty() || tokio::time::Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }
}
