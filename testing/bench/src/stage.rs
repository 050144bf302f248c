//! A world for one group of figures: a control plane that nobody else uses, the EC2 stand-in, the
//! chart, and a controller that has not been started yet.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use spore_crds::SporeInstance;
use spore_world::{
    Controller, Sim,
    chart::{self, Release},
    controller::Setup,
    controlplane::ControlPlane,
    kubeconfig::{self, Credential},
    layout::{self, Tools},
    process::Life,
};

use crate::clock::progress;

/// The one region that the controller manages here.
pub(crate) const REGION: &str = "us-east-1";
/// The namespace of the controller and of all spores.
pub(crate) const NAMESPACE: &str = "bench";

/// Everything that runs while a group of figures is measured.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) sim: Sim,
    pub(crate) controller: Controller,
    /// Programs of others.
    pub(crate) tools: Tools,
    /// UID of the cluster, as instances carry it in their tags.
    pub(crate) cluster: String,
    plane: ControlPlane,
    dir: PathBuf,
}

impl Stage {
    /// Starts all but the controller. `machines`: instances boot, with the real agent.
    pub(crate) async fn start(name: &str, machines: bool, sim_args: &[&str]) -> Result<Self> {
        Self::set_up(name, machines, sim_args, &json!({})).await
    }

    /// The same without machines, in an account with raised limits, as the chart takes them.
    pub(crate) async fn raised(name: &str, sim_args: &[&str], limits: &Value) -> Result<Self> {
        Self::set_up(name, false, sim_args, limits).await
    }

    async fn set_up(name: &str, machines: bool, sim_args: &[&str], limits: &Value) -> Result<Self> {
        progress(&format!("{name}: starting a world"));
        let dir = layout::local("bench").join(name);
        clear(&dir)?;
        if dir.exists() {
            // The logs of the last run, which processes would append to.
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        let tools = Tools::find()?;
        let plane = ControlPlane::start(&dir, &tools, Life::WithUs).await?;
        let client = plane.client().await?;
        let artifacts = dir.join("artifacts");
        let agent_sha256 = layout::publish_agent(&artifacts)?;
        let mut args: Vec<String> = sim_args.iter().map(|&arg| arg.to_owned()).collect();
        if machines {
            args.extend(Sim::machines(&dir));
        }
        let sim = Sim::start(&dir, &artifacts, Life::WithUs, &args).await?;

        let namespaces: Api<Namespace> = Api::all(client.clone());
        let ours = Namespace {
            metadata: ObjectMeta {
                name: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        namespaces.create(&PostParams::default(), &ours).await?;
        let system = namespaces.get("kube-system").await?;
        let cluster = system
            .uid()
            .context("the namespace kube-system has no UID")?;

        let mut values = chart::local_values(&sim.endpoint(), &agent_sha256);
        values["aws"] = json!({"regions": [REGION], "limits": limits});
        let release = Release::render(&tools, "spore", NAMESPACE, &values)?;
        release.apply_crds(&client).await?;
        release.apply(&client).await?;
        let token = dir.join("controller.kubeconfig");
        let account = release.service_account()?;
        let secret = kubeconfig::service_account_token(&client, NAMESPACE, &account).await?;
        kubeconfig::write(
            &token,
            plane.server(),
            &plane.pki(),
            NAMESPACE,
            &Credential::Token(secret),
        )?;
        let controller = Controller::new(Setup {
            kubeconfig: token,
            aws: sim.client_env(),
            namespace: NAMESPACE.to_owned(),
            args: release.controller_args()?,
            more_args: Vec::new(),
            dir: dir.clone(),
            life: Life::WithUs,
        })?;
        Ok(Self {
            client,
            sim,
            controller,
            tools,
            cluster,
            plane,
            dir,
        })
    }

    /// The spores of this stage.
    pub(crate) fn spores(&self) -> Api<SporeInstance> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Kubeconfig of the administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.plane.admin_kubeconfig()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Its client goes first; then what it spoke to, and what that leaves on the disk.
        self.controller.kill();
        self.sim.kill();
        if let Err(error) = clear(&self.dir) {
            progress(&format!("cannot clear {}: {error:#}", self.dir.display()));
        }
    }
}

/// Ends what runs in this directory and removes all but the logs.
fn clear(dir: &Path) -> Result<()> {
    ControlPlane::stop(dir)?;
    for gone in ["machines", "artifacts"] {
        let path = dir.join(gone);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
