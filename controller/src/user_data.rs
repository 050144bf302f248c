//! The user data: what an instance does at its first boot.
//!
//! In this order, so that each step makes the next one safe: arm the operating system's power-off
//! timer, write the agent's configuration, fetch the agent and check its digest, start it. The agent
//! starts the workload. If the agent cannot be had, the timer still ends the instance.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use spore_core::agent_config::{self, AgentConfig};

/// EC2's limit of user data, in bytes before base64 (EC2 User Guide, "Run commands at launch").
pub const LIMIT: usize = 16_384;

/// Where the agent is fetched from, and what it must be.
#[derive(Clone, Debug)]
pub struct Agent<'a> {
    /// Its URL.
    pub url: &'a str,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'a str,
}

/// User data as EC2 takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData {
    /// Compressed, in base64.
    pub base64: String,
    /// SHA-256 of the compressed bytes, in hexadecimal.
    pub sha256: String,
}

/// The user data is larger than EC2 takes, even compressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the command and what the agent needs come to {bytes} bytes compressed, and EC2 takes {LIMIT}: put the script into the image or an object store and let the command fetch it"
)]
pub struct TooLarge {
    bytes: usize,
}

/// Writes, compresses and measures the user data. The same input gives the same bytes.
///
/// # Errors
/// If the result is larger than EC2 takes.
pub fn encode(config: &AgentConfig, agent: &Agent<'_>) -> Result<UserData, TooLarge> {
    let script = script(config, agent);
    // No file name and no time, so that equal scripts compress to equal bytes.
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    let bytes = encoder
        .write_all(script.as_bytes())
        .and_then(|()| encoder.finish())
        .expect("writing to memory cannot fail");
    if bytes.len() > LIMIT {
        return Err(TooLarge { bytes: bytes.len() });
    }
    Ok(UserData {
        base64: STANDARD.encode(&bytes),
        sha256: hex(&Sha256::digest(&bytes)),
    })
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn script(config: &AgentConfig, agent: &Agent<'_>) -> String {
    let AgentConfig {
        owner,
        deadline,
        power_off_grace,
        ..
    } = config;
    // One line of JSON, which is YAML too; it begins with a brace and so never ends a here-document.
    let document = serde_json::to_string(config).expect("the document has only string keys");
    let timer = agent_config::power_off_timer_unit(*deadline, *power_off_grace);
    let service = agent_config::power_off_service_unit();
    let timer_name = agent_config::POWER_OFF_TIMER;
    let service_name = timer_name.replace(".timer", ".service");
    let config_path = agent_config::PATH;
    let power_off_at = power_off_grace.after(*deadline).as_second();
    let Agent { url, sha256 } = agent;
    format!(
        r#"#!/bin/bash
# First boot of the spore {owner}.
set -u
umask 022
say() {{ echo "spore $(date -u +%FT%TZ) $*"; }}
units=/etc/systemd/system
mkdir -p "$units" /etc/spored /usr/local/bin /var/lib/spored

say "arming the power-off timer"
cat > "$units/{service_name}" <<'SPORE_END'
{service}SPORE_END
cat > "$units/{timer_name}" <<'SPORE_END'
{timer}SPORE_END
systemctl daemon-reload
# A calendar timer whose moment is past when it is first armed never fires.
if [ "$(date +%s)" -ge {power_off_at} ]; then
  say "the deadline is over"
  systemctl poweroff
fi
if ! systemctl enable --now {timer_name}; then
  minutes=$(( ({power_off_at} - $(date +%s)) / 60 + 1 ))
  say "no timer; falling back to shutdown in $minutes minutes"
  shutdown -P "+$(( minutes > 0 ? minutes : 0 ))"
fi

say "writing {config_path}"
cat > {config_path} <<'SPORE_END'
{document}
SPORE_END

cat > "$units/spored.service" <<'SPORE_END'
[Unit]
Description=Spore agent
Documentation=https://github.com/spore-host/spore
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/local/bin/spored run
Restart=always
RestartSec=2
WatchdogSec=60
# The workload must outlive a restart of the agent, and running out of memory must not cost the agent.
KillMode=process
OOMPolicy=continue
OOMScoreAdjust=-900
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
SPORE_END
systemctl daemon-reload

url='{url}'
sha256='{sha256}'
wait=1
while :; do
  say "fetching the agent from $url"
  if curl -fsSL --connect-timeout 10 --max-time 120 -o /usr/local/bin/.spored.new "$url"; then
    if echo "$sha256  /usr/local/bin/.spored.new" | sha256sum -c --status -; then
      break
    fi
    say "what $url serves is not the agent with SHA-256 $sha256: refused"
  fi
  rm -f /usr/local/bin/.spored.new
  sleep "$wait"
  wait=$(( wait < 60 ? wait * 2 : 60 ))
done
chmod 0755 /usr/local/bin/.spored.new
mv -f /usr/local/bin/.spored.new /usr/local/bin/spored

say "starting the agent"
systemctl enable --now spored.service
"#
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use flate2::read::GzDecoder;
    use spore_core::{
        agent_config::{OnComplete, VERSION},
        duration::Duration,
        lifecycle::Action,
    };

    use super::*;

    const AGENT: Agent<'_> = Agent {
        url: "https://x/spored",
        sha256: "ab",
    };

    fn config(command: &[&str]) -> AgentConfig {
        AgentConfig {
            version: VERSION,
            owner: "default/train".into(),
            deadline: "2026-11-21T10:00:00Z".parse().unwrap(),
            power_off_grace: Duration::from_secs(300),
            idle: None,
            on_complete: OnComplete {
                action: Action::Terminate,
                delay: Duration::from_secs(30),
            },
            command: command.iter().map(|&part| part.to_owned()).collect(),
            env: BTreeMap::new(),
            members: None,
        }
    }

    fn decoded(data: &UserData) -> String {
        let bytes = STANDARD.decode(&data.base64).unwrap();
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    #[test]
    fn the_power_off_timer_is_armed_before_anything_that_can_fail() {
        let text = decoded(&encode(&config(&["true"]), &AGENT).unwrap());
        let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("no {needle}"));
        assert!(at("enable --now spore-power-off.timer") < at("curl"));
        assert!(at("sha256sum -c") < at("mv -f"));
        assert!(text.contains("2026-11-21 10:05:00 UTC"), "{text}");
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(
            encode(&config(&["a"]), &AGENT),
            encode(&config(&["a"]), &AGENT)
        );
        assert_ne!(
            encode(&config(&["a"]), &AGENT),
            encode(&config(&["b"]), &AGENT)
        );
    }

    #[test]
    fn a_command_is_data_not_shell() {
        let nasty = "'; rm -rf / #\nSPORE_END\n$(reboot)`reboot`";
        let text = decoded(&encode(&config(&["echo", nasty]), &AGENT).unwrap());
        let line = text.lines().find(|line| line.starts_with('{')).unwrap();
        let read: AgentConfig = serde_json::from_str(line).unwrap();
        assert_eq!(read.command[1], nasty);
    }

    #[test]
    fn what_ec2_would_refuse_is_refused_here() {
        // Incompressible: a hash chain.
        let noise = (0..2_000_u32)
            .map(|n| hex(&Sha256::digest(n.to_be_bytes())))
            .collect::<String>();
        let error = encode(&config(&[&noise]), &AGENT).unwrap_err().to_string();
        assert!(error.contains("16384"), "{error}");
    }
}
