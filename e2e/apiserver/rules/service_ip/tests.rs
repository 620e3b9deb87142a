use proptest::prelude::*;

use super::*;
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::{defaults, strategy};

fn service(spec: Value) -> Value {
    let mut service = json!({ "metadata": { "name": "web" }, "spec": spec });
    defaults::defaults(Kind::Service, &mut service);
    strategy::prepare_create(Kind::Service, &mut service);
    service
}

fn create(allocator: &mut Allocator, spec: Value) -> Result<Value, String> {
    let mut service = service(spec);
    allocator.allocate(&mut service, None).map_err(|errors| errors[0].to_string())?;
    Ok(service["spec"].take())
}

fn update(allocator: &mut Allocator, old: &Value, change: impl FnOnce(&mut Value)) -> Result<Value, String> {
    let old = json!({ "metadata": { "name": "web" }, "spec": old });
    let mut new = old.clone();
    change(&mut new["spec"]);
    defaults::defaults(Kind::Service, &mut new);
    strategy::prepare_update(Kind::Service, &mut new, &old);
    allocator.allocate(&mut new, Some(&old)).map_err(|errors| errors[0].to_string())?;
    Ok(new["spec"].take())
}

#[test]
fn a_plain_service_gets_one_address() {
    let mut allocator = Allocator::new();
    let spec = create(&mut allocator, json!({ "ports": [{ "port": 80 }] })).unwrap();
    assert_eq!(spec["clusterIP"], "10.96.128.1");
    assert_eq!(spec["clusterIPs"], json!(["10.96.128.1"]));
    assert_eq!((&spec["ipFamilies"], &spec["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    let spec = create(&mut allocator, json!({ "ports": [{ "port": 80 }] })).unwrap();
    assert_eq!(spec["clusterIP"], "10.96.128.2");
}

#[test]
fn dual_stack_and_a_chosen_family() {
    let mut allocator = Allocator::new();
    let spec = create(&mut allocator, json!({ "ipFamilyPolicy": "PreferDualStack" })).unwrap();
    assert_eq!(spec["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(spec["clusterIPs"], json!(["10.96.128.1", "fd00:10:96::8001"]));
    let spec = create(&mut allocator, json!({ "ipFamilies": ["IPv6"] })).unwrap();
    assert_eq!(
        (&spec["clusterIP"], &spec["ipFamilyPolicy"]),
        (&json!("fd00:10:96::8002"), &json!("SingleStack"))
    );
    let spec = create(&mut allocator, json!({ "clusterIP": "fd00:10:96::7" })).unwrap();
    assert_eq!((&spec["clusterIP"], &spec["ipFamilies"]), (&json!("fd00:10:96::7"), &json!(["IPv6"])));
    let error =
        create(&mut allocator, json!({ "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"] }));
    assert_eq!(
        error.unwrap_err(),
        "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when \
         multiple IP families are specified"
    );
}

#[test]
fn headless_services_have_families_and_no_address() {
    let mut allocator = Allocator::new();
    let spec = create(&mut allocator, json!({ "clusterIP": "None", "selector": { "a": "b" } })).unwrap();
    assert_eq!((&spec["clusterIPs"], &spec["ipFamilies"]), (&json!(["None"]), &json!(["IPv4"])));
    let spec = create(&mut allocator, json!({ "clusterIP": "None" })).unwrap();
    assert_eq!(
        (&spec["ipFamilies"], &spec["ipFamilyPolicy"]),
        (&json!(["IPv4", "IPv6"]), &json!("RequireDualStack"))
    );
    let spec = create(&mut allocator, json!({ "type": "ExternalName", "externalName": "a.b" })).unwrap();
    assert_eq!(spec, json!({ "type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None" }));
}

#[test]
fn addresses_are_given_once_and_only_from_the_range() {
    let mut allocator = Allocator::new();
    create(&mut allocator, json!({ "clusterIP": "10.96.0.10" })).unwrap();
    assert_eq!(
        create(&mut allocator, json!({ "clusterIP": "10.96.0.10" })).unwrap_err(),
        "spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already \
         allocated"
    );
    assert_eq!(
        create(&mut allocator, json!({ "clusterIP": "192.168.0.1" })).unwrap_err(),
        "spec.clusterIPs: Invalid value: [\"192.168.0.1\"]: failed to allocate IP 192.168.0.1: the provided network \
         does not match the current range"
    );
    assert!(
        create(&mut allocator, json!({ "clusterIP": "10.96.0.1" })).is_err(),
        "default/kubernetes has it"
    );
    assert!(create(&mut allocator, json!({ "clusterIP": "10.96.0.0" })).is_err());
}

#[test]
fn node_ports() {
    let mut allocator = Allocator::new();
    let spec = create(&mut allocator, json!({ "type": "NodePort", "ports": [{ "port": 80 }] })).unwrap();
    assert_eq!(spec["ports"][0]["nodePort"], 30086);
    let ports = json!([{ "name": "a", "port": 53, "protocol": "UDP" }, { "name": "b", "port": 53, "protocol": "TCP" }]);
    let spec = create(&mut allocator, json!({ "type": "NodePort", "ports": ports })).unwrap();
    assert_eq!(
        (&spec["ports"][0]["nodePort"], &spec["ports"][1]["nodePort"]),
        (&json!(30087), &json!(30087))
    );
    let taken = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30086 }] });
    assert_eq!(
        create(&mut allocator, taken).unwrap_err(),
        "spec.ports[0].nodePort: Invalid value: 30086: provided port is already allocated"
    );
    let outside = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 80 }] });
    assert_eq!(
        create(&mut allocator, outside).unwrap_err(),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports \
         is 30000-32767"
    );
    let local = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{ "port": 80 }],
                        "allocateLoadBalancerNodePorts": false });
    let spec = create(&mut allocator, local).unwrap();
    assert!(spec["ports"][0].get("nodePort").is_none());
    assert_eq!(spec["healthCheckNodePort"], 30088);
}

#[test]
fn a_failed_allocation_changes_nothing() {
    let mut allocator = Allocator::new();
    let mut service = service(
        json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{ "port": 1, "nodePort": 1 }] }),
    );
    let before = service.clone();
    assert!(allocator.allocate(&mut service, None).is_err());
    assert_eq!(service, before);
    create(&mut allocator, json!({ "clusterIP": "10.96.0.5" })).unwrap();
}

#[test]
fn a_failed_update_keeps_what_was_held() {
    let mut allocator = Allocator::new();
    let web = json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{ "name": "a", "port": 80, "nodePort": 30001 }] });
    let web = create(&mut allocator, web).unwrap();
    let error = update(&mut allocator, &web, |spec| {
        spec["ipFamilyPolicy"] = json!("PreferDualStack");
        spec["ports"] = json!([{ "name": "a", "port": 80, "nodePort": 30002 }, { "name": "b", "port": 81, "nodePort": 1 }]);
    })
    .unwrap_err();
    assert!(
        error.starts_with("spec.ports[1].nodePort: Invalid value: 1: provided port is not in"),
        "{error}"
    );
    assert!(create(&mut allocator, json!({ "clusterIP": "10.96.0.5" })).is_err());
    let port = |port: u16| json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] });
    assert!(create(&mut allocator, port(30001)).is_err());
    create(&mut allocator, port(30002)).unwrap();
    assert_eq!(
        create(&mut allocator, json!({ "ipFamilies": ["IPv6"] })).unwrap()["clusterIP"],
        "fd00:10:96::8001"
    );
}

#[test]
fn twins_of_two_protocols_share_a_number() {
    let mut allocator = Allocator::new();
    let ports = json!([{ "name": "u", "port": 53, "protocol": "UDP" }, { "name": "t", "port": 53, "nodePort": 30053 }]);
    let spec = create(&mut allocator, json!({ "type": "NodePort", "ports": ports })).unwrap();
    assert_eq!(spec["ports"][0]["nodePort"], 30053);
    let ports =
        json!([{ "name": "u", "port": 53, "protocol": "UDP" }, { "name": "t", "port": 53, "nodePort": 53 }]);
    let error = create(&mut allocator, json!({ "type": "NodePort", "ports": ports })).unwrap_err();
    assert!(
        error.starts_with("spec.ports[0].nodePort: Invalid value: 53: provided port is not in"),
        "{error}"
    );
}

#[test]
fn a_change_of_type_gives_back_and_takes_again() {
    let mut allocator = Allocator::new();
    let web =
        json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{ "port": 80, "nodePort": 30001 }] });
    let web = create(&mut allocator, web).unwrap();
    let named = update(&mut allocator, &web, |spec| {
        spec["type"] = json!("ExternalName");
        spec["externalName"] = json!("a.b");
    })
    .unwrap();
    assert!(named.get("clusterIP").is_none());
    let other =
        json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{ "port": 80, "nodePort": 30001 }] });
    create(&mut allocator, other).unwrap();
    let back = update(&mut allocator, &named, |spec| {
        spec["type"] = json!("ClusterIP");
        spec.as_object_mut().unwrap().remove("externalName");
    })
    .unwrap();
    assert_eq!(back["clusterIP"], "10.96.128.1");
}

#[test]
fn widening_and_narrowing() {
    let mut allocator = Allocator::new();
    let web = create(&mut allocator, json!({ "clusterIP": "10.96.0.5" })).unwrap();
    let wide =
        update(&mut allocator, &web, |spec| spec["ipFamilyPolicy"] = json!("RequireDualStack")).unwrap();
    assert_eq!(wide["clusterIPs"], json!(["10.96.0.5", "fd00:10:96::8001"]));
    let error = update(&mut allocator, &wide, |spec| spec["ipFamilies"] = json!(["IPv4"])).unwrap_err();
    assert_eq!(
        error,
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP \
         family"
    );
    let narrow = update(&mut allocator, &wide, |spec| spec["ipFamilyPolicy"] = json!("SingleStack")).unwrap();
    assert_eq!((&narrow["clusterIPs"], &narrow["ipFamilies"]), (&json!(["10.96.0.5"]), &json!(["IPv4"])));
    create(&mut allocator, json!({ "clusterIP": "fd00:10:96::8001" })).unwrap();
}

#[test]
fn what_is_stored_is_taken_and_what_is_deleted_is_free() {
    let mut allocator = Allocator::new();
    let stored = json!({ "spec": { "type": "NodePort", "clusterIPs": ["10.96.0.9"], "healthCheckNodePort": 30005,
                                   "ports": [{ "protocol": "TCP", "nodePort": 30004 }] } });
    allocator.import(&stored);
    assert!(create(&mut allocator, json!({ "clusterIP": "10.96.0.9" })).is_err());
    allocator.release(&stored);
    let again = json!({ "type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{ "port": 1, "nodePort": 30004 }, { "port": 2, "nodePort": 30005, "name": "x" }] });
    create(&mut allocator, again).unwrap();
}

proptest! {
    #[test]
    fn no_address_is_held_twice(order in proptest::collection::vec((any::<bool>(), 0_usize..20), 1..60)) {
        let mut allocator = Allocator::new();
        let mut held: Vec<Value> = Vec::new();
        for (add, index) in order {
            if add || held.is_empty() {
                let spec = json!({ "type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "ports": [{ "port": 80 }] });
                held.push(json!({ "spec": create(&mut allocator, spec).unwrap() }));
            } else {
                let service = held.swap_remove(index % held.len());
                allocator.release(&service);
            }
            let addresses: std::collections::BTreeSet<_> = held.iter().flat_map(|service| Held::of(service).addresses).collect();
            prop_assert_eq!(addresses.len(), held.len() * 2);
            let ports: std::collections::BTreeSet<_> = held.iter().flat_map(|service| Held::of(service).ports).collect();
            prop_assert_eq!(ports.len(), held.len());
        }
    }
}
