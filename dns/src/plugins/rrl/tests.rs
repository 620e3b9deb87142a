use std::time::Duration;

use hickory_proto::{
    op::{Message as Parsed, ResponseCode},
    rr::{Name, RecordType},
};
use proptest::prelude::*;

use super::*;
use crate::{
    answer::write_reply,
    block::Router,
    testing::{self, config, record},
};

fn limits(text: &str) -> Result<Limits, String> {
    let corefile = format!("cluster.local example.org:53 {{\n {text}\n}}");
    let files = testing::NoFiles;
    let parsed =
        crate::corefile::Corefile::parse("Corefile", &corefile, &files).map_err(|e| e.to_string())?;
    let mut found = None;
    for block in &parsed.blocks {
        for one in &block.directives {
            let zones = &config("cluster.local example.org:53 {\n whoami\n}").unwrap().blocks[0];
            found = Some(directive::read(zones, one).map_err(|error| error.to_string())?);
        }
    }
    Ok(found.unwrap())
}

#[test]
fn directives_are_read() {
    let bare = limits("rrl").unwrap();
    let zones = [b"\x07cluster\x05local".as_slice(), b"\x07example\x03org"].map(Wire::from_slice);
    assert_eq!(
        (bare.zones.as_slice(), bare.prefixes, bare.slip, bare.table),
        (&zones[..], (24, 56), 0, 100_000)
    );
    assert_eq!((bare.window, bare.intervals, bare.requests), (15 * accounts::SECOND, [None; 5], None));
    assert!(!bare.report_only);
    let all = limits(
        "rrl Sub.example.ORG . {
            window 5.5
            ipv4-prefix-length 32
            ipv6-prefix-length 64
            responses-per-second 10
            nodata-per-second 20
            nxdomains-per-second 0
            errors-per-second 0.5
            requests-per-second 1000
            slip-ratio 3
            max-table-size 5000
            report-only
        }",
    )
    .unwrap();
    let second = accounts::SECOND;
    assert_eq!(all.zones, [Wire::from_slice(b"\x03sub\x07example\x03org"), Wire::new()]);
    assert_eq!((all.window, all.prefixes), (550_000_000, (32, 64)));
    let intervals = [Some(second / 10), Some(second / 20), None, Some(second / 10), Some(second * 2)];
    assert_eq!(all.intervals, intervals);
    assert_eq!((all.requests, all.slip, all.table, all.report_only), (Some(second / 1000), 3, 5000, true));
}

#[test]
fn what_is_wrong_with_a_directive_is_told() {
    for (text, wrong) in [
        ("rrl {\n nosuch 1\n }", "unknown property 'nosuch'"),
        ("rrl {\n window 0\n }", "window must be greater than zero"),
        ("rrl {\n window x\n }", "x invalid value"),
        ("rrl {\n window NaN\n }", "window must be greater than zero"),
        ("rrl {\n ipv4-prefix-length 33\n }", "ipv4-prefix-length must be between 1 and 32"),
        ("rrl {\n ipv4-prefix-length 0\n }", "ipv4-prefix-length must be between 1 and 32"),
        ("rrl {\n ipv6-prefix-length 129\n }", "ipv6-prefix-length must be between 1 and 128"),
        ("rrl {\n responses-per-second -1\n }", "responses-per-second cannot be negative"),
        ("rrl {\n errors-per-second\n }", "Wrong argument count"),
        ("rrl {\n slip-ratio 256\n }", "slip-ratio must be between 0 and 255"),
        ("rrl {\n max-table-size -1\n }", "max-table-size cannot be negative"),
        ("rrl {\n max-table-size 100000000\n }", "max-table-size must be at most 4194304"),
        ("rrl {\n report-only yes\n }", "Wrong argument count"),
    ] {
        let error = limits(text).unwrap_err();
        assert!(error.contains(wrong), "{text}: {error}");
    }
    assert!(config(".:53 {\n rrl\n rrl\n whoami\n}").is_err(), "twice in a block");
}

/// The same chain twice, so that each way has accounts of its own.
fn routers(rrl: &str) -> [Arc<Router>; 2] {
    let text = format!(".:53 {{\n {rrl}\n kubernetes cluster.local in-addr.arpa\n}}");
    [testing::router(&text), testing::router(&text)]
}

fn at(name: &str, qtype: RecordType, client: [u8; 4], millis: u64, start: Instant) -> Query {
    let mut query = testing::query(name, qtype);
    query.peer.address.set_ip(client.into());
    query.started = start + Duration::from_millis(millis);
    query
}

/// What the slow way sends, if anything.
async fn slowly(router: &Arc<Router>, query: &Query) -> Vec<u8> {
    let mut query = Query { router: Arc::clone(router), ..query.clone() };
    let reply = router.serve(&mut query).await;
    let mut out = Vec::new();
    if !reply.silent {
        write_reply(&query.request, &reply, query.peer.transport, query.block.payload, &mut out);
    }
    out
}

const LIMITED: &str = "rrl cluster.local {
    window 2
    responses-per-second 3
    nodata-per-second 2
    nxdomains-per-second 2
    errors-per-second 1
    slip-ratio 2
}";

const ALL: &str = "rrl {
    responses-per-second 4
    slip-ratio 3
    requests-per-second 9
    ipv4-prefix-length 32
}";

#[tokio::test]
async fn too_many_answers_are_not_given_and_some_slip_through() {
    let [quick, slow] = routers(LIMITED);
    let start = Instant::now();
    let ask = async |name: &str, qtype, millis| {
        let query = at(name, qtype, [10, 240, 0, 1], millis, start);
        let bytes = testing::quickly(&quick, &query).unwrap();
        assert_eq!(bytes, slowly(&slow, &query).await, "{name} {qtype} at {millis}");
        (!bytes.is_empty()).then(|| Parsed::from_vec(&bytes).unwrap())
    };
    let vip = "vip.ns.svc.cluster.local.";
    let (mut whole, mut short, mut none) = (0, 0, 0);
    for _ in 0..13 {
        match ask(vip, RecordType::A, 0).await {
            Some(message) if message.metadata.truncation => {
                short += 1;
                // The question and the OPT are there, and nothing else.
                assert_eq!((message.queries.len(), message.answers.len()), (1, 0));
                assert!(message.authorities.is_empty() && message.additionals.is_empty());
                assert_eq!(message.edns.unwrap().max_payload(), 1232);
                assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            }
            Some(message) => {
                whole += 1;
                assert_eq!(message.answers.len(), 1);
            }
            None => none += 1,
        }
    }
    assert_eq!((whole, short, none), (3, 5, 5));
    // Another type, another name, another kind and another network have accounts of their own.
    assert!(ask(vip, RecordType::AAAA, 0).await.is_some_and(|message| !message.metadata.truncation));
    assert!(ask("heads.ns.svc.cluster.local.", RecordType::A, 0).await.is_some());
    // NODATA of every type is one account; NXDOMAIN of every name too.
    for qtype in [RecordType::TXT, RecordType::MX] {
        assert!(ask(vip, qtype, 0).await.is_some());
    }
    assert!(ask(vip, RecordType::SOA, 0).await.is_none());
    for name in ["a.ns.svc.cluster.local.", "b.svc.cluster.local."] {
        assert!(ask(name, RecordType::A, 0).await.is_some());
    }
    assert!(ask("c.cluster.local.", RecordType::AAAA, 0).await.is_none());
    // Outside of the zone nothing is limited.
    for _ in 0..20 {
        assert!(ask("1.0.96.10.in-addr.arpa.", RecordType::PTR, 0).await.is_some());
    }
    // The debt is no more than the window.
    assert!(ask(vip, RecordType::A, 1900).await.is_none_or(|message| message.metadata.truncation));
    assert!(ask(vip, RecordType::A, 6000).await.is_some_and(|message| !message.metadata.truncation));
}

#[tokio::test]
async fn clients_of_one_network_are_one_and_tcp_is_not_limited() {
    let [quick, slow] = routers("rrl {\n responses-per-second 1\n}");
    let start = Instant::now();
    let vip = "vip.ns.svc.cluster.local.";
    for (client, answered) in
        [([10, 0, 0, 1], true), ([10, 0, 0, 200], false), ([10, 0, 1, 1], true), ([10, 0, 1, 1], false)]
    {
        let mut query = at(vip, RecordType::A, client, 0, start);
        assert_eq!(!testing::quickly(&quick, &query).unwrap().is_empty(), answered, "{client:?}");
        assert_eq!(!slowly(&slow, &query).await.is_empty(), answered, "{client:?}");
        query.peer.transport = Transport::Tcp;
        assert!(!testing::quickly(&quick, &query).unwrap().is_empty());
        assert!(!slowly(&slow, &query).await.is_empty());
    }
    // An IPv4 client on a socket of IPv6 is the same one.
    let mut query = at(vip, RecordType::A, [10, 0, 0, 7], 0, start);
    query.peer.address = "[::ffff:10.0.0.7]:5353".parse().unwrap();
    assert!(testing::quickly(&quick, &query).unwrap().is_empty());
    query.peer.address = "[2001:db8:0:1::7]:5353".parse().unwrap();
    assert!(!testing::quickly(&quick, &query).unwrap().is_empty());
    query.peer.address = "[2001:db8:0:2::9]:5353".parse().unwrap();
    assert!(testing::quickly(&quick, &query).unwrap().is_empty(), "the same 56 bits");
}

#[tokio::test]
async fn requests_are_limited_over_every_transport() {
    let [quick, slow] = routers("rrl {\n requests-per-second 2\n}");
    let start = Instant::now();
    for (number, answered) in [true, true, false, false].into_iter().enumerate() {
        let mut query = at("vip.ns.svc.cluster.local.", RecordType::A, [10, 0, 0, 1], 0, start);
        if number % 2 == 1 {
            query.peer.transport = Transport::Tcp;
        }
        assert_eq!(!testing::quickly(&quick, &query).unwrap().is_empty(), answered, "{number}");
        assert_eq!(!slowly(&slow, &query).await.is_empty(), answered, "{number}");
    }
}

#[tokio::test]
async fn what_is_only_reported_is_given_and_counted() {
    let world = testing::world();
    let text =
        ".:53 {\n rrl {\n responses-per-second 1\n requests-per-second 1\n report-only\n }\n kubernetes\n}";
    let router = testing::router_in(&text.replace("kubernetes", "kubernetes cluster.local"), &world);
    for _ in 0..5 {
        let query = testing::query("vip.ns.svc.cluster.local.", RecordType::A);
        assert!(!testing::quickly(&router, &query).unwrap().is_empty());
    }
    let page = world.meters.encode().unwrap();
    for what in ["responses", "requests"] {
        let line = format!("coredns_rrl_{what}_exceeded_total{{client_ip=\"10.240.0.1\"}} 4\n");
        assert!(page.contains(&line), "{page}");
    }
}

#[tokio::test]
async fn answers_of_others_have_accounts_by_what_they_say() {
    let rrl = || {
        let text = "rrl . {\n responses-per-second 100\n referrals-per-second 1\n errors-per-second 1\n}";
        let limits = limits(text).unwrap();
        let metrics = testing::world().meters.of();
        Arc::new(Rrl { accounts: Accounts::new(1000, 0), limits, metrics }) as Arc<dyn Plugin>
    };
    let plugin = rrl();
    let start = Instant::now();
    let ask = async |name: &str, reply: Reply| {
        let mut query = at(name, RecordType::A, [192, 0, 2, 1], 0, start);
        !testing::ask_one(Arc::clone(&plugin), &mut query, move |_| reply.clone()).await.silent
    };
    let referral = |zone: &str| Reply {
        authorities: vec![record(&format!("{zone} 60 NS ns.example.org."))],
        ..Reply::new("tail", ResponseCode::NoError)
    };
    assert!(ask("a.sub.example.org.", referral("sub.example.org.")).await);
    assert!(!ask("b.sub.example.org.", referral("sub.example.org.")).await, "the same referral");
    assert!(ask("a.other.example.org.", referral("other.example.org.")).await);
    // Errors are one account, whatever was asked.
    assert!(ask("a.example.org.", Reply::new("tail", ResponseCode::ServFail)).await);
    assert!(!ask("b.example.org.", Reply::new("tail", ResponseCode::Refused)).await);
    // Silence is nobody's answer.
    assert!(!ask("c.example.org.", Reply::silence("tail")).await);
}

const NAMES: [&str; 9] = [
    "vip.ns.svc.cluster.local.",
    "VIP.ns.SVC.cluster.local.",
    "heads.ns.svc.cluster.local.",
    "big.ns.svc.cluster.local.",
    "nosuch.ns.svc.cluster.local.",
    "no.cluster.local.",
    "ns.svc.cluster.local.",
    "cluster.local.",
    "1.0.96.10.in-addr.arpa.",
];
const TYPES: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT, RecordType::NS];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ways_agree(
        text in prop::sample::select(&[LIMITED, ALL][..]),
        asked in prop::collection::vec(
            (0..NAMES.len(), 0..TYPES.len(), 0..3_u8, 0..400_u64, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let [quick, slow] = routers(text);
        let (start, mut now) = (Instant::now(), 0);
        for (name, qtype, client, later, edns, tcp) in asked {
            now += later / 4;
            let mut query = at(NAMES[name], TYPES[qtype], [10, 0, client / 2, client], now, start);
            if !edns {
                Arc::make_mut(&mut query.request).edns = None;
            }
            if tcp {
                query.peer.transport = Transport::Tcp;
            }
            let Some(bytes) = testing::quickly(&quick, &query) else { continue };
            prop_assert_eq!(bytes, runtime.block_on(slowly(&slow, &query)), "{} {}", NAMES[name], TYPES[qtype]);
        }
    }

    #[test]
    fn whatever_is_on_the_wire_ends(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(message) = Message::read(&bytes)
            && let Some(kind) = message.kind()
        {
            let _ = message.account(kind, [10, 0, 0, 1].into(), (24, 56));
            prop_assert!(message.labels().count() <= 256);
        }
        let mut bytes = bytes;
        truncate(&mut bytes);
    }
}

#[test]
fn names_are_in_their_zones() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    for (text, zone, has) in [
        ("a.example.org.", "example.org.", true),
        ("EXAMPLE.org.", "Example.ORG.", true),
        ("anexample.org.", "example.org.", false),
        ("org.", "example.org.", false),
        ("example.com.", "example.org.", false),
        ("a.b.c.", ".", true),
        (".", ".", true),
        (".", "org.", false),
        ("xx.yexample.org.", "example.org.", false),
    ] {
        assert_eq!(ends_with(&wire(name(text).iter()), &wire(name(zone).iter())), has, "{text} in {zone}");
    }
}
