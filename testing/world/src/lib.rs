//! The local world: a real Kubernetes control plane on loopback, the EC2 stand-in, the controller
//! under the chart's own service account, and instances that boot with the real agent.
//!
//! [`Standing`] is a whole world, [`up`] keeps one running for a person; [`World`] is one for a test,
//! on a control plane that all tests share.

pub mod chart;
mod cleanup;
mod command;
pub mod controller;
pub mod controlplane;
pub mod demo;
mod eventually;
mod fault;
mod http;
pub mod kubeconfig;
pub mod layout;
mod pki;
pub mod process;
pub mod sim;
mod standing;
pub mod up;
mod world;

pub use command::Output;
pub use controller::Controller;
pub use eventually::{eventually, poll};
pub use fault::{Fault, Injection, When};
pub use pki::Pki;
pub use sim::Sim;
pub use standing::Standing;
pub use world::{World, WorldOptions};
