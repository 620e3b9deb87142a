//! Hints: which consumers an endpoint would rather serve.
//!
//! In order: the annotation `Auto` ([`topology`]), then `spec.trafficDistribution` (KEP-4444, KEP-3015),
//! then none, which takes hints away from every endpoint. Only ready endpoints get hints; those of an endpoint that is
//! not ready mean nothing to a consumer and are left as they are (Kubernetes
//! `staging/src/k8s.io/endpointslice/trafficdist`).

use callsign_shared::object::{ForName, Hints, Service, SliceEndpoint, TrafficDistribution};

use super::{
    pack::Slot,
    topology::{self, Zones},
};

/// Sets the hints of all slices of one Service and family.
pub(super) fn apply(slots: &mut [Slot<'_>], service: &Service, zones: Option<&Zones>) {
    if service.topology_auto {
        match zones.filter(|zones| topology::apply(slots, zones)) {
            Some(_) => {}
            None => strip(slots),
        }
    } else if let Some(distribution) =
        service.traffic_distribution.filter(|d| *d != TrafficDistribution::Other)
    {
        set(slots, |endpoint| near(endpoint, distribution));
    } else {
        strip(slots);
    }
}

fn near(endpoint: &SliceEndpoint, distribution: TrafficDistribution) -> Option<Hints> {
    let named = |name: &callsign_shared::Name| ForName { name: name.clone() };
    let for_nodes = match distribution {
        TrafficDistribution::PreferSameNode => endpoint.node.iter().map(named).collect(),
        _ => Vec::new(),
    };
    let for_zones: Vec<_> = endpoint.zone.iter().map(named).collect();
    (!for_zones.is_empty() || !for_nodes.is_empty()).then_some(Hints { for_zones, for_nodes })
}

/// Gives every ready endpoint the hints that `wanted` says, and touches no slice where they are so already.
fn set(slots: &mut [Slot<'_>], wanted: impl Fn(&SliceEndpoint) -> Option<Hints>) {
    let right = |endpoint: &SliceEndpoint| {
        endpoint.conditions.ready != Some(true) || endpoint.hints.as_deref() == wanted(endpoint).as_ref()
    };
    for slot in slots.iter_mut().filter(|slot| !slot.endpoints().iter().all(right)) {
        for endpoint in slot.endpoints_mut().iter_mut().filter(|endpoint| !right(endpoint)) {
            endpoint.hints = wanted(endpoint).map(Box::new);
        }
    }
}

fn strip(slots: &mut [Slot<'_>]) {
    for slot in
        slots.iter_mut().filter(|slot| slot.endpoints().iter().any(|endpoint| endpoint.hints.is_some()))
    {
        for endpoint in slot.endpoints_mut() {
            endpoint.hints = None;
        }
    }
}
