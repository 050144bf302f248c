//! Results as CSV, JSON and YAML.

use std::collections::BTreeSet;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Entry, metric};
use crate::print;

/// A form of a table of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// A line of names, then a line a row
    Csv,
    /// A JSON list
    Json,
    /// A JSON object a line
    Jsonl,
    /// A YAML list
    Yaml,
}

impl TableFormat {
    /// The format that the ending of a file's name tells.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        Self::from_str(ending, true).ok()
    }
}

/// The columns that every table has, in their order.
const COLUMNS: [&str; 14] = [
    "index",
    "name",
    "state",
    "attempts",
    "succeeded",
    "reason",
    "exitCode",
    "message",
    "instanceId",
    "startedAt",
    "finishedAt",
    "durationSeconds",
    "location",
    "cost",
];

/// The table as text. With a metric, its values are a column of their own.
pub(crate) fn render(entries: &[Entry], wanted: Option<&str>, format: TableFormat) -> String {
    let objects = || {
        let object = |entry| object(entry, wanted);
        entries.iter().map(object).collect::<Vec<_>>()
    };
    match format {
        TableFormat::Json => print::json(&objects()),
        TableFormat::Yaml => print::yaml(&objects()),
        TableFormat::Jsonl => objects()
            .iter()
            .map(|object| format!("{object}\n"))
            .collect(),
        TableFormat::Csv => csv(entries, wanted),
    }
}

fn fixed(entry: &Entry) -> [Value; COLUMNS.len()] {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    [
        json!(entry.index),
        json!(entry.name),
        json!(entry.state),
        json!(entry.attempts),
        json!(entry.succeeded),
        json!(entry.reason),
        json!(entry.exit_code),
        json!(entry.message),
        json!(entry.instance_id),
        json!(time(entry.started_at)),
        json!(time(entry.finished_at)),
        json!(entry.seconds()),
        json!(entry.location),
        json!(entry.cost),
    ]
}

/// What is not known is left out, as in the objects of the cluster.
fn object(entry: &Entry, wanted: Option<&str>) -> Value {
    let mut object = Map::new();
    for (name, value) in COLUMNS.into_iter().zip(fixed(entry)) {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    }
    if let Some(value) = wanted.and_then(|key| metric(entry, key)) {
        object.insert("metric".into(), json!(value));
    }
    if !entry.parameters.is_empty() {
        object.insert("parameters".into(), json!(entry.parameters));
    }
    Value::Object(object)
}

fn csv(entries: &[Entry], wanted: Option<&str>) -> String {
    let parameters = entries
        .iter()
        .flat_map(|entry| entry.parameters.keys())
        .collect::<BTreeSet<_>>();
    let mut header = COLUMNS.map(ToOwned::to_owned).to_vec();
    header.extend(wanted.map(|_| "metric".to_owned()));
    for name in &parameters {
        // As a row writes a parameter whose name means something else.
        let taken = header.contains(name);
        header.push(if taken {
            format!("param:{name}")
        } else {
            (*name).clone()
        });
    }
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut write = |record: Vec<String>| {
        let written = writer.write_record(record);
        written.expect("every record has as many cells as the first, and memory takes them");
    };
    write(header);
    for entry in entries {
        let mut record = fixed(entry).iter().map(cell).collect::<Vec<_>>();
        if let Some(key) = wanted {
            record.push(
                metric(entry, key)
                    .map(|value| value.to_string())
                    .unwrap_or_default(),
            );
        }
        let of = |name: &&String| entry.parameters.get(*name).map(cell).unwrap_or_default();
        record.extend(parameters.iter().map(of));
        write(record);
    }
    let bytes = writer.into_inner().expect("memory takes them");
    String::from_utf8(bytes).expect("what came as text goes as text")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::result;

    fn entries() -> [Entry; 2] {
        let mut done = Entry::of_result(result(0, 1, true, r#"{"loss": 0.25}"#));
        done.parameters = [
            ("alpha", json!(0.1)),
            ("name", json!("a, b")),
            ("on", json!(true)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let pending = Entry {
            index: 1,
            state: "Pending".into(),
            ..Entry::default()
        };
        [done, pending]
    }

    #[test]
    fn a_csv_table_has_parameters_as_columns_and_empty_cells_for_what_is_not_known() {
        insta::assert_snapshot!(render(&entries(), Some("loss"), TableFormat::Csv), @r#"
        index,name,state,attempts,succeeded,reason,exitCode,message,instanceId,startedAt,finishedAt,durationSeconds,location,cost,metric,alpha,param:name,on
        0,,Succeeded,1,true,Completed,0,"{""loss"": 0.25}",i-0a,2026-11-21T10:00:00Z,2026-11-21T10:01:30Z,90,,,0.25,0.1,"a, b",true
        1,,Pending,0,,,,,,,,,,,,,,
        "#);
    }

    #[test]
    fn json_leaves_out_what_is_not_known() {
        let text = render(&entries(), None, TableFormat::Json);
        let rows = serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(
            rows[1],
            json!({"index": 1, "state": "Pending", "attempts": 0})
        );
        assert_eq!(rows[0]["parameters"]["alpha"], 0.1);
        let lines = render(&entries(), None, TableFormat::Jsonl);
        assert_eq!(lines.lines().count(), 2);
    }

    #[test]
    fn the_ending_of_a_file_tells_its_format() {
        assert_eq!(TableFormat::of_name("a.CSV"), Some(TableFormat::Csv));
        assert_eq!(TableFormat::of_name("a.jsonl"), Some(TableFormat::Jsonl));
        assert_eq!(TableFormat::of_name("a.txt"), None);
    }
}
