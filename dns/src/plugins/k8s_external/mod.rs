//! `k8s_external`: Services as they are reached from outside of the cluster.
//!
//! ```text
//!   k8s_external [ZONE…] {
//!       apex LABEL          what the zone's own names are below: ns1.<label>.<zone> (dns)
//!       ttl SECONDS
//!       headless            headless Services without external addresses answer with their endpoints
//!       fallthrough [ZONE…]
//!   }
//! ```
//!
//! `<service>.<namespace>.<zone>` has the external addresses of a Service and those of its load balancer; `_port._protocol`
//! below it has its ports; a reverse zone has PTR records of these addresses. What there is comes from the index of the
//! block's `kubernetes` ([`crate::zone::Zone::outside`]).

mod answer;
mod directive;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use callsign_shared::name::Key;
use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};

pub use directive::setup;

use super::reading::Zones;
use crate::{
    answer::CLASS_IN,
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply, StartError},
    zone::Zone,
};

const NAME: &str = "k8s_external";

/// How far behind the external addresses of reverse zones may be: they are gathered from all Services.
const OLDEST: Duration = Duration::from_secs(1);

/// What the directive says.
#[derive(Debug)]
struct Settings {
    zones: Zones,
    apex: String,
    ttl: u32,
    headless: bool,
    fallthrough: Zones,
}

/// The plugin.
struct External {
    settings: Arc<Settings>,
    /// The cluster's names, once the block has been started.
    zone: OnceLock<Arc<Zone>>,
    /// The external addresses, as they were at a serial.
    reverse: ArcSwapOption<Reverse>,
}

/// Which Services an address leads to.
struct Reverse {
    serial: u32,
    made: Instant,
    addresses: BTreeMap<IpAddr, Vec<Key>>,
}

impl External {
    /// The external addresses as they are now.
    fn reverse(&self, zone: &Zone) -> Arc<Reverse> {
        let serial = zone.serial();
        let fresh = |known: &Arc<Reverse>| known.serial == serial || known.made.elapsed() < OLDEST;
        match self.reverse.load_full().filter(fresh) {
            Some(known) => known,
            None => {
                let fresh =
                    Arc::new(Reverse { serial, made: Instant::now(), addresses: zone.outside_addresses() });
                self.reverse.store(Some(Arc::clone(&fresh)));
                fresh
            }
        }
    }

    /// The zone of the cluster and the directive's zone that a name is in.
    fn zones_of(&self, name: &Name) -> Option<(&Arc<Zone>, &Name)> {
        Some((self.zone.get()?, self.settings.zones.longest(name)?))
    }
}

impl Plugin for External {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&self, block: &[Arc<dyn Plugin>]) -> Result<(), StartError> {
        match block.iter().find_map(|plugin| plugin.cluster()) {
            // A block is started once.
            Some(zone) => _ = self.zone.set(Arc::clone(zone)),
            // As with CoreDNS, which passes everything on then.
            None => {
                tracing::warn!(target: "plugin/k8s_external", "there is no kubernetes in the block: nothing is answered");
            }
        }
        Ok(())
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        match self.zones_of(question.name()) {
            Some(_) => Quickly::Slow,
            None => Quickly::Pass,
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let (name, qtype) = (query.name().clone(), query.qtype());
        let Some((zone, apex)) = self.zones_of(&name).filter(|_| query.question.qclass == CLASS_IN) else {
            return next.serve(query);
        };
        if matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
            return Box::pin(std::future::ready(Reply::new(NAME, ResponseCode::Refused)));
        }
        let mut answer = answer::Answer::new(self, zone, name.trim_to(apex.iter().len()));
        let leaves = answer.resolve(&name, qtype);
        if answer.reply.rcode == ResponseCode::NXDomain && self.settings.fallthrough.have(&name) {
            return next.serve(query);
        }
        let mut reply = answer.reply;
        Box::pin(async move {
            for (target, into_answer) in leaves {
                let kinds = if into_answer { vec![qtype] } else { vec![RecordType::A, RecordType::AAAA] };
                for kind in kinds {
                    let found = query.lookup(target.clone(), kind).await;
                    reply.truncated |= found.truncated && into_answer;
                    let section = if into_answer { &mut reply.answers } else { &mut reply.additionals };
                    section.extend(found.answers);
                }
            }
            reply
        })
    }

    fn transfer(&self, name: &Name, unless: Option<u32>) -> Option<Vec<Record>> {
        let (zone, apex) = self.zones_of(name).filter(|(_, apex)| *apex == name)?;
        Some(answer::Answer::new(self, zone, apex.clone()).transfer(unless))
    }

    fn transferable(&self) -> Vec<Name> {
        self.settings.zones.0.clone()
    }
}

#[cfg(test)]
mod tests;
