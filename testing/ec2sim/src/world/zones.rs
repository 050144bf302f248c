//! The regions and their zones.

/// An availability zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    /// `us-east-1a`.
    pub(crate) name: String,
    /// `use1-az1`.
    pub(crate) id: String,
}

/// The regions that every account can use.
pub(crate) const REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// Regions that an account must opt in to, and has not.
pub(crate) const OPT_IN_REGIONS: [&str; 4] =
    ["af-south-1", "ap-east-1", "eu-south-1", "me-south-1"];

/// Whether calls to a region are answered.
pub(crate) fn is_region(name: &str) -> bool {
    REGIONS.contains(&name)
}

/// The zones of a region.
pub(crate) fn zones(region: &str) -> Vec<Zone> {
    let letters = match region {
        "us-east-1" => "abcdef",
        "us-west-2" => "abcd",
        _ => "abc",
    };
    let short = short_name(region);
    letters
        .chars()
        .zip(1..)
        .map(|(letter, n)| Zone {
            name: format!("{region}{letter}"),
            id: format!("{short}-az{n}"),
        })
        .collect()
}

/// `us-east-1` is `use1` in zone ids.
fn short_name(region: &str) -> String {
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default();
    let direction: String = match parts.next().unwrap_or_default() {
        "northeast" => "ne".to_owned(),
        "southeast" => "se".to_owned(),
        "central" => "c".to_owned(),
        other => other.chars().take(1).collect(),
    };
    format!("{area}{direction}{}", parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_their_names_and_ids() {
        let east = zones("us-east-1");
        assert_eq!(east.len(), 6);
        assert_eq!(
            east[0],
            Zone {
                name: "us-east-1a".into(),
                id: "use1-az1".into()
            }
        );
        assert_eq!(zones("us-west-2").len(), 4);
        assert_eq!(zones("ap-southeast-2")[2].id, "apse2-az3");
    }
}
