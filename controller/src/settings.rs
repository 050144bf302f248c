//! What the operator of the controller decided, as the planner sees it.

use std::{collections::BTreeMap, time::Duration as StdDuration};

use spore_core::duration::Duration;

/// Everything that holds for all spores of this controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// UID of the `kube-system` namespace: who we are to AWS.
    pub cluster_uid: String,
    /// Regions in which spores may live and which are searched for orphans; the first is the default.
    pub regions: Vec<String>,
    /// Where instances fetch their agent.
    pub agent: AgentSource,
    /// Name of an existing instance profile for the agent; `None`: one is made and kept.
    pub instance_profile: Option<String>,
    /// Instance profiles that spores may name. Empty: none.
    pub allowed_instance_profiles: Vec<String>,
    /// Time to live of spores that name neither `ttl` nor `idle`.
    pub default_ttl: Duration,
    /// Time to live of spores that name only `idle`: the agent should end them long before.
    pub default_ttl_idle: Duration,
    /// How long after an end is due the controller enforces it from outside.
    pub deadline_grace: Duration,
    /// How long after the deadline the instance's own timer powers it off.
    pub power_off_grace: Duration,
    /// How long an instance may be missing from EC2's lists before it counts as gone. EC2 advises
    /// to expect up to five minutes of lag (EC2 Developer Guide, "Eventual consistency").
    pub absence: StdDuration,
}

/// Complete lists without an instance that, together with [`Settings::absence`], prove that it is gone.
pub const ABSENT_LISTS: u32 = 3;

/// Where instances fetch their agent, and what it must be.
#[derive(Clone, Debug)]
pub struct AgentSource {
    /// URL with `{region}` and `{arch}` to be filled in.
    pub url: String,
    /// SHA-256 of the agent by architecture (`x86_64`, `arm64`), in hexadecimal.
    pub sha256: BTreeMap<String, String>,
}

impl AgentSource {
    /// The URL for a region and an architecture.
    #[must_use]
    pub fn url(&self, region: &str, arch: &str) -> String {
        self.url.replace("{region}", region).replace("{arch}", arch)
    }
}
