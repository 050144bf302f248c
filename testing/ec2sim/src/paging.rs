//! `MaxResults` and `NextToken`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::{ApiError, ApiResult};
use crate::params::Params;

/// What one call may return and where it starts.
#[derive(Debug)]
pub(crate) struct Page {
    action: &'static str,
    /// At most so many items.
    pub(crate) size: usize,
    /// The key of the last item of the page before.
    pub(crate) after: Option<String>,
}

/// The page limits of one API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRule {
    /// The API, so that a token of one call is refused by another.
    pub(crate) action: &'static str,
    /// The smallest `MaxResults`.
    pub(crate) min: i64,
    /// The largest `MaxResults`, and the page size when the caller asks for none.
    pub(crate) max: i64,
}

impl PageRule {
    /// The usual limits of EC2's describe calls.
    pub(crate) const fn usual(action: &'static str) -> Self {
        Self {
            action,
            min: 5,
            max: 1000,
        }
    }
}

impl Page {
    /// Reads the page parameters; `has_ids` says that the call lists ids, which EC2 does not
    /// combine with `MaxResults`.
    pub(crate) fn parse(params: &Params, rule: PageRule, has_ids: bool) -> ApiResult<Self> {
        let max_results = params.int("MaxResults")?;
        if has_ids && max_results.is_some() {
            return Err(ApiError::combination(
                "The parameter MaxResults cannot be used together with a list of ids",
            ));
        }
        if let Some(n) = max_results
            && !(rule.min..=rule.max).contains(&n)
        {
            let bound = format!("Expecting a value between {} and {}.", rule.min, rule.max);
            return Err(ApiError::invalid("maxResults", &n.to_string(), &bound));
        }
        let after = match params.str("NextToken").filter(|token| !token.is_empty()) {
            Some(token) => Some(open(rule.action, token)?),
            None => None,
        };
        let size = usize::try_from(max_results.unwrap_or(rule.max)).unwrap_or(usize::MAX);
        Ok(Self {
            action: rule.action,
            size,
            after,
        })
    }

    /// Takes one page from items in ascending key order that all come after [`Page::after`];
    /// returns the token for the rest.
    pub(crate) fn take<T>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let mut items = items.peekable();
        let taken: Vec<T> = items.by_ref().take(self.size).collect();
        let token = match (items.peek(), taken.last()) {
            (Some(_), Some(last)) => Some(seal(self.action, &key(last))),
            _ => None,
        };
        (taken, token)
    }

    /// [`Page::take`] for items that are merely sorted: it skips those up to [`Page::after`].
    pub(crate) fn take_sorted<T>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let after = self.after.clone();
        let rest = items.filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        self.take(rest, &key)
    }
}

fn seal(action: &str, key: &str) -> String {
    let mut sealed = check(action, key).to_vec();
    sealed.extend_from_slice(key.as_bytes());
    URL_SAFE_NO_PAD.encode(sealed)
}

fn open(action: &str, token: &str) -> ApiResult<String> {
    let bad = || ApiError::new("InvalidNextToken", "The specified NextToken is not valid.");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let (sum, key) = bytes.split_at_checked(6).ok_or_else(bad)?;
    let key = std::str::from_utf8(key).map_err(|_| bad())?;
    if check(action, key) == sum {
        Ok(key.to_owned())
    } else {
        Err(bad())
    }
}

fn check(action: &str, key: &str) -> [u8; 6] {
    let digest = Sha256::digest(format!("{action}\n{key}"));
    let mut sum = [0; 6];
    sum.copy_from_slice(&digest[..6]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: PageRule = PageRule::usual("DescribeThings");

    fn page(query: &str) -> ApiResult<Page> {
        Page::parse(&Params::parse(query.as_bytes()), RULE, false)
    }

    #[test]
    fn pages_cover_everything_once() {
        let all: Vec<String> = (0..12).map(|n| format!("{n:02}")).collect();
        let mut seen = Vec::new();
        let mut query = "MaxResults=5".to_owned();
        loop {
            let page = page(&query).expect("valid page");
            let (items, token) = page.take_sorted(all.iter().cloned(), String::clone);
            seen.extend(items);
            match token {
                Some(token) => query = format!("MaxResults=5&NextToken={token}"),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn foreign_and_broken_tokens_are_refused() {
        for token in ["garbage!", "Z2FyYmFnZQ", &seal("DescribeOthers", "1")] {
            let error = page(&format!("NextToken={token}")).expect_err("refused");
            assert_eq!(error.code, "InvalidNextToken");
        }
    }

    #[test]
    fn sizes_outside_the_limits_and_sizes_with_ids_are_refused() {
        assert_eq!(
            page("MaxResults=4").expect_err("small").code,
            "InvalidParameterValue"
        );
        assert_eq!(
            page("MaxResults=1001").expect_err("big").code,
            "InvalidParameterValue"
        );
        let with_ids = Page::parse(&Params::parse(b"MaxResults=5"), RULE, true);
        assert_eq!(
            with_ids.expect_err("both").code,
            "InvalidParameterCombination"
        );
    }
}
