//! The endpoints of a Service under their labels.
//!
//! There are more endpoints than anything else in a zone, and nearly all of them are alike: one address, and the ports of
//! all others. So they are columns, not records. A column in which every host has one item has nothing but the items, and
//! hosts with the same ports share one list of them.
//!
//! ```text
//!   labels     web-0web-1web-2…        and where each ends
//!   addresses  10.0.0.1 10.0.0.2 …     and where each host's end, unless every host has one
//!   ports      80 443 | 80             one list for all, or which list is whose
//! ```

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use callsign_shared::texts::Texts;
use compact_str::CompactString as Text;
use smallvec::SmallVec;

/// The endpoints of a Service, in the order of their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Option<Box<Columns>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Columns {
    labels: Texts,
    v4: Column<Ipv4Addr>,
    v6: Column<Ipv6Addr>,
    /// Lists of ports, each once.
    lists: Box<[Ports]>,
    /// Which list is that of each host; empty where there is only one list.
    list_of: Box<[u32]>,
}

/// Items of hosts, one host's after the other's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column<T> {
    items: Box<[T]>,
    /// Where each host's end; empty where each has one, or none has any.
    ends: Box<[u32]>,
}

/// The ports of SRV records, and their weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ports {
    numbers: SmallVec<[u16; 4]>,
    weight: u16,
}

/// What is at the name of one endpoint. SRV records lead to the name itself.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    of: &'a Columns,
    at: usize,
}

/// A host that is put into [`Hosts`]. Addresses and ports are sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewHost<L = Text> {
    pub(super) label: L,
    pub(super) v4: SmallVec<[Ipv4Addr; 2]>,
    pub(super) v6: SmallVec<[Ipv6Addr; 1]>,
    pub(super) ports: SmallVec<[u16; 4]>,
    pub(super) weight: u16,
}

impl Hosts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |columns| columns.labels.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The host at an index.
    pub fn get(&self, at: usize) -> Option<Host<'_>> {
        let of = self.0.as_deref().filter(|columns| at < columns.labels.len())?;
        Some(Host { of, at })
    }

    /// The index of the host with this label.
    pub fn find(&self, label: &[u8]) -> Option<usize> {
        self.0.as_ref()?.labels.find(label)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Host<'_>> + Clone {
        let columns = self.0.as_deref().into_iter();
        columns.flat_map(|of| (0..of.labels.len()).map(move |at| Host { of, at }))
    }

    /// The indices of the hosts that have this address.
    pub fn having(&self, ip: IpAddr) -> impl Iterator<Item = usize> + '_ {
        let columns = self.0.as_deref();
        let (v4, v6) = match ip {
            IpAddr::V4(ip) => (columns.map(|columns| columns.v4.having(ip)), None),
            IpAddr::V6(ip) => (None, columns.map(|columns| columns.v6.having(ip))),
        };
        v4.into_iter().flatten().chain(v6.into_iter().flatten())
    }
}

/// In the order of their labels, each label once.
impl<L: AsRef<str>> FromIterator<NewHost<L>> for Hosts {
    fn from_iter<I: IntoIterator<Item = NewHost<L>>>(hosts: I) -> Self {
        let hosts: Vec<NewHost<L>> = hosts.into_iter().collect();
        if hosts.is_empty() {
            return Self(None);
        }
        let mut lists: Vec<Ports> = Vec::new();
        let mut known: HashMap<Ports, u32, super::Hasher> = HashMap::default();
        let mut list_of: Vec<u32> = Vec::with_capacity(hosts.len());
        for host in &hosts {
            let ports = Ports { numbers: host.ports.clone(), weight: host.weight };
            // Neighbours are nearly always alike.
            let last = list_of.last().copied().filter(|at| lists.get(*at as usize) == Some(&ports));
            let list = last.unwrap_or_else(|| {
                *known.entry(ports).or_insert_with_key(|ports| {
                    lists.push(ports.clone());
                    lists.len().saturating_sub(1) as u32
                })
            });
            list_of.push(list);
        }
        if lists.len() == 1 {
            list_of = Vec::new();
        }
        Self(Some(Box::new(Columns {
            labels: hosts.iter().map(|host| host.label.as_ref()).collect(),
            v4: Column::of(hosts.iter().map(|host| host.v4.as_slice())),
            v6: Column::of(hosts.iter().map(|host| host.v6.as_slice())),
            lists: lists.into(),
            list_of: list_of.into(),
        })))
    }
}

impl<'a> Host<'a> {
    /// The label: the endpoint's hostname, or its address with dashes.
    pub fn label(self) -> &'a str {
        self.of.labels.get(self.at).unwrap_or_default()
    }

    /// A records; several where endpoints share a hostname.
    pub fn v4(self) -> &'a [Ipv4Addr] {
        self.of.v4.of_host(self.at)
    }

    /// AAAA records.
    pub fn v6(self) -> &'a [Ipv6Addr] {
        self.of.v6.of_host(self.at)
    }

    /// Ports of SRV records, sorted, each once.
    pub fn ports(self) -> &'a [u16] {
        self.list().map_or(&[], |list| &list.numbers)
    }

    /// The weight of its SRV records.
    pub fn weight(self) -> u16 {
        self.list().map_or(1, |list| list.weight)
    }

    fn list(self) -> Option<&'a Ports> {
        let list = self.of.list_of.get(self.at).copied().unwrap_or_default();
        self.of.lists.get(list as usize)
    }
}

impl<T: Copy + Eq> Column<T> {
    fn of<'a>(hosts: impl Iterator<Item = &'a [T]> + Clone) -> Self
    where
        T: 'a,
    {
        let items: Box<[T]> = hosts.clone().flatten().copied().collect();
        let plain = items.is_empty() || hosts.clone().all(|host| host.len() == 1);
        let mut end = 0;
        let ends = hosts.filter(|_| !plain).map(|host| {
            end += host.len() as u32;
            end
        });
        Self { ends: ends.collect(), items }
    }

    fn of_host(&self, at: usize) -> &[T] {
        let items = if self.ends.is_empty() {
            self.items.get(at..=at)
        } else {
            let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
            start
                .zip(self.ends.get(at))
                .and_then(|(start, end)| self.items.get(start as usize..*end as usize))
        };
        items.unwrap_or_default()
    }

    fn having(&self, wanted: T) -> impl Iterator<Item = usize> + '_ {
        let places = self.items.iter().enumerate().filter(move |(_, item)| **item == wanted);
        places.map(|(place, _)| {
            if self.ends.is_empty() { place } else { self.ends.partition_point(|end| *end as usize <= place) }
        })
    }
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { items: Box::default(), ends: Box::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host() -> impl Strategy<Value = NewHost<String>> {
        let v4 = proptest::collection::btree_set((0..3_u8).prop_map(|n| Ipv4Addr::new(10, 0, 0, n)), 0..3);
        let v6 = proptest::collection::btree_set(
            (0..3_u16).prop_map(|n| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)),
            0..3,
        );
        let ports = proptest::collection::btree_set(80..83_u16, 0..3);
        (v4, v6, ports, 1..3_u16).prop_map(|(v4, v6, ports, weight)| NewHost {
            label: String::new(),
            v4: v4.into_iter().collect(),
            v6: v6.into_iter().collect(),
            ports: ports.into_iter().collect(),
            weight,
        })
    }

    proptest! {
        #[test]
        fn hosts_are_what_was_put_in(given in proptest::collection::btree_map("[a-c]{1,2}", host(), 0..6), only: bool) {
            let given: Vec<NewHost<String>> = given.into_iter().map(|(label, mut host)| {
                if only {
                    // As nearly all are.
                    host.v4.truncate(1);
                    host.v4.resize(1, Ipv4Addr::new(10, 0, 0, 9));
                    host.v6.clear();
                }
                NewHost { label, ..host }
            }).collect();
            let hosts: Hosts = given.iter().cloned().collect();
            prop_assert_eq!((hosts.len(), hosts.is_empty()), (given.len(), given.is_empty()));
            let back: Vec<NewHost<String>> = hosts.iter().map(|host| NewHost {
                label: host.label().to_owned(),
                v4: host.v4().into(),
                v6: host.v6().into(),
                ports: host.ports().into(),
                weight: host.weight(),
            }).collect();
            prop_assert_eq!(&back, &given);
            for (at, host) in given.iter().enumerate() {
                prop_assert_eq!(hosts.find(host.label.as_bytes()), Some(at));
            }
            prop_assert!(hosts.get(given.len()).is_none() && hosts.find(b"z").is_none());
            for ip in (0..10).flat_map(|n| [IpAddr::from([10, 0, 0, n]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)])]) {
                let has = |host: &NewHost<String>| match ip {
                    IpAddr::V4(ip) => host.v4.contains(&ip),
                    IpAddr::V6(ip) => host.v6.contains(&ip),
                };
                let wanted: Vec<usize> = given.iter().enumerate().filter(|(_, host)| has(host)).map(|(at, _)| at).collect();
                prop_assert_eq!(hosts.having(ip).collect::<Vec<_>>(), wanted);
            }
        }
    }
}
