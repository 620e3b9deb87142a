//! What of a reply belongs to its question. The rest was not asked for, and nobody is to believe it (RFC 5452 6,
//! RFC 2181 5.4.1).
//!
//! * Answers: the records on the way from the name asked for: its own, and those of the names that aliases lead to.
//! * Authority: SOA and NS of the zones that those names are in, and the proofs (NSEC, NSEC3, DS, RRSIG) within them.
//! * Additional: addresses of the names that kept records point to.

use hickory_proto::{
    op::Message,
    rr::{Name, RData, Record, RecordType, rdata},
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::question::Question;

/// The longest way from a name to its records that is followed.
const ALIASES: usize = 32;
/// Names that addresses are kept for.
const TARGETS: usize = 256;

/// Drops what does not belong to the question, and writes the name asked for as the asker did.
pub(super) fn keep_relevant(question: &Question, message: &mut Message) {
    let names = chain(question, &message.answers);
    message.answers.retain(|record| is_on_chain(question, &names, record));
    let above = |zone: &Name| names.iter().any(|name| zone.zone_of(name));
    let mut zones: Vec<Name> = Vec::new();
    for record in message.answers.iter().chain(&message.authorities) {
        let zone = match record.record_type() {
            RecordType::SOA | RecordType::NS => Some(record.name.clone()),
            RecordType::RRSIG => signer(record),
            _ => None,
        };
        zones.extend(zone.filter(|zone| above(zone) && !zones.contains(zone)));
        if zones.len() > ALIASES {
            break;
        }
    }
    message.authorities.retain(|record| match record.record_type() {
        RecordType::SOA | RecordType::NS => above(&record.name),
        RecordType::NSEC | RecordType::NSEC3 | RecordType::DS | RecordType::RRSIG => {
            zones.iter().any(|zone| zone.zone_of(&record.name))
        }
        _ => false,
    });
    let targets: Vec<&Name> =
        message.answers.iter().chain(&message.authorities).filter_map(target).take(TARGETS).collect();
    message.additionals.retain(|record| {
        matches!(record.record_type(), RecordType::A | RecordType::AAAA | RecordType::RRSIG)
            && targets.contains(&&record.name)
    });
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        if record.name == question.name {
            record.name = question.name.clone();
        }
    }
}

/// The names from the one asked for along the aliases.
fn chain(question: &Question, answers: &[Record]) -> Vec<Name> {
    let mut names = vec![question.name.clone()];
    if matches!(question.qtype, RecordType::CNAME | RecordType::ANY) {
        return names;
    }
    for _ in 0..ALIASES {
        let Some(last) = names.last() else { break };
        let next = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(rdata::CNAME(target)) if record.name == *last => Some(target.clone()),
            _ => None,
        });
        match next {
            Some(next) if !names.contains(&next) => names.push(next),
            _ => break,
        }
    }
    names
}

fn is_on_chain(question: &Question, names: &[Name], record: &Record) -> bool {
    if names.contains(&record.name) {
        let kind = record.record_type();
        return kind == question.qtype
            || question.qtype == RecordType::ANY
            || matches!(kind, RecordType::CNAME | RecordType::RRSIG | RecordType::DNAME);
    }
    // A name below a DNAME's owner is an alias too (RFC 6672).
    match record.record_type() {
        RecordType::DNAME => names.iter().any(|name| record.name.zone_of(name)),
        RecordType::RRSIG => covers_dname(record) && names.iter().any(|name| record.name.zone_of(name)),
        _ => false,
    }
}

/// Whether a signature is that of a DNAME.
fn covers_dname(record: &Record) -> bool {
    signature(record).is_some_and(|data| data.starts_with(&u16::from(RecordType::DNAME).to_be_bytes()))
}

/// Where the signer's name begins in a signature (RFC 4034 3.1).
const SIGNER: usize = 18;

/// The zone that a signature is of.
fn signer(record: &Record) -> Option<Name> {
    let data = signature(record)?.get(SIGNER..)?;
    Name::read(&mut BinDecoder::new(data)).ok()
}

fn signature(record: &Record) -> Option<&[u8]> {
    match &record.data {
        RData::Unknown { code: RecordType::RRSIG, rdata } => Some(&rdata.anything),
        _ => None,
    }
}

/// The name that a record sends its reader to for addresses.
fn target(record: &Record) -> Option<&Name> {
    Some(match &record.data {
        RData::NS(rdata::NS(name)) => name,
        RData::MX(mx) => &mx.exchange,
        RData::SRV(srv) => &srv.target,
        RData::SVCB(svcb) | RData::HTTPS(rdata::HTTPS(svcb)) if svcb.target_name.is_root() => &record.name,
        RData::SVCB(svcb) | RData::HTTPS(rdata::HTTPS(svcb)) => &svcb.target_name,
        RData::NAPTR(naptr) => &naptr.replacement,
        _ => return None,
    })
}
