//! The line of an answer (`coredns` `plugin/pkg/replacer`).

use std::{fmt::Write, net::IpAddr, time::Instant};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, Record},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use crate::{
    answer::{Question, Request, Transport},
    plugin::{Label, Reply},
    plugins::reading::{class_text, name_text, rcode_text, type_text},
    server::Peer,
};

/// The common log format, which is the one where none is written.
const COMMON: &str = r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}"#;
/// What stands for a value that there is none of.
const EMPTY: &str = "-";

/// A format, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
    /// `{/plugin/label}`
    Metadata(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Type,
    Name,
    Class,
    Protocol,
    Remote,
    Local,
    Port,
    Size,
    Rcode,
    ReplySize,
    Duration,
    Flags,
    Id,
    Opcode,
    DnssecOk,
    Payload,
    /// `{>…}` that is none of them.
    Nothing,
}

/// The question of a line.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) question: &'a Question,
    pub(super) peer: &'a Peer,
    pub(super) size: usize,
    pub(super) started: Instant,
    pub(super) metadata: &'a [(Label, String)],
}

/// What a line says of an answer.
pub(super) struct Answer {
    /// None where nothing is sent.
    rcode: Option<ResponseCode>,
    flags: String,
    size: usize,
}

impl Format {
    /// Takes a format apart. Braces around other words stay as they are.
    pub(super) fn read(text: Option<&str>) -> Self {
        let combined = format!("{COMMON} \"{{>opcode}}\"");
        let text = text.unwrap_or(COMMON).replace("{common}", COMMON).replace("{combined}", &combined);
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            let part = after.split_once('}').and_then(|(word, after)| Some((Part::read(word)?, after)));
            match part {
                Some((part, after)) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                    rest = after;
                }
                None => {
                    literal.push('{');
                    rest = after;
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Self(parts)
    }

    /// Whether it says what plugins know.
    pub(super) fn has_metadata(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Metadata(_)))
    }

    /// Logs an answer.
    pub(super) fn log(&self, asked: &Asked<'_>, answer: &Answer) {
        if tracing::enabled!(target: "plugin/log", tracing::Level::INFO) {
            tracing::info!(target: "plugin/log", "{}", self.line(asked, answer));
        }
    }

    /// The line of an answer.
    fn line(&self, asked: &Asked<'_>, answer: &Answer) -> String {
        let mut line = String::with_capacity(160);
        for part in &self.0 {
            let start = line.len();
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(field) => field.write(asked, answer, &mut line),
                Part::Metadata(label) => {
                    let known = asked.metadata.iter().find(|(known, _)| known == label);
                    line.push_str(known.map_or("", |(_, value)| value));
                }
            }
            if line.len() == start {
                line.push_str(EMPTY);
            }
        }
        line
    }
}

impl Part {
    fn read(word: &str) -> Option<Self> {
        if let Some(label) = word.strip_prefix('/') {
            return Some(Self::Metadata(label.to_owned()));
        }
        let field = match word {
            "type" => Field::Type,
            "name" => Field::Name,
            "class" => Field::Class,
            "proto" => Field::Protocol,
            "remote" => Field::Remote,
            "local" => Field::Local,
            "port" => Field::Port,
            "size" => Field::Size,
            "rcode" => Field::Rcode,
            "rsize" => Field::ReplySize,
            "duration" => Field::Duration,
            _ => match word.strip_prefix('>')?.to_ascii_lowercase().as_str() {
                "rflags" => Field::Flags,
                "id" => Field::Id,
                "opcode" => Field::Opcode,
                "do" => Field::DnssecOk,
                "bufsize" => Field::Payload,
                _ => Field::Nothing,
            },
        };
        Some(Self::Field(field))
    }
}

impl Field {
    fn write(self, asked: &Asked<'_>, answer: &Answer, line: &mut String) {
        let edns = asked.request.edns;
        let tcp = asked.peer.transport == Transport::Tcp;
        // Writing to a string does not fail.
        let _ = match self {
            Self::Type => write!(line, "{}", type_text(asked.question.qtype)),
            Self::Name => write!(line, "{}", name_text(&asked.question.name)),
            Self::Class => write!(line, "{}", class_text(asked.question.qclass)),
            Self::Protocol => write!(line, "{}", if tcp { "tcp" } else { "udp" }),
            Self::Remote => address(line, asked.peer.address.ip()),
            Self::Local => address(line, asked.peer.local.ip()),
            Self::Port => write!(line, "{}", asked.peer.address.port()),
            Self::Size => write!(line, "{}", asked.size),
            Self::Rcode => answer.rcode.map_or(Ok(()), |rcode| write!(line, "{}", rcode_text(rcode))),
            Self::ReplySize => write!(line, "{}", answer.size),
            Self::Duration => write!(line, "{}s", asked.started.elapsed().as_secs_f64()),
            Self::Flags => write!(line, "{}", answer.flags),
            Self::Id => write!(line, "{}", asked.request.id),
            Self::Opcode => write!(line, "{}", asked.request.opcode),
            Self::DnssecOk => write!(line, "{}", edns.is_some_and(|edns| edns.dnssec_ok)),
            Self::Payload if tcp => write!(line, "{}", u16::MAX),
            Self::Payload => write!(line, "{}", edns.map_or(512, |edns| edns.payload.max(512))),
            Self::Nothing => Ok(()),
        };
    }
}

/// Writes an address, one of IPv6 in brackets (RFC 3986).
fn address(line: &mut String, ip: IpAddr) -> std::fmt::Result {
    match ip.to_canonical() {
        IpAddr::V4(ip) => write!(line, "{ip}"),
        IpAddr::V6(ip) => write!(line, "[{ip}]"),
    }
}

impl Answer {
    /// What there is to say of a chain's answer.
    pub(super) fn of_reply(reply: &Reply, request: &Request) -> Self {
        if reply.silent {
            return Self { rcode: None, flags: String::new(), size: 0 };
        }
        let sections = [&reply.answers, &reply.authorities, &reply.additionals];
        let transfer = reply.transfer.iter();
        let flags = [
            (true, "qr"),
            (reply.authoritative, "aa"),
            (reply.truncated, "tc"),
            (reply.recursion_desired.unwrap_or(request.recursion_desired), "rd"),
            (reply.recursion_available, "ra"),
            (reply.authentic_data, "ad"),
            (request.checking_disabled, "cd"),
        ];
        Self {
            rcode: Some(reply.rcode),
            flags: join(flags),
            size: size(request, sections.into_iter().chain(transfer)),
        }
    }

    /// What there is to say of an answer on the wire.
    pub(super) fn of_message(message: &Message, request: &Request) -> Self {
        let sections = [&message.answers, &message.authorities, &message.additionals];
        let header = &message.metadata;
        let flags = [
            (true, "qr"),
            (header.authoritative, "aa"),
            (header.truncation, "tc"),
            (header.recursion_desired, "rd"),
            (header.recursion_available, "ra"),
            (header.authentic_data, "ad"),
            (header.checking_disabled, "cd"),
        ];
        Self {
            rcode: Some(header.response_code),
            flags: join(flags),
            size: size(request, sections.into_iter()),
        }
    }
}

fn join(flags: [(bool, &str); 7]) -> String {
    let set: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    set.join(",")
}

/// The length of an answer without compression and without OPT, which is the server's.
fn size<'a>(request: &Request, sections: impl Iterator<Item = &'a Vec<Record>>) -> usize {
    let question = if request.has_question { name_length(&request.question.name) + 4 } else { 0 };
    let records: usize =
        sections.flatten().map(|record| name_length(&record.name) + 10 + data_length(record)).sum();
    12 + question + records
}

fn name_length(name: &Name) -> usize {
    1 + name.iter().map(|label| label.len() + 1).sum::<usize>()
}

fn data_length(record: &Record) -> usize {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    match record.data.emit(&mut encoder) {
        Ok(()) => bytes.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_taken_apart() {
        let parts = |text| Format::read(Some(text)).0;
        assert_eq!(parts("{type}"), [Part::Field(Field::Type)]);
        assert_eq!(
            parts("a {x} {>ID}{/kubernetes/endpoint} {"),
            [
                Part::Text("a {x} ".to_owned()),
                Part::Field(Field::Id),
                Part::Metadata("kubernetes/endpoint".to_owned()),
                Part::Text(" {".to_owned()),
            ]
        );
        assert_eq!(Format::read(None), Format::read(Some("{common}")));
        assert_eq!(parts("{combined}").last(), Some(&Part::Text("\"".to_owned())));
        assert_eq!(parts("{{name}"), [Part::Text("{".to_owned()), Part::Field(Field::Name)]);
    }
}
