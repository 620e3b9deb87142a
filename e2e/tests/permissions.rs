//! Each mode of the chart works with exactly the permissions of its rendered roles: over TLS, with the token of its
//! ServiceAccount, nothing is denied, and nothing is granted that nobody uses. What is taken away is missed aloud.

#![expect(clippy::indexing_slicing, reason = "a field of JSON that is not there is null")]

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use callsign_e2e::{
    apiserver::{
        AccessOptions, ApiServer, Key, Options, Part, Patch, Running, Scope, Store, WriteOptions,
        access::Rule,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        chart::{Chart, Container, Granted, rules, token},
        namespace::{Namespace, until},
        process::Signal,
        resolver::Resolver,
        scrape::Metrics,
        upstream::Upstream,
        world::eventually,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
/// All verbs.
const ALL: &str = "*";
const CONTROLLER: &str = "endpoint-controller";
/// Sooner than people want to be told.
const EVENTS: &[(&str, &str)] = &[("CALLSIGN_EVENT_AFTER", "300ms")];

/// What is granted although nothing here uses it, and why.
const KEPT: &[(&str, &str)] = &[
    (
        "create endpoints/restricted",
        "OpenShift's admission asks for it where addresses are of its own networks",
    ),
    ("create endpointslices/restricted.discovery.k8s.io", "the same"),
    (
        "update services/finalizers",
        "OwnerReferencesPermissionEnforcement asks for it where an owner blocks deletion",
    ),
    ("update endpoints/finalizers", "the same"),
];

/// A server where everybody has to show a token, with the objects of a chart.
async fn server(chart: &Chart) -> Result<Running> {
    let options = Options { access: Some(AccessOptions::default()), tls: true, ..Options::default() };
    let server = ApiServer::start(options).await?;
    put(server.store(), build::node("node-a", "zone-a"))?;
    chart.load(&server)?;
    server.access().forget_uses();
    Ok(server)
}

fn put(store: &Store, object: Value) -> Result<()> {
    store.load(object.clone()).map(drop).map_err(|error| anyhow!("{error}\n{object}"))
}

/// A DNS server that knows nothing.
async fn nowhere() -> Result<Upstream> {
    Upstream::start(|_| None).await
}

async fn answers(container: &Container, name: &str, wanted: &[&str]) -> Result<()> {
    let resolver = Resolver::new(container.dns).await?;
    let waited = eventually(name, async || {
        let answer = resolver.ask(name, "A").await?;
        let mut found: Vec<&str> =
            answer.answer.iter().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
        found.sort_unstable();
        ensure!(found == wanted, "wanted {wanted:?}, found {answer:?}");
        Ok(())
    })
    .await;
    waited.with_context(|| container.callsign.said())
}

/// Nothing was denied, and everything that is granted was used, or is kept for a reason.
fn proven(server: &Running, chart: &Chart, deployment: &str) -> Result<()> {
    let account = chart.account(deployment)?;
    let uses = server.access().uses(&format!("system:serviceaccount:{}:{}", account.0, account.1));
    let denied: Vec<String> = uses.denied.iter().map(ToString::to_string).collect();
    ensure!(denied.is_empty(), "{deployment} was denied: {denied:#?}");
    let granted = chart.granted(&account)?;
    ensure!(!granted.is_empty(), "{deployment} has no permissions");
    let is_kept = |it: &Granted| KEPT.iter().any(|(kept, _)| *kept == it.to_string());
    let is_used = |it: &Granted| uses.allowed.iter().any(|asked| it.is_used_by(asked));
    let idle: Vec<String> =
        granted.iter().filter(|it| !is_used(it) && !is_kept(it)).map(ToString::to_string).collect();
    ensure!(idle.is_empty(), "{deployment} is granted what it does not use: {idle:#?}");
    let kept: Vec<String> =
        granted.iter().filter(|it| is_used(it) && is_kept(it)).map(ToString::to_string).collect();
    ensure!(kept.is_empty(), "{deployment} does use {kept:?}: no reason is needed");
    Ok(())
}

/// An endpoint of a Service without a selector, as somebody writes one by hand.
fn slice(service: &str, address: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

/// DNS alone: it answers, hears of changes, and begins again beside a server that has no streaming lists.
async fn answering(golden: &str) -> Result<()> {
    let chart = Chart::read(golden)?;
    let (server, upstream) = (server(&chart).await?, nowhere().await?);
    let n = Namespace::new(&server, "n")?;
    let mut service = build::headless("", "web");
    service["spec"].as_object_mut().context("spec")?.remove("selector");
    n.put(service)?;
    n.put(slice("web", "10.1.0.1"))?;
    answers_as_granted(&server, &chart, &n, &upstream).await?;
    proven(&server, &chart, "callsign")
}

async fn answers_as_granted(
    server: &Running,
    chart: &Chart,
    n: &Namespace,
    upstream: &Upstream,
) -> Result<()> {
    let name = "web.n.svc.cluster.local.";
    for (addresses, refuse) in [(["10.1.0.1", "10.1.0.2"], false), (["10.1.0.3", "10.1.0.4"], true)] {
        let refused = server.faults().set(Fault::RefuseStreamingLists { refuse });
        refused.map_err(anyhow::Error::msg)?;
        n.put(slice("web", addresses[0]))?;
        let mut callsign = chart.start(Path::new(BINARY), server, "callsign", upstream.address, &[])?;
        callsign.is_ready().await?;
        answers(&callsign, name, &addresses[..1]).await?;
        n.put(slice("web", addresses[1]))?;
        answers(&callsign, name, &addresses[1..]).await?;
        callsign.callsign.signal(Signal::SIGTERM)?;
        callsign.callsign.ended(Duration::from_secs(10)).await?;
    }
    server.faults().set(Fault::RefuseStreamingLists { refuse: false }).map_err(anyhow::Error::msg)
}

/// Controllers that write nothing: they see everything, twice.
async fn shadowing(golden: &str, deployment: &str) -> Result<()> {
    let chart = Chart::read(golden)?;
    let (server, upstream) = (server(&chart).await?, nowhere().await?);
    let n = left_behind(&server)?;
    for refuse in [false, true] {
        server.faults().set(Fault::RefuseStreamingLists { refuse }).map_err(anyhow::Error::msg)?;
        let mut callsign = chart.start(Path::new(BINARY), &server, deployment, upstream.address, EVENTS)?;
        callsign.is_ready().await?;
        let metrics = callsign.callsign.address("metrics").await?;
        eventually("what it would write", async || {
            let sample = "callsign_controller_shadow_difference{kind=\"EndpointSlice\"}";
            ensure!(Metrics::of(metrics).await?.value(sample) >= 1.0);
            Ok(())
        })
        .await?;
        callsign.callsign.signal(Signal::SIGTERM)?;
        callsign.callsign.ended(Duration::from_secs(20)).await?;
    }
    ensure!(n.slices("web").is_empty() && n.get(Kind::Endpoints, "gone").is_some(), "something was written");
    proven(&server, &chart, deployment)
}

/// A Service with a pod, and Endpoints that are left of one that went while nobody looked.
fn left_behind(server: &Running) -> Result<Namespace> {
    let n = Namespace::new(server, "n")?;
    n.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "gone",
        "labels": {"endpoints.kubernetes.io/managed-by": CONTROLLER}}}))?;
    n.put(build::headless("", "web"))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    Ok(n)
}

/// The controllers: everything they write, a conflict, Events, a handover, a start beside an older server.
async fn writing(golden: &str, deployment: &str) -> Result<()> {
    let chart = Chart::read(golden)?;
    let (server, upstream) = (server(&chart).await?, nowhere().await?);
    let start = || chart.start(Path::new(BINARY), &server, deployment, upstream.address, EVENTS);
    let n = left_behind(&server)?;
    let mut first = start()?;
    first.is_ready().await?;
    let waited = written(&n, "web", &[UP]).await;
    waited.with_context(|| first.callsign.said())?;
    let serves = chart.arguments(deployment)?.first().is_some_and(|command| command == "serve");
    if serves {
        answers(&first, "web.n.svc.cluster.local.", &["10.1.0.1"]).await?;
    }
    until("Endpoints without a Service are removed", || n.get(Kind::Endpoints, "gone").is_none()).await?;
    until("the canary is taken back", || canaries(n.store()) == 0).await?;
    let holder = holder(n.store()).context("nobody leads")?;

    slices_come_and_go(&n).await?;
    events(&n).await?;
    conflicts(&server, &n).await?;

    let mut second = start()?;
    second.is_ready().await?;
    until("the second follows", || second.callsign.said().contains("another leads")).await?;
    first.callsign.signal(Signal::SIGTERM)?;
    first.callsign.ended(Duration::from_secs(20)).await?;
    until("the second leads", || self::holder(n.store()).is_some_and(|now| !now.is_empty() && now != holder))
        .await?;
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(false)}))?;
    written(&n, "web", &["10.1.0.1 --- http:8080/TCP"]).await?;
    second.callsign.signal(Signal::SIGTERM)?;
    second.callsign.ended(Duration::from_secs(20)).await?;

    server.faults().set(Fault::RefuseStreamingLists { refuse: true }).map_err(anyhow::Error::msg)?;
    let mut third = start()?;
    third.is_ready().await?;
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(true)}))?;
    written(&n, "web", &[UP]).await?;
    proven(&server, &chart, deployment)
}

async fn written(n: &Namespace, service: &str, wanted: &[&str]) -> Result<()> {
    eventually(service, async || {
        let (slices, endpoints) = (n.endpoints_in_slices(service), n.endpoints(service));
        ensure!(slices == wanted, "{slices:?}");
        ensure!(endpoints.is_some_and(|lines| lines.len() == wanted.len()), "Endpoints");
        Ok(())
    })
    .await
}

/// Pods with different ports are in different slices; with the last of one port its slice goes.
async fn slices_come_and_go(n: &Namespace) -> Result<()> {
    let mut service = build::service("", "ports");
    service["spec"]["ports"][0]["targetPort"] = json!("web");
    n.put(service)?;
    for (name, ip, port) in [("p", "10.1.1.1", 8080), ("q", "10.1.1.2", 9090)] {
        let mut pod = build::pod("", name, "ports", ip, true);
        pod["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
        n.put(pod)?;
    }
    written(n, "ports", &["10.1.1.1 rs- http:8080/TCP", "10.1.1.2 rs- http:9090/TCP"]).await?;
    n.delete(Kind::Pod, "q", Some(0))?;
    written(n, "ports", &["10.1.1.1 rs- http:8080/TCP"]).await
}

/// What is told again is a change of the first Event.
async fn events(n: &Namespace) -> Result<()> {
    let told = || -> Vec<Value> {
        let (events, _) = n.store().list(Kind::Event, Scope::Namespace(&n.name));
        let events = events.into_iter().map(|event| event.value.clone());
        events.filter(|event| event["reason"] == "NoReadyPods").collect()
    };
    n.put(build::service("", "idle"))?;
    n.put(build::pod("", "i", "idle", "10.1.2.1", false))?;
    until("an Event", || !told().is_empty()).await?;
    eventually("a series of Events", async || {
        for (ready, line) in [(true, "10.1.2.1 rs- http:8080/TCP"), (false, "10.1.2.1 --- http:8080/TCP")] {
            n.merge(Kind::Pod, "i", json!({"status": build::status_conditions(ready)}))?;
            written(n, "idle", &[line]).await?;
        }
        // It has to last before it is told.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let told = told();
        let again = told.iter().any(|event| event.pointer("/series/count").is_some());
        ensure!(again, "{told:#?}");
        Ok(())
    })
    .await
}

/// Somebody was faster: the object is read, and written again.
async fn conflicts(server: &Running, n: &Namespace) -> Result<()> {
    for resource in ["endpoints", "endpointslices"] {
        let requests = Requests::of("update", resource);
        let fault = Fault::Answer { requests, times: 1, status: 409, retry_after: None };
        server.faults().set(fault).map_err(anyhow::Error::msg)?;
    }
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(false)}))?;
    written(n, "web", &["10.1.0.1 --- http:8080/TCP"]).await?;
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(true)}))?;
    written(n, "web", &[UP]).await
}

fn holder(store: &Store) -> Option<String> {
    let lease = store.get(Kind::Lease, "kube-system", "callsign-controller")?;
    Some(lease.value.pointer("/spec/holderIdentity")?.as_str()?.to_owned())
}

fn canaries(store: &Store) -> usize {
    let (services, _) = store.list(Kind::Service, Scope::All);
    services.iter().filter(|service| service.key.name.starts_with("callsign-canary-")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_uses_what_it_is_granted_and_no_more() -> Result<()> {
    answering("dns-own").await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_uses_what_it_is_granted_and_no_more() -> Result<()> {
    writing("all-in-one-own", "callsign").await
}

#[tokio::test(flavor = "multi_thread")]
async fn split_dns_uses_what_it_is_granted_and_no_more() -> Result<()> {
    answering("split-own").await
}

#[tokio::test(flavor = "multi_thread")]
async fn split_controllers_use_what_they_are_granted_and_no_more() -> Result<()> {
    writing("split-own", "callsign-controller").await
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_uses_what_it_is_granted_and_no_more() -> Result<()> {
    shadowing("shadow", "callsign-controller").await
}

/// How it is reached is not a matter of permissions: what holds of `own` holds of `join` and `adopt`.
#[test]
fn permissions_do_not_depend_on_the_service() -> Result<()> {
    for (mode, deployments) in [
        ("dns", &["callsign"][..]),
        ("all-in-one", &["callsign"]),
        ("split", &["callsign", "callsign-controller"]),
    ] {
        for deployment in deployments {
            let of = |service: &str| -> Result<_> {
                let chart = Chart::read(&format!("{mode}-{service}"))?;
                let account = chart.account(deployment)?;
                Ok((chart.granted(&account)?, chart.arguments(deployment)?, account))
            };
            let own = of("own")?;
            for service in ["join", "adopt"] {
                assert_eq!(of(service)?, own, "{mode}-{service} {deployment}");
            }
        }
    }
    Ok(())
}

/// A kind that may not be read: its name, and what the API server says, are in the log and on `/ready`.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() -> Result<()> {
    for (golden, deployment, watched) in [
        ("dns-own", "callsign", &["services", "namespaces", "endpointslices"][..]),
        (
            "split-own",
            "callsign-controller",
            &["services", "namespaces", "endpointslices", "endpoints", "pods", "nodes"],
        ),
    ] {
        let chart = Chart::read(golden)?;
        let upstream = nowhere().await?;
        let rows =
            watched.iter().map(|resource| missing(&chart, golden, deployment, resource, upstream.address));
        futures::future::try_join_all(rows).await?;
    }
    Ok(())
}

/// One kind is taken away, missed, and given back: nobody waits for a restart.
async fn missing(
    chart: &Chart,
    golden: &str,
    deployment: &str,
    resource: &str,
    upstream: SocketAddr,
) -> Result<()> {
    let server = server(chart).await?;
    take_away(&server, chart, (Kind::ClusterRole, deployment), resource, ALL)?;
    let mut container = chart.start(Path::new(BINARY), &server, deployment, upstream, &[])?;
    let said = format!("cannot watch resource \\\"{resource}\\\"");
    let waited = until(&said, || container.callsign.said().contains(&said)).await;
    waited.with_context(|| format!("{golden} without {resource}:\n{}", container.callsign.said()))?;
    let (code, body) = container.readiness().await?;
    let line = body.lines().find(|line| line.contains(resource)).unwrap_or_default();
    ensure!(code == 503 && line.contains("403 Forbidden"), "{golden} {resource}: {code} {body}");
    ensure!(line.contains(&format!("cannot watch resource \"{resource}\"")), "{body}");
    chart.load(&server)?;
    container.is_ready().await.with_context(|| format!("{golden} with {resource} again"))
}

/// A verb that the controllers may not use is named in the log, with what it is about.
#[tokio::test(flavor = "multi_thread")]
async fn verbs_that_are_missing_are_named() -> Result<()> {
    const OF_CLUSTER: (Kind, &str) = (Kind::ClusterRole, "callsign-controller");
    const OF_NAMESPACE: (Kind, &str) = (Kind::Role, "callsign-controller");
    const OF_MANAGER: (Kind, &str) = (Kind::Role, "callsign-controller-kcm-lease");
    let chart = Chart::read("split-own")?;
    let upstream = nowhere().await?;
    let mut running = Vec::new();
    for (role, verb, resource) in [
        (OF_CLUSTER, "create", "endpointslices"),
        (OF_CLUSTER, "create", "endpoints"),
        (OF_CLUSTER, "create", "events"),
        (OF_NAMESPACE, "create", "services"),
        (OF_NAMESPACE, "create", "leases"),
        (OF_NAMESPACE, "get", "leases"),
        (OF_MANAGER, "get", "leases"),
    ] {
        let server = server(&chart).await?;
        take_away(&server, &chart, role, resource, verb)?;
        let n = Namespace::new(&server, "n")?;
        n.put(build::service("", "web"))?;
        n.put(build::pod("", "a", "web", "10.1.0.1", false))?;
        let container =
            chart.start(Path::new(BINARY), &server, "callsign-controller", upstream.address, EVENTS)?;
        running.push((verb, resource, server, container));
    }
    for (verb, resource, _server, container) in running {
        let said = format!("cannot {verb} resource \\\"{resource}\\\"");
        let waited = until(&said, || container.callsign.said().contains(&said)).await;
        waited.with_context(|| container.callsign.said())?;
    }
    Ok(())
}

/// Takes a verb on a resource out of a role, or all of them.
fn take_away(server: &Running, chart: &Chart, role: (Kind, &str), resource: &str, verb: &str) -> Result<()> {
    let (kind, name) = role;
    let role = chart.one(kind, name)?;
    let mut taken = 0;
    let mut left = Vec::new();
    for mut rule in rules(role) {
        if !rule.resources.iter().any(|it| it == resource)
            || !(verb == ALL || rule.verbs.iter().any(|it| it == verb))
        {
            left.push(rule);
            continue;
        }
        taken += 1;
        // What remains of the resource, and the others of its rule.
        let verbs = rule.verbs.iter().filter(|it| verb != ALL && *it != verb).cloned().collect();
        let rest = Rule { verbs, resources: vec![resource.to_owned()], ..rule.clone() };
        rule.resources.retain(|it| it != resource);
        left.extend(
            [rule, rest].into_iter().filter(|rule| !rule.verbs.is_empty() && !rule.resources.is_empty()),
        );
    }
    ensure!(taken > 0, "{name} does not have {verb} {resource}");
    let left: Vec<Value> = left
        .iter()
        .map(|rule| {
            json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources,
                "resourceNames": rule.names})
        })
        .collect();
    let namespace = role.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let (key, by) = (Key::new(namespace, name), WriteOptions::by("test"));
    let done = server.store().patch(kind, &key, Part::Main, &Patch::Merge(json!({ "rules": left })), &by);
    done.map(drop).map_err(|error| anyhow!("{error}"))
}

/// A kubelet puts a new token into the file long before the old one ends; here the old one ends at once, and every watch
/// with it. The file is read again within a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_is_read_again() -> Result<()> {
    let chart = Chart::read("dns-own")?;
    let (server, upstream) = (server(&chart).await?, nowhere().await?);
    let n = Namespace::new(&server, "n")?;
    n.put(build::headless("", "web"))?;
    n.put(slice("web", "10.1.0.1"))?;
    let mut callsign = chart.start(Path::new(BINARY), &server, "callsign", upstream.address, &[])?;
    callsign.is_ready().await?;
    let old = std::fs::read_to_string(callsign.token_file())?;
    std::fs::write(callsign.token_file(), token(&server, "kube-system", "callsign")?)?;
    server.access().revoke(&old);
    server.faults().set(Fault::DropWatches { abrupt: false }).map_err(anyhow::Error::msg)?;
    n.put(slice("web", "10.1.0.2"))?;
    let said = "401 Unauthorized";
    until(said, || callsign.callsign.said().contains(said)).await.context("the old token is refused")?;
    // What is known is answered all the time.
    answers(&callsign, "web.n.svc.cluster.local.", &["10.1.0.1"]).await?;
    let resolver = Resolver::new(callsign.dns).await?;
    let reread = async {
        loop {
            let answer = resolver.ask("web.n.svc.cluster.local.", "A").await?;
            match answer.answer.iter().collect::<Vec<_>>().as_slice() {
                [line] if line.ends_with("10.1.0.2") => return Ok(()),
                [line] if line.ends_with("10.1.0.1") => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => return Err(anyhow!("{answer:?}")),
            }
        }
    };
    let reread = tokio::time::timeout(Duration::from_secs(100), reread).await;
    reread.with_context(|| callsign.callsign.said())?
}
