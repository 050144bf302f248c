//! Rows from files.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::spec;
use crate::{
    RowFormat,
    rows::{RowError, RowFile, Rows},
};

fn from(format: RowFormat, text: &str) -> Result<Rows, RowError> {
    Rows::new(&spec(json!({})), Some((text, format)))
}

fn read(format: RowFormat, text: &str) -> RowFile {
    RowFile::read(text, format).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(format: RowFormat, text: &str) -> String {
    match RowFile::read(text, format) {
        Ok(file) => panic!("{text} was read: {file:?}"),
        Err(error) => error.to_string(),
    }
}

/// The name, a few fields and the parameters of a row.
fn told(rows: &Rows, index: u32) -> Value {
    let row = rows
        .resolve(index)
        .unwrap_or_else(|error| panic!("{error}"));
    let spec = serde_json::to_value(row.spec).unwrap();
    json!([
        row.name,
        spec["instanceType"],
        spec["region"],
        spec["ttl"],
        row.parameters
    ])
}

#[test]
fn a18_the_first_sweep_of_the_original_reads_as_it_stands() {
    let rows = from(
        RowFormat::JSON,
        include_str!("../../../tests/sweeps/quick-start.json"),
    )
    .unwrap();
    rows.check().unwrap();
    let all = (0..rows.len())
        .map(|index| told(&rows, index))
        .collect::<Vec<_>>();
    let expected = |alpha: f64| {
        let name = format!("model-alpha-{alpha}");
        json!([name, "t3.micro", "us-east-1", "2h", {"alpha": alpha}])
    };
    assert_eq!(all, [0.1, 0.2, 0.3].map(expected));
}

#[test]
fn a18_the_hyperparameters_of_the_original_read_as_they_stand() {
    let rows = from(
        RowFormat::JSON,
        include_str!("../../../tests/sweeps/hyperparam.json"),
    )
    .unwrap();
    rows.check().unwrap();
    assert_eq!(rows.len(), 50);
    let expected = json!(["run-003", "g5.xlarge", "us-east-1", "4h", {"learning_rate": 0.001, "batch_size": 128}]);
    assert_eq!(told(&rows, 2), expected);
    let spec = rows.resolve(49).unwrap().spec;
    assert_eq!(spec.instance_profile.as_deref(), Some("ml-training-role"));
    assert_eq!(spec.image_id.as_deref(), Some("ami-0123456789abcdef0"));
}

#[test]
fn a18_the_hundred_variants_of_the_original_read_as_they_stand() {
    let rows = from(
        RowFormat::JSON,
        include_str!("../../../tests/sweeps/ab-test.json"),
    )
    .unwrap();
    rows.check().unwrap();
    assert_eq!(rows.len(), 100);
    let expected =
        json!(["variant-c-33", "t3.medium", "us-east-1", "30m", {"config": "variant-c"}]);
    assert_eq!(told(&rows, 99), expected);
    assert_eq!(rows.types().len(), 1);
}

#[test]
fn yaml_has_defaults_rows_and_a_grid() {
    let rows = from(
        RowFormat::YAML,
        include_str!("../../../tests/sweeps/mixed.yaml"),
    )
    .unwrap();
    rows.check().unwrap();
    assert_eq!(rows.len(), 8);
    let first =
        json!(["baseline", "m7i.large", null, "1h", {"optimizer": "none", "dry_run": true}]);
    assert_eq!(told(&rows, 0), first);
    assert_eq!(
        told(&rows, 1)[4],
        json!({"optimizer": "adam", "layers": [64, 32]})
    );
    assert_eq!(
        told(&rows, 7)[4],
        json!({"optimizer": "sgd", "learning_rate": 0.001})
    );
    // Without the two that have no learning rate: names sorted, the last fastest.
    assert_eq!(
        told(&rows, 2)[4],
        json!({"optimizer": "adam", "learning_rate": 0.1})
    );
    assert_eq!(
        told(&rows, 3)[4],
        json!({"optimizer": "sgd", "learning_rate": 0.1})
    );
}

#[test]
fn yaml_types_are_those_of_version_1_2() {
    let text = "- {a: yes, b: no, c: on, d: true, e: 0o17, g: 1e3, h: .nan, i: .inf, j: ~, k: '1', l: 2026-01-16, m: 0x1F, n: 1.0, o: null, p: False}";
    let file = read(RowFormat::YAML, text);
    let expected = json!({
        "a": "yes", "b": "no", "c": "on", "d": true, "e": 15, "g": 1000.0, "h": ".nan",
        "i": ".inf", "j": null, "k": "1", "l": "2026-01-16", "m": 31, "n": 1.0, "o": null, "p": false,
    });
    assert_eq!(json!(file.params[0]), expected);
}

#[test]
fn cells_have_the_type_that_they_look_like_or_that_the_field_takes() {
    let rows = from(
        RowFormat::CSV,
        include_str!("../../../tests/sweeps/cells.csv"),
    )
    .unwrap();
    rows.check().unwrap();
    let first = json!({"alpha": 0.1, "epochs": 10, "label": "007", "debug": true});
    assert_eq!(
        told(&rows, 0),
        json!(["first", "t3.micro", null, "2h", first])
    );
    let second = json!({"alpha": 0.001, "epochs": 20, "label": "nan", "debug": false});
    assert_eq!(
        told(&rows, 1),
        json!(["second", "t3.small", null, null, second])
    );
    assert_eq!(rows.resolve(1).unwrap().spec.command[2], "echo \"a, b\"");
    let third = json!({"alpha": -5, "label": "two\nlines"});
    assert_eq!(
        told(&rows, 2),
        json!([null, "t3.micro", null, "30m", third])
    );

    let text = "name,key_name,tags,security_group_ids,a,b,c,d,e,f,g\n1,2,\"{\"\"t\"\": \"\"3\"\"}\",\"[\"\"sg-01234567\"\"]\",18446744073709551616,1e5,+1,.5,inf,-0.0,-\n";
    let file = read(RowFormat::CSV, text);
    assert_eq!(
        json!(file.params[0]),
        json!({
            "name": "1", "key_name": "2", "tags": {"t": "3"}, "security_group_ids": ["sg-01234567"],
            "a": "18446744073709551616", "b": 1e5, "c": "+1", "d": ".5", "e": "inf", "f": -0.0, "g": "-",
        })
    );
}

#[test]
fn an_error_in_a_csv_tells_the_line() {
    let rows = from(
        RowFormat::CSV,
        "instance_type,name,ttl\nt3.micro,a,1h\n\nt3.micro,b,2 hours\n",
    )
    .unwrap();
    let said = rows.check().unwrap_err().to_string();
    assert!(
        said.starts_with("row 1 (\"b\"), line 4 of the file, ttl: \"2 hours\""),
        "{said}"
    );
    for (text, part) in [
        ("a,b\n1\n", "file, line 2: the file cannot be read as CSV"),
        ("a,a\n1,2\n", "file, line 1, a: names two columns"),
        ("a, b\n1,2\n", "file, line 1,  b: is not a name"),
        ("tags\nx=y\n", "file, line 2, tags: \"x=y\" is not JSON"),
    ] {
        let said = refused(RowFormat::CSV, text);
        assert!(said.starts_with(part), "{said}");
    }
}

#[test]
fn what_is_not_a_file_of_rows_is_refused() {
    use RowFormat::{JSON, YAML};
    for (format, text, part) in [
        (JSON, "{", "file, line 1: the file cannot be read as JSON"),
        (
            JSON,
            "[{\"a\": 1,\n\"a\": 2}]",
            "file, line 2: the file cannot be read as JSON: \"a\" is named twice",
        ),
        (YAML, "- a: 1\n  a: 2\n", "the file cannot be read as YAML"),
        (YAML, "- [", "the file cannot be read as YAML"),
        (
            JSON,
            "5",
            "file: found the number 5, expected a list of rows",
        ),
        (YAML, "", "file: found null, expected a list of rows"),
        (JSON, "[1]", "file, params[0]: found the number 1"),
        (JSON, "{\"params\": {}}", "file, params: found an object"),
        (
            JSON,
            "{\"grid\": {\"a\": 1}}",
            "file, grid.a: found the number 1",
        ),
        (
            JSON,
            "{\"parallelism\": 5}",
            "file, parallelism: is unknown here",
        ),
    ] {
        let said = refused(format, text);
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn rows_of_the_file_come_after_those_of_the_sweep_and_its_defaults_lie_below() {
    let from = json!({
        "defaults": {"instance_type": "t3.nano", "ttl": "1h", "a": "file", "b": "file"},
        "params": [{"where": "file"}],
        "grid": {"y": [1, 2]},
    })
    .to_string();
    let parts = spec(json!({
        "defaults": {"instance_type": "t3.micro", "a": "sweep"},
        "params": [{"where": "sweep"}],
        "grid": {"x": [1, 2]},
    }));
    let rows = Rows::new(&parts, Some((&from, RowFormat::JSON))).unwrap();
    rows.check().unwrap();
    assert_eq!(rows.len(), 6);
    let row = |parameters: Value| {
        let mut all = json!({"a": "sweep", "b": "file"});
        all.as_object_mut()
            .unwrap()
            .extend(parameters.as_object().unwrap().clone());
        json!([null, "t3.micro", null, "1h", all])
    };
    assert_eq!(told(&rows, 0), row(json!({"where": "sweep"})));
    assert_eq!(told(&rows, 1), row(json!({"where": "file"})));
    assert_eq!(told(&rows, 3), row(json!({"x": 1, "y": 2})));
    assert_eq!(told(&rows, 4), row(json!({"x": 2, "y": 1})));

    let both = Rows::new(
        &spec(json!({"grid": {"y": [1]}})),
        Some((&from, RowFormat::JSON)),
    );
    assert!(
        both.unwrap_err()
            .to_string()
            .starts_with("grid, y: is both in the grid")
    );
}

#[test]
fn the_ending_tells_the_format() {
    for (name, format) in [
        ("a.json", Some(RowFormat::JSON)),
        ("a.b.YAML", Some(RowFormat::YAML)),
        ("a.yml", Some(RowFormat::YAML)),
        ("rows.csv", Some(RowFormat::CSV)),
        ("rows", None),
        ("rows.txt", None),
    ] {
        assert_eq!(RowFormat::of_name(name), format, "{name}");
    }
}

#[test]
fn as_many_rows_as_a_config_map_holds_are_read() {
    let json = format!("[{}]", vec![r#"{"x":1}"#; 100_000].join(","));
    for format in [RowFormat::JSON, RowFormat::YAML] {
        assert_eq!(read(format, &json).params.len(), 100_000);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "[\\PC\\n\"{}\\[\\],:]{0,60}") {
        for format in [RowFormat::JSON, RowFormat::YAML, RowFormat::CSV] {
            if let Ok(rows) = from(format, &text) {
                let _ = rows.check();
            }
        }
    }
}
