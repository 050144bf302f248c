//! The world that stays up for a person: `make up`, `make down`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    chart::Release,
    controller::{self, Controller, Setup},
    controlplane::ControlPlane,
    kubeconfig::{self, Credential},
    layout::{self, Tools, local},
    pki::write_secret,
    process::{Life, Process},
    sim::Sim,
    world::token_kubeconfig,
};

const NAMESPACE: &str = "spore-system";

/// The world that is up.
pub struct Standing {
    /// The control plane.
    pub plane: ControlPlane,
    /// The EC2 stand-in.
    pub sim: Sim,
    /// The controller.
    pub controller: Controller,
    /// The programs that are not ours.
    pub tools: Tools,
}

/// Starts what does not run, and writes `.local/kubeconfig` and `.local/env`.
pub async fn up() -> Result<Standing> {
    let dir = directory();
    let _lock = lock()?;
    let tools = Tools::find()?;

    let step = Step::begin("control plane");
    let running = ControlPlane::running(&dir).await;
    let reused = running.is_some();
    let plane = match running {
        Some(plane) => plane,
        None => {
            // Whatever else runs belongs to a cluster that is gone.
            stop_processes(&dir);
            ControlPlane::start(&dir, &tools).await?
        }
    };
    step.done(plane.server(), reused);

    let step = Step::begin("EC2 stand-in");
    let artifacts = dir.join("artifacts");
    let agent_sha256 = layout::publish_agent(&artifacts)?;
    let reused = Sim::running(&dir).await.is_some();
    let sim = Sim::start(&dir, &artifacts, Life::Detached, &Sim::machines(&dir)).await?;
    step.done(&sim.endpoint(), reused);

    let step = Step::begin("chart");
    let service_account = install(&plane, &tools).await?;
    step.done(&format!("namespace {NAMESPACE}"), false);

    let step = Step::begin("controller");
    let (mut controller, reused) =
        controller(&dir, &plane, &sim, agent_sha256, &service_account).await?;
    if !reused {
        controller.start().await?;
    }
    step.done(&format!("log {}", controller.log_file().display()), reused);

    let admin = Credential::Certificate("admin".to_owned());
    kubeconfig::write(
        &kubeconfig_file(),
        plane.server(),
        &plane.pki(),
        "default",
        &admin,
    )?;
    write_secret(&env_file(), &environment(&sim)?)?;
    Ok(Standing {
        plane,
        sim,
        controller,
        tools,
    })
}

/// Stops everything that `up` started. Logs, and the programs that were built, stay.
pub fn down() -> Result<()> {
    let dir = directory();
    let _lock = lock()?;
    stop_processes(&dir);
    ControlPlane::stop(&dir)?;
    for file in [kubeconfig_file(), env_file()] {
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// The kubeconfig that `up` writes.
pub fn kubeconfig_file() -> PathBuf {
    local("kubeconfig")
}

/// The shell file that `up` writes.
pub fn env_file() -> PathBuf {
    local("env")
}

fn directory() -> PathBuf {
    local("world")
}

/// One `up` or `down` at a time.
fn lock() -> Result<fs::File> {
    fs::create_dir_all(directory())?;
    let file = fs::File::create(directory().join("lock"))?;
    file.lock().context("cannot lock the world")?;
    Ok(file)
}

fn stop_processes(dir: &Path) {
    for name in [controller::NAME, crate::sim::NAME] {
        if let Some(mut process) = Process::find(dir, name) {
            process.kill();
        }
    }
    // The disks of machines that no longer exist.
    let _ = fs::remove_dir_all(dir.join("machines"));
}

async fn install(plane: &ControlPlane, tools: &Tools) -> Result<String> {
    let client = plane.client().await?;
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    });
    Api::<Namespace>::all(client.clone())
        .patch(
            NAMESPACE,
            &PatchParams::apply("spore-world").force(),
            &Patch::Apply(namespace),
        )
        .await?;
    let release = Release::render(tools, "spore", NAMESPACE, &[])?;
    release.apply_crds(&client).await?;
    release.apply(&client).await?;
    release.service_account()
}

async fn controller(
    dir: &Path,
    plane: &ControlPlane,
    sim: &Sim,
    agent_sha256: String,
    service_account: &str,
) -> Result<(Controller, bool)> {
    let path = dir.join("controller.kubeconfig");
    let client = plane.client().await?;
    token_kubeconfig(plane, &client, NAMESPACE, service_account, &path).await?;
    let controller = Controller::new(Setup {
        kubeconfig: path,
        aws: sim.client_env(),
        namespace: NAMESPACE.to_owned(),
        agent_url: sim.endpoint(),
        agent_sha256,
        args: Vec::new(),
        dir: dir.to_path_buf(),
        life: Life::Detached,
    })?;
    let reused = controller.is_running();
    Ok((controller, reused))
}

/// Lines for a shell to source.
fn environment(sim: &Sim) -> Result<String> {
    let mut lines = String::from("# The local world of this checkout: source this file.\n");
    let mut export = |key: &str, value: &str| {
        lines.push_str(&format!("export {key}={value}\n"));
    };
    export("KUBECONFIG", &quoted(&kubeconfig_file()));
    for (key, value) in sim.client_env() {
        export(&key, &value);
    }
    let ours = [layout::bin_dir()?, local("bin")];
    export(
        "PATH",
        &format!("{}:{}:\"$PATH\"", quoted(&ours[0]), quoted(&ours[1])),
    );
    lines.push_str("unset AWS_PROFILE AWS_SESSION_TOKEN\n");
    Ok(lines)
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A line of progress.
struct Step {
    name: &'static str,
    begun: Instant,
}

impl Step {
    fn begin(name: &'static str) -> Self {
        eprintln!("[world] {name} ...");
        Self {
            name,
            begun: Instant::now(),
        }
    }

    fn done(self, detail: &str, reused: bool) {
        let how = if reused {
            "runs already".to_owned()
        } else {
            format!("{:.1?}", self.begun.elapsed())
        };
        eprintln!("[world] {}: {detail} ({how})", self.name);
    }
}
