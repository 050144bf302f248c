//! A world for one test: its own namespace, EC2 stand-in and controller on a shared control plane.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    chart::{self, Release},
    cleanup,
    command::{self, Output},
    controller::{Controller, Setup},
    controlplane::ControlPlane,
    kubeconfig::{self, Credential},
    layout::{self, Tools},
    process::{Life, tail},
    sim::Sim,
};

/// What differs from the usual world.
#[derive(Clone, Debug, Default)]
pub struct WorldOptions {
    /// Arguments for the controller, as `--name=value`; they replace the chart's of the same name.
    pub controller_args: Vec<String>,
    /// Environment variables of the controller to set or, with `None`, to leave out.
    pub controller_env: Vec<(String, Option<String>)>,
    /// Prepare the controller, but do not start it.
    pub no_controller: bool,
    /// More arguments for the EC2 stand-in.
    pub sim_args: Vec<String>,
    /// Instances do not boot machines.
    pub no_machines: bool,
    /// Values for the chart, over those of the local world.
    pub chart_values: BTreeMap<String, Value>,
}

/// A world for one test. Dropping it ends and removes everything but the logs.
pub struct World {
    dir: PathBuf,
    namespace: String,
    kubeconfig: PathBuf,
    client: Client,
    tools: Tools,
    plane: ControlPlane,
    release: Release,
    sim: Sim,
    controller: Controller,
}

/// What all worlds of this process share.
struct Shared {
    tools: Tools,
    plane: ControlPlane,
    artifacts: PathBuf,
    agent_sha256: String,
}

impl World {
    /// Starts a world named after its test.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_with(name, WorldOptions::default()).await
    }

    /// Starts a world that differs from the usual one.
    pub async fn start_with(name: &str, options: WorldOptions) -> Result<Self> {
        let shared = shared().await?;
        let dir = layout::local("test/worlds").join(name);
        // A failed test shows this line; a test that passes shows nothing.
        eprintln!("world {name}: logs in {}", dir.display());
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let client = shared.plane.client().await?;
        let namespace = unique(name);
        create_namespace(&client, &namespace).await?;

        let mut sim_args = options.sim_args;
        if !options.no_machines {
            sim_args.extend(Sim::machines(&dir));
        }
        let sim = Sim::start(&dir, &shared.artifacts, Life::WithUs, &sim_args).await?;
        let mut values = chart::local_values(&sim.endpoint(), &shared.agent_sha256);
        values["watchNamespace"] = json!(namespace);
        values["crds"] = json!({"install": false});
        for (key, value) in options.chart_values {
            values[key] = value;
        }
        let release = Release::render(&shared.tools, &namespace, &namespace, &values)?;
        release.apply(&client).await?;
        let account = release.service_account()?;
        let token = dir.join("controller.kubeconfig");
        token_kubeconfig(&shared.plane, &client, &namespace, &account, &token).await?;
        let mut aws = sim.client_env();
        for (key, value) in options.controller_env {
            aws.retain(|(existing, _)| *existing != key);
            aws.extend(value.map(|value| (key, value)));
        }
        let controller = Controller::new(Setup {
            kubeconfig: token,
            aws,
            namespace: namespace.clone(),
            args: release.controller_args()?,
            more_args: options.controller_args,
            dir: dir.clone(),
            life: Life::WithUs,
        })?;
        let kubeconfig = dir.join("kubeconfig");
        let admin = Credential::Certificate("admin".to_owned());
        let (server, pki) = (shared.plane.server(), shared.plane.pki());
        kubeconfig::write(&kubeconfig, server, &pki, &namespace, &admin)?;
        let mut world = Self {
            dir,
            namespace,
            kubeconfig,
            client,
            tools: shared.tools.clone(),
            plane: shared.plane.clone(),
            release,
            sim,
            controller,
        };
        if !options.no_controller {
            world.controller.start().await?;
        }
        Ok(world)
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// This world's namespace; its controller looks at no other.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Kubeconfig of the administrator, with this world's namespace as the default.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig file with the rights of a service account in this world's namespace.
    pub async fn kubeconfig_of(&self, service_account: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{service_account}.kubeconfig"));
        token_kubeconfig(
            &self.plane,
            &self.client,
            &self.namespace,
            service_account,
            &path,
        )
        .await?;
        Ok(path)
    }

    /// Where this world's logs and machines are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The EC2 stand-in.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The controller.
    pub fn controller(&mut self) -> &mut Controller {
        &mut self.controller
    }

    /// Runs kubectl in this world's namespace, with our plugin at hand.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_with(args, "").await
    }

    /// Runs kubectl with this on its standard input.
    pub async fn kubectl_with(&self, args: &[&str], stdin: &str) -> Result<Output> {
        let mut command = command::kubectl(&self.tools, &self.kubeconfig)?;
        command.args(args);
        command::run(command, stdin).await
    }

    /// Applies manifests to this world's namespace.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], yaml)
            .await?
            .ok()
    }

    /// Runs the `aws` command against this world's EC2.
    pub async fn aws(&self, args: &[&str]) -> Result<Output> {
        let mut command = command::aws(&self.sim);
        command.args(args);
        command::run(command, "").await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.controller.kill();
        self.sim.kill();
        if std::thread::panicking() {
            for log in [self.controller.log_file(), self.sim.log()] {
                eprintln!("the end of {}:\n{}", log.display(), tail(&log, 25));
            }
        } else {
            cleanup::remove_bulk(&self.dir);
        }
        let (plane, release) = (self.plane.clone(), self.release.clone());
        let namespace = self.namespace.clone();
        // A drop cannot wait for the runtime it runs in, so this has a small one of its own. What it
        // does not manage to remove goes with the control plane.
        let removal = std::thread::spawn(move || -> Result<()> {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async {
                    let removal = cleanup::remove(&plane, &release, &namespace);
                    tokio::time::timeout(Duration::from_secs(5), removal).await?
                })
        });
        if let Ok(Err(error)) = removal.join() {
            eprintln!("namespace {} is not removed: {error:#}", self.namespace);
        }
    }
}

/// The shared control plane, started by the first who needs it.
async fn shared() -> Result<&'static Shared> {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_try_init(start_shared).await
}

async fn start_shared() -> Result<Shared> {
    let dir = layout::local("test");
    fs::create_dir_all(&dir)?;
    // Tests in other processes wait until it runs, and then find it.
    let lock = fs::File::create(dir.join("lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let tools = tokio::task::spawn_blocking(Tools::find).await??;
    let plane = match ControlPlane::running(&dir).await {
        Some(plane) => plane,
        None => ControlPlane::start(&dir, &tools, Life::Detached).await?,
    };
    let artifacts = dir.join("artifacts");
    let agent_sha256 = layout::publish_agent(&artifacts)?;
    // Of this only the CRDs are applied, which no value changes.
    let values = chart::local_values("http://agent.invalid", &agent_sha256);
    let definitions = Release::render(&tools, "spore", "default", &values)?;
    definitions.apply_crds(&plane.client().await?).await?;
    drop(lock);
    Ok(Shared {
        tools,
        plane,
        artifacts,
        agent_sha256,
    })
}

/// Writes a kubeconfig file with the rights of a service account.
pub(crate) async fn token_kubeconfig(
    plane: &ControlPlane,
    client: &Client,
    namespace: &str,
    service_account: &str,
    path: &Path,
) -> Result<()> {
    let token = kubeconfig::service_account_token(client, namespace, service_account).await?;
    kubeconfig::write(
        path,
        plane.server(),
        &plane.pki(),
        namespace,
        &Credential::Token(token),
    )
}

async fn create_namespace(client: &Client, name: &str) -> Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot create namespace {name}"))?;
    Ok(())
}

/// A namespace name of its own for each run of a test, since removal of the last one's takes time.
/// It is also the name of a helm release, of which 53 characters are allowed.
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let clean: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(30)
        .collect();
    let suffix = format!("{:x}{:x}{count:x}", millis & 0xff_ffff, std::process::id());
    format!("{}-{suffix}", clean.trim_matches('-'))
}
