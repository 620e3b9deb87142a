use std::sync::Arc;

use callsign_shared::Index;
use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};
use serde_json::{Value, json};

use crate::{
    answer::Transport,
    block::Router,
    plugin::{Clusters, Reply, StartError, World},
    plugins::kubernetes::KubernetesConfig,
    testing::{self, apply, service},
    zone::{Zone, ZoneConfig},
};

/// The small cluster, with Services that are seen from outside.
struct Outer;

impl Clusters for Outer {
    fn zone(&self, config: &KubernetesConfig) -> Result<Arc<Zone>, StartError> {
        let index: Arc<Index> = testing::index();
        let ports = json!([{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        let balanced = |name: &str, ingress: Value| {
            let mut object =
                service(name, json!({"type": "LoadBalancer", "clusterIP": "10.96.0.50", "ports": ports}));
            object["status"] = json!({"loadBalancer": {"ingress": ingress}});
            object
        };
        let both =
            json!({"clusterIP": "None", "externalIPs": ["192.0.2.10", "2001:db8::10"], "ports": ports});
        for object in [
            service("both", both),
            service("plain", json!({"clusterIP": "10.96.0.51", "externalIPs": ["192.0.2.10"]})),
            balanced("lb", json!([{"ip": "192.0.2.20"}])),
            balanced("named", json!([{"hostname": "vip.ns.svc.cluster.local"}])),
        ] {
            apply(&index, &object);
        }
        let config = ZoneConfig {
            source: callsign_shared::index::Source::Memberships,
            own_addresses: vec!["203.0.113.1".parse().unwrap()],
            ..config.zone.clone()
        };
        let zone = Zone::new(config, index);
        zone.set_synced();
        Ok(Arc::new(zone))
    }

    fn keep(&self, _: &[Arc<Zone>]) {}
}

fn corefile(zones: &str, options: &str) -> String {
    format!(
        ".:53 {{
            transfer {{
                to *
            }}
            kubernetes cluster.local
            k8s_external {zones} {{
                {options}
            }}
        }}"
    )
}

fn served(options: &str) -> Arc<Router> {
    let world = World { clusters: Arc::new(Outer), ..testing::world() };
    testing::router_in(&corefile("example.org 2.0.192.in-addr.arpa", options), &world)
}

fn lines(records: &[Record]) -> Vec<String> {
    let line = |r: &Record| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data);
    records.iter().map(|r| line(r).replace("example.org.", "@")).collect()
}

async fn ask(router: &Arc<Router>, name: &str, qtype: RecordType) -> Reply {
    let name = if name.ends_with("arpa.") { name.to_owned() } else { format!("{name}example.org.") };
    testing::ask(router, &name, qtype).await
}

#[tokio::test]
async fn services_have_their_external_addresses() {
    let router = served("");
    for (name, qtype, answers, additionals) in [
        ("both.ns.", RecordType::A, vec!["both.ns.@ 5 A 192.0.2.10"], vec![]),
        ("both.ns.", RecordType::AAAA, vec!["both.ns.@ 5 AAAA 2001:db8::10"], vec![]),
        ("lb.ns.", RecordType::A, vec!["lb.ns.@ 5 A 192.0.2.20"], vec![]),
        ("_web._tcp.lb.ns.", RecordType::A, vec!["_web._tcp.lb.ns.@ 5 A 192.0.2.20"], vec![]),
        (
            "lb.ns.",
            RecordType::SRV,
            vec!["lb.ns.@ 5 SRV 0 50 53 lb.ns.@", "lb.ns.@ 5 SRV 0 50 80 lb.ns.@"],
            vec!["lb.ns.@ 5 A 192.0.2.20"],
        ),
        (
            "_dns._udp.both.ns.",
            RecordType::SRV,
            vec!["_dns._udp.both.ns.@ 5 SRV 0 50 53 both.ns.@"],
            vec!["both.ns.@ 5 A 192.0.2.10", "both.ns.@ 5 AAAA 2001:db8::10"],
        ),
        ("plain.ns.", RecordType::A, vec!["plain.ns.@ 5 A 192.0.2.10"], vec![]),
        (
            "named.ns.",
            RecordType::A,
            vec!["named.ns.@ 5 CNAME vip.ns.svc.cluster.local.", "vip.ns.svc.cluster.local. 5 A 10.96.0.1"],
            vec![],
        ),
        (
            "_web._tcp.named.ns.",
            RecordType::SRV,
            vec!["_web._tcp.named.ns.@ 5 SRV 0 100 80 vip.ns.svc.cluster.local."],
            vec!["vip.ns.svc.cluster.local. 5 A 10.96.0.1", "vip.ns.svc.cluster.local. 5 AAAA fd00::1"],
        ),
        ("dns.", RecordType::NS, vec![], vec![]),
        ("", RecordType::NS, vec!["@ 5 NS ns1.dns.@"], vec!["ns1.dns.@ 5 A 203.0.113.1"]),
        ("ns1.dns.", RecordType::A, vec!["ns1.dns.@ 5 A 203.0.113.1"], vec![]),
        (
            "10.2.0.192.in-addr.arpa.",
            RecordType::PTR,
            vec!["10.2.0.192.in-addr.arpa. 5 PTR both.ns.@", "10.2.0.192.in-addr.arpa. 5 PTR plain.ns.@"],
            vec![],
        ),
    ] {
        let reply = ask(&router, name, qtype).await;
        assert_eq!((reply.rcode, reply.authoritative), (ResponseCode::NoError, true), "{name} {qtype}");
        assert_eq!(lines(&reply.answers), answers, "{name} {qtype}");
        assert_eq!(lines(&reply.additionals), additionals, "{name} {qtype}");
    }
    let soa = ask(&router, "", RecordType::SOA).await;
    assert!(lines(&soa.answers)[0].starts_with("@ 5 SOA ns1.dns.@ hostmaster.dns.@ "), "{:?}", soa.answers);
}

#[tokio::test]
async fn what_is_not_there_is_denied() {
    let router = served("ttl 60\n apex z");
    for (name, qtype, rcode) in [
        ("vip.ns.", RecordType::A, ResponseCode::NXDomain),
        ("heads.ns.", RecordType::A, ResponseCode::NXDomain),
        ("nosuch.ns.", RecordType::A, ResponseCode::NXDomain),
        ("x.both.ns.", RecordType::A, ResponseCode::NXDomain),
        ("_web._udp.both.ns.", RecordType::SRV, ResponseCode::NXDomain),
        ("a.b.c.both.ns.", RecordType::A, ResponseCode::NXDomain),
        ("nowhere.", RecordType::A, ResponseCode::NXDomain),
        ("ns.", RecordType::A, ResponseCode::NoError),
        ("_tcp.both.ns.", RecordType::A, ResponseCode::NoError),
        ("both.ns.", RecordType::TXT, ResponseCode::NoError),
        ("plain.ns.", RecordType::SRV, ResponseCode::NoError),
        ("lb.ns.", RecordType::AAAA, ResponseCode::NoError),
        ("z.", RecordType::A, ResponseCode::NoError),
        ("x.z.", RecordType::A, ResponseCode::NXDomain),
        ("", RecordType::TXT, ResponseCode::NoError),
        ("10.2.0.192.in-addr.arpa.", RecordType::A, ResponseCode::NoError),
        ("11.2.0.192.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain),
    ] {
        let reply = ask(&router, name, qtype).await;
        assert_eq!((reply.rcode, reply.answers.len()), (rcode, 0), "{name} {qtype}");
        let soa = lines(&reply.authorities);
        assert!(
            soa.len() == 1 && soa[0].contains(" 60 SOA ns1.z.") && soa[0].ends_with(" 60"),
            "{name}: {soa:?}"
        );
    }
}

#[tokio::test]
async fn headless_services_answer_with_their_endpoints_where_that_is_wanted() {
    let router = served("headless");
    let heads = ask(&router, "heads.ns.", RecordType::A).await;
    assert_eq!(heads.answers.len(), 3);
    assert_eq!(
        lines(&ask(&router, "10-0-0-2.heads.ns.", RecordType::A).await.answers),
        ["10-0-0-2.heads.ns.@ 5 A 10.0.0.2"]
    );
    let srv = ask(&router, "_web._tcp.heads.ns.", RecordType::SRV).await;
    assert_eq!(lines(&srv.answers)[0], "_web._tcp.heads.ns.@ 5 SRV 0 33 8080 10-0-0-1.heads.ns.@");
    assert_eq!((srv.answers.len(), srv.additionals.len()), (3, 3));
    // A Service with external addresses has those, headless or not.
    assert_eq!(lines(&ask(&router, "both.ns.", RecordType::A).await.answers), ["both.ns.@ 5 A 192.0.2.10"]);
}

#[tokio::test]
async fn zones_are_transferred_as_they_are_answered() {
    let router = served("headless");
    let transfer = async |zone: &str| {
        let mut query = testing::query(zone, RecordType::AXFR);
        query.router = Arc::clone(&router);
        query.peer.transport = Transport::Tcp;
        router.serve(&mut query).await.transfer.unwrap()
    };
    let records = transfer("example.org.").await;
    let all = lines(&records);
    for wanted in [
        "@ 5 NS ns1.dns.@",
        "ns1.dns.@ 5 A 203.0.113.1",
        "both.ns.@ 5 A 192.0.2.10",
        "_web._tcp.both.ns.@ 5 SRV 0 50 80 both.ns.@",
        "named.ns.@ 5 CNAME vip.ns.svc.cluster.local.",
        "10-0-0-2.heads.ns.@ 5 A 10.0.0.2",
        "_web._tcp.heads.ns.@ 5 SRV 0 33 8080 10-0-0-3.heads.ns.@",
    ] {
        assert!(all.iter().any(|line| line == wanted), "{wanted} in {all:#?}");
    }
    for record in &records {
        let live = testing::ask(&router, &record.name.to_ascii(), record.record_type()).await;
        assert!(lines(&live.answers).contains(&lines(std::slice::from_ref(record))[0]), "{record}");
    }
    let reverse = lines(&transfer("2.0.192.in-addr.arpa.").await);
    assert_eq!(reverse.iter().filter(|line| line.contains(" PTR ")).count(), 3);
}

#[tokio::test]
async fn without_a_cluster_or_a_name_others_are_asked() {
    let lonely = testing::router(".:53 {\n k8s_external example.org\n}");
    // Nobody is behind it: SERVFAIL says that it was asked.
    assert_eq!(ask(&lonely, "both.ns.", RecordType::A).await.rcode, ResponseCode::ServFail);
    let router = served("fallthrough");
    assert_eq!(ask(&router, "nosuch.ns.", RecordType::A).await.rcode, ResponseCode::ServFail);
    assert_eq!(ask(&router, "both.ns.", RecordType::TXT).await.rcode, ResponseCode::NoError);
    let quick = |name: &str| testing::quickly(&router, &testing::query(name, RecordType::A));
    assert!(quick("vip.ns.svc.cluster.local.").is_some() && quick("both.ns.example.org.").is_none());
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (options, message) in [
        ("bogus", "unknown property 'bogus'"),
        ("ttl 3601", "ttl must be in range [0, 3600]: 3601"),
        ("ttl", "Wrong argument count or unexpected line ending after 'ttl'"),
        ("apex", "Wrong argument count or unexpected line ending after 'apex'"),
        ("apex a.b", "'a.b' is not a DNS label"),
    ] {
        let error = testing::config(&corefile("example.org", options)).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/k8s_external: Corefile:7 - Error during parsing: {message}"));
    }
}
