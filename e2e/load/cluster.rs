//! A large cluster by numbers: its names and addresses, its objects, its records.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::harness::build;

/// The zone of the cluster.
pub const ZONE: &str = "cluster.local";
/// The zone of its addresses.
pub const REVERSE_ZONE: &str = "in-addr.arpa";
/// The TTL of its records, seconds.
pub const TTL: u32 = 30;
/// The port that every Service has, and its name and protocol.
pub const PORT: (u16, &str, &str) = (80, "http", "tcp");

/// How much of what there is. Services and endpoints are told by their numbers, counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// Namespaces, over which everything is spread.
    pub namespaces: usize,
    /// Services with a ClusterIP.
    pub services: usize,
    /// Services without.
    pub headless: usize,
    /// Endpoints of each headless Service; each has a hostname.
    pub endpoints: usize,
    /// Services that are another name for one of the cluster.
    pub aliases: usize,
    /// Addresses that are asked for as names of pods.
    pub pods: usize,
}

/// A record as a zone file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name, without the dot at its end.
    pub owner: String,
    /// `A`, `SRV`, ...
    pub kind: &'static str,
    /// The data, as text.
    pub data: String,
}

impl Default for Cluster {
    /// 10,000 Services, and 500 headless ones with 10,000 endpoints, over 20 namespaces.
    fn default() -> Self {
        Self { namespaces: 20, services: 10_000, headless: 500, endpoints: 20, aliases: 100, pods: 1000 }
    }
}

impl Cluster {
    /// `ns-7`
    pub fn namespace(&self, number: usize) -> String {
        format!("ns-{}", number % self.namespaces.max(1))
    }

    /// `svc-123.ns-3.svc.cluster.local`
    pub fn service(&self, number: usize) -> String {
        format!("svc-{number}.{}.svc.{ZONE}", self.namespace(number))
    }

    /// The ClusterIP of a Service, of those that the embedded API server has to give.
    pub fn service_address(&self, number: usize) -> Ipv4Addr {
        // What is before belongs to the cluster's own Services.
        address(96, number + 250)
    }

    /// `db-12.ns-12.svc.cluster.local`
    pub fn headless_service(&self, number: usize) -> String {
        format!("db-{number}.{}.svc.{ZONE}", self.namespace(number))
    }

    /// `db-12-3.db-12.ns-12.svc.cluster.local`
    pub fn endpoint(&self, service: usize, number: usize) -> String {
        format!("db-{service}-{number}.{}", self.headless_service(service))
    }

    /// The address of an endpoint.
    pub fn endpoint_address(&self, service: usize, number: usize) -> Ipv4Addr {
        address(140, service * self.endpoints + number)
    }

    /// `alias-5.ns-5.svc.cluster.local`
    pub fn alias(&self, number: usize) -> String {
        format!("alias-{number}.{}.svc.{ZONE}", self.namespace(number))
    }

    /// `10-150-0-6.ns-5.pod.cluster.local`
    pub fn pod(&self, number: usize) -> String {
        let [a, b, c, d] = address(150, number).octets();
        format!("{a}-{b}-{c}-{d}.{}.pod.{ZONE}", self.namespace(number))
    }

    /// `_http._tcp.` and the name of a Service.
    pub fn port_of(&self, service: &str) -> String {
        format!("_{}._{}.{service}", PORT.1, PORT.2)
    }

    /// Its objects, in an order in which they can be made.
    pub fn objects(&self) -> impl Iterator<Item = Value> {
        let namespaces = (0..self.namespaces).map(|number| build::namespace(&self.namespace(number)));
        let services = (0..self.services).map(|number| self.service_object(number));
        let headless = (0..self.headless).flat_map(|number| {
            [build::headless(&self.namespace(number), &format!("db-{number}")), self.slice(number, 0)]
        });
        let aliases = (0..self.aliases).map(|number| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": self.namespace(number), "name": format!("alias-{number}")},
                "spec": {"type": "ExternalName", "externalName": self.service(number)},
            })
        });
        namespaces.chain(services).chain(headless).chain(aliases)
    }

    fn service_object(&self, number: usize) -> Value {
        let mut service = build::service(&self.namespace(number), &format!("svc-{number}"));
        if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("clusterIP".to_owned(), json!(self.service_address(number)));
        }
        service
    }

    /// The name of the EndpointSlice of a headless Service.
    pub fn slice_name(&self, service: usize) -> String {
        format!("db-{service}-x1")
    }

    /// The EndpointSlice of a headless Service. In turn 0 each endpoint has its own address, in turn 1 that of the next, and
    /// so on: all names have as many records as before, and others.
    pub fn slice(&self, service: usize, turn: usize) -> Value {
        let endpoints: Vec<Value> = (0..self.endpoints)
            .map(|number| {
                json!({
                    "addresses": [self.endpoint_address(service, (number + turn) % self.endpoints)],
                    "hostname": format!("db-{service}-{number}"),
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "nodeName": format!("node-{}", number % 7),
                    "targetRef": {"kind": "Pod", "namespace": self.namespace(service), "name": format!("db-{service}-{number}")},
                })
            })
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"namespace": self.namespace(service), "name": self.slice_name(service),
                "labels": {"kubernetes.io/service-name": format!("db-{service}"),
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "addressType": "IPv4",
            "ports": [{"name": PORT.1, "port": PORT.0, "protocol": "TCP"}],
            "endpoints": endpoints,
        })
    }

    /// What it has in [`ZONE`], but for SOA and NS.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let services = (0..self.services).flat_map(|number| {
            let name = self.service(number);
            let port = Record::new(self.port_of(&name), "SRV", format!("0 100 {} {name}.", PORT.0));
            [Record::new(name, "A", self.service_address(number).to_string()), port]
        });
        let weight = 100 / self.endpoints.max(1);
        let headless = (0..self.headless).flat_map(move |service| {
            let name = self.headless_service(service);
            (0..self.endpoints).flat_map(move |number| {
                let (endpoint, address) =
                    (self.endpoint(service, number), self.endpoint_address(service, number));
                let port = format!("0 {weight} {} {endpoint}.", PORT.0);
                [
                    Record::new(name.clone(), "A", address.to_string()),
                    Record::new(self.port_of(&name), "SRV", port),
                    Record::new(endpoint, "A", address.to_string()),
                ]
            })
        });
        let aliases = (0..self.aliases)
            .map(|number| Record::new(self.alias(number), "CNAME", format!("{}.", self.service(number))));
        let pods =
            (0..self.pods).map(|number| Record::new(self.pod(number), "A", address(150, number).to_string()));
        services.chain(headless).chain(aliases).chain(pods)
    }

    /// What it has in [`REVERSE_ZONE`], but for SOA and NS.
    pub fn reverse_records(&self) -> impl Iterator<Item = Record> {
        let pointer = |address, name| Record::new(reverse(address), "PTR", format!("{name}."));
        let services =
            (0..self.services).map(move |number| pointer(self.service_address(number), self.service(number)));
        let endpoints = (0..self.headless).flat_map(move |service| {
            (0..self.endpoints).map(move |number| {
                pointer(self.endpoint_address(service, number), self.endpoint(service, number))
            })
        });
        services.chain(endpoints)
    }
}

impl Record {
    fn new(owner: String, kind: &'static str, data: String) -> Self {
        Self { owner, kind, data }
    }
}

/// `10.0.97.10` → `10.97.0.10.in-addr.arpa`
pub fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.{REVERSE_ZONE}")
}

/// The address of this number in 10.`network`.0.0 and what follows.
fn address(network: u8, number: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number % 250).unwrap_or_default();
    let over = u8::try_from(number / 62_500).unwrap_or_default();
    Ipv4Addr::new(10, network.saturating_add(over), byte(number / 250), byte(number).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let cluster = Cluster::default();
        let services = (0..cluster.services).map(|number| cluster.service_address(number));
        let endpoints = (0..cluster.headless).flat_map(|service| {
            (0..cluster.endpoints).map(move |number| cluster.endpoint_address(service, number))
        });
        let addresses: BTreeSet<Ipv4Addr> = services.chain(endpoints).collect();
        assert_eq!(addresses.len(), 20_000);
        let owners: BTreeSet<String> = cluster.records().map(|record| record.owner).collect();
        // A name and a port of each Service, a name of each endpoint, aliases, pods.
        assert_eq!(owners.len(), 2 * 10_500 + 10_000 + 100 + 1000);
        assert_eq!(reverse(Ipv4Addr::new(10, 97, 0, 5)), "5.0.97.10.in-addr.arpa");
    }

    #[test]
    fn objects_and_records_agree() {
        let cluster = Cluster { services: 30, headless: 3, aliases: 2, pods: 4, ..Cluster::default() };
        let objects: Vec<Value> = cluster.objects().collect();
        assert_eq!(objects.len(), 20 + 30 + 3 * 2 + 2);
        let of = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
        let records: Vec<Record> = cluster.records().collect();
        for service in of("Service") {
            let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
            let owner = format!("{}.{}.svc.{ZONE}", name.as_str().unwrap(), namespace.as_str().unwrap());
            let found: Vec<&Record> = records.iter().filter(|record| record.owner == owner).collect();
            match service["spec"]["clusterIP"].as_str() {
                Some("None") => assert_eq!(found.len(), cluster.endpoints),
                Some(address) => assert_eq!((found.len(), found[0].data.as_str()), (1, address)),
                None => assert_eq!((found.len(), found[0].kind), (1, "CNAME")),
            }
        }
        let hostnames = of("EndpointSlice")
            .iter()
            .map(|slice| slice["endpoints"].as_array().unwrap().len())
            .sum::<usize>();
        assert_eq!(hostnames, 60);
        assert_eq!(cluster.reverse_records().count(), 30 + 60);
    }

    #[test]
    fn a_turn_gives_endpoints_the_address_of_the_next() {
        let cluster = Cluster::default();
        let addresses = |turn| -> Vec<String> {
            let slice = cluster.slice(5, turn);
            let endpoints = slice["endpoints"].as_array().unwrap().clone();
            endpoints.iter().map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned()).collect()
        };
        let own = addresses(0);
        assert_eq!(own[7], cluster.endpoint_address(5, 7).to_string());
        assert_eq!(addresses(1)[..19], own[1..]);
        assert_eq!(addresses(1)[19], own[0]);
        assert_eq!(addresses(20), own);
    }
}
