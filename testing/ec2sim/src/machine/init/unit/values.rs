//! The values of `[Service]` directives.

use std::path::PathBuf;
use std::time::Duration;

use super::command::split;
use super::service::{KillMode, Output, Restart, ServiceType};
use super::span::parse_span;

/// Zero and `infinity` both mean no limit.
pub(super) fn limit(value: &str) -> Result<Option<Duration>, String> {
    Ok(parse_span(value)?.filter(|span| !span.is_zero()))
}

pub(super) fn parse_type(value: &str) -> Result<ServiceType, String> {
    match value {
        "simple" | "exec" | "idle" => Ok(ServiceType::Simple),
        "notify" => Ok(ServiceType::Notify),
        "oneshot" => Ok(ServiceType::Oneshot),
        other => Err(format!("Type={other} is not modelled")),
    }
}

pub(super) fn parse_restart(value: &str) -> Result<Restart, String> {
    match value {
        "no" => Ok(Restart::No),
        "always" => Ok(Restart::Always),
        "on-success" => Ok(Restart::OnSuccess),
        "on-failure" => Ok(Restart::OnFailure),
        "on-abnormal" => Ok(Restart::OnAbnormal),
        other => Err(format!("Restart={other} is not modelled")),
    }
}

pub(super) fn parse_kill_mode(value: &str) -> Result<KillMode, String> {
    match value {
        "control-group" => Ok(KillMode::ControlGroup),
        "mixed" => Ok(KillMode::Mixed),
        "process" => Ok(KillMode::Process),
        other => Err(format!("KillMode={other} is not modelled")),
    }
}

/// A signal by name, with or without `SIG`, or by number.
pub(in super::super::super) fn parse_signal(value: &str) -> Result<i32, String> {
    const NAMES: [(&str, i32); 9] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("TERM", 15),
        ("CONT", 18),
    ];
    let name = value.strip_prefix("SIG").unwrap_or(value);
    let named = NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number);
    named
        .or_else(|| value.parse().ok().filter(|n| (1..=64).contains(n)))
        .ok_or_else(|| format!("unknown signal {value}"))
}

pub(super) fn parse_output(key: &str, value: &str) -> Result<Output, String> {
    match value.split_once(':') {
        None if matches!(value, "journal" | "inherit" | "journal+console" | "syslog") => {
            Ok(Output::Journal)
        }
        None if value == "null" => Ok(Output::Nowhere),
        Some(("append" | "file", path)) => Ok(Output::Append(PathBuf::from(path))),
        _ => Err(format!("{key}={value} is not modelled")),
    }
}

pub(super) fn exit_codes(key: &str, value: &str) -> Result<Vec<i32>, String> {
    value
        .split_whitespace()
        .map(|code| {
            code.parse()
                .map_err(|_| format!("{key}={value}: only exit codes are modelled"))
        })
        .collect()
}

/// `A=1 "B=two words"`
pub(super) fn assignments(value: &str) -> Result<Vec<(String, String)>, String> {
    let assignment = |word: String| match word.split_once('=') {
        Some((name, text)) => Ok((name.to_owned(), text.to_owned())),
        None => Err(format!(
            "Environment={value}: {word:?} is not an assignment"
        )),
    };
    split(value)?.into_iter().map(assignment).collect()
}
