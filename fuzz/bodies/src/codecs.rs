//! The same message, read by two codecs that are not ours: hickory-proto and `domain`.

use std::collections::BTreeMap;

use domain::{
    base::{Message as Other, message::RecordSection, opt::AllOptData},
    rdata::AllRecordData,
};
use hickory_proto::{
    op::Message,
    rr::{Name, Record},
};

/// What matters of a request, as one codec reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The id.
    pub id: u16,
    /// RD, AD and CD.
    pub flags: [bool; 3],
    /// The name in the case it came in, the type and the class.
    pub question: (Vec<u8>, u16, u16),
    /// Payload size (less than 512 is 512: RFC 6891 6.2.3), version, DO and whether there are options.
    pub opt: Option<(u16, u8, bool, bool)>,
}

/// A request as hickory reads it, where it does. It takes no payload size below 512 at its word.
pub fn asked_by_hickory(bytes: &[u8]) -> Option<Asked> {
    let message = Message::from_vec(bytes).ok()?;
    let [query] = message.queries.as_slice() else { return None };
    let metadata = &message.metadata;
    let opt = message.edns.as_ref().map(|edns| {
        let options = !edns.options().as_ref().is_empty();
        (edns.max_payload().max(512), edns.version(), edns.flags().dnssec_ok, options)
    });
    Some(Asked {
        id: metadata.id,
        flags: [metadata.recursion_desired, metadata.authentic_data, metadata.checking_disabled],
        question: (wire(query.name()), query.query_type().into(), query.query_class().into()),
        opt,
    })
}

/// A request as `domain` reads it, where it does to the end.
pub fn asked_by_domain(bytes: &[u8]) -> Option<Asked> {
    let message = Other::from_octets(bytes).ok()?;
    let question = message.sole_question().ok()?;
    for record in message.iter() {
        record.ok()?;
    }
    let header = message.header();
    let mut opt = None;
    if let Some(record) = message.opt() {
        for option in record.opt().iter::<AllOptData<_, _>>() {
            option.ok()?;
        }
        opt = Some((
            record.udp_payload_size().max(512),
            record.version(),
            record.dnssec_ok(),
            !record.opt().is_empty(),
        ));
    }
    let mut name = Vec::new();
    for label in question.qname().iter() {
        name.push(u8::try_from(label.len()).unwrap());
        name.extend_from_slice(label.as_ref());
    }
    Some(Asked {
        id: header.id(),
        flags: [header.rd(), header.ad(), header.cd()],
        question: (name, question.qtype().to_int(), question.qclass().to_int()),
        opt,
    })
}

/// A name as it is on the wire.
pub fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

/// Reads a message of ours to its last byte with both codecs. Gives hickory's reading.
///
/// # Panics
/// When one of them cannot.
pub fn read_by_both(bytes: &[u8]) -> Message {
    read_by_domain(bytes, true);
    read_by_hickory(bytes).unwrap_or_else(|error| panic!("hickory: {error}: {}", bytes.escape_ascii()))
}

/// Hickory's reading.
///
/// # Errors
/// When it cannot.
pub fn read_by_hickory(bytes: &[u8]) -> Result<Message, String> {
    Message::from_vec(bytes).map_err(|error| error.to_string())
}

/// Reads a message to its last byte with `domain`, the data of its records too or not: what others say in theirs is not
/// ours to judge.
///
/// # Panics
/// When it cannot.
pub fn read_by_domain(bytes: &[u8], data: bool) {
    let other = Other::from_octets(bytes).unwrap();
    let counts = other.header_counts();
    let mut records = 0;
    for record in other.iter() {
        let (record, _) = record.unwrap_or_else(|error| panic!("domain: {error}: {}", bytes.escape_ascii()));
        if data {
            record
                .into_any_record::<AllRecordData<_, _>>()
                .unwrap_or_else(|error| panic!("domain, data: {error}: {}", bytes.escape_ascii()));
        }
        records += 1;
    }
    let announced = counts.ancount() + counts.nscount() + counts.arcount();
    assert_eq!(records, announced, "records that are not there");
    let end = other.additional().and_then(section_end).unwrap();
    assert_eq!(end, bytes.len(), "bytes behind the last record");
}

fn section_end(mut section: RecordSection<'_, &[u8]>) -> Result<usize, domain::base::wire::ParseError> {
    for record in section.by_ref() {
        record?;
    }
    Ok(section.pos())
}

/// Records as texts, TTLs and all: hickory's equality leaves TTLs out.
pub fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

/// The records of the three sections, each section in alphabetical order.
pub fn sections(message: &Message) -> [Vec<String>; 3] {
    [&message.answers, &message.authorities, &message.additionals].map(|records| {
        let mut texts = texts(records);
        texts.sort_unstable();
        texts
    })
}

/// How many records there are of each name and type.
pub fn sets(records: &[Record]) -> BTreeMap<(Vec<u8>, u16), usize> {
    let mut sets = BTreeMap::new();
    for record in records {
        let name = wire(&record.name).to_ascii_lowercase();
        *sets.entry((name, u16::from(record.record_type()))).or_default() += 1;
    }
    sets
}
