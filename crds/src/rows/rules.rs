//! The rules of the schema that are written in CEL, a second time.

use regex::Regex;
use serde_json::Value;

use super::names::is_identifier;

/// Fields between which rules hold: one's value decides whether another's is possible.
pub(super) const RELATED: [&str; 3] = ["idle", "market", "onComplete"];

/// One rule.
#[derive(Debug)]
pub(super) enum Rule {
    /// The text matches.
    Matches(Regex),
    /// The text does not match.
    MatchesNot(Regex),
    /// Something else.
    Code(Holds),
}

type Holds = fn(&Value) -> bool;

impl Rule {
    /// Whether the value keeps the rule. Whatever has another type than the rule is about, does.
    pub(super) fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Matches(pattern) => value.as_str().is_none_or(|text| pattern.is_match(text)),
            Self::MatchesNot(pattern) => value.as_str().is_none_or(|text| !pattern.is_match(text)),
            Self::Code(code) => code(value),
        }
    }
}

/// The rule with this text in the schema.
pub(super) fn known(text: &str) -> Option<Rule> {
    let pattern = |text: &str, start: &str| {
        let pattern = text.strip_prefix(start)?.strip_suffix("')")?;
        Regex::new(pattern).ok()
    };
    if let Some(pattern) = pattern(text, "self.matches('") {
        return Some(Rule::Matches(pattern));
    }
    if let Some(pattern) = pattern(text, "!self.matches('") {
        return Some(Rule::MatchesNot(pattern));
    }
    CODE.iter()
        .find(|(known, _)| *known == text)
        .map(|(_, code)| Rule::Code(*code))
}

/// Each by its text, with what it comes to.
const CODE: [(&str, Holds); 7] = [
    (
        "!has(self.market) || self.market != 'Spot' || !has(self.idle) || self.idle.action != 'Stop'",
        |spec| !(is(spec, "/market", "Spot") && is(spec, "/idle/action", "Stop")),
    ),
    (
        "!has(self.market) || self.market != 'Spot' || !has(self.onComplete) || self.onComplete.action != 'Stop'",
        |spec| !(is(spec, "/market", "Spot") && is(spec, "/onComplete/action", "Stop")),
    ),
    ("self.size() == 0 || self[0].size() > 0", |list| {
        list.pointer("/0") != Some(&Value::String(String::new()))
    }),
    (
        "self.all(key, key.size() <= 128 && key.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
        |env| keys(env).all(is_identifier),
    ),
    (
        "self.all(key, !key.startsWith('JOB_ARRAY_') && !key.startsWith('SWEEP_') && !key.startsWith('PARAM_'))",
        |env| {
            keys(env).all(|key| {
                !["JOB_ARRAY_", "SWEEP_", "PARAM_"]
                    .iter()
                    .any(|ours| key.starts_with(ours))
            })
        },
    ),
    (
        "self.all(key, key.size() <= 128 && key.matches('^[A-Za-z0-9+=.,_:@-]+$') && key != '.' && key != '..' && key != '_index')",
        |tags| keys(tags).all(is_tag_key),
    ),
    (
        "self.all(key, !key.startsWith('spawn:') && !key.lowerAscii().startsWith('aws:'))",
        |tags| {
            keys(tags).all(|key| {
                !key.starts_with("spawn:") && !key.to_ascii_lowercase().starts_with("aws:")
            })
        },
    ),
];

fn is(value: &Value, pointer: &str, text: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_str) == Some(text)
}

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
}

fn is_tag_key(key: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "+=.,_:@-".contains(c);
    (1..=128).contains(&key.len())
        && key.chars().all(legal)
        && ![".", "..", "_index"].contains(&key)
}
