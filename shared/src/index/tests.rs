use std::{collections::HashSet, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::object::{Phase, Readiness};

/// An event of the small world below.
#[derive(Clone, Debug)]
enum Event {
    Service { name: u8, selector: Option<u8>, publish: bool, version: u64 },
    NoService(u8),
    Pod { name: u8, app: u8, node: u8, ready: bool, deleting: bool, finished: bool },
    NoPod(u8),
    Node { name: u8, zone: u8 },
    NoNode(u8),
    Slice { name: u8, service: u8, version: u64 },
    NoSlice(u8),
    Endpoints { name: u8 },
    NoEndpoints(u8),
    Namespace { version: u64 },
    NoNamespace,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3_u8, proptest::option::of(0..3_u8), any::<bool>(), 1..9_u64).prop_map(
            |(name, selector, publish, version)| { Event::Service { name, selector, publish, version } }
        ),
        (0..3_u8).prop_map(Event::NoService),
        (0..4_u8, 0..3_u8, 0..2_u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(name, app, node, ready, deleting, finished)| Event::Pod {
                name,
                app,
                node,
                ready,
                deleting,
                finished
            }
        ),
        (0..4_u8).prop_map(Event::NoPod),
        (0..2_u8, 0..2_u8).prop_map(|(name, zone)| Event::Node { name, zone }),
        (0..2_u8).prop_map(Event::NoNode),
        (0..3_u8, 0..3_u8, 1..9_u64).prop_map(|(name, service, version)| Event::Slice {
            name,
            service,
            version
        }),
        (0..3_u8).prop_map(Event::NoSlice),
        (0..3_u8).prop_map(|name| Event::Endpoints { name }),
        (0..3_u8).prop_map(Event::NoEndpoints),
        (1..9_u64).prop_map(|version| Event::Namespace { version }),
        Just(Event::NoNamespace),
    ]
}

fn named(prefix: &str, name: u8) -> Key {
    Key::new("n", format!("{prefix}{name}"))
}

fn service(name: u8, selector: Option<u8>, publish: bool, version: u64) -> Service {
    let mut service = Service { publish_not_ready: publish, ..Service::default() };
    service.meta.key = named("s", name);
    service.meta.resource_version = version.to_string().into();
    service.selector = selector.map(|app| ("app", app.to_string())).into_iter().collect();
    service
}

fn pod(name: u8, app: u8, node: u8, ready: bool, deleting: bool, finished: bool) -> Pod {
    let mut pod = Pod {
        node: Some(Name::from(format!("node{node}"))),
        phase: if finished { Phase::Failed } else { Phase::Live },
        readiness: Readiness { ready, ..Readiness::default() },
        ..Pod::default()
    };
    pod.meta.key = named("p", name);
    pod.meta.deleting = deleting;
    pod.meta.labels = [("app", app.to_string())].into_iter().collect();
    pod.ips.push(std::net::IpAddr::from([10, 0, 0, name]));
    pod
}

fn play(index: &Index, event: &Event) {
    match event.clone() {
        Event::Service { name, selector, publish, version } => {
            index.apply(service(name, selector, publish, version));
        }
        Event::NoService(name) => index.delete::<Service>(&named("s", name)),
        Event::Pod { name, app, node, ready, deleting, finished } => {
            index.apply(pod(name, app, node, ready, deleting, finished));
        }
        Event::NoPod(name) => index.delete::<Pod>(&named("p", name)),
        Event::Node { name, zone } => {
            let mut node = Node { zone: Some(Name::from(format!("z{zone}"))), ..Node::default() };
            node.meta.key = Key::cluster(format!("node{name}"));
            index.apply(node);
        }
        Event::NoNode(name) => index.delete::<Node>(&Key::cluster(format!("node{name}"))),
        Event::Slice { name, service, version } => {
            let mut slice = EndpointSlice::default();
            slice.meta.key = named("slice", name);
            slice.meta.resource_version = version.to_string().into();
            slice.meta.labels =
                [(crate::object::well_known::SERVICE_NAME, format!("s{service}"))].into_iter().collect();
            index.apply(slice);
        }
        Event::NoSlice(name) => index.delete::<EndpointSlice>(&named("slice", name)),
        Event::Endpoints { name } => {
            let mut endpoints = Endpoints::default();
            endpoints.meta.key = named("s", name);
            index.apply(endpoints);
        }
        Event::NoEndpoints(name) => index.delete::<Endpoints>(&named("s", name)),
        Event::Namespace { version } => {
            let mut namespace = Namespace::default();
            namespace.meta.key = Key::cluster("n");
            namespace.meta.resource_version = version.to_string().into();
            index.apply(namespace);
        }
        Event::NoNamespace => index.delete::<Namespace>(&Key::cluster("n")),
    }
}

/// Everything a reader can see, in a fixed order.
fn contents(index: &Index) -> (Vec<ServiceView>, u32, usize, usize, usize) {
    let mut views: Vec<ServiceView> = index.views().iter().map(|view| ServiceView::clone(view)).collect();
    views.sort_by(|a, b| a.key.cmp(&b.key));
    (views, index.serial(), index.pods().len(), index.nodes().len(), index.namespaces().len())
}

/// Objects by kind, memberships by standing.
type Counted = (Vec<(&'static str, usize)>, Vec<(Standing, usize)>);

/// What is counted as it changes, and the same by a walk over everything.
fn counted(index: &Index) -> [Counted; 2] {
    let (views, slices) = (index.views(), index.keys::<EndpointSlice>().len());
    let walked = [
        index.namespaces().len(),
        index.nodes().len(),
        index.pods().len(),
        views.iter().filter(|view| view.service.is_some()).count(),
        views.iter().filter(|view| view.endpoints.is_some()).count(),
        slices,
    ];
    let objects = index.counts().iter().zip(walked).map(|((kind, _), count)| (*kind, count)).collect();
    let mut stand = Standing::ALL.map(|standing| (standing, 0));
    for view in &views {
        let families = view.service.as_ref().map(|service| service.slice_families()).unwrap_or_default();
        for member in view.members.iter() {
            let standing = member.standing(&families);
            stand.iter_mut().filter(|(known, _)| *known == standing).for_each(|(_, count)| *count += 1);
        }
    }
    [(index.counts().to_vec(), index.standings().to_vec()), (objects, stand.to_vec())]
}

/// The objects a sequence ends in, each once, by kind in the order given.
fn final_objects(events: &[Event]) -> Vec<Event> {
    let identity = |event: &Event| match event {
        Event::Service { name, .. } | Event::NoService(name) => (0, *name),
        Event::Pod { name, .. } | Event::NoPod(name) => (1, *name),
        Event::Node { name, .. } | Event::NoNode(name) => (2, *name),
        Event::Slice { name, .. } | Event::NoSlice(name) => (3, *name),
        Event::Endpoints { name } | Event::NoEndpoints(name) => (4, *name),
        Event::Namespace { .. } | Event::NoNamespace => (5, 0),
    };
    let last: std::collections::BTreeMap<_, _> =
        events.iter().map(|event| (identity(event), event.clone())).collect();
    last.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any order of events that ends in the same objects gives the same index.
    #[test]
    fn the_history_does_not_show(events in proptest::collection::vec(event(), 0..40), turned in any::<bool>()) {
        let lived = Index::new();
        events.iter().for_each(|event| play(&lived, event));
        let fresh = Index::new();
        let mut objects = final_objects(&events);
        if turned {
            objects.reverse();
        }
        objects.iter().for_each(|event| play(&fresh, event));
        prop_assert_eq!(contents(&lived), contents(&fresh));
        let [counts, walked] = counted(&lived);
        prop_assert_eq!(counts, walked);
    }

    /// A relist is a diff: what the list names stays, the rest goes, whatever was there before.
    #[test]
    fn a_relist_leaves_what_was_listed(
        before in proptest::collection::vec(event(), 0..30),
        pods in proptest::collection::btree_set((0..4_u8, 0..3_u8), 0..4),
    ) {
        let index = Index::new();
        before.iter().for_each(|event| play(&index, event));
        let mut listed = HashSet::new();
        for (name, app) in &pods {
            index.apply(pod(*name, *app, 0, true, false, false));
            listed.insert(named("p", *name));
        }
        let unlisted = index.keys::<Pod>().into_iter().filter(|key| !listed.contains(key));
        unlisted.for_each(|key| index.delete::<Pod>(&key));
        let keys: HashSet<Key> = index.pods().iter().map(|pod| pod.meta.key.clone()).collect();
        prop_assert_eq!(&keys, &listed);
        for view in index.views() {
            prop_assert!(view.members.iter().all(|member| listed.contains(&member.pod.meta.key)));
        }
    }

    /// A reader that takes changes now and then and reads what they name ends up with what there is.
    #[test]
    fn a_feed_tells_everything(events in proptest::collection::vec(event(), 0..40), every in 1..5_usize) {
        let index = Index::new();
        let feed = index.subscribe(Interest::default());
        let mut seen: std::collections::BTreeMap<Key, Arc<ServiceView>> = std::collections::BTreeMap::new();
        let mut read = |index: &Index| {
            for change in feed.take(usize::MAX) {
                if let ChangeKey::Service(key) = change.key {
                    match index.view(&key) {
                        Some(view) => seen.insert(key, view),
                        None => seen.remove(&key),
                    };
                }
            }
        };
        for (at, event) in events.iter().enumerate() {
            play(&index, event);
            if at % every == 0 {
                read(&index);
            }
        }
        read(&index);
        // Versions alone are not told; everything a reader acts on is.
        let told: Vec<_> = seen.into_values().map(|view| ServiceView::clone(&view)).collect();
        prop_assert_eq!(told, contents(&index).0);
    }
}

#[test]
fn urgency_says_what_happened_to_addresses() {
    let index = Index::new();
    play(&index, &Event::Node { name: 0, zone: 0 });
    play(&index, &Event::Service { name: 0, selector: Some(1), publish: false, version: 1 });
    let feed = index.subscribe(Interest::default());
    feed.take(usize::MAX);
    let steps = [
        (pod(0, 1, 0, false, false, false), Some(Urgency::Edit)),
        (pod(0, 1, 0, true, false, false), Some(Urgency::Addition)),
        (pod(0, 1, 0, true, false, false), None),
        (pod(0, 1, 0, true, true, false), Some(Urgency::Removal)),
        (pod(0, 2, 0, true, true, false), Some(Urgency::Removal)),
        (pod(0, 2, 0, false, true, false), None),
    ];
    for (pod, wanted) in steps {
        index.apply(pod.clone());
        let told = feed.take(usize::MAX).first().map(|change| change.urgency);
        assert_eq!(told, wanted, "{pod:?}");
    }
}

#[test]
fn a_late_node_lets_its_pods_in() {
    let index = Index::new();
    play(&index, &Event::Service { name: 0, selector: Some(1), publish: false, version: 1 });
    play(&index, &Event::Pod { name: 0, app: 1, node: 0, ready: true, deleting: false, finished: false });
    let published = |source| index.view(&named("s", 0)).unwrap().published(source).len();
    assert_eq!(published(Source::Memberships), 0);
    play(&index, &Event::Node { name: 0, zone: 1 });
    assert_eq!(published(Source::Memberships), 1);
    assert_eq!(published(Source::Slices), 0);
    assert_eq!(index.view(&named("s", 0)).unwrap().members[0].zone.as_deref(), Some("z1"));
    play(&index, &Event::NoNode(0));
    assert_eq!(published(Source::Memberships), 0);
}

/// A Service that asks for another family has its members counted anew, though they are the same.
#[test]
fn standings_follow_the_services_families() {
    let index = Index::new();
    play(&index, &Event::Node { name: 0, zone: 0 });
    let mut of_ipv4 = service(0, Some(1), false, 1);
    of_ipv4.families.push(crate::object::Family::V4);
    index.apply(of_ipv4.clone());
    index.apply(pod(0, 1, 0, true, false, false));
    let count = |wanted| index.standings().into_iter().find(|(standing, _)| *standing == wanted).unwrap().1;
    assert_eq!((count(Standing::Ready), count(Standing::WrongFamily)), (1, 0));
    let mut of_ipv6 = of_ipv4;
    of_ipv6.families[0] = crate::object::Family::V6;
    index.apply(of_ipv6);
    assert_eq!((count(Standing::Ready), count(Standing::WrongFamily)), (0, 1));
    index.delete::<Service>(&named("s", 0));
    assert_eq!(index.standings().iter().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn the_newest_version_of_a_kind_stays_when_its_object_goes() {
    let index = Index::new();
    let slice = |version: &str| {
        let mut slice = EndpointSlice::default();
        slice.meta.key = Key::new("n", "s-1");
        slice.meta.resource_version = version.into();
        slice
    };
    index.apply(slice("7"));
    index.apply(slice("5"));
    assert_eq!(index.newest::<EndpointSlice>(), 7);
    index.delete::<EndpointSlice>(&Key::new("n", "s-1"));
    assert_eq!((index.newest::<EndpointSlice>(), index.newest::<Service>()), (7, 0));
}
