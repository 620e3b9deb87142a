//! From text to blocks.

use super::{Corefile, Directive, Error, Files, Position, ServerBlock, Token};

impl Corefile {
    /// Reads a file's text. `name` is the file's, for messages and for what is imported relative to it.
    ///
    /// # Errors
    /// At the first line that is not of the grammar.
    pub fn parse(name: &str, text: &str, _files: &dyn Files) -> Result<Self, Error> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let at = Position { file: name.into(), line: number };
            let words = line.split_whitespace().map(|word| Token { text: word.to_owned(), at: at.clone() });
            let words: Vec<Token> = words.collect();
            if !words.is_empty() {
                lines.push(words);
            }
        }
        let mut lines = lines.into_iter();
        let mut blocks = Vec::new();
        while let Some(mut keys) = lines.next() {
            let open = keys.pop_if(|token| token.text == "{").is_some();
            let directives = if open { body(&mut lines) } else { Vec::new() };
            blocks.push(ServerBlock { keys, directives });
        }
        Ok(Self { blocks, warnings: Vec::new() })
    }
}

fn body(mut lines: &mut dyn Iterator<Item = Vec<Token>>) -> Vec<Directive> {
    let mut directives = Vec::new();
    while let Some(mut words) = lines.next() {
        if words.first().is_some_and(|token| token.text == "}") {
            break;
        }
        let open = words.pop_if(|token| token.text == "{").is_some();
        let name = words.remove(0);
        let body = if open { body(&mut lines) } else { Vec::new() };
        directives.push(Directive { name, args: words, body });
    }
    directives
}
