//! A cluster for tests: objects as an API server keeps them, the index that watches them, and writes that conflict.

mod api;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use callsign_shared::{
    Index, Key, ServiceView,
    index::Indexed,
    object::{EndpointSlice, Endpoints, Namespace, Node, Pod, Service, well_known},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

pub(crate) use api::{Api, Fault};

use crate::{
    endpoints,
    plan::{Inputs, Limits, Plan, Write},
    slices::{self, Zones},
    write::Body,
};

/// A cluster that plans can be applied to.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) index: Arc<Index>,
    /// Whether the index sees what is stored only when [`Cluster::deliver`] is called.
    pub(crate) delayed: std::sync::atomic::AtomicBool,
    stored: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    version: u64,
    objects: BTreeMap<(String, Key), Value>,
    undelivered: Vec<(String, Key, Option<Value>)>,
}

/// What an API server answers instead of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    AlreadyExists,
    Conflict,
}

impl Cluster {
    /// Creates or replaces what a person applies. What is not in `object` and was stored before stays.
    pub(crate) fn apply(&self, mut object: Value) {
        let (kind, key) = (kind(&object), key(&object));
        if kind == "Service" {
            default_service(&mut object);
        }
        if let Some(mut merged) = self.get(&kind, &key) {
            let fields: &[&str] = if kind == "Pod" {
                &["status"]
            } else {
                &["spec", "status", "subsets", "endpoints", "ports"]
            };
            for field in fields {
                if !object[*field].is_null() {
                    merged[*field] = object[*field].clone();
                }
            }
            merged["metadata"]["labels"] = object["metadata"]["labels"].clone();
            merged["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
            object = merged;
            let _ = self.replace(&kind, &key, object);
        } else {
            self.create(&kind, &key, object).unwrap();
        }
    }

    pub(crate) fn get(&self, kind: &str, key: &Key) -> Option<Value> {
        self.stored.lock().objects.get(&(kind.to_owned(), key.clone())).cloned()
    }

    pub(crate) fn create(&self, kind: &str, key: &Key, mut object: Value) -> Result<Value, Refusal> {
        let mut stored = self.stored.lock();
        if stored.objects.contains_key(&(kind.to_owned(), key.clone())) {
            return Err(Refusal::AlreadyExists);
        }
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{:012}", stored.version + 1));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        Ok(self.store(&mut stored, kind, key, object))
    }

    pub(crate) fn replace(&self, kind: &str, key: &Key, mut object: Value) -> Result<Value, Refusal> {
        let mut stored = self.stored.lock();
        let known = stored.objects.get(&(kind.to_owned(), key.clone())).ok_or(Refusal::NotFound)?;
        let version = &object["metadata"]["resourceVersion"];
        if !version.is_null() && *version != known["metadata"]["resourceVersion"] {
            return Err(Refusal::Conflict);
        }
        object["metadata"]["uid"] = known["metadata"]["uid"].clone();
        object["metadata"]["creationTimestamp"] = known["metadata"]["creationTimestamp"].clone();
        object["metadata"]["deletionTimestamp"] = known["metadata"]["deletionTimestamp"].clone();
        object["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
        if object == *known {
            return Ok(object);
        }
        Ok(self.store(&mut stored, kind, key, object))
    }

    /// Deletes an object; a pod on a node, and what has finalizers, stays on its way out.
    pub(crate) fn delete(&self, kind: &str, key: &Key, version: Option<&str>) -> Result<Value, Refusal> {
        let mut stored = self.stored.lock();
        let known = stored.objects.get(&(kind.to_owned(), key.clone())).ok_or(Refusal::NotFound)?;
        if version.is_some_and(|version| known["metadata"]["resourceVersion"] != version) {
            return Err(Refusal::Conflict);
        }
        let mut known = known.clone();
        let stays = (kind == "Pod" && !known["spec"]["nodeName"].is_null())
            || known["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if stays {
            known["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            return Ok(self.store(&mut stored, kind, key, known));
        }
        let mut gone = vec![(kind.to_owned(), key.clone())];
        if kind == "Service" {
            // The API server removes the Endpoints itself.
            gone.push(("Endpoints".into(), key.clone()));
        }
        for (kind, key) in gone {
            if stored.objects.remove(&(kind.clone(), key.clone())).is_some() {
                stored.version += 1;
                stored.undelivered.push((kind, key, None));
            }
        }
        self.deliver_unless_delayed(stored);
        Ok(json!({"kind": "Status", "status": "Success"}))
    }

    fn store(
        &self,
        stored: &mut parking_lot::MutexGuard<'_, Stored>,
        kind: &str,
        key: &Key,
        mut object: Value,
    ) -> Value {
        stored.version += 1;
        object["kind"] = json!(kind);
        object["metadata"]["resourceVersion"] = json!(stored.version.to_string());
        stored.objects.insert((kind.to_owned(), key.clone()), object.clone());
        stored.undelivered.push((kind.to_owned(), key.clone(), Some(object.clone())));
        if !self.delayed.load(std::sync::atomic::Ordering::SeqCst) {
            self.hand_over(stored);
        }
        object
    }

    fn deliver_unless_delayed(&self, mut stored: parking_lot::MutexGuard<'_, Stored>) {
        if !self.delayed.load(std::sync::atomic::Ordering::SeqCst) {
            self.hand_over(&mut stored);
        }
    }

    /// Lets the index see everything that was stored.
    pub(crate) fn deliver(&self) {
        self.hand_over(&mut self.stored.lock());
    }

    /// Lets the index see everything that was stored of some kinds, as watches of different speed do.
    pub(crate) fn deliver_only(&self, kinds: &[&str]) {
        let mut stored = self.stored.lock();
        let (now, later) = std::mem::take(&mut stored.undelivered)
            .into_iter()
            .partition(|(kind, ..)| kinds.contains(&kind.as_str()));
        stored.undelivered = now;
        self.hand_over(&mut stored);
        stored.undelivered = later;
    }

    fn hand_over(&self, stored: &mut Stored) {
        for (kind, key, object) in stored.undelivered.drain(..) {
            match kind.as_str() {
                "Node" => self.see::<Node>(&key, object),
                "Namespace" => self.see::<Namespace>(&key, object),
                "Pod" => self.see::<Pod>(&key, object),
                "Service" => self.see::<Service>(&key, object),
                "Endpoints" => self.see::<Endpoints>(&key, object),
                "EndpointSlice" => self.see::<EndpointSlice>(&key, object),
                other => panic!("unknown kind {other}"),
            }
        }
    }

    fn see<T: Indexed>(&self, key: &Key, object: Option<Value>) {
        match object {
            Some(object) => self.index.apply(T::decode(&object.to_string()).unwrap()),
            None => self.index.delete::<T>(key),
        }
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<Value> {
        let stored = self.stored.lock();
        stored.objects.iter().filter(|((k, _), _)| k == kind).map(|(_, object)| object.clone()).collect()
    }

    /// The view of a Service.
    pub(crate) fn view(&self, namespace: &str, name: &str) -> Arc<ServiceView> {
        self.index.view(&Key::new(namespace, name)).unwrap()
    }

    /// Plans for one Service.
    pub(crate) fn plan(&self, view: &ServiceView, limits: Limits) -> (Plan<EndpointSlice>, Plan<Endpoints>) {
        let nodes = self.index.nodes();
        let zones = Zones::of(nodes.iter().map(AsRef::as_ref));
        let taken = BTreeSet::new();
        let namespace = self.index.namespace(&view.key.namespace);
        let namespace_ending = namespace.is_some_and(|namespace| namespace.meta.deleting);
        let inputs = Inputs { limits, trigger: None, zones: zones.as_ref(), taken: &taken, namespace_ending };
        (slices::plan(view, &inputs), endpoints::plan(view, &inputs))
    }

    /// Plans for every Service and applies the plans once. Says how many writes that took.
    pub(crate) fn round(&self, limits: Limits) -> usize {
        let plans: Vec<_> = self.index.views().iter().map(|view| self.plan(view, limits)).collect();
        let mut writes = 0;
        for (slices, endpoints) in plans {
            writes += slices.writes.len() + endpoints.writes.len();
            slices.writes.into_iter().for_each(|write| self.write(write, "EndpointSlice"));
            endpoints.writes.into_iter().for_each(|write| self.write(write, "Endpoints"));
        }
        writes
    }

    /// Brings everything to rest, which must take one round. Says how many writes it took.
    pub(crate) fn settle(&self, limits: Limits) -> usize {
        let writes = self.round(limits);
        let again: Vec<_> = self.index.views().iter().map(|view| self.plan(view, limits)).collect();
        for (slices, endpoints) in again {
            assert_eq!(slices.writes, [], "what was written is not what was wanted");
            assert_eq!(endpoints.writes, [], "what was written is not what was wanted");
        }
        writes
    }

    fn write<T: Body>(&self, write: Write<T>, kind: &str) {
        let key = write.meta().key.clone();
        let json = |object: &T| serde_json::from_slice(&object.body().unwrap()).unwrap();
        match write {
            Write::Create(new) => self.create(kind, &key, json(&new)).map(|_| ()),
            Write::Update { new, .. } => {
                assert!(!new.meta().resource_version.is_empty(), "an update without a version");
                self.replace(kind, &key, json(&new)).map(|_| ())
            }
            Write::Delete { current } => {
                self.delete(kind, &key, Some(&current.meta().resource_version.to_string())).map(|_| ())
            }
        }
        .unwrap();
    }
}

/// A Service with selector `app: <name>` and port `http` 80.
pub(crate) fn service(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
           "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}})
}

/// A ready pod with label `app: <app>` on Node `node-a`.
pub(crate) fn pod(namespace: &str, name: &str, app: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
           "spec": {"nodeName": "node-a", "containers": [{"name": "c"}]},
           "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                      "conditions": [{"type": "Ready", "status": "True"}]}})
}

/// Node `name` in `zone`.
pub(crate) fn node(name: &str, zone: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {well_known::ZONE: zone}},
           "status": {"allocatable": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn kind(object: &Value) -> String {
    object["kind"].as_str().unwrap().to_owned()
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    Key::new(text("namespace"), text("name"))
}

/// What the API server fills in.
fn default_service(object: &mut Value) {
    let spec = &mut object["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    if spec["clusterIP"].is_null() {
        spec["clusterIP"] = json!("10.96.250.1");
    }
    if spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!([spec["clusterIP"].clone()]);
    }
    if spec["ipFamilies"].is_null() {
        let ips = spec["clusterIPs"].as_array().cloned().unwrap_or_default();
        let family =
            |ip: &Value| json!(if ip.as_str().unwrap_or_default().contains(':') { "IPv6" } else { "IPv4" });
        let dual = spec["ipFamilyPolicy"].as_str().is_some_and(|policy| policy.ends_with("DualStack"));
        spec["ipFamilies"] = match ips.as_slice() {
            [only] if dual && only == "None" => json!(["IPv4", "IPv6"]),
            ips => ips.iter().map(family).collect(),
        };
    }
}
