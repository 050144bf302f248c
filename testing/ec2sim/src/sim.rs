//! The running stand-in: the world behind a lock, with a clock and a way out for effects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use crate::api::respawn;
use crate::calls::Calls;
use crate::config::Config;
use crate::held::Held;
use crate::imds::token::Tokens;
use crate::lock::Lock as _;
use crate::runner::Machines;
use crate::world::instance::Instance;
use crate::world::{Effect, World};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Sim {
    /// The settings.
    pub(crate) config: Arc<Config>,
    /// Where the stand-in listens.
    pub(crate) address: SocketAddr,
    /// What was called.
    pub(crate) calls: Mutex<Calls>,
    /// Calls that wait.
    pub(crate) held: Held,
    /// Session tokens of the metadata service.
    pub(crate) imds_tokens: Mutex<Tokens>,
    /// The machines that are up.
    pub(crate) machines: Machines,
    /// The port of every instance's own metadata address.
    pub(crate) imds_port: u16,
    world: Mutex<World>,
    effects: mpsc::UnboundedSender<Effect>,
    changed: Notify,
}

impl Sim {
    /// A stand-in that listens at `address`, its instances' metadata services at `imds_port`; what
    /// must happen outside comes out of the channel.
    pub(crate) fn new(
        config: Config,
        address: SocketAddr,
        imds_port: u16,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Effect>) {
        let config = Arc::new(config);
        let (effects, outlet) = mpsc::unbounded_channel();
        let sim = Self {
            world: Mutex::new(World::new(config.clone())),
            config,
            address,
            calls: Mutex::default(),
            held: Held::default(),
            imds_tokens: Mutex::default(),
            machines: Machines::default(),
            imds_port,
            effects,
            changed: Notify::new(),
        };
        (Arc::new(sim), outlet)
    }

    /// Does something with the world as it is now.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let now = Timestamp::now();
        let mut world = self.world.hold();
        let next = world.core.timeline.next();
        world.advance(now);
        let result = act(&mut world, now);
        while let Some((place, request)) = world.core.respawns.pop() {
            respawn(&mut world, &place, &request, now);
        }
        for effect in world.core.effects.drain(..) {
            // Nobody listens when no machines are wanted.
            let _ = self.effects.send(effect);
        }
        if world.core.timeline.next() != next {
            self.changed.notify_one();
        }
        result
    }

    /// Keeps the world up to date while nobody calls. Runs until dropped.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = self.with(|world, now| {
                world
                    .core
                    .timeline
                    .next()
                    .map(|at| at.duration_since(now).max(jiff::SignedDuration::ZERO))
            });
            let wait = next.map_or(
                Duration::from_secs(3600),
                jiff::SignedDuration::unsigned_abs,
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Whether running instances have a metadata address of their own.
    pub(crate) fn serves_instances(&self) -> bool {
        self.config.machines.is_some() || self.config.imds_port != 0
    }

    /// Where an instance reaches its metadata service.
    pub(crate) fn imds_endpoint(&self, instance: &Instance) -> String {
        if self.serves_instances() {
            format!("http://{}:{}", instance.imds_address, self.imds_port)
        } else {
            format!("{}/_imds/{}", self.endpoint(), instance.id)
        }
    }

    /// The directory of an instance's machine.
    pub(crate) fn machine_dir(&self, instance_id: &str) -> Option<PathBuf> {
        self.config
            .machines
            .as_ref()
            .map(|machines| machines.join(instance_id))
    }

    /// The stand-in's own URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}
