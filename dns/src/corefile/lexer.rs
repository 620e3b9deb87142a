//! From text to words.
//!
//! Words stand between white space. One that begins with `"` goes on to the next `"` and may hold anything, line ends too; of
//! escapes there is only `\"`. `#` begins a comment wherever it stands outside quotes. Carriage returns and a byte order mark
//! at the beginning do not count (`coredns/caddy` `caddyfile/lexer.go`).

use std::sync::Arc;

use super::{Position, Token};

/// A word, variables not yet replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What it says, and where it begins.
    pub(super) token: Token,
    /// Whether nothing stands before it on its line.
    pub(super) starts_line: bool,
    /// What it is to the grammar.
    pub(super) kind: Kind,
}

/// What a word is to the grammar. In quotes it is always plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// `{`
    Open,
    /// `}`
    Close,
    /// `import`, which only means something where a line or a directive begins.
    Import,
}

/// The words of a text, not many more than `most`, and where the quote begins that its end leaves open.
pub(super) fn words(file: &Arc<str>, text: &str, most: usize) -> (Vec<Word>, Option<Position>) {
    let mut lexer = Lexer {
        file,
        rest: text.strip_prefix('\u{feff}').unwrap_or(text).chars(),
        line: 1,
        starts_line: true,
        words: Vec::new(),
        unclosed: None,
    };
    while lexer.words.len() <= most && lexer.word() {}
    (lexer.words, lexer.unclosed)
}

struct Lexer<'a> {
    file: &'a Arc<str>,
    rest: std::str::Chars<'a>,
    line: u32,
    /// Whether a line has ended since the last word.
    starts_line: bool,
    words: Vec<Word>,
    unclosed: Option<Position>,
}

impl Lexer<'_> {
    /// Reads what comes next: white space, a comment or a word. Whether there was anything.
    fn word(&mut self) -> bool {
        let Some(first) = self.rest.next() else { return false };
        match first {
            '\n' => self.line_end(),
            '#' => self.comment(),
            '"' => self.quoted(),
            white if white.is_whitespace() => {}
            first => self.plain(first),
        }
        true
    }

    fn line_end(&mut self) {
        self.line = self.line.saturating_add(1);
        self.starts_line = true;
    }

    fn comment(&mut self) {
        if self.rest.by_ref().any(|c| c == '\n') {
            self.line_end();
        }
    }

    fn plain(&mut self, first: char) {
        let mut text = String::from(first);
        let end = loop {
            match self.rest.next() {
                Some('\r') => {}
                Some(c) if c == '#' || c.is_whitespace() => break Some(c),
                Some(c) => text.push(c),
                None => break None,
            }
        };
        let kind = match text.as_str() {
            "{" => Kind::Open,
            "}" => Kind::Close,
            "import" => Kind::Import,
            _ => Kind::Plain,
        };
        self.push(text, self.line, kind);
        match end {
            Some('\n') => self.line_end(),
            Some('#') => self.comment(),
            _ => {}
        }
    }

    fn quoted(&mut self) {
        let begun = self.line;
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('"') => break,
                Some('\\') => match self.rest.next() {
                    Some('"') => text.push('"'),
                    Some(other) => {
                        text.push('\\');
                        self.inside(other, &mut text);
                    }
                    None => text.push('\\'),
                },
                Some(c) => self.inside(c, &mut text),
                None => {
                    self.unclosed = Some(Position { file: Arc::clone(self.file), line: begun });
                    // Nothing behind an open quote is no word.
                    if text.is_empty() {
                        return;
                    }
                    break;
                }
            }
        }
        self.push(text, begun, Kind::Plain);
    }

    fn inside(&mut self, c: char, text: &mut String) {
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        text.push(c);
    }

    fn push(&mut self, text: String, line: u32, kind: Kind) {
        let at = Position { file: Arc::clone(self.file), line };
        self.words.push(Word { token: Token { text, at }, starts_line: self.starts_line, kind });
        self.starts_line = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexed(text: &str) -> Vec<(String, u32, bool)> {
        let (words, _) = words(&"Corefile".into(), text, 100);
        words.into_iter().map(|word| (word.token.text, word.token.at.line, word.starts_line)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        lexed(text).into_iter().map(|(text, ..)| text).collect()
    }

    #[test]
    fn words_have_lines() {
        let got = lexed("\u{feff}a b\r\n\n  c\t\"d\ne\" f\ng");
        let want = [
            ("a", 1, true),
            ("b", 1, false),
            ("c", 3, true),
            ("d\ne", 3, false),
            ("f", 4, false),
            ("g", 5, true),
        ];
        assert_eq!(got, want.map(|(text, line, first)| (text.to_owned(), line, first)));
    }

    #[test]
    fn comments_begin_anywhere_but_in_quotes() {
        assert_eq!(texts("a#b c\nd # e\n#f\n\"g#h\" i"), ["a", "d", "g#h", "i"]);
    }

    #[test]
    fn only_quotes_are_escaped() {
        assert_eq!(texts(r#""a\"b" "c\d" "\\" e\"f "" g"#), ["a\"b", "c\\d", r"\\", "e\\\"f", "", "g"]);
        // A quote ends its word even without white space behind.
        assert_eq!(texts(r#""a"b c"d"#), ["a", "b", "c\"d"]);
    }

    #[test]
    fn open_quotes_are_told() {
        let (words, unclosed) = words(&"f".into(), "a\n\"b\nc", 100);
        assert_eq!(words.len(), 2);
        assert_eq!(unclosed.unwrap().line, 2);
        assert_eq!(texts("a \""), ["a"]);
    }

    #[test]
    fn quoted_words_are_plain() {
        let (words, _) = words(&"f".into(), r#"{ } import "{" "}" "import" {x"#, 100);
        let kinds: Vec<Kind> = words.iter().map(|word| word.kind).collect();
        let plain = [Kind::Plain; 4];
        assert_eq!(kinds[..3], [Kind::Open, Kind::Close, Kind::Import]);
        assert_eq!(kinds[3..], plain);
    }
}
