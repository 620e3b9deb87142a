//! Metrics, and what is made of them: every metric that a process shows is in `docs/metrics.md` and every one there is shown; what
//! dashboard, rules and runbooks ask for exists; every alert has its runbook and its tests.
//!
//! What exists is what processes show to which everything happened (`scenario`), not what a list says. Whether the rules are right
//! is promtool's to say: `bash monitoring/check`.

mod files;
mod page;
mod promql;
mod scenario;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::sync::OnceCell;

use files::{Asked, Documented};
use page::Family;
use promql::Known;

/// Families of all pages, by the names they are announced under.
type Shown = BTreeMap<String, Family>;

/// Played once for all tests.
async fn shown() -> Result<&'static Shown> {
    static SHOWN: OnceCell<Shown> = OnceCell::const_new();
    let play = async || {
        let played =
            tokio::time::timeout(scenario::PATIENCE, scenario::play()).await.context("the scenario")??;
        let mut shown = Shown::new();
        for (name, family) in played.into_iter().flat_map(|page| page.families) {
            let all = shown.entry(name).or_insert_with(|| Family { samples: Vec::new(), ..family.clone() });
            all.samples.extend(family.samples);
        }
        anyhow::Ok(shown)
    };
    SHOWN.get_or_try_init(play).await
}

/// The name in the text form: that of a counter's samples.
fn name_of(announced: &str, family: &Family) -> String {
    if family.kind == "counter" { format!("{announced}_total") } else { announced.to_owned() }
}

/// What is shown under the name of a sample.
fn known<'a>(shown: &'a Shown, name: &str) -> Option<Known<'a>> {
    ["", "_total", "_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let announced = name.strip_suffix(suffix)?;
        let (announced, family) = shown.get_key_value(announced)?;
        let fits = match family.kind.as_str() {
            "counter" => *suffix == "_total",
            "histogram" => *suffix != "_total",
            _ => suffix.is_empty(),
        };
        (fits && !family.samples.is_empty()).then_some(Known { announced, family })
    })
}

/// Checks everything that is asked for, and says all that is wrong at once.
fn check(shown: &Shown, asked: &[Asked]) -> Result<()> {
    let (records, _) = files::rules()?;
    // What a rule's result has: the labels that its outermost parts keep. More than needed is no harm here.
    let recorded = |name: &str| {
        let of = records.get(name)?;
        let kept = regex::Regex::new(r"by \(([^)]*)\)").ok()?;
        let lists = kept.captures_iter(&of.expr).filter_map(|found| Some(found.get(1)?.as_str().to_owned()));
        Some(lists.flat_map(|list| list.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect())
    };
    let known = |name: &str| known(shown, name);
    let wrong: Vec<String> = asked
        .iter()
        .filter_map(|asked| {
            let error = promql::check(asked, &known, &recorded).err()?;
            Some(format!("{}: {error:#}\n    {}", asked.place, asked.expr))
        })
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

// === The page of metrics ===

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_metrics_has_what_is_shown_and_nothing_else() -> Result<()> {
    let shown = shown().await?;
    let page = files::documented()?;
    let mut found = BTreeMap::new();
    for (announced, family) in shown {
        let kind = if family.kind == "unknown" { "untyped" } else { &family.kind };
        let labels = family.samples.iter().flat_map(|sample| sample.labels.keys());
        let labels: BTreeSet<String> = labels.filter(|label| *label != "le").cloned().collect();
        ensure!(!family.samples.is_empty(), "announced, and nothing of it is ever shown: {announced}");
        found.insert(name_of(announced, family), Documented { kind: kind.to_owned(), labels });
    }
    let differ: Vec<&String> =
        page.keys().chain(found.keys()).filter(|name| page.get(*name) != found.get(*name)).collect();
    for name in &differ {
        eprintln!("{name}: the page says {:?}, shown is {:?}", page.get(*name), found.get(*name));
    }
    ensure!(differ.is_empty(), "docs/metrics.md: {differ:?}");
    Ok(())
}

/// A metric that no scenario brings about would be missed by the other test.
#[test]
fn metrics_of_the_sources_are_on_the_page() -> Result<()> {
    let page = files::documented()?;
    let is_there = |name: &String| page.contains_key(name) || page.contains_key(&format!("{name}_total"));
    let names = files::in_sources()?;
    ensure!(names.len() > 50, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !is_there(name)).collect();
    // Prefixes of several.
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|name| !page.keys().any(|known| known.starts_with(&format!("{name}_"))))
        .collect();
    ensure!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    Ok(())
}

// === Dashboard and rules ===

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dashboard_asks_for_is_shown() -> Result<()> {
    let asked = files::asked_by_dashboard(&files::dashboard()?)?;
    ensure!(asked.len() > 80, "{}", asked.len());
    check(shown().await?, &asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_ask_for_is_shown() -> Result<()> {
    let (records, alerts) = files::rules()?;
    let asked: Vec<Asked> =
        records.into_values().chain(alerts.into_iter().map(|alert| alert.asked)).collect();
    check(shown().await?, &asked)
}

/// A check that finds nothing wrong in anything would pass the others too.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_label_or_value_is_found() -> Result<()> {
    let shown = shown().await?;
    let asked = |expr: &str, labels: &[&str]| Asked {
        place: "here".to_owned(),
        expr: expr.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
    };
    check(
        shown,
        &[asked("sum by (rcode) (rate(coredns_dns_responses_total{rcode=\"SERVFAIL\"}[5m]))", &["rcode"])],
    )?;
    for (expr, labels) in [
        ("coredns_dns_response_total", &[][..]),
        ("coredns_dns_responses", &[]),
        ("coredns_dns_request_duration_seconds", &[]),
        ("rate(coredns_dns_responses_total{rcode=\"FAIL\"}[5m])", &[]),
        ("rate(coredns_dns_responses_total{code=\"SERVFAIL\"}[5m])", &[]),
        ("rate(coredns_dns_responses_total{rcode=~\"SERVFAIL|FAIL\"}[5m])", &[]),
        ("sum by (code) (rate(coredns_dns_responses_total[5m]))", &[]),
        ("sum(rate(coredns_dns_responses_total[5m]))", &["code"]),
        ("callsign_zone_synced and on (code) callsign_watch_synced", &[]),
        ("histogram_quantile(0.9, sum(rate(coredns_dns_request_duration_seconds_bucket[5m])))", &[]),
        ("sum(rate(coredns_dns_responses_total[5m])", &[]),
        ("cluster_dns:no_such_rule", &[]),
    ] {
        ensure!(check(shown, &[asked(expr, labels)]).is_err(), "{expr}");
    }
    Ok(())
}

/// Panels do not overlap, each has its own number, every query its letter, and no data source but the one that is chosen.
#[test]
fn the_dashboard_is_well_made() -> Result<()> {
    let dashboard = files::dashboard()?;
    ensure!(dashboard.get("schemaVersion").and_then(Value::as_u64).is_some_and(|version| version >= 36));
    ensure!(dashboard.get("id").is_none() && dashboard.get("uid").is_some());
    let chosen = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    let core = ["row", "timeseries", "stat", "state-timeline", "table"];
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in files::panels(&dashboard) {
        let title = panel.get("title").and_then(Value::as_str).context("title")?;
        let of = |field: &str| panel.get(field).with_context(|| format!("{title}: no {field}"));
        ensure!(ids.insert(of("id")?.as_u64().context("id")?), "{title}: id twice");
        let kind = of("type")?.as_str().context("type")?;
        ensure!(core.contains(&kind), "{title}: {kind} is no panel of Grafana's own");
        let place = of("gridPos")?;
        let at = |field: &str| {
            place.get(field).and_then(Value::as_u64).with_context(|| format!("{title}: {field}"))
        };
        let (x, y, width, height) = (at("x")?, at("y")?, at("w")?, at("h")?);
        ensure!(width > 0 && height > 0 && x + width <= 24, "{title}: {place}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            ensure!(taken.insert(cell), "{title}: lies on another panel at {cell:?}");
        }
        if kind == "row" {
            continue;
        }
        ensure!(of("datasource")? == &chosen, "{title}: data source");
        ensure!(of("description")?.as_str().is_some_and(|text| text.len() > 10), "{title}: no description");
        let targets = of("targets")?.as_array().context("targets")?;
        let mut letters = BTreeSet::new();
        for target in targets {
            ensure!(target.get("datasource") == Some(&chosen), "{title}: data source");
            ensure!(
                letters.insert(target.get("refId").and_then(Value::as_str).context("refId")?),
                "{title}: refId"
            );
        }
        ensure!(!targets.is_empty(), "{title}: asks for nothing");
    }
    Ok(())
}

// === Runbooks ===

#[test]
fn every_alert_has_its_runbook_and_its_tests() -> Result<()> {
    const PAGE: &str = "https://github.com/callsign-dns/callsign/blob/main/docs/runbooks.md#";
    let (_, alerts) = files::rules()?;
    let page = files::read("docs/runbooks.md")?;
    let sections: BTreeMap<&str, &str> = files::sections(&page).into_iter().collect();
    let tested = files::tested()?;
    for alert in &alerts {
        let name = alert.name.as_str();
        let said = |field: &str| {
            alert.said.get(field).map(String::as_str).with_context(|| format!("{name}: no {field}"))
        };
        ensure!(said("runbook_url")? == format!("{PAGE}{}", name.to_lowercase()), "{name}: runbook_url");
        ensure!(["critical", "warning", "info"].contains(&said("severity")?), "{name}: severity");
        ensure!(
            said("summary")?.ends_with('.') && said("description")?.len() > said("summary")?.len() / 2,
            "{name}"
        );
        let section =
            sections.get(name).with_context(|| format!("{name}: no section in docs/runbooks.md"))?;
        for part in ["**Means:**", "**Users feel:**", "**Confirm:**", "\n1. "] {
            ensure!(section.contains(part), "{name}: its section has no {part}");
        }
        let [fires, is_quiet] = tested.get(name).copied().unwrap_or_default();
        ensure!(fires && is_quiet, "{name}: monitoring/tests has to show when it fires and when it does not");
    }
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    let extra: Vec<_> = sections.keys().filter(|name| !names.contains(*name)).collect();
    ensure!(extra.is_empty(), "sections without an alert: {extra:?}");
    Ok(())
}

/// Links within the pages, and from the dashboard, lead to sections that exist.
#[test]
fn links_to_runbooks_lead_somewhere() -> Result<()> {
    let page = files::read("docs/runbooks.md")?;
    let anchors: BTreeSet<String> =
        files::sections(&page).iter().map(|(name, _)| name.to_lowercase()).collect();
    let dashboard = files::read("charts/callsign/files/dashboard.json")?;
    let pattern = regex::Regex::new(r"(?:\(|runbooks\.md)#([a-z]+)")?;
    let mut count = 0;
    for text in [&page, &dashboard] {
        for anchor in pattern.captures_iter(text).filter_map(|found| found.get(1)) {
            ensure!(anchors.contains(anchor.as_str()), "no section {}", anchor.as_str());
            count += 1;
        }
    }
    ensure!(count > 80, "{count}");
    Ok(())
}

/// What runbooks tell people to look at exists, with its labels where they are written.
#[tokio::test(flavor = "multi_thread")]
async fn what_runbooks_name_is_shown() -> Result<()> {
    let shown = shown().await?;
    let page = files::read("docs/runbooks.md")?;
    let (records, _) = files::rules()?;
    let unknown: Vec<String> = files::metrics_named(&page)?
        .into_iter()
        .filter(|name| known(shown, name).is_none() && !records.contains_key(name))
        .collect();
    ensure!(unknown.is_empty(), "{unknown:?}");
    let asked = files::expressions_in("docs/runbooks.md", &page)?;
    ensure!(asked.len() > 5, "{}", asked.len());
    check(shown, &asked)
}
