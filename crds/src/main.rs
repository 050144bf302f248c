//! Writes the CRDs into the directories given, `crds` unless said otherwise.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut directories = env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>();
    if directories.is_empty() {
        directories.push(PathBuf::from("crds"));
    }
    for (name, crd) in spore_crds::crd::all() {
        let yaml = serde_saphyr::to_string(&crd)?;
        for directory in &directories {
            fs::write(directory.join(name), &yaml)?;
        }
    }
    Ok(())
}
