//! PTR records: which names an address leads to.
//!
//! An address belongs to several Services at once (every Service that selects the pod). Here is only which: a table of
//! pairs, one for each address at each label of a Service. The endpoint's label is asked of the Service's [names](ServiceNames) when
//! somebody asks for it, so an endpoint costs no text here, and one whose label changes no edit.
//!
//! A Service's names are replaced before its pairs are: an address that has just left them leads nowhere at once, and one
//! that stays is found all the time.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, btree_map, hash_map::Entry},
    hash::{BuildHasher, Hash},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use callsign_shared::name::Key;
use hashbrown::HashTable;
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::{
    Hasher,
    names::Names,
    service::{Pointed, ServiceNames},
};
use crate::folded::Folded;

/// So many that readers seldom meet the writer.
const SHARDS: usize = 16;

/// A name that an address leads to.
#[derive(Clone, Debug)]
pub struct Pointer {
    names: Arc<ServiceNames>,
    /// An index of its hosts; none where the address is the Service's own.
    host: Option<usize>,
}

/// The names of one address, sorted.
pub type Pointers = SmallVec<[Pointer; 1]>;

/// All addresses with names.
#[derive(Debug, Default)]
pub(super) struct Reverse {
    v4: Pairs<Ipv4Addr>,
    v6: Pairs<Ipv6Addr>,
    /// The inner nodes of `in-addr.arpa`, by how many octets they have and by the first address below: how many pairs are
    /// below. Addresses of pods share most of their octets, so these are few.
    inner: RwLock<HashMap<(u8, Ipv4Addr), u32, Hasher>>,
    /// As [`Self::inner`] for `ip6.arpa`, whose tree is too deep for that: each address and how many pairs it has.
    present: RwLock<BTreeMap<Ipv6Addr, u32>>,
}

/// Addresses with the Services that have them.
struct Pairs<T> {
    shards: [Shard<T>; SHARDS],
    hasher: Hasher,
}

type Shard<T> = RwLock<HashTable<(T, Arc<Key>)>>;

impl Pointer {
    /// The endpoint's label; `None` where the address is a Service's own.
    pub fn host(&self) -> Option<&str> {
        self.names.hosts.get(self.host?).map(super::Host::label)
    }

    /// The Service.
    pub fn service(&self) -> &Key {
        &self.names.key
    }
}

impl PartialEq for Pointer {
    fn eq(&self, other: &Self) -> bool {
        (self.host(), self.service()) == (other.host(), other.service())
    }
}

impl Reverse {
    /// The PTR records of an address. A Service's own address leads to one Service only; an endpoint's leads to the
    /// endpoint under every Service that has it.
    pub(super) fn get(&self, ip: IpAddr, all: &Names) -> Option<Pointers> {
        let mut services: SmallVec<[Arc<Key>; 4]> = match ip {
            IpAddr::V4(ip) => self.v4.services(ip),
            IpAddr::V6(ip) => self.v6.services(ip),
        };
        services.sort_unstable();
        services.dedup();
        let mut pointers = Pointers::new();
        for service in services {
            let Some(names) = all.get(&super::service_key(&service)) else { continue };
            if names.has_own_pointer(ip) {
                pointers.push(Pointer { names: Arc::clone(&names), host: None });
            }
            pointers.extend(
                names.hosts.having(ip).map(|host| Pointer { names: Arc::clone(&names), host: Some(host) }),
            );
        }
        // Those of Services come first.
        pointers.sort_by(|a, b| (a.host(), a.service()).cmp(&(b.host(), b.service())));
        if pointers.first()?.host.is_none() {
            pointers.truncate(1);
        }
        Some(pointers)
    }

    /// All addresses, in order.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.v4.all().map(IpAddr::V4).collect();
        all.sort_unstable();
        all.dedup();
        all.extend(self.present.read().keys().copied().map(IpAddr::V6));
        all
    }

    /// Whether any address is below the node of the reverse tree whose first and last address these are.
    pub(super) fn any(&self, first: IpAddr, last: IpAddr) -> bool {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let octets = (first.to_bits() ^ last.to_bits()).leading_zeros() / 8;
                self.inner.read().contains_key(&(octets as u8, first))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => self.present.read().range(first..=last).next().is_some(),
            _ => false,
        }
    }

    /// Replaces what one Service says. Touches only addresses that it has now and had not, or had and has not.
    pub(super) fn replace(&self, service: &Arc<Key>, old: Option<&ServiceNames>, new: Option<&ServiceNames>) {
        let mut unsaid = Vec::new();
        differences(old, new, |ip, is_new| if is_new { self.say(ip, service) } else { unsaid.push(ip) });
        // Afterwards: an address that only leads to another label is there all the time.
        unsaid.into_iter().for_each(|ip| self.unsay(ip, service));
    }

    fn say(&self, ip: IpAddr, service: &Arc<Key>) {
        match ip {
            IpAddr::V4(ip) => {
                {
                    let mut inner = self.inner.write();
                    inner_nodes(ip).into_iter().for_each(|node| *inner.entry(node).or_default() += 1);
                }
                self.v4.insert(ip, service);
            }
            IpAddr::V6(ip) => {
                *self.present.write().entry(ip).or_default() += 1;
                self.v6.insert(ip, service);
            }
        }
    }

    fn unsay(&self, ip: IpAddr, service: &Key) {
        match ip {
            IpAddr::V4(ip) if self.v4.remove(ip, service) => {
                let mut inner = self.inner.write();
                for node in inner_nodes(ip) {
                    if let Entry::Occupied(mut pairs) = inner.entry(node) {
                        *pairs.get_mut() -= 1;
                        if *pairs.get() == 0 {
                            pairs.remove();
                        }
                    }
                }
            }
            IpAddr::V6(ip) if self.v6.remove(ip, service) => {
                if let btree_map::Entry::Occupied(mut pairs) = self.present.write().entry(ip) {
                    *pairs.get_mut() -= 1;
                    if *pairs.get() == 0 {
                        pairs.remove();
                    }
                }
            }
            _ => {}
        }
    }

    #[cfg(test)]
    pub(super) fn snapshot(&self, all: &Names) -> BTreeMap<IpAddr, Vec<(Option<String>, Key)>> {
        let addresses = self.addresses();
        let mut inner: HashMap<(u8, Ipv4Addr), u32, Hasher> = HashMap::default();
        for ip in self.v4.all() {
            inner_nodes(ip).into_iter().for_each(|node| *inner.entry(node).or_default() += 1);
        }
        assert_eq!(*self.inner.read(), inner);
        assert_eq!(self.present.read().values().sum::<u32>() as usize, self.v6.all().count());
        let pointers = |ip| {
            let pointers = self.get(ip, all).expect("an address leads somewhere");
            pointers.iter().map(|one| (one.host().map(str::to_owned), one.service().clone())).collect()
        };
        addresses.into_iter().map(|ip| (ip, pointers(ip))).collect()
    }
}

/// Tells of each address that only one of both has at a label, and whether it is the new one. Both are in the order of their
/// labels, so they are walked through together; nearly always nearly all is equal.
fn differences<'a>(
    old: Option<&'a ServiceNames>,
    new: Option<&'a ServiceNames>,
    mut tell: impl FnMut(IpAddr, bool),
) {
    let mut old = old.into_iter().flat_map(ServiceNames::pointed).peekable();
    let mut new = new.into_iter().flat_map(ServiceNames::pointed).peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.label.cmp(&new.label),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let before = if order.is_le() { old.next() } else { None };
        let now = if order.is_ge() { new.next() } else { None };
        if before == now {
            continue;
        }
        let mut only = |one: Option<Pointed<'a>>, other: Option<Pointed<'a>>, is_new| {
            let Some(one) = one else { return };
            let ips = one.ips().filter(|ip| !other.is_some_and(|other| other.has(*ip)));
            ips.for_each(|ip| tell(ip, is_new));
        };
        only(before, now, false);
        only(now, before, true);
    }
}

/// The nodes of the reverse tree above an address, `in-addr.arpa` among them.
fn inner_nodes(ip: Ipv4Addr) -> [(u8, Ipv4Addr); 4] {
    let [a, b, c, _] = ip.octets();
    [
        (0, Ipv4Addr::UNSPECIFIED),
        (1, Ipv4Addr::new(a, 0, 0, 0)),
        (2, Ipv4Addr::new(a, b, 0, 0)),
        (3, Ipv4Addr::new(a, b, c, 0)),
    ]
}

impl<T: Copy + Eq + Hash> Pairs<T> {
    fn services(&self, ip: T) -> SmallVec<[Arc<Key>; 4]> {
        let Some((hash, shard)) = self.place(ip) else { return SmallVec::new() };
        let shard = shard.read();
        let found = shard.iter_hash(hash).filter(|(known, _)| *known == ip);
        found.map(|(_, service)| Arc::clone(service)).collect()
    }

    /// Adds a pair. It is there as often as it was added.
    fn insert(&self, ip: T, service: &Arc<Key>) {
        let Some((hash, shard)) = self.place(ip) else { return };
        let pair = (ip, Arc::clone(service));
        shard.write().insert_unique(hash, pair, |(known, _)| self.hasher.hash_one(known));
    }

    fn remove(&self, ip: T, service: &Key) -> bool {
        let Some((hash, shard)) = self.place(ip) else { return false };
        let mut shard = shard.write();
        let Ok(pair) = shard.find_entry(hash, |(known, of)| *known == ip && **of == *service) else {
            return false;
        };
        pair.remove();
        // Room is given back once three quarters of it are free, and half of it is kept for those that come.
        if shard.capacity() > shard.len().max(64) * 4 {
            let half = shard.len() * 2;
            shard.shrink_to(half, |(known, _)| self.hasher.hash_one(known));
        }
        true
    }

    /// The address of every pair, in no order.
    fn all(&self) -> impl Iterator<Item = T> {
        let shards = self.shards.iter();
        shards.flat_map(|shard| shard.read().iter().map(|(ip, _)| *ip).collect::<Vec<_>>())
    }

    fn place(&self, ip: T) -> Option<(u64, &Shard<T>)> {
        let hash = self.hasher.hash_one(ip);
        // A table itself places its values by the lowest and the highest bits of a hash.
        let shard = self.shards.get((hash >> 32) as usize % SHARDS)?;
        Some((hash, shard))
    }
}

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), hasher: Hasher::default() }
    }
}

impl<T> std::fmt::Debug for Pairs<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

/// What a name below `in-addr.arpa` or `ip6.arpa` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// One address.
    One(IpAddr),
    /// All addresses from the first to the last: the name is an inner node of the tree.
    Many(IpAddr, IpAddr),
    /// None: the labels are not those of an address.
    Nothing,
}

/// Reads a reverse name.
pub(crate) fn read(name: &Folded) -> Range {
    match name.label(1) {
        Some(b"ip6") => read_v6(name.labels_before(2)),
        Some(_) => read_v4(name.labels_before(2)),
        None => Range::Nothing,
    }
}

/// Reads the labels of a reverse name, from the root down, without `arpa` and the tree's label.
fn read_v4<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Range {
    let mut octets: SmallVec<[u8; 4]> = SmallVec::new();
    for label in labels {
        let Some(octet) = decimal(label).filter(|_| octets.len() < 4) else { return Range::Nothing };
        octets.push(octet);
    }
    let filled = |filler| {
        let mut all = octets.iter().copied().chain(std::iter::repeat(filler));
        IpAddr::V4(Ipv4Addr::from(std::array::from_fn(|_| all.next().unwrap_or_default())))
    };
    match octets.len() {
        4 => Range::One(filled(0)),
        _ => Range::Many(filled(0), filled(255)),
    }
}

/// As [`read_v4`], for `ip6.arpa` (RFC 3596 2.5).
fn read_v6<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Range {
    let (mut bits, mut count) = (0_u128, 0_u32);
    for label in labels {
        let nibble = match label {
            [digit] => char::from(*digit).to_digit(16),
            _ => None,
        };
        let Some(nibble) = nibble.filter(|_| count < 32) else { return Range::Nothing };
        bits = bits << 4 | u128::from(nibble);
        count += 1;
    }
    let missing = (32 - count) * 4;
    let first = bits.checked_shl(missing).unwrap_or_default();
    let last = first | u128::MAX.checked_shr(128 - missing).unwrap_or_default();
    let ip = |bits| IpAddr::V6(Ipv6Addr::from(bits));
    if count == 32 { Range::One(ip(bits)) } else { Range::Many(ip(first), ip(last)) }
}

/// An octet as it is written in reverse names: no leading zeros, or one address would have several names.
fn decimal(label: &[u8]) -> Option<u8> {
    if label.first() == Some(&b'0') && label.len() > 1 {
        return None;
    }
    std::str::from_utf8(label).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> Range {
        read_v4(text.split('.').filter(|label| !label.is_empty()).rev().map(str::as_bytes))
    }

    fn v6(text: &str) -> Range {
        read_v6(text.split('.').filter(|label| !label.is_empty()).rev().map(str::as_bytes))
    }

    fn range(first: &str, last: &str) -> Range {
        Range::Many(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn reverse_names_are_addresses_or_ranges() {
        assert_eq!(v4("4.3.2.1"), Range::One("1.2.3.4".parse().unwrap()));
        assert_eq!(v4("2.1"), range("1.2.0.0", "1.2.255.255"));
        assert_eq!(v4(""), range("0.0.0.0", "255.255.255.255"));
        for odd in ["5.4.3.2.1", "256.1", "01.1", "a.1", "+1.1", "-.1"] {
            assert_eq!(v4(odd), Range::Nothing, "{odd}");
        }
        let full = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f";
        assert_eq!(v6(full), Range::One("fd00::1".parse().unwrap()));
        assert_eq!(v6("0.0.d.f"), range("fd00::", "fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(v6(""), range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(v6(&format!("1.{full}")), Range::Nothing);
        assert_eq!(v6("10.f"), Range::Nothing);
        assert_eq!(v6("g.f"), Range::Nothing);
    }
}
