//! Endpoints: the older form of a Service's endpoints, one object of the Service's name.
//!
//! The rules are upstream's (Kubernetes `pkg/controller/endpoint/endpoints_controller.go`). It differs from slices in
//! that it has one family only, the Service's first; it leaves out terminating pods unless not-ready addresses are
//! published; a pod that lacks all named target ports is not in it; and it holds a thousand addresses at most.
//!
//! Where this differs from upstream:
//! * An object that is over capacity is compared in its truncated form, so that at rest nothing is written. Upstream
//!   compares it with all addresses and writes it anew with every event.
//! * When a selector is removed, what was made from it is deleted, if it still is what was made: the `managed-by` label
//!   is the controller's and every address stands for a pod. Upstream leaves it and mirrors it beside the slices it was
//!   made with. Anything a person has edited is the person's.
//! * Endpoints without a Service are deleted only if the controller made them and the API server confirms that the
//!   Service is gone. Upstream deletes all of them when it starts, also those whose Service is not there yet
//!   (kubernetes/kubernetes#104062, #115801). The API server itself removes Endpoints along with their Service.

mod repack;
mod truncate;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use callsign_shared::{
    Labels, Membership, Name, ServiceView,
    object::{
        ClusterIp, Endpoints, EndpointsAddress, Family, Service, Subset, Target, TargetRef, well_known,
    },
};

pub(crate) use repack::repack;
use truncate::{CAPACITY, truncate};

use crate::plan::{Inputs, Plan, Role, Write, with_trigger};

/// The value of the annotation [`well_known::OVER_CAPACITY`].
const TRUNCATED: &str = "truncated";

/// Plans the Endpoints of a Service.
pub fn plan(view: &ServiceView, inputs: &Inputs<'_>) -> Plan<Endpoints> {
    let current = view.endpoints.as_ref();
    let delete = |current: &Arc<Endpoints>| vec![Write::Delete { current: Arc::clone(current) }];
    match Role::of(view) {
        Role::Selecting(service) => of_selector(view, service, inputs),
        Role::Manual(_) => {
            let left_over = current.filter(|current| is_left_over(current));
            Plan { writes: left_over.map(delete).unwrap_or_default(), ..Plan::default() }
        }
        Role::Gone => {
            let ours =
                current.filter(|current| is_managed(current) && !is_lock(current) && !current.meta.deleting);
            Plan { writes: ours.map(delete).unwrap_or_default(), if_service_is_gone: true, ..Plan::default() }
        }
    }
}

/// Whether the object is what was made from a selector, and nobody has made it their own since.
pub(crate) fn is_left_over(endpoints: &Endpoints) -> bool {
    is_managed(endpoints) && !is_lock(endpoints) && !endpoints.meta.deleting && is_of_pods(endpoints)
}

/// Whether every address stands for a pod, as all do that a selector made.
fn is_of_pods(endpoints: &Endpoints) -> bool {
    let of_pod =
        |address: &EndpointsAddress| address.target_ref.as_ref().is_some_and(|target| target.kind == "Pod");
    let mut addresses = endpoints
        .subsets
        .iter()
        .flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses));
    addresses.all(of_pod)
}

/// Whether it is labelled as made from a selector.
pub(crate) fn is_managed(endpoints: &Endpoints) -> bool {
    endpoints
        .meta
        .labels
        .get(well_known::ENDPOINTS_MANAGED_BY)
        .is_some_and(|by| by == well_known::ENDPOINTS_CONTROLLER)
}

fn is_lock(endpoints: &Endpoints) -> bool {
    endpoints.annotations.contains_key(well_known::LEADER)
}

fn of_selector(view: &ServiceView, service: &Service, inputs: &Inputs<'_>) -> Plan<Endpoints> {
    let mut subsets = repack(&subsets(service, &view.members));
    let truncated = truncate(&mut subsets, CAPACITY);
    let labels = labels(service);
    let count = |subsets: &[Subset]| -> usize {
        subsets.iter().map(|subset| subset.addresses.len() + subset.not_ready_addresses.len()).sum()
    };
    let mut plan = Plan::default();
    plan.tally.endpoints = count(&subsets);
    plan.tally.objects = 1;
    plan.tally.objects_at_best = 1;
    let annotations = |known: &Labels| with_capacity(&with_trigger(known, inputs.trigger), truncated);
    let Some(current) = &view.endpoints else {
        if !service.meta.deleting && !inputs.namespace_ending {
            let mut new =
                Endpoints { annotations: annotations(&Labels::default()), subsets, ..Endpoints::default() };
            new.meta.key = service.meta.key.clone();
            new.meta.labels = labels;
            plan.writes.push(Write::Create(new));
        }
        return plan;
    };
    if is_lock(current) {
        // Whoever holds it would lose its leadership. Upstream overwrites it.
        return plan;
    }
    let says_so = current.annotations.get(well_known::OVER_CAPACITY).map(Name::as_str);
    let same = current.meta.labels == labels
        && says_so == truncated.then_some(TRUNCATED)
        && (current.subsets == subsets || repack(&current.subsets) == repack(&subsets));
    if !same {
        plan.if_service_selects = !is_of_pods(current);
        let mut new = Endpoints::clone(current);
        new.annotations = annotations(&current.annotations);
        new.subsets = subsets;
        new.meta.labels = labels;
        plan.writes.push(Write::Update { current: Arc::clone(current), new });
    }
    plan
}

/// The members as subsets, to be repacked.
fn subsets(service: &Service, members: &[Arc<Membership>]) -> Vec<Subset> {
    let portless = service.ports.is_empty() && service.is_headless();
    let mut subsets: Vec<Subset> = Vec::new();
    for member in members {
        let family = primary_family(service, member);
        // Without a port a pod is in no subset, except where there are no ports to have.
        if !member.in_endpoints(family) || (member.ports.is_empty() && !portless) {
            continue;
        }
        let Some(address) = address(member, family) else { continue };
        if subsets.last().is_none_or(|last| last.ports != *member.ports) {
            subsets.push(Subset { ports: member.ports.to_vec(), ..Subset::default() });
        }
        let Some(last) = subsets.last_mut() else { continue };
        if member.ready_in_endpoints() {
            last.addresses.push(address);
        } else {
            last.not_ready_addresses.push(address);
        }
    }
    subsets
}

/// The one family that Endpoints list: the Service's first. A headless Service of a server so old that it has no
/// families takes each pod's first address.
fn primary_family(service: &Service, member: &Membership) -> Family {
    let of_service = match &service.cluster_ip {
        _ if !service.families.is_empty() => service.families.first().copied(),
        ClusterIp::Addresses(ips) => ips.first().map(|ip| Family::of(*ip)),
        ClusterIp::Headless | ClusterIp::Unset => None,
    };
    of_service.or_else(|| member.pod.ips.first().map(|ip| Family::of(*ip))).unwrap_or(Family::V4)
}

fn address(member: &Membership, family: Family) -> Option<EndpointsAddress> {
    let ip = member.addresses(family).next()?;
    let meta = &member.pod.meta;
    Some(EndpointsAddress {
        ip: ip.into(),
        hostname: member.hostname.clone().unwrap_or_default(),
        // Upstream writes an empty name for a pod without one, which has the API server refuse the whole object.
        node_name: member.pod.node.clone().filter(|node| !node.is_empty()),
        target_ref: Some(Target::from(TargetRef {
            kind: "Pod".into(),
            namespace: meta.key.namespace.clone(),
            name: meta.key.name.clone(),
            uid: meta.uid.clone(),
            ..TargetRef::default()
        })),
    })
}

/// The Service's labels, whether it is headless, and who wrote it (KEP-4974).
fn labels(service: &Service) -> Labels {
    let own = service.meta.labels.iter().filter(|(key, _)| *key != well_known::HEADLESS);
    let own = own.map(|(key, value)| (key.clone(), value.clone()));
    let headless = service.has_headless_label().then(|| (well_known::HEADLESS.into(), "".into()));
    let whose = (well_known::ENDPOINTS_MANAGED_BY.into(), well_known::ENDPOINTS_CONTROLLER.into());
    own.chain(headless).chain(std::iter::once(whose)).collect()
}

fn with_capacity(annotations: &Labels, truncated: bool) -> Labels {
    let others = annotations.iter().filter(|(key, _)| *key != well_known::OVER_CAPACITY);
    let others = others.map(|(key, value)| (key.clone(), value.clone()));
    let own = truncated.then(|| (well_known::OVER_CAPACITY.into(), TRUNCATED.into()));
    others.chain(own).collect()
}
