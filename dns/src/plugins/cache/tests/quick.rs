//! The quick way gives what the slow way gives.

use proptest::prelude::*;

use super::*;
use crate::answer::Asked;

/// What the two ways say, once it is kept.
async fn both(bench: &Bench, question: &Query) -> (Option<Vec<u8>>, Vec<u8>) {
    let slow = testing::slowly(&bench.router, question).await;
    (testing::quickly(&bench.router, question), slow)
}

/// A message with the names of its records in lower case, for the case of letters does not count; as text, for records
/// compare without their TTLs.
fn decoded(bytes: &[u8]) -> String {
    format!("{:?}", message(bytes))
}

fn message(bytes: &[u8]) -> Message {
    let mut message = Message::from_vec(bytes).unwrap();
    for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
        record.name = record.name.to_lowercase();
    }
    message
}

#[tokio::test]
async fn a_hit_is_answered_at_once() {
    let bench = Bench::new("cache");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    let question = query("a.eXample.", |request| request.id = 4711);
    assert!(testing::quickly(&bench.router, &question).is_none(), "nothing is known yet");
    both(&bench, &question).await;
    bench.wait(10.5);
    let quick = testing::quickly(&bench.router, &question).unwrap();
    let message = Message::from_vec(&quick).unwrap();
    assert_eq!((message.metadata.id, message.answers[0].ttl), (4711, 50));
    assert_eq!(message.queries[0].name().to_ascii(), "a.eXample.");
    assert_eq!(message.answers[0].name.to_ascii(), "a.eXample.");
    assert_eq!(message.edns.unwrap().max_payload(), 1232);
    assert!(
        bench.metric(r#"coredns_cache_hits_total{server="dns://:53",type="success",zones=".",view=""} 2"#)
    );
    bench.wait(51.0);
    assert!(testing::quickly(&bench.router, &question).is_none(), "it is over");
}

#[tokio::test]
async fn what_is_too_long_or_needs_more_takes_the_slow_way() {
    let bench = Bench::new("cache");
    let many: Vec<String> = (0..60).map(|at| format!("a.example. 60 A 192.0.2.{at}")).collect();
    bench.says(answer(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    bench.ask("a.example.", RecordType::A).await;
    let plain = query("a.example.", |request| request.edns = None);
    let (quick, slow) = both(&bench, &plain).await;
    assert!(quick.is_none());
    assert!(Message::from_vec(&slow).unwrap().metadata.truncation && slow.len() <= 512);
    let mut stream = plain.clone();
    stream.peer.transport = Transport::Tcp;
    let (quick, slow) = both(&bench, &stream).await;
    assert_eq!(decoded(&quick.unwrap()), decoded(&slow));
    // What is stale or due is for the slow way: it begins to get it again.
    let bench = Bench::new("cache {\n serve_stale\n prefetch 1\n}");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    bench.ask("a.example.", RecordType::A).await;
    let question = query("a.example.", |_| {});
    assert!(testing::quickly(&bench.router, &question).is_some());
    bench.wait(55.0);
    assert!(testing::quickly(&bench.router, &question).is_none(), "due");
    bench.wait(10.0);
    assert!(testing::quickly(&bench.router, &question).is_none(), "stale");
    // While it cannot be got again there is nothing to begin.
    bench.says(Reply::new("behind", ResponseCode::ServFail));
    bench.ask("a.example.", RecordType::A).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let quick = testing::quickly(&bench.router, &question).expect("the failure is young");
    assert_eq!(message(&quick).answers[0].ttl, 0);
    assert_eq!(decoded(&quick), decoded(&testing::slowly(&bench.router, &question).await));
    bench.wait(6.0);
    assert!(testing::quickly(&bench.router, &question).is_none(), "it is to be tried again");
}

#[tokio::test]
async fn addresses_turn_and_nothing_else() {
    let bench = Bench::new("cache");
    bench.says(answer(&[
        "www.example. 60 CNAME a.example.",
        "a.example. 60 A 192.0.2.1",
        "a.example. 60 A 192.0.2.2",
        "a.example. 60 A 192.0.2.3",
    ]));
    bench.ask("www.example.", RecordType::A).await;
    let question = query("www.example.", |_| {});
    let route = bench.router.routes().next().unwrap();
    let packet = testing::packet(&question);
    let asked = Asked::read(&packet).unwrap();
    let mut firsts = Vec::new();
    for rotation in 0..6 {
        let quick = Quick {
            asked: &asked,
            peer: &question.peer,
            server: &bench.router.server,
            started: question.started,
            rotation,
            bounds: TtlBounds::default(),
            payload: 1232,
        };
        let mut out = Vec::new();
        route.block.quick(&quick, &mut out).unwrap();
        let message = Message::from_vec(&out).unwrap();
        let data: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(data[0], "a.example.");
        let mut sorted = data[1..].to_vec();
        sorted.sort();
        assert_eq!(sorted, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        firsts.push(data[1].clone());
    }
    assert_eq!(firsts, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.2", "192.0.2.3"]);
}

#[tokio::test]
async fn names_outside_of_its_zones_pass() {
    let bench = Bench::new("cache example.org");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    for name in ["a.example.org.", "a.example.net."] {
        bench.ask(name, RecordType::A).await;
        let quick = testing::quickly(&bench.router, &query(name, |_| {}));
        assert_eq!(quick.is_some(), name == "a.example.org.");
    }
}

#[tokio::test]
async fn a_clusters_names_are_bounded_and_not_kept() {
    for (directive, ttl, negative) in [
        ("cache 30", 30, 30),
        ("cache 10", 10, 10),
        ("cache 10 example.org", 40, 40),
        ("cache {\n success 1024 20 5\n denial 1024 15 5\n disable success cluster.local\n}", 20, 15),
        ("cache {\n success 1024 3600 50\n denial 1024 3600 45\n}", 50, 45),
    ] {
        let router = testing::router(&format!(
            ".:53 {{\n {directive}\n kubernetes cluster.local {{\n ttl {}\n }}\n}}",
            if directive == "cache 30" { 60 } else { 40 }
        ));
        for (name, wanted) in [("vip.ns.svc.cluster.local.", ttl), ("no.ns.svc.cluster.local.", negative)] {
            let question = testing::query(name, RecordType::A);
            let slow = testing::slowly(&router, &question).await;
            let quick = testing::quickly(&router, &question).unwrap();
            assert_eq!(decoded(&slow), decoded(&quick), "{directive} {name}");
            let quick = message(&quick);
            let records = quick.answers.iter().chain(&quick.authorities);
            assert!(records.into_iter().all(|record| record.ttl == wanted), "{directive} {name}: {quick}");
        }
    }
}

/// A cluster that has names or not.
struct Cluster(Arc<AtomicU32>);

impl Plugin for Cluster {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        next.serve(query)
    }

    fn owns(&self, _: &Name, _: RecordType) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

#[tokio::test]
async fn a_name_that_became_a_clusters_is_not_answered_from_before() {
    let has = Arc::new(AtomicU32::new(0));
    let bench = Bench::with("cache", vec![Arc::new(Cluster(Arc::clone(&has)))]);
    bench.says(denial(ResponseCode::NXDomain, 60, 60));
    for _ in 0..2 {
        bench.ask("9.9.9.10.in-addr.arpa.", RecordType::PTR).await;
    }
    assert_eq!(bench.asked(), 1);
    has.store(1, Ordering::Relaxed);
    bench.ask("9.9.9.10.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(bench.asked(), 2);
    // What a cluster has is the cluster's to say.
    let router = testing::router(
        ".:53 {\n cache\n kubernetes cluster.local in-addr.arpa {\n fallthrough in-addr.arpa\n }\n whoami\n}",
    );
    let kubernetes = Arc::clone(router.routes().next().unwrap().block.plugin("kubernetes").unwrap());
    for (name, owned) in [
        ("vip.ns.svc.cluster.local.", true),
        ("no.ns.svc.cluster.local.", true),
        ("1.0.96.10.in-addr.arpa.", true),
        ("9.9.9.10.in-addr.arpa.", false),
        ("example.org.", false),
    ] {
        assert_eq!(kubernetes.owns(&Name::from_ascii(name).unwrap(), RecordType::PTR), owned, "{name}");
    }
}

/// Records of one kind or another at a name or another.
fn any_record() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["a.example.", "b.a.example.", "example.", "other.test.", "A.Example."]);
    let data = prop::sample::select(vec![
        "A 192.0.2.1",
        "A 192.0.2.2",
        "AAAA fd00::1",
        "CNAME b.a.example.",
        "MX 10 mail.a.example.",
        "NS ns.other.test.",
        "TXT text",
        "SRV 0 1 53 b.a.example.",
        "PTR a.example.",
        "CAA 0 issue ca.example",
    ]);
    (name, 0_u32..4000, data).prop_map(|(name, ttl, data)| format!("{name} {ttl} {data}"))
}

proptest! {
    #[test]
    fn both_ways_say_the_same(
        sections in [
            prop::collection::vec(any_record(), 0..12),
            prop::collection::vec(any_record(), 0..3),
            prop::collection::vec(any_record(), 0..3),
        ],
        soa in any::<bool>(),
        rcode in prop::sample::select(vec![ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::ServFail]),
        flags in any::<[bool; 3]>(),
        asked in any::<[bool; 5]>(),
        edns in prop::option::of((0_u16..2000, any::<bool>())),
        capitals in any::<bool>(),
        id in any::<u16>(),
        age in 0.0..10.0_f64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new("cache {\n success 1024 3600 20\n denial 1024 3600 20\n servfail 20s\n}");
            let [answers, mut authorities, additionals] =
                sections.map(|texts| texts.iter().map(|text| record(text)).collect::<Vec<_>>());
            if soa {
                authorities.push(record("example. 600 SOA ns.example. host.example. 1 7200 1800 86400 60"));
            }
            bench.says(Reply {
                answers,
                authorities,
                additionals,
                authoritative: flags[0],
                recursion_available: flags[1],
                authentic_data: flags[2],
                ..Reply::new("behind", rcode)
            });
            let mut question = query(if capitals { "A.exAmple." } else { "a.example." }, |request| {
                request.id = id;
                request.recursion_desired = asked[0];
                request.authentic_data = asked[1];
                request.checking_disabled = asked[2];
                request.edns = edns.map(|(payload, dnssec_ok)| {
                    Edns { payload, version: 0, dnssec_ok, has_options: false }
                });
            });
            if asked[3] {
                question.peer.transport = Transport::Tcp;
            }
            testing::slowly(&bench.router, &question).await;
            bench.wait(age);
            let (quick, slow) = both(&bench, &question).await;
            let Some(quick) = quick else {
                // Only what is too long, or not kept at all.
                let slow = message(&slow);
                assert!(
                    slow.metadata.truncation
                        || (rcode == ResponseCode::NXDomain && bench.asked() == 2)
                        || slow.to_vec().unwrap().len() > 400
                );
                return;
            };
            assert_eq!(decoded(&quick), decoded(&slow));
        });
    }
}
