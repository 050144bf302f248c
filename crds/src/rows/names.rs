//! What a key of a row means.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    error::Problem,
    fields::{NOT_IN_ROWS, SPEC},
};

/// What a key sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The row's own name.
    Name,
    /// A field of the instance.
    Field(&'static str),
    /// A field in a field, such as `timeout` in `idle`.
    Inner(&'static str, &'static str),
    /// Whether `market` is Spot.
    Spot,
    /// A parameter.
    Parameter(String),
}

/// Names of the original `spawn` and short ones for fields in fields, in snake case.
const ALIASES: [(&str, Meaning); 10] = [
    ("name", Meaning::Name),
    ("spot", Meaning::Spot),
    ("ami", Meaning::Field("imageId")),
    ("key_pair", Meaning::Field("keyName")),
    ("user_command", Meaning::Field("command")),
    ("iam_role", Meaning::Field("instanceProfile")),
    ("idle_timeout", Meaning::Inner("idle", "timeout")),
    ("idle_action", Meaning::Inner("idle", "action")),
    ("completion_delay", Meaning::Inner("onComplete", "delay")),
    ("completion_action", Meaning::Inner("onComplete", "action")),
];

/// Names of the original `spawn` for what Spore does not do yet.
const NOT_YET: [(&str, &str); 14] = [
    ("az", ZONE),
    ("availability_zone", ZONE),
    (
        "spot_max_price",
        "a Spot instance costs at most the list price",
    ),
    ("cost_limit", "bound what an instance can cost with ttl"),
    (
        "hibernate",
        "an idle instance can be stopped: idle_action Stop",
    ),
    (
        "hibernate_on_idle",
        "an idle instance can be stopped: idle_action Stop",
    ),
    ("session_timeout", "end what does nothing with idle_timeout"),
    (
        "completion_file",
        "completion is the end of command, or the file /tmp/SPAWN_COMPLETE",
    ),
    ("dns", DNS),
    ("dns_name", DNS),
    ("step", "every row is independent of the others"),
    ("user_data", "say what to run with command"),
    ("volume_size", DISK),
    ("disk_size", DISK),
];
const ZONE: &str = "name a subnet of the zone with subnet_id";
const DNS: &str = "addresses of an instance are in its status";
const DISK: &str = "the disk is as large as the image says; take an image with a larger one";

/// Names that people write in rows and that belong elsewhere.
const MISPLACED: [(&str, &str); 14] = [
    ("member", "the sweep sets it"),
    (
        "extend_to",
        "write extendTo beside template: it moves the deadline of all members",
    ),
    ("ttl_hours", "write ttl, with a unit, such as 8h"),
    (
        "budget",
        "there is none yet, bound what an instance can cost with ttl",
    ),
    ("max_concurrent", PARALLELISM),
    ("parallelism", PARALLELISM),
    (
        "max_concurrent_per_region",
        "write parallelismPerRegion beside template",
    ),
    (
        "parallelism_per_region",
        "write parallelismPerRegion beside template",
    ),
    ("launch_delay", "write launchInterval beside template"),
    ("launch_interval", "write launchInterval beside template"),
    ("sweep_name", "a sweep is named by metadata.name"),
    ("subnet", "write subnet_id"),
    ("security_group", "write security_group_ids, a list"),
    ("security_groups", "write security_group_ids, a list"),
];
const PARALLELISM: &str = "write parallelism beside template";

enum Known {
    Means(Meaning),
    NotYet(&'static str),
    Misplaced(&'static str),
}

/// Everything known, by its name in snake case.
static KNOWN: LazyLock<HashMap<String, Known>> = LazyLock::new(|| {
    let fields = SPEC.fields.keys();
    let fields = fields.map(|field| (snake(field), Known::Means(Meaning::Field(field))));
    let aliases = ALIASES
        .into_iter()
        .map(|(name, meaning)| (name.to_owned(), Known::Means(meaning)));
    let not_yet = NOT_YET
        .into_iter()
        .map(|(name, advice)| (name.to_owned(), Known::NotYet(advice)));
    let misplaced = MISPLACED
        .into_iter()
        .map(|(name, advice)| (name.to_owned(), Known::Misplaced(advice)));
    // A field that is there comes last, so that it wins over what says that it is not.
    not_yet
        .chain(misplaced)
        .chain(aliases)
        .chain(fields)
        .collect()
});

/// What the key means.
///
/// # Errors
/// It is a near miss of a field, belongs elsewhere, is not available yet, or can name nothing.
pub(super) fn meaning(key: &str) -> Result<Meaning, Problem> {
    if let Some(name) = key.strip_prefix("param:") {
        let name = name.strip_suffix(':').unwrap_or(name);
        return parameter(name);
    }
    let owned = || key.to_owned();
    match KNOWN.get(&snake(key)) {
        Some(Known::Means(meaning)) => return Ok(meaning.clone()),
        Some(Known::NotYet(advice)) => {
            return Err(Problem::NotYet {
                key: owned(),
                advice,
            });
        }
        Some(Known::Misplaced(advice)) => {
            return Err(Problem::Misplaced {
                key: owned(),
                advice,
            });
        }
        None => {}
    }
    match nearest(key) {
        Some(nearest) => Err(Problem::NearMiss {
            key: owned(),
            nearest,
        }),
        None => parameter(key),
    }
}

/// The field of this name in camel case, as `template` has it.
pub(super) fn field(name: &str) -> Option<&'static str> {
    let (field, _) = SPEC.fields.get_key_value(name)?;
    Some(field)
}

fn parameter(name: &str) -> Result<Meaning, Problem> {
    if is_identifier(name) {
        Ok(Meaning::Parameter(name.to_owned()))
    } else {
        Err(Problem::BadName)
    }
}

/// Whether a shell takes it as the name of a variable; up to 128 characters.
pub(super) fn is_identifier(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= 128
        && name.chars().all(legal)
        && name
            .chars()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
}

/// `instanceType` as `instance_type`; what has no capitals stays.
fn snake(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The known name that the key is probably meant to be, in the way of writing that the key has.
fn nearest(key: &str) -> Option<String> {
    let plain = plain(key);
    let (name, known) = KNOWN
        .iter()
        .filter(|(_, known)| !matches!(known, Known::Misplaced(_)))
        .filter_map(|(name, known)| Some((distance(&plain, name)?, name, known)))
        .min_by(|(one, a, _), (other, b, _)| one.cmp(other).then_with(|| a.cmp(b)))
        .map(|(_, name, known)| (name, known))?;
    let camel = key.chars().any(|c| c.is_ascii_uppercase()) && !key.contains(['_', '-']);
    Some(match known {
        Known::Means(Meaning::Field(field)) if camel && snake(field) == *name => {
            (*field).to_owned()
        }
        Known::Means(_) | Known::NotYet(_) | Known::Misplaced(_) => name.clone(),
    })
}

/// How far the key is from the name, if that is so little that it is hardly by chance: one letter
/// from five letters on, two from nine on; shorter words are too close to each other, there only
/// two letters in the wrong order count.
fn distance(key: &str, name: &str) -> Option<usize> {
    let name = plain(name);
    let far = match name.len() {
        0..=4 => {
            usize::from(key.len() == name.len() && name.len() == 4 && same_letters(key, &name))
        }
        5..=8 => 1,
        _ => 2,
    };
    if key.len().abs_diff(name.len()) > far {
        return None;
    }
    let distance = strsim::osa_distance(key, &name);
    (distance <= far).then_some(distance)
}

fn same_letters(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters = text.chars().collect::<Vec<_>>();
        letters.sort_unstable();
        letters
    };
    sorted(one) == sorted(other)
}

/// Letters alone, all small: what is left of a name if its way of writing is taken away.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| !['_', '-', ' ', '.'].contains(c));
    kept.flat_map(char::to_lowercase).collect()
}

/// Whether a key of the template may not stand there though it is a field.
pub(super) fn set_by_the_sweep(name: &str) -> bool {
    NOT_IN_ROWS.contains(&name)
}
