//! Names that are not the cluster's, to the binary in the place of CoreDNS: what is forwarded, cached, refused, transferred,
//! and that the cluster's own names do not suffer from any of it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running},
    harness::{
        build,
        cluster::Cluster,
        in_place::Place,
        process::Callsign,
        resolver::{Resolver, question},
        upstream::{Upstream, reply_to},
        world::client,
    },
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const CLUSTER: &str = "kubernetes.default.svc.cluster.local.";
const PATIENCE: Duration = Duration::from_secs(5);

struct Served {
    server: Running,
    cluster: Cluster,
    callsign: Callsign,
    place: Place,
    resolver: Resolver,
}

/// A `kubernetes` block for the cluster's names, and these lines for all.
async fn served(lines: &str) -> Result<Served> {
    let server = ApiServer::start(Options::default()).await?;
    let place = Place::new(&server)?;
    let corefile = format!(
        ". {{\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        pods insecure\n        \
         fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }}\n{lines}\n}}\n"
    );
    place.write("Corefile", &corefile)?;
    let callsign = place.start(Path::new(BINARY), &[])?;
    let resolver = place.answers(&callsign, CLUSTER, "A").await?;
    let cluster = Cluster::new(client(&place.path("kubeconfig")).await?);
    Ok(Served { server, cluster, callsign, place, resolver })
}

/// An upstream with one address for every name, for so many seconds.
async fn always(ttl: u32) -> Result<Upstream> {
    Upstream::start(move |question| {
        let mut reply = reply_to(question, ResponseCode::NoError);
        let query = question.queries.first()?;
        if query.query_type() == RecordType::A {
            let data = RData::A(rdata::A::new(203, 0, 113, 9));
            reply.answers.push(Record::from_rdata(query.name().clone(), ttl, data));
        }
        Some(reply)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_silent_costs_the_clusters_names_nothing() -> Result<()> {
    let upstream = Upstream::start(|_| None).await?;
    let served = served(&format!("    cache 30\n    forward . {}", upstream.address)).await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(served.place.dns()).await?;
    for number in 0..500 {
        socket.send(&question(&format!("name-{number}.example.org."), "A", None)?).await?;
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        let answer = served.resolver.ask(CLUSTER, "A").await?;
        ensure!(answer.rcode == "NOERROR", "{answer:?}");
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The upstream's time-out is seconds.
    ensure!(slowest < Duration::from_millis(500), "{slowest:?}");
    // Those who asked for the others are told so, in the end.
    let mut buffer = vec![0; 4096];
    let length = timeout(Duration::from_secs(15), socket.recv(&mut buffer)).await.context("no answer")??;
    let reply = Message::from_vec(buffer.get(..length).unwrap_or_default())?;
    ensure!(reply.metadata.response_code == ResponseCode::ServFail, "{reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_asked_for_once_however_many_want_it() -> Result<()> {
    let upstream = always(300).await?;
    let served = served(&format!("    cache 30\n    forward . {}", upstream.address)).await?;
    let asking = (0..200).map(|number| {
        let dns = served.place.dns();
        async move {
            // 0x20 and the id are the client's own.
            let name = if number % 2 == 0 { "wWw.example.org." } else { "www.EXAMPLE.org." };
            let answer = Resolver::new(dns).await?.ask(name, "A").await?;
            ensure!(answer.answer.iter().all(|line| line.starts_with(name)), "{answer:?}");
            ensure!(answer.answer.len() == 1, "{answer:?}");
            Ok(())
        }
    });
    futures::future::try_join_all(asking).await?;
    ensure!(upstream.asked() <= 2, "asked {} times", upstream.asked());
    // A cache shows no TTL above its own bound.
    let answer = served.resolver.ask("www.example.org.", "A").await?;
    let ttl = answer.answer.first().and_then(|line| line.split(' ').nth(1)?.parse::<u32>().ok());
    ensure!(ttl.is_some_and(|ttl| ttl <= 30), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_outlives_its_upstream() -> Result<()> {
    let upstream = always(1).await?;
    let lines = format!(
        "    cache {{\n        success 1000 60 1\n        serve_stale 1h\n    }}\n    forward . {} {{\n        \
         max_fails 1\n    }}",
        upstream.address
    );
    let served = served(&lines).await?;
    let answer = served.resolver.ask("www.example.org.", "A").await?;
    ensure!(answer.answer.len() == 1, "{answer:?}");
    drop(upstream);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let stale = served.resolver.ask("www.example.org.", "A").await?;
    ensure!(stale.rcode == "NOERROR" && stale.answer.len() == 1, "{stale:?}\n{}", served.callsign.said());
    let other = served.resolver.ask("other.example.org.", "A").await?;
    ensure!(other.rcode == "SERVFAIL", "{other:?}");
    ensure!(
        served.callsign.said().contains("plugin/errors: 2 other.example.org. A: "),
        "{}",
        served.callsign.said()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_cut_over_udp_and_whole_over_tcp() -> Result<()> {
    let upstream = Upstream::start(|question| {
        let mut reply = reply_to(question, ResponseCode::NoError);
        let name = question.queries.first()?.name().clone();
        for number in 0..200 {
            let data = RData::A(rdata::A::new(203, 0, 113, number));
            reply.answers.push(Record::from_rdata(name.clone(), 300, data));
        }
        Some(reply)
    })
    .await?;
    let served = served(&format!("    cache 30\n    forward . {}", upstream.address)).await?;
    for _ in 0..2 {
        let packet = question("many.example.org.", "A", Some(1232))?;
        let cut = served.resolver.udp(&packet).await?;
        ensure!(cut.metadata.truncation && cut.answers.is_empty(), "{cut:?}");
        let whole = served.resolver.tcp(&packet).await?;
        ensure!(whole.answers.len() == 200 && !whole.metadata.truncation, "{}", whole.answers.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_beyond_the_bound_are_refused() -> Result<()> {
    let upstream = Upstream::start(|_| None).await?;
    let lines = format!("    forward . {} {{\n        max_concurrent 5\n    }}", upstream.address);
    let served = served(&lines).await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(served.place.dns()).await?;
    for number in 0..20 {
        socket.send(&question(&format!("name-{number}.example.org."), "A", None)?).await?;
    }
    let mut buffer = vec![0; 4096];
    for _ in 0..15 {
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.context("no answer")??;
        let reply = Message::from_vec(buffer.get(..length).unwrap_or_default())?;
        ensure!(reply.metadata.response_code == ResponseCode::Refused, "{reply:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_out_of_the_cluster_is_completed_by_whoever_knows() -> Result<()> {
    let upstream = always(300).await?;
    let lines = format!(
        "    cache 30\n    hosts {{\n        192.0.2.77 inside.example.net\n        fallthrough\n    }}\n    \
         forward . {}",
        upstream.address
    );
    let served = served(&lines).await?;
    served.cluster.apply(&build::namespace("n")).await?;
    for (name, target) in [("out", "www.example.org"), ("in", "inside.example.net")] {
        let mut service = build::service("n", name);
        service["spec"] = json!({"type": "ExternalName", "externalName": target});
        served.cluster.apply(&service).await?;
    }
    for (name, address) in [("out", "203.0.113.9"), ("in", "192.0.2.77")] {
        let name = format!("{name}.n.svc.cluster.local.");
        let resolver = served.place.answers(&served.callsign, &name, "A").await?;
        let answer = resolver.ask(&name, "A").await?;
        ensure!(answer.answer.len() == 2 && answer.flags.contains("AA"), "{answer:?}");
        ensure!(answer.answer.iter().any(|line| line.ends_with(address)), "{answer:?}");
    }
    Ok(())
}

/// All records of a transfer, over one connection.
async fn transfer(served: &Served, zone: &str) -> Result<Vec<Record>> {
    let mut stream = TcpStream::connect(served.place.dns()).await?;
    let packet = question(zone, "AXFR", None)?;
    stream.write_all(&u16::try_from(packet.len())?.to_be_bytes()).await?;
    stream.write_all(&packet).await?;
    let mut records: Vec<Record> = Vec::new();
    let is_soa =
        |record: Option<&Record>| record.is_some_and(|record| record.record_type() == RecordType::SOA);
    loop {
        let length = timeout(PATIENCE, stream.read_u16()).await.context("no message")??;
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await?;
        let message = Message::from_vec(&bytes)?;
        ensure!(message.metadata.response_code == ResponseCode::NoError, "{:?}", message.metadata);
        records.extend(message.answers);
        if records.len() > 1 && is_soa(records.last()) {
            return Ok(records);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_zone_is_transferred_to_those_it_is_meant_for() -> Result<()> {
    let served = served("    transfer cluster.local {\n        to *\n    }").await?;
    served.cluster.apply(&build::namespace("n")).await?;
    for number in 0..300 {
        let mut service = build::service("n", &format!("web-{number}"));
        service["spec"]["clusterIP"] = json!(format!("10.96.8.{}", number % 250 + 1));
        if number >= 250 {
            service["spec"]["clusterIP"] = json!(format!("10.96.9.{}", number - 249));
        }
        served.cluster.apply(&service).await?;
    }
    served.place.answers(&served.callsign, "web-299.n.svc.cluster.local.", "A").await?;
    let records = transfer(&served, "cluster.local.").await?;
    let addresses = records
        .iter()
        .filter(|record| record.record_type() == RecordType::A && record.name.to_ascii().starts_with("web-"));
    ensure!(addresses.count() == 300, "{} records", records.len());
    let refused = served.resolver.udp(&question("cluster.local.", "AXFR", None)?).await?;
    ensure!(refused.metadata.response_code == ResponseCode::Refused, "{refused:?}");
    let other = served.resolver.tcp(&question("in-addr.arpa.", "AXFR", None)?).await?;
    ensure!(other.metadata.response_code == ResponseCode::Refused, "{other:?}");
    Ok(())
}

/// With the account that CoreDNS has: nothing but lists and watches of what that may list and watch.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_the_api_server_that_coredns_may_not_ask() -> Result<()> {
    let upstream = always(300).await?;
    let served = served(&format!("    forward . {}", upstream.address)).await?;
    served.resolver.ask("www.example.org.", "A").await?;
    let requests = served.server.faults().requests();
    let allowed = ["services", "endpointslices", "namespaces"];
    for request in &requests {
        ensure!(["list", "watch"].contains(&&*request.verb), "{request:?}");
        ensure!(allowed.contains(&&*request.resource), "{request:?}");
    }
    ensure!(requests.len() >= allowed.len(), "{requests:?}");
    Ok(())
}
