//! How long an array of 1,000 members takes until EC2 has all of them, and how many calls that costs,
//! with EC2's default limits.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::future;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;
use spore_core::tags::{Identity, Kind};
use spore_crds::SporeArray;
use spore_world::poll;
use tokio::time::{Instant, sleep};

use crate::{
    clock::progress,
    ec2,
    figure::{Figure, Wanted},
    kubernetes,
    process::cpu_seconds,
    stage::{NAMESPACE, Stage},
};

/// What this group measures.
pub(crate) const FIGURES: &[&str] = &[
    "array_1000_launch_s",
    "array_1000_objects_s",
    "array_1000_mutating_calls",
    "array_1000_createtags",
];

const MEMBERS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(300);
const SAMPLED: Duration = Duration::from_millis(50);
/// EC2's bucket of launched instances is full again by then, and its bucket of calls too (Amazon EC2
/// Developer Guide, "Request throttling").
const REFILL: Duration = Duration::from_secs(5);

/// Measures them.
pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    // Booting machines would use the processors that the controller is measured on.
    let mut stage = Stage::start("array", false, &[]).await?;
    stage.controller.start().await?;
    // The first launch asks for type, image and profile; those after it know them.
    progress("array: an array of one, to warm up");
    let warm = create(&stage, "warm-up", 1).await?;
    known(&stage, &warm, 1).await?;
    sleep(REFILL).await;

    progress(&format!("array: {MEMBERS} members"));
    stage.sim.reset_calls().await?;
    let pid = stage.controller.pid().context("the controller died")?;
    let writes = kubernetes::writes(&stage.client).await?;
    let used = cpu_seconds(pid)?;
    let begun = Instant::now();
    let array = create(&stage, "array", MEMBERS).await?;
    let launched = async {
        live(&stage, u64::from(MEMBERS) + 1).await?;
        anyhow::Ok(begun.elapsed())
    };
    let objects = async {
        known(&stage, &array, MEMBERS).await?;
        anyhow::Ok(begun.elapsed())
    };
    let (launched, objects) = future::try_join(launched, objects).await?;
    let calls = stage.sim.calls().await?.counts;
    progress(&format!(
        "array: calls to EC2: {calls:?}; writes to Kubernetes: {}; processor time: {:.1} s",
        kubernetes::writes(&stage.client).await? - writes,
        cpu_seconds(pid)? - used
    ));
    one_each(&stage, &array).await?;

    let mutating = calls.iter().filter(|(api, _)| ec2::is_mutating(api));
    let mutating = mutating.map(|(_, count)| count).sum::<u64>();
    let tags = calls.get("CreateTags").copied().unwrap_or_default();
    let seconds = |name, took: Duration| Figure::new(name, took.as_secs_f64(), "s", 1);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = |name, calls: u64| Figure::new(name, calls as f64, "calls", 1);
    wanted.tell(&seconds("array_1000_launch_s", launched))?;
    wanted.tell(&seconds("array_1000_objects_s", objects))?;
    wanted.tell(&count("array_1000_mutating_calls", mutating))?;
    wanted.tell(&count("array_1000_createtags", tags))?;
    Ok(())
}

fn arrays(stage: &Stage) -> Api<SporeArray> {
    Api::namespaced(stage.client.clone(), NAMESPACE)
}

async fn create(stage: &Stage, name: &str, members: u32) -> Result<SporeArray> {
    let array = serde_json::from_value(json!({
        "apiVersion": "spore.host/v1alpha1",
        "kind": "SporeArray",
        "metadata": {"name": name},
        "spec": {
            "replicas": members,
            "template": {"instanceType": "t3.micro", "ttl": "1h", "command": ["true"]},
        },
    }))?;
    let created = arrays(stage).create(&PostParams::default(), &array).await;
    created.with_context(|| format!("cannot create {name}"))
}

/// Waits until EC2 has so many instances.
async fn live(stage: &Stage, count: u64) -> Result<()> {
    loop {
        let live = stage.sim.audit().await?.live_instances;
        ensure!(live <= count, "{live} instances live instead of {count}");
        if live == count {
            return Ok(());
        }
        sleep(SAMPLED).await;
    }
}

/// Waits until every member exists as an object and knows its instance: the array then has no open
/// launch left.
async fn known(stage: &Stage, array: &SporeArray, members: u32) -> Result<()> {
    let (api, name) = (arrays(stage), array.name_any());
    let known = poll(PATIENCE, async || {
        let array = api.get_status(&name).await.ok()?;
        let status = array.status?;
        (status.launched == members && status.batches.is_empty()).then_some(())
    });
    known.await.with_context(|| {
        format!(
            "{name} has not got all its members after {PATIENCE:?}; see {}",
            stage.controller.log_file().display()
        )
    })
}

/// Fails unless every index has exactly one live instance and one object that names it.
async fn one_each(stage: &Stage, array: &SporeArray) -> Result<()> {
    let uid = array.uid().context("the array has no UID")?;
    let mut instances = BTreeSet::new();
    for instance in stage.sim.instances().await? {
        let Some(identity) = Identity::from_tags(&instance.tags).filter(|i| i.uid == uid) else {
            continue;
        };
        ensure!(identity.kind == Kind::SporeArray, "{instance:?}");
        let members = identity.members.as_ref();
        let index = members.and_then(|members| members.nth(instance.launch_index));
        let index = index.with_context(|| format!("{} has no index", instance.id))?;
        ensure!(instance.is_live(), "{} is {}", instance.id, instance.state);
        let pair = (index, instance.id);
        ensure!(instances.insert(pair), "the same instance twice");
    }
    let indexes: BTreeSet<u32> = instances.iter().map(|(index, _)| *index).collect();
    ensure!(
        instances.len() == MEMBERS as usize && indexes.len() == MEMBERS as usize,
        "{} instances for {} indexes",
        instances.len(),
        indexes.len()
    );
    let spores = stage.spores().list(&ListParams::default()).await?;
    let objects: BTreeSet<(u32, String)> = spores
        .iter()
        .filter(|spore| spore.owner_references().iter().any(|o| o.uid == uid))
        .filter_map(|spore| {
            let index = spore.spec.member.as_ref()?.index;
            let instance = spore.status.as_ref()?.instance.as_ref()?;
            Some((index, instance.id.clone()))
        })
        .collect();
    ensure!(
        objects == instances,
        "the objects name other instances than EC2 has"
    );
    Ok(())
}
