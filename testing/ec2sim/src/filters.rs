//! `Filter.N.Name` / `Filter.N.Value.M`: values OR, filters AND, `*` and `?` wildcards.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{ApiError, ApiResult};
use crate::params::Params;

/// The tags of one resource.
pub(crate) type Tags = BTreeMap<String, String>;

/// What a resource answers for one filter name: the values it has (none: it cannot match).
pub(crate) type Values<'a> = Vec<Cow<'a, str>>;

/// EC2 refuses more values than this in one filter.
const MAX_VALUES: usize = 200;

/// The filters of one call.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    filters: Vec<Filter>,
}

#[derive(Debug)]
struct Filter {
    name: String,
    patterns: Vec<String>,
}

impl Filters {
    /// Reads the filters of a call; a name outside `known` is refused. `tag:<key>` and `tag-key`
    /// are always known.
    pub(crate) fn parse(params: &Params, known: &[&str]) -> ApiResult<Self> {
        let mut filters = Vec::new();
        for filter in params.list("Filter") {
            let name = filter.need("Name")?;
            if !(name.starts_with("tag:") || name == "tag-key" || known.contains(&name)) {
                return Err(ApiError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' is invalid"),
                ));
            }
            let patterns: Vec<String> = filter
                .strings("Value")
                .into_iter()
                .map(str::to_owned)
                .collect();
            if patterns.is_empty() {
                return Err(ApiError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' has no value"),
                ));
            }
            if patterns.len() > MAX_VALUES {
                return Err(ApiError::new(
                    "FilterLimitExceeded",
                    format!("The maximum number of filter values is {MAX_VALUES}"),
                ));
            }
            filters.push(Filter {
                name: name.to_owned(),
                patterns,
            });
        }
        Ok(Self { filters })
    }

    /// Whether a resource passes every filter. `values` answers all names but the tag ones.
    pub(crate) fn pass<'a>(
        &self,
        tags: Option<&'a Tags>,
        values: impl Fn(&str) -> Values<'a>,
    ) -> bool {
        self.filters.iter().all(|filter| {
            let candidates = tag_values(&filter.name, tags).unwrap_or_else(|| values(&filter.name));
            candidates.iter().any(|value| {
                filter
                    .patterns
                    .iter()
                    .any(|pattern| wildcard(pattern, value))
            })
        })
    }
}

fn tag_values<'a>(name: &str, tags: Option<&'a Tags>) -> Option<Values<'a>> {
    if let Some(key) = name.strip_prefix("tag:") {
        let value = tags.and_then(|tags| tags.get(key));
        return Some(
            value
                .map(|value| Cow::Borrowed(value.as_str()))
                .into_iter()
                .collect(),
        );
    }
    if name == "tag-key" {
        let keys = tags.into_iter().flat_map(|tags| tags.keys());
        return Some(keys.map(|key| Cow::Borrowed(key.as_str())).collect());
    }
    None
}

/// One value.
pub(crate) fn one<'a>(value: impl Into<Cow<'a, str>>) -> Values<'a> {
    vec![value.into()]
}

/// One value, or none.
pub(crate) fn maybe<'a, T: Into<Cow<'a, str>>>(value: Option<T>) -> Values<'a> {
    value.map(Into::into).into_iter().collect()
}

/// A value that is not text by itself.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers pass numbers and flags"
)]
pub(crate) fn shown<'a>(value: impl ToString) -> Values<'a> {
    vec![Cow::Owned(value.to_string())]
}

/// Matches `*` (any run), `?` (any one character) and `\` (the next character as it is).
pub(crate) fn wildcard(pattern: &str, value: &str) -> bool {
    if !pattern.contains(['*', '?', '\\']) {
        return pattern == value;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    let (mut p, mut v) = (0, 0);
    // Where to resume after the last `*`: its position, and how much of the value it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, v));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('\\') if pattern.get(p + 1) == Some(&value[v]) => Some(2),
            Some(c) if *c == value[v] && *c != '\\' => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => {
                p += step;
                v += 1;
            }
            (None, Some((at, eaten))) => {
                star = Some((at, eaten + 1));
                p = at + 1;
                v = eaten + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_documented() {
        for (pattern, value, expected) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("?at", "cat", true),
            ("?at", "at", false),
            ("*amazon?\\*", "my-amazon1*", true),
            ("\\*", "x", false),
            ("a*b*c", "axxbyybzc", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(wildcard(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn filters_and_their_values_combine_with_and_and_or() {
        let params = Params::parse(
            b"Filter.1.Name=tag:a&Filter.1.Value.1=1&Filter.1.Value.2=2&Filter.2.Name=state&Filter.2.Value.1=up",
        );
        let filters = Filters::parse(&params, &["state"]).expect("known filters");
        let tags: Tags = [("a".to_owned(), "2".to_owned())].into();
        assert!(filters.pass(Some(&tags), |_| one("up")));
        assert!(!filters.pass(Some(&tags), |_| one("down")));
        assert!(!filters.pass(None, |_| one("up")));
    }

    #[test]
    fn unknown_filters_are_refused() {
        let params = Params::parse(b"Filter.1.Name=colour&Filter.1.Value.1=red");
        let error = Filters::parse(&params, &["state"]).expect_err("unknown");
        assert_eq!(error.code, "InvalidParameterValue");
    }
}
