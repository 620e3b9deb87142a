use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::apiserver::faults::Fault;

fn store(window: usize) -> Store {
    Store::new(window, Arc::new(Faults::default()))
}

fn value(namespace: &str, name: &str, mark: usize) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "labels": {"mark": mark.to_string()}}})
}

fn names(objects: &[Arc<Object>]) -> Vec<String> {
    objects.iter().map(|object| object.key.to_string()).collect()
}

fn put(store: &Store, namespace: &str, name: &str) -> Arc<Object> {
    store.put(&mut store.lock(), Kind::Pod, value(namespace, name, 0))
}

#[test]
fn versions_rise_with_every_commit_of_any_kind() {
    let store = store(10);
    let first = put(&store, "shop", "a").version;
    let second = store.put(&mut store.lock(), Kind::Node, value("", "n", 0)).version;
    let object = store.get(Kind::Pod, "shop", "a").unwrap();
    let gone = store.take(&mut store.lock(), &object);
    assert_eq!((second, gone.version, store.version()), (first + 1, first + 2, first + 2));
    assert_eq!(gone.value["metadata"]["resourceVersion"], gone.version.to_string());
    assert!(store.get(Kind::Pod, "shop", "a").is_none());
}

#[test]
fn a_namespace_is_a_range_of_its_own() {
    let store = store(10);
    for (namespace, name) in [("shop", "b"), ("shop-2", "a"), ("shop", "a"), ("sho", "z")] {
        put(&store, namespace, name);
    }
    assert_eq!(names(&store.list(Kind::Pod, Scope::Namespace("shop")).0), ["shop/a", "shop/b"]);
    assert_eq!(names(&store.list(Kind::Pod, Scope::All).0), ["sho/z", "shop/a", "shop/b", "shop-2/a"]);
    assert_eq!(names(&store.list(Kind::Pod, Scope::Namespace("none")).0), Vec::<String>::new());
}

#[test]
fn a_place_sees_what_comes_after_its_list() {
    let store = store(10);
    put(&store, "shop", "a");
    let (objects, version, mut place) = store.list_and_place(Kind::Pod, Scope::All);
    put(&store, "shop", "b");
    let batch = store.read(Kind::Pod, &mut place, 10, &Gate::default()).unwrap();
    assert_eq!((names(&objects), batch.events.len()), (vec!["shop/a".to_owned()], 1));
    assert_eq!((&*batch.events[0].object.key.name, batch.known), ("b", Some(version + 1)));
}

#[test]
fn expired_versions_are_lost_and_the_next_list_is_past_them() {
    let store = store(10);
    let old = put(&store, "shop", "a").version;
    store.faults.set(Fault::ExpireVersions).unwrap();
    assert_eq!(store.place_after(Kind::Pod, old), Err(Lost));
    assert!(store.list_at(Kind::Pod, Scope::All, old).is_err());
    let (_, version) = store.list(Kind::Pod, Scope::All);
    assert!(store.place_after(Kind::Pod, version).is_ok());
    assert!(put(&store, "shop", "b").version > version);
}

#[test]
fn a_bell_rings_for_its_kind() {
    let store = store(10);
    let (mut pods, mut nodes, mut any) = (store.bell(Kind::Pod), store.bell(Kind::Node), store.any_bell());
    for bell in [&mut pods, &mut nodes, &mut any] {
        bell.borrow_and_update();
    }
    put(&store, "shop", "a");
    assert!(pods.has_changed().unwrap() && any.has_changed().unwrap() && !nodes.has_changed().unwrap());
}

proptest! {
    /// A list at an old version, made by going back through the log, is the list there was at that version; or it is
    /// refused, when the log is too short.
    #[test]
    fn the_past_is_what_it_was(steps in prop::collection::vec((0..2_usize, 0..4_usize, any::<bool>()), 1..60),
                               window in 1..40_usize) {
        let store = store(window);
        let mut states: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (step, (namespace, name, delete)) in steps.iter().enumerate() {
            let (namespace, name) = (format!("ns{namespace}"), format!("pod{name}"));
            match store.get(Kind::Pod, &namespace, &name).filter(|_| *delete) {
                Some(object) => drop(store.take(&mut store.lock(), &object)),
                None => drop(store.put(&mut store.lock(), Kind::Pod, value(&namespace, &name, step))),
            }
            let (objects, version) = store.list(Kind::Pod, Scope::Namespace("ns0"));
            states.insert(version, objects.iter().map(|object| object.version).collect());
        }
        let mut reachable = 0;
        for (version, then) in &states {
            if let Ok(objects) = store.list_at(Kind::Pod, Scope::Namespace("ns0"), *version) {
                prop_assert_eq!(&objects.iter().map(|object| object.version).collect::<Vec<_>>(), then);
                reachable += 1;
            }
        }
        prop_assert!(reachable >= steps.len().min(window));
    }
}
