//! Processes to which everything happens that is counted, and the pages they show then.
//!
//! One is `serve`, with controllers, leader election and guard; one stands in the place of CoreDNS, with a Corefile whose
//! plugins count. What is not counted in one is in the other.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{
        ApiServer, Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        in_place::{Place, free_port},
        namespace::Namespace,
        process::{Callsign, Signal},
        replicas::{first, is_ready, second},
        resolver::{Resolver, question},
        scrape,
        upstream::{Upstream, reply_to},
        world::eventually,
    },
};
use hickory_proto::op::ResponseCode;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use tokio_rustls::TlsConnector;

use crate::page::Page;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const CLUSTER: &str = "kubernetes.default.svc.cluster.local.";

/// Plays everything, and gives the pages that were read.
pub(crate) async fn play() -> Result<Vec<Page>> {
    let (controllers, dns) = tokio::try_join!(controllers(), in_the_place_of_coredns())?;
    Ok(controllers.into_iter().chain([dns]).collect())
}

/// Reads a page in both forms, and keeps the older one where `CALLSIGN_METRICS_PAGES` says, for promtool.
async fn read(name: &str, address: SocketAddr) -> Result<Page> {
    if let Some(folder) = std::env::var_os("CALLSIGN_METRICS_PAGES") {
        let (status, text) = scrape::get(address, "/metrics").await?;
        ensure!(status == 200, "{status}");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(Path::new(&folder).join(format!("{name}.txt")), text)?;
    }
    let (status, text) = scrape::get_as(address, "/metrics", "application/openmetrics-text").await?;
    ensure!(status == 200, "{status}");
    Page::read(&text).with_context(|| format!("the page of {name}"))
}

// === Controllers ===

/// Two replicas of `serve`. Services of every kind, pods of every standing, a server that is too busy once, somebody who edits.
async fn controllers() -> Result<Vec<Page>> {
    let arguments = ["--guard", "on", "--guard-wait=200ms", "--event-after=100ms", "--lameduck=0"];
    let elects = [&arguments[..], &["--leader-elect=true"]].concat();
    let mut world = first(BINARY, &elects).await?;
    let mut other = second(BINARY, &world, "b", &elects).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::headless("", "slow"))?;
    let mut web = build::headless("", "web");
    if let Some(spec) = web.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("trafficDistribution".to_owned(), json!("PreferSameZone"));
    }
    n.put(web)?;
    let mut named = build::service("", "named");
    if let Some(port) = named.pointer_mut("/spec/ports/0") {
        *port = json!({"name": "http", "port": 80, "targetPort": "nobody-has-it"});
    }
    n.put(named)?;
    n.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "manual"},
        "spec": {"ports": [{"port": 80}]}}))?;
    n.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "manual"},
        "subsets": [{"addresses": [{"ip": "10.9.0.1"}], "ports": [{"port": 80}]}]}))?;
    let requests = Requests { namespace: Some("n".to_owned()), ..Requests::of("create", "endpointslices") };
    world.fault(Fault::Answer { requests, times: 1, status: 429, retry_after: Some(1) })?;
    let requests = Requests { namespace: Some("n".to_owned()), ..Requests::of("update", "endpointslices") };
    world.fault(Fault::Answer { requests, times: 1, status: 500, retry_after: None })?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    n.put(build::pod("", "b", "web", "10.1.0.2", false))?;
    n.put(build::pod("", "c", "named", "10.1.0.3", true))?;
    n.put(build::pod("", "d", "slow", "10.1.0.4", true))?;
    let metrics = world.callsign.address("metrics").await?;
    let shows = async |sample: &str, least: f64| {
        eventually(sample, async || {
            let page = scrape::Metrics::of(metrics).await?;
            ensure!(page.value(sample) >= least, "{}", page.value(sample));
            Ok(())
        })
        .await
    };
    let created = |kind: &str| {
        format!("callsign_controller_writes_total{{kind=\"{kind}\",verb=\"create\",result=\"ok\"}}")
    };
    shows(&created("EndpointSlice"), 4.0).await?;
    shows(&created("Endpoints"), 3.0).await?;
    // A pod that says since when it is ready: the time from then to the answer is counted.
    let mut b = build::pod("", "b", "web", "10.1.0.2", true);
    if let Some(ready) = b.pointer_mut("/status/conditions/0").and_then(Value::as_object_mut) {
        ready.insert("lastTransitionTime".to_owned(), json!("2026-01-01T00:00:00Z"));
    }
    n.put(b)?;
    n.delete(Kind::Pod, "d", Some(0))?;
    shows("callsign_controller_settled", 1.0).await?;
    world.answers("web.n.svc.cluster.local.", "A", &["10.1.0.1", "10.1.0.2"]).await?;
    shows("callsign_controller_writes_total{kind=\"EndpointSlice\",verb=\"update\",result=\"error\"}", 1.0)
        .await?;
    shows("callsign_controller_events_total{reason=\"TargetPortNotFound\",result=\"posted\"}", 1.0).await?;
    is_ready(&mut other).await?;
    let follower = other.address("metrics").await?;
    let pages = vec![read("leader", metrics).await?, read("follower", follower).await?];
    let mut shadow =
        world.another(Path::new(BINARY), &["--controller=shadow", "--guard", "off", "--lameduck=0"])?;
    is_ready(&mut shadow).await?;
    let at = shadow.address("metrics").await?;
    eventually("it compares", async || {
        let page = scrape::Metrics::of(at).await?;
        ensure!(
            page.samples.keys().any(|sample| sample.starts_with("callsign_controller_shadow_difference{"))
        );
        Ok(())
    })
    .await?;
    Ok(pages.into_iter().chain([read("shadow", at).await?]).collect())
}

// === DNS ===

/// A Corefile whose plugins count, each asked for what it counts.
struct Counting {
    place: Place,
    callsign: Callsign,
    resolver: Resolver,
    metrics: SocketAddr,
    https: u16,
    authority: Arc<rustls::ClientConfig>,
    #[expect(dead_code, reason = "they answer as long as this")]
    others: [Upstream; 3],
    #[expect(dead_code, reason = "the API server runs as long as this")]
    server: callsign_e2e::apiserver::Running,
}

async fn in_the_place_of_coredns() -> Result<Page> {
    let counting = Counting::start().await?;
    counting.ask_everything().await?;
    counting.reload_badly().await?;
    let page = read("dns", counting.metrics).await?;
    counting.callsign.signal(Signal::SIGTERM)?;
    Ok(page)
}

impl Counting {
    async fn start() -> Result<Self> {
        let server = ApiServer::start(Options::default()).await?;
        let place = Place::new(&server)?;
        let [https, health, ready, metrics] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let (good, silent) = (Upstream::of_example().await?, Upstream::start(|_| None).await?);
        let failing = Upstream::start(|question| Some(reply_to(question, ResponseCode::ServFail))).await?;
        let authority = certificates(&place)?;
        place.write("resolv.conf", "search default.svc.cluster.local example.org\n")?;
        place.write("hosts", "192.0.2.9 host.internal\n")?;
        let file = |name: &str| place.path(name).display().to_string();
        let [good_at, silent_at, failing_at] = [&good, &silent, &failing].map(|upstream| upstream.address);
        let corefile = format!(
            r#". {{
    errors
    health 127.0.0.1:{health} {{
        lameduck 0s
    }}
    ready 127.0.0.1:{ready}
    prometheus 127.0.0.1:{metrics}
    reload 60s 10s
    loop
    local
    acl blocked.test {{
        block net 127.0.0.0/8
    }}
    acl filtered.test {{
        filter net 127.0.0.0/8
    }}
    acl dropped.test {{
        drop net 127.0.0.0/8
    }}
    kubernetes cluster.local in-addr.arpa {{
        pods verified
        fallthrough in-addr.arpa
    }}
    autopath {resolv}
    hosts {hosts} internal {{
        fallthrough
    }}
    template IN A matches.test {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.1"
    }}
    template IN A fails.test {{
        answer "{{{{ index .Match 9 }}}}"
    }}
    template IN A unreadable.test {{
        answer "{{{{ .Name }}}} 60 IN A nonsense"
    }}
    cache 30 {{
        prefetch 1 60s 90%
        serve_stale 60s
    }}
    forward . {good_at} {{
        max_concurrent 1000
    }}
}}
six.test {{
    prometheus 127.0.0.1:{metrics}
    errors
    dns64 {{
        allow_ipv4
    }}
    template IN A six.test {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.6"
    }}
    template IN AAAA six.test {{
        rcode NOERROR
    }}
}}
limited.test {{
    prometheus 127.0.0.1:{metrics}
    errors
    rrl limited.test {{
        responses-per-second 1
        requests-per-second 20
        window 1
    }}
    template IN A limited.test {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.2"
    }}
}}
silent.test {{
    prometheus 127.0.0.1:{metrics}
    errors
    forward . {silent_at} {{
        max_fails 1
        health_check 100ms
        max_concurrent 1
        expire 1s
        failfast_all_unhealthy_upstreams
    }}
}}
failing.test {{
    prometheus 127.0.0.1:{metrics}
    errors
    forward . {failing_at}
}}
kept.test {{
    prometheus 127.0.0.1:{metrics}
    errors
    forward . {good_at} {{
        force_tcp
    }}
}}
https://cluster.local:{https} {{
    prometheus 127.0.0.1:{metrics}
    tls {certificate} {key}
    kubernetes
}}
"#,
            resolv = file("resolv.conf"),
            hosts = file("hosts"),
            certificate = file("server.pem"),
            key = file("server.key"),
        );
        place.write("Corefile", &corefile)?;
        let callsign = place.start(Path::new(BINARY), &[])?;
        let resolver = place.answers(&callsign, CLUSTER, "A").await?;
        let metrics = SocketAddr::from(([127, 0, 0, 1], metrics));
        Ok(Self {
            place,
            callsign,
            resolver,
            metrics,
            https,
            authority,
            others: [good, silent, failing],
            server,
        })
    }

    async fn ask_everything(&self) -> Result<()> {
        let rcode = async |name: &str, kind: &str, wanted: &str| {
            let answer = self.resolver.ask(name, kind).await?;
            ensure!(answer.rcode == wanted, "{answer:?}\n{}", self.callsign.said());
            anyhow::Ok(())
        };
        for (name, kind, wanted) in [
            ("nosuch.default.svc.cluster.local.", "AAAA", "NXDOMAIN"),
            ("www.example.org.", "A", "NOERROR"),
            ("www.example.org.", "A", "NOERROR"),
            ("nosuch.example.org.", "A", "NXDOMAIN"),
            // Through the search path, to an answer.
            ("www.default.svc.cluster.local.", "A", "NOERROR"),
            ("localhost.example.org.", "A", "NOERROR"),
            ("host.internal.", "A", "NOERROR"),
            ("a.blocked.test.", "A", "REFUSED"),
            ("a.filtered.test.", "A", "NOERROR"),
            ("a.matches.test.", "A", "NOERROR"),
            ("a.fails.test.", "A", "SERVFAIL"),
            ("a.unreadable.test.", "A", "SERVFAIL"),
            ("a.six.test.", "AAAA", "NOERROR"),
            ("a.failing.test.", "A", "SERVFAIL"),
            ("a.kept.test.", "A", "NXDOMAIN"),
            ("b.kept.test.", "A", "NXDOMAIN"),
        ] {
            rcode(name, kind, wanted).await.with_context(|| format!("{name} {kind}"))?;
        }
        self.resolver.tcp(&question(CLUSTER, "A", None)?).await?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(self.place.dns()).await?;
        // The DO bit is the highest of the fourth byte from the end: OPT's TTL is before the length of its data.
        let mut signed = question(CLUSTER, "A", Some(1232))?;
        let at = signed.len() - 4;
        *signed.get_mut(at).context("no OPT")? |= 0x80;
        socket.send(&signed).await?;
        socket.send(&question("a.dropped.test.", "A", None)?).await?;
        for number in 0..40 {
            socket.send(&question("a.limited.test.", "A", None)?).await?;
            socket.send(&question(&format!("{number}.silent.test."), "A", None)?).await?;
        }
        self.ask_over_https().await?;
        eventually("the upstream is down", async || {
            socket.send(&question("late.silent.test.", "A", None)?).await?;
            let metrics = scrape::Metrics::of(self.metrics).await?;
            ensure!(metrics.value("coredns_forward_healthcheck_broken_total") > 0.0);
            Ok(())
        })
        .await
    }

    async fn ask_over_https(&self) -> Result<()> {
        let stream = TcpStream::connect(("127.0.0.1", self.https)).await?;
        let connector = TlsConnector::from(Arc::clone(&self.authority));
        let mut stream = connector.connect(ServerName::try_from("dns.test")?, stream).await?;
        stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: dns.test\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        // The other side may end without TLS's goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        ensure!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    async fn reload_badly(&self) -> Result<()> {
        let good = std::fs::read_to_string(self.place.path("Corefile"))?;
        self.place.write("Corefile", &good.replacen("errors", "nonsense", 1))?;
        self.callsign.signal(Signal::SIGUSR1)?;
        eventually("the reload has failed", async || {
            let metrics = scrape::Metrics::of(self.metrics).await?;
            ensure!(metrics.value("coredns_reload_failed_total") == 1.0);
            ensure!(metrics.value("callsign_corefile_refused") == 1.0);
            Ok(())
        })
        .await
    }
}

/// Writes the certificate of `dns.test` and its key, and gives what trusts it.
fn certificates(place: &Place) -> Result<Arc<rustls::ClientConfig>> {
    let certified = rcgen::generate_simple_self_signed(vec!["dns.test".to_owned()])?;
    place.write("server.pem", &certified.cert.pem())?;
    place.write("server.key", &certified.signing_key.serialize_pem())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// How long a scenario may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
