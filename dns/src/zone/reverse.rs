//! PTR records: which names an address leads to.
//!
//! An address belongs to several Services at once (every Service that selects the pod), so the RRset of one address is
//! joined from what each Service says, and edited in place under its own entry: a reader has the old set or the new one.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use callsign_shared::name::Key;
use compact_str::CompactString as Text;
use dashmap::DashMap;
use hickory_proto::rr::Name;
use indexmap::IndexMap;
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::service::{Pointed, ServiceNames};
use crate::folded::Folded;

type Hasher = foldhash::fast::RandomState;

/// A name that an address leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    // Those of Services come first.
    host: Option<Text>,
    service: Arc<Key>,
}

impl Pointer {
    /// The endpoint's label; `None` where the address is a Service's own.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The Service.
    pub fn service(&self) -> &Key {
        &self.service
    }
}

/// The names of one address, sorted.
pub type Pointers = SmallVec<[Pointer; 1]>;

/// All addresses with names.
#[derive(Debug, Default)]
pub(super) struct Reverse {
    pointers: DashMap<IpAddr, Pointers, Hasher>,
    /// The same addresses in their order, which is that of the reverse tree: tells whether a name has names below it.
    present: RwLock<BTreeSet<IpAddr>>,
}

impl Reverse {
    /// The PTR records of an address. A Service's own address leads to one Service only; an endpoint's leads to the
    /// endpoint under every Service that has it.
    pub(super) fn get(&self, ip: IpAddr) -> Option<Pointers> {
        let pointers = self.pointers.get(&ip)?;
        match pointers.first()? {
            own if own.host().is_none() => Some(Pointers::from_iter([own.clone()])),
            _ => Some(pointers.clone()),
        }
    }

    /// All addresses, in order.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.present.read().iter().copied().collect()
    }

    /// Whether any address is in the range.
    pub(super) fn any(&self, first: IpAddr, last: IpAddr) -> bool {
        self.present.read().range(first..=last).next().is_some()
    }

    /// Replaces what one Service says. Touches only addresses about which it says something else than before.
    pub(super) fn replace(&self, service: &Arc<Key>, old: Option<&ServiceNames>, new: Option<&ServiceNames>) {
        let mut changed: IndexMap<IpAddr, Changed<'_>, Hasher> = IndexMap::default();
        differences(old, new, |ip, label, is_new| {
            let changed = changed.entry(ip).or_default();
            if is_new { &mut changed.said } else { &mut changed.unsaid }.push(label);
        });
        for (ip, changed) in changed {
            self.edit(ip, service, &changed);
        }
    }

    fn edit(&self, ip: IpAddr, service: &Arc<Key>, changed: &Changed<'_>) {
        if !changed.said.is_empty() {
            self.present.write().insert(ip);
        }
        let mut entry = self.pointers.entry(ip).or_default();
        entry.retain(|pointer| pointer.service != *service || !changed.unsaid.contains(&pointer.host()));
        let pointer =
            |label: &Option<&str>| Pointer { host: label.map(Text::new), service: Arc::clone(service) };
        entry.extend(changed.said.iter().map(pointer));
        entry.sort_unstable();
        let empty = entry.is_empty();
        entry.shrink_to_fit();
        drop(entry);
        if empty {
            self.pointers.remove(&ip);
            self.present.write().remove(&ip);
        }
    }

    #[cfg(test)]
    pub(super) fn snapshot(&self) -> std::collections::BTreeMap<IpAddr, Vec<Pointer>> {
        assert_eq!(self.present.read().len(), self.pointers.len());
        self.pointers.iter().map(|entry| (*entry.key(), entry.value().to_vec())).collect()
    }
}

type Label<'a> = Option<&'a str>;

/// What a Service says of an address no longer, and what it says now.
#[derive(Default)]
struct Changed<'a> {
    unsaid: SmallVec<[Label<'a>; 2]>,
    said: SmallVec<[Label<'a>; 2]>,
}

/// Tells of each address and label that only one of both has, and whether it is the new one. Both are in the order of their
/// labels, so they are walked through together; nearly always nearly all is equal.
fn differences<'a>(
    old: Option<&'a ServiceNames>,
    new: Option<&'a ServiceNames>,
    mut tell: impl FnMut(IpAddr, Label<'a>, bool),
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
            ips.for_each(|ip| tell(ip, one.label, is_new));
        };
        only(before, now, false);
        only(now, before, true);
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
pub(crate) fn read(name: &Name) -> Range {
    read_folded(&Folded::of(name))
}

/// Reads a reverse name that is ready to be compared.
pub(super) fn read_folded(name: &Folded) -> Range {
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
