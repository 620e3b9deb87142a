//! A page of OpenMetrics, read strictly: what is wrong in it is an error, as it would be one to a scraper.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// What a page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Families, by the name they are announced under.
    pub(crate) families: BTreeMap<String, Family>,
}

/// One family.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    /// `counter`, `gauge`, `histogram` or `unknown`.
    pub(crate) kind: String,
    /// Its samples.
    pub(crate) samples: Vec<Sample>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Its own name, with `_total`, `_bucket` and the like.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its value.
    pub(crate) value: f64,
}

impl Page {
    /// Reads a page.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let body = text.strip_suffix("# EOF\n").context("it does not end with # EOF")?;
        let (mut page, mut current, mut help) = (Self::default(), None::<String>, None::<String>);
        let mut seen = BTreeSet::new();
        for line in body.lines() {
            let wrong = || line.to_owned();
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').with_context(wrong)?;
                ensure!(words.len() > 1, "no words: {line}");
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').with_context(wrong)?;
                ensure!(help.as_deref() == Some(name), "no help: {line}");
                let family = Family { kind: kind.to_owned(), samples: Vec::new() };
                ensure!(page.families.insert(name.to_owned(), family).is_none(), "announced twice: {name}");
                current = Some(name.to_owned());
            } else if line.starts_with("# UNIT ") {
                bail!("units are not announced here: {line}");
            } else {
                let sample = Sample::read(line).with_context(wrong)?;
                let name = current.as_deref().with_context(wrong)?;
                let family = page.families.get_mut(name).with_context(wrong)?;
                family.take(name, sample, &mut seen).with_context(wrong)?;
            }
        }
        for (name, family) in &page.families {
            family.check().with_context(|| name.clone())?;
        }
        Ok(page)
    }
}

impl Family {
    fn take(&mut self, name: &str, sample: Sample, seen: &mut BTreeSet<String>) -> Result<()> {
        let suffix = sample.name.strip_prefix(name).context("a sample of another family")?;
        let fits = match self.kind.as_str() {
            "counter" => suffix == "_total",
            "gauge" | "unknown" => suffix.is_empty(),
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            other => bail!("type {other}"),
        };
        ensure!(fits, "{suffix:?} of a {}", self.kind);
        ensure!(sample.labels.contains_key("le") == (suffix == "_bucket"), "le");
        ensure!(self.kind != "counter" || sample.value >= 0.0, "negative");
        ensure!(seen.insert(format!("{} {:?}", sample.name, sample.labels)), "twice");
        self.samples.push(sample);
        Ok(())
    }

    /// Buckets grow to infinity, where they are the count.
    fn check(&self) -> Result<()> {
        if self.kind != "histogram" {
            return Ok(());
        }
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let bound = sample.labels.get("le").context("no le")?.parse()?;
            series.entry(sample.others()).or_default().push((bound, sample.value));
        }
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_count")) {
            let buckets = series.get(&sample.others()).context("no buckets")?;
            ensure!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
            ensure!(buckets.last() == Some(&(f64::INFINITY, sample.value)), "{buckets:?} {}", sample.value);
        }
        Ok(())
    }
}

impl Sample {
    /// `name{label="value",…} 1.5`; a value may hold any character, with `\`, `"` and line ends escaped.
    fn read(line: &str) -> Result<Self> {
        let end = line.find(['{', ' ']).context("no value")?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").context("no value of a label")?;
                let (value, after) = quoted(after)?;
                ensure!(labels.insert(label.to_owned(), value).is_none(), "the label {label} twice");
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = rest.strip_prefix('}').context("no end of labels")?;
        }
        let value = rest.strip_prefix(' ').context("no value")?.parse()?;
        ensure!(is_name(name) && labels.keys().all(|label| is_name(label)), "not a name");
        Ok(Self { name: name.to_owned(), labels, value })
    }

    /// Its labels but for the bound of a bucket.
    fn others(&self) -> BTreeMap<String, String> {
        let mut others = self.labels.clone();
        others.remove("le");
        others
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value up to its quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(match chars.next().context("nothing is escaped")?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            c => value.push(c),
        }
    }
    bail!("no end of a value")
}

#[test]
fn what_is_no_page_is_told() {
    let good = "# HELP a Things.\n# TYPE a counter\na_total{x=\"1 \\\"}\\\\\"} 2\n# EOF\n";
    let page = Page::read(good).unwrap();
    let sample = page.families.get("a").unwrap().samples.first().unwrap();
    assert_eq!(sample.labels.get("x").map(String::as_str), Some("1 \"}\\"));
    let histogram = "# HELP h Time.\n# TYPE h histogram\nh_sum 1\nh_count 2\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n# EOF\n";
    Page::read(histogram).unwrap();
    for (from, to) in [
        ("# EOF\n", ""),
        ("# HELP a Things.\n", ""),
        ("a_total", "b_total"),
        ("a_total", "a"),
        (" 2\n", " 2\na_total{x=\"1 \\\"}\\\\\"} 2\n"),
        (" 2\n", " two\n"),
        ("counter", "quantity"),
    ] {
        assert!(Page::read(&good.replace(from, to)).is_err(), "{from} {to}");
    }
    for (from, to) in [("h_count 2", "h_count 3"), ("} 1\n", "} 3\n"), ("le=", "ge=")] {
        assert!(Page::read(&histogram.replace(from, to)).is_err(), "{from} {to}");
    }
}
