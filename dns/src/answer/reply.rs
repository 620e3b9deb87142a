//! Answers of chains: from a zone's RRsets to records, and from records to bytes.

use hickory_proto::{
    op::ResponseCode,
    rr::{self, Name, Record, rdata},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use super::{
    Answered, Transport, UDP_PAYLOAD,
    request::{Edns, Request},
    resolve::Resolved,
    rrset::{RData, RrSet, SOA_TIMES},
    write::{Compress, HEADER, OPT, OPT_LENGTH, Writer, write_within},
};
use crate::plugin::{Quick, Reply, TtlBounds};

/// Writes a zone's answer at once, its TTLs within the block's bounds.
pub fn write_quick(
    question: &Quick<'_>,
    mut resolved: Resolved,
    plugin: &'static str,
    out: &mut Vec<u8>,
) -> Answered {
    bound(&mut resolved, question.bounds);
    let request = question.asked.request();
    out.clear();
    let limit = request.limit_within(question.peer.transport, question.payload);
    write_within(request, &resolved, limit, question.payload, question.rotation, out);
    Answered { plugin, ..request.answered(resolved.rcode, true) }
}

fn bound(resolved: &mut Resolved, bounds: TtlBounds) {
    if bounds == TtlBounds::default() {
        return;
    }
    let (least, most) = if resolved.answer.is_empty() { bounds.negative } else { bounds.positive };
    let sections = [&mut resolved.answer, &mut resolved.authority, &mut resolved.additional];
    for set in sections.into_iter().flatten() {
        set.ttl = set.ttl.max(least).min(most);
    }
}

/// A zone's answer as records.
pub fn to_reply(resolved: Resolved, plugin: &'static str) -> Reply {
    let records = |sets: Vec<RrSet>| sets.iter().flat_map(to_records).collect();
    Reply {
        authoritative: resolved.authoritative,
        answers: records(resolved.answer),
        authorities: records(resolved.authority),
        additionals: records(resolved.additional),
        ..Reply::new(plugin, resolved.rcode)
    }
}

pub(super) fn to_records(set: &RrSet) -> Vec<Record> {
    let record = |data| Record::from_rdata(set.owner.clone(), set.ttl, data);
    match &set.data {
        RData::A(ips) => ips.iter().map(|ip| record(rr::RData::A(rdata::A(*ip)))).collect(),
        RData::Aaaa(ips) => ips.iter().map(|ip| record(rr::RData::AAAA(rdata::AAAA(*ip)))).collect(),
        RData::Cname(name) => vec![record(rr::RData::CNAME(rdata::CNAME(name.clone())))],
        RData::Ptr(names) => {
            names.iter().map(|name| record(rr::RData::PTR(rdata::PTR(name.clone())))).collect()
        }
        RData::Ns(names) => names.iter().map(|name| record(rr::RData::NS(rdata::NS(name.clone())))).collect(),
        RData::Srv(records) => (records.iter())
            .map(|srv| rdata::SRV::new(srv.priority, srv.weight, srv.port, srv.target.clone()))
            .map(|srv| record(rr::RData::SRV(srv)))
            .collect(),
        RData::Soa { mname, rname, serial, minimum } => {
            let [refresh, retry, expire] = SOA_TIMES.map(|time| i32::try_from(time).unwrap_or(i32::MAX));
            let soa =
                rdata::SOA::new(mname.clone(), rname.clone(), *serial, refresh, retry, expire, *minimum);
            vec![record(rr::RData::SOA(soa))]
        }
        RData::Txt(text) => vec![record(rr::RData::TXT(rdata::TXT::from_bytes(vec![text])))],
        RData::Other(kind, all) => {
            let other =
                |data: &[u8]| rr::RData::Unknown { code: *kind, rdata: rdata::NULL::with(data.to_vec()) };
            all.iter().map(|data| record(other(data))).collect()
        }
    }
}

/// Whether a message says that something is missing (TC).
pub fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Writes a chain's answer to `out`, which is cleared first. Records of one name and type that follow one another go in
/// whole or not at all (RFC 2181 9); what is missing of the answer or the authority is said with the TC bit. `payload` is
/// the block's bound on datagrams.
pub fn write_reply(
    request: &Request,
    reply: &Reply,
    transport: Transport,
    payload: u16,
    out: &mut Vec<u8>,
) -> Answered {
    out.clear();
    let rcode = u16::from(reply.rcode);
    let edns = request.edns.filter(|_| reply.rcode != ResponseCode::FormErr);
    let options: usize = reply.options.iter().map(|(_, data)| data.len() + 4).sum();
    let opt = if edns.is_some() { OPT_LENGTH + options } else { 0 };
    let limit = request.limit_within(transport, payload).saturating_sub(opt);
    let mut writer = Writer::new(out, limit, 0);
    if request.has_question {
        writer.name(&request.question.name, Compress::Yes);
        writer.u16(request.question.qtype.into());
        writer.u16(request.question.qclass);
    }
    let (answers, truncated) = section(&mut writer, &reply.answers);
    let (authorities, truncated) =
        if truncated { (0, true) } else { section(&mut writer, &reply.authorities) };
    let (mut additionals, _) = if truncated { (0, true) } else { section(&mut writer, &reply.additionals) };
    if let Some(edns) = edns {
        write_opt(edns, rcode, payload, writer.out);
        let length_at = writer.out.len() - 2;
        if let Some(place) = writer.out.get_mut(length_at..) {
            place.copy_from_slice(&u16::try_from(options).unwrap_or_default().to_be_bytes());
        }
        for (code, data) in reply.options.iter().filter(|_| options <= usize::from(u16::MAX)) {
            writer.u16(*code);
            writer.u16(u16::try_from(data.len()).unwrap_or_default());
            writer.bytes(data);
        }
        additionals += 1;
    }
    let flags = 0x8000
        | u16::from(request.opcode) << 11
        | u16::from(reply.authoritative) << 10
        | u16::from(truncated || reply.truncated) << 9
        | u16::from(reply.recursion_desired.unwrap_or(request.recursion_desired)) << 8
        | u16::from(reply.recursion_available) << 7
        | u16::from(reply.authentic_data) << 5
        | u16::from(request.checking_disabled) << 4
        | rcode & 0xf;
    let words = [request.id, flags, u16::from(request.has_question), answers, authorities, additionals];
    for (place, word) in writer.out.iter_mut().take(HEADER).zip(words.into_iter().flat_map(u16::to_be_bytes))
    {
        *place = word;
    }
    Answered { plugin: reply.plugin, ..request.answered(reply.rcode, reply.from_cluster) }
}

/// Writes our OPT, without options, in answer to this one.
pub(crate) fn write_opt(edns: Edns, rcode: u16, payload: u16, out: &mut Vec<u8>) {
    out.push(0);
    for word in [OPT, UDP_PAYLOAD.min(payload.max(512))] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&[(rcode >> 4) as u8, 0]);
    for word in [if edns.dnssec_ok { 0x8000_u16 } else { 0 }, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Writes records until a set of them does not fit; how many were written, and whether one did not fit.
fn section(writer: &mut Writer<'_>, records: &[Record]) -> (u16, bool) {
    let mut count = 0_u16;
    let same = |a: &Record, b: &Record| a.record_type() == b.record_type() && a.name == b.name;
    for set in records.chunk_by(same) {
        let start = writer.out.len();
        let total = u16::try_from(set.len()).ok().and_then(|more| count.checked_add(more));
        match total {
            Some(total) if set.iter().all(|record| write_record(writer, record)) => count = total,
            _ => {
                writer.cut(start);
                return (count, true);
            }
        }
    }
    (count, false)
}

/// Writes one record; whether it fits.
fn write_record(writer: &mut Writer<'_>, record: &Record) -> bool {
    writer.name(&record.name, Compress::Yes);
    writer.u16(record.record_type().into());
    writer.u16(record.dns_class.into());
    writer.u32(record.ttl);
    let length_at = writer.out.len();
    writer.u16(0);
    let mut name = |name: &Name| writer.name(name, Compress::Yes);
    match &record.data {
        rr::RData::CNAME(rdata::CNAME(target)) => name(target),
        rr::RData::NS(rdata::NS(target)) => name(target),
        rr::RData::PTR(rdata::PTR(target)) => name(target),
        rr::RData::MX(mx) => {
            writer.u16(mx.preference);
            writer.name(&mx.exchange, Compress::Yes);
        }
        rr::RData::SRV(srv) => {
            for number in [srv.priority, srv.weight, srv.port] {
                writer.u16(number);
            }
            // In full (RFC 2782), but pointed to from the addresses behind it.
            writer.name(&srv.target, Compress::No);
        }
        rr::RData::SOA(soa) => {
            name(&soa.mname);
            name(&soa.rname);
            writer.u32(soa.serial);
            for time in [soa.refresh, soa.retry, soa.expire] {
                writer.bytes(&time.to_be_bytes());
            }
            writer.u32(soa.minimum);
        }
        other => {
            // Compression is only for the types of RFC 1035 (RFC 3597 4).
            let mut bytes = Vec::new();
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            if other.emit(&mut encoder).is_err() {
                return false;
            }
            writer.bytes(&bytes);
        }
    }
    if writer.out.len() > writer.limit {
        return false;
    }
    let Ok(length) = u16::try_from(writer.out.len() - length_at - 2) else { return false };
    if let Some(place) = writer.out.get_mut(length_at..length_at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    true
}
