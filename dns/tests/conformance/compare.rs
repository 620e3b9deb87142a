//! Questions in wire form and what came back, compared with the recording; [`answers`](crate::answers) has its rules.

use std::collections::{BTreeMap, BTreeSet};

use callsign_dns::{
    Transport, Zone,
    answer::{self, Outcome},
};
use domain::base as second;
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType},
};
use serde::Deserialize;
use serde_json::Value;

use crate::answers::{Exchange, Recording};

pub(crate) struct Run {
    pub(crate) questions: usize,
    pub(crate) failures: Vec<String>,
}

/// Asks every recorded question of `recording`, whose cluster is that of `scenario`.
pub(crate) fn all(zone: &Zone, scenario: &Value, recording: &Value) -> Run {
    let recorded: Vec<Exchange> = Vec::deserialize(&recording["dns"]).unwrap();
    let objects = scenario["steps"].as_array().unwrap().iter().map(|step| &step[1]);
    let whole = Recording::new(objects, &recorded);
    let mut failures = Vec::new();
    for question in &recorded {
        let wanted = whole.wanted(question);
        let got = ask(zone, &question.name, &question.kind);
        if got != wanted {
            failures.push(format!("wanted {wanted:?}\n    got    {got:?}"));
        }
    }
    Run { questions: recorded.len(), failures }
}

// === Asking ===

/// Asks over UDP with EDNS and over TCP, holds the two against each other, and returns the whole answer.
pub(crate) fn ask(zone: &Zone, name: &str, kind: &str) -> Exchange {
    let question = question(name, kind);
    let over_udp = exchange(zone, &question, Transport::Udp);
    let over_tcp = exchange(zone, &question, Transport::Tcp);
    let (udp, tcp) = (Message::from_vec(&over_udp).unwrap(), Message::from_vec(&over_tcp).unwrap());
    assert!(over_udp.len() <= 1232, "{name} {kind}: {} bytes over UDP", over_udp.len());
    assert!(!tcp.metadata.truncation, "{name} {kind}: truncated over TCP");
    if udp.metadata.truncation {
        assert!(over_tcp.len() > 1232, "{name} {kind}: truncated without need");
        assert!(whole_sets(&udp.answers, &tcp.answers), "{name} {kind}: part of an RRset over UDP");
    } else {
        assert_eq!(lines(&udp.answers), lines(&tcp.answers), "{name} {kind}");
        assert_eq!(lines(&udp.authorities), lines(&tcp.authorities), "{name} {kind}");
        assert!(whole_sets(&udp.additionals, &tcp.additionals), "{name} {kind}: part of an RRset over UDP");
    }
    reply(name, kind, &tcp)
}

fn question(name: &str, kind: &str) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // Labels as they are: recorded names have characters that hickory's text form does not take.
    let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
    message.add_query(Query::query(Name::from_labels(labels).unwrap(), record_type(kind)));
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    message.to_vec().unwrap()
}

fn record_type(kind: &str) -> RecordType {
    kind.parse().unwrap_or_else(|_| panic!("the type {kind} is not known"))
}

fn exchange(zone: &Zone, question: &[u8], transport: Transport) -> Vec<u8> {
    let mut out = Vec::new();
    match answer::answer(zone, question, transport, 3, &mut out) {
        Outcome::Answered(_) | Outcome::Alias { .. } => {}
        Outcome::Elsewhere(request) => {
            answer::refuse(&request, hickory_proto::op::ResponseCode::Refused, transport, &mut out);
        }
        Outcome::Silent => panic!("no answer"),
    }
    decode_again(&out);
    out
}

/// Reads every record with a second codec.
pub(crate) fn decode_again(bytes: &[u8]) {
    let message = second::Message::from_octets(bytes).unwrap();
    for record in message.iter() {
        let (record, _) = record.unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
        record.into_any_record::<domain::rdata::AllRecordData<_, _>>().unwrap();
    }
}

fn whole_sets(part: &[Record], whole: &[Record]) -> bool {
    let sets = |records: &[Record]| {
        let mut sets: BTreeMap<(String, RecordType), usize> = BTreeMap::new();
        for record in records {
            *sets.entry((record.name.to_ascii(), record.record_type())).or_default() += 1;
        }
        sets
    };
    let whole = sets(whole);
    sets(part).iter().all(|(set, count)| whole.get(set) == Some(count))
}

fn reply(name: &str, kind: &str, message: &Message) -> Exchange {
    let metadata = &message.metadata;
    let flags = [
        ("QR", metadata.message_type == MessageType::Response),
        ("AA", metadata.authoritative),
        ("TC", metadata.truncation),
        ("RD", metadata.recursion_desired),
        ("RA", metadata.recursion_available),
        ("AD", metadata.authentic_data),
        ("CD", metadata.checking_disabled),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag).collect();
    let edns = message.edns.as_ref().expect("an answer to EDNS has an OPT");
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert!(edns.options().as_ref().is_empty());
    Exchange {
        name: name.to_owned(),
        kind: kind.to_owned(),
        rcode: rcode_text(metadata.response_code),
        flags: flags.join(" "),
        answer: lines(&message.answers),
        authority: lines(&message.authorities),
        additional: lines(&message.additionals),
    }
    .lower_data()
}

pub(crate) fn rcode_text(rcode: hickory_proto::op::ResponseCode) -> String {
    use hickory_proto::op::ResponseCode as R;
    match rcode {
        R::NoError => "NOERROR",
        R::NXDomain => "NXDOMAIN",
        R::ServFail => "SERVFAIL",
        R::Refused => "REFUSED",
        R::FormErr => "FORMERR",
        R::NotImp => "NOTIMP",
        R::BADVERS | R::BADSIG => "BADVERS",
        other => panic!("unexpected {other:?}"),
    }
    .to_owned()
}

fn lines(records: &[Record]) -> BTreeSet<String> {
    let line = |record: &Record| {
        let data = match &record.data {
            RData::SOA(soa) => {
                format!(
                    "{} {} SERIAL {} {} {} {}",
                    soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
                )
            }
            RData::TXT(txt) => {
                let texts = txt.txt_data.iter().map(|text| format!("{:?}", String::from_utf8_lossy(text)));
                texts.collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        format!("{} {} {} {}", record.name.to_ascii(), record.ttl, record.record_type(), data)
    };
    let all: BTreeSet<String> = records.iter().map(line).collect();
    assert_eq!(all.len(), records.len(), "a record twice: {all:?}");
    all
}
