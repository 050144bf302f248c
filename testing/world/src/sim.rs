//! The EC2 stand-in: its process, and a client of its control API.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    eventually::poll,
    fault::Injection,
    http, layout,
    process::{Launch, Life, Process},
};

/// The name of its binary, its log and its pid file.
pub const NAME: &str = "ec2sim";

/// The access key of everybody but instances, in no real account.
pub const ACCESS_KEY: &str = "AKIASPOREDEV";

/// A running EC2 stand-in.
#[derive(Debug)]
pub struct Sim {
    process: Process,
    address: SocketAddr,
}

/// The calls that the stand-in has seen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// How many by API.
    pub counts: BTreeMap<String, u64>,
    /// The same by access key.
    pub by_caller: BTreeMap<String, BTreeMap<String, u64>>,
    /// The latest calls, oldest first.
    pub log: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts up from the last reset.
    pub seq: u64,
    /// The API.
    pub action: String,
    /// The region it went to.
    pub region: String,
    /// Who called.
    pub access_key: String,
    /// When, in RFC 3339.
    pub at: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// AWS error code, empty for success.
    #[serde(default)]
    pub code: Option<String>,
}

/// A call that a fault holds back.
#[derive(Clone, Debug, Deserialize)]
pub struct Held {
    /// The held call.
    pub id: u64,
    /// The fault that holds it.
    pub fault: u64,
    /// The API.
    pub action: String,
}

/// An instance as the stand-in knows it, without lag or filters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its availability zone.
    pub zone: String,
    /// `pending`, `running`, `stopped` …
    pub state: String,
    /// EC2's code for why it is in that state, such as `Server.SpotInstanceTermination`.
    pub state_reason: Option<String>,
    /// Its type.
    pub instance_type: String,
    /// Its machine image.
    pub image_id: String,
    /// `spot` or `on-demand`.
    pub market: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The token of the call that launched it.
    pub client_token: Option<String>,
    /// Its place in that call.
    pub launch_index: u32,
    /// How often it has booted.
    pub boots: u32,
    /// Its volumes.
    pub volumes: Vec<String>,
    /// Its network interfaces.
    pub enis: Vec<String>,
    /// The directory of its machine.
    pub machine_dir: Option<PathBuf>,
    /// The access key of its role's credentials.
    pub access_key: String,
}

/// What exists, and what ever existed at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Instances that are neither terminated nor on the way there.
    pub live_instances: u64,
    /// By tag key and value: the most instances ever alive at one moment.
    pub max_live_per_tag: BTreeMap<String, BTreeMap<String, u64>>,
    /// Volumes that exist.
    pub volumes: u64,
    /// Network interfaces that exist.
    pub network_interfaces: u64,
}

/// What an instance does, as its kernel counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Of all its processors.
    pub cpu_percent: f64,
    /// Received and sent.
    pub net_bytes_per_sec: u64,
    /// Read and written.
    pub disk_bytes_per_sec: u64,
}

impl Instance {
    /// Whether it costs money: anything but terminated or on the way there.
    pub fn is_live(&self) -> bool {
        !matches!(self.state.as_str(), "shutting-down" | "terminated")
    }
}

impl Sim {
    /// Starts one with its files below `dir`, or takes the one that an earlier run left there.
    pub async fn start(dir: &Path, artifacts: &Path, life: Life, args: &[String]) -> Result<Self> {
        if let Some(running) = Self::running(dir).await {
            return Ok(running);
        }
        let port_file = port_file(dir);
        let _ = fs::remove_file(&port_file);
        let text = |path: &Path| path.display().to_string();
        let mut all = vec!["serve".to_owned()];
        for (flag, value) in [
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--port-file", text(&port_file)),
            ("--artifacts", text(artifacts)),
        ] {
            all.extend([flag.to_owned(), value]);
        }
        all.extend_from_slice(args);
        let process = Process::start(&Launch {
            name: NAME.to_owned(),
            program: layout::bin(NAME)?,
            args: all,
            env: Vec::new(),
            dir: dir.to_path_buf(),
            life,
        })?;
        let address = poll(Duration::from_secs(20), async || match process.check() {
            Ok(()) => Some(Ok(read_port(&port_file)?)),
            Err(dead) => Some(Err(dead)),
        });
        let address = address.await.with_context(|| {
            format!("{NAME} does not listen; see {}", process.log().display())
        })??;
        let sim = Self { process, address };
        sim.get::<Value>("/_sim/health").await?;
        Ok(sim)
    }

    /// The one that an earlier run left in this directory, if it answers.
    pub async fn running(dir: &Path) -> Option<Self> {
        let process = Process::find(dir, NAME)?;
        let sim = Self {
            process,
            address: read_port(&port_file(dir))?,
        };
        sim.get::<Value>("/_sim/health")
            .await
            .is_ok()
            .then_some(sim)
    }

    /// The arguments that make instances boot, with their directories below `dir`.
    pub fn machines(dir: &Path) -> Vec<String> {
        vec![
            "--machines".to_owned(),
            dir.join("machines").display().to_string(),
        ]
    }

    /// Ends it, and with it all machines.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What AWS clients take as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment of an AWS client that talks to it, and to nothing else.
    pub fn client_env(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint().as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
            // The second is how older command lines want it.
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// Injects a fault; returns its id.
    pub async fn add_fault(&self, fault: Injection) -> Result<u64> {
        #[derive(Deserialize)]
        struct Added {
            id: u64,
        }
        Ok(self.post::<Added>("/_sim/faults", &fault.0).await?.id)
    }

    /// Takes all faults away; held calls go on.
    pub async fn clear_faults(&self) -> Result<()> {
        http::call(self.address, Method::DELETE, "/_sim/faults", None).await?;
        self.release().await
    }

    /// The calls that are held now.
    pub async fn held(&self) -> Result<Vec<Held>> {
        self.get("/_sim/held").await
    }

    /// Lets held calls go on.
    pub async fn release(&self) -> Result<()> {
        self.send("/_sim/held/release", &json!({})).await
    }

    /// The calls so far.
    pub async fn calls(&self) -> Result<Calls> {
        self.get("/_sim/calls").await
    }

    /// Starts counting anew.
    pub async fn reset_calls(&self) -> Result<()> {
        self.send("/_sim/calls/reset", &json!({})).await
    }

    /// All instances, terminated ones that are still visible included.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        self.get("/_sim/instances").await
    }

    /// What exists, and what ever existed at once.
    pub async fn audit(&self) -> Result<Audit> {
        self.get("/_sim/audit").await
    }

    /// Gives a Spot instance its notice: `action` is `terminate` or `stop`.
    pub async fn spot_interrupt(&self, id: &str, action: &str, after: Duration) -> Result<()> {
        let body = json!({"action": action, "inSeconds": after.as_secs()});
        self.instance(id, "spot-interrupt", &body).await
    }

    /// Recommends to rebalance a Spot instance.
    pub async fn rebalance(&self, id: &str) -> Result<()> {
        self.instance(id, "rebalance", &json!({})).await
    }

    /// The host below an instance fails.
    pub async fn die(&self, id: &str) -> Result<()> {
        self.instance(id, "die", &json!({})).await
    }

    /// From now on an instance may call nothing.
    pub async fn revoke_iam(&self, id: &str) -> Result<()> {
        self.instance(id, "revoke-iam", &json!({})).await
    }

    /// Sets what an instance's kernel counts.
    pub async fn set_load(&self, id: &str, load: Load) -> Result<()> {
        let body = json!({
            "cpuPercent": load.cpu_percent,
            "netBytesPerSec": load.net_bytes_per_sec,
            "diskBytesPerSec": load.disk_bytes_per_sec,
        });
        self.instance(id, "load", &body).await
    }

    /// SIGKILL to the agent of an instance; its service manager starts it again.
    pub async fn agent_kill(&self, id: &str) -> Result<()> {
        self.instance(id, "agent-kill", &json!({})).await
    }

    /// The agent of an instance dies and does not start again.
    pub async fn agent_break(&self, id: &str) -> Result<()> {
        self.instance(id, "agent-break", &json!({})).await
    }

    /// The metadata service of an instance is gone, or back.
    pub async fn imds_off(&self, id: &str, off: bool) -> Result<()> {
        self.instance(id, "imds", &json!({"off": off})).await
    }

    /// Anything else under `/_sim/`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let answer = http::call(self.address, Method::POST, path, Some(body)).await?;
        serde_json::from_slice(&answer).with_context(|| format!("unexpected answer to {path}"))
    }

    async fn instance(&self, id: &str, what: &str, body: &Value) -> Result<()> {
        self.send(&format!("/_sim/instances/{id}/{what}"), body)
            .await
    }

    async fn send(&self, path: &str, body: &Value) -> Result<()> {
        http::call(self.address, Method::POST, path, Some(body))
            .await
            .map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = http::call(self.address, Method::GET, path, None).await?;
        serde_json::from_slice(&answer).with_context(|| format!("unexpected answer to {path}"))
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.process.log()
    }
}

fn port_file(dir: &Path) -> PathBuf {
    dir.join("ec2sim.port")
}

fn read_port(file: &Path) -> Option<SocketAddr> {
    let port = fs::read_to_string(file)
        .ok()?
        .trim()
        .rsplit(':')
        .next()?
        .parse()
        .ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}
