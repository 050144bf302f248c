//! Figures: which are wanted, and how they are told.

use std::borrow::Cow;

use anyhow::Result;
use serde::Serialize;

/// Which figures to measure.
pub(crate) struct Wanted {
    prefix: String,
}

impl Wanted {
    /// Those whose names begin so.
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// Whether any of these is wanted.
    pub(crate) fn any<N: AsRef<str>>(&self, names: &[N]) -> bool {
        names
            .iter()
            .any(|name| name.as_ref().starts_with(&self.prefix))
    }

    /// Prints a figure, if it is wanted.
    pub(crate) fn tell(&self, figure: &Figure) -> Result<()> {
        if figure.name.starts_with(&self.prefix) {
            println!("{}", serde_json::to_string(figure)?);
        }
        Ok(())
    }
}

/// One measured figure, its fields in the order in which they are printed.
#[derive(Serialize)]
pub(crate) struct Figure {
    name: Cow<'static, str>,
    value: f64,
    unit: &'static str,
    n: usize,
    #[serde(flatten)]
    peer: Option<Peer>,
}

#[derive(Serialize)]
struct Peer {
    peer: &'static str,
    peer_value: f64,
    /// How many times as much the peer needs.
    ratio: f64,
}

impl Figure {
    /// A figure got from `n` measurements.
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
        n: usize,
    ) -> Self {
        Self {
            name: name.into(),
            value: rounded(value),
            unit,
            n,
            peer: None,
        }
    }

    /// What somebody else's program needed for the same in the same run.
    pub(crate) fn beside(mut self, peer: &'static str, value: f64) -> Self {
        self.peer = Some(Peer {
            peer,
            peer_value: rounded(value),
            ratio: rounded(value / self.value),
        });
        self
    }
}

/// Three digits after the point say more than any of these measurements knows.
fn rounded(value: f64) -> f64 {
    // A sum of nothing is -0.
    (value * 1000.0).round() / 1000.0 + 0.0
}

/// The value below or at which this share of all values lies (nearest rank).
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Half of all values are not above it.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<f64> = (1..=100_u32).rev().map(f64::from).collect();
        assert!((percentile(&hundred, 50) - 50.0).abs() < f64::EPSILON);
        assert!((percentile(&hundred, 99) - 99.0).abs() < f64::EPSILON);
        assert!((percentile(&hundred[..60], 99) - 100.0).abs() < f64::EPSILON);
        assert!((median(&[3.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_says_how_much_more_the_peer_needs() {
        let text = |figure: &Figure| serde_json::to_string(figure).unwrap();
        let alone = Figure::new("a", 1.23456, "ms", 5);
        assert_eq!(
            text(&alone),
            r#"{"name":"a","value":1.235,"unit":"ms","n":5}"#
        );
        assert_eq!(
            text(&alone.beside("kubectl", 2.47)),
            r#"{"name":"a","value":1.235,"unit":"ms","n":5,"peer":"kubectl","peer_value":2.47,"ratio":2.0}"#
        );
    }

    #[test]
    fn a_prefix_selects() {
        let wanted = Wanted::new("calm_");
        assert!(wanted.any(&["launch_ms", "calm_rss_mb"]));
        assert!(!wanted.any(&["launch_ms"]));
        assert!(Wanted::new("").any(&["launch_ms"]));
    }
}
