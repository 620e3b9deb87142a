//! Watches, by hand and by kube-rs.

use futures::{StreamExt, TryStreamExt};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};

use super::*;
use crate::apiserver::faults::Fault;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn label(value: &str) -> Patch<Value> {
    Patch::Merge(json!({"metadata": {"labels": {"app": value}}}))
}

/// Type and name of each event.
fn told(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events.iter().map(|event| (text(&event["type"]), text(&event["object"]["metadata"]["name"]))).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test]
async fn a_watch_starts_with_what_there_is_or_after_a_version() {
    let bookmarks = Duration::from_millis(50);
    let (server, client) = start(Options { bookmarks, ..Options::default() }).await;
    let api = pods(&client);
    api.create(&PostParams::default(), &object(pod("a", None))).await.unwrap();
    let version = server.store().version();
    api.create(&PostParams::default(), &object(pod("b", None))).await.unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let watch = async |query: &str| {
        let answer = get(&server, &format!("{PODS}?watch=true&timeoutSeconds=1&{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.events()
    };
    let after = watch(&format!("resourceVersion={version}")).await;
    assert_eq!(told(&after), pairs(&[("ADDED", "b"), ("DELETED", "a")]));
    assert_eq!(after[1]["object"]["metadata"]["resourceVersion"], server.store().version().to_string());
    assert_eq!(told(&watch("").await), pairs(&[("ADDED", "b")]));
    assert_eq!(told(&watch("resourceVersion=0").await), pairs(&[("ADDED", "b")]));
    let bookmarks = watch("allowWatchBookmarks=true").await;
    let last = &bookmarks[bookmarks.len() - 1];
    assert_eq!(last["type"], "BOOKMARK", "{bookmarks:?}");
    assert_eq!(last["object"]["metadata"]["resourceVersion"], server.store().version().to_string());
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = watch(streaming).await;
    assert_eq!(told(&events[..2]), pairs(&[("ADDED", "b"), ("BOOKMARK", "")]));
    assert_eq!(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection() {
    let (server, client) = bare().await;
    let api = pods(&client);
    let version = server.store().version();
    api.create(&PostParams::default(), &object(pod("a", None))).await.unwrap();
    for value in ["other", "a", "a2"] {
        api.patch("a", &PatchParams::default(), &label(value)).await.unwrap();
    }
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"annotations": {"x": "y"}}})))
        .await
        .unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let query = format!("watch=true&timeoutSeconds=1&resourceVersion={version}&labelSelector=app%3Da");
    let events = get(&server, &format!("{PODS}?{query}")).await.events();
    let expected = [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")];
    assert_eq!(told(&events), pairs(&expected));
    assert_eq!(events[1]["object"]["metadata"]["labels"]["app"], "a", "what it was when it was last seen");
    let versions: Vec<u64> = events
        .iter()
        .map(|event| event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let query =
        format!("watch=true&timeoutSeconds=1&resourceVersion={version}&fieldSelector=metadata.name%3Db");
    assert_eq!(get(&server, &format!("{PODS}?{query}")).await.events(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_version_that_is_too_old_is_an_error_in_the_stream() {
    let (server, client) = start(Options { watch_window: 3, ..Options::default() }).await;
    let version = server.store().version();
    for index in 0..5 {
        pods(&client).create(&PostParams::default(), &object(pod(&format!("p{index}"), None))).await.unwrap();
    }
    let answer = get(&server, &format!("{PODS}?watch=true&resourceVersion={version}")).await;
    let events = answer.events();
    assert_eq!((answer.status, events.len()), (200, 1));
    assert_eq!((&events[0]["type"], &events[0]["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(events[0]["object"]["reason"], "Expired");
}

#[tokio::test]
async fn options_that_do_not_fit_together_are_refused() {
    let (server, _) = bare().await;
    for query in [
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        "resourceVersionMatch=NotOlderThan",
    ] {
        let answer = get(&server, &format!("{PODS}?watch=true&{query}")).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (422, &json!("Invalid")), "{query}");
    }
    server.faults().set(Fault::RefuseStreamingLists { refuse: true }).unwrap();
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let answer = get(&server, &format!("{PODS}?{query}")).await;
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("WatchList feature gate"), "{}", answer.body);
}

#[tokio::test]
async fn a_table_is_watched_row_by_row() {
    let (server, client) = bare().await;
    pods(&client).create(&PostParams::default(), &object(pod("a", None))).await.unwrap();
    pods(&client).create(&PostParams::default(), &object(pod("b", None))).await.unwrap();
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io";
    let events =
        send(&server, &format!("GET {PODS}?watch=true&timeoutSeconds=1\n{accept}"), "").await.events();
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn a_slow_watch_is_cut_off_and_never_skips() {
    let (server, client) = start(Options { watch_window: 50, ..Options::default() }).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let version = server.store().version();
    let request = format!(
        "GET {PODS}?watch=true&resourceVersion={version} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let api = pods(&client);
    let mut big = pod("big", None);
    big["metadata"]["annotations"] = json!({"filler": "x".repeat(200_000)});
    api.create(&PostParams::default(), &object(big)).await.unwrap();
    for index in 0..150 {
        // Nobody reads: the socket's buffers fill, and then the log moves on past the watch.
        api.patch("big", &PatchParams::default(), &label(&format!("v{index}"))).await.unwrap();
    }
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes))
        .await
        .expect("an end")
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines = dechunked(text.split_once("\r\n\r\n").unwrap().1);
    let seen: Vec<Value> = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert!(seen.len() < 151, "the watch kept up, which is not what is tested here");
    let versions: Vec<u64> = seen
        .iter()
        .map(|event| event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    let expected: Vec<u64> = (version + 1..).take(versions.len()).collect();
    assert_eq!(versions, expected, "what was delivered has no gap");
}

#[tokio::test]
async fn kube_follows_in_both_ways() {
    for config in [watcher::Config::default().page_size(2), watcher::Config::default().streaming_lists()] {
        let (server, client) = bare().await;
        let api = pods(&client);
        for name in ["a", "b", "c"] {
            api.create(&PostParams::default(), &object(pod(name, None))).await.unwrap();
        }
        let mut events = Box::pin(watcher(api.clone(), config.clone()));
        let mut seen = Vec::new();
        loop {
            match next(&mut events).await {
                Event::Init => seen.clear(),
                Event::InitApply(pod) => seen.push(pod.metadata.name.unwrap()),
                Event::InitDone => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, ["a", "b", "c"]);
        api.create(&PostParams::default(), &object(pod("d", None))).await.unwrap();
        assert!(
            matches!(next(&mut events).await, Event::Apply(pod) if pod.metadata.name.as_deref() == Some("d"))
        );
        api.delete("a", &DeleteParams::default()).await.unwrap();
        assert!(
            matches!(next(&mut events).await, Event::Delete(pod) if pod.metadata.name.as_deref() == Some("a"))
        );
        // Cut off, and on again without a gap.
        server.faults().set(Fault::DropWatches { abrupt: true }).unwrap();
        api.create(&PostParams::default(), &object(pod("e", None))).await.unwrap();
        loop {
            if let Event::Apply(pod) = next(&mut events).await {
                assert_eq!(pod.metadata.name.as_deref(), Some("e"));
                break;
            }
        }
        // Too old to go on: everything anew.
        server.faults().set(Fault::Hold { kind: Some("pods".to_owned()) }).unwrap();
        api.create(&PostParams::default(), &object(pod("f", None))).await.unwrap();
        server.faults().set(Fault::ExpireVersions).unwrap();
        server.faults().set(Fault::DropWatches { abrupt: false }).unwrap();
        server.faults().set(Fault::Release { kind: None }).unwrap();
        let mut seen = Vec::new();
        loop {
            match next(&mut events).await {
                Event::InitApply(pod) => seen.push(pod.metadata.name.unwrap()),
                Event::InitDone => break,
                _ => {}
            }
        }
        assert_eq!(seen, ["b", "c", "d", "e", "f"], "{config:?}");
    }
}

/// The next event; errors on the way are what a watcher recovers from.
async fn next(events: &mut (impl futures::Stream<Item = watcher::Result<Event<Pod>>> + Unpin)) -> Event<Pod> {
    let found = async {
        loop {
            if let Some(Ok(event)) = events.next().await {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("an event")
}

#[tokio::test]
async fn metadata_is_watched_alone() {
    use kube::core::PartialObjectMeta;
    let (_server, client) = bare().await;
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), "default");
    let mut events = Box::pin(watcher(api, watcher::Config::default()));
    while !matches!(events.try_next().await.unwrap().unwrap(), Event::InitDone) {}
    pods(&client).create(&PostParams::default(), &object(pod("a", None))).await.unwrap();
    let Event::Apply(partial) = events.try_next().await.unwrap().unwrap() else { panic!("no apply") };
    assert_eq!(partial.metadata.name.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_watch_through_the_client_sees_bookmarks() {
    let bookmarks = Duration::from_millis(20);
    let (server, client) = start(Options { bookmarks, ..Options::default() }).await;
    let version = server.store().version().to_string();
    let mut events = Box::pin(pods(&client).watch(&WatchParams::default(), &version).await.unwrap());
    services(&client).create(&PostParams::default(), &object(service("web"))).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(5), events.try_next()).await.expect("an event");
    let Some(WatchEvent::Bookmark(bookmark)) = event.unwrap() else { panic!("no bookmark") };
    assert_eq!(bookmark.metadata.resource_version, server.store().version().to_string());
}
