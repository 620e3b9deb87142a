//! The controller against an API server that is slow to tell, refuses, and loses answers.

use std::{sync::Arc, time::Duration};

use callsign_shared::{Key, object::well_known};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use callsign_shared::index::Urgency;
use tokio::time::Instant;

use super::{Config, Controller, EndpointsMode, Gate, Limits, Mode};
use crate::{
    pace::Patience,
    testing::{Api, Cluster, Fault, node, pod, service},
};

struct Running {
    cluster: Arc<Cluster>,
    api: Api,
    controller: Controller,
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(config: Config, cluster: Cluster) -> Self {
        Self::start_slow(config, cluster, Duration::ZERO)
    }

    fn start_slow(config: Config, cluster: Cluster, latency: Duration) -> Self {
        let cluster = Arc::new(cluster);
        let api = Api::slow(&cluster, latency);
        let mut registry = Registry::default();
        let gate = Arc::new(Gate::default());
        let controller =
            Controller::new(Arc::clone(&cluster.index), api.client(), config, gate, &mut registry);
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (controller, stop) = (controller.clone(), stop.clone());
            async move { controller.run(stop).await }
        });
        Self { cluster, api, controller, registry, stop, task }
    }

    async fn settle(&self) {
        tokio::time::timeout(Duration::from_secs(300), async {
            while !self.controller.idle() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("the controller does not come to rest");
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.task).await.expect("does not stop").unwrap();
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// The addresses in the slices of `n/web`, sorted.
    fn listed(&self) -> Vec<String> {
        let mut listed = Vec::new();
        for slice in self.cluster.all("EndpointSlice") {
            for endpoint in slice["endpoints"].as_array().unwrap() {
                listed.push(endpoint["addresses"][0].as_str().unwrap().to_owned());
            }
        }
        listed.sort_unstable();
        listed
    }
}

fn cluster() -> Cluster {
    let cluster = Cluster::default();
    cluster.apply(node("node-a", "zone-a"));
    cluster.apply(service("n", "web"));
    cluster.apply(pod("n", "p0", "web", "10.0.0.1"));
    cluster
}

fn delayed(cluster: Cluster, delayed: bool) -> Cluster {
    cluster.delayed.store(delayed, std::sync::atomic::Ordering::SeqCst);
    cluster
}

fn flip(cluster: &Cluster, ready: bool) {
    let mut pod = pod("n", "p0", "web", "10.0.0.1");
    pod["status"]["conditions"][0]["status"] = json!(if ready { "True" } else { "False" });
    cluster.apply(pod);
}

fn ready(slice: &Value) -> bool {
    slice["endpoints"][0]["conditions"]["ready"] == true
}

#[tokio::test(start_paused = true)]
async fn one_write_for_each_object_and_none_for_the_echo() {
    let running = Running::start(Config::default(), cluster());
    running.settle().await;
    assert_eq!(running.api.writes(), ["create EndpointSlice", "create Endpoints"]);
    flip(&running.cluster, false);
    running.settle().await;
    assert_eq!(running.api.writes(), ["update EndpointSlice", "update Endpoints"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.api.writes(), [""; 0], "nothing changes, nothing is written");
    let metrics = running.metrics();
    for line in [
        "endpoint_slice_controller_changes{operation=\"create\"} 1\n",
        "callsign_controller_settled 1\n",
        "workqueue_depth{name=\"endpoint_slice\"} 0\n",
        "endpoint_slice_controller_num_endpoint_slices 1\n",
        "callsign_controller_writes_total{kind=\"Endpoints\",verb=\"update\",result=\"ok\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    running.end().await;
}

/// The watch says nothing for a while: everything is planned from what was acknowledged.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_behind_costs_no_conflict() {
    let running = Running::start(Config::default(), delayed(cluster(), false));
    running.settle().await;
    running.api.calls();
    running.cluster.delayed.store(true, std::sync::atomic::Ordering::SeqCst);
    // Pods are seen, what the controller writes is not.
    for round in 0..6 {
        let is_ready = round % 2 == 1;
        flip(&running.cluster, is_ready);
        running.cluster.deliver_only(&["Pod"]);
        running.settle().await;
        assert_eq!(ready(&running.cluster.all("EndpointSlice")[0]), is_ready);
    }
    let calls = running.api.calls();
    assert_eq!(calls.len(), 12);
    assert!(calls.iter().all(|call| call.code == 200), "{calls:?}");
    running.cluster.deliver();
    running.settle().await;
    assert_eq!(running.api.writes(), [""; 0]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_slice() {
    let running = Running::start(Config::default(), delayed(cluster(), true));
    running.cluster.deliver();
    running.api.fail_next([Fault::Lost, Fault::Lost]);
    running.settle().await;
    assert_eq!(running.cluster.all("EndpointSlice").len(), 1, "the second create collided with the first");
    assert_eq!(running.cluster.all("Endpoints").len(), 1);
    running.cluster.deliver();
    running.settle().await;
    assert_eq!(running.listed(), ["10.0.0.1"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_write_is_not_overwritten_blindly() {
    let running = Running::start(Config::default(), cluster());
    running.settle().await;
    running.cluster.delayed.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut theirs = running.cluster.all("EndpointSlice").remove(0);
    let key = Key::new("n", theirs["metadata"]["name"].as_str().unwrap());
    theirs["metadata"]["annotations"]["theirs"] = json!("kept");
    running.cluster.replace("EndpointSlice", &key, theirs).unwrap();
    flip(&running.cluster, false);
    running.cluster.deliver_only(&["Pod"]);
    running.settle().await;
    let slice = running.cluster.get("EndpointSlice", &key).unwrap();
    assert!(!ready(&slice));
    assert_eq!(slice["metadata"]["annotations"]["theirs"], "kept");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn edits_and_deletions_by_hand_are_mended() {
    let running = Running::start(Config::default(), cluster());
    running.settle().await;
    let slice = running.cluster.all("EndpointSlice").remove(0);
    let key = Key::new("n", slice["metadata"]["name"].as_str().unwrap());
    running.cluster.delete("EndpointSlice", &key, None).unwrap();
    running.cluster.delete("Endpoints", &Key::new("n", "web"), None).unwrap();
    running.settle().await;
    assert_eq!((running.listed(), running.cluster.all("Endpoints").len()), (vec!["10.0.0.1".to_owned()], 1));
    let mut edited = running.cluster.all("EndpointSlice").remove(0);
    edited["endpoints"] = json!([]);
    running.cluster.replace("EndpointSlice", &key, edited).unwrap();
    running.settle().await;
    assert_eq!(running.listed(), ["10.0.0.1"]);
    running.end().await;
}

/// A slice of another Service happens to have the name: another is taken.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_passed_over() {
    let first = Running::start(Config::default(), cluster());
    first.settle().await;
    let name = first.cluster.all("EndpointSlice")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    first.end().await;

    let cluster = cluster();
    cluster.apply(json!({"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [], "ports": null,
                         "metadata": {"name": name, "namespace": "n", "labels": {well_known::SERVICE_NAME: "other"}}}));
    let running = Running::start(Config::default(), cluster);
    running.settle().await;
    assert_eq!(running.listed(), ["10.0.0.1"]);
    assert_eq!(running.cluster.all("EndpointSlice").len(), 2);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_and_hold_nobody_up() {
    let cluster = cluster();
    for number in 0..20 {
        let name = format!("s{number}");
        cluster.apply(service("n", &name));
        cluster.apply(pod("n", &format!("p{name}"), &name, &format!("10.0.1.{number}")));
    }
    let running = Running::start(Config::default(), cluster);
    let broken = Fault::Answer(500, vec![], json!({"message": "broken"}));
    let busy = Fault::Answer(429, vec![("retry-after", "2")], json!({}));
    running.api.fail_next([broken.clone(), Fault::None, broken.clone(), busy, broken.clone(), broken]);
    running.settle().await;
    assert_eq!(running.listed().len(), 21);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_without_service_are_deleted_only_when_it_is_really_gone() {
    let made = json!({well_known::ENDPOINTS_MANAGED_BY: well_known::ENDPOINTS_CONTROLLER});
    let endpoints =
        json!({"kind": "Endpoints", "metadata": {"name": "late", "namespace": "n", "labels": made}});
    let gone = Cluster::default();
    gone.apply(endpoints.clone());
    let running = Running::start(Config::default(), gone);
    running.settle().await;
    assert!(running.cluster.all("Endpoints").is_empty());
    running.end().await;

    // The Service is there, but its watch has not told yet.
    let late = Cluster::default();
    late.apply(endpoints);
    let late = delayed(late, true);
    late.apply(service("n", "late"));
    let running = Running::start(Config::default(), late);
    running.settle().await;
    assert_eq!(running.cluster.all("Endpoints").len(), 1);
    running.cluster.deliver();
    running.settle().await;
    assert_eq!(running.cluster.all("Endpoints").len(), 1);
    running.end().await;
}

/// The selector goes and the Endpoints are written by hand, and the watch of Services is the slower one.
#[tokio::test(start_paused = true)]
async fn what_a_person_writes_when_the_selector_goes_is_not_put_right() {
    let running = Running::start(Config::default(), cluster());
    running.settle().await;
    running.cluster.delayed.store(true, std::sync::atomic::Ordering::SeqCst);
    let key = Key::new("n", "web");
    let mut service = running.cluster.get("Service", &key).unwrap();
    service["spec"]["selector"] = Value::Null;
    running.cluster.replace("Service", &key, service).unwrap();
    let by_hand = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    let mut endpoints = running.cluster.get("Endpoints", &key).unwrap();
    endpoints["subsets"] = by_hand.clone();
    running.cluster.replace("Endpoints", &key, endpoints).unwrap();
    running.cluster.deliver_only(&["Endpoints"]);
    running.settle().await;
    assert_eq!(running.cluster.get("Endpoints", &key).unwrap()["subsets"], by_hand);
    delayed_no_more(&running.cluster);
    running.settle().await;
    assert_eq!(running.cluster.get("Endpoints", &key).unwrap()["subsets"], by_hand);
    assert_eq!(running.listed(), ["192.0.2.1"], "mirrored");
    running.end().await;
}

/// What was not made in a namespace that was being deleted is made in the next of its name, also when that is seen last.
#[tokio::test(start_paused = true)]
async fn a_namespace_made_anew_is_written_to() {
    let namespace = |deleted: Value| {
        let metadata = json!({"name": "n", "deletionTimestamp": deleted, "finalizers": ["x"]});
        json!({"kind": "Namespace", "metadata": metadata})
    };
    let cluster = cluster();
    cluster.apply(namespace(json!("2026-01-01T00:00:00Z")));
    let running = Running::start(Config::default(), cluster);
    running.settle().await;
    assert!(running.api.writes().is_empty(), "{:?}", running.api.writes());
    running.cluster.index.delete::<callsign_shared::object::Namespace>(&Key::new("", "n"));
    running.settle().await;
    assert_eq!(running.listed(), ["10.0.0.1"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn shadow_writes_nothing_and_counts_the_difference() {
    let running = Running::start(Config { mode: Mode::Shadow, ..Config::default() }, cluster());
    running.settle().await;
    assert_eq!(running.api.calls(), []);
    let counted =
        |count| format!("callsign_controller_shadow_difference{{kind=\"EndpointSlice\"}} {count}\n");
    assert!(running.metrics().contains(&counted(1)), "{}", running.metrics());
    running.cluster.delete("Service", &Key::new("n", "web"), None).unwrap();
    running.settle().await;
    assert!(running.metrics().contains(&counted(0)), "{}", running.metrics());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_can_be_switched_off_or_left_to_those_that_exist() {
    let off = Running::start(Config { endpoints: EndpointsMode::Off, ..Config::default() }, cluster());
    off.settle().await;
    assert_eq!(off.api.writes(), ["create EndpointSlice"]);
    off.end().await;

    let cluster = cluster();
    cluster.apply(service("n", "old"));
    cluster.apply(json!({"kind": "Endpoints", "metadata": {"name": "old", "namespace": "n"}}));
    let existing =
        Running::start(Config { endpoints: EndpointsMode::Existing, ..Config::default() }, cluster);
    existing.settle().await;
    assert_eq!(existing.api.writes(), ["create EndpointSlice", "create EndpointSlice", "update Endpoints"]);
    existing.end().await;
}

#[tokio::test(start_paused = true)]
async fn changes_within_the_batch_period_are_one_write() {
    let config = Config {
        slices_batch_period: Duration::from_millis(500),
        endpoints: EndpointsMode::Off,
        ..Config::default()
    };
    let running = Running::start(config, cluster());
    running.settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.api.calls();
    for number in 1..=20 {
        running.cluster.apply(pod("n", &format!("p{number}"), "web", &format!("10.0.2.{number}")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.settle().await;
    assert_eq!(running.listed().len(), 21);
    assert_eq!(running.api.writes().len(), 2, "the first at once, the others together");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn mirrored_slices_have_a_batch_period_of_their_own() {
    let cluster = Cluster::default();
    let mut manual = service("n", "web");
    manual["spec"].as_object_mut().unwrap().remove("selector");
    cluster.apply(manual);
    let listed = |number: u8| {
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "n"},
               "subsets": [{"addresses": [{"ip": format!("10.0.3.{number}")}], "ports": [{"port": 80}]}]})
    };
    cluster.apply(listed(0));
    let config = Config { mirror_batch_period: Duration::from_millis(500), ..Config::default() };
    let running = Running::start(config, cluster);
    running.settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.api.calls();
    for number in 1..=20 {
        running.cluster.apply(listed(number));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.settle().await;
    assert_eq!(running.listed(), ["10.0.3.20"]);
    assert_eq!(running.api.writes(), ["update EndpointSlice", "update EndpointSlice"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_changes_renews_auto_hints() {
    let cluster = Cluster::default();
    for zone in ["a", "b"] {
        cluster.apply(node(&format!("node-{zone}"), zone));
    }
    let mut auto = service("n", "web");
    auto["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    cluster.apply(auto);
    for number in 0..4 {
        cluster.apply(pod("n", &format!("p{number}"), "web", &format!("10.0.0.{number}")));
    }
    let running = Running::start(Config::default(), cluster);
    running.settle().await;
    let hints = || {
        let slice = running.cluster.all("EndpointSlice").remove(0);
        let zone = |e: &Value| e["hints"]["forZones"][0]["name"].as_str().map(str::to_owned);
        slice["endpoints"].as_array().unwrap().iter().filter(|e| zone(e).as_deref() == Some("b")).count()
    };
    assert_eq!(hints(), 2);
    running.cluster.index.delete::<callsign_shared::object::Node>(&Key::cluster("node-b"));
    running.settle().await;
    assert_eq!(hints(), 0, "one zone is left");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_and_can_run_again() {
    let running = Running::start_slow(Config::default(), cluster(), Duration::from_secs(20));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (cluster, controller) = (Arc::clone(&running.cluster), running.controller.clone());
    running.end().await;
    assert!(cluster.all("EndpointSlice").is_empty() && !controller.idle());
    let stop = CancellationToken::new();
    let again = tokio::spawn({
        let (controller, stop) = (controller.clone(), stop.clone());
        async move { controller.run(stop).await }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(controller.idle());
    assert_eq!(cluster.all("EndpointSlice").len(), 1);
    stop.cancel();
    again.await.unwrap();
}

/// A replica that does not lead any more has nothing to do, and counts no Service as its own.
#[tokio::test(start_paused = true)]
async fn what_was_put_off_ends_with_the_run() {
    let patience = Patience { calm: Duration::from_secs(20), churning: Duration::from_secs(20) };
    let running = Running::start(Config { patience, ..Config::default() }, cluster());
    running.settle().await;
    let mut unready = pod("n", "p1", "web", "10.0.0.2");
    unready["status"]["conditions"][0]["status"] = json!("False");
    running.cluster.apply(unready);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!running.controller.idle() && running.controller.depth() == 2, "it waits");
    running.stop.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = running.metrics();
    for line in [
        "callsign_controller_settled 1\n",
        "callsign_controller_queue_depth{class=\"edit\"} 0\n",
        "workqueue_depth{name=\"endpoint\"} 0\n",
        "endpoint_slice_controller_num_endpoint_slices 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let (controller, stop) = (running.controller.clone(), CancellationToken::new());
    let again = tokio::spawn({
        let stop = stop.clone();
        async move { controller.run(stop).await }
    });
    running.settle().await;
    assert_eq!(running.listed(), ["10.0.0.1", "10.0.0.2"], "the next run finds it again");
    stop.cancel();
    again.await.unwrap();
    running.end().await;
}

/// Pods come, go and flip while watches lag, answers are lost and writes are refused. In the end every object is right,
/// and nothing is listed twice.
#[tokio::test(start_paused = true)]
async fn it_comes_right_whatever_happens() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limits = Limits { endpoints_per_slice: 3, ..Limits::default() };
        let running =
            Running::start(Config { limits, workers: 4, ..Config::default() }, delayed(cluster(), true));
        for _ in 0..60 {
            let number = random.u32(0..8);
            let mut pod = pod("n", &format!("p{number}"), "web", &format!("10.0.0.{number}"));
            pod["status"]["conditions"][0]["status"] = json!(if random.bool() { "True" } else { "False" });
            let key = Key::new("n", format!("p{number}"));
            match random.u32(0..16) {
                0..6 => running.cluster.apply(pod),
                6 => {
                    // Without a node a pod goes at once.
                    if let Some(mut gone) = running.cluster.get("Pod", &key) {
                        gone["spec"]["nodeName"] = Value::Null;
                        running.cluster.replace("Pod", &key, gone).unwrap();
                        running.cluster.delete("Pod", &key, None).unwrap();
                    }
                }
                7 => {
                    let slices = running.cluster.all("EndpointSlice");
                    if let Some(slice) = random.choice(&slices) {
                        let key = Key::new("n", slice["metadata"]["name"].as_str().unwrap());
                        running.cluster.delete("EndpointSlice", &key, None).unwrap();
                    }
                }
                8 => {
                    let _ = running.cluster.delete("Service", &Key::new("n", "web"), None);
                    running.cluster.apply(service("n", "web"));
                }
                9 => running.api.fail_next([Fault::Lost]),
                10 => running.api.fail_next([Fault::Answer(409, vec![], json!({"reason": "Conflict"}))]),
                11 => running.api.fail_next([Fault::Answer(500, vec![], json!({"message": "broken"}))]),
                12 => running.cluster.deliver(),
                13 => running.cluster.deliver_only(&["EndpointSlice", "Endpoints"]),
                _ => running.cluster.deliver_only(&["Pod", "Service", "Node"]),
            }
            tokio::time::sleep(Duration::from_millis(random.u64(0..20))).await;
        }
        delayed_no_more(&running.cluster);
        // Long enough for what is never echoed to be forgotten.
        tokio::time::sleep(Duration::from_secs(60)).await;
        running.settle().await;
        assert_eq!(running.cluster.round(limits), 0, "seed {seed}: something is still to be written");
        let mut listed = running.listed();
        let all = listed.len();
        listed.dedup();
        assert_eq!(listed.len(), all, "seed {seed}: listed twice");
        assert_eq!(all, running.cluster.view("n", "web").members.len(), "seed {seed}");
        running.end().await;
    }
}

fn delayed_no_more(cluster: &Cluster) {
    cluster.delayed.store(false, std::sync::atomic::Ordering::SeqCst);
    cluster.deliver();
}

/// 400 Services whose pod turns ready at once. The time is that of the requests and of every wait in between, and the same
/// on any machine: what computing takes is not in it.
#[tokio::test(start_paused = true)]
async fn a_burst_is_written_within_a_moment() {
    let cluster = Cluster::default();
    cluster.apply(node("node-a", "zone-a"));
    let unready = |number: usize, ready: &str| {
        let name = format!("s{number}");
        let mut pod =
            pod("n", &format!("p{number}"), &name, &format!("10.0.{}.{}", number / 250, number % 250));
        pod["status"]["conditions"][0]["status"] = json!(ready);
        pod
    };
    for number in 0..400 {
        cluster.apply(service("n", &format!("s{number}")));
        cluster.apply(unready(number, "False"));
    }
    let running = Running::start_slow(Config::default(), cluster, Duration::from_millis(2));
    running.settle().await;
    assert_eq!(running.api.writes().len(), 800);
    let begun = Instant::now();
    for number in 0..400 {
        running.cluster.apply(unready(number, "True"));
    }
    running.settle().await;
    let took = begun.elapsed();
    assert_eq!(running.api.writes().len(), 800, "one for each object");
    assert!(running.cluster.all("EndpointSlice").iter().all(ready));
    // 800 writes of 2 ms, 16 at a time, are 0.1 s. A timer may be a millisecond late, each time.
    assert!(took < Duration::from_millis(250), "{took:?}");
    running.end().await;
}

/// While the API server wants to be left alone nobody holds a key: what becomes urgent in the meantime is written first.
#[tokio::test(start_paused = true)]
async fn after_a_pause_the_most_urgent_goes_first() {
    let cluster = cluster();
    for number in 0..4 {
        cluster.apply(service("n", &format!("other-{number}")));
    }
    let config = Config { workers: 2, endpoints: EndpointsMode::Off, ..Config::default() };
    let running = Running::start(config, cluster);
    running.settle().await;
    running.api.calls();
    running.api.fail_next([Fault::Answer(429, vec![("retry-after", "5")], json!({}))]);
    for number in 0..4 {
        let mut other = service("n", &format!("other-{number}"));
        other["metadata"]["labels"] = json!({"tier": "x"});
        running.cluster.apply(other);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = running.api.calls();
    assert!(refused.iter().any(|call| call.code == 429), "{refused:?}");
    flip(&running.cluster, false);
    running.settle().await;
    let calls = running.api.calls();
    assert!(calls.first().is_some_and(|call| call.name.starts_with("web-")), "{calls:?}");
    assert_eq!(refused.iter().chain(&calls).filter(|call| call.code == 200).count(), 5);
    running.end().await;
}

/// Waiting for the old endpoint that a new one replaces is no failure and no second look.
#[tokio::test(start_paused = true)]
async fn additions_that_wait_are_no_failures() {
    let cluster = Cluster::default();
    cluster.apply(node("node-a", "zone-a"));
    for number in 0..40 {
        cluster.apply(service("n", &format!("s{number}")));
    }
    let running = Running::start(Config { endpoints: EndpointsMode::Off, ..Config::default() }, cluster);
    running.settle().await;
    for round in 0..10 {
        for number in 0..40 {
            let name = format!("s{number}");
            running.cluster.apply(pod("n", &format!("p{number}-{round}"), &name, "10.0.0.1"));
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    running.settle().await;
    let before = running.metrics();
    // Times in the feed are the machine's, which does not jump with the test's.
    running.controller.0.push([Key::new("n", "s0")], Urgency::Addition, Instant::now());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!running.controller.idle(), "it waits");
    let counts = |metrics: &str| -> Vec<String> {
        let of_syncs =
            |line: &&str| line.contains("syncs") || line.contains("change_to_dequeue_seconds_count");
        metrics.lines().filter(of_syncs).map(str::to_owned).collect()
    };
    assert_eq!(counts(&running.metrics()), counts(&before));
    running.settle().await;
    let metrics = running.metrics();
    assert!(metrics.contains("endpoint_slice_controller_syncs{result=\"success\"}"), "{metrics}");
    for line in ["endpoint_slice_controller_syncs{result=\"error\"}", "result=\"retry\""] {
        assert!(!metrics.contains(line), "{line} is in\n{metrics}");
    }
    assert!(metrics.contains("workqueue_retries_total{name=\"endpoint_slice\"} 0\n"), "{metrics}");
    running.end().await;
}

/// What is tried again is taken away once, and what is refused is not taken away.
#[tokio::test(start_paused = true)]
async fn failures_do_not_blow_the_fuse() {
    let cluster = Cluster::default();
    cluster.apply(node("node-a", "zone-a"));
    let of = |number: usize, ready: &str| {
        let name = format!("s{number}");
        let mut pod = pod("n", &format!("p{number}"), &name, &format!("10.0.0.{number}"));
        pod["status"]["conditions"][0]["status"] = json!(ready);
        pod
    };
    for number in 0..200 {
        cluster.apply(service("n", &format!("s{number}")));
        cluster.apply(of(number, "True"));
    }
    let config = Config { removal_fuse: 50, endpoints: EndpointsMode::Off, ..Config::default() };
    let running = Running::start(config, cluster);
    running.settle().await;
    let broken = Fault::Answer(500, vec![], json!({"message": "broken"}));
    running.api.fail_next(std::iter::repeat_n(broken, 180));
    for number in 0..60 {
        running.cluster.apply(of(number, "False"));
    }
    running.settle().await;
    let metrics = running.metrics();
    assert!(metrics.contains("callsign_controller_fuse_trips_total 0\n"), "{metrics}");
    running.end().await;
}

/// Minor changes that never cease are written once each time their patience is over, not with each batch from then on.
#[tokio::test(start_paused = true)]
async fn minor_changes_wait_again_after_each_write() {
    let config = Config {
        slices_batch_period: Duration::from_millis(500),
        patience: Patience { calm: Duration::from_secs(2), churning: Duration::from_secs(6) },
        endpoints: EndpointsMode::Off,
        ..Config::default()
    };
    let running = Running::start(config, cluster());
    running.settle().await;
    running.api.calls();
    for number in 1..=80 {
        let mut unready = pod("n", &format!("p{number}"), "web", &format!("10.0.2.{number}"));
        unready["status"]["conditions"][0]["status"] = json!("False");
        running.cluster.apply(unready);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.settle().await;
    assert_eq!(running.listed().len(), 81);
    let writes = running.api.writes().len();
    assert!((3..=5).contains(&writes), "{writes} writes in ten seconds");
    running.end().await;
}
