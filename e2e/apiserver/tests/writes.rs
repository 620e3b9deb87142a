//! Creates, updates and patches.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Endpoints;
use kube::api::{Patch, PatchParams, PostParams};

use super::*;

const SERVICES: &str = "/api/v1/namespaces/default/services";

#[tokio::test]
async fn an_object_is_made_read_changed_and_its_versions_rise() {
    let (_server, client) = bare().await;
    let api = services(&client);
    let made = api.create(&PostParams::default(), &object(service("web"))).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    let spec = made.spec.clone().unwrap();
    assert!(spec.cluster_ip.unwrap().starts_with("10.96."));
    assert_eq!(spec.ports.unwrap()[0].protocol.as_deref(), Some("TCP"));
    let mut changed = made.clone();
    changed.metadata.labels.get_or_insert_default().insert("a".to_owned(), "b".to_owned());
    let after = api.replace("web", &PostParams::default(), &changed).await.unwrap();
    let version = |it: &Service| it.metadata.resource_version.clone().unwrap().parse::<u64>().unwrap();
    assert!(version(&after) > version(&made));
    assert_eq!(after.metadata.uid, made.metadata.uid);
    let stale = api.replace("web", &PostParams::default(), &changed).await.unwrap_err();
    assert!(
        matches!(&stale, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"),
        "{stale}"
    );
    let same = api.replace("web", &PostParams::default(), &after).await.unwrap();
    assert_eq!(version(&same), version(&after), "a write that changes nothing is none");
}

#[tokio::test]
async fn refusals_have_their_codes_and_words() {
    let (server, _) = bare().await;
    let web = service("web").to_string();
    assert_eq!(send(&server, &format!("POST {SERVICES}"), &web).await.status, 201);
    let mut elsewhere = service("x");
    elsewhere["metadata"]["namespace"] = json!("other");
    let mut versioned = service("x");
    versioned["metadata"]["resourceVersion"] = json!("1");
    for (head, body, status, words) in [
        (format!("POST {SERVICES}"), web.clone(), 409, "services \"web\" already exists"),
        (format!("GET {SERVICES}/nope"), String::new(), 404, "services \"nope\" not found"),
        (
            "POST /api/v1/namespaces/nope/services".to_owned(),
            "{\"metadata\":{\"name\":\"x\"}}".to_owned(),
            404,
            "namespaces \"nope\" not found",
        ),
        (
            format!("POST {SERVICES}"),
            elsewhere.to_string(),
            400,
            "does not match the namespace sent on the request",
        ),
        (format!("POST {SERVICES}"), versioned.to_string(), 400, "resourceVersion should not be set"),
        (format!("PUT {SERVICES}/other"), web.clone(), 400, "does not match the name on the URL (other)"),
        (format!("POST {SERVICES}"), "{".to_owned(), 400, "must be of type JSON"),
        (format!("POST {SERVICES}"), "[]".to_owned(), 400, "cannot unmarshal"),
        (format!("POST {SERVICES}"), pod("x", None).to_string(), 400, "cannot be handled as a Service"),
        (format!("POST {SERVICES}\nContent-Type: text/plain"), web.clone(), 415, "unknown format"),
        (
            format!("PATCH {SERVICES}/web\nContent-Type: application/json"),
            "{}".to_owned(),
            415,
            "merge-patch+json",
        ),
        (
            format!("PATCH {SERVICES}/nope\nContent-Type: application/merge-patch+json"),
            "{}".to_owned(),
            404,
            "nope",
        ),
        (format!("POST {SERVICES}?dryRun=Maybe"), web.clone(), 400, "dryRun"),
        (
            format!("PUT {SERVICES}/web"),
            json!({"metadata": {"name": "web", "uid": "other"}, "spec": {}}).to_string(),
            409,
            "UID in precondition: other",
        ),
    ] {
        let answer = send(&server, &head, &body).await;
        assert_eq!(answer.status, status, "{head}: {}", answer.body);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{head}: {message}");
    }
    let big = "x".repeat(4 << 20);
    assert_eq!(send(&server, &format!("POST {SERVICES}"), &big).await.status, 413);
}

#[tokio::test]
async fn yaml_is_as_good_as_json() {
    let (server, _) = bare().await;
    let yaml = "kind: Service\napiVersion: v1\nmetadata: {name: web}\nspec:\n  ports: [{port: 80}]\n";
    let answer = send(&server, &format!("POST {SERVICES}\nContent-Type: application/yaml"), yaml).await;
    assert_eq!((answer.status, &answer.json()["spec"]["ports"][0]["targetPort"]), (201, &json!(80)));
}

#[tokio::test]
async fn unknown_fields_are_refused_or_warned_of() {
    let (server, _) = bare().await;
    let mut odd = service("web");
    odd["spec"]["colour"] = json!("red");
    let strict = send(&server, &format!("POST {SERVICES}?fieldValidation=Strict"), &odd.to_string()).await;
    assert_eq!(strict.status, 400);
    assert!(strict.body.contains("unknown field \\\"spec.colour\\\""), "{}", strict.body);
    let ignored =
        send(&server, &format!("POST {SERVICES}?fieldValidation=Ignore&dryRun=All"), &odd.to_string()).await;
    assert!(ignored.status == 201 && !ignored.head.contains("299"), "{ignored:?}");
    let warned = send(&server, &format!("POST {SERVICES}"), &odd.to_string()).await;
    assert_eq!(warned.status, 201);
    assert!(warned.head.contains("299 - \"unknown field \\\"spec.colour\\\"\""), "{}", warned.head);
    assert!(warned.json()["spec"].get("colour").is_none());
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let (server, client) = bare().await;
    let api = services(&client);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let version = server.store().version();
    let tried = api.create(&dry, &object(service("web"))).await.unwrap();
    assert_eq!(server.store().version(), version);
    let made = api.create(&PostParams::default(), &object(service("web"))).await.unwrap();
    let address = |it: &Service| it.spec.clone().unwrap().cluster_ip;
    assert_eq!(address(&tried), address(&made), "the address of the dry run was free again");
    let version = server.store().version();
    let patch = Patch::Merge(json!({"spec": {"type": "NodePort"}}));
    let patched = api.patch("web", &PatchParams::default().dry_run(), &patch).await.unwrap();
    assert!(patched.spec.unwrap().ports.unwrap()[0].node_port.is_some());
    let delete = format!("DELETE {SERVICES}/web?dryRun=All");
    assert_eq!(send(&server, &delete, "").await.status, 200);
    assert_eq!(server.store().version(), version);
    assert_eq!(api.get("web").await.unwrap(), made);
}

#[tokio::test]
async fn an_invalid_update_keeps_what_is_allocated() {
    let (_server, client) = bare().await;
    let api = services(&client);
    let made = api.create(&PostParams::default(), &object(service("web"))).await.unwrap();
    let patch = Patch::Merge(json!({"spec": {"type": "ExternalName", "externalName": "not a name"}}));
    assert!(api.patch("web", &PatchParams::default(), &patch).await.is_err());
    let mut thief = service("thief");
    thief["spec"]["clusterIP"] = json!(made.spec.unwrap().cluster_ip);
    let error = api.create(&PostParams::default(), &object(thief)).await.unwrap_err();
    assert!(error.to_string().contains("provided IP is already allocated"), "{error}");
}

#[tokio::test]
async fn a_name_is_generated_where_none_is_given() {
    let (_server, client) = bare().await;
    let api = pods(&client);
    let mut body = pod("x", None);
    body["metadata"] = json!({"generateName": "web-", "namespace": "default"});
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let made = api.create(&PostParams::default(), &object(body.clone())).await.unwrap();
        names.insert(made.metadata.name.unwrap());
    }
    assert_eq!(names.len(), 20);
    assert!(names.iter().all(|name| name.starts_with("web-") && name.len() == 9), "{names:?}");
}

#[tokio::test]
async fn some_kinds_are_made_by_an_update() {
    let (_server, client) = bare().await;
    let params = PostParams::default();
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    let made = endpoints.replace("x", &params, &object(json!({"metadata": {"name": "x"}}))).await.unwrap();
    assert!(made.metadata.uid.is_some());
    let missing = pods(&client).replace("x", &params, &object(pod("x", None))).await.unwrap_err();
    assert!(matches!(&missing, kube::Error::Api(status) if status.code == 404), "{missing}");
    let leases: Api<Lease> = Api::namespaced(client, "default");
    let body: Lease = object(json!({"metadata": {"name": "lock"}, "spec": {"holderIdentity": "me"}}));
    leases.create(&params, &body).await.unwrap();
    let blind = leases.replace("lock", &params, &body).await.unwrap_err();
    assert!(blind.to_string().contains("must be specified for an update"), "{blind}");
}

#[tokio::test]
async fn the_status_is_written_apart() {
    let (_server, client) = bare().await;
    let api = pods(&client);
    let mut body = pod("web", Some("node-a"));
    body["status"] = json!({"phase": "Running", "podIP": "10.1.0.1"});
    let made = api.create(&PostParams::default(), &object(body)).await.unwrap();
    assert_eq!(made.status.as_ref().unwrap().phase.as_deref(), Some("Pending"));
    let patch = Patch::Merge(json!({
        "metadata": {"labels": {"sneaked": "in"}},
        "status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]},
    }));
    let patched = api.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.status.unwrap().pod_ip.as_deref(), Some("10.1.0.1"));
    let mut main: Pod = api.get("web").await.unwrap();
    main.status.as_mut().unwrap().pod_ip = None;
    let after = api.replace("web", &PostParams::default(), &main).await.unwrap();
    assert_eq!(after.status.unwrap().pod_ip.as_deref(), Some("10.1.0.1"));
}

#[tokio::test]
async fn a_manager_applies_what_it_owns() {
    let (server, client) = bare().await;
    let api = services(&client);
    let apply = |manager: &str| PatchParams::apply(manager);
    let made = api.patch("web", &apply("one"), &Patch::Apply(service("web"))).await.unwrap();
    let version = made.metadata.resource_version.clone();
    let again = api.patch("web", &apply("one"), &Patch::Apply(service("web"))).await.unwrap();
    assert_eq!(again.metadata.resource_version, version, "an apply that changes nothing is no write");
    let mut other = service("web");
    other["spec"]["ports"][0]["name"] = json!("web");
    let error = api.patch("web", &apply("two"), &Patch::Apply(&other)).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 409 && status.message.contains("\"one\"")),
        "{error}"
    );
    let forced = api.patch("web", &apply("two").force(), &Patch::Apply(&other)).await.unwrap();
    assert_eq!(forced.spec.unwrap().ports.unwrap()[0].name.as_deref(), Some("web"));
    let head = format!("PATCH {SERVICES}/web\nContent-Type: application/apply-patch+yaml");
    assert_eq!(send(&server, &head, "{}").await.status, 422, "an apply without a manager");
}

#[tokio::test]
async fn scale_is_a_number_of_its_own() {
    let (_server, client) = bare().await;
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(client, "default");
    let body = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    });
    api.create(&PostParams::default(), &object(body)).await.unwrap();
    let scale = api.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(2));
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    api.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
    let after = api.get("web").await.unwrap();
    assert_eq!(after.spec.replicas, Some(5));
    assert_eq!(after.metadata.generation, Some(2));
    let stale = Patch::Merge(json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}));
    assert!(api.patch_scale("web", &PatchParams::default(), &stale).await.is_err());
    let negative = Patch::Merge(json!({"spec": {"replicas": -1}}));
    assert!(api.patch_scale("web", &PatchParams::default(), &negative).await.is_err());
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let (server, client) = bare().await;
    pods(&client).create(&PostParams::default(), &object(pod("web", None))).await.unwrap();
    let binding =
        json!({"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "node-a"}}).to_string();
    let head = "POST /api/v1/namespaces/default/pods/web/binding";
    assert_eq!(send(&server, head, &binding).await.status, 201);
    let bound = pods(&client).get("web").await.unwrap();
    assert_eq!(bound.spec.unwrap().node_name.as_deref(), Some("node-a"));
    assert_eq!(bound.status.unwrap().conditions.unwrap()[0].type_, "PodScheduled");
    let twice = send(&server, head, &binding).await;
    assert_eq!(twice.status, 409);
    assert!(twice.body.contains("already assigned to node"), "{}", twice.body);
}

#[tokio::test]
async fn events_are_one_thing_under_two_groups() {
    let (server, _) = bare().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "callsign.dev/controller",
        "reportingInstance": "c-0", "action": "Sync", "reason": "Broken", "type": "Warning", "note": "no endpoints",
        "regarding": {"kind": "Service", "name": "web", "namespace": "default"},
    });
    let made =
        send(&server, "POST /apis/events.k8s.io/v1/namespaces/default/events", &event.to_string()).await;
    assert_eq!((made.status, &made.json()["note"]), (201, &json!("no endpoints")), "{}", made.body);
    let core = get(&server, "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb")
        .await
        .json();
    assert_eq!(core["items"][0]["message"], "no endpoints");
    assert_eq!(core["items"][0]["reportingComponent"], "callsign.dev/controller");
    let list = get(&server, "/apis/events.k8s.io/v1/events").await.json();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("events.k8s.io/v1"), &json!("EventList")));
    assert_eq!(list["items"][0]["regarding"]["name"], "web");
}
