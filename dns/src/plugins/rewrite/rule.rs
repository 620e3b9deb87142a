//! Reading rules (`coredns` `plugin/rewrite/*.go`).

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    answers::AnswerRule,
    edns::EdnsRule,
    matching::{Match, check_groups, normal, pattern_for},
};
use crate::{
    corefile::{Directive, Error, Token},
    plugins::reading::{parse_rcode, parse_type},
};

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// No further rule is looked at where this one did something.
    pub(super) stop: bool,
    pub(super) what: What,
}

/// What a rule changes.
#[derive(Clone, Debug)]
pub(super) enum What {
    Name { matching: Match, to: String, answers: Answers },
    Type(RecordType, RecordType),
    Class(u16, u16),
    Ttl(Match, u32, u32),
    Rcode(Match, ResponseCode, ResponseCode),
    Cname(Match, String),
    Edns(EdnsRule),
}

/// What is done to the answers of a question with another name.
#[derive(Clone, Debug)]
pub(super) enum Answers {
    /// Owner names are as they were asked.
    Owner,
    /// Everything is back as it was: `answer auto`, and `exact`. Rules for values follow.
    Auto(Vec<AnswerRule>),
    /// What the rules say.
    Rules(Vec<AnswerRule>),
}

/// `rewrite [continue|stop] FIELD …`, on one line or in braces.
///
/// # Errors
/// When it is no rule.
pub(super) fn read(directive: &Directive) -> Result<Rule, Error> {
    let mut words: Vec<Token> = directive.args.clone();
    if words.len() < 2 {
        for line in &directive.body {
            words.push(line.name.clone());
            words.extend(line.args.iter().cloned());
        }
    } else if let Some(line) = directive.body.first() {
        return Err(line.unknown());
    }
    let (stop, words) = match words.as_slice() {
        [first, rest @ ..] if first.text.eq_ignore_ascii_case("continue") => (false, rest),
        [first, rest @ ..] if first.text.eq_ignore_ascii_case("stop") => (true, rest),
        words => (true, words),
    };
    let Some((field, words)) = words.split_first() else {
        return Err(directive.error("no rule type specified for rewrite"));
    };
    let what = match field.text.to_ascii_lowercase().as_str() {
        "answer" => return Err(field.error("response rewrites must begin with a name rule")),
        "name" => name(field, words)?,
        "class" => pair(field, words, |token| {
            class(&token.text).ok_or_else(|| token.error(format!("invalid class \"{}\"", token.text)))
        })
        .map(|(from, to)| What::Class(from, to))?,
        "type" => pair(field, words, |token| {
            parse_type(&token.text).ok_or_else(|| token.error(format!("invalid type \"{}\"", token.text)))
        })
        .map(|(from, to)| What::Type(from, to))?,
        "edns0" => What::Edns(EdnsRule::read(field, words)?),
        "ttl" => ttl(field, words)?,
        "rcode" => rcode(field, words)?,
        "cname" => cname(field, words)?,
        _ => return Err(field.error(format!("invalid rule type \"{}\"", field.text))),
    };
    Ok(Rule { stop, what })
}

fn pair<T>(
    field: &Token,
    words: &[Token],
    read: impl Fn(&Token) -> Result<T, Error>,
) -> Result<(T, T), Error> {
    match words {
        [from, to] => Ok((read(from)?, read(to)?)),
        _ => Err(field.error(format!("{} rules must have exactly two arguments", field.text))),
    }
}

fn class(text: &str) -> Option<u16> {
    Some(match text.to_ascii_uppercase().as_str() {
        "IN" => 1,
        "CS" => 2,
        "CH" => 3,
        "HS" => 4,
        "NONE" => 254,
        "ANY" => 255,
        _ => return None,
    })
}

fn name(field: &Token, words: &[Token]) -> Result<What, Error> {
    let (kind, from, to, rest) = match words {
        [from, to] => ("exact", from, to, &[][..]),
        [kind, from, to, rest @ ..] => (kind.text.as_str(), from, to, rest),
        _ => return Err(field.error("too few arguments for a name rule")),
    };
    let matching = Match::read(kind, from, true)?.ok_or_else(|| {
        field.error(format!(
            "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: {kind}"
        ))
    })?;
    if let Match::Regex(regex) = &matching {
        check_groups(regex, from, to)?;
    }
    let (auto, rules) = answer_rules(field, kind, rest)?;
    let named = rules.iter().any(|rule| !rule.value);
    let answers = match matching {
        Match::Exact(_) => Answers::Auto(rules),
        _ if auto => Answers::Auto(rules),
        _ if named => Answers::Rules(rules),
        _ if rules.is_empty() => Answers::Owner,
        _ => Answers::Rules(rules),
    };
    Ok(What::Name { matching, to: normal(&to.text), answers })
}

/// `answer auto`, `answer name FROM TO`, `answer value FROM TO`, one after the other.
fn answer_rules(field: &Token, kind: &str, mut words: &[Token]) -> Result<(bool, Vec<AnswerRule>), Error> {
    let mut auto = false;
    let mut rules = Vec::new();
    if let [one] = words {
        return Err(one.error(format!("invalid arguments for {kind} rule")));
    }
    while let Some((first, rest)) = words.split_first() {
        if first.text != "answer" && rules.is_empty() && !auto {
            return Err(first.error(format!(
                "exceeded the number of arguments for a non-answer rule argument for {kind} rule"
            )));
        }
        // The word may be left out of what follows.
        let rest = if first.text == "answer" { rest } else { words };
        let (what, from, to) = match rest {
            [] => return Err(first.error(format!("type missing for answer rule for {kind} rule"))),
            [what, rest @ ..] if what.text == "auto" => {
                auto = true;
                words = rest;
                continue;
            }
            [what, from, to, rest @ ..] if what.text == "name" || what.text == "value" => {
                words = rest;
                (what, from, to)
            }
            [what, ..] if what.text == "name" || what.text == "value" => {
                let what_text = &what.text;
                return Err(
                    what.error(format!("{what_text} answer rule for {kind} rule: 2 arguments required"))
                );
            }
            [what, ..] => {
                return Err(
                    what.error(format!("invalid type \"{}\" for answer rule for {kind} rule", what.text))
                );
            }
        };
        let pattern = pattern_for(from, to)?;
        rules.push(AnswerRule { value: what.text == "value", pattern, to: normal(&to.text) });
    }
    if auto && rules.iter().any(|rule| !rule.value) {
        return Err(field.error("auto name answer rule cannot be combined with explicit name anwer rules"));
    }
    Ok((auto, rules))
}

/// A match of a rule for answers: with its kind, or without for `exact`.
fn matching(field: &Token, kind: Option<&Token>, from: &Token) -> Result<Match, Error> {
    let kind_text = kind.map_or("exact", |kind| kind.text.as_str());
    Match::read(kind_text, from, true)?.ok_or_else(|| {
        kind.unwrap_or(field).error(format!(
            "{} rule supports only exact, prefix, suffix, substring, and regex name matching",
            field.text
        ))
    })
}

fn ttl(field: &Token, words: &[Token]) -> Result<What, Error> {
    let (kind, from, range) = match words {
        [from, range] => (None, from, range),
        [kind, from, range] => (Some(kind), from, range),
        [] | [_] => return Err(field.error(format!("too few ({}) arguments for a ttl rule", words.len()))),
        _ => return Err(field.error("many few arguments for a ttl rule")),
    };
    let (least, most) = ttl_range(&range.text)
        .ok_or_else(|| range.error(format!("invalid TTL '{}' for a ttl rule", range.text)))?;
    Ok(What::Ttl(matching(field, kind, from)?, least, most))
}

/// `30`, `30-300`, `30-`, `-300`
fn ttl_range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        // A sign is none of a TTL's.
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?
    };
    let (least, most) = match text.split_once('-') {
        None => {
            let ttl = number(text)?;
            (ttl, ttl)
        }
        Some(("", "")) => return None,
        Some(("", most)) => (0, number(most)?),
        // The most that a TTL can be (RFC 2181 8).
        Some((least, "")) => (number(least)?, 0x7fff_ffff),
        Some((least, most)) => (number(least)?, number(most)?),
    };
    (least <= most).then_some((least, most))
}

fn rcode(field: &Token, words: &[Token]) -> Result<What, Error> {
    let (kind, from, old, new) = match words {
        [from, old, new] => (None, from, old, new),
        [kind, from, old, new] => (Some(kind), from, old, new),
        [_, _, _, _, ..] => return Err(field.error("many few arguments for a rcode rule")),
        _ => return Err(field.error(format!("too few ({}) arguments for a rcode rule", words.len()))),
    };
    let read = |token: &Token, what: &str| {
        let wrong = || token.error(format!("invalid {what} RCODE '{}' for a rcode rule", token.text));
        parse_rcode(&token.text).ok_or_else(wrong)
    };
    let (old, new) = (read(old, "matching")?, read(new, "replacement")?);
    Ok(What::Rcode(matching(field, kind, from)?, old, new))
}

fn cname(field: &Token, words: &[Token]) -> Result<What, Error> {
    let (kind, from, to) = match words {
        [from, to] => ("exact", from, to),
        [kind, from, to] => (kind.text.as_str(), from, to),
        _ => return Err(field.error(format!("too few ({}) arguments for a cname rule", words.len()))),
    };
    let matching = Match::read(kind, from, false)?
        .ok_or_else(|| field.error(format!("unknown cname rewrite type: {kind}")))?;
    if let Match::Regex(regex) = &matching {
        check_groups(regex, from, to)?;
    }
    let to = match matching {
        Match::Exact(_) | Match::Suffix(_) => normal(&to.text),
        _ => to.text.to_ascii_lowercase(),
    };
    Ok(What::Cname(matching, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_are_numbers_or_ranges() {
        for (text, range) in [
            ("30", Some((30, 30))),
            ("30-300", Some((30, 300))),
            ("30-", Some((30, 0x7fff_ffff))),
            ("-300", Some((0, 300))),
            ("-", None),
            ("", None),
            ("+5", None),
            ("300-30", None),
            ("1-2-3", None),
            ("4294967296", None),
        ] {
            assert_eq!(ttl_range(text), range, "{text}");
        }
    }
}
