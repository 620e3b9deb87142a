//! The recorded cases, against the zone and the answer function, without a socket and without a controller.
//!
//! All scenarios are loaded into one index, as they were when they were recorded. Selector Services answer from
//! memberships; slices that a controller had written (mirrors of custom Endpoints, and what is left of deleted Services)
//! are taken from the recording. Every question is asked in wire form, over UDP and over TCP, and the answer is read by
//! two decoders.

// A test may fail by panicking, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../e2e/harness/answers.rs"]
#[expect(unreachable_pub, reason = "the harness of the black-box tests publishes it")]
mod answers;
mod cluster;
mod compare;
#[path = "../../../e2e/harness/packets.rs"]
#[expect(unreachable_pub, reason = "the harness of the black-box tests publishes it")]
mod harness;
mod packets;

use std::{fs, path::PathBuf, sync::Arc};

use callsign_dns::zone::{Pods, Requirement, Selector, Zone, ZoneConfig};
use callsign_shared::{Index, index::Source};
use serde_json::Value;

/// The folder of the recordings.
fn cases() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../e2e/cases")
}

fn read(path: &PathBuf) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All recordings of a folder that have questions, in the order of their names.
fn recordings(folder: PathBuf) -> Vec<(String, Value)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let named =
        paths.into_iter().map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&path)));
    named.filter(|(_, recording)| recording.get("dns").is_some()).collect()
}

/// The configuration of the main recordings.
fn configuration() -> ZoneConfig {
    let mut config = ZoneConfig::cluster("cluster.local").unwrap();
    config.source = Source::Memberships;
    // The machine that recorded had this address, which a scenario happens to use as well.
    config.own_addresses = vec!["192.0.2.2".parse().unwrap()];
    config
}

/// The configuration of a variant: its `kubernetes` block, which unlike the main one's has no `ttl 30`.
fn variant(name: &str) -> ZoneConfig {
    let mut config = configuration();
    config.ttl = 5;
    config.pods = Pods::Disabled;
    match name {
        "endpoint-pod-names" => config.endpoint_pod_names = true,
        "ignore-empty" => config.ignore_empty_service = true,
        "labels" => {
            let requirement = Requirement::In("team".into(), vec!["core".into()]);
            config.labels = Some(Selector(vec![requirement]));
        }
        "namespaces" => config.namespaces = ["basic-nginx", "basic-types"].map(Into::into).into(),
        "noendpoints" => config.endpoints = false,
        "pods-disabled" | "ttl-5" => {}
        "pods-verified" => config.pods = Pods::Verified,
        "reverse-cidr" => {
            config.zones = ZoneConfig::zones(["cluster.local", "10.96.0.0/16", "10.4.0.0/16"]).unwrap().zones;
            config.pods = Pods::Insecure;
        }
        "two-zones" => {
            let zones = ["cluster.local", "example.org", "in-addr.arpa", "ip6.arpa"];
            config.zones = ZoneConfig::zones(zones).unwrap().zones;
            config.pods = Pods::Insecure;
        }
        other => panic!("the variant {other} is not known"),
    }
    config
}

fn zone(config: ZoneConfig, index: &Arc<Index>) -> Zone {
    let zone = Zone::new(config, Arc::clone(index));
    zone.set_synced();
    zone
}

fn check(questions: usize, failures: Vec<String>) {
    let shown: Vec<&str> = failures.iter().take(60).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} of {questions} answers differ:\n{}", failures.len(), shown.join("\n"));
}

fn run_scenarios(config: ZoneConfig) {
    let scenarios = recordings(cases());
    assert_eq!(scenarios.len(), 31);
    let index = cluster::load(scenarios.iter().map(|(_, scenario)| scenario));
    let zone = zone(config, &index);
    let (mut questions, mut failures) = (0, Vec::new());
    for (name, scenario) in &scenarios {
        let outcome = compare::all(&zone, scenario, scenario);
        questions += outcome.questions;
        failures.extend(outcome.failures.into_iter().map(|failure| format!("{name}: {failure}")));
    }
    assert!(questions > 5000, "only {questions} questions");
    check(questions, failures);
}

#[test]
fn scenarios_answer_as_recorded() {
    run_scenarios(configuration());
}

/// The same from EndpointSlices alone, as with the controller off.
#[test]
fn scenarios_answer_as_recorded_from_slices() {
    let mut config = configuration();
    config.source = Source::Slices;
    run_scenarios(config);
}

#[test]
fn variants_answer_as_recorded() {
    let scenarios = recordings(cases());
    let index = cluster::load(scenarios.iter().map(|(_, scenario)| scenario));
    let (mut questions, mut failures) = (0, Vec::new());
    let variants = recordings(cases().join("variants"));
    assert_eq!(variants.len(), 29);
    for (name, recording) in &variants {
        let zone = zone(variant(recording["variant"].as_str().unwrap()), &index);
        let (_, scenario) = scenarios.iter().find(|(name, _)| *name == recording["scenario"]).unwrap();
        let outcome = compare::all(&zone, scenario, recording);
        questions += outcome.questions;
        failures.extend(outcome.failures.into_iter().map(|failure| format!("{name}: {failure}")));
    }
    check(questions, failures);
}

#[test]
fn packets_answer_as_recorded() {
    let scenarios = recordings(cases());
    let index = cluster::load(scenarios.iter().map(|(_, scenario)| scenario));
    let zone = zone(configuration(), &index);
    let probes = read(&cases().join("protocol.json"));
    let probes = probes.as_array().unwrap();
    assert_eq!(probes.len(), 84);
    let failures = probes.iter().flat_map(|probe| packets::compare(&zone, probe)).collect();
    check(probes.len() * 2, failures);
}

#[test]
fn before_the_first_sync_nothing_of_the_cluster_is_denied() {
    let scenarios = recordings(cases());
    let index = cluster::load(scenarios.iter().map(|(_, scenario)| scenario));
    let zone = Zone::new(configuration(), index);
    for name in
        ["nginx.basic-nginx.svc.cluster.local.", "nosuch.svc.cluster.local.", "1.0.0.10.in-addr.arpa."]
    {
        let reply = compare::ask(&zone, name, "A");
        assert_eq!(reply.rcode, "SERVFAIL", "{name}");
        assert_eq!(reply.flags, "QR AA RD", "{name}");
        assert!(
            reply.authority.iter().all(|line| line.contains(" SOA ")) && reply.authority.len() == 1,
            "{name}"
        );
    }
}
