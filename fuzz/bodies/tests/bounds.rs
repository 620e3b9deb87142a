//! What hostile packets cost, in units of work: in proportion to their length, whatever is in them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, its helpers too")]

use callsign_dns::{
    Transport,
    answer::{Request, write_reply},
    plugin::Reply,
    work,
};
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, rdata},
};

/// The longest message.
const LONGEST: usize = 65_535;

fn header(counts: [u16; 4]) -> Vec<u8> {
    let words = [7, 0x0100].into_iter().chain(counts);
    words.flat_map(u16::to_be_bytes).collect()
}

/// A question for a name of one letter, of this type.
fn question(bytes: &mut Vec<u8>, qtype: u16) {
    bytes.extend([1, b'a', 0]);
    bytes.extend(qtype.to_be_bytes());
    bytes.extend([0, 1]);
}

/// As many of these records as there is room for, with their number in the header's count that stands at `count`.
fn filled(mut bytes: Vec<u8>, record: &[u8], count: usize) -> Vec<u8> {
    let room = (LONGEST - bytes.len()) / record.len();
    bytes.extend(record.repeat(room));
    bytes[count..count + 2].copy_from_slice(&u16::try_from(room).unwrap().to_be_bytes());
    bytes
}

/// Packets that have been used, or could be, to keep a server busy.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    // Eight thousand pointers, each to the one before, in the data of a record; then records that begin with the last.
    let mut chain = header([1, 0, 0, 0]);
    question(&mut chain, 1);
    chain.extend([0, 0, 16, 0, 1, 0, 0, 0, 0]);
    chain.extend(16_001_u16.to_be_bytes());
    let mut last = chain.len();
    chain.push(0);
    for _ in 0..8000 {
        let here = chain.len();
        chain.extend((0xc000 | u16::try_from(last).unwrap()).to_be_bytes());
        last = here;
    }
    let mut owner = (0xc000 | u16::try_from(last).unwrap()).to_be_bytes().to_vec();
    owner.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    let chain = filled(chain, &owner, 6);
    let asked = |qtype| {
        let mut bytes = header([1, 0, 0, 0]);
        question(&mut bytes, qtype);
        bytes
    };
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let labels = [&b"\x01x".repeat(126)[..], &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    let soa = [&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 3][..], &[0, 0, 0]].concat();
    let mut options = asked(1);
    options[11] = 1;
    options.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
    let room = (LONGEST - options.len() - 2) / 4 * 4;
    options.extend(u16::try_from(room).unwrap().to_be_bytes());
    options.extend(b"\0\x64\0\0".repeat(room / 4));
    vec![
        ("a chain of pointers", chain),
        ("thousands of OPTs", filled(asked(1), &opt, 10)),
        ("OPTs among the answers", filled(asked(1), &opt, 6)),
        ("an OPT of thousands of options", options),
        ("names of many labels", filled(asked(1), &labels, 8)),
        ("an IXFR with thousands of SOAs", filled(asked(251), &soa, 8)),
        ("an IXFR without one", filled(asked(251), &labels, 8)),
    ]
}

#[test]
fn reading_costs_what_the_length_allows() {
    for (what, packet) in hostile() {
        assert!(packet.len() > LONGEST - 300, "{what}: {} bytes", packet.len());
        work::take();
        let read = Request::read(&packet);
        let options = Request::options(&packet);
        let steps = work::take();
        assert!(steps > 1000, "{what}: nothing was counted");
        // A label takes two bytes or more; an IXFR's authority is read twice, and the options once more.
        assert!(steps <= 2 * packet.len(), "{what}: {steps} steps for {} bytes", packet.len());
        assert!(options.is_empty() || read.is_ok_and(|request| request.edns.is_some()), "{what}");
    }
}

#[test]
fn writing_costs_what_the_records_allow() {
    let mut packet = header([1, 0, 0, 0]);
    question(&mut packet, 255);
    let request = Request::read(&packet).unwrap();
    // Names of as many labels as there can be, all different, and a set that does not fit.
    let name = |at: usize| Name::from_ascii(format!("{}{at}.{}", "x".repeat(3), "y.".repeat(120))).unwrap();
    let records: Vec<Record> =
        (0..600).map(|at| Record::from_rdata(name(at), 60, RData::PTR(rdata::PTR(name(at + 1))))).collect();
    let reply = Reply { answers: records, ..Reply::new("test", ResponseCode::NoError) };
    for transport in [Transport::Udp, Transport::Tcp] {
        work::take();
        let mut out = Vec::new();
        write_reply(&request, &reply, transport, u16::MAX, &mut out);
        let steps = work::take();
        // Each record's names are looked for label by label until one is known; what did not fit is forgotten once.
        assert!(steps > 100 && steps <= 2 * LONGEST, "{steps} steps for {} bytes", out.len());
    }
}
