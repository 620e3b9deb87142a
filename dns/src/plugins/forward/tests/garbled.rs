use proptest::prelude::*;

use super::*;
use crate::plugins::forward::{question::Question, relevant::keep_relevant};

/// Replies with records of many kinds, some of which nobody knows.
fn template() -> Vec<u8> {
    let mut message = records(&question("www.example.com."));
    for text in [
        "www.example.com. 60 MX 10 mail.example.com.",
        "www.example.com. 60 SRV 0 1 53 mail.example.com.",
        "www.example.com. 60 TXT text",
    ] {
        message.answers.push(record(text));
    }
    let soa = "example.com. 60 SOA ns.example.com. hostmaster.example.com. 1 7200 1800 86400 60";
    message.authorities.push(record(soa));
    message.additionals.push(record("mail.example.com. 60 AAAA fd00::1"));
    let unknown = RData::Unknown { code: RecordType::from(65_280), rdata: rdata::NULL::with(vec![1]) };
    message.answers.push(Record::from_rdata(name("www.example.com."), 60, unknown));
    message.to_vec().unwrap()
}

fn question(text: &str) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Asked::query(name(text), RecordType::A));
    message
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_upstream_sends_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = template();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let asked = Question { qtype: RecordType::A, ..Question::probe(name("www.example.com."), true) };
        if let Ok(mut message) = Message::from_vec(&bytes) {
            keep_relevant(&asked, &mut message);
            let reply = Reply {
                answers: message.answers,
                authorities: message.authorities,
                additionals: message.additionals,
                ..Reply::new("forward", message.metadata.response_code)
            };
            let query = testing::query("www.example.com.", RecordType::A);
            let mut out = Vec::new();
            crate::answer::write_reply(&query.request, &reply, crate::answer::Transport::Udp, 1232, &mut out);
            let read = Message::from_vec(&out);
            prop_assert!(read.is_ok(), "{read:?}");
        }
    }
}

#[test]
fn records_without_data_are_survived() {
    let mut bytes = question("a.example.").to_vec().unwrap();
    bytes[2] |= 0x80;
    bytes[7] = 3;
    for kind in [65_280_u16, 10, 1] {
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60, 0, 0]);
    }
    // Taken or refused, but not a panic.
    if let Ok(mut message) = Message::from_vec(&bytes) {
        let asked = Question { qtype: RecordType::ANY, ..Question::probe(name("a.example."), true) };
        keep_relevant(&asked, &mut message);
        assert!(message.answers.len() <= 3);
    }
}
