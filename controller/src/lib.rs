//! The Spore controller.
//!
//! ```text
//!   Kubernetes API                                            EC2
//!        │ watch                                               │ one paged list a region
//!        ▼                                                     ▼
//!   SporeInstance ─────────┐                    inventory ─► World ◄── replies of our own calls
//!                          ▼                                   │
//!                 plan(&spore, &view, now) ◄───────────────────┘       pure: no clock, no I/O
//!                          │
//!             Plan { status, actions, wake }
//!                          │
//!        store the status ─┴─► then carry out the actions ─► EC2
//! ```
//!
//! | where | what |
//! |---|---|
//! | [`plan`] | every decision |
//! | [`reconcile`], [`group`] | the loops over spores, and over arrays and sweeps: plan, store, act |
//! | [`schedule`] | the loop over schedules |
//! | [`world`], [`inventory`], [`facts`], [`price`] | what is known |
//! | [`aws`] | the border to AWS, the only place that names its SDK |
//! | [`limiter`] | EC2's call budget |
//! | [`collector`] | orphans |
//! | [`args`], [`serve`], [`metrics`] | running it |

pub mod act;
pub mod args;
pub mod aws;
pub mod cloud;
pub mod collector;
pub mod facts;
pub mod group;
pub mod inventory;
pub mod limiter;
pub mod metrics;
pub mod plan;
pub mod price;
pub mod reconcile;
pub mod schedule;
pub mod serve;
pub mod settings;
pub mod unreadable;
pub mod user_data;
pub mod world;
