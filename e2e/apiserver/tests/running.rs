//! Starting, discovery and stopping.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::*;
use crate::apiserver::kind::Kind;

#[tokio::test]
async fn a_port_that_is_taken_is_told_as_such() {
    let (server, _) = bare().await;
    let error = ApiServer::start(Options::bare(server.addr())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let addr = server.addr();
    server.shutdown().await;
    ApiServer::start(Options::bare(addr)).await.unwrap();
}

#[tokio::test]
async fn nothing_but_loopback_is_listened_on() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let error = ApiServer::start(Options::bare(everywhere)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
}

#[tokio::test]
async fn a_shutdown_ends_watches_in_order() {
    let (server, _) = bare().await;
    let addr = server.addr();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /api/v1/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut start = [0; 16];
    stream.read_exact(&mut start).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        server.shutdown().await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        String::from_utf8(rest).unwrap()
    });
    let rest = ended.await.expect("an end");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn its_kubeconfig_leads_to_it() {
    let (server, _) = bare().await;
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
}

#[tokio::test]
async fn what_a_cluster_has_from_the_start() {
    let (server, client) = bare().await;
    let kubernetes = services(&client).get("kubernetes").await.unwrap();
    assert_eq!(kubernetes.spec.unwrap().cluster_ip.as_deref(), Some("10.96.0.1"));
    let slice =
        get(&server, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.json();
    assert_eq!(slice["metadata"]["labels"], json!({ "kubernetes.io/service-name": "kubernetes" }));
    let endpoints = get(&server, "/api/v1/namespaces/default/endpoints/kubernetes").await.json();
    assert_eq!(endpoints["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"], "true");
    let namespaces = get(&server, "/api/v1/namespaces").await.json();
    let names: Vec<&str> = namespaces["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    let (without, _) = start(Options { default_objects: false, ..Options::default() }).await;
    assert_eq!(get(&without, "/api/v1/services").await.json()["items"], json!([]));
}

#[tokio::test]
async fn the_service_of_the_server_comes_back() {
    let (server, client) = bare().await;
    let store = server.store();
    let kinds = [Kind::Service, Kind::Endpoints, Kind::EndpointSlice];
    let uids = || -> Vec<String> {
        let found = kinds.iter().filter_map(|kind| store.get(*kind, "default", "kubernetes"));
        found.map(|object| object.uid().to_owned()).collect()
    };
    let before = uids();
    services(&client).delete("kubernetes", &Default::default()).await.unwrap();
    eventually("it is there again", || {
        let now = uids();
        now.len() == 3 && now[0] != before[0] && now[1] != before[1]
    })
    .await;
    let again = services(&client).get("kubernetes").await.unwrap();
    assert_eq!(again.spec.unwrap().cluster_ip.as_deref(), Some("10.96.0.1"));
}

#[tokio::test]
async fn discovery_knows_every_kind_in_both_forms() {
    let (server, client) = bare().await;
    let discovery = kube::Discovery::new(client.clone()).run().await.unwrap();
    for info in crate::apiserver::kind::KINDS {
        let group = discovery.get(info.group).unwrap_or_else(|| panic!("no group {:?}", info.group));
        let (resource, capabilities) = group.recommended_kind(info.name).expect(info.name);
        assert_eq!(resource.plural, info.plural);
        assert!(capabilities.supports_operation("watch"), "{}", info.name);
    }
    let accept =
        "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = send(&server, &format!("GET /apis\n{accept}"), "").await;
    assert!(aggregated.head.contains("as=APIGroupDiscoveryList"), "{}", aggregated.head);
    let apps = aggregated.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["metadata"]["name"] == "apps")
        .cloned();
    let resources = apps.unwrap()["versions"][0]["resources"].clone();
    assert_eq!(resources[0]["resource"], "deployments");
    let parts: Vec<Value> =
        resources[0]["subresources"].as_array().unwrap().iter().map(|it| it["subresource"].clone()).collect();
    assert_eq!(parts, ["scale", "status"]);
}

#[tokio::test]
async fn openapi_says_that_fields_are_validated() {
    let (server, _) = bare().await;
    let index = get(&server, "/openapi/v3").await.json();
    for (path, entry) in index["paths"].as_object().unwrap() {
        let document = get(&server, entry["serverRelativeURL"].as_str().unwrap()).await;
        assert_eq!(document.status, 200, "{path}");
        for (_, operations) in document.json()["paths"].as_object().unwrap() {
            let patch = &operations["patch"];
            let parameters: Vec<&Value> =
                patch["parameters"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
            assert!(parameters.contains(&&json!("fieldValidation")));
            assert!(patch["x-kubernetes-group-version-kind"]["kind"].is_string());
        }
    }
    assert_eq!(get(&server, "/openapi/v2").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_not_allowed_is_said() {
    let (server, _) = bare().await;
    for (head, status) in [
        ("GET /api/v1/gadgets", 404),
        ("GET /apis/batch/v1/jobs", 404),
        ("GET /nonsense", 404),
        ("GET /healthz", 200),
        ("GET /readyz/ping", 200),
        ("POST /version", 405),
        ("POST /api/v1/namespaces/default/pods/x", 405),
        ("PUT /api/v1/namespaces/default/endpoints/x/status", 405),
        ("DELETE /api/v1/pods", 405),
    ] {
        assert_eq!(send(&server, head, "{}").await.status, status, "{head}");
    }
}
