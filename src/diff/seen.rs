//! An answer in the form in which two are compared: sections as sets, names without regard to case, no serials.

use std::{collections::BTreeMap, fmt};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use serde::Serialize;

/// What a server said to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `NOERROR`, `NXDOMAIN`, …
    pub(crate) rcode: String,
    /// AA
    pub(crate) authoritative: bool,
    /// RA
    pub(crate) recursion_available: bool,
    /// TC: the server had no room.
    pub(crate) truncated: bool,
    /// Whether it had an OPT.
    pub(crate) edns: bool,
    /// Whether each record of the answer is at the question's name, or where an earlier CNAME leads. Stub resolvers read it
    /// so.
    pub(crate) in_order: bool,
    /// The answer section.
    pub(crate) answer: Section,
    /// The authority section.
    pub(crate) authority: Section,
    /// The additional section, without OPT.
    pub(crate) additional: Section,
}

/// The records of a section, with their TTLs.
pub(crate) type Section = BTreeMap<Line, u32>;

/// A record, without its TTL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Line {
    /// Its name, in lower case, with the dot at its end.
    pub(crate) owner: String,
    /// Its type: `A`, `SRV`, …
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Its data as a zone file has it, with names in lower case; for the serial of a SOA stands SERIAL.
    pub(crate) data: String,
}

impl Seen {
    /// What a message says.
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            rcode: rcode(message.metadata.response_code),
            authoritative: message.metadata.authoritative,
            recursion_available: message.metadata.recursion_available,
            truncated: message.metadata.truncation,
            edns: message.edns.is_some(),
            in_order: in_order(message),
            answer: section(&message.answers),
            authority: section(&message.authorities),
            additional: section(&message.additionals),
        }
    }

    /// NOERROR without an answer.
    pub(crate) fn is_nodata(&self) -> bool {
        self.rcode == "NOERROR" && self.answer.is_empty()
    }

    /// NOERROR with an answer.
    pub(crate) fn is_answer(&self) -> bool {
        self.rcode == "NOERROR" && !self.answer.is_empty()
    }

    /// NXDOMAIN without an answer.
    pub(crate) fn is_denial(&self) -> bool {
        self.rcode == "NXDOMAIN" && self.answer.is_empty()
    }

    /// The flags that are set, by their mnemonics.
    pub(crate) fn flags(&self) -> String {
        let set = [(self.authoritative, "AA"), (self.truncated, "TC"), (self.recursion_available, "RA")];
        let set: Vec<&str> = set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect();
        set.join(" ")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.owner, self.kind, self.data)
    }
}

fn section(records: &[Record]) -> Section {
    let lines = records.iter().filter(|record| record.record_type() != RecordType::OPT);
    lines.map(|record| (line(record), record.ttl)).collect()
}

fn line(record: &Record) -> Line {
    let data = match &record.data {
        RData::SOA(soa) => {
            let names = format!("{} {}", soa.mname, soa.rname).to_lowercase();
            format!("{names} SERIAL {} {} {} {}", soa.refresh, soa.retry, soa.expire, soa.minimum)
        }
        data @ (RData::CNAME(_) | RData::NS(_) | RData::PTR(_) | RData::SRV(_) | RData::MX(_)) => {
            data.to_string().to_lowercase()
        }
        data => data.to_string(),
    };
    Line { owner: record.name.to_string().to_lowercase(), kind: record.record_type().to_string(), data }
}

fn in_order(message: &Message) -> bool {
    let Some(asked) = message.queries.first() else { return true };
    let mut reached = vec![asked.name()];
    message.answers.iter().all(|record| {
        let known = reached.contains(&&record.name);
        if let RData::CNAME(target) = &record.data {
            reached.push(&target.0);
        }
        known
    })
}

fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::BADVERS => "BADVERS".to_owned(),
        other => format!("RCODE{}", u16::from(other)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hickory_proto::{
        op::{Edns, MessageType, OpCode, Query},
        rr::{Name, rdata},
    };

    use super::*;

    /// An answer with these records, `owner ttl TYPE data`, in the answer section.
    pub(in crate::diff) fn seen(rcode: &str, answer: &[&str]) -> Seen {
        Seen {
            rcode: rcode.to_owned(),
            authoritative: true,
            edns: true,
            in_order: true,
            answer: answer.iter().map(|text| read(text)).collect(),
            ..Seen::default()
        }
    }

    /// The same with a SOA of the zone in its authority section.
    pub(in crate::diff) fn negative(rcode: &str) -> Seen {
        let soa =
            "cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. SERIAL 7200 1800 86400 30";
        Seen { authority: Section::from([read(soa)]), ..seen(rcode, &[]) }
    }

    /// `owner ttl TYPE data`
    pub(in crate::diff) fn read(text: &str) -> (Line, u32) {
        let mut parts = text.splitn(4, ' ').map(str::to_owned);
        let mut part = || parts.next().unwrap();
        let (owner, ttl, kind, data) = (part(), part(), part(), part());
        (Line { owner, kind, data }, ttl.parse().unwrap())
    }

    #[test]
    fn what_does_not_matter_is_gone() {
        let name: Name = "Web.N.svc.cluster.local.".parse().unwrap();
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name.clone(), RecordType::A));
        message.metadata.authoritative = true;
        let target: Name = "B.example.".parse().unwrap();
        let address =
            |name: &Name, last| Record::from_rdata(name.clone(), 30, RData::A(rdata::A::new(10, 0, 0, last)));
        message.add_answer(Record::from_rdata(name, 30, RData::CNAME(rdata::CNAME(target.clone()))));
        message.add_answer(address(&target, 2));
        message.add_answer(address(&target, 1));
        let soa = rdata::SOA::new(target.clone(), target.clone(), 7, 1, 2, 3, 4);
        message.add_authority(Record::from_rdata(target, 5, RData::SOA(soa)));
        message.set_edns(Edns::new());
        let read_back = Message::from_vec(&message.to_vec().unwrap()).unwrap();
        let seen = Seen::of(&read_back);
        let lines: Vec<String> = seen.answer.keys().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["b.example. A 10.0.0.1", "b.example. A 10.0.0.2", "web.n.svc.cluster.local. CNAME b.example."]
        );
        assert_eq!(
            seen.authority,
            Section::from([read("b.example. 5 SOA b.example. b.example. SERIAL 1 2 3 4")])
        );
        assert!(seen.edns && seen.in_order && seen.is_answer() && seen.additional.is_empty());
        assert_eq!((seen.rcode.as_str(), seen.flags().as_str()), ("NOERROR", "AA"));
        message.answers.swap(0, 1);
        assert!(!Seen::of(&message).in_order, "an address before the name that leads to it");
    }
}
