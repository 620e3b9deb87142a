use std::collections::{BTreeMap, BTreeSet};

use domain::base as second;
use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query};
use proptest::prelude::*;

use super::*;
use crate::testing;

fn query(name: &str, qtype: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    if let Some(payload) = payload {
        let mut edns = HickoryEdns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

fn ask(zone: &Zone, name: &str, qtype: RecordType) -> Message {
    let mut out = Vec::new();
    answer(zone, &query(name, qtype, None), Transport::Tcp, 0, &mut out);
    Message::from_vec(&out).unwrap()
}

fn texts(records: &[hickory_proto::rr::Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
}

#[test]
fn the_case_of_the_question_is_kept() {
    let message = ask(&testing::zone(), "_WEB._tcp.heads.NS.svc.CLUSTER.Local.", RecordType::SRV);
    assert_eq!(message.answers.len(), 3);
    for record in &message.answers {
        assert_eq!(record.name.to_ascii(), "_WEB._tcp.heads.NS.svc.CLUSTER.Local.");
        let hickory_proto::rr::RData::SRV(srv) = &record.data else { panic!("{record}") };
        assert!(srv.target.to_ascii().ends_with(".heads.ns.svc.CLUSTER.Local."), "{}", srv.target);
        assert_eq!((srv.weight, srv.port), (33, 8080));
    }
    let negative = ask(&testing::zone(), "nosuch.SVC.cluster.LOCAL.", RecordType::A);
    assert_eq!(negative.authorities[0].name.to_ascii(), "cluster.LOCAL.");
}

#[test]
fn options_are_those_of_the_opt() {
    let mut packet = query("vip.ns.svc.cluster.local.", RecordType::A, None);
    // An OPT in the authority is none, whatever it says.
    packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0]);
    packet[9] = 1;
    assert!(Request::read(&packet).unwrap().edns.is_none());
    assert!(Request::options(&packet).is_empty());
    (packet[9], packet[11]) = (0, 1);
    assert!(Request::read(&packet).unwrap().edns.unwrap().has_options);
    assert_eq!(Request::options(&packet), [(3, Vec::new())]);
}

/// Owners of records that a request has no business having are passed over, and pointers in them are not followed.
#[test]
fn pointers_of_records_lead_backwards() {
    let with = |owner: &[u8]| {
        let mut packet = query("a.test.", RecordType::A, None);
        packet.extend_from_slice(owner);
        packet.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        packet[7] = 1;
        Request::read(&packet).is_ok()
    };
    // The record begins at 24.
    for (owner, read) in [
        (&[0xc0, 12][..], true),
        (&[1, b'a', 0xc0, 12], true),
        (&[0xc0, 23], true),
        (&[0xc0, 24], false),
        (&[0xff, 0xff], false),
        (&[0x40, 0], false),
        (&[0x80, 0], false),
        (&[3, b'a', b'b', b'c', 0], true),
    ] {
        assert_eq!(with(owner), read, "{owner:02x?}");
    }
    let longest = [&b"\x3fx"[..], &[b'x'; 62]].concat().repeat(3);
    for (last, read) in [(61, true), (62, false)] {
        let owner = [longest.as_slice(), &[last], &vec![b'x'; usize::from(last)], &[0]].concat();
        assert_eq!(with(&owner), read, "{last}");
    }
}

#[test]
fn addresses_take_turns() {
    let zone = testing::zone();
    let first = |rotation| {
        let mut out = Vec::new();
        answer(
            &zone,
            &query("heads.ns.svc.cluster.local.", RecordType::A, None),
            Transport::Udp,
            rotation,
            &mut out,
        );
        let answers = Message::from_vec(&out).unwrap().answers;
        assert_eq!(answers.iter().map(|r| r.data.to_string()).collect::<BTreeSet<_>>().len(), 3);
        answers[0].data.to_string()
    };
    assert_eq!([0, 1, 2, 3].map(first), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]);
}

#[test]
fn aliases_come_before_what_they_lead_to() {
    let message = ask(&testing::zone(), "inside.ns.svc.cluster.local.", RecordType::A);
    assert_eq!(texts(&message.answers[..1]), ["inside.ns.svc.cluster.local. heads.ns.svc.cluster.local."]);
    assert_eq!(message.answers.len(), 4);
    let srv = ask(&testing::zone(), "inside.ns.svc.cluster.local.", RecordType::SRV);
    assert_eq!((srv.answers.len(), srv.additionals.len()), (7, 3));
}

#[test]
fn aliases_that_lead_nowhere_or_round_in_circles_keep_their_cname() {
    let zone = testing::zone();
    for (name, cnames) in [("nowhere", 1), ("ping", 2), ("pong", 2), ("chain-0", 8)] {
        for qtype in [RecordType::A, RecordType::TXT] {
            let message = ask(&zone, &format!("{name}.ns.svc.cluster.local."), qtype);
            assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{name}");
            assert_eq!(message.answers.len(), cnames, "{name}");
            assert!(message.answers.iter().all(|record| record.record_type() == RecordType::CNAME), "{name}");
            assert_eq!(message.authorities.len(), 1, "{name}");
        }
    }
    let near_enough = ask(&zone, "chain-5.ns.svc.cluster.local.", RecordType::A);
    assert_eq!(texts(&near_enough.answers).last().unwrap(), "vip.ns.svc.cluster.local. 10.96.0.1");
    let address = ask(&zone, "address.ns.svc.cluster.local.", RecordType::CNAME);
    assert_eq!(address.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn an_alias_out_of_the_zones_is_handed_back() {
    let zone = testing::zone();
    let mut out = Vec::new();
    let query = query("OUT.ns.svc.cluster.local.", RecordType::A, Some(1232));
    let Outcome::Alias { target, .. } = answer(&zone, &query, Transport::Udp, 0, &mut out) else {
        panic!("not an alias");
    };
    assert_eq!(target.to_ascii(), "www.example.com.");
    let alone = Message::from_vec(&out).unwrap();
    assert_eq!(texts(&alone.answers), ["OUT.ns.svc.cluster.local. www.example.com."]);
    assert!(alone.authorities.is_empty() && alone.metadata.authoritative);
}

#[test]
fn a_large_set_is_whole_or_absent() {
    let zone = testing::zone();
    let mut out = Vec::new();
    let name = "big.ns.svc.cluster.local.";
    for (payload, limit) in [(None, 512), (Some(100), 512), (Some(1232), 1232), (Some(65535), 1232)] {
        answer(&zone, &query(name, RecordType::A, payload), Transport::Udp, 0, &mut out);
        let message = Message::from_vec(&out).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty() && out.len() <= limit);
    }
    answer(&zone, &query(name, RecordType::A, None), Transport::Tcp, 0, &mut out);
    // Sixteen bytes a record: every owner is a pointer to the question.
    assert_eq!(out.len(), 12 + name.len() + 1 + 4 + 150 * 16);
    answer(&zone, &query(name, RecordType::SRV, None), Transport::Tcp, 0, &mut out);
    let message = Message::from_vec(&out).unwrap();
    assert_eq!((message.answers.len(), message.additionals.len()), (300, 150));
    // Glue has room for a pointer to the name in the SRV record, or to the Service's name.
    let uncompressed = 300 * (2 + 16 + 36) + 150 * 28;
    assert!(out.len() < uncompressed, "{} bytes", out.len());
    // Glue that has no room is left out without a word: nothing that was asked for is missing.
    answer(&zone, &query("heads.ns.svc.cluster.local.", RecordType::SRV, None), Transport::Udp, 0, &mut out);
    let message = Message::from_vec(&out).unwrap();
    assert_eq!((message.metadata.truncation, message.answers.len()), (false, 6));
    assert!(out.len() <= 512);
}

#[test]
fn what_has_no_room_in_any_case_is_not_made_and_truncates_as_if_it_were() {
    let zone = testing::zone();
    for name in ["big.ns.svc.cluster.local.", "_web._tcp.big.ns.svc.cluster.local."] {
        for (payload, transport) in
            [(None, Transport::Udp), (Some(1232), Transport::Udp), (None, Transport::Tcp)]
        {
            let query = query(name, RecordType::SRV, payload);
            let request = Request::read(&query).unwrap();
            let room = request.limit(transport);
            let name = &request.question.name;
            let Resolution::Resolved(whole) = resolve(&zone, name, RecordType::SRV) else { panic!("{name}") };
            let found = zone.look(name, |found| resolve_found(&zone, name, RecordType::SRV, &found, room));
            let Resolution::Resolved(bounded) = found else { panic!("{name}") };
            let is_udp = transport == Transport::Udp;
            assert_eq!(bounded == whole, !is_udp);
            let [one, other] = [&whole, &bounded].map(|resolved| {
                let mut out = Vec::new();
                write(&request, resolved, transport, 1, &mut out);
                out
            });
            assert_eq!((is_truncated(&one), one), (is_udp, other));
        }
    }
}

/// What must hold of every answer to any bytes at all.
fn hold(zone: &Zone, bytes: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    let mut out = vec![0xff; 3];
    let outcome = answer(zone, bytes, transport, 1, &mut out);
    match outcome {
        Outcome::Silent => {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        Outcome::Elsewhere(request) => {
            prop_assert!(out.is_empty());
            refuse(&request, ResponseCode::Refused, transport, &mut out);
        }
        Outcome::Answered(_) | Outcome::Alias { .. } => {}
    }
    prop_assert!(bytes[2] & 0x80 == 0, "a response was answered");
    prop_assert_eq!(&out[..2], &bytes[..2], "the id");
    prop_assert!(out[2] & 0x80 != 0);
    let limit = if transport == Transport::Udp { 1232 } else { 65535 };
    prop_assert!(out.len() <= limit, "{} bytes", out.len());
    let message =
        Message::from_vec(&out).map_err(|error| TestCaseError::fail(format!("{error}: {out:02x?}")))?;
    prop_assert!(!message.metadata.recursion_available);
    // The second codec reads the same records.
    let other = second::Message::from_octets(&out[..]).unwrap();
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for record in other.iter() {
        let (record, _) = record.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let record = record.into_any_record::<domain::rdata::AllRecordData<_, _>>();
        let record = record.map_err(|error| TestCaseError::fail(error.to_string()))?;
        *owners
            .entry(record.owner().to_string().to_lowercase().trim_end_matches('.').to_owned())
            .or_default() += 1;
    }
    let sections = [&message.answers, &message.authorities, &message.additionals];
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for record in sections.into_iter().flatten() {
        *wanted.entry(record.name.to_ascii().to_lowercase().trim_end_matches('.').to_owned()).or_default() +=
            1;
    }
    if message.edns.is_some() {
        *wanted.entry(String::new()).or_default() += 1;
    }
    prop_assert_eq!(owners, wanted);
    Ok(())
}

fn labels() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "svc",
        "pod",
        "ns",
        "vip",
        "heads",
        "big",
        "out",
        "inside",
        "ping",
        "_web",
        "_tcp",
        "_udp",
        "web",
        "tcp",
        "dns",
        "dns-version",
        "cluster",
        "local",
        "10-0-0-1",
        "1",
        "10",
        "0",
        "in-addr",
        "arpa",
        "ip6",
        "x",
        "example",
        "NS",
    ])
    .prop_map(str::to_owned)
}

fn questions() -> impl Strategy<Value = Vec<u8>> {
    let suffix = prop::sample::select(vec!["ns.svc.cluster.local.", "cluster.local.", "in-addr.arpa.", ""]);
    let types = prop::sample::select(vec![1_u16, 2, 5, 6, 12, 16, 28, 33, 41, 65, 251, 252, 255, 999]);
    let payload = prop::option::of(any::<u16>());
    (prop::collection::vec(labels(), 1..5), suffix, types, payload).prop_map(
        |(labels, suffix, qtype, payload)| {
            query(&format!("{}.{suffix}", labels.join(".")), qtype.into(), payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered_rightly_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..80), tcp: bool) {
        ZONE.with(|zone| hold(zone, &bytes, if tcp { Transport::Tcp } else { Transport::Udp }))?;
    }

    #[test]
    fn any_question_is_answered_rightly(bytes in questions(), tcp: bool) {
        ZONE.with(|zone| hold(zone, &bytes, if tcp { Transport::Tcp } else { Transport::Udp }))?;
    }

    /// A question with some bytes changed, or cut short.
    #[test]
    fn any_damaged_question_is_answered_rightly_or_not_at_all(
        mut bytes in questions(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 4) + 1);
        ZONE.with(|zone| hold(zone, &bytes, Transport::Udp))?;
    }
}

thread_local! {
    static ZONE: Zone = testing::zone();
}
