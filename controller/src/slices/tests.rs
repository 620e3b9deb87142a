//! Plans of slices, through a model of a cluster.

use std::collections::BTreeSet;

use callsign_shared::Key;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    plan::{Limits, Write},
    testing::{Cluster, node, pod, service},
};

const SMALL: Limits = Limits { endpoints_per_slice: 4, mirrored_per_subset: 3 };

fn limits(endpoints_per_slice: usize) -> Limits {
    Limits { endpoints_per_slice, ..Limits::default() }
}

/// A cluster with Service `n/web` and ready pods `p<number>` behind it.
fn cluster(pods: std::ops::Range<usize>) -> Cluster {
    let cluster = Cluster::default();
    cluster.apply(node("node-a", "zone-a"));
    cluster.apply(service("n", "web"));
    add(&cluster, pods);
    cluster
}

fn add(cluster: &Cluster, pods: std::ops::Range<usize>) {
    for number in pods {
        cluster.apply(pod(
            "n",
            &format!("p{number:03}"),
            "web",
            &format!("10.0.{}.{}", number / 250, number % 250),
        ));
    }
}

fn remove(cluster: &Cluster, pods: impl IntoIterator<Item = usize>) {
    for number in pods {
        cluster.index.delete::<callsign_shared::object::Pod>(&Key::new("n", format!("p{number:03}")));
    }
}

/// Puts slices of given sizes there, as an earlier controller left them: pods in their order.
fn prefill(cluster: &Cluster, sizes: &[usize], most: usize) {
    let mut from = 0;
    let uid = cluster.get("Service", &Key::new("n", "web")).unwrap()["metadata"]["uid"].clone();
    for (number, size) in sizes.iter().enumerate() {
        let endpoint = |number: usize| {
            let pod = cluster.index.pod(&Key::new("n", format!("p{number:03}"))).unwrap();
            json!({"addresses": [pod.ips[0]], "nodeName": "node-a", "zone": "zone-a",
                   "conditions": {"ready": true, "serving": true, "terminating": false},
                   "targetRef": {"kind": "Pod", "namespace": "n", "name": pod.meta.key.name, "uid": pod.meta.uid}})
        };
        assert!(*size <= most);
        cluster.apply(json!({
            "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "metadata": {"name": format!("web-old{number}"), "namespace": "n",
                         "labels": {"kubernetes.io/service-name": "web",
                                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid,
                                              "controller": true, "blockOwnerDeletion": true}]},
            "endpoints": (from..from + size).map(endpoint).collect::<Vec<_>>(),
        }));
        from += size;
    }
}

fn verbs(cluster: &Cluster, limits: Limits) -> Vec<&'static str> {
    let (plan, _) = cluster.plan(&cluster.view("n", "web"), limits);
    plan.writes.iter().map(Write::verb).collect()
}

fn sizes(cluster: &Cluster) -> Vec<usize> {
    let mut sizes: Vec<_> =
        cluster.view("n", "web").slices.iter().map(|slice| slice.endpoints.len()).collect();
    sizes.sort_unstable();
    sizes
}

#[test]
fn pods_beyond_a_slice_make_another() {
    let cluster = cluster(0..250);
    assert_eq!(verbs(&cluster, Limits::default()), ["create"; 3]);
    cluster.settle(Limits::default());
    assert_eq!(sizes(&cluster), [50, 100, 100]);
}

#[test]
fn slices_that_are_written_are_filled_first() {
    // One pod of the fullest is gone: it is written anyway and takes what fits, the rest goes to the other.
    let cluster = cluster(0..100);
    prefill(&cluster, &[20, 80], 100);
    remove(&cluster, [0, 20]);
    add(&cluster, 100..115);
    assert_eq!(verbs(&cluster, Limits::default()), ["update", "update"]);
    cluster.settle(Limits::default());
    assert_eq!(sizes(&cluster), [19, 94]);
}

#[test]
fn what_is_left_goes_to_one_untouched_slice_that_takes_all() {
    // As upstream's TestReconcileEndpointSlicesSomePreexisting and …WorseAllocation.
    let fits = cluster(0..123);
    prefill(&fits, &[62, 61], 100);
    add(&fits, 123..250);
    assert_eq!(verbs(&fits, Limits::default()), ["create", "update"]);
    fits.settle(Limits::default());
    assert_eq!(sizes(&fits), [61, 89, 100]);

    let too_full = cluster(0..148);
    prefill(&too_full, &[74, 74], 100);
    add(&too_full, 148..300);
    assert_eq!(verbs(&too_full, Limits::default()), ["create", "create"]);
    too_full.settle(Limits::default());
    assert_eq!(sizes(&too_full), [52, 74, 74, 100]);
}

#[test]
fn a_change_of_ports_uses_slices_again_and_keeps_what_is_others() {
    let cluster = cluster(0..10);
    cluster.settle(SMALL);
    let first = cluster.view("n", "web").slices[0].meta.key.clone();
    let mut foreign = cluster.get("EndpointSlice", &first).unwrap();
    foreign["metadata"]["annotations"]["foreign"] = json!("kept");
    foreign["metadata"]["finalizers"] = json!(["example.com/kept"]);
    cluster.replace("EndpointSlice", &first, foreign).unwrap();

    let mut changed = service("n", "web");
    changed["spec"]["ports"][0]["port"] = json!(8080);
    cluster.apply(changed);
    assert_eq!(verbs(&cluster, SMALL), ["update"; 3]);
    cluster.settle(SMALL);
    let slices = cluster.view("n", "web").slices.clone();
    assert!(slices.iter().all(|slice| slice.ports.as_ref().unwrap()[0].port == Some(8080)));
    let kept = slices.iter().find(|slice| slice.meta.key == first).unwrap();
    assert_eq!(kept.annotations.get("foreign").map(|v| v.as_str()), Some("kept"));
    assert_eq!(kept.finalizers, ["example.com/kept"]);
}

#[test]
fn the_last_pod_leaves_an_empty_slice_of_the_same_name() {
    let cluster = cluster(0..1);
    cluster.settle(Limits::default());
    let name = cluster.view("n", "web").slices[0].meta.key.clone();
    remove(&cluster, [0]);
    assert_eq!(verbs(&cluster, Limits::default()), ["update"]);
    cluster.settle(Limits::default());
    let slices = cluster.view("n", "web").slices.clone();
    assert_eq!((slices.len(), &slices[0].meta.key), (1, &name));
    assert!(slices[0].endpoints.is_empty() && slices[0].ports.is_none());
}

/// Somebody took all endpoints out of a slice, and they have found room elsewhere.
#[test]
fn an_empty_slice_beside_others_goes() {
    let cluster = cluster(0..2);
    prefill(&cluster, &[2, 0], 4);
    assert_eq!(verbs(&cluster, SMALL), ["delete"]);
    cluster.settle(SMALL);
    assert_eq!(sizes(&cluster), [2]);
}

#[test]
fn where_an_endpoint_goes_is_written_before_where_it_was() {
    let cluster = cluster(0..0);
    let mut named = service("n", "web");
    named["spec"]["ports"][0]["targetPort"] = json!("web");
    cluster.apply(named);
    let with_port = |number: usize, port: usize| {
        let mut pod = pod("n", &format!("p{number}"), "web", &format!("10.0.0.{number}"));
        pod["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
        pod
    };
    for (number, port) in [(0, 80), (1, 80), (2, 90), (3, 70)] {
        cluster.apply(with_port(number, port));
    }
    cluster.settle(SMALL);
    // Pod 0 moves from 80 to 90, pod 3 from 70 to 60: a loss, a gain, and one slice that is used again.
    for (number, port) in [(0, 90), (3, 60)] {
        let key = Key::new("n", format!("p{number}"));
        let mut moved = with_port(number, port);
        moved["metadata"]["uid"] = cluster.get("Pod", &key).unwrap()["metadata"]["uid"].clone();
        cluster.replace("Pod", &key, moved).unwrap();
    }
    let (plan, _) = cluster.plan(&cluster.view("n", "web"), SMALL);
    let ports = plan.writes.iter().map(|write| match write {
        Write::Update { new, .. } => new.ports.as_ref().unwrap()[0].port.unwrap(),
        other => panic!("{other:?}"),
    });
    let ports: Vec<_> = ports.collect();
    assert_eq!(ports, [60, 90, 80]);
    cluster.settle(SMALL);
}

#[test]
fn labels_of_the_service_reach_every_slice_and_drift_is_put_right() {
    let cluster = cluster(0..6);
    cluster.settle(SMALL);
    let mut labelled = service("n", "web");
    labelled["metadata"]["labels"] = json!({"team": "x", "kubernetes.io/service-name": "not-mine"});
    cluster.apply(labelled);
    assert_eq!(verbs(&cluster, SMALL), ["update", "update"]);
    cluster.settle(SMALL);
    let key = cluster.view("n", "web").slices[0].meta.key.clone();
    let mut drifted = cluster.get("EndpointSlice", &key).unwrap();
    drifted["metadata"]["labels"]["team"] = json!("y");
    cluster.replace("EndpointSlice", &key, drifted).unwrap();
    assert_eq!(verbs(&cluster, SMALL), ["update"]);
    cluster.settle(SMALL);
}

#[test]
fn slices_of_an_earlier_service_go_and_foreign_ones_stay() {
    let cluster = cluster(0..2);
    cluster.settle(Limits::default());
    let key = cluster.view("n", "web").slices[0].meta.key.clone();
    for (name, by) in [("foreign", "somebody"), ("nobodys", "")] {
        let mut slice = cluster.get("EndpointSlice", &key).unwrap();
        slice["metadata"]["name"] = json!(name);
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = json!(by);
        cluster.apply(slice);
    }
    cluster.delete("Service", &Key::new("n", "web"), None).unwrap();
    assert_eq!(verbs(&cluster, Limits::default()), [""; 0], "the garbage collector's");
    cluster.apply(service("n", "web"));
    assert_eq!(verbs(&cluster, Limits::default()), ["create", "delete"]);
    cluster.settle(Limits::default());
    assert_eq!(cluster.view("n", "web").slices.len(), 3);
}

#[test]
fn a_service_on_its_way_out_gets_no_new_slices() {
    let cluster = cluster(0..6);
    let mut going = cluster.get("Service", &Key::new("n", "web")).unwrap();
    going["metadata"]["finalizers"] = json!(["x"]);
    cluster.replace("Service", &Key::new("n", "web"), going).unwrap();
    cluster.delete("Service", &Key::new("n", "web"), None).unwrap();
    let (slices, endpoints) = cluster.plan(&cluster.view("n", "web"), SMALL);
    assert_eq!((slices.writes, endpoints.writes), (vec![], vec![]));
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_being_deleted() {
    let namespace = |deleted: Value| {
        let metadata = json!({"name": "n", "finalizers": ["x"], "deletionTimestamp": deleted});
        json!({"kind": "Namespace", "metadata": metadata})
    };
    let cluster = cluster(0..6);
    cluster.apply(json!({"kind": "Service", "metadata": {"name": "by-hand", "namespace": "n"}, "spec": {}}));
    cluster.apply(json!({"kind": "Endpoints", "metadata": {"name": "by-hand", "namespace": "n"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]}));
    cluster.apply(namespace(json!("2026-01-01T00:00:00Z")));
    assert_eq!(cluster.round(SMALL), 0);
    cluster.index.delete::<callsign_shared::object::Namespace>(&Key::new("", "n"));
    assert_eq!(cluster.settle(SMALL), 4, "two slices, Endpoints, a mirrored slice");
    // What is there goes on being kept up to date.
    let ending = namespace(json!("2026-01-01T00:00:00Z")).to_string();
    cluster.index.apply(
        <callsign_shared::object::Namespace as callsign_shared::object::Decode>::decode(&ending).unwrap(),
    );
    remove(&cluster, 0..1);
    add(&cluster, 6..20);
    assert_eq!(verbs(&cluster, SMALL), ["update", "update"], "and the Endpoints");
}

/// The API allows both; upstream tells endpoints of a mirrored slice apart by address, hostname and the target's name.
#[test]
fn mirrored_addresses_that_differ_in_the_uid_of_their_target_are_one() {
    let cluster = Cluster::default();
    cluster.apply(json!({"kind": "Service", "metadata": {"name": "web", "namespace": "n"}, "spec": {}}));
    let at = |name: &str, uid: &str| json!({"ip": "192.0.2.1", "targetRef": {"kind": "Pod", "namespace": "n", "name": name, "uid": uid}});
    cluster.apply(json!({"kind": "Endpoints", "metadata": {"name": "web", "namespace": "n"}, "subsets": [
        {"addresses": [at("a", "1"), at("a", "2"), at("b", "3")], "notReadyAddresses": [at("b", "4")]}]}));
    cluster.settle(Limits::default());
    let slices = cluster.all("EndpointSlice");
    let listed = |endpoint: &Value| {
        (endpoint["targetRef"]["uid"].as_str().unwrap().to_owned(), endpoint["conditions"]["ready"] == true)
    };
    let listed: Vec<_> = slices[0]["endpoints"].as_array().unwrap().iter().map(listed).collect();
    assert_eq!(listed, [("2".to_owned(), true), ("4".to_owned(), false)]);
}

#[test]
fn a_selector_that_is_removed_takes_its_objects_along() {
    for change in [json!({"selector": null}), json!({"type": "ExternalName", "externalName": "a.example"})] {
        let cluster = cluster(0..2);
        cluster.settle(Limits::default());
        let key = Key::new("n", "web");
        let mut changed = cluster.get("Service", &key).unwrap();
        for (field, value) in change.as_object().unwrap() {
            changed["spec"][field] = value.clone();
        }
        cluster.replace("Service", &key, changed).unwrap();
        assert_eq!(cluster.settle(Limits::default()), 2, "one slice and the Endpoints");
        assert!(cluster.all("EndpointSlice").is_empty() && cluster.all("Endpoints").is_empty());
    }
}

#[test]
fn endpoints_that_a_person_took_over_are_mirrored_and_taken_back() {
    let cluster = cluster(0..2);
    cluster.settle(Limits::default());
    let key = Key::new("n", "web");
    let mut by_hand = cluster.get("Endpoints", &key).unwrap();
    by_hand["subsets"] = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    let mut changed = cluster.get("Service", &key).unwrap();
    changed["spec"]["selector"] = Value::Null;
    cluster.replace("Service", &key, changed).unwrap();
    cluster.replace("Endpoints", &key, by_hand).unwrap();
    cluster.settle(Limits::default());
    let mirrors = |slice: &Value| slice["metadata"]["ownerReferences"][0]["kind"] == "Endpoints";
    assert!(cluster.all("EndpointSlice").iter().all(mirrors) && cluster.all("EndpointSlice").len() == 1);

    cluster.apply(service("n", "web"));
    cluster.settle(Limits::default());
    assert!(!cluster.all("EndpointSlice").iter().any(mirrors) && cluster.all("EndpointSlice").len() == 1);
}

#[test]
fn a_family_the_service_no_longer_has_goes() {
    let cluster = cluster(0..2);
    let mut dual = service("n", "web");
    dual["spec"]["clusterIPs"] = json!(["10.96.0.9", "fd00::9"]);
    dual["spec"]["clusterIP"] = json!("10.96.0.9");
    cluster.apply(dual);
    cluster.settle(Limits::default());
    assert_eq!(cluster.view("n", "web").slices.len(), 2);
    let mut single = cluster.get("Service", &Key::new("n", "web")).unwrap();
    single["spec"]["ipFamilies"] = json!(["IPv4"]);
    cluster.replace("Service", &Key::new("n", "web"), single).unwrap();
    assert_eq!(verbs(&cluster, Limits::default()), ["delete"]);
    cluster.settle(Limits::default());
}

#[test]
fn a_node_that_appears_brings_its_pods() {
    let cluster = Cluster::default();
    cluster.apply(service("n", "web"));
    cluster.apply(pod("n", "p", "web", "10.0.0.1"));
    cluster.settle(Limits::default());
    assert_eq!(sizes(&cluster), [0]);
    cluster.apply(node("node-a", "zone-a"));
    cluster.settle(Limits::default());
    assert_eq!(sizes(&cluster), [1]);
    cluster.apply(node("node-a", "zone-b"));
    let moved = json!({"metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "zone-b"}}})
        .to_string();
    cluster
        .index
        .apply(<callsign_shared::object::Node as callsign_shared::object::Decode>::decode(&moved).unwrap());
    cluster.settle(Limits::default());
    assert_eq!(cluster.view("n", "web").slices[0].endpoints[0].zone.as_deref(), Some("zone-b"));
}

#[test]
fn hints_come_and_go_with_the_field() {
    let cluster = cluster(0..2);
    let mut near = service("n", "web");
    near["spec"]["trafficDistribution"] = json!("PreferClose");
    cluster.apply(near);
    cluster.settle(Limits::default());
    let hints = |cluster: &Cluster| {
        let view = cluster.view("n", "web");
        view.slices[0].endpoints.iter().filter(|endpoint| endpoint.hints.is_some()).count()
    };
    assert_eq!(hints(&cluster), 2);
    let mut plain = cluster.get("Service", &Key::new("n", "web")).unwrap();
    plain["spec"]["trafficDistribution"] = Value::Null;
    cluster.replace("Service", &Key::new("n", "web"), plain).unwrap();
    cluster.settle(Limits::default());
    assert_eq!(hints(&cluster), 0);
}

#[test]
fn auto_hints_share_endpoints_out_by_cpu() {
    let cluster = Cluster::default();
    for zone in ["a", "b", "c"] {
        cluster.apply(node(&format!("node-{zone}"), zone));
    }
    let mut auto = service("n", "web");
    auto["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    cluster.apply(auto);
    add(&cluster, 0..6);
    cluster.settle(Limits::default());
    let view = cluster.view("n", "web");
    let hinted: BTreeSet<_> = view.slices[0]
        .endpoints
        .iter()
        .map(|e| e.hints.as_ref().unwrap().for_zones[0].name.to_string())
        .collect();
    assert_eq!(hinted, BTreeSet::from(["a".into(), "b".into(), "c".into()]), "all pods run in zone a");
}

#[test]
fn mirrored_addresses_are_limited_ready_ones_first() {
    let cluster = Cluster::default();
    let mut manual = service("n", "db");
    manual["spec"]["selector"] = Value::Null;
    cluster.apply(manual);
    cluster.apply(json!({
        "kind": "Endpoints", "metadata": {"name": "db", "namespace": "n"},
        "subsets": [{"addresses": [{"ip": "192.0.2.2"}, {"ip": "2001:db8::1"}], "ports": [{"port": 1}],
                     "notReadyAddresses": [{"ip": "192.0.2.3"}, {"ip": "192.0.2.4"}]}],
    }));
    let (plan, _) = cluster.plan(&cluster.view("n", "db"), SMALL);
    assert_eq!((plan.tally.endpoints, plan.tally.skipped, plan.writes.len()), (3, 1, 2));
    cluster.settle(SMALL);
    // A port that changes uses both slices again.
    let key = Key::new("n", "db");
    let mut changed = cluster.get("Endpoints", &key).unwrap();
    changed["subsets"][0]["ports"][0]["port"] = json!(2);
    cluster.replace("Endpoints", &key, changed).unwrap();
    let (plan, _) = cluster.plan(&cluster.view("n", "db"), SMALL);
    assert_eq!(plan.writes.iter().map(Write::verb).collect::<Vec<_>>(), ["update", "update"]);
    cluster.settle(SMALL);
    // Skipped, and then without a Service: nothing is left to mirror.
    let mut skipped = cluster.get("Endpoints", &key).unwrap();
    skipped["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    cluster.replace("Endpoints", &key, skipped).unwrap();
    cluster.settle(SMALL);
    assert!(cluster.all("EndpointSlice").is_empty());
}

/// One thing that happens to a Service.
#[derive(Clone, Debug)]
enum Event {
    Pod { number: usize, ip: usize, ready: bool, port: usize },
    Gone { number: usize },
    Ports { named: bool },
    Dual { dual: bool },
    Near { near: bool },
    Auto { auto: bool },
    Publish { publish: bool },
}

fn events() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let event = prop_oneof![
        6 => (0..16_usize, 0..20_usize, any::<bool>(), 0..3_usize)
            .prop_map(|(number, ip, ready, port)| Event::Pod { number, ip, ready, port }),
        3 => (0..16_usize).prop_map(|number| Event::Gone { number }),
        1 => any::<bool>().prop_map(|named| Event::Ports { named }),
        1 => any::<bool>().prop_map(|dual| Event::Dual { dual }),
        1 => any::<bool>().prop_map(|near| Event::Near { near }),
        1 => any::<bool>().prop_map(|auto| Event::Auto { auto }),
        1 => any::<bool>().prop_map(|publish| Event::Publish { publish }),
    ];
    proptest::collection::vec(proptest::collection::vec(event, 1..8), 1..6)
}

fn play(cluster: &Cluster, event: Event) {
    let key = Key::new("n", "web");
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut service = cluster.get("Service", &key).unwrap();
        change(&mut service);
        cluster.replace("Service", &key, service).unwrap();
    };
    match event {
        Event::Pod { number, ip, ready, port } => {
            let mut pod = pod("n", &format!("p{number:03}"), "web", &format!("10.0.0.{ip}"));
            pod["spec"]["nodeName"] = json!(["node-a", "node-b"][number % 2]);
            pod["status"]["podIPs"] = json!([{"ip": format!("10.0.0.{ip}")}, {"ip": format!("fd00::{ip}")}]);
            pod["status"]["conditions"][0]["status"] = json!(if ready { "True" } else { "False" });
            pod["spec"]["containers"][0]["ports"] =
                json!([{"name": (["web", "other"][port % 2]), "containerPort": 8080 + port}]);
            cluster.apply(pod);
        }
        Event::Gone { number } => remove(cluster, [number]),
        Event::Ports { named } => edit(&|service| {
            service["spec"]["ports"][0]["targetPort"] = if named { json!("web") } else { json!(80) };
        }),
        Event::Dual { dual } => edit(&|service| {
            service["spec"]["ipFamilies"] = if dual { json!(["IPv6", "IPv4"]) } else { json!(["IPv4"]) };
        }),
        Event::Near { near } => edit(&|service| {
            service["spec"]["trafficDistribution"] = if near { json!("PreferSameNode") } else { Value::Null };
        }),
        Event::Auto { auto } => edit(&|service| {
            service["metadata"]["annotations"] =
                json!({"service.kubernetes.io/topology-mode": if auto { "Auto" } else { "no" }});
        }),
        Event::Publish { publish } => {
            edit(&|service| service["spec"]["publishNotReadyAddresses"] = json!(publish));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Whatever happens, one round of writes brings the slices to what the members say, each endpoint once, no slice too
    /// long, and a second round has nothing to do.
    #[test]
    fn one_round_settles_and_lists_every_endpoint_once(batches in events(), most in 1_usize..6) {
        let cluster = Cluster::default();
        cluster.apply(node("node-a", "zone-a"));
        cluster.apply(node("node-b", "zone-b"));
        cluster.apply(service("n", "web"));
        for batch in batches {
            batch.into_iter().for_each(|event| play(&cluster, event));
            cluster.settle(limits(most));
            let view = cluster.view("n", "web");
            let families = view.service.as_ref().unwrap().slice_families();
            let mut wanted: Vec<String> = Vec::new();
            for family in &families {
                for member in view.members.iter().filter(|member| member.in_slices(*family)) {
                    let ports: Vec<_> = member.ports.iter().map(|port| port.port).collect();
                    let ips: Vec<_> = member.addresses(*family).collect();
                    wanted.push(format!("{ips:?} {} {} {ports:?}", member.pod.meta.key.name, member.ready));
                }
            }
            let mut listed: Vec<String> = Vec::new();
            for slice in view.slices.iter() {
                prop_assert!(slice.endpoints.len() <= most);
                let ports: Vec<_> = slice.ports.iter().flatten().map(|port| port.port).collect();
                for endpoint in &slice.endpoints {
                    let ips: Vec<_> = endpoint.addresses.iter().map(|address| match address {
                        callsign_shared::object::SliceAddress::Ip(ip) => *ip,
                        callsign_shared::object::SliceAddress::Name(name) => panic!("{name}"),
                    }).collect();
                    let name = &endpoint.target.as_ref().unwrap().name;
                    listed.push(format!("{ips:?} {name} {} {ports:?}", endpoint.conditions.ready.unwrap()));
                }
            }
            wanted.sort_unstable();
            listed.sort_unstable();
            prop_assert_eq!(listed, wanted);
            let empty = view.slices.iter().filter(|slice| slice.endpoints.is_empty()).count();
            prop_assert!(empty <= families.len(), "{empty} empty slices");
            prop_assert!(families.iter().all(|family| view.slices.iter().any(|s| s.address_type == (*family).into())));
        }
    }
}
