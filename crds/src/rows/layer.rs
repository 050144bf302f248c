//! A row taken apart: what it sets, whatever spelling it uses, and one laid over another.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde_json::{Map, Value, json};

use super::{
    error::Problem,
    fields::{Fault, SPEC},
    names::{self, Meaning},
};
use crate::sweep::Row;

/// One thing that a row can set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The row's own name.
    Name,
    /// A field of the instance. Of one that is an object, only null is set here: it takes away all
    /// that is in it.
    Field(&'static str),
    /// A field in a field, a tag, an environment variable.
    Inner(&'static str, String),
    /// A parameter.
    Parameter(String),
}

/// What a row sets. Null for a field means that it is not set, whatever lies below.
pub(super) type Layer = BTreeMap<Target, Value>;

/// A key with what is wrong with it.
pub(super) type KeyProblem = (String, Problem);

/// Keys that were looked up, so that each is looked up once for all rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    known: HashMap<String, Result<Meaning, Problem>>,
}

impl Keys {
    /// Looks the key up.
    pub(super) fn learn(&mut self, key: &str) {
        if !self.known.contains_key(key) {
            self.known.insert(key.to_owned(), names::meaning(key));
        }
    }

    /// What it means.
    pub(super) fn meaning(&self, key: &str) -> Cow<'_, Result<Meaning, Problem>> {
        match self.known.get(key) {
            Some(meaning) => Cow::Borrowed(meaning),
            None => Cow::Owned(names::meaning(key)),
        }
    }
}

/// Takes a row apart. What is wrong with a key goes to `problems`, the others are still read.
pub(super) fn read<'r>(
    row: impl IntoIterator<Item = (&'r String, &'r Value)>,
    keys: &Keys,
    problems: &mut Vec<KeyProblem>,
) -> Layer {
    let mut reader = Reader::default();
    for (key, value) in row {
        let set = match keys.meaning(key).as_ref() {
            Ok(meaning) => reader.set(key, meaning, value),
            Err(problem) => Err(problem.clone()),
        };
        if let Err(problem) = set {
            problems.push((key.clone(), problem));
        }
    }
    reader.layer
}

/// Takes a template apart: fields alone, in camel case.
pub(super) fn read_template(template: &Row, problems: &mut Vec<KeyProblem>) -> Layer {
    let mut reader = Reader::default();
    for (key, value) in template {
        let set = match names::field(key) {
            Some(field) => reader.field(key, field, value),
            None if names::set_by_the_sweep(key) => names::meaning(key).map(|_| ()),
            None => Err(match names::meaning(key) {
                Err(problem) => problem,
                Ok(Meaning::Parameter(_)) => Problem::Invalid(
                    "is not a field of an instance: write parameters into defaults or rows"
                        .to_owned(),
                ),
                Ok(_) => Problem::Invalid(
                    "is a name for rows: in template write the field's own name".to_owned(),
                ),
            }),
        };
        if let Err(problem) = set {
            problems.push((key.clone(), problem));
        }
    }
    reader.layer
}

/// Lays a row over what lies below.
pub(super) fn lay_over(below: &mut Layer, above: &Layer) {
    for (target, value) in above {
        if let Target::Field(field) = target
            && value.is_null()
            && is_object(field)
        {
            below.retain(|target, _| !matches!(target, Target::Inner(inner, _) if inner == field));
        }
        if value.is_null() && !matches!(target, Target::Parameter(_)) {
            below.remove(target);
        } else {
            below.insert(target.clone(), value.clone());
        }
    }
}

/// Name, `spec` and parameters of a row that lies over all others.
pub(super) fn split(layer: Layer) -> (Option<String>, Map<String, Value>, Row) {
    let (mut name, mut spec, mut parameters) = (None, Map::new(), Row::new());
    for (target, value) in layer {
        match (target, value) {
            (Target::Name, Value::String(own)) => name = Some(own),
            (Target::Parameter(key), value) => {
                parameters.insert(key, value);
            }
            // Null says that nothing is set.
            (Target::Name | Target::Field(_) | Target::Inner(..), Value::Null)
            | (Target::Name, _) => {}
            (Target::Field(field), value) => {
                spec.insert(field.to_owned(), value);
            }
            (Target::Inner(field, key), value) => {
                if let Value::Object(fields) = spec.entry(field).or_insert_with(|| json!({})) {
                    fields.insert(key, value);
                }
            }
        }
    }
    (name, spec, parameters)
}

fn is_object(field: &str) -> bool {
    SPEC.fields
        .get(field)
        .is_some_and(super::fields::Node::is_object)
}

#[derive(Default)]
struct Reader<'k> {
    layer: Layer,
    /// Which key has set what.
    by: Vec<(Target, &'k str)>,
}

impl<'k> Reader<'k> {
    fn set(&mut self, key: &'k str, meaning: &Meaning, value: &Value) -> Result<(), Problem> {
        match meaning {
            Meaning::Name => {
                check_name(value)?;
                self.put(key, Target::Name, value.clone())
            }
            Meaning::Parameter(name) => {
                // An environment variable cannot hold it.
                if value.as_str().is_some_and(|text| text.contains('\0')) {
                    return Err(Problem::Invalid("contains a NUL character".to_owned()));
                }
                self.put(key, Target::Parameter(name.clone()), value.clone())
            }
            Meaning::Spot => {
                let market = match value {
                    Value::Null => Value::Null,
                    Value::Bool(true) => "Spot".into(),
                    Value::Bool(false) => "OnDemand".into(),
                    Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                        return Err(wrong_type(value, "true or false"));
                    }
                };
                self.put(key, Target::Field("market"), market)
            }
            Meaning::Inner(field, inner) => {
                let node = SPEC.fields.get(*field).and_then(|node| node.child(inner));
                if let Some(node) = node
                    && !value.is_null()
                {
                    node.check(value, false).map_err(of)?;
                }
                self.put(
                    key,
                    Target::Inner(field, (*inner).to_owned()),
                    value.clone(),
                )
            }
            Meaning::Field(field) => match (*field, value) {
                ("onComplete", Value::String(action)) => {
                    let target = Target::Inner("onComplete", "action".to_owned());
                    self.put(key, target, action_of(action)?)
                }
                ("command", Value::String(line)) if line.trim().is_empty() => Err(
                    Problem::Invalid("is empty: leave it out instead".to_owned()),
                ),
                ("command", Value::String(line)) => {
                    self.field(key, field, &json!(["/bin/sh", "-c", line]))
                }
                _ => self.field(key, field, value),
            },
        }
    }

    fn field(&mut self, key: &'k str, field: &'static str, value: &Value) -> Result<(), Problem> {
        let Some(node) = SPEC.fields.get(field) else {
            return Err(Problem::BadName);
        };
        let Value::Object(fields) = value else {
            if !value.is_null() {
                node.check(value, false)
                    .map_err(|fault| expected(fault, field))?;
            }
            return self.put(key, Target::Field(field), value.clone());
        };
        // Null takes one away; the rest is checked as it will stand.
        let set = fields.iter().filter(|(_, value)| !value.is_null());
        let set = set.map(|(name, value)| (name.clone(), value.clone()));
        node.check(&Value::Object(set.collect()), false)
            .map_err(|fault| expected(fault, field))?;
        for (name, value) in fields {
            if node.child(name).is_none() {
                return node.check(&json!({ name: value }), false).map_err(of);
            }
            self.put(key, Target::Inner(field, name.clone()), value.clone())?;
        }
        Ok(())
    }

    fn put(&mut self, key: &'k str, target: Target, value: Value) -> Result<(), Problem> {
        if let Some(other) = self.rival(&target) {
            let other = other.to_owned();
            return Err(Problem::Twice { other });
        }
        self.by.push((target.clone(), key));
        self.layer.insert(target, value);
        Ok(())
    }

    /// The key that has set the same, or a part of it, or the whole of it.
    fn rival(&self, target: &Target) -> Option<&'k str> {
        let rival = match target {
            _ if self.layer.contains_key(target) => target.clone(),
            Target::Inner(part, _) if self.layer.contains_key(&Target::Field(part)) => {
                Target::Field(part)
            }
            Target::Field(whole) => {
                let first = Target::Inner(whole, String::new());
                let (next, _) = self.layer.range(first..).next()?;
                let inside = matches!(next, Target::Inner(part, _) if part == whole);
                inside.then(|| next.clone())?
            }
            Target::Name | Target::Inner(..) | Target::Parameter(_) => return None,
        };
        let (_, key) = self.by.iter().find(|(other, _)| *other == rival)?;
        Some(key)
    }
}

/// A fault as one sentence about the key, with the place in the value in front.
pub(super) fn of(fault: Fault) -> Problem {
    let Fault { path, problem } = fault;
    if path.is_empty() {
        return problem;
    }
    Problem::Invalid(format!("{}: {problem}", path.join(".")))
}

/// Adds an example where the form alone tells little.
fn expected(fault: Fault, field: &str) -> Problem {
    let example = EXAMPLES.iter().find(|(name, _)| *name == field);
    match (of(fault), example) {
        (Problem::WrongType { found, expected }, Some((_, example))) => Problem::WrongType {
            found,
            expected: format!("{expected} such as {example}"),
        },
        (Problem::Invalid(text), Some((_, example))) => {
            Problem::Invalid(format!("{text}; write it such as {example}"))
        }
        (problem, _) => problem,
    }
}

const EXAMPLES: [(&str, &str); 8] = [
    ("command", r#""python train.py" or ["python", "train.py"]"#),
    ("imageId", r#""ami-0123456789abcdef0""#),
    ("instanceProfile", r#""ml-training""#),
    ("instanceType", r#""m7i.large""#),
    ("onComplete", r#""stop" or {"action": "Stop"}"#),
    ("region", r#""us-east-1""#),
    ("securityGroupIds", r#"["sg-0123456789abcdef0"]"#),
    ("subnetId", r#""subnet-0123456789abcdef0""#),
];

fn action_of(text: &str) -> Result<Value, Problem> {
    ["Terminate", "Stop"]
        .into_iter()
        .find(|action| action.eq_ignore_ascii_case(text))
        .map(Value::from)
        .ok_or_else(|| {
            let mut text = format!("{text:?} is not one of \"terminate\" or \"stop\"");
            if text.contains("ibernate") {
                text += "; hibernation is not available yet";
            }
            Problem::Invalid(text)
        })
}

/// The most that EC2 takes as the value of a tag.
const LONGEST_NAME: usize = 256;

fn check_name(value: &Value) -> Result<(), Problem> {
    let invalid = |text: &str| Err(Problem::Invalid(text.to_owned()));
    match value {
        Value::Null => Ok(()),
        Value::String(name) if name.is_empty() => invalid("is empty: leave it out instead"),
        Value::String(name) if name.chars().count() > LONGEST_NAME => {
            invalid("has more than 256 characters")
        }
        Value::String(name) if name.chars().any(char::is_control) => {
            invalid("contains a control character")
        }
        Value::String(_) => Ok(()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(wrong_type(value, "a string"))
        }
    }
}

fn wrong_type(value: &Value, expected: &str) -> Problem {
    Problem::WrongType {
        found: super::fields::describe(value),
        expected: expected.to_owned(),
    }
}
