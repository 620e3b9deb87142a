//! The controllers' metrics, scraped from a running process: upstream's names and types, and values that are what the API
//! server holds and has counted.

use std::{net::SocketAddr, path::Path};

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{
        Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, hold, list, server, writes},
        scrape::Metrics,
        world::{World, eventually},
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const MANAGED_BY: &str = "/metadata/labels/endpointslice.kubernetes.io~1managed-by";

async fn world() -> Result<(World, SocketAddr)> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world = World::join(Path::new(BINARY), server, &[]).await?;
    let metrics = world.callsign.address("metrics").await?;
    Ok((world, metrics))
}

/// A Service with two pods that asks for a distribution, and one whose Endpoints are made by hand.
async fn scenario(world: &World) -> Result<Namespace> {
    let n = Namespace::new(world.embedded()?, "n")?;
    let mut web = build::headless("", "web");
    if let Some(spec) = web.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("trafficDistribution".to_owned(), json!("PreferSameZone"));
    }
    n.put(web)?;
    let mut a = build::pod("", "a", "web", "10.1.0.1", true);
    if let Some(ready) = a.pointer_mut("/status/conditions/0").and_then(Value::as_object_mut) {
        ready.insert("lastTransitionTime".to_owned(), json!("2026-01-01T00:00:00Z"));
    }
    n.put(a)?;
    n.put(build::pod("", "b", "web", "10.1.0.2", false))?;
    n.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "manual"},
        "spec": {"ports": [{"port": 80}]}}))?;
    let addresses = json!([{"ip": "10.9.0.1"}, {"ip": "10.9.0.2"}, {"ip": "10.9.0.3"}]);
    n.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "manual"},
        "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}))?;
    let both = ["10.1.0.1 http:8080/TCP", "!10.1.0.2 http:8080/TCP"];
    let listed = ["10.9.0.1 :80/TCP", "10.9.0.2 :80/TCP", "10.9.0.3 :80/TCP"];
    let mirrored = ["10.9.0.1 r?? :80/TCP", "10.9.0.2 r?? :80/TCP", "10.9.0.3 r?? :80/TCP"];
    hold(
        world,
        &[
            n.wants("web", Some(&both), &["10.1.0.1 rs- http:8080/TCP", "10.1.0.2 --- http:8080/TCP"]),
            n.wants("manual", Some(&listed), &mirrored),
        ],
    )
    .await?;
    Ok(n)
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_names_and_types() -> Result<()> {
    let (world, at) = world().await?;
    let _n = scenario(&world).await?;
    world.answers("web.n.svc.cluster.local.", "A", &["10.1.0.1"]).await?;
    let metrics = Metrics::of(at).await?;
    let mut wrong = Vec::new();
    for (kind, names) in [
        (
            "counter",
            &[
                "workqueue_adds",
                "workqueue_retries",
                "rest_client_requests",
                "callsign_controller_writes",
                "callsign_controller_syncs",
                "callsign_controller_changes_coalesced",
                "callsign_controller_throttled",
            ][..],
        ),
        (
            "unknown",
            &[
                "endpoint_slice_controller_changes",
                "endpoint_slice_controller_syncs",
                "endpoint_slice_mirroring_controller_changes",
            ],
        ),
        (
            "gauge",
            &[
                "workqueue_depth",
                "workqueue_unfinished_work_seconds",
                "workqueue_longest_running_processor_seconds",
                "endpoint_slice_controller_endpoints_desired",
                "endpoint_slice_controller_num_endpoint_slices",
                "endpoint_slice_controller_desired_endpoint_slices",
                "endpoint_slice_controller_services_count_by_traffic_distribution",
                "endpoint_slice_mirroring_controller_endpoints_desired",
                "endpoint_slice_mirroring_controller_num_endpoint_slices",
                "endpoint_slice_mirroring_controller_desired_endpoint_slices",
                "callsign_controller_queue_depth",
                "callsign_controller_queue_age_seconds",
                "callsign_controller_request_window",
            ],
        ),
        (
            "histogram",
            &[
                "workqueue_queue_duration_seconds",
                "workqueue_work_duration_seconds",
                "endpoint_slice_controller_endpoints_added_per_sync",
                "endpoint_slice_controller_endpoints_removed_per_sync",
                "endpoint_slice_controller_endpointslices_changed_per_sync",
                "endpoint_slice_mirroring_controller_endpoints_added_per_sync",
                "endpoint_slice_mirroring_controller_endpoints_updated_per_sync",
                "endpoint_slice_mirroring_controller_endpoints_removed_per_sync",
                "endpoint_slice_mirroring_controller_addresses_skipped_per_sync",
                "endpoint_slice_mirroring_controller_endpoints_sync_duration",
                "rest_client_request_duration_seconds",
                "callsign_controller_write_duration_seconds",
                "callsign_controller_change_to_dequeue_seconds",
                "callsign_controller_change_to_write_seconds",
                "callsign_dns_change_to_answer_seconds",
                "coredns_kubernetes_dns_programming_duration_seconds",
            ],
        ),
    ] {
        let differs = |name: &&&str| metrics.types.get(**name).map(String::as_str) != Some(kind);
        wrong.extend(names.iter().filter(differs).map(|name| format!("{kind} {name}")));
    }
    ensure!(wrong.is_empty(), "{wrong:#?}\n{:#?}", metrics.types);
    for name in ["endpoint", "endpoint_slice", "endpoint_slice_mirroring"] {
        let of = |metric: &str| metrics.value(&format!("{metric}{{name=\"{name}\"}}"));
        ensure!(metrics.samples.contains_key(&format!("workqueue_depth{{name=\"{name}\"}}")), "{name}");
        ensure!(of("workqueue_depth") == 0.0, "{name}");
        ensure!(of("workqueue_adds_total") >= 1.0, "{name}");
        ensure!(of("workqueue_queue_duration_seconds_count") >= 1.0, "{name}");
        ensure!(of("workqueue_work_duration_seconds_count") >= 1.0, "{name}");
    }
    // Upstream's bounds.
    for bucket in [
        "endpoint_slice_controller_endpoints_added_per_sync_bucket{le=\"32768.0\"}",
        "endpoint_slice_mirroring_controller_endpoints_sync_duration_bucket{le=\"16.384\"}",
        "workqueue_queue_duration_seconds_bucket{le=\"0.000001\",name=\"endpoint_slice\"}",
    ] {
        let known = |sample: &&String| sample.starts_with(bucket.split('{').next().unwrap_or_default());
        let near: Vec<_> = metrics.samples.keys().filter(known).collect();
        ensure!(metrics.samples.contains_key(bucket), "{bucket} is not among {near:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_those_of_the_api_server() -> Result<()> {
    let (world, at) = world().await?;
    let n = scenario(&world).await?;
    n.merge(Kind::Pod, "b", json!({"status": build::status_conditions(true)}))?;
    let ready = ["10.1.0.1 http:8080/TCP", "10.1.0.2 http:8080/TCP"];
    hold(
        &world,
        &[n.wants("web", Some(&ready), &["10.1.0.1 rs- http:8080/TCP", "10.1.0.2 rs- http:8080/TCP"])],
    )
    .await?;
    let check = async || {
        let metrics = Metrics::of(at).await?;
        let all = world.cluster.list(Kind::EndpointSlice).await?;
        let by = |manager: &str| -> Vec<&Value> {
            all.iter().filter(|s| s.pointer(MANAGED_BY) == Some(&json!(manager))).collect()
        };
        for (family, manager) in [
            ("endpoint_slice_controller", "endpointslice-controller.k8s.io"),
            ("endpoint_slice_mirroring_controller", "endpointslicemirroring-controller.k8s.io"),
        ] {
            let slices = by(manager);
            let endpoints: usize = slices.iter().map(|slice| list(slice, "endpoints").count()).sum();
            ensure!(!slices.is_empty() && endpoints > 0);
            for (name, wanted) in [
                ("num_endpoint_slices", slices.len()),
                ("desired_endpoint_slices", slices.len()),
                ("endpoints_desired", endpoints),
                // Nothing was removed: what was ever added is there.
                ("endpoints_added_per_sync_sum", endpoints),
                ("endpoints_removed_per_sync_sum", 0),
            ] {
                let found = metrics.value(&format!("{family}_{name}"));
                ensure!(found == wanted as f64, "{family}_{name}: {found}, not {wanted}");
            }
        }
        let server = world.embedded()?;
        for (at, operation) in ["create", "update", "delete"].into_iter().enumerate() {
            let of = |family: &str| metrics.value(&format!("{family}_changes{{operation=\"{operation}\"}}"));
            let found = of("endpoint_slice_controller") + of("endpoint_slice_mirroring_controller");
            let asked = writes(server, "endpointslices").get(at).copied().unwrap_or_default();
            ensure!(found == asked as f64, "{operation}: {found}, not {asked}");
        }
        let distributed = "endpoint_slice_controller_services_count_by_traffic_distribution{traffic_distribution=\"PreferSameZone\"}";
        ensure!(metrics.value(distributed) == 1.0, "{distributed}");
        let changed = "endpoint_slice_controller_endpointslices_changed_per_sync_sum{topology=\"Disabled\",traffic_distribution=\"PreferSameZone\"}";
        ensure!(metrics.value(changed) >= 1.0, "{changed}");
        // Creates of all kinds, as client-go counts them.
        let posts: f64 = metrics
            .samples
            .iter()
            .filter(|(sample, _)| {
                sample.starts_with("rest_client_requests_total") && sample.contains("code=\"201\"")
            })
            .map(|(_, value)| value)
            .sum();
        let created: u64 = ["endpointslices", "endpoints", "leases", "events", "services"]
            .map(|resource| writes(server, resource).first().copied().unwrap_or_default())
            .iter()
            .sum();
        ensure!(posts == created as f64, "{posts} creates, not {created}");
        let ok = |kind: &str, verb: &str| {
            metrics.value(&format!(
                "callsign_controller_writes_total{{kind=\"{kind}\",verb=\"{verb}\",result=\"ok\"}}"
            ))
        };
        let endpoints = writes(server, "endpoints");
        ensure!(
            [ok("Endpoints", "create"), ok("Endpoints", "update")]
                == [endpoints[0] as f64, endpoints[1] as f64]
        );
        ensure!(metrics.value("callsign_controller_settled") == 1.0);
        Ok(())
    };
    eventually("the metrics agree", check).await?;
    let metrics = Metrics::of(at).await?;
    for sample in [
        "callsign_controller_change_to_dequeue_seconds_count{class=\"addition\"}",
        "callsign_controller_change_to_write_seconds_count{kind=\"EndpointSlice\",class=\"addition\"}",
        "callsign_controller_change_to_write_seconds_count{kind=\"Endpoints\",class=\"endpoints\"}",
        "callsign_controller_syncs_total{kind=\"EndpointSlice\",result=\"written\"}",
        "callsign_controller_syncs_total{kind=\"EndpointSlice\",result=\"nothing\"}",
        "callsign_dns_change_to_answer_seconds_count{class=\"addition\"}",
        "coredns_kubernetes_dns_programming_duration_seconds_count{service_kind=\"headless_with_selector\"}",
    ] {
        ensure!(metrics.value(sample) >= 1.0, "{sample}");
    }
    Ok(())
}

/// When the Services go, so do the sums.
#[tokio::test(flavor = "multi_thread")]
async fn sums_follow_services_that_go() -> Result<()> {
    let (world, at) = world().await?;
    let n = scenario(&world).await?;
    n.delete(Kind::Service, "web", None)?;
    n.delete(Kind::Service, "manual", None)?;
    eventually("nothing is left", async || {
        let metrics = Metrics::of(at).await?;
        let mut left: Vec<_> = Vec::new();
        for family in ["endpoint_slice_controller", "endpoint_slice_mirroring_controller"] {
            for name in ["num_endpoint_slices", "desired_endpoint_slices", "endpoints_desired"] {
                left.push(metrics.value(&format!("{family}_{name}")));
            }
        }
        left.push(metrics.value("endpoint_slice_controller_services_count_by_traffic_distribution{traffic_distribution=\"PreferSameZone\"}"));
        ensure!(left.iter().all(|value| *value == 0.0), "{left:?}");
        Ok(())
    })
    .await
}

/// A server that is too busy is told apart, narrows the window, and in the end has everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_narrows_the_window() -> Result<()> {
    let (world, at) = world().await?;
    let window = async || anyhow::Ok(Metrics::of(at).await?.value("callsign_controller_request_window"));
    let open = window().await?;
    ensure!(open >= 2.0, "{open}");
    let requests = Requests { namespace: Some("n".to_owned()), ..Requests::of("create", "endpointslices") };
    world.fault(Fault::Answer { requests, times: 1, status: 429, retry_after: Some(1) })?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    eventually("it is narrowed", async || {
        let metrics = Metrics::of(at).await?;
        ensure!(metrics.value("callsign_controller_throttled_total{by=\"server\"}") == 1.0);
        ensure!(metrics.value("callsign_controller_request_window") < open);
        Ok(())
    })
    .await?;
    hold(&world, &[n.wants("web", Some(&[]), &["IPv4 empty"])]).await?;
    for number in 0..40 {
        n.put(build::service("", &format!("web-{number}")))?;
    }
    eventually("it is open again", async || {
        let now = window().await?;
        ensure!(now > open / 2.0, "{now}");
        Ok(())
    })
    .await
}
