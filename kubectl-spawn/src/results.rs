//! How the rows of a sweep ended or stand: results that are kept, and members that are active.

pub(crate) mod table;

use std::{collections::BTreeMap, io::Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use serde_json::Value;
use spore_core::money::Usd;
use spore_crds::{
    Row, RowFormat, RowResult, SWEEP_LABEL, SporeInstance, SporeResults, SporeSweep, rows::Rows,
};

use crate::{
    client::{Cluster, Guarded},
    cmd::list::{cost, readable, state_word},
    error::Error,
    print::time,
};

/// What RBAC rules call objects of results.
const RESULTS: &str = "sporeresults.spore.host";
/// What 1,000 rows can be unpacked to, with room to spare. More is no result of a sweep.
const UNPACKED: u64 = 64 * 1024 * 1024;

/// One row, whatever has become of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// Its index.
    pub(crate) index: u32,
    /// The row's own name.
    pub(crate) name: Option<String>,
    /// One word: Pending if it was never launched, the member's state, Succeeded or Failed.
    pub(crate) state: String,
    /// How often it was launched.
    pub(crate) attempts: u32,
    /// Whether it succeeded; `None` if it has not ended.
    pub(crate) succeeded: Option<bool>,
    /// Why it ended.
    pub(crate) reason: Option<String>,
    /// Exit code of the workload.
    pub(crate) exit_code: Option<i32>,
    /// What the workload said of its result, or a sentence on its end.
    pub(crate) message: Option<String>,
    /// The instance of the last attempt.
    pub(crate) instance_id: Option<String>,
    /// When the work began.
    pub(crate) started_at: Option<Timestamp>,
    /// When the work ended.
    pub(crate) finished_at: Option<Timestamp>,
    /// Where the workload said that its result lies.
    pub(crate) location: Option<String>,
    /// What its last instance has cost, in dollars, if the price is known.
    pub(crate) cost: Option<Usd>,
    /// The row's parameters, if its rows can be read.
    pub(crate) parameters: Row,
}

impl Entry {
    /// How long the work took, in whole seconds.
    pub(crate) fn seconds(&self) -> Option<i64> {
        let (from, to) = (self.started_at?, self.finished_at?);
        Some(to.as_second() - from.as_second())
    }

    fn of_result(result: RowResult) -> Self {
        let RowResult {
            index,
            name,
            attempts,
            succeeded,
            reason,
            exit_code,
            message,
            instance_id,
            started_at,
            finished_at,
            location,
            cost,
        } = result;
        Self {
            index,
            name,
            state: if succeeded { "Succeeded" } else { "Failed" }.into(),
            attempts,
            succeeded: Some(succeeded),
            reason: Some(reason),
            exit_code,
            message,
            instance_id,
            started_at,
            finished_at,
            location,
            cost,
            parameters: Row::new(),
        }
    }

    /// What is known of a member whose result is not kept yet. `None`: it is no member.
    fn of_member(spore: &SporeInstance, now: Timestamp) -> Option<Self> {
        let member = spore.spec.member.as_ref()?;
        let stated = spore.status.clone().unwrap_or_default();
        let status = stated.clone();
        let workload = status.workload.unwrap_or_default();
        let instance = status.instance.unwrap_or_default();
        let ended = status.ended;
        Some(Self {
            index: member.index,
            name: None,
            state: state_word(spore).unwrap_or_else(|| "Pending".into()),
            attempts: member.attempt,
            succeeded: None,
            reason: ended.as_ref().map(|ended| ended.reason.clone()),
            exit_code: workload.exit_code,
            message: workload.message.or(ended.map(|ended| ended.message)),
            instance_id: Some(instance.id).filter(|id| !id.is_empty()),
            started_at: workload.started_at.or(instance.launched_at),
            finished_at: workload.finished_at,
            location: None,
            cost: cost(&stated, now),
            parameters: Row::new(),
        })
    }
}

/// All rows of a sweep, by index.
pub(crate) async fn of(cluster: &Cluster, sweep: &SporeSweep) -> Result<Vec<Entry>, Error> {
    let name = sweep.name_any();
    let selector = format!("{SWEEP_LABEL}={name}");
    let results =
        Api::<Guarded<SporeResults>>::namespaced(cluster.client.clone(), &cluster.namespace);
    let (results, members, rows) = futures::join!(
        cluster.pages(RESULTS, &results, None),
        cluster.list::<SporeInstance>(false, Some(&selector)),
        rows(cluster, sweep),
    );
    let mut ended = Vec::new();
    for object in readable(results?) {
        if belongs(&object, sweep) {
            ended.extend(unpack(&object)?);
        }
    }
    let members = readable(members?);
    let now = time::now();
    let active = members.iter();
    let active = active
        .filter_map(|spore| Entry::of_member(spore, now))
        .collect();
    let size = sweep.status.as_ref().map(|status| status.replicas);
    Ok(merge(
        ended,
        active,
        size.unwrap_or_default(),
        rows.as_ref(),
    ))
}

/// The rows, as far as they can be read: without them only the parameters are missing.
async fn rows(cluster: &Cluster, sweep: &SporeSweep) -> Option<Rows> {
    let Some(from) = &sweep.spec.params_from else {
        return Rows::new(&sweep.spec, None).ok();
    };
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &cluster.namespace);
    let map = cluster
        .ask("get", "configmaps", maps.get(&from.config_map))
        .await;
    let text = map.ok()?.data?.remove(&from.key)?;
    let format = from.format.or_else(|| RowFormat::of_name(&from.key))?;
    Rows::new(&sweep.spec, Some((&text, format))).ok()
}

/// Whether results are those of this sweep and not of an earlier one of its name.
fn belongs(results: &SporeResults, sweep: &SporeSweep) -> bool {
    let owners = results.owner_references();
    results.spec.sweep == sweep.name_any()
        && (owners.is_empty()
            || owners
                .iter()
                .any(|owner| Some(&owner.uid) == sweep.metadata.uid.as_ref()))
}

/// The results in an object.
fn unpack(object: &SporeResults) -> Result<Vec<RowResult>, Error> {
    let wrong = |detail: String| Error::Unreadable {
        what: format!("sporeresults/{}", object.name_any()),
        detail,
    };
    let packed = STANDARD
        .decode(object.spec.data.as_bytes())
        .map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    let read = GzDecoder::new(packed.as_slice())
        .take(UNPACKED)
        .read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    let line =
        |line| serde_json::from_str::<RowResult>(line).map_err(|error| wrong(error.to_string()));
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(line)
        .collect()
}

/// One entry for each row: the result, unless a later attempt is active; what was never launched is
/// pending.
fn merge(
    results: Vec<RowResult>,
    active: Vec<Entry>,
    size: u32,
    rows: Option<&Rows>,
) -> Vec<Entry> {
    let mut entries = BTreeMap::<u32, Entry>::new();
    let results = results.into_iter().map(Entry::of_result);
    // A result tells more than the member that it is of.
    for entry in active.into_iter().chain(results) {
        let known = entries.get(&entry.index);
        if known.is_none_or(|known| known.attempts <= entry.attempts) {
            entries.insert(entry.index, entry);
        }
    }
    let size = rows.map_or(size, |rows| rows.len().max(size));
    for index in 0..size {
        entries.entry(index).or_insert_with(|| Entry {
            index,
            state: "Pending".into(),
            ..Entry::default()
        });
    }
    let mut entries = entries.into_values().collect::<Vec<_>>();
    for entry in &mut entries {
        if let Some(row) = rows.and_then(|rows| rows.resolve(entry.index).ok()) {
            entry.name = entry.name.take().or(row.name);
            entry.parameters = row.parameters;
        }
    }
    entries
}

/// A number in what the workload said, if it said JSON with this key.
pub(crate) fn metric(entry: &Entry, key: &str) -> Option<f64> {
    let said = serde_json::from_str::<Value>(entry.message.as_deref()?).ok()?;
    let value = said.get(key)?;
    let text = || value.as_str()?.parse::<f64>().ok();
    value
        .as_f64()
        .or_else(text)
        .filter(|value| value.is_finite())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use serde_json::json;

    use super::*;
    use crate::{group::tests::sweep, steps::tests::spore};

    pub(crate) fn result(index: u32, attempts: u32, succeeded: bool, message: &str) -> RowResult {
        serde_json::from_value(json!({
            "index": index, "attempts": attempts, "succeeded": succeeded,
            "reason": if succeeded { "Completed" } else { "WorkloadFailed" },
            "exitCode": i32::from(!succeeded), "message": message, "instanceId": "i-0a",
            "startedAt": "2026-11-21T10:00:00Z", "finishedAt": "2026-11-21T10:01:30Z",
        }))
        .unwrap()
    }

    fn packed(text: &str) -> SporeResults {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let data = STANDARD.encode(encoder.finish().unwrap());
        serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1", "kind": "SporeResults",
            "metadata": {"name": "hyper-0"},
            "spec": {"sweep": "hyper", "first": 0, "count": 2, "data": data},
        }))
        .unwrap()
    }

    #[test]
    fn packed_results_are_read_line_by_line() {
        let rows = [result(0, 1, true, "good"), result(1, 2, false, "bad")];
        let lines = rows
            .iter()
            .map(|row| json!(row).to_string() + "\n")
            .collect::<String>();
        assert_eq!(unpack(&packed(&lines)).unwrap(), rows);
        assert!(
            unpack(&packed("{}"))
                .unwrap_err()
                .to_string()
                .contains("hyper-0")
        );
        let mut odd = packed("");
        odd.spec.data = "!".into();
        assert!(unpack(&odd).is_err());
        odd.spec.data = STANDARD.encode("not gzip");
        assert!(unpack(&odd).is_err());
    }

    #[test]
    fn results_of_an_earlier_sweep_of_the_same_name_are_not_taken() {
        let mut sweep = sweep(json!(null));
        sweep.metadata.uid = Some("now".into());
        let mut results = packed("");
        assert!(belongs(&results, &sweep));
        let owner = |uid: &str| {
            serde_json::from_value(
                json!([{"apiVersion": "a", "kind": "b", "name": "hyper", "uid": uid}]),
            )
            .unwrap()
        };
        results.metadata.owner_references = owner("before");
        assert!(!belongs(&results, &sweep));
        results.metadata.owner_references = owner("now");
        assert!(belongs(&results, &sweep));
        results.spec.sweep = "other".into();
        assert!(!belongs(&results, &sweep));
    }

    #[test]
    fn the_latest_attempt_is_told_and_what_was_never_launched_is_pending() {
        let member = |index: u32, attempt: u32| {
            let mut spore = spore(json!({"state": "Running", "conditions": []}));
            spore.spec.member =
                serde_json::from_value(json!({"index": index, "attempt": attempt})).unwrap();
            Entry::of_member(&spore, Timestamp::UNIX_EPOCH).unwrap()
        };
        let results = vec![
            result(0, 1, true, ""),
            result(1, 1, false, ""),
            result(2, 1, true, ""),
        ];
        let active = vec![member(1, 2), member(2, 1), member(3, 1)];
        let entries = merge(results, active, 5, None);
        let told = entries
            .iter()
            .map(|entry| format!("{} {} {}", entry.index, entry.state, entry.attempts))
            .collect::<Vec<_>>();
        let wanted = [
            "0 Succeeded 1",
            "1 Running 2",
            "2 Succeeded 1",
            "3 Running 1",
            "4 Pending 0",
        ];
        assert_eq!(told, wanted);
        assert_eq!(entries[0].seconds(), Some(90));
    }

    #[test]
    fn rows_add_their_name_and_parameters() {
        let sweep = sweep(json!(null));
        let rows = Rows::new(&sweep.spec, None).unwrap();
        let entries = merge(vec![result(0, 1, true, "")], Vec::new(), 0, Some(&rows));
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].parameters["alpha"], 0.1);
        assert_eq!(entries[1].name.as_deref(), Some("second"));
    }

    #[test]
    fn a_metric_is_a_number_in_a_message_that_is_json() {
        let of = |message: &str| metric(&Entry::of_result(result(0, 1, true, message)), "loss");
        assert_eq!(of(r#"{"loss": 0.25}"#), Some(0.25));
        assert_eq!(of(r#"{"loss": "3"}"#), Some(3.0));
        for none in [
            "loss 0.25",
            "{}",
            r#"{"loss": "low"}"#,
            r#"{"loss": "inf"}"#,
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
