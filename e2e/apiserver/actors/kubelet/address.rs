//! The addresses of pods: one number, two families.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::apiserver::object::Key;

/// What is in use in 10.244.0.0/16, and its twin in fd00:10:244::/112.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    taken: BTreeSet<u16>,
    by_pod: BTreeMap<Key, u16>,
    last: u16,
}

impl Addresses {
    /// Both addresses of a pod, the same as long as it lives. `None` when all are in use.
    pub(super) fn of(&mut self, pod: &Key) -> Option<(String, String)> {
        let number = match self.by_pod.get(pod) {
            Some(number) => *number,
            None => {
                // Neither the network's address nor a gateway's nor the broadcast's.
                let free = |number: &u16| (2..u16::MAX).contains(number) && !self.taken.contains(number);
                let number = (self.last.saturating_add(1)..=u16::MAX).chain(0..=self.last).find(free)?;
                self.last = number;
                self.taken.insert(number);
                self.by_pod.insert(pod.clone(), number);
                number
            }
        };
        let [high, low] = number.to_be_bytes();
        let v4 = Ipv4Addr::new(10, 244, high, low);
        let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, number);
        Some((v4.to_string(), v6.to_string()))
    }

    /// Gives back the addresses of a pod that is gone.
    pub(super) fn free(&mut self, pod: &Key) {
        if let Some(number) = self.by_pod.remove(pod) {
            self.taken.remove(&number);
        }
    }

    /// Keeps an address that a pod was given by somebody else.
    pub(super) fn keep(&mut self, pod: &Key, address: &str) {
        let Ok(address) = address.parse::<Ipv4Addr>() else { return };
        if let [10, 244, high, low] = address.octets() {
            let number = u16::from_be_bytes([high, low]);
            if self.taken.insert(number) {
                self.by_pod.entry(pod.clone()).or_insert(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_its_addresses_and_gives_them_back() {
        let mut addresses = Addresses::default();
        let (a, b) = (Key::new("shop", "a"), Key::new("shop", "b"));
        assert_eq!(addresses.of(&a), Some(("10.244.0.2".to_owned(), "fd00:10:244::2".to_owned())));
        assert_eq!(addresses.of(&a), addresses.of(&a));
        assert_eq!(addresses.of(&b).map(|(v4, _)| v4).as_deref(), Some("10.244.0.3"));
        addresses.free(&a);
        assert_eq!(addresses.of(&Key::new("shop", "c")).map(|(v4, _)| v4).as_deref(), Some("10.244.0.4"));
        addresses.keep(&Key::new("shop", "hand"), "10.244.0.5");
        assert_eq!(addresses.of(&Key::new("shop", "d")).map(|(v4, _)| v4).as_deref(), Some("10.244.0.6"));
    }

    #[test]
    fn every_address_is_given_once_and_then_none() {
        let mut addresses = Addresses::default();
        let mut seen = BTreeSet::new();
        let mut count = 0_u32;
        while let Some((v4, _)) = addresses.of(&Key::new("shop", &count.to_string())) {
            assert!(seen.insert(v4));
            count += 1;
        }
        assert_eq!(count, 65_533);
    }
}
