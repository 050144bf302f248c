//! The loop over schedules: plan, store, act. Nothing is chosen here.

mod executions;
mod watch;

use std::{sync::Arc, time::Duration};

use futures::{Future, StreamExt as _, future, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::PostParams,
    core::error_boundary::{DeserializeGuard, InvalidObject},
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        events::{Event, EventType},
        watcher,
    },
};
use spore_crds::{ScheduleStatus, SporeSchedule};

use crate::{
    plan::{
        Note,
        schedule::{self, Action, Kind, Plan, View},
    },
    reconcile::Context,
};

use executions::Created;

/// Passes at once: they wait for the API server, and each may create.
const PASSES_AT_ONCE: u16 = 4;
/// Rounds in one pass: one decides and creates, the next sees what it has created.
const ROUNDS: u32 = 6;
/// A schedule is looked at this often although nothing is due: the clock of a machine may be put
/// forward.
const AT_LEAST_EVERY: Duration = Duration::from_secs(3600);

/// A schedule as it is watched: one that cannot be read does not hide the others.
pub type Watched = DeserializeGuard<SporeSchedule>;

/// Why a pass over a schedule could not be finished. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or could not be reached.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] Box<kube::Error>),
    /// The plan did not settle.
    #[error("planning schedule {namespace}/{name} did not settle in {ROUNDS} rounds")]
    Unsettled {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

/// Runs schedules until it is told to stop.
pub async fn run(
    ctx: Arc<Context>,
    namespace: Option<&str>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let schedules = match namespace {
        Some(namespace) => Api::<Watched>::namespaced(ctx.client.clone(), namespace),
        None => Api::all(ctx.client.clone()),
    };
    let changes = Kind::ALL.map(|kind| watch::changes(ctx.client.clone(), namespace, kind));
    Controller::new(schedules, watcher::Config::default())
        .with_config(controller::Config::default().concurrency(PASSES_AT_ONCE))
        .reconcile_on(stream::select_all(changes))
        .graceful_shutdown_on(stop)
        .run(reconcile, after_error, ctx)
        .for_each(|pass| {
            if let Err(
                error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_)),
            ) = pass
            {
                tracing::warn!(%error, "watching schedules");
            }
            future::ready(())
        })
        .await;
}

async fn reconcile(watched: Arc<Watched>, ctx: Arc<Context>) -> Result<Requeue, Error> {
    match &watched.0 {
        Ok(schedule) => pass(schedule.clone(), &ctx).await,
        Err(unreadable) => {
            tell_unreadable(&ctx, unreadable).await;
            Ok(Requeue::await_change())
        }
    }
}

async fn pass(mut schedule: SporeSchedule, ctx: &Context) -> Result<Requeue, Error> {
    let mut refused = None;
    for _ in 0..ROUNDS {
        // Listed anew: what is remembered could be older than what was done.
        let children = executions::list(&ctx.client, &schedule).await?;
        let now = (ctx.clock)();
        let view = View {
            children: &children,
            refused: refused.as_deref(),
        };
        let Plan {
            status,
            actions,
            wake,
        } = schedule::plan(&schedule, &view, now);
        refused = None;
        if schedule.status.as_ref() != Some(&status) {
            schedule = store(ctx, schedule, status).await?;
        }
        let mut again = false;
        for action in actions {
            match action {
                Action::Create { kind, name, object } => {
                    let made = executions::create(&ctx.client, &schedule, kind, &name, &object);
                    if let Created::Refused(why) = made.await? {
                        refused = Some(why);
                    }
                    again = true;
                }
                Action::Delete { kind, name, uid } => {
                    executions::delete(&ctx.client, &schedule, kind, &name, uid).await?;
                }
                Action::Note(note) => publish(ctx, &schedule.object_ref(&()), note).await,
            }
        }
        if !again {
            return Ok(requeue(wake, now));
        }
    }
    Err(Error::Unsettled {
        namespace: schedule.namespace().unwrap_or_default(),
        name: schedule.name_any(),
    })
}

/// Stores a status, provided that nobody has changed the object since we read it: that is what keeps
/// two controllers, or one with an old copy, from deciding one execution twice.
async fn store(
    ctx: &Context,
    mut schedule: SporeSchedule,
    status: ScheduleStatus,
) -> Result<SporeSchedule, Error> {
    let namespace = schedule.namespace().unwrap_or_default();
    let api = Api::<SporeSchedule>::namespaced(ctx.client.clone(), &namespace);
    schedule.status = Some(status);
    Ok(api
        .replace_status(&schedule.name_any(), &PostParams::default(), &schedule)
        .await?)
}

fn requeue(wake: Option<Timestamp>, now: Timestamp) -> Requeue {
    match wake {
        None => Requeue::await_change(),
        Some(at) => {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
            // Never quicker than this: a wake in the past would spin.
            Requeue::requeue(wait.clamp(Duration::from_millis(100), AT_LEAST_EVERY))
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the runtime calls"
)]
fn after_error(schedule: Arc<Watched>, error: &Error, _: Arc<Context>) -> Requeue {
    let stale = matches!(
        error,
        Error::Kubernetes(error) if matches!(
            error.as_ref(),
            kube::Error::Api(status) if matches!(status.code, 404 | 409)
        )
    );
    if stale {
        return Requeue::requeue(Duration::from_millis(500));
    }
    tracing::warn!(schedule = %schedule.name_any(), namespace = schedule.namespace(), %error, "will be tried again");
    Requeue::requeue(Duration::from_secs(5))
}

/// An Event is for people: failing to publish it must not keep anything from being done.
async fn publish(ctx: &Context, regarding: &ObjectReference, note: Note) {
    let Note {
        warning,
        reason,
        action,
        message,
    } = note;
    let event = Event {
        type_: match warning {
            true => EventType::Warning,
            false => EventType::Normal,
        },
        reason: reason.to_owned(),
        note: Some(message.chars().take(1_000).collect()),
        action: action.to_owned(),
        secondary: None,
    };
    if let Err(error) = ctx.recorder.publish(&event, regarding).await {
        tracing::warn!(schedule = regarding.name, reason, %error, "event not published");
    }
}

async fn tell_unreadable(ctx: &Context, object: &InvalidObject) {
    let metadata = &object.metadata;
    tracing::error!(
        schedule = metadata.name,
        namespace = metadata.namespace,
        error = object.error,
        "this schedule cannot be read; nothing is started until it is corrected"
    );
    let regarding = ObjectReference {
        api_version: Some(SporeSchedule::api_version(&()).into_owned()),
        kind: Some(SporeSchedule::kind(&()).into_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let note = Note {
        warning: true,
        reason: "Unreadable",
        action: "Read",
        message: format!("cannot be read: {}; correct it or delete it", object.error),
    };
    publish(ctx, &regarding, note).await;
}
