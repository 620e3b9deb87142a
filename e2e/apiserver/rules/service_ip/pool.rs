//! Ranges of numbers, each taken or free: addresses and node ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sixteen bits of addresses: 10.96.0.0/16, fd00:10:96::/112.
#[derive(Clone, Debug)]
pub(super) struct Range {
    base: u128,
    is_v4: bool,
    taken: BTreeSet<u16>,
    cursor: u16,
}

/// The first offset that is given out without being asked for; what is below is for addresses people choose.
const FIRST_DYNAMIC: u16 = 0x8000;
/// The lowest offset that is given out when everything above is taken: `min(max(16, size/16), 256)` upstream.
const LOWEST_DYNAMIC: u16 = 256;

impl Range {
    /// The range that starts at this address.
    pub(super) fn new(base: IpAddr) -> Self {
        let (base, is_v4) = match base {
            IpAddr::V4(base) => (u128::from(u32::from(base)), true),
            IpAddr::V6(base) => (u128::from(base), false),
        };
        Self { base, is_v4, taken: BTreeSet::new(), cursor: FIRST_DYNAMIC }
    }

    /// Takes one address, or says why not.
    pub(super) fn allocate(&mut self, address: IpAddr) -> Result<(), String> {
        let Some(offset) = self.offset(address) else {
            return Err("the provided network does not match the current range".to_owned());
        };
        // The first address names the network; in IPv4 the last one is for broadcasts.
        if offset == 0 || (self.is_v4 && offset == u16::MAX) {
            return Err(format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                self.cidr()
            ));
        }
        if self.taken.insert(offset) { Ok(()) } else { Err("provided IP is already allocated".to_owned()) }
    }

    /// Takes the next free address.
    pub(super) fn next(&mut self) -> Option<IpAddr> {
        let last = if self.is_v4 { u16::MAX - 1 } else { u16::MAX };
        let start = self.cursor;
        let free = (start..=last)
            .chain(FIRST_DYNAMIC..start)
            .chain(LOWEST_DYNAMIC..FIRST_DYNAMIC)
            // An address that ends in .0 is legal and looks wrong.
            .find(|offset| offset & 0xff != 0 && !self.taken.contains(offset))?;
        self.taken.insert(free);
        self.cursor = if free >= FIRST_DYNAMIC && free < last { free + 1 } else { FIRST_DYNAMIC };
        Some(self.address(free))
    }

    /// Marks an address as taken.
    pub(super) fn mark(&mut self, address: IpAddr) {
        if let Some(offset) = self.offset(address) {
            self.taken.insert(offset);
        }
    }

    /// Gives an address back.
    pub(super) fn free(&mut self, address: IpAddr) {
        if let Some(offset) = self.offset(address) {
            self.taken.remove(&offset);
        }
    }

    /// Where the search for a free address goes on.
    pub(super) fn cursor(&self) -> u16 {
        self.cursor
    }

    /// Moves the search back, after an allocation that came to nothing.
    pub(super) fn set_cursor(&mut self, cursor: u16) {
        self.cursor = cursor;
    }

    fn offset(&self, address: IpAddr) -> Option<u16> {
        let number = match (address, self.is_v4) {
            (IpAddr::V4(address), true) => u128::from(u32::from(address)),
            (IpAddr::V6(address), false) => u128::from(address),
            _ => return None,
        };
        number.checked_sub(self.base).and_then(|offset| u16::try_from(offset).ok())
    }

    fn address(&self, offset: u16) -> IpAddr {
        let number = self.base | u128::from(offset);
        if self.is_v4 {
            Ipv4Addr::from((number & 0xffff_ffff) as u32).into()
        } else {
            Ipv6Addr::from(number).into()
        }
    }

    fn cidr(&self) -> String {
        format!("{}/{}", self.address(0), if self.is_v4 { 16 } else { 112 })
    }
}

/// Node ports. One number may serve several protocols of one Service.
#[derive(Clone, Debug)]
pub(super) struct NodePorts {
    first: u16,
    last: u16,
    cursor: u16,
    taken: BTreeMap<u16, BTreeSet<String>>,
}

impl NodePorts {
    pub(super) fn new(first: u16, last: u16) -> Self {
        // Upstream keeps `min(max(16, size/32), 128)` ports for those who choose: 86 of this range.
        let reserved = ((last - first) / 32).clamp(16, 128);
        Self { first, last, cursor: first + reserved, taken: BTreeMap::new() }
    }

    /// Takes one port, or says why not.
    pub(super) fn allocate(&mut self, protocol: &str, port: i64) -> Result<u16, String> {
        let number = u16::try_from(port).ok().filter(|port| (self.first..=self.last).contains(port));
        let Some(number) = number else {
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.first, self.last
            ));
        };
        if self.taken.contains_key(&number) {
            return Err("provided port is already allocated".to_owned());
        }
        self.mark(protocol, number);
        Ok(number)
    }

    /// Takes the next free port.
    pub(super) fn next(&mut self, protocol: &str) -> Option<u16> {
        let free = (self.cursor..=self.last)
            .chain(self.first..self.cursor)
            .find(|port| !self.taken.contains_key(port))?;
        self.mark(protocol, free);
        self.cursor = if free < self.last { free + 1 } else { self.first };
        Some(free)
    }

    /// Marks a port as taken for a protocol.
    pub(super) fn mark(&mut self, protocol: &str, port: u16) {
        self.taken.entry(port).or_default().insert(protocol.to_owned());
    }

    /// Gives a port of one protocol back.
    pub(super) fn free(&mut self, protocol: &str, port: u16) {
        if let Some(protocols) = self.taken.get_mut(&port) {
            protocols.remove(protocol);
            if protocols.is_empty() {
                self.taken.remove(&port);
            }
        }
    }

    /// Where the search for a free port goes on.
    pub(super) fn cursor(&self) -> u16 {
        self.cursor
    }

    /// Moves the search back, after an allocation that came to nothing.
    pub(super) fn set_cursor(&mut self, cursor: u16) {
        self.cursor = cursor;
    }
}
