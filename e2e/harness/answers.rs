//! Recorded answers, and what is wanted in the place of those that the RFCs do not allow.
//!
//! Owner names are compared as they are written, names in data without regard to case, sections as sets. Each wanted
//! difference is a narrow predicate below; `docs/deviations.md` lists them with their reasons. This file stands by
//! itself: the test of the answer function includes it too.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// A question and its answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Exchange {
    /// The name asked for, with its dot.
    pub name: String,
    /// The type: `A`, `HTTPS`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `NOERROR`, `NXDOMAIN`, …
    pub rcode: String,
    /// The flags that are set, by their mnemonics: `QR AA RD`.
    pub flags: String,
    /// `owner ttl TYPE rdata`.
    pub answer: BTreeSet<String>,
    /// The same for the authority section, with SERIAL for a SOA's serial.
    pub authority: BTreeSet<String>,
    /// The same for the additional section, without OPT.
    pub additional: BTreeSet<String>,
}

impl Exchange {
    /// With the data of every record in lower case; owner names stay as they are.
    #[must_use]
    pub fn lower_data(mut self) -> Self {
        for section in [&mut self.answer, &mut self.authority, &mut self.additional] {
            *section = std::mem::take(section).iter().map(|line| lower_data(line)).collect();
        }
        self
    }
}

fn lower_data(line: &str) -> String {
    let mut parts = line.splitn(4, ' ');
    let mut part = || parts.next().unwrap_or_default();
    let (owner, ttl, kind, data) = (part(), part(), part(), part());
    format!("{owner} {ttl} {kind} {}", data.to_lowercase())
}

/// The answers of one recording, with what they say together of the names in it.
#[derive(Debug)]
pub struct Recording {
    answers: BTreeMap<(String, String), Exchange>,
    /// Names that the recording shows to exist: something was found at them or below them.
    existing: BTreeSet<String>,
    /// The CNAME record of each ExternalName Service, by owner name.
    aliases: BTreeMap<String, String>,
    ttl: String,
}

/// The zones that questions were recorded for.
const ZONES: [&str; 6] = [
    "cluster.local.",
    "example.org.",
    "in-addr.arpa.",
    "ip6.arpa.",
    "96.10.in-addr.arpa.",
    "4.10.in-addr.arpa.",
];

impl Recording {
    /// The recorded `exchanges` of a cluster to which `objects` had been applied.
    pub fn new<'a>(objects: impl Iterator<Item = &'a Value>, exchanges: &[Exchange]) -> Self {
        let exchanges: Vec<Exchange> = exchanges.iter().cloned().map(Exchange::lower_data).collect();
        let mut existing = BTreeSet::new();
        // A name is shown to exist by an answer or NODATA. Not to SOA, which CoreDNS gives to every name, and not below
        // a pod name, where it answers what does not exist.
        let found =
            exchanges.iter().filter(|e| e.rcode == "NOERROR" && e.kind != "SOA" && !is_below_pod(&e.name));
        for exchange in found {
            let name = exchange.name.to_lowercase();
            existing.extend(ancestors(&name).map(str::to_owned));
        }
        let externals: BTreeSet<String> = objects.filter_map(external_name).collect();
        let aliases = exchanges
            .iter()
            .filter(|e| e.kind == "CNAME" && externals.iter().any(|name| e.name.starts_with(name.as_str())))
            .filter_map(|e| Some((e.name.to_lowercase(), e.answer.first()?.clone())))
            .collect();
        let first_soa = exchanges.iter().flat_map(|e| &e.authority).next();
        let ttl = first_soa.and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let answers = exchanges.into_iter().map(|e| ((e.name.clone(), e.kind.clone()), e)).collect();
        Self { answers, existing, aliases, ttl }
    }

    /// What is wanted for a recorded question: the recorded answer, but for the wanted differences.
    pub fn wanted(&self, recorded: &Exchange) -> Exchange {
        let mut wanted = recorded.clone().lower_data();
        let name = recorded.name.to_lowercase();
        // Not a difference of the zone: the recorder's chain ended with nobody to ask and said SERVFAIL.
        if wanted.rcode == "SERVFAIL" || !ZONES.iter().any(|zone| name.ends_with(zone)) {
            "REFUSED".clone_into(&mut wanted.rcode);
            return wanted;
        }
        // Nothing is below a pod name.
        if is_below_pod(&name) {
            return self.negative("NXDOMAIN", recorded, &recorded.name);
        }
        // An alias answers its CNAME to every type, and keeps it (RFC 1034 3.6.2).
        if let Some(wanted) = self.alias(&name, recorded) {
            return wanted;
        }
        // What exists is not denied, and what does not is (RFC 8020, RFC 2308).
        let exists = self.existing.contains(&name);
        if exists && wanted.rcode == "NXDOMAIN" {
            return self.negative("NOERROR", recorded, &recorded.name);
        }
        if !exists && recorded.kind == "SOA" {
            return self.negative("NXDOMAIN", recorded, &recorded.name);
        }
        wanted
    }

    fn alias(&self, name: &str, recorded: &Exchange) -> Option<Exchange> {
        let mut next = name.to_owned();
        let mut wanted = empty("NOERROR", recorded);
        while let Some(line) = self.aliases.get(&next) {
            let own = if next == name { line.replacen(name, &recorded.name, 1) } else { line.clone() };
            if !wanted.answer.insert(own) {
                // A loop leads to nothing.
                let last = if next == name { recorded.name.clone() } else { next };
                wanted.authority = self.negative("NOERROR", recorded, &last).authority;
                return Some(wanted);
            }
            if matches!(recorded.kind.as_str(), "CNAME" | "ANY") {
                return Some(wanted);
            }
            line.rsplit(' ').next().unwrap_or_default().clone_into(&mut next);
        }
        if wanted.answer.is_empty() {
            return None;
        }
        if !next.ends_with("cluster.local.") {
            return Some(wanted);
        }
        match self
            .answers
            .get(&(next.clone(), recorded.kind.clone()))
            .filter(|target| !target.answer.is_empty())
        {
            Some(target) => {
                wanted.answer.extend(target.answer.iter().cloned());
                wanted.additional.extend(target.additional.iter().cloned());
            }
            None => wanted.authority = self.negative("NOERROR", recorded, &next).authority,
        }
        Some(wanted)
    }

    /// A negative answer to `recorded`'s question, with the SOA of the zone that `name` is in.
    fn negative(&self, rcode: &str, recorded: &Exchange, name: &str) -> Exchange {
        let lines = self.answers.values().flat_map(|e| &e.authority);
        let known: BTreeSet<String> =
            lines.map(|line| line.split(' ').next().unwrap_or_default().to_lowercase()).collect();
        let lower = name.to_lowercase();
        let zone = ZONES
            .iter()
            .filter(|zone| lower.ends_with(*zone) && known.contains(**zone))
            .max_by_key(|z| z.len());
        let zone = zone.copied().unwrap_or_default();
        let written = name.get(name.len() - zone.len()..).unwrap_or_default();
        let ttl = &self.ttl;
        let soa = format!("{written} {ttl} SOA ns.dns.{zone} hostmaster.{zone} serial 7200 1800 86400 {ttl}");
        Exchange { authority: BTreeSet::from([soa]), ..empty(rcode, recorded) }
    }
}

fn empty(rcode: &str, question: &Exchange) -> Exchange {
    Exchange {
        name: question.name.clone(),
        kind: question.kind.clone(),
        rcode: rcode.to_owned(),
        flags: "QR AA RD".to_owned(),
        ..Exchange::default()
    }
}

/// `name.namespace.svc.` of an ExternalName Service.
fn external_name(object: &Value) -> Option<String> {
    if object.pointer("/spec/type")?.as_str()? != "ExternalName" {
        return None;
    }
    let text = |field: &str| object.pointer(&format!("/metadata/{field}"))?.as_str();
    Some(format!("{}.{}.svc.", text("name")?, text("namespace")?))
}

/// The name and every name above it.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1)).filter_map(|at| name.get(at..))
}

/// `x.10-0-0-1.namespace.pod.cluster.local.` and longer.
fn is_below_pod(name: &str) -> bool {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    labels.len() > 5 && labels.iter().rev().nth(2).is_some_and(|label| label.eq_ignore_ascii_case("pod"))
}
