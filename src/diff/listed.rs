//! Names from a file: one a line, with a type if it is not A and AAAA; or lines of a query log.
//!
//! ```text
//!   api.example.com                                 # A and AAAA
//!   _http._tcp.web.shop.svc.cluster.local SRV
//!   [INFO] 10.244.0.7:53210 - 4711 "AAAA IN db.shop.svc.cluster.local. udp 52 false 512" NOERROR qr,aa,rd 145 0.0002s
//! ```
//!
//! The last is what the `log` plugin writes: what clients really ask can be replayed.

use std::collections::HashSet;

use hickory_proto::rr::{Name, RecordType};

use super::questions::{Question, of_name};

/// The questions of a file, none twice.
///
/// # Errors
/// With the number of the line that cannot be read, and what is wrong with it.
pub(crate) fn read(text: &str) -> Result<Vec<Question>, String> {
    let mut known = HashSet::new();
    let mut questions = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let found = read_line(line).map_err(|error| format!("line {}: {error}", at + 1))?;
        questions.extend(found.into_iter().filter(|question| known.insert(question.clone())));
    }
    Ok(questions)
}

/// A name as it is given on the command line or in a file.
pub(crate) fn read_name(text: &str) -> Result<Name, String> {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let read = match labels {
        "" => Ok(Name::root()),
        // As zone files and logs write what is no letter.
        escaped if escaped.contains('\\') => Name::from_ascii(escaped),
        plain => Name::from_labels(plain.split('.').map(str::as_bytes)),
    };
    let mut name = read.map_err(|error| format!("{text}: not a domain name: {error}"))?;
    name.set_fqdn(true);
    Ok(name)
}

fn read_line(line: &str) -> Result<Vec<Question>, String> {
    if let Some(question) = logged(line) {
        return question.map(|question| vec![question]);
    }
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else { return Ok(Vec::new()) };
    let name = read_name(name)?;
    let kind = words.next();
    if let Some(more) = words.next() {
        return Err(format!("{more}: want a name and a type"));
    }
    match kind {
        None => Ok(of_name(&name).into()),
        Some(kind) => Ok(vec![Question { name, kind: read_kind(kind)? }]),
    }
}

fn read_kind(text: &str) -> Result<RecordType, String> {
    let upper = text.to_ascii_uppercase();
    let number = || upper.strip_prefix("TYPE")?.parse::<u16>().ok().map(RecordType::from);
    let kind = upper.parse().ok().or_else(number).ok_or_else(|| format!("{text}: not a type"))?;
    match kind {
        RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG => {
            Err(format!("{text}: is not a question about a name"))
        }
        kind => Ok(kind),
    }
}

/// The question of a line of a query log; `None` where it is no such line.
fn logged(line: &str) -> Option<Result<Question, String>> {
    let quoted = line.split('"').nth(1)?;
    let mut words = quoted.split_whitespace();
    let (kind, class, name) = (words.next()?, words.next()?, words.next()?);
    if class != "IN" {
        return None;
    }
    Some(read_kind(kind).and_then(|kind| Ok(Question { name: read_name(name)?, kind })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_types_comments_and_logs() {
        let text = "\
# what clients ask
api.example.com
db.shop.svc.cluster.local. srv   # ports
[INFO] 10.244.0.7:53210 - 4711 \"AAAA IN db.shop.svc.cluster.local. udp 52 false 512\" NOERROR qr,aa,rd 145 0.0002s

db.shop.svc.cluster.local SRV
x.example TYPE65
_*._tcp.b.example. A
a\\.b.example. A
";
        let read: Vec<String> = read(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            read,
            [
                "api.example.com. A",
                "api.example.com. AAAA",
                "db.shop.svc.cluster.local. SRV",
                "db.shop.svc.cluster.local. AAAA",
                "x.example. HTTPS",
                "_\\*._tcp.b.example. A",
                "a\\.b.example. A",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, wanted) in [
            ("a.example\nb.example WHAT", "line 2: WHAT: not a type"),
            ("a.example A b", "line 1: b: want a name and a type"),
            ("a..example", "line 1: a..example: not a domain name"),
            ("a.example AXFR", "line 1: AXFR: is not a question"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
