//! EndpointSlices: what those of a Service should be, and the writes that make them so.
//!
//! ```text
//!   members ──desired──▶ groups by ports ──pack──▶ slots ──hints──▶ writes
//!                                           ▲
//!                        the slices there are, the Service's own by uid
//! ```
//!
//! A Service with a selector has one slice at least for each of its families, so that "no endpoints" can be told from
//! "not made yet". Only slices whose `managed-by` label is upstream's, and so ours, are looked at; slices of others,
//! and slices that are being deleted, are never touched. What is ours but belongs to an earlier Service of this name,
//! or to a family that the Service no longer has, goes.
//!
//! Where this differs from upstream:
//! * When the selector is removed, or the Service becomes an ExternalName, the slices that were made from the selector
//!   are deleted. Upstream leaves them for ever, beside those that are mirrored (kubernetes/kubernetes#103804, #118376).
//! * A slice that is used again for other ports is an update like any other: it names the version it replaces and keeps
//!   others' annotations, owners and finalizers. Upstream's wipes them.
//! * Labels of ours that somebody changed on a slice are put right.
//!
//! When a Service is gone its slices are left to the garbage collector: they name the Service as their owner, and only
//! it knows whether the owner is really gone.

mod desired;
mod hints;
mod name;
mod pack;
mod topology;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use callsign_shared::{
    Labels, ServiceView,
    object::{AddressType, EndpointSlice, Family, OwnerReference, Service, well_known},
};

pub use topology::Zones;

pub(crate) use self::name::Names;
use self::pack::{Common, Packing, Slot};
use crate::{
    mirror,
    plan::{Inputs, Plan, Role, Write, controller_reference, with_owner, with_trigger},
};
pub(crate) use topology::Refusal;

/// Plans all slices that the two slice controllers write for a Service.
pub fn plan(view: &ServiceView, inputs: &Inputs<'_>) -> Plan<EndpointSlice> {
    match Role::of(view) {
        Role::Gone => Plan { if_service_is_gone: true, ..mirror::plan(view, inputs) },
        Role::Selecting(service) => {
            let mut plan = of_selector(view, service, inputs);
            plan.writes.extend(mirror::plan(view, inputs).writes);
            plan
        }
        Role::Manual(service) => {
            let mut plan = mirror::plan(view, inputs);
            let left_over = ours(view).filter(|slice| is_owned(slice, service));
            plan.writes.extend(left_over.map(|slice| Write::Delete { current: Arc::clone(slice) }));
            plan
        }
    }
}

fn of_selector(view: &ServiceView, service: &Service, inputs: &Inputs<'_>) -> Plan<EndpointSlice> {
    let labels = desired::labels(service);
    let owner = controller_reference("Service", &service.meta);
    let families = service.slice_families();
    let mut plan = Plan::default();
    plan.tally.distribution = service.traffic_distribution;
    plan.tally.topology_auto = service.topology_auto;
    let mut drafts = Vec::new();
    let mut unwanted: Vec<&Arc<EndpointSlice>> = Vec::new();
    for slice in ours(view) {
        let wanted = families.iter().any(|family| AddressType::from(*family) == slice.address_type);
        if !wanted || !is_owned(slice, service) {
            unwanted.push(slice);
        }
    }
    for family in families {
        let existing: Vec<_> = ours(view)
            .filter(|slice| slice.address_type == family.into() && is_owned(slice, service))
            .collect();
        let groups = desired::groups(view, family);
        let most = inputs.limits.endpoints_per_slice.max(1);
        plan.tally.endpoints += groups.values().map(Vec::len).sum::<usize>();
        plan.tally.objects_at_best +=
            groups.values().map(|group| group.len().div_ceil(most)).sum::<usize>().max(1);
        let Packing { mut slots, surplus, added, removed } = {
            let mut packing = pack::pack(&existing, groups, Common { family, labels: &labels, most });
            packing.recycle();
            packing
        };
        plan.tally.added += added;
        plan.tally.removed += removed;
        plan.tally.objects += slots.len();
        hints::apply(&mut slots, service, inputs.zones);
        drafts.extend(slots.into_iter().filter(|slot| slot.changed).map(|slot| (family, slot)));
        unwanted.extend(surplus);
    }
    // Where an endpoint goes is written before where it was.
    drafts.sort_by_key(|(_, slot)| match (slot.current, slot.gains) {
        (None, _) => 0,
        (Some(_), true) => 1,
        (Some(_), false) => 2,
    });
    let meta = Form { service, labels: &labels, owner: &owner, inputs };
    let taken = view.slices.iter().map(|slice| slice.meta.key.name.as_str());
    let names = Names::new(
        &service.meta.key.name,
        &service.meta.uid,
        taken.chain(inputs.taken.iter().map(|name| name.as_str())),
    );
    let mut given = BTreeSet::new();
    for (family, slot) in drafts {
        match slot.current {
            Some(current) => plan.writes.push(meta.update(current, slot)),
            // A Service that is going gets no new slices: they would race with the garbage collector. In a namespace that is
            // going they would be refused.
            None if service.meta.deleting || inputs.namespace_ending => {}
            None => {
                let name = names.next(family.into(), &given);
                given.insert(name.clone());
                plan.writes.push(Write::Create(meta.create(name, family, slot)));
            }
        }
    }
    plan.writes.extend(unwanted.into_iter().map(|slice| Write::Delete { current: Arc::clone(slice) }));
    plan
}

/// What every slice of the plan has in common.
struct Form<'a> {
    service: &'a Service,
    labels: &'a Labels,
    owner: &'a OwnerReference,
    inputs: &'a Inputs<'a>,
}

impl Form<'_> {
    fn create(&self, name: callsign_shared::Name, family: Family, slot: Slot<'_>) -> EndpointSlice {
        let mut slice = EndpointSlice {
            annotations: with_trigger(&Labels::default(), self.inputs.trigger),
            owners: vec![self.owner.clone()],
            address_type: family.into(),
            endpoints: slot.endpoints.unwrap_or_default(),
            ports: slot.ports.into_ports(),
            ..EndpointSlice::default()
        };
        slice.meta.key =
            callsign_shared::name::Key { namespace: self.service.meta.key.namespace.clone(), name };
        slice.meta.labels = self.labels.clone();
        slice
    }

    fn update(&self, current: &Arc<EndpointSlice>, slot: Slot<'_>) -> Write<EndpointSlice> {
        let mut new = EndpointSlice {
            meta: current.meta.clone(),
            annotations: with_trigger(&current.annotations, self.inputs.trigger),
            owners: with_owner(&current.owners, self.owner),
            finalizers: current.finalizers.clone(),
            address_type: current.address_type,
            endpoints: slot.endpoints.unwrap_or_else(|| current.endpoints.clone()),
            ready: None,
            ports: slot.ports.into_ports(),
            foreign: None,
        };
        new.meta.labels = self.labels.clone();
        Write::Update { current: Arc::clone(current), new }
    }
}

/// The slices that are made from selectors and not on their way out, in the order of their names.
fn ours(view: &ServiceView) -> impl Iterator<Item = &Arc<EndpointSlice>> {
    let made =
        |slice: &EndpointSlice| slice.managed_by().is_some_and(|by| by == well_known::SLICE_CONTROLLER);
    view.slices.iter().filter(move |slice| made(slice) && !slice.meta.deleting)
}

fn is_owned(slice: &EndpointSlice, service: &Service) -> bool {
    slice
        .owners
        .iter()
        .any(|owner| owner.uid == service.meta.uid && owner.kind == "Service" && owner.api_version == "v1")
}
