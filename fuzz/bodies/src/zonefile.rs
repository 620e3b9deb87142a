//! Any text as a zone file: records, or what is wrong and where.
//!
//! Lines `=== NAME` begin further files, for `$INCLUDE`.

use std::collections::BTreeMap;

use callsign_dns::{
    answer::{Request, Unread},
    plugin::Reply,
    plugins::file::exposed,
};
use hickory_proto::{op::ResponseCode, rr::Name};

use crate::packet::{Reader, round_trip};

/// Any bytes as a zone's file and those that it includes.
///
/// # Panics
/// When a property does not hold.
pub fn run(input: &[u8]) {
    // A million records may be generated, which is bounded and takes long.
    let digits = |text: &[u8]| text.windows(5).any(|five| five.iter().all(u8::is_ascii_digit));
    let text = String::from_utf8_lossy(input);
    if text.to_ascii_uppercase().contains("$GENERATE") && digits(input) {
        return;
    }
    let mut parts = text.split("\n=== ");
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let main = parts.next().unwrap_or_default().to_owned();
    files.extend(
        parts.filter_map(|part| part.split_once('\n')).map(|(name, text)| (name.into(), text.into())),
    );
    files.insert("db".to_owned(), main.into_bytes());
    let zone = Name::from_ascii("example.org.").unwrap();
    match exposed::read(&files, "db", &zone) {
        Err(error) => placed(&error, &files),
        Ok(records) => {
            assert!(records.iter().all(|record| zone.zone_of(&record.name)));
            // Few at once, so that most fit.
            for some in records.chunks(50).take(20) {
                let reply = Reply { answers: some.to_vec(), ..Reply::new("file", ResponseCode::NoError) };
                round_trip(&request(), &reply, Reader::Domain);
            }
        }
    }
}

/// `FILE:LINE: message`, of a file that there is and a line that it has.
fn placed(error: &str, files: &BTreeMap<String, Vec<u8>>) {
    let place = files.iter().find_map(|(name, text)| {
        let rest = error.strip_prefix(name.as_str())?.strip_prefix(':')?;
        let (line, message) = rest.split_once(": ")?;
        Some((line.parse::<usize>().ok()?, text, message))
    });
    let Some((line, text, message)) = place else { panic!("no place: {error}") };
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
    assert!(!message.is_empty());
}

fn request() -> Request {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(b"\x07example\x03org\0\0\xff\0\x01");
    match Request::read(&bytes) {
        Ok(request) => request,
        Err(Unread::Ignore | Unread::Refuse(..)) => panic!("our own question is wrong"),
    }
}
