//! The domain that the controller and the agent share.
//!
//! Nothing here knows Kubernetes, AWS, a clock or a file: values in, values out. That is what lets
//! both sides enforce one lifecycle with one function and speak one wire format.
//!
//! | module | fact it owns |
//! |---|---|
//! | [`duration`] | how people write a span of time (`30m`, `1d12h`) |
//! | [`lifecycle`] | what ends a spore, in which order, with which action |
//! | [`tags`] | the `spawn:*` tags: the wire format between controller and agent |
//! | [`money`] | amounts of dollars, and what a rate comes to over time |
//! | [`indexes`] | how sets of member indexes are written (`0-3,7`) |
//! | [`peers`] | how the members of an array learn each other's addresses, through tags |
//! | [`calendar`] | when a schedule is due: cron or a moment, in a time zone |
//! | [`agent_config`] | the document that the agent finds on its instance |
//! | [`token`] | EC2 client tokens, one per launch attempt |

pub mod agent_config;
pub mod calendar;
pub mod duration;
pub mod indexes;
pub mod lifecycle;
pub mod money;
pub mod peers;
pub mod tags;
pub mod token;
