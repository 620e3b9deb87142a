//! What of a reply belongs to its question. The rest was not asked for, and nobody is to believe it (RFC 5452 6,
//! RFC 2181 5.4.1).
//!
//! * All: records of the class asked for.
//! * Answers: the records on the way from the name asked for: its own, and those of the names that aliases lead to.
//! * Authority: SOA and NS of the zones that those names are in, and the proofs (NSEC, NSEC3, DS, RRSIG) within them.
//! * Additional: addresses of the names that kept records point to.

use std::collections::HashSet;

use hickory_proto::{
    op::Message,
    rr::{Name, RData, Record, RecordType, rdata},
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::question::Question;

/// The longest way from a name to its records that is followed.
const ALIASES: usize = 32;
/// The class that asks for records of all.
const CLASS_ANY: u16 = 255;
/// Names that addresses are kept for.
const TARGETS: usize = 256;

/// Drops what does not belong to the question, and writes the name asked for as the asker did.
pub(super) fn keep_relevant(question: &Question, message: &mut Message) {
    // Records of another class are of another world.
    let same_class =
        |record: &Record| u16::from(record.dns_class) == question.qclass || question.qclass == CLASS_ANY;
    for section in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
        section.retain(same_class);
    }
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
    let targets: HashSet<&Name> =
        message.answers.iter().chain(&message.authorities).filter_map(target).take(TARGETS).collect();
    message.additionals.retain(|record| {
        matches!(record.record_type(), RecordType::A | RecordType::AAAA | RecordType::RRSIG)
            && targets.contains(&record.name)
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

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, ResponseCode};

    use super::*;
    use crate::testing::record;

    /// What is kept of the three sections, as owners and types.
    fn kept(name: &str, qtype: RecordType, sections: [&[&str]; 3]) -> [Vec<String>; 3] {
        let name = Name::from_ascii(name).unwrap();
        let question = Question { qtype, ..Question::probe(name, true) };
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = ResponseCode::NoError;
        let [answers, authorities, additionals] = sections.map(|texts| texts.iter().map(|text| read(text)));
        (message.answers, message.authorities, message.additionals) =
            (answers.collect(), authorities.collect(), additionals.collect());
        keep_relevant(&question, &mut message);
        [message.answers, message.authorities, message.additionals].map(|records| {
            records.iter().map(|record| format!("{} {}", record.name, record.record_type())).collect()
        })
    }

    /// A record; of `RRSIG` the data are a covered type and a signer.
    fn read(text: &str) -> Record {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [owner, _, kind @ ("RRSIG" | "DNAME" | "NSEC"), data @ ..] = words.as_slice() else {
            return record(text);
        };
        let mut bytes = vec![0];
        if let [covered, signer] = data {
            bytes.clear();
            bytes.extend(u16::from(covered.parse::<RecordType>().unwrap()).to_be_bytes());
            bytes.extend([0; SIGNER - 2]);
            for label in &Name::from_ascii(signer).unwrap() {
                bytes.push(label.len() as u8);
                bytes.extend(label);
            }
            bytes.push(0);
        }
        let code = kind.parse().unwrap();
        let data = RData::Unknown { code, rdata: rdata::NULL::with(bytes) };
        Record::from_rdata(Name::from_ascii(owner).unwrap(), 60, data)
    }

    #[test]
    fn records_of_another_class_are_dropped() {
        let asked =
            |qclass| Question { qclass, ..Question::probe(Name::from_ascii("a.test.").unwrap(), true) };
        let mut message = Message::response(1, OpCode::Query);
        let [mut ours, mut theirs] = [record("a.test. 60 NS b.test."), record("a.test. 60 NS c.test.")];
        (ours.dns_class, theirs.dns_class) = (1.into(), 3.into());
        message.answers = vec![ours, theirs.clone()];
        (message.authorities, message.additionals) = (message.answers.clone(), vec![theirs]);
        for (qclass, counts) in [(255, [2, 2, 0]), (1, [1, 1, 0])] {
            keep_relevant(&asked(qclass), &mut message);
            let sections = [&message.answers, &message.authorities, &message.additionals];
            assert_eq!(sections.map(Vec::len), counts, "{qclass}");
        }
    }

    #[test]
    fn answers_are_those_of_the_chain_of_names() {
        let [answers, ..] = kept(
            "www.example.org.",
            RecordType::A,
            [
                &[
                    "bank.example. 60 A 6.6.6.6",
                    "www.example.org. 60 CNAME a.example.net.",
                    "www.example.org. 60 RRSIG CNAME example.org.",
                    "a.example.net. 60 CNAME b.example.net.",
                    "B.example.net. 60 A 192.0.2.1",
                    "b.example.net. 60 AAAA fd00::1",
                    "c.example.net. 60 CNAME d.example.net.",
                    "d.example.net. 60 A 6.6.6.6",
                    "b.example.net. 60 TXT unasked",
                ],
                &[],
                &[],
            ],
        );
        assert_eq!(
            answers,
            ["www.example.org. CNAME", "www.example.org. RRSIG", "a.example.net. CNAME", "B.example.net. A",]
        );
        // Aliases in a circle end.
        let circle: &[&str] = &["a.example. 60 CNAME b.example.", "b.example. 60 CNAME a.example."];
        assert_eq!(kept("a.example.", RecordType::A, [circle, &[], &[]])[0].len(), 2);
        // For the alias itself its target's records were not asked.
        let both: &[&str] = &["a.example. 60 CNAME b.example.", "b.example. 60 A 192.0.2.1"];
        assert_eq!(kept("a.example.", RecordType::CNAME, [both, &[], &[]])[0], ["a.example. CNAME"]);
    }

    #[test]
    fn names_below_a_renamed_zone_keep_the_proof() {
        let answers: &[&str] = &[
            "old.example. 60 DNAME A new.example.",
            "old.example. 60 RRSIG DNAME example.",
            "a.old.example. 60 CNAME a.new.example.",
            "a.new.example. 60 A 192.0.2.1",
            "other.example. 60 DNAME A evil.example.",
        ];
        let [answers, ..] = kept("a.old.example.", RecordType::A, [answers, &[], &[]]);
        assert_eq!(
            answers,
            ["old.example. DNAME", "old.example. RRSIG", "a.old.example. CNAME", "a.new.example. A"]
        );
    }

    #[test]
    fn authority_and_addresses_are_those_of_the_zones_above() {
        let soa = "SOA ns.example. hostmaster.example. 1 7200 1800 86400 60";
        let [_, authorities, additionals] = kept(
            "a.example.org.",
            RecordType::MX,
            [
                &["a.example.org. 60 MX 10 mail.example.net."],
                &[
                    &format!("example.org. 60 {soa}"),
                    &format!("example.com. 60 {soa}"),
                    "org. 60 NS ns.org.",
                    "com. 60 NS ns.evil.example.",
                    "z.example.org. 60 NSEC",
                    "z.example.com. 60 NSEC",
                    "z.example.org. 60 RRSIG NSEC example.org.",
                    "a.example.org. 60 A 6.6.6.6",
                ],
                &[
                    "mail.example.net. 60 A 192.0.2.1",
                    "ns.org. 60 A 192.0.2.2",
                    "bank.example. 60 A 6.6.6.6",
                    "mail.example.net. 60 TXT no",
                ],
            ],
        );
        assert_eq!(
            authorities,
            ["example.org. SOA", "org. NS", "z.example.org. NSEC", "z.example.org. RRSIG"]
        );
        assert_eq!(additionals, ["mail.example.net. A", "ns.org. A"]);
        // A wildcard's proof comes without SOA and NS: the signature says whose it is.
        let [_, authorities, _] = kept(
            "a.example.org.",
            RecordType::A,
            [
                &["a.example.org. 60 A 192.0.2.1", "a.example.org. 60 RRSIG A example.org."],
                &["z.example.org. 60 NSEC", "z.example.com. 60 NSEC"],
                &[],
            ],
        );
        assert_eq!(authorities, ["z.example.org. NSEC"]);
    }
}
