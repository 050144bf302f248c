//! The fields of an instance with all that the API server asks of them, read from the CRD itself.
//!
//! A row becomes an object of its own, written by the controller. What the API server would refuse
//! then, is refused here before anything is launched. The schema is the one that is installed;
//! only the rules written in CEL are known here a second time, by their text, and a test fails if
//! the schema has one that is not.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt as _;
use regex::Regex;
use serde_json::Value;

use super::{error::Problem, rules, rules::Rule};
use crate::SporeInstance;

/// Fields that rows and templates may not set: the sweep does.
pub(super) const NOT_IN_ROWS: [&str; 2] = ["extendTo", "member"];

/// What the API server asks of `spec` of a `SporeInstance`.
pub(super) static SPEC: LazyLock<Node> = LazyLock::new(|| {
    let crd = SporeInstance::crd();
    let mut spec = crd
        .spec
        .versions
        .into_iter()
        .next()
        .and_then(|version| {
            version
                .schema?
                .open_api_v3_schema?
                .properties?
                .remove("spec")
        })
        .unwrap_or_default();
    if let Some(fields) = spec.properties.as_mut() {
        fields.retain(|field, _| !NOT_IN_ROWS.contains(&field.as_str()));
    }
    Node::of(spec)
});

/// Part of a schema. What Kubernetes knows and no field uses is left out; a test sees to it.
#[derive(Debug, Default)]
pub(super) struct Node {
    kind: String,
    nullable: bool,
    allowed: Vec<Value>,
    pattern: Option<Regex>,
    length: (Option<usize>, Option<usize>),
    max_items: Option<usize>,
    unique: bool,
    items: Option<Box<Node>>,
    max_properties: Option<usize>,
    required: Vec<String>,
    pub(super) fields: BTreeMap<String, Node>,
    pub(super) others: Option<Box<Node>>,
    rules: Vec<(Rule, String)>,
    /// What could not be understood; always empty, and a test says so.
    pub(super) unknown: Vec<String>,
}

/// What is wrong with a part of a value.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// Where in the value: names and positions from outside to inside.
    pub(super) path: Vec<String>,
    pub(super) problem: Problem,
}

impl Node {
    fn of(schema: JSONSchemaProps) -> Self {
        let mut node = Self {
            kind: schema.type_.clone().unwrap_or_default(),
            nullable: schema.nullable.unwrap_or(false),
            length: (size(schema.min_length), size(schema.max_length)),
            max_items: size(schema.max_items),
            max_properties: size(schema.max_properties),
            unique: schema.x_kubernetes_list_type.as_deref() == Some("set"),
            ..Self::default()
        };
        node.unknown = unknown(&schema);
        node.allowed = schema
            .enum_
            .unwrap_or_default()
            .into_iter()
            .map(|JSON(value)| value)
            .collect();
        node.required = schema.required.unwrap_or_default();
        match schema.pattern.as_deref().map(Regex::new) {
            Some(Ok(pattern)) => node.pattern = Some(pattern),
            Some(Err(error)) => node.unknown.push(error.to_string()),
            None => {}
        }
        match schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => {
                node.items = Some(Box::new(Self::of(*items)));
            }
            Some(JSONSchemaPropsOrArray::Schemas(_)) => node.unknown.push("items".to_owned()),
            None => {}
        }
        match schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(others)) => {
                node.others = Some(Box::new(Self::of(*others)));
            }
            Some(JSONSchemaPropsOrBool::Bool(_)) => {
                node.unknown.push("additionalProperties".to_owned());
            }
            None => {}
        }
        node.fields = schema
            .properties
            .unwrap_or_default()
            .into_iter()
            .map(|(name, field)| (name, Self::of(field)))
            .collect();
        for rule in schema.x_kubernetes_validations.unwrap_or_default() {
            node.add(&rule);
        }
        node
    }

    fn add(&mut self, rule: &ValidationRule) {
        // A rule about the old object asks nothing of a new one.
        if rule.rule.contains("oldSelf") {
            return;
        }
        match rules::known(&rule.rule) {
            Some(known) => self
                .rules
                .push((known, rule.message.clone().unwrap_or_default())),
            None => self.unknown.push(rule.rule.clone()),
        }
    }

    /// Whether it is an object, whose fields one layer may set and another leave alone.
    pub(super) fn is_object(&self) -> bool {
        self.kind == "object"
    }

    /// Whether it is a string.
    pub(super) fn is_text(&self) -> bool {
        self.kind == "string"
    }

    /// The schema of one name in an object.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.fields.get(name).or(self.others.as_deref())
    }

    /// Whether the API server takes the value.
    ///
    /// `whole`: whether required fields must be there; a row may say the one and the template the
    /// other.
    pub(super) fn check(&self, value: &Value, whole: bool) -> Result<(), Fault> {
        if value.is_null() && self.nullable {
            return Ok(());
        }
        match (self.kind.as_str(), value) {
            ("string", Value::String(text)) => self.check_text(text).map_err(Fault::here)?,
            ("array", Value::Array(items)) => self.check_items(items, whole)?,
            ("object", Value::Object(fields)) => {
                if whole
                    && let Some(missing) = self
                        .required
                        .iter()
                        .find(|name| !fields.contains_key(*name))
                {
                    return Err(Fault::here(Problem::Missing).below(missing));
                }
                if self.max_properties.is_some_and(|max| fields.len() > max) {
                    return Err(too_many("entries", fields.len(), self.max_properties));
                }
                for (name, field) in fields {
                    let child = self.child(name).ok_or_else(|| {
                        let names = self.fields.keys().map(String::as_str).collect::<Vec<_>>();
                        let known = names.join(", ");
                        Fault::here(Problem::Invalid(format!(
                            "is unknown here: known are {known}"
                        )))
                        .below(name)
                    })?;
                    child
                        .check(field, whole)
                        .map_err(|fault| fault.below(name))?;
                }
            }
            ("boolean", Value::Bool(_)) => {}
            _ => return Err(Fault::here(self.wrong_type(value))),
        }
        for (rule, message) in &self.rules {
            if !rule.holds(value) {
                let shown = value.as_str().map(|text| format!("{text:?}: "));
                let message = format!("{}{message}", shown.unwrap_or_default());
                return Err(Fault::here(Problem::Invalid(message)));
            }
        }
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), Problem> {
        let invalid = |message: String| Err(Problem::Invalid(message));
        if !self.allowed.is_empty() && !self.allowed.iter().any(|one| one == text) {
            return invalid(format!("{text:?} is not one of {}", self.choices()));
        }
        // Kubernetes counts characters, not bytes.
        let length = text.chars().count();
        if let (_, Some(max)) = self.length
            && length > max
        {
            return invalid(format!(
                "has {length} characters, at most {max} are possible"
            ));
        }
        if let (Some(min), _) = self.length
            && length < min
        {
            return invalid(format!(
                "has {length} characters, at least {min} are needed"
            ));
        }
        match &self.pattern {
            Some(pattern) if !pattern.is_match(text) => {
                invalid(format!("{text:?} does not have the form {pattern}"))
            }
            _ => Ok(()),
        }
    }

    fn check_items(&self, items: &[Value], whole: bool) -> Result<(), Fault> {
        if self.max_items.is_some_and(|max| items.len() > max) {
            return Err(too_many("elements", items.len(), self.max_items));
        }
        for (at, item) in items.iter().enumerate() {
            if let Some(node) = &self.items {
                node.check(item, whole)
                    .map_err(|fault| fault.below(&at.to_string()))?;
            }
            if self.unique && items[..at].contains(item) {
                let problem = Problem::Invalid(format!("{item} is there twice"));
                return Err(Fault::here(problem).below(&at.to_string()));
            }
        }
        Ok(())
    }

    /// The fault of a value that has another type.
    pub(super) fn wrong_type(&self, value: &Value) -> Problem {
        Problem::WrongType {
            found: describe(value),
            expected: self.expected(),
        }
    }

    /// What it takes, for people.
    fn expected(&self) -> String {
        if !self.allowed.is_empty() {
            return self.choices();
        }
        match self.kind.as_str() {
            "array" => "a list of strings".to_owned(),
            "object" if self.fields.is_empty() => "an object of strings".to_owned(),
            "object" => {
                let names = self.fields.keys().map(String::as_str).collect::<Vec<_>>();
                format!("an object with {}", names.join(" and "))
            }
            "boolean" => "true or false".to_owned(),
            _ => match self.rules.first() {
                Some((_, message)) => format!("a string ({message})"),
                None => "a string".to_owned(),
            },
        }
    }

    fn choices(&self) -> String {
        let all = self.allowed.iter().map(Value::to_string);
        all.collect::<Vec<_>>().join(" or ")
    }
}

impl Fault {
    fn here(problem: Problem) -> Self {
        let path = Vec::new();
        Self { path, problem }
    }

    fn below(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

fn too_many(what: &str, found: usize, max: Option<usize>) -> Fault {
    let max = max.unwrap_or_default();
    Fault::here(Problem::Invalid(format!(
        "has {found} {what}, at most {max} are possible"
    )))
}

/// A value with its type, cut to what fits into a sentence.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 64 => {
            let start = text.chars().take(64).collect::<String>();
            format!("the string {start:?}…")
        }
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn size(limit: Option<i64>) -> Option<usize> {
    limit.and_then(|limit| usize::try_from(limit).ok())
}

/// Keywords that would be passed over.
fn unknown(schema: &JSONSchemaProps) -> Vec<String> {
    let used = [
        ("allOf", schema.all_of.is_some()),
        ("anyOf", schema.any_of.is_some()),
        ("oneOf", schema.one_of.is_some()),
        ("not", schema.not.is_some()),
        ("$ref", schema.ref_path.is_some()),
        ("format", schema.format.is_some()),
        ("minimum", schema.minimum.is_some()),
        ("maximum", schema.maximum.is_some()),
        ("multipleOf", schema.multiple_of.is_some()),
        ("minItems", schema.min_items.is_some()),
        ("minProperties", schema.min_properties.is_some()),
        ("uniqueItems", schema.unique_items.is_some()),
        ("patternProperties", schema.pattern_properties.is_some()),
        ("intOrString", schema.x_kubernetes_int_or_string.is_some()),
        (
            "preserveUnknownFields",
            schema.x_kubernetes_preserve_unknown_fields.is_some(),
        ),
        (
            "type",
            !["string", "array", "object", "boolean"]
                .contains(&schema.type_.as_deref().unwrap_or_default()),
        ),
    ];
    used.into_iter()
        .filter(|(_, used)| *used)
        .map(|(name, _)| name.to_owned())
        .collect()
}
