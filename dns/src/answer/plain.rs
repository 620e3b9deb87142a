//! The answers that most questions get: a name's addresses or ports, an address's name, or that there is none.
//!
//! They need no search for names to compress: every owner is the question's name, the end of it, or a name that has just
//! been written, which a pointer says. So they are written at once, from the packet that asks and what the zone holds,
//! without an allocation. Whatever is not so plain is for [`super::write()`], and a test holds both against each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use smallvec::SmallVec;

use super::{
    Asked, UDP_PAYLOAD,
    request::CLASS_IN,
    rrset::SOA_TIMES,
    write::{HEADER, OPT, OPT_LENGTH, turned},
};
use crate::{
    plugin::Quick,
    zone::{Found, Host, Kind, Node, Place, Pointer, ServiceNames, SrvSet, Target, Zone},
};

/// What is plain to say to a question.
#[derive(Clone, Copy, Debug)]
pub enum Plain<'a> {
    /// There is no such name, or it has no such records: NXDOMAIN or NOERROR.
    Nothing(ResponseCode),
    /// These are its IPv4 addresses.
    V4(&'a [Ipv4Addr]),
    /// These are its IPv6 addresses.
    V6(&'a [Ipv6Addr]),
    /// These are the ports of a Service's name.
    Ports(&'a ServiceNames, &'a SrvSet),
    /// These are the ports of an endpoint's name.
    HostPorts(&'a ServiceNames, Host<'a>),
    /// This name has the address.
    Pointer(&'a Pointer),
}

/// A pointer to the question's name.
const QUESTION: u16 = POINTER | HEADER as u16;
const POINTER: u16 = 0xc000;
/// The longest TTL of a SOA, seconds.
const SOA_TTL: u32 = 300;
/// A record without its owner and data: type, class, TTL, length; and the pointer that is its owner.
const FIXED: usize = 12;
/// A SOA whose names end with a pointer.
const SOA: usize = FIXED + 42;
/// The longest name on the wire.
const LONGEST: usize = 255;

impl<'a> Plain<'a> {
    /// What is plain about what was found; `None` where it is not.
    pub fn of(found: &'a Found<'_>, qtype: RecordType) -> Option<Self> {
        const NODATA: Plain<'static> = Plain::Nothing(ResponseCode::NoError);
        let Found::In { place, .. } = found else { return None };
        match place {
            Place::Nothing => Some(Self::Nothing(ResponseCode::NXDomain)),
            Place::Empty => Some(NODATA),
            Place::Service(names) => match &names.kind {
                Kind::External(_) | Kind::Hidden => None,
                Kind::ClusterIp | Kind::Headless => Self::of_node(names, &names.own, qtype),
            },
            Place::Port(names, at) => Self::of_node(names, &names.ports.get(*at)?.node, qtype),
            Place::Ports(names, node) => Self::of_node(names, node, qtype),
            Place::Host(names, at) => {
                let host = names.hosts.get(*at)?;
                match qtype {
                    RecordType::SRV if host.ports().is_empty() => Some(NODATA),
                    RecordType::SRV => Some(Self::HostPorts(names, host)),
                    _ => Some(Self::of_addresses(host.v4(), host.v6(), qtype)),
                }
            }
            Place::Pod(ip) => match (ip, qtype) {
                (_, RecordType::SRV) => None,
                (IpAddr::V4(ip), _) => Some(Self::of_addresses(std::slice::from_ref(ip), &[], qtype)),
                (IpAddr::V6(ip), _) => Some(Self::of_addresses(&[], std::slice::from_ref(ip), qtype)),
            },
            Place::Reverse(pointers) => match pointers.as_slice() {
                _ if qtype != RecordType::PTR => Some(NODATA),
                [pointer] => Some(Self::Pointer(pointer)),
                // Their names are compressed.
                _ => None,
            },
            Place::Apex | Place::NameServer | Place::Version | Place::Alias(..) => None,
        }
    }

    fn of_node(names: &'a ServiceNames, node: &'a Node, qtype: RecordType) -> Option<Self> {
        match qtype {
            _ if node.alias().is_some() => None,
            RecordType::SRV if node.srv().records().len() == 0 => Some(Self::Nothing(ResponseCode::NoError)),
            RecordType::SRV => Some(Self::Ports(names, node.srv())),
            _ => Some(Self::of_addresses(node.v4(), node.v6(), qtype)),
        }
    }

    fn of_addresses(v4: &'a [Ipv4Addr], v6: &'a [Ipv6Addr], qtype: RecordType) -> Self {
        match qtype {
            RecordType::A if !v4.is_empty() => Self::V4(v4),
            RecordType::AAAA if !v6.is_empty() => Self::V6(v6),
            _ => Self::Nothing(ResponseCode::NoError),
        }
    }

    /// Writes the answer to `out`, which is cleared first; the response code. `None` where it does not fit, or the name's
    /// zone is the root: then nothing has been written.
    pub fn write(
        self,
        question: &Quick<'_>,
        zone: &Zone,
        found: &Found<'_>,
        out: &mut Vec<u8>,
    ) -> Option<ResponseCode> {
        out.clear();
        let Found::In { zone_labels: zone_labels @ 1.., .. } = *found else { return None };
        let asked = question.asked;
        let opt = if asked.edns.is_some() { OPT_LENGTH } else { 0 };
        let limit = asked.limit(question.peer.transport, question.payload).checked_sub(opt)?;
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(asked.question());
        let mut writing = Writing {
            ttl: bounded(zone.config().ttl, question.bounds.positive),
            name: asked.question().get(..=asked.name.wire().len())?,
            suffix: Suffix::of(asked, zone_labels)?,
            limit,
            answers: 0,
            additionals: 0,
            out,
        };
        let mut rcode = ResponseCode::NoError;
        let written = match self {
            Self::Nothing(nothing) => {
                rcode = nothing;
                // A name of the SOA's that stands in the question is pointed to as a whole: not so plain.
                if let Some(b"dns" | b"hostmaster") = asked.name.label(zone_labels) {
                    out.clear();
                    return None;
                }
                let ttl = bounded(zone.config().ttl.min(SOA_TTL), question.bounds.negative);
                writing.soa(zone, ttl)
            }
            Self::V4(set) => writing.addresses(QUESTION, turned(set, question.rotation)),
            Self::V6(set) => writing.addresses(QUESTION, turned(set, question.rotation)),
            Self::Ports(names, set) => writing.ports(names, set, question.rotation),
            Self::HostPorts(names, host) => writing.host_ports(names, host, question.rotation),
            Self::Pointer(pointer) => writing.pointer(pointer, zone.primary_wire()),
        };
        let (answers, additionals) = (writing.answers, writing.additionals);
        if written.is_none() {
            out.clear();
            return None;
        }
        let mut flags = 0x8400 | u16::from(rcode);
        flags |= u16::from(asked.recursion_desired) << 8 | u16::from(asked.checking_disabled) << 4;
        if let Some(edns) = asked.edns {
            let payload = UDP_PAYLOAD.min(question.payload.max(512));
            let mut opt = [0; OPT_LENGTH];
            put(&mut opt, 1, OPT.to_be_bytes());
            put(&mut opt, 3, payload.to_be_bytes());
            put(&mut opt, 7, [if edns.dnssec_ok { 0x80 } else { 0 }]);
            out.extend_from_slice(&opt);
        }
        let authorities = u16::from(matches!(self, Self::Nothing(_)));
        let additionals = additionals + u16::from(asked.edns.is_some());
        let words = [asked.id, flags, 1, answers, authorities, additionals];
        let header = out.first_chunk_mut::<HEADER>()?;
        for (place, word) in header.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        Some(rcode)
    }
}

/// The end of the question's name that is its zone.
#[derive(Clone, Copy)]
struct Suffix<'a> {
    /// A pointer to it.
    pointer: u16,
    /// As it was asked, with the root's byte.
    wire: &'a [u8],
}

impl<'a> Suffix<'a> {
    fn of(asked: &'a Asked<'_>, labels: usize) -> Option<Self> {
        let start = asked.name.before_last(labels);
        let wire = asked.question().get(start..asked.name.wire().len() + 1)?;
        Some(Self { pointer: POINTER | u16::try_from(HEADER + start).ok()?, wire })
    }
}

/// An answer that is being written. What fails leaves a message that is of no use.
struct Writing<'a> {
    out: &'a mut Vec<u8>,
    /// The question's, as it was asked, with the root's byte.
    name: &'a [u8],
    suffix: Suffix<'a>,
    /// Of every record but the SOA's.
    ttl: u32,
    /// The most bytes.
    limit: usize,
    answers: u16,
    additionals: u16,
}

/// Targets of SRV records, and where in the message they stand.
type Targets = SmallVec<[(Target, u16); 16]>;

impl Writing<'_> {
    /// Addresses of a name in the answer.
    fn addresses<'a, T: Address + 'a>(&mut self, owner: u16, ips: impl Iterator<Item = &'a T>) -> Option<()> {
        self.answers += self.records(owner, ips)?;
        Some(())
    }

    fn records<'a, T: Address + 'a>(&mut self, owner: u16, ips: impl Iterator<Item = &'a T>) -> Option<u16> {
        let mut count = 0_u16;
        for ip in ips {
            ip.record(owner, self.ttl, self.out);
            count = count.checked_add(1)?;
            if self.out.len() > self.limit {
                return None;
            }
        }
        Some(count)
    }

    fn soa(&mut self, zone: &Zone, ttl: u32) -> Option<()> {
        let mut soa = [0; SOA];
        put(&mut soa, 0, fixed(self.suffix.pointer, RecordType::SOA, ttl, (SOA - FIXED) as u16));
        put(&mut soa, FIXED, *b"\x02ns\x03dns");
        put(&mut soa, FIXED + 7, self.suffix.pointer.to_be_bytes());
        put(&mut soa, FIXED + 9, *b"\x0ahostmaster");
        put(&mut soa, FIXED + 20, self.suffix.pointer.to_be_bytes());
        put(&mut soa, FIXED + 22, zone.serial().to_be_bytes());
        let [refresh, retry, expire] = SOA_TIMES.map(u32::to_be_bytes);
        put(&mut soa, FIXED + 26, refresh);
        put(&mut soa, FIXED + 30, retry);
        put(&mut soa, FIXED + 34, expire);
        put(&mut soa, FIXED + 38, zone.config().ttl.to_be_bytes());
        self.out.extend_from_slice(&soa);
        Some(())
    }

    fn ports(&mut self, names: &ServiceNames, set: &SrvSet, rotation: u32) -> Option<()> {
        let mut targets = Targets::new();
        for (target, port) in set.records() {
            let host = match target {
                Target::Own => None,
                Target::Host(at) => Some(names.hosts.get(at as usize)?.label()),
            };
            let at = self.srv(names, host, set.weight(), port)?;
            // Records are sorted by target.
            if targets.last().is_none_or(|(last, _)| *last != target) {
                targets.push((target, at));
            }
        }
        for (target, at) in targets {
            let owner = POINTER | at;
            match target {
                Target::Own => self.glue(owner, names.own.v4(), names.own.v6(), rotation)?,
                Target::Host(host) => {
                    let (v4, v6) = set.glue(host, names.hosts.get(host as usize)?);
                    self.glue(owner, &v4, &v6, rotation)?;
                }
            }
        }
        Some(())
    }

    fn host_ports(&mut self, names: &ServiceNames, host: Host<'_>, rotation: u32) -> Option<()> {
        let mut first = None;
        for port in host.ports() {
            let at = self.srv(names, Some(host.label()), host.weight(), *port)?;
            first = first.or(Some(at));
        }
        self.glue(POINTER | first?, host.v4(), host.v6(), rotation)
    }

    /// One SRV record; where its target stands. That is written in full (RFC 2782).
    fn srv(&mut self, names: &ServiceNames, host: Option<&str>, weight: u16, port: u16) -> Option<u16> {
        let start = self.out.len();
        self.out.extend_from_slice(&fixed(QUESTION, RecordType::SRV, self.ttl, 0));
        for number in [0, weight, port] {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        let at = self.out.len();
        self.labels(host.into_iter().chain([&*names.key.name, &*names.key.namespace, "svc"]))?;
        self.out.extend_from_slice(self.suffix.wire);
        let target = self.out.get(at..)?;
        if target.len() > LONGEST {
            return None;
        }
        // Where the question ends with the same name, that stands there first.
        let first = if self.name.ends_with(target) { HEADER + self.name.len() - target.len() } else { at };
        self.finish(start)?;
        reached(first)
    }

    fn glue(&mut self, owner: u16, v4: &[Ipv4Addr], v6: &[Ipv6Addr], rotation: u32) -> Option<()> {
        self.additionals += self.records(owner, turned(v4, rotation))?;
        self.additionals += self.records(owner, turned(v6, rotation))?;
        Some(())
    }

    /// A PTR record into the primary zone.
    fn pointer(&mut self, pointer: &Pointer, primary: &[u8]) -> Option<()> {
        let start = self.out.len();
        self.out.extend_from_slice(&fixed(QUESTION, RecordType::PTR, self.ttl, 0));
        let service = pointer.service();
        let at = self.out.len();
        self.labels(pointer.host().into_iter().chain([&*service.name, &*service.namespace, "svc"]))?;
        self.out.extend_from_slice(primary);
        if self.out.len() - at > LONGEST {
            return None;
        }
        self.finish(start)
    }

    fn labels<'a>(&mut self, labels: impl Iterator<Item = &'a str>) -> Option<()> {
        for label in labels {
            self.out.push(u8::try_from(label.len()).ok()?);
            self.out.extend_from_slice(label.as_bytes());
        }
        Some(())
    }

    /// States the length of the record that begins at `start`, in the answer.
    fn finish(&mut self, start: usize) -> Option<()> {
        if self.out.len() > self.limit {
            return None;
        }
        self.answers = self.answers.checked_add(1)?;
        let length = u16::try_from(self.out.len().checked_sub(start + FIXED)?).ok()?;
        let place = self.out.get_mut(start + FIXED - 2..start + FIXED)?;
        place.copy_from_slice(&length.to_be_bytes());
        Some(())
    }
}

/// An offset in the message, where a pointer reaches it.
fn reached(at: usize) -> Option<u16> {
    u16::try_from(at).ok().filter(|at| *at < 0x4000)
}

/// An address as a record.
trait Address {
    fn record(&self, owner: u16, ttl: u32, out: &mut Vec<u8>);
}

impl Address for Ipv4Addr {
    fn record(&self, owner: u16, ttl: u32, out: &mut Vec<u8>) {
        let mut record = [0; FIXED + 4];
        put(&mut record, 0, fixed(owner, RecordType::A, ttl, 4));
        put(&mut record, FIXED, self.octets());
        out.extend_from_slice(&record);
    }
}

impl Address for Ipv6Addr {
    fn record(&self, owner: u16, ttl: u32, out: &mut Vec<u8>) {
        let mut record = [0; FIXED + 16];
        put(&mut record, 0, fixed(owner, RecordType::AAAA, ttl, 16));
        put(&mut record, FIXED, self.octets());
        out.extend_from_slice(&record);
    }
}

fn bounded(ttl: u32, (least, most): (u32, u32)) -> u32 {
    ttl.max(least).min(most)
}

/// The part that all records have, owned by a pointer.
fn fixed(owner: u16, kind: RecordType, ttl: u32, length: u16) -> [u8; FIXED] {
    let mut fixed = [0; FIXED];
    put(&mut fixed, 0, owner.to_be_bytes());
    put(&mut fixed, 2, u16::from(kind).to_be_bytes());
    put(&mut fixed, 4, CLASS_IN.to_be_bytes());
    put(&mut fixed, 6, ttl.to_be_bytes());
    put(&mut fixed, 10, length.to_be_bytes());
    fixed
}

/// Puts bytes where they belong, which is within.
#[inline]
fn put<const N: usize>(room: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = room.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use hickory_proto::{op::Message, rr::Name, serialize::binary::BinEncodable};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        answer::{CLASS_IN, Resolution, Transport, resolve, write_quick},
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
                let mut query = vec![0; 12];
                let (udp, edns) = (if udp { Transport::Udp } else { Transport::Tcp }, edns);
                query.splice(0..2, id.to_be_bytes());
                query[2] = u8::from(flags.0);
                query[3] = u8::from(flags.1) << 4;
                query[5] = 1;
                query[11] = u8::from(edns.is_some());
                query.extend(Name::from_ascii(&name).unwrap().to_bytes().unwrap());
                query.extend([u16::from(qtype), CLASS_IN].map(u16::to_be_bytes).concat());
                if let Some((payload, dnssec_ok)) = edns {
                    query.extend([0, 0, 41]);
                    query.extend(payload.to_be_bytes());
                    query.extend([0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
                }
                let asked = Asked::read(&query).unwrap();
                let address = "10.0.0.9:4000".parse().unwrap();
                let peer = Peer { address, local: address, transport: udp };
                let server = Arc::from("dns://:53");
                let quick = Quick {
                    asked: &asked,
                    peer: &peer,
                    server: &server,
                    started: Instant::now(),
                    rotation,
                    bounds,
                    payload: UDP_PAYLOAD,
                };
                let mut plain = Vec::new();
                let written = zone.look_folded(&asked.name, |found| {
                    Plain::of(&found, qtype)?.write(&quick, zone, &found, &mut plain)
                });
                let Some(rcode) = written else { return Ok(()) };
                let Resolution::Resolved(resolved) = resolve(zone, &asked.request().question.name, qtype) else {
                    panic!("{name} is plain and not resolved");
                };
                let mut other = Vec::new();
                let answered = write_quick(&quick, resolved, "", &mut other);
                prop_assert_eq!(answered.rcode, rcode);
                // Records that differ in their TTLs are equal to the codec.
                let whole = |bytes: &[u8]| format!("{:?}", Message::from_vec(bytes).unwrap());
                prop_assert_eq!(whole(&plain), whole(&other));
                prop_assert!(plain.len() <= asked.limit(udp, UDP_PAYLOAD));
                Ok(())
            })?;
        }
    }
}
