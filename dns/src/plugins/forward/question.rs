//! A question as it goes to an upstream, and what counts as its answer.

use hickory_proto::rr::{Name, RecordType};

use crate::{
    answer::{self, Request, UDP_PAYLOAD},
    plugin::Query,
};

/// What is asked of an upstream. Equal ones have equal answers, so they are asked once at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The name, in the asker's case.
    pub(super) name: Name,
    pub(super) qtype: RecordType,
    pub(super) qclass: u16,
    /// RD, AD and CD, where they stand in the header.
    pub(super) flags: u16,
    pub(super) dnssec_ok: bool,
    /// Options of the client's OPT that are for whoever answers, not for the next hop.
    pub(super) options: Vec<(u16, Vec<u8>)>,
}

/// Options between two neighbours: cookies (RFC 7873), the keeping of connections (RFC 7828), padding (RFC 7830).
const HOP_BY_HOP: [u16; 3] = [10, 11, 12];

const HEADER: usize = 12;
const TYPE_OPT: u16 = 41;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const AUTHENTIC_DATA: u16 = 0x0020;
const CHECKING_DISABLED: u16 = 0x0010;
const RCODE: u16 = 0x000f;

impl Question {
    /// What a query asks.
    pub(super) fn of(query: &Query) -> Self {
        Self::new(&query.question, &query.request, &query.options)
    }

    /// What is asked with the flags and options of a client's request.
    pub(super) fn new(asked: &answer::Question, request: &Request, options: &[(u16, Vec<u8>)]) -> Self {
        let mut flags = 0;
        for (set, flag) in [
            (request.recursion_desired, RECURSION_DESIRED),
            (request.authentic_data, AUTHENTIC_DATA),
            (request.checking_disabled, CHECKING_DISABLED),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let options = options.iter().filter(|(code, _)| !HOP_BY_HOP.contains(code));
        Self {
            name: asked.name.clone(),
            qtype: asked.qtype,
            qclass: asked.qclass,
            flags,
            dnssec_ok: request.edns.is_some_and(|edns| edns.dnssec_ok),
            options: options.cloned().collect(),
        }
    }

    /// The bare question of a health check.
    pub(super) fn probe(name: Name, recursion_desired: bool) -> Self {
        let flags = if recursion_desired { RECURSION_DESIRED } else { 0 };
        Self {
            name,
            qtype: RecordType::NS,
            qclass: answer::CLASS_IN,
            flags,
            dnssec_ok: false,
            options: Vec::new(),
        }
    }

    /// The message, with or without an OPT, behind two bytes for its length.
    pub(super) fn write(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut out = vec![0, 0];
        for word in [id, self.flags, 1, 0, 0, u16::from(edns)] {
            out.extend(word.to_be_bytes());
        }
        for label in &self.name {
            // Labels have at most 63 bytes.
            out.push(label.len() as u8);
            out.extend_from_slice(label);
        }
        out.push(0);
        out.extend(u16::from(self.qtype).to_be_bytes());
        out.extend(self.qclass.to_be_bytes());
        if edns {
            out.push(0);
            for word in [TYPE_OPT, UDP_PAYLOAD, 0, if self.dnssec_ok { 0x8000 } else { 0 }] {
                out.extend(word.to_be_bytes());
            }
            let length_at = out.len();
            out.extend([0, 0]);
            for (code, data) in &self.options {
                // They came in a request, which is no longer than this.
                let length = u16::try_from(data.len()).unwrap_or_default();
                out.extend(code.to_be_bytes());
                out.extend(length.to_be_bytes());
                out.extend(data.iter().take(usize::from(length)));
            }
            set_length(&mut out, length_at);
        }
        set_length(&mut out, 0);
        out
    }

    /// Whether `reply` is the bare header of a server that could not read an OPT, nor then the question: it answers none,
    /// and says no more than that the OPT is to be left out (RFC 6891 7).
    pub(super) fn is_misread_by(&self, id: u16, reply: &[u8]) -> bool {
        Header::read(reply).is_some_and(|header| {
            header.id == id
                && header.flags & (RESPONSE | OPCODE) == RESPONSE
                && header.questions == 0
                && reply.len() == HEADER
                && header.knows_no_edns()
        })
    }

    /// Whether `reply` answers this question with this id (RFC 5452 9.1).
    pub(super) fn is_answered_by(&self, id: u16, reply: &[u8], case: Case) -> bool {
        let Some(header) = Header::read(reply) else { return false };
        if header.id != id
            || header.flags & RESPONSE == 0
            || header.flags & OPCODE != 0
            || header.questions != 1
        {
            return false;
        }
        let Some(read) = answer::Question::read(reply) else { return false };
        let same_name = match case {
            Case::Any => read.name == self.name,
            Case::Same => read.name.eq_case(&self.name),
        };
        same_name && read.qtype == self.qtype && read.qclass == self.qclass
    }
}

/// Whether the case of letters in a reply's question counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Any,
    Same,
}

/// Says at `at` how many bytes follow that place.
fn set_length(out: &mut [u8], at: usize) {
    let length = u16::try_from(out.len().saturating_sub(at + 2)).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// What matters of a reply's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    additionals: u16,
}

impl Header {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let header = Self { id: word(0)?, flags: word(2)?, questions: word(4)?, additionals: word(10)? };
        (message.len() >= HEADER).then_some(header)
    }

    pub(super) fn is_truncated(self) -> bool {
        self.flags & TRUNCATED != 0
    }

    /// Whether it is the reply of a server that knows no OPT: FORMERR or NOTIMP without one (RFC 6891 7).
    pub(super) fn knows_no_edns(self) -> bool {
        matches!(self.flags & RCODE, 1 | 4) && self.additionals == 0
    }
}
