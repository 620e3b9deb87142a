//! What an expression of Prometheus' language asks for: its selectors and its labels, from the tree that it is read into.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, ensure};
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, LabelModifier, VectorSelector},
    util::{ExprVisitor, walk_expr},
};

use crate::{files::Asked, page::Family};

/// Labels that a target has, whatever it shows: those of the scrape, and of whoever stores what was scraped.
const OF_TARGETS: [&str; 5] = ["cluster", "namespace", "job", "instance", "pod"];

/// What is asked for.
#[derive(Debug, Default)]
struct Found {
    selectors: Vec<VectorSelector>,
    /// Labels that results are kept or matched by.
    labels: BTreeSet<String>,
}

impl ExprVisitor for Found {
    type Error = anyhow::Error;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool> {
        match expr {
            Expr::VectorSelector(selector) => self.selectors.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.selectors.push(matrix.vs.clone()),
            Expr::Aggregate(aggregate) => self.take(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                self.take(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Found {
    fn take(&mut self, modifier: Option<&LabelModifier>) {
        self.labels.extend(modifier.into_iter().flat_map(|modifier| modifier.labels().labels.clone()));
    }
}

/// A name that exists: a family's own, or one of its histogram's.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    /// The family's name as it is announced.
    pub(crate) announced: &'a str,
    /// The family.
    pub(crate) family: &'a Family,
}

/// Checks that everything an expression asks for is shown. `known` gives what is known by the name of a sample, `recorded` the
/// labels of what a recording rule makes.
pub(crate) fn check<'a>(
    asked: &Asked,
    known: &dyn Fn(&str) -> Option<Known<'a>>,
    recorded: &dyn Fn(&str) -> Option<BTreeSet<String>>,
) -> Result<()> {
    let text = asked.expr.replace("$__rate_interval", "5m");
    let expr = parser::parse(&text).map_err(|error| anyhow!("{error}"))?;
    let mut found = Found::default();
    walk_expr(&mut found, &expr)?;
    ensure!(!found.selectors.is_empty(), "it asks for nothing");
    let mut labels: BTreeSet<String> = OF_TARGETS.map(str::to_owned).into();
    for selector in &found.selectors {
        let name = selector.name.as_deref().context("a selector without a name")?;
        if let Some(of) = recorded(name) {
            labels.extend(of);
            continue;
        }
        let known = known(name).with_context(|| format!("no process shows {name}"))?;
        ensure!(
            known.announced != name || known.family.kind != "histogram",
            "{name} is a histogram: _bucket, _sum or _count?"
        );
        for matcher in &selector.matchers.matchers {
            matches(&known, matcher).with_context(|| name.to_owned())?;
        }
        labels.extend(known.family.samples.iter().flat_map(|sample| sample.labels.keys().cloned()));
    }
    for label in found.labels.iter().chain(&asked.labels) {
        ensure!(labels.contains(label), "nothing that is asked for has the label {label}");
    }
    if text.contains("histogram_quantile") {
        ensure!(text.contains("_bucket") && found.labels.contains("le"), "a quantile needs buckets by le");
    }
    Ok(())
}

/// Checks that a sample has the label, and a value that the matcher is about.
fn matches(known: &Known<'_>, matcher: &Matcher) -> Result<()> {
    if OF_TARGETS.contains(&matcher.name.as_str()) {
        return Ok(());
    }
    let values: BTreeSet<&str> = known
        .family
        .samples
        .iter()
        .filter_map(|sample| Some(sample.labels.get(&matcher.name)?.as_str()))
        .collect();
    ensure!(!values.is_empty(), "it has no label {}", matcher.name);
    let is_there = match &matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => values.contains(matcher.value.as_str()),
        // Each alternative by itself: one that is there would hide another that is not.
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').all(|part| values.contains(part)),
    };
    ensure!(is_there, "no {}=\"{}\", but {values:?}", matcher.name, matcher.value);
    Ok(())
}
