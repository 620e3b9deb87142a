//! Topology hints (`service.kubernetes.io/topology-mode: Auto`): each zone gets as many endpoints as its share of CPU.
//!
//! The algorithm and its bounds are upstream's (KEP-2433, Kubernetes `staging/src/k8s.io/endpointslice/topologycache`).
//! With `n` ready endpoints and a zone's share `s`, the zone needs at least `min = ceil(s·n / 1.2)`, so that none of its
//! endpoints is loaded more than a fifth above the average; it wants `max(s·n, min)` and takes at most `min + n - Σmin`.
//! Where that cannot be met, or a node or an endpoint has no zone, nobody gets hints: half a distribution overloads.
//!
//! Slices that are not written anyway keep their hints as long as they are within the bounds, so that a pod that comes
//! or goes does not rewrite them all.

use std::collections::BTreeMap;

use callsign_shared::{
    Name,
    object::{ForName, Hints, Node, SliceEndpoint},
};

use super::pack::Slot;

/// How much above the average an endpoint may be loaded.
const OVERLOAD: f64 = 0.2;

/// Each zone's share of the cluster's CPU. The shares add up to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Zones(BTreeMap<Name, f64>);

/// Why endpoints cannot be shared out among zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are fewer than zones.
    TooFew,
    /// A zone's endpoints would be loaded too far above the average.
    Overload,
}

/// How many endpoints a zone should have.
#[derive(Clone, Copy, Debug)]
struct Allocation {
    wanted: f64,
    most: usize,
}

impl Zones {
    /// The shares of ready nodes outside of the control plane; `None` when one of them has no zone or no CPU, or when
    /// they are all in one zone.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Option<Self> {
        let mut millis: BTreeMap<Name, u64> = BTreeMap::new();
        for node in nodes.into_iter().filter(|node| node.ready && !node.control_plane) {
            let cpu = node.cpu_millis.filter(|cpu| *cpu > 0)?;
            *millis.entry(node.zone.clone()?).or_default() += cpu;
        }
        let total: u64 = millis.values().sum();
        // CPU counts are far below 2^52.
        let shares = millis.into_iter().map(|(zone, cpu)| (zone, cpu as f64 / total as f64));
        let shares: BTreeMap<_, _> = shares.collect();
        (shares.len() >= 2).then_some(Self(shares))
    }

    /// Why so many ready endpoints get no hints, if they get none.
    pub(crate) fn refuse(&self, endpoints: usize) -> Option<Refusal> {
        if self.0.len() > endpoints {
            return Some(Refusal::TooFew);
        }
        self.allocate(endpoints).is_none().then_some(Refusal::Overload)
    }

    /// What each zone should have of `endpoints`; `None` when they are too few to go round.
    fn allocate(&self, endpoints: usize) -> Option<BTreeMap<&Name, Allocation>> {
        if self.0.len() > endpoints {
            return None;
        }
        let least = |share: f64| (share * endpoints as f64 / (1.0 + OVERLOAD)).ceil() as usize;
        let spare = endpoints.checked_sub(self.0.values().map(|share| least(*share)).sum())?;
        let allocation = |(zone, share): (_, &f64)| {
            let least = least(*share);
            (zone, Allocation { wanted: (*share * endpoints as f64).max(least as f64), most: least + spare })
        };
        Some(self.0.iter().map(allocation).collect())
    }
}

/// Sets the hints, and tells whether it could. If not, nothing has changed.
pub(super) fn apply(slots: &mut [Slot<'_>], zones: &Zones) -> bool {
    let ready: Vec<&SliceEndpoint> =
        slots.iter().flat_map(|slot| slot.endpoints()).filter(|e| is_ready(e)).collect();
    if ready.iter().any(|endpoint| endpoint.zone.is_none()) {
        return false;
    }
    let Some(allocations) = zones.allocate(ready.len()) else { return false };
    let mut given: BTreeMap<Name, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for slot in slots.iter_mut() {
        match (!slot.changed).then(|| valid_hints(slot.endpoints(), &given, &allocations)).flatten() {
            Some(counts) => {
                for (zone, count) in counts {
                    *given.entry(zone).or_default() += count;
                }
            }
            None => open.push(slot),
        }
    }
    for endpoint in open.iter().flat_map(|slot| slot.endpoints()).filter(|endpoint| is_ready(endpoint)) {
        if let Some(zone) = &endpoint.zone {
            *given.entry(zone.clone()).or_default() += 1;
        }
    }
    let (mut giving, mut receiving) = moves(&allocations, &given);
    for slot in open {
        let hints: Vec<_> = slot.endpoints().iter().map(|e| hint(e, &mut giving, &mut receiving)).collect();
        if slot.endpoints().iter().zip(&hints).any(|(endpoint, hints)| endpoint.hints != *hints) {
            for (endpoint, hints) in slot.endpoints_mut().iter_mut().zip(hints) {
                endpoint.hints = hints;
            }
        }
    }
    true
}

fn is_ready(endpoint: &SliceEndpoint) -> bool {
    endpoint.conditions.ready == Some(true)
}

/// The hints a slice has for each zone, if every ready endpoint has one, for a zone that counts, and no zone gets too
/// many.
fn valid_hints(
    endpoints: &[SliceEndpoint],
    given: &BTreeMap<Name, usize>,
    allocations: &BTreeMap<&Name, Allocation>,
) -> Option<BTreeMap<Name, usize>> {
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| is_ready(endpoint)) {
        let hints = endpoint.hints.as_deref()?;
        if !hints.for_zones.iter().all(|zone| allocations.contains_key(&zone.name)) {
            return None;
        }
        *counts.entry(hints.for_zones.first()?.name.clone()).or_default() += 1;
    }
    let fits = |(zone, count): (&Name, &usize)| {
        let already = given.get(zone).copied().unwrap_or_default();
        allocations.get(zone).is_some_and(|allocation| already + count <= allocation.most)
    };
    counts.iter().all(fits).then_some(counts)
}

/// How many endpoints zones with too many give away, and how many zones with too few get. Stops when what is left to
/// move is less than one endpoint on both sides or less than half of one on either.
fn moves(
    allocations: &BTreeMap<&Name, Allocation>,
    given: &BTreeMap<Name, usize>,
) -> (BTreeMap<Name, usize>, BTreeMap<Name, usize>) {
    let excess = |(zone, allocation): (&&Name, &Allocation)| {
        let has = given.get(*zone).copied().unwrap_or_default();
        ((*zone).clone(), has as f64 - allocation.wanted)
    };
    let mut excess: BTreeMap<Name, f64> = allocations.iter().map(excess).collect();
    let (mut giving, mut receiving) = (BTreeMap::<Name, usize>::new(), BTreeMap::<Name, usize>::new());
    let total: usize = given.values().sum();
    for _ in 0..total {
        let most = excess.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(zone, by)| (zone.clone(), *by));
        let least = excess.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(zone, by)| (zone.clone(), -*by));
        let (Some((giver, give)), Some((receiver, receive))) = (most, least) else { break };
        if give < 0.5 || receive < 0.5 || (give < 1.0 && receive < 1.0) {
            break;
        }
        excess.entry(giver.clone()).and_modify(|by| *by -= 1.0);
        excess.entry(receiver.clone()).and_modify(|by| *by += 1.0);
        *giving.entry(giver).or_default() += 1;
        *receiving.entry(receiver).or_default() += 1;
    }
    (giving, receiving)
}

/// The hint of one endpoint: its own zone, or one that receives if its own gives.
fn hint(
    endpoint: &SliceEndpoint,
    giving: &mut BTreeMap<Name, usize>,
    receiving: &mut BTreeMap<Name, usize>,
) -> Option<Box<Hints>> {
    let own = endpoint.zone.as_ref().filter(|_| is_ready(endpoint))?;
    let gives = giving.get_mut(own).filter(|left| **left > 0);
    let receiver = receiving.iter_mut().find(|(_, left)| **left > 0);
    let zone = match (gives, receiver) {
        (Some(gives), Some((zone, left))) => {
            *gives -= 1;
            *left -= 1;
            zone.clone()
        }
        _ => own.clone(),
    };
    Some(Box::new(Hints { for_zones: vec![ForName { name: zone }], for_nodes: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use callsign_shared::object::Conditions;

    fn node(zone: &str, cpu: u64) -> Node {
        Node {
            zone: (!zone.is_empty()).then(|| zone.into()),
            ready: true,
            cpu_millis: Some(cpu),
            ..Node::default()
        }
    }

    fn slot<'a>(zones: &[&str]) -> Slot<'a> {
        let endpoint = |zone: &&str| SliceEndpoint {
            conditions: Conditions { ready: Some(true), ..Conditions::default() },
            zone: (!zone.is_empty()).then(|| Name::from(*zone)),
            ..SliceEndpoint::default()
        };
        let endpoints = Some(zones.iter().map(endpoint).collect());
        Slot {
            current: None,
            ports: crate::ports::PortKey::default(),
            endpoints,
            changed: true,
            pressing: true,
            gains: true,
        }
    }

    fn counts(slots: &[Slot<'_>]) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for endpoint in slots.iter().flat_map(|slot| slot.endpoints()) {
            if let Some(hints) = &endpoint.hints {
                *counts.entry(hints.for_zones[0].name.to_string()).or_default() += 1;
            }
        }
        counts
    }

    #[test]
    fn what_nodes_must_tell() {
        assert!(Zones::of(&[node("a", 1000), node("b", 1000)]).is_some());
        assert!(Zones::of(&[node("a", 1000), node("a", 1000)]).is_none(), "one zone");
        assert!(
            Zones::of(&[node("a", 1000), node("b", 1000), node("", 1000)]).is_none(),
            "a node without zone"
        );
        assert!(Zones::of(&[node("a", 1000), node("b", 0)]).is_none(), "a node without CPU");
        let unready = Node { ready: false, ..node("", 0) };
        let control_plane = Node { control_plane: true, ..node("", 0) };
        assert!(Zones::of(&[node("a", 1000), node("b", 1000), unready, control_plane]).is_some());
    }

    #[test]
    fn endpoints_follow_cpu() {
        let zones = Zones::of(&[node("a", 1000), node("b", 1000), node("c", 1000)]).unwrap();
        let mut slots = [slot(&["a", "a", "a", "a", "b", "c"])];
        assert!(apply(&mut slots, &zones));
        assert_eq!(counts(&slots), BTreeMap::from([("a".into(), 2), ("b".into(), 2), ("c".into(), 2)]));
    }

    #[test]
    fn too_few_or_homeless_endpoints_get_none() {
        let zones = Zones::of(&[node("a", 1000), node("b", 1000), node("c", 1000)]).unwrap();
        assert!(!apply(&mut [slot(&["a", "b"])], &zones));
        assert!(!apply(&mut [slot(&["a", "b", "c", ""])], &zones));
        let uneven = Zones::of(&[node("a", 1000), node("b", 1000), node("c", 10)]).unwrap();
        assert!(!apply(&mut [slot(&["a", "b", "c"])], &uneven), "2 + 2 + 1 are more than 3");
    }

    proptest! {
        /// A zone's endpoints carry at most a fifth more than the average, or there are no hints at all; and a second
        /// look changes nothing.
        #[test]
        fn no_zone_is_overloaded(
            cpu in proptest::collection::vec(1_u64..64, 2..5),
            placed in proptest::collection::vec(proptest::collection::vec(0_usize..4, 0..30), 1..4),
        ) {
            let names = ["a", "b", "c", "d", "e"];
            let nodes: Vec<_> = cpu.iter().zip(names).map(|(cpu, name)| node(name, cpu * 1000)).collect();
            let zones = Zones::of(&nodes).unwrap();
            let spread = |slice: &Vec<usize>| {
                slot(&slice.iter().map(|zone| names[zone % cpu.len()]).collect::<Vec<_>>())
            };
            let mut slots: Vec<_> = placed.iter().map(spread).collect();
            if !apply(&mut slots, &zones) {
                return Ok(());
            }
            let counts = counts(&slots);
            let all: usize = counts.values().sum();
            for (zone, share) in &zones.0 {
                let has = counts.get(zone.as_str()).copied().unwrap_or_default() as f64;
                // Whole endpoints cannot be split: half of one is the grain of the distribution.
                prop_assert!(has + 0.5 >= (share * all as f64 / 1.2).ceil() - 0.5, "{zone} has {has} of {all}");
            }
            let before: Vec<_> = slots.iter().map(|slot| slot.endpoints().to_vec()).collect();
            slots.iter_mut().for_each(|slot| slot.changed = false);
            prop_assert!(apply(&mut slots, &zones));
            for (slot, before) in slots.iter().zip(before) {
                prop_assert_eq!(slot.endpoints(), before.as_slice());
            }
        }
    }
}
