//! Query parameters (`Filter.1.Value.2=x`) as a tree with typed reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::error::{ApiError, ApiResult};

/// One level of a query: a value, named children, or both.
#[derive(Debug, Default)]
pub(crate) struct Params {
    /// The dotted name from the root, for messages.
    path: String,
    value: Option<String>,
    children: BTreeMap<String, Params>,
    read: AtomicBool,
}

impl Params {
    /// Parses a form body or query string.
    pub(crate) fn parse(form: &[u8]) -> Self {
        Self::from_pairs(form_urlencoded::parse(form))
    }

    /// Builds the tree from decoded pairs.
    pub(crate) fn from_pairs<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut root = Self::default();
        for (key, value) in pairs {
            let mut node = &mut root;
            for part in key.as_ref().split('.') {
                let path = if node.path.is_empty() {
                    part.to_owned()
                } else {
                    format!("{}.{part}", node.path)
                };
                node = node
                    .children
                    .entry(part.to_owned())
                    .or_insert_with(|| Self {
                        path,
                        ..Self::default()
                    });
            }
            node.value = Some(value.into());
        }
        root
    }

    /// The child of that name, if the caller sent it.
    pub(crate) fn get(&self, name: &str) -> Option<&Params> {
        let child = self.children.get(name)?;
        child.read.store(true, Ordering::Relaxed);
        Some(child)
    }

    /// The value of this node itself.
    pub(crate) fn value(&self) -> Option<&str> {
        self.read.store(true, Ordering::Relaxed);
        self.value.as_deref()
    }

    /// The text of a child.
    pub(crate) fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.value()
    }

    /// The text of a child that must be there and not be empty.
    pub(crate) fn need(&self, name: &str) -> ApiResult<&str> {
        self.str(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::missing(&self.child_path(name)))
    }

    /// A child as a number.
    pub(crate) fn int(&self, name: &str) -> ApiResult<Option<i64>> {
        let Some(text) = self.str(name) else {
            return Ok(None);
        };
        let parsed = text.parse();
        parsed
            .map(Some)
            .map_err(|_| ApiError::invalid(&self.child_path(name), text, "It must be an integer."))
    }

    /// A child as a boolean.
    pub(crate) fn bool(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.str(name) {
            None => Ok(None),
            Some("true" | "True" | "1") => Ok(Some(true)),
            Some("false" | "False" | "0") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid(
                &self.child_path(name),
                other,
                "It must be true or false.",
            )),
        }
    }

    /// The items of a list child, in their numeric order (`Name.1`, or `Name.member.1`).
    pub(crate) fn list(&self, name: &str) -> Vec<&Params> {
        let Some(list) = self.get(name) else {
            return Vec::new();
        };
        let list = list.get("member").unwrap_or(list);
        let mut items: Vec<(u64, &Params)> = list
            .children
            .iter()
            .filter_map(|(index, item)| Some((index.parse().ok()?, item)))
            .collect();
        items.sort_by_key(|(index, _)| *index);
        items
            .into_iter()
            .map(|(_, item)| {
                item.read.store(true, Ordering::Relaxed);
                item
            })
            .collect()
    }

    /// The texts of a list child.
    pub(crate) fn strings(&self, name: &str) -> Vec<&str> {
        self.list(name)
            .into_iter()
            .filter_map(Params::value)
            .collect()
    }

    /// The children by name.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&str, &Params)> {
        self.children
            .iter()
            .map(|(name, child)| (name.as_str(), child))
    }

    /// Everything below this node as pairs of dotted names and values, names relative to it.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (name, child) in self.children() {
            child.collect_pairs(name, &mut pairs);
        }
        pairs
    }

    fn collect_pairs(&self, path: &str, pairs: &mut Vec<(String, String)>) {
        if let Some(value) = self.value() {
            pairs.push((path.to_owned(), value.to_owned()));
        }
        for (name, child) in self.children() {
            child.collect_pairs(&format!("{path}.{name}"), pairs);
        }
    }

    /// Whether the caller asked for a dry run.
    pub(crate) fn dry_run(&self) -> ApiResult<bool> {
        Ok(self.bool("DryRun")?.unwrap_or(false))
    }

    /// A digest of all parameters but those named: what makes two calls "the same request".
    pub(crate) fn fingerprint(&self, except: &[&str]) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (name, child) in &self.children {
            if !except.contains(&name.as_str()) {
                child.digest_into(&mut digest);
            }
        }
        digest.finalize().into()
    }

    fn digest_into(&self, digest: &mut Sha256) {
        if let Some(value) = &self.value {
            for part in [self.path.as_bytes(), value.as_bytes()] {
                digest.update(part.len().to_be_bytes());
                digest.update(part);
            }
        }
        for child in self.children.values() {
            child.digest_into(digest);
        }
    }

    /// Says that all parameters have been dealt with.
    pub(crate) fn settle(&self) {
        for child in self.children.values() {
            child.read.store(true, Ordering::Relaxed);
            child.settle();
        }
    }

    /// Parameters that no handler looked at: a stand-in that ignores them should say so.
    pub(crate) fn unread(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect_unread(&mut found);
        found
    }

    fn collect_unread<'a>(&'a self, found: &mut Vec<&'a str>) {
        for child in self.children.values() {
            if child.read.load(Ordering::Relaxed) {
                child.collect_unread(found);
            } else {
                found.push(&child.path);
            }
        }
    }

    fn child_path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_numeric_order_and_nest() {
        let params = Params::parse(b"Id.10=c&Id.2=b&Id.1=a&F.1.Name=n&F.1.Value.1=x%20y");
        assert_eq!(params.strings("Id"), ["a", "b", "c"]);
        assert_eq!(params.list("F")[0].strings("Value"), ["x y"]);
    }

    #[test]
    fn member_lists_read_like_plain_ones() {
        let params = Params::parse(b"Tags.member.1.Key=k");
        assert_eq!(params.list("Tags")[0].str("Key"), Some("k"));
    }

    #[test]
    fn fingerprints_ignore_order_and_the_excepted_names_only() {
        let one = Params::parse(b"A=1&B=2&ClientToken=x").fingerprint(&["ClientToken"]);
        let two = Params::parse(b"B=2&ClientToken=y&A=1").fingerprint(&["ClientToken"]);
        let other = Params::parse(b"A=1&B=3&ClientToken=x").fingerprint(&["ClientToken"]);
        assert_eq!(one, two);
        assert_ne!(one, other);
    }

    #[test]
    fn unread_parameters_are_named() {
        let params = Params::parse(b"A=1&B.C=2&B.D=3");
        let _ = params.get("B").and_then(|b| b.str("C"));
        assert_eq!(params.unread(), ["A", "B.D"]);
    }
}
