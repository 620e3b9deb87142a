//! From a name to what is there.
//!
//! One comparison per zone, then labels from the right, then one look into one map: `<service>.<namespace>` is found by
//! the bytes that it has in the name. The case of the question plays no part (RFC 4343); what is there is returned without
//! its owner name, so that the answer can repeat the question's. Nothing is allocated on the way, and nothing is written
//! that other threads read: whoever looks sees what is there where it is, for as long as the look takes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use callsign_shared::object::Protocol;
use hickory_proto::rr::Name;

use super::{
    Node, Zone,
    config::{Pods, is_reverse},
    open::Open,
    reverse::{Pointers, Range, read},
    service::{Kind, ServiceNames},
};
use crate::folded::{Folded, Suffix};

/// A zone as it is compared with names.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    zone: Suffix,
    reverse: bool,
}

/// Where a name is.
#[derive(Debug)]
pub enum Found<'a> {
    /// In none of the zones.
    Outside,
    /// In one of them.
    In {
        /// How many labels the zone has: the last ones of the name.
        zone_labels: usize,
        /// What is there.
        place: Place<'a>,
    },
}

/// What is at a name.
#[derive(Debug)]
pub enum Place<'a> {
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
    Service(&'a ServiceNames),
    /// A Service's port: an index of [`ServiceNames::ports`].
    Port(&'a ServiceNames, usize),
    /// Several of a Service's ports: the name leaves port or protocol open.
    Ports(Arc<ServiceNames>, Arc<Node>),
    /// An endpoint: an index of [`ServiceNames::hosts`].
    Host(&'a ServiceNames, usize),
    /// An endpoint that is a domain name: an index of [`ServiceNames::aliases`].
    Alias(&'a ServiceNames, usize),
    /// A pod name, which says its own address.
    Pod(IpAddr),
    /// An address that leads to these names.
    Reverse(Pointers),
}

impl Place<'_> {
    /// Whether it is a Service's, a port's or an endpoint's.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self, Self::Service(_) | Self::Port(..) | Self::Host(..))
    }
}

/// The zones as they are compared, the longest first.
pub(super) fn cuts(zones: &[Name]) -> Vec<Cut> {
    let cut = |zone: &Name| Cut { zone: Suffix::of(zone), reverse: is_reverse(zone) };
    let mut cuts: Vec<Cut> = zones.iter().map(cut).collect();
    // Stable: of equal ones the first in the configuration.
    cuts.sort_by_key(|cut| std::cmp::Reverse(cut.zone.labels()));
    cuts
}

impl Zone {
    /// Looks at a name.
    pub fn look<R>(&self, name: &Name, see: impl FnOnce(Found<'_>) -> R) -> R {
        self.look_folded(&Folded::of(name), see)
    }

    /// Looks at a name that is ready to be compared. `see` must not wait: changes of what it sees do.
    pub fn look_folded<R>(&self, name: &Folded, see: impl FnOnce(Found<'_>) -> R) -> R {
        let Some(cut) = self.zones.iter().find(|cut| cut.zone.holds(name)) else {
            return see(Found::Outside);
        };
        let zone_labels = cut.zone.labels();
        let found = |place| Found::In { zone_labels, place };
        if name.labels() == zone_labels {
            return see(found(Place::Apex));
        }
        if cut.reverse {
            return see(found(self.find_reverse(name, zone_labels)));
        }
        let mut room = [&[][..]; DEEPEST];
        let Some(labels) = room.get_mut(..name.labels() - zone_labels) else {
            return see(found(Place::Nothing));
        };
        for (label, text) in labels.iter_mut().zip(name.labels_before(zone_labels)) {
            *label = text;
        }
        match &*labels {
            [b"svc", namespace, _, rest @ ..] => {
                let key = name.between(2, zone_labels + 1).and_then(|key| std::str::from_utf8(key).ok());
                self.services.read(key.unwrap_or_default(), |names| {
                    let place = names.map(|names| self.find_in_service(names, namespace, rest));
                    see(Found::In { zone_labels, place: place.unwrap_or(Place::Nothing) })
                })
            }
            labels => see(found(self.find_inner(labels))),
        }
    }

    /// Names that are not a Service's. `labels` are those before the zone, the rightmost first.
    fn find_inner(&self, labels: &[&[u8]]) -> Place<'static> {
        match labels {
            [b"svc" | b"pod" | b"dns"] => Place::Empty,
            [b"dns-version"] => Place::Version,
            [b"dns", b"ns"] => Place::NameServer,
            [b"svc", namespace] if self.has_namespace(namespace) => Place::Empty,
            [b"pod", namespace] if self.config.pods != Pods::Disabled && self.has_namespace(namespace) => {
                Place::Empty
            }
            [b"pod", namespace, pod] => self.find_pod(namespace, pod),
            _ => Place::Nothing,
        }
    }

    /// Names of a Service: `rest` are the labels before it.
    fn find_in_service<'a>(&self, names: &'a ServiceNames, namespace: &[u8], rest: &[&[u8]]) -> Place<'a> {
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
                if let Ok(at) = names.aliases.binary_search_by(|(known, _)| known.as_bytes().cmp(label)) {
                    return Place::Alias(names, at);
                }
                let below = protocol(label)
                    .is_some_and(|asked| names.ports.iter().any(|port| port.protocol == asked));
                if below { Place::Empty } else { Place::Nothing }
            }
            (_, [b"_", b"_"]) => Place::Service(names),
            (_, [b"_", port]) => {
                // Only what is there is made: names that nobody has cost nothing.
                let port = bare(port);
                let known = names.ports.iter().find(|known| known.name.as_bytes() == port);
                known.map_or(Place::Nothing, |known| {
                    self.find_open(names, Open { port: &known.name, protocol: None })
                })
            }
            (_, [label, b"_"]) => protocol(label).map_or(Place::Nothing, |asked| {
                self.find_open(names, Open { port: "", protocol: Some(asked) })
            }),
            (_, [label, port]) => {
                let asked = protocol(label).map(|protocol| (bare(port), protocol));
                let at = asked.and_then(|(name, protocol)| {
                    let cmp = |known: &super::PortNames| {
                        (known.name.as_bytes(), known.protocol).cmp(&(name, protocol))
                    };
                    names.ports.binary_search_by(cmp).ok()
                });
                at.map_or(Place::Nothing, |at| Place::Port(names, at))
            }
            _ => Place::Nothing,
        }
    }

    /// Ports of which one of both labels is left open.
    fn find_open(&self, names: &ServiceNames, open: Open<'_>) -> Place<'static> {
        let view = self.index.view(&names.key);
        let found = view.and_then(|view| self.open.get(&self.config, &view, open));
        found.map_or(Place::Nothing, |(names, node)| Place::Ports(names, node))
    }

    fn find_pod(&self, namespace: &[u8], label: &[u8]) -> Place<'static> {
        let exists = |ip: &IpAddr| match self.config.pods {
            Pods::Disabled => false,
            Pods::Insecure => self.has_namespace(namespace),
            Pods::Verified => std::str::from_utf8(namespace).is_ok_and(|text| {
                self.clients.has(text, *ip)
                    && (self.config.namespace_labels.is_none() || self.has_namespace(namespace))
                    && self.serves_name(text)
            }),
        };
        undashed(label).filter(exists).map_or(Place::Nothing, Place::Pod)
    }

    /// `zone` is how many labels the zone has, which may be narrower than its tree.
    fn find_reverse(&self, name: &Folded, zone: usize) -> Place<'static> {
        if name.label(zone) == Some(b"dns") {
            return match (name.labels() - zone, name.label(zone + 1)) {
                (1, _) => Place::Empty,
                (2, Some(b"ns")) => Place::NameServer,
                _ => Place::Nothing,
            };
        }
        match read(name) {
            Range::One(ip) => self.reverse.get(ip, &self.services).map_or(Place::Nothing, Place::Reverse),
            Range::Many(first, last) if self.reverse.any(first, last) => Place::Empty,
            Range::Many(..) | Range::Nothing => Place::Nothing,
        }
    }

    /// Whether a namespace exists: there is a Namespace of this name, or (while its watch is behind) a Service in it.
    pub(super) fn has_namespace(&self, name: &[u8]) -> bool {
        let by_services = self.config.namespace_labels.is_none();
        let state = std::str::from_utf8(name).ok().and_then(|name| self.namespaces.get(name));
        state.is_some_and(|state| state.exposed || (by_services && state.services > 0))
    }

    pub(super) fn serves_name(&self, namespace: &str) -> bool {
        self.config.namespaces.is_empty() || self.config.namespaces.contains(namespace)
    }
}

/// The most labels that a name below a zone has: `_port._protocol.service.namespace.svc`.
const DEEPEST: usize = 5;

/// A label without the underscore that it may have.
pub(super) fn bare(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

/// A protocol's label; the underscore may be missing.
pub(super) fn protocol(label: &[u8]) -> Option<Protocol> {
    match bare(label) {
        b"tcp" => Some(Protocol::Tcp),
        b"udp" => Some(Protocol::Udp),
        b"sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The address that a pod name's label is: `10-0-0-1`, `fd00--1`.
fn undashed(label: &[u8]) -> Option<IpAddr> {
    let dashes = label.iter().filter(|byte| **byte == b'-').count();
    let is_v4 = dashes == 3 && !label.windows(2).any(|two| two == b"--");
    let mut room = [0; LONGEST_ADDRESS];
    let text = room.get_mut(..label.len())?;
    text.copy_from_slice(label);
    let point = if is_v4 { b'.' } else { b':' };
    text.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = point);
    let text = std::str::from_utf8(text).ok()?;
    if is_v4 {
        return text.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let ip = text.parse::<Ipv6Addr>().ok()?;
    Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4))
}

/// The longest text of an address: an IPv6 one that ends like an IPv4 one.
const LONGEST_ADDRESS: usize = 45;

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
            assert_eq!(undashed(label.as_bytes()).map(|ip| ip.to_string()).as_deref(), wanted, "{label}");
        }
    }
}
