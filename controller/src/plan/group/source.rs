//! Where the spec of a member comes from.

use std::borrow::Cow;

use spore_core::tags::Kind;
use spore_crds::{Peers, Row, SporeArray, SporeInstanceSpec, SporeSweep};

use super::{Group, History};

/// What one member is.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberSpec<'a> {
    /// Its spec.
    pub spec: Cow<'a, SporeInstanceSpec>,
    /// Its parameters.
    pub parameters: Row,
    /// Its own name, if it has one.
    pub name: Option<String>,
}

/// Something that knows what each member is.
pub trait Source {
    /// What the member of this index is.
    ///
    /// # Errors
    /// A sentence that says what is wrong with its row.
    fn member(&self, index: u32) -> Result<MemberSpec<'_>, String>;

    /// Digest of the first `count` members, if they may change.
    fn digest(&self, count: u32) -> Option<String>;

    /// Every instance type with its region, if it names one.
    fn types(&self) -> Vec<(Option<String>, String)>;
}

impl Source for SporeInstanceSpec {
    fn member(&self, _index: u32) -> Result<MemberSpec<'_>, String> {
        Ok(MemberSpec {
            spec: Cow::Borrowed(self),
            parameters: Row::new(),
            name: None,
        })
    }

    fn digest(&self, _count: u32) -> Option<String> {
        None
    }

    fn types(&self) -> Vec<(Option<String>, String)> {
        vec![(self.region.clone(), self.instance_type.clone())]
    }
}

/// Members of which nothing can be told.
#[derive(Debug)]
pub struct Unreadable;

impl Source for Unreadable {
    fn member(&self, _index: u32) -> Result<MemberSpec<'_>, String> {
        Err("the rows cannot be read".into())
    }

    fn digest(&self, _count: u32) -> Option<String> {
        None
    }

    fn types(&self) -> Vec<(Option<String>, String)> {
        Vec::new()
    }
}

/// An array as the planner sees it.
#[must_use]
pub fn of_array(array: &SporeArray) -> Group<'_> {
    // Taken apart, so that a field cannot be accepted and ignored.
    let spore_crds::SporeArraySpec {
        replicas,
        template,
        extend_to,
        min_available,
        zones,
        failure_policy,
        success_policy,
        peers,
        budget,
    } = &array.spec;
    Group {
        kind: Kind::SporeArray,
        metadata: &array.metadata,
        status: array.status.as_ref(),
        size: *replicas,
        members: template,
        parallelism: None,
        parallelism_per_region: None,
        launch_interval: None,
        suspend: false,
        cancel: false,
        time_limit: None,
        budget: *budget,
        extend_to: *extend_to,
        failure_policy: failure_policy.as_ref(),
        success_policy: success_policy.as_ref(),
        min_available: *min_available,
        zones,
        peers: *peers == Peers::Enabled,
        history: None,
        retry_failed: 0,
        problem: None,
    }
}

/// A sweep with these rows, as the planner sees it.
#[must_use]
pub fn of_sweep<'a>(sweep: &'a SporeSweep, rows: &'a dyn Source, size: u32) -> Group<'a> {
    // What makes up the rows has been read already.
    let spore_crds::SporeSweepSpec {
        template: _,
        defaults: _,
        params: _,
        grid: _,
        params_from: _,
        parallelism,
        parallelism_per_region,
        launch_interval,
        suspend,
        cancel,
        deadline,
        extend_to,
        failure_policy,
        success_policy,
        retry_failed,
        successful_history_limit,
        failed_history_limit,
        budget,
    } = &sweep.spec;
    Group {
        kind: Kind::SporeSweep,
        metadata: &sweep.metadata,
        status: sweep.status.as_ref(),
        size,
        members: rows,
        parallelism: Some(*parallelism),
        parallelism_per_region: *parallelism_per_region,
        launch_interval: *launch_interval,
        suspend: *suspend,
        cancel: *cancel,
        time_limit: *deadline,
        budget: *budget,
        extend_to: *extend_to,
        failure_policy: failure_policy.as_ref(),
        success_policy: success_policy.as_ref(),
        min_available: None,
        zones: &[],
        peers: false,
        history: Some(History {
            succeeded: *successful_history_limit,
            failed: *failed_history_limit,
        }),
        retry_failed: retry_failed.unwrap_or(0),
        problem: None,
    }
}
