//! User data as cloud-init takes it.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;

/// Writes the user data's script where cloud-init does. `None`: there is none.
pub(super) fn prepare(instance_id: &str, encoded: &str) -> Result<Option<PathBuf>, String> {
    let raw = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|e| e.to_string())?;
    let data = unpack(raw)?;
    if data.is_empty() {
        return Ok(None);
    }
    if !data.starts_with(b"#!") {
        let first = data.split(|b| *b == b'\n').next().unwrap_or_default();
        return Err(format!(
            "it begins with {:?}; only scripts (#!) are modelled, as they are or gzip-compressed",
            String::from_utf8_lossy(&first[..first.len().min(60)])
        ));
    }
    let instance = Path::new("/var/lib/cloud/instances").join(instance_id);
    install(&instance, &data)
        .map(Some)
        .map_err(|e| format!("{}: {e}", instance.display()))
}

fn unpack(raw: Vec<u8>) -> Result<Vec<u8>, String> {
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return Ok(raw);
    }
    let mut data = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(raw.as_slice());
    decoder
        .read_to_end(&mut data)
        .map_err(|e| format!("it is not valid gzip: {e}"))?;
    Ok(data)
}

fn install(instance: &Path, script: &[u8]) -> std::io::Result<PathBuf> {
    let scripts = instance.join("scripts");
    std::fs::create_dir_all(&scripts)?;
    let current = Path::new("/var/lib/cloud/instance");
    if current.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(instance, current)?;
    }
    let stored = instance.join("user-data.txt");
    std::fs::write(&stored, script)?;
    std::fs::set_permissions(&stored, std::fs::Permissions::from_mode(0o600))?;
    let path = scripts.join("part-001");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::unpack;

    #[test]
    fn gzip_is_unpacked_and_plain_data_is_taken_as_it_is() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(b"#!/bin/sh\n").unwrap();
        assert_eq!(
            unpack(packer.finish().unwrap()),
            Ok(b"#!/bin/sh\n".to_vec())
        );
        assert_eq!(unpack(b"#!/bin/sh\n".to_vec()), Ok(b"#!/bin/sh\n".to_vec()));
        assert!(unpack(vec![0x1f, 0x8b, 1, 2]).is_err());
    }
}
