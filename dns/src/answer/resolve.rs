//! What the zone says to a name and a type, as RRsets.

use callsign_shared::name::Key;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use smallvec::SmallVec;

use super::rrset::{RData, RrSet, Set, Srv};
use crate::zone::{
    Found, Host, Kind, NameServerName, Node, Place, ServiceNames, SrvSet, Target, Zone, is_reverse,
};

/// What became of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// The name is in none of our zones.
    Outside,
    /// It is, but the cluster has not been seen whole yet: SERVFAIL, with the SOA as CoreDNS has it.
    NotReady(Resolved),
    /// This is the answer.
    Resolved(Resolved),
}

/// An answer, before it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The response code.
    pub rcode: ResponseCode,
    /// Whether we have authority over the name.
    pub authoritative: bool,
    /// The answer section.
    pub answer: Vec<RrSet>,
    /// The authority section: the SOA of a negative answer (RFC 2308).
    pub authority: Vec<RrSet>,
    /// The additional section: addresses of names in the answer.
    pub additional: Vec<RrSet>,
    /// The answer ends with an alias of this name, which is in none of our zones.
    pub leaves: Option<Name>,
    /// The name is one of a reverse zone that has no records itself, only addresses of ours below it.
    pub in_reverse_gap: bool,
}

/// The longest chain of aliases that is followed.
const LONGEST_CHAIN: usize = 8;
/// The TTL of `dns-version`.
const VERSION_TTL: u32 = 28800;
/// What an SRV record takes besides a Service's and a namespace's label, at least: the owner's pointer, type, class, TTL,
/// length, three numbers; and of its target the lengths of four labels and `svc`.
const SRV: usize = 2 + 10 + 6 + 6;
/// The version of the schema of names that the answers follow.
const VERSION: &[u8] = b"1.1.0";

/// Resolves a question of class IN.
pub fn resolve(zone: &Zone, name: &Name, qtype: RecordType) -> Resolution {
    zone.look(name, |found| resolve_found(zone, name, qtype, &found, usize::MAX))
}

/// Resolves a question of class IN whose name has been looked for, to be answered in at most `room` bytes: of records that
/// are too many for it in any case, only as many are made as do not fit either, so that whoever writes them truncates.
pub fn resolve_found(
    zone: &Zone,
    name: &Name,
    qtype: RecordType,
    found: &Found<'_>,
    room: usize,
) -> Resolution {
    let Found::In { zone_labels, .. } = *found else { return Resolution::Outside };
    let mut resolved = Resolved { authoritative: true, ..Resolved::bare(ResponseCode::NoError) };
    if !zone.is_synced() {
        resolved.rcode = ResponseCode::ServFail;
        Step { zone, suffix: name.trim_to(zone_labels), owner: name, resolved: &mut resolved, room }
            .add_soa();
        return Resolution::NotReady(resolved);
    }
    resolved.in_reverse_gap = matches!(found, Found::In { place: Place::Empty, .. }) && is_reverse(name);
    let mut next = resolved.step(zone, name, qtype, found, room);
    // The last step's owner and what is there decide about a negative answer.
    while let Some(owner) = next.take() {
        next = zone.look(&owner, |found| resolved.step(zone, &owner, qtype, &found, room));
    }
    Resolution::Resolved(resolved)
}

impl Resolved {
    /// An answer without records and without authority.
    pub fn bare(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: false,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            leaves: None,
            in_reverse_gap: false,
        }
    }

    /// Takes what is at one name of a chain; the name to go on with.
    fn step(
        &mut self,
        zone: &Zone,
        owner: &Name,
        qtype: RecordType,
        found: &Found<'_>,
        room: usize,
    ) -> Option<Name> {
        let Found::In { zone_labels, place } = found else {
            self.leaves = Some(owner.clone());
            return None;
        };
        let mut step = Step { zone, suffix: owner.trim_to(*zone_labels), owner, resolved: self, room };
        match step.take(place, qtype) {
            Taken::Records => None,
            Taken::Nothing(rcode) => {
                // An alias whose target has nothing keeps its CNAME, and exists.
                if step.resolved.answer.is_empty() {
                    step.resolved.rcode = rcode;
                }
                step.add_soa();
                None
            }
            Taken::Alias(target) => {
                let chain = &step.resolved.answer;
                if chain.iter().any(|set| set.owner == target) || chain.len() >= LONGEST_CHAIN {
                    step.add_soa();
                    return None;
                }
                Some(target)
            }
        }
    }
}

/// One name of a chain.
struct Step<'a> {
    zone: &'a Zone,
    owner: &'a Name,
    /// The zone, in the case of the question.
    suffix: Name,
    resolved: &'a mut Resolved,
    /// The most bytes of the answer.
    room: usize,
}

enum Taken {
    Records,
    Nothing(ResponseCode),
    Alias(Name),
}

const NODATA: Taken = Taken::Nothing(ResponseCode::NoError);

impl Step<'_> {
    fn take(&mut self, place: &Place<'_>, qtype: RecordType) -> Taken {
        let ttl = self.zone.config().ttl;
        match place {
            Place::Nothing => Taken::Nothing(ResponseCode::NXDomain),
            Place::Empty => NODATA,
            Place::Apex => match qtype {
                RecordType::SOA => {
                    let soa = self.soa();
                    self.add(soa.ttl, soa.data)
                }
                RecordType::NS => self.name_servers(),
                _ => NODATA,
            },
            Place::NameServer => {
                let servers = self.zone.name_servers();
                match qtype {
                    RecordType::A => {
                        self.add(ttl, RData::A(Set::Own(unique(servers.iter().flat_map(|s| &s.v4)))))
                    }
                    RecordType::AAAA => {
                        self.add(ttl, RData::Aaaa(Set::Own(unique(servers.iter().flat_map(|s| &s.v6)))))
                    }
                    _ => NODATA,
                }
            }
            Place::Version => match qtype {
                RecordType::TXT => self.add(VERSION_TTL, RData::Txt(VERSION.into())),
                _ => NODATA,
            },
            Place::Service(names) => match &names.kind {
                Kind::External(target) => self.alias(target, qtype),
                _ => self.node(names, &names.own, qtype),
            },
            Place::Port(names, at) => match names.ports.get(*at) {
                Some(port) => self.node(names, &port.node, qtype),
                None => NODATA,
            },
            Place::Ports(names, node) => self.node(names, node, qtype),
            Place::Host(names, at) => match names.hosts.get(*at) {
                Some(host) => self.host(names, host, qtype),
                None => NODATA,
            },
            Place::Alias(names, at) => match names.aliases.get(*at) {
                Some((_, target)) if is_address_or_alias(qtype) => self.alias(target, qtype),
                _ => NODATA,
            },
            Place::Pod(ip) => self.pod(*ip, qtype),
            Place::Reverse(pointers) => match qtype {
                RecordType::PTR => {
                    let primary = self.zone.primary();
                    let names = pointers
                        .iter()
                        .filter_map(|pointer| service_name(pointer.service(), pointer.host(), primary));
                    let names = names.collect();
                    self.add(ttl, RData::Ptr(names))
                }
                _ => NODATA,
            },
        }
    }

    /// Adds an RRset at the owner; no RRset is NODATA.
    fn add(&mut self, ttl: u32, data: RData) -> Taken {
        if data.is_empty() {
            return NODATA;
        }
        self.resolved.answer.push(RrSet { owner: self.owner.clone(), ttl, data });
        Taken::Records
    }

    /// Adds a CNAME, and says where to go on unless it was the CNAME that was asked for.
    fn alias(&mut self, target: &Name, qtype: RecordType) -> Taken {
        let taken = self.add(self.zone.config().ttl, RData::Cname(target.clone()));
        // ANY is answered with what is there, which is the CNAME (RFC 8482 4.1 allows any subset).
        if matches!(qtype, RecordType::CNAME | RecordType::ANY) {
            taken
        } else {
            Taken::Alias(target.clone())
        }
    }

    fn node(&mut self, names: &ServiceNames, node: &Node, qtype: RecordType) -> Taken {
        let ttl = self.zone.config().ttl;
        if let Some(target) = node.alias().filter(|_| is_address_or_alias(qtype)) {
            return self.alias(target, qtype);
        }
        match qtype {
            RecordType::A => self.add(ttl, RData::A(node.shared_v4().into())),
            RecordType::AAAA => self.add(ttl, RData::Aaaa(node.shared_v6().into())),
            RecordType::SRV => self.srv(names, node.srv()),
            _ => NODATA,
        }
    }

    fn srv(&mut self, names: &ServiceNames, set: &SrvSet) -> Taken {
        if let Some(records) = self.too_many(names, set) {
            return self.add(self.zone.config().ttl, RData::Srv(records));
        }
        let all = set.records();
        let mut records = Vec::with_capacity(all.len());
        let mut last: Option<(Target, Name)> = None;
        for (target, port) in all {
            // Records are sorted by target: each target's name and glue is made once.
            let name = match &last {
                Some((known, name)) if *known == target => name.clone(),
                _ => {
                    let host = match target {
                        Target::Own => None,
                        Target::Host(at) => names.hosts.get(at as usize),
                    };
                    let label = host.map(Host::label);
                    let Some(name) = service_name(&names.key, label, &self.suffix) else { continue };
                    match (host, target) {
                        (Some(host), Target::Host(at)) => {
                            let (v4, v6) = set.glue(at, host);
                            self.add_glue(&name, Set::Own(v4), Set::Own(v6));
                        }
                        _ => self.add_glue(&name, names.own.shared_v4().into(), names.own.shared_v6().into()),
                    }
                    last = Some((target, name.clone()));
                    name
                }
            };
            records.push(Srv { priority: 0, weight: set.weight(), port, target: name });
        }
        self.add(self.zone.config().ttl, RData::Srv(records))
    }

    /// As many SRV records as have no room, if there are so many. A Service of thousands of endpoints has too many for any
    /// message, and to make all of them takes milliseconds.
    fn too_many(&self, names: &ServiceNames, set: &SrvSet) -> Option<Vec<Srv>> {
        // Targets are written in full (RFC 2782).
        let enough = self.room / (SRV + names.key.name.len() + names.key.namespace.len()) + 1;
        if set.records().len() < enough {
            return None;
        }
        let srv = |(target, port)| {
            let host = match target {
                Target::Own => None,
                Target::Host(at) => names.hosts.get(at as usize).map(Host::label),
            };
            let target = service_name(&names.key, host, &self.suffix)?;
            Some(Srv { priority: 0, weight: set.weight(), port, target })
        };
        let records: Vec<Srv> = set.records().filter_map(srv).take(enough).collect();
        (records.len() == enough).then_some(records)
    }

    /// An endpoint's SRV records lead to itself.
    fn host(&mut self, names: &ServiceNames, host: Host<'_>, qtype: RecordType) -> Taken {
        let ttl = self.zone.config().ttl;
        match qtype {
            RecordType::A => self.add(ttl, RData::A(own4(host))),
            RecordType::AAAA => self.add(ttl, RData::Aaaa(own6(host))),
            RecordType::SRV => {
                let Some(target) = service_name(&names.key, Some(host.label()), &self.suffix) else {
                    return NODATA;
                };
                let records: Vec<Srv> = (host.ports().iter())
                    .map(|port| Srv {
                        priority: 0,
                        weight: host.weight(),
                        port: *port,
                        target: target.clone(),
                    })
                    .collect();
                if !records.is_empty() {
                    self.add_glue(&target, own4(host), own6(host));
                }
                self.add(ttl, RData::Srv(records))
            }
            _ => NODATA,
        }
    }

    fn pod(&mut self, ip: std::net::IpAddr, qtype: RecordType) -> Taken {
        use std::net::IpAddr::{V4, V6};
        let ttl = self.zone.config().ttl;
        let v4 = Set::Own(if let V4(ip) = ip { SmallVec::from_iter([ip]) } else { SmallVec::new() });
        let v6 = Set::Own(if let V6(ip) = ip { SmallVec::from_iter([ip]) } else { SmallVec::new() });
        match qtype {
            RecordType::A => self.add(ttl, RData::A(v4)),
            RecordType::AAAA => self.add(ttl, RData::Aaaa(v6)),
            RecordType::SRV => {
                let owner = self.owner.clone();
                self.add_glue(&owner, v4, v6);
                self.add(ttl, RData::Srv(vec![Srv { priority: 0, weight: 100, port: 0, target: owner }]))
            }
            _ => NODATA,
        }
    }

    fn name_servers(&mut self) -> Taken {
        let servers = self.zone.name_servers();
        let mut names = Vec::new();
        for server in servers.iter() {
            let name = match &server.name {
                NameServerName::Default => below(["ns", "dns"], &self.suffix),
                NameServerName::Service { service, host } => {
                    service_name(service, host.as_deref(), &self.suffix)
                }
            };
            let Some(name) = name else { continue };
            let (v4, v6) = (server.v4.as_slice(), server.v6.as_slice());
            self.add_glue(&name, Set::Own(SmallVec::from_slice(v4)), Set::Own(SmallVec::from_slice(v6)));
            names.push(name);
        }
        self.add(self.zone.config().ttl, RData::Ns(names))
    }

    fn add_glue(&mut self, owner: &Name, v4: Set<std::net::Ipv4Addr>, v6: Set<std::net::Ipv6Addr>) {
        let ttl = self.zone.config().ttl;
        for data in [RData::A(v4), RData::Aaaa(v6)] {
            if !data.is_empty() {
                self.resolved.additional.push(RrSet { owner: owner.clone(), ttl, data });
            }
        }
    }

    fn add_soa(&mut self) {
        let soa = self.soa();
        self.resolved.authority.push(soa);
    }

    fn soa(&self) -> RrSet {
        let ttl = self.zone.config().ttl;
        let name = |labels: &[&str]| {
            below(labels.iter().copied(), &self.suffix).unwrap_or_else(|| self.suffix.clone())
        };
        RrSet {
            owner: self.suffix.clone(),
            ttl: ttl.min(300),
            data: RData::Soa {
                mname: name(&["ns", "dns"]),
                rname: name(&["hostmaster"]),
                serial: self.zone.serial(),
                minimum: ttl,
            },
        }
    }
}

/// What endpoints that are domain names answer to.
fn is_address_or_alias(qtype: RecordType) -> bool {
    matches!(qtype, RecordType::A | RecordType::AAAA | RecordType::CNAME)
}

fn own4(host: Host<'_>) -> Set<std::net::Ipv4Addr> {
    Set::Own(SmallVec::from_slice(host.v4()))
}

fn own6(host: Host<'_>) -> Set<std::net::Ipv6Addr> {
    Set::Own(SmallVec::from_slice(host.v6()))
}

fn unique<'a, T: Copy + Ord + 'a>(items: impl Iterator<Item = &'a T>) -> SmallVec<[T; 2]> {
    let mut all: SmallVec<[T; 2]> = items.copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// `[<host>.]<service>.<namespace>.svc.<zone>`
pub(super) fn service_name(service: &Key, host: Option<&str>, zone: &Name) -> Option<Name> {
    let labels = host.into_iter().chain([service.name.as_str(), service.namespace.as_str(), "svc"]);
    below(labels, zone)
}

/// A name below a zone; `None` where it would be too long to be one.
pub(super) fn below<'a>(labels: impl IntoIterator<Item = &'a str>, zone: &Name) -> Option<Name> {
    let labels = Name::from_labels(labels.into_iter().map(str::as_bytes)).ok()?;
    labels.append_domain(zone).ok()
}
