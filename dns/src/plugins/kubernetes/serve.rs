//! The zone as a step of a chain.

use std::{net::IpAddr, sync::Arc};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};

use crate::{
    answer::{self, Answered, Plain, Resolution, Resolved},
    folded::{Folded, Suffix},
    plugin::{Label, Next, Plugin, Query, Quick, Quickly, Reply},
    plugins::transfer::is_up_to_date,
    zone::{Found, Place, Pods, Zone},
};

const NAME: &str = "kubernetes";

/// A cluster's names.
pub struct Kubernetes {
    pub(super) zone: Arc<Zone>,
    fallthrough: Vec<Suffix>,
    /// What the search paths of pods end with.
    search: Vec<Name>,
}

impl Kubernetes {
    /// A step that answers from this zone, and passes on names in `fallthrough` that are not there. `search` is what the
    /// search paths of pods end with.
    pub fn new(zone: Arc<Zone>, fallthrough: Vec<Name>, search: Vec<Name>) -> Self {
        Self { zone, fallthrough: fallthrough.iter().map(Suffix::of).collect(), search }
    }

    /// Whether this plain answer is the next plugin's to give.
    fn passes_on(&self, name: &Folded, found: &Found<'_>, plain: Plain<'_>) -> bool {
        let absent = match plain {
            Plain::Nothing(ResponseCode::NXDomain) => true,
            Plain::Nothing(_) => matches!(found, Found::In { place: Place::Empty, .. }) && name.is_reverse(),
            _ => false,
        };
        absent && self.is_passed_on(name)
    }

    /// Whether this answer is the next plugin's to give: the zone has nothing there, at most names below.
    fn falls_through(&self, name: &Name, resolved: &Resolved) -> bool {
        resolved.answer.is_empty()
            && (resolved.rcode == ResponseCode::NXDomain || resolved.in_reverse_gap)
            && self.is_passed_on(&Folded::of(name))
    }

    /// Answers with what was found.
    fn quick_found(&self, question: &Quick<'_>, found: &Found<'_>, out: &mut Vec<u8>) -> Quickly {
        let qtype = question.asked.qtype;
        if let Some(plain) = Plain::of(found, qtype).filter(|_| self.zone.is_synced()) {
            if self.passes_on(&question.asked.name, found, plain) {
                return Quickly::Pass;
            }
            if let Some(rcode) = plain.write(question, &self.zone, found, out) {
                let qtype = Some(qtype);
                return Quickly::Answered(Answered { rcode, qtype, from_zone: true, plugin: NAME });
            }
        }
        if let Found::Outside = found {
            return Quickly::Pass;
        }
        let name = question.name();
        let room = question.asked.limit(question.peer.transport, question.payload);
        let resolved = match answer::resolve_found(&self.zone, name, qtype, found, room) {
            Resolution::Outside => return Quickly::Pass,
            Resolution::NotReady(resolved) => resolved,
            Resolution::Resolved(resolved) if resolved.leaves.is_some() => return Quickly::Slow,
            Resolution::Resolved(resolved) if self.falls_through(name, &resolved) => return Quickly::Pass,
            Resolution::Resolved(resolved) => resolved,
        };
        Quickly::Answered(answer::write_quick(question, resolved, NAME, out))
    }

    fn is_passed_on(&self, name: &Folded) -> bool {
        self.fallthrough.iter().any(|zone| zone.holds(name))
    }
}

impl Plugin for Kubernetes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, out: &mut Vec<u8>) -> Quickly {
        if matches!(question.asked.qtype, RecordType::AXFR | RecordType::IXFR) {
            return Quickly::Slow;
        }
        self.zone.look_folded(&question.asked.name, |found| self.quick_found(question, &found, out))
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let (name, qtype) = (&query.question.name, query.question.qtype);
        let resolved = match answer::resolve(&self.zone, name, qtype) {
            Resolution::Outside => return next.serve(query),
            Resolution::NotReady(resolved) => {
                let reply = Reply { from_cluster: true, ..answer::to_reply(resolved, NAME) };
                return Box::pin(std::future::ready(reply));
            }
            Resolution::Resolved(resolved) if self.falls_through(name, &resolved) => {
                return next.serve(query);
            }
            Resolution::Resolved(_) if matches!(qtype, RecordType::AXFR | RecordType::IXFR) => {
                return Box::pin(std::future::ready(Reply::new(NAME, ResponseCode::Refused)));
            }
            Resolution::Resolved(resolved) => resolved,
        };
        let leaves = resolved.leaves.clone();
        let mut reply = answer::to_reply(resolved, NAME);
        reply.from_cluster = true;
        Box::pin(async move {
            // A stub resolver does not follow a CNAME by itself. Where nobody can, it gets what we know.
            if let Some(target) = leaves.filter(|_| !matches!(qtype, RecordType::CNAME)) {
                let found = query.lookup(target, qtype).await;
                // What was found elsewhere may be cached by whoever found it, and the whole may not: the alias may change.
                reply.truncated |= found.truncated;
                reply.answers.extend(found.answers);
            }
            reply
        })
    }

    fn ready(&self) -> bool {
        self.zone.is_synced()
    }

    fn metadata(&self, query: &Query, add: &mut dyn FnMut(Label, String)) {
        self.describe_query(query, add);
    }

    fn search_path(&self, name: &Name, client: IpAddr) -> Option<Vec<Name>> {
        let zones = self.zone.config().zones.iter().filter(|zone| zone.zone_of(name));
        let zone = zones.max_by_key(|zone| zone.num_labels())?;
        let pod = self.zone.client(client)?;
        let below =
            |labels: &[&[u8]]| Name::from_labels(labels.iter().copied()).ok()?.append_domain(zone).ok();
        let namespace = pod.meta.key.namespace.as_str().as_bytes();
        let mut search = vec![below(&[namespace, b"svc"])?, below(&[b"svc"])?, zone.clone()];
        search.extend(self.search.iter().cloned());
        Some(search)
    }

    fn walks_paths(&self) -> Option<bool> {
        Some(self.zone.config().pods == Pods::Verified)
    }

    fn transfer(&self, zone: &Name, unless: Option<u32>) -> Option<Vec<Record>> {
        answer::transfer(&self.zone, zone, |ours| is_up_to_date(unless, ours))
    }

    fn transferable(&self) -> Vec<Name> {
        self.zone.config().zones.clone()
    }

    fn owns(&self, name: &Name, qtype: RecordType) -> bool {
        match answer::resolve(&self.zone, name, qtype) {
            Resolution::Outside => false,
            Resolution::NotReady(_) => true,
            Resolution::Resolved(resolved) => !self.falls_through(name, &resolved),
        }
    }

    fn cluster(&self) -> Option<&Arc<Zone>> {
        Some(&self.zone)
    }
}
