//! `rrl`: limits how many answers, and how many questions, a network of clients gets through in a second.
//!
//! Over UDP anybody can ask in the name of another, whom the answers then flood. So answers of one kind to one network are
//! counted, and those that are too many are not given. Each so manieth of these (`slip-ratio`) is given without its
//! records and with the TC bit: a client that is who it says it is asks again over TCP, which has no limit on answers.
//!
//! It is CoreDNS's external plugin `coredns/rrl`: its directive, its accounts, its metrics. Nothing is limited
//! unless it is asked for. What is different is the table: its size is fixed, and it is filled without locks ([`accounts`]).

mod accounts;
mod category;
mod directive;
mod metrics;

use std::{net::IpAddr, sync::Arc, time::Instant};

use futures::future::BoxFuture;
use smallvec::SmallVec;

use self::{
    accounts::{Accounts, Allowance, Verdict},
    category::{Account, Kind, Message, of_reply, truncate},
    metrics::RrlMetrics,
};
use super::reading::once;
use crate::{
    answer::Transport,
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, World, lines},
};

const NAME: &str = "rrl";

/// Reads the directive.
///
/// # Errors
/// See [`directive::read`].
pub(super) fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    let limits = directive::read(block, directive)?;
    let start = move |world: &World| {
        let slowest = limits.intervals.iter().chain([&limits.requests]).flatten().max();
        let rrl = Rrl {
            accounts: Accounts::new(limits.table, slowest.copied().unwrap_or_default()),
            limits: limits.clone(),
            metrics: world.meters.of(),
        };
        Ok(Arc::new(rrl) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(lines(directive), start).alone())
}

/// What the directive says. Times are ticks of [`accounts`].
#[derive(Clone, Debug, PartialEq)]
struct Limits {
    /// Lower-case names as on the wire, labels with their lengths and no end.
    zones: Vec<Wire>,
    window: i64,
    /// Bits of IPv4 and of IPv6 that a network is.
    prefixes: (u8, u8),
    /// From one answer to the next, by kind; `None` for no limit.
    intervals: [Option<i64>; 5],
    /// From one request to the next.
    requests: Option<i64>,
    slip: u8,
    table: usize,
    report_only: bool,
}

struct Rrl {
    limits: Limits,
    accounts: Accounts,
    metrics: Arc<RrlMetrics>,
}

impl Rrl {
    /// Whether a client's request is one too many.
    fn refuses_request(&self, client: IpAddr, now: Instant) -> bool {
        let Some(interval) = self.limits.requests else { return false };
        let allowance = Allowance { interval, window: self.limits.window, slip: 0 };
        let account = Account::of_requests(client, self.limits.prefixes);
        if self.accounts.debit(account.bytes(), allowance, now) == Verdict::Give {
            return false;
        }
        self.metrics.requests.count(client.to_canonical());
        !self.limits.report_only
    }

    /// What becomes of an answer of this kind.
    fn judge(&self, kind: Kind, account: &Account, client: IpAddr, now: Instant) -> Verdict {
        let Some(Some(interval)) = self.limits.intervals.get(kind as usize).copied() else {
            return Verdict::Give;
        };
        let allowance = Allowance { interval, window: self.limits.window, slip: self.limits.slip };
        let verdict = self.accounts.debit(account.bytes(), allowance, now);
        if verdict == Verdict::Give {
            return verdict;
        }
        self.metrics.responses.count(client.to_canonical());
        if self.limits.report_only { Verdict::Give } else { verdict }
    }

    /// Whether a name is in one of the zones.
    fn has<'a>(&self, labels: impl Iterator<Item = &'a [u8]>) -> bool {
        let name = wire(labels);
        self.limits.zones.iter().any(|zone| ends_with(&name, zone))
    }
}

impl Plugin for Rrl {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        // A question is counted once it is answered: one that is asked the slow way comes by again.
        Quickly::Pass
    }

    fn touches(&self) -> bool {
        true
    }

    fn touch(&self, question: &Quick<'_>, out: &mut Vec<u8>) {
        // What cannot be walked through stays as it is.
        let Some(message) = Message::read(out).filter(|message| self.has(message.labels())) else { return };
        let (client, now) = (question.peer.address.ip(), question.started);
        if self.refuses_request(client, now) {
            return out.clear();
        }
        if question.peer.transport == Transport::Tcp {
            return;
        }
        let Some(kind) = message.kind() else { return };
        let Some(account) = message.account(kind, client, self.limits.prefixes) else { return };
        match self.judge(kind, &account, client, now) {
            Verdict::Give => {}
            Verdict::Withhold => out.clear(),
            Verdict::Slip => truncate(out),
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        // Lookups of our own go to nobody.
        if query.internal.0 > 0 || !self.has(query.name().iter()) {
            return next.serve(query);
        }
        let (client, now) = (query.peer.address.ip(), query.started);
        if self.refuses_request(client, now) {
            return Box::pin(std::future::ready(Reply::silence(NAME)));
        }
        if query.peer.transport == Transport::Tcp {
            return next.serve(query);
        }
        Box::pin(async move {
            let mut reply = next.serve(query).await;
            if reply.silent {
                return reply;
            }
            let (kind, account) = of_reply(query, &reply, self.limits.prefixes);
            match self.judge(kind, &account, client, now) {
                Verdict::Give => {}
                Verdict::Withhold => return Reply::silence(NAME),
                Verdict::Slip => {
                    for section in [&mut reply.answers, &mut reply.authorities, &mut reply.additionals] {
                        section.clear();
                    }
                    reply.options.clear();
                    reply.truncated = true;
                }
            }
            reply
        })
    }
}

/// A name in lower case as on the wire, without its end.
type Wire = SmallVec<[u8; 256]>;

fn wire<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Wire {
    let mut name = Wire::new();
    for label in labels {
        name.push(label.len() as u8);
        name.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    name
}

/// Whether a name is in a zone.
fn ends_with(mut name: &[u8], zone: &[u8]) -> bool {
    while name.len() > zone.len() {
        let Some((length, rest)) = name.split_first() else { return false };
        name = rest.get(usize::from(*length)..).unwrap_or_default();
    }
    name == zone
}

#[cfg(test)]
mod tests;
