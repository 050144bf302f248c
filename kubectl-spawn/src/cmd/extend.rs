//! `kubectl spawn extend`.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use spore_core::duration::Duration;
use spore_crds::{SporeArray, SporeInstance, SporeSweep};

use crate::{
    check,
    cli::{Format, Global, Limit, limit},
    client::{self, Cluster},
    complete,
    error::Error,
    group::Group,
    kind::{Kind, Reference, Spawned},
    print::{self, time},
    steps::UNSEEN,
    watch::{self, Outcome, Seen},
};

/// The field manager of `spec.extendTo`, so that whatever manages the rest of the object keeps it.
const MANAGER: &str = "kubectl-spawn-extend";
/// How often somebody else may change the object between reading and writing.
const TRIES: usize = 10;

/// Give a spore, an array or a sweep more time
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Two hours more than it has
  kubectl spawn extend train 2h

  # An hour more for all members of an array
  kubectl spawn extend --job-array-name search 1h

  # Until a certain moment
  kubectl spawn extend train --to 2026-12-01T08:00:00Z")]
pub(crate) struct ExtendArgs {
    /// NAME, array/NAME or sweep/NAME, and how much longer it may live, from its present deadline on:
    /// 30m, 8h, 1d12h
    #[arg(value_name = "NAME DURATION", num_args = 1..=2, required_unless_present = "to", add = ArgValueCompleter::new(complete::names))]
    words: Vec<String>,
    /// All members of this array, instead of NAME
    #[arg(long, visible_alias = "array", value_name = "NAME", conflicts_with = "sweep", add = ArgValueCompleter::new(complete::arrays))]
    job_array_name: Option<String>,
    /// All members of this sweep, instead of NAME
    #[arg(long, alias = "sweep-id", value_name = "NAME", add = ArgValueCompleter::new(complete::sweeps))]
    sweep: Option<String>,
    /// The new deadline, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// Wait until the new deadline is in effect
    #[arg(long)]
    wait: bool,
    /// How long to wait, 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = limit)]
    timeout: Limit,
    /// Print the object
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
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

/// What a deadline depends on.
#[derive(Clone, Debug, Default)]
struct Present {
    /// How it is called.
    name: String,
    deadline: Option<Timestamp>,
    /// What was asked for already.
    extend_to: Option<Timestamp>,
    /// What is said of its end, if it has ended.
    ended: Option<String>,
    /// Whether it is being deleted.
    going: bool,
}

impl Present {
    fn read(object: DynamicObject) -> Result<Self, Error> {
        match Kind::of(&object) {
            Kind::Spore => client::read(object).map(|spore| Self::of_spore(&spore)),
            Kind::Array => client::read::<SporeArray>(object).map(|array| Self::of_group(&array)),
            Kind::Sweep => client::read::<SporeSweep>(object).map(|sweep| Self::of_group(&sweep)),
        }
    }

    fn of_spore(spore: &SporeInstance) -> Self {
        let status = spore.status.as_ref();
        Self {
            name: spore.name_any(),
            deadline: status.and_then(|status| status.deadline),
            extend_to: spore.spec.extend_to,
            ended: status.and_then(|status| Some(status.ended.as_ref()?.message.clone())),
            going: spore.metadata.deletion_timestamp.is_some(),
        }
    }

    fn of_group<G: Group>(group: &G) -> Self {
        let status = group.status();
        Self {
            name: group.reference().to_string(),
            deadline: status.and_then(|status| status.deadline),
            extend_to: group.extend_to(),
            ended: status.and_then(|status| Some(status.ended.as_ref()?.message.clone())),
            going: group.meta().deletion_timestamp.is_some(),
        }
    }
}

/// Extends.
pub(crate) async fn run(args: ExtendArgs, global: &Global) -> Result<(), Error> {
    let (reference, wish) = args.wish()?;
    let cluster = Cluster::connect(global).await?;
    let (reference, moved) = write(&cluster, &reference, wish).await?;
    if args.output.is_none() {
        print::line(&told(&reference.to_string(), &moved, time::now()))?;
    }
    let kind = reference.kind.unwrap_or(Kind::Spore);
    if args.wait {
        let (name, to) = (&reference, moved.to);
        match kind {
            Kind::Spore => wait(&cluster, &args, name, to, Present::of_spore).await,
            Kind::Array => wait(&cluster, &args, name, to, Present::of_group::<SporeArray>).await,
            Kind::Sweep => wait(&cluster, &args, name, to, Present::of_group::<SporeSweep>).await,
        }?;
    }
    match args.output {
        Some(format) => print::object(cluster.get_raw(kind, &reference.name).await?, format),
        None => Ok(()),
    }
}

impl ExtendArgs {
    /// What is to be extended, and by how much.
    fn wish(&self) -> Result<(Reference, Wish), Error> {
        let named = match (&self.job_array_name, &self.sweep) {
            (Some(array), _) => Some(Reference::to(Kind::Array, array)),
            (None, Some(sweep)) => Some(Reference::to(Kind::Sweep, sweep)),
            (None, None) => None,
        };
        let wrong = |what: &str| {
            Error::Usage {
            what: what.to_owned(),
            advice: "Write `kubectl spawn extend NAME 2h`, `extend NAME --to TIME`, or `extend --job-array-name NAME 2h`.".into(),
        }
        };
        let words = self.words.iter().map(String::as_str).collect::<Vec<_>>();
        let (reference, span) = match (named, words.as_slice()) {
            (Some(reference), [span]) => (reference, Some(*span)),
            (Some(reference), []) => (reference, None),
            (Some(_), _) => return Err(wrong("two names are given")),
            (None, [name, span]) => (reference(name)?, Some(*span)),
            (None, [name]) => (reference(name)?, None),
            (None, _) => return Err(wrong("no name is given")),
        };
        match (span, self.to) {
            (Some(_), Some(_)) => Err(wrong("a span and --to exclude each other")),
            (None, None) => Err(wrong("it is not said how much longer")),
            (None, Some(to)) => Ok((reference, Wish::To(to))),
            (Some(span), None) => match check::positive_duration(span) {
                Ok(span) => Ok((reference, Wish::By(span))),
                Err(error) => Err(wrong(&format!("{span}: {error}"))),
            },
        }
    }
}

fn reference(text: &str) -> Result<Reference, Error> {
    text.parse().map_err(|what: String| Error::Usage {
        what,
        advice: String::new(),
    })
}

/// Reads, decides and writes; again if the object changed in between, so that two extensions at the
/// same time add up.
async fn write(
    cluster: &Cluster,
    reference: &Reference,
    wish: Wish,
) -> Result<(Reference, Move), Error> {
    let mut tries = 1;
    loop {
        let object = cluster.find(reference).await?;
        let found = Reference::of(&object);
        let kind = Kind::of(&object);
        let (uid, version) = (object.uid(), object.resource_version());
        let moved = decide(&Present::read(object)?, wish, time::now())?;
        let patch = json!({
            "apiVersion": kind.api().api_version,
            "kind": kind.word(),
            "metadata": {"name": found.name, "uid": uid, "resourceVersion": version},
            "spec": {"extendTo": moved.to},
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&patch);
        let api = cluster.raw(kind);
        match cluster
            .ask(
                "patch",
                kind.resource(),
                api.patch(&found.name, &params, &patch),
            )
            .await
        {
            Err(Error::Busy(_)) if tries < TRIES => tries += 1,
            answer => return answer.map(|_| (found, moved)),
        }
    }
}

fn decide(present: &Present, wish: Wish, now: Timestamp) -> Result<Move, Error> {
    let name = present.name.clone();
    if let Some(message) = &present.ended {
        let advice = "What has ended is never launched again: launch a new one.".to_owned();
        return Err(Error::Ended {
            name,
            message: message.clone(),
            advice,
        });
    }
    if present.going {
        return Err(Error::Deleted(name));
    }
    // An extension that the controller has not taken up yet counts already.
    let from = present
        .deadline
        .map(|deadline| present.extend_to.map_or(deadline, |to| to.max(deadline)));
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

async fn wait<K: Spawned>(
    cluster: &Cluster,
    args: &ExtendArgs,
    reference: &Reference,
    to: Timestamp,
    present: impl Fn(&K) -> Present,
) -> Result<(), Error> {
    let name = &reference.to_string();
    let names = BTreeSet::from([reference.name.clone()]);
    let mut told = false;
    let outcome = watch::follow::<K, _>(cluster, &names, args.timeout.0, |seen| match seen {
        Seen::Is(object) => {
            let present = present(object);
            if let Some(message) = present.ended {
                return Some(Err(Error::Ended {
                    name: name.clone(),
                    message,
                    advice: String::new(),
                }));
            }
            present
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
    use crate::{error::Exit, group::tests::array, steps::tests::spore};

    fn at(text: &str) -> Timestamp {
        format!("2026-11-21T{text}Z").parse().unwrap()
    }

    fn until(deadline: &str) -> Present {
        Present::of_spore(&spore(json!({"deadline": at(deadline)})))
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
    fn an_array_is_extended_as_one() {
        let array = array(json!({"deadline": at("14:00:00"), "conditions": []}));
        let moved = decide(&Present::of_group(&array), hours(1), at("10:00:00")).unwrap();
        assert_eq!(
            told("array/search", &moved, at("10:00:00")),
            "array/search: deadline 2026-11-21T14:00:00Z + 1h = 2026-11-21T15:00:00Z (in 5h)"
        );
    }

    #[test]
    fn what_is_extended_can_be_said_in_several_ways() {
        use clap::Parser;
        let wish = |line: &str| {
            let line = format!("kubectl-spawn extend {line}");
            let cli = crate::cli::Cli::try_parse_from(line.split(' ')).ok()?;
            let crate::cli::Verb::Extend(args) = cli.verb else {
                panic!("it is an extend")
            };
            args.wish().ok().map(|(reference, _)| reference.to_string())
        };
        let to = "--to 2100-01-01T00:00:00Z";
        for (line, name) in [
            ("train 1h", "train"),
            ("array/a 1h", "array/a"),
            ("--job-array-name a 1h", "array/a"),
            ("1h --job-array-name a", "array/a"),
            ("--sweep a 1h", "sweep/a"),
            (&format!("train {to}"), "train"),
            (&format!("--array a {to}"), "array/a"),
        ] {
            assert_eq!(wish(line).as_deref(), Some(name), "{line}");
        }
        for line in [
            "train",
            "train soon",
            "train 0s",
            "pod/x 1h",
            "train 1h 2h",
            &format!("train 1h {to}"),
            to,
            "--array a b 1h",
        ] {
            assert_eq!(wish(line), None, "{line}");
        }
    }

    #[test]
    fn a_deadline_that_has_passed_counts_from_now() {
        let moved = decide(&until("09:00:00"), hours(2), at("10:00:00")).unwrap();
        assert_eq!(moved.to, at("12:00:00"));
    }

    #[test]
    fn an_extension_not_yet_in_effect_counts_already() {
        let mut spore = until("14:00:00");
        spore.extend_to = Some(at("15:00:00"));
        assert_eq!(
            decide(&spore, hours(1), at("10:00:00")).unwrap().to,
            at("16:00:00")
        );
        spore.extend_to = Some(at("13:00:00"));
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
                &Present::of_spore(&spore(json!(null))),
                Wish::To(at("09:00:00")),
                at("10:00:00")
            )
            .is_err()
        );
    }

    #[test]
    fn before_the_launch_only_a_moment_can_be_asked_for() {
        let fresh = Present::of_spore(&spore(json!(null)));
        assert!(decide(&fresh, hours(1), at("10:00:00")).is_err());
        let moved = decide(&fresh, Wish::To(at("11:00:00")), at("10:00:00")).unwrap();
        assert_eq!(
            told("train", &moved, at("10:00:00")),
            "train: deadline will be 2026-11-21T11:00:00Z (in 60m)"
        );
    }

    #[test]
    fn what_has_ended_is_not_extended() {
        let ended = Present::of_spore(&spore(json!({
            "deadline": at("14:00:00"),
            "ended": {"reason": "Idle", "at": at("09:00:00"), "message": "it did nothing"},
        })));
        assert_eq!(
            decide(&ended, hours(1), at("10:00:00")).unwrap_err().exit(),
            Exit::Failure
        );
    }
}
