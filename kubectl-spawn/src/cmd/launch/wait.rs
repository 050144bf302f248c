//! Waiting for what was launched, with progress.

use std::{collections::BTreeSet, time};

use kube::{ResourceExt, api::DynamicObject};
use spore_crds::{SporeInstance, conditions};

use super::LaunchArgs;
use crate::{
    cli::{Format, Limit},
    client::Cluster,
    error::{Error, is_capacity},
    kind::Kind,
    print,
    progress::Progress,
    steps::{self, WaitFor},
    watch::{self, Outcome, Seen},
};

/// Shows how the launch gets on until what is waited for is there, and then says what came of it.
pub(super) async fn wait(
    cluster: &Cluster,
    created: &DynamicObject,
    args: &LaunchArgs,
    wait_for: WaitFor,
) -> Result<(), Error> {
    let name = created.name_any();
    match args.output {
        None => print::line(&format!("{} created", print::full_name(created)))?,
        Some(Format::Name) => print::line(&print::full_name(created))?,
        Some(Format::Json | Format::Yaml) => {}
    }
    let mut watcher = Watcher {
        target: cluster.target(&name),
        uid: created.uid(),
        wait_for,
        progress: Progress::new(&name),
        last: None,
        hinted: false,
        name,
    };
    let names = BTreeSet::from([watcher.name.clone()]);
    let limit = args.limit(wait_for);
    let outcome = watch::follow(cluster, &names, limit, |seen| watcher.see(&seen)).await;
    watcher.progress.finish();
    let Watcher {
        name, target, last, ..
    } = watcher;
    let reached = match outcome? {
        Outcome::Reached(reached) => reached,
        Outcome::TimedOut => Err(timed_out(&name, &target, last.as_ref(), limit)),
        Outcome::Interrupted => Err(Error::Interrupted {
            what: format!("{name} goes on without you"),
            advice: steps::how_to_go_on(&target),
        }),
    };
    match (args.output, last) {
        (Some(format @ (Format::Json | Format::Yaml)), _) => {
            // Whoever reads the object wants it also if it is not as hoped for.
            let shown = cluster
                .get_raw(Kind::Spore, &name)
                .await
                .and_then(|now| print::object(now, format));
            reached.and(shown)
        }
        (None, Some(spore)) => {
            reached?;
            print::line(&summary(&spore, wait_for))
        }
        (Some(Format::Name), _) | (None, None) => reached,
    }
}

/// What is known while waiting.
struct Watcher {
    name: String,
    target: String,
    uid: Option<String>,
    wait_for: WaitFor,
    progress: Progress,
    last: Option<SporeInstance>,
    hinted: bool,
}

impl Watcher {
    fn see(&mut self, seen: &Seen<'_>) -> Option<Result<(), Error>> {
        match seen {
            Seen::Is(spore) if self.is_ours(spore) => {
                self.progress.show(&steps::rows(spore, self.wait_for));
                self.last = Some((*spore).clone());
                return steps::verdict(spore, self.wait_for, &self.target);
            }
            Seen::Unreadable(object) => return Some(Err(Error::unreadable(object))),
            Seen::Is(_) | Seen::Gone(_) => return Some(Err(Error::Deleted(self.name.clone()))),
            Seen::Trouble(error) => self.progress.say(&format!("{error}; trying again")),
            Seen::Quiet if !self.hinted && self.last.as_ref().is_none_or(steps::is_unseen) => {
                self.progress.say(steps::UNSEEN);
                self.hinted = true;
            }
            Seen::Quiet => {}
        }
        None
    }

    /// Whether it is the spore that was created, and nobody deletes it.
    fn is_ours(&self, spore: &SporeInstance) -> bool {
        spore.uid() == self.uid && spore.metadata.deletion_timestamp.is_none()
    }
}

fn timed_out(
    name: &str,
    target: &str,
    last: Option<&SporeInstance>,
    limit: Option<time::Duration>,
) -> Error {
    let ready = last
        .and_then(|spore| spore.status.as_ref())
        .and_then(|status| conditions::get(&status.conditions, conditions::READY));
    let what = match ready {
        Some(ready) => format!("{name}: {}: {}", ready.reason, ready.message),
        None => format!("{name} was not taken up by the controller"),
    };
    Error::TimedOut {
        after: Limit(limit).to_string(),
        what,
        advice: steps::how_to_go_on(target),
        capacity: ready.is_some_and(|ready| ready.status != "True" && is_capacity(&ready.reason)),
    }
}

/// What was waited for, in a line.
fn summary(spore: &SporeInstance, wait_for: WaitFor) -> String {
    let name = spore.name_any();
    let status = spore.status.clone().unwrap_or_default();
    let succeeded = conditions::get(&status.conditions, conditions::SUCCEEDED);
    if let (WaitFor::Completion, Some(succeeded)) = (wait_for, succeeded) {
        return format!("{name}: {}", succeeded.message);
    }
    if let Some(ended) = &status.ended {
        return format!("{name} has ended: {}", ended.message);
    }
    let mut facts = Vec::new();
    if let Some(instance) = &status.instance {
        facts.push(instance.id.clone());
        let kind = instance
            .type_
            .as_deref()
            .unwrap_or(&spore.spec.instance_type);
        facts.push(match &instance.zone {
            Some(zone) => format!("{kind} in {zone}"),
            None => kind.to_owned(),
        });
        facts.extend(instance.public_ip.clone());
    }
    facts.extend(
        status
            .deadline
            .map(|deadline| format!("gone by {}", print::time::clock(deadline))),
    );
    format!("{name} is ready: {}", facts.join(", "))
}
