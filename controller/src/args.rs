//! The command line, and wiring everything together.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration as StdDuration,
};

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use futures::{StreamExt as _, channel::mpsc, future};
use jiff::Timestamp;
use k8s_controller::LeaderElection;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    core::error_boundary::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt as _, controller,
        events::{Recorder, Reporter},
        reflector::{self, ObjectRef},
        watcher,
    },
};
use serde::Serialize;
use spore_core::duration::Duration;
use spore_crds::{SporeArray, SporeInstance, SporeSweep};

use crate::{
    aws::Aws,
    collector::{Collector, Mode, Parents},
    group::{self, Collection, Groups},
    inventory::{Inventory, Watch},
    limiter::{self, CallLimits, Limiter},
    metrics::Metrics,
    reconcile::{self, Context},
    schedule,
    serve::{self, Health},
    settings::{AgentSource, Settings},
    terminate::Terminations,
    unreadable::Readable,
    world::{Owner, World},
};

/// Passes at once. Each holds connections to the API server: without a bound, a fleet that needs writing
/// all at once keeps the lease from being renewed in time.
const PASSES_AT_ONCE: u16 = 32;

/// Passes over arrays, and over sweeps, at once: each makes many requests itself.
const GROUP_PASSES_AT_ONCE: u16 = 4;

/// The name of the lease, and of the field manager in Events.
const NAME: &str = "spore-controller";

/// Drives EC2 to what spores declare.
#[derive(Debug, Parser)]
#[command(name = "spore-controller", version)]
pub struct Args {
    /// Regions in which spores may live; the first is the default. Orphans are looked for in all.
    #[arg(long, value_delimiter = ',', required = true, env = "SPORE_REGIONS")]
    regions: Vec<String>,

    /// URL from which instances fetch their agent; {region} and {arch} are filled in.
    #[arg(long, env = "SPORE_AGENT_URL")]
    agent_url: String,

    /// SHA-256 of the agent for an architecture, as `x86_64=HEX` or `arm64=HEX`; may be repeated.
    #[arg(long, required = true, value_parser = digest, value_delimiter = ',', env = "SPORE_AGENT_SHA256")]
    agent_sha256: Vec<(String, String)>,

    /// An existing instance profile for the agent. Left out: a minimal one is made and kept.
    #[arg(long, env = "SPORE_INSTANCE_PROFILE")]
    instance_profile: Option<String>,

    /// Instance profiles that spores may name; their roles must let the agent end its own instance.
    #[arg(long, value_delimiter = ',', env = "SPORE_ALLOWED_INSTANCE_PROFILES")]
    allowed_instance_profiles: Vec<String>,

    /// Watch one namespace only.
    #[arg(long, env = "SPORE_NAMESPACE")]
    namespace: Option<String>,

    /// Time to live of spores that name neither ttl nor idle.
    #[arg(long, default_value = "24h")]
    default_ttl: Duration,

    /// Time to live of spores that name idle but no ttl.
    #[arg(long, default_value = "7d")]
    default_ttl_idle: Duration,

    /// How long after an end is due the controller enforces it itself.
    #[arg(long, default_value = "60s")]
    deadline_grace: Duration,

    /// How long after the deadline an instance powers itself off.
    #[arg(long, default_value = "5m")]
    power_off_grace: Duration,

    /// How long an instance may be missing from EC2's lists until it counts as gone.
    #[arg(long, default_value = "5m")]
    absence: Duration,

    /// How many calls EC2 admits, for an account with raised limits: for one API, how many requests and
    /// how many instances at once and then each second, as `RunInstances=requests:5/2,resources:1000/2`.
    /// May be repeated. Left out: EC2's defaults.
    #[arg(long, value_name = "API=requests:BURST/RATE,resources:BURST/RATE")]
    ec2_limits: Vec<CallLimits>,

    /// Whether resources without a living parent are collected.
    #[arg(long, value_enum, default_value_t = Mode::On)]
    orphan_collection: Mode,

    /// How often they are looked for.
    #[arg(long, default_value = "5m")]
    orphan_interval: Duration,

    /// Where health and metrics are served.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http_listen: SocketAddr,

    /// Namespace of the leader election's lease.
    #[arg(long, default_value = "default", env = "POD_NAMESPACE")]
    leader_election_namespace: String,

    /// Who this replica is in the election; unique among the replicas.
    #[arg(long, default_value = "spore-controller", env = "POD_NAME")]
    identity: String,

    /// How the log is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// What is logged, in the syntax of tracing's `EnvFilter`.
    #[arg(long, default_value = "info", env = "SPORE_LOG")]
    log_level: String,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn digest(text: &str) -> Result<(String, String), String> {
    let (arch, hex) = text
        .split_once('=')
        .ok_or("write the architecture and the digest, as x86_64=HEX or arm64=HEX")?;
    if !matches!(arch, "x86_64" | "arm64") {
        return Err(format!("{arch:?} is no architecture: use x86_64 or arm64"));
    }
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!(
            "{hex:?} is no SHA-256: it has 64 hexadecimal digits"
        ));
    }
    Ok((arch.to_owned(), hex.to_ascii_lowercase()))
}

impl Args {
    /// Runs the controller until it is told to stop.
    ///
    /// # Errors
    /// If the cluster cannot be reached at the start, or leadership is lost.
    pub async fn run(self) -> anyhow::Result<()> {
        // Taken apart, so that a flag cannot be accepted and ignored.
        let Self {
            regions,
            agent_url,
            agent_sha256,
            instance_profile,
            allowed_instance_profiles,
            namespace,
            default_ttl,
            default_ttl_idle,
            deadline_grace,
            power_off_grace,
            absence,
            ec2_limits,
            orphan_collection,
            orphan_interval,
            http_listen,
            leader_election_namespace,
            identity,
            log_format,
            log_level,
        } = self;
        limiter::check(&ec2_limits).context("--ec2-limits")?;
        start_log(log_format, &log_level)?;
        let metrics = Arc::new(Metrics::default());
        let ready = Arc::new(AtomicBool::new(false));
        let server = serve::serve(
            http_listen,
            Health {
                ready: ready.clone(),
                metrics: metrics.clone(),
            },
        );

        let client = Client::try_default()
            .await
            .context("no way to reach a Kubernetes cluster")?;
        let settings = Settings {
            cluster_uid: cluster_uid(&client).await?,
            agent: AgentSource {
                url: agent_url,
                sha256: BTreeMap::from_iter(agent_sha256),
            },
            instance_profile,
            allowed_instance_profiles,
            default_ttl,
            default_ttl_idle,
            deadline_grace,
            power_off_grace,
            absence: absence.into(),
            regions,
        };
        ready.store(true, Ordering::Relaxed);
        tracing::info!(cluster = settings.cluster_uid, regions = ?settings.regions, "starting");

        let (concerned, news) = mpsc::unbounded::<Owner>();
        let context = Arc::new(Context {
            aws: Aws::new(&settings.regions, metrics.clone()).await,
            world: World::default(),
            inventory: Inventory::new(&settings.regions),
            limiter: Limiter::new(&ec2_limits),
            terminations: Terminations::default(),
            recorder: Recorder::new(
                client.clone(),
                Reporter {
                    controller: NAME.into(),
                    instance: Some(identity.clone()),
                },
            ),
            settings,
            metrics,
            clock: now,
            concerned,
            asking: tokio::sync::Mutex::default(),
            client: client.clone(),
        });
        let work = Work {
            context,
            news,
            namespace,
            orphan_collection,
            orphan_interval,
        };
        // With connections of its own, so that no load of ours keeps the lease from being renewed.
        let own = Client::try_default()
            .await
            .context("no way to reach a Kubernetes cluster")?;
        let election = LeaderElection::new(own, &leader_election_namespace, NAME, &identity);
        tokio::select! {
            result = server => result.with_context(|| format!("cannot serve on {http_listen}")),
            finished = election.with_lease(work.run()) => match finished {
                Some(()) => Ok(()),
                // Another replica leads now: nothing of ours may outlive that.
                None => bail!("leadership lost"),
            },
        }
    }
}

/// What the leader does.
struct Work {
    context: Arc<Context>,
    news: mpsc::UnboundedReceiver<Owner>,
    namespace: Option<String>,
    orphan_collection: Mode,
    orphan_interval: Duration,
}

impl Work {
    async fn run(self) {
        let Self {
            context,
            news,
            namespace,
            orphan_collection,
            orphan_interval,
        } = self;
        let client = context.client.clone();
        let within = namespace.as_deref();
        let (to_spores, spores) = mpsc::unbounded::<Owner>();
        let (to_arrays, arrays) = mpsc::unbounded::<Owner>();
        let (to_sweeps, sweeps) = mpsc::unbounded::<Owner>();
        let routing = group::route(news, to_spores, to_arrays, to_sweeps);
        let loops = watch::<SporeInstance>(&client, within, PASSES_AT_ONCE, spores);
        let groups = Arc::new(Groups::new(context.clone(), loops.store()));
        let array_loops = watch::<SporeArray>(&client, within, GROUP_PASSES_AT_ONCE, arrays);
        let sweep_loops = watch::<SporeSweep>(&client, within, GROUP_PASSES_AT_ONCE, sweeps);
        let collector = Collector {
            context: context.clone(),
            parents: vec![
                Parents::of(loops.store()),
                Parents::of(array_loops.store()),
                Parents::of(sweep_loops.store()),
            ],
            client,
            namespace,
            mode: orphan_collection,
            interval: StdDuration::from(orphan_interval),
        };
        let reconciling = loops
            .run(
                reconcile::reconcile,
                reconcile::after_error,
                context.clone(),
            )
            .for_each(|pass| {
                if let Err(error) = pass {
                    told(&error);
                }
                future::ready(())
            });
        let grouping = future::join(
            run_group(array_loops, groups.clone()),
            run_group(sweep_loops, groups),
        );
        let schedules = schedule::run(
            context.clone(),
            collector.namespace.as_deref(),
            stop_signal(),
        );
        let watch = Watch {
            aws: &context.aws,
            limiter: &context.limiter,
            world: &context.world,
            settings: &context.settings,
            metrics: &context.metrics,
        };
        let regions = &context.settings.regions;
        let listing = future::join_all(regions.iter().map(|region| {
            context
                .inventory
                .run(region, &watch, context.concerned.clone(), context.clock)
        }));
        let collecting = future::join_all(regions.iter().map(|region| collector.run(region)));
        tokio::select! {
            _ = future::join3(reconciling, grouping, schedules) => tracing::info!("stopped"),
            () = routing => {}
            _ = listing => {}
            // Collection ends at once when it is off; the rest goes on.
            () = async { collecting.await; future::pending::<()>().await } => {}
        }
    }
}

/// Runs a loop over arrays or sweeps. Their members must all be known first: one that is not seen
/// would count as lost.
async fn run_group<K: Collection>(loops: Controller<DeserializeGuard<K>>, groups: Arc<Groups>) {
    if groups.members.wait_until_ready().await.is_err() {
        return;
    }
    loops
        .run(group::reconcile::<K>, group::after_error, groups)
        .for_each(|pass| {
            if let Err(error) = pass {
                told(&error);
            }
            future::ready(())
        })
        .await;
}

/// A loop over one kind of object.
fn watch<K: Readable + Serialize + Send + Sync + 'static>(
    client: &Client,
    namespace: Option<&str>,
    at_once: u16,
    concerned: mpsc::UnboundedReceiver<Owner>,
) -> Controller<DeserializeGuard<K>> {
    let api = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = reflector::store();
    // Who wrote which field is half of an object and nothing that we look at.
    let objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object: &mut DeserializeGuard<K>| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .applied_objects();
    Controller::for_stream(objects, store)
        .with_config(controller::Config::default().concurrency(at_once))
        .reconcile_on(concerned.map(|owner| ObjectRef::new(&owner.name).within(&owner.namespace)))
        .graceful_shutdown_on(stop_signal())
}

/// Failed passes tell of themselves; what remains is the watch, which goes on by itself.
fn told(error: &controller::Error<reconcile::Error, watcher::Error>) {
    match error {
        controller::Error::ReconcilerFailed(..) => {}
        // An object that was deleted while it waited for its turn.
        controller::Error::ObjectNotFound(_) => {}
        controller::Error::QueueError(_) | controller::Error::RunnerError(_) => {
            tracing::warn!(%error, "watching spores");
        }
    }
}

/// The immutable name of this cluster: two clusters never share it.
async fn cluster_uid(client: &Client) -> anyhow::Result<String> {
    let api = Api::<Namespace>::all(client.clone());
    let namespace = api.get("kube-system").await.context(
        "cannot read the namespace kube-system, whose UID tells this cluster's instances from others'",
    )?;
    namespace
        .uid()
        .context("the namespace kube-system has no UID")
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the controller")]
fn now() -> Timestamp {
    Timestamp::now()
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: finishing what is under way");
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot listen for signals; stopping takes a kill");
            future::pending::<()>().await;
        }
    }
}

fn start_log(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .with_context(|| format!("--log-level {level:?}"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
