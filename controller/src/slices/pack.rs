//! Packing: which endpoint goes into which slice, with the fewest writes.
//!
//! The rules are upstream's (`staging/src/k8s.io/endpointslice/reconciler.go`, `reconcileByPortMapping`), so that a
//! cluster's slices look the same whoever writes them. For one group of ports:
//!
//! 1. An endpoint that is wanted stays in the slice it is in; one that is not, or that an earlier slice has, is dropped.
//!    A slice that lost everything goes.
//! 2. What is left is put into slices that are written anyway, the fullest first. Those that cannot wait to be written
//!    ([`minor`](crate::minor)) come before those that can, and endpoints that are ready before those that are not.
//! 3. Still more: if one untouched slice can take all of it, the one it fills best takes it. Otherwise new slices.
//!
//! A slice that is empty still goes; upstream keeps one that somebody emptied by hand. Slices are never merged. A slice to
//! delete and a slice to create become one update, which keeps the name.
//! Existing slices are looked at in the order of their names, so the same state gives the same plan on every replica.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use callsign_shared::{
    Labels, Membership,
    object::{EndpointSlice, Family, SliceEndpoint},
};

use super::desired::{endpoint, is_current, is_of};
use crate::ports::PortKey;

/// A slice as it should be.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    /// The slice it is now; `None` to create one.
    pub(super) current: Option<&'a Arc<EndpointSlice>>,
    /// Its ports.
    pub(super) ports: PortKey,
    /// Its endpoints where they differ from those of `current`.
    pub(super) endpoints: Option<Vec<SliceEndpoint>>,
    /// Whether it must be written.
    pub(super) changed: bool,
    /// Whether that cannot wait.
    pub(super) pressing: bool,
    /// Whether it takes in endpoints, and so is written before those that lose some.
    pub(super) gains: bool,
}

/// All slices of one Service and family.
#[derive(Debug, Default)]
pub(super) struct Packing<'a> {
    /// Those that should be there.
    pub(super) slots: Vec<Slot<'a>>,
    /// Those that should not.
    pub(super) surplus: Vec<&'a Arc<EndpointSlice>>,
    /// Endpoints put into a slice.
    pub(super) added: usize,
    /// Endpoints taken out of one.
    pub(super) removed: usize,
}

/// What every slice of the packing has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) family: Family,
    pub(super) labels: &'a Labels,
    pub(super) most: usize,
}

/// Packs `groups` into `existing` slices, all of one family, ours, and in the order of their names.
pub(super) fn pack<'a>(
    existing: &[&'a Arc<EndpointSlice>],
    groups: BTreeMap<PortKey, Vec<&Membership>>,
    common: Common<'_>,
) -> Packing<'a> {
    let mut packing = Packing::default();
    let mut by_ports: BTreeMap<PortKey, Vec<&'a Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        by_ports.entry(PortKey::new(slice.ports.as_deref().unwrap_or_default())).or_default().push(*slice);
    }
    if groups.is_empty() {
        let placeholders = by_ports.remove(&PortKey::default()).unwrap_or_default();
        packing.keep_a_placeholder(placeholders, common);
    } else {
        for (ports, members) in groups {
            let slices = by_ports.remove(&ports).unwrap_or_default();
            packing.place(ports, &slices, members, common);
        }
    }
    for slice in by_ports.into_values().flatten() {
        packing.drop_slice(slice);
    }
    packing
}

/// Members of one group that have no slice yet.
struct Waiting<'a> {
    members: Vec<Option<&'a Membership>>,
    by_name: HashMap<&'a str, usize>,
}

impl<'a> Packing<'a> {
    /// Without endpoints one empty slice stands for the Service, so that a consumer can tell "none" from "not yet".
    fn keep_a_placeholder(&mut self, candidates: Vec<&'a Arc<EndpointSlice>>, common: Common<'_>) {
        for slice in candidates {
            if slice.endpoints.is_empty() && self.slots.is_empty() {
                let changed = slice.meta.labels != *common.labels;
                let ports = PortKey::default();
                self.slots.push(Slot {
                    current: Some(slice),
                    ports,
                    endpoints: None,
                    changed,
                    pressing: changed,
                    gains: false,
                });
            } else {
                self.drop_slice(slice);
            }
        }
        if self.slots.is_empty() {
            let endpoints = Some(Vec::new());
            let ports = PortKey::default();
            self.slots.push(Slot {
                current: None,
                ports,
                endpoints,
                changed: true,
                pressing: true,
                gains: false,
            });
        }
    }

    fn place(
        &mut self,
        ports: PortKey,
        slices: &[&'a Arc<EndpointSlice>],
        members: Vec<&Membership>,
        common: Common<'_>,
    ) {
        let from = self.slots.len();
        let mut waiting = Waiting::new(members);
        for slice in slices {
            self.keep_what_is_wanted(slice, &ports, &mut waiting, common);
        }
        let mut left: Vec<&Membership> = waiting.members.into_iter().flatten().collect();
        left.sort_by_key(|member| !member.answers(common.family));
        self.added += left.len();
        let own = self.slots.get_mut(from..).unwrap_or_default();

        let mut written: Vec<&mut Slot<'a>> = own.iter_mut().filter(|slot| slot.changed).collect();
        written.sort_by_key(|slot| std::cmp::Reverse((slot.pressing, slot.len())));
        for slot in written {
            slot.fill(&mut left, common);
        }

        let mut new = Vec::new();
        while !left.is_empty() {
            let fits = |slot: &&mut Slot<'a>| !slot.changed && slot.len() + left.len() <= common.most;
            let best = own.iter_mut().filter(fits).min_by_key(|slot| std::cmp::Reverse(slot.len()));
            match best.filter(|_| left.len() < common.most) {
                Some(slot) => slot.fill(&mut left, common),
                None => {
                    let endpoints = Some(Vec::new());
                    let mut slot = Slot {
                        current: None,
                        ports: ports.clone(),
                        endpoints,
                        changed: true,
                        pressing: true,
                        gains: true,
                    };
                    slot.fill(&mut left, common);
                    new.push(slot);
                }
            }
        }
        self.slots.append(&mut new);
        // What somebody emptied and nothing was put into.
        let empty = |slot: &mut Slot<'a>| slot.len() == 0;
        self.surplus.extend(self.slots.extract_if(from.., empty).filter_map(|slot| slot.current));
    }

    fn keep_what_is_wanted(
        &mut self,
        slice: &'a Arc<EndpointSlice>,
        ports: &PortKey,
        waiting: &mut Waiting<'_>,
        common: Common<'_>,
    ) {
        let claims: Vec<_> =
            slice.endpoints.iter().map(|known| waiting.claim(known, common.family)).collect();
        let pairs = || slice.endpoints.iter().zip(&claims);
        let kept = claims.iter().flatten().count();
        self.removed += slice.endpoints.len() - kept;
        if kept == 0 && !slice.endpoints.is_empty() {
            self.surplus.push(slice);
            return;
        }
        let current = pairs().all(|(known, claim)| claim.is_some_and(|member| is_current(known, member)));
        let relabelled = slice.meta.labels != *common.labels;
        let moves_traffic = |known: &SliceEndpoint, claim: Option<&Membership>| match claim {
            None => known.is_ready(),
            Some(member) => (known.is_ready() || member.answers(common.family)) && !is_current(known, member),
        };
        let pressing = relabelled || pairs().any(|(known, claim)| moves_traffic(known, *claim));
        // Made anew, also where it is current: hints on one that is not ready go with the next write, as upstream's do.
        let renew = |member: &Membership| endpoint(member, common.family);
        self.slots.push(Slot {
            current: Some(slice),
            ports: ports.clone(),
            endpoints: (!current).then(|| claims.iter().flatten().map(|member| renew(member)).collect()),
            changed: !current || relabelled,
            pressing,
            gains: false,
        });
    }

    fn drop_slice(&mut self, slice: &'a Arc<EndpointSlice>) {
        self.removed += slice.endpoints.len();
        self.surplus.push(slice);
    }

    /// Makes updates of what would be a create and a delete.
    pub(super) fn recycle(&mut self) {
        let mut surplus = std::mem::take(&mut self.surplus).into_iter();
        for slot in self.slots.iter_mut().filter(|slot| slot.current.is_none()) {
            slot.current = surplus.next();
        }
        self.surplus = surplus.collect();
    }
}

impl<'a> Waiting<'a> {
    fn new(members: Vec<&'a Membership>) -> Self {
        let by_name =
            members.iter().enumerate().map(|(at, member)| (member.pod.meta.key.name.as_str(), at)).collect();
        Self { members: members.into_iter().map(Some).collect(), by_name }
    }

    /// Takes out the member that `known` is the endpoint of.
    fn claim(&mut self, known: &SliceEndpoint, family: Family) -> Option<&'a Membership> {
        let at = *self.by_name.get(known.target.as_deref()?.name.as_str())?;
        self.members.get_mut(at)?.take_if(|member| is_of(known, member, family))
    }
}

impl Slot<'_> {
    /// How many endpoints it will have.
    pub(super) fn len(&self) -> usize {
        self.endpoints().len()
    }

    /// The endpoints it will have.
    pub(super) fn endpoints(&self) -> &[SliceEndpoint] {
        match (&self.endpoints, self.current) {
            (Some(endpoints), _) => endpoints,
            (None, Some(current)) => &current.endpoints,
            (None, None) => &[],
        }
    }

    /// The endpoints it will have, to be changed.
    pub(super) fn endpoints_mut(&mut self) -> &mut Vec<SliceEndpoint> {
        self.changed = true;
        let current = self.current;
        self.endpoints.get_or_insert_with(|| current.map(|slice| slice.endpoints.clone()).unwrap_or_default())
    }

    /// Takes members from the front of `left` as long as there is room.
    fn fill(&mut self, left: &mut Vec<&Membership>, common: Common<'_>) {
        let room = common.most.saturating_sub(self.len()).min(left.len());
        if room > 0 {
            self.gains = true;
            self.endpoints_mut().extend(left.drain(..room).map(|member| endpoint(member, common.family)));
        }
    }
}
