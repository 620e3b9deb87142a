//! A zone as it is answered from: its records by name, in the order of names.
//!
//! The order is the canonical one (RFC 4034 6.1), in which all names below a name follow it: so that a name without records
//! is known to have names below (RFC 8020), and the NSEC record that covers a name is the last before it.

use std::{collections::BTreeMap, ops::Bound};

use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

/// Records of one name, by type. Signatures are with the type that they cover.
pub(super) type Node = BTreeMap<RecordType, Set>;

/// An RRset and its signatures.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) records: Vec<Record>,
    pub(super) signatures: Vec<Record>,
}

/// A loaded zone.
#[derive(Debug)]
pub(super) struct ZoneData {
    pub(super) apex: Name,
    soa: Record,
    pub(super) serial: u32,
    /// TTL of negative answers (RFC 2308 3).
    pub(super) negative_ttl: u32,
    nodes: BTreeMap<LowerName, Node>,
    /// It has NSEC records: it is signed, and denials are proved.
    pub(super) signed: bool,
}

const TYPE_RRSIG: u16 = 46;
const TYPE_NSEC: u16 = 47;

impl ZoneData {
    /// A zone of these records, all of which are in it.
    ///
    /// # Errors
    /// When it has no SOA, or several.
    pub(super) fn new(apex: Name, records: Vec<Record>) -> Result<Self, String> {
        let mut nodes: BTreeMap<LowerName, Node> = BTreeMap::new();
        let mut signed = false;
        for record in records {
            let node = nodes.entry(LowerName::new(&record.name)).or_default();
            let kind = record.record_type();
            signed |= u16::from(kind) == TYPE_NSEC;
            let set = match covered(&record) {
                Some(covered) => &mut node.entry(covered).or_default().signatures,
                None => &mut node.entry(kind).or_default().records,
            };
            match set.first() {
                // Records of a set have one TTL, the least (RFC 2181 5.2).
                Some(first) if first.ttl != record.ttl => {
                    let least = first.ttl.min(record.ttl);
                    set.push(record);
                    set.iter_mut().for_each(|record| record.ttl = least);
                }
                _ => set.push(record),
            }
        }
        for set in nodes.values_mut().flat_map(BTreeMap::values_mut) {
            once_each(&mut set.records);
            once_each(&mut set.signatures);
        }
        let soas = nodes.get(&LowerName::new(&apex)).and_then(|node| node.get(&RecordType::SOA));
        let soa = match soas.map_or(&[][..], |set| &set.records) {
            [soa] => soa.clone(),
            [] => return Err(format!("has no SOA record for origin {apex}")),
            _ => return Err(format!("has more than one SOA record for origin {apex}")),
        };
        let RData::SOA(data) = &soa.data else { return Err("its SOA makes no sense".to_owned()) };
        let (serial, negative_ttl) = (data.serial, soa.ttl.min(data.minimum));
        Ok(Self { apex, soa, serial, negative_ttl, nodes, signed })
    }

    /// The records of a name.
    pub(super) fn node(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(&LowerName::new(name))
    }

    /// A set of a name.
    pub(super) fn set(&self, name: &Name, kind: RecordType) -> Option<&Set> {
        self.node(name)?.get(&kind).filter(|set| !set.records.is_empty())
    }

    /// Whether a name has records, or names below it have.
    pub(super) fn exists(&self, name: &Name) -> bool {
        let key = LowerName::new(name);
        let from = (Bound::Included(&key), Bound::Unbounded);
        self.nodes.range::<LowerName, _>(from).next().is_some_and(|(next, _)| key.zone_of(next))
    }

    /// The NSEC record that matches a name or covers it: that of the name itself or of the last before it that has one.
    pub(super) fn nsec(&self, name: &Name) -> Option<&Set> {
        let key = LowerName::new(name);
        let upto = (Bound::Unbounded, Bound::Included(&key));
        let nodes = self.nodes.range::<LowerName, _>(upto).rev();
        nodes
            .filter_map(|(_, node)| node.get(&RecordType::from(TYPE_NSEC)))
            .find(|set| !set.records.is_empty())
    }

    /// The SOA as negative answers have it, and its signatures.
    pub(super) fn denial(&self) -> Vec<Record> {
        let mut set = self.set(&self.apex, RecordType::SOA).cloned().unwrap_or_default();
        let records = set.records.iter_mut().chain(&mut set.signatures);
        records.for_each(|record| record.ttl = self.negative_ttl.min(record.ttl));
        set.records.append(&mut set.signatures);
        set.records
    }

    /// Every record, the SOA first.
    pub(super) fn all(&self) -> Vec<Record> {
        let sets = self.nodes.values().flat_map(BTreeMap::values);
        let records = sets
            .flat_map(|set| set.records.iter().chain(&set.signatures))
            .filter(|record| **record != self.soa);
        std::iter::once(&self.soa).chain(records).cloned().collect()
    }

    /// The SOA.
    pub(super) fn soa(&self) -> &Record {
        &self.soa
    }
}

/// The type that a signature covers; `None` of what is no signature.
fn covered(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::Unknown { code, rdata } if u16::from(*code) == TYPE_RRSIG => match rdata.anything.as_slice() {
            [high, low, ..] => Some(RecordType::from(u16::from_be_bytes([*high, *low]))),
            _ => None,
        },
        _ => None,
    }
}

/// Leaves out records that are there already.
fn once_each(records: &mut Vec<Record>) {
    let mut seen = std::collections::HashSet::with_capacity(records.len());
    records.retain(|record| seen.insert(record.data.clone()));
}
