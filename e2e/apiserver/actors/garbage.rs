//! Garbage collection: objects whose owners are all gone are deleted, and the finalizers of foreground and orphaning
//! deletion are worked off.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::follow::News;
use super::owned::{Owned, owners};
use super::{Follower, told};
use crate::apiserver::delete::{DeleteOptions, FOREGROUND, ORPHAN, Preconditions};
use crate::apiserver::kind::{KINDS, Kind};
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::value::{flag, items, remove, set, text};
use crate::apiserver::store::Store;
use crate::apiserver::write::Part;

const WHO: &str = "generic-garbage-collector";

struct Collector {
    store: Arc<Store>,
    owned: Owned,
    /// The uids of all objects there are.
    alive: HashSet<String>,
}

pub(super) async fn run(store: Arc<Store>) {
    let every: Vec<Kind> = KINDS.iter().map(|info| info.kind).collect();
    let (mut follower, mut news) = Follower::new(Arc::clone(&store), &every);
    let mut collector = Collector { store, owned: Owned::default(), alive: HashSet::new() };
    loop {
        collector.learn(&news);
        for it in &news {
            collector.look_at(it);
        }
        news = follower.next().await;
    }
}

impl Collector {
    fn learn(&mut self, news: &[News]) {
        for it in news {
            if it.gone {
                self.owned.forget(&it.object);
                self.alive.remove(it.object.uid());
            } else {
                self.owned.see(&it.object);
                self.alive.insert(it.object.uid().to_owned());
            }
        }
    }

    fn look_at(&self, news: &News) {
        let object = &news.object;
        if news.gone {
            for (kind, key) in self.owned.of(object.uid()) {
                self.release(kind, &key);
            }
            // Its owner may wait for it in the foreground.
            for owner in owners(&object.value) {
                self.end_foreground(owner, &object.key.namespace);
            }
            return;
        }
        if object.is_terminating() {
            self.work_off(object);
        } else if owners(&object.value).next().is_some() {
            self.release(object.kind, &object.key);
        }
    }

    /// Deletes an object without living owners, and takes the dead ones out of one with others.
    fn release(&self, kind: Kind, key: &Key) {
        let Some(object) = self.store.get(kind, &key.namespace, &key.name) else { return };
        let (living, dead): (Vec<&Value>, Vec<&Value>) =
            owners(&object.value).partition(|owner| self.lives(owner, &key.namespace));
        if dead.is_empty() || object.is_terminating() {
            return;
        }
        if living.is_empty() {
            let preconditions = Preconditions { uid: Some(object.uid().to_owned()), resource_version: None };
            let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
            told(WHO, self.store.delete(kind, key, &options));
        } else {
            let living: Vec<Value> = living.into_iter().cloned().collect();
            let done = self.store.modify(kind, key, Part::Main, WHO, |object| {
                set(object, &["metadata", "ownerReferences"], living);
            });
            told(WHO, done);
        }
    }

    /// Whether an owner is there, or may be: of kinds this server does not know nothing is known.
    fn lives(&self, owner: &Value, namespace: &str) -> bool {
        let Some(kind) = Kind::of(text(owner, &["apiVersion"]), text(owner, &["kind"])) else { return true };
        let uid = text(owner, &["uid"]);
        if self.alive.contains(uid) {
            return true;
        }
        // It may have come to be after the last news.
        let namespace = if kind.info().namespaced { namespace } else { "" };
        self.store.get(kind, namespace, text(owner, &["name"])).is_some_and(|found| found.uid() == uid)
    }

    /// The finalizers that stand for a propagation policy.
    fn work_off(&self, object: &Object) {
        let held_by =
            |name: &str| items(&object.value, &["metadata", "finalizers"]).iter().any(|it| it == name);
        let uid = object.uid();
        if held_by(ORPHAN) {
            for (kind, key) in self.owned.of(uid) {
                let done = self.store.modify(kind, &key, Part::Main, WHO, |dependent| {
                    let others: Vec<Value> =
                        owners(dependent).filter(|owner| text(owner, &["uid"]) != uid).cloned().collect();
                    if others.is_empty() {
                        remove(dependent, &["metadata", "ownerReferences"]);
                    } else {
                        set(dependent, &["metadata", "ownerReferences"], others);
                    }
                });
                told(WHO, done);
            }
            self.take_finalizer(object.kind, &object.key, ORPHAN);
        } else if held_by(FOREGROUND) {
            for (kind, key) in self.owned.of(uid) {
                let there = self.store.get(kind, &key.namespace, &key.name);
                if there.is_some_and(|dependent| !dependent.is_terminating()) {
                    let policy = Some("Foreground".to_owned());
                    let options = DeleteOptions { propagation_policy: policy, ..DeleteOptions::default() };
                    told(WHO, self.store.delete(kind, &key, &options));
                }
            }
            if !self.blocked(uid) {
                self.take_finalizer(object.kind, &object.key, FOREGROUND);
            }
        }
    }

    fn end_foreground(&self, owner: &Value, namespace: &str) {
        let Some(kind) = Kind::of(text(owner, &["apiVersion"]), text(owner, &["kind"])) else { return };
        let namespace = if kind.info().namespaced { namespace } else { "" };
        let Some(object) = self.store.get(kind, namespace, text(owner, &["name"])) else { return };
        if object.is_terminating() && object.uid() == text(owner, &["uid"]) {
            self.work_off(&object);
        }
    }

    /// Whether a dependent is there that its owner has to wait for.
    fn blocked(&self, uid: &str) -> bool {
        self.owned.of(uid).iter().any(|(kind, key)| {
            let dependent = self.store.get(*kind, &key.namespace, &key.name);
            dependent.is_some_and(|dependent| {
                owners(&dependent.value)
                    .any(|owner| text(owner, &["uid"]) == uid && flag(owner, &["blockOwnerDeletion"]))
            })
        })
    }

    fn take_finalizer(&self, kind: Kind, key: &Key, name: &str) {
        let done = self.store.modify(kind, key, Part::Main, WHO, |object| {
            let others: Vec<Value> =
                items(object, &["metadata", "finalizers"]).iter().filter(|it| *it != name).cloned().collect();
            if others.is_empty() {
                remove(object, &["metadata", "finalizers"]);
            } else {
                set(object, &["metadata", "finalizers"], others);
            }
        });
        told(WHO, done);
    }
}
