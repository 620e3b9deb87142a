//! All records of a cluster's zone, for its secondaries.
//!
//! Every record is what the zone answers to its name and type, weights and TTLs too. Which names there are follows CoreDNS
//! (`plugin/kubernetes/xfr.go`): Services with their addresses, SRV records and aliases, named ports, endpoints of headless
//! Services; no names made of addresses of pods, and not `dns-version`. Unlike there, a Service without ports has no SRV
//! record, records are not shared out slice by slice, and a reverse zone has its PTR records.

use hickory_proto::rr::{Name, Record, RecordType};

use super::{
    RData, RrSet,
    reply::to_records,
    resolve::{Resolution, below, resolve, service_name},
};
use crate::zone::{Found, Kind, ServiceNames, Zone, is_reverse};

/// The records of the zone of this name, its SOA first; none before the first sync. `None` where it is not one of ours.
/// Only the SOA where `is_known` says so of its serial.
pub fn transfer(zone: &Zone, name: &Name, is_known: impl FnOnce(u32) -> bool) -> Option<Vec<Record>> {
    let apex = zone.config().zones.iter().find(|known| *known == name)?;
    if !zone.is_synced() {
        return Some(Vec::new());
    }
    let mut listing = Listing { zone, apex, records: Vec::new() };
    // The SOA before everything: what changes meanwhile has a later serial.
    listing.add(apex, RecordType::SOA);
    if is_known(zone.serial()) {
        return Some(listing.records);
    }
    listing.add_name_servers();
    if is_reverse(apex) {
        listing.add_addresses();
    } else {
        zone.all_services().iter().for_each(|names| listing.add_service(names));
    }
    Some(listing.records)
}

struct Listing<'a> {
    zone: &'a Zone,
    apex: &'a Name,
    records: Vec<Record>,
}

impl Listing<'_> {
    /// Adds the RRset of a name and type, if it is there.
    fn add(&mut self, owner: &Name, qtype: RecordType) {
        let Resolution::Resolved(resolved) = resolve(self.zone, owner, qtype) else { return };
        let own = |set: &&RrSet| set.owner == *owner && set.data.record_type() == qtype;
        self.records.extend(resolved.answer.iter().filter(own).flat_map(to_records));
    }

    fn add_name_servers(&mut self) {
        let Resolution::Resolved(resolved) = resolve(self.zone, self.apex, RecordType::NS) else { return };
        if resolved.answer.is_empty() {
            // A zone without NS records is none to a secondary: the one that the SOA names.
            let Some(server) = below(["ns", "dns"], self.apex) else { return };
            let ttl = self.zone.config().ttl;
            let set = RrSet { owner: self.apex.clone(), ttl, data: RData::Ns(vec![server]) };
            return self.records.extend(to_records(&set));
        }
        self.records.extend(resolved.answer.iter().flat_map(to_records));
        // Services that are name servers are listed with the others; these are not.
        let listed = |set: &RrSet| {
            !is_reverse(self.apex)
                && self
                    .zone
                    .look(&set.owner, |found| matches!(found, Found::In { place, .. } if place.is_listed()))
        };
        let glue = resolved.additional.iter().filter(|set| !listed(set));
        self.records.extend(glue.flat_map(to_records));
    }

    fn add_service(&mut self, names: &ServiceNames) {
        let Some(owner) = service_name(&names.key, None, self.apex) else { return };
        match names.kind {
            Kind::Hidden => return,
            Kind::External(_) => return self.add(&owner, RecordType::CNAME),
            Kind::ClusterIp | Kind::Headless => {}
        }
        for qtype in [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::SRV] {
            self.add(&owner, qtype);
        }
        for port in &names.ports {
            let labels = [format!("_{}", port.name), format!("_{}", port.protocol.label())];
            if let Some(owner) = below(labels.iter().map(String::as_str), &owner) {
                self.add(&owner, RecordType::SRV);
            }
        }
        if names.kind == Kind::Headless {
            for host in names.hosts.iter() {
                let Some(owner) = service_name(&names.key, Some(host.label()), self.apex) else { continue };
                self.add(&owner, RecordType::A);
                self.add(&owner, RecordType::AAAA);
            }
        }
    }

    fn add_addresses(&mut self) {
        for ip in self.zone.all_addresses() {
            let owner = Name::from(ip);
            let labels = usize::from(self.apex.num_labels());
            // The address may be in a longer zone of ours.
            let ours = self.apex.zone_of(&owner)
                && self.zone.look(
                    &owner,
                    |found| matches!(found, Found::In { zone_labels, .. } if zone_labels == labels),
                );
            if ours {
                self.add(&owner, RecordType::PTR);
            }
        }
    }
}
