//! `shutdown`, `poweroff`, `halt`, `reboot`, `wall`

use std::io::Read as _;

use super::super::wire::Request;
use super::{Arguments, unknown_option};

pub(super) fn parse_direct(reboot: bool, args: &[String]) -> Result<Request, String> {
    let split = Arguments::split(args, &[], false)?;
    let mut force = 0;
    for (name, _) in &split.options {
        match name.as_str() {
            "-f" | "--force" => force += 1,
            "-ff" => force += 2,
            "-p" | "--poweroff" | "--no-wall" => {}
            other => return Err(unknown_option(other)),
        }
    }
    // These commands, unlike `systemctl`, skip the services with one -f already.
    Ok(Request::PowerOff {
        reboot,
        at_once: force > 0,
    })
}

pub(super) fn parse_shutdown(args: &[String]) -> Result<Request, String> {
    let split = Arguments::split(args, &[], false)?;
    let mut reboot = false;
    for (name, _) in &split.options {
        match name.as_str() {
            "-h" | "-P" | "-H" | "--poweroff" | "--halt" => reboot = false,
            "-r" | "--reboot" => reboot = true,
            "-c" => return Ok(Request::CancelScheduled),
            "--no-wall" => {}
            other => return Err(unknown_option(other)),
        }
    }
    let mut words = split.rest.into_iter();
    let when = words.next().unwrap_or_else(|| "+1".to_owned());
    let message = words.collect::<Vec<_>>().join(" ");
    if when == "now" || when == "+0" {
        return Ok(Request::PowerOff {
            reboot,
            at_once: false,
        });
    }
    let minutes: Option<u64> = when
        .strip_prefix('+')
        .and_then(|minutes| minutes.parse().ok());
    let in_seconds = minutes
        .ok_or_else(|| format!("the time {when} is not modelled; use now or +minutes"))?
        * 60;
    Ok(Request::Schedule {
        reboot,
        in_seconds,
        message,
    })
}

pub(super) fn parse_wall(args: &[String]) -> Result<Request, String> {
    let split = Arguments::split(args, &["-t", "--timeout", "-g", "--group"], false)?;
    for (name, _) in &split.options {
        if !matches!(name.as_str(), "-n" | "--nobanner" | "-t" | "--timeout") {
            return Err(unknown_option(name));
        }
    }
    let mut text = split.rest.join(" ");
    if text.is_empty() {
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| format!("stdin: {e}"))?;
    }
    Ok(Request::Wall { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shutdown(line: &str) -> Result<Request, String> {
        parse_shutdown(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn shutdown_knows_now_minutes_and_cancel() {
        assert_eq!(
            shutdown("-h now"),
            Ok(Request::PowerOff {
                reboot: false,
                at_once: false
            })
        );
        assert_eq!(
            shutdown("-r now"),
            Ok(Request::PowerOff {
                reboot: true,
                at_once: false
            })
        );
        let scheduled = Request::Schedule {
            reboot: false,
            in_seconds: 300,
            message: "TTL is over".to_owned(),
        };
        assert_eq!(shutdown("-P +5 TTL is over"), Ok(scheduled));
        assert_eq!(shutdown("-c"), Ok(Request::CancelScheduled));
        assert!(shutdown("23:15").is_err());
        assert!(shutdown("-k now").is_err());
    }
}
