//! Waiting for an array or a sweep, with progress.

use std::{collections::BTreeSet, time};

use kube::{ResourceExt, api::DynamicObject};
use spore_crds::{SporeArray, SporeSweep, conditions};

use crate::{
    cli::{Format, Limit},
    client::{self, Cluster},
    error::{Error, is_capacity},
    group::{self, Group},
    kind::Kind,
    print::{self, group::summary},
    progress::Progress,
    steps::{UNSEEN, WaitFor},
    watch::{self, Outcome, Seen},
};

/// Shows how an array or a sweep gets on until what is waited for is there, and then says what came of
/// it.
pub(crate) async fn of(
    cluster: &Cluster,
    object: &DynamicObject,
    wait_for: WaitFor,
    limit: Option<time::Duration>,
    output: Option<Format>,
) -> Result<(), Error> {
    let kind = Kind::of(object);
    let name = object.name_any();
    let reached = match kind {
        Kind::Sweep => {
            let sweep = client::read::<SporeSweep>(object.clone())?;
            wait(cluster, &sweep, wait_for, limit).await
        }
        Kind::Array | Kind::Spore => {
            let array = client::read::<SporeArray>(object.clone())?;
            wait(cluster, &array, wait_for, limit).await
        }
    };
    match (output, reached) {
        (Some(format @ (Format::Json | Format::Yaml)), reached) => {
            // Whoever reads the object wants it also if it is not as hoped for.
            let shown = cluster
                .get_raw(kind, &name)
                .await
                .and_then(|now| print::object(now, format));
            reached.map(|_| ()).and(shown)
        }
        (None, Ok(said)) => print::line(&said),
        (Some(Format::Name), reached) => reached.map(|_| ()),
        (None, Err(error)) => Err(error),
    }
}

async fn wait<G: Group>(
    cluster: &Cluster,
    group: &G,
    wait_for: WaitFor,
    limit: Option<time::Duration>,
) -> Result<String, Error> {
    let name = group.reference().to_string();
    let mut watcher = Watcher {
        target: cluster.target(&name),
        uid: group.uid(),
        wait_for,
        progress: Progress::new(&name),
        last: None::<G>,
        hinted: false,
        name,
    };
    let names = BTreeSet::from([group.name_any()]);
    let outcome = watch::follow(cluster, &names, limit, |seen| watcher.see(&seen)).await;
    watcher.progress.finish();
    let Watcher {
        name, target, last, ..
    } = watcher;
    match outcome? {
        Outcome::Reached(reached) => {
            reached.map(|()| last.as_ref().map(summary).unwrap_or_default())
        }
        Outcome::TimedOut => Err(timed_out(&name, &target, last.as_ref(), limit)),
        Outcome::Interrupted => Err(Error::Interrupted {
            what: format!("{name} goes on without you"),
            advice: group::how_to_go_on(G::KIND, &target),
        }),
    }
}

/// What is known while waiting.
struct Watcher<G> {
    name: String,
    target: String,
    uid: Option<String>,
    wait_for: WaitFor,
    progress: Progress,
    last: Option<G>,
    hinted: bool,
}

impl<G: Group> Watcher<G> {
    fn see(&mut self, seen: &Seen<'_, G>) -> Option<Result<(), Error>> {
        match seen {
            Seen::Is(group) if self.is_ours(group) => {
                self.progress.show(&group::rows(*group, self.wait_for));
                self.last = Some((*group).clone());
                return group::verdict(*group, self.wait_for, &self.target);
            }
            Seen::Unreadable(object) => return Some(Err(Error::unreadable(object))),
            Seen::Is(_) | Seen::Gone(_) => return Some(Err(Error::Deleted(self.name.clone()))),
            Seen::Trouble(error) => self.progress.say(&format!("{error}; trying again")),
            Seen::Quiet if !self.hinted && self.last.as_ref().is_none_or(group::is_unseen) => {
                self.progress.say(UNSEEN);
                self.hinted = true;
            }
            Seen::Quiet => {}
        }
        None
    }

    /// Whether it is the object that is waited for, and nobody deletes it.
    fn is_ours(&self, group: &G) -> bool {
        group.uid() == self.uid && group.meta().deletion_timestamp.is_none()
    }
}

fn timed_out<G: Group>(
    name: &str,
    target: &str,
    last: Option<&G>,
    limit: Option<time::Duration>,
) -> Error {
    let status = last.and_then(Group::status);
    let ready = status.and_then(|status| conditions::get(&status.conditions, conditions::READY));
    let what = match ready {
        Some(ready) => format!("{name}: {}: {}", ready.reason, ready.message),
        None => format!("{name} was not taken up by the controller"),
    };
    Error::TimedOut {
        after: Limit(limit).to_string(),
        what,
        advice: group::how_to_go_on(G::KIND, target),
        capacity: ready.is_some_and(|ready| ready.status != "True" && is_capacity(&ready.reason)),
    }
}
