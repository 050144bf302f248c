//! A stand-in for EC2 and the few calls around it, over HTTP, for tests and the local world.
//!
//! The real SDK and the real `aws` command talk to it. It is faithful where money is lost: launch
//! tokens, states over time, tags on creation, rate limits, what is left behind. Tests inject
//! faults and read back what happened through a control interface under `/_sim/`.
//!
//! A request comes in at `server`, is read by `call`, meets its faults in `aws`, is executed
//! by a handler in `api` on the state in `world`.

mod api;
mod artifacts;
mod aws;
mod call;
mod calls;
mod catalogue;
pub mod config;
mod control;
mod error;
mod faults;
mod filters;
mod held;
mod imds;
mod limits;
mod lock;
pub mod machine;
mod paging;
mod params;
mod reply;
mod runner;
mod server;
mod sim;
mod world;
mod xml;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use config::Config;
use server::Face;
pub use server::ListenError;
use sim::Sim;

/// A stand-in that is ready to run.
#[derive(Debug)]
pub struct Standin {
    /// What all requests share.
    sim: Arc<Sim>,
    listener: TcpListener,
    /// Keeps the metadata port for this stand-in alone.
    imds_port_holder: Option<TcpListener>,
    effects: tokio::sync::mpsc::UnboundedReceiver<world::Effect>,
}

impl Standin {
    /// Binds a stand-in to a loopback address; port 0 picks a free one.
    pub async fn bind(config: Config, listen: SocketAddr) -> Result<Self, ListenError> {
        let listener = server::bind(listen).await?;
        let address = local(&listener, listen)?;
        let (imds_port_holder, imds_port) = if config.imds_port == 0 {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let holder = server::bind(any).await?;
            let port = local(&holder, any)?.port();
            (Some(holder), port)
        } else {
            (None, config.imds_port)
        };
        let (sim, effects) = Sim::new(config, address, imds_port);
        Ok(Self {
            sim,
            listener,
            imds_port_holder,
            effects,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.sim.address
    }

    /// Serves until `stop` is ready; then everything ends, machines included.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            sim,
            listener,
            imds_port_holder,
            effects,
        } = self;
        tokio::select! {
            () = server::serve(sim.clone(), listener, Face::Main) => {}
            () = sim.clone().keep_time() => {}
            () = runner::run(sim.clone(), effects) => {}
            () = stop => {}
        }
        drop(imds_port_holder);
    }
}

fn local(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, ListenError> {
    listener.local_addr().map_err(|source| ListenError::Bind {
        address: asked,
        source,
    })
}
