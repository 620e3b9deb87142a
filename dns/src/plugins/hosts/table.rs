//! The lines of a hosts file as tables: names to addresses, addresses to names.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use foldhash::fast::RandomState;
use hickory_proto::rr::Name;

use crate::{folded::Folded, plugins::reading::Zones};

/// Names and addresses. Names are compared without regard to case.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_name: HashMap<Box<[u8]>, Addresses, RandomState>,
    by_address: HashMap<IpAddr, Vec<Name>, RandomState>,
}

/// The addresses of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
}

impl Table {
    /// Reads the lines of a file: an address and its names. What is none of that is left out, as are names outside of the
    /// zones.
    pub(super) fn read(text: &str, zones: &Zones, reverse: bool) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(ip) = words.next().and_then(address) else { continue };
            for word in words {
                let Ok(mut name) = Name::from_ascii(word) else { continue };
                name.set_fqdn(true);
                let name = name.to_lowercase();
                if zones.have(&name) {
                    table.add(ip, name, reverse);
                }
            }
        }
        table
    }

    fn add(&mut self, ip: IpAddr, name: Name, reverse: bool) {
        let addresses = self.by_name.entry(Folded::of(&name).wire().into()).or_default();
        // A record stands in an answer once. Lists of what to block give one address to a million names: only the other
        // side may be searched.
        let is_new = match ip {
            IpAddr::V4(ip) => push(&mut addresses.v4, ip),
            IpAddr::V6(ip) => push(&mut addresses.v6, ip),
        };
        if is_new && reverse {
            self.by_address.entry(ip).or_default().push(name);
        }
    }

    /// The addresses of a name, if it has any.
    pub(super) fn addresses(&self, name: &Folded) -> Option<&Addresses> {
        self.by_name.get(name.wire())
    }

    /// The names of an address.
    pub(super) fn names(&self, ip: IpAddr) -> &[Name] {
        self.by_address.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// How many addresses and names of addresses there are.
    pub(super) fn len(&self) -> usize {
        let forward: usize = self.by_name.values().map(|ips| ips.v4.len() + ips.v6.len()).sum();
        forward + self.by_address.values().map(Vec::len).sum::<usize>()
    }
}

/// Adds what is not there yet; whether it was not.
fn push<T: PartialEq>(list: &mut Vec<T>, item: T) -> bool {
    let is_new = !list.contains(&item);
    if is_new {
        list.push(item);
    }
    is_new
}

/// An address, of IPv6 without its interface.
fn address(word: &str) -> Option<IpAddr> {
    let ip: IpAddr = word.split('%').next()?.parse().ok()?;
    Some(ip.to_canonical())
}
