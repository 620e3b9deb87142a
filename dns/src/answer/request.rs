//! Reading a request: as little of it as the answer needs, and nothing that the sender controls without a bound.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::{
    Answered, Transport, UDP_PAYLOAD,
    write::{HEADER, OPT},
};
use crate::work;

/// A request that can be answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// To be repeated in the answer.
    pub id: u16,
    /// The opcode.
    pub opcode: u8,
    /// Recursion desired: repeated.
    pub recursion_desired: bool,
    /// Authentic data: the client understands the bit in the answer (RFC 6840 5.7).
    pub authentic_data: bool,
    /// Checking disabled: repeated (RFC 4035 3.2.2).
    pub checking_disabled: bool,
    /// What is asked. Where it could not be read, the root with type 0, and nothing is repeated.
    pub question: Question,
    /// Whether the question could be read and is repeated.
    pub has_question: bool,
    /// The serial of the SOA in the authority of an IXFR: of what the client has (RFC 1995 3).
    pub serial: Option<u32>,
    /// The client's OPT.
    pub edns: Option<Edns>,
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name, in the case it was asked in.
    pub name: Name,
    /// The type.
    pub qtype: RecordType,
    /// The class.
    pub qclass: u16,
}

/// What matters of a client's OPT (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram it takes.
    pub payload: u16,
    /// The version it speaks.
    pub version: u8,
    /// DNSSEC OK: repeated.
    pub dnssec_ok: bool,
    /// It has options.
    pub has_options: bool,
}

/// Why a request is not read on.
#[derive(Clone, Debug)]
pub enum Unread {
    /// It must not be answered.
    Ignore,
    /// It is answered with this response code.
    Refuse(Request, ResponseCode),
}

/// The Internet's class.
pub const CLASS_IN: u16 = 1;
const TYPE_SOA: u16 = 6;
/// Bytes of a name and of a label (RFC 1035 3.1).
const LONGEST_NAME: usize = 255;
const LONGEST_LABEL: u8 = 63;

/// Flags of the second header word.
pub(super) mod flag {
    pub(in crate::answer) const RESPONSE: u16 = 0x8000;
    pub(in crate::answer) const OPCODE: u16 = 0x7800;
    pub(in crate::answer) const RECURSION_DESIRED: u16 = 0x0100;
    pub(in crate::answer) const AUTHENTIC_DATA: u16 = 0x0020;
    pub(in crate::answer) const CHECKING_DISABLED: u16 = 0x0010;
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// With what to do instead of answering it.
    pub fn read(bytes: &[u8]) -> Result<Self, Unread> {
        let mut words = bytes.chunks_exact(2).map(|word| match word {
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        });
        let mut word = || words.next();
        let (Some(id), Some(flags), Some(questions), Some(answers), Some(authorities), Some(additionals)) =
            (word(), word(), word(), word(), word(), word())
        else {
            return Err(Unread::Ignore);
        };
        if flags & flag::RESPONSE != 0 {
            return Err(Unread::Ignore);
        }
        let mut request = Self::bare(id, flags);
        if request.opcode != 0 {
            return Err(Unread::Refuse(request, ResponseCode::NotImp));
        }
        if questions != 1 {
            return Err(Unread::Refuse(request, ResponseCode::FormErr));
        }
        if bytes.len() == HEADER {
            // A question was announced and nothing came: CoreDNS says SERVFAIL here and FORMERR for half a question.
            return Err(Unread::Refuse(request, ResponseCode::ServFail));
        }
        let mut decoder = BinDecoder::new(bytes);
        let question = decoder.read_slice(HEADER).ok().and_then(|_| Question::take(&mut decoder));
        let Some(question) = question else {
            return Err(Unread::Refuse(request, ResponseCode::FormErr));
        };
        request.question = question;
        request.has_question = true;
        if request.question.qtype == RecordType::IXFR && answers == 0 {
            request.serial = read_serial(&mut decoder.clone(decoder.index() as u16), authorities);
        }
        let before = usize::from(answers) + usize::from(authorities);
        match read_edns(&mut decoder, before, usize::from(additionals)) {
            Ok(edns) => request.edns = edns,
            Err(Malformed) => return Err(Unread::Refuse(request, ResponseCode::FormErr)),
        }
        if request.edns.is_some_and(|edns| edns.version != 0) {
            return Err(Unread::Refuse(request, ResponseCode::BADVERS));
        }
        Ok(request)
    }

    /// The request of a packet that has been found to be one. Of any other as much as could be read.
    pub(super) fn of(packet: &[u8]) -> Self {
        match Self::read(packet) {
            Ok(request) | Err(Unread::Refuse(request, _)) => request,
            Err(Unread::Ignore) => Self::bare(0, 0),
        }
    }

    /// The largest answer.
    pub fn limit(&self, transport: Transport) -> usize {
        limit(self.edns, transport, UDP_PAYLOAD)
    }

    /// The largest answer where datagrams have another bound than ours besides.
    pub fn limit_within(&self, transport: Transport, payload: u16) -> usize {
        limit(self.edns, transport, payload)
    }

    /// The options of the OPT of a request that could be read: code and data.
    pub fn options(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut options = Vec::new();
        let count = |at: usize| {
            let word = bytes.get(at..at + 2).and_then(|word| word.try_into().ok());
            word.map_or(0, |word| usize::from(u16::from_be_bytes(word)))
        };
        let (before, additionals) = (count(6) + count(8), count(10));
        let mut decoder = BinDecoder::new(bytes);
        if decoder.read_slice(HEADER).is_err() || Question::take(&mut decoder).is_none() {
            return options;
        }
        for at in 0..before + additionals {
            let Some(record) = read_record(&mut decoder) else { break };
            let mut data = if record.kind == OPT && at >= before { record.data } else { &[] };
            while let [code_high, code_low, high, low, rest @ ..] = data {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let Some((value, next)) = rest.split_at_checked(length) else { break };
                options.push((u16::from_be_bytes([*code_high, *code_low]), value.to_vec()));
                data = next;
            }
        }
        options
    }

    fn bare(id: u16, flags: u16) -> Self {
        Self {
            id,
            opcode: ((flags & flag::OPCODE) >> 11) as u8,
            recursion_desired: flags & flag::RECURSION_DESIRED != 0,
            authentic_data: flags & flag::AUTHENTIC_DATA != 0,
            checking_disabled: flags & flag::CHECKING_DISABLED != 0,
            question: Question { name: Name::root(), qtype: RecordType::ZERO, qclass: CLASS_IN },
            has_question: false,
            serial: None,
            edns: None,
        }
    }

    pub(super) fn answered(&self, rcode: ResponseCode, from_zone: bool) -> Answered {
        Answered { rcode, qtype: self.has_question.then_some(self.question.qtype), from_zone, plugin: "" }
    }
}

impl Question {
    /// The question of a message, which must have one.
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(message);
        decoder.read_slice(HEADER).ok()?;
        Self::take(&mut decoder)
    }

    fn take(decoder: &mut BinDecoder<'_>) -> Option<Self> {
        let name = Name::read(decoder).ok()?;
        let qtype = RecordType::from(decoder.read_u16().ok()?.unverified());
        let qclass = decoder.read_u16().ok()?.unverified();
        Some(Self { name, qtype, qclass })
    }
}

/// The largest answer to a client with this OPT, where datagrams have a bound besides.
pub(super) fn limit(edns: Option<Edns>, transport: Transport, payload: u16) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.payload.clamp(512, UDP_PAYLOAD)).min(usize::from(payload).max(512))
        }
        (Transport::Udp, None) => 512,
    }
}

struct Malformed;

/// Walks over the records to the OPT. A section that ends early is taken as it is; what is in `before` is not ours to
/// judge.
fn read_edns(
    decoder: &mut BinDecoder<'_>,
    before: usize,
    additionals: usize,
) -> Result<Option<Edns>, Malformed> {
    let mut edns = None;
    for at in 0..before + additionals {
        if decoder.is_empty() {
            break;
        }
        let record = read_record(decoder).ok_or(Malformed)?;
        if record.kind != OPT || at < before {
            continue;
        }
        if edns.is_some() || !record.at_root || !options_are_whole(record.data) {
            return Err(Malformed);
        }
        edns = Some(Edns {
            payload: record.class,
            version: (record.ttl >> 16) as u8,
            dnssec_ok: record.ttl & 0x8000 != 0,
            has_options: !record.data.is_empty(),
        });
    }
    Ok(edns)
}

/// The serial of the first SOA of the authority. It stands 20 bytes before the end, whatever the names before it.
fn read_serial(decoder: &mut BinDecoder<'_>, authorities: u16) -> Option<u32> {
    for _ in 0..authorities {
        let record = read_record(decoder)?;
        if record.kind == TYPE_SOA {
            let at = record.data.len().checked_sub(20)?;
            return record.data.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        }
    }
    None
}

struct RawRecord<'a> {
    at_root: bool,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
}

fn read_record<'a>(decoder: &mut BinDecoder<'a>) -> Option<RawRecord<'a>> {
    work::done(1);
    let at_root = skip_name(decoder)?;
    let kind = decoder.read_u16().ok()?.unverified();
    let class = decoder.read_u16().ok()?.unverified();
    let ttl = decoder.read_u32().ok()?.unverified();
    let length = decoder.read_u16().ok()?.unverified();
    let data = decoder.read_slice(usize::from(length)).ok()?.unverified();
    Some(RawRecord { at_root, kind, class, ttl, data })
}

/// Passes over a record's name; whether it is the root. Pointers are not followed: a chain of thousands may be begun anew
/// by each record. They have to lead backwards.
fn skip_name(decoder: &mut BinDecoder<'_>) -> Option<bool> {
    let (start, mut at_root) = (decoder.index(), true);
    loop {
        work::done(1);
        let at = decoder.index();
        if at - start >= LONGEST_NAME {
            return None;
        }
        match decoder.read_u8().ok()?.unverified() {
            0 => return Some(at_root),
            high @ 0xc0.. => {
                let low = decoder.read_u8().ok()?.unverified();
                return (usize::from(u16::from_be_bytes([high & 0x3f, low])) < at).then_some(false);
            }
            length @ ..=LONGEST_LABEL => decoder.read_slice(usize::from(length)).ok()?.unverified(),
            _ => return None,
        };
        at_root = false;
    }
}

/// Whether a list of options (code, length, that many bytes) ends where its record ends (RFC 6891 6.1.2).
pub(super) fn options_are_whole(mut data: &[u8]) -> bool {
    while let [_, _, high, low, rest @ ..] = data {
        work::done(1);
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(length..) {
            Some(next) => data = next,
            None => return false,
        }
    }
    data.is_empty()
}
