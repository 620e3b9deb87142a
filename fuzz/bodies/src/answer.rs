//! From any bytes to an answer, by both ways: the quick one, where it says something, and the slow one.

use std::{cell::LazyCell, sync::Once, time::Instant};

use callsign_dns::{
    Transport,
    answer::UDP_PAYLOAD,
    server::{Handled, Handler, Peer},
};
use hickory_proto::op::{Message, MessageType};

use crate::{
    cluster::Fronts,
    codecs::{self, wire},
};

/// A cluster's DNS as it usually is, and every plugin that may stand before its names, with rules for some of them.
const COREFILES: [&str; 2] = [
    "cluster.local in-addr.arpa ip6.arpa {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 30
        fallthrough in-addr.arpa ip6.arpa
    }
    loadbalance
}
example.org:53 {
    whoami
}",
    ".:53 {
    metadata
    nsid server
    bufsize 900
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
}",
];

struct Served {
    runtime: tokio::runtime::Runtime,
    fronts: [Fronts; 2],
}

thread_local! {
    static SERVED: LazyCell<Served> = LazyCell::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fronts = {
            let _inside = runtime.enter();
            COREFILES.map(Fronts::start)
        };
        Served { runtime, fronts }
    });
    static PANICS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Panics that a server recovers from count too.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            told(panic);
        }));
    });
}

/// Any bytes as a request. The first byte says which Corefile, which transport and which client.
///
/// # Panics
/// When a property does not hold.
pub fn run(input: &[u8]) {
    let Some((how, packet)) = input.split_first() else { return };
    count_panics();
    let before = PANICS.get();
    let transport = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let client = if how & 4 == 0 { 1 } else { 2 };
    let peer = Peer {
        address: ([10, 240, 0, client], 40_212).into(),
        local: ([10, 96, 0, 10], 53).into(),
        transport,
    };
    SERVED.with(|served| {
        let fronts = &served.fronts[usize::from(how >> 1 & 1)];
        let usual = handle(served, &fronts.usual, packet, peer);
        let slow = handle(served, &fronts.slow, packet, peer);
        assert_eq!(PANICS.get(), before, "a panic was recovered from");
        assert_eq!(usual.len(), slow.len(), "messages of the quick way and of the slow one");
        if packet.len() < 12 || packet[2] & 0x80 != 0 {
            assert!(usual.is_empty(), "what is no request was answered");
            return;
        }
        assert!(!usual.is_empty() || transport == Transport::Tcp, "no answer");
        for (usual, slow) in usual.iter().zip(&slow) {
            same(usual, slow);
            let message = codecs::read_by_both(usual);
            assert_eq!(message.metadata.message_type, MessageType::Response);
            fits(packet, usual, &message, transport);
            belongs(packet, usual, &message);
        }
    });
}

fn handle(served: &Served, front: &impl Handler, packet: &[u8], peer: Peer) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let _inside = served.runtime.enter();
    match front.handle(packet, peer, Instant::now(), &mut out) {
        Handled::Reply => vec![out],
        Handled::Silent => Vec::new(),
        Handled::Later(later) => served.runtime.block_on(later).collect(),
    }
}

/// Both answers say the same; only addresses may stand in another order.
fn same(usual: &[u8], slow: &[u8]) {
    if usual == slow {
        return;
    }
    let [quick, slow] = [usual, slow].map(|bytes| Message::from_vec(bytes).unwrap());
    assert_eq!(format!("{:?}", quick.metadata), format!("{:?}", slow.metadata));
    assert_eq!(format!("{:?}", quick.queries), format!("{:?}", slow.queries));
    assert_eq!(format!("{:?}", quick.edns), format!("{:?}", slow.edns));
    assert_eq!(codecs::sections(&quick), codecs::sections(&slow));
}

fn fits(packet: &[u8], answer: &[u8], message: &Message, transport: Transport) {
    let most = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => match codecs::asked_by_domain(packet).and_then(|asked| asked.opt) {
            Some((payload, ..)) => usize::from(payload.clamp(512, UDP_PAYLOAD)),
            // Without an OPT, or with one that only we could read.
            None if message.edns.is_some() => usize::from(UDP_PAYLOAD),
            None => 512,
        },
    };
    assert!(answer.len() <= most, "{} of {most} bytes", answer.len());
}

/// Id, opcode and question come back as they went.
fn belongs(packet: &[u8], answer: &[u8], message: &Message) {
    assert_eq!(answer[..2], packet[..2]);
    assert_eq!(answer[2] & 0x78, packet[2] & 0x78, "opcode");
    assert_eq!(answer[3] & 0x40, 0, "Z");
    let Some(query) = message.queries.first() else { return };
    let name = wire(query.name());
    // A question whose name ends with a pointer is written in full.
    if packet[12..].starts_with(&name) {
        let end = 12 + name.len() + 4;
        assert_eq!(answer[12..end], packet[12..end], "question");
    } else if let Some(asked) = codecs::asked_by_domain(packet) {
        assert_eq!(asked.question, (name, query.query_type().into(), query.query_class().into()));
    }
}
