//! Schemas that the types alone do not say. Each is exactly as strict as the code that reads the
//! value, because one stored object that does not parse would hide itself from the controller.

use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use spore_core::{duration::PATTERN, money};

/// The grammar is a rule rather than a pattern, because a pattern's message is the pattern.
fn grammar() -> Value {
    json!({
        "rule": format!("self.matches('{PATTERN}')"),
        "message": "write a duration as numbers with the units s, m, h, d and no spaces, such as 30m, 8h or 1d12h",
    })
}

pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 28,
        "x-kubernetes-validations": [grammar()],
    })
}

/// Names that every shell takes; what Spore sets itself may not be replaced.
pub(crate) fn env(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": { "type": "string", "maxLength": 16384, "pattern": "^[^\\x00]*$" },
        "x-kubernetes-validations": [
            {
                "rule": "self.all(key, key.size() <= 128 && key.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
                "message": "names have letters, digits and underscores and begin with no digit",
            },
            {
                "rule": "self.all(key, !key.startsWith('JOB_ARRAY_') && !key.startsWith('SWEEP_') && !key.startsWith('PARAM_'))",
                "message": "names beginning with JOB_ARRAY_, SWEEP_ or PARAM_ are set by Spore",
            },
        ],
    })
}

/// A set of member indexes. That it is in order is checked by the controller.
pub(crate) fn indexes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 65536, "pattern": spore_core::indexes::PATTERN })
}

/// How many members an array may have.
pub(crate) fn replicas(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 10000 })
}

pub(crate) fn positive(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 1_000_000 })
}

/// A template of which the rows may say the rest: nothing in it is required.
pub(crate) fn partial_template(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = crate::SporeInstanceSpec::json_schema(generator);
    schema.remove("required");
    schema
}

/// Parameters: names to values of any type.
pub(crate) fn row(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

pub(crate) fn rows(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 100_000,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    })
}

/// Each name with the list of its values.
pub(crate) fn grid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100_000,
            "x-kubernetes-list-type": "atomic",
            "items": { "x-kubernetes-preserve-unknown-fields": true },
        },
    })
}

/// Kubernetes knows no unsigned integers.
pub(crate) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 0 })
}

pub(crate) fn positive_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 28,
        "x-kubernetes-validations": [
            grammar(),
            {
                "rule": "!self.matches('^(0+[smhd])+$')",
                "message": "must be longer than nothing, such as 30m, 8h or 1d12h",
            },
        ],
    })
}

/// A moment that every reader can read: offsets within a day and years that leave room to add to.
pub(crate) fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": 40,
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        "x-kubernetes-validations": [{
            "rule": "self < timestamp('9000-01-01T00:00:00Z')",
            "message": "must be before the year 9000",
        }],
    })
}

/// An amount of dollars.
pub(crate) fn usd(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 20, "pattern": money::PATTERN })
}

/// An amount of dollars that people write. A rule for the grammar, as for durations.
pub(crate) fn budget(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 20,
        "x-kubernetes-validations": [
            {
                "rule": format!("self.matches('{}')", money::PATTERN),
                "message": "write an amount of dollars as a decimal number with at most six decimals, such as 250 or 0.50",
            },
            {
                "rule": "!self.matches('^[0.]*$')",
                "message": "must be more than nothing, such as 250 or 0.50",
            },
        ],
    })
}

pub(crate) fn action(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["Terminate", "Stop"] })
}

pub(crate) fn security_group_ids(_: &mut SchemaGenerator) -> Schema {
    // 16 is the most that EC2 lets an account raise the limit per interface to.
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "pattern": "^sg-([0-9a-f]{8}|[0-9a-f]{17})$", "maxLength": 20 },
    })
}

pub(crate) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "string", "maxLength": 16384, "pattern": "^[^\\x00]*$" },
        "x-kubernetes-validations": [{
            "rule": "self.size() == 0 || self[0].size() > 0",
            "message": "the first element is the program to run and may not be empty",
        }],
    })
}

/// 25 tags: EC2 admits 50, and up to 22 are Spore's own (see `spore_core::tags`); the rest is room for
/// the addresses of an array's members.
pub(crate) fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 25,
        "additionalProperties": { "type": "string", "maxLength": 256 },
        "x-kubernetes-validations": [
            {
                "rule": "self.all(key, key.size() <= 128 && key.matches('^[A-Za-z0-9+=.,_:@-]+$') && key != '.' && key != '..' && key != '_index')",
                "message": "keys have up to 128 letters, digits and + - = . , _ : @ (the instance reads its tags through its metadata service, which takes no others)",
            },
            {
                "rule": "self.all(key, !key.startsWith('spawn:') && !key.lowerAscii().startsWith('aws:'))",
                "message": "keys beginning with spawn: or aws: are reserved",
            },
        ],
    })
}

/// Roughly: what a pattern means is checked by the controller.
pub(crate) fn cron(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 128,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^(@[A-Za-z]+|[0-9A-Za-z*,/?#+-]+( +[0-9A-Za-z*,/?#+-]+){4})$')",
            "message": "write five fields (minute, hour, day of month, month, day of week), such as 0 */6 * * *, or a name such as @daily; the time zone goes into timeZone",
        }],
    })
}

/// A moment in RFC 3339, or the same without an offset.
pub(crate) fn local_moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 40,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$')",
            "message": "write a moment such as 2026-12-01T08:00:00Z or 2026-12-01T08:00:00+01:00, or without an offset a time in timeZone",
        }],
    })
}

pub(crate) fn history(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 100 })
}

/// Labels of what a schedule creates. Spore's own may not be replaced.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" },
        "x-kubernetes-validations": [not_our_own()],
    })
}

pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 65536 },
        "x-kubernetes-validations": [not_our_own()],
    })
}

fn not_our_own() -> Value {
    json!({
        "rule": "self.all(key, !key.startsWith('spore.host/'))",
        "message": "keys beginning with spore.host/ are set by Spore",
    })
}

pub(crate) fn instance_template(generator: &mut SchemaGenerator) -> Schema {
    template(crate::SporeInstanceSpec::json_schema(generator))
}

pub(crate) fn array_template(generator: &mut SchemaGenerator) -> Schema {
    template(crate::SporeArraySpec::json_schema(generator))
}

pub(crate) fn sweep_template(generator: &mut SchemaGenerator) -> Schema {
    template(crate::SporeSweepSpec::json_schema(generator))
}

/// The schema of a spec that is stored to be created later. Without the rules on changes: a template
/// may change, and what was created from it does not.
fn template(mut schema: Schema) -> Schema {
    if let Some(fields) = schema.as_object_mut() {
        fields.values_mut().for_each(as_template);
        keep_lasting_rules(fields);
    }
    schema
}

fn as_template(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            keep_lasting_rules(fields);
            fields.values_mut().for_each(as_template);
        }
        Value::Array(all) => all.iter_mut().for_each(as_template),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn keep_lasting_rules(fields: &mut serde_json::Map<String, Value>) {
    const RULES: &str = "x-kubernetes-validations";
    let Some(Value::Array(rules)) = fields.get_mut(RULES) else {
        return;
    };
    rules.retain(|rule| {
        rule["rule"]
            .as_str()
            .is_none_or(|rule| !rule.contains("oldSelf"))
    });
    if rules.is_empty() {
        fields.remove(RULES);
    }
}
