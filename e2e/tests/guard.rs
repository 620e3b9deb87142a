//! Beside another controller: nothing is written while one is there, and again when it is gone. People's edits are no
//! controller. What would take away most of what is there is looked into first.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{
        ApiServer, Key, Options, Part, Patch, Running, Scope, Store, WriteOptions,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, hold, server, until, writes},
        process::Callsign,
        scrape::{Metrics, get},
        world::{World, eventually},
    },
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const MANAGER: &str = "kube-controller-manager";
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
const LISTED: &str = "10.1.0.1 http:8080/TCP";

/// Stands in for kube-controller-manager: makes Endpoints and a slice for every Service with a selector that has none.
struct Other(JoinHandle<()>);

impl Other {
    fn start(store: &Arc<Store>) -> Self {
        let store = Arc::clone(store);
        Self(tokio::spawn(async move {
            loop {
                for service in store.list(Kind::Service, Scope::All).0 {
                    if service.value.pointer("/spec/selector").is_some() {
                        make(&store, &service.key.namespace, &service.key.name);
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn make(store: &Store, namespace: &str, name: &str) {
    let by = WriteOptions::by(MANAGER);
    if store.get(Kind::Endpoints, namespace, name).is_none() {
        let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}});
        // It may have come in between.
        let _ = store.create(Kind::Endpoints, namespace, endpoints, &by);
    }
    let slice = format!("{name}-other");
    if store.get(Kind::EndpointSlice, namespace, &slice).is_none() {
        let labels = json!({"kubernetes.io/service-name": name,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": slice, "labels": labels}, "addressType": "IPv4", "endpoints": []});
        let _ = store.create(Kind::EndpointSlice, namespace, slice, &by);
    }
}

/// A world whose guard waits this long, and looks ten times as often while it stands down.
async fn guarded(server: Running, wait: &str, interval: &str) -> Result<World> {
    let arguments = ["--guard", "on", "--guard-wait", wait, "--guard-interval", interval];
    World::join(Path::new(BINARY), server, &arguments).await
}

async fn metric(callsign: &mut Callsign, name: &str) -> Result<f64> {
    let metrics = Metrics::of(callsign.address("metrics").await?).await?;
    metrics.samples.get(name).copied().with_context(|| format!("no {name}"))
}

async fn until_metric(callsign: &mut Callsign, name: &str, wanted: f64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = metric(callsign, name).await?;
        if found == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{name}: wanted {wanted}, found {found}\n{}", callsign.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ready(address: SocketAddr, code: u16, says: &str) -> Result<()> {
    eventually("readiness", async || {
        let (found, body) = get(address, "/ready").await?;
        ensure!(found == code && body.contains(says), "wanted {code} {says:?}, found {found} {body:?}");
        Ok(())
    })
    .await
}

fn canaries(store: &Store) -> usize {
    let (services, _) = store.list(Kind::Service, Scope::All);
    services.iter().filter(|service| service.key.name.starts_with("callsign-canary-")).count()
}

fn edit(store: &Store, manager: &str, slice: &str, n: &Namespace, patch: Value) -> Result<()> {
    let key = Key::new(&n.name, slice);
    let by = WriteOptions::by(manager);
    let done = store.patch(Kind::EndpointSlice, &key, Part::Main, &Patch::Merge(patch), &by);
    done.map(drop).map_err(|error| anyhow::anyhow!("{error:?}"))
}

fn slice_of(n: &Namespace, service: &str) -> String {
    let slices = n.slices(service);
    let name = slices.first().and_then(|slice| slice.pointer("/metadata/name")?.as_str());
    name.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_controller_lives_nothing_is_written() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let other = Other::start(server.store());
    let mut world = guarded(server, "3s", "10s").await?;
    let address = world.callsign.address("ready").await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    ready(address, 503, "another controller is active: kube-controller-manager made").await?;
    assert_eq!(metric(&mut world.callsign, "callsign_controller_foreign_manager_active").await?, 1.0);
    until("the canary is taken back", || canaries(n.store()) == 0).await?;
    // It goes on to look, and never writes.
    let looked = world.embedded()?.faults().requests_of("create", "services");
    until("another canary", || {
        world.embedded().is_ok_and(|server| server.faults().requests_of("create", "services") > looked)
    })
    .await?;
    for resource in ["endpoints", "endpointslices"] {
        assert_eq!(writes(world.embedded()?, resource), [0; 3], "{resource}");
    }
    assert_eq!(get(address, "/ready").await?.0, 503);
    drop(other);
    ready(address, 200, "OK").await?;
    until_metric(&mut world.callsign, "callsign_controller_foreign_manager_active", 0.0).await?;
    let said = world.callsign.said();
    assert_eq!(said.matches("standing down").count(), 1, "once a change:\n{said}");
    assert_eq!(said.matches("back on duty").count(), 1, "{said}");
    eventually("its own objects", async || {
        let lines = n.endpoints_in_slices("web");
        ensure!(lines.contains(&UP.to_owned()), "{lines:?}");
        Ok(())
    })
    .await?;
    until("no canary is left", || canaries(n.store()) == 0).await
}

/// A process of controllers alone has nothing to answer: it is not ready whenever it stands down.
#[tokio::test(flavor = "multi_thread")]
async fn controllers_alone_are_not_ready_while_they_stand_down() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let mut arguments =
        vec!["controller".to_owned(), "--kubeconfig".to_owned(), kubeconfig.display().to_string()];
    for flag in ["--health-listen", "--ready-listen", "--metrics-listen"] {
        arguments.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    arguments.extend(["--guard-wait", "1s", "--guard-interval", "2s"].map(str::to_owned));
    let mut callsign = Callsign::start(Path::new(BINARY), arguments)?;
    let address = callsign.address("ready").await?;
    ready(address, 200, "OK").await?;
    let other = Other::start(server.store());
    ready(address, 503, "controller: another controller is active").await?;
    drop(other);
    ready(address, 200, "OK").await
}

/// What everybody starts with: it finds nobody, and writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_start_writes_within_seconds() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let n = Namespace::new(&server, "n")?;
    n.put(build::service("", "web"))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    // What an earlier process did not take back.
    let left = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "callsign-canary-left", "labels": {"callsign.dev/canary": "guard"}},
        "spec": {"clusterIP": "None", "selector": {"callsign.dev/canary": "no-pod-left"}}});
    let made = server.store().create(Kind::Service, "kube-system", left, &WriteOptions::by("callsign"));
    made.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let mut arguments = vec!["serve".to_owned(), "--kubeconfig".to_owned(), kubeconfig.display().to_string()];
    for flag in ["--listen", "--health-listen", "--ready-listen", "--metrics-listen"] {
        arguments.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    let mut callsign = Callsign::start(Path::new(BINARY), arguments)?;
    ready(callsign.address("ready").await?, 200, "OK").await?;
    eventually("written", async || {
        let found = (n.endpoints("web"), n.endpoints_in_slices("web"));
        ensure!(
            found == (Some(vec![LISTED.to_owned()]), vec![UP.to_owned()]),
            "{found:?}\n{}",
            callsign.said()
        );
        Ok(())
    })
    .await?;
    // Its canary is still out, for those who are slow; nothing is made for it, and the old one is gone.
    let store = server.store();
    assert!(store.get(Kind::Service, "kube-system", "callsign-canary-left").is_none());
    assert_eq!(store.list(Kind::EndpointSlice, Scope::Namespace("kube-system")).0.len(), 0);
    callsign.signal(callsign_e2e::harness::process::Signal::SIGTERM)?;
    callsign.ended(Duration::from_secs(15)).await?;
    assert_eq!(canaries(store), 0, "it is taken back at the end");
    Ok(())
}

/// A leader leaves word that it found nobody: the next need not wait, though kube-controller-manager runs, without its
/// endpoint controllers.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_handed_over() -> Result<()> {
    let wait = Duration::from_secs(8);
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": MANAGER},
        "spec": {"holderIdentity": "m", "leaseDurationSeconds": 15, "renewTime": "2999-01-01T00:00:00.000000Z"}});
    let made = server.store().create(Kind::Lease, "kube-system", lease, &WriteOptions::by(MANAGER));
    made.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let arguments = ["--guard", "on", "--guard-wait", "8s", "--lameduck", "0", "--leader-elect"];
    let mut world = World::join(Path::new(BINARY), server, &arguments).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    let begun = Instant::now();
    until("the first writes", || n.endpoints("web").is_some()).await?;
    assert!(begun.elapsed() > wait / 2, "it waits where kube-controller-manager runs");
    let store = Arc::clone(world.embedded()?.store());
    let kept = || {
        let lease = store.get(Kind::Lease, "kube-system", "callsign-controller");
        lease.is_some_and(|lease| {
            lease.value.pointer("/metadata/annotations/callsign.dev~1alone-at").is_some()
        })
    };
    until("the proof is kept", kept).await?;
    let mut next = world.another(Path::new(BINARY), &arguments)?;
    ready(next.address("ready").await?, 200, "OK").await?;
    let begun = Instant::now();
    world.callsign.signal(callsign_e2e::harness::process::Signal::SIGTERM)?;
    world.callsign.ended(Duration::from_secs(15)).await?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    until("the next leader writes", || n.endpoints_in_slices("web") == [UP]).await?;
    assert!(begun.elapsed() < wait, "{}", next.said());
    assert!(next.said().contains("another replica found no other controller"), "{}", next.said());
    assert!(kept(), "the elector keeps it");
    Ok(())
}

/// Where no canary may be made, that is said once, and writing begins all the same.
#[tokio::test(flavor = "multi_thread")]
async fn without_permission_for_canaries_objects_have_to_tell() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let requests = Requests::of("create", "services");
    let refused = Fault::Answer { requests, times: 1000, status: 403, retry_after: None };
    server.faults().set(refused).map_err(anyhow::Error::msg)?;
    let world = guarded(server, "1s", "1s").await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    until("it tried again", || {
        world.embedded().is_ok_and(|server| server.faults().requests_of("create", "services") > 2)
    })
    .await?;
    let said = world.callsign.said();
    assert_eq!(said.matches("cannot make a canary").count(), 1, "{said}");
    Ok(())
}

/// Somebody who writes under the name of kube-controller-manager is left the Service; when it is many, all.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_writer_is_left_its_services() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let n = Namespace::new(&server, "n")?;
    for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        n.put(build::service("", name))?;
        n.put(build::pod("", name, name, &format!("10.1.0.{}", number + 1), true))?;
    }
    let mut world = guarded(server, "2s", "10m").await?;
    let address = world.callsign.address("ready").await?;
    ready(address, 200, "OK").await?;
    hold(&world, &[n.wants("d", Some(&["10.1.0.4 http:8080/TCP"]), &["10.1.0.4 rs- http:8080/TCP"])]).await?;
    let foreign = |service: &str| {
        // Another address each time, or it would be no write.
        let last = next();
        let endpoint = json!({"addresses": [format!("192.0.2.{last}")], "conditions": {"ready": true}});
        edit(n.store(), MANAGER, &slice_of(&n, service), &n, json!({ "endpoints": [endpoint] }))
    };
    let is_foreign =
        |service: &str| n.endpoints_in_slices(service).iter().any(|line| line.starts_with("192."));
    foreign("a")?;
    until_metric(&mut world.callsign, "callsign_controller_services_left_alone", 1.0).await?;
    assert!(is_foreign("a"), "it is left as the other wrote it");
    until("an Event", || {
        let (events, _) = n.store().list(Kind::Event, Scope::Namespace("n"));
        events.iter().any(|event| event.value.get("reason") == Some(&json!("EndpointsWrittenByAnother")))
    })
    .await?;
    n.merge(Kind::Pod, "d", json!({"status": build::status_conditions(false)}))?;
    eventually("others are written", async || {
        foreign("a")?;
        ensure!(n.endpoints_in_slices("d") == ["10.1.0.4 --- http:8080/TCP"], "not yet");
        Ok(())
    })
    .await?;
    assert_eq!(metric(&mut world.callsign, "callsign_controller_foreign_manager_active").await?, 0.0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(&mut world.callsign, "callsign_controller_foreign_manager_active").await? == 0.0 {
        ensure!(Instant::now() < deadline, "{}", world.callsign.said());
        for service in ["a", "b", "c"] {
            foreign(service)?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    n.merge(Kind::Pod, "d", json!({"status": build::status_conditions(true)}))?;
    let before = writes(world.embedded()?, "endpointslices");
    for _ in 0..20 {
        foreign("a")?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(writes(world.embedded()?, "endpointslices"), before, "nothing is written");
    assert_eq!(get(address, "/ready").await?.0, 200, "DNS was ready and stays so");
    // It is gone.
    until_metric(&mut world.callsign, "callsign_controller_foreign_manager_active", 0.0).await?;
    let all: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let ip = format!("10.1.0.{}", number + 1);
            n.wants(name, Some(&[&format!("{ip} http:8080/TCP")]), &[&format!("{ip} rs- http:8080/TCP")])
        })
        .collect();
    hold(&world, &all).await
}

/// Another number each time.
fn next() -> u8 {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % 200 + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_no_controller_but_a_fight_is_ended() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let n = Namespace::new(&server, "n")?;
    n.put(build::service("", "web"))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    let mut world = guarded(server, "1s", "10m").await?;
    let right = n.wants("web", Some(&[LISTED]), &[UP]);
    hold(&world, std::slice::from_ref(&right)).await?;
    let stray = |manager: &str| {
        let patch = json!({"metadata": {"labels": {"stray": format!("x{}", next())}}});
        edit(n.store(), manager, &slice_of(&n, "web"), &n, patch)
    };
    let put_right = || n.slices("web").iter().all(|slice| slice.pointer("/metadata/labels/stray").is_none());
    for _ in 0..7 {
        stray("kubectl-edit")?;
        until("it is put right", put_right).await?;
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(metric(&mut world.callsign, "callsign_controller_services_left_alone").await?, 0.0);
    // Somebody whose changes come right after ours, again and again.
    let mut rounds = 0;
    while metric(&mut world.callsign, "callsign_controller_services_left_alone").await? == 0.0 {
        rounds += 1;
        ensure!(rounds < 50, "{}", world.callsign.said());
        stray("other-operator")?;
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert!(rounds > 12, "{rounds}");
    assert!(world.callsign.said().contains("other-operator changes EndpointSlice n/web-"));
    stray("other-operator")?;
    // Others are written all the same.
    n.put(build::service("", "other"))?;
    hold(&world, &[n.wants("other", Some(&[]), &["IPv4 empty"])]).await?;
    assert!(!put_right(), "it is left alone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_nobody_is_looked_for() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let _other = Other::start(server.store());
    let world = World::join(Path::new(BINARY), server, &["--guard", "off"]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    eventually("written beside the other", async || {
        ensure!(n.endpoints_in_slices("web").contains(&UP.to_owned()), "not yet");
        Ok(())
    })
    .await?;
    assert_eq!(world.embedded()?.faults().requests_of("create", "services"), 0);
    Ok(())
}

/// A Service with this many ready pods, all of them listed.
async fn crowd(world: &World, pods: usize) -> Result<Namespace> {
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    for number in 0..pods {
        n.put(build::pod("", &format!("p{number:03}"), "web", &ip(number), true))?;
    }
    until("all are listed", || ready_in_slices(&n) == pods).await?;
    world.cluster.settle().await?;
    Ok(n)
}

fn ip(number: usize) -> String {
    format!("10.1.{}.{}", number / 200, number % 200 + 1)
}

fn ready_in_slices(n: &Namespace) -> usize {
    n.endpoints_in_slices("web").iter().filter(|line| line.contains(" rs- ")).count()
}

async fn relist(world: &World, kind: &str, keep: usize, times: u32) -> Result<()> {
    let requests = Requests::of("watch", kind);
    world.fault(Fault::ShortLists { requests, times, keep })?;
    world.fault(Fault::ExpireVersions)?;
    world.fault(Fault::DropWatches { abrupt: true })
}

/// Lists that lack too little to be doubted and too much to be written: of pods, and of the Nodes they are on.
#[tokio::test(flavor = "multi_thread")]
async fn the_fuse_keeps_what_a_short_list_lacks() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a"), ("node-b", "zone-b")]).await?;
    let mut world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = crowd(&world, 300).await?;
    relist(&world, "pods", 180, 1).await?;
    blows_and_mends(&mut world, &n).await?;
    // And on it goes.
    n.merge(Kind::Pod, "p000", json!({"status": build::status_conditions(false)}))?;
    until("a single one is written", || ready_in_slices(&n) == 299).await?;
    n.merge(Kind::Pod, "p000", json!({"status": build::status_conditions(true)}))?;
    until("and back", || ready_in_slices(&n) == 300).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fuse_keeps_pods_whose_nodes_a_list_lacks() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a"), ("node-b", "zone-b")]).await?;
    let mut world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = crowd(&world, 300).await?;
    relist(&world, "nodes", 0, 1).await?;
    blows_and_mends(&mut world, &n).await
}

/// Waits until the fuse has blown and is mended; few are taken away meanwhile, and in the end none.
async fn blows_and_mends(world: &mut World, n: &Namespace) -> Result<()> {
    until_metric(&mut world.callsign, "callsign_controller_fuse_trips_total", 1.0).await?;
    let least = Instant::now() + Duration::from_secs(1);
    while Instant::now() < least
        || metric(&mut world.callsign, "callsign_controller_fuse_blown").await? == 1.0
    {
        // What goes before the fuse blows are few.
        assert!(ready_in_slices(n) > 200, "{}", world.callsign.said());
        ensure!(Instant::now() < least + Duration::from_secs(30), "{}", world.callsign.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("all are listed again", || ready_in_slices(n) == 300).await?;
    world.cluster.settle().await?;
    assert_eq!(ready_in_slices(n), 300, "{}", world.callsign.said());
    Ok(())
}

/// A process that begins with a short list has nothing to compare it with but what is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_fuse_counts_from_the_start() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = crowd(&world, 300).await?;
    let server = world.server.take().context("the server")?;
    drop(world);
    let requests = Requests::of("watch", "pods");
    let short = Fault::ShortLists { requests, times: 1, keep: 100 };
    server.faults().set(short).map_err(anyhow::Error::msg)?;
    let mut world = World::join(Path::new(BINARY), server, &[]).await?;
    let least = Instant::now() + Duration::from_secs(1);
    while Instant::now() < least
        || metric(&mut world.callsign, "callsign_controller_fuse_trips_total").await? == 0.0
        || metric(&mut world.callsign, "callsign_controller_fuse_blown").await? == 1.0
    {
        assert!(ready_in_slices(&n) > 200, "{}", world.callsign.said());
        ensure!(Instant::now() < least + Duration::from_secs(30), "{}", world.callsign.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.cluster.settle().await?;
    until("all are listed", || ready_in_slices(&n) == 300).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_mass_change_is_only_looked_at() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = crowd(&world, 300).await?;
    for number in 0..200 {
        let status = json!({"status": build::status_conditions(false)});
        n.merge(Kind::Pod, &format!("p{number:03}"), status)?;
    }
    until("it is written", || ready_in_slices(&n) == 100).await?;
    assert!(metric(&mut world.callsign, "callsign_controller_fuse_trips_total").await? >= 1.0);
    until_metric(&mut world.callsign, "callsign_controller_fuse_blown", 0.0).await
}

/// A list that lacks most is not believed; two in a row are, when they are far enough apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lacks_most_is_confirmed_first() -> Result<()> {
    let server = ApiServer::start(Options::default()).await?;
    let world = World::join(Path::new(BINARY), server, &["--removal-fuse", "0"]).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    let n = crowd(&world, 150).await?;
    relist(&world, "pods", 10, 2).await?;
    until("the doubt is settled", || {
        assert_eq!(ready_in_slices(&n), 150);
        world.callsign.said().contains("a second list settled the doubt")
    })
    .await?;
    world.cluster.settle().await?;
    assert_eq!(ready_in_slices(&n), 150);
    // This time they are gone, and nobody said so.
    world.fault(Fault::SkipEvents { kind: "pods".to_owned(), times: 120 })?;
    for number in 0..120 {
        n.delete(Kind::Pod, &format!("p{number:03}"), Some(0))?;
    }
    let begun = Instant::now();
    world.fault(Fault::ExpireVersions)?;
    world.fault(Fault::DropWatches { abrupt: true })?;
    until("they are removed", || ready_in_slices(&n) == 30).await?;
    assert!(begun.elapsed() >= Duration::from_secs(5), "not on the word of one list");
    Ok(())
}

/// Services that went while nobody said so, with all that was theirs. Their endpoints are a large part of all there are, and
/// they are removed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn many_services_that_went_unseen_are_gone() -> Result<()> {
    const SERVICES: usize = 150;
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let (n, other) = (Namespace::new(world.embedded()?, "n")?, Namespace::new(world.embedded()?, "other")?);
    let fill = |n: &Namespace, name: &str, number: usize| -> Result<()> {
        n.put(build::service("", name))?;
        n.put(build::pod("", name, name, &ip(number), true)).map(drop)
    };
    let name = |number: usize| format!("s{number:03}");
    (0..SERVICES).try_for_each(|number| fill(&n, &name(number), number))?;
    fill(&other, "web", SERVICES)?;
    until("all are listed", || (0..SERVICES).all(|number| n.endpoints_in_slices(&name(number)).len() == 1))
        .await?;
    world.cluster.settle().await?;
    world.rcode("s000.n.svc.cluster.local.", "A", "NOERROR").await?;
    for kind in ["services", "pods", "endpoints"] {
        world.fault(Fault::SkipEvents { kind: kind.to_owned(), times: u32::try_from(SERVICES)? })?;
    }
    for number in 0..SERVICES {
        n.delete(Kind::Service, &name(number), None)?;
        n.delete(Kind::Pod, &name(number), Some(0))?;
    }
    world.fault(Fault::ExpireVersions)?;
    world.fault(Fault::DropWatches { abrupt: true })?;
    world.rcode("s149.n.svc.cluster.local.", "A", "NXDOMAIN").await?;
    world.rcode("s000.n.svc.cluster.local.", "A", "NXDOMAIN").await?;
    world.rcode("web.other.svc.cluster.local.", "A", "NOERROR").await?;
    other.merge(Kind::Pod, "web", json!({"status": build::status_conditions(false)}))?;
    until("what is left is written", || {
        other.endpoints_in_slices("web").iter().any(|line| line.contains(" --- "))
    })
    .await?;
    world.cluster.settle().await
}
