//! From a name to what is there.
//!
//! One comparison per zone, then labels from the right, then one look into one map. The case of the question plays no
//! part (RFC 4343); what is there is returned without its owner name, so that the answer can repeat the question's.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use callsign_shared::object::Protocol;
use hickory_proto::rr::Name;
use smallvec::SmallVec;

use super::{
    Node, Zone,
    config::{Pods, is_reverse},
    open::Open,
    reverse::{Pointers, Range, read_labels},
    service::{Kind, ServiceNames},
};

/// A zone as it is compared with names.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Its labels from the root down, in lower case.
    labels: Vec<Box<[u8]>>,
    /// Its place in the configuration.
    at: usize,
    reverse: bool,
}

/// Where a name is.
#[derive(Clone, Debug)]
pub enum Found {
    /// In none of the zones.
    Outside,
    /// In one of them.
    In {
        /// How many labels the zone has: the last ones of the name.
        zone_labels: usize,
        /// What is there.
        place: Place,
    },
}

/// What is at a name.
#[derive(Clone, Debug)]
pub enum Place {
    /// Nothing, and nothing below it.
    Nothing,
    /// No record, but names below it (RFC 8020).
    Empty,
    /// The zone's own name.
    Apex,
    /// `ns.dns`, which SOA records name.
    NameServer,
    /// `dns-version`
    Version,
    /// A Service's own name.
    Service(Arc<ServiceNames>),
    /// A Service's port: an index of [`ServiceNames::ports`].
    Port(Arc<ServiceNames>, usize),
    /// Several of a Service's ports: the name leaves port or protocol open.
    Ports(Arc<ServiceNames>, Arc<Node>),
    /// An endpoint: an index of [`ServiceNames::hosts`].
    Host(Arc<ServiceNames>, usize),
    /// An endpoint that is a domain name: an index of [`ServiceNames::aliases`].
    Alias(Arc<ServiceNames>, usize),
    /// A pod name, which says its own address.
    Pod(IpAddr),
    /// An address that leads to these names.
    Reverse(Pointers),
}

impl Place {
    /// Whether it is a Service's, a port's or an endpoint's.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self, Self::Service(_) | Self::Port(..) | Self::Host(..))
    }
}

/// The zones as they are compared, the longest first.
pub(super) fn cuts(zones: &[Name]) -> Vec<Cut> {
    let mut cuts: Vec<Cut> = (zones.iter().enumerate())
        .map(|(at, zone)| Cut {
            labels: zone.iter().rev().map(|label| label.to_ascii_lowercase().into()).collect(),
            at,
            reverse: is_reverse(zone),
        })
        .collect();
    cuts.sort_by_key(|cut| (std::cmp::Reverse(cut.labels.len()), cut.at));
    cuts
}

impl Zone {
    /// Finds a name.
    pub fn find(&self, name: &Name) -> Found {
        let labels: SmallVec<[&[u8]; 16]> = name.iter().rev().collect();
        let Some(cut) = self.zones.iter().find(|cut| cut.holds(&labels)) else { return Found::Outside };
        let zone_labels = cut.labels.len();
        let below = labels.get(zone_labels..).unwrap_or_default();
        let place = if below.is_empty() {
            Place::Apex
        } else if cut.reverse {
            self.find_reverse(&labels, below)
        } else {
            self.find_forward(below)
        };
        Found::In { zone_labels, place }
    }

    /// `below` holds the labels left of the zone, the rightmost first.
    fn find_forward(&self, below: &[&[u8]]) -> Place {
        let mut room = [0; LONGEST];
        let Some(lowered) = Lowered::of(below, &mut room) else { return Place::Nothing };
        match lowered.labels.as_slice() {
            ["svc" | "pod" | "dns"] => Place::Empty,
            ["dns-version"] => Place::Version,
            ["dns", "ns"] => Place::NameServer,
            ["svc", namespace] if self.has_namespace(namespace) => Place::Empty,
            ["svc", namespace, _, rest @ ..] => self.find_service(namespace, lowered.key, rest),
            ["pod", namespace] if self.config.pods != Pods::Disabled && self.has_namespace(namespace) => {
                Place::Empty
            }
            ["pod", namespace, pod] => self.find_pod(namespace, pod),
            _ => Place::Nothing,
        }
    }

    /// `key` is `service.namespace`, as the map has it.
    fn find_service(&self, namespace: &str, key: &str, rest: &[&str]) -> Place {
        let Some(names) = self.services.get(key) else { return Place::Nothing };
        if self.config.namespace_labels.is_some() && !self.has_namespace(namespace) {
            return Place::Nothing;
        }
        match (&names.kind, rest) {
            (Kind::Hidden, _) => Place::Nothing,
            (_, []) => Place::Service(names),
            (Kind::External(_), _) => Place::Nothing,
            (_, [label]) => {
                if let Some(at) = names.host(label) {
                    return Place::Host(names, at);
                }
                if let Ok(at) = names.aliases.binary_search_by(|(known, _)| known.as_str().cmp(label)) {
                    return Place::Alias(names, at);
                }
                let below = protocol(label)
                    .is_some_and(|asked| names.ports.iter().any(|port| port.protocol == asked));
                if below { Place::Empty } else { Place::Nothing }
            }
            (_, ["_", "_"]) => Place::Service(names),
            (_, ["_", port]) => {
                // Only what is there is made: names that nobody has cost nothing.
                let port = bare(port);
                let known = names.ports.iter().any(|known| known.name == port);
                if known { self.find_open(&names, Open { port, protocol: None }) } else { Place::Nothing }
            }
            (_, [label, "_"]) => protocol(label).map_or(Place::Nothing, |asked| {
                self.find_open(&names, Open { port: "", protocol: Some(asked) })
            }),
            (_, [label, port]) => {
                let asked = protocol(label).map(|protocol| (bare(port), protocol));
                let at = asked.and_then(|(name, protocol)| {
                    let cmp = |known: &super::PortNames| {
                        (known.name.as_str(), known.protocol).cmp(&(name, protocol))
                    };
                    names.ports.binary_search_by(cmp).ok()
                });
                at.map_or(Place::Nothing, |at| Place::Port(names, at))
            }
            _ => Place::Nothing,
        }
    }

    /// Ports of which one of both labels is left open.
    fn find_open(&self, names: &ServiceNames, open: Open<'_>) -> Place {
        let view = self.index.view(&names.key);
        let found = view.and_then(|view| self.open.get(&self.config, &view, open));
        found.map_or(Place::Nothing, |(names, node)| Place::Ports(names, node))
    }

    fn find_pod(&self, namespace: &str, label: &str) -> Place {
        let exists = |ip: &IpAddr| match self.config.pods {
            Pods::Disabled => false,
            Pods::Insecure => self.has_namespace(namespace),
            Pods::Verified => {
                self.clients.has(namespace, *ip)
                    && (self.config.namespace_labels.is_none() || self.has_namespace(namespace))
                    && self.serves_name(namespace)
            }
        };
        undashed(label).filter(exists).map_or(Place::Nothing, Place::Pod)
    }

    /// `labels` are those of the whole name from the root down: a zone may be narrower than its tree.
    fn find_reverse(&self, labels: &[&[u8]], below: &[&[u8]]) -> Place {
        if let [dns, rest @ ..] = below
            && dns.eq_ignore_ascii_case(b"dns")
        {
            return match rest {
                [] => Place::Empty,
                [ns] if ns.eq_ignore_ascii_case(b"ns") => Place::NameServer,
                _ => Place::Nothing,
            };
        }
        match read_labels(labels) {
            Range::One(ip) => self.reverse.get(ip).map_or(Place::Nothing, Place::Reverse),
            Range::Many(first, last) if self.reverse.any(first, last) => Place::Empty,
            Range::Many(..) | Range::Nothing => Place::Nothing,
        }
    }

    /// Whether a namespace exists: there is a Namespace of this name, or (while its watch is behind) a Service in it.
    pub(super) fn has_namespace(&self, name: &str) -> bool {
        let by_services = self.config.namespace_labels.is_none();
        self.namespaces.get(name).is_some_and(|state| state.exposed || (by_services && state.services > 0))
    }

    pub(super) fn serves_name(&self, namespace: &str) -> bool {
        self.config.namespaces.is_empty() || self.config.namespaces.contains(namespace)
    }
}

impl Cut {
    fn holds(&self, labels: &[&[u8]]) -> bool {
        labels.len() >= self.labels.len()
            && self.labels.iter().zip(labels).all(|(own, label)| label.eq_ignore_ascii_case(own))
    }
}

/// The most labels that a name below a zone has: `_port._protocol.service.namespace.svc`.
const DEEPEST: usize = 5;

/// The longest text of a name.
const LONGEST: usize = 256;

/// Labels in lower case.
struct Lowered<'a> {
    /// The rightmost first.
    labels: SmallVec<[&'a str; DEEPEST]>,
    /// The third and the second of them as they stand in the name: `service.namespace`. Empty where there are fewer.
    key: &'a str,
}

impl<'a> Lowered<'a> {
    /// `None` where there are more labels than any name has, or one has a byte that no name has. `labels` begin at the
    /// right; `room` is for their text.
    fn of(labels: &[&[u8]], room: &'a mut [u8; LONGEST]) -> Option<Self> {
        if labels.len() > DEEPEST {
            return None;
        }
        // From the left, as they stand in the name.
        let mut ends: SmallVec<[usize; DEEPEST]> = SmallVec::new();
        let mut length = 0;
        for label in labels.iter().rev() {
            if length > 0 {
                *room.get_mut(length)? = b'.';
                length += 1;
            }
            for byte in *label {
                match byte.to_ascii_lowercase() {
                    byte @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') => *room.get_mut(length)? = byte,
                    _ => return None,
                }
                length += 1;
            }
            ends.push(length);
        }
        let text = std::str::from_utf8(room.get(..length)?).ok()?;
        let mut start = 0;
        let mut lowered: SmallVec<[&str; DEEPEST]> = SmallVec::new();
        let mut key_start = 0;
        let mut key_end = 0;
        for (at, end) in ends.iter().enumerate() {
            match labels.len() - at {
                3 => key_start = start,
                2 => key_end = *end,
                _ => {}
            }
            lowered.push(text.get(start..*end)?);
            start = end + 1;
        }
        lowered.reverse();
        let key = if labels.len() < 3 { "" } else { text.get(key_start..key_end)? };
        Some(Self { labels: lowered, key })
    }
}

/// A label without the underscore that it may have.
pub(super) fn bare(label: &str) -> &str {
    label.strip_prefix('_').unwrap_or(label)
}

/// A protocol's label; the underscore may be missing.
pub(super) fn protocol(label: &str) -> Option<Protocol> {
    match bare(label) {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The address that a pod name's label is: `10-0-0-1`, `fd00--1`.
fn undashed(label: &str) -> Option<IpAddr> {
    let dashes = label.bytes().filter(|b| *b == b'-').count();
    if dashes == 3 && !label.contains("--") {
        return label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let ip = label.replace('-', ":").parse::<Ipv6Addr>().ok()?;
    Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_labels_are_addresses() {
        let cases = [
            ("10-0-0-1", Some("10.0.0.1")),
            ("fd00--1", Some("fd00::1")),
            ("1-2-3-4-5-6-7-8", Some("1:2:3:4:5:6:7:8")),
            ("--ffff-a00-1", Some("10.0.0.1")),
            ("10-00-0-1", None),
            ("1-2-3", None),
            ("256-0-0-1", None),
            ("notanip", None),
        ];
        for (label, wanted) in cases {
            assert_eq!(undashed(label).map(|ip| ip.to_string()).as_deref(), wanted, "{label}");
        }
    }

    #[test]
    fn only_labels_that_names_have_are_read() {
        let lower = |labels: &[&[u8]]| {
            let mut room = [0; LONGEST];
            let lowered = Lowered::of(labels, &mut room)?;
            Some((lowered.labels.join("."), lowered.key.to_owned()))
        };
        let both = |labels: &str, key: &str| Some((labels.to_owned(), key.to_owned()));
        assert_eq!(lower(&[b"SVC", b"Ns-1", b"_a"]), both("svc.ns-1._a", "_a.ns-1"));
        assert_eq!(lower(&[b"svc", b"ns", b"web", b"_tcp", b"_p"]), both("svc.ns.web._tcp._p", "web.ns"));
        assert_eq!(lower(&[b"svc", b"ns"]), both("svc.ns", ""));
        assert_eq!(lower(&[]), both("", ""));
        assert_eq!(lower(&[b"a.b"]), None);
        assert_eq!(lower(&[b"a", b"b", b"c", b"d", b"e", b"f"]), None);
    }
}
