//! The main job, as a person would watch it: `make demo`.
//!
//! Three acts on a world of their own: a spore that completes, one that its deadline ends, and one
//! whose controller dies right after the launch call. Anything but the expected end is an error.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use spore_crds::{
    SporeInstance, SporeInstanceStatus, State,
    conditions::{self, READY},
};
use tokio::process::Command;

use crate::{
    eventually::poll,
    fault::{Fault, When},
    layout,
    process::Life,
    standing::Standing,
};

/// How long any single step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const EXAMPLE: &str = "examples/spore.yaml";

/// Runs the demo.
pub async fn demo() -> Result<()> {
    let dir = layout::local("demo");
    Standing::stop(&dir)?;
    let world = Standing::start(&dir, Life::WithUs).await?;
    let client = world.plane.client().await?;
    let mut stage = Stage {
        spores: Api::namespaced(client, "default"),
        world,
    };
    let acts = stage.acts().await;
    drop(stage);
    Standing::stop(&dir)?;
    acts?;
    println!("\ndemo: ok");
    Ok(())
}

struct Stage {
    world: Standing,
    spores: Api<SporeInstance>,
}

impl Stage {
    async fn acts(&mut self) -> Result<()> {
        self.completes().await?;
        self.expires().await?;
        self.survives_a_crash().await
    }

    async fn completes(&self) -> Result<()> {
        act("1. A spore does its work and is gone");
        self.kubectl(&["apply", "-f", EXAMPLE]).await?;
        let seen = self.follow(
            "hello",
            &["accepted", "launched", "running", "agent", "workload"],
        );
        let status = seen.await?;
        let id = status
            .instance
            .map(|instance| instance.id)
            .unwrap_or_default();
        self.kubectl(&["get", "sporeinstances"]).await?;
        let status = self
            .follow("hello", &["result", "completed", "terminated"])
            .await?;
        ensure!(
            status.state == Some(State::Succeeded),
            "ended as {:?}",
            status.state
        );
        self.show_output(&id).await?;
        self.kubectl(&["wait", "--for=condition=Succeeded", "sporeinstance/hello"])
            .await?;
        self.kubectl(&["get", "sporeinstances"]).await?;
        self.delete("hello").await
    }

    async fn expires(&self) -> Result<()> {
        act("2. A spore does nothing and its deadline ends it");
        let spec = json!({
            "instanceType": "t3.micro",
            "ttl": "15s",
            "command": ["sleep", "infinity"],
        });
        println!("  ttl: 15s, command: sleep infinity");
        self.create("forgotten", spec).await?;
        let milestones = [
            "accepted",
            "launched",
            "running",
            "agent",
            "workload",
            "terminated",
        ];
        let status = self.follow("forgotten", &milestones).await?;
        let ended = status.ended.context("it ended without a reason")?;
        ensure!(ended.reason == "TTLExpired", "ended by {}", ended.reason);
        self.kubectl(&["get", "sporeinstances", "-o", "wide"])
            .await?;
        self.delete("forgotten").await
    }

    async fn survives_a_crash(&mut self) -> Result<()> {
        act("3. The controller dies right after its launch call");
        let sim = &self.world.sim;
        sim.add_fault(Fault::on("RunInstances").times(1).hold(When::After))
            .await?;
        let spec =
            json!({ "instanceType": "t3.micro", "ttl": "1h", "command": ["sleep", "infinity"] });
        self.create("survivor", spec).await?;
        let held = poll(PATIENCE, async || {
            (!sim.held().await.ok()?.is_empty()).then_some(())
        });
        held.await.context("RunInstances was never called")?;
        println!("  EC2 has launched an instance; its answer is still on the way");
        self.world.controller.kill();
        println!("  controller killed (SIGKILL)");
        let sim = &self.world.sim;
        sim.clear_faults().await?;
        sim.release().await?;
        self.world.controller.start().await?;
        println!("  controller started again");
        self.follow("survivor", &["launched", "running", "agent"])
            .await?;
        let audit = self.world.sim.audit().await?;
        ensure!(
            audit.live_instances == 1,
            "{} live instances",
            audit.live_instances
        );
        println!("  live instances: exactly {}", audit.live_instances);
        self.delete("survivor").await
    }

    async fn create(&self, name: &str, spec: serde_json::Value) -> Result<()> {
        let spore = serde_json::from_value(json!({
            "apiVersion": "spore.host/v1alpha1",
            "kind": "SporeInstance",
            "metadata": { "name": name },
            "spec": spec,
        }))?;
        self.spores.create(&PostParams::default(), &spore).await?;
        Ok(())
    }

    /// Prints each milestone when it is reached, in order; returns the status at the last one.
    async fn follow(&self, name: &str, milestones: &[&str]) -> Result<SporeInstanceStatus> {
        let begun = Instant::now();
        let mut last = None;
        for milestone in milestones {
            let reached = poll(PATIENCE, async || {
                let status = self.spores.get(name).await.ok()?.status?;
                reached(milestone, &status).map(|line| (line, status))
            });
            let Some((line, status)) = reached.await else {
                let now = self.spores.get(name).await?.status;
                bail!("{name} never got as far as {milestone:?}: {now:#?}");
            };
            println!("  {:>5.1}s  {line}", begun.elapsed().as_secs_f64());
            last = Some(status);
        }
        last.context("no milestone to follow")
    }

    /// What the workload printed, from the disk of its machine.
    async fn show_output(&self, instance_id: &str) -> Result<()> {
        let machines = self.world.sim.instances().await?;
        let machine = machines.iter().find(|machine| machine.id == instance_id);
        let dir = machine
            .and_then(|m| m.machine_dir.clone())
            .context("no machine booted")?;
        let output = fs::read_to_string(dir.join("root/var/log/spawn-command.log"))?;
        ensure!(output.contains("hello"), "the workload printed {output:?}");
        println!("  the workload printed: {}", output.trim());
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        println!("$ kubectl delete sporeinstance {name}");
        self.spores.delete(name, &DeleteParams::default()).await?;
        let gone = poll(PATIENCE, async || {
            matches!(self.spores.get_opt(name).await, Ok(None)).then_some(())
        });
        gone.await
            .with_context(|| format!("{name} was not deleted in {PATIENCE:?}"))?;
        let audit = self.world.sim.audit().await?;
        let (instances, volumes) = (audit.live_instances, audit.volumes);
        let interfaces = audit.network_interfaces;
        println!(
            "  left in EC2: {instances} instances, {volumes} volumes, {interfaces} interfaces"
        );
        ensure!(
            (instances, volumes, interfaces) == (0, 0, 0),
            "something is left over"
        );
        for (uid, most) in audit
            .max_live_per_tag
            .get("spawn:uid")
            .into_iter()
            .flatten()
        {
            ensure!(*most == 1, "{most} instances of spore {uid} lived at once");
        }
        Ok(())
    }

    async fn kubectl(&self, args: &[&str]) -> Result<()> {
        println!("$ kubectl {}", args.join(" "));
        let mut command: Command = self.world.kubectl()?;
        let status = command
            .args(args)
            .current_dir(layout::root())
            .status()
            .await?;
        ensure!(status.success(), "kubectl {}: {status}", args.join(" "));
        Ok(())
    }
}

/// Whether a milestone is reached, and what is said of it.
fn reached(milestone: &str, status: &SporeInstanceStatus) -> Option<String> {
    let instance = status.instance.as_ref();
    let workload = status.workload.as_ref();
    let phase = workload.and_then(|workload| workload.phase.as_deref());
    match milestone {
        "accepted" => {
            status.observed_generation?;
            Some("accepted by the controller".into())
        }
        "launched" => Some(format!("launched: {}", instance?.id)),
        "running" => {
            let instance = instance?;
            (instance.state.as_deref()? == "running").then(|| {
                format!(
                    "running in {}",
                    instance.zone.as_deref().unwrap_or("a zone unknown")
                )
            })
        }
        "agent" => {
            let version = status.agent.as_ref()?.version.as_deref()?;
            conditions::is_true(&status.conditions, READY)
                .then(|| format!("ready: agent {version} reports"))
        }
        "workload" => workload?
            .started_at
            .map(|at| format!("workload started at {at}")),
        "result" => {
            let done = matches!(phase?, "Succeeded" | "Failed");
            let code = workload?.exit_code?;
            done.then(|| format!("workload {}, exit code {code}", phase.unwrap_or_default()))
        }
        "completed" => {
            let ended = status.ended.as_ref()?;
            Some(format!("ending ({}): {}", ended.reason, ended.message))
        }
        "terminated" => {
            let ended = status.ended.as_ref()?;
            (instance?.state.as_deref()? == "terminated")
                .then(|| format!("terminated ({})", ended.reason))
        }
        _ => None,
    }
}

fn act(title: &str) {
    println!("\n== {title}");
}
