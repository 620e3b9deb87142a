//! `loadbalance`: in which order addresses stand in an answer.
//!
//! `round_robin` shuffles A, AAAA and MX records, and puts aliases first. The quick way turns the addresses of the
//! cluster's names itself, so that this plugin passes there. `weighted` lets weights from a file decide which address
//! comes first. `prefer` puts the addresses of some ranges before the others, whatever the policy.

mod weights;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType},
};
use ipnet::IpNet;

use super::reading::once;
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};
use weights::Weights;

/// How often a file of weights is looked at where no time is written.
const RELOAD: Duration = Duration::from_secs(30);

/// Reads the directive (`coredns` `plugin/loadbalance/setup.go`).
///
/// # Errors
/// When the policy or an option is unknown or wrong.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    let weighted = match directive.args.as_slice() {
        [] => None,
        [policy] if policy.text == "round_robin" => None,
        [policy, ..] if policy.text == "round_robin" => {
            return Err(policy.error("unknown property for round_robin"));
        }
        [policy] if policy.text == "weighted" => return Err(policy.error("missing weight file argument")),
        [policy, file] if policy.text == "weighted" => Some(PathBuf::from(&file.text)),
        [policy, ..] if policy.text == "weighted" => return Err(policy.error("unexpected argument(s)")),
        [policy, ..] => return Err(policy.error(format!("unknown policy: {}", policy.text))),
    };
    let mut prefer = Vec::new();
    let mut reload = RELOAD;
    for option in &directive.body {
        match option.name.text.as_str() {
            "reload" if weighted.is_some() => match option.args.as_slice() {
                [] => return Err(option.error("reload duration value is missing")),
                [time] => {
                    let wrong = |_| time.error(format!("invalid reload duration '{}'", time.text));
                    reload = time.duration().map_err(wrong)?;
                }
                _ => return Err(option.error("unexpected argument")),
            },
            "prefer" => {
                for range in option.some()? {
                    let wrong = |_| range.error(format!("invalid CIDR \"{}\"", range.text));
                    prefer.push(range.text.parse::<IpNet>().map_err(wrong)?);
                }
            }
            _ => return Err(option.unknown()),
        }
    }
    let start = move |world: &crate::plugin::World| {
        let policy = match &weighted {
            None => Policy::Shuffle,
            Some(file) => Policy::Weighted(Weights::start(world.root.join(file), reload, &world.stop)?),
        };
        Ok(Arc::new(Loadbalance { policy, prefer: prefer.clone() }) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(lines(directive), start).alone())
}

struct Loadbalance {
    policy: Policy,
    prefer: Vec<IpNet>,
}

enum Policy {
    Shuffle,
    Weighted(Arc<Weights>),
}

impl Plugin for Loadbalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        match self.policy {
            Policy::Shuffle if self.prefer.is_empty() => Quickly::Pass,
            _ => match question.asked.qtype {
                RecordType::PTR | RecordType::TXT | RecordType::SOA => Quickly::Pass,
                _ => Quickly::Slow,
            },
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let qtype = query.qtype();
            let mut reply = next.serve(query).await;
            if reply.rcode != ResponseCode::NoError || matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
                return reply;
            }
            match &self.policy {
                Policy::Shuffle => {
                    for section in [&mut reply.answers, &mut reply.authorities, &mut reply.additionals] {
                        shuffle(section);
                    }
                }
                Policy::Weighted(weights) => {
                    if matches!(qtype, RecordType::A | RecordType::AAAA | RecordType::SRV) {
                        weigh(&mut reply.answers, weights);
                        weigh(&mut reply.additionals, weights);
                    }
                }
            }
            if !self.prefer.is_empty() {
                prefer(&mut reply.answers, &self.prefer);
                prefer(&mut reply.additionals, &self.prefer);
            }
            reply
        })
    }
}

/// Aliases, the rest, addresses, mail servers: the order of the kinds in a section.
fn kind(record: &Record) -> u8 {
    match record.record_type() {
        RecordType::CNAME => 0,
        RecordType::A | RecordType::AAAA => 2,
        RecordType::MX => 3,
        _ => 1,
    }
}

/// Whether what follows one record belongs to the same set. Sets stay together: a message that is too long loses whole ones.
fn same_set(a: &Record, b: &Record) -> bool {
    a.record_type() == b.record_type() && a.name == b.name
}

fn shuffle(records: &mut [Record]) {
    if records.len() < 2 {
        return;
    }
    records.sort_by_key(kind);
    for set in records.chunk_by_mut(same_set) {
        if matches!(set, [first, ..] if kind(first) >= 2) {
            fastrand::shuffle(set);
        }
    }
}

fn weigh(records: &mut [Record], weights: &Weights) {
    if !records.iter().any(|record| kind(record) == 2) {
        return;
    }
    records.sort_by_key(kind);
    let start = records.partition_point(|record| kind(record) < 2);
    let end = records.partition_point(|record| kind(record) <= 2);
    if let Some(addresses) = records.get_mut(start..end) {
        for set in addresses.chunk_by_mut(same_set) {
            weights.choose(set);
        }
    }
}

fn prefer(records: &mut [Record], ranges: &[IpNet]) {
    let place = |record: &Record| {
        let ip = address(record);
        ip.and_then(|ip| ranges.iter().position(|range| range.contains(&ip))).unwrap_or(ranges.len())
    };
    for set in records.chunk_by_mut(same_set) {
        set.sort_by_key(place);
    }
}

fn address(record: &Record) -> Option<std::net::IpAddr> {
    match &record.data {
        RData::A(ip) => Some(ip.0.into()),
        RData::AAAA(ip) => Some(ip.0.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
