//! `hosts`: names from a file like `/etc/hosts` and from the Corefile.
//!
//! A question for a name that is not there passes with one look into a table, so that cluster names stay quick behind it
//! (k3s has it in every cluster). The file is read again in the background when its time or size has changed.

mod file;
mod table;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType, rdata},
};

use super::reading::{Zones, fallthrough, once, zones};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    folded::{Folded, Suffix},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, World, lines},
    zone::{Range, read_reverse},
};
use file::{Followed, HostsMeter};
use table::Table;

const NAME: &str = "hosts";
const FILE: &str = "/etc/hosts";
const TTL: u32 = 3600;
/// Names of one address that are told: more than any message holds.
const MOST: usize = 8192;
const RELOAD: Duration = Duration::from_secs(5);

/// Reads the directive (`coredns` `plugin/hosts/setup.go`).
///
/// # Errors
/// When an option is wrong, or stands behind `fallthrough` and is none.
pub(super) fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    let (file, names) = match directive.args.split_first() {
        Some((file, names)) => (PathBuf::from(&file.text), names),
        None => (PathBuf::from(FILE), &[][..]),
    };
    let zones = zones(block, names)?;
    let mut config =
        Config { zones, fallthrough: None, ttl: TTL, reverse: true, reload: RELOAD, inline: String::new() };
    let mut inline = Vec::new();
    for option in &directive.body {
        match option.name.text.as_str() {
            "fallthrough" => config.fallthrough = Some(fallthrough(option)?),
            "no_reverse" => config.reverse = false,
            "ttl" => {
                let [ttl] = option.exactly::<1>()?;
                let seconds: u32 = ttl.parse("a number of seconds")?;
                if !(1..=65_535).contains(&seconds) {
                    return Err(ttl.error("ttl provided is invalid"));
                }
                config.ttl = seconds;
            }
            "reload" => {
                let [time] = option.exactly::<1>()?;
                config.reload = time.duration()?;
            }
            // A line of a file. Behind `fallthrough` there is none any more.
            _ if config.fallthrough.is_none() => {
                let words = option.args.iter().map(|token| token.text.as_str());
                let line: Vec<&str> = std::iter::once(option.name.text.as_str()).chain(words).collect();
                inline.push(line.join(" "));
            }
            _ => return Err(option.unknown()),
        }
    }
    config.inline = inline.join("\n");
    let at = directive.name.at.clone();
    let start = move |world: &World| {
        let path = world.root.join(&file);
        let wrong = |error| {
            let message = format!("unable to access hosts file '{}': {error}", path.display());
            crate::plugin::StartError(Error::at(&at, message).of(NAME).to_string())
        };
        let meter = world.meters.of::<HostsMeter>();
        let followed = Followed::start(path.clone(), Arc::new(config.clone()), meter, &world.stop);
        let hosts = Hosts {
            followed: followed.map_err(wrong)?,
            zones: config.zones.folded(),
            fallthrough: config.fallthrough.as_ref().map(Zones::folded),
        };
        Ok(Arc::new(hosts) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(lines(directive), start).alone())
}

/// What the directive says.
#[derive(Clone, Debug)]
struct Config {
    zones: Zones,
    fallthrough: Option<Zones>,
    ttl: u32,
    /// Whether addresses have names.
    reverse: bool,
    /// How often the file is looked at; zero for never again.
    reload: Duration,
    /// Lines of a file in the Corefile.
    inline: String,
}

struct Hosts {
    followed: Arc<Followed>,
    zones: Vec<Suffix>,
    fallthrough: Option<Vec<Suffix>>,
}

/// What is to be said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is not asked here.
    Pass,
    /// There is no such name, and nobody else is to be asked.
    Fail,
    /// There is such a name.
    Answer,
}

impl Hosts {
    fn verdict(&self, table: &Table, name: &Folded, qtype: RecordType) -> Verdict {
        if qtype == RecordType::PTR {
            // Reverse zones need not be named.
            let known = reverse(name).is_some_and(|ip| !table.names(ip).is_empty());
            return if known { Verdict::Answer } else { Verdict::Pass };
        }
        if table.addresses(name).is_some() {
            return Verdict::Answer;
        }
        let among = |zones: &[Suffix]| zones.iter().any(|zone| zone.holds(name));
        let falls_through = self.fallthrough.as_deref().is_some_and(among);
        if falls_through || !among(&self.zones) { Verdict::Pass } else { Verdict::Fail }
    }
}

/// The data of an answer, of which there may be none.
fn data(table: &Table, name: &Folded, qtype: RecordType) -> Vec<RData> {
    let addresses = table.addresses(name);
    match qtype {
        RecordType::PTR => {
            let names = reverse(name).map(|ip| table.names(ip)).unwrap_or_default();
            names.iter().take(MOST).map(|name| RData::PTR(rdata::PTR(name.clone()))).collect()
        }
        RecordType::A => addresses.iter().flat_map(|all| &all.v4).map(|ip| RData::A(rdata::A(*ip))).collect(),
        RecordType::AAAA => {
            addresses.iter().flat_map(|all| &all.v6).map(|ip| RData::AAAA(rdata::AAAA(*ip))).collect()
        }
        _ => Vec::new(),
    }
}

/// The address of a whole reverse name.
fn reverse(name: &Folded) -> Option<std::net::IpAddr> {
    let of_address = name.is_reverse().then(|| read_reverse(name))?;
    if let Range::One(ip) = of_address { Some(ip) } else { None }
}

impl Plugin for Hosts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        match self.verdict(&self.followed.table.load(), &question.asked.name, question.asked.qtype) {
            Verdict::Pass => Quickly::Pass,
            _ => Quickly::Slow,
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let table = self.followed.table.load();
        let name = Folded::of(query.name());
        let reply = match self.verdict(&table, &name, query.qtype()) {
            Verdict::Pass => return next.serve(query),
            // There is no SOA for a negative answer.
            Verdict::Fail => Reply::new(NAME, ResponseCode::ServFail),
            Verdict::Answer => {
                let record = |data| Record::from_rdata(query.name().clone(), self.followed.config.ttl, data);
                Reply {
                    authoritative: true,
                    answers: data(&table, &name, query.qtype()).into_iter().map(record).collect(),
                    ..Reply::new(NAME, ResponseCode::NoError)
                }
            }
        };
        Box::pin(std::future::ready(reply))
    }
}

#[cfg(test)]
mod tests;
