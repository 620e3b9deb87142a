//! Any bytes as an upstream's reply: ignored, refused, or read, written to clients and kept.

use callsign_dns::{
    answer::{self, Request, Unread},
    plugins::{cache::exposed::Kept, forward::exposed::Asked},
};
use hickory_proto::op::Message;

use crate::{
    codecs,
    packet::{Reader, round_trip},
};

/// The id of all questions.
pub const ID: u16 = 0x1234;

/// What is asked: names and types.
pub const QUESTIONS: [(&str, u16); 8] = [
    ("www.example.org", 1),
    ("www.example.org", 28),
    ("Example.ORG", 6),
    ("example.org", 255),
    ("_sip._tcp.example.org", 33),
    ("alias.example.org", 5),
    ("example.org", 15),
    ("", 2),
];

/// The request for one of [`QUESTIONS`], with DO where it is an odd one.
pub fn request(at: usize) -> Vec<u8> {
    let (name, qtype) = QUESTIONS[at % QUESTIONS.len()];
    let mut bytes = ID.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(qtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend([0, 0, 41, 4, 208, 0, 0, if at % 2 == 1 { 0x80 } else { 0 }, 0, 0, 0]);
    bytes
}

/// Any bytes as a reply. The first byte chooses the question.
///
/// # Panics
/// When a property does not hold.
pub fn run(input: &[u8]) {
    let Some((at, reply)) = input.split_first() else { return };
    let question = request(usize::from(*at));
    let request = match Request::read(&question) {
        Ok(request) => request,
        Err(Unread::Ignore | Unread::Refuse(..)) => panic!("our own question is wrong"),
    };
    let asked = Asked::of(&request, &[]);
    // What goes upstream is the question.
    let sent = codecs::asked_by_domain(&asked.written(ID, true)).unwrap();
    assert_eq!(Some(&sent), codecs::asked_by_hickory(&asked.written(ID, true)).as_ref());
    assert_eq!(Some(&sent), codecs::asked_by_domain(&question).as_ref());

    let accepted = asked.is_answered_by(ID, reply, false);
    assert!(!(accepted && asked.is_answered_by(!ID, reply, false)), "two ids");
    if asked.is_answered_by(ID, reply, true) {
        assert!(accepted);
    }
    if !accepted {
        return;
    }
    // The header and the question are right.
    assert_eq!(reply[..2], ID.to_be_bytes());
    assert_eq!(reply[2] & 0xf8, 0x80);
    assert_eq!(reply[4..6], [0, 1]);
    let read = answer::Question::read(reply).unwrap();
    assert_eq!(read.name, request.question.name);
    assert_eq!((read.qtype, read.qclass), (request.question.qtype, request.question.qclass));

    let Ok(reply) = asked.reply(reply) else { return };
    round_trip(&request, &reply, Reader::Hickory);
    let Some(kept) = Kept::of(&request.question, &reply) else { return };
    assert!(kept.lifetime() <= 3600);
    let ttl = 77;
    let again = kept.reply(&request.question.name, ttl).expect("what is kept can be read");
    let kept_records = [&again.answers, &again.authorities, &again.additionals];
    for (kept, got) in kept_records.iter().zip([&reply.answers, &reply.authorities, &reply.additionals]) {
        assert!(kept.iter().all(|record| record.ttl == ttl));
        let mut got = got.clone();
        got.iter_mut().for_each(|record| record.ttl = ttl);
        assert_eq!(codecs::texts(kept), codecs::texts(&got));
    }
    let usual = answer::Asked::read(&question).expect("our own question is a usual one");
    for rotation in [0, 1, 5] {
        let Some(out) = kept.write(&usual, ttl, usize::from(u16::MAX), rotation) else { continue };
        codecs::read_by_domain(&out, false);
        let message = Message::from_vec(&out).unwrap();
        assert_eq!(message.metadata.id, ID);
        assert_eq!(message.metadata.response_code, reply.rcode);
        let answers = |records: &[hickory_proto::rr::Record]| {
            let mut texts = codecs::texts(records);
            texts.sort_unstable();
            texts
        };
        assert_eq!(answers(&message.answers), answers(&again.answers));
        assert_eq!(answers(&message.authorities), answers(&again.authorities));
    }
}
