//! What to ask: every name of the cluster, names beside them that must not be there, and names that were given.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use callsign_dns::zone::{Kind, ServiceNames, Zone, ZoneConfig};
use callsign_shared::{Index, Key};
use hickory_proto::rr::{Name, RecordType};

/// A name and a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// The name.
    pub(crate) name: Name,
    /// The type.
    pub(crate) kind: RecordType,
}

/// Of which names to ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// Only those of Services of this namespace.
    pub(crate) namespace: Option<String>,
    /// At most so many Services, and so many endpoints of each, drawn anew each time.
    pub(crate) sample: Option<usize>,
}

/// A label that no object has: Services of this name are only made by hand.
const ABSENT: &str = "callsign-diff-no-such";

/// Types that a Service has no records of, each asked of some Services.
const OTHER_TYPES: [RecordType; 9] = [
    RecordType::MX,
    RecordType::HTTPS,
    RecordType::NS,
    RecordType::SOA,
    RecordType::CNAME,
    RecordType::CAA,
    RecordType::PTR,
    RecordType::NAPTR,
    RecordType::SVCB,
];

const ADDRESSES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

impl Question {
    fn new(name: Name, kind: RecordType) -> Self {
        Self { name, kind }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// The questions about a cluster, none twice.
pub(crate) fn of_cluster(zone: &Zone, index: &Index, choice: &Choice) -> Vec<Question> {
    let mut asking = Asking { zone, found: Vec::new(), pointed: HashSet::new(), choice };
    for apex in &zone.config().zones {
        asking.apex(apex);
    }
    let chosen = |namespace: &str| choice.namespace.as_deref().is_none_or(|wanted| wanted == namespace);
    let mut namespaces: Vec<String> = index
        .namespaces()
        .iter()
        .map(|namespace| namespace.meta.key.name.to_string())
        .filter(|name| chosen(name))
        .collect();
    namespaces.sort();
    for namespace in sampled(namespaces, choice.sample) {
        asking.namespace(&namespace);
    }
    let mut keys: Vec<Key> = index
        .views()
        .iter()
        .filter(|view| view.service.is_some() && chosen(&view.key.namespace))
        .map(|view| view.key.clone())
        .collect();
    keys.sort();
    let all = zone.all_services();
    for (at, key) in sampled(keys, choice.sample).iter().enumerate() {
        let names = all.binary_search_by(|names| names.key.as_ref().cmp(key)).ok().and_then(|at| all.get(at));
        asking.service(key, names.map(AsRef::as_ref), at);
    }
    asking.found
}

/// The questions for a name that was given without a type.
pub(crate) fn of_name(name: &Name) -> [Question; 2] {
    ADDRESSES.map(|kind| Question::new(name.clone(), kind))
}

/// At most so many of them, which ones is left to chance; their order stays.
fn sampled<T>(all: Vec<T>, most: Option<usize>) -> Vec<T> {
    let Some(most) = most.filter(|most| *most < all.len()) else { return all };
    let drawn: HashSet<usize> = fastrand::choose_multiple(0..all.len(), most).into_iter().collect();
    all.into_iter().enumerate().filter(|(at, _)| drawn.contains(at)).map(|(_, one)| one).collect()
}

struct Asking<'a> {
    zone: &'a Zone,
    choice: &'a Choice,
    found: Vec<Question>,
    /// Addresses that have been asked for.
    pointed: HashSet<IpAddr>,
}

impl Asking<'_> {
    fn add(&mut self, name: Option<Name>, kinds: &[RecordType]) {
        let Some(name) = name else { return };
        self.found.extend(kinds.iter().map(|kind| Question::new(name.clone(), *kind)));
    }

    /// Asks for a name below the zones that are no reverse zones.
    fn below(&mut self, labels: &[&str], kinds: &[RecordType]) {
        for zone in forward(self.zone.config()) {
            self.add(below(labels, &zone), kinds);
        }
    }

    fn apex(&mut self, apex: &Name) {
        use RecordType as T;
        self.add(Some(apex.clone()), &[T::SOA, T::NS, T::A, T::AAAA, T::TXT, T::MX]);
        if !forward(self.zone.config()).contains(apex) {
            return;
        }
        let mut ask = |labels: &[&str], kinds: &[T]| self.add(below(labels, apex), kinds);
        ask(&["dns-version"], &[T::TXT, T::A]);
        ask(&["ns", "dns"], &[T::A, T::AAAA, T::TXT]);
        ask(&["dns"], &[T::A]);
        ask(&["svc"], &[T::A, T::TXT]);
        ask(&["pod"], &[T::A, T::TXT]);
        ask(&[ABSENT], &[T::A, T::SOA]);
        ask(&["svc", ABSENT], &[T::A]);
        ask(&["web", ABSENT, "svc"], &[T::A, T::AAAA, T::SRV]);
        ask(&["10-0-0-1", ABSENT, "pod"], &[T::A]);
        // What a search path makes of a full name.
        ask(&["kubernetes", "default", "svc", "cluster", "local", "default", "svc"], &[T::A, T::AAAA]);
        // 192.0.2.0/24 is nobody's (RFC 5737).
        self.add(Some(Name::from(IpAddr::from([192, 0, 2, 255]))), &[T::PTR]);
    }

    fn namespace(&mut self, namespace: &str) {
        use RecordType as T;
        self.below(&[namespace, "svc"], &[T::A, T::TXT]);
        self.below(&[namespace, "pod"], &[T::A, T::TXT]);
        self.below(&[ABSENT, namespace, "svc"], &[T::A, T::AAAA, T::SRV, T::SOA]);
        self.below(&["_http", "_tcp", ABSENT, namespace, "svc"], &[T::SRV]);
        self.below(&["no-address", namespace, "pod"], &[T::A]);
        self.below(&["x", "192-0-2-1", namespace, "pod"], &[T::A]);
        self.below(&["192-0-2-1", namespace, "pod"], &[T::A, T::AAAA]);
    }

    fn service(&mut self, key: &Key, names: Option<&ServiceNames>, at: usize) {
        use RecordType as T;
        let own = [key.name.as_str(), key.namespace.as_str(), "svc"];
        let under = |labels: &[&str]| -> Vec<String> {
            labels.iter().chain(&own).map(|&label| label.to_owned()).collect()
        };
        let mut ask = |labels: &[&str], kinds: &[T]| {
            let labels = under(labels);
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            self.below(&labels, kinds);
        };
        ask(&[], &[T::A, T::AAAA, T::SRV, T::TXT]);
        let other = OTHER_TYPES.get(at % OTHER_TYPES.len()).copied();
        ask(&[], other.as_slice());
        ask(&["_callsign-diff-no-such", "_tcp"], &[T::SRV]);
        ask(&[ABSENT], &[T::A]);
        let Some(names) = names else { return };
        if matches!(names.kind, Kind::External(_)) {
            return ask(&[], &[T::CNAME]);
        }
        for port in &names.ports {
            let (name, protocol) = (format!("_{}", port.name), format!("_{}", port.protocol.label()));
            ask(&[&name, &protocol], &[T::SRV, T::A, T::AAAA]);
        }
        let protocols: BTreeSet<&str> = names.ports.iter().map(|port| port.protocol.label()).collect();
        for protocol in protocols {
            let protocol = format!("_{protocol}");
            ask(&["_", &protocol], &[T::SRV]);
            ask(&[&protocol], &[T::SRV, T::A]);
        }
        for (label, _) in &names.aliases {
            ask(&[label.as_str()], &[T::A, T::CNAME]);
        }
        let hosts = sampled((0..names.hosts.len()).collect(), self.choice.sample);
        for at in hosts {
            let Some(host) = names.hosts.get(at) else { continue };
            let labels = under(&[host.label()]);
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            self.below(&labels, &[T::A, T::AAAA]);
            if at == 0 {
                self.below(&labels, &[T::SRV, T::TXT]);
            }
            let v4 = host.v4().iter().copied().map(IpAddr::V4);
            for ip in v4.chain(host.v6().iter().copied().map(IpAddr::V6)) {
                self.pointer(ip);
                if at == 0 {
                    self.pod(ip, &key.namespace);
                }
            }
        }
        if names.kind == Kind::ClusterIp {
            let v4 = names.own.v4().iter().copied().map(IpAddr::V4);
            for ip in v4.chain(names.own.v6().iter().copied().map(IpAddr::V6)) {
                self.pointer(ip);
            }
        }
    }

    /// The name of a pod that has this address.
    fn pod(&mut self, ip: IpAddr, namespace: &str) {
        let label = ip.to_string().replace(['.', ':'], "-");
        self.below(&[&label, namespace, "pod"], &ADDRESSES);
    }

    fn pointer(&mut self, ip: IpAddr) {
        if !self.pointed.insert(ip) {
            return;
        }
        let name = Name::from(ip);
        self.add(Some(name.clone()), &[RecordType::PTR]);
        // Of the first also what is above it, and another type.
        if self.pointed.len() == 1 {
            self.add(Some(name.base_name()), &[RecordType::PTR]);
            self.add(Some(name), &[RecordType::A]);
        }
    }
}

/// The zones that are no reverse zones.
fn forward(config: &ZoneConfig) -> Vec<Name> {
    let reverse = |zone: &Name| {
        let text = zone.to_string().to_lowercase();
        text.ends_with("in-addr.arpa.") || text.ends_with("ip6.arpa.")
    };
    config.zones.iter().filter(|zone| !reverse(zone)).cloned().collect()
}

fn below(labels: &[&str], zone: &Name) -> Option<Name> {
    let labels = labels.iter().map(|label| label.as_bytes());
    let mut name = Name::from_labels(labels).ok()?.append_domain(zone).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use callsign_shared::object::{AnsweredSlice, Decode, Namespace, Service};
    use serde_json::json;

    use super::*;

    fn cluster() -> (Arc<Index>, Zone) {
        let index = Arc::new(Index::new());
        let read = |value: serde_json::Value| value.to_string();
        for name in ["default", "n"] {
            let text = read(json!({"metadata": {"name": name}}));
            index.apply(decode::<Namespace>(&text));
        }
        let service = |namespace: &str, name: &str, spec: serde_json::Value| {
            let meta = json!({"namespace": namespace, "name": name});
            index.apply(decode::<Service>(&read(json!({"metadata": meta, "spec": spec}))));
        };
        let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
        service("n", "web", json!({"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": ports}));
        service("n", "db", json!({"clusterIP": "None", "ports": ports}));
        service("n", "empty", json!({"clusterIP": "None", "ports": ports}));
        service("default", "out", json!({"type": "ExternalName", "externalName": "example.com"}));
        let endpoints: Vec<_> = (1..=3)
            .map(|n| {
                json!({"addresses": [format!("10.1.0.{n}")], "hostname": format!("db-{n}"),
                            "conditions": {"ready": true}})
            })
            .collect();
        index.apply(decode::<AnsweredSlice<false>>(&read(json!({
            "metadata": {"namespace": "n", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }))));
        let zone = Zone::new(ZoneConfig::cluster("cluster.local").unwrap(), Arc::clone(&index));
        (index, zone)
    }

    fn decode<T: Decode>(text: &str) -> T {
        T::decode(text).unwrap()
    }

    fn asked(choice: &Choice) -> Vec<String> {
        let (index, zone) = cluster();
        of_cluster(&zone, &index, choice).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_name_and_some_that_are_not_there() {
        let asked = asked(&Choice::default());
        let distinct: HashSet<&String> = asked.iter().collect();
        for wanted in [
            "web.n.svc.cluster.local. AAAA",
            "web.n.svc.cluster.local. TXT",
            "_http._tcp.web.n.svc.cluster.local. SRV",
            "_._tcp.web.n.svc.cluster.local. SRV",
            "_tcp.web.n.svc.cluster.local. A",
            "_callsign-diff-no-such._tcp.web.n.svc.cluster.local. SRV",
            "5.0.96.10.in-addr.arpa. PTR",
            "db.n.svc.cluster.local. A",
            "db-3.db.n.svc.cluster.local. A",
            "3.0.1.10.in-addr.arpa. PTR",
            "10-1-0-1.n.pod.cluster.local. A",
            "empty.n.svc.cluster.local. A",
            "out.default.svc.cluster.local. CNAME",
            "callsign-diff-no-such.n.svc.cluster.local. SOA",
            "x.192-0-2-1.n.pod.cluster.local. A",
            "dns-version.cluster.local. TXT",
            "ns.dns.cluster.local. A",
            "cluster.local. SOA",
            "in-addr.arpa. NS",
            "255.2.0.192.in-addr.arpa. PTR",
        ] {
            assert!(distinct.contains(&wanted.to_owned()), "{wanted}: {asked:#?}");
        }
    }

    #[test]
    fn fewer_when_that_is_wanted() {
        let one = asked(&Choice { namespace: Some("n".to_owned()), sample: None });
        assert!(one.iter().any(|name| name.starts_with("web.n.")));
        assert!(!one.iter().any(|name| name.starts_with("out.default.svc")), "{one:#?}");
        let sample = asked(&Choice { namespace: Some("n".to_owned()), sample: Some(1) });
        let services = ["web", "db", "empty"];
        let of = |service: &str| sample.iter().any(|name| name.starts_with(&format!("{service}.n.svc")));
        assert_eq!(services.into_iter().filter(|service| of(service)).count(), 1, "{sample:#?}");
        assert!(sample.iter().filter(|name| name.starts_with("db-") && name.ends_with(" A")).count() <= 1);
    }
}
