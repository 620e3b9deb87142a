//! `rewrite`: questions are asked on as others, and their answers look as if they had not been.
//!
//! Rules are looked at in their order; the first that does something is the last, unless it says `continue`. What rules
//! did is undone in the opposite order. Without a rule for answers the owner names of the new name are the client's again:
//! an answer under another name is none (RFC 1034 4.3.2); CoreDNS leaves that to `answer auto`.
//!
//! The quick way passes names that no rule is for. Options for upstreams do not change what is answered at once.

mod answers;
mod edns;
mod matching;
mod rule;

use futures::future::BoxFuture;
use hickory_proto::rr::Name;

use super::reading::name_text;
use crate::{
    answer::{CLASS_IN, Question},
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
    presentation::read_name,
};
use answers::Effect;
use matching::Match;
use rule::{Answers, Rule, What};

const NAME: &str = "rewrite";

/// Reads the directives of a block, each of them a rule.
///
/// # Errors
/// At the first that is none.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let rules = directives.iter().map(|directive| rule::read(directive)).collect::<Result<Vec<_>, _>>()?;
    let text = directives.iter().flat_map(|directive| lines(directive)).collect();
    Ok(Prepared::of(text, Rewrite { rules }).alone())
}

struct Rewrite {
    rules: Vec<Rule>,
}

impl Rewrite {
    /// Changes a question by the rules; what is to be done to its answer, rule by rule.
    fn change(&self, query: &mut Query) -> Result<Vec<Vec<Effect<'_>>>, String> {
        let mut effects = Vec::new();
        let mut name = name_text(query.name());
        for rule in &self.rules {
            if let Some(more) = rule.apply(query, &mut name)? {
                effects.push(more);
                if rule.stop {
                    break;
                }
            }
        }
        Ok(effects)
    }
}

impl Rule {
    /// Changes a question; what is to be done to its answer, or `None` where the rule is not for it.
    fn apply<'a>(&'a self, query: &mut Query, name: &mut String) -> Result<Option<Vec<Effect<'a>>>, String> {
        let question = &mut query.question;
        let done = |is_for: bool| is_for.then(Vec::new);
        Ok(match &self.what {
            What::Name { matching, to, answers } => {
                let Some(text) = matching.replace(name, to) else { return Ok(None) };
                let invalid = || format!("invalid name after rewrite: {text}");
                let renamed = read_name(&text, &Name::root()).ok_or_else(invalid)?;
                let asked = std::mem::replace(&mut question.name, renamed.clone());
                *name = text;
                Some(back(matching, to, answers, renamed, asked))
            }
            What::Type(from, to) => {
                let is_for = question.qtype == *from;
                if is_for {
                    question.qtype = *to;
                }
                done(is_for)
            }
            What::Class(from, to) => {
                let is_for = question.qclass == *from;
                if is_for {
                    question.qclass = *to;
                }
                done(is_for)
            }
            What::Ttl(matching, least, most) => {
                matching.matches(name).then(|| vec![Effect::Ttl(*least, *most)])
            }
            What::Rcode(matching, from, to) => {
                matching.matches(name).then(|| vec![Effect::Rcode(*from, *to)])
            }
            What::Cname(matching, to) => Some(vec![Effect::Cname(matching, to)]),
            What::Edns(rule) => {
                let revert = rule.revert.then_some(Effect::Revert(rule.code));
                rule.apply(query).then(|| revert.into_iter().collect())
            }
        })
    }

    /// Whether it could change what is answered at once.
    fn may_change(&self, question: &Question, name: &str) -> bool {
        match &self.what {
            What::Name { matching, .. } | What::Ttl(matching, ..) | What::Rcode(matching, ..) => {
                matching.matches(name)
            }
            What::Type(from, _) => question.qtype == *from,
            What::Class(from, _) => *from == CLASS_IN,
            What::Cname(..) => true,
            What::Edns(_) => false,
        }
    }
}

/// How the names of an answer become the client's again.
fn back<'a>(
    matching: &'a Match,
    to: &'a str,
    answers: &'a Answers,
    renamed: Name,
    asked: Name,
) -> Vec<Effect<'a>> {
    match (answers, matching) {
        (Answers::Owner, _) => vec![Effect::Owner(renamed, asked)],
        // The name itself keeps the case it was asked in.
        (Answers::Auto(rules), Match::Suffix(from)) => {
            [Effect::Owner(renamed, asked), Effect::Suffix(to, from)]
                .into_iter()
                .chain(rules.iter().map(Effect::Pattern))
                .collect()
        }
        (Answers::Auto(rules), _) => {
            std::iter::once(Effect::Remap(renamed, asked)).chain(rules.iter().map(Effect::Pattern)).collect()
        }
        (Answers::Rules(rules), _) if rules.iter().all(|rule| rule.value) => {
            std::iter::once(Effect::Owner(renamed, asked)).chain(rules.iter().map(Effect::Pattern)).collect()
        }
        (Answers::Rules(rules), _) => rules.iter().map(Effect::Pattern).collect(),
    }
}

impl Plugin for Rewrite {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        let question = &question.asked.request().question;
        let name = name_text(&question.name);
        if self.rules.iter().any(|rule| rule.may_change(question, &name)) {
            return Quickly::Slow;
        }
        Quickly::Pass
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let asked = query.question.clone();
            let options = query.options.clone();
            let effects = self.change(query);
            let mut reply = match &effects {
                Ok(_) => next.serve(query).await,
                Err(error) => Reply::failed(NAME, error.clone()),
            };
            let mut last = Vec::new();
            for effect in effects.iter().flatten().rev().flatten() {
                match effect {
                    // These have the last word in the order of the rules.
                    Effect::Ttl(..) | Effect::Rcode(..) => last.push(effect),
                    effect => effect.apply(query, &mut reply).await,
                }
            }
            for effect in last.into_iter().rev() {
                effect.apply(query, &mut reply).await;
            }
            query.question = asked;
            query.options = options;
            reply
        })
    }
}

#[cfg(test)]
mod tests;
