//! The `[Timer]` section.

use std::time::Duration;

use jiff::Timestamp;

use super::span::{parse_calendar, parse_span};
use super::{Entry, parse_bool};

/// When a timer elapses, and what it starts then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Timer {
    pub(in super::super) calendar: Vec<Timestamp>,
    pub(in super::super) after_activation: Vec<Duration>,
    pub(in super::super) after_boot: Vec<Duration>,
    pub(in super::super) starts: String,
    /// A time missed while the machine was off is made up for.
    pub(in super::super) persistent: bool,
}

impl Timer {
    pub(super) fn from_entries(
        name: &str,
        entries: &[Entry],
        complaints: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut timer = Self {
            calendar: Vec::new(),
            after_activation: Vec::new(),
            after_boot: Vec::new(),
            starts: name.replace(".timer", ".service"),
            persistent: false,
        };
        for Entry { key, value, .. } in entries.iter().filter(|e| e.section == "Timer") {
            match key.as_str() {
                "OnCalendar" | "OnActiveSec" | "OnBootSec" | "OnStartupSec" if value.is_empty() => {
                    timer.clear();
                }
                "OnCalendar" => timer.calendar.push(parse_calendar(value)?),
                "OnActiveSec" => timer.after_activation.extend(parse_span(value)?),
                "OnBootSec" | "OnStartupSec" => timer.after_boot.extend(parse_span(value)?),
                "Unit" => value.clone_into(&mut timer.starts),
                "Persistent" => timer.persistent = parse_bool(key, value)?,
                // It elapses at the first moment that these allow.
                "AccuracySec" | "RandomizedDelaySec" => {
                    parse_span(value)?;
                }
                "RemainAfterElapse" | "WakeSystem" | "FixedRandomDelay" => {
                    parse_bool(key, value)?;
                }
                _ => complaints.push(format!("unknown directive {key}= in [Timer]")),
            }
        }
        if timer.calendar.is_empty()
            && timer.after_activation.is_empty()
            && timer.after_boot.is_empty()
        {
            return Err("Timer unit lacks value setting. Refusing.".to_owned());
        }
        Ok(timer)
    }

    /// An empty assignment drops all triggers set before, as in systemd.
    fn clear(&mut self) {
        self.calendar.clear();
        self.after_activation.clear();
        self.after_boot.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{Kind, parse};

    fn timer(text: &str) -> Result<super::Timer, String> {
        match parse("off.timer", PathBuf::new(), text)?.kind {
            Kind::Timer(timer) => Ok(timer),
            Kind::Service(_) => panic!("not a timer"),
        }
    }

    #[test]
    fn a_drop_in_replaces_the_time_with_an_empty_assignment_first() {
        let text = "[Timer]\nOnCalendar=2026-01-01 00:00:00 UTC\nUnit=x.service\n[Timer]\nOnCalendar=\nOnCalendar=2026-02-01 00:00:00 UTC\n";
        let timer = timer(text).unwrap();
        assert_eq!(timer.calendar, ["2026-02-01T00:00:00Z".parse().unwrap()]);
        assert_eq!(timer.starts, "x.service");
    }

    #[test]
    fn a_timer_starts_the_service_of_its_name_and_needs_a_trigger() {
        assert_eq!(
            timer("[Timer]\nOnActiveSec=5\n").unwrap().starts,
            "off.service"
        );
        assert!(timer("[Timer]\nUnit=x.service\n").is_err());
    }
}
