//! `file`: zones from zone files.
//!
//! ```text
//!   file DBFILE [ZONE…] {
//!       reload DURATION          how often to look for another serial; 0: never
//!       reload_by_mtime          take a file that was written since, whatever its serial
//!       fallthrough [ZONE…]      names that are not there are the next plugin's
//!   }
//! ```
//!
//! Answers are authoritative (RFC 1034 4.3.2); aliases that lead out of the zone are completed by asking the whole server.
//! A file that turns bad changes nothing: the zone stays as it was, and the reason is logged once.

mod data;
mod directive;
#[cfg(feature = "testing")]
pub mod exposed;
mod generate;
mod lookup;
mod master;
mod reload;
mod words;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};

use data::ZoneData;
pub use directive::setup;
pub(crate) use master::record;

use super::{reading::Zones, transfer::is_up_to_date};
use crate::{
    answer::CLASS_IN,
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply},
};

const NAME: &str = "file";

/// One zone of a file.
#[derive(Debug)]
struct Served {
    zone: Name,
    path: PathBuf,
    /// How often to look at the file.
    reload: Duration,
    by_time: bool,
    /// What was read of it; `None` while there is no file.
    data: ArcSwapOption<ZoneData>,
}

/// The plugin: all files of a block.
struct File {
    served: Vec<Arc<Served>>,
    fallthrough: Zones,
}

impl File {
    /// The longest zone that a name is in; of equal ones the last.
    fn zone_of(&self, name: &Name) -> Option<&Arc<Served>> {
        let holds = self.served.iter().filter(|served| served.zone.zone_of(name));
        holds.max_by_key(|served| served.zone.num_labels())
    }

    /// The zone that a question is for: that of a DS is the parent's, where it is here too (RFC 4035 3.1.4.1).
    fn zone_for(&self, name: &Name, qtype: RecordType) -> Option<&Arc<Served>> {
        let parent = (!name.is_root() && qtype == RecordType::DS).then(|| self.zone_of(&name.base_name()));
        parent.flatten().or_else(|| self.zone_of(name))
    }

    async fn answer(&self, query: &mut Query, next: Next<'_>, data: &ZoneData) -> Reply {
        let (name, qtype) = (query.name().clone(), query.qtype());
        let found = lookup::lookup(data, &name, qtype, query.dnssec_ok());
        if found.rcode == ResponseCode::NXDomain && found.answers.is_empty() && self.fallthrough.have(&name) {
            return next.serve(query).await;
        }
        let mut reply = Reply {
            authoritative: found.authoritative,
            answers: found.answers,
            authorities: found.authorities,
            additionals: found.additionals,
            ..Reply::new(NAME, found.rcode)
        };
        if let Some(target) = found.leaves {
            let elsewhere = query.lookup(target, qtype).await;
            reply.truncated |= elsewhere.truncated;
            reply.answers.extend(elsewhere.answers);
            // The response code is that of the end of the chain (RFC 6604 3), where somebody knows it.
            if elsewhere.rcode == ResponseCode::NXDomain {
                reply.rcode = elsewhere.rcode;
                reply.authorities = elsewhere.authorities;
            }
        }
        reply
    }
}

impl Plugin for File {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        if self.zone_of(question.name()).is_some() { Quickly::Slow } else { Quickly::Pass }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let Some(served) =
            self.zone_for(query.name(), query.qtype()).filter(|_| query.question.qclass == CLASS_IN)
        else {
            return next.serve(query);
        };
        if matches!(query.qtype(), RecordType::AXFR | RecordType::IXFR) {
            return Box::pin(std::future::ready(Reply::new(NAME, ResponseCode::Refused)));
        }
        match served.data.load_full() {
            Some(data) => Box::pin(async move { self.answer(query, next, &data).await }),
            None => {
                let error = format!("zone {} has not been read from {}", served.zone, served.path.display());
                Box::pin(std::future::ready(Reply::failed(NAME, error)))
            }
        }
    }

    fn transfer(&self, zone: &Name, unless: Option<u32>) -> Option<Vec<Record>> {
        let served = self.zone_of(zone).filter(|served| served.zone == *zone)?;
        Some(match served.data.load_full() {
            Some(data) if is_up_to_date(unless, data.serial) => vec![data.soa().clone()],
            Some(data) => data.all(),
            None => Vec::new(),
        })
    }

    fn transferable(&self) -> Vec<Name> {
        self.served.iter().map(|served| served.zone.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
