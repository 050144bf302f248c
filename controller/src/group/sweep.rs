//! Reading what makes up the members of a sweep: its rows, and the `ConfigMap` that holds some of them.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt as _};
use spore_core::tags::Kind;
use spore_crds::{
    GroupStatus, ParamsFrom, RowFormat, SporeSweep,
    rows::{Rows, RowsDigest},
};

use super::{Collection, Groups};
use crate::plan::group::{
    Group,
    source::{self, MemberSpec, Source},
};

/// How long a `ConfigMap` that was read counts as current.
const CURRENT_FOR: Duration = Duration::from_secs(30);

/// The rows of one version of a sweep, checked.
#[derive(Debug)]
pub(super) struct Read {
    generation: Option<i64>,
    /// Version of the `ConfigMap`, if there is one.
    version: Option<String>,
    at: Timestamp,
    rows: Result<Checked, String>,
}

#[derive(Debug)]
struct Checked {
    rows: Rows,
    /// Grows with what is launched; made anew for another prefix.
    digest: Mutex<RowsDigest>,
}

impl Source for Checked {
    fn member(&self, index: u32) -> Result<MemberSpec<'_>, String> {
        let row = self
            .rows
            .resolve(index)
            .map_err(|error| error.to_string())?;
        Ok(MemberSpec {
            spec: Cow::Owned(row.spec),
            parameters: row.parameters,
            name: row.name,
        })
    }

    fn digest(&self, count: u32) -> Option<String> {
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if digest.rows() > count {
            *digest = RowsDigest::default();
        }
        digest.advance(&self.rows, count);
        Some(digest.text())
    }

    fn types(&self) -> Vec<(Option<String>, String)> {
        self.rows.types().into_iter().collect()
    }
}

impl Collection for SporeSweep {
    const KIND: Kind = Kind::SporeSweep;

    fn status(&self) -> Option<&GroupStatus> {
        self.status.as_ref()
    }

    fn set_status(&mut self, status: GroupStatus) {
        self.status = Some(status);
    }

    async fn look<T: Send>(&self, groups: &Groups, look: impl FnOnce(&Group<'_>) -> T + Send) -> T {
        let read = groups.rows(self).await;
        match &read.rows {
            Ok(checked) => look(&source::of_sweep(self, checked, checked.rows.len())),
            // What cannot be read changes nothing about what exists.
            Err(message) => {
                let size = self.status().map_or(0, |status| status.replicas);
                let mut group = source::of_sweep(self, &source::Unreadable, size);
                group.problem = Some(("InvalidRows", message));
                look(&group)
            }
        }
    }
}

impl Groups {
    /// The rows of a sweep, read again when it or its `ConfigMap` has changed.
    async fn rows(&self, sweep: &SporeSweep) -> Arc<Read> {
        let uid = sweep.uid().unwrap_or_default();
        let now = (self.context.clock)();
        let known = self.lock_rows().get(&uid).cloned();
        let known = known.filter(|read| read.generation == sweep.metadata.generation);
        let Some(from) = &sweep.spec.params_from else {
            return match known {
                Some(read) => read,
                None => self.check(sweep, None, now),
            };
        };
        let current = known.as_ref().is_some_and(|read| {
            let until = read.at.checked_add(CURRENT_FOR).unwrap_or(Timestamp::MAX);
            until > now && read.rows.is_ok()
        });
        if let Some(read) = known.clone().filter(|_| current) {
            return read;
        }
        let text = self.config_map(sweep, from).await;
        match (known, text) {
            // The same as before, or not to be had just now: what was read holds.
            (Some(read), Ok((version, _))) if read.version == version => read,
            (Some(read), Err(_)) if read.rows.is_ok() => read,
            (_, Ok((version, text))) => match format(from) {
                Ok(format) => self.check(sweep, Some((version, text, format)), now),
                Err(message) => self.put(sweep, None, now, Err(message)),
            },
            (_, Err(message)) => self.put(sweep, None, now, Err(message)),
        }
    }

    fn check(
        &self,
        sweep: &SporeSweep,
        from: Option<(Option<String>, String, RowFormat)>,
        now: Timestamp,
    ) -> Arc<Read> {
        let text = from
            .as_ref()
            .map(|(_, text, format)| (text.as_str(), *format));
        let rows = Rows::new(&sweep.spec, text)
            .map_err(|error| error.to_string())
            .and_then(|rows| match rows.check() {
                Ok(()) => Ok(Checked {
                    rows,
                    digest: Mutex::default(),
                }),
                Err(errors) => Err(errors.to_string()),
            });
        let version = from.and_then(|(version, ..)| version);
        self.put(sweep, version, now, rows)
    }

    fn put(
        &self,
        sweep: &SporeSweep,
        version: Option<String>,
        at: Timestamp,
        rows: Result<Checked, String>,
    ) -> Arc<Read> {
        let read = Arc::new(Read {
            generation: sweep.metadata.generation,
            version,
            at,
            rows,
        });
        let uid = sweep.uid().unwrap_or_default();
        self.lock_rows().insert(uid, read.clone());
        read
    }

    /// The text that a sweep names, with the version of its `ConfigMap`.
    async fn config_map(
        &self,
        sweep: &SporeSweep,
        from: &ParamsFrom,
    ) -> Result<(Option<String>, String), String> {
        let namespace = sweep.namespace().unwrap_or_default();
        let api = Api::<ConfigMap>::namespaced(self.context.client.clone(), &namespace);
        let name = &from.config_map;
        let map = api
            .get_opt(name)
            .await
            .map_err(|error| format!("paramsFrom: the ConfigMap {name} cannot be read: {error}"))?
            .ok_or_else(|| {
                format!("paramsFrom: there is no ConfigMap {name} in {namespace}: create it, or correct the name")
            })?;
        let version = map.resource_version();
        let text = map.data.unwrap_or_default().remove(&from.key);
        let text = text.ok_or_else(|| {
            format!(
                "paramsFrom: the ConfigMap {name} has no key {}: add it, or correct the key",
                from.key
            )
        })?;
        Ok((version, text))
    }
}

fn format(from: &ParamsFrom) -> Result<RowFormat, String> {
    from.format
        .or_else(|| RowFormat::of_name(&from.key))
        .ok_or_else(|| {
            format!(
                "paramsFrom: the ending of the key {} tells no format: set format to JSON, YAML or CSV",
                from.key
            )
        })
}
