//! What a line of the list says of a spore: read from the object, or from the columns that the API
//! server makes of it.
//!
//! For a thousand spores the server writes megabytes of objects, most of them fields that no list
//! shows, or a few kilobytes of columns; nothing else costs a list as much time.

use jiff::Timestamp;
use kube::{
    Resource, ResourceExt,
    api::{ListParams, Request},
};
use serde::Deserialize;
use serde_json::Value;
use spore_crds::{SporeInstance, State, conditions};

use super::{
    ListArgs,
    spores::{cost, region, state, state_word},
};
use crate::{client::Cluster, error::Error, kind::Kind, print::time};

/// Asks for columns instead of objects (Kubernetes API concepts, "Receiving resources as Tables").
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// What is shown of a spore. What is absent is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// Its index in its array or sweep.
    pub(super) index: Option<i64>,
    pub(super) ready: Option<String>,
    pub(super) state: Option<State>,
    /// The state as it is shown.
    pub(super) word: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) market: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) workload: Option<String>,
    pub(super) left: Option<String>,
    pub(super) age: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) region: Option<String>,
    pub(super) public_ip: Option<String>,
    pub(super) image: Option<String>,
    /// What it has cost until now.
    pub(super) cost: Option<String>,
    /// Why it ended, if it has.
    pub(super) ended: Option<String>,
}

impl Line {
    /// What an object says.
    pub(crate) fn of(spore: &SporeInstance, now: Timestamp) -> Self {
        let status = spore.status.clone().unwrap_or_default();
        let ready = conditions::get(&status.conditions, conditions::READY);
        let cost = cost(&status, now).map(|cost| format!("${cost}"));
        let instance = status.instance.unwrap_or_default();
        let ended = status.ended.map(|ended| ended.reason);
        Self {
            namespace: spore.namespace(),
            name: spore.name_any(),
            index: spore.spec.member.as_ref().map(|member| member.index.into()),
            ready: ready.map(|ready| ready.status.clone()),
            state: status.state,
            word: state_word(spore),
            instance_type: Some(spore.spec.instance_type.clone()),
            market: Some(format!("{:?}", spore.spec.market)),
            zone: instance.zone,
            workload: status.workload.and_then(|workload| workload.phase),
            left: left(status.deadline, ended.is_some(), now),
            age: spore
                .creation_timestamp()
                .map(|created| time::since(created.0, now)),
            instance: Some(instance.id),
            region: region(spore),
            public_ip: instance.public_ip,
            image: instance.image_id,
            cost,
            ended,
        }
    }

    /// Whether a spore is one of those that were asked for.
    pub(super) fn matches(&self, args: &ListArgs) -> bool {
        let is =
            |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
        let in_state = |state| args.state.contains(&state);
        (args.state.is_empty() || self.state.is_some_and(in_state))
            && is(&args.region, &self.region)
            && is(&args.instance_type, &self.instance_type)
    }

    /// Whether it has ended and was not asked for. Who names a state wants those in it, ended or not.
    pub(super) fn is_hidden(&self, args: &ListArgs) -> bool {
        !args.all && args.state.is_empty() && self.has_ended()
    }

    /// From the decision to end until EC2 has done it, there is still something to see.
    pub(super) fn has_ended(&self) -> bool {
        let gone = matches!(
            self.state,
            Some(State::Succeeded | State::Failed | State::Ended)
        );
        self.ended.is_some() && gone
    }
}

fn left(deadline: Option<Timestamp>, ended: bool, now: Timestamp) -> Option<String> {
    match deadline.filter(|_| !ended) {
        Some(deadline) if deadline > now => Some(time::since(now, deadline)),
        Some(_) => Some("over".into()),
        None => None,
    }
}

/// What the API server answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Columns {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Cells>,
}

#[derive(Clone, Debug, Deserialize)]
struct Column {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Cells {
    cells: Vec<Value>,
}

/// The lines of the namespace's spores that a label selector picks, from columns. `None`: the columns
/// do not say all that is needed, because the installed definition is older or the user wants more.
pub(super) async fn from_columns(
    cluster: &Cluster,
    args: &ListArgs,
    wide: bool,
    selector: Option<&str>,
    now: Timestamp,
) -> Result<Option<Vec<Line>>, Error> {
    if args.all_namespaces || wide || args.region.is_some() {
        return Ok(None);
    }
    let params = ListParams {
        label_selector: selector.map(ToOwned::to_owned),
        ..ListParams::default()
    };
    let path = SporeInstance::url_path(&(), Some(&cluster.namespace));
    let answer = async {
        let mut request = Request::new(path)
            .list(&params)
            .map_err(kube::Error::BuildRequest)?;
        let (uri, accept) = (format!("{}&includeObject=None", request.uri()), AS_TABLE);
        // Both are made of what is legal there.
        if let (Ok(uri), Ok(accept)) = (uri.parse(), accept.parse()) {
            *request.uri_mut() = uri;
            request.headers_mut().insert("accept", accept);
        }
        cluster.client.request::<Value>(request).await
    };
    let answer = cluster.ask("list", Kind::Spore.resource(), answer).await;
    let answer = answer.map_err(|error| crate::client::about_selector(error, selector))?;
    let columns = serde_json::from_value::<Columns>(answer).ok();
    Ok(columns.and_then(|columns| lines(&columns, now)))
}

fn lines(columns: &Columns, now: Timestamp) -> Option<Vec<Line>> {
    let at = |name: &str| {
        let mut names = columns.column_definitions.iter();
        names.position(|column| column.name == name)
    };
    let at = At {
        name: at("Name")?,
        ready: at("Ready")?,
        state: at("State")?,
        instance_type: at("Type")?,
        market: at("Market")?,
        zone: at("Zone")?,
        workload: at("Workload")?,
        expires: at("Expires")?,
        age: at("Age")?,
        ended: at("Ended")?,
        index: at("Index")?,
        deleting: at("Deleting")?,
    };
    Some(columns.rows.iter().map(|row| at.line(row, now)).collect())
}

/// Where the columns are.
struct At {
    name: usize,
    ready: usize,
    state: usize,
    instance_type: usize,
    market: usize,
    zone: usize,
    workload: usize,
    expires: usize,
    age: usize,
    ended: usize,
    index: usize,
    deleting: usize,
}

impl At {
    fn line(&self, row: &Cells, now: Timestamp) -> Line {
        let cell = |at: usize| row.cells.get(at).filter(|cell| !cell.is_null());
        let text = |at: usize| cell(at).and_then(Value::as_str).map(ToOwned::to_owned);
        let word = text(self.state);
        let known = word.as_deref().and_then(|word| state(word).ok());
        let word = match (known, text(self.deleting)) {
            (Some(State::Terminating) | None, Some(_)) => Some("Terminating".into()),
            (Some(state), Some(_)) => Some(format!("{state:?},Deleting")),
            (_, None) => word,
        };
        let deadline = text(self.expires).and_then(|expires| expires.parse().ok());
        let ended = text(self.ended);
        Line {
            name: text(self.name).unwrap_or_default(),
            index: cell(self.index).and_then(Value::as_i64),
            ready: text(self.ready),
            state: known,
            word,
            instance_type: text(self.instance_type),
            market: text(self.market),
            zone: text(self.zone),
            workload: text(self.workload),
            left: left(deadline, ended.is_some(), now),
            age: text(self.age),
            ended,
            ..Line::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_say_the_same_as_objects() {
        let names = [
            "Name", "Ready", "State", "Type", "Market", "Zone", "Workload", "Expires", "Age",
            "Instance", "Ended", "Index", "Deleting",
        ];
        let row = json!({"cells": ["train", "True", "Running", "g5.xlarge", "OnDemand",
            "us-east-1a", "Running", "2026-11-21T13:20:00Z", "5m30s", "i-0123", null, 7, null]});
        let going = json!({"cells": ["old", "False", "Stopped", "g5.xlarge", "OnDemand",
            null, null, "2026-11-21T09:00:00Z", "5m", null, null, null, "3s"]});
        let gone = json!({"cells": ["gone", "True", "Ended", "g5.xlarge", "OnDemand",
            null, null, "2026-11-21T09:00:00Z", "5m", null, "TTLExpired", null, null]});
        let answer = |names: &[&str]| {
            let names = names.iter().map(|name| json!({"name": name}));
            let columns = json!({"columnDefinitions": names.collect::<Vec<_>>(),
                "rows": [row, going, gone]});
            let now = "2026-11-21T10:00:00Z".parse().unwrap();
            lines(&serde_json::from_value(columns).unwrap(), now)
        };
        let lines = answer(&names).unwrap();
        insta::assert_snapshot!(super::super::render(&lines, false, false), @"
        NAME    INDEX   READY   STATE              TYPE        MARKET     ZONE         WORKLOAD   TTL-LEFT   AGE
        train   7       True    Running            g5.xlarge   OnDemand   us-east-1a   Running    3h20m      5m30s
        old     -       False   Stopped,Deleting   g5.xlarge   OnDemand   -            -          over       5m
        gone    -       True    Ended              g5.xlarge   OnDemand   -            -          -          5m
        ");
        assert!(lines[2].has_ended() && !lines[1].has_ended());
        assert_eq!(lines[1].state, Some(State::Stopped));
        assert_eq!(
            answer(&names[..12]),
            None,
            "an older definition has fewer columns"
        );
    }
}
