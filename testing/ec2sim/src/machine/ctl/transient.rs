//! `systemd-run`

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::wire::Request;
use super::{Arguments, unknown_option};

const TAKES_VALUE: [&str; 6] = [
    "--unit",
    "-u",
    "--on-calendar",
    "--on-active",
    "--property",
    "-p",
];

pub(super) fn parse(args: &[String]) -> Result<Request, String> {
    let split = Arguments::split(args, &TAKES_VALUE, true)?;
    if split.rest.is_empty() {
        return Err("which command?".to_owned());
    }
    let mut stem = format!("run-{}", std::process::id());
    let mut service = String::from("[Service]\n");
    let mut timer = String::new();
    let mut wait = true;
    for (name, value) in split.options {
        match (name.as_str(), value) {
            ("--unit" | "-u", Some(unit)) => stem = unit.trim_end_matches(".service").to_owned(),
            ("--on-calendar", Some(when)) => line(&mut timer, "OnCalendar", &when),
            ("--on-active", Some(span)) => line(&mut timer, "OnActiveSec", &span),
            ("--timer-property", Some(property)) => line_of(&mut timer, &property)?,
            ("--property" | "-p", Some(property)) => line_of(&mut service, &property)?,
            ("--setenv" | "-E", Some(variable)) => {
                line(&mut service, "Environment", &format!("\"{variable}\""));
            }
            ("--no-block", None) => wait = false,
            ("--quiet" | "-q" | "--collect" | "-G" | "--system", None) => {}
            (other, _) => return Err(unknown_option(other)),
        }
    }
    let command: Vec<String> = split.rest.iter().map(|word| quote(word)).collect();
    line(&mut service, "ExecStart", &command.join(" "));

    let mut files = BTreeMap::from([(format!("{stem}.service"), service)]);
    let mut start = format!("{stem}.service");
    if !timer.is_empty() {
        start = format!("{stem}.timer");
        files.insert(start.clone(), format!("[Timer]\n{timer}"));
    }
    Ok(Request::Transient { start, files, wait })
}

fn line(section: &mut String, key: &str, value: &str) {
    let _ = writeln!(section, "{key}={value}");
}

fn line_of(section: &mut String, property: &str) -> Result<(), String> {
    let (key, value) = property
        .split_once('=')
        .ok_or_else(|| format!("{property:?} is not an assignment"))?;
    line(section, key, value);
    Ok(())
}

/// A word that unit files read back as itself.
fn quote(word: &str) -> String {
    let escaped = word
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{}\"", escaped.replace('$', "$$").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_and_its_service_are_written() {
        let args = [
            "--unit=off",
            "--on-calendar",
            "2026-11-21 03:04:05 UTC",
            "/bin/sh",
            "-c",
            "echo $X; poweroff",
        ];
        let request = parse(&args.map(str::to_owned)).unwrap();
        let Request::Transient { start, files, .. } = request else {
            panic!("{request:?}")
        };
        assert_eq!(start, "off.timer");
        assert_eq!(
            files["off.timer"],
            "[Timer]\nOnCalendar=2026-11-21 03:04:05 UTC\n"
        );
        assert_eq!(
            files["off.service"],
            "[Service]\nExecStart=\"/bin/sh\" \"-c\" \"echo $$X; poweroff\"\n"
        );
    }
}
