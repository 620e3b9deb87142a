//! Namespaces that empty themselves: the content of a terminating one is deleted, and when nothing is left its
//! finalizer is taken away and it goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Follower, told};
use crate::apiserver::delete::DeleteOptions;
use crate::apiserver::kind::{KINDS, Kind};
use crate::apiserver::object::Key;
use crate::apiserver::rules::value::{items, remove, set};
use crate::apiserver::store::{Scope, Store};
use crate::apiserver::write::Part;

const WHO: &str = "namespace-controller";

pub(super) async fn run(store: Arc<Store>) {
    let every: Vec<Kind> = KINDS.iter().map(|info| info.kind).collect();
    let (mut follower, mut news) = Follower::new(Arc::clone(&store), &every);
    let mut terminating: BTreeSet<Arc<str>> = BTreeSet::new();
    loop {
        let mut dirty: BTreeSet<Arc<str>> = BTreeSet::new();
        for it in &news {
            if it.object.kind != Kind::Namespace {
                dirty.insert(Arc::clone(&it.object.key.namespace));
            } else if it.gone {
                terminating.remove(&it.object.key.name);
            } else if it.object.is_terminating() {
                terminating.insert(Arc::clone(&it.object.key.name));
                dirty.insert(Arc::clone(&it.object.key.name));
            }
        }
        for namespace in dirty.intersection(&terminating) {
            empty(&store, namespace);
        }
        news = follower.next().await;
    }
}

/// Deletes what can be deleted now, and the namespace when that was all.
fn empty(store: &Store, namespace: &str) {
    let mut left = false;
    for info in KINDS.iter().filter(|info| info.namespaced) {
        let (objects, _) = store.list(info.kind, Scope::Namespace(namespace));
        for object in objects {
            if !object.is_terminating() {
                told(WHO, store.delete(info.kind, &object.key, &DeleteOptions::default()));
            }
            left |= store.get(info.kind, &object.key.namespace, &object.key.name).is_some();
        }
    }
    if left {
        return;
    }
    let done = store.modify(Kind::Namespace, &Key::new("", namespace), Part::Finalize, WHO, |object| {
        let others = items(object, &["spec", "finalizers"]).iter().filter(|it| *it != "kubernetes");
        let others: Vec<_> = others.cloned().collect();
        if others.is_empty() {
            remove(object, &["spec", "finalizers"]);
        } else {
            set(object, &["spec", "finalizers"], others);
        }
    });
    told(WHO, done);
}
