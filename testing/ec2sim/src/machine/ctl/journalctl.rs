//! `journalctl -u unit [-n lines]`

use std::io::Write as _;

use super::super::init::journal_path;
use super::{Arguments, unknown_option};

pub(super) fn run(args: &[String]) -> i32 {
    match show(args) {
        Ok(text) => {
            // A reader that has gone away has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Err(why) => {
            eprintln!("journalctl: {why}");
            1
        }
    }
}

fn show(args: &[String]) -> Result<String, String> {
    let split = Arguments::split(
        args,
        &["-u", "--unit", "-n", "--lines", "-o", "--output"],
        false,
    )?;
    let mut unit = None;
    let mut wanted = usize::MAX;
    for (name, value) in split.options {
        match (name.as_str(), value) {
            ("-u" | "--unit", Some(name)) => unit = Some(name),
            ("-n" | "--lines", Some(count)) => {
                wanted = count.parse().map_err(|_| format!("-n {count}"))?;
            }
            ("--no-pager" | "-q" | "--quiet" | "-b" | "--boot", None)
            | ("-o" | "--output", Some(_)) => {}
            (other, _) => return Err(unknown_option(other)),
        }
    }
    let unit = unit.ok_or("only the journal of one unit is modelled: -u UNIT")?;
    let path = journal_path(&unit);
    let log = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(wanted)..];
    Ok(tail.iter().map(|line| format!("{line}\n")).collect())
}
