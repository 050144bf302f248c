//! What the agent perceives. Each sensor is a task of its own, so that a slow one delays no other.

pub(crate) mod completion;
pub(crate) mod deadline;
pub(crate) mod idle;
pub(crate) mod member;
pub(crate) mod peers;
pub(crate) mod spot;
