//! The words of a zone file (RFC 1035 5.1): lines, of which parentheses make one, and words, quoted or not, with their
//! escapes as they stand.

/// One entry of a zone file: what stands on a line, or on several within parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The line it begins on, from 1.
    pub(super) line: usize,
    /// It begins with white space: its owner is that of the entry before.
    pub(super) indented: bool,
    /// Its words, at least one.
    pub(super) words: Vec<Word>,
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What it says, without the quotes, escapes as they stand.
    pub(super) text: String,
    /// It stands in quotes.
    pub(super) quoted: bool,
}

impl Word {
    /// The word as it is to be written.
    pub(super) fn written(&self) -> String {
        if self.quoted { format!("\"{}\"", self.text) } else { self.text.clone() }
    }
}

/// A word of its own.
fn plain(text: String, quoted: bool) -> Word {
    Word { text, quoted }
}

/// The entries of a text.
///
/// # Errors
/// With the line and what is wrong there: a quote or a parenthesis without its other one.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, (usize, &'static str)> {
    let mut all = Vec::new();
    let mut line = 1;
    let mut depth = 0_usize;
    let mut entry = Entry { line, indented: false, words: Vec::new() };
    let mut word: Option<String> = None;
    let mut at_start = true;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends_word = matches!(c, ' ' | '\t' | '\r' | '\n' | '(' | ')' | ';' | '"');
        if ends_word && let Some(text) = word.take() {
            entry.words.push(plain(text, false));
        }
        match c {
            '\n' => {
                line += 1;
                if depth == 0 {
                    let next = Entry { line, indented: false, words: Vec::new() };
                    let done = std::mem::replace(&mut entry, next);
                    if !done.words.is_empty() {
                        all.push(done);
                    }
                    at_start = true;
                    continue;
                }
            }
            ' ' | '\t' | '\r' => entry.indented |= at_start && entry.words.is_empty() && depth == 0,
            ';' => while chars.next_if(|c| *c != '\n').is_some() {},
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1).ok_or((line, "a parenthesis is closed that was not opened"))?;
            }
            '"' => {
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\n') | None => return Err((line, "a quote is not closed")),
                        Some('\\') => {
                            quoted.push('\\');
                            quoted.extend(chars.next_if(|c| *c != '\n'));
                        }
                        Some(c) => quoted.push(c),
                    }
                }
                entry.words.push(plain(quoted, true));
            }
            c => {
                let word = word.get_or_insert_default();
                word.push(c);
                if c == '\\' {
                    word.extend(chars.next_if(|c| *c != '\n'));
                }
            }
        }
        at_start = false;
    }
    if depth > 0 {
        return Err((entry.line, "a parenthesis is not closed"));
    }
    entry.words.extend(word.map(|text| plain(text, false)));
    if !entry.words.is_empty() {
        all.push(entry);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, bool, Vec<String>)> {
        let entries = entries(text).unwrap();
        let words = |entry: &Entry| entry.words.iter().map(Word::written).collect();
        entries.iter().map(|entry| (entry.line, entry.indented, words(entry))).collect()
    }

    #[test]
    fn lines_become_words() {
        let text =
            "; a comment\n\n@ SOA a b ( 1 ; serial\n  2\n 3 )\n  TXT \"a;b \\\"c\" d\\;e;f\n\nx A 1\"y\"";
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            read(text),
            [
                (3, false, words(&["@", "SOA", "a", "b", "1", "2", "3"])),
                (6, true, words(&["TXT", "\"a;b \\\"c\"", "d\\;e"])),
                (8, false, words(&["x", "A", "1", "\"y\""])),
            ]
        );
    }

    #[test]
    fn what_is_not_closed_is_told_with_its_line() {
        assert_eq!(entries("a\nb (\nc").unwrap_err().0, 2);
        assert_eq!(entries("a\nb )").unwrap_err().0, 2);
        assert_eq!(entries("a\n\"b\nc").unwrap_err().0, 2);
    }
}
