//! Both ways through whole chains say the same.

use std::sync::{Arc, LazyLock};

use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use crate::{answer::Edns, block::Router, plugin::Query, testing};

/// Every plugin that may stand before the cluster's names, each with rules for some of the names that are asked for.
const COREFILE: &str = ".:53 {
    metadata
    nsid server
    bufsize 900
    errors {
        consolidate 5m .* warning
    }
    log . {
        class denial error
    }
    cancel 2s
    local
    dns64 {
        allow_ipv4
        translate_all
    }
    any
    chaos
    acl ns.svc.cluster.local {
        filter type MX
        block net 10.240.0.2
    }
    rewrite name suffix .svc.other.test .svc.cluster.local answer auto
    rewrite ttl exact big.ns.svc.cluster.local 7
    rewrite rcode prefix nosuch.ns.svc.cluster.local. NXDOMAIN NOERROR
    rewrite continue edns0 local set 0xffee {client_ip}
    header {
        set ra
        clear rd
    }
    minimal
    template IN TXT ns.svc.cluster.local {
        match ^out[.]
        answer \"{{ .Name }} 60 IN TXT made\"
        fallthrough
    }
    hosts /nosuch {
        192.0.2.1 vip.ns.svc.cluster.local
        192.0.2.2 host.other.test
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        fallthrough in-addr.arpa
    }
}";

const NAMES: [&str; 16] = [
    "vip.ns.svc.cluster.local.",
    "Heads.NS.svc.cluster.LOCAL.",
    "big.ns.svc.cluster.local.",
    "out.ns.svc.cluster.local.",
    "inside.ns.svc.cluster.local.",
    "nowhere.ns.svc.cluster.local.",
    "nosuch.ns.svc.cluster.local.",
    "_web._tcp.heads.ns.svc.cluster.local.",
    "10-0-0-1.ns.pod.cluster.local.",
    "ns.svc.cluster.local.",
    "cluster.local.",
    "vip.ns.svc.other.test.",
    "host.other.test.",
    "localhost.ns.svc.cluster.local.",
    "1.0.96.10.in-addr.arpa.",
    "1.2.0.192.in-addr.arpa.",
];

const TYPES: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::TXT,
    RecordType::MX,
    RecordType::SOA,
    RecordType::NS,
];

fn asked(name: &str, qtype: RecordType, client: u8, options: bool, payload: Option<u16>) -> Query {
    let mut query = testing::query(name, qtype);
    query.peer.address.set_ip([10, 240, 0, client].into());
    let request = Arc::make_mut(&mut query.request);
    request.edns =
        request.edns.and_then(|edns| Some(Edns { payload: payload?, has_options: options, ..edns }));
    if options {
        query.options.push((3, Vec::new()));
    }
    query
}

/// One chain for all cases: what it says does not depend on what was asked before.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});
static ROUTER: LazyLock<Arc<Router>> = LazyLock::new(|| {
    let _inside = RUNTIME.enter();
    testing::router(COREFILE)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_answered_at_once_is_the_answer(
        name in 0..NAMES.len(),
        qtype in 0..TYPES.len(),
        client in 1..3_u8,
        options in any::<bool>(),
        payload in prop::option::of(500..1300_u16),
    ) {
        let query = asked(NAMES[name], TYPES[qtype], client, options && payload.is_some(), payload);
        if let Some(quick) = testing::quickly(&ROUTER, &query) {
            let slow = RUNTIME.block_on(testing::slowly(&ROUTER, &query));
            prop_assert_eq!(quick, slow, "{} {}", NAMES[name], TYPES[qtype]);
        }
    }
}

#[test]
fn most_names_of_the_cluster_are_answered_at_once() {
    for (name, quick) in [
        ("Heads.NS.svc.cluster.LOCAL.", true),
        ("10-0-0-1.ns.pod.cluster.local.", true),
        ("ns.svc.cluster.local.", true),
        ("1.0.96.10.in-addr.arpa.", true),
        // The others have a rule.
        ("vip.ns.svc.cluster.local.", false),
        ("big.ns.svc.cluster.local.", false),
        ("nosuch.ns.svc.cluster.local.", false),
        ("vip.ns.svc.other.test.", false),
        ("localhost.ns.svc.cluster.local.", false),
    ] {
        let query = asked(name, RecordType::A, 1, false, Some(1232));
        assert_eq!(testing::quickly(&ROUTER, &query).is_some(), quick, "{name}");
    }
    let denied = asked("Heads.NS.svc.cluster.LOCAL.", RecordType::A, 2, false, Some(1232));
    assert!(testing::quickly(&ROUTER, &denied).is_none());
}
