//! The commands inside the machine that speak to its init: `systemctl` and its kin.
//!
//! They understand what boot scripts and agents use, and refuse the rest loudly.

mod journalctl;
mod power;
mod systemctl;
mod transient;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use super::wire::{INIT_SOCKET, Reply, Request};

/// Runs the command `program` with its arguments; returns its exit code.
pub(super) fn run(program: &str, args: &[String]) -> i32 {
    let parsed = match program {
        "systemctl" => systemctl::parse(args),
        "systemd-run" => transient::parse(args),
        "shutdown" => power::parse_shutdown(args),
        "poweroff" | "halt" => power::parse_direct(false, args),
        "reboot" => power::parse_direct(true, args),
        "wall" => power::parse_wall(args),
        "journalctl" => return journalctl::run(args),
        other => Err(format!("there is no command {other} here")),
    };
    let reply = match parsed {
        Ok(request) => ask(&request).unwrap_or_else(|e| {
            Reply::fail(
                1,
                format!("Failed to connect to init at {INIT_SOCKET}: {e}\n"),
            )
        }),
        Err(why) => Reply::fail(1, format!("{program}: {why}\n")),
    };
    let quiet = program == "systemctl" && args.iter().any(|arg| arg == "-q" || arg == "--quiet");
    let reply = if quiet {
        Reply {
            code: reply.code,
            ..Reply::ok()
        }
    } else {
        reply
    };
    // A reader that has gone away does not change what was done.
    let _ = std::io::stdout().write_all(reply.out.as_bytes());
    let _ = std::io::stderr().write_all(reply.err.as_bytes());
    reply.code
}

fn ask(request: &Request) -> std::io::Result<Reply> {
    let mut stream = UnixStream::connect(INIT_SOCKET)?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(std::io::Error::other("the system is going down"));
    }
    Ok(serde_json::from_str(&answer)?)
}

/// Separates options from the rest; `takes_value` names the options whose value may be the next word.
struct Arguments {
    options: Vec<(String, Option<String>)>,
    rest: Vec<String>,
}

impl Arguments {
    /// With `stop_at_first`, everything after the first plain word is taken as it is.
    fn split(args: &[String], takes_value: &[&str], stop_at_first: bool) -> Result<Self, String> {
        let mut split = Self {
            options: Vec::new(),
            rest: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" || (!arg.starts_with('-') && stop_at_first) {
                split.rest.extend((arg != "--").then(|| arg.clone()));
                split.rest.extend(args.cloned());
                break;
            }
            if !arg.starts_with('-') || arg == "-" {
                split.rest.push(arg.clone());
                continue;
            }
            let (name, mut value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg.clone(), None),
            };
            if value.is_none() && takes_value.contains(&name.as_str()) {
                value = Some(
                    args.next()
                        .ok_or_else(|| format!("option {name} needs a value"))?
                        .clone(),
                );
            }
            split.options.push((name, value));
        }
        Ok(split)
    }
}

fn unknown_option(name: &str) -> String {
    format!("the option {name} is not modelled")
}
