//! Reading the text that Prometheus scrapes.

/// The sum of a metric's samples whose labels the condition admits; none if there is no such sample.
pub(crate) fn sum(text: &str, metric: &str, admits: impl Fn(&Labels<'_>) -> bool) -> Option<f64> {
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(metric)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let value: f64 = value.split(' ').next()?.parse().ok()?;
            admits(&Labels(labels)).then_some(value)
        })
        .reduce(|sum, value| sum + value)
}

/// The labels of a sample, as written.
pub(crate) struct Labels<'a>(&'a str);

impl Labels<'_> {
    /// Whether a label has one of these values, none of which needs escaping.
    pub(crate) fn is(&self, name: &str, values: &[&str]) -> bool {
        values.iter().any(|value| {
            let pair = format!("{name}=\"{value}\"");
            self.0
                .match_indices(&pair)
                .any(|(at, _)| at == 0 || self.0.as_bytes().get(at - 1) == Some(&b','))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP requests_total Counter of requests
requests_total{resource=\"spores\",verb=\"PUT\"} 3
requests_total{resource=\"spores\",verb=\"GET\"} 5
requests_total{subresource=\"spores\",verb=\"PUT\"} 7
requests_total_by_node{verb=\"PUT\"} 11
up 1
";

    #[test]
    fn samples_are_chosen_by_whole_names_and_labels() {
        let puts = sum(TEXT, "requests_total", |labels| {
            labels.is("resource", &["spores"]) && labels.is("verb", &["POST", "PUT"])
        });
        assert_eq!(puts, Some(3.0));
        assert_eq!(sum(TEXT, "requests_total", |_| true), Some(15.0));
        assert_eq!(sum(TEXT, "up", |_| true), Some(1.0));
        assert_eq!(sum(TEXT, "down", |_| true), None);
    }
}
