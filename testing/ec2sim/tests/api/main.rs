//! The stand-in over HTTP, as clients see it.

mod client;
mod control;
mod credentials;
mod faults;
mod launches;
mod lists;
mod machines;
mod metadata;
mod networks;
mod protocols;
mod states;
mod tags;
