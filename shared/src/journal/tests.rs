use std::sync::Arc;

use super::*;
use crate::{
    Membership,
    labels::Labels,
    object::{
        Conditions, EndpointSlice, Endpoints, Node, OwnerReference, Pod, Readiness, Service, SliceAddress,
        SliceEndpoint, TargetRef, well_known,
    },
};

fn service() -> Service {
    let mut service = Service { selector: Labels::from_iter([("app", "w")]), ..Service::default() };
    service.meta.key = Key::new("n", "web");
    service.meta.uid = "s".into();
    service.families.push(crate::object::Family::V4);
    service
}

fn pod(name: &str, ip: &str, ready: bool) -> Pod {
    let readiness = Readiness { ready, since: None, message: (!ready).then(|| "probe\nfailed".into()) };
    let mut pod = Pod { readiness, ..Pod::default() };
    pod.meta.key = Key::new("n", name);
    pod.meta.uid = format!("uid-{name}").into();
    pod.ips.push(ip.parse().unwrap());
    pod
}

fn view(service: Option<Service>, pods: Vec<Pod>) -> ServiceView {
    let decide = |pod| {
        let service = service.as_ref().unwrap();
        Arc::new(Membership::decide(service, &Arc::new(pod), Some(&Node::default())))
    };
    let members = Arc::new(pods.into_iter().map(decide).collect());
    ServiceView {
        key: Key::new("n", "web"),
        members,
        service: service.map(Arc::new),
        ..ServiceView::default()
    }
}

fn endpoint(name: &str, ip: &str, ready: bool) -> SliceEndpoint {
    let target = TargetRef {
        kind: "Pod".into(),
        namespace: "n".into(),
        name: name.into(),
        uid: format!("uid-{name}").into(),
        ..TargetRef::default()
    };
    SliceEndpoint {
        addresses: std::iter::once(SliceAddress::Ip(ip.parse().unwrap())).collect(),
        conditions: Conditions { ready: Some(ready), serving: Some(ready), terminating: Some(false) },
        target: Some(target.into()),
        ..SliceEndpoint::default()
    }
}

fn slice(version: &str, endpoints: Vec<SliceEndpoint>) -> EndpointSlice {
    let owner = OwnerReference { uid: "s".into(), kind: "Service".into(), ..OwnerReference::default() };
    let mut slice = EndpointSlice { endpoints, owners: vec![owner], ..EndpointSlice::default() };
    slice.meta.key = Key::new("n", "web-1");
    slice.meta.resource_version = version.into();
    slice
}

fn told(
    journal: &Journal,
    view: &ServiceView,
    old: Option<&EndpointSlice>,
    new: Option<&EndpointSlice>,
) -> Vec<String> {
    let has_pod = |key: &Key| key.name == "moved-on";
    journal.record(&Wrote { view, has_pod: &has_pod, old, new, shadow: false });
    let entry = journal.read(&Query { limit: Some(1), ..Query::default() }).remove(0);
    entry.why.lines().map(str::to_owned).collect()
}

#[test]
fn every_endpoint_has_its_reason() {
    let mut going = pod("d", "10.0.0.4", true);
    going.meta.deleting = true;
    let mut done = pod("e", "10.0.0.5", true);
    done.phase = crate::object::Phase::Failed;
    let mut other = pod("f", "10.0.0.6", true);
    other.meta.uid = "new".into();
    let view = view(
        Some(service()),
        vec![pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false), going, done, other],
    );
    let old = slice(
        "1",
        vec![
            endpoint("b", "10.0.0.2", true),
            endpoint("d", "10.0.0.4", true),
            endpoint("e", "10.0.0.5", true),
            endpoint("f", "10.0.0.6", true),
            endpoint("gone", "10.0.0.7", true),
            endpoint("moved-on", "10.0.0.8", true),
        ],
    );
    let mut terminating = endpoint("d", "10.0.0.4", false);
    terminating.conditions.terminating = Some(true);
    let new =
        slice("2", vec![endpoint("b", "10.0.0.2", false), terminating, endpoint("a", "10.0.0.1", true)]);
    assert_eq!(
        told(&Journal::default(), &view, Some(&old), Some(&new)),
        [
            "10.0.0.5 (pod e) removed: finished",
            "10.0.0.6 (pod f) removed: another pod of this name took its place",
            "10.0.0.7 (pod gone) removed: pod gone",
            "10.0.0.8 (pod moved-on) removed: no longer selected",
            "10.0.0.2 (pod b) changed: not ready: probe failed",
            "10.0.0.4 (pod d) changed: terminating",
            "10.0.0.1 (pod a) added: ready",
        ]
    );
}

#[test]
fn objects_come_and_go_for_reasons() {
    let journal = Journal::default();
    let here = view(Some(service()), vec![]);
    let empty = slice("1", vec![]);
    let told = |view: &ServiceView, old, new| told(&journal, view, old, new).remove(0);
    assert_eq!(
        told(&here, None, Some(&empty)),
        "no endpoints: a placeholder, so that none can be told from not yet"
    );
    assert_eq!(told(&here, Some(&empty), None), "repack: nothing is left in it");
    assert_eq!(told(&view(None, vec![]), Some(&empty), None), "service gone");
    let without = Service { selector: Labels::default(), ..service() };
    assert_eq!(told(&view(Some(without), vec![]), Some(&empty), None), "selector removed");
    let mut of_earlier = slice("1", vec![]);
    of_earlier.owners.clear();
    assert_eq!(told(&here, Some(&of_earlier), None), "of an earlier service of this name");
    let mut six = slice("1", vec![]);
    six.address_type = crate::object::AddressType::V6;
    assert_eq!(told(&here, Some(&six), None), "of a family that the service does not have");
    let mut mirrored = slice("1", vec![]);
    let by = [(well_known::SLICE_MANAGED_BY, well_known::MIRRORING_CONTROLLER)];
    mirrored.meta.labels = by.into_iter().collect();
    assert_eq!(told(&here, Some(&mirrored), None), "nothing to mirror in it");
}

#[test]
fn what_is_not_an_endpoint_is_told_too() {
    let view = view(Some(service()), vec![pod("a", "10.0.0.1", true)]);
    let old = slice("1", vec![endpoint("a", "10.0.0.1", true)]);
    let mut new = old.clone();
    new.meta.labels = [("tier", "front")].into_iter().collect();
    new.annotations =
        [(well_known::LAST_CHANGE_TRIGGER_TIME, "2026-01-01T00:00:00Z"), ("note", "x")].into_iter().collect();
    new.owners.clear();
    new.ports = Some(vec![crate::object::EndpointPort::default()]);
    new.endpoints[0].zone = Some("z".into());
    assert_eq!(
        told(&Journal::default(), &view, Some(&old), Some(&new)),
        ["labels: tier", "annotations: note", "owner", "ports", "10.0.0.1 (pod a) changed: zone"]
    );
}

#[test]
fn an_edit_by_others_is_noticed_while_the_journal_remembers() {
    let journal = Journal::default();
    let view = view(Some(service()), vec![pod("a", "10.0.0.1", true)]);
    let with = |version| slice(version, vec![endpoint("a", "10.0.0.1", true)]);
    told(&journal, &view, None, Some(&with("1")));
    let ours = told(&journal, &view, Some(&with("1")), Some(&with("2")));
    assert_eq!(ours, [""; 0]);
    let by_another = told(&journal, &view, Some(&with("4")), Some(&with("5")));
    assert_eq!(by_another, ["another replica has written it since"]);
    let mut edited = with("6");
    edited.foreign = Some(Box::new(crate::object::ForeignWrites {
        manager: "kubectl-edit".into(),
        at: "2200-01-01T00:00:00Z".parse().unwrap(),
        controller: None,
    }));
    edited.endpoints[0].target = None;
    assert_eq!(
        told(&journal, &view, Some(&edited), Some(&with("7"))),
        [
            "edited by kubectl-edit at 2200-01-01T00:00:00Z",
            "10.0.0.1 removed: no pod of the service",
            "10.0.0.1 (pod a) added: ready",
        ]
    );
}

#[test]
fn one_entry_is_bounded_and_so_are_all() {
    let journal = Journal::new(3);
    let view = view(Some(service()), vec![]);
    let many = (0..50).map(|n| endpoint(&format!("p{n}"), &format!("10.0.1.{n}"), true)).collect();
    let lines = told(&journal, &view, None, Some(&slice("1", many)));
    assert_eq!((lines.len(), lines[20].as_str()), (21, "and 30 more"));
    for version in 2..7 {
        let (old, new) = (slice(&(version - 1).to_string(), vec![]), slice(&version.to_string(), vec![]));
        told(&journal, &view, Some(&old), Some(&new));
    }
    let seqs = |query: Query| journal.read(&query).iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(seqs(Query::default()), [4, 5, 6]);
    assert_eq!(seqs(Query { limit: Some(2), ..Query::default() }), [5, 6]);
    assert_eq!(seqs(Query { since: Some(3), limit: Some(2), ..Query::default() }), [4, 5]);
    assert_eq!(seqs(Query { namespace: Some("m".into()), ..Query::default() }), [0; 0]);
    assert_eq!(seqs(Query { service: Some(Key::new("n", "web")), ..Query::default() }), [4, 5, 6]);
    // However long the reasons are, memory has its bound.
    let journal = Journal::new(usize::MAX);
    let long =
        |n| (0..20).map(|m| endpoint(&format!("{}-{n}-{m}", "p".repeat(200)), "10.0.0.1", true)).collect();
    for n in 0..1000 {
        told(&journal, &view, None, Some(&slice("1", long(n))));
    }
    assert!(journal.ring.lock().bytes <= BYTES);
    assert!(journal.read(&Query::default()).len() > 100);
}

#[test]
fn an_entry_is_a_line_of_json() {
    let journal = Journal::default();
    let view = view(Some(service()), vec![pod("a", "10.0.0.1", true)]);
    let endpoints = |version: &str| {
        let text = format!(
            r#"{{"metadata":{{"name":"web","namespace":"n","resourceVersion":"{version}"}},
                "subsets":[{{"addresses":[{{"ip":"10.0.0.1","targetRef":{{"kind":"Pod","name":"a"}}}}]}}]}}"#
        );
        <Endpoints as crate::object::Decode>::decode(&text).unwrap()
    };
    let new = endpoints("9");
    journal.record(&Wrote { view: &view, has_pod: &|_| true, old: None, new: Some(&new), shadow: true });
    let mut line = serde_json::to_value(&*journal.read(&Query::default())[0]).unwrap();
    line.as_object_mut().unwrap().remove("time");
    assert_eq!(
        line,
        serde_json::json!({"seq": 1, "service": "n/web", "kind": "Endpoints", "name": "web", "verb": "create",
            "shadow": true, "endpoints": 1, "ready": 1, "added": 1, "removed": 0, "changed": 0,
            "why": ["10.0.0.1 (pod a) added: ready"]})
    );
}
