//! Which names a rule is for, and what becomes of them.
//!
//! Names are compared as text in lower case with the dot at their end, as CoreDNS does.

use regex::{Captures, Regex};

use crate::{
    corefile::{Error, Token},
    plugins::reading::pattern,
};

/// Which names.
#[derive(Clone, Debug)]
pub(super) enum Match {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regex(Regex),
}

/// The words that a match begins with.
const KINDS: [&str; 5] = ["exact", "prefix", "suffix", "substring", "regex"];

impl Match {
    /// Reads a match whose kind is known; `None` where the word is no kind.
    ///
    /// # Errors
    /// When its pattern is none.
    pub(super) fn read(kind: &str, from: &Token, dotted: bool) -> Result<Option<Self>, Error> {
        let kind = kind.to_ascii_lowercase();
        if !KINDS.contains(&kind.as_str()) {
            return Ok(None);
        }
        let text = if dotted || kind == "exact" || kind == "suffix" {
            normal(&from.text)
        } else {
            from.text.to_ascii_lowercase()
        };
        Ok(Some(match kind.as_str() {
            "prefix" => Self::Prefix(text),
            "suffix" => Self::Suffix(text),
            "substring" => Self::Substring(text),
            "regex" => Self::Regex(pattern(from)?),
            _ => Self::Exact(text),
        }))
    }

    /// Whether a name is one of them.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text.as_str()),
            Self::Suffix(text) => name.ends_with(text.as_str()),
            Self::Substring(text) => name.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    /// What becomes of a name; `None` where it is none of them.
    pub(super) fn replace(&self, name: &str, to: &str) -> Option<String> {
        match self {
            Self::Exact(text) => (name == text).then(|| to.to_owned()),
            Self::Prefix(text) => name.strip_prefix(text.as_str()).map(|rest| format!("{to}{rest}")),
            Self::Suffix(text) => name.strip_suffix(text.as_str()).map(|rest| format!("{rest}{to}")),
            Self::Substring(text) => name.contains(text.as_str()).then(|| name.replace(text.as_str(), to)),
            Self::Regex(regex) => regex.captures(name).map(|groups| fill(to, &groups)),
        }
    }
}

/// Lower case, and a dot at the end.
pub(super) fn normal(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

/// Replaces `{0}`, `{1}` … by groups of a match. A group that took no part is empty; other braces stay.
pub(super) fn fill(to: &str, groups: &Captures<'_>) -> String {
    let mut filled = String::with_capacity(to.len());
    let mut rest = to;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let group = after.split_once('}').and_then(|(digits, after)| Some((number(digits)?, after)));
        match group.filter(|(number, _)| *number < groups.len()) {
            Some((number, after)) => {
                filled.push_str(groups.get(number).map_or("", |group| group.as_str()));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn number(digits: &str) -> Option<usize> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A pattern for answers or questions, and what replaces it.
///
/// # Errors
/// When it is none, or fewer groups are in it than are used.
pub(super) fn pattern_for(from: &Token, to: &Token) -> Result<Regex, Error> {
    let regex = pattern(from)?;
    check_groups(&regex, from, to)?;
    Ok(regex)
}

/// Whether a replacement uses no more groups than there are.
///
/// # Errors
/// When it uses more.
pub(super) fn check_groups(regex: &Regex, from: &Token, to: &Token) -> Result<(), Error> {
    let used = (0..=100).filter(|number| to.text.contains(&format!("{{{number}}}"))).count();
    if used > regex.captures_len() - 1 {
        return Err(to.error(format!(
            "the rewrite regex pattern ({}) uses more subexpressions than its corresponding matching regex pattern ({})",
            to.text, from.text
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_filled_in_once() {
        let regex = Regex::new(r"^(\{2\}|b)-(.*)\.(x)?$").unwrap();
        let groups = regex.captures("{2}-a.").unwrap();
        // What a group holds is not looked at again.
        assert_eq!(fill("{1}.{2}.{3}.{0}{9}{}{", &groups), "{2}.a..{2}-a.{9}{}{");
    }
}
