//! What is printed, and where: results on standard output, everything else on standard error.

pub(crate) mod describe;
pub(crate) mod group;
pub(crate) mod table;
pub(crate) mod time;

use std::io::{self, IsTerminal, Write};

use kube::{ResourceExt, api::DynamicObject};
use serde::Serialize;
use serde_json::json;

use crate::{cli::Format, error::Error, kind::Kind};

/// Prints a result. A reader who has seen enough is no error.
pub(crate) fn out(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Prints a line of a result.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    out(&format!("{text}\n"))
}

/// Says something beside the result.
pub(crate) fn note(text: &str) {
    // There is nowhere to complain about standard error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says what went wrong, and what to do.
pub(crate) fn complain(error: &Error) {
    if matches!(error, Error::Told(_)) {
        return;
    }
    note(&format!("error: {error}"));
    if let Some(advice) = error.advice().filter(|advice| !advice.is_empty()) {
        note(&advice);
    }
}

/// Whether a person watches: both streams are a terminal that can redraw.
pub(crate) fn live() -> bool {
    let quiet = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && io::stderr().is_terminal() && !quiet && !dumb
}

/// Prints one object in a form for programs.
pub(crate) fn object(object: DynamicObject, format: Format) -> Result<(), Error> {
    match format {
        Format::Json => out(&json(&tidy(object))),
        Format::Yaml => out(&yaml(&tidy(object))),
        Format::Name => line(&full_name(&object)),
    }
}

/// Prints several objects in a form for programs.
pub(crate) fn objects(objects: Vec<DynamicObject>, format: Format) -> Result<(), Error> {
    if format == Format::Name {
        return objects
            .iter()
            .try_for_each(|object| line(&full_name(object)));
    }
    let items = objects.into_iter().map(tidy).collect::<Vec<_>>();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}});
    out(&if format == Format::Json {
        json(&list)
    } else {
        yaml(&list)
    })
}

/// The name that `kubectl` takes and prints.
pub(crate) fn full_name(object: &DynamicObject) -> String {
    Kind::of(object).full_name(&object.name_any())
}

/// A value as JSON for people and programs.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    format!("{}\n", text.expect("what came as JSON goes as JSON"))
}

/// A value as YAML.
pub(crate) fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).expect("what came as JSON goes as YAML")
}

/// Without the record of who wrote which field, which kubectl does not show either.
fn tidy(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    object
}
