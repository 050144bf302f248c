//! A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use crate::{
    eventually::poll,
    kubeconfig::{self, Credential},
    layout::Tools,
    pki::Pki,
    process::{Launch, Life, Process},
};

const ETCD: &str = "etcd";
const APISERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const PATIENCE: Duration = Duration::from_secs(60);

/// What the controller manager runs: what objects in the API need to behave as in production.
/// Everything about nodes, pods and volumes has nothing to act on here.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,\
    serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,\
    resourcequota-controller,deployment-controller,replicaset-controller,disruption-controller,\
    validatingadmissionpolicy-status-controller";

/// A running control plane.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    dir: PathBuf,
    server: String,
    // Those that we started and that are not to outlive us end when the last clone is dropped.
    _processes: Arc<[Process]>,
}

impl ControlPlane {
    /// The one that runs in this directory, if it does and is ready.
    pub async fn running(dir: &Path) -> Option<Self> {
        let processes = [ETCD, APISERVER, CONTROLLER_MANAGER];
        if processes
            .iter()
            .any(|name| Process::find(dir, name).is_none())
        {
            return None;
        }
        let server = fs::read_to_string(dir.join("server")).ok()?;
        let client = kubeconfig::client(&kubeconfig::admin(dir)).await.ok()?;
        ready(&client).await.then(|| Self {
            dir: dir.to_path_buf(),
            server,
            _processes: Arc::default(),
        })
    }

    /// Starts a new, empty one in this directory; what ran there, and its data, goes.
    pub async fn start(dir: &Path, tools: &Tools, life: Life) -> Result<Self> {
        Self::stop(dir)?;
        fs::create_dir_all(dir)?;
        let started = Self::start_in(dir, tools, life).await;
        if started.is_err() {
            Self::stop(dir)?;
        }
        started
    }

    async fn start_in(dir: &Path, tools: &Tools, life: Life) -> Result<Self> {
        let pki = Pki::new(dir.join("pki"));
        pki.create().context("cannot make certificates")?;
        let [store_port, api_port] = free_ports()?;
        let store = format!("https://127.0.0.1:{store_port}");
        let server = format!("https://127.0.0.1:{api_port}");
        let manager = dir.join("controller-manager.kubeconfig");
        let certificate = |party: &str| Credential::Certificate(party.to_owned());
        let admin = kubeconfig::admin(dir);
        kubeconfig::write(&admin, &server, &pki, "default", &certificate("admin"))?;
        kubeconfig::write(
            &manager,
            &server,
            &pki,
            "default",
            &certificate("system:kube-controller-manager"),
        )?;

        let launch = |name: &str, program: &Path, args: Vec<String>| {
            fs::write(dir.join(format!("{name}.log")), "")?;
            Process::start(&Launch {
                name: name.to_owned(),
                program: program.to_path_buf(),
                args,
                env: Vec::new(),
                dir: dir.to_path_buf(),
                life,
            })
        };
        let etcd = launch(ETCD, &tools.etcd, etcd_args(dir, &pki, &store))?;
        let apiserver = launch(
            APISERVER,
            &tools.kube_apiserver,
            apiserver_args(&pki, &store, api_port),
        )?;
        let client = kubeconfig::client(&admin).await?;
        until(
            "the API server to be ready",
            &[&etcd, &apiserver],
            async || ready(&client).await,
        )
        .await?;
        let manager = launch(
            CONTROLLER_MANAGER,
            &tools.kube_controller_manager,
            controller_manager_args(&pki, &manager),
        )?;
        // The default namespace gets its service account from the controller manager: it works.
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        until(
            "the controller manager to work",
            &[&etcd, &apiserver, &manager],
            async || accounts.get("default").await.is_ok(),
        )
        .await?;
        // Written last: whoever finds it finds everything.
        fs::write(dir.join("server"), &server)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            server,
            _processes: Arc::new([etcd, apiserver, manager]),
        })
    }

    /// Ends what runs in this directory and removes its data. Logs stay until the next start.
    pub fn stop(dir: &Path) -> Result<()> {
        for name in [CONTROLLER_MANAGER, APISERVER, ETCD] {
            if let Some(mut process) = Process::find(dir, name) {
                // Nothing of it is kept, so nothing has to be written out in good order.
                process.kill();
            }
        }
        for gone in ["server", "etcd", "pki"] {
            let path = dir.join(gone);
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Its certificates.
    pub fn pki(&self) -> Pki {
        Pki::new(self.dir.join("pki"))
    }

    /// Kubeconfig of the cluster's administrator.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        kubeconfig::admin(&self.dir)
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<Client> {
        kubeconfig::client(&self.admin_kubeconfig()).await
    }
}

fn etcd_args(dir: &Path, pki: &Pki, url: &str) -> Vec<String> {
    let (ca, cert, key) = (pki.ca(), pki.cert(ETCD), pki.key(ETCD));
    let mut args = vec![
        format!("--data-dir={}", dir.join(ETCD).display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        // A member without peers; the port is any.
        "--listen-peer-urls=https://127.0.0.1:0".into(),
        "--name=world".into(),
        // The data dies with the world.
        "--unsafe-no-fsync".into(),
        "--quota-backend-bytes=8589934592".into(),
        "--log-level=warn".into(),
    ];
    for prefix in ["", "peer-"] {
        args.extend([
            format!("--{prefix}trusted-ca-file={}", ca.display()),
            format!("--{prefix}cert-file={}", cert.display()),
            format!("--{prefix}key-file={}", key.display()),
            format!("--{prefix}client-cert-auth=true"),
        ]);
    }
    args
}

fn apiserver_args(pki: &Pki, store: &str, port: u16) -> Vec<String> {
    let ca = pki.ca().display().to_string();
    let cert = pki.cert(APISERVER).display().to_string();
    let key = pki.key(APISERVER).display().to_string();
    vec![
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        // Nothing in here looks for the API server by its service, whose endpoint cannot be loopback.
        "--endpoint-reconciler-type=none".into(),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        format!("--etcd-servers={store}"),
        format!("--etcd-cafile={ca}"),
        format!("--etcd-certfile={cert}"),
        format!("--etcd-keyfile={key}"),
        format!("--tls-cert-file={cert}"),
        format!("--tls-private-key-file={key}"),
        format!("--client-ca-file={ca}"),
        "--authorization-mode=Node,RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!(
            "--service-account-key-file={}",
            pki.public_key("service-account").display()
        ),
        format!(
            "--service-account-signing-key-file={}",
            pki.key("service-account").display()
        ),
    ]
}

fn controller_manager_args(pki: &Pki, kubeconfig: &Path) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    vec![
        "--bind-address=127.0.0.1".into(),
        // It serves nobody.
        "--secure-port=0".into(),
        format!("--kubeconfig={kubeconfig}"),
        "--use-service-account-credentials=true".into(),
        format!(
            "--service-account-private-key-file={}",
            pki.key("service-account").display()
        ),
        format!("--root-ca-file={}", pki.ca().display()),
        format!("--controllers={CONTROLLERS}"),
        "--leader-elect=false".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}

async fn ready(client: &Client) -> bool {
    let request = http_get("/readyz");
    client
        .request_text(request)
        .await
        .is_ok_and(|text| text == "ok")
}

fn http_get(path: &str) -> hyper::Request<Vec<u8>> {
    hyper::Request::get(path)
        .body(Vec::new())
        .expect("a path of ours is a valid request")
}

async fn until(what: &str, processes: &[&Process], probe: impl AsyncFn() -> bool) -> Result<()> {
    let verdict = poll(PATIENCE, async || {
        if let Some(dead) = processes.iter().find_map(|process| process.check().err()) {
            return Some(Err(dead));
        }
        probe().await.then_some(Ok(()))
    });
    verdict.await.with_context(|| {
        let logs: Vec<_> = processes
            .iter()
            .map(|p| p.log().display().to_string())
            .collect();
        format!("waited {PATIENCE:?} for {what}; see {}", logs.join(", "))
    })?
}

/// Ports that nobody listens on now.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All bound before the first is let go, so that they differ.
    let listeners: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let ports = listeners
        .iter()
        .map(|l| Ok(l.local_addr()?.port()))
        .collect::<Result<Vec<_>>>()?;
    Ok(ports.try_into().expect("as many ports as listeners"))
}
