//! A request of the usual kind, read where it lies: one question, at most an OPT behind it, and nothing else.
//!
//! That is what stub resolvers send. It is read without an allocation, and what an answer repeats of it (the question, in
//! the letters it was asked in) is copied from the packet. Any other packet is for [`Request`], which reads all there are;
//! a packet that both read says the same to both, which a test holds.

use std::cell::OnceCell;

use hickory_proto::rr::RecordType;

use super::{
    Transport,
    request::{CLASS_IN, Edns, Request, flag, limit, options_are_whole},
    write::{HEADER, OPT, OPT_LENGTH},
};
use crate::folded::Folded;

/// A request for one name, in class IN.
#[derive(Debug)]
pub struct Asked<'a> {
    packet: &'a [u8],
    /// To be repeated in the answer.
    pub id: u16,
    /// Recursion desired: repeated.
    pub recursion_desired: bool,
    /// Authentic data: the client understands the bit in the answer (RFC 6840 5.7).
    pub authentic_data: bool,
    /// Checking disabled: repeated (RFC 4035 3.2.2).
    pub checking_disabled: bool,
    /// The name, as it is compared.
    pub name: Folded,
    /// The type.
    pub qtype: RecordType,
    /// The client's OPT, of version 0.
    pub edns: Option<Edns>,
    /// Where the question ends.
    end: usize,
    /// The same in the form that whoever is not in such a hurry reads.
    request: OnceCell<Request>,
}

/// Type and class of a question.
const TYPE_AND_CLASS: usize = 4;

impl<'a> Asked<'a> {
    /// Reads a request; `None` where it is not of the usual kind.
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        let (header, body) = packet.split_first_chunk::<HEADER>()?;
        let [id_high, id_low, high, low, 0, 1, 0, 0, 0, 0, 0, additionals @ (0 | 1)] = *header else {
            return None;
        };
        let flags = u16::from_be_bytes([high, low]);
        if flags & (flag::RESPONSE | flag::OPCODE) != 0 {
            return None;
        }
        let mut asked = Self {
            packet,
            id: u16::from_be_bytes([id_high, id_low]),
            recursion_desired: flags & flag::RECURSION_DESIRED != 0,
            authentic_data: flags & flag::AUTHENTIC_DATA != 0,
            checking_disabled: flags & flag::CHECKING_DISABLED != 0,
            name: Folded::root(),
            qtype: RecordType::ZERO,
            edns: None,
            end: 0,
            request: OnceCell::new(),
        };
        // In place: it is larger than all the rest.
        if !asked.name.fill(body) {
            return None;
        }
        let name_length = asked.name.wire().len() + 1;
        let rest = body.get(name_length..)?;
        let (&[type_high, type_low, class_high, class_low], rest) =
            rest.split_first_chunk::<TYPE_AND_CLASS>()?;
        asked.qtype = RecordType::from(u16::from_be_bytes([type_high, type_low]));
        if u16::from_be_bytes([class_high, class_low]) != CLASS_IN || asked.qtype == RecordType::IXFR {
            return None;
        }
        asked.end = HEADER + name_length + TYPE_AND_CLASS;
        if additionals == 1 {
            asked.edns = Some(read_opt(rest)?);
        }
        Some(asked)
    }

    /// The question as it stands in the packet: name, type and class.
    pub fn question(&self) -> &'a [u8] {
        self.packet.get(HEADER..self.end).unwrap_or_default()
    }

    /// The length of the packet, bytes.
    pub fn size(&self) -> usize {
        self.packet.len()
    }

    /// The largest answer, where datagrams have this bound besides the client's and ours.
    pub fn limit(&self, transport: Transport, payload: u16) -> usize {
        limit(self.edns, transport, payload)
    }

    /// The request in its general form. It is made when it is asked for, once.
    pub fn request(&self) -> &Request {
        self.request.get_or_init(|| Request::of(self.packet))
    }

    /// The request in its general form.
    pub fn into_request(self) -> Request {
        self.request.into_inner().unwrap_or_else(|| Request::of(self.packet))
    }
}

/// Reads the OPT that a message ends with. What follows it is not ours to judge.
fn read_opt(bytes: &[u8]) -> Option<Edns> {
    let (&[root, kind_high, kind_low, high, low, _, version, flags, _, length_high, length_low], rest) =
        bytes.split_first_chunk::<OPT_LENGTH>()?;
    let options = rest.get(..usize::from(u16::from_be_bytes([length_high, length_low])))?;
    let usual = root == 0
        && u16::from_be_bytes([kind_high, kind_low]) == OPT
        && version == 0
        && options_are_whole(options);
    usual.then_some(Edns {
        payload: u16::from_be_bytes([high, low]),
        version,
        dnssec_ok: flags & 0x80 != 0,
        has_options: !options.is_empty(),
    })
}
