//! The writing side: how each event changes the joined state.
//!
//! All of it runs under the index's writer lock, in memory, without waiting. What it keeps for itself are the directions
//! the join needs: the selectors and pods of a namespace, which pods are on a Node, which Service a slice was last seen
//! under. Which Services select a pod is asked of the selectors each time; to keep it would cost every pod more than to ask.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use smallvec::SmallVec;

use super::{
    Index, Indexed, ServiceView,
    counts::Standings,
    feed::{ChangeKey, Urgency},
    selectors::Selectors,
    serial::Versions,
};
use crate::{
    membership::Membership,
    name::{Key, Name},
    object::{EndpointSlice, Endpoints, Family, Meta, Namespace, Node, Pod, Service},
};

/// The writer's own books.
#[derive(Debug, Default)]
pub(super) struct Writer {
    scopes: HashMap<Name, Scope>,
    pods_on: HashMap<Name, HashSet<Key>>,
    slice_of: HashMap<Key, Key>,
    versions: Versions,
}

/// What is in one namespace.
#[derive(Debug, Default)]
struct Scope {
    selectors: Selectors,
    pods: BTreeSet<Name>,
}

impl Writer {
    pub(super) fn serial(&self) -> u32 {
        self.versions.serial()
    }
}

// === Namespaces ===

impl Writer {
    pub(super) fn apply_namespace(&mut self, index: &Index, namespace: Namespace) {
        let name = namespace.meta.key.name.clone();
        let old = index.namespace(&name);
        if old.as_deref() == Some(&namespace) {
            return;
        }
        self.renew(old.as_ref().map(|old| &old.meta), Some(&namespace.meta));
        index.namespaces.insert(name.clone(), Arc::new(namespace));
        if old.is_none() {
            index.counts.came(Namespace::SLOT);
        }
        let urgency = if old.is_some() { Urgency::Edit } else { Urgency::Addition };
        index.mark(&ChangeKey::Namespace(name), urgency);
    }

    pub(super) fn delete_namespace(&mut self, index: &Index, key: &Key) {
        if let Some((name, old)) = index.namespaces.remove(&key.name) {
            index.counts.went(Namespace::SLOT);
            self.renew(Some(&old.meta), None);
            index.mark(&ChangeKey::Namespace(name), Urgency::Removal);
        }
    }

    pub(super) fn namespace_keys(&self, index: &Index) -> Vec<Key> {
        index.namespaces.iter().map(|entry| Key::cluster(entry.key())).collect()
    }

    fn renew(&mut self, old: Option<&Meta>, new: Option<&Meta>) {
        if let Some(meta) = old {
            self.versions.remove(meta);
        }
        if let Some(meta) = new {
            self.versions.insert(meta);
        }
    }
}

// === Nodes ===

impl Writer {
    pub(super) fn apply_node(&mut self, index: &Index, node: Node) {
        let name = node.meta.key.name.clone();
        let node = Arc::new(node);
        let old = index.nodes.insert(name.clone(), Arc::clone(&node));
        if old.is_none() {
            index.counts.came(Node::SLOT);
        }
        let same = old.as_ref().is_some_and(|old| {
            (&old.zone, old.ready, old.cpu_millis, old.control_plane)
                == (&node.zone, node.ready, node.cpu_millis, node.control_plane)
        });
        if same {
            return;
        }
        if old.is_none_or(|old| old.zone != node.zone) {
            self.decide_on_node(index, &name);
        }
        index.mark(&ChangeKey::Node(name), Urgency::Edit);
    }

    pub(super) fn delete_node(&mut self, index: &Index, key: &Key) {
        if index.nodes.remove(&key.name).is_some() {
            index.counts.went(Node::SLOT);
            self.decide_on_node(index, &key.name);
            index.mark(&ChangeKey::Node(key.name.clone()), Urgency::Edit);
        }
    }

    pub(super) fn node_keys(&self, index: &Index) -> Vec<Key> {
        index.nodes.iter().map(|entry| Key::cluster(entry.key())).collect()
    }

    /// Decides anew about every pod on a Node that came, went or moved to another zone.
    fn decide_on_node(&self, index: &Index, node: &Name) {
        for key in self.pods_on.get(node).into_iter().flatten() {
            let Some(pod) = index.pod(key) else { continue };
            self.decide_everywhere(index, &pod);
        }
    }
}

// === Pods ===

impl Writer {
    pub(super) fn apply_pod(&mut self, index: &Index, mut pod: Pod) {
        let key = pod.meta.key.clone();
        let old = index.pods.get(&key);
        if let Some(old) = &old {
            // An event that changes nothing here leaves everything as it is, the version too: a pod in its newest form
            // beside the members of an older one would be in memory twice.
            let version =
                std::mem::replace(&mut pod.meta.resource_version, old.meta.resource_version.clone());
            if **old == pod {
                return;
            }
            pod.meta.resource_version = version;
        }
        let pod = Arc::new(pod);
        index.pods.insert(Arc::clone(&pod));
        if old.as_ref().is_none_or(|old| old.node != pod.node) {
            self.leave_node(&key, old.as_deref());
            if let Some(node) = &pod.node {
                self.pods_on.entry(node.clone()).or_default().insert(key.clone());
            }
        }
        match &old {
            None => {
                index.counts.came(Pod::SLOT);
                self.scopes.entry(key.namespace.clone()).or_default().pods.insert(key.name.clone());
            }
            Some(old) if old.meta.labels != pod.meta.labels => {
                let selected = self.selecting(&pod);
                for service in self.selecting(old).into_iter().filter(|service| !selected.contains(service)) {
                    dismiss(index, &Key { namespace: key.namespace.clone(), name: service }, &key.name);
                }
            }
            Some(_) => {}
        }
        self.decide_everywhere(index, &pod);
        index.mark(&ChangeKey::Pod(key), if old.is_some() { Urgency::Edit } else { Urgency::Addition });
    }

    pub(super) fn delete_pod(&mut self, index: &Index, key: &Key) {
        let Some(old) = index.pods.remove(key) else { return };
        index.counts.went(Pod::SLOT);
        self.leave_node(key, Some(&old));
        if let Some(scope) = self.scopes.get_mut(&key.namespace) {
            scope.pods.remove(&key.name);
        }
        for service in self.selecting(&old) {
            dismiss(index, &Key { namespace: key.namespace.clone(), name: service }, &key.name);
        }
        self.drop_empty_scope(&key.namespace);
        index.mark(&ChangeKey::Pod(key.clone()), Urgency::Removal);
    }

    pub(super) fn pod_keys(&self, index: &Index) -> Vec<Key> {
        index.pods.keys()
    }

    /// The Services that select a pod.
    fn selecting(&self, pod: &Pod) -> SmallVec<[Name; 2]> {
        let scope = self.scopes.get(&pod.meta.key.namespace);
        scope.map(|scope| scope.selectors.matching(&pod.meta.labels)).unwrap_or_default()
    }

    /// Decides about a pod under each Service that selects it.
    fn decide_everywhere(&self, index: &Index, pod: &Arc<Pod>) {
        for service in self.selecting(pod) {
            decide(index, &Key { namespace: pod.meta.key.namespace.clone(), name: service }, pod);
        }
    }

    fn leave_node(&mut self, key: &Key, pod: Option<&Pod>) {
        let Some(node) = pod.and_then(|pod| pod.node.as_ref()) else { return };
        if let Some(pods) = self.pods_on.get_mut(node) {
            pods.remove(key);
            if pods.is_empty() {
                self.pods_on.remove(node);
            }
        }
    }

    fn drop_empty_scope(&mut self, namespace: &Name) {
        if self.scopes.get(namespace).is_some_and(|scope| scope.pods.is_empty() && scope.selectors.is_empty())
        {
            self.scopes.remove(namespace);
        }
    }
}

// === Services ===

impl Writer {
    pub(super) fn apply_service(&mut self, index: &Index, service: Service) {
        let key = service.meta.key.clone();
        let old = index.view(&key).and_then(|view| view.service.clone());
        if old.as_deref() == Some(&service) {
            return;
        }
        self.renew(old.as_ref().map(|old| &old.meta), Some(&service.meta));
        if old.is_none() {
            index.counts.came(Service::SLOT);
        }
        let service = Arc::new(service);
        let membership_changed = old.as_ref().is_none_or(|old| {
            (old.selects(), &old.selector, &old.ports, old.publish_not_ready)
                != (service.selects(), &service.selector, &service.ports, service.publish_not_ready)
        });
        let members = membership_changed.then(|| self.gather(index, &service));
        change(index, &key, |view| {
            let before = Standings::of(view);
            view.service = Some(Arc::clone(&service));
            if let Some(members) = members {
                view.members = Arc::new(members);
            }
            index.counts.moved(before, Standings::of(view));
        });
        index.mark(&ChangeKey::Service(key), Urgency::Addition);
    }

    pub(super) fn delete_service(&mut self, index: &Index, key: &Key) {
        let Some(old) = index.view(key).and_then(|view| view.service.clone()) else { return };
        self.renew(Some(&old.meta), None);
        if let Some(scope) = self.scopes.get_mut(&key.namespace) {
            scope.selectors.remove(&key.name);
        }
        self.drop_empty_scope(&key.namespace);
        index.counts.went(Service::SLOT);
        change(index, key, |view| {
            index.counts.moved(Standings::of(view), Standings::default());
            view.service = None;
            view.members = Arc::default();
        });
        index.mark(&ChangeKey::Service(key.clone()), Urgency::Removal);
    }

    pub(super) fn service_keys(&self, index: &Index) -> Vec<Key> {
        index.services.iter().filter(|view| view.service.is_some()).map(|view| view.key().clone()).collect()
    }

    /// The members of a new or changed Service, by a walk over the pods of its namespace.
    fn gather(&mut self, index: &Index, service: &Service) -> Vec<Arc<Membership>> {
        let key = &service.meta.key;
        let scope = self.scopes.entry(key.namespace.clone()).or_default();
        if !service.selects() {
            scope.selectors.remove(&key.name);
            self.drop_empty_scope(&key.namespace);
            return Vec::new();
        }
        scope.selectors.insert(&key.name, &service.selector);
        let mut members: Vec<Arc<Membership>> = Vec::new();
        for name in &scope.pods {
            let pod_key = Key { namespace: key.namespace.clone(), name: name.clone() };
            let Some(pod) = index.pod(&pod_key).filter(|pod| service.selector.selects(&pod.meta.labels))
            else {
                continue;
            };
            let member = membership(index, service, &pod, members.first());
            members.push(Arc::new(member));
        }
        members
    }
}

// === Endpoints and EndpointSlices ===

impl Writer {
    pub(super) fn apply_endpoints(&mut self, index: &Index, endpoints: Endpoints) {
        let key = endpoints.meta.key.clone();
        let old = index.view(&key).and_then(|view| view.endpoints.clone());
        if old.as_deref() == Some(&endpoints) {
            return;
        }
        if old.is_none() {
            index.counts.came(Endpoints::SLOT);
        }
        change(index, &key, |view| view.endpoints = Some(Arc::new(endpoints)));
        index.mark(&ChangeKey::Service(key), Urgency::Echo);
    }

    pub(super) fn delete_endpoints(&mut self, index: &Index, key: &Key) {
        if index.view(key).is_some_and(|view| view.endpoints.is_some()) {
            index.counts.went(Endpoints::SLOT);
            change(index, key, |view| view.endpoints = None);
            index.mark(&ChangeKey::Service(key.clone()), Urgency::Echo);
        }
    }

    pub(super) fn endpoints_keys(&self, index: &Index) -> Vec<Key> {
        index.services.iter().filter(|view| view.endpoints.is_some()).map(|view| view.key().clone()).collect()
    }

    pub(super) fn apply_slice(&mut self, index: &Index, slice: EndpointSlice) {
        let key = slice.meta.key.clone();
        let Some(service) = slice.service() else { return self.delete_slice(index, &key) };
        if self.slice_of.get(&key).is_some_and(|known| *known != service) {
            self.delete_slice(index, &key);
        }
        let old = index.view(&service).and_then(|view| find_slice(&view, &key.name));
        if old.as_deref() == Some(&slice) {
            return;
        }
        self.renew(old.as_ref().map(|old| &old.meta), Some(&slice.meta));
        if self.slice_of.insert(key.clone(), service.clone()).is_none() {
            index.counts.came(EndpointSlice::SLOT);
        }
        let slice = Arc::new(slice);
        change(index, &service, |view| {
            let slices = Arc::make_mut(&mut view.slices);
            match slices.binary_search_by(|known| known.meta.key.name.cmp(&key.name)) {
                Ok(at) => {
                    if let Some(known) = slices.get_mut(at) {
                        *known = slice;
                    }
                }
                Err(at) => slices.insert(at, slice),
            }
        });
        index.mark(&ChangeKey::Service(service), Urgency::Echo);
    }

    pub(super) fn delete_slice(&mut self, index: &Index, key: &Key) {
        let Some(service) = self.slice_of.remove(key) else { return };
        index.counts.went(EndpointSlice::SLOT);
        let old = index.view(&service).and_then(|view| find_slice(&view, &key.name));
        self.renew(old.as_ref().map(|old| &old.meta), None);
        change(index, &service, |view| {
            Arc::make_mut(&mut view.slices).retain(|slice| slice.meta.key.name != key.name);
        });
        index.mark(&ChangeKey::Service(service), Urgency::Echo);
    }

    pub(super) fn slice_keys(&self, _: &Index) -> Vec<Key> {
        self.slice_of.keys().cloned().collect()
    }
}

// === The joined state ===

/// Replaces the view of `key`: readers have the old one or the new one.
fn change(index: &Index, key: &Key, edit: impl FnOnce(&mut ServiceView)) {
    let mut entry = index
        .services
        .entry(key.clone())
        .or_insert_with(|| Arc::new(ServiceView { key: key.clone(), ..ServiceView::default() }));
    edit(Arc::make_mut(entry.value_mut()));
    let empty = entry.value().is_empty();
    drop(entry);
    if empty {
        index.services.remove(key);
    }
}

/// Decides about a pod that the Service selects, and tells if that changed anything.
fn decide(index: &Index, key: &Key, pod: &Arc<Pod>) {
    let Some(view) = index.view(key) else { return };
    let Some(service) = &view.service else { return };
    let member = membership(index, service, pod, view.members.first());
    let at = position(&view, &pod.meta.key.name);
    let old = at.ok().and_then(|at| view.members.get(at));
    let same = old.is_some_and(|old| same_member(old, &member));
    // A member that is the same to everybody is replaced all the same: two forms of one pod are not to be kept.
    if same && old.is_some_and(|old| Arc::ptr_eq(&old.pod, &member.pod)) {
        return;
    }
    let urgency = urgency(old.map(AsRef::as_ref), &member);
    let families = service.slice_families();
    let (mut before, mut after) = (Standings::default(), Standings::default());
    old.into_iter().for_each(|old| before.add(old.standing(&families)));
    after.add(member.standing(&families));
    index.counts.moved(before, after);
    // Let go of our own hold first, so that the edit is in place unless a reader holds the old view.
    let member = Arc::new(member);
    drop(view);
    change(index, key, |view| {
        let members = Arc::make_mut(&mut view.members);
        match at {
            Ok(at) => {
                if let Some(known) = members.get_mut(at) {
                    *known = member;
                }
            }
            Err(at) => members.insert(at, member),
        }
    });
    if !same {
        index.mark(&ChangeKey::Service(key.clone()), urgency);
    }
}

/// Takes a pod out of a Service that no longer selects it, or because it is gone.
fn dismiss(index: &Index, key: &Key, pod: &Name) {
    let Some(Ok(at)) = index.view(key).map(|view| position(&view, pod)) else { return };
    change(index, key, |view| {
        let member = Arc::make_mut(&mut view.members).remove(at);
        if let Some(service) = &view.service {
            let mut gone = Standings::default();
            gone.add(member.standing(&service.slice_families()));
            index.counts.moved(gone, Standings::default());
        }
    });
    index.mark(&ChangeKey::Service(key.clone()), Urgency::Removal);
}

fn position(view: &ServiceView, pod: &Name) -> Result<usize, usize> {
    view.members.binary_search_by(|member| member.pod.meta.key.name.cmp(pod))
}

fn find_slice(view: &ServiceView, name: &Name) -> Option<Arc<EndpointSlice>> {
    let at = view.slices.binary_search_by(|slice| slice.meta.key.name.cmp(name)).ok()?;
    view.slices.get(at).cloned()
}

/// The membership, sharing its port list with another member's where they are equal, as they nearly always are.
fn membership(
    index: &Index,
    service: &Service,
    pod: &Arc<Pod>,
    other: Option<&Arc<Membership>>,
) -> Membership {
    let node = pod.node.as_ref().and_then(|name| index.node(name));
    let mut member = Membership::decide(service, pod, node.as_deref());
    if let Some(other) = other.filter(|other| other.ports == member.ports) {
        member.ports = Arc::clone(&other.ports);
    }
    member
}

/// Whether two decisions are the same to everybody. The pod's version, and labels that select alike, are nobody's
/// business.
fn same_member(old: &Membership, new: &Membership) -> bool {
    let pod = |member: &Membership| {
        let pod = &member.pod;
        (pod.meta.uid.clone(), pod.node.clone(), pod.ips.clone(), pod.phase, pod.readiness.clone())
    };
    (&old.zone, &old.hostname, old.ready, old.serving, old.terminating, old.node_known, old.publish_not_ready)
        == (
            &new.zone,
            &new.hostname,
            new.ready,
            new.serving,
            new.terminating,
            new.node_known,
            new.publish_not_ready,
        )
        && old.ports == new.ports
        && old.missing_ports == new.missing_ports
        && pod(old) == pod(new)
}

fn urgency(old: Option<&Membership>, new: &Membership) -> Urgency {
    let usable = |member: &Membership| {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| member.answers(*family))
            .flat_map(|family| member.addresses(family))
            .collect::<SmallVec<[_; 2]>>()
    };
    let before = old.map(usable).unwrap_or_default();
    let after = usable(new);
    if before.iter().any(|ip| !after.contains(ip)) {
        Urgency::Removal
    } else if after.iter().any(|ip| !before.contains(ip)) {
        Urgency::Addition
    } else {
        Urgency::Edit
    }
}
