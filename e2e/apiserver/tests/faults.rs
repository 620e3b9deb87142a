//! The fault switches, over HTTP and in the process.

use kube::api::PostParams;

use super::*;
use crate::apiserver::faults::{Fault, Requests};
use crate::apiserver::kind::Kind;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn requests_are_refused_as_often_as_asked_and_counted() {
    let (server, _) = bare().await;
    let faults = json!([
        {"fault": "answer", "requests": {"verb": "create", "kind": "pods"}, "times": 1, "status": 429, "retryAfter": 7},
        {"fault": "answer", "requests": {"kind": "pods", "name": "a*"}, "times": 1, "status": 500},
    ]);
    let armed = send(&server, "POST /_faults", &faults.to_string()).await;
    assert_eq!((armed.status, &armed.json()["armed"]), (200, &json!(2)));
    let create = async || {
        send(&server, &format!("POST {PODS}\nUser-Agent: tester/1"), &pod("a", None).to_string()).await
    };
    let refused = create().await;
    assert_eq!((refused.status, &refused.json()["reason"]), (429, &json!("TooManyRequests")));
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 7"), "{}", refused.head);
    assert_eq!(create().await.status, 201);
    assert_eq!(get(&server, &format!("{PODS}/a")).await.status, 500);
    assert_eq!(get(&server, &format!("{PODS}/a")).await.status, 200);
    let state = get(&server, "/_faults").await.json();
    assert_eq!(state["armed"], 0);
    let row = json!({"verb": "create", "resource": "pods", "userAgent": "tester/1", "count": 2});
    assert!(state["requests"].as_array().unwrap().contains(&row), "{state}");
    assert_eq!(server.faults().requests_of("create", "pods"), 2);
    assert_eq!(send(&server, "DELETE /_faults", "").await.json()["requests"], json!([]));
    let nonsense = send(&server, "POST /_faults", r#"{"fault": "explode"}"#).await;
    assert_eq!(nonsense.status, 400);
}

#[tokio::test]
async fn an_answer_is_lost_after_the_deed() {
    let (server, _) = bare().await;
    let requests = Requests::of("create", "pods");
    server.faults().set(Fault::LoseResponse { requests, times: 1 }).unwrap();
    let answer = try_send(&server, &format!("POST {PODS}"), &pod("a", None).to_string()).await;
    assert!(answer.is_none(), "{answer:?}");
    assert!(server.store().get(Kind::Pod, "default", "a").is_some());
}

#[tokio::test]
async fn a_request_is_held_back() {
    let (server, _) = bare().await;
    let requests = Requests::of("list", "pods");
    server.faults().set(Fault::Delay { requests, times: 1, milliseconds: 150 }).unwrap();
    let started = Instant::now();
    assert_eq!(get(&server, PODS).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert_eq!(server.faults().armed(), 0, "and only this one");
}

/// What a watch from now on sees within its second, while `work` goes on.
async fn seen(server: &Running, work: impl Future<Output = ()>) -> Vec<String> {
    let version = server.store().version();
    let path = format!("{PODS}?watch=true&timeoutSeconds=1&resourceVersion={version}");
    let (answer, ()) = tokio::join!(get(server, &path), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        work.await;
    });
    answer
        .events()
        .iter()
        .map(|event| event["object"]["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn events_are_skipped_held_and_late() {
    let (server, client) = bare().await;
    let make = async |name: &str| {
        pods(&client).create(&PostParams::default(), &object(pod(name, None))).await.unwrap();
    };
    let pods = || Some("pods".to_owned());
    server.faults().set(Fault::SkipEvents { kind: "pods".to_owned(), times: 1 }).unwrap();
    let skipping = seen(&server, async {
        make("a").await;
        make("b").await;
    });
    assert_eq!(skipping.await, ["b"]);
    server.faults().set(Fault::Hold { kind: pods() }).unwrap();
    assert_eq!(seen(&server, make("c")).await, Vec::<String>::new());
    let releasing = seen(&server, async {
        make("d").await;
        server.faults().set(Fault::Release { kind: pods() }).unwrap();
    });
    assert_eq!(releasing.await, ["d"], "nothing was lost by holding");
    server.faults().set(Fault::DelayWatch { kind: pods(), milliseconds: 2000 }).unwrap();
    assert_eq!(seen(&server, make("e")).await, Vec::<String>::new());
    server.faults().set(Fault::DelayWatch { kind: pods(), milliseconds: 200 }).unwrap();
    assert_eq!(seen(&server, make("f")).await, ["f"]);
    server.faults().set(Fault::Hold { kind: None }).unwrap();
    server.faults().clear();
    assert_eq!(seen(&server, make("g")).await, ["g"]);
}

#[tokio::test]
async fn watches_are_dropped_in_order_or_not() {
    let (server, _) = bare().await;
    for abrupt in [false, true] {
        let version = server.store().version();
        let path = format!("{PODS}?watch=true&resourceVersion={version}");
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        let fault = json!({"fault": "dropWatches", "abrupt": abrupt}).to_string();
        assert_eq!(send(&server, "POST /_faults", &fault).await.status, 200);
        let mut rest = vec![0; 4096];
        let mut text = String::new();
        // An orderly end leaves the connection open, and a cut does not.
        while !text.ends_with("0\r\n\r\n") {
            let read =
                tokio::time::timeout(Duration::from_secs(5), stream.read(&mut rest)).await.expect("an end");
            match read {
                Ok(0) | Err(_) => break,
                Ok(count) => text.push_str(std::str::from_utf8(&rest[..count]).unwrap()),
            }
        }
        assert_eq!(text.ends_with("0\r\n\r\n"), !abrupt, "{text:?}");
    }
}

#[tokio::test]
async fn expired_versions_are_gone_and_new_lists_get_past_them() {
    let (server, _) = bare().await;
    let old = server.store().version();
    server.faults().set(Fault::ExpireVersions).unwrap();
    let watch = async |version: &str| {
        get(&server, &format!("{PODS}?watch=true&timeoutSeconds=1&resourceVersion={version}")).await.events()
    };
    assert_eq!(watch(&old.to_string()).await[0]["object"]["code"], 410);
    let list = get(&server, PODS).await.json();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(watch(version).await, Vec::<Value>::new());
}
