use std::{collections::BTreeMap, thread};

use callsign_shared::{
    index::Source,
    object::{EndpointSlice, Namespace, Node, Pod, Service},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, apply, pod};

/// Everything a zone answers from.
#[derive(Debug, PartialEq)]
struct Snapshot {
    services: BTreeMap<Text, ServiceNames>,
    reverse: BTreeMap<IpAddr, Vec<(Option<String>, Key)>>,
    namespaces: BTreeMap<ObjectName, NamespaceState>,
    clients: BTreeMap<IpAddr, Vec<clients::Holder>>,
    name_servers: Vec<NameServer>,
    serial: u32,
}

impl Snapshot {
    fn of(zone: &Zone) -> Self {
        Self {
            services: zone
                .services
                .all()
                .iter()
                .map(|names| (service_key(&names.key), names.as_ref().clone()))
                .collect(),
            reverse: zone.reverse.snapshot(&zone.services),
            namespaces: zone.namespaces.iter().map(|e| (e.key().clone(), *e.value())).collect(),
            clients: zone.clients.snapshot(),
            name_servers: zone.name_servers().to_vec(),
            serial: zone.serial(),
        }
    }
}

/// Something that happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Apply(Value),
    Delete(&'static str, String),
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn ips() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::"])
}

fn labels() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"app": "x"}),
        json!({"app": "y", "team": "core"}),
        json!({"team": "core"}),
    ])
}

fn ports() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!([{"port": 80, "targetPort": 80}]),
        json!([{"name": "web", "port": 80, "targetPort": "web"}, {"name": "udp", "port": 53, "protocol": "UDP"}]),
    ])
}

fn services() -> impl Strategy<Value = Value> {
    let spec = prop_oneof![
        (ips(), ports())
            .prop_map(|(ip, ports)| json!({"clusterIP": ip, "selector": {"app": "x"}, "ports": ports})),
        (ips(), ports()).prop_map(|(ip, ports)| json!({"clusterIP": ip, "ports": ports})),
        ports().prop_map(|ports| json!({"clusterIP": "None", "selector": {"app": "x"}, "ports": ports})),
        ports()
            .prop_map(|ports| json!({"clusterIP": "None", "ports": ports, "publishNotReadyAddresses": true})),
        Just(json!({"type": "ExternalName", "externalName": "a.example.org"})),
        Just(json!({})),
    ];
    (names(), spec, labels()).prop_map(|(name, spec, labels)| {
        json!({"kind": "Service", "metadata": {"name": name, "namespace": "ns", "labels": labels}, "spec": spec})
    })
}

fn pods() -> impl Strategy<Value = Value> {
    let ready = prop::sample::select(vec!["True", "False"]);
    let hostname = prop::option::of(prop::sample::select(vec!["h", "a.b", "H"]));
    let phase = prop::sample::select(vec!["Running", "Running", "Succeeded"]);
    (names(), ips(), labels(), ready, hostname, phase).prop_map(
        |(name, ip, labels, ready, hostname, phase)| {
            json!({
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "ns", "labels": labels},
                "spec": {"nodeName": "node", "hostname": hostname, "subdomain": "a",
                         "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
                "status": {"phase": phase, "podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
            })
        },
    )
}

fn slices() -> impl Strategy<Value = Value> {
    let managers = vec!["hand", "endpointslice-controller.k8s.io"];
    (names(), names(), ips(), prop::sample::select(managers), any::<bool>(), labels()).prop_map(
        |(name, service, ip, manager, fqdn, mut labels)| {
            labels["kubernetes.io/service-name"] = json!(service);
            labels["endpointslice.kubernetes.io/managed-by"] = json!(manager);
            let (kind, address) = match (fqdn, ip.contains(':')) {
                (true, _) => ("FQDN", "db.example.com"),
                (false, true) => ("IPv6", ip),
                (false, false) => ("IPv4", ip),
            };
            json!({
                "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": "ns", "labels": labels},
                "addressType": kind,
                "endpoints": [{"addresses": [address], "hostname": "one"}, {"addresses": [address]}],
                "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
            })
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    let kinds = prop::sample::select(vec!["Service", "Pod", "EndpointSlice"]);
    let namespace = labels()
        .prop_map(|labels| json!({"kind": "Namespace", "metadata": {"name": "ns", "labels": labels}}))
        .prop_map(Event::Apply);
    let node = json!({"kind": "Node", "metadata": {"name": "node"}});
    prop_oneof![
        4 => services().prop_map(Event::Apply),
        6 => pods().prop_map(Event::Apply),
        4 => slices().prop_map(Event::Apply),
        4 => (kinds, names()).prop_map(|(kind, name)| Event::Delete(kind, name)),
        1 => namespace,
        1 => Just(Event::Delete("Namespace", "ns".into())),
        2 => Just(Event::Apply(node)),
        1 => Just(Event::Delete("Node", "node".into())),
    ]
}

fn configs() -> impl Strategy<Value = ZoneConfig> {
    let selector = Selector(vec![Requirement::Exists("team".into())]);
    let flags = prop::array::uniform6(any::<bool>());
    let pods = prop::sample::select(vec![Pods::Disabled, Pods::Insecure, Pods::Verified]);
    (flags, pods).prop_map(
        move |([memberships, pod_names, endpoints, ignore, labels, namespace_labels], pods)| {
            let mut config = ZoneConfig::cluster("cluster.local").unwrap();
            config.source = if memberships { Source::Memberships } else { Source::Slices };
            config.endpoint_pod_names = pod_names;
            config.endpoints = endpoints;
            config.ignore_empty_service = ignore;
            config.labels = labels.then(|| selector.clone());
            config.namespace_labels = namespace_labels.then(|| selector.clone());
            config.pods = pods;
            config.own_addresses = vec!["10.0.0.1".parse().unwrap()];
            config
        },
    )
}

fn happen(index: &Index, event: &Event, version: usize) {
    match event {
        Event::Apply(object) => {
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            apply(index, &object);
        }
        Event::Delete("Service", name) => index.delete::<Service>(&Key::new("ns", name)),
        Event::Delete("Pod", name) => index.delete::<Pod>(&Key::new("ns", name)),
        Event::Delete("EndpointSlice", name) => index.delete::<EndpointSlice>(&Key::new("ns", name)),
        Event::Delete("Namespace", name) => index.delete::<Namespace>(&Key::cluster(name)),
        Event::Delete("Node", name) => index.delete::<Node>(&Key::cluster(name)),
        Event::Delete(kind, _) => panic!("unknown kind {kind}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever portions the changes are taken in: the zone is that of the index.
    #[test]
    fn incremental_is_from_scratch(
        config in configs(),
        events in prop::collection::vec((events(), 0..4_usize), 1..40),
    ) {
        let index = Arc::new(Index::new());
        let zone = Zone::new(config.clone(), Arc::clone(&index));
        let feed = index.subscribe(zone.interest());
        for (version, (event, take)) in events.iter().enumerate() {
            happen(&index, event, version);
            zone.apply(&feed.take(*take));
        }
        zone.apply(&feed.take(usize::MAX));
        prop_assert_eq!(Snapshot::of(&zone), Snapshot::of(&Zone::new(config, index)));
    }
}

fn find<R>(zone: &Zone, name: &str, see: impl FnOnce(Place<'_>) -> R) -> R {
    zone.look(&Name::from_ascii(name).unwrap(), |found| match found {
        Found::In { place, .. } => see(place),
        Found::Outside => panic!("{name} is outside"),
    })
}

/// While endpoints come and go, what is there all the time is found all the time.
#[test]
fn what_stays_never_disappears() {
    let index = testing::index();
    let zone = Zone::new(testing::zone_config(), Arc::clone(&index));
    let feed = index.subscribe(zone.interest());
    let stays: IpAddr = "10.0.0.1".parse().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0_u64;
                    while !done.load(Ordering::Relaxed) {
                        find(&zone, "heads.ns.svc.cluster.local.", |place| {
                            let Place::Service(names) = place else { panic!("the Service disappeared") };
                            assert!(names.own.v4().iter().any(|ip| IpAddr::V4(*ip) == stays));
                            // One consistent value: every SRV leads to a host that is there.
                            for (target, _) in names.own.srv().records() {
                                let Target::Host(at) = target else { panic!("not a host") };
                                assert!(names.hosts.get(at as usize).is_some());
                            }
                        });
                        find(&zone, "1.0.0.10.in-addr.arpa.", |place| {
                            let Place::Reverse(pointers) = place else {
                                panic!("the PTR record disappeared")
                            };
                            assert!(!pointers.is_empty());
                        });
                        assert!(find(&zone, "0.0.10.in-addr.arpa.", |place| matches!(place, Place::Empty)));
                        seen += 1;
                    }
                    seen
                })
            })
            .collect();
        for round in 0..1500 {
            let ip = format!("10.0.0.{}", 2 + round % 200);
            apply(&index, &pod("heads-2", "heads", &ip));
            // A second Service selects the steady pod every other round.
            let labels = if round % 2 == 0 { "heads" } else { "none" };
            let spec = json!({"clusterIP": "None", "selector": {"app": labels}});
            apply(&index, &testing::service("other", spec));
            zone.apply(&feed.take(usize::MAX));
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn a_change_touches_only_its_own_names() {
    let index = testing::index();
    let zone = Zone::new(testing::zone_config(), Arc::clone(&index));
    let feed = index.subscribe(zone.interest());
    feed.take(usize::MAX);
    let before = zone.services.get("\u{3}big\u{2}ns").unwrap();
    apply(&index, &pod("heads-2", "heads", "10.0.0.77"));
    let changes = feed.take(usize::MAX);
    let keys: Vec<_> = changes.iter().map(|change| change.key.clone()).collect();
    assert_eq!(keys, [ChangeKey::Service(Key::new("ns", "heads"))]);
    zone.apply(&changes);
    let after = zone.services.get("\u{3}big\u{2}ns").unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    assert!(find(&zone, "10-0-0-77.heads.ns.svc.cluster.local.", |place| matches!(place, Place::Host(..))));
    assert!(find(&zone, "10-0-0-2.heads.ns.svc.cluster.local.", |place| matches!(place, Place::Nothing)));
}

#[test]
fn the_longest_zone_wins_and_outside_is_outside() {
    let mut config = testing::zone_config();
    config.zones = ZoneConfig::zones(["local", "cluster.local", "10.0.0.0/24"]).unwrap().zones;
    let zone = Zone::new(config, testing::index());
    let labels = |name: &str| {
        zone.look(&Name::from_ascii(name).unwrap(), |found| match found {
            Found::In { zone_labels, .. } => Some(zone_labels),
            Found::Outside => None,
        })
    };
    assert_eq!(labels("vip.ns.svc.CLUSTER.local."), Some(2));
    assert_eq!(labels("vip.ns.svc.local."), Some(1));
    assert_eq!(labels("1.0.0.10.in-addr.arpa."), Some(5));
    assert_eq!(labels("1.1.0.10.in-addr.arpa."), None);
    assert_eq!(labels("xcluster.example."), None);
    assert_eq!(labels("."), None);
}

#[test]
fn a_namespace_exists_while_it_or_a_service_of_it_does() {
    let index = testing::index();
    let zone = Zone::new(testing::zone_config(), Arc::clone(&index));
    let feed = index.subscribe(zone.interest());
    let exists = || {
        zone.apply(&feed.take(usize::MAX));
        ["empty", "ns"].map(|name| {
            find(&zone, &format!("{name}.svc.cluster.local."), |place| matches!(place, Place::Empty))
        })
    };
    assert_eq!(exists(), [true, true]);
    index.delete::<Namespace>(&Key::cluster("empty"));
    index.delete::<Namespace>(&Key::cluster("ns"));
    assert_eq!(exists(), [false, true]);
    for view in index.views() {
        index.delete::<Service>(&view.key);
    }
    assert_eq!(exists(), [false, false]);
}

#[test]
fn verified_pods_are_found_by_their_first_address_in_their_namespace() {
    let index = testing::index();
    let config = ZoneConfig { pods: Pods::Verified, ..testing::zone_config() };
    let zone = Zone::new(config, Arc::clone(&index));
    let feed = index.subscribe(zone.interest());
    assert!(find(&zone, "10-0-0-1.ns.pod.cluster.local.", |place| matches!(place, Place::Pod(_))));
    assert!(find(&zone, "10-0-0-1.empty.pod.cluster.local.", |place| matches!(place, Place::Nothing)));
    assert!(find(&zone, "10-9-9-9.ns.pod.cluster.local.", |place| matches!(place, Place::Nothing)));
    index.delete::<Pod>(&Key::new("ns", "heads-1"));
    zone.apply(&feed.take(usize::MAX));
    assert!(find(&zone, "10-0-0-1.ns.pod.cluster.local.", |place| matches!(place, Place::Nothing)));
}

#[test]
fn namespace_labels_hide_names_but_not_ptr_records() {
    let index = testing::index();
    let team = Selector(vec![Requirement::In("team".into(), vec!["core".into()])]);
    let config = ZoneConfig { namespace_labels: Some(team), ..testing::zone_config() };
    let zone = Zone::new(config, Arc::clone(&index));
    let feed = index.subscribe(zone.interest());
    let name = "vip.ns.svc.cluster.local.";
    assert!(find(&zone, name, |place| matches!(place, Place::Nothing)));
    assert!(find(&zone, "10-0-0-1.ns.pod.cluster.local.", |place| matches!(place, Place::Nothing)));
    // As with CoreDNS, whose reverse lookups do not look at the labels.
    assert!(find(&zone, "1.0.96.10.in-addr.arpa.", |place| matches!(place, Place::Reverse(_))));
    apply(&index, &json!({"kind": "Namespace", "metadata": {"name": "ns", "labels": {"team": "core"}}}));
    zone.apply(&feed.take(usize::MAX));
    assert!(find(&zone, name, |place| matches!(place, Place::Service(_))));
}

#[test]
fn the_server_is_a_service_or_itself() {
    let servers = |own: &[&str]| {
        let own = own.iter().map(|ip| ip.parse().unwrap()).collect();
        let zone = Zone::new(ZoneConfig { own_addresses: own, ..testing::zone_config() }, testing::index());
        let name = |server: &NameServer| match &server.name {
            NameServerName::Default => "ns.dns".to_owned(),
            NameServerName::Service { service, host: None } => service.to_string(),
            NameServerName::Service { service, host: Some(host) } => format!("{host} of {service}"),
        };
        zone.name_servers()
            .iter()
            .map(|server| (name(server), server.v4.len(), server.v6.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(servers(&[]), []);
    assert_eq!(servers(&["127.0.0.1", "::1"]), [("ns.dns".to_owned(), 1, 1)]);
    let heads: Vec<_> = (1..=3).map(|at| (format!("10-0-0-{at} of ns/heads"), 1, 0)).collect();
    assert_eq!(servers(&["10.0.0.2", "::1"]), heads);
}

#[test]
fn an_endpoint_is_named_by_hostname_then_pod_then_address() {
    let labels = |pod_names: bool, hostname: Value, pod: &str, ip: &str| {
        let index = Index::new();
        apply(&index, &testing::service("s", json!({"clusterIP": "None"})));
        let slice = json!({
            "kind": "EndpointSlice",
            "metadata": {"name": "s", "namespace": "ns", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": if ip.contains(':') { "IPv6" } else { "IPv4" },
            "endpoints": [{"addresses": [ip], "hostname": hostname, "targetRef": {"kind": "Pod", "name": pod}}],
        });
        apply(&index, &slice);
        let config =
            ZoneConfig { endpoint_pod_names: pod_names, source: Source::Slices, ..testing::zone_config() };
        let zone = Zone::new(config, Arc::new(index));
        find(&zone, "s.ns.svc.cluster.local.", |place| {
            let Place::Service(names) = place else { panic!("no such Service") };
            names.hosts.iter().map(|host| host.label().to_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(labels(true, json!("web-0"), "pod", "10.0.0.1"), ["web-0"]);
    assert_eq!(labels(true, Value::Null, "pod", "10.0.0.1"), ["pod"]);
    assert_eq!(labels(false, Value::Null, "pod", "10.0.0.1"), ["10-0-0-1"]);
    // No label: it would be several.
    assert_eq!(labels(true, Value::Null, "a.b", "10.0.0.1"), ["10-0-0-1"]);
    assert_eq!(labels(true, Value::Null, &"p".repeat(64), "10.0.0.1"), ["10-0-0-1"]);
    // A label must not end in a dash.
    assert_eq!(labels(false, Value::Null, "pod", "fd00::"), ["fd00--0"]);
    assert_eq!(labels(false, Value::Null, "pod", "fd00::1"), ["fd00--1"]);
}

/// Who asks is said only where it is certain: never a pod of a node's network, never one of two that could be meant.
#[test]
fn a_client_is_a_pod_that_has_its_address_for_itself() {
    let index = Arc::new(Index::new());
    let config = ZoneConfig { pods: Pods::Verified, ..testing::zone_config() };
    let zone = Zone::new(config, Arc::clone(&index));
    let feed = index.subscribe(zone.interest());
    let who = |ip: &str| {
        zone.apply(&feed.take(usize::MAX));
        zone.client(ip.parse().unwrap()).map(|pod| pod.meta.key.to_string())
    };
    let mut old = pod("old", "x", "10.0.0.1");
    old["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
    apply(&index, &old);
    assert_eq!(who("10.0.0.1").as_deref(), Some("ns/old"));
    assert_eq!(who("fd00::1").as_deref(), Some("ns/old"));
    assert_eq!(who("10.0.0.2"), None);
    // The address is another's before the watch says that the first is gone.
    let mut new = pod("new", "x", "10.0.0.1");
    new["metadata"]["namespace"] = json!("other");
    apply(&index, &new);
    assert_eq!(who("10.0.0.1"), None);
    old["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    apply(&index, &old);
    assert_eq!(who("10.0.0.1").as_deref(), Some("other/new"));
    index.delete::<Pod>(&Key::new("other", "new"));
    assert_eq!(who("10.0.0.1").as_deref(), Some("ns/old"));
    old["status"]["phase"] = json!("Succeeded");
    apply(&index, &old);
    assert_eq!(who("10.0.0.1"), None);
    let mut agent = pod("agent", "x", "10.0.0.9");
    agent["spec"]["hostNetwork"] = json!(true);
    apply(&index, &agent);
    assert_eq!(who("10.0.0.9"), None);
}

#[test]
fn ports_may_be_left_open() {
    let index = testing::index();
    let unnamed =
        json!([{"port": 80}, {"name": "web", "port": 81}, {"name": "web", "port": 82, "protocol": "UDP"}]);
    apply(&index, &testing::service("mix", json!({"clusterIP": "10.96.0.7", "ports": unnamed})));
    let zone = Zone::new(testing::zone_config(), index);
    let ports = |name: &str| -> Vec<u16> {
        find(&zone, &format!("{name}.ns.svc.cluster.local."), |place| match place {
            Place::Service(names) => names.own.srv().records().map(|(_, port)| port).collect(),
            Place::Ports(_, node) => node.srv().records().map(|(_, port)| port).collect(),
            Place::Nothing => vec![],
            place => panic!("{name}: {place:?}"),
        })
    };
    assert_eq!(ports("_._.mix"), [80, 81, 82]);
    assert_eq!(ports("_._tcp.mix"), [80, 81]);
    assert_eq!(ports("_._UDP.mix"), [82]);
    assert!(ports("_._sctp.mix").is_empty());
    assert_eq!(ports("_web._.mix"), [81, 82]);
    assert_eq!(ports("web._.mix"), [81, 82]);
    assert!(ports("_no._.mix").is_empty());
    assert_eq!(ports("_web._.heads"), [8080; 3]);
    assert_eq!(ports("_._tcp.heads"), [8080; 3]);
    assert!(ports("_._.out").is_empty());
    assert!(ports("_._.nosuch").is_empty());
    // What is kept is not kept longer than what it was made of.
    let udp = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "UDP"}]});
    apply(&zone.index, &testing::service("mix", udp));
    assert!(ports("_._tcp.mix").is_empty());
    assert_eq!(ports("_._udp.mix"), [80]);
    apply(&zone.index, &pod("heads-9", "heads", "10.0.0.9"));
    assert_eq!(ports("_._tcp.heads"), [8080; 4]);
}
