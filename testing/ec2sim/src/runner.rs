//! Boots the machine of every instance that runs, and kills it when the instance no longer does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api::instance_xml::private_dns;
use crate::lock::Lock as _;
use crate::machine::{BootSpec, Ended, Machine};
use crate::server::{self, Face};
use crate::sim::Sim;
use crate::world::Effect;
use crate::world::lifecycle::Cause;

/// The machines that are up.
#[derive(Debug, Default)]
pub(crate) struct Machines(Mutex<HashMap<String, Arc<Machine>>>);

impl Machines {
    /// The machine of an instance.
    pub(crate) fn get(&self, instance_id: &str) -> Option<Arc<Machine>> {
        self.0.hold().get(instance_id).cloned()
    }

    fn insert(&self, instance_id: &str, machine: &Arc<Machine>) {
        self.0
            .hold()
            .insert(instance_id.to_owned(), machine.clone());
    }

    fn remove(&self, instance_id: &str) {
        self.0.hold().remove(instance_id);
    }
}

/// One boot of one instance.
struct Boot {
    task: JoinHandle<()>,
    kill: Option<oneshot::Sender<()>>,
}

impl Drop for Boot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows the world's effects until dropped; all machines die with it.
pub(crate) async fn run(sim: Arc<Sim>, mut effects: mpsc::UnboundedReceiver<Effect>) {
    let mut boots: HashMap<String, Boot> = HashMap::new();
    while let Some(effect) = effects.recv().await {
        match effect {
            Effect::Boot(id) if sim.serves_instances() => {
                let (kill, killed) = oneshot::channel();
                let before = boots.remove(&id);
                let task = tokio::spawn(boot(sim.clone(), id.clone(), before, killed));
                boots.insert(
                    id,
                    Boot {
                        task,
                        kill: Some(kill),
                    },
                );
            }
            Effect::Boot(_) => {}
            Effect::Kill(id) => {
                if let Some(kill) = boots.get_mut(&id).and_then(|boot| boot.kill.take()) {
                    // An error means that the machine has ended by itself.
                    let _ = kill.send(());
                }
            }
        }
        boots.retain(|_, boot| !boot.task.is_finished());
    }
}

/// One life of an instance between two ends: its metadata service, and its machine if wanted.
async fn boot(sim: Arc<Sim>, id: String, before: Option<Boot>, mut killed: oneshot::Receiver<()>) {
    if let Some(mut before) = before {
        // Both lives share a directory: the earlier one must have ended.
        let _ = (&mut before.task).await;
    }
    let Some((address, spec)) = prepare(&sim, &id) else {
        return;
    };
    let listener = match server::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return fail(&sim, &id, &error),
    };
    let metadata = server::serve(sim.clone(), listener, Face::Imds(id.clone()));
    tokio::select! {
        () = metadata => {}
        () = live(&sim, &id, spec, &mut killed) => {}
    }
    sim.machines.remove(&id);
}

fn prepare(sim: &Sim, id: &str) -> Option<(SocketAddr, Option<BootSpec>)> {
    sim.with(|world, _| {
        let (region, instance) = world.instance(id)?;
        let address = SocketAddr::from((instance.imds_address, sim.imds_port));
        let spec = sim.machine_dir(id).map(|dir| BootSpec {
            instance_id: id.to_owned(),
            region: region.name.clone(),
            dir,
            imds_endpoint: format!("http://{address}"),
            api_endpoint: sim.endpoint(),
            user_data: instance.user_data.to_vec(),
            hostname: private_dns(&region.name, instance.private_ip),
            first_boot: instance.boots <= 1,
        });
        Some((address, spec))
    })
}

async fn live(
    sim: &Arc<Sim>,
    id: &str,
    spec: Option<BootSpec>,
    killed: &mut oneshot::Receiver<()>,
) {
    let Some(spec) = spec else {
        let _ = killed.await;
        return;
    };
    let machine = tokio::select! {
        booted = Machine::boot(spec) => match booted {
            Ok(machine) => Arc::new(machine),
            Err(error) => return fail(sim, id, &error),
        },
        _ = &mut *killed => return,
    };
    sim.machines.insert(id, &machine);
    let ended = tokio::select! {
        ended = machine.ended() => ended,
        _ = killed => {
            machine.kill();
            machine.ended().await;
            return;
        }
    };
    match ended {
        Ended::PoweredOff => {
            tracing::info!(instance = id, "powered itself off");
            sim.with(|world, now| world.at_home(id, now, |local| local.guest_shutdown(id)));
        }
        Ended::Crashed(how) => fail(sim, id, &how),
        Ended::Killed => {}
    }
}

/// An instance whose machine cannot run ends as one whose host failed.
fn fail(sim: &Sim, id: &str, why: &dyn std::fmt::Display) {
    tracing::error!(instance = id, %why, "the machine failed");
    sim.with(|world, now| world.at_home(id, now, |local| local.drop_dead(id, Cause::Host)));
}
