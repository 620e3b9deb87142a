use super::*;
use crate::apiserver::kind::KINDS;

fn defaulted(kind: Kind, mut object: Value) -> Value {
    defaults(kind, &mut object);
    object
}

#[test]
fn a_minimal_service() {
    let object = defaulted(Kind::Service, json!({ "spec": { "ports": [{ "port": 80 }] } }));
    assert_eq!(
        object,
        json!({
            "spec": { "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }], "sessionAffinity": "None",
                      "type": "ClusterIP", "internalTrafficPolicy": "Cluster" },
            "status": { "loadBalancer": {} }
        })
    );
}

#[test]
fn service_types_have_their_own() {
    let spec = defaulted(Kind::Service, json!({ "spec": { "type": "ExternalName", "externalName": "a.b" } }));
    assert_eq!(
        spec["spec"],
        json!({ "type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None" })
    );
    let spec = defaulted(
        Kind::Service,
        json!({ "spec": { "type": "LoadBalancer", "sessionAffinity": "ClientIP" } }),
    );
    assert_eq!(spec["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(spec["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(spec["spec"]["sessionAffinityConfig"], json!({ "clientIP": { "timeoutSeconds": 10800 } }));
    let spec = defaulted(Kind::Service, json!({ "spec": { "externalIPs": ["192.0.2.1"] } }));
    assert_eq!(spec["spec"]["externalTrafficPolicy"], "Cluster");
}

#[test]
fn a_minimal_pod() {
    let pod = json!({ "spec": { "containers": [{ "name": "c", "image": "nginx", "ports": [{ "containerPort": 80 }] }] } });
    let pod = defaulted(Kind::Pod, pod);
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "c", "image": "nginx", "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File", "resources": {}
            }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler", "securityContext": {}, "enableServiceLinks": true
        })
    );
}

#[test]
fn a_pod_has_its_address_twice() {
    let status =
        |status: Value| defaulted(Kind::Pod, json!({ "spec": {}, "status": status }))["status"].clone();
    let both = json!({ "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }] });
    assert_eq!(status(json!({ "podIP": "10.0.0.1" })), both);
    assert_eq!(status(json!({ "podIPs": [{ "ip": "10.0.0.1" }] })), both);
    assert_eq!(status(json!({ "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.2" }] })), both);
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("registry:5000/nginx", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:0", "IfNotPresent"),
    ] {
        let pod = defaulted(Kind::Pod, json!({ "spec": { "containers": [{ "image": image }] } }));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn a_minimal_deployment() {
    let object = json!({ "spec": { "template": { "spec": { "containers": [] } } } });
    let object = defaulted(Kind::Deployment, object);
    assert_eq!(object["spec"]["replicas"], 1);
    assert_eq!(
        object["spec"]["strategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } })
    );
    assert_eq!(object["spec"]["template"]["spec"]["restartPolicy"], "Always");
}

#[test]
fn a_namespace_is_labelled_with_its_name() {
    let object = defaulted(Kind::Namespace, json!({ "metadata": { "name": "shop" } }));
    assert_eq!(object["metadata"]["labels"], json!({ "kubernetes.io/metadata.name": "shop" }));
    assert_eq!(object["status"]["phase"], "Active");
}

#[test]
fn defaults_of_defaults_change_nothing() {
    for info in KINDS {
        let object = json!({ "metadata": { "name": "a" }, "spec": { "ports": [{ "port": 1 }], "containers": [{}],
                             "template": { "spec": { "volumes": [{ "name": "v" }] } } } });
        let once = defaulted(info.kind, object);
        assert_eq!(defaulted(info.kind, once.clone()), once, "{}", info.name);
    }
}
