//! `kubectl spawn extend`.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use spore_core::duration::Duration;
use spore_crds::{SporeInstance, SporeInstanceStatus};

use crate::{
    check,
    cli::{Format, Global, Limit, limit},
    client::{Cluster, RESOURCE},
    complete,
    error::Error,
    print::{self, time},
    steps::UNSEEN,
    watch::{self, Outcome, Seen},
};

/// The field manager of `spec.extendTo`, so that whatever manages the rest of the object keeps it.
const MANAGER: &str = "kubectl-spawn-extend";
/// How often somebody else may change the object between reading and writing.
const TRIES: usize = 10;

/// Give a spore more time
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Two hours more than it has
  kubectl spawn extend train 2h

  # Until a certain moment
  kubectl spawn extend train --to 2026-12-01T08:00:00Z")]
pub(crate) struct ExtendArgs {
    /// Name of the spore
    #[arg(add = ArgValueCompleter::new(complete::names))]
    pub(crate) name: String,
    /// How much longer it may live, from its present deadline on: 30m, 8h, 1d12h
    #[arg(value_parser = check::positive_duration, required_unless_present = "to", conflicts_with = "to")]
    pub(crate) duration: Option<Duration>,
    /// The new deadline, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) to: Option<Timestamp>,
    /// Wait until the new deadline is in effect
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = limit)]
    pub(crate) timeout: Limit,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let now = time::clock(time::now());
    text.parse()
        .map_err(|_| format!("not a moment in RFC 3339; now is {now}"))
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    By(Duration),
    To(Timestamp),
}

/// A deadline that moves.
#[derive(Debug, PartialEq, Eq)]
struct Move {
    from: Option<Timestamp>,
    to: Timestamp,
}

/// Extends.
pub(crate) async fn run(args: ExtendArgs, global: &Global) -> Result<(), Error> {
    let wish = match (args.duration, args.to) {
        (Some(duration), _) => Wish::By(duration),
        (None, to) => Wish::To(to.expect("clap requires one of the two")),
    };
    let cluster = Cluster::connect(global).await?;
    let moved = write(&cluster, &args.name, wish).await?;
    if args.output.is_none() {
        print::line(&told(&args.name, &moved, time::now()))?;
    }
    if args.wait {
        wait(&cluster, &args, moved.to).await?;
    }
    match args.output {
        Some(format) => print::object(cluster.get_raw(&args.name).await?, format),
        None => Ok(()),
    }
}

/// Reads, decides and writes; again if the object changed in between, so that two extensions at the
/// same time add up.
async fn write(cluster: &Cluster, name: &str, wish: Wish) -> Result<Move, Error> {
    let mut tries = 1;
    loop {
        let spore = cluster.get(name).await?;
        let moved = decide(&spore, wish, time::now())?;
        let patch = json!({
            "apiVersion": format!("{}/v1alpha1", spore_crds::GROUP),
            "kind": "SporeInstance",
            "metadata": {"name": name, "uid": spore.uid(), "resourceVersion": spore.resource_version()},
            "spec": {"extendTo": moved.to},
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&patch);
        let api = cluster.raw();
        match cluster
            .ask("patch", RESOURCE, api.patch(name, &params, &patch))
            .await
        {
            Err(Error::Busy(_)) if tries < TRIES => tries += 1,
            answer => return answer.map(|_| moved),
        }
    }
}

fn decide(spore: &SporeInstance, wish: Wish, now: Timestamp) -> Result<Move, Error> {
    let name = spore.name_any();
    let nothing = SporeInstanceStatus::default();
    let status = spore.status.as_ref().unwrap_or(&nothing);
    if let Some(ended) = &status.ended {
        let advice = "What has ended is never launched again: launch a new one.".to_owned();
        return Err(Error::Ended {
            name,
            message: ended.message.clone(),
            advice,
        });
    }
    if spore.metadata.deletion_timestamp.is_some() {
        return Err(Error::Deleted(name));
    }
    // An extension that the controller has not taken up yet counts already.
    let from = status
        .deadline
        .map(|deadline| spore.spec.extend_to.map_or(deadline, |to| to.max(deadline)));
    let to = match (wish, from) {
        (Wish::To(to), _) => to,
        (Wish::By(duration), Some(from)) => duration.after(from.max(now)),
        (Wish::By(_), None) => {
            return Err(Error::Usage {
                what: format!("{name} has no deadline yet: its time begins with the launch"),
                advice: "Say a moment with --to, or try again when it is launched.".into(),
            });
        }
    };
    let to = whole_second(to);
    if to <= now || from.is_some_and(|from| to <= from) {
        let present = from.map_or_else(|| "now".to_owned(), time::clock);
        return Err(Error::Usage {
            what: format!(
                "{} is not later than {present}: a deadline only moves later",
                time::clock(to)
            ),
            advice: format!("To end {name} earlier, delete it: `kubectl spawn delete {name}`."),
        });
    }
    Ok(Move { from, to })
}

/// Fractions of a second would only make the object harder to read.
fn whole_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

fn told(name: &str, moved: &Move, now: Timestamp) -> String {
    let to = time::moment(moved.to, now);
    match moved.from {
        Some(from) => {
            let by = Duration::between(from, moved.to);
            format!("{name}: deadline {} + {by} = {to}", time::clock(from))
        }
        None => format!("{name}: deadline will be {to}"),
    }
}

async fn wait(cluster: &Cluster, args: &ExtendArgs, to: Timestamp) -> Result<(), Error> {
    let name = &args.name;
    let names = BTreeSet::from([name.clone()]);
    let mut told = false;
    let outcome = watch::follow(cluster, &names, args.timeout.0, |seen| match seen {
        Seen::Is(spore) => {
            let status = spore.status.as_ref()?;
            if let Some(ended) = &status.ended {
                let advice = String::new();
                return Some(Err(Error::Ended {
                    name: name.clone(),
                    message: ended.message.clone(),
                    advice,
                }));
            }
            status
                .deadline
                .is_some_and(|deadline| deadline >= to)
                .then_some(Ok(()))
        }
        Seen::Unreadable(object) => Some(Err(Error::unreadable(object))),
        Seen::Gone(_) => Some(Err(Error::Deleted(name.clone()))),
        Seen::Trouble(error) => {
            print::note(&format!("{error}; trying again"));
            None
        }
        Seen::Quiet => {
            if !std::mem::replace(&mut told, true) {
                print::note(UNSEEN);
            }
            None
        }
    })
    .await?;
    match outcome {
        Outcome::Reached(reached) => reached,
        Outcome::TimedOut => Err(Error::TimedOut {
            after: args.timeout.to_string(),
            what: format!("the deadline of {name} is asked for but not in effect yet"),
            advice: UNSEEN.into(),
            capacity: false,
        }),
        Outcome::Interrupted => Err(Error::Interrupted {
            what: format!(
                "the deadline of {name} is asked for; the controller puts it into effect"
            ),
            advice: String::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{error::Exit, steps::tests::spore};

    fn at(text: &str) -> Timestamp {
        format!("2026-11-21T{text}Z").parse().unwrap()
    }

    fn until(deadline: &str) -> SporeInstance {
        spore(json!({"deadline": at(deadline)}))
    }

    fn hours(hours: u32) -> Wish {
        Wish::By(Duration::from_secs(hours * 3_600))
    }

    #[test]
    fn an_extension_adds_to_the_present_deadline_and_not_to_now() {
        let moved = decide(&until("14:00:00"), hours(2), at("10:00:00")).unwrap();
        assert_eq!(
            moved,
            Move {
                from: Some(at("14:00:00")),
                to: at("16:00:00")
            }
        );
        assert_eq!(
            told("train", &moved, at("10:00:00")),
            "train: deadline 2026-11-21T14:00:00Z + 2h = 2026-11-21T16:00:00Z (in 6h)"
        );
    }

    #[test]
    fn a_deadline_that_has_passed_counts_from_now() {
        let moved = decide(&until("09:00:00"), hours(2), at("10:00:00")).unwrap();
        assert_eq!(moved.to, at("12:00:00"));
    }

    #[test]
    fn an_extension_not_yet_in_effect_counts_already() {
        let mut spore = until("14:00:00");
        spore.spec.extend_to = Some(at("15:00:00"));
        assert_eq!(
            decide(&spore, hours(1), at("10:00:00")).unwrap().to,
            at("16:00:00")
        );
        spore.spec.extend_to = Some(at("13:00:00"));
        assert_eq!(
            decide(&spore, hours(1), at("10:00:00")).unwrap().to,
            at("15:00:00")
        );
    }

    #[test]
    fn a_deadline_never_moves_earlier() {
        let error =
            decide(&until("14:00:00"), Wish::To(at("13:00:00")), at("10:00:00")).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(decide(&until("14:00:00"), Wish::To(at("14:00:01")), at("10:00:00")).is_ok());
        assert!(
            decide(
                &spore(json!(null)),
                Wish::To(at("09:00:00")),
                at("10:00:00")
            )
            .is_err()
        );
    }

    #[test]
    fn before_the_launch_only_a_moment_can_be_asked_for() {
        let fresh = spore(json!(null));
        assert!(decide(&fresh, hours(1), at("10:00:00")).is_err());
        let moved = decide(&fresh, Wish::To(at("11:00:00")), at("10:00:00")).unwrap();
        assert_eq!(
            told("train", &moved, at("10:00:00")),
            "train: deadline will be 2026-11-21T11:00:00Z (in 60m)"
        );
    }

    #[test]
    fn what_has_ended_is_not_extended() {
        let ended = spore(json!({
            "deadline": at("14:00:00"),
            "ended": {"reason": "Idle", "at": at("09:00:00"), "message": "it did nothing"},
        }));
        assert_eq!(
            decide(&ended, hours(1), at("10:00:00")).unwrap_err().exit(),
            Exit::Failure
        );
    }
}
