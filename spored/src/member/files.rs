//! The files that tell what a member is.

use std::{fs, io, path::Path};

use spore_core::agent_config::{JOB_ARRAY_FILE, PARAMS_FILE, PEERS_FILE, PROFILE_FILE};

use super::Member;
use crate::{files, peers};

impl Member {
    /// Writes what the workload must find when it starts.
    ///
    /// # Errors
    /// If the parameters cannot be written. Login shells are a convenience, and fail with a word in the
    /// log.
    pub(crate) fn write_files(&self) -> io::Result<()> {
        if let Err(error) = self.write_profile(Path::new(PROFILE_FILE)) {
            tracing::error!("login shells are not told what this instance is: {error}");
        }
        self.write_parameters(Path::new(PARAMS_FILE))
    }

    fn write_profile(&self, path: &Path) -> io::Result<()> {
        files::publish(path, self.profile_script().as_bytes())
    }

    fn write_parameters(&self, path: &Path) -> io::Result<()> {
        if !self.has_parameters_file() {
            return Ok(());
        }
        let parameters = self.parameters.clone().unwrap_or_default();
        let mut json =
            serde_json::to_vec_pretty(&parameters).expect("parameters have only string keys");
        json.push(b'\n');
        files::publish(path, &json)
    }
}

/// Removes what an image brought along of the member whose machine it was made of.
pub(crate) fn forget() {
    for path in [PEERS_FILE, JOB_ARRAY_FILE, PARAMS_FILE, PROFILE_FILE] {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("cannot remove {path}: {error}");
        }
    }
    if let Err(error) = peers::forget_hosts() {
        tracing::error!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};
    use spore_core::tags::Kind;

    use super::{super::tests::members, *};

    #[test]
    fn parameters_keep_their_types_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spawn/params.json");
        let row = json!({"a b": 1, "half": 0.5, "none": null, "list": [true], "text": "1\u{0}"});
        let mut members = members(Kind::SporeSweep);
        members.parameters = vec![row.as_object().unwrap().clone().into_iter().collect()];
        let member = Member::find(members, 0).unwrap();
        member.write_parameters(&path).unwrap();
        let read: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, row);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o644);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
    }

    #[test]
    fn a_sweep_has_the_file_without_parameters_too_and_an_array_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("params.json");
        let write = |kind| {
            Member::find(members(kind), 0)
                .unwrap()
                .write_parameters(&path)
        };
        write(Kind::SporeArray).unwrap();
        assert!(!path.exists());
        write(Kind::SporeSweep).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    }
}
