//! `log`: a line for each answer, or for those of some names and classes.
//!
//! Lines of positive answers need the slow way: their size is that of the whole answer. Where only denials or errors are
//! wanted, positive answers keep to the quick way and cost one comparison; the others are read again from the wire.

mod format;

use futures::future::BoxFuture;
use hickory_proto::{op::Message, rr::Name};

use super::{
    class::{Class, classify, classify_message},
    reading::Zones,
};
use crate::{
    block::{BlockConfig, key_zones},
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};
use format::{Answer, Asked, Format};

/// Reads the directives (`coredns` `plugin/log/setup.go`).
///
/// # Errors
/// When a name, a class or an option is none.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let mut rules = Vec::new();
    let mut text = Vec::new();
    for directive in directives {
        rules.push(Rule::read(directive)?);
        text.extend(lines(directive));
    }
    Ok(Prepared::of(text, Log { rules }).alone())
}

/// What is logged of the answers for some names.
#[derive(Clone, Debug)]
struct Rule {
    names: Zones,
    format: Format,
    classes: Classes,
}

/// Which classes of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Classes {
    success: bool,
    denial: bool,
    error: bool,
}

impl Rule {
    fn read(directive: &Directive) -> Result<Self, Error> {
        let (names, format) = match directive.args.as_slice() {
            // No name has braces.
            [names @ .., format] if format.text.contains('{') => (names, Some(format)),
            names => (names, None),
        };
        let mut zones = Vec::new();
        for token in names {
            zones.extend(key_zones(token, &token.text)?);
        }
        if zones.is_empty() {
            zones.push(Name::root());
        }
        let mut classes = Classes::default();
        for option in &directive.body {
            if option.name.text != "class" {
                return Err(option.unknown());
            }
            for class in option.some()? {
                match class.text.as_str() {
                    "success" => classes.success = true,
                    "denial" => classes.denial = true,
                    "error" => classes.error = true,
                    "all" => classes = Classes::ALL,
                    other => return Err(class.error(format!("invalid Class: {other}"))),
                }
            }
        }
        if classes == Classes::default() {
            classes = Classes::ALL;
        }
        let format = Format::read(format.map(|token| token.text.as_str()));
        Ok(Self { names: Zones(zones), format, classes })
    }
}

impl Classes {
    const ALL: Self = Self { success: true, denial: true, error: true };

    fn have(self, class: Class) -> bool {
        match class {
            Class::Success => self.success,
            Class::Denial => self.denial,
            Class::Error => self.error,
        }
    }
}

struct Log {
    rules: Vec<Rule>,
}

impl Log {
    /// The rule of a name: the first that has it.
    fn rule(&self, name: &Name) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.names.have(name))
    }
}

impl Plugin for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        match self.rule(question.name()) {
            Some(rule) if rule.classes.success || rule.format.has_metadata() => Quickly::Slow,
            _ => Quickly::Pass,
        }
    }

    fn touches(&self) -> bool {
        true
    }

    fn touch(&self, question: &Quick<'_>, out: &mut Vec<u8>) {
        // NOERROR with answers is a success, which is not wanted here.
        if let [_, _, _, low, _, _, high_count, low_count, ..] = out.as_slice()
            && *low & 0xf == 0
            && (*high_count, *low_count) != (0, 0)
        {
            return;
        }
        let request = question.asked.request();
        let Some(rule) = self.rule(&request.question.name) else { return };
        let Ok(message) = Message::from_vec(out) else { return };
        if rule.classes.have(classify_message(&message, request.question.qtype)) {
            let asked = Asked {
                request,
                question: &request.question,
                peer: question.peer,
                size: question.asked.size(),
                started: question.started,
                metadata: &[],
            };
            rule.format.log(&asked, &Answer::of_message(&message, request));
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let Some(rule) = self.rule(query.name()) else { return next.serve(query) };
        Box::pin(async move {
            let reply = next.serve(query).await;
            if rule.classes.have(classify(&reply, query.qtype()).0) {
                let asked = Asked {
                    request: &query.request,
                    question: &query.question,
                    peer: &query.peer,
                    size: query.size,
                    started: query.started,
                    metadata: &query.metadata,
                };
                rule.format.log(&asked, &Answer::of_reply(&reply, &query.request));
            }
            reply
        })
    }
}

#[cfg(test)]
mod tests;
