//! RRsets as answers carry them.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Deref,
    sync::Arc,
};

use hickory_proto::rr::{Name, RecordType};
use smallvec::SmallVec;

use crate::zone::Addresses;

/// All records of one name and type.
#[derive(Clone, Debug, PartialEq)]
pub struct RrSet {
    /// The owner, in the case it is to be written.
    pub owner: Name,
    /// The TTL of every record.
    pub ttl: u32,
    /// The records.
    pub data: RData,
}

/// The records of an RRset.
#[derive(Clone, Debug, PartialEq)]
pub enum RData {
    /// IPv4 addresses. Their order is turned from answer to answer.
    A(Set<Ipv4Addr>),
    /// IPv6 addresses, likewise.
    Aaaa(Set<Ipv6Addr>),
    /// The name is an alias.
    Cname(Name),
    /// Where services listen.
    Srv(Vec<Srv>),
    /// What an address is called.
    Ptr(Vec<Name>),
    /// Who answers for a zone.
    Ns(Vec<Name>),
    /// The start of a zone.
    Soa {
        /// The primary name server.
        mname: Name,
        /// The mailbox.
        rname: Name,
        /// The serial.
        serial: u32,
        /// The TTL of negative answers.
        minimum: u32,
    },
    /// One text.
    Txt(Box<[u8]>),
    /// Anything else, as it came from another server, without compression.
    Other(RecordType, Vec<Box<[u8]>>),
}

/// The refresh, retry and expire times of every SOA, as CoreDNS has them.
pub(super) const SOA_TIMES: [u32; 3] = [7200, 1800, 86400];

/// An SRV record.
#[derive(Clone, Debug, PartialEq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// The share among equals.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: Name,
}

/// Addresses that are the zone's own or the answer's.
#[derive(Clone, Debug)]
pub enum Set<T> {
    /// The zone's, by reference.
    Shared(Arc<[T]>),
    /// The answer's.
    Own(SmallVec<[T; 2]>),
}

impl<T> Deref for Set<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Shared(items) => items,
            Self::Own(items) => items,
        }
    }
}

impl<T> From<Addresses<T>> for Set<T> {
    fn from(addresses: Addresses<T>) -> Self {
        match addresses {
            Addresses::One(one) => Self::Own(SmallVec::from_iter([one])),
            Addresses::Many(list) => Self::Shared(list),
        }
    }
}

impl<T: PartialEq> PartialEq for Set<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl RData {
    /// The record type.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Srv(_) => RecordType::SRV,
            Self::Ptr(_) => RecordType::PTR,
            Self::Ns(_) => RecordType::NS,
            Self::Soa { .. } => RecordType::SOA,
            Self::Txt(_) => RecordType::TXT,
            Self::Other(kind, _) => *kind,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        match self {
            Self::A(set) => set.len(),
            Self::Aaaa(set) => set.len(),
            Self::Srv(set) => set.len(),
            Self::Ptr(names) | Self::Ns(names) => names.len(),
            Self::Other(_, set) => set.len(),
            Self::Cname(_) | Self::Soa { .. } | Self::Txt(_) => 1,
        }
    }

    /// Whether there are none: no RRset at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
