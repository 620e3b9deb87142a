//! What is at a name of the zone (`coredns` `plugin/k8s_external/{apex,msg_to_dns,transfer}.go`).

use std::{collections::BTreeSet, net::IpAddr, ops::Bound};

use callsign_shared::object::SliceAddress;
use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV},
    },
};

use super::{External, NAME};
use crate::{
    folded::Folded,
    plugin::Reply,
    plugins::transfer::is_up_to_date,
    zone::{Outside, OutsidePlace, Range, Zone, is_reverse, read_reverse},
};

/// Names to be looked up in the whole server, and whether their records are part of the answer or additional.
type Leaves = Vec<(Name, bool)>;

/// An answer that is being made.
pub(super) struct Answer<'a> {
    external: &'a External,
    zone: &'a Zone,
    /// The zone's name, in the case of the question.
    apex: Name,
    pub(super) reply: Reply,
}

/// What is at a name.
enum Place {
    Nothing,
    Empty,
    Apex,
    NameServer,
    Outside(Vec<Outside>),
    Pointers(Vec<Name>),
}

impl<'a> Answer<'a> {
    pub(super) fn new(external: &'a External, zone: &'a Zone, apex: Name) -> Self {
        let reply =
            Reply { authoritative: true, from_cluster: true, ..Reply::new(NAME, ResponseCode::NoError) };
        Self { external, zone, apex, reply }
    }

    /// Answers a question of the zone; returns what has to be looked up elsewhere.
    pub(super) fn resolve(&mut self, name: &Name, qtype: RecordType) -> Leaves {
        if !self.zone.is_synced() {
            self.deny(ResponseCode::ServFail);
            return Leaves::new();
        }
        let mut leaves = Leaves::new();
        match self.find(name) {
            Place::Nothing => self.deny(ResponseCode::NXDomain),
            Place::Empty => {}
            Place::Apex => match qtype {
                RecordType::SOA => self.reply.answers.push(self.soa()),
                RecordType::NS => {
                    let server = self.server();
                    self.add(&self.apex.clone(), RData::NS(NS(server.clone())));
                    let glue = self.server_addresses().into_iter().map(|data| self.record(&server, data));
                    self.reply.additionals = glue.collect();
                }
                _ => {}
            },
            Place::NameServer => {
                for data in self.server_addresses() {
                    if data.record_type() == qtype {
                        self.add(name, data);
                    }
                }
            }
            Place::Outside(found) => leaves = self.add_outside(name, qtype, &found),
            Place::Pointers(targets) if qtype == RecordType::PTR => {
                targets.into_iter().for_each(|target| self.add(name, RData::PTR(PTR(target))));
            }
            Place::Pointers(_) => {}
        }
        if self.reply.answers.is_empty() && self.reply.authorities.is_empty() {
            self.deny(ResponseCode::NoError);
        }
        leaves
    }

    fn find(&self, name: &Name) -> Place {
        let below = name.iter().len().saturating_sub(self.apex.iter().len());
        let labels: Vec<String> = (name.iter().take(below).collect::<Vec<_>>().into_iter().rev())
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => return Place::Apex,
            [apex] if *apex == self.external.settings.apex => return Place::Empty,
            [apex, "ns1"] if *apex == self.external.settings.apex => return Place::NameServer,
            [apex, ..] if *apex == self.external.settings.apex => return Place::Nothing,
            _ => {}
        }
        if is_reverse(&self.apex) {
            return self.find_reverse(name);
        }
        match self.zone.outside(&labels, self.external.settings.headless) {
            OutsidePlace::Nothing => Place::Nothing,
            OutsidePlace::Empty => Place::Empty,
            OutsidePlace::Found(found) => Place::Outside(found),
        }
    }

    fn find_reverse(&self, name: &Name) -> Place {
        let known = self.external.reverse(self.zone);
        match read_reverse(&Folded::of(name)) {
            Range::One(ip) => match known.addresses.get(&ip) {
                Some(keys) => Place::Pointers(self.pointers(keys)),
                None => Place::Nothing,
            },
            Range::Many(first, last) => {
                let any = known.addresses.range((Bound::Included(first), Bound::Included(last))).next();
                any.map_or(Place::Nothing, |_| Place::Empty)
            }
            Range::Nothing => Place::Nothing,
        }
    }

    /// PTR records lead into the first zone that is not a reverse one.
    fn pointers(&self, keys: &[callsign_shared::name::Key]) -> Vec<Name> {
        let mut zones = self.external.settings.zones.0.iter();
        let Some(forward) = zones.find(|zone| !is_reverse(zone)) else { return Vec::new() };
        keys.iter().filter_map(|key| below(&[key.name.as_str(), key.namespace.as_str()], forward)).collect()
    }

    /// Adds the records of a type; returns what has to be looked up elsewhere.
    fn add_outside(&mut self, name: &Name, qtype: RecordType, found: &[Outside]) -> Leaves {
        let ips: BTreeSet<IpAddr> = found.iter().filter_map(ip_of).collect();
        // A CNAME stands alone (RFC 2181 10.1): addresses go before it, and one of several is chosen.
        let alias = found.iter().filter_map(name_of).min().filter(|_| ips.is_empty());
        match (qtype, alias) {
            (RecordType::A | RecordType::AAAA | RecordType::CNAME, Some(target)) => {
                self.add(name, RData::CNAME(CNAME(target.clone())));
                if qtype == RecordType::CNAME { Leaves::new() } else { vec![(target, true)] }
            }
            (RecordType::A | RecordType::AAAA, None) => {
                for data in ips.into_iter().map(address).filter(|data| data.record_type() == qtype) {
                    self.add(name, data);
                }
                Leaves::new()
            }
            (RecordType::SRV, _) => self.add_srv(name, found),
            _ => Leaves::new(),
        }
    }

    fn add_srv(&mut self, name: &Name, found: &[Outside]) -> Leaves {
        // Each candidate counts the same, before equal records become one.
        let share = 100.0 / found.len().max(1) as f64;
        let weight = (share as u16).max(1);
        let service = self.service_of(name);
        let mut leaves = BTreeSet::new();
        let (mut records, mut glue) = (BTreeSet::new(), BTreeSet::new());
        for one in found {
            let Some(port) = one.port else { continue };
            let target = match (name_of(one), &one.host) {
                (Some(target), _) => {
                    leaves.insert(target.clone());
                    target
                }
                (None, Some(host)) => match below(&[host.as_str()], &service) {
                    Some(target) => target,
                    None => continue,
                },
                (None, None) => service.clone(),
            };
            glue.extend(ip_of(one).map(|ip| (target.clone(), ip)));
            records.insert((target, port));
        }
        for (target, port) in records {
            self.add(name, RData::SRV(SRV::new(0, weight, port, target)));
        }
        for (target, ip) in glue {
            let record = self.record(&target, address(ip));
            self.reply.additionals.push(record);
        }
        leaves.into_iter().map(|target| (target, false)).collect()
    }

    /// The Service's own name, which a name below it ends with.
    fn service_of(&self, name: &Name) -> Name {
        name.trim_to(self.apex.iter().len() + 2)
    }

    /// Every record of the zone, the SOA first; the SOA alone for a client that has this serial.
    pub(super) fn transfer(mut self, unless: Option<u32>) -> Vec<Record> {
        if !self.zone.is_synced() {
            return Vec::new();
        }
        let mut records = vec![self.soa()];
        if is_up_to_date(unless, self.zone.serial()) {
            return records;
        }
        let apex = self.apex.clone();
        let server = self.server();
        records.push(self.record(&apex, RData::NS(NS(server.clone()))));
        records.extend(self.server_addresses().into_iter().map(|data| self.record(&server, data)));
        if is_reverse(&apex) {
            for (ip, keys) in &self.external.reverse(self.zone).addresses {
                let owner = Name::from(*ip);
                if apex.zone_of(&owner) {
                    let pointers = self.pointers(keys).into_iter().map(|target| RData::PTR(PTR(target)));
                    records.extend(pointers.map(|data| self.record(&owner, data)));
                }
            }
            return records;
        }
        let headless = self.external.settings.headless;
        for key in self.zone.outside_services(headless) {
            for labels in self.zone.outside_names(&key, headless) {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                let Some(owner) = below(&labels, &apex) else { continue };
                let kinds: &[RecordType] = match labels.len() {
                    2 => &[RecordType::CNAME, RecordType::A, RecordType::AAAA, RecordType::SRV],
                    3 => &[RecordType::A, RecordType::AAAA],
                    _ => &[RecordType::SRV],
                };
                for qtype in kinds.iter().copied() {
                    self.reply = Reply::new(NAME, ResponseCode::NoError);
                    self.resolve(&owner, qtype);
                    let own = |record: &Record| record.record_type() == qtype;
                    let before = records.len();
                    records.extend(std::mem::take(&mut self.reply.answers).into_iter().filter(own));
                    // Beside a CNAME there is nothing.
                    if qtype == RecordType::CNAME && records.len() > before {
                        break;
                    }
                }
            }
        }
        records
    }

    fn server(&self) -> Name {
        below(&["ns1", &self.external.settings.apex], &self.apex).unwrap_or_else(|| self.apex.clone())
    }

    fn server_addresses(&self) -> Vec<RData> {
        self.zone.outside_servers(self.external.settings.headless).into_iter().map(address).collect()
    }

    fn add(&mut self, owner: &Name, data: RData) {
        let record = self.record(owner, data);
        self.reply.answers.push(record);
    }

    fn record(&self, owner: &Name, data: RData) -> Record {
        Record::from_rdata(owner.clone(), self.external.settings.ttl, data)
    }

    fn deny(&mut self, rcode: ResponseCode) {
        self.reply.rcode = rcode;
        let soa = self.soa();
        self.reply.authorities.push(soa);
    }

    fn soa(&self) -> Record {
        let settings = &self.external.settings;
        let mailbox = below(&["hostmaster", &settings.apex], &self.apex).unwrap_or_else(|| self.apex.clone());
        let soa = SOA::new(self.server(), mailbox, self.zone.serial(), 7200, 1800, 86400, settings.ttl);
        self.record(&self.apex, RData::SOA(soa))
    }
}

fn ip_of(one: &Outside) -> Option<IpAddr> {
    if let SliceAddress::Ip(ip) = &one.address { Some(*ip) } else { None }
}

/// The name of a load balancer that has one instead of an address.
fn name_of(one: &Outside) -> Option<Name> {
    let SliceAddress::Name(text) = &one.address else { return None };
    let mut name = Name::from_ascii(text.as_str()).ok().filter(|name| !name.is_root())?;
    name.set_fqdn(true);
    Some(name)
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn below(labels: &[&str], zone: &Name) -> Option<Name> {
    Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?.append_domain(zone).ok()
}
