//! The local world: a real Kubernetes control plane on loopback, the EC2 stand-in, the controller.

pub mod controlplane;
pub mod eventually;
pub mod kubeconfig;
pub mod layout;
pub mod pki;
pub mod process;
