//! Rows as they are written in a file: JSON, YAML or CSV.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    error::{Place, Problem, RowError},
    fields::SPEC,
    names::{self, Meaning},
};
use crate::sweep::{Row, RowFormat};

/// What a file of rows says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowFile {
    /// Values for every row that does not name them itself.
    pub defaults: Row,
    /// The rows.
    pub params: Vec<Row>,
    /// Names with lists of values, of which every combination is a row.
    pub grid: BTreeMap<String, Vec<Value>>,
    /// The line at which each row begins, if the format has one row a line; as long as `params`, or
    /// empty.
    pub lines: Vec<u64>,
}

impl RowFormat {
    /// The format that the ending of a file's name tells: `.json`, `.yaml`, `.yml` or `.csv`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "json" => Some(Self::JSON),
            "yaml" | "yml" => Some(Self::YAML),
            "csv" => Some(Self::CSV),
            _ => None,
        }
    }
}

impl RowFile {
    /// Reads a file. Types are kept: those of JSON, those of YAML 1.2, and in CSV what a cell looks
    /// like if its column is a parameter, and what the field takes if it is a field.
    ///
    /// # Errors
    /// It is not written in the format, names a key twice in one place, or is not built as a file of
    /// rows is. What the rows themselves say is not checked here.
    pub fn read(text: &str, format: RowFormat) -> Result<Self, RowError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match format {
            RowFormat::JSON => {
                let Strict(value) = serde_json::from_str(text)
                    .map_err(|error| syntax("JSON", u64::try_from(error.line()).ok(), &error))?;
                Self::of(value)
            }
            RowFormat::YAML => {
                let Strict(value) = yaml(text)?;
                Self::of(value)
            }
            RowFormat::CSV => csv(text),
        }
    }

    fn of(value: Value) -> Result<Self, RowError> {
        let mut file = Self::default();
        match value {
            Value::Array(rows) => file.params = list(rows)?,
            Value::Object(parts) => {
                for (key, value) in parts {
                    match (key.as_str(), value) {
                        ("defaults", Value::Object(row)) => {
                            file.defaults = row.into_iter().collect();
                        }
                        ("params", Value::Array(rows)) => file.params = list(rows)?,
                        ("grid", Value::Object(grid)) => file.grid = lists(grid)?,
                        ("defaults" | "params" | "grid", Value::Null) => {}
                        ("defaults" | "grid", other) => {
                            return Err(wrong(key, &other, "an object"));
                        }
                        ("params", other) => return Err(wrong(key, &other, "a list of rows")),
                        _ => {
                            let known = "is unknown here: a file has defaults, params and grid; settings of the sweep, such as parallelism, stand in the sweep";
                            let problem = Problem::Invalid(known.to_owned());
                            return Err(RowError::at(Place::File { line: None }, key, problem));
                        }
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let problem = Problem::WrongType {
                    found: super::fields::describe(&value),
                    expected: "a list of rows, or an object with defaults, params and grid"
                        .to_owned(),
                };
                return Err(RowError::new(Place::File { line: None }, problem));
            }
        }
        Ok(file)
    }
}

fn wrong(key: String, found: &Value, expected: &str) -> RowError {
    let problem = Problem::WrongType {
        found: super::fields::describe(found),
        expected: expected.to_owned(),
    };
    RowError::at(Place::File { line: None }, key, problem)
}

fn list(rows: Vec<Value>) -> Result<Vec<Row>, RowError> {
    let row = |(at, row)| {
        if let Value::Object(row) = row {
            Ok(row.into_iter().collect())
        } else {
            Err(wrong(format!("params[{at}]"), &row, "an object"))
        }
    };
    rows.into_iter().enumerate().map(row).collect()
}

fn lists(grid: Map<String, Value>) -> Result<BTreeMap<String, Vec<Value>>, RowError> {
    let values = |(key, values)| {
        if let Value::Array(values) = values {
            Ok((key, values))
        } else {
            Err(wrong(format!("grid.{key}"), &values, "a list of values"))
        }
    };
    grid.into_iter().map(values).collect()
}

fn syntax(format: &'static str, line: Option<u64>, error: &impl fmt::Display) -> RowError {
    let message = error.to_string();
    RowError::new(Place::File { line }, Problem::Syntax { format, message })
}

/// More than a sweep of the greatest size needs; still a bound for text that unfolds by aliases.
const NODES: usize = 20_000_000;

fn yaml(text: &str) -> Result<Strict, RowError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: NODES, max_nodes: NODES },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|location| location.line());
        syntax("YAML", line, &error)
    })
}

fn csv(text: &str) -> Result<RowFile, RowError> {
    let at = |error: ::csv::Error| {
        let line = error.position().map(::csv::Position::line);
        syntax("CSV", line, &error)
    };
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(at)?.clone();
    let mut columns = Vec::<(String, Cell)>::new();
    for name in &header {
        let problem = if name.trim() != name || name.is_empty() {
            Some(
                "is not a name: the first line has the names of the columns, without spaces around them",
            )
        } else if columns.iter().any(|(other, _)| other == name) {
            Some("names two columns: keep one of them")
        } else {
            None
        };
        if let Some(problem) = problem {
            let problem = Problem::Invalid(problem.to_owned());
            return Err(RowError::at(Place::File { line: Some(1) }, name, problem));
        }
        columns.push((name.to_owned(), Cell::of(name)));
    }
    let mut file = RowFile::default();
    for record in reader.records() {
        let record = record.map_err(at)?;
        let line = record.position().map_or(0, |begin| line_of(text, begin));
        let mut row = Row::new();
        for ((name, cell), text) in columns.iter().zip(&record) {
            if text.is_empty() {
                continue;
            }
            let value = cell
                .value(text)
                .map_err(|problem| RowError::at(Place::File { line: Some(line) }, name, problem))?;
            row.insert(name.clone(), value);
        }
        file.params.push(row);
        file.lines.push(line);
    }
    Ok(file)
}

/// The line of a record. Empty lines before it are skipped by the reader but counted as its own.
fn line_of(text: &str, begin: &::csv::Position) -> u64 {
    let byte = usize::try_from(begin.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(byte..).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| [b'\r', b'\n'].contains(byte));
    begin.line() + ends.filter(|byte| **byte == b'\n').count() as u64
}

/// How the cells of a column are read.
#[derive(Clone, Copy)]
enum Cell {
    /// As what it looks like.
    Typed,
    /// As it stands.
    Text,
    /// As JSON, because a cell has no form of its own for a list or an object.
    Json,
}

impl Cell {
    fn of(name: &str) -> Self {
        match names::meaning(name) {
            Ok(Meaning::Name | Meaning::Inner(..) | Meaning::Field("command" | "onComplete")) => {
                Self::Text
            }
            Ok(Meaning::Field(field)) => match SPEC.fields.get(field) {
                Some(node) if node.is_text() => Self::Text,
                _ => Self::Json,
            },
            // What is wrong with the name is told with the row.
            Ok(Meaning::Parameter(_) | Meaning::Spot) | Err(_) => Self::Typed,
        }
    }

    fn value(self, text: &str) -> Result<Value, Problem> {
        match self {
            Self::Typed => Ok(typed(text)),
            Self::Text => Ok(text.into()),
            Self::Json => {
                let Strict(value) = serde_json::from_str(text).map_err(|error| {
                    Problem::Invalid(format!(
                        "{text:?} is not JSON, which this field needs in a cell: {error}"
                    ))
                })?;
                Ok(value)
            }
        }
    }
}

/// A cell as what it looks like: boolean, integer, float or else text. Numbers are those of JSON, so
/// that `007` and `nan` stay text; so do integers that no 64 bits hold, which would lose digits.
fn typed(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        || !text.ends_with(|c: char| c.is_ascii_digit())
    {
        return text.into();
    }
    match serde_json::from_str::<serde_json::Number>(text) {
        Ok(number) if number.is_f64() && !text.contains(['.', 'e', 'E']) => text.into(),
        Ok(number) => Value::Number(number),
        Err(_) => text.into(),
    }
}

/// A value in which no object names a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has no number for what is not finite.
        Ok(serde_json::Number::from_f64(value)
            .map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("{key:?} is named twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
