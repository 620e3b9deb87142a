//! The RRsets at one owner name.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use hickory_proto::rr::Name;
use smallvec::SmallVec;

use super::{hosts::Host, service::split};

/// The RRsets at one owner name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    v4: Arc<[Ipv4Addr]>,
    v6: Arc<[Ipv6Addr]>,
    srv: SrvSet,
    alias: Option<Name>,
}

/// SRV records of one owner name. All have priority 0 and the same weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SrvSet {
    /// A hundred shared by everything that was found, before equal records became one.
    weight: u16,
    /// Target and port, sorted, each once.
    records: Box<[(Target, u16)]>,
    /// Endpoints that share their label with others which have none of the ports: host and address, sorted. Only these
    /// addresses are glue; of all other endpoints every address is.
    partial: Box<[(u32, IpAddr)]>,
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
    /// Addresses are sorted, each once.
    pub(super) fn new(v4: Vec<Ipv4Addr>, v6: Vec<Ipv6Addr>, srv: SrvSet, alias: Option<Name>) -> Self {
        Self { v4: v4.into(), v6: v6.into(), srv, alias }
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
    pub fn shared_v4(&self) -> Arc<[Ipv4Addr]> {
        Arc::clone(&self.v4)
    }

    /// [`Self::v6`], to be kept.
    pub fn shared_v6(&self) -> Arc<[Ipv6Addr]> {
        Arc::clone(&self.v6)
    }

    /// SRV records.
    pub fn srv(&self) -> &SrvSet {
        &self.srv
    }

    /// The name's endpoints are domain names and this is the first of them.
    pub fn alias(&self) -> Option<&Name> {
        self.alias.as_ref()
    }
}

impl SrvSet {
    pub(super) fn new(weight: u16, records: Vec<(Target, u16)>, partial: Vec<(u32, IpAddr)>) -> Self {
        Self { weight, records: records.into(), partial: partial.into() }
    }

    /// The weight of every record.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// Target and port of each record, sorted, each once.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (Target, u16)> + Clone + '_ {
        self.records.iter().copied()
    }

    /// The addresses of the host at this index to which the records lead.
    pub fn glue(&self, at: u32, host: Host<'_>) -> (SmallVec<[Ipv4Addr; 2]>, SmallVec<[Ipv6Addr; 2]>) {
        let start = self.partial.partition_point(|(known, _)| *known < at);
        let part = self.partial.get(start..).unwrap_or_default().iter().take_while(|(known, _)| *known == at);
        let (v4, v6) = split(part.map(|(_, ip)| *ip));
        if v4.is_empty() && v6.is_empty() {
            return (SmallVec::from_slice(host.v4()), SmallVec::from_slice(host.v6()));
        }
        (v4.into(), v6.into())
    }
}
