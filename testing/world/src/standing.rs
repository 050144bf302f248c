//! A whole world that stands by itself: control plane, EC2 stand-in, chart, controller.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::process::Command;

use crate::{
    chart::{self, Release},
    command,
    controller::{self, Controller, Setup},
    controlplane::ControlPlane,
    layout::{self, Tools},
    process::{Life, Process},
    sim::{self, Sim},
    world::token_kubeconfig,
};

const NAMESPACE: &str = "spore-system";

/// A world with the controller installed for all namespaces, as in a cluster.
#[derive(Debug)]
pub struct Standing {
    /// The control plane.
    pub plane: ControlPlane,
    /// The EC2 stand-in.
    pub sim: Sim,
    /// The controller.
    pub controller: Controller,
    tools: Tools,
}

impl Standing {
    /// Starts what does not run yet in this directory, with a line of progress for each part.
    pub async fn start(dir: &Path, life: Life) -> Result<Self> {
        let tools = Tools::find()?;

        let step = Step::begin("control plane");
        let running = ControlPlane::running(dir).await;
        let reused = running.is_some();
        let plane = match running {
            Some(plane) => plane,
            None => {
                // Whatever else runs belongs to a cluster that is gone.
                stop_processes(dir);
                for name in [controller::NAME, sim::NAME] {
                    // They append to their logs, which are about another world until here.
                    let _ = fs::remove_file(dir.join(format!("{name}.log")));
                }
                ControlPlane::start(dir, &tools, life).await?
            }
        };
        step.done(plane.server(), reused);

        let step = Step::begin("EC2 stand-in");
        let artifacts = dir.join("artifacts");
        let agent_sha256 = layout::publish_agent(&artifacts)?;
        let reused = Sim::running(dir).await.is_some();
        let sim = Sim::start(dir, &artifacts, life, &Sim::machines(dir)).await?;
        step.done(&sim.endpoint(), reused);

        let step = Step::begin("chart");
        let client = plane.client().await?;
        let values = chart::local_values(&sim.endpoint(), &agent_sha256);
        let release = Release::render(&tools, "spore", NAMESPACE, &values)?;
        create_namespace(&client).await?;
        release.apply_crds(&client).await?;
        release.apply(&client).await?;
        step.done(&format!("namespace {NAMESPACE}"), false);

        let step = Step::begin("controller");
        let kubeconfig = dir.join("controller.kubeconfig");
        let account = release.service_account()?;
        token_kubeconfig(&plane, &client, NAMESPACE, &account, &kubeconfig).await?;
        let mut controller = Controller::new(Setup {
            kubeconfig,
            aws: sim.client_env(),
            namespace: NAMESPACE.to_owned(),
            args: release.controller_args()?,
            more_args: Vec::new(),
            dir: dir.to_path_buf(),
            life,
        })?;
        let reused = controller.is_running();
        if !reused {
            controller.start().await?;
        }
        step.done(&format!("log {}", controller.log_file().display()), reused);
        Ok(Self {
            plane,
            sim,
            controller,
            tools,
        })
    }

    /// Ends what runs in this directory. Logs stay.
    pub fn stop(dir: &Path) -> Result<()> {
        stop_processes(dir);
        ControlPlane::stop(dir)
    }

    /// kubectl as the administrator, with our plugin at hand.
    pub fn kubectl(&self) -> Result<Command> {
        command::kubectl(&self.tools, &self.kubeconfig())
    }

    /// The `aws` command for this world's EC2.
    pub fn aws(&self) -> Command {
        command::aws(&self.sim)
    }

    /// Kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.admin_kubeconfig()
    }
}

fn stop_processes(dir: &Path) {
    for name in [controller::NAME, sim::NAME] {
        if let Some(mut process) = Process::find(dir, name) {
            process.kill();
        }
    }
    // The disks of machines that no longer exist.
    let _ = fs::remove_dir_all(dir.join("machines"));
}

async fn create_namespace(client: &Client) -> Result<()> {
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
    Ok(())
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
