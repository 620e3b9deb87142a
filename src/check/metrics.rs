//! A page of metrics, as far as it is looked at: samples by name and labels. Prometheus' text and OpenMetrics are read alike.

/// The samples of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// The most samples that are kept of a page.
const MOST: usize = 50_000;

impl Samples {
    /// Reads a page. Lines that are no samples are passed over.
    pub(super) fn read(page: &str) -> Self {
        Self(page.lines().filter_map(sample).take(MOST).collect())
    }

    /// Whether there is such a sample at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|sample| sample.name == name)
    }

    /// The sum over all labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.0.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
    }

    /// The sum over all labels but that one has this value.
    pub(super) fn sum_where(&self, name: &str, label: &str, value: &str) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name && sample.labels.iter().any(|(known, its)| known == label && its == value)
        };
        self.0.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// A label of the first sample of this name.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<&str> {
        let sample = self.0.iter().find(|sample| sample.name == name)?;
        sample.labels.iter().find(|(known, _)| known == label).map(|(_, value)| value.as_str())
    }
}

/// `name{label="value",…} 1.5 [time]`
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.trim().to_owned(), value));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the next quote that is not escaped, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_summed() {
        let page = "# HELP a what\n# TYPE a counter\n\
            a_total{rcode=\"SERVFAIL\",zone=\"a\\\"b}\"} 2\na_total{rcode=\"NOERROR\",zone=\".\"} 8 123\n\
            b 1.5e3\ncoredns_build_info{version=\"1.13.1+callsign-0.1.0\"} 1\nbroken{a=\"\n{} \nx y\n# EOF\n";
        let samples = Samples::read(page);
        assert_eq!(samples.0.len(), 4, "{samples:?}");
        assert_eq!(samples.sum("a_total"), 10.0);
        assert_eq!(samples.sum_where("a_total", "rcode", "SERVFAIL"), 2.0);
        assert_eq!(samples.sum_where("a_total", "zone", "a\"b}"), 2.0);
        assert_eq!(samples.sum("b"), 1500.0);
        assert_eq!(samples.label("coredns_build_info", "version"), Some("1.13.1+callsign-0.1.0"));
        assert!(samples.has("b") && !samples.has("c"));
        assert_eq!((samples.sum("c"), samples.label("b", "x")), (0.0, None));
    }
}
