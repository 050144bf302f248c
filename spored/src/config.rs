//! Reads the agent's configuration.

use std::{fs, io, path::Path};

use spore_core::agent_config::{AgentConfig, VERSION};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what is expected.
    #[error("the configuration {path} is not valid: {why}")]
    Invalid {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
}

/// Reads the configuration.
pub(crate) fn read(path: &Path) -> Result<AgentConfig, Error> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| Error::Read {
        path: name(),
        source,
    })?;
    parse(&text).map_err(|why| Error::Invalid { path: name(), why })
}

fn parse(text: &str) -> Result<AgentConfig, String> {
    // JSON is YAML but for some control characters, which a command may well contain.
    let config: AgentConfig = serde_json::from_str(text)
        .or_else(|_| serde_saphyr::from_str(text))
        .map_err(|error| error.to_string())?;
    if config.version != VERSION {
        let AgentConfig { version, .. } = config;
        return Err(format!(
            "it is of version {version}, and this agent reads version {VERSION}"
        ));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use spore_core::lifecycle::Action;

    use super::*;

    const YAML: &str = "\
version: 1
owner: default/train
deadline: 2026-11-21T10:00:00Z
powerOffGrace: 5m
idle:
  timeout: 30m
  action: Stop
onComplete: {action: Terminate, delay: 30s}
command: [\"python\", \"train.py\", \"it's: #1\"]
";

    #[test]
    fn yaml_and_json_read_the_same() {
        let config = parse(YAML).unwrap();
        assert_eq!(config.command, ["python", "train.py", "it's: #1"]);
        assert_eq!(
            config.idle.as_ref().map(|idle| idle.action),
            Some(Action::Stop)
        );
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(parse(&json), Ok(config));
    }

    #[test]
    fn text_of_a_command_survives_the_json_that_is_yaml() {
        let mut config = parse(YAML).unwrap();
        config.command = [
            "null",
            "1e3",
            "yes",
            "\u{1f600} \u{7f} \u{85}\u{2028}",
            "\\n\n\t\"",
            "- a: b",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(parse(&serde_json::to_string(&config).unwrap()), Ok(config));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let newer = parse(&YAML.replace("version: 1", "version: 2")).unwrap_err();
        assert!(newer.contains("version 2"), "{newer}");
        let unknown = parse(&format!("{YAML}ttll: 3h\n")).unwrap_err();
        assert!(unknown.contains("ttll"), "{unknown}");
        let duration = parse(&YAML.replace("5m", "5 minutes")).unwrap_err();
        assert!(duration.contains("5 minutes"), "{duration}");
        let missing = read(Path::new("/nonexistent/config.yaml"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("/nonexistent/config.yaml"), "{missing}");
    }
}
