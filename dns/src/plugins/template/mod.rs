//! `template`: answers made from the question by templates.
//!
//! The first template whose zone, class, type and pattern a question has answers it. What no pattern matches is the next
//! template's, or the next plugin's, where `fallthrough` says so, and a failure otherwise.

mod directive;
mod go;

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use regex::{Captures, Regex};

use super::{
    file::record,
    reading::{Zones, class_text, name_text, type_text},
};
use crate::{
    answer::Question,
    plugin::{Meter, Next, Plugin, Query, Quick, Quickly, Reply},
    presentation::written,
};
pub(super) use directive::setup;
use go::Value;

const NAME: &str = "template";
/// The code of the option for extended errors (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// The fields of a template's data.
const FIELDS: [&str; 10] =
    ["Zone", "Name", "Regex", "Match", "Group", "Class", "Type", "Message", "Question", "Remote"];

/// One `template`.
#[derive(Clone, Debug)]
struct Template {
    zones: Zones,
    /// 255 for any.
    class: u16,
    kind: RecordType,
    patterns: Vec<Regex>,
    answers: Vec<Part>,
    additionals: Vec<Part>,
    authorities: Vec<Part>,
    rcode: ResponseCode,
    /// Code and text of an extended error.
    error: Option<(u16, String)>,
    fallthrough: Zones,
}

/// A record to be.
#[derive(Clone, Debug)]
struct Part {
    text: String,
    template: go::Template,
}

const ANY_CLASS: u16 = 255;

struct Templates {
    templates: Vec<Template>,
    meter: Arc<TemplateMeter>,
}

/// What a template says to a question.
enum Match<'a> {
    /// It is not for it.
    No,
    /// It is, and no pattern matches.
    Fail,
    Yes {
        zone: &'a Name,
        pattern: &'a Regex,
    },
}

impl Template {
    fn matches(&self, question: &Question, name: &str) -> Match<'_> {
        let Some(zone) = self.zones.longest(&question.name) else { return Match::No };
        let class = self.class == ANY_CLASS || question.qclass == ANY_CLASS || question.qclass == self.class;
        let any = RecordType::ANY;
        let kind = self.kind == any || question.qtype == any || question.qtype == self.kind;
        if !class || !kind {
            return Match::No;
        }
        match self.patterns.iter().find(|pattern| pattern.is_match(name)) {
            Some(pattern) => Match::Yes { zone, pattern },
            None if self.fallthrough.have(&question.name) => Match::No,
            None => Match::Fail,
        }
    }

    /// Class and type as templates see them: those asked for, or the template's own where any were.
    fn names(&self, question: &Question) -> (String, String) {
        let class = if question.qclass == ANY_CLASS { self.class } else { question.qclass };
        let kind = if question.qtype == RecordType::ANY { self.kind } else { question.qtype };
        (class_text(class), type_text(kind))
    }
}

impl Templates {
    async fn answer(&self, template: &Template, zone: &Name, pattern: &Regex, query: &Query) -> Reply {
        let view = query.block.view.as_ref().map_or_else(String::new, |view| view.name().to_owned());
        let (class, kind) = template.names(&query.question);
        let labels = MatchLabels {
            server: query.server.to_string(),
            zone: name_text(zone),
            view,
            class,
            r#type: kind,
        };
        self.meter.matches.get_or_create(&labels).inc();
        let mut reply = Reply::new(NAME, template.rcode);
        if let Some((code, text)) = &template.error {
            let data = [code.to_be_bytes().as_slice(), text.as_bytes()].concat();
            reply.options.push((EXTENDED_ERROR, data));
        }
        if template.rcode == ResponseCode::ServFail {
            return reply;
        }
        reply.authoritative = true;
        let data = data(template, zone, pattern, query);
        let meta = |label: &str| query.metadatum(label).unwrap_or_default().to_owned();
        let sections = [
            ("answer", &template.answers),
            ("additional", &template.additionals),
            ("authority", &template.authorities),
        ];
        for (section, parts) in sections {
            for part in parts {
                let failed = |family: &Family<FailureLabels, Counter>, error: String| {
                    let labels = FailureLabels { of: labels.clone(), section, template: part.text.clone() };
                    family.get_or_create(&labels).inc();
                    Reply::failed(NAME, error)
                };
                let text = match part.template.run(&data, &meta) {
                    Ok(text) => text,
                    Err(error) => {
                        return failed(&self.meter.failures, format!("template: {section}: {error}"));
                    }
                };
                let mut record = match record(&text) {
                    Ok(record) => record,
                    Err(error) => {
                        return failed(&self.meter.record_failures, format!("dns: {error}: \"{text}\""));
                    }
                };
                // The name is the client's, in its case.
                if record.name == *query.name() {
                    record.name = query.name().clone();
                }
                match section {
                    "answer" => {
                        let target = target(&record, query.qtype());
                        reply.answers.push(record);
                        if let Some(target) = target {
                            let found = query.lookup(target, query.qtype()).await;
                            reply.truncated |= found.truncated;
                            reply.answers.extend(found.answers);
                        }
                    }
                    "additional" => reply.additionals.push(record),
                    _ => reply.authorities.push(record),
                }
            }
        }
        reply
    }
}

/// The target of an alias that is to be looked up.
fn target(record: &Record, qtype: RecordType) -> Option<Name> {
    match &record.data {
        RData::CNAME(target) if matches!(qtype, RecordType::A | RecordType::AAAA) => Some(target.0.clone()),
        _ => None,
    }
}

/// The data that templates are run with.
fn data(template: &Template, zone: &Name, pattern: &Regex, query: &Query) -> Value {
    let name = name_text(query.name());
    let captures = pattern.captures(&name);
    let text = |captures: &Captures<'_>, at| captures.get(at).map_or("", |group| group.as_str()).to_owned();
    let matches: Vec<String> =
        captures.iter().flat_map(|all| (0..all.len()).map(|at| text(all, at))).collect();
    let mut groups: BTreeMap<String, Value> =
        matches.iter().enumerate().map(|(at, group)| (at.to_string(), Value::text(group))).collect();
    for (at, name) in pattern.capture_names().enumerate() {
        if let (Some(name), Some(group)) = (name, matches.get(at)) {
            groups.insert(name.to_owned(), Value::text(group));
        }
    }
    let map = |fields: Vec<(&str, Value)>| {
        Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let question = map(vec![
        ("Name", Value::text(written(query.name()))),
        ("Qtype", Value::Number(u16::from(query.qtype()).into())),
        ("Qclass", Value::Number(query.question.qclass.into())),
    ]);
    let request = &query.request;
    let message = map(vec![
        ("Id", Value::Number(request.id.into())),
        ("Opcode", Value::Number(request.opcode.into())),
        ("RecursionDesired", Value::Bool(request.recursion_desired)),
        ("CheckingDisabled", Value::Bool(request.checking_disabled)),
        ("Question", Value::List(vec![question.clone()])),
    ]);
    let (class, kind) = template.names(&query.question);
    map(vec![
        ("Zone", Value::text(name_text(zone))),
        ("Name", Value::text(name)),
        ("Regex", Value::text(pattern.as_str())),
        ("Match", Value::List(matches.iter().map(Value::text).collect())),
        ("Group", Value::Map(groups)),
        ("Class", Value::text(class)),
        ("Type", Value::text(kind)),
        ("Message", message),
        ("Question", question),
        ("Remote", Value::text(query.peer.address.ip().to_canonical().to_string())),
    ])
}

impl Plugin for Templates {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        let question = &question.asked.request().question;
        let kind = |template: &&Template| {
            matches!(template.kind, kind if kind == RecordType::ANY || kind == question.qtype)
                || question.qtype == RecordType::ANY
        };
        // Most questions are of another type, and need no text.
        let mut templates = self.templates.iter().filter(kind).peekable();
        if templates.peek().is_none() {
            return Quickly::Pass;
        }
        let name = name_text(&question.name);
        if templates.all(|template| matches!(template.matches(question, &name), Match::No)) {
            Quickly::Pass
        } else {
            Quickly::Slow
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let name = name_text(query.name());
        for template in &self.templates {
            match template.matches(&query.question, &name) {
                Match::No => {}
                Match::Fail => {
                    return Box::pin(std::future::ready(Reply::new(NAME, ResponseCode::ServFail)));
                }
                Match::Yes { zone, pattern } => {
                    return Box::pin(async move { self.answer(template, zone, pattern, query).await });
                }
            }
        }
        next.serve(query)
    }
}

/// What is counted of templates.
struct TemplateMeter {
    matches: Family<MatchLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    record_failures: Family<FailureLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MatchLabels {
    server: String,
    zone: String,
    view: String,
    class: String,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    #[prometheus(flatten)]
    of: MatchLabels,
    section: &'static str,
    template: String,
}

impl Meter for TemplateMeter {
    fn register(registry: &mut Registry) -> Self {
        let meter = Self {
            matches: Family::default(),
            failures: Family::default(),
            record_failures: Family::default(),
        };
        let help = "Counter of template regex matches";
        registry.register("coredns_template_matches", help, Family::clone(&meter.matches));
        let help = "Counter of go template failures";
        registry.register("coredns_template_template_failures", help, Family::clone(&meter.failures));
        let help = "Counter of mis-templated RRs";
        registry.register("coredns_template_rr_failures", help, Family::clone(&meter.record_failures));
        meter
    }
}

#[cfg(test)]
mod tests;
