use serde_json::{Value, json};

use super::*;
use crate::apiserver::rules::service_ip::Allocator;
use crate::apiserver::rules::{decode, defaults, strategy};

/// An object as it stands before validation.
fn prepared(kind: Kind, object: Value) -> Value {
    let mut object = decode::decode(kind, object).unwrap();
    defaults::defaults(kind, &mut object);
    strategy::prepare_create(kind, &mut object);
    object
}

fn texts(errors: Vec<FieldError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn created(kind: Kind, object: Value) -> Vec<String> {
    texts(create(kind, &prepared(kind, object)))
}

fn service(spec: Value) -> Vec<String> {
    created(Kind::Service, json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": spec }))
}

fn updated(kind: Kind, old: Value, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut old = prepared(kind, old);
    if kind == Kind::Service {
        Allocator::new().allocate(&mut old, None).unwrap();
    }
    let mut new = old.clone();
    change(&mut new);
    strategy::prepare_update(kind, &mut new, &old);
    texts(update(kind, &new, &old))
}

fn pod(spec: Value) -> Value {
    json!({ "metadata": { "name": "p", "namespace": "default" }, "spec": spec })
}

fn container() -> Value {
    json!({ "name": "c", "image": "nginx:1" })
}

fn deployment(spec: Value) -> Value {
    json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": spec })
}

fn template() -> Value {
    json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [container()] } })
}

#[test]
fn good_objects_are_good() {
    let meta = json!({ "name": "a", "namespace": "default" });
    assert_eq!(service(json!({ "ports": [{ "port": 80 }] })), Vec::<String>::new());
    assert_eq!(service(json!({ "clusterIP": "None" })), Vec::<String>::new());
    assert_eq!(service(json!({ "type": "ExternalName", "externalName": "a.b." })), Vec::<String>::new());
    assert_eq!(created(Kind::Pod, pod(json!({ "containers": [container()] }))), Vec::<String>::new());
    let spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": template() });
    for kind in [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet] {
        assert_eq!(created(kind, deployment(spec.clone())), Vec::<String>::new());
    }
    for kind in [Kind::Endpoints, Kind::Lease] {
        assert_eq!(created(kind, json!({ "metadata": meta })), Vec::<String>::new());
    }
    for kind in [Kind::Namespace, Kind::Node] {
        assert_eq!(created(kind, json!({ "metadata": { "name": "a" } })), Vec::<String>::new());
    }
    assert_eq!(created(Kind::Event, json!({ "metadata": meta, "involvedObject": {} })), Vec::<String>::new());
    assert_eq!(
        created(Kind::EndpointSlice, json!({ "metadata": meta, "addressType": "IPv4" })),
        Vec::<String>::new()
    );
}

#[test]
fn names_and_labels() {
    let errors = created(
        Kind::Service,
        json!({ "metadata": { "name": "1web", "namespace": "default" }, "spec": { "clusterIP": "None" } }),
    );
    assert_eq!(
        errors,
        [
            "metadata.name: Invalid value: \"1web\": a DNS-1035 label must consist of lower case alphanumeric characters \
          or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
          'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        ]
    );
    let errors = created(Kind::Endpoints, json!({ "metadata": { "namespace": "default" } }));
    assert_eq!(errors, ["metadata.name: Required value: name or generateName is required"]);
    let errors = created(Kind::Node, json!({ "metadata": { "name": "n", "namespace": "default" } }));
    assert_eq!(errors, ["metadata.namespace: Forbidden: not allowed on this type"]);
    let errors = created(
        Kind::Endpoints,
        json!({ "metadata": { "name": "a", "namespace": "default", "labels": { "a b": "c" }, "finalizers": ["x"] } }),
    );
    assert!(errors[0].starts_with("metadata.labels: Invalid value: \"a b\": name part must consist of"));
    assert_eq!(
        errors[1],
        "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully \
         qualified"
    );
    let generated =
        json!({ "metadata": { "name": "web-x", "generateName": "web-", "namespace": "default" } });
    assert_eq!(created(Kind::Endpoints, generated), Vec::<String>::new());
}

#[test]
fn a_service_needs_ports() {
    assert_eq!(service(json!({})), ["spec.ports: Required value"]);
    assert_eq!(
        service(json!({ "ports": [{ "port": 80 }, { "port": 80, "name": "a" }] })),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[1]: Duplicate value: {\"AppProtocol\":null,\"Name\":\"\",\"NodePort\":0,\"Port\":80,\
             \"Protocol\":\"TCP\",\"TargetPort\":0}"
        ]
    );
    assert_eq!(
        service(json!({ "ports": [{ "port": 0, "targetPort": "a_b", "protocol": "tcp" }] })),
        [
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[0].targetPort: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), \
             and hyphens (-)"
        ]
    );
    assert_eq!(
        service(json!({ "ports": [{ "port": 80, "nodePort": 30000 }] })),
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
    );
}

#[test]
fn service_types_and_policies() {
    assert_eq!(
        service(json!({ "type": "Foo", "ports": [{ "port": 80 }] })),
        [
            "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \
          \"NodePort\""
        ]
    );
    assert_eq!(service(json!({ "type": "ExternalName" })), ["spec.externalName: Required value"]);
    assert_eq!(
        service(json!({ "type": "NodePort", "clusterIP": "None", "ports": [{ "port": 80 }] })),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"]
    );
    assert_eq!(
        service(json!({ "type": "ExternalName", "externalName": "a", "clusterIP": "10.96.0.3" })),
        ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"]
    );
    assert_eq!(
        service(json!({ "clusterIP": "None", "trafficDistribution": "Near", "sessionAffinity": "Sticky" })),
        [
            "spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\"",
            "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \
             \"PreferSameNode\", \"PreferSameZone\""
        ]
    );
    assert_eq!(
        service(json!({ "clusterIP": "None", "externalTrafficPolicy": "Local" })),
        [
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"
        ]
    );
    assert_eq!(
        service(json!({ "clusterIP": "10.96.0.3", "ipFamilies": ["IPv6"], "ports": [{ "port": 1 }] })),
        [
            "spec.clusterIPs[0]: Invalid value: \"10.96.0.3\": expected an IPv6 value as indicated by `ipFamilies[0]`"
        ]
    );
    assert_eq!(
        service(json!({ "clusterIP": "foo", "ports": [{ "port": 1 }] })),
        [
            "spec.clusterIPs[0]: Invalid value: \"foo\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        ]
    );
}

#[test]
fn a_cluster_ip_stays() {
    let old = json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": { "ports": [{ "port": 80 }] } });
    let errors =
        updated(Kind::Service, old.clone(), |service| service["spec"]["clusterIP"] = json!("10.96.0.6"));
    assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.6\"]: may not change once set"]);
    let errors = updated(Kind::Service, old.clone(), |service| service["spec"]["clusterIP"] = json!("None"));
    assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"]);
    let errors = updated(Kind::Service, old, |service| {
        service["spec"]["ipFamilies"] = json!(["IPv6"]);
    });
    assert_eq!(errors[0], "spec.ipFamilies[0]: Invalid value: [\"IPv6\"]: may not change once set");
}

#[test]
fn pods() {
    assert_eq!(created(Kind::Pod, pod(json!({}))), ["spec.containers: Required value"]);
    let spec = json!({ "containers": [
        { "name": "c", "image": "a", "ports": [{ "containerPort": 0 }, { "containerPort": 70000 }] },
        { "name": "c", "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
        { "image": "a", "ports": [{ "containerPort": 80, "name": "80" }] } ],
        "hostname": "a.b", "restartPolicy": "Sometimes", "dnsPolicy": "Any" });
    assert_eq!(
        created(Kind::Pod, pod(spec)),
        [
            "spec.containers[0].ports[0].containerPort: Required value",
            "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[1].name: Duplicate value: \"c\"",
            "spec.containers[1].image: Required value",
            "spec.containers[1].volumeMounts[0].name: Not found: \"v\"",
            "spec.containers[2].name: Required value",
            "spec.containers[2].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \
             \"OnFailure\"",
            "spec.dnsPolicy: Unsupported value: \"Any\": supported values: \"ClusterFirst\", \
             \"ClusterFirstWithHostNet\", \"Default\", \"None\"",
            "spec.hostname: Invalid value: \"a.b\": a lowercase RFC 1123 label must consist of lower case alphanumeric \
             characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
             regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ]
    );
}

#[test]
fn a_pod_keeps_its_spec() {
    let old = pod(json!({ "containers": [container()] }));
    let change = |change: fn(&mut Value)| updated(Kind::Pod, old.clone(), change);
    assert_eq!(change(|pod| pod["spec"]["containers"][0]["image"] = json!("nginx:2")), Vec::<String>::new());
    assert_eq!(change(|pod| pod["metadata"]["labels"] = json!({ "a": "b" })), Vec::<String>::new());
    let errors = change(|pod| pod["spec"]["nodeName"] = json!("n1"));
    assert_eq!(
        errors,
        ["spec: Forbidden: pod updates may not change fields other than \
          `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
          (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it \
          was previously negative)\n  nodeName: <none> -> \"n1\""]
    );
    let errors = change(|pod| pod["spec"]["containers"] = json!([container(), container()]));
    assert!(
        errors
            .contains(&"spec.containers: Forbidden: pod updates may not add or remove containers".to_owned())
    );
    assert_eq!(
        change(|pod| pod["spec"]["tolerations"] = json!([]))[0],
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    );
}

#[test]
fn pod_addresses() {
    let old = prepared(Kind::Pod, pod(json!({ "containers": [container()] })));
    let status = |ips: Value| {
        let mut new = old.clone();
        new["status"]["podIPs"] = ips;
        texts(status_update(Kind::Pod, &new, &old))
    };
    assert_eq!(status(json!([{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }])), Vec::<String>::new());
    assert_eq!(
        status(json!([{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }])),
        [
            "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may specify no more than one IP \
          for each IP family"
        ]
    );
    assert_eq!(
        status(json!([{ "ip": "x" }])),
        [
            "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        ]
    );
}

#[test]
fn identity_is_immutable() {
    let old = json!({ "metadata": { "name": "a", "namespace": "default", "uid": "u",
                                    "deletionTimestamp": "2024-01-01T00:00:00Z" } });
    let new = json!({ "metadata": { "name": "a", "namespace": "default", "uid": "v", "finalizers": ["a.b/c"],
                                    "deletionTimestamp": "2024-01-01T00:00:00Z" } });
    assert_eq!(
        texts(update(Kind::Endpoints, &new, &old)),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{\"a.b/c\"}",
            "metadata.uid: Invalid value: \"v\": field is immutable"
        ]
    );
}

#[test]
fn endpoints() {
    let check = |subsets: Value| {
        created(
            Kind::Endpoints,
            json!({ "metadata": { "name": "a", "namespace": "default" }, "subsets": subsets }),
        )
    };
    assert_eq!(
        check(json!([{ "ports": [{ "port": 80 }] }])),
        ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]
    );
    assert_eq!(
        check(
            json!([{ "addresses": [{ "ip": "127.0.0.1" }], "ports": [{ "port": 80 }, { "port": 81, "name": "b" }] }])
        ),
        [
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
             ::1/128)",
            "subsets[0].ports[0].name: Required value"
        ]
    );
    assert_eq!(check(json!([{ "notReadyAddresses": [{ "ip": "10.0.0" }] }])).len(), 2);
}

#[test]
fn slices() {
    let check = |kind: &str, endpoints: Value, ports: Value| {
        created(
            Kind::EndpointSlice,
            json!({ "metadata": { "name": "a", "namespace": "default" }, "addressType": kind, "endpoints": endpoints,
                    "ports": ports }),
        )
    };
    assert_eq!(check("", json!([]), json!([])), ["addressType: Required value"]);
    assert_eq!(
        check("IP", json!([]), json!([])),
        ["addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""]
    );
    assert_eq!(
        check("IPv6", json!([{ "addresses": ["10.0.0.1"] }, { "addresses": [] }]), json!([])),
        [
            "endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be a valid IPv6 address",
            "endpoints[1].addresses: Required value: must contain at least 1 address"
        ]
    );
    assert_eq!(
        check("FQDN", json!([{ "addresses": ["host"] }]), json!([{ "name": "a" }, { "name": "a" }])),
        [
            "endpoints[0].addresses[0]: Invalid value: \"host\": should be a domain with at least two segments \
             separated by dots",
            "ports[1].name: Duplicate value: \"a\""
        ]
    );
    let many: Vec<Value> = (0..1001).map(|_| json!({ "addresses": ["10.0.0.1"] })).collect();
    assert_eq!(
        check("IPv4", json!(many), json!([])),
        ["endpoints: Too many: 1001: must have at most 1000 items"]
    );
    let zones: Vec<Value> = (0..9).map(|zone| json!({ "name": format!("z{zone}") })).collect();
    assert_eq!(
        check("IPv4", json!([{ "addresses": ["10.0.0.1"], "hints": { "forZones": zones } }]), json!([])),
        ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]
    );
    let old = json!({ "metadata": { "name": "a", "namespace": "default" }, "addressType": "IPv4" });
    assert_eq!(
        updated(Kind::EndpointSlice, old, |slice| slice["addressType"] = json!("IPv6")),
        ["addressType: Invalid value: \"IPv6\": field is immutable"]
    );
}

#[test]
fn workloads() {
    assert_eq!(
        created(Kind::Deployment, deployment(json!({ "replicas": -1, "template": template() }))),
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.selector: Required value"
        ]
    );
    let spec = json!({ "selector": { "matchLabels": { "app": "db" } }, "template": template() });
    assert_eq!(
        created(Kind::StatefulSet, deployment(spec)),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"
        ]
    );
    let empty = json!({ "selector": {}, "template": template() });
    assert_eq!(
        created(Kind::Deployment, deployment(empty)),
        ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
    );
    let old = deployment(json!({ "selector": { "matchLabels": { "app": "web" } }, "template": template() }));
    assert_eq!(
        updated(Kind::Deployment, old.clone(), |object| {
            object["spec"]["selector"]["matchLabels"] = json!({ "tier": "front" });
            object["spec"]["template"]["metadata"]["labels"] = json!({ "tier": "front" });
        }),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"tier\":\"front\"}}: field is immutable"]
    );
    assert_eq!(
        updated(Kind::StatefulSet, old.clone(), |object| object["spec"]["serviceName"] = json!("db")),
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
          'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
          forbidden"
        ]
    );
    assert_eq!(
        updated(Kind::StatefulSet, old, |object| object["spec"]["replicas"] = json!(5)),
        Vec::<String>::new()
    );
}

#[test]
fn leases_nodes_namespaces_events() {
    let meta = json!({ "name": "a", "namespace": "default" });
    assert_eq!(
        created(Kind::Lease, json!({ "metadata": meta, "spec": { "leaseDurationSeconds": 0 } })),
        ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
    );
    let node =
        json!({ "metadata": { "name": "n" }, "spec": { "taints": [{ "key": "a", "effect": "Never" }] } });
    assert_eq!(
        created(Kind::Node, node),
        ["metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \
          \"PreferNoSchedule\", \"NoExecute\""]
    );
    let event = json!({ "metadata": meta, "involvedObject": { "namespace": "other" } });
    assert_eq!(
        created(Kind::Event, event),
        ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"]
    );
    let namespace = prepared(Kind::Namespace, json!({ "metadata": { "name": "a" } }));
    let mut gone = namespace.clone();
    gone["status"]["phase"] = json!("Terminating");
    assert_eq!(
        texts(status_update(Kind::Namespace, &gone, &namespace)),
        [
            "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
        ]
    );
}

#[test]
fn events_of_the_new_form_are_strict() {
    let event = json!({
        "metadata": { "name": "a", "namespace": "n" }, "involvedObject": { "namespace": "n", "name": "web" },
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "callsign", "reportingInstance": "host",
        "action": "Syncing", "reason": "NoReadyPods", "type": "Warning", "message": "m"
    });
    assert_eq!(created(Kind::Event, event.clone()), Vec::<String>::new());
    let mut bad = event.clone();
    for (field, value) in [
        ("reportingComponent", json!("a/b/c")),
        ("reportingInstance", json!("")),
        ("action", json!("x".repeat(129))),
        ("message", json!("x".repeat(1025))),
        ("type", json!("Alarm")),
        ("count", json!(1)),
        ("series", json!({ "count": 1 })),
    ] {
        bad[field] = value;
    }
    let fields: Vec<String> = created(Kind::Event, bad)
        .iter()
        .filter_map(|text| text.split_once(':').map(|(field, _)| field.to_owned()))
        .collect();
    assert_eq!(
        fields,
        [
            "reportingController",
            "reportingInstance",
            "action",
            "message",
            "series.count",
            "series.lastObservedTime",
            "type",
            "count"
        ]
    );
    let series = json!({ "count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z" });
    assert_eq!(updated(Kind::Event, event.clone(), |event| event["series"] = series), Vec::<String>::new());
    assert_eq!(
        updated(Kind::Event, event, |event| event["message"] = json!("other")),
        ["message: Invalid value: \"other\": field is immutable"]
    );
}
