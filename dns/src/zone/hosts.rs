//! The endpoints of a Service under their labels.

use std::net::{Ipv4Addr, Ipv6Addr};

use compact_str::CompactString as Text;
use smallvec::SmallVec;

/// The endpoints of a Service, in the order of their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Box<[NewHost]>);

/// What is at the name of one endpoint. SRV records lead to the name itself.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a>(&'a NewHost);

/// A host that is put into [`Hosts`]. Addresses and ports are sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewHost {
    pub(super) label: Text,
    pub(super) v4: SmallVec<[Ipv4Addr; 2]>,
    pub(super) v6: SmallVec<[Ipv6Addr; 1]>,
    pub(super) ports: SmallVec<[u16; 4]>,
    pub(super) weight: u16,
}

impl Hosts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The host at an index.
    pub fn get(&self, at: usize) -> Option<Host<'_>> {
        self.0.get(at).map(Host)
    }

    /// The index of the host with this label.
    pub fn find(&self, label: &[u8]) -> Option<usize> {
        self.0.binary_search_by(|host| host.label.as_bytes().cmp(label)).ok()
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Host<'_>> + Clone {
        self.0.iter().map(Host)
    }
}

/// In the order of their labels, each label once.
impl FromIterator<NewHost> for Hosts {
    fn from_iter<I: IntoIterator<Item = NewHost>>(hosts: I) -> Self {
        Self(hosts.into_iter().collect())
    }
}

impl<'a> Host<'a> {
    /// The label: the endpoint's hostname, or its address with dashes.
    pub fn label(self) -> &'a str {
        &self.0.label
    }

    /// A records; several where endpoints share a hostname.
    pub fn v4(self) -> &'a [Ipv4Addr] {
        &self.0.v4
    }

    /// AAAA records.
    pub fn v6(self) -> &'a [Ipv6Addr] {
        &self.0.v6
    }

    /// Ports of SRV records, sorted, each once.
    pub fn ports(self) -> &'a [u16] {
        &self.0.ports
    }

    /// The weight of its SRV records.
    pub fn weight(self) -> u16 {
        self.0.weight
    }
}
