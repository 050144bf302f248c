//! Unit files: the part of systemd's language that the machine understands.
//!
//! What it does not understand is reported, never passed over.

mod command;
mod service;
mod span;
mod timer;
mod values;

pub(super) use command::CommandLine;
pub(super) use service::{KillMode, Output, Restart, Service, ServiceType};
pub(super) use timer::Timer;
pub(in super::super) use values::parse_signal;

use std::path::{Path, PathBuf};

/// Where unit files are looked for, first found first.
const SEARCH: [&str; 3] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
];

/// Where `enable` makes its links.
pub(super) const ENABLED_DIR: &str = "/etc/systemd/system";

/// A unit as it was read from disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub(super) description: String,
    pub(super) path: PathBuf,
    /// Units that start with this one.
    pub(super) wants: Vec<String>,
    pub(super) after: Vec<String>,
    pub(super) wanted_by: Vec<String>,
    pub(super) kind: Kind,
    /// What was not understood.
    pub(super) complaints: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Service(Box<Service>),
    Timer(Timer),
}

/// Why a unit cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnitError {
    #[error("Unit {0} not found.")]
    NotFound(String),
    #[error("Unit {name} has a bad unit file setting: {why}")]
    Bad { name: String, why: String },
}

/// Reads a unit and its drop-ins.
pub(super) fn load(name: &str) -> Result<Unit, UnitError> {
    let path = find(name).ok_or_else(|| UnitError::NotFound(name.to_owned()))?;
    let bad = |why: String| UnitError::Bad {
        name: name.to_owned(),
        why,
    };
    let mut text =
        std::fs::read_to_string(&path).map_err(|e| bad(format!("{}: {e}", path.display())))?;
    for drop_in in drop_ins(name) {
        text.push('\n');
        text.push_str(
            &std::fs::read_to_string(&drop_in)
                .map_err(|e| bad(format!("{}: {e}", drop_in.display())))?,
        );
    }
    parse(name, path, &text).map_err(bad)
}

pub(super) fn find(name: &str) -> Option<PathBuf> {
    SEARCH
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

fn drop_ins(name: &str) -> Vec<PathBuf> {
    let dirs = SEARCH
        .iter()
        .map(|dir| Path::new(dir).join(format!("{name}.d")));
    let mut files: Vec<PathBuf> = dirs
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .collect();
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files
}

/// Parses the text of the unit called `name`.
pub(super) fn parse(name: &str, path: PathBuf, text: &str) -> Result<Unit, String> {
    let entries = entries(text)?;
    let mut complaints = Vec::new();
    let mut description = name.to_owned();
    let (mut wants, mut after, mut wanted_by) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        match (entry.section.as_str(), entry.key.as_str()) {
            ("Unit", "Description") => entry.value.clone_into(&mut description),
            ("Unit", "Wants" | "Requires" | "BindsTo") => wants.extend(words(&entry.value)),
            ("Unit", "After") => after.extend(words(&entry.value)),
            ("Install", "WantedBy" | "RequiredBy") => wanted_by.extend(words(&entry.value)),
            (section, key) if modelled_elsewhere(section, key) => {}
            (section, key) => complaints.push(format!("unknown directive {key}= in [{section}]")),
        }
    }
    let kind = match name.rsplit_once('.') {
        Some((_, "service")) => Kind::Service(Box::new(Service::from_entries(
            name,
            &entries,
            &mut complaints,
        )?)),
        Some((_, "timer")) => Kind::Timer(Timer::from_entries(name, &entries, &mut complaints)?),
        _ => return Err("only services and timers are modelled".to_owned()),
    };
    Ok(Unit {
        description,
        path,
        wants,
        after,
        wanted_by,
        kind,
        complaints,
    })
}

/// Directives that the type's own parser answers for, or that change nothing on this machine.
fn modelled_elsewhere(section: &str, key: &str) -> bool {
    const UNIT: [&str; 8] = [
        "Before",
        "Documentation",
        "DefaultDependencies",
        "StartLimitIntervalSec",
        "StartLimitBurst",
        "StartLimitInterval",
        "Conflicts",
        "RefuseManualStop",
    ];
    match section {
        "Service" | "Timer" => true,
        "Unit" => UNIT.contains(&key),
        _ => false,
    }
}

/// One `Key=value` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
}

fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut continued = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) || (line.is_empty() && continued.is_empty()) {
            continue;
        }
        if let Some(start) = line.strip_suffix('\\') {
            continued.push_str(start);
            continued.push(' ');
            continue;
        }
        let whole = std::mem::take(&mut continued) + line;
        if let Some(name) = whole
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = whole
            .split_once('=')
            .ok_or_else(|| format!("the line {whole:?} has no ="))?;
        found.push(Entry {
            section: section.clone(),
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
        });
    }
    if continued.is_empty() {
        Ok(found)
    } else {
        Err("the file ends with a line that is to be continued".to_owned())
    }
}

fn words(value: &str) -> impl Iterator<Item = String> + '_ {
    value.split_whitespace().map(str::to_owned)
}

fn parse_bool(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        other => Err(format!("{key}={other} is neither yes nor no")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_continuations_and_sections_are_read_as_systemd_does() {
        let text = "# c\n[Unit]\nDescription = A  b\n;x\n[Service]\nExecStart=/bin/a \\\n  b\n";
        let found = entries(text).unwrap();
        let flat: Vec<_> = found
            .iter()
            .map(|e| (e.section.as_str(), e.key.as_str(), e.value.as_str()))
            .collect();
        assert_eq!(
            flat,
            [
                ("Unit", "Description", "A  b"),
                ("Service", "ExecStart", "/bin/a  b")
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_reported_and_the_rest_holds() {
        let text = "[Unit]\nFrobnicate=1\n[Service]\nExecStart=/bin/true\nPrivateTmp=yes\n[Install]\nWantedBy=multi-user.target\n";
        let unit = parse("a.service", PathBuf::new(), text).unwrap();
        assert_eq!(unit.wanted_by, ["multi-user.target"]);
        assert_eq!(unit.complaints.len(), 2, "{:?}", unit.complaints);
        assert!(unit.complaints[0].contains("Frobnicate"));
        assert!(unit.complaints[1].contains("PrivateTmp=yes"));
    }

    #[test]
    fn a_line_without_an_equals_sign_spoils_the_unit() {
        assert!(
            parse(
                "a.service",
                PathBuf::new(),
                "[Service]\nExecStart /bin/true\n"
            )
            .is_err()
        );
    }
}
