//! What the readings of directives have in common.

use std::time::Duration;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use regex::{Regex, RegexBuilder};

use crate::{
    block::{BlockConfig, key_zones},
    corefile::{Directive, Error, Token},
    folded::Suffix,
    presentation::written,
};

/// The largest program that one pattern may become, bytes. Go has no such bound; ordinary patterns need a hundredth.
const PATTERN: usize = 4 << 20;

/// The directive of a plugin that can stand in a block once.
///
/// # Errors
/// When it stands there again.
pub(crate) fn once<'a>(directives: &[&'a Directive]) -> Result<&'a Directive, Error> {
    match directives {
        [one] => Ok(one),
        [_, second, ..] => Err(second.error("this plugin can only be used once per Server Block")),
        [] => Err(Error::whole("a plugin without a directive")),
    }
}

/// Refuses braces.
///
/// # Errors
/// At the first thing in them.
pub(crate) fn no_body(directive: &Directive) -> Result<(), Error> {
    match directive.body.first() {
        Some(option) => Err(option.unknown()),
        None => Ok(()),
    }
}

/// The zones that words name; the block's where there are none.
///
/// # Errors
/// At a word that is no zone.
pub(crate) fn zones(block: &BlockConfig, words: &[Token]) -> Result<Zones, Error> {
    if words.is_empty() {
        return Ok(Zones(block.zones()));
    }
    named_zones(words)
}

/// The zones of `fallthrough`: all where none is named.
///
/// # Errors
/// At a word that is no zone.
pub(crate) fn fallthrough(option: &Directive) -> Result<Zones, Error> {
    if option.args.is_empty() { Ok(Zones(vec![Name::root()])) } else { named_zones(&option.args) }
}

fn named_zones(words: &[Token]) -> Result<Zones, Error> {
    let mut zones = Vec::new();
    for token in words {
        zones.extend(key_zones(token, &token.text)?);
    }
    Ok(Zones(zones))
}

/// A regular expression. Go's syntax is RE2's, as is this one's.
///
/// # Errors
/// When it is none.
pub(crate) fn pattern(token: &Token) -> Result<Regex, Error> {
    let built = RegexBuilder::new(&token.text).size_limit(PATTERN).build();
    built.map_err(|error| {
        // The library draws the place with several lines; the last one says what is wrong.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        token.error(format!("invalid regex pattern '{}': {reason}", token.text))
    })
}

/// A record's type by its name, in any case, or `TYPE12345` (RFC 3597 5).
pub(crate) fn parse_type(text: &str) -> Option<RecordType> {
    let upper = text.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse::<u16>().ok().map(RecordType::from);
    }
    let number = match upper.as_str() {
        // Types that the codec knows no data of.
        "RP" => 17,
        "AFSDB" => 18,
        "LOC" => 29,
        "KX" => 36,
        "DNAME" => 39,
        "URI" => 256,
        "SPF" => 99,
        "NSEC3PARAM" => 51,
        "EUI48" => 108,
        "EUI64" => 109,
        "MAILB" => 253,
        "MAILA" => 254,
        "NONE" => 0,
        _ => return upper.parse().ok(),
    };
    Some(RecordType::from(number))
}

/// A type as logs and metrics have it: `A`, `TYPE12345`.
pub(crate) fn type_text(qtype: RecordType) -> String {
    let text = qtype.to_string();
    if text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-') && !text.is_empty() {
        text
    } else {
        format!("TYPE{}", u16::from(qtype))
    }
}

/// A class as logs have it: `IN`, `CLASS12`.
pub(crate) fn class_text(class: u16) -> String {
    match class {
        1 => "IN".to_owned(),
        2 => "CS".to_owned(),
        3 => "CH".to_owned(),
        4 => "HS".to_owned(),
        254 => "NONE".to_owned(),
        255 => "ANY".to_owned(),
        other => format!("CLASS{other}"),
    }
}

/// Response codes by their numbers.
const RCODES: [(u16, &str); 19] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

/// The name of a response code, if it has one.
pub(crate) fn rcode_name(rcode: ResponseCode) -> Option<&'static str> {
    let number = u16::from(rcode);
    RCODES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// A response code as logs have it: `NOERROR`, or its number.
pub(crate) fn rcode_text(rcode: ResponseCode) -> String {
    rcode_name(rcode).map_or_else(|| u16::from(rcode).to_string(), str::to_owned)
}

/// A response code by its name in any case.
pub(crate) fn named_rcode(text: &str) -> Option<ResponseCode> {
    let named = RCODES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    named.map(|(number, _)| rcode(*number))
}

/// A response code by its name in any case, or by its number.
pub(crate) fn parse_rcode(text: &str) -> Option<ResponseCode> {
    let numbered = || text.parse::<u16>().ok().filter(|number| *number <= 23).map(rcode);
    named_rcode(text).or_else(numbered)
}

fn rcode(number: u16) -> ResponseCode {
    ResponseCode::from((number >> 4) as u8, (number & 0xf) as u8)
}

/// A name in lower case with the dot at its end, as CoreDNS compares and logs it.
pub(crate) fn name_text(name: &Name) -> String {
    let mut text = written(name);
    text.make_ascii_lowercase();
    text
}

/// A duration as Go writes it: `5m0s`, `1.5s`, `500ms`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{}ms", nanos as f64 / 1e6),
        _ => {
            let total = duration.as_secs();
            let seconds = (total % 60) as f64 + f64::from(duration.subsec_nanos()) / 1e9;
            match (total / 3600, total / 60 % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// A list of zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zones(pub(crate) Vec<Name>);

impl Zones {
    /// Whether a name is in one of them.
    pub(crate) fn have(&self, name: &Name) -> bool {
        self.0.iter().any(|zone| zone.zone_of(name))
    }

    /// The same, to be compared with what is asked.
    pub(crate) fn folded(&self) -> Vec<Suffix> {
        self.0.iter().map(Suffix::of).collect()
    }

    /// The longest that a name is in.
    pub(crate) fn longest(&self, name: &Name) -> Option<&Name> {
        self.0.iter().filter(|zone| zone.zone_of(name)).max_by_key(|zone| zone.num_labels())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (text, millis) in [
            ("5m0s", 300_000),
            ("30s", 30_000),
            ("1.5s", 1500),
            ("500ms", 500),
            ("1h0m0s", 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn response_codes_are_read_and_written() {
        for (text, number) in [("NXDOMAIN", 3), ("refused", 5), ("BADVERS", 16), ("23", 23), ("11", 11)] {
            let rcode = parse_rcode(text).unwrap();
            assert_eq!(u16::from(rcode), number);
            assert_eq!(parse_rcode(&rcode_text(rcode)), Some(rcode));
        }
        assert_eq!(parse_rcode("24"), None);
        assert_eq!(parse_rcode("NOSUCH"), None);
    }

    #[test]
    fn types_are_read_and_written() {
        for text in ["A", "AAAA", "HTTPS", "TYPE65280", "ANY"] {
            assert_eq!(type_text(parse_type(text).unwrap()), text);
        }
        assert_eq!(parse_type("type28"), parse_type("AAAA"));
        assert_eq!(u16::from(parse_type("DNAME").unwrap()), 39);
        assert_eq!(parse_type("NOSUCH"), None);
    }
}
