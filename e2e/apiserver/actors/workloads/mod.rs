//! Deployments, ReplicaSets and StatefulSets: from a template to pods, at the pace of their readiness.

mod deployment;
mod pod;
mod replica_set;
mod rollout;
mod stateful_set;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::Follower;
use super::follow::News;
use super::owned::{Owned, Place, controller};
use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::value::{at, text};
use crate::apiserver::store::Store;

const WHO: &str = "kube-controller-manager";

/// The controllers of all three kinds.
struct Workloads {
    store: Arc<Store>,
    owned: Owned,
}

pub(super) async fn run(store: Arc<Store>) {
    let kinds = [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet, Kind::Pod];
    let (mut follower, mut news) = Follower::new(Arc::clone(&store), &kinds);
    let mut workloads = Workloads { store, owned: Owned::default() };
    loop {
        let mut dirty: BTreeSet<Place> = BTreeSet::new();
        for it in &news {
            workloads.learn(it);
            dirty.extend(concerned(it));
        }
        for (kind, key) in dirty {
            workloads.reconcile(kind, &key);
        }
        news = follower.next().await;
    }
}

impl Workloads {
    fn learn(&mut self, news: &News) {
        if news.gone {
            self.owned.forget(&news.object);
        } else {
            self.owned.see(&news.object);
        }
    }

    fn reconcile(&mut self, kind: Kind, key: &Key) {
        let Some(object) = self.store.get(kind, &key.namespace, &key.name) else { return };
        if object.is_terminating() {
            return;
        }
        match kind {
            Kind::Deployment => self.deployment(&object),
            Kind::ReplicaSet => self.replica_set(&object),
            Kind::StatefulSet => self.stateful_set(&object),
            _ => {}
        }
    }

    /// The objects of a kind that a workload controls, as they are now.
    fn controlled(&self, kind: Kind, owner: &Object) -> Vec<Arc<Object>> {
        let uid = owner.uid();
        let places = self.owned.of(uid).into_iter().filter(|(it, _)| *it == kind);
        let objects = places.filter_map(|(kind, key)| self.store.get(kind, &key.namespace, &key.name));
        objects.filter(|it| controller(&it.value).is_some_and(|owner| text(owner, &["uid"]) == uid)).collect()
    }

    /// Notes what was just made, for its event comes only later.
    fn made(&mut self, object: &Object) {
        self.owned.see(object);
    }
}

/// The workloads an event is about: the object itself, and the one that controls or controlled it.
fn concerned(news: &News) -> impl Iterator<Item = Place> {
    let object = &news.object;
    let itself = (object.kind != Kind::Pod).then(|| (object.kind, object.key.clone()));
    let owner = |value: &Value| {
        let owner = controller(value)?;
        let kind = Kind::of(text(owner, &["apiVersion"]), text(owner, &["kind"]))?;
        Some((kind, Key::new(&object.key.namespace, text(owner, &["name"]))))
    };
    let before = news.previous.as_ref().and_then(|it| owner(&it.value));
    itself.into_iter().chain(owner(&object.value)).chain(before)
}

/// A name for a template that is the same for the same template.
fn template_hash(workload: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let template = at(workload, &["spec", "template"]).map(Value::to_string).unwrap_or_default();
    // FNV-1a: it need be no more than stable.
    let mut hash = template
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut name = String::with_capacity(10);
    for _ in 0..10 {
        let letter = LETTERS.get(usize::try_from(hash % LETTERS.len() as u64).unwrap_or_default());
        name.push(char::from(*letter.unwrap_or(&b'x')));
        hash /= LETTERS.len() as u64;
    }
    name
}
