//! From objects to the index, the zone, answers and slices: whatever the API server sends, in whatever order.
//!
//! An input that begins with `[` is a list of `["apply", OBJECT]` and `["delete", OBJECT]`, as recorded cases have them; of
//! any other the bytes choose among odd and ordinary values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arbitrary::Unstructured;
use callsign_controller::{
    Limits, endpoints,
    plan::{Inputs, Write},
    slices::{self, Zones},
    write::Body,
};
use callsign_dns::{
    Transport, Zone, ZoneConfig,
    answer::{self, Outcome},
    zone::Pods,
};
use callsign_shared::{
    Index, Key, Membership,
    index::{Indexed, Interest, ServiceView, Source},
    object::{
        Decode, EndpointSlice, Endpoints, Namespace, Node, Pod, ResourceVersion, Service, SliceAddress,
    },
};
use serde_json::{Value, json, value::RawValue};

use crate::codecs;

/// The most events of one input.
const EVENTS: usize = 32;

/// Any bytes as events.
///
/// # Panics
/// When a property does not hold.
pub fn run(input: &[u8]) {
    let events = if input.first() == Some(&b'[') { written(input) } else { made(input) };
    let lived = Arc::new(Index::new());
    let feed = lived.subscribe(Interest { pods: true, ..Interest::default() });
    // The zone that follows.
    let zone = Zone::new(config(), Arc::clone(&lived));
    zone.set_synced();
    // What there is in the end: the last readable form of each object.
    let mut last: BTreeMap<(&str, Key), &str> = BTreeMap::new();
    for event in &events {
        match event {
            Event::Apply(kind, object) => {
                if let Some(key) = apply(&lived, kind, object) {
                    last.insert((kind, key), object);
                }
            }
            Event::Delete(kind, key) => {
                delete(&lived, kind, key);
                last.remove(&(kind.as_str(), key.clone()));
            }
        }
        zone.apply(&feed.take(usize::MAX));
    }
    let fresh = Arc::new(Index::new());
    for ((kind, key), object) in last.iter().rev() {
        assert_eq!(apply(&fresh, kind, object).as_ref(), Some(key));
    }
    let (lived_views, fresh_views) = (contents(&lived), contents(&fresh));
    for (lived, fresh) in lived_views.iter().zip(&fresh_views) {
        assert_eq!(lived, fresh);
    }
    assert_eq!(lived_views.len(), fresh_views.len());
    assert_eq!(lived.serial(), fresh.serial());
    // The zone of what there is.
    let whole = Zone::new(config(), Arc::clone(&fresh));
    whole.set_synced();
    for (name, qtype) in questions(&fresh_views) {
        let answered = ask(&zone, &name, qtype);
        assert_eq!(answered, ask(&whole, &name, qtype), "{name:02x?} {qtype}");
        if !answered.is_empty() {
            codecs::read_by_both(&answered);
        }
    }
    settles(&lived);
}

enum Event {
    Apply(String, String),
    Delete(String, Key),
}

fn config() -> ZoneConfig {
    let config = ZoneConfig::zones(["cluster.local", "in-addr.arpa", "ip6.arpa"]).unwrap();
    ZoneConfig { source: Source::Memberships, pods: Pods::Verified, ..config }
}

/// Applies an object, if it can be read; its key.
fn apply(index: &Index, kind: &str, object: &str) -> Option<Key> {
    fn read<T: Indexed>(index: &Index, object: &str) -> Option<Key> {
        let object = T::decode(object).ok()?;
        let key = object.meta().key.clone();
        index.apply(object);
        Some(key)
    }
    match kind {
        "Namespace" => read::<Namespace>(index, object),
        "Node" => read::<Node>(index, object),
        "Service" => read::<Service>(index, object),
        "Pod" => read::<Pod>(index, object),
        "EndpointSlice" => read::<EndpointSlice>(index, object),
        "Endpoints" => read::<Endpoints>(index, object),
        _ => None,
    }
}

fn delete(index: &Index, kind: &str, key: &Key) {
    match kind {
        "Namespace" => index.delete::<Namespace>(key),
        "Node" => index.delete::<Node>(key),
        "Service" => index.delete::<Service>(key),
        "Pod" => index.delete::<Pod>(key),
        "EndpointSlice" => index.delete::<EndpointSlice>(key),
        "Endpoints" => index.delete::<Endpoints>(key),
        _ => {}
    }
}

/// All that a reader of the index sees of Services, in a fixed order. A pod whose new form differs in its version alone
/// keeps the old one.
fn contents(index: &Index) -> Vec<ServiceView> {
    let mut views: Vec<ServiceView> = index.views().iter().map(|view| ServiceView::clone(view)).collect();
    views.sort_by(|a, b| a.key.cmp(&b.key));
    for view in &mut views {
        let members = view.members.iter().map(|member| {
            let mut pod = Pod::clone(&member.pod);
            pod.meta.resource_version = ResourceVersion::default();
            Arc::new(Membership { pod: Arc::new(pod), ..Membership::clone(member) })
        });
        view.members = Arc::new(members.collect());
    }
    views
}

/// Questions for what there is and what is near: the names of Services, of their ports and hosts, and of addresses.
fn questions(views: &[ServiceView]) -> BTreeSet<(Vec<u8>, u16)> {
    let mut questions = BTreeSet::new();
    let mut add = |labels: &[&str], types: &[u16]| {
        let mut name = Vec::new();
        for label in labels.iter().flat_map(|label| label.split('.')) {
            let Some(length) = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))
            else {
                return;
            };
            name.push(length);
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        if name.len() <= 255 {
            questions.extend(types.iter().map(|qtype| (name.clone(), *qtype)));
        }
    };
    add(&["cluster.local"], &[2, 6]);
    add(&["svc.cluster.local"], &[1]);
    for view in views.iter().take(4) {
        let service = [view.key.name.as_str(), view.key.namespace.as_str(), "svc.cluster.local"];
        add(&service, &[1, 28, 33, 5]);
        add(&service[1..], &[1]);
        add(&["_web._tcp", service[0], service[1], service[2]], &[33]);
        add(&["_tcp", service[0], service[1], service[2]], &[33]);
        let published = [Source::Memberships, Source::Slices].map(|source| view.published(source));
        for published in published.iter().flatten().take(3) {
            let SliceAddress::Ip(ip) = published.address else { continue };
            let dashed = ip.to_string().replace(['.', ':'], "-");
            let host = published.hostname.unwrap_or(&dashed);
            add(&[host, service[0], service[1], service[2]], &[1, 28]);
            add(&[&dashed, service[1], "pod.cluster.local"], &[1, 28]);
            add(&[&reverse(ip)], &[12]);
        }
    }
    questions
}

fn reverse(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        std::net::IpAddr::V6(ip) => {
            let digits = ip
                .octets()
                .iter()
                .rev()
                .map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4))
                .collect::<String>();
            format!("{digits}ip6.arpa")
        }
    }
}

fn ask(zone: &Zone, name: &[u8], qtype: u16) -> Vec<u8> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(name);
    query.extend(qtype.to_be_bytes());
    query.extend([0, 1]);
    let mut out = Vec::new();
    match answer::answer(zone, &query, Transport::Tcp, 0, &mut out) {
        Outcome::Answered(_) | Outcome::Alias { .. } => {}
        Outcome::Elsewhere(_) => out.clear(),
        Outcome::Silent => panic!("no answer"),
    }
    out
}

/// What the controllers write, read back, is what they want.
fn settles(index: &Index) {
    let nodes = index.nodes();
    let zones = Zones::of(nodes.iter().map(AsRef::as_ref));
    let taken = BTreeSet::new();
    let inputs = Inputs {
        limits: Limits { endpoints_per_slice: 2, ..Limits::default() },
        trigger: None,
        zones: zones.as_ref(),
        taken: &taken,
        namespace_ending: false,
    };
    let mut version = 1_000_000_000;
    // An API server has no object without a name.
    for view in index.views().iter().filter(|view| !view.key.name.is_empty()) {
        let (slices, endpoints) = (slices::plan(view, &inputs), endpoints::plan(view, &inputs));
        slices.writes.iter().for_each(|write| carry_out(index, write, &mut version));
        endpoints.writes.iter().for_each(|write| carry_out(index, write, &mut version));
        let Some(view) = index.view(&view.key) else { continue };
        let again = slices::plan(&view, &inputs);
        assert!(again.writes.is_empty(), "{:?}\nafter {:?}", again.writes, slices.writes);
        let again = endpoints::plan(&view, &inputs);
        assert!(again.writes.is_empty(), "{:?}\nafter {:?}", again.writes, endpoints.writes);
    }
}

/// Writes as an API server would that takes everything.
fn carry_out<T: Body + Indexed>(index: &Index, write: &Write<T>, version: &mut u64) {
    let new = match write {
        Write::Create(new) => new,
        Write::Update { new, .. } => new,
        Write::Delete { current } => return index.delete::<T>(&current.meta().key),
    };
    let mut body: Value = serde_json::from_slice(&new.body().unwrap()).unwrap();
    *version += 1;
    body["metadata"]["resourceVersion"] = json!(version.to_string());
    body["metadata"]["uid"] = json!(version.to_string());
    let read = T::decode(&body.to_string()).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(read.meta().key, new.meta().key);
    index.apply(read);
}

/// The events of a text; none of one that is no list.
fn written(input: &[u8]) -> Vec<Event> {
    let Ok(list) = serde_json::from_slice::<Vec<(String, Box<RawValue>)>>(input) else {
        // What is no list may still be an object.
        let text = String::from_utf8_lossy(input);
        for read in [decodes::<Service>, decodes::<Pod>, decodes::<EndpointSlice>, decodes::<Endpoints>] {
            read(&text[1..]);
        }
        return Vec::new();
    };
    list.into_iter().take(EVENTS).filter_map(|(verb, object)| event(&verb, object.get())).collect()
}

fn decodes<T: Decode>(text: &str) {
    // Read or refused.
    let _ = T::decode(text);
}

fn event(verb: &str, object: &str) -> Option<Event> {
    let value: Value = serde_json::from_str(object).ok()?;
    let kind = value["kind"].as_str()?.to_owned();
    match verb {
        "apply" => Some(Event::Apply(kind, object.to_owned())),
        "delete" => {
            let part = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
            let cluster = matches!(kind.as_str(), "Namespace" | "Node");
            let namespace = if cluster { String::new() } else { part("namespace") };
            Some(Event::Delete(kind, Key::new(namespace, part("name"))))
        }
        _ => None,
    }
}

/// The events that bytes choose.
fn made(input: &[u8]) -> Vec<Event> {
    let mut dice = Dice(Unstructured::new(input));
    let mut events = Vec::new();
    while !dice.0.is_empty() && events.len() < EVENTS {
        let object = dice.object(events.len() + 1);
        let verb = if dice.one_in(5) { "delete" } else { "apply" };
        events.extend(event(verb, &object.to_string()));
    }
    events
}

/// Chooses.
struct Dice<'a>(Unstructured<'a>);

const NAMES: [&str; 8] = [
    "a",
    "b",
    "c",
    "a.b",
    "A_b",
    "",
    "é",
    "x123456789-123456789-123456789-123456789-123456789-123456789-1234",
];
const NAMESPACES: [&str; 3] = ["ns", "other", "ns.x"];
const HOSTS: [&str; 6] = ["", "host", "a", "Host", "h.h", "*"];
const NODES: [&str; 4] = ["node", "node-2", "", "gone"];
const IPS: [&str; 14] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "fd00::1",
    "fd00::2",
    "010.0.0.1",
    "::ffff:10.0.0.1",
    "127.0.0.1",
    "0.0.0.0",
    "fe80::1",
    "",
    "None",
    "nonsense",
    "10.0.0.1/24",
];
const PORTS: [&str; 6] = ["web", "", "dns", "_x", "WEB", "web-2"];
const PROTOCOLS: [&str; 5] = ["TCP", "UDP", "SCTP", "", "tcp"];
const APPS: [&str; 3] = ["x", "y", ""];
const TARGETS: [&str; 9] = [
    "www.example.com",
    "a.ns.svc.cluster.local",
    "b.ns.svc.cluster.local.",
    "*.x",
    "",
    ".",
    "a..b",
    "10.0.0.1",
    "x123456789-123456789-123456789-123456789-123456789-123456789-1234.x",
];

impl Dice<'_> {
    fn one_in(&mut self, of: u8) -> bool {
        self.0.int_in_range(0..=of - 1).unwrap_or(1) == 0
    }

    fn of<'v>(&mut self, values: &[&'v str]) -> &'v str {
        self.0.choose(values).copied().unwrap_or_default()
    }

    fn number(&mut self) -> Value {
        let numbers = [json!(80), json!(8080), json!(0), json!(-1), json!(65_536), json!(53), json!(null)];
        self.0.choose(&numbers).cloned().unwrap_or_default()
    }

    fn list(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.0.int_in_range(0..=most).unwrap_or(0);
        (0..count).map(|_| item(self)).collect()
    }

    fn flag(&mut self) -> Value {
        let flags = [json!(true), json!(false), json!(null)];
        self.0.choose(&flags).cloned().unwrap_or_default()
    }

    /// An object of any kind; now and then one with a value that is not what its field wants.
    fn object(&mut self, version: usize) -> Value {
        let kind =
            self.of(&["Service", "Pod", "EndpointSlice", "Pod", "Service", "Endpoints", "Namespace", "Node"]);
        let mut object = match kind {
            "Pod" => self.pod(),
            "EndpointSlice" => self.slice(),
            "Endpoints" => self.endpoints(),
            "Namespace" => json!({"metadata": {"name": self.of(&NAMESPACES)}}),
            "Node" => self.node(),
            _ => self.service(),
        };
        object["kind"] = json!(kind);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["uid"] = json!(format!("{kind}-{}", object["metadata"]["name"]));
        if self.one_in(16) {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if self.one_in(24) {
            let odd = [json!(5), json!("x"), json!(null), json!([]), json!({}), json!(true)];
            let part = self.of(&["spec", "status", "metadata", "endpoints", "ports", "subsets"]);
            object[part] = self.0.choose(&odd).cloned().unwrap_or_default();
        }
        object
    }

    fn meta(&mut self) -> Value {
        json!({"name": self.of(&NAMES), "namespace": self.of(&NAMESPACES)})
    }

    fn ports(&mut self) -> Value {
        self.list(3, |dice| {
            json!({
                "name": dice.of(&PORTS),
                "port": dice.number(),
                "protocol": dice.of(&PROTOCOLS),
                "targetPort": if dice.one_in(2) { json!(dice.of(&PORTS)) } else { dice.number() },
            })
        })
    }

    fn service(&mut self) -> Value {
        let kind = self.of(&["ClusterIP", "", "ExternalName", "NodePort", "LoadBalancer", "odd"]);
        let mut spec = json!({
            "type": kind,
            "clusterIP": if self.one_in(2) { "None" } else { self.of(&IPS) },
            "ports": self.ports(),
            "publishNotReadyAddresses": self.flag(),
        });
        if kind == "ExternalName" {
            spec["externalName"] = json!(self.of(&TARGETS));
        }
        if self.one_in(3) {
            spec["clusterIPs"] = self.list(3, |dice| json!(dice.of(&IPS)));
        }
        if !self.one_in(4) {
            spec["selector"] = json!({"app": self.of(&APPS)});
        }
        if self.one_in(2) {
            spec["ipFamilies"] = self.list(2, |dice| json!(dice.of(&["IPv4", "IPv6", "odd"])));
        }
        if self.one_in(6) {
            spec["trafficDistribution"] = json!(self.of(&["PreferClose", "PreferSameNode", "odd"]));
        }
        json!({"metadata": self.meta(), "spec": spec})
    }

    fn pod(&mut self) -> Value {
        let mut metadata = self.meta();
        metadata["labels"] = json!({"app": self.of(&APPS)});
        json!({
            "metadata": metadata,
            "spec": {
                "nodeName": self.of(&NODES),
                "hostname": self.of(&HOSTS),
                "subdomain": self.of(&NAMES),
                "hostNetwork": self.flag(),
                "containers": self.list(2, |dice| json!({"ports": dice.list(2, |dice| json!({
                    "name": dice.of(&PORTS), "containerPort": dice.number(), "protocol": dice.of(&PROTOCOLS),
                }))})),
            },
            "status": {
                "phase": self.of(&["Running", "Pending", "Failed", "Succeeded", ""]),
                "podIP": self.of(&IPS),
                "podIPs": self.list(2, |dice| json!({"ip": dice.of(&IPS)})),
                "conditions": [{"type": "Ready", "status": self.of(&["True", "False", "Unknown"])}],
            },
        })
    }

    fn slice(&mut self) -> Value {
        let mut metadata = self.meta();
        metadata["labels"] = json!({
            "kubernetes.io/service-name": self.of(&NAMES),
            "endpointslice.kubernetes.io/managed-by": self.of(&["endpointslice-controller.k8s.io", "me", "endpointslicemirroring-controller.k8s.io"]),
        });
        json!({
            "metadata": metadata,
            "addressType": self.of(&["IPv4", "IPv6", "FQDN", "odd"]),
            "endpoints": self.list(3, |dice| json!({
                "addresses": dice.list(2, |dice| json!(dice.of(&IPS))),
                "conditions": {"ready": dice.flag(), "serving": dice.flag(), "terminating": dice.flag()},
                "hostname": dice.of(&HOSTS),
                "nodeName": dice.of(&NODES),
                "targetRef": {"kind": "Pod", "name": dice.of(&NAMES), "namespace": "ns"},
            })),
            "ports": self.list(2, |dice| json!({
                "name": dice.of(&PORTS), "port": dice.number(), "protocol": dice.of(&PROTOCOLS),
            })),
        })
    }

    fn endpoints(&mut self) -> Value {
        let address = |dice: &mut Self| {
            json!({
                "ip": dice.of(&IPS),
                "hostname": dice.of(&HOSTS),
                "targetRef": {"kind": "Pod", "name": dice.of(&NAMES), "namespace": "ns"},
            })
        };
        json!({
            "metadata": self.meta(),
            "subsets": self.list(2, |dice| json!({
                "addresses": dice.list(3, address),
                "notReadyAddresses": dice.list(2, address),
                "ports": dice.list(2, |dice| json!({
                    "name": dice.of(&PORTS), "port": dice.number(), "protocol": dice.of(&PROTOCOLS),
                })),
            })),
        })
    }

    fn node(&mut self) -> Value {
        json!({
            "metadata": {
                "name": self.of(&NODES),
                "labels": {"topology.kubernetes.io/zone": self.of(&["zone-a", "zone-b", ""])},
            },
            "status": {
                "allocatable": {"cpu": self.of(&["4", "100m", "odd", "-1", "1e3"])},
                "conditions": [{"type": "Ready", "status": self.of(&["True", "False"])}],
            },
        })
    }
}
