//! What the slices of a Service should say: one endpoint for each member, grouped by ports.
//!
//! Rules: Kubernetes `staging/src/k8s.io/endpointslice/utils.go` (`podToEndpoint`, `setEndpointSliceLabels`). Which pods
//! are members at all, and how they stand, is decided in [`callsign_shared::membership`].

use std::{collections::BTreeMap, sync::Arc};

use callsign_shared::{
    Labels, Membership, ServiceView,
    object::{
        Conditions, EndpointPort, Family, Service, SliceAddress, SliceEndpoint, Target, TargetRef, well_known,
    },
};

use crate::ports::PortKey;

/// Labels of a Service that are not copied: they say whose slice it is, so they are set, not inherited.
const RESERVED: [&str; 3] = [well_known::SERVICE_NAME, well_known::SLICE_MANAGED_BY, well_known::HEADLESS];

/// The members that belong into slices of `family`, by their ports, each group in the order of the pods' names.
pub(super) fn groups(view: &ServiceView, family: Family) -> BTreeMap<PortKey, Vec<&Membership>> {
    let mut groups: BTreeMap<PortKey, Vec<&Membership>> = BTreeMap::new();
    // Pods of one template share one port list, so the key of the last one nearly always serves.
    let mut last: Option<(&Arc<[EndpointPort]>, PortKey)> = None;
    for member in view.members.iter().filter(|member| member.in_slices(family)) {
        let key = match last.take() {
            Some((ports, key)) if Arc::ptr_eq(ports, &member.ports) => key,
            _ => PortKey::new(&member.ports),
        };
        match groups.get_mut(&key) {
            Some(group) => group.push(member),
            None => {
                groups.insert(key.clone(), vec![member]);
            }
        }
        last = Some((&member.ports, key));
    }
    groups
}

/// The labels of every slice of a Service: the Service's own, whose slice it is, and whether the Service is headless.
pub(super) fn labels(service: &Service) -> Labels {
    let own = service.meta.labels.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()));
    let own = own.map(|(key, value)| (key.clone(), value.clone()));
    let headless = service.has_headless_label().then(|| (well_known::HEADLESS.into(), "".into()));
    let whose = [
        (well_known::SERVICE_NAME.into(), service.meta.key.name.clone()),
        (well_known::SLICE_MANAGED_BY.into(), well_known::SLICE_CONTROLLER.into()),
    ];
    own.chain(headless).chain(whose).collect()
}

/// The endpoint of a member, without hints.
pub(super) fn endpoint(member: &Membership, family: Family) -> SliceEndpoint {
    let meta = &member.pod.meta;
    SliceEndpoint {
        addresses: member.addresses(family).map(SliceAddress::Ip).collect(),
        conditions: conditions(member),
        hostname: member.hostname.clone(),
        target: Some(Target::from(TargetRef {
            kind: "Pod".into(),
            namespace: meta.key.namespace.clone(),
            name: meta.key.name.clone(),
            uid: meta.uid.clone(),
            ..TargetRef::default()
        })),
        node: member.pod.node.clone(),
        zone: member.zone.clone(),
        hints: None,
    }
}

/// Whether `known` is the endpoint of `member`, though perhaps not up to date: the same pod by name under the same
/// addresses and hostname. Everything else changes in place.
pub(super) fn is_of(known: &SliceEndpoint, member: &Membership, family: Family) -> bool {
    let target = known.target.as_deref();
    let addresses = || member.addresses(family).map(SliceAddress::Ip);
    target.is_some_and(|target| {
        target.namespace == member.pod.meta.key.namespace && target.name == member.pod.meta.key.name
    }) && known.hostname == member.hostname
        && known.addresses.len() == addresses().count()
        && addresses().all(|address| known.addresses.contains(&address))
}

/// Whether `known`, which [`is_of`] `member`, is also up to date. Hints are not looked at.
pub(super) fn is_current(known: &SliceEndpoint, member: &Membership) -> bool {
    let target = known.target.as_deref();
    known.conditions == conditions(member)
        && known.node == member.pod.node
        && known.zone == member.zone
        && target.is_some_and(|target| {
            target.kind == "Pod"
                && target.uid == member.pod.meta.uid
                && target.api_version.is_empty()
                && target.field_path.is_empty()
        })
}

fn conditions(member: &Membership) -> Conditions {
    Conditions {
        ready: Some(member.ready),
        serving: Some(member.serving),
        terminating: Some(member.terminating),
    }
}
