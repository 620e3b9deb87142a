//! What rules do to answers: names back to what was asked, and TTLs and response codes.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record},
};
use regex::Regex;

use super::matching::{Match, fill};
use crate::{
    plugin::{Query, Reply},
    plugins::reading::name_text,
    presentation::{read_name, written},
};

/// What is to be done to an answer.
#[derive(Clone, Debug)]
pub(super) enum Effect<'a> {
    /// One owner name, as it was asked.
    Owner(Name, Name),
    /// A name and all below it, as owners and in data.
    Remap(Name, Name),
    /// The end of names, as owners and in data.
    Suffix(&'a str, &'a str),
    /// What matches a pattern.
    Pattern(&'a AnswerRule),
    /// The least and the most that TTLs may be.
    Ttl(u32, u32),
    /// One response code for another.
    Rcode(ResponseCode, ResponseCode),
    /// An option that is not to be seen.
    Revert(u16),
    /// Another target of aliases, and the records of that.
    Cname(&'a Match, &'a str),
}

/// `answer name|value FROM TO`
#[derive(Clone, Debug)]
pub(super) struct AnswerRule {
    pub(super) value: bool,
    pub(super) pattern: Regex,
    pub(super) to: String,
}

impl Effect<'_> {
    /// Does it. Aliases with new targets are looked up, which takes its time.
    pub(super) async fn apply(&self, query: &Query, reply: &mut Reply) {
        match self {
            Self::Owner(from, to) => owners(reply, |name| (name == from).then(|| to.clone())),
            Self::Remap(from, to) => {
                let rename = |name: &Name| remap(name, from, to);
                owners(reply, rename);
                values(reply, rename);
            }
            Self::Suffix(from, to) => {
                let rename = |name: &Name| {
                    let text = name_text(name);
                    text.strip_suffix(from).and_then(|rest| read_name(&format!("{rest}{to}"), &Name::root()))
                };
                owners(reply, rename);
                values(reply, rename);
            }
            Self::Pattern(rule) => {
                let rename = |name: &Name| {
                    let text = written(name);
                    let groups = rule.pattern.captures(&text)?;
                    read_name(&fill(&rule.to, &groups), &Name::root())
                };
                if rule.value { values(reply, rename) } else { owners(reply, rename) }
            }
            Self::Ttl(least, most) => {
                for record in records(reply) {
                    record.ttl = record.ttl.max(*least).min(*most);
                }
            }
            Self::Rcode(from, to) => {
                if reply.rcode == *from {
                    reply.rcode = *to;
                }
            }
            Self::Revert(code) => reply.options.retain(|(known, _)| known != code),
            Self::Cname(matching, to) => alias(query, reply, matching, to).await,
        }
    }
}

/// A name that is another, or below it.
fn remap(name: &Name, from: &Name, to: &Name) -> Option<Name> {
    if name == from {
        return Some(to.clone());
    }
    // The root is above everything: there only the name itself is meant.
    if from.is_root() || !from.zone_of(name) {
        return None;
    }
    let kept = name.iter().len().checked_sub(from.iter().len())?;
    let mut labels: Vec<&[u8]> = name.iter().take(kept).collect();
    labels.extend(to.iter());
    let mut renamed = Name::from_labels(labels).ok()?;
    renamed.set_fqdn(true);
    Some(renamed)
}

async fn alias(query: &Query, reply: &mut Reply, matching: &Match, to: &str) {
    let target = |record: &Record| match &record.data {
        RData::CNAME(target) => matching.replace(&name_text(&target.0), to),
        _ => None,
    };
    let Some((at, text)) =
        reply.answers.iter().enumerate().find_map(|(at, record)| Some((at, target(record)?)))
    else {
        return;
    };
    let Some(name) = read_name(&text, &Name::root()) else {
        reply.error = Some(format!("invalid name after rewrite: {text}"));
        return;
    };
    let found = query.lookup(name.clone(), query.qtype()).await;
    // The aliases up to this one stay; what its old target had is replaced.
    reply.answers.truncate(at + 1);
    if let Some(Record { data: RData::CNAME(target), .. }) = reply.answers.last_mut() {
        target.0 = name;
    }
    reply.answers.extend(found.answers);
    reply.truncated |= found.truncated;
    reply.error = reply.error.take().or(found.error);
}

fn records(reply: &mut Reply) -> impl Iterator<Item = &mut Record> {
    reply.authorities.iter_mut().chain(&mut reply.answers).chain(&mut reply.additionals)
}

fn owners(reply: &mut Reply, rename: impl Fn(&Name) -> Option<Name>) {
    for record in records(reply) {
        if let Some(name) = rename(&record.name) {
            record.name = name;
        }
    }
}

fn values(reply: &mut Reply, rename: impl Fn(&Name) -> Option<Name>) {
    for record in records(reply) {
        let name = match &mut record.data {
            RData::CNAME(target) => &mut target.0,
            RData::NS(target) => &mut target.0,
            RData::PTR(target) => &mut target.0,
            RData::MX(mx) => &mut mx.exchange,
            RData::SRV(srv) => &mut srv.target,
            RData::SOA(soa) => &mut soa.mname,
            RData::NAPTR(naptr) => &mut naptr.replacement,
            RData::SVCB(svcb) => &mut svcb.target_name,
            RData::HTTPS(https) => &mut https.0.target_name,
            _ => continue,
        };
        if let Some(renamed) = rename(name) {
            *name = renamed;
        }
    }
}
