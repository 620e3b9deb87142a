use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::{
    corefile::{Corefile, FilesOnDisk},
    testing,
    zone::Pods,
};

const COREFILE: &str = ".:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
}";

#[tokio::test]
async fn names_that_are_not_there_fall_through() {
    let router = testing::router(COREFILE);
    let rcode = async |name| testing::ask(&router, name, RecordType::PTR).await;
    // Nobody is behind it in this chain: SERVFAIL says that it was asked.
    for (name, wanted) in [
        ("1.0.96.10.in-addr.arpa.", ResponseCode::NoError),
        ("9.9.9.9.in-addr.arpa.", ResponseCode::ServFail),
        ("96.10.in-addr.arpa.", ResponseCode::ServFail),
        ("nosuch.ns.svc.cluster.local.", ResponseCode::NXDomain),
        ("example.org.", ResponseCode::ServFail),
    ] {
        assert_eq!(rcode(name).await.rcode, wanted, "{name}");
    }
}

#[test]
fn the_first_directive_is_found_whatever_stands_beside_it() {
    let read = |text: &str| {
        let corefile = Corefile::parse("Corefile", text, &FilesOnDisk).unwrap();
        super::first(&corefile)
    };
    let found =
        read(".:53 {\n nonsense\n}\nA.test:5353 b.test {\n etcd x\n kubernetes {\n  pods verified\n }\n}")
            .unwrap();
    let zone = found.unwrap().zone;
    assert_eq!(zone.zones.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.test.", "b.test."]);
    assert_eq!(zone.pods, Pods::Verified);
    assert!(read(". {\n whoami\n}").unwrap().is_none());
    assert!(read(". {\n kubernetes cluster.local {\n  pods maybe\n }\n}").is_err());
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_with_their_line() {
    for (option, message) in [
        ("bogus", "unknown property 'bogus'"),
        ("ttl 3601", "ttl must be in range [0, 3600]: 3601"),
        ("ttl -1", "ttl must be in range [0, 3600]: -1"),
        ("ttl", "Wrong argument count or unexpected line ending after 'ttl'"),
        ("pods all", "wrong value for pods: all,  must be one of: disabled, verified, insecure"),
        ("upstream", "unknown property 'upstream'"),
        ("resyncperiod 5m", "unknown property 'resyncperiod'"),
        ("transfer to *", "unknown property 'transfer'"),
        ("namespace_labels a in b", "unable to parse namespace_label selector value: 'a in b'"),
        ("startup_timeout soon", "invalid duration 'soon': want for example 30s, 500ms, 1h"),
        ("apiserver_qps -1", "apiserver_qps must be at least 0: -1"),
        ("endpoint_pod_names now", "Wrong argument count or unexpected line ending after 'now'"),
        ("noendpoints now", "Wrong argument count or unexpected line ending after 'now'"),
        ("kubeconfig", "Wrong argument count or unexpected line ending after 'kubeconfig'"),
        ("tls a b", "Wrong argument count or unexpected line ending after 'b'"),
        ("labels a in b", "unable to parse label selector value: 'a in b'"),
        ("ignore all", "unable to parse ignore value: 'all'"),
    ] {
        let text = format!(".:53 {{\n kubernetes cluster.local {{\n {option}\n }}\n}}");
        let error = testing::config(&text).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/kubernetes: Corefile:3 - Error during parsing: {message}"));
    }
}

/// Whatever is asked: what is answered at once is what the whole chain answers.
#[tokio::test]
async fn both_ways_answer_the_same() {
    let router = testing::router(
        ".:53 {
            autopath @kubernetes
            transfer {
                to *
            }
            kubernetes cluster.local in-addr.arpa ip6.arpa {
                pods verified
                fallthrough in-addr.arpa
            }
            k8s_external example.org {
                headless
            }
        }",
    );
    let lefts = [
        "",
        "vip.ns.svc.",
        "heads.ns.svc.",
        "big.ns.svc.",
        "out.ns.svc.",
        "inside.ns.svc.",
        "nowhere.ns.svc.",
        "ping.ns.svc.",
        "address.ns.svc.",
        "chain-0.ns.svc.",
        "_web._tcp.vip.ns.svc.",
        "_._tcp.heads.ns.svc.",
        "_web._.vip.ns.svc.",
        "_._.heads.ns.svc.",
        "_tcp.vip.ns.svc.",
        "10-0-0-1.heads.ns.svc.",
        "svc.",
        "pod.",
        "ns.svc.",
        "nosuch.svc.",
        "10-0-0-1.ns.pod.",
        "10-9-9-9.ns.pod.",
        "dns-version.",
        "ns.dns.",
        "dns.",
        "a.b.c.d.e.f.ns.svc.",
        "www.example.com.ns.svc.",
    ];
    let names = lefts.map(|left| format!("{left}Cluster.local.")).into_iter().chain(
        [
            "1.0.0.10.in-addr.arpa.",
            "0.0.10.in-addr.arpa.",
            "9.9.9.9.in-addr.arpa.",
            "ip6.arpa.",
            "heads.ns.example.org.",
        ]
        .map(str::to_owned),
    );
    use RecordType::{A, AAAA, ANY, AXFR, CNAME, DS, MX, NS, PTR, SOA, SRV, TXT};
    let mut same = 0;
    for name in names {
        for qtype in [A, AAAA, ANY, AXFR, CNAME, DS, MX, NS, PTR, SOA, SRV, TXT] {
            for client in ["10.0.0.1", "192.0.2.1"] {
                let mut query = testing::query(&name, qtype);
                query.peer.address.set_ip(client.parse().unwrap());
                if let Some(quick) = testing::quickly(&router, &query) {
                    assert_eq!(quick, testing::slowly(&router, &query).await, "{name} {qtype} from {client}");
                    same += 1;
                }
            }
        }
    }
    assert!(same > 400, "only {same} were answered at once");
}

#[tokio::test]
async fn who_asks_what_is_known() {
    let known = |pods: &str, name: &str, client: &str| {
        let corefile = format!(".:53 {{\n kubernetes cluster.local in-addr.arpa {{\n pods {pods}\n }}\n}}");
        let router = testing::router(&corefile);
        let route = router.routes().next().unwrap();
        let mut query = testing::query(name, RecordType::A);
        query.peer.address.set_ip(client.parse().unwrap());
        let mut known = Vec::new();
        for plugin in &route.block.plugins {
            plugin.metadata(&query, &mut |label, value| {
                known.push(format!("{}={value}", label.trim_start_matches("kubernetes/")));
            });
        }
        known.join(" ")
    };
    assert_eq!(
        known("verified", "_web._TCP.vip.ns.svc.cluster.local.", "10.0.0.1"),
        "client-namespace=ns client-pod-name=heads-1 client-label/app=heads port-name=web protocol=tcp endpoint= \
         service=vip namespace=ns kind=svc"
    );
    assert_eq!(known("verified", "www.example.org.", "10.9.9.9"), "");
    assert_eq!(known("insecure", "x.cluster.local.", "10.0.0.1"), "parse-error=invalid query name");
    assert_eq!(known("insecure", "1.0.96.10.in-addr.arpa.", "10.0.0.1"), "parse-error=invalid query name");
}
