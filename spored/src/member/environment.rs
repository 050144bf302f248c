//! The environment variables that tell a workload what it is. Values are data: nothing in them is
//! ever expanded.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;
use spore_core::{agent_config::PARAMS_FILE, tags::Kind};

use super::{Group, Member};

/// The variable that holds the path of [`PARAMS_FILE`].
const PARAMS_FILE_VARIABLE: &str = "SPAWN_PARAMS_FILE";
/// What a parameter's variable begins with.
const PARAMETER: &str = "PARAM_";

impl Member {
    /// The environment of the workload: the user's, and over it what Spore says. A parameter that is
    /// null is a variable that is not set.
    pub(crate) fn environment(&self, user: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = user.clone();
        for (name, value) in self.variables() {
            match value {
                Some(value) => all.insert(name, value),
                None => all.remove(&name),
            };
        }
        all
    }

    /// A script that sets the same variables in a login shell.
    pub(crate) fn profile_script(&self) -> String {
        let mut script = "# Written by spored: what this instance is.\n".to_owned();
        for (name, value) in self.variables() {
            if let Some(value) = value {
                let _ = writeln!(script, "export {name}={}", quoted(&value));
            }
        }
        script
    }

    /// Whether the parameters are told in a file: always in a sweep.
    pub(super) fn has_parameters_file(&self) -> bool {
        self.group.kind == Kind::SporeSweep || self.parameters.is_some()
    }

    /// All variables that are Spore's to set; those without a value are not set.
    fn variables(&self) -> Vec<(String, Option<String>)> {
        let Self {
            group,
            index,
            parameters,
        } = self;
        let Group {
            kind,
            id,
            name,
            size,
            peers: _,
        } = group;
        let prefix = match kind {
            Kind::SporeArray => Some("JOB_ARRAY"),
            Kind::SporeSweep => Some("SWEEP"),
            Kind::SporeInstance => None,
        };
        let mut all = Vec::new();
        if let Some(prefix) = prefix {
            let mut put = |what: &str, value: String| {
                all.push((format!("{prefix}_{what}"), Some(value)));
            };
            put("ID", id.clone());
            put("NAME", name.clone());
            put("SIZE", size.to_string());
            put("INDEX", index.to_string());
        }
        for (name, value) in parameters.iter().flatten() {
            match variable(name, value) {
                Some(variable) => all.push(variable),
                None => tracing::warn!(
                    "the environment cannot hold the parameter {name:?}: it is in {PARAMS_FILE} only"
                ),
            }
        }
        if self.has_parameters_file() {
            all.push((PARAMS_FILE_VARIABLE.into(), Some(PARAMS_FILE.into())));
        }
        all
    }
}

/// The variable of a parameter; `None` if no environment can hold its name or its value.
fn variable(name: &str, value: &Value) -> Option<(String, Option<String>)> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let value = match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    };
    let holds = !value.as_ref().is_some_and(|value| value.contains('\0'));
    (is_name && holds).then(|| (format!("{PARAMETER}{name}"), value))
}

/// A text as one word of a POSIX shell. Between single quotes nothing has a meaning but their end.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, process::Command};

    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::tests::members, *};

    fn member(kind: Kind, parameters: Value) -> Member {
        let Value::Object(parameters) = parameters else {
            panic!("parameters are an object")
        };
        let mut members = members(kind);
        members.parameters = vec![parameters.into_iter().collect(); 3];
        Member::find(members, 2).unwrap()
    }

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn an_array_tells_its_members_what_they_are() {
        let member = Member::find(members(Kind::SporeArray), 0).unwrap();
        let told = map([
            ("JOB_ARRAY_ID", "train-20261121-0a1b2c"),
            ("JOB_ARRAY_INDEX", "3"),
            ("JOB_ARRAY_NAME", "train"),
            ("JOB_ARRAY_SIZE", "8"),
        ]);
        assert_eq!(member.environment(&BTreeMap::new()), told);
    }

    #[test]
    fn parameters_are_written_by_their_type() {
        let parameters = json!({
            "text": "a b", "yes": true, "half": 0.5, "many": 12345678901234567u64, "none": null,
            "list": [1, "x"], "object": {"k": null}, "empty": "", "9lives": 9,
        });
        let told = map([
            ("PARAM_9lives", "9"),
            ("PARAM_empty", ""),
            ("PARAM_half", "0.5"),
            ("PARAM_list", "[1,\"x\"]"),
            ("PARAM_many", "12345678901234567"),
            ("PARAM_object", "{\"k\":null}"),
            ("PARAM_text", "a b"),
            ("PARAM_yes", "true"),
            ("SPAWN_PARAMS_FILE", "/etc/spawn/params.json"),
            ("SWEEP_ID", "train-20261121-0a1b2c"),
            ("SWEEP_INDEX", "7"),
            ("SWEEP_NAME", "train"),
            ("SWEEP_SIZE", "8"),
        ]);
        let member = member(Kind::SporeSweep, parameters);
        assert_eq!(member.environment(&BTreeMap::new()), told);
    }

    #[test]
    fn what_spore_sets_is_not_the_users_to_set() {
        let user = map([
            ("SWEEP_INDEX", "0"),
            ("PARAM_x", "mine"),
            ("PARAM_none", "mine"),
            ("SPAWN_PARAMS_FILE", "/tmp/x"),
            ("OTHER", "mine"),
        ]);
        let member = member(Kind::SporeSweep, json!({"x": "theirs", "none": null}));
        let all = member.environment(&user);
        let of = |name: &str| all.get(name).map(String::as_str);
        assert_eq!(of("SWEEP_INDEX"), Some("7"));
        assert_eq!(of("PARAM_x"), Some("theirs"));
        assert_eq!(of("PARAM_none"), None);
        assert_eq!(of("SPAWN_PARAMS_FILE"), Some(PARAMS_FILE));
        assert_eq!(of("OTHER"), Some("mine"));
    }

    #[test]
    fn what_an_environment_cannot_hold_is_left_out() {
        let parameters = json!({"a b": 1, "": 2, "a=b": 3, "ü": 4, "nul": "a\u{0}b", "$(x)": 5});
        let all = member(Kind::SporeSweep, parameters).environment(&BTreeMap::new());
        assert!(
            !all.keys().any(|name| name.starts_with(PARAMETER)),
            "{all:?}"
        );
    }

    /// Runs the script in a real shell; what the shell's children would see.
    fn through_shell(member: &Member) -> BTreeMap<String, String> {
        let script = member.profile_script();
        let output = Command::new("sh")
            .args(["-c", &format!("set -e\n{script}\nexec env -0")])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0')
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| !matches!(*name, "PATH" | "PWD" | "SHLVL" | "_" | "OLDPWD"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_login_shell_sees_hostile_values_as_they_are() {
        let parameters = json!({
            "quotes": "it's \"quoted\" '\\'' ''", "subshell": "$(touch /tmp/x) `id` ${HOME} $HOME",
            "lines": "one\ntwo\n\nexport PATH=/nowhere\n", "end": "'; exit 3; '", "bang": "!! !$",
            "slash": "\\ \\n \\", "glob": "* ? [a]", "more": "# ~ & | ; < > ( ) { }", "dash": "-n",
            "space": "  a\tb  ", "letters": "ü 日本 \u{1f600}", "controls": "\u{1}\u{7}\u{1b}[31m\r",
            "none": null, "list": ["'", "$x"], "empty": "",
        });
        let member = member(Kind::SporeSweep, parameters);
        assert_eq!(through_shell(&member), member.environment(&BTreeMap::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_login_shell_sees_any_value_as_it_is(values in proptest::collection::vec("[^\\x00]{0,30}", 1..20)) {
            let parameters = values
                .into_iter()
                .enumerate()
                .map(|(n, value)| (format!("p{n}"), json!(value)))
                .collect::<serde_json::Map<_, _>>();
            let member = member(Kind::SporeSweep, parameters.into());
            prop_assert_eq!(through_shell(&member), member.environment(&BTreeMap::new()));
        }
    }
}
