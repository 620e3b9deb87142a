//! `transfer`: zones for their secondaries (RFC 5936, RFC 1995, RFC 1996).
//!
//! ```text
//!   transfer [ZONE…] {
//!       to ADDRESS|NETWORK|* …      who may have the zones, and (addresses only) who is told of changes
//!   }
//! ```
//!
//! The records are those of the block's other plugins ([`Plugin::transfer`]). Several directives are one plugin: the one
//! with the longest zone of a name decides about it, counted in labels.

mod directive;
mod notify;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType},
};
use tokio::{sync::Semaphore, time::timeout};

use directive::Stanza;
pub use directive::setup;

use super::reading::name_text;
use crate::{
    answer::{CLASS_IN, Transport},
    block::Block,
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply},
};

const NAME: &str = "transfer";

/// Transfers at once, until they have been sent: each has a whole zone in memory. Others wait their turn.
const AT_ONCE: usize = 8;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// The plugin.
struct Transfer {
    stanzas: Arc<[Stanza]>,
    turns: Arc<Semaphore>,
}

impl Transfer {
    fn new(stanzas: Arc<[Stanza]>) -> Self {
        Self { stanzas, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn answer(&self, query: &mut Query, next: Next<'_>) -> Reply {
        if query.peer.transport == Transport::Udp {
            return Reply::new(NAME, ResponseCode::Refused);
        }
        let name = query.name().clone();
        let Some(stanza) = directive::longest(&self.stanzas, &name) else { return next.serve(query).await };
        let client = query.peer.address.ip().to_canonical();
        if !stanza.allows(client) {
            return Reply::new(NAME, ResponseCode::Refused);
        }
        let incremental = query.qtype() == RecordType::IXFR;
        if incremental && query.request.serial.is_none() {
            return Reply::failed(NAME, "an IXFR without the SOA that the client has");
        }
        let unless = query.request.serial.filter(|_| incremental);
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Reply::failed(NAME, "too many transfers at once") };
        let gathered = tokio::task::spawn_blocking({
            let (block, zone) = (Arc::clone(&query.block), name.clone());
            move || gather(&block, &zone, unless)
        });
        let mut records = match gathered.await {
            Ok(Some(records)) => records,
            Ok(None) => {
                drop(turn);
                return next.serve(query).await;
            }
            Err(error) => return Reply::failed(NAME, error.to_string()),
        };
        let Some(soa) = records.first().cloned() else {
            return Reply::failed(NAME, format!("zone {name} cannot be transferred yet"));
        };
        let serial = if let RData::SOA(soa) = &soa.data { soa.serial } else { 0 };
        let zone = name_text(&name);
        if unless.is_some() && records.len() == 1 {
            tracing::info!(
                target: "plugin/transfer",
                "Outgoing noop, incremental transfer for up to date zone {zone:?} to {client} for {serial} SOA serial"
            );
        } else {
            records.push(soa);
            tracing::info!(
                target: "plugin/transfer",
                "Outgoing transfer of {} records of zone {zone:?} to {client} for {serial} SOA serial",
                records.len()
            );
        }
        let mut reply = Reply::new(NAME, ResponseCode::NoError);
        (reply.authoritative, reply.transfer, reply.turn) = (true, Some(records), Some(Arc::new(turn)));
        reply
    }
}

/// The records of the first plugin that has the zone.
fn gather(block: &Block, zone: &Name, unless: Option<u32>) -> Option<Vec<Record>> {
    block.plugins.iter().find_map(|plugin| plugin.transfer(zone, unless))
}

/// Whether a client with this serial has nothing to get: ours is not newer (RFC 1982 3.2, RFC 1995 2).
pub(crate) fn is_up_to_date(unless: Option<u32>, ours: u32) -> bool {
    unless.is_some_and(|theirs| theirs == ours || theirs.wrapping_sub(ours) < 1 << 31)
}

impl Plugin for Transfer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        if is_transfer(question.asked.qtype) { Quickly::Slow } else { Quickly::Pass }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if !is_transfer(query.qtype()) || query.question.qclass != CLASS_IN {
            return next.serve(query);
        }
        Box::pin(self.answer(query, next))
    }
}

fn is_transfer(qtype: RecordType) -> bool {
    matches!(qtype, RecordType::AXFR | RecordType::IXFR)
}

#[cfg(test)]
mod tests;
