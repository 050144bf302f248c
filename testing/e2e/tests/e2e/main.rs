//! End-to-end tests: a real control plane, the EC2 stand-in over HTTP, the real controller under the
//! chart's rights, and machines that boot the real agent through the real user data.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where what it needs is not there"
)]

mod arrays;
mod batches;
mod cluster;
mod docs;
mod ends;
mod faults;
mod groups;
mod input;
mod launch;
mod locks;
mod money;
mod plugin;
mod request;
mod rows;
mod schedule;
mod sweeps;
mod unreadable;
