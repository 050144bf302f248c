//! The peers of a member: where they are written, from the tags that the controller keeps.
//!
//! The file of the peers is written last: who sees it finds all the rest.

mod documents;
mod hosts;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use spore_core::{
    agent_config::{JOB_ARRAY_FILE, PEERS_FILE},
    peers::Peers,
};

use crate::{files, member::Group};

/// Where programs look names up.
const HOSTS_FILE: &str = "/etc/hosts";

/// Where the peers are written.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    peers: PathBuf,
    array: PathBuf,
    hosts: PathBuf,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub(crate) struct Error {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Places {
    /// Those of the machine.
    pub(crate) fn of_machine() -> Self {
        Self {
            peers: PEERS_FILE.into(),
            array: JOB_ARRAY_FILE.into(),
            hosts: HOSTS_FILE.into(),
        }
    }

    /// The version that was written before, if it was for this array.
    pub(crate) fn version(&self, group: &Group) -> Option<u32> {
        #[derive(Deserialize)]
        struct Written {
            version: u32,
            id: String,
        }
        let text = fs::read(&self.array).ok()?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        (written.id == group.id).then_some(written.version)
    }

    /// Writes all of it. Repeating it is harmless.
    pub(crate) fn write(&self, group: &Group, peers: &Peers) -> Result<(), Error> {
        let Self {
            peers: peers_file,
            array,
            hosts,
        } = self;
        let names = documents::host_names(group, peers);
        tried(hosts, replace_hosts(hosts, &names))?;
        tried(
            array,
            files::publish(array, &documents::array(group, peers)),
        )?;
        tried(
            peers_file,
            files::publish(peers_file, &documents::peers(group, peers)),
        )
    }
}

/// Takes the names of peers out of the machine's hosts file.
pub(crate) fn forget_hosts() -> Result<(), Error> {
    let path = Path::new(HOSTS_FILE);
    tried(path, replace_hosts(path, &[]))
}

/// Puts these names in the place of those that were written before; the rest of the file stays.
fn replace_hosts(path: &Path, names: &[hosts::Entry]) -> io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (old, mode) = match fs::read(&path) {
        Ok(text) => (text, fs::metadata(&path)?.permissions().mode() & 0o777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0o644),
        Err(error) => return Err(error),
    };
    let new = hosts::with_block(&old, names);
    if new == old {
        return Ok(());
    }
    files::write_atomically(&path, &new, mode)
}

fn tried(path: &Path, result: io::Result<()>) -> Result<(), Error> {
    result.map_err(|source| Error {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::{Value, json};
    use spore_core::{peers::Peer, tags::Kind};

    use super::*;

    fn group(id: &str) -> Group {
        Group {
            kind: Kind::SporeArray,
            id: id.into(),
            name: "train".into(),
            size: 2,
            peers: true,
        }
    }

    fn peers(version: u32, last: u8) -> Peers {
        let peer = |index, host, public_ip| Peer {
            index,
            instance_id: format!("i-0{index:016x}"),
            private_ip: Ipv4Addr::new(10, 0, 0, host),
            public_ip,
        };
        Peers {
            version,
            peers: vec![
                peer(0, 1, Some(Ipv4Addr::new(198, 51, 100, 7))),
                peer(1, last, None),
            ],
        }
    }

    fn places(dir: &Path) -> Places {
        Places {
            peers: dir.join("spawn/peers.json"),
            array: dir.join("spawn/array.json"),
            hosts: dir.join("hosts"),
        }
    }

    #[test]
    fn a_newer_version_replaces_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        fs::write(&places.hosts, "127.0.0.1 localhost\n").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let json = |path: &Path| serde_json::from_str::<Value>(&read(path)).unwrap();
        assert_eq!(places.version(&group("a")), None);
        places.write(&group("a"), &peers(1, 2)).unwrap();
        let first = read(&places.hosts);
        assert!(first.starts_with("127.0.0.1 localhost\n"), "{first}");
        assert!(first.contains("10.0.0.2\ttrain-1 train\n"), "{first}");

        places.write(&group("a"), &peers(2, 3)).unwrap();
        let list = json!([
            {
                "index": 0, "instance_id": "i-00000000000000000", "ip": "10.0.0.1", "dns": "train-0",
                "private_ip": "10.0.0.1", "public_ip": "198.51.100.7",
            },
            {
                "index": 1, "instance_id": "i-00000000000000001", "ip": "10.0.0.3", "dns": "train-1",
                "private_ip": "10.0.0.3", "public_ip": null,
            },
        ]);
        assert_eq!(json(&places.peers), list);
        let array = json!({"version": 2, "id": "a", "name": "train", "size": 2, "peers": list});
        assert_eq!(json(&places.array), array);
        assert_eq!(read(&places.hosts), first.replace("10.0.0.2", "10.0.0.3"));
        assert_eq!(places.version(&group("a")), Some(2));
        assert_eq!(places.version(&group("b")), None, "of another array");
    }

    #[test]
    fn a_hosts_file_keeps_its_mode_and_a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("hosts"));
        fs::write(&real, "").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        places(dir.path()).write(&group("a"), &peers(1, 2)).unwrap();
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("train-0"));
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }
}
