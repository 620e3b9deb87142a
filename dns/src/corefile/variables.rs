//! Variables of the environment in words: `{$NAME}` and `{%NAME%}`.
//!
//! They are replaced after the text has been cut into words, so that a value with spaces stays one word. What a value says is
//! not looked through again: CoreDNS does, and never ends where a value names its own variable.

use std::borrow::Cow;

use super::Files;

/// How long a word may become, bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// The text with its variables replaced, by nothing where there is none of the name; `None` where that is too long. Takes time
/// in proportion to the text.
pub(super) fn replace<'a>(text: &'a str, files: &dyn Files) -> Option<Cow<'a, str>> {
    let mut out = String::new();
    let mut done = 0;
    let mut from = 0;
    // What ends a variable of either form, while there may be one ahead.
    let mut ends = [Some("}"), Some("%}")];
    while let Some(found) = text.get(from..).and_then(|rest| rest.find('{')) {
        let begin = from + found;
        from = begin + 1;
        let form = match text.as_bytes().get(from) {
            Some(b'$') => &mut ends[0],
            Some(b'%') => &mut ends[1],
            _ => continue,
        };
        let Some(end) = *form else { continue };
        let inside = text.get(from + 1..).unwrap_or_default();
        let Some((name, _)) = inside.split_once(end) else {
            *form = None;
            continue;
        };
        if name.is_empty() {
            continue;
        }
        out.push_str(text.get(done..begin).unwrap_or_default());
        out.push_str(&files.variable(name).unwrap_or_default());
        from += 1 + name.len() + end.len();
        done = from;
        if out.len() > LONGEST {
            return None;
        }
    }
    if done == 0 {
        return Some(Cow::Borrowed(text));
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::memory::Memory;

    #[test]
    fn both_forms_are_replaced() {
        let files = Memory::default().set("A", "x y").set("B", "{$A}").set("SELF", "{$SELF}");
        for (text, want) in [
            ("plain", "plain"),
            ("{$A}", "x y"),
            ("{%A%}", "x y"),
            ("<{$A}|{%A%}>", "<x y|x y>"),
            ("{$B}", "{$A}"),
            ("{$SELF}{$SELF}", "{$SELF}{$SELF}"),
            ("a{$NONE}b", "ab"),
            ("{$}", "{$}"),
            ("{%%}", "{%%}"),
            ("{$A", "{$A"),
            ("{%A {$A}", "{%A x y"),
            ("{$}{$A}", "{$}x y"),
            ("{{ .Name }}", "{{ .Name }}"),
        ] {
            assert_eq!(replace(text, &files).unwrap(), want, "{text}");
        }
        let files = Memory::default().set("A", &"x".repeat(1000));
        assert_eq!(replace(&"{$A}".repeat(1000), &files).unwrap().len(), 1_000_000);
        assert!(replace(&"{$A}".repeat(1100), &files).is_none());
    }
}
