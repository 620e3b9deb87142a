//! Repacking: the one way to write down a set of addresses and ports.
//!
//! The same endpoints can be written as subsets in many ways. Repacking takes them apart into (address, port) pairs and
//! puts them together again: ports that the same addresses offer share a subset, an address is listed once in it, and
//! everything is sorted. Two lists of subsets say the same exactly when they are equal repacked, which is how an object
//! that somebody else wrote is compared, and what the mirror makes slices from.
//!
//! The rules are those of Kubernetes' `pkg/api/v1/endpoints/util.go` (`RepackSubsets`): an address is told from another
//! by its text and the uid of its target, where no target is as good as one without a uid; of two records of one address
//! the first gives node, hostname and target; where it is both ready and not ready under a port, it is not ready.

use std::collections::BTreeMap;

use callsign_shared::object::{AddressText, EndpointPort, EndpointsAddress, Subset, Uid};

/// What tells addresses apart: the address as text and the uid of its target, empty without one. Ordered as subsets list
/// them.
type Identity = (AddressText, Uid);

/// The addresses behind one port and whether each is ready.
type Offer = BTreeMap<Identity, bool>;

/// Repacks `subsets`.
pub(crate) fn repack(subsets: &[Subset]) -> Vec<Subset> {
    let mut addresses: BTreeMap<Identity, &EndpointsAddress> = BTreeMap::new();
    let mut offers: BTreeMap<Option<EndpointPort>, Offer> = BTreeMap::new();
    for subset in subsets {
        let ports = subset.ports.iter().map(|port| Some(normal(port)));
        // Addresses without ports are not lost: no port is a port of its own.
        let ports: Vec<_> = if subset.ports.is_empty() { vec![None] } else { ports.collect() };
        let ready = subset.addresses.iter().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().map(|address| (address, false));
        for (address, ready) in ready.chain(unready) {
            let identity = identity(address);
            addresses.entry(identity.clone()).or_insert(address);
            for port in &ports {
                let offer = offers.entry(port.clone()).or_default();
                offer.entry(identity.clone()).and_modify(|known| *known &= ready).or_insert(ready);
            }
        }
    }
    let mut ports_of: BTreeMap<Offer, Vec<EndpointPort>> = BTreeMap::new();
    for (port, offer) in offers {
        ports_of.entry(offer).or_default().extend(port);
    }
    let mut repacked: Vec<Subset> = (ports_of.into_iter())
        .map(|(offer, ports)| {
            let of = |wanted: bool| {
                let identities =
                    offer.iter().filter(move |(_, ready)| **ready == wanted).map(|(identity, _)| identity);
                identities
                    .filter_map(|identity| addresses.get(identity))
                    .map(|address| (*address).clone())
                    .collect()
            };
            Subset { addresses: of(true), not_ready_addresses: of(false), ports }
        })
        .collect();
    repacked.sort_by(|a, b| a.ports.cmp(&b.ports).then_with(|| a.addresses.cmp(&b.addresses)));
    repacked
}

fn identity(address: &EndpointsAddress) -> Identity {
    (address.ip.clone(), address.target_ref.as_ref().map(|target| target.uid.clone()).unwrap_or_default())
}

/// An absent name and an empty one are the same; Endpoints spell it as absent.
fn normal(port: &EndpointPort) -> EndpointPort {
    EndpointPort { name: port.name.clone().filter(|name| !name.is_empty()), ..port.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn port(number: i32) -> EndpointPort {
        EndpointPort { port: Some(number), ..EndpointPort::default() }
    }

    fn address(ip: &str) -> EndpointsAddress {
        EndpointsAddress { ip: ip.into(), ..EndpointsAddress::default() }
    }

    fn subset(ready: &[&str], unready: &[&str], ports: &[i32]) -> Subset {
        Subset {
            addresses: ready.iter().map(|ip| address(ip)).collect(),
            not_ready_addresses: unready.iter().map(|ip| address(ip)).collect(),
            ports: ports.iter().map(|number| port(*number)).collect(),
        }
    }

    #[test]
    fn the_same_addresses_share_a_subset() {
        let scattered =
            [subset(&["2", "1"], &[], &[80]), subset(&["1"], &[], &[443]), subset(&["2"], &[], &[443])];
        assert_eq!(repack(&scattered), [subset(&["1", "2"], &[], &[80, 443])]);
    }

    #[test]
    fn different_readiness_keeps_ports_apart() {
        let both = [subset(&["1"], &[], &[80]), subset(&[], &["1"], &[443])];
        assert_eq!(repack(&both), [subset(&["1"], &[], &[80]), subset(&[], &["1"], &[443])]);
        let torn = [subset(&["1"], &["1"], &[80])];
        assert_eq!(repack(&torn), [subset(&[], &["1"], &[80])]);
    }

    #[test]
    fn addresses_without_ports_stay() {
        let portless = [subset(&["1"], &[], &[]), subset(&["2"], &[], &[]), subset(&["1"], &[], &[80])];
        assert_eq!(repack(&portless), [subset(&["1", "2"], &[], &[]), subset(&["1"], &[], &[80])]);
        let same = [subset(&["1"], &[], &[]), subset(&["1"], &[], &[80])];
        assert_eq!(repack(&same), [subset(&["1"], &[], &[80])], "no port is nothing beside a port");
    }

    #[test]
    fn no_addresses_are_no_subsets() {
        assert_eq!(repack(&[subset(&[], &[], &[80])]), []);
    }

    #[test]
    fn the_first_record_of_an_address_is_kept() {
        let mut first = subset(&["1"], &[], &[80]);
        first.addresses[0].hostname = "east".into();
        let repacked = repack(&[first.clone(), subset(&["1"], &[], &[443])]);
        assert_eq!(repacked.len(), 1);
        assert_eq!(repacked[0].addresses, first.addresses);
    }

    #[test]
    fn addresses_are_told_apart_by_the_uid_of_their_target() {
        let at = |uid: Option<&str>| {
            let mut subset = subset(&["1"], &[], &[80]);
            subset.addresses[0].target_ref = uid.map(|uid| {
                let uid = uid.into();
                callsign_shared::object::TargetRef { uid, ..Default::default() }.into()
            });
            subset
        };
        let count = |a, b| repack(&[at(a), at(b)])[0].addresses.len();
        assert_eq!(count(Some("u"), Some("v")), 2);
        assert_eq!(count(Some("u"), None), 2);
        assert_eq!(count(Some("u"), Some("u")), 1);
        assert_eq!(count(Some(""), None), 1, "no target is as good as one without a uid");
    }

    type Pairs = BTreeSet<(AddressText, Option<i32>)>;

    /// What a list of subsets says, by the definition: for each address and port, ready or not.
    fn model(subsets: &[Subset]) -> (Pairs, Pairs) {
        let pairs = |ready: bool| {
            let mut pairs = BTreeSet::new();
            for subset in subsets {
                let list = if ready { &subset.addresses } else { &subset.not_ready_addresses };
                for address in list {
                    let ports = subset.ports.iter().map(|port| port.port);
                    let ports: Vec<_> = if subset.ports.is_empty() { vec![None] } else { ports.collect() };
                    pairs.extend(ports.into_iter().map(|port| (address.ip.clone(), port)));
                }
            }
            pairs
        };
        let unready = pairs(false);
        (&pairs(true) - &unready, unready)
    }

    prop_compose! {
        fn some_subset()(
            ready in proptest::collection::vec("[1-6]", 0..4),
            unready in proptest::collection::vec("[1-6]", 0..4),
            ports in proptest::collection::btree_set(1..5, 1..4),
        ) -> Subset {
            let text = |list: &Vec<String>| list.iter().map(|ip| address(ip)).collect();
            Subset {
                addresses: text(&ready),
                not_ready_addresses: text(&unready),
                ports: ports.into_iter().map(port).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn says_the_same_once(subsets in proptest::collection::vec(some_subset(), 0..6)) {
            let repacked = repack(&subsets);
            prop_assert_eq!(model(&repacked), model(&subsets));
            prop_assert_eq!(&repack(&repacked), &repacked);
            let mut seen = BTreeSet::new();
            for subset in &repacked {
                let addresses: BTreeSet<_> = subset.addresses.iter().chain(&subset.not_ready_addresses).collect();
                prop_assert_eq!(addresses.len(), subset.addresses.len() + subset.not_ready_addresses.len());
                let offer = (subset.addresses.clone(), subset.not_ready_addresses.clone());
                prop_assert!(seen.insert(offer), "the same addresses twice");
            }
        }

        #[test]
        fn order_does_not_matter(subsets in proptest::collection::vec(some_subset(), 0..6)) {
            let reversed: Vec<_> = subsets.iter().rev().cloned().collect();
            prop_assert_eq!(repack(&reversed), repack(&subsets));
        }
    }
}
