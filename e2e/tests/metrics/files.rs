//! What is made for operators: dashboard, rules and their tests, runbooks, and the page of metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::Value;

/// An expression, and where it stands.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where: `dashboard: Latency`.
    pub(crate) place: String,
    /// The expression.
    pub(crate) expr: String,
    /// Labels that its legend or its words have.
    pub(crate) labels: BTreeSet<String>,
}

/// An alert.
#[derive(Debug)]
pub(crate) struct Alert {
    /// Its name.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) asked: Asked,
    /// Everything that is said of it.
    pub(crate) said: BTreeMap<String, String>,
}

/// A metric that the page has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Documented {
    /// Its type, in the words of the text form.
    pub(crate) kind: String,
    /// Its labels.
    pub(crate) labels: BTreeSet<String>,
}

/// The folder of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

fn yaml(path: &str) -> Result<Value> {
    serde_saphyr::from_str(&read(path)?).with_context(|| path.to_owned())
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value.get(field).and_then(Value::as_str).with_context(|| format!("no {field}: {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `{{label}}` and `{{ $labels.label }}`.
fn labels_in(text: &str) -> Result<BTreeSet<String>> {
    let pattern = Regex::new(r"\{\{\s*(?:\$labels\.)?([a-zA-Z_]+)\s*\}\}")?;
    Ok(pattern.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str().to_owned())).collect())
}

// === Dashboard ===

/// The dashboard.
pub(crate) fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&read("charts/callsign/files/dashboard.json")?)?)
}

/// Its panels, those in rows included.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = list(dashboard, "panels").iter();
    outer.flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels"))).collect()
}

/// What its panels and variables ask for.
pub(crate) fn asked_by_dashboard(dashboard: &Value) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for panel in panels(dashboard) {
        for target in list(panel, "targets") {
            asked.push(Asked {
                place: format!("dashboard: {}", text(panel, "title")?),
                expr: text(target, "expr")?.to_owned(),
                labels: labels_in(text(target, "legendFormat")?)?,
            });
        }
    }
    // `label_values(selector, label)`
    let pattern = Regex::new(r"^label_values\((.+), (\w+)\)$")?;
    for variable in list(dashboard.get("templating").context("templating")?, "list") {
        if text(variable, "type")? != "query" {
            continue;
        }
        let query = text(variable.get("query").context("query")?, "query")?;
        let found = pattern.captures(query).with_context(|| query.to_owned())?;
        let part = |at| found.get(at).map(|part| part.as_str().to_owned());
        let (expr, label) = part(1).zip(part(2)).context("label_values")?;
        asked.push(Asked { place: "dashboard: variables".to_owned(), expr, labels: [label].into() });
    }
    Ok(asked)
}

// === Rules ===

/// Recording rules, and alerts.
pub(crate) fn rules() -> Result<(BTreeMap<String, Asked>, Vec<Alert>)> {
    let file = yaml("charts/callsign/files/rules.yaml")?;
    let (mut records, mut alerts) = (BTreeMap::new(), Vec::<Alert>::new());
    for rule in list(&file, "groups").iter().flat_map(|group| list(group, "rules")) {
        let expr = text(rule, "expr")?.to_owned();
        if let Some(name) = rule.get("record").and_then(Value::as_str) {
            let asked = Asked { place: format!("rule {name}"), expr, labels: BTreeSet::new() };
            ensure!(records.insert(name.to_owned(), asked).is_none(), "{name} twice");
            continue;
        }
        let name = text(rule, "alert")?.to_owned();
        let mut said: BTreeMap<String, String> =
            serde_json::from_value(rule.get("annotations").context("annotations")?.clone())?;
        let labels = said.values().map(|said| labels_in(said)).collect::<Result<Vec<_>>>()?;
        let asked =
            Asked { place: format!("alert {name}"), expr, labels: labels.into_iter().flatten().collect() };
        let severity = text(rule.get("labels").context("labels")?, "severity")?;
        said.insert("severity".to_owned(), severity.to_owned());
        ensure!(alerts.iter().all(|known| known.name != name), "{name} twice");
        alerts.push(Alert { name, asked, said });
    }
    Ok((records, alerts))
}

/// By alert: whether a test wants it to fire, and whether one wants it not to.
pub(crate) fn tested() -> Result<BTreeMap<String, [bool; 2]>> {
    let pattern = Regex::new(r#"alertname="(\w+)""#)?;
    let mut tested: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for path in files_in("monitoring/tests")? {
        let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        for case in list(&file, "tests").iter().flat_map(|test| list(test, "promql_expr_test")) {
            let Some(found) = pattern.captures(text(case, "expr")?) else { continue };
            let name = found.get(1).map(|name| name.as_str().to_owned()).unwrap_or_default();
            let [fires, is_quiet] = tested.entry(name).or_default();
            let expected = list(case, "exp_samples");
            *fires |= !expected.is_empty();
            *is_quiet |= expected.is_empty();
        }
    }
    Ok(tested)
}

fn files_in(folder: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())?;
    Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

// === Pages ===

/// Sections of the second level: heading, and what stands below.
pub(crate) fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n## ").skip(1);
    let whole = parts.filter_map(|part| part.split_once('\n'));
    whole.map(|(heading, text)| (heading.trim(), text.split("\n# ").next().unwrap_or(text))).collect()
}

/// What stands in backticks on a line or in a block of commands, as far as it may be a metric's name or ask for one.
pub(crate) fn metrics_named(page: &str) -> Result<BTreeSet<String>> {
    let pattern = Regex::new(
        r"\b((?:callsign|coredns|endpoint_slice|leader_election|workqueue|process|rest_client|cluster_dns|cluster_endpoints)(?:_|:)[a-z0-9_:]+)\b",
    )?;
    Ok(pattern.find_iter(page).map(|found| found.as_str().to_owned()).collect())
}

/// Expressions of a page: what stands in backticks and has a call or a selector of a metric.
pub(crate) fn expressions_in(name: &str, page: &str) -> Result<Vec<Asked>> {
    let quoted = Regex::new(r"`([^`\n]+)`")?;
    let names = |text: &str| metrics_named(text).is_ok_and(|names| !names.is_empty());
    let found = quoted.captures_iter(page).filter_map(|found| Some(found.get(1)?.as_str().to_owned()));
    let asked = found.filter(|text| names(text) && text.contains(['(', '{']) && !text.starts_with("curl"));
    Ok(asked.map(|expr| Asked { place: name.to_owned(), expr, labels: BTreeSet::new() }).collect())
}

/// The metrics of `docs/metrics.md`, by name.
pub(crate) fn documented() -> Result<BTreeMap<String, Documented>> {
    let page = read("docs/metrics.md")?;
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, words] = cells.as_slice() else { anyhow::bail!("four cells: {line}") };
        ensure!(words.len() > 3, "no words: {line}");
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let documented = Documented {
            kind: (*kind).to_owned(),
            labels: labels.map(|label| label.trim_matches('`').to_owned()).collect(),
        };
        let name = name.trim_matches('`').to_owned();
        ensure!(all.insert(name, documented).is_none(), "twice: {line}");
    }
    Ok(all)
}

/// Names of metrics that stand in the sources.
pub(crate) fn in_sources() -> Result<BTreeSet<String>> {
    let pattern = Regex::new(r#""((?:callsign|coredns)_[a-z0-9_]+)""#)?;
    let (mut names, mut folders) = (BTreeSet::new(), Vec::new());
    folders.extend(["src", "shared/src", "controller/src", "dns/src"].map(|folder| root().join(folder)));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path)?;
                // What tests ask for may be anything.
                let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let found = pattern.captures_iter(source).filter_map(|found| found.get(1));
                names.extend(found.map(|name| name.as_str().to_owned()));
            }
        }
    }
    Ok(names)
}
