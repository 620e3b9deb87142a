//! From a question to its answer: one pure function.
//!
//! ```text
//!   bytes ──▶ Request ──▶ resolve(zone, name, type) ──▶ RRsets ──▶ bytes
//!               │ refused (FORMERR, NOTIMP, BADVERS …)      │ a name that is not ours: the caller's
//!               │ not to be answered: silence               │ an alias that leads out of our zones: the caller's
//! ```
//!
//! There is no clock, no IO and no waiting in here. Whatever cannot be answered from the zone is handed back as a value,
//! so that a forwarder (or any plugin) can take it up.
//!
//! # Where this differs from CoreDNS
//! * Names that exist answer NODATA for types they do not have, inner names too (RFC 8020, RFC 2308).
//! * An alias answers its CNAME for every type (RFC 1034 3.6.2) and keeps it when its target has nothing;
//!   the response code stays NOERROR then, as with CoreDNS (RFC 6604 would have the target's).
//! * A response is never answered (RFC 1035 7.3 leaves it to the server; two servers that answered each other would never
//!   stop). Opcodes other than QUERY get NOTIMP.
//! * Our UDP payload size is 1232 whatever the client offers, and our OPT says so (RFC 6891 6.2.5, and the DNS Flag Day
//!   2020). Nothing of the client's OPT is sent back but the DO bit (RFC 3225). Two OPTs, an OPT that is not at the root
//!   and a broken option list are FORMERR (RFC 6891 6.1.1); later versions get BADVERS with ours (6.1.3).
//! * A truncated answer carries whole RRsets or none (RFC 2181 9).
//! * Names outside of the zones are REFUSED when nobody forwards them.

mod asked;
mod plain;
mod reply;
mod request;
mod resolve;
mod rrset;
mod transfer;
mod write;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

pub use asked::Asked;
pub use plain::Plain;
pub(crate) use reply::write_opt;
pub use reply::{is_truncated, to_reply, write_quick, write_reply};
pub use request::{CLASS_IN, Edns, Question, Request, Unread};
pub use resolve::{Resolution, Resolved, resolve, resolve_found};
pub use rrset::{RData, RrSet, Set, Srv};
pub use transfer::transfer;
pub(crate) use write::OPT_LENGTH;
pub use write::write;

use crate::zone::Zone;

/// The largest UDP message we send, and the payload size our OPT states: what crosses every link unfragmented.
pub const UDP_PAYLOAD: u16 = 1232;

/// How a request came and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram, of limited size.
    Udp,
    /// A stream with lengths: up to 65,535 bytes.
    Tcp,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The answer has been written.
    Answered(Answered),
    /// There is nothing to send: it was a response, or not even a header.
    Silent,
    /// The name is in none of our zones. Nothing has been written; [`refuse`] writes what to say if nobody else knows.
    Elsewhere(Request),
    /// The name is an alias of one outside of our zones. What we know has been written and may be sent as it is; whoever
    /// can resolve the target knows more.
    Alias {
        /// The request.
        request: Request,
        /// The name to resolve for the question's type.
        target: Name,
        /// What has been written.
        answered: Answered,
    },
}

/// What an answer was, for counters and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The response code.
    pub rcode: ResponseCode,
    /// The type that was asked for, where a question could be read.
    pub qtype: Option<RecordType>,
    /// Whether it was answered from a zone of ours.
    pub from_zone: bool,
    /// The plugin that gave it; empty where none did.
    pub plugin: &'static str,
}

/// Answers one request. `rotation` decides which of several addresses comes first; give it a new number each time.
///
/// `out` is cleared, and holds the answer afterwards.
pub fn answer(zone: &Zone, bytes: &[u8], transport: Transport, rotation: u32, out: &mut Vec<u8>) -> Outcome {
    out.clear();
    let request = match Request::read(bytes) {
        Ok(request) => request,
        Err(Unread::Ignore) => return Outcome::Silent,
        Err(Unread::Refuse(request, rcode)) => return refused(&request, rcode, transport, out),
    };
    if request.question.qclass != CLASS_IN {
        return refused(&request, ResponseCode::Refused, transport, out);
    }
    if matches!(request.question.qtype, RecordType::AXFR | RecordType::IXFR) {
        return refused(&request, ResponseCode::Refused, transport, out);
    }
    let (name, qtype) = (&request.question.name, request.question.qtype);
    let room = request.limit(transport);
    match zone.look(name, |found| resolve_found(zone, name, qtype, &found, room)) {
        Resolution::Outside => Outcome::Elsewhere(request),
        Resolution::NotReady(resolved) => {
            write(&request, &resolved, transport, rotation, out);
            Outcome::Answered(request.answered(ResponseCode::ServFail, true))
        }
        Resolution::Resolved(mut resolved) => {
            write(&request, &resolved, transport, rotation, out);
            let answered = request.answered(resolved.rcode, true);
            match resolved.leaves.take() {
                Some(target) => Outcome::Alias { request, target, answered },
                None => Outcome::Answered(answered),
            }
        }
    }
}

/// Writes an answer without records: REFUSED for a name that is nobody's, SERVFAIL where forwarding failed.
pub fn refuse(request: &Request, rcode: ResponseCode, transport: Transport, out: &mut Vec<u8>) -> Answered {
    out.clear();
    write(request, &Resolved::bare(rcode), transport, 0, out);
    request.answered(rcode, false)
}

fn refused(request: &Request, rcode: ResponseCode, transport: Transport, out: &mut Vec<u8>) -> Outcome {
    Outcome::Answered(refuse(request, rcode, transport, out))
}

#[cfg(test)]
mod tests;
