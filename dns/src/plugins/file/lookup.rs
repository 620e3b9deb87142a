//! What a zone says to a name and type (RFC 1034 4.3.2): delegations, aliases, wildcards (RFC 4592), DNAMEs (RFC 6672),
//! and what is not there (RFC 2308), with the proofs that the file has (RFC 4035 3.1) where they are asked for.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::CNAME},
};

use super::data::{Node, Set, ZoneData};

/// The longest chain of aliases that is followed.
const LONGEST_CHAIN: usize = 8;
const TYPE_DNAME: u16 = 39;

/// What a zone says.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rcode: ResponseCode,
    /// It is the zone's own, and not a referral to another's servers.
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// The answer ends with an alias of this name, which is not in the zone.
    pub(super) leaves: Option<Name>,
}

/// Looks up a name of the zone.
pub(super) fn lookup(zone: &ZoneData, name: &Name, qtype: RecordType, dnssec: bool) -> Found {
    let found = Found {
        rcode: ResponseCode::NoError,
        authoritative: true,
        answers: Vec::new(),
        authorities: Vec::new(),
        additionals: Vec::new(),
        leaves: None,
    };
    let mut lookup = Lookup { zone, qtype, dnssec, found };
    let mut next = Some(name.clone());
    for _ in 0..=LONGEST_CHAIN {
        let Some(name) = next.take() else { break };
        if !zone.apex.zone_of(&name) {
            lookup.found.leaves = Some(name);
            break;
        }
        // A chain that comes back to where it was has been told whole.
        next = lookup.step(&name).filter(|next| {
            let told = |record: &Record| record.name == *next && record.record_type() == RecordType::CNAME;
            !lookup.found.answers.iter().any(told)
        });
    }
    lookup.add_addresses();
    lookup.found
}

struct Lookup<'a> {
    zone: &'a ZoneData,
    qtype: RecordType,
    dnssec: bool,
    found: Found,
}

impl<'a> Lookup<'a> {
    /// One name of a chain; the next where it is an alias.
    fn step(&mut self, name: &Name) -> Option<Name> {
        let (zone, depth) = (self.zone, count(&self.zone.apex));
        // From the apex down: what cuts the zone above the name decides.
        for labels in depth..=count(name) {
            let at = name.trim_to(labels);
            let Some(node) = zone.node(&at) else { continue };
            let is_name = labels == count(name);
            let delegates = labels > depth && get(node, RecordType::NS).is_some();
            // The DS of a delegation is this side's (RFC 4035 3.1.4.1).
            if delegates && !(is_name && self.qtype == RecordType::DS) {
                self.refer(&at, node);
                return None;
            }
            if !is_name && let Some(set) = get(node, RecordType::from(TYPE_DNAME)) {
                return self.substitute(name, &at, set);
            }
        }
        if let Some(node) = zone.node(name) {
            return self.take(name, node, None);
        }
        if zone.exists(name) {
            self.deny(ResponseCode::NoError, &[name]);
            return None;
        }
        let encloser = closest_encloser(zone, name);
        let wildcard = Name::from_labels([b"*".as_slice()]).and_then(|star| star.append_domain(&encloser));
        let Ok(wildcard) = wildcard else {
            self.deny(ResponseCode::NXDomain, &[name]);
            return None;
        };
        match zone.node(&wildcard) {
            Some(node) => self.take(name, node, Some(&wildcard)),
            None if zone.exists(&wildcard) => {
                self.deny(ResponseCode::NoError, &[name, &wildcard]);
                None
            }
            None => {
                self.deny(ResponseCode::NXDomain, &[name, &wildcard]);
                None
            }
        }
    }

    /// Answers with what is at a name, or at the wildcard that stands for it.
    fn take(&mut self, name: &Name, node: &'a Node, wildcard: Option<&Name>) -> Option<Name> {
        // Of everything that is there any part will do (RFC 8482 4.1).
        let set = if self.qtype == RecordType::ANY {
            node.values().find(|set| !set.records.is_empty())
        } else {
            get(node, self.qtype)
        };
        let alias = get(node, RecordType::CNAME).filter(|_| set.is_none() && self.qtype != RecordType::ANY);
        let Some(set) = set.or(alias) else {
            let at: Vec<&Name> = std::iter::once(name).chain(wildcard).collect();
            self.deny(ResponseCode::NoError, &at);
            return None;
        };
        self.add(name, set);
        if wildcard.is_some() {
            // That there is no closer match is to be proved (RFC 4035 3.1.3.3).
            self.prove(&[name]);
        }
        match alias.and_then(|set| set.records.first()).map(|record| &record.data) {
            Some(RData::CNAME(CNAME(target))) => Some(target.clone()),
            _ => None,
        }
    }

    /// Adds a set to the answer, under the name that was asked for.
    fn add(&mut self, name: &Name, set: &Set) {
        let signatures = if self.dnssec { &set.signatures[..] } else { &[] };
        for record in set.records.iter().chain(signatures) {
            let mut record = record.clone();
            record.name = name.clone();
            self.found.answers.push(record);
        }
    }

    /// A DNAME above the name: the name is an alias of the same below its target (RFC 6672 3).
    fn substitute(&mut self, name: &Name, at: &Name, set: &Set) -> Option<Name> {
        let record = set.records.first()?;
        let owner = at.clone();
        self.add(&owner, set);
        let target = dname(record)?;
        let kept = count(name).saturating_sub(count(at));
        let prefix = Name::from_labels(name.iter().take(kept));
        let Ok(alias) = prefix.and_then(|prefix| prefix.append_domain(&target)) else {
            self.found.rcode = ResponseCode::YXDomain;
            return None;
        };
        self.found.answers.push(Record::from_rdata(
            name.clone(),
            record.ttl,
            RData::CNAME(CNAME(alias.clone())),
        ));
        (self.qtype != RecordType::CNAME).then_some(alias)
    }

    /// Leads to the servers of a delegation, with their addresses where they are known here.
    fn refer(&mut self, at: &Name, node: &Node) {
        // Behind an alias the answer is ours all the same.
        self.found.authoritative = !self.found.answers.is_empty();
        let Some(servers) = get(node, RecordType::NS) else { return };
        self.found.authorities.extend(servers.records.iter().cloned());
        if self.dnssec {
            match get(node, RecordType::DS) {
                Some(set) => {
                    self.found.authorities.extend(set.records.iter().chain(&set.signatures).cloned());
                }
                None => self.prove(&[at]),
            }
        }
        let targets: Vec<Name> = servers.records.iter().filter_map(target).cloned().collect();
        targets.iter().for_each(|target| self.add_address(target));
    }

    fn deny(&mut self, rcode: ResponseCode, at: &[&Name]) {
        self.found.rcode = rcode;
        let denial = self.zone.denial();
        let signatures = if self.dnssec { denial.len() } else { 1 };
        self.found.authorities.extend(denial.into_iter().take(signatures));
        self.prove(at);
    }

    /// Adds the NSEC records that match or cover the names, each once.
    fn prove(&mut self, at: &[&Name]) {
        if !self.dnssec || !self.zone.signed {
            return;
        }
        for set in at.iter().filter_map(|name| self.zone.nsec(name)) {
            for record in set.records.iter().chain(&set.signatures) {
                if !self.found.authorities.contains(record) {
                    self.found.authorities.push(record.clone());
                }
            }
        }
    }

    /// After the answer: the zone's servers, as CoreDNS has them, and addresses of the names that the answer leads to.
    fn add_addresses(&mut self) {
        let found = &mut self.found;
        if found.answers.is_empty() || found.rcode != ResponseCode::NoError {
            return;
        }
        let zone = self.zone;
        let is_own =
            self.qtype == RecordType::NS && found.answers.iter().any(|record| record.name == zone.apex);
        if found.authorities.is_empty()
            && !is_own
            && let Some(set) = zone.set(&zone.apex, RecordType::NS)
        {
            let signatures = if self.dnssec { &set.signatures[..] } else { &[] };
            found.authorities.extend(set.records.iter().chain(signatures).cloned());
        }
        let targets: Vec<Name> = found.answers.iter().filter_map(target).cloned().collect();
        for target in targets {
            self.add_address(&target);
        }
    }

    fn add_address(&mut self, name: &Name) {
        if !self.zone.apex.zone_of(name) || self.found.additionals.iter().any(|record| record.name == *name) {
            return;
        }
        for kind in [RecordType::A, RecordType::AAAA] {
            let Some(set) = self.zone.set(name, kind) else { continue };
            let signatures = if self.dnssec { &set.signatures[..] } else { &[] };
            self.found.additionals.extend(set.records.iter().chain(signatures).cloned());
        }
    }
}

fn get(node: &Node, kind: RecordType) -> Option<&Set> {
    node.get(&kind).filter(|set| !set.records.is_empty())
}

/// The labels of a name, a wildcard's too.
fn count(name: &Name) -> usize {
    name.iter().len()
}

/// The longest ancestor of a name that exists.
fn closest_encloser(zone: &ZoneData, name: &Name) -> Name {
    let mut at = name.base_name();
    while count(&at) > count(&zone.apex) && !zone.exists(&at) {
        at = at.base_name();
    }
    at
}

/// The host that a record leads to.
fn target(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::NS(ns) => Some(&ns.0),
        RData::MX(mx) => Some(&mx.exchange),
        RData::SRV(srv) => Some(&srv.target),
        _ => None,
    }
}

/// The target of a DNAME, which the codec does not know.
fn dname(record: &Record) -> Option<Name> {
    use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
    match &record.data {
        RData::Unknown { rdata, .. } => Name::read(&mut BinDecoder::new(&rdata.anything)).ok(),
        _ => None,
    }
}
