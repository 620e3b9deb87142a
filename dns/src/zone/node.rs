//! The RRsets at one owner name.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
    sync::Arc,
};

use hickory_proto::rr::Name;
use smallvec::SmallVec;

use super::{hosts::Host, service::split};

/// The RRsets at one owner name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    v4: Addresses<Ipv4Addr>,
    v6: Addresses<Ipv6Addr>,
    srv: SrvSet,
    alias: Option<Box<Name>>,
}

/// Addresses of an owner name, sorted, each once. A clone costs no allocation.
#[derive(Clone, Debug)]
pub enum Addresses<T> {
    /// One, as most names have.
    One(T),
    /// None, or several: shared by those who hold them.
    Many(Arc<[T]>),
}

/// SRV records of one owner name. All have priority 0 and the same weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SrvSet {
    /// A hundred shared by everything that was found, before equal records became one.
    weight: u16,
    records: Records,
    /// Endpoints that share their label with others which have none of the ports: host and address, sorted. Only these
    /// addresses are glue; of all other endpoints every address is.
    partial: Option<Box<[(u32, IpAddr)]>>,
}

/// Target and port of SRV records, sorted, each once; in the form that takes the least.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Records {
    /// All ports at the Service's own name.
    Own(Box<[u16]>),
    /// All ports at each of so many hosts, from the first on.
    Hosts(u32, Box<[u16]>),
    /// Anything else.
    Listed(Box<[(Target, u16)]>),
}

/// Where an SRV record leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// To the Service's own name.
    Own,
    /// To an endpoint: an index of [`ServiceNames::hosts`](super::ServiceNames::hosts).
    Host(u32),
}

impl Node {
    /// Addresses are sorted, each once. Those that `like` has too are shared with it.
    pub(super) fn new(
        v4: Vec<Ipv4Addr>,
        v6: Vec<Ipv6Addr>,
        srv: SrvSet,
        alias: Option<Name>,
        like: Option<&Self>,
    ) -> Self {
        Self {
            v4: Addresses::new(v4, like.map(|like| &like.v4)),
            v6: Addresses::new(v6, like.map(|like| &like.v6)),
            srv,
            alias: alias.map(Box::new),
        }
    }

    /// A records, sorted, each once.
    pub fn v4(&self) -> &[Ipv4Addr] {
        &self.v4
    }

    /// AAAA records, sorted, each once.
    pub fn v6(&self) -> &[Ipv6Addr] {
        &self.v6
    }

    /// [`Self::v4`], to be kept.
    pub fn shared_v4(&self) -> Addresses<Ipv4Addr> {
        self.v4.clone()
    }

    /// [`Self::v6`], to be kept.
    pub fn shared_v6(&self) -> Addresses<Ipv6Addr> {
        self.v6.clone()
    }

    /// SRV records.
    pub fn srv(&self) -> &SrvSet {
        &self.srv
    }

    /// The name's endpoints are domain names and this is the first of them.
    pub fn alias(&self) -> Option<&Name> {
        self.alias.as_deref()
    }
}

impl<T: Copy + Eq> Addresses<T> {
    fn new(list: Vec<T>, like: Option<&Self>) -> Self {
        match (list.as_slice(), like) {
            ([one], _) => Self::One(*one),
            (list, Some(like)) if **like == *list => like.clone(),
            ([], _) => Self::default(),
            _ => Self::Many(list.into()),
        }
    }
}

impl<T> Deref for Addresses<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(list) => list,
        }
    }
}

impl<T: PartialEq> PartialEq for Addresses<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Addresses<T> {}

/// None.
impl<T> Default for Addresses<T> {
    fn default() -> Self {
        Self::Many(Arc::default())
    }
}

impl SrvSet {
    /// Records and parts are sorted, each once.
    pub(super) fn new(weight: u16, records: Vec<(Target, u16)>, partial: Vec<(u32, IpAddr)>) -> Self {
        let partial = (!partial.is_empty()).then(|| partial.into());
        Self { weight, records: records.into(), partial }
    }

    /// The weight of every record.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// Target and port of each record, sorted, each once.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (Target, u16)> + Clone + '_ {
        (0..self.records.len()).map(|at| self.records.get(at))
    }

    /// The addresses of the host at this index to which the records lead.
    pub fn glue(&self, at: u32, host: Host<'_>) -> (SmallVec<[Ipv4Addr; 2]>, SmallVec<[Ipv6Addr; 2]>) {
        let partial = self.partial.as_deref().unwrap_or_default();
        let start = partial.partition_point(|(known, _)| *known < at);
        let part = partial.get(start..).unwrap_or_default().iter().take_while(|(known, _)| *known == at);
        let (v4, v6) = split(part.map(|(_, ip)| *ip));
        if v4.is_empty() && v6.is_empty() {
            return (SmallVec::from_slice(host.v4()), SmallVec::from_slice(host.v6()));
        }
        (v4.into(), v6.into())
    }
}

impl Records {
    fn len(&self) -> usize {
        match self {
            Self::Own(ports) => ports.len(),
            Self::Hosts(hosts, ports) => *hosts as usize * ports.len(),
            Self::Listed(records) => records.len(),
        }
    }

    /// The record at an index below [`Self::len`].
    fn get(&self, at: usize) -> (Target, u16) {
        let record = match self {
            Self::Own(ports) => ports.get(at).map(|port| (Target::Own, *port)),
            Self::Hosts(_, ports) => {
                let host = at / ports.len().max(1);
                ports.get(at % ports.len().max(1)).map(|port| (Target::Host(host as u32), *port))
            }
            Self::Listed(records) => records.get(at).copied(),
        };
        record.unwrap_or((Target::Own, 0))
    }
}

impl From<Vec<(Target, u16)>> for Records {
    fn from(records: Vec<(Target, u16)>) -> Self {
        let first = records.first().map_or(Target::Own, |(target, _)| *target);
        let ports: Box<[u16]> =
            records.iter().take_while(|(target, _)| *target == first).map(|(_, port)| *port).collect();
        if first == Target::Own && ports.len() == records.len() {
            return Self::Own(ports);
        }
        let hosts = records.len() / ports.len().max(1);
        let short = u32::try_from(hosts).ok().map(|hosts| Self::Hosts(hosts, ports));
        let same = |short: &Self| {
            short.len() == records.len()
                && records.iter().enumerate().all(|(at, record)| short.get(at) == *record)
        };
        short.filter(same).unwrap_or_else(|| Self::Listed(records.into()))
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Own(Box::default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![Just(Target::Own), (0..3_u32).prop_map(Target::Host)]
    }

    proptest! {
        #[test]
        fn records_are_what_was_put_in(
            some in proptest::collection::btree_set((target(), 80..83_u16), 0..6),
            hosts in 0..4_u32,
            ports in proptest::collection::btree_set(80..83_u16, 0..3),
        ) {
            let all: BTreeSet<(Target, u16)> =
                (0..hosts).flat_map(|host| ports.iter().map(move |port| (Target::Host(host), *port))).collect();
            for given in [some, all] {
                let given: Vec<(Target, u16)> = given.into_iter().collect();
                let set = SrvSet::new(1, given.clone(), Vec::new());
                prop_assert_eq!(set.records().len(), given.len());
                prop_assert_eq!(set.records().collect::<Vec<_>>(), given);
            }
        }
    }

    #[test]
    fn what_all_hosts_have_is_not_listed() {
        let all =
            (0..3).flat_map(|host| [(Target::Host(host), 80), (Target::Host(host), 81)]).collect::<Vec<_>>();
        assert!(matches!(Records::from(all.clone()), Records::Hosts(3, _)));
        assert!(matches!(Records::from(all[1..].to_vec()), Records::Listed(_)));
        assert!(matches!(Records::from(vec![(Target::Own, 80)]), Records::Own(_)));
    }
}
