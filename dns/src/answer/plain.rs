//! The answers that most questions get: a name's addresses, or that it has none, or that there is no such name.
//!
//! They need no RRsets, no compression and no glue: every owner is the question's name or the end of it, which a pointer
//! says. So they are written at once from what the zone holds. Whatever is not so plain is for [`super::write()`], and a
//! test holds both against each other.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    UDP_PAYLOAD,
    rrset::SOA_TIMES,
    write::{HEADER, OPT, OPT_LENGTH, turned},
};
use crate::{
    plugin::Quick,
    zone::{Found, Kind, Node, Place, Zone},
};

/// What is plain to say to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// There is no such name, or it has no such records: NXDOMAIN or NOERROR.
    Nothing(ResponseCode),
    /// These are its IPv4 addresses.
    V4(&'a [Ipv4Addr]),
    /// These are its IPv6 addresses.
    V6(&'a [Ipv6Addr]),
}

const CLASS_IN: u16 = 1;
const TYPE_SOA: u16 = 6;
/// A pointer to the question's name.
const QUESTION: u16 = 0xc000 | HEADER as u16;
/// The longest TTL of a SOA, seconds.
const SOA_TTL: u32 = 300;

impl<'a> Plain<'a> {
    /// What is plain about what was found; `None` where it is not.
    pub fn of(found: &'a Found, qtype: RecordType) -> Option<Self> {
        let Found::In { place, .. } = found else { return None };
        match place {
            Place::Nothing => Some(Self::Nothing(ResponseCode::NXDomain)),
            Place::Empty => Some(Self::Nothing(ResponseCode::NoError)),
            Place::Service(names) => match &names.kind {
                Kind::External(_) | Kind::Hidden => None,
                Kind::ClusterIp | Kind::Headless => Self::of_node(&names.own, qtype),
            },
            Place::Port(names, at) => Self::of_node(&names.ports.get(*at)?.node, qtype),
            Place::Host(names, at) => {
                let host = names.hosts.get(*at)?;
                Self::of_addresses(host.v4(), host.v6(), qtype)
            }
            _ => None,
        }
    }

    fn of_node(node: &'a Node, qtype: RecordType) -> Option<Self> {
        if node.alias().is_some() {
            return None;
        }
        Self::of_addresses(node.v4(), node.v6(), qtype)
    }

    fn of_addresses(v4: &'a [Ipv4Addr], v6: &'a [Ipv6Addr], qtype: RecordType) -> Option<Self> {
        const NODATA: Plain<'static> = Plain::Nothing(ResponseCode::NoError);
        match qtype {
            RecordType::A if v4.is_empty() => Some(NODATA),
            RecordType::AAAA if v6.is_empty() => Some(NODATA),
            RecordType::A => Some(Self::V4(v4)),
            RecordType::AAAA => Some(Self::V6(v6)),
            RecordType::SRV => None,
            _ => Some(NODATA),
        }
    }

    /// Writes the answer to `out`, which is cleared first; the response code. `None` where it does not fit, or the name's
    /// zone is the root: then nothing has been written.
    pub fn write(
        self,
        question: &Quick<'_>,
        zone: &Zone,
        found: &Found,
        out: &mut Vec<u8>,
    ) -> Option<ResponseCode> {
        let Found::In { zone_labels: zone_labels @ 1.., .. } = *found else { return None };
        let request = question.request;
        let asked = &request.question;
        let (rcode, answers, each) = match self {
            Self::Nothing(rcode) => (rcode, 0, 0),
            Self::V4(set) => (ResponseCode::NoError, set.len(), 16),
            Self::V6(set) => (ResponseCode::NoError, set.len(), 28),
        };
        let ttl = zone.config().ttl;
        out.clear();
        out.extend_from_slice(&[0; HEADER]);
        // Every label is one, also that of a wildcard, which the name's own count leaves out.
        let below = asked.name.iter().count().checked_sub(zone_labels)?;
        let mut suffix = None;
        for (at, label) in asked.name.iter().enumerate() {
            if at == below {
                suffix = Some(out.len() as u16);
            }
            // Names of the SOA's that stand in the question are pointed to as a whole: not so plain.
            if at + 1 == below
                && (label.eq_ignore_ascii_case(b"dns") || label.eq_ignore_ascii_case(b"hostmaster"))
            {
                out.clear();
                return None;
            }
            out.push(label.len() as u8);
            out.extend_from_slice(label);
        }
        let suffix = 0xc000 | suffix?;
        out.push(0);
        push(out, asked.qtype.into());
        push(out, asked.qclass);
        let opt = if request.edns.is_some() { OPT_LENGTH } else { 0 };
        let limit = request.limit_within(question.peer.transport, question.payload);
        if out.len() + answers * each + opt > limit {
            out.clear();
            return None;
        }
        match self {
            Self::V4(set) => {
                let ttl = bounded(ttl, question.bounds.positive);
                for ip in turned(set, question.rotation) {
                    record(out, QUESTION, RecordType::A.into(), ttl, 4);
                    out.extend_from_slice(&ip.octets());
                }
            }
            Self::V6(set) => {
                let ttl = bounded(ttl, question.bounds.positive);
                for ip in turned(set, question.rotation) {
                    record(out, QUESTION, RecordType::AAAA.into(), ttl, 16);
                    out.extend_from_slice(&ip.octets());
                }
            }
            Self::Nothing(_) => {
                record(out, suffix, TYPE_SOA, bounded(ttl.min(SOA_TTL), question.bounds.negative), 42);
                out.extend_from_slice(b"\x02ns\x03dns");
                push(out, suffix);
                out.extend_from_slice(b"\x0ahostmaster");
                push(out, suffix);
                for number in [zone.serial()].into_iter().chain(SOA_TIMES).chain([ttl]) {
                    out.extend_from_slice(&number.to_be_bytes());
                }
            }
        }
        let authorities = u16::from(answers == 0);
        if let Some(edns) = request.edns {
            out.push(0);
            push(out, OPT);
            push(out, UDP_PAYLOAD.min(question.payload.max(512)));
            out.extend_from_slice(&[0, 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        }
        let flags = 0x8400
            | u16::from(request.recursion_desired) << 8
            | u16::from(request.checking_disabled) << 4
            | u16::from(rcode);
        let answers = u16::try_from(answers).ok()?;
        let words = [request.id, flags, 1, answers, authorities, u16::from(request.edns.is_some())];
        for (place, byte) in out.iter_mut().zip(words.into_iter().flat_map(u16::to_be_bytes)) {
            *place = byte;
        }
        Some(rcode)
    }
}

fn bounded(ttl: u32, (least, most): (u32, u32)) -> u32 {
    ttl.max(least).min(most)
}

fn push(out: &mut Vec<u8>, word: u16) {
    out.extend_from_slice(&word.to_be_bytes());
}

fn record(out: &mut Vec<u8>, owner: u16, kind: u16, ttl: u32, length: u16) {
    push(out, owner);
    push(out, kind);
    push(out, CLASS_IN);
    out.extend_from_slice(&ttl.to_be_bytes());
    push(out, length);
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use hickory_proto::{op::Message, rr::Name};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        answer::{CLASS_IN, Edns, Question, Request, Resolution, Transport, resolve, write_quick},
        plugin::TtlBounds,
        server::Peer,
        testing,
    };

    fn names() -> impl Strategy<Value = String> {
        let hosts = ["", "10-0-0-1.", "_web._tcp.", "_tcp.", "nosuch.", "*.", "a.b.c.d.", "www.example.com."];
        let services = ["vip", "heads", "big", "nosuch", "VIP", "out", "_", "*"];
        let below =
            ["ns.svc.cluster.local.", "ns.sVc.Cluster.LOCAL.", "empty.svc.cluster.local.", "cluster.local."];
        let reverse =
            ["1.0.96.10.in-addr.arpa.", "96.10.in-addr.arpa.", "9.9.9.9.in-addr.arpa.", "in-addr.arpa."];
        prop_oneof![
            (0..hosts.len(), 0..services.len(), 0..below.len())
                .prop_map(move |(a, b, c)| format!("{}{}.{}", hosts[a], services[b], below[c])),
            (0..reverse.len()).prop_map(move |at| reverse[at].to_owned()),
        ]
    }

    proptest! {
        /// What is written plainly is what is written otherwise.
        #[test]
        fn both_ways_say_the_same(
            name in names(),
            qtype in prop_oneof![Just(RecordType::A), Just(RecordType::AAAA), Just(RecordType::SRV), Just(RecordType::TXT), Just(RecordType::PTR), Just(RecordType::SOA)],
            edns in proptest::option::of((0_u16..5000, any::<bool>())),
            (id, rotation, udp, flags) in (any::<u16>(), 0_u32..5, any::<bool>(), any::<(bool, bool)>()),
            bounds in prop_oneof![Just(TtlBounds::default()), Just(TtlBounds { positive: (5, 20), negative: (7, 10) })],
        ) {
            thread_local! {
                static ZONE: Arc<Zone> = Arc::new(testing::zone());
            }
            ZONE.with(|zone| {
                let question = Question { name: Name::from_ascii(&name).unwrap(), qtype, qclass: CLASS_IN };
                let request = Request {
                    id,
                    opcode: 0,
                    recursion_desired: flags.0,
                    checking_disabled: flags.1,
                    authentic_data: false,
                    serial: None,
                    question,
                    has_question: true,
                    edns: edns.map(|(payload, dnssec_ok)| Edns { payload, version: 0, dnssec_ok, has_options: false }),
                };
                let transport = if udp { Transport::Udp } else { Transport::Tcp };
                let address = "10.0.0.9:4000".parse().unwrap();
                let peer = Peer { address, local: address, transport, worker: 0 };
                let server = Arc::from("dns://:53");
                let quick = Quick {
                    request: &request,
                    peer: &peer,
                    server: &server,
                    started: Instant::now(),
                    size: 40,
                    rotation,
                    bounds,
                    payload: UDP_PAYLOAD,
                };
                let found = zone.find(&request.question.name);
                let mut plain = Vec::new();
                let written = Plain::of(&found, qtype).and_then(|it| it.write(&quick, zone, &found, &mut plain));
                let Some(rcode) = written else { return Ok(()) };
                let Resolution::Resolved(resolved) = resolve(zone, &request.question.name, qtype) else {
                    panic!("{name} is plain and not resolved");
                };
                let mut other = Vec::new();
                let answered = write_quick(&quick, resolved, "", &mut other);
                prop_assert_eq!(answered.rcode, rcode);
                // Records that differ in their TTLs are equal to the codec.
                let whole = |bytes: &[u8]| format!("{:?}", Message::from_vec(bytes).unwrap());
                prop_assert_eq!(whole(&plain), whole(&other));
                prop_assert!(plain.len() <= request.limit(transport));
                Ok(())
            })?;
        }
    }
}
