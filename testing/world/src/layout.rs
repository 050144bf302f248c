//! Where things are: the repository, what `.local` holds, the programs of others and our own.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// The root of the repository this crate was built from.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two directories below the root")
        .to_path_buf()
}

/// A path below `.local`, which holds everything that is not kept.
pub fn local(path: &str) -> PathBuf {
    root().join(".local").join(path)
}

/// The programs that are not ours.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The store behind the API server.
    pub etcd: PathBuf,
    /// The Kubernetes API server.
    pub kube_apiserver: PathBuf,
    /// Owner collection, namespaces, service accounts.
    pub kube_controller_manager: PathBuf,
    /// The Kubernetes command line.
    pub kubectl: PathBuf,
    /// Renders the chart.
    pub helm: PathBuf,
}

impl Tools {
    /// Finds them, downloads or builds what is missing (see `testing/controlplane/ensure.sh`).
    pub fn find() -> Result<Self> {
        let script = root().join("testing/controlplane/ensure.sh");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let paths: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
        let [etcd, kube_apiserver, kube_controller_manager, kubectl, helm] =
            paths.try_into().map_err(|_| {
                anyhow::anyhow!(
                    "{} failed ({}); its messages are above",
                    script.display(),
                    output.status
                )
            })?;
        Ok(Self {
            etcd,
            kube_apiserver,
            kube_controller_manager,
            kubectl,
            helm,
        })
    }
}

/// The directory with our own programs: that of the running executable's build, so that a test runs
/// what was built with it, or `SPORE_BIN_DIR`.
pub fn bin_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("SPORE_BIN_DIR") {
        return Ok(dir.into());
    }
    let exe = env::current_exe().context("cannot tell where this program lies")?;
    let dir = exe.parent().context("this program lies in no directory")?;
    // Test executables lie one directory deeper.
    Ok(if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    }
    .to_path_buf())
}

/// One of our own programs.
pub fn bin(name: &str) -> Result<PathBuf> {
    let path = bin_dir()?.join(name);
    ensure!(
        path.is_file(),
        "{} is not built; run `make build` (or set SPORE_BIN_DIR to the directory that has it)",
        path.display()
    );
    Ok(path)
}

/// Puts the agent where instances fetch it from and returns its SHA-256 in hexadecimal.
///
/// Symbols are stripped, as in a release: the unstripped development build is ten times the size,
/// and every instance keeps a copy. Machines of every architecture run on this host, so each of them
/// is served this host's agent.
pub fn publish_agent(artifacts: &Path) -> Result<String> {
    let built = bin("spored")?;
    let [published, other] =
        ["x86_64", "arm64"].map(|arch| artifacts.join(format!("spored-linux-{arch}")));
    fs::create_dir_all(artifacts)?;
    if !is_newer(&published, &built) {
        let fresh = tempfile::NamedTempFile::new_in(artifacts)?;
        let stripped = Command::new("strip")
            .arg("-o")
            .arg(fresh.path())
            .arg(&built)
            .output();
        if !stripped.is_ok_and(|output| output.status.success()) {
            fs::copy(&built, fresh.path())?;
        }
        fs::set_permissions(fresh.path(), PermissionsExt::from_mode(0o755))?;
        if other.exists() {
            fs::remove_file(&other)?;
        }
        fs::hard_link(fresh.path(), &other)?;
        fresh.persist(&published)?;
    }
    sha256(&published)
}

fn is_newer(file: &Path, than: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified());
    matches!((modified(file), modified(than)), (Ok(file), Ok(than)) if file > than)
}

fn sha256(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum")
        .arg(file)
        .output()
        .context("cannot run sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.split_whitespace().next() {
        Some(digest) if digest.len() == 64 => Ok(digest.to_owned()),
        _ => bail!(
            "sha256sum {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}
