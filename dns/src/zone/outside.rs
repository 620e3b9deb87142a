//! What clients outside of the cluster are told of a Service: its external addresses, and endpoints where there are none.
//!
//! For `k8s_external` (`coredns` `plugin/kubernetes/external.go`). Such names are asked for rarely, and by few; nothing is
//! kept for them but the addresses, and everything else is made from the index when somebody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use callsign_shared::{index::ServiceView, name::Key, object::SliceAddress};
use compact_str::CompactString as Text;

use super::{
    NameServerName, Zone,
    lookup::{bare, protocol},
    open::Open,
    service::{host_label, is_label, select},
};

/// One address and port of a Service, as the outside sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outside {
    /// The address, or the name of a load balancer.
    pub address: SliceAddress,
    /// The port; none where the Service has none.
    pub port: Option<u16>,
    /// The endpoint's label under the Service; `None` for an address of the Service itself.
    pub host: Option<Text>,
}

/// What is at a name below a Service's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsidePlace {
    /// Nothing, and nothing below it.
    Nothing,
    /// Nothing, but names below it.
    Empty,
    /// These; at least one.
    Found(Vec<Outside>),
}

impl Zone {
    /// What is at the name with these labels, in lower case, from the namespace on to the left. `endpoints`: of Services
    /// without external addresses those that are headless answer with their endpoints, and all their endpoints have names.
    pub fn outside(&self, labels: &[&str], endpoints: bool) -> OutsidePlace {
        let [namespace, rest @ ..] = labels else { return OutsidePlace::Empty };
        if !self.serves_name(namespace) || !self.has_namespace(namespace.as_bytes()) {
            return OutsidePlace::Nothing;
        }
        let [service, rest @ ..] = rest else { return OutsidePlace::Empty };
        let Some(view) = self.index.view(&Key::new(namespace, service)) else { return OutsidePlace::Nothing };
        let any = Open { port: "", protocol: None };
        let found = match rest {
            [] => self.at_ports(&view, any, None, endpoints),
            [label] => {
                let host = self.at_ports(&view, any, Some(label), endpoints);
                let below = protocol(label.as_bytes()).map(|protocol| {
                    self.at_ports(&view, Open { port: "", protocol: Some(protocol) }, None, endpoints)
                });
                // Names of ports are below it.
                if host.is_empty() && below.is_some_and(|below| !below.is_empty()) {
                    return OutsidePlace::Empty;
                }
                host
            }
            [proto, port] => {
                let protocol = protocol(proto.as_bytes());
                if protocol.is_none() && !bare(proto.as_bytes()).is_empty() {
                    return OutsidePlace::Nothing;
                }
                self.at_ports(
                    &view,
                    Open { port: port.strip_prefix('_').unwrap_or(port), protocol },
                    None,
                    endpoints,
                )
            }
            _ => Vec::new(),
        };
        if found.is_empty() { OutsidePlace::Nothing } else { OutsidePlace::Found(found) }
    }

    fn at_ports(
        &self,
        view: &ServiceView,
        open: Open<'_>,
        host: Option<&str>,
        endpoints: bool,
    ) -> Vec<Outside> {
        let Some(view) = select(&self.config, view) else { return Vec::new() };
        let Some(service) = &view.service else { return Vec::new() };
        let number = |port: i32| u16::try_from(port).ok();
        let mut found = Vec::new();
        if !service.outside.is_empty() {
            let mut ports: Vec<Option<u16>> = (service.ports.iter())
                .filter(|port| open.takes(&port.name, port.protocol))
                .map(|port| number(port.port))
                .collect();
            if service.ports.is_empty() && open.is_any() {
                ports.push(None);
            }
            for address in service.outside.iter().filter(|_| host.is_none()) {
                found.extend(ports.iter().map(|port| Outside {
                    address: address.clone(),
                    port: *port,
                    host: None,
                }));
            }
        } else if endpoints && self.config.endpoints && (service.is_headless() || host.is_some()) {
            for one in view.published(self.config.source) {
                let label = host_label(&self.config, &one);
                if !is_label(&label) || host.is_some_and(|host| host != label) {
                    continue;
                }
                let taken = |port: &&callsign_shared::object::EndpointPort| {
                    open.takes(port.name.as_deref().unwrap_or_default(), port.protocol)
                };
                let mut ports: Vec<Option<u16>> =
                    one.ports.iter().filter(taken).map(|port| port.port.and_then(number)).collect();
                if one.ports.is_empty() && open.is_any() {
                    ports.push(None);
                }
                let outside =
                    |port| Outside { address: one.address.clone(), port, host: Some(label.clone()) };
                found.extend(ports.into_iter().map(outside));
            }
        }
        found
    }

    /// The labels, below its namespace, of every name that a Service has outside: its own, its named ports', its
    /// endpoints', leftmost first.
    pub fn outside_names(&self, key: &Key, endpoints: bool) -> Vec<Vec<String>> {
        let Some(view) = self.index.view(key) else { return Vec::new() };
        let any = Open { port: "", protocol: None };
        let mut below: BTreeSet<Vec<String>> = BTreeSet::new();
        below.insert(Vec::new());
        below.extend(
            self.at_ports(&view, any, None, endpoints)
                .into_iter()
                .filter_map(|one| Some(vec![one.host?.to_string()])),
        );
        if let Some(service) = &view.service {
            let ports = service.ports.iter().filter(|port| is_label(&port.name));
            below.extend(
                ports.map(|port| vec![format!("_{}", port.name), format!("_{}", port.protocol.label())]),
            );
        }
        let full = |mut labels: Vec<String>| {
            labels.extend([key.name.to_string(), key.namespace.to_string()]);
            labels
        };
        below.into_iter().map(full).collect()
    }

    /// The Services that may be seen from outside: their keys, in order.
    pub fn outside_services(&self, endpoints: bool) -> Vec<Key> {
        let seen = |view: &Arc<ServiceView>| {
            let service = view.service.as_ref();
            service.is_some_and(|service| !service.outside.is_empty() || endpoints && service.is_headless())
                && is_label(&view.key.name)
        };
        let mut keys: Vec<Key> =
            self.index.views().iter().filter(|view| seen(view)).map(|view| view.key.clone()).collect();
        keys.retain(|key| self.serves_name(&key.namespace) && self.has_namespace(key.namespace.as_bytes()));
        keys.sort_unstable();
        keys
    }

    /// Every external address of a Service, and the Services that have it.
    pub fn outside_addresses(&self) -> BTreeMap<IpAddr, Vec<Key>> {
        let mut addresses: BTreeMap<IpAddr, Vec<Key>> = BTreeMap::new();
        for key in self.outside_services(false) {
            let OutsidePlace::Found(found) = self.outside(&[&key.namespace, &key.name], false) else {
                continue;
            };
            for one in found {
                let SliceAddress::Ip(ip) = one.address else { continue };
                let keys = addresses.entry(ip).or_default();
                if keys.last() != Some(&key) {
                    keys.push(key.clone());
                }
            }
        }
        addresses
    }

    /// The addresses under which this server is reached from outside: external ones of the Services that lead to it, or
    /// its own where none does.
    pub fn outside_servers(&self, endpoints: bool) -> BTreeSet<IpAddr> {
        let mut addresses = BTreeSet::new();
        for server in self.name_servers().iter() {
            match &server.name {
                NameServerName::Default => {
                    addresses.extend(server.v4.iter().copied().map(IpAddr::V4));
                    addresses.extend(server.v6.iter().copied().map(IpAddr::V6));
                }
                NameServerName::Service { service, .. } => {
                    let Some(view) = self.index.view(service) else { continue };
                    let found = self.at_ports(&view, Open { port: "", protocol: None }, None, endpoints);
                    addresses.extend(found.into_iter().filter_map(|one| match one.address {
                        SliceAddress::Ip(ip) => Some(ip),
                        SliceAddress::Name(_) => None,
                    }));
                }
            }
        }
        addresses
    }
}
