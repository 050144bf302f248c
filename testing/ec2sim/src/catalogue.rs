//! The instance types: figures in `data/instance-types.json`.

use std::sync::LazyLock;

use serde::Deserialize;

/// An instance type.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct InstanceType {
    /// Its name.
    pub(crate) name: String,
    /// The architectures it runs.
    #[serde(rename = "arch")]
    pub(crate) architectures: Vec<String>,
    /// Virtual processors.
    pub(crate) vcpus: i64,
    /// Threads a core.
    pub(crate) threads: i64,
    /// Memory.
    pub(crate) memory_mib: i64,
    /// US dollars an hour on demand in us-east-1.
    pub(crate) on_demand_usd: String,
    /// The processor's maker.
    pub(crate) cpu: String,
    /// Network performance in words.
    pub(crate) network: String,
    /// Whether it can hibernate.
    #[serde(default)]
    pub(crate) hibernation: bool,
    /// Whether it has processor credits.
    #[serde(default)]
    pub(crate) burstable: bool,
    /// Whether it is bare metal.
    #[serde(default)]
    pub(crate) metal: bool,
    /// Whether its hypervisor is Xen.
    #[serde(default)]
    pub(crate) xen: bool,
    /// Whether it is of a previous generation.
    #[serde(default)]
    pub(crate) old: bool,
    /// Whether it is free for new accounts.
    #[serde(default)]
    pub(crate) free_tier: bool,
    /// EFA interfaces.
    #[serde(default)]
    pub(crate) efa: i64,
    /// Local storage.
    #[serde(default)]
    pub(crate) storage_gb: i64,
    /// Its GPUs.
    #[serde(default)]
    pub(crate) gpu: Option<Gpu>,
    /// Its Neuron devices.
    #[serde(default)]
    pub(crate) neuron: Option<Neuron>,
    /// The letters of the zones that offer it; absent: all.
    #[serde(default)]
    pub(crate) zones: Option<Vec<String>>,
    /// How it can be bought.
    #[serde(default = "usual_classes")]
    pub(crate) usage: Vec<String>,
}

/// The GPUs of a type.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Gpu {
    /// Who makes them.
    pub(crate) manufacturer: String,
    /// Their name.
    pub(crate) name: String,
    /// How many.
    pub(crate) count: i64,
    /// Memory of each.
    pub(crate) memory_mib: i64,
}

/// The Neuron devices of a type.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Neuron {
    /// Their name.
    pub(crate) name: String,
    /// How many.
    pub(crate) count: i64,
    /// Cores of each.
    pub(crate) core_count: i64,
    /// Version of the cores.
    pub(crate) core_version: i64,
    /// Memory of each.
    pub(crate) memory_mib: i64,
}

fn usual_classes() -> Vec<String> {
    vec!["on-demand".to_owned(), "spot".to_owned()]
}

static TYPES: LazyLock<Vec<InstanceType>> = LazyLock::new(|| {
    let mut types: Vec<InstanceType> =
        serde_json::from_str(include_str!("data/instance-types.json"))
            .expect("the embedded catalogue is valid, as a test shows");
    types.sort_by(|a, b| a.name.cmp(&b.name));
    types
});

/// All types, by name.
pub(crate) fn all() -> &'static [InstanceType] {
    &TYPES
}

/// A type by name.
pub(crate) fn find(name: &str) -> Option<&'static InstanceType> {
    let index = TYPES.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
    TYPES.get(index)
}

impl InstanceType {
    /// Whether a zone offers it.
    pub(crate) fn offered_in(&self, zone: &str) -> bool {
        self.zones
            .as_ref()
            .is_none_or(|letters| letters.iter().any(|letter| zone.ends_with(letter.as_str())))
    }

    /// The spot price in a zone: a share of the on-demand price that differs a little by zone.
    pub(crate) fn spot_price(&self, zone: &str) -> f64 {
        let letter = zone
            .bytes()
            .last()
            .map_or(0.0, |b| f64::from(b.saturating_sub(b'a')));
        self.on_demand_usd.parse::<f64>().unwrap_or(0.0) * (0.31 + 0.013 * letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_valid_and_each_type_is_found() {
        assert!(all().len() >= 30);
        for t in all() {
            assert_eq!(find(&t.name).map(|found| &found.name), Some(&t.name));
            assert!(
                t.on_demand_usd.parse::<f64>().is_ok_and(|usd| usd > 0.0),
                "{}",
                t.name
            );
            assert_eq!(t.vcpus % t.threads, 0, "{}", t.name);
        }
        assert_eq!(find("m7i.huge").map(|t| &t.name), None);
    }

    #[test]
    fn some_types_are_not_offered_everywhere() {
        let m7i = find("m7i.large").expect("in the catalogue");
        assert!(m7i.offered_in("us-east-1a") && !m7i.offered_in("us-east-1e"));
    }
}
