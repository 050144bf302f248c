//! From a file to what a schedule creates: a manifest of a spore, an array or a sweep, or a file of
//! parameters, which becomes a sweep.

use std::{fs, io::Read, path::Path};

use serde_json::{Map, Value, json};

use crate::{client::nearest, error::Error};

/// The fields of a file of parameters, as a sweep names them too.
const PARAMETERS: [&str; 3] = ["defaults", "params", "grid"];

/// What a file says.
#[derive(Debug, PartialEq)]
pub(super) struct Source {
    /// The name that it gives, itself or by its own name.
    pub(super) name: Option<String>,
    /// The schedule's `spec.template`.
    pub(super) template: Value,
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(file: &Path) -> Result<Source, Error> {
    let text = match file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(file),
    };
    let text = text.map_err(|error| {
        wrong(
            file,
            format!("cannot be read: {error}"),
            "Give a file, or - for standard input.",
        )
    })?;
    parse(file, &text)
}

/// Takes a file's text apart.
fn parse(file: &Path, text: &str) -> Result<Source, Error> {
    // JSON is YAML, but where it is wrong its own reader says so better.
    let is_json = file.extension().is_some_and(|ending| ending == "json");
    let value = match is_json {
        true => serde_json::from_str::<Value>(text).map_err(|error| error.to_string()),
        false => serde_saphyr::from_str::<Value>(text).map_err(|error| error.to_string()),
    };
    let value = value.map_err(|error| {
        wrong(
            file,
            format!("is neither JSON nor YAML: {error}"),
            "Write one object: a manifest, or parameters with defaults, params and grid.",
        )
    })?;
    let Value::Object(fields) = value else {
        return Err(wrong(
            file,
            "holds no object",
            "Write a manifest, or parameters with defaults, params and grid.",
        ));
    };
    match fields.contains_key("apiVersion") || fields.contains_key("kind") {
        true => manifest(file, &fields),
        false => parameters(file, &fields),
    }
}

fn manifest(file: &Path, fields: &Map<String, Value>) -> Result<Source, Error> {
    let said = |field: &str| {
        fields
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let ours = said("apiVersion") == format!("{}/v1alpha1", spore_crds::GROUP);
    let key = match said("kind") {
        "SporeInstance" if ours => "instance",
        "SporeArray" if ours => "array",
        "SporeSweep" if ours => "sweep",
        "SporeSchedule" if ours => {
            return Err(wrong(
                file,
                "is a schedule already",
                "Create it with `kubectl create -f`.",
            ));
        }
        kind => {
            return Err(wrong(
                file,
                format!("is a {kind} of {}", said("apiVersion")),
                "A schedule starts a SporeInstance, a SporeArray or a SporeSweep of spore.host/v1alpha1.",
            ));
        }
    };
    let metadata = &fields.get("metadata").cloned().unwrap_or_default();
    let kept = ["labels", "annotations"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), metadata.get(field)?.clone())))
        .collect::<Map<_, _>>();
    let mut template = json!({ key: fields.get("spec").cloned().unwrap_or_else(|| json!({})) });
    if !kept.is_empty() {
        template["metadata"] = Value::Object(kept);
    }
    let name = metadata["name"].as_str().map(ToOwned::to_owned);
    Ok(Source {
        name: name.or_else(|| name_of(file)),
        template,
    })
}

fn parameters(file: &Path, fields: &Map<String, Value>) -> Result<Source, Error> {
    let known = PARAMETERS.map(ToOwned::to_owned);
    if let Some(odd) = fields.keys().find(|key| !known.contains(key)) {
        let meant = nearest(odd, &known).map(|near| format!("; did you mean {near}?"));
        return Err(wrong(
            file,
            format!("has a field {odd}{}", meant.unwrap_or_default()),
            "Parameters are written in defaults, params and grid; anything else in a manifest.",
        ));
    }
    if !fields.contains_key("params") && !fields.contains_key("grid") {
        return Err(wrong(
            file,
            "has neither params nor grid",
            "Write params, a list of rows, or grid, names with lists of values.",
        ));
    }
    Ok(Source {
        name: name_of(file),
        template: json!({ "sweep": fields }),
    })
}

/// The name of a file as a name of Kubernetes, if anything is left of it.
fn name_of(file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_str()?.to_lowercase();
    let name = stem.replace(
        |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(),
        "-",
    );
    let name = name.trim_matches('-');
    let short = &name[..name.len().min(spore_crds::schedule::LONGEST_NAME)];
    let short = short.trim_end_matches('-');
    (!short.is_empty()).then(|| short.to_owned())
}

fn wrong(file: &Path, what: impl Into<String>, advice: &str) -> Error {
    Error::File {
        file: match file.as_os_str() == "-" {
            true => "standard input".into(),
            false => file.display().to_string(),
        },
        what: what.into(),
        advice: advice.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(file: &str, text: &str) -> Result<Source, Error> {
        parse(Path::new(file), text)
    }

    #[test]
    fn a_file_of_parameters_becomes_a_sweep_with_the_same_fields() {
        let json = r#"{"defaults": {"ttl": "4h"}, "params": [{"name": "a", "lr": 0.1}], "grid": {"x": [1, 2]}}"#;
        let source = parsed("/tmp/My Sweep.json", json).unwrap();
        assert_eq!(source.name.as_deref(), Some("my-sweep"));
        let whole: Value = serde_json::from_str(json).unwrap();
        assert_eq!(source.template, json!({ "sweep": whole }));
        let yaml = "defaults: {ttl: 4h}\nparams:\n- {name: a, lr: 0.1}\ngrid: {x: [1, 2]}\n";
        assert_eq!(parsed("-", yaml).unwrap().template, source.template);
        assert_eq!(parsed("-", yaml).unwrap().name, None);
    }

    #[test]
    fn a_manifest_becomes_the_template_with_its_labels() {
        let text = "apiVersion: spore.host/v1alpha1\nkind: SporeArray\nmetadata: {name: ranks, namespace: lab, labels: {team: ml}}\nspec: {replicas: 2}\n";
        assert_eq!(
            parsed("x.yaml", text).unwrap(),
            Source {
                name: Some("ranks".into()),
                template: json!({"metadata": {"labels": {"team": "ml"}}, "array": {"replicas": 2}}),
            }
        );
    }

    #[test]
    fn what_is_no_such_file_is_refused_with_what_to_do() {
        for (text, says) in [
            ("[1, 2]", "holds no object"),
            ("{", "neither JSON nor YAML"),
            ("defaults: {}", "neither params nor grid"),
            ("param: []", "has a field param; did you mean params?"),
            ("kind: Job\napiVersion: batch/v1", "is a Job of batch/v1"),
            (
                "kind: SporeSchedule\napiVersion: spore.host/v1alpha1",
                "is a schedule already",
            ),
        ] {
            let error = parsed("x.yaml", text).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert!(error.advice().is_some_and(|advice| !advice.is_empty()));
        }
    }
}
