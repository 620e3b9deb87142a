//! The fake scheduler and kubelets: a pod gets a node, addresses and, after a while, readiness; a terminating one is
//! removed when its time is up.
//!
//! They act on a pod that nobody else has touched: one whose status somebody writes is theirs from then on. The
//! annotation `callsign.dev/ready: "false"` makes a running pod unready, and its removal ready again.

mod address;
pub(super) mod node;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::address::Addresses;
use super::follow::News;
use super::{Follower, told};
use crate::apiserver::delete::DeleteOptions;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::options::KubeletOptions;
use crate::apiserver::rules::value::{at, flag, items, number, text};
use crate::apiserver::store::Store;
use crate::apiserver::write::{Part, WriteOptions, set_condition};

const KUBELET: &str = "kubelet";
const SCHEDULER: &str = "kube-scheduler";
const READY_ANNOTATION: &str = "callsign.dev/ready";

struct Kubelet {
    store: Arc<Store>,
    options: KubeletOptions,
    addresses: Addresses,
    nodes: BTreeMap<Key, Arc<Object>>,
    /// The node after which the next pod is put.
    turn: Option<Key>,
    /// Pods for which there was no node.
    waiting: BTreeSet<Key>,
    due: BTreeSet<(Instant, Key, Deed)>,
}

/// What is to be done with a pod when its time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Start,
    Remove,
}

pub(super) async fn run(store: Arc<Store>, options: KubeletOptions) {
    let (mut follower, mut news) = Follower::new(Arc::clone(&store), &[Kind::Node, Kind::Pod]);
    let mut kubelet = Kubelet {
        store,
        options,
        addresses: Addresses::default(),
        nodes: BTreeMap::new(),
        turn: None,
        waiting: BTreeSet::new(),
        due: BTreeSet::new(),
    };
    loop {
        for it in &news {
            kubelet.look_at(it);
        }
        let now = Instant::now();
        while kubelet.due.first().is_some_and(|(when, ..)| *when <= now) {
            if let Some((_, key, deed)) = kubelet.due.pop_first() {
                kubelet.act(&key, deed);
            }
        }
        let next = kubelet.due.first().map(|(when, ..)| *when);
        news = tokio::select! {
            news = follower.next() => news,
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => Vec::new(),
        };
    }
}

impl Kubelet {
    fn look_at(&mut self, news: &News) {
        let object = &news.object;
        match (object.kind, news.gone) {
            (Kind::Node, true) => drop(self.nodes.remove(&object.key)),
            (Kind::Node, false) => {
                self.nodes.insert(object.key.clone(), Arc::clone(object));
                for key in std::mem::take(&mut self.waiting) {
                    if let Some(pod) = self.store.get(Kind::Pod, &key.namespace, &key.name) {
                        self.look_at_pod(&pod, None);
                    }
                }
            }
            (_, true) => {
                self.waiting.remove(&object.key);
                self.addresses.free(&object.key);
            }
            (_, false) => self.look_at_pod(object, news.previous.as_deref()),
        }
    }

    fn look_at_pod(&mut self, pod: &Object, previous: Option<&Object>) {
        let now = Instant::now();
        self.addresses.keep(&pod.key, text(&pod.value, &["status", "podIP"]));
        if pod.is_terminating() {
            let grace = number(&pod.value, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default();
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
            if self.options.finishes_deletion && !previous.is_some_and(Object::is_terminating) {
                self.due.insert((now + grace.min(self.options.longest_grace), pod.key.clone(), Deed::Remove));
            }
        } else if text(&pod.value, &["spec", "nodeName"]).is_empty() {
            self.schedule(pod);
        } else if status::is_untouched(&pod.value) {
            if previous.is_none_or(|it| text(&it.value, &["spec", "nodeName"]).is_empty()) {
                self.due.insert((now + self.options.start_delay, pod.key.clone(), Deed::Start));
            }
        } else if previous.is_some_and(|it| wants_ready(&it.value) != wants_ready(&pod.value)) {
            let ready = wants_ready(&pod.value);
            let done = self.store.modify(Kind::Pod, &pod.key, Part::Status, KUBELET, |pod| {
                status::set_ready(pod, ready);
            });
            told(KUBELET, done);
        }
    }

    fn schedule(&mut self, pod: &Object) {
        let gated = !items(&pod.value, &["spec", "schedulingGates"]).is_empty();
        let scheduler = text(&pod.value, &["spec", "schedulerName"]);
        if gated || !matches!(scheduler, "" | "default-scheduler") {
            return;
        }
        let suits =
            |node: &&Arc<Object>| node::takes_pods(&node.value) && node::suits(&node.value, &pod.value);
        let after = |node: &&Arc<Object>| self.turn.as_ref().is_none_or(|turn| node.key > *turn);
        let suitable: Vec<&Arc<Object>> = self.nodes.values().filter(suits).collect();
        let next = suitable.iter().find(|node| after(node)).or_else(|| suitable.first());
        let Some(node) = next.map(|node| node.key.clone()) else {
            let total = self.nodes.len();
            self.waiting.insert(pod.key.clone());
            let done = self.store.modify(Kind::Pod, &pod.key, Part::Status, SCHEDULER, |pod| {
                status::set_unschedulable(pod, total);
            });
            told(SCHEDULER, done);
            return;
        };
        told(SCHEDULER, self.store.bind(&pod.key, &node.name, &WriteOptions::by(SCHEDULER)));
        self.turn = Some(node);
    }

    fn act(&mut self, key: &Key, deed: Deed) {
        let Some(pod) = self.store.get(Kind::Pod, &key.namespace, &key.name) else { return };
        match deed {
            // A pod of the same name may have come in its place.
            Deed::Remove if pod.is_terminating() => {
                told(KUBELET, self.store.delete(Kind::Pod, key, &DeleteOptions::grace(0)));
            }
            Deed::Start if status::is_untouched(&pod.value) && !pod.is_terminating() => self.start(&pod),
            _ => {}
        }
    }

    fn start(&mut self, pod: &Object) {
        let node = self.nodes.get(&Key::new("", text(&pod.value, &["spec", "nodeName"])));
        // Without its node, nobody would start it.
        let Some(host) = node.map(|node| node::addresses(&node.value)) else {
            self.waiting.insert(pod.key.clone());
            return;
        };
        let own = if flag(&pod.value, &["spec", "hostNetwork"]) && !host.is_empty() {
            host.clone()
        } else {
            let Some((v4, v6)) = self.addresses.of(&pod.key) else { return };
            vec![v4, v6]
        };
        let done = self.store.modify(Kind::Pod, &pod.key, Part::Status, KUBELET, |pod| {
            status::start(pod, &host, &own);
            let ready = wants_ready(pod);
            status::set_ready(pod, ready);
        });
        told(KUBELET, done);
    }
}

/// Whether a pod's annotations let it be ready.
fn wants_ready(pod: &Value) -> bool {
    at(pod, &["metadata", "annotations", READY_ANNOTATION]).and_then(Value::as_str) != Some("false")
}

/// A condition of a pod.
fn condition(kind: &str, status: bool, now: &str) -> Value {
    json!({
        "type": kind,
        "status": if status { "True" } else { "False" },
        "lastProbeTime": null,
        "lastTransitionTime": now,
    })
}

fn put_condition(pod: &mut Value, kind: &str, status: bool, now: &str) {
    let held = items(pod, &["status", "conditions"]).iter().find(|it| text(it, &["type"]) == kind);
    if held.is_some_and(|it| text(it, &["status"]) == if status { "True" } else { "False" }) {
        return;
    }
    set_condition(pod, condition(kind, status, now));
}
