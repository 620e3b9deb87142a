//! Questions and what came back, compared with the recording by its rules.
//!
//! Owner names exactly, names in data without regard to case, sections as sets. Where the recording is not what the RFCs
//! say, a narrow predicate says what is wanted instead; each names the difference it stands for.

use std::collections::{BTreeMap, BTreeSet};

use callsign_dns::{
    Transport, Zone,
    answer::{self, Outcome},
};
use domain::base as second;
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType},
};
use serde_json::Value;

pub(crate) struct Run {
    pub(crate) questions: usize,
    pub(crate) failures: Vec<String>,
}

/// An answer in the form of the recordings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) rcode: String,
    pub(crate) flags: String,
    pub(crate) answer: BTreeSet<String>,
    pub(crate) authority: BTreeSet<String>,
    pub(crate) additional: BTreeSet<String>,
}

/// Asks every recorded question of `recording`, whose cluster is that of `scenario`.
pub(crate) fn all(zone: &Zone, scenario: &Value, recording: &Value) -> Run {
    let recorded: Vec<Recorded> = recording["dns"].as_array().unwrap().iter().map(Recorded::read).collect();
    let context = Context::new(scenario, &recorded);
    let mut failures = Vec::new();
    for question in &recorded {
        let wanted = context.wanted(question);
        let got = ask(zone, &question.name, &question.kind);
        if got != wanted {
            failures.push(format!(
                "{} {}\n    wanted {wanted:?}\n    got    {got:?}",
                question.name, question.kind
            ));
        }
    }
    Run { questions: recorded.len(), failures }
}

// === The recording ===

struct Recorded {
    name: String,
    kind: String,
    reply: Reply,
}

impl Recorded {
    fn read(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap().to_owned();
        let lines = |field: &str| value[field].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let section = |field: &str| lines(field).map(lower_data).collect();
        Self {
            name: text("name"),
            kind: text("type"),
            reply: Reply {
                rcode: text("rcode"),
                flags: text("flags"),
                answer: section("answer"),
                authority: section("authority"),
                additional: section("additional"),
            },
        }
    }
}

/// `owner ttl TYPE data`, the data in lower case.
fn lower_data(line: &str) -> String {
    let mut parts = line.splitn(4, ' ');
    let mut part = || parts.next().unwrap_or_default();
    let (owner, ttl, kind, data) = (part(), part(), part(), part());
    let serial = data.replace("SERIAL", "serial").to_lowercase();
    format!("{owner} {ttl} {kind} {serial}")
}

/// What is known of a recording beside single questions.
struct Context<'a> {
    by_question: BTreeMap<(String, &'a str), &'a Reply>,
    /// Names that the recording shows to exist: something was found at them or below them.
    existing: BTreeSet<String>,
    /// ExternalName Services, by owner name, with the CNAME line that was recorded for the CNAME question.
    aliases: BTreeMap<String, String>,
    ttl: String,
}

impl<'a> Context<'a> {
    fn new(scenario: &Value, recorded: &'a [Recorded]) -> Self {
        let by_question =
            recorded.iter().map(|one| ((one.name.clone(), one.kind.as_str()), &one.reply)).collect();
        let mut existing = BTreeSet::new();
        for one in recorded {
            // A name is shown to exist by a NODATA answer, except to SOA (which CoreDNS gives to every name), and by an
            // answer, except at a pod name with labels before it (difference 3).
            if one.reply.rcode == "NOERROR" && one.kind != "SOA" && !is_below_pod(&one.name) {
                let name = one.name.to_lowercase();
                let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
                existing.extend(starts.map(|at| name[at..].to_owned()));
            }
        }
        let externals: BTreeSet<String> = (scenario["steps"].as_array().unwrap().iter())
            .map(|step| &step[1])
            .filter(|object| object["spec"]["type"] == "ExternalName")
            .map(|object| {
                let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
                format!("{}.{}.svc.", text("name"), text("namespace"))
            })
            .collect();
        let aliases = (recorded.iter())
            .filter(|one| one.kind == "CNAME" && externals.iter().any(|name| one.name.starts_with(name)))
            .filter_map(|one| Some((one.name.to_lowercase(), one.reply.answer.first()?.clone())))
            .collect();
        let ttl = recorded.iter().flat_map(|one| &one.reply.authority).next().unwrap();
        let ttl = ttl.split(' ').nth(1).unwrap().to_owned();
        Self { by_question, existing, aliases, ttl }
    }

    /// What is wanted: the recorded answer, but for the wanted differences.
    fn wanted(&self, question: &Recorded) -> Reply {
        let mut wanted = question.reply.clone();
        let name = question.name.to_lowercase();
        // Not a difference of the zone: the recorder's chain ended without anybody to ask, and said SERVFAIL.
        if !["cluster.local.", "example.org.", "in-addr.arpa.", "ip6.arpa."].iter().any(|z| name.ends_with(z))
            || wanted.rcode == "SERVFAIL"
        {
            wanted.rcode = "REFUSED".into();
            return wanted;
        }
        // Difference 3: nothing is below a pod name.
        if is_below_pod(&name) {
            return self.negative("NXDOMAIN", &question.name);
        }
        // Difference 2: an alias answers its CNAME to every type, and keeps it.
        if let Some(wanted) = self.alias(&name, &question.name, &question.kind) {
            return wanted;
        }
        // Difference 1: what exists is not denied, and what does not is.
        let exists = self.existing.contains(&name);
        if exists && wanted.rcode == "NXDOMAIN" {
            return self.negative("NOERROR", &question.name);
        }
        if !exists && question.kind == "SOA" {
            return self.negative("NXDOMAIN", &question.name);
        }
        wanted
    }

    fn alias(&self, name: &str, owner: &str, kind: &str) -> Option<Reply> {
        let mut next = name.to_owned();
        let mut wanted = Reply {
            rcode: "NOERROR".into(),
            flags: "QR AA RD".into(),
            answer: BTreeSet::new(),
            authority: BTreeSet::new(),
            additional: BTreeSet::new(),
        };
        while let Some(line) = self.aliases.get(&next) {
            let own = if next == name { line.replacen(name, owner, 1) } else { line.clone() };
            if !wanted.answer.insert(own) {
                // A loop leads to nothing.
                let last = if next == name { owner } else { &next };
                wanted.authority = self.negative("NOERROR", last).authority;
                return Some(wanted);
            }
            if matches!(kind, "CNAME" | "ANY") {
                return Some(wanted);
            }
            next = line.rsplit(' ').next().unwrap().to_owned();
        }
        if wanted.answer.is_empty() {
            return None;
        }
        if !next.ends_with("cluster.local.") {
            return Some(wanted);
        }
        let target = self.by_question.get(&(next.clone(), kind)).filter(|reply| !reply.answer.is_empty());
        match target {
            Some(reply) => {
                wanted.answer.extend(reply.answer.iter().cloned());
                wanted.additional.extend(reply.additional.iter().cloned());
            }
            None => wanted.authority = self.negative("NOERROR", &next).authority,
        }
        Some(wanted)
    }

    fn negative(&self, rcode: &str, name: &str) -> Reply {
        let zones = [
            "cluster.local.",
            "example.org.",
            "in-addr.arpa.",
            "ip6.arpa.",
            "96.10.in-addr.arpa.",
            "4.10.in-addr.arpa.",
        ];
        let recorded = self.by_question.values().flat_map(|reply| &reply.authority);
        let known: BTreeSet<String> =
            recorded.map(|line| line.split(' ').next().unwrap().to_lowercase()).collect();
        let zone = (zones.iter())
            .filter(|zone| name.to_lowercase().ends_with(*zone) && known.contains(**zone))
            .max_by_key(|zone| zone.len())
            .unwrap_or_else(|| panic!("{name} is in no recorded zone"));
        let written = &name[name.len() - zone.len()..];
        let ttl = &self.ttl;
        let soa = format!("{written} {ttl} SOA ns.dns.{zone} hostmaster.{zone} serial 7200 1800 86400 {ttl}");
        Reply {
            rcode: rcode.into(),
            flags: "QR AA RD".into(),
            answer: BTreeSet::new(),
            authority: BTreeSet::from([soa]),
            additional: BTreeSet::new(),
        }
    }
}

/// `x.10-0-0-1.namespace.pod.cluster.local.` and longer.
fn is_below_pod(name: &str) -> bool {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    labels.len() > 5 && labels[labels.len() - 3].eq_ignore_ascii_case("pod")
}

// === Asking ===

/// Asks over UDP with EDNS and over TCP, holds the two against each other, and returns the whole answer.
pub(crate) fn ask(zone: &Zone, name: &str, kind: &str) -> Reply {
    let question = question(name, kind);
    let over_udp = exchange(zone, &question, Transport::Udp);
    let over_tcp = exchange(zone, &question, Transport::Tcp);
    let (udp, tcp) = (Message::from_vec(&over_udp).unwrap(), Message::from_vec(&over_tcp).unwrap());
    assert!(over_udp.len() <= 1232, "{name} {kind}: {} bytes over UDP", over_udp.len());
    assert!(!tcp.metadata.truncation, "{name} {kind}: truncated over TCP");
    if udp.metadata.truncation {
        assert!(over_tcp.len() > 1232, "{name} {kind}: truncated without need");
        assert!(whole_sets(&udp.answers, &tcp.answers), "{name} {kind}: part of an RRset over UDP");
    } else {
        assert_eq!(lines(&udp.answers), lines(&tcp.answers), "{name} {kind}");
        assert_eq!(lines(&udp.authorities), lines(&tcp.authorities), "{name} {kind}");
        assert!(whole_sets(&udp.additionals, &tcp.additionals), "{name} {kind}: part of an RRset over UDP");
    }
    reply(&tcp)
}

fn question(name: &str, kind: &str) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // Labels as they are: recorded names have characters that hickory's text form does not take.
    let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
    message.add_query(Query::query(Name::from_labels(labels).unwrap(), record_type(kind)));
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    message.to_vec().unwrap()
}

fn record_type(kind: &str) -> RecordType {
    kind.parse().unwrap_or_else(|_| panic!("the type {kind} is not known"))
}

fn exchange(zone: &Zone, question: &[u8], transport: Transport) -> Vec<u8> {
    let mut out = Vec::new();
    match answer::answer(zone, question, transport, 3, &mut out) {
        Outcome::Answered(_) | Outcome::Alias { .. } => {}
        Outcome::Elsewhere(request) => {
            answer::refuse(&request, hickory_proto::op::ResponseCode::Refused, transport, &mut out);
        }
        Outcome::Silent => panic!("no answer"),
    }
    decode_again(&out);
    out
}

/// Reads every record with a second codec.
pub(crate) fn decode_again(bytes: &[u8]) {
    let message = second::Message::from_octets(bytes).unwrap();
    for record in message.iter() {
        let (record, _) = record.unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
        record.into_any_record::<domain::rdata::AllRecordData<_, _>>().unwrap();
    }
}

fn whole_sets(part: &[Record], whole: &[Record]) -> bool {
    let sets = |records: &[Record]| {
        let mut sets: BTreeMap<(String, RecordType), usize> = BTreeMap::new();
        for record in records {
            *sets.entry((record.name.to_ascii(), record.record_type())).or_default() += 1;
        }
        sets
    };
    let whole = sets(whole);
    sets(part).iter().all(|(set, count)| whole.get(set) == Some(count))
}

fn reply(message: &Message) -> Reply {
    let metadata = &message.metadata;
    let flags = [
        ("QR", metadata.message_type == MessageType::Response),
        ("AA", metadata.authoritative),
        ("TC", metadata.truncation),
        ("RD", metadata.recursion_desired),
        ("RA", metadata.recursion_available),
        ("AD", metadata.authentic_data),
        ("CD", metadata.checking_disabled),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag).collect();
    let edns = message.edns.as_ref().expect("an answer to EDNS has an OPT");
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert!(edns.options().as_ref().is_empty());
    Reply {
        rcode: rcode_text(metadata.response_code),
        flags: flags.join(" "),
        answer: lines(&message.answers),
        authority: lines(&message.authorities),
        additional: lines(&message.additionals),
    }
}

pub(crate) fn rcode_text(rcode: hickory_proto::op::ResponseCode) -> String {
    use hickory_proto::op::ResponseCode as R;
    match rcode {
        R::NoError => "NOERROR",
        R::NXDomain => "NXDOMAIN",
        R::ServFail => "SERVFAIL",
        R::Refused => "REFUSED",
        R::FormErr => "FORMERR",
        R::NotImp => "NOTIMP",
        R::BADVERS | R::BADSIG => "BADVERS",
        other => panic!("unexpected {other:?}"),
    }
    .to_owned()
}

fn lines(records: &[Record]) -> BTreeSet<String> {
    let line = |record: &Record| {
        let data = match &record.data {
            RData::SOA(soa) => {
                format!(
                    "{} {} serial {} {} {} {}",
                    soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
                )
            }
            RData::TXT(txt) => {
                let texts = txt.txt_data.iter().map(|text| format!("{:?}", String::from_utf8_lossy(text)));
                texts.collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        format!("{} {} {} {}", record.name.to_ascii(), record.ttl, record.record_type(), data.to_lowercase())
    };
    let all: BTreeSet<String> = records.iter().map(line).collect();
    assert_eq!(all.len(), records.len(), "a record twice: {all:?}");
    all
}
