//! All names of one Service, as RRsets that are ready to be copied.
//!
//! ```text
//!   <service>                       own     A, AAAA, SRV, or CNAME
//!   _<port>._<protocol>.<service>   ports   A, AAAA, SRV
//!   <hostname>.<service>            hosts   A, AAAA, SRV of one endpoint
//! ```
//!
//! They are one value, replaced as a whole: a reader sees all of a Service's names as they were or as they are now, so an
//! SRV never names a host that has no address. Names inside are relative to the zone; several zones share them.
//!
//! The schema is the DNS-Based Service Discovery specification 1.1.0 of Kubernetes, with the answers CoreDNS gives where
//! it is silent: endpoints of every Service have names, ports are answered for addresses too.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use callsign_shared::{
    index::{Published, ServiceView},
    name::{Key, Name as ObjectName},
    object::{ClusterIp, EndpointPort, Protocol, Service, SliceAddress},
};
use compact_str::{CompactString as Text, format_compact};
use hickory_proto::rr::Name;
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::{
    Hasher,
    config::ZoneConfig,
    hosts::{Hosts, NewHost},
    node::{Node, SrvSet, Target},
};

/// The names of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNames {
    /// The Service's key; its parts are labels of every name.
    pub key: Arc<Key>,
    /// What the Service is to DNS.
    pub kind: Kind,
    /// What is at the Service's own name.
    pub own: Node,
    /// Named ports, in the order of name and protocol.
    pub ports: Box<[PortNames]>,
    /// Endpoints by their label under the Service, in the order of those labels.
    pub hosts: Hosts,
    /// Endpoints that are a domain name (slices of type FQDN): label and target.
    pub aliases: Box<[(Text, Name)]>,
}

/// What a Service is to DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has cluster IPs, which answer for it.
    ClusterIp,
    /// Its endpoints answer for it.
    Headless,
    /// It is an alias of another name and has no names below.
    External(Box<Name>),
    /// It has no names, only PTR records that lead to it: it is empty and such Services are ignored, or it is gone and
    /// its slices are not.
    Hidden,
}

/// What is at `_<name>._<protocol>` under the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortNames {
    /// The port's name, in lower case.
    pub name: ObjectName,
    /// Its protocol.
    pub protocol: Protocol,
    /// The records.
    pub node: Node,
}

impl ServiceNames {
    /// The names of a Service, if it has any.
    pub(super) fn build(config: &ZoneConfig, view: &ServiceView) -> Option<Self> {
        if !is_label(&view.key.name) || !is_label(&view.key.namespace) {
            return None;
        }
        let view = &*select(config, view)?;
        let published = if config.endpoints { view.published(config.source) } else { Vec::new() };
        let endpoints = Endpoints::gather(config, published);
        let mut names = Self {
            key: Arc::new(view.key.clone()),
            kind: Kind::Hidden,
            own: Node::default(),
            ports: Box::default(),
            hosts: Hosts::default(),
            aliases: Box::default(),
        };
        match &view.service {
            Some(service) if service.is_external() => {
                if let Some(target) = external_target(service) {
                    names.kind = Kind::External(Box::new(target));
                }
            }
            Some(service) => match &service.cluster_ip {
                ClusterIp::Addresses(ips) => {
                    names.own = own_node(
                        ips,
                        service.ports.iter().map(|port| port.port),
                        service.ports.is_empty(),
                        None,
                    );
                    if !(config.ignore_empty_service && endpoints.published.is_empty()) {
                        names.kind = Kind::ClusterIp;
                        names.ports = service_ports(service, ips, &names.own);
                        names.aliases = endpoints.aliases.clone();
                    }
                }
                ClusterIp::Headless if !endpoints.published.is_empty() => {
                    names.kind = Kind::Headless;
                    names.own = endpoints.own();
                    names.ports = endpoints.ports(&names.own);
                    names.aliases = endpoints.aliases.clone();
                }
                ClusterIp::Headless | ClusterIp::Unset => {}
            },
            None => {}
        }
        names.hosts = endpoints.hosts;
        (names.kind != Kind::Hidden || names.pointed().any(|pointed| pointed.ips().next().is_some()))
            .then_some(names)
    }

    /// How many endpoints have a name under the Service.
    pub fn endpoints(&self) -> usize {
        self.hosts.len() + self.aliases.len()
    }

    /// The endpoint of this label.
    pub fn host(&self, label: &[u8]) -> Option<usize> {
        self.hosts.find(label)
    }

    /// The addresses that have PTR records because of this Service, by the label to which they lead: its own (no label)
    /// come first, then its endpoints', in the order of the labels.
    pub(super) fn pointed(&self) -> impl Iterator<Item = Pointed<'_>> {
        let own = self.own_pointers();
        let own = own.into_iter().map(|own| Pointed { label: None, v4: own.v4(), v6: own.v6() });
        let hosts =
            self.hosts.iter().map(|host| Pointed { label: Some(host.label()), v4: host.v4(), v6: host.v6() });
        own.chain(hosts)
    }

    /// Whether an address has a PTR record that leads to the Service itself.
    pub(super) fn has_own_pointer(&self, ip: IpAddr) -> bool {
        self.own_pointers().is_some_and(|own| match ip {
            IpAddr::V4(ip) => own.v4().contains(&ip),
            IpAddr::V6(ip) => own.v6().contains(&ip),
        })
    }

    /// The node whose addresses lead to the Service itself.
    fn own_pointers(&self) -> Option<&Node> {
        // A headless Service's own name has its endpoints' addresses, which point to the endpoints.
        (self.kind != Kind::Headless).then_some(&self.own)
    }
}

/// Addresses that lead to one label, sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointed<'a> {
    /// An endpoint's; `None` for the Service's own name.
    pub(super) label: Option<&'a str>,
    pub(super) v4: &'a [Ipv4Addr],
    pub(super) v6: &'a [Ipv6Addr],
}

impl Pointed<'_> {
    /// All of them.
    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        ips(self.v4, self.v6)
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.binary_search(&ip).is_ok(),
            IpAddr::V6(ip) => self.v6.binary_search(&ip).is_ok(),
        }
    }
}

/// Both families in one.
pub(super) fn ips<'a>(v4: &'a [Ipv4Addr], v6: &'a [Ipv6Addr]) -> impl Iterator<Item = IpAddr> + 'a {
    v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6))
}

/// Whether a text can be a label of a name in this zone. It is compared in lower case.
pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// The view as far as the configured labels let it be seen; `None` when nothing is left.
pub(super) fn select<'a>(
    config: &ZoneConfig,
    view: &'a ServiceView,
) -> Option<std::borrow::Cow<'a, ServiceView>> {
    use std::borrow::Cow;
    let Some(selector) = &config.labels else { return Some(Cow::Borrowed(view)) };
    let mut seen = view.clone();
    seen.service = seen.service.filter(|service| selector.matches(&service.meta.labels));
    Arc::make_mut(&mut seen.slices).retain(|slice| selector.matches(&slice.meta.labels));
    (seen.service.is_some() || !seen.slices.is_empty()).then_some(Cow::Owned(seen))
}

/// The name an ExternalName Service stands for. An address is no name, though it looks like one.
fn external_target(service: &Service) -> Option<Name> {
    if service.external_name.parse::<IpAddr>().is_ok() {
        return None;
    }
    domain(&service.external_name)
}

fn domain(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok().filter(|name| !name.is_root())?;
    name.set_fqdn(true);
    Some(name)
}

/// A hundred shared by `candidates`, at least one.
fn weight(candidates: usize) -> u16 {
    // The same arithmetic as CoreDNS's, so that rounding never differs.
    let share = 100.0 / (candidates.max(1) * 100) as f64 * 100.0;
    (share as u16).max(1)
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

// === Services with cluster IPs ===

/// Addresses that `like` has too are shared with it.
pub(super) fn own_node(
    ips: &[IpAddr],
    ports: impl Iterator<Item = i32>,
    portless: bool,
    like: Option<&Node>,
) -> Node {
    let mut records: Vec<(Target, u16)> = ports.filter_map(number).map(|port| (Target::Own, port)).collect();
    let candidates = ips.len() * if portless { 1 } else { records.len() };
    records.sort_unstable();
    records.dedup();
    let srv = SrvSet::new(weight(candidates), records, Vec::new());
    let (v4, v6) = split(ips.iter().copied());
    Node::new(v4, v6, srv, None, like)
}

fn service_ports(service: &Service, ips: &[IpAddr], own: &Node) -> Box<[PortNames]> {
    let mut ports: BTreeMap<(ObjectName, Protocol), Vec<i32>> = BTreeMap::new();
    for port in &service.ports {
        let name = port.name.to_ascii_lowercase();
        if is_label(&name) {
            ports.entry((name.into(), port.protocol)).or_default().push(port.port);
        }
    }
    let node = |numbers: Vec<i32>| own_node(ips, numbers.into_iter(), false, Some(own));
    ports
        .into_iter()
        .map(|((name, protocol), numbers)| PortNames { name, protocol, node: node(numbers) })
        .collect()
}

pub(super) fn split(ips: impl Iterator<Item = IpAddr>) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for ip in ips {
        match ip {
            IpAddr::V4(ip) => v4.push(ip),
            IpAddr::V6(ip) => v6.push(ip),
        }
    }
    v4.sort_unstable();
    v4.dedup();
    v6.sort_unstable();
    v6.dedup();
    (v4, v6)
}

// === Endpoints ===

/// The endpoints of a Service under their labels.
pub(super) struct Endpoints<'a> {
    pub(super) hosts: Hosts,
    aliases: Box<[(Text, Name)]>,
    /// What is published, in the order of the labels, each with its host; a domain name has none. What is found by going
    /// through them is nearly in order already: sorting it costs next to nothing.
    pub(super) published: Vec<(Published<'a>, Option<u32>)>,
}

#[derive(Default)]
struct Gathered {
    v4: SmallVec<[Ipv4Addr; 2]>,
    v6: SmallVec<[Ipv6Addr; 1]>,
    ports: SmallVec<[u16; 4]>,
    candidates: usize,
}

impl<'a> Endpoints<'a> {
    pub(super) fn gather(config: &ZoneConfig, published: Vec<Published<'a>>) -> Self {
        let mut labelled: Vec<(Text, Published<'a>)> =
            published.into_iter().map(|one| (host_label(config, &one), one)).collect();
        // Stable: of several domain names the first one counts.
        labelled.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut hosts: Vec<NewHost> = Vec::new();
        let mut aliases: Vec<(Text, Name)> = Vec::new();
        let mut host_of: Vec<Option<u32>> = Vec::with_capacity(labelled.len());
        for same in labelled.chunk_by(|(one, _), (other, _)| one == other) {
            let mut host = Gathered::default();
            let mut alias = None;
            for (label, one) in same {
                match &one.address {
                    SliceAddress::Ip(ip) => host.add(*ip, one),
                    SliceAddress::Name(name) => {
                        alias = alias.or_else(|| domain(name).filter(|_| is_label(label)));
                    }
                }
            }
            let Some((label, _)) = same.first() else { continue };
            let at = if host.candidates > 0 {
                hosts.push(host.finish(label.clone()));
                u32::try_from(hosts.len() - 1).ok()
            } else {
                aliases.extend(alias.map(|target| (label.clone(), target)));
                None
            };
            host_of.extend(same.iter().map(|(_, one)| match one.address {
                SliceAddress::Ip(_) => at,
                SliceAddress::Name(_) => None,
            }));
        }
        let published = labelled.into_iter().map(|(_, one)| one).zip(host_of).collect();
        Self { hosts: hosts.into_iter().collect(), aliases: aliases.into(), published }
    }

    /// The records at a headless Service's own name.
    fn own(&self) -> Node {
        let mut found = Found::default();
        for (one, host) in &self.published {
            found.candidates += one.ports.len().max(1);
            found.add_address(&one.address);
            for port in one.ports {
                found.add_port(*host, port, &one.address);
            }
        }
        found.finish(&self.hosts, None)
    }

    /// The records at a headless Service's named ports: of the endpoints that have the port.
    fn ports(&self, own: &Node) -> Box<[PortNames]> {
        let mut all: IndexMap<(ObjectName, Protocol), Found, Hasher> = IndexMap::default();
        // Nearly all endpoints of a Service have the same ports: which of `all` each leads to is looked up once.
        let mut last: (&[EndpointPort], SmallVec<[Option<usize>; 4]>) = Default::default();
        for (one, host) in &self.published {
            if last.0 != one.ports {
                last = (one.ports, one.ports.iter().map(|port| place(&mut all, port)).collect());
            }
            for (port, place) in one.ports.iter().zip(&last.1) {
                if let Some((_, found)) = place.and_then(|at| all.get_index_mut(at)) {
                    found.add(one, *host, port);
                }
            }
        }
        all.sort_unstable_keys();
        let node = |found: Found| found.finish(&self.hosts, Some(own));
        all.into_iter()
            .map(|((name, protocol), found)| PortNames { name, protocol, node: node(found) })
            .collect()
    }
}

/// Where among `all` the records of a port are gathered; `None` if its name is no label.
fn place(all: &mut IndexMap<(ObjectName, Protocol), Found, Hasher>, port: &EndpointPort) -> Option<usize> {
    let name = ObjectName::from(port.name.as_deref().unwrap_or_default().to_ascii_lowercase());
    is_label(&name).then(|| {
        let entry = all.entry((name, port.protocol));
        let at = entry.index();
        entry.or_default();
        at
    })
}

impl Gathered {
    fn add(&mut self, ip: IpAddr, one: &Published<'_>) {
        match ip {
            IpAddr::V4(ip) => self.v4.push(ip),
            IpAddr::V6(ip) => self.v6.push(ip),
        }
        self.candidates += one.ports.len().max(1);
        self.ports.extend(one.ports.iter().filter_map(|port| port.port).filter_map(number));
    }

    fn finish(mut self, label: Text) -> NewHost {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v6.sort_unstable();
        self.v6.dedup();
        self.ports.sort_unstable();
        self.ports.dedup();
        NewHost { label, v4: self.v4, v6: self.v6, ports: self.ports, weight: weight(self.candidates) }
    }
}

/// Records of one name while they are found.
#[derive(Default)]
pub(super) struct Found {
    ips: Vec<IpAddr>,
    names: Vec<Name>,
    srv: Vec<(Target, u16)>,
    /// The addresses that have one of the ports, with their host.
    meant: Vec<(u32, IpAddr)>,
    candidates: usize,
}

impl Found {
    /// Nothing has been found.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates == 0
    }

    /// Adds an endpoint that has this port.
    pub(super) fn add(&mut self, one: &Published<'_>, host: Option<u32>, port: &EndpointPort) {
        self.candidates += 1;
        self.add_address(&one.address);
        self.add_port(host, port, &one.address);
    }

    fn add_address(&mut self, address: &SliceAddress) {
        match address {
            SliceAddress::Ip(ip) => self.ips.push(*ip),
            SliceAddress::Name(name) => self.names.extend(domain(name)),
        }
    }

    fn add_port(&mut self, host: Option<u32>, port: &EndpointPort, address: &SliceAddress) {
        if let (Some(host), Some(port)) = (host, port.port.and_then(number)) {
            self.srv.push((Target::Host(host), port));
            if let SliceAddress::Ip(ip) = address {
                self.meant.push((host, *ip));
            }
        }
    }

    /// Addresses that `like` has too are shared with it.
    pub(super) fn finish(mut self, hosts: &Hosts, like: Option<&Node>) -> Node {
        self.srv.sort_unstable();
        self.srv.dedup();
        self.meant.sort_unstable();
        self.meant.dedup();
        let parts = self.meant.chunk_by(|one, other| one.0 == other.0).filter(|part| {
            let host = part.first().and_then(|(at, _)| hosts.get(*at as usize));
            host.is_some_and(|host| part.len() < host.v4().len() + host.v6().len())
        });
        let partial: Vec<_> = parts.flatten().copied().collect();
        let (v4, v6) = split(self.ips.into_iter());
        // A CNAME stands alone at its name (RFC 2181 10.1): addresses go before it, and one of several is chosen.
        let alias = self.names.into_iter().min().filter(|_| v4.is_empty() && v6.is_empty());
        Node::new(v4, v6, SrvSet::new(weight(self.candidates), self.srv, partial), alias, like)
    }
}

/// The label of an endpoint: its hostname, else (when asked for) its pod's name, else its address with dashes.
pub(super) fn host_label(config: &ZoneConfig, endpoint: &Published<'_>) -> Text {
    let pod = endpoint.target.filter(|_| config.endpoint_pod_names);
    let mut given = endpoint.hostname.into_iter().chain(pod);
    // A pod's name may have dots and 253 bytes; such a name is no label.
    let given = given.find(|text| is_label(text)).map(Text::from);
    given.unwrap_or_else(|| match &endpoint.address {
        SliceAddress::Ip(ip) => dashed(*ip),
        SliceAddress::Name(name) => Text::from(name.to_ascii_lowercase().replace('.', "-")),
    })
}

/// An address as a label. A label must not end in a dash, so `fd00::` is `fd00--0`.
fn dashed(ip: IpAddr) -> Text {
    let text = format_compact!("{ip}");
    let mut label: Text = text.chars().map(|c| if matches!(c, '.' | ':') { '-' } else { c }).collect();
    if label.ends_with('-') {
        label.push('0');
    }
    label
}
