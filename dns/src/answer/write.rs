//! Writing an answer: header, question, RRsets, OPT.
//!
//! The message is as small as compression can make it (RFC 1035 4.1.4): every name that stands in the message is a
//! target for later ones, as long as a pointer reaches it. Names in SRV records are written in full (RFC 2782) but are
//! pointed to. hickory's encoder gives up compression after 120 names, which a headless Service has at its first question;
//! so the writing is here, and tests hold it against two decoders.
//!
//! RRsets go in whole or not at all. Where the answer section has no room, what is left out is said with the TC bit;
//! glue that has no room is left out silently (RFC 2181 9).

use std::collections::HashMap;

use hickory_proto::rr::Name;
use smallvec::SmallVec;

use super::{
    Transport, UDP_PAYLOAD,
    reply::write_opt,
    request::Request,
    resolve::Resolved,
    rrset::{RData, RrSet, SOA_TIMES},
};
use crate::work;

/// Writes the answer to `out`, which must be empty.
pub fn write(request: &Request, resolved: &Resolved, transport: Transport, rotation: u32, out: &mut Vec<u8>) {
    write_within(request, resolved, request.limit(transport), UDP_PAYLOAD, rotation, out);
}

/// Writes the answer to `out`, which must be empty, in at most so many bytes. Our OPT says `payload`.
pub(super) fn write_within(
    request: &Request,
    resolved: &Resolved,
    limit: usize,
    payload: u16,
    rotation: u32,
    out: &mut Vec<u8>,
) {
    let rcode = u16::from(resolved.rcode);
    // A response code of more than four bits needs an OPT to carry it.
    let edns = request.edns.filter(|_| resolved.rcode != hickory_proto::op::ResponseCode::FormErr);
    let limit = limit.saturating_sub(if edns.is_some() { OPT_LENGTH } else { 0 });
    let mut writer = Writer::new(out, limit, rotation);
    if request.has_question {
        writer.name(&request.question.name, Compress::Yes);
        writer.u16(request.question.qtype.into());
        writer.u16(request.question.qclass);
    }
    let (answers, truncated) = writer.section(&resolved.answer);
    // After a cut nothing follows: what is missing is asked for again over TCP.
    let (authorities, truncated) = if truncated { (0, true) } else { writer.section(&resolved.authority) };
    let (mut additionals, _) = if truncated { (0, true) } else { writer.section(&resolved.additional) };
    if let Some(edns) = edns {
        write_opt(edns, rcode, payload, writer.out);
        additionals += 1;
    }
    let flags = 0x8000
        | u16::from(request.opcode) << 11
        | u16::from(resolved.authoritative) << 10
        | u16::from(truncated) << 9
        | u16::from(request.recursion_desired) << 8
        | u16::from(request.checking_disabled) << 4
        | rcode & 0xf;
    let words = [request.id, flags, u16::from(request.has_question), answers, authorities, additionals];
    for (place, word) in writer.out.chunks_exact_mut(2).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

pub(super) const HEADER: usize = 12;
pub(super) const OPT: u16 = 41;
pub(crate) const OPT_LENGTH: usize = 11;
const CLASS_IN: u16 = 1;
/// The first offset that a pointer does not reach.
const UNREACHED: usize = 0x4000;

pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) limit: usize,
    rotation: u32,
    /// Names that stand in the message, as they are on the wire, and where.
    names: HashMap<SmallVec<[u8; 32]>, u16, foldhash::fast::RandomState>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compress {
    Yes,
    No,
}

impl<'a> Writer<'a> {
    /// A writer of a message's body: behind a header of zeros.
    pub(super) fn new(out: &'a mut Vec<u8>, limit: usize, rotation: u32) -> Self {
        out.extend_from_slice(&[0; HEADER]);
        Self { out, limit, rotation, names: HashMap::default() }
    }

    /// Forgets what was written from here on.
    pub(super) fn cut(&mut self, start: usize) {
        self.out.truncate(start);
        work::done(self.names.len());
        self.names.retain(|_, at| usize::from(*at) < start);
    }

    /// Writes RRsets until one does not fit; how many records were written, and whether one did not fit.
    fn section(&mut self, sets: &[RrSet]) -> (u16, bool) {
        let mut count = 0_u16;
        for set in sets.iter().filter(|set| !set.data.is_empty()) {
            let start = self.out.len();
            let records = u16::try_from(set.data.len()).ok().and_then(|records| count.checked_add(records));
            match records {
                Some(records) if self.set(set) => count = records,
                _ => {
                    self.cut(start);
                    return (count, true);
                }
            }
        }
        (count, false)
    }

    /// Writes one RRset; whether it fits.
    fn set(&mut self, set: &RrSet) -> bool {
        match &set.data {
            RData::A(ips) => self.records(set, turned(ips, self.rotation), |w, ip| w.bytes(&ip.octets())),
            RData::Aaaa(ips) => self.records(set, turned(ips, self.rotation), |w, ip| w.bytes(&ip.octets())),
            RData::Cname(name) => self.records(set, [name], |w, name| w.name(name, Compress::Yes)),
            RData::Ptr(names) | RData::Ns(names) => {
                self.records(set, names, |w, name| w.name(name, Compress::Yes))
            }
            RData::Srv(records) => self.records(set, records, |w, srv| {
                w.u16(srv.priority);
                w.u16(srv.weight);
                w.u16(srv.port);
                w.name(&srv.target, Compress::No);
            }),
            RData::Soa { mname, rname, serial, minimum } => self.records(set, [()], |w, ()| {
                w.name(mname, Compress::Yes);
                w.name(rname, Compress::Yes);
                w.u32(*serial);
                SOA_TIMES.into_iter().for_each(|time| w.u32(time));
                w.u32(*minimum);
            }),
            RData::Txt(text) => self.records(set, [text], |w, text| {
                w.out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                w.bytes(text.get(..usize::from(u8::MAX)).unwrap_or(text));
            }),
            RData::Other(_, records) => self.records(set, records, |w, data| w.bytes(data)),
        }
    }

    fn records<T>(
        &mut self,
        set: &RrSet,
        items: impl IntoIterator<Item = T>,
        mut data: impl FnMut(&mut Self, T),
    ) -> bool {
        for item in items {
            self.name(&set.owner, Compress::Yes);
            self.u16(set.data.record_type().into());
            self.u16(CLASS_IN);
            self.u32(set.ttl);
            let length_at = self.out.len();
            self.u16(0);
            data(self, item);
            if self.out.len() > self.limit {
                return false;
            }
            let length = u16::try_from(self.out.len() - length_at - 2).unwrap_or_default();
            if let Some(place) = self.out.get_mut(length_at..length_at + 2) {
                place.copy_from_slice(&length.to_be_bytes());
            }
        }
        true
    }

    pub(super) fn name(&mut self, name: &Name, compress: Compress) {
        let mut wire: SmallVec<[u8; 128]> = SmallVec::new();
        let mut starts: SmallVec<[usize; 16]> = SmallVec::new();
        for label in name {
            starts.push(wire.len());
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        let base = self.out.len();
        let mut written = wire.len();
        for start in starts {
            work::done(1);
            let suffix = wire.get(start..).unwrap_or_default();
            if let Some(at) = self.names.get(suffix) {
                if compress == Compress::Yes {
                    written = start;
                    self.out.extend_from_slice(wire.get(..written).unwrap_or_default());
                    self.u16(0xc000 | *at);
                    return;
                }
            } else if let Some(at) =
                u16::try_from(base + start).ok().filter(|at| usize::from(*at) < UNREACHED)
            {
                self.names.insert(suffix.into(), at);
            }
        }
        self.out.extend_from_slice(wire.get(..written).unwrap_or_default());
        self.out.push(0);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }
}

/// The items from another one on, round about.
pub(super) fn turned<T>(items: &[T], by: u32) -> impl Iterator<Item = &T> {
    let first = (by as usize).checked_rem(items.len()).unwrap_or_default();
    let (head, tail) = items.split_at_checked(first).unwrap_or((items, &[]));
    tail.iter().chain(head)
}
