//! Reading requests and writing answers, held against two other codecs.

use callsign_dns::{
    Transport,
    answer::{self, Request, Unread, write_reply},
    folded::Folded,
    plugin::Reply,
    work,
};
use hickory_proto::op::{Message, ResponseCode};

use crate::codecs::{self, Asked};

/// Any bytes as a request.
///
/// # Panics
/// When a property does not hold.
pub fn run(input: &[u8]) {
    usual(input);
    work::take();
    let read = Request::read(input);
    let steps = work::take();
    assert!(steps <= 2 * input.len() + 16, "{steps} steps for {} bytes", input.len());
    match read {
        Ok(request) => {
            let ours = asked(&request);
            for theirs in
                [codecs::asked_by_hickory(input), codecs::asked_by_domain(input)].into_iter().flatten()
            {
                assert_eq!(ours, theirs);
            }
            assert!(request.opcode == 0 && request.has_question);
            let options = Request::options(input);
            assert_eq!(request.edns.is_some_and(|edns| edns.has_options), !options.is_empty());
            written(&request, input);
        }
        Err(Unread::Ignore) => assert!(input.len() < 12 || input[2] & 0x80 != 0),
        Err(Unread::Refuse(request, rcode)) => {
            assert_ne!(rcode, ResponseCode::NoError);
            for transport in [Transport::Udp, Transport::Tcp] {
                refused(&request, rcode, transport);
            }
        }
    }
}

/// A request of the usual kind is read where it lies, and says the same.
fn usual(input: &[u8]) {
    let Some(usual) = answer::Asked::read(input) else { return };
    let Ok(request) = Request::read(input) else { panic!("a request to one reader alone") };
    assert_eq!(format!("{:?}", usual.request()), format!("{request:?}"));
    let question = &request.question;
    assert_eq!((usual.id, usual.qtype, usual.edns), (request.id, question.qtype, request.edns));
    assert_eq!(
        [usual.recursion_desired, usual.authentic_data, usual.checking_disabled],
        [request.recursion_desired, request.authentic_data, request.checking_disabled],
    );
    assert_eq!((question.qclass, request.serial), (answer::CLASS_IN, None));
    let mut name = codecs::wire(&question.name);
    let fixed = [u16::from(question.qtype).to_be_bytes(), question.qclass.to_be_bytes()].concat();
    assert_eq!(usual.question(), [name.as_slice(), &fixed].concat());
    assert_eq!(usual.size(), input.len());
    // Without the root, in lower case.
    name.pop();
    assert_eq!(usual.name.wire(), name.to_ascii_lowercase());
    assert_eq!(usual.name.labels(), question.name.iter().count());
    assert_eq!(usual.name.wire(), Folded::of(&question.name).wire());
    for transport in [Transport::Udp, Transport::Tcp] {
        for payload in [0, 512, 900, 1232, u16::MAX] {
            assert_eq!(usual.limit(transport, payload), request.limit_within(transport, payload));
        }
    }
    assert_eq!(format!("{:?}", usual.into_request()), format!("{request:?}"));
}

fn asked(request: &Request) -> Asked {
    let question = &request.question;
    Asked {
        id: request.id,
        flags: [request.recursion_desired, request.authentic_data, request.checking_disabled],
        question: (codecs::wire(&question.name), question.qtype.into(), question.qclass),
        opt: request.edns.map(|edns| (edns.payload.max(512), edns.version, edns.dnssec_ok, edns.has_options)),
    }
}

/// A refusal is a message that repeats what it can.
fn refused(request: &Request, rcode: ResponseCode, transport: Transport) {
    let mut out = Vec::new();
    answer::refuse(request, rcode, transport, &mut out);
    assert!(out.len() <= 512);
    let message = codecs::read_by_both(&out);
    assert_eq!(message.metadata.id, request.id);
    assert_eq!(message.queries.len(), usize::from(request.has_question));
    assert_eq!(message.metadata.response_code.low(), rcode.low());
    assert!(message.answers.is_empty() && message.authorities.is_empty() && message.additionals.is_empty());
}

/// What a request's records become when they are sent back as an answer: any records there can be.
fn written(request: &Request, input: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        refused(request, ResponseCode::Refused, transport);
    }
    let Ok(message) = Message::from_vec(input) else { return };
    let reply = Reply {
        authoritative: true,
        answers: message.answers,
        authorities: message.authorities,
        additionals: message.additionals,
        ..Reply::new("fuzz", ResponseCode::NoError)
    };
    round_trip(request, &reply, Reader::Hickory);
}

/// The codec that knows all of a reply's records, because they came out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Hickory; to `domain` data may make no sense.
    Hickory,
    /// `domain`; hickory may not know all types.
    Domain,
}

/// An answer can be read as it was meant: all of it over TCP, whole sets of it over UDP.
///
/// # Panics
/// When it cannot.
pub fn round_trip(request: &Request, reply: &Reply, reader: Reader) {
    let records = [&reply.answers, &reply.authorities, &reply.additionals];
    let mut out = Vec::new();
    write_reply(request, reply, Transport::Tcp, u16::MAX, &mut out);
    assert!(out.len() <= usize::from(u16::MAX));
    let Some(whole) = reader.read(&out) else { return };
    let read = [&whole.answers, &whole.authorities, &whole.additionals];
    if !whole.metadata.truncation {
        for (read, records) in read.iter().zip(&records) {
            assert_eq!(codecs::texts(read), codecs::texts(records));
        }
        // Written again it is the same: there is one way to write a message.
        let again = Reply {
            answers: whole.answers.clone(),
            authorities: whole.authorities.clone(),
            additionals: whole.additionals.clone(),
            ..reply.clone()
        };
        let mut second = Vec::new();
        write_reply(request, &again, Transport::Tcp, u16::MAX, &mut second);
        assert_eq!(out, second);
    }
    let mut out = Vec::new();
    write_reply(request, reply, Transport::Udp, answer::UDP_PAYLOAD, &mut out);
    let limit = request.edns.map_or(512, |edns| edns.payload.clamp(512, answer::UDP_PAYLOAD));
    assert!(out.len() <= usize::from(limit), "{} of {limit} bytes", out.len());
    let Some(part) = reader.read(&out) else { return };
    let read = [&part.answers, &part.authorities, &part.additionals];
    for (read, records) in read.iter().zip(&records) {
        // What there is of a section is its beginning.
        assert_eq!(codecs::texts(read), codecs::texts(&records[..read.len()]));
    }
    let all = read.iter().zip(&records).take(2).all(|(read, records)| read.len() == records.len());
    assert_eq!(part.metadata.truncation, !all || reply.truncated);
}

impl Reader {
    fn read(self, bytes: &[u8]) -> Option<Message> {
        codecs::read_by_domain(bytes, self == Self::Domain);
        match codecs::read_by_hickory(bytes) {
            Ok(message) => Some(message),
            Err(_) if self == Self::Domain => None,
            Err(error) => panic!("hickory: {error}: {}", bytes.escape_ascii()),
        }
    }
}
