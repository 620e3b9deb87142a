//! Plans: the writes that bring what is in a cluster to what it should be.
//!
//! Planners are plain functions of a [`ServiceView`]: no clock, no connection, nothing
//! remembered. A plan is empty when nothing differs, so planning twice costs nothing and a plan made from what a plan
//! wrote is empty.
//!
//! The order of a plan's writes matters to whoever reads the objects in between: an endpoint that moves is written where
//! it goes before it is taken from where it was. To be listed twice for a moment is allowed by the contract of
//! EndpointSlices; to be absent is an outage.

use std::{collections::BTreeSet, sync::Arc};

use callsign_shared::{
    Labels, ServiceView,
    journal::Listing,
    name::Name,
    object::{Decode, Meta, OwnerReference, Service, TrafficDistribution, well_known},
};
use jiff::Timestamp;

use crate::slices::Zones;

/// The objects of one Service that are planned and written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// EndpointSlices, from a selector or mirrored.
    Slices,
    /// The Endpoints.
    Endpoints,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write<T> {
    /// Make an object that is not there.
    Create(T),
    /// Replace an object. `new` carries the version of `current`, so that it conflicts if another write came first.
    Update {
        /// As it is.
        current: Arc<T>,
        /// As it should be.
        new: T,
    },
    /// Delete an object, this one and in this version.
    Delete {
        /// As it is.
        current: Arc<T>,
    },
}

/// The writes that bring the objects of one kind, for one Service, to what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<T> {
    /// In the order in which they are to be made.
    pub writes: Vec<Write<T>>,
    /// The plan rests on the Service's absence. Watches of different kinds run at different speeds, so the writer asks
    /// the API server before it believes that (kubernetes/kubernetes#104062, #115801).
    pub if_service_is_gone: bool,
    /// The plan replaces what a person wrote, because the Service has a selector. If that has just been removed, what the
    /// person wrote is to stay, so here too the API server is asked first.
    pub if_service_selects: bool,
    /// What the plan amounts to.
    pub tally: Tally,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Endpoints that should be listed.
    pub endpoints: usize,
    /// Objects that will be there.
    pub objects: usize,
    /// Objects that would be there if they were packed as densely as can be.
    pub objects_at_best: usize,
    /// Endpoints the plan adds.
    pub added: usize,
    /// Endpoints the plan removes.
    pub removed: usize,
    /// Endpoints the plan changes in place; counted where they are mirrored.
    pub updated: usize,
    /// Addresses left out: because there are more than the limit, or because they are none.
    pub skipped: usize,
    /// Those of them that are no addresses.
    pub invalid: usize,
    /// The counts are of slices mirrored from Endpoints, not of slices made from a selector.
    pub mirrored: bool,
    /// What the Service says about its traffic.
    pub distribution: Option<TrafficDistribution>,
    /// Topology hints are asked for by annotation.
    pub topology_auto: bool,
}

/// Numbers that bound what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-endpoints-per-slice`
    pub endpoints_per_slice: usize,
    /// `--mirroring-max-endpoints-per-subset`
    pub mirrored_per_subset: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { endpoints_per_slice: 100, mirrored_per_subset: 1000 }
    }
}

/// What planners need to know besides the view.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The limits.
    pub limits: Limits,
    /// When the change behind the writes happened: their `last-change-trigger-time`, removed when `None`.
    pub trigger: Option<Timestamp>,
    /// What topology hints weigh zones by; `None` when the cluster allows none.
    pub zones: Option<&'a Zones>,
    /// Names of slices that turned out to be another Service's.
    pub taken: &'a BTreeSet<Name>,
    /// The namespace is being deleted: the API server takes nothing new in it.
    pub namespace_ending: bool,
}

/// Which objects a Service calls for.
#[derive(Clone, Debug)]
pub enum Role<'a> {
    /// There is no Service of this name.
    Gone,
    /// It has a selector: its Endpoints and slices are made from pods.
    Selecting(&'a Service),
    /// It has no selector, or is an ExternalName: its Endpoints are made by hand.
    Manual(&'a Service),
}

impl<'a> Role<'a> {
    /// The role of the Service of a view.
    pub fn of(view: &'a ServiceView) -> Self {
        match view.service.as_deref() {
            None => Self::Gone,
            Some(service) if service.selects() => Self::Selecting(service),
            Some(service) => Self::Manual(service),
        }
    }
}

impl<T> Default for Plan<T> {
    fn default() -> Self {
        Self {
            writes: Vec::new(),
            if_service_is_gone: false,
            if_service_selects: false,
            tally: Tally::default(),
        }
    }
}

impl<T: Listing> Plan<T> {
    /// What the plan amounts to now. Where a part of it was put off, only what is left of it adds and removes endpoints.
    pub(crate) fn now(&self, put_off: bool) -> Tally {
        let mut tally = self.tally;
        if put_off {
            (tally.added, tally.removed) = (0, 0);
            for write in &self.writes {
                let (old, new) = match write {
                    Write::Create(new) => (None, Some(new)),
                    Write::Update { current, new } => (Some(&**current), Some(new)),
                    Write::Delete { current } => (Some(&**current), None),
                };
                let listed = |object: Option<&T>| -> BTreeSet<_> {
                    object.iter().flat_map(|object| object.listed()).map(|listed| listed.address).collect()
                };
                let (old, new) = (listed(old), listed(new));
                tally.added += new.difference(&old).count();
                tally.removed += old.difference(&new).count();
            }
        }
        tally
    }
}

impl<T: Decode> Write<T> {
    /// The metadata of the object it is about.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Create(new) | Self::Update { new, .. } => new.meta(),
            Self::Delete { current } => current.meta(),
        }
    }

    /// `create`, `update` or `delete`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

/// `annotations` with the trigger time set, or removed when there is none (Kubernetes
/// `staging/src/k8s.io/endpointslice/reconciler.go`; KEP network programming latency).
pub(crate) fn with_trigger(annotations: &Labels, trigger: Option<Timestamp>) -> Labels {
    let others = annotations.iter().filter(|(key, _)| *key != well_known::LAST_CHANGE_TRIGGER_TIME);
    let others = others.map(|(key, value)| (key.clone(), value.clone()));
    let own =
        trigger.map(|at| (Name::from(well_known::LAST_CHANGE_TRIGGER_TIME), Name::from(at.to_string())));
    others.chain(own).collect()
}

/// The owner reference that makes `kind/name` the managing controller of an object.
pub(crate) fn controller_reference(kind: &'static str, meta: &Meta) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: kind.into(),
        name: meta.key.name.clone(),
        uid: meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// `owners` with `owner` as the only managing controller. Others' references stay.
pub(crate) fn with_owner(owners: &[OwnerReference], owner: &OwnerReference) -> Vec<OwnerReference> {
    if owners.contains(owner) {
        return owners.to_vec();
    }
    let others = owners.iter().filter(|known| known.uid != owner.uid && known.controller != Some(true));
    others.cloned().chain(std::iter::once(owner.clone())).collect()
}
