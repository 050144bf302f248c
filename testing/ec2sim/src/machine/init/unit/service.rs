//! The `[Service]` section.

use std::path::PathBuf;
use std::time::Duration;

use super::command::CommandLine;
use super::span::parse_span;
use super::values::{
    assignments, exit_codes, limit, parse_kill_mode, parse_output, parse_restart, parse_signal,
    parse_type,
};
use super::{Entry, parse_bool};

/// What a service runs, and how it is kept running.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Service {
    pub(in super::super) kind: ServiceType,
    pub(in super::super) before: Vec<CommandLine>,
    pub(in super::super) commands: Vec<CommandLine>,
    pub(in super::super) restart: Restart,
    pub(in super::super) restart_delay: Duration,
    /// `None`: no limit.
    pub(in super::super) start_timeout: Option<Duration>,
    pub(in super::super) stop_timeout: Option<Duration>,
    pub(in super::super) watchdog: Option<Duration>,
    pub(in super::super) kill_mode: KillMode,
    pub(in super::super) kill_signal: i32,
    pub(in super::super) remain_after_exit: bool,
    pub(in super::super) environment: Vec<(String, String)>,
    /// With whether it may be missing.
    pub(in super::super) environment_files: Vec<(PathBuf, bool)>,
    pub(in super::super) working_directory: Option<PathBuf>,
    pub(in super::super) user: Option<String>,
    pub(in super::super) no_new_privileges: bool,
    pub(in super::super) output: Output,
    /// Directories made before the start, and the variable that names them.
    pub(in super::super) directories: Vec<(&'static str, PathBuf)>,
    pub(in super::super) success_exit: Vec<i32>,
    pub(in super::super) no_restart_exit: Vec<i32>,
    /// At most this many starts within that time; `None`: any number.
    pub(in super::super) start_limit: Option<(u32, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum ServiceType {
    /// Up as soon as it is started (`exec` too).
    Simple,
    /// Up when it says so.
    Notify,
    /// Up when its commands have ended.
    Oneshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Restart {
    No,
    Always,
    OnSuccess,
    OnFailure,
    OnAbnormal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum KillMode {
    ControlGroup,
    Mixed,
    Process,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Output {
    Journal,
    Nowhere,
    Append(PathBuf),
    /// The console and cloud-init's log, line by line as it comes.
    CloudInit,
}

/// Understood, and without effect on this machine: limits and hardening that a correct service never feels.
const WITHOUT_EFFECT: [&str; 40] = [
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "CPUQuota",
    "CPUWeight",
    "Delegate",
    "IOSchedulingClass",
    "IOWeight",
    "LimitCORE",
    "LimitMEMLOCK",
    "LimitNOFILE",
    "LimitNPROC",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "MemoryMax",
    "Nice",
    "NotifyAccess",
    "OOMPolicy",
    "OOMScoreAdjust",
    "PrivateDevices",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "Slice",
    "SyslogIdentifier",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "TasksMax",
];

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

impl Service {
    /// A service that runs `command` to its end, once.
    pub(in super::super) fn oneshot(command: CommandLine) -> Self {
        Self {
            kind: ServiceType::Oneshot,
            commands: vec![command],
            start_timeout: None,
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            kind: ServiceType::Simple,
            before: Vec::new(),
            commands: Vec::new(),
            restart: Restart::No,
            restart_delay: Duration::from_millis(100),
            start_timeout: Some(DEFAULT_TIMEOUT),
            stop_timeout: Some(DEFAULT_TIMEOUT),
            watchdog: None,
            kill_mode: KillMode::ControlGroup,
            kill_signal: 15,
            remain_after_exit: false,
            environment: Vec::new(),
            environment_files: Vec::new(),
            working_directory: None,
            user: None,
            no_new_privileges: false,
            output: Output::Journal,
            directories: Vec::new(),
            success_exit: Vec::new(),
            no_restart_exit: Vec::new(),
            start_limit: Some((5, Duration::from_secs(10))),
        }
    }

    pub(super) fn from_entries(
        unit: &str,
        entries: &[Entry],
        complaints: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut service = Self::empty();
        let mut start_timeout_set = false;
        for Entry {
            section,
            key,
            value,
        } in entries
        {
            start_timeout_set |= matches!(key.as_str(), "TimeoutStartSec" | "TimeoutSec");
            let known = match section.as_str() {
                "Service" => service.apply(unit, key, value)?,
                "Unit" => service.apply_limit(key, value)?,
                _ => continue,
            };
            if !known && section == "Service" {
                complaints.push(format!("{key}={value} in [Service] is not modelled"));
            }
        }
        if service.kind == ServiceType::Oneshot && !start_timeout_set {
            service.start_timeout = None;
        }
        if service.commands.is_empty() {
            return Err("Service has no ExecStart= setting. Refusing.".to_owned());
        }
        if service.commands.len() > 1 && service.kind != ServiceType::Oneshot {
            return Err("Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.".to_owned());
        }
        Ok(service)
    }

    /// Whether the directive is one that this model knows.
    fn apply(&mut self, unit: &str, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "ExecStart" if value.is_empty() => self.commands.clear(),
            "ExecStart" => self.commands.push(CommandLine::parse(unit, value)?),
            "ExecStartPre" => self.before.push(CommandLine::parse(unit, value)?),
            "Type" => self.kind = parse_type(value)?,
            "Restart" => self.restart = parse_restart(value)?,
            "RestartSec" => self.restart_delay = parse_span(value)?.ok_or("RestartSec=infinity")?,
            "TimeoutStartSec" => self.start_timeout = limit(value)?,
            "TimeoutStopSec" => self.stop_timeout = limit(value)?,
            "TimeoutSec" => {
                self.start_timeout = limit(value)?;
                self.stop_timeout = self.start_timeout;
            }
            "WatchdogSec" => self.watchdog = limit(value)?,
            "KillMode" => self.kill_mode = parse_kill_mode(value)?,
            "KillSignal" => self.kill_signal = parse_signal(value)?,
            "RemainAfterExit" => self.remain_after_exit = parse_bool(key, value)?,
            "Environment" => self.environment.extend(assignments(value)?),
            "EnvironmentFile" => {
                let optional = value.strip_prefix('-');
                self.environment_files
                    .push((PathBuf::from(optional.unwrap_or(value)), optional.is_some()));
            }
            "WorkingDirectory" => {
                self.working_directory = Some(PathBuf::from(value.replace('~', "/root")));
            }
            "User" => self.user = Some(value.to_owned()).filter(|user| user != "root"),
            "NoNewPrivileges" => self.no_new_privileges = parse_bool(key, value)?,
            "StandardOutput" | "StandardError" => self.output = parse_output(key, value)?,
            "RuntimeDirectory" => self.add_directories("RUNTIME_DIRECTORY", "/run", value),
            "StateDirectory" => self.add_directories("STATE_DIRECTORY", "/var/lib", value),
            "LogsDirectory" => self.add_directories("LOGS_DIRECTORY", "/var/log", value),
            "CacheDirectory" => self.add_directories("CACHE_DIRECTORY", "/var/cache", value),
            "SuccessExitStatus" => self.success_exit.extend(exit_codes(key, value)?),
            "RestartPreventExitStatus" => self.no_restart_exit.extend(exit_codes(key, value)?),
            "StartLimitInterval" | "StartLimitIntervalSec" | "StartLimitBurst" => {
                return self.apply_limit(key, value);
            }
            "PrivateTmp" => return Ok(!parse_bool(key, value)?),
            _ => return Ok(WITHOUT_EFFECT.contains(&key)),
        }
        Ok(true)
    }

    fn apply_limit(&mut self, key: &str, value: &str) -> Result<bool, String> {
        let (burst, interval) = self.start_limit.unwrap_or((5, Duration::ZERO));
        self.start_limit = match key {
            "StartLimitInterval" | "StartLimitIntervalSec" => parse_span(value)?
                .map(|interval| (burst, interval))
                .filter(|(_, interval)| !interval.is_zero()),
            "StartLimitBurst" => {
                let burst = value
                    .parse()
                    .map_err(|_| format!("{key}={value} is not a number"))?;
                self.start_limit
                    .map(|_| (burst, interval))
                    .filter(|(burst, _)| *burst > 0)
            }
            _ => return Ok(false),
        };
        Ok(true)
    }

    fn add_directories(&mut self, variable: &'static str, base: &str, value: &str) {
        let dirs = value
            .split_whitespace()
            .map(|name| (variable, PathBuf::from(base).join(name)));
        self.directories.extend(dirs);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, parse};
    use super::*;

    fn service(text: &str) -> Result<Service, String> {
        match parse("a.service", PathBuf::new(), &format!("[Service]\n{text}"))?.kind {
            Kind::Service(service) => Ok(*service),
            Kind::Timer(_) => panic!("not a service"),
        }
    }

    #[test]
    fn a_usual_agent_unit_is_understood_whole() {
        let text = "Type=notify\nExecStart=/usr/local/bin/spored run\nRestart=always\nRestartSec=2\nWatchdogSec=30\n\
            Environment=A=1 \"B=two words\"\nKillMode=mixed\nTimeoutStopSec=30\nProtectSystem=full\nNoNewPrivileges=yes\n\
            [Unit]\nStartLimitIntervalSec=0\n";
        let unit = parse("a.service", PathBuf::new(), &format!("[Service]\n{text}")).unwrap();
        assert_eq!(unit.complaints, Vec::<String>::new());
        let service = service(text).unwrap();
        assert_eq!(service.kind, ServiceType::Notify);
        assert_eq!(service.restart_delay, Duration::from_secs(2));
        assert_eq!(service.watchdog, Some(Duration::from_secs(30)));
        assert_eq!(
            service.environment[1],
            ("B".to_owned(), "two words".to_owned())
        );
        assert_eq!(service.kill_mode, KillMode::Mixed);
        assert_eq!(service.start_limit, None);
    }

    #[test]
    fn a_unit_that_systemd_would_refuse_is_refused() {
        for bad in [
            "Type=simple\n",
            "ExecStart=/a\nExecStart=/b\n",
            "ExecStart=/a\nRestart=sometimes\n",
        ] {
            assert!(service(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_shots_have_no_start_timeout_unless_set() {
        assert_eq!(
            service("Type=oneshot\nExecStart=/a\n")
                .unwrap()
                .start_timeout,
            None
        );
        let set = service("Type=oneshot\nTimeoutStartSec=5\nExecStart=/a\n").unwrap();
        assert_eq!(set.start_timeout, Some(Duration::from_secs(5)));
    }
}
