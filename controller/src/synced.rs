//! The two kinds that are synced, slices and Endpoints, and what is remembered of a Service about each.

use std::{collections::BTreeSet, sync::Arc};

use callsign_shared::{
    Key, Name, ServiceView,
    index::Indexed,
    object::{EndpointSlice, Endpoints},
};

use crate::{
    endpoints,
    fuse::Ready,
    guard::Guarded,
    metrics::Counted,
    minor,
    overlay::Overlay,
    pace::{Gaps, Pace},
    plan::{Inputs, Part, Plan, Tally, Write},
    slices,
    trigger::Trigger,
};

/// What is remembered about one Service.
#[derive(Debug, Default)]
pub(crate) struct ServiceState {
    pub(crate) trigger: Trigger,
    pub(crate) slices: PartState<EndpointSlice>,
    pub(crate) endpoints: PartState<Endpoints>,
}

/// What is remembered about the objects of one kind of a Service.
#[derive(Debug)]
pub(crate) struct PartState<T> {
    pub(crate) overlay: Overlay<T>,
    pub(crate) pace: Pace,
    /// Names that turned out to be another Service's.
    pub(crate) taken: BTreeSet<Name>,
    pub(crate) tally: Tally,
    pub(crate) shadow: Shadow,
}

/// What shadow mode last said about a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shadow {
    pub(crate) writes: usize,
    pub(crate) digest: u64,
}

/// A kind of object that is synced.
pub(crate) trait Synced: Counted + Indexed + Guarded + Ready {
    /// The part it is.
    const PART: Part;
    /// The gaps between its writes.
    const GAPS: Gaps;

    /// Plans it.
    fn plan(view: &ServiceView, inputs: &Inputs<'_>) -> Plan<Self>;

    /// Whether a write of a plan may wait.
    fn is_minor(write: &Write<Self>, view: &ServiceView) -> bool;

    /// The objects in a view.
    fn in_view(view: &ServiceView) -> Vec<Arc<Self>>;

    /// The view with other objects.
    fn put_into(view: &mut ServiceView, objects: Vec<Arc<Self>>);

    /// Whether the object is about the Service `key`.
    fn is_about(&self, key: &Key) -> bool;

    /// Its state.
    fn state(state: &mut ServiceState) -> (&mut Trigger, &mut PartState<Self>);
}

impl Synced for EndpointSlice {
    const PART: Part = Part::Slices;
    const GAPS: Gaps = Gaps::SLICES;

    fn plan(view: &ServiceView, inputs: &Inputs<'_>) -> Plan<Self> {
        slices::plan(view, inputs)
    }

    fn is_minor(write: &Write<Self>, view: &ServiceView) -> bool {
        minor::slice(write, view)
    }

    fn in_view(view: &ServiceView) -> Vec<Arc<Self>> {
        Vec::clone(&view.slices)
    }

    fn put_into(view: &mut ServiceView, objects: Vec<Arc<Self>>) {
        view.slices = Arc::new(objects);
    }

    fn is_about(&self, key: &Key) -> bool {
        self.service().as_ref() == Some(key)
    }

    fn state(state: &mut ServiceState) -> (&mut Trigger, &mut PartState<Self>) {
        (&mut state.trigger, &mut state.slices)
    }
}

impl Synced for Endpoints {
    const PART: Part = Part::Endpoints;
    const GAPS: Gaps = Gaps::ENDPOINTS;

    fn plan(view: &ServiceView, inputs: &Inputs<'_>) -> Plan<Self> {
        endpoints::plan(view, inputs)
    }

    fn is_minor(write: &Write<Self>, view: &ServiceView) -> bool {
        minor::endpoints(write, view)
    }

    fn in_view(view: &ServiceView) -> Vec<Arc<Self>> {
        view.endpoints.iter().cloned().collect()
    }

    fn put_into(view: &mut ServiceView, objects: Vec<Arc<Self>>) {
        view.endpoints = objects.into_iter().next();
    }

    fn is_about(&self, key: &Key) -> bool {
        self.meta.key == *key
    }

    fn state(state: &mut ServiceState) -> (&mut Trigger, &mut PartState<Self>) {
        (&mut state.trigger, &mut state.endpoints)
    }
}

impl<T> Default for PartState<T> {
    fn default() -> Self {
        Self {
            overlay: Overlay::default(),
            pace: Pace::default(),
            taken: BTreeSet::new(),
            tally: Tally::default(),
            shadow: Shadow::default(),
        }
    }
}
