//! Single packets, well formed and hostile, and the header, sections and OPT of what comes back.

use callsign_dns::{
    Transport, Zone,
    answer::{self, Outcome},
};
use hickory_proto::op::ResponseCode;
use serde_json::{Value, json};

use crate::{compare::decode_again, harness};

/// Sends one probe over both transports; what differs from what is wanted.
pub(crate) fn compare(zone: &Zone, probe: &Value) -> Vec<String> {
    let query = unhex(probe["query"].as_str().unwrap());
    let name = probe["probe"].as_str().unwrap();
    let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
    let differ = transports.into_iter().filter_map(|(field, transport)| {
        let wanted = wanted(name, &probe[field], transport);
        let got = send(zone, &query, transport);
        (got != wanted).then(|| format!("{name} over {field}\n    wanted {wanted}\n    got    {got}"))
    });
    differ.collect()
}

/// What is wanted of a zone with nobody behind it.
fn wanted(probe: &str, recorded: &Value, transport: Transport) -> Value {
    let mut wanted = harness::wanted(probe, recorded, transport == Transport::Udp);
    if probe == "root" {
        // Outside of the zones: not for us, rather than a failure.
        wanted["rcode"] = json!("REFUSED");
    }
    wanted
}

fn send(zone: &Zone, query: &[u8], transport: Transport) -> Value {
    let mut out = Vec::new();
    match answer::answer(zone, query, transport, 0, &mut out) {
        Outcome::Silent => return Value::Null,
        Outcome::Elsewhere(request) => {
            answer::refuse(&request, ResponseCode::Refused, transport, &mut out);
        }
        Outcome::Answered(_) | Outcome::Alias { .. } => {}
    }
    decode_again(&out);
    let word = |at: usize| u16::from_be_bytes([out[at], out[at + 1]]);
    let flags = word(2);
    let names = [("QR", 15), ("AA", 10), ("TC", 9), ("RD", 8), ("RA", 7), ("AD", 5), ("CD", 4)];
    let set: Vec<&str> =
        names.iter().filter(|(_, bit)| flags >> bit & 1 == 1).map(|(name, _)| *name).collect();
    let message = domain::base::Message::from_octets(&out[..]).unwrap();
    let opt = message.opt();
    let rcode = flags & 0xf | opt.as_ref().map_or(0, |_| u16::from(extended(&out))) << 4;
    let rcode = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        16 => "BADVERS",
        other => panic!("rcode {other}"),
    };
    let options: Vec<u16> = Vec::new();
    if let Some(opt) = &opt {
        assert!(opt.opt().is_empty(), "options are sent back");
    }
    json!({
        "id": format!("{:04x}", word(0)),
        "rcode": rcode,
        "flags": set.join(" "),
        "opcode": flags >> 11 & 0xf,
        "questions": word(4),
        "answers": word(6),
        "authority": word(8),
        // The OPT is counted apart.
        "additional": word(10) - u16::from(opt.is_some()),
        "edns": opt.as_ref().map_or(-1, |opt| i32::from(opt.version())),
        "options": options,
        "payload": opt.as_ref().map(domain::base::opt::OptRecord::udp_payload_size),
        "ednsflags": opt.as_ref().map(|opt| if opt.dnssec_ok() { 0x8000 } else { 0 }),
    })
}

/// The upper bits of the response code: the OPT is the last record and is eleven bytes long.
fn extended(out: &[u8]) -> u8 {
    out[out.len() - 6]
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
