//! Plans of Endpoints, through a model of a cluster.

use callsign_shared::{Key, object::well_known};
use serde_json::{Value, json};

use crate::{
    plan::{Limits, Write},
    testing::{Cluster, node, pod, service},
};

fn cluster() -> Cluster {
    let cluster = Cluster::default();
    cluster.apply(node("node-a", "zone-a"));
    cluster.apply(service("n", "web"));
    cluster
}

fn endpoints(cluster: &Cluster) -> Value {
    cluster.get("Endpoints", &Key::new("n", "web")).unwrap()
}

fn verbs(cluster: &Cluster) -> Vec<&'static str> {
    let (_, plan) = cluster.plan(&cluster.view("n", "web"), Limits::default());
    plan.writes.iter().map(Write::verb).collect()
}

#[test]
fn a_leader_election_lock_is_never_touched() {
    let cluster = cluster();
    cluster.apply(json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"namespace": "n", "name": "web", "annotations": {well_known::LEADER: "{}"}}}));
    let before = endpoints(&cluster);
    cluster.apply(pod("n", "a", "web", "10.0.0.1"));
    cluster.settle(Limits::default());
    assert_eq!(endpoints(&cluster), before);
}

#[test]
fn an_over_capacity_service_at_rest_writes_nothing() {
    let cluster = cluster();
    for number in 0..1002 {
        // Two groups of ports whose addresses become the same when they are cut.
        cluster.apply(pod(
            "n",
            &format!("p{number:04}"),
            "web",
            &format!("10.0.{}.{}", number / 250, number % 250),
        ));
    }
    cluster.settle(Limits::default());
    assert_eq!(endpoints(&cluster)["subsets"][0]["addresses"].as_array().unwrap().len(), 1000);
    assert_eq!(endpoints(&cluster)["metadata"]["annotations"][well_known::OVER_CAPACITY], "truncated");
    for number in 0..2 {
        cluster.index.delete::<callsign_shared::object::Pod>(&Key::new("n", format!("p{number:04}")));
    }
    cluster.settle(Limits::default());
    assert!(endpoints(&cluster)["metadata"]["annotations"][well_known::OVER_CAPACITY].is_null());
}

#[test]
fn subsets_that_are_cut_to_the_same_addresses_still_rest() {
    let cluster = cluster();
    let mut ports = service("n", "web");
    ports["spec"]["ports"] = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2, "targetPort": "b"}]);
    cluster.apply(ports);
    for number in 0..601 {
        let mut pod =
            pod("n", &format!("p{number:04}"), "web", &format!("10.0.{}.{}", number / 250, number % 250));
        if number > 0 {
            pod["spec"]["containers"][0]["ports"] = json!([{"name": "b", "containerPort": 9}]);
        }
        cluster.apply(pod);
    }
    cluster.settle(Limits::default());
    assert_eq!(verbs(&cluster), [""; 0]);
}

#[test]
fn an_edit_by_hand_is_put_right_and_foreign_annotations_stay() {
    let cluster = cluster();
    cluster.apply(pod("n", "p", "web", "10.0.0.1"));
    cluster.settle(Limits::default());
    let key = Key::new("n", "web");
    let mut edited = endpoints(&cluster);
    edited["subsets"] = json!([]);
    edited["metadata"]["annotations"]["foreign"] = json!("kept");
    edited["metadata"]["finalizers"] = json!(["example.com/kept"]);
    cluster.replace("Endpoints", &key, edited).unwrap();
    assert_eq!(verbs(&cluster), ["update"]);
    cluster.settle(Limits::default());
    let mended = endpoints(&cluster);
    assert_eq!(mended["subsets"][0]["addresses"][0]["ip"], "10.0.0.1");
    assert_eq!(mended["metadata"]["annotations"]["foreign"], "kept");
    assert_eq!(mended["metadata"]["finalizers"][0], "example.com/kept");
}

#[test]
fn who_is_in_and_under_what() {
    let cluster = cluster();
    let mut unready = pod("n", "unready", "web", "10.0.0.2");
    unready["status"]["conditions"][0]["status"] = json!("False");
    cluster.apply(unready);
    cluster.apply(pod("n", "going", "web", "10.0.0.3"));
    cluster.delete("Pod", &Key::new("n", "going"), None).unwrap();
    let mut lost = pod("n", "nowhere", "web", "10.0.0.4");
    lost["spec"]["nodeName"] = Value::Null;
    cluster.apply(lost);
    cluster.settle(Limits::default());
    let subset = &endpoints(&cluster)["subsets"][0];
    assert_eq!(subset["notReadyAddresses"][0]["ip"], "10.0.0.2");
    assert_eq!(subset["addresses"][0]["ip"], "10.0.0.4");
    assert_eq!(subset["addresses"][0]["nodeName"], Value::Null, "an empty name is refused");
    assert_eq!(subset["addresses"].as_array().unwrap().len(), 1, "terminating pods are left out");
}

#[test]
fn endpoints_without_a_service_are_left_alone_unless_they_are_the_controllers() {
    let cluster = Cluster::default();
    for (name, labels) in [
        ("mine", json!({})),
        ("made", json!({well_known::ENDPOINTS_MANAGED_BY: well_known::ENDPOINTS_CONTROLLER})),
    ] {
        cluster.apply(
            json!({"kind": "Endpoints", "metadata": {"name": name, "namespace": "n", "labels": labels},
                             "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]}),
        );
    }
    let plan = |name| cluster.plan(&cluster.view("n", name), Limits::default()).1;
    assert_eq!(plan("mine").writes, []);
    assert_eq!(plan("made").writes.len(), 1);
    assert!(plan("made").if_service_is_gone);
}

#[test]
fn the_headless_label_follows_the_service() {
    let cluster = cluster();
    cluster.settle(Limits::default());
    assert!(endpoints(&cluster)["metadata"]["labels"][well_known::HEADLESS].is_null());
    let mut headless = service("n", "web");
    headless["spec"]["clusterIP"] = json!("None");
    cluster.apply(headless);
    cluster.settle(Limits::default());
    assert_eq!(endpoints(&cluster)["metadata"]["labels"][well_known::HEADLESS], "");
}

/// Objects of servers that knew no families.
#[test]
fn a_service_without_families_lists_what_its_address_says() {
    let listed = |spec: Value| {
        let cluster = cluster();
        let mut old = service("n", "web");
        for (field, value) in spec.as_object().unwrap() {
            old["spec"][field] = value.clone();
        }
        old["spec"]["ipFamilies"] = json!([]);
        cluster.apply(old);
        for (name, ips) in [("p", ["10.0.0.1", "fd00::1"]), ("q", ["fd00::2", "10.0.0.2"])] {
            let mut both = pod("n", name, "web", ips[0]);
            both["status"]["podIPs"] = json!([{"ip": ips[0]}, {"ip": ips[1]}]);
            cluster.apply(both);
        }
        cluster.settle(Limits::default());
        let mut ips = Vec::new();
        for subset in endpoints(&cluster)["subsets"].as_array().unwrap() {
            for address in subset["addresses"].as_array().unwrap() {
                ips.push(address["ip"].as_str().unwrap().to_owned());
            }
        }
        ips.sort();
        ips
    };
    assert_eq!(listed(json!({"clusterIP": "10.96.0.1"})), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(listed(json!({"clusterIP": "fd00:10::1"})), ["fd00::1", "fd00::2"]);
    assert_eq!(listed(json!({"clusterIP": "None"})), ["10.0.0.1", "fd00::2"], "each pod's first");
}
