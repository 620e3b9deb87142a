use super::*;
use crate::apiserver::kind::KINDS;

/// The row as kubectl's text, without the name and the age.
fn row(kind: Kind, mut object: Value) -> Vec<String> {
    object["metadata"]["name"] = json!("x");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let now = "2026-01-01T00:05:00Z".parse().unwrap();
    let columns = columns(kind);
    let cells = cells(kind, &object, now);
    assert_eq!(columns.as_array().unwrap().len(), cells.len());
    let shown = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    let names = columns.as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap().to_owned());
    names
        .zip(cells)
        .filter(|(name, _)| name != "Name" && name != "Age")
        .map(|(_, cell)| shown(&cell))
        .collect()
}

#[test]
fn every_kind_has_a_row_of_its_columns() {
    for info in KINDS {
        row(info.kind, json!({ "metadata": {} }));
        let definitions = columns(info.kind);
        assert_eq!(
            definitions.as_array().unwrap().iter().filter(|column| column["format"] == "name").count(),
            1
        );
    }
}

#[test]
fn services() {
    let service = json!({ "spec": { "type": "NodePort", "clusterIPs": ["10.96.0.5"], "selector": { "app": "web", "tier": "x" },
        "ports": [{ "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }] } });
    assert_eq!(
        row(Kind::Service, service),
        ["NodePort", "10.96.0.5", "<none>", "80:30080/TCP,53/UDP", "app=web,tier=x"]
    );
    let headless = json!({ "spec": { "type": "ClusterIP", "clusterIPs": ["None"] } });
    assert_eq!(row(Kind::Service, headless), ["ClusterIP", "None", "<none>", "<none>", "<none>"]);
    let named = json!({ "spec": { "type": "ExternalName", "externalName": "a.b" } });
    assert_eq!(row(Kind::Service, named), ["ExternalName", "<none>", "a.b", "<none>", "<none>"]);
    let mut balanced = json!({ "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.6"] } });
    assert_eq!(row(Kind::Service, balanced.clone())[2], "<pending>");
    balanced["status"] =
        json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }, { "hostname": "lb.example" }] } });
    assert_eq!(row(Kind::Service, balanced)[2], "192.0.2.1,lb.example");
}

#[test]
fn endpoints_and_slices() {
    assert_eq!(row(Kind::Endpoints, json!({})), ["<none>"]);
    let addresses: Vec<Value> = (1..6).map(|n| json!({ "ip": format!("10.0.0.{n}") })).collect();
    let endpoints = json!({ "subsets": [{ "addresses": addresses, "ports": [{ "port": 80 }] }] });
    assert_eq!(row(Kind::Endpoints, endpoints), ["10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."]);
    let endpoints = json!({ "subsets": [{ "addresses": [{ "ip": "fd00::1" }], "ports": [{ "port": 80 }] }] });
    assert_eq!(row(Kind::Endpoints, endpoints), ["[fd00::1]:80"]);
    let slice = json!({ "addressType": "IPv4", "endpoints": null, "ports": null });
    assert_eq!(row(Kind::EndpointSlice, slice), ["IPv4", "<unset>", "<unset>"]);
    let slice = json!({ "addressType": "IPv4", "ports": [{ "port": 80, "name": "" }, { "name": "any" }],
                        "endpoints": [{ "addresses": ["10.0.0.1"] }, { "addresses": ["10.0.0.2"] }] });
    assert_eq!(row(Kind::EndpointSlice, slice), ["IPv4", "80,any", "10.0.0.1,10.0.0.2"]);
}

fn pod(status: Value) -> Value {
    json!({ "metadata": {}, "spec": { "nodeName": "n1", "containers": [{ "name": "a" }] }, "status": status })
}

#[test]
fn pods() {
    let running = json!({ "phase": "Running", "podIPs": [{ "ip": "10.0.0.1" }],
        "containerStatuses": [{ "name": "a", "ready": true, "restartCount": 2, "state": { "running": {} },
            "lastState": { "terminated": { "finishedAt": "2026-01-01T00:03:00Z" } } }] });
    assert_eq!(
        row(Kind::Pod, pod(running.clone())),
        ["1/1", "Running", "2 (2m ago)", "10.0.0.1", "n1", "<none>", "<none>"]
    );
    let mut terminating = pod(running);
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:00Z");
    assert_eq!(row(Kind::Pod, terminating)[1], "Terminating");
    let completed = json!({ "phase": "Succeeded",
        "containerStatuses": [{ "name": "a", "state": { "terminated": { "reason": "Completed", "exitCode": 0 } } }] });
    assert_eq!(row(Kind::Pod, pod(completed))[..2], ["0/1", "Completed"]);
    let crashing = json!({ "phase": "Running",
        "containerStatuses": [{ "name": "a", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] });
    assert_eq!(row(Kind::Pod, pod(crashing))[1], "CrashLoopBackOff");
    assert_eq!(row(Kind::Pod, pod(json!({ "phase": "Pending" })))[..3], ["0/1", "Pending", "0"]);
    assert_eq!(row(Kind::Pod, pod(json!({ "phase": "Failed", "reason": "Evicted" })))[1], "Evicted");
}

#[test]
fn pods_that_initialise() {
    let mut init = pod(json!({ "phase": "Pending", "initContainerStatuses": [
        { "name": "one", "state": { "terminated": { "exitCode": 0 } } },
        { "name": "two", "state": { "running": {} } } ] }));
    init["spec"]["initContainers"] = json!([{ "name": "one" }, { "name": "two" }]);
    assert_eq!(row(Kind::Pod, init.clone())[..2], ["0/1", "Init:1/2"]);
    init["status"]["initContainerStatuses"][1]["state"] = json!({ "terminated": { "exitCode": 3 } });
    assert_eq!(row(Kind::Pod, init.clone())[1], "Init:ExitCode:3");
    init["spec"]["initContainers"][1]["restartPolicy"] = json!("Always");
    init["status"] = json!({ "phase": "Running",
        "initContainerStatuses": [{ "name": "two", "started": true, "ready": true, "state": { "running": {} } }],
        "containerStatuses": [{ "name": "a", "ready": true, "state": { "running": {} } }] });
    assert_eq!(row(Kind::Pod, init)[..2], ["2/2", "Running"]);
}

#[test]
fn readiness_gates() {
    let mut gated = pod(json!({ "phase": "Running", "conditions": [{ "type": "x/y", "status": "True" }] }));
    gated["spec"]["readinessGates"] = json!([{ "conditionType": "x/y" }, { "conditionType": "x/z" }]);
    assert_eq!(row(Kind::Pod, gated)[6], "1/2");
}

#[test]
fn nodes() {
    let node = json!({ "metadata": { "labels": { "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "" } },
        "spec": { "unschedulable": true },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "kubeletVersion": "v1.36.0" },
                    "addresses": [{ "type": "InternalIP", "address": "10.1.0.1" }] } });
    assert_eq!(
        row(Kind::Node, node),
        [
            "Ready,SchedulingDisabled",
            "control-plane,worker",
            "v1.36.0",
            "10.1.0.1",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>"
        ]
    );
    assert_eq!(row(Kind::Node, json!({ "metadata": {} }))[..2], ["Unknown", "<none>"]);
}

#[test]
fn workloads() {
    let object = json!({ "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } },
        "template": { "spec": { "containers": [{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:2" }] } } },
        "status": { "replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1 } });
    assert_eq!(row(Kind::Deployment, object.clone()), ["2/3", "3", "1", "a,b", "a:1,b:2", "app=web"]);
    assert_eq!(row(Kind::ReplicaSet, object.clone()), ["3", "3", "2", "a,b", "a:1,b:2", "app=web"]);
    assert_eq!(row(Kind::StatefulSet, object), ["2/3", "a,b", "a:1,b:2"]);
}

#[test]
fn events_leases_namespaces() {
    let event = json!({ "type": "Warning", "reason": "Failed", "message": " why\n", "count": 3,
        "involvedObject": { "kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}" },
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:04:00Z",
        "source": { "component": "kubelet", "host": "n1" } });
    assert_eq!(
        row(Kind::Event, event),
        ["60s", "Warning", "Failed", "pod/p", "spec.containers{a}", "kubelet, n1", "why", "5m", "3"]
    );
    let event = json!({ "eventTime": "2026-01-01T00:04:30.000000Z", "reportingComponent": "c", "involvedObject": { "kind": "Node" } });
    assert_eq!(row(Kind::Event, event), ["30s", "", "", "node", "", "c", "", "30s", "1"]);
    assert_eq!(row(Kind::Lease, json!({ "spec": { "holderIdentity": "me" } })), ["me"]);
    assert_eq!(row(Kind::Namespace, json!({ "status": { "phase": "Active" } })), ["Active"]);
}
