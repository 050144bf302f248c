//! Where the machine writes what happens on it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::unit::Output;

const CLOUD_INIT_LOG: &str = "/var/log/cloud-init-output.log";

/// A message of init's own: on the console.
pub(super) fn console(message: &str) {
    eprintln!("[{:.3}] machine-init: {message}", Timestamp::now());
}

/// A message about a unit: in its journal and on the console.
pub(super) fn note(unit: &str, message: &str) {
    console(&format!("{unit}: {message}"));
    append(
        &journal_path(unit),
        &format!("{:.3} systemd[1]: {message}\n", Timestamp::now()),
    );
}

/// The journal of a unit: `/var/log/journal-spored.log`, `/var/log/journal-off.timer.log`.
pub(in super::super) fn journal_path(unit: &str) -> PathBuf {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    PathBuf::from(format!("/var/log/journal-{name}.log"))
}

/// Adds a line to a log; a log that cannot be written is said on the console.
pub(super) fn append(path: &Path, line: &str) {
    let written = open(path).and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        console(&format!("cannot write {}: {error}", path.display()));
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes what comes out of `pipe` where the unit wants it, until the last writer is gone.
pub(super) fn follow(pipe: impl Read + Send + 'static, unit: &str, output: &Output) {
    let unit = unit.to_owned();
    let output = output.clone();
    std::thread::spawn(move || match output {
        Output::Journal => each_line(pipe, |line| {
            let name = unit.strip_suffix(".service").unwrap_or(&unit);
            let mut stamped = format!("{:.3} {name}: ", Timestamp::now()).into_bytes();
            stamped.extend_from_slice(line);
            append(&journal_path(&unit), &String::from_utf8_lossy(&stamped));
        }),
        Output::Append(path) => {
            each_line(pipe, |line| append(&path, &String::from_utf8_lossy(line)));
        }
        Output::CloudInit => each_line(pipe, |line| {
            let _ = std::io::stderr().write_all(line);
            append(Path::new(CLOUD_INIT_LOG), &String::from_utf8_lossy(line));
        }),
        Output::Nowhere => each_line(pipe, |_| ()),
    });
}

fn each_line(pipe: impl Read, mut write: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        write(&line);
        line.clear();
    }
}
