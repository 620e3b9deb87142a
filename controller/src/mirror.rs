//! Mirroring: EndpointSlices made from Endpoints that were made by hand (KEP-752).
//!
//! A Service without a selector has its endpoints written by a person or by another program. Those who still write
//! Endpoints are mirrored, so that consumers need to read slices only: one slice for each family and list of ports,
//! never more than [`Limits::mirrored_per_subset`](crate::plan::Limits) addresses of a subset, ready ones first.
//!
//! The rules are upstream's (Kubernetes `pkg/controller/endpointslicemirroring`): Endpoints that say
//! `endpointslice.kubernetes.io/skip-mirror: "true"` or are a leader election lock are not mirrored, labels and
//! annotations are copied, the owner is the Endpoints object, of the conditions only `ready` is known. Endpoints without
//! addresses have no slices.
//!
//! Where this differs from upstream: Endpoints that a selector made are never mirrored. They are deleted with their
//! slices when the selector goes ([`crate::endpoints`]); mirroring them would put stale endpoints beside live ones.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use callsign_shared::{
    Labels, Name, ServiceView,
    name::Key,
    object::{
        AddressType, Conditions, EndpointSlice, Endpoints, EndpointsAddress, Family, SliceAddress,
        SliceEndpoint, well_known,
    },
};

use crate::{
    endpoints::{is_left_over, repack},
    plan::{Inputs, Plan, Role, Write, controller_reference, with_owner},
    ports::PortKey,
    slices::Names,
};

/// Annotations that are not copied: they are about the object they are on.
const NOT_COPIED: [&str; 2] = [well_known::LAST_CHANGE_TRIGGER_TIME, well_known::LAST_APPLIED];

type Wanted = BTreeMap<(AddressType, PortKey), Vec<SliceEndpoint>>;

/// Plans the slices that mirror the Endpoints of a Service; deletes those that mirror nothing.
pub(crate) fn plan(view: &ServiceView, inputs: &Inputs<'_>) -> Plan<EndpointSlice> {
    let mut plan = Plan::default();
    plan.tally.mirrored = true;
    let mut existing: BTreeMap<(AddressType, PortKey), Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in mirrored(view) {
        let ports = PortKey::new(slice.ports.as_deref().unwrap_or_default());
        existing.entry((slice.address_type, ports)).or_default().push(slice);
    }
    let Some(endpoints) = to_mirror(view) else {
        plan.writes.extend(
            existing.into_values().flatten().map(|slice| Write::Delete { current: Arc::clone(slice) }),
        );
        count(&mut plan);
        return plan;
    };
    let form = Form::new(endpoints);
    let mut missing = Vec::new();
    let (wanted, skipped, invalid) = wanted(endpoints, inputs.limits.mirrored_per_subset);
    (plan.tally.skipped, plan.tally.invalid) = (skipped + invalid, invalid);
    plan.tally.objects = wanted.len();
    plan.tally.objects_at_best = wanted.len();
    for (key, slice_endpoints) in wanted {
        plan.tally.endpoints += slice_endpoints.len();
        let mut slices = existing.remove(&key).unwrap_or_default().into_iter();
        match slices.next() {
            Some(current) if form.is_right(current, &slice_endpoints) => {}
            Some(current) => plan.writes.push(form.update(current, key.1.clone(), slice_endpoints)),
            None => missing.push((key.clone(), slice_endpoints)),
        }
        let surplus: Vec<_> = slices.collect();
        if !surplus.is_empty() {
            existing.insert(key, surplus);
        }
    }
    let mut surplus: Vec<_> = existing.into_values().flatten().collect();
    let taken = view.slices.iter().map(|slice| slice.meta.key.name.as_str());
    let taken = taken.chain(inputs.taken.iter().map(Name::as_str));
    let names = Names::new(&endpoints.meta.key.name, &endpoints.meta.uid, taken);
    let mut given = BTreeSet::new();
    let mut writes = Vec::new();
    for ((address_type, ports), slice_endpoints) in missing {
        // A slice that would be deleted is used again.
        if let Some(at) = surplus.iter().position(|slice| slice.address_type == address_type) {
            writes.push(form.update(surplus.remove(at), ports, slice_endpoints));
        } else if !endpoints.meta.deleting && !inputs.namespace_ending {
            let name = names.next(address_type, &given);
            given.insert(name.clone());
            writes.push(Write::Create(form.create(name, address_type, ports, slice_endpoints)));
        }
    }
    writes.append(&mut plan.writes);
    writes.extend(surplus.into_iter().map(|slice| Write::Delete { current: Arc::clone(slice) }));
    plan.writes = writes;
    count(&mut plan);
    plan
}

/// Counts the endpoints that the plan's writes add, change and remove.
fn count(plan: &mut Plan<EndpointSlice>) {
    for write in &plan.writes {
        let (old, new): (&[SliceEndpoint], &[SliceEndpoint]) = match write {
            Write::Create(new) => (&[], &new.endpoints),
            Write::Update { current, new } => (&current.endpoints, &new.endpoints),
            Write::Delete { current } => (&current.endpoints, &[]),
        };
        let mut before: HashMap<_, _> = old.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
        for endpoint in new {
            match before.remove(&identity(endpoint)) {
                None => plan.tally.added += 1,
                Some(known) => plan.tally.updated += usize::from(known != endpoint),
            }
        }
        plan.tally.removed += before.len();
    }
}

/// The Endpoints of the view, if they are to be mirrored.
fn to_mirror(view: &ServiceView) -> Option<&Endpoints> {
    let Role::Manual(service) = Role::of(view) else { return None };
    let endpoints = view.endpoints.as_deref()?;
    (service.selector.is_empty() && endpoints.asks_for_mirror() && !is_left_over(endpoints))
        .then_some(endpoints)
}

fn mirrored(view: &ServiceView) -> impl Iterator<Item = &Arc<EndpointSlice>> {
    let made =
        |slice: &EndpointSlice| slice.managed_by().is_some_and(|by| by == well_known::MIRRORING_CONTROLLER);
    view.slices.iter().filter(move |slice| made(slice) && !slice.meta.deleting)
}

/// The endpoints of each slice, and how many addresses are left out: for the limit, and because they are none. Addresses
/// that differ in nothing but the uid of their target, or in being ready, are one endpoint: the last of them, which is the
/// one that is not ready.
fn wanted(endpoints: &Endpoints, most: usize) -> (Wanted, usize, usize) {
    let mut wanted = Wanted::new();
    let mut places = HashMap::new();
    let (mut skipped, mut invalid) = (0, 0);
    for subset in repack(&endpoints.subsets) {
        let ready = subset.addresses.iter().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().map(|address| (address, false));
        let ports = PortKey::new(&subset.ports);
        let mut taken = 0;
        for (address, ready) in ready.chain(unready) {
            // What is no address cannot be in a slice. The API server refuses it in Endpoints too, today.
            let Some((address_type, endpoint)) = endpoint(address, ready) else {
                invalid += 1;
                continue;
            };
            if taken == most {
                skipped += 1;
                continue;
            }
            taken += 1;
            let key = (address_type, ports.clone());
            let at = places.entry((key.clone(), identity(&endpoint))).or_insert(usize::MAX);
            let list = wanted.entry(key).or_default();
            match list.get_mut(*at) {
                Some(earlier) => *earlier = endpoint,
                None => {
                    *at = list.len();
                    list.push(endpoint);
                }
            }
        }
    }
    (wanted, skipped, invalid)
}

/// What tells endpoints of a slice apart (Kubernetes `staging/src/k8s.io/endpointslice/util`, `hashEndpoint`): address,
/// hostname, and the namespace and name of the target.
fn identity(endpoint: &SliceEndpoint) -> (Option<SliceAddress>, Option<Name>, (Name, Name)) {
    let target = endpoint.target.as_deref();
    (
        endpoint.addresses.first().cloned(),
        endpoint.hostname.clone(),
        target.map(|target| (target.namespace.clone(), target.name.clone())).unwrap_or_default(),
    )
}

fn endpoint(address: &EndpointsAddress, ready: bool) -> Option<(AddressType, SliceEndpoint)> {
    let ip = address.ip.ip()?;
    let endpoint = SliceEndpoint {
        addresses: std::iter::once(SliceAddress::Ip(ip)).collect(),
        conditions: Conditions { ready: Some(ready), serving: None, terminating: None },
        hostname: Some(address.hostname.clone()).filter(|name| !name.is_empty()),
        target: address.target_ref.clone(),
        node: address.node_name.clone().filter(|name| !name.is_empty()),
        zone: None,
        hints: None,
    };
    Some((Family::of(ip).into(), endpoint))
}

/// What every mirrored slice of one Endpoints object has in common.
struct Form<'a> {
    endpoints: &'a Endpoints,
    labels: Labels,
    annotations: Labels,
}

impl<'a> Form<'a> {
    fn new(endpoints: &'a Endpoints) -> Self {
        let pair = |(key, value): (&Name, &Name)| (key.clone(), value.clone());
        let whose = [
            (Name::from(well_known::SERVICE_NAME), endpoints.meta.key.name.clone()),
            (Name::from(well_known::SLICE_MANAGED_BY), Name::from(well_known::MIRRORING_CONTROLLER)),
        ];
        let copied = endpoints.annotations.iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
        Self {
            labels: endpoints.meta.labels.iter().map(pair).chain(whose).collect(),
            annotations: copied.map(pair).collect(),
            endpoints,
        }
    }

    fn is_right(&self, current: &EndpointSlice, wanted: &[SliceEndpoint]) -> bool {
        let owned = |owner: &callsign_shared::object::OwnerReference| {
            owner.kind == "Endpoints" && owner.uid == self.endpoints.meta.uid
        };
        current.meta.labels == self.labels
            && current.annotations == self.annotations
            && current.owners.iter().any(owned)
            && current.endpoints.len() == wanted.len()
            && (current.endpoints == wanted
                || wanted.iter().all(|endpoint| current.endpoints.contains(endpoint)))
    }

    fn update(
        &self,
        current: &Arc<EndpointSlice>,
        ports: PortKey,
        wanted: Vec<SliceEndpoint>,
    ) -> Write<EndpointSlice> {
        let mut new = EndpointSlice {
            meta: current.meta.clone(),
            annotations: self.annotations.clone(),
            owners: with_owner(&current.owners, &controller_reference("Endpoints", &self.endpoints.meta)),
            finalizers: current.finalizers.clone(),
            address_type: current.address_type,
            endpoints: wanted,
            ready: None,
            ports: ports.into_ports(),
            foreign: None,
        };
        new.meta.labels = self.labels.clone();
        Write::Update { current: Arc::clone(current), new }
    }

    fn create(
        &self,
        name: Name,
        address_type: AddressType,
        ports: PortKey,
        wanted: Vec<SliceEndpoint>,
    ) -> EndpointSlice {
        let mut slice = EndpointSlice {
            annotations: self.annotations.clone(),
            owners: vec![controller_reference("Endpoints", &self.endpoints.meta)],
            address_type,
            endpoints: wanted,
            ports: ports.into_ports(),
            ..EndpointSlice::default()
        };
        slice.meta.key = Key { namespace: self.endpoints.meta.key.namespace.clone(), name };
        slice.meta.labels = self.labels.clone();
        slice
    }
}
