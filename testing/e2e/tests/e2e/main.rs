//! End-to-end tests: a real control plane, the EC2 stand-in over HTTP, the real controller under the
//! chart's rights, and machines that boot the real agent through the real user data.

mod cluster;
mod ends;
mod faults;
mod input;
mod launch;
mod locks;
mod plugin;
mod request;
