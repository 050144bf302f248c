//! `systemctl`

use super::super::init::parse_signal;
use super::super::wire::Request;
use super::{Arguments, unknown_option};

#[derive(Default)]
struct Options {
    now: bool,
    no_block: bool,
    values_only: bool,
    force: u32,
    properties: Vec<String>,
    signal: Option<i32>,
}

pub(super) fn parse(args: &[String]) -> Result<Request, String> {
    let split = Arguments::split(
        args,
        &["-p", "--property", "-s", "--signal", "-n", "--lines"],
        false,
    )?;
    let options = options(split.options)?;
    let mut words = split.rest.into_iter();
    let verb = words
        .next()
        .ok_or("which verb? (list-units is not modelled)")?;
    let units: Vec<String> = words.collect();
    let needs_units = !matches!(
        verb.as_str(),
        "daemon-reload" | "daemon-reexec" | "reset-failed" | "poweroff" | "halt" | "reboot"
    );
    if needs_units && units.is_empty() {
        return Err(format!(
            "{verb}: too few arguments, or a verb that is not modelled"
        ));
    }
    let wait = !options.no_block;
    Ok(match verb.as_str() {
        "daemon-reload" | "daemon-reexec" => Request::DaemonReload,
        "enable" => Request::Enable {
            units,
            now: options.now,
        },
        "disable" => Request::Disable {
            units,
            now: options.now,
        },
        "start" => Request::Start { units, wait },
        "stop" => Request::Stop { units, wait },
        "restart" => Request::Restart {
            units,
            only_active: false,
            wait,
        },
        "try-restart" => Request::Restart {
            units,
            only_active: true,
            wait,
        },
        "kill" => Request::Kill {
            units,
            signal: options.signal.unwrap_or(15),
        },
        "reset-failed" => Request::ResetFailed { units },
        "is-active" => Request::IsActive {
            units,
            failed: false,
        },
        "is-failed" => Request::IsActive {
            units,
            failed: true,
        },
        "is-enabled" => Request::IsEnabled { units },
        "status" => Request::Status { units },
        "show" => Request::Show {
            units,
            properties: options.properties,
            values_only: options.values_only,
        },
        "poweroff" | "halt" => Request::PowerOff {
            reboot: false,
            at_once: options.force > 1,
        },
        "reboot" => Request::PowerOff {
            reboot: true,
            at_once: options.force > 1,
        },
        other => return Err(format!("the verb {other} is not modelled")),
    })
}

fn options(given: Vec<(String, Option<String>)>) -> Result<Options, String> {
    let mut options = Options::default();
    for (name, value) in given {
        match (name.as_str(), value) {
            ("--now", None) => options.now = true,
            ("--no-block", None) => options.no_block = true,
            ("-f" | "--force", None) => options.force += 1,
            ("-ff", None) => options.force += 2,
            ("--value", None) => options.values_only = true,
            ("-p" | "--property", Some(names)) => options
                .properties
                .extend(names.split(',').map(str::to_owned)),
            ("-s" | "--signal", Some(signal)) => options.signal = Some(parse_signal(&signal)?),
            // How it is shown, asked or told to people: nobody is there.
            (
                "-q" | "--quiet" | "--system" | "--no-pager" | "-l" | "--full" | "--no-wall" | "-i",
                None,
            )
            | ("--no-ask-password" | "--ignore-inhibitors", None)
            | ("--message" | "-n" | "--lines", Some(_)) => {}
            (other, _) => return Err(unknown_option(other)),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn verbs_and_options_in_any_order() {
        let spored = || vec!["spored".to_owned()];
        assert_eq!(
            parsed("enable --now spored"),
            Ok(Request::Enable {
                units: spored(),
                now: true
            })
        );
        assert_eq!(
            parsed("start spored --no-block"),
            Ok(Request::Start {
                units: spored(),
                wait: false
            })
        );
        assert_eq!(
            parsed("kill -s SIGUSR1 spored"),
            Ok(Request::Kill {
                units: spored(),
                signal: 10
            })
        );
        assert_eq!(
            parsed("poweroff -ff"),
            Ok(Request::PowerOff {
                reboot: false,
                at_once: true
            })
        );
    }

    #[test]
    fn what_is_not_modelled_is_refused() {
        for bad in [
            "isolate rescue.target",
            "start --wait x",
            "hibernate",
            "",
            "start",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
