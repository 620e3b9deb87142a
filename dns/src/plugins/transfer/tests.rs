use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{base as second, rdata::AllRecordData};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as HickoryQuery, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::net::UdpSocket;

use super::is_up_to_date;
use crate::{
    answer::Transport,
    block::Router,
    plugin::{Changes, Reply},
    server::{Front, Handled, Handler, Peer, Shared},
    testing,
};

fn corefile(transfer: &str) -> String {
    format!(
        ".:53 {{
            {transfer}
            kubernetes cluster.local in-addr.arpa {{
                pods insecure
                ttl 30
            }}
        }}"
    )
}

async fn ask(router: &Arc<Router>, name: &str, qtype: RecordType, serial: Option<u32>) -> Reply {
    let mut query = testing::query(name, qtype);
    query.router = Arc::clone(router);
    query.peer.transport = Transport::Tcp;
    let mut request = (*query.request).clone();
    request.serial = serial;
    query.request = Arc::new(request);
    router.serve(&mut query).await
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect()
}

#[tokio::test]
async fn a_zone_is_what_it_answers() {
    let router = testing::router(&corefile("transfer {\n to *\n }"));
    let reply = ask(&router, "Cluster.local.", RecordType::AXFR, None).await;
    let records = reply.transfer.unwrap();
    assert_eq!((records[0].record_type(), records.last()), (RecordType::SOA, Some(&records[0])));
    let all = lines(&records);
    let unique: BTreeSet<&String> = all[1..].iter().collect();
    assert_eq!(unique.len(), all.len() - 1, "a record twice");
    for wanted in [
        "vip.ns.svc.cluster.local. 30 A 10.96.0.1",
        "vip.ns.svc.cluster.local. 30 AAAA fd00::1",
        "vip.ns.svc.cluster.local. 30 SRV 0 25 80 vip.ns.svc.cluster.local.",
        "_dns._udp.vip.ns.svc.cluster.local. 30 SRV 0 50 53 vip.ns.svc.cluster.local.",
        "heads.ns.svc.cluster.local. 30 A 10.0.0.3",
        "10-0-0-3.heads.ns.svc.cluster.local. 30 A 10.0.0.3",
        "_web._tcp.heads.ns.svc.cluster.local. 30 SRV 0 33 8080 10-0-0-3.heads.ns.svc.cluster.local.",
        "out.ns.svc.cluster.local. 30 CNAME www.example.com.",
        "inside.ns.svc.cluster.local. 30 CNAME heads.ns.svc.cluster.local.",
        "cluster.local. 30 NS ns.dns.cluster.local.",
    ] {
        assert!(all.iter().any(|line| line == wanted), "{wanted} in {all:#?}");
    }
    // Every record is one that is answered when it is asked for.
    for record in &records {
        let live = testing::ask(&router, &record.name.to_ascii(), record.record_type()).await;
        let live = lines(&live.answers);
        let line = &lines(std::slice::from_ref(record))[0];
        assert!(live.contains(line) || record.record_type() == RecordType::NS, "{line} is not in {live:?}");
    }
}

#[tokio::test]
async fn a_reverse_zone_has_its_addresses() {
    let router = testing::router(&corefile("transfer {\n to *\n }"));
    let records = ask(&router, "in-addr.arpa.", RecordType::AXFR, None).await.transfer.unwrap();
    let all = lines(&records);
    let pointers = records.iter().filter(|record| record.record_type() == RecordType::PTR).count();
    assert_eq!(pointers, 1 + 3 + 150);
    assert!(all.contains(&"1.0.96.10.in-addr.arpa. 30 PTR vip.ns.svc.cluster.local.".to_owned()));
    let kinds = [RecordType::SOA, RecordType::NS, RecordType::PTR];
    assert!(records.iter().all(|record| kinds.contains(&record.record_type())));
}

#[tokio::test]
async fn a_client_that_is_up_to_date_gets_the_soa_alone() {
    let router = testing::router(&corefile("transfer {\n to *\n }"));
    let all = ask(&router, "cluster.local.", RecordType::AXFR, None).await.transfer.unwrap();
    let RData::SOA(soa) = &all[0].data else { panic!("no SOA") };
    for (serial, whole) in [(soa.serial, false), (soa.serial + 1, false), (soa.serial.wrapping_sub(1), true)]
    {
        let reply = ask(&router, "cluster.local.", RecordType::IXFR, Some(serial)).await;
        let records = reply.transfer.unwrap();
        assert_eq!(records.len(), if whole { all.len() } else { 1 }, "{serial}");
    }
    // Without a SOA there is nothing to compare with.
    assert_eq!(ask(&router, "cluster.local.", RecordType::IXFR, None).await.rcode, ResponseCode::ServFail);
    assert!(is_up_to_date(Some(1), u32::MAX) && !is_up_to_date(Some(u32::MAX), 1) && !is_up_to_date(None, 1));
}

#[tokio::test]
async fn only_those_who_may_get_it_and_over_tcp() {
    let rcode = async |transfer: &str, name: &str| {
        ask(&testing::router(&corefile(transfer)), name, RecordType::AXFR, None).await.rcode
    };
    let good = ResponseCode::NoError;
    for (to, wanted) in [
        ("10.240.0.1", good),
        ("10.240.0.0/16", good),
        ("192.0.2.1 *", good),
        ("10.240.0.1:5353", good),
        ("10.240.0.2", ResponseCode::Refused),
        ("10.241.0.0/16 fd00::/8 [fd00::1]:53", ResponseCode::Refused),
    ] {
        assert_eq!(rcode(&format!("transfer {{\n to {to}\n }}"), "cluster.local.").await, wanted, "{to}");
    }
    // Zones are compared by their labels, not by their texts: the longest decides.
    let both = "transfer local {\n to *\n }\n transfer cluster.local {\n to 192.0.2.1\n }";
    assert_eq!(rcode(both, "cluster.local.").await, ResponseCode::Refused);
    // Not a zone, not a zone of the plugin, and not the plugin's zone.
    assert_eq!(rcode("transfer {\n to *\n }", "svc.cluster.local.").await, ResponseCode::Refused);
    assert_eq!(rcode("transfer example.org {\n to *\n }", "cluster.local.").await, ResponseCode::Refused);
    assert_eq!(rcode("", "cluster.local.").await, ResponseCode::Refused);
    let router = testing::router(&corefile("transfer {\n to *\n }"));
    let over_udp = testing::ask(&router, "cluster.local.", RecordType::AXFR).await;
    assert_eq!((over_udp.rcode, over_udp.transfer.is_none()), (ResponseCode::Refused, true));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, message) in [
        ("transfer", "2 - Error during parsing: 'to' is required"),
        (
            "transfer {\n to\n }",
            "3 - Error during parsing: Wrong argument count or unexpected line ending after 'to'",
        ),
        ("transfer {\n from *\n }", "3 - Error during parsing: unknown property \"from\""),
        (
            "transfer {\n to everyone\n }",
            "3 - Error during parsing: must specify an IP address with an optional port, a network or *: \"everyone\"",
        ),
    ] {
        let error = testing::config(&corefile(text)).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/transfer: Corefile:{message}"));
    }
}

/// The whole way from a packet to packets, read by another codec.
#[tokio::test]
async fn another_codec_reads_the_messages() {
    let front = Front::new(testing::router(&corefile("transfer {\n to *\n }")), Arc::new(Shared::default()));
    let from = Peer {
        address: "10.240.0.1:40000".parse().unwrap(),
        transport: Transport::Tcp,
        ..testing::query(".", RecordType::A).peer
    };
    let mut question = Message::new(77, MessageType::Query, OpCode::Query);
    question.add_query(HickoryQuery::query(Name::from_ascii("cluster.local.").unwrap(), RecordType::IXFR));
    question.add_authority(testing::record("cluster.local. 0 SOA a.example. b.example. 7 1 1 1 1"));
    let Handled::Later(later) =
        front.handle(&question.to_vec().unwrap(), from, Instant::now(), &mut Vec::new())
    else {
        panic!("not waited for");
    };
    let messages: Vec<Vec<u8>> = later.await.collect();
    assert!(messages.len() > 1);
    let mut kinds = Vec::new();
    for message in &messages {
        let message = second::Message::from_octets(message).unwrap();
        assert_eq!((message.header().id(), message.header().aa(), message.header().tc()), (77, true, false));
        for record in message.answer().unwrap() {
            let record = record.unwrap().into_record::<AllRecordData<_, _>>().unwrap().unwrap();
            kinds.push(record.rtype());
        }
    }
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), (second::Rtype::SOA, second::Rtype::SOA));
    assert!(kinds.len() > 600, "{}", kinds.len());
}

/// A transfer is in memory until it has been sent: those who do not take theirs keep others waiting, and then from it.
#[tokio::test(start_paused = true)]
async fn only_so_many_are_being_sent_at_once() {
    let router = testing::router(&corefile("transfer {\n to *\n }"));
    let mut held = Vec::new();
    for _ in 0..super::AT_ONCE {
        held.push(ask(&router, "cluster.local.", RecordType::AXFR, None).await);
    }
    assert!(held.iter().all(|reply| reply.transfer.is_some() && reply.turn.is_some()));
    let late = ask(&router, "cluster.local.", RecordType::AXFR, None).await;
    assert_eq!(
        (late.rcode, late.error.as_deref()),
        (ResponseCode::ServFail, Some("too many transfers at once"))
    );
    held.pop();
    assert!(ask(&router, "cluster.local.", RecordType::AXFR, None).await.transfer.is_some());
}

#[tokio::test]
async fn secondaries_are_told_of_changes() {
    let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = format!("transfer example.org {{\n to * 127.0.0.0/8 {}\n }}", secondary.local_addr().unwrap());
    let world = testing::world();
    let changes: Changes = world.changes.clone();
    let _router = testing::router_in(&corefile(&to), &world);
    changes.tell(&Name::from_ascii("example.net.").unwrap());
    changes.tell(&Name::from_ascii("example.org.").unwrap());
    let mut bytes = [0; 512];
    // The first is lost on the way: it is said again.
    let mut heard = Vec::new();
    for attempt in 0..2 {
        let received = tokio::time::timeout(Duration::from_secs(10), secondary.recv_from(&mut bytes));
        let (length, from) = received.await.unwrap().unwrap();
        let mut message = Message::from_vec(&bytes[..length]).unwrap();
        assert_eq!((message.metadata.op_code, message.metadata.authoritative), (OpCode::Notify, true));
        heard.push((message.queries[0].name().to_ascii(), message.queries[0].query_type()));
        if attempt == 1 {
            message.metadata.message_type = MessageType::Response;
            secondary.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    }
    assert_eq!(heard, vec![("example.org.".to_owned(), RecordType::SOA); 2]);
    let more = tokio::time::timeout(Duration::from_millis(300), secondary.recv_from(&mut bytes)).await;
    assert!(more.is_err(), "told again after the answer");
}
