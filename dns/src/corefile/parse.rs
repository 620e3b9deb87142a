//! From words to blocks (`coredns/caddy` `caddyfile/parse.go`).
//!
//! ```text
//! file      := { block | snippet | import }
//! block     := key { [","] key } [ "{" { directive } "}" ]      the braces may be missing where it is the only one
//! snippet   := "(" name ")" "{" words "}"
//! directive := word { word } [ "{" { directive } "}" ]          one a line
//! import    := "import" (snippet | file | pattern)              in the place of any line
//! ```

use super::{
    Corefile, Directive, Error, Files, ServerBlock, Token, Warning,
    digest::Digest,
    lexer::{Kind, Word},
    stream::Stream,
};

/// How deep braces may be within braces. No directive has more than two.
const DEEPEST: usize = 32;

impl Corefile {
    /// Reads a file's text. `name` is the file's, for messages and for what is imported relative to it.
    ///
    /// # Errors
    /// At the first line that is not of the grammar.
    pub fn parse(name: &str, text: &str, files: &dyn Files) -> Result<Self, Error> {
        let mut parser = Parser { stream: Stream::new(name, text, files), digest: Digest::default() };
        let mut blocks = Vec::new();
        while parser.stream.peek().is_some() {
            blocks.extend(parser.block()?);
        }
        let sources = parser.stream.sources();
        Ok(Self { blocks, warnings: parser.stream.warnings, sources, sha512: parser.digest.end() })
    }
}

struct Parser<'a> {
    stream: Stream<'a>,
    digest: Digest,
}

impl Parser<'_> {
    /// A block, if what comes is one and has a key.
    fn block(&mut self) -> Result<Option<ServerBlock>, Error> {
        let keys = self.keys()?;
        let snippet = match keys.as_slice() {
            [key] => key.text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')),
            _ => None,
        };
        let Some(next) = self.stream.peek().cloned() else {
            // Only keys: a block that refuses everything.
            if snippet.is_some() {
                return Err(self.stream.explained(Error::syntax(&self.stream.last(), "{")));
            }
            return Ok(self.finish(keys, Vec::new()));
        };
        let braces = next.kind == Kind::Open;
        if braces {
            self.stream.take_raw()?;
        }
        match (snippet, keys.first()) {
            (Some(name), Some(key)) if braces => {
                self.stream.define(key, name)?;
                return Ok(None);
            }
            (Some(_), _) => return Err(Error::syntax(&next.token, "{")),
            _ => {}
        }
        if keys.is_empty() {
            let message = "a server block without a key serves nothing".to_owned();
            self.stream.warnings.push(Warning { at: next.token.at, message });
        }
        let directives = self.directives(&keys, braces)?;
        Ok(self.finish(keys, directives))
    }

    fn finish(&mut self, keys: Vec<Token>, directives: Vec<Directive>) -> Option<ServerBlock> {
        if keys.is_empty() {
            self.digest.forget();
            return None;
        }
        self.digest.block(keys.iter().map(|key| key.text.as_str()));
        Some(ServerBlock { keys, directives })
    }

    /// The keys of a block: those of a line, and of the next where it ends with a comma.
    fn keys(&mut self) -> Result<Vec<Token>, Error> {
        let mut keys = Vec::new();
        let (mut begun, mut another) = (false, false);
        loop {
            let Some(word) = self.stream.peek() else {
                return if another { Err(self.stream.ended()) } else { Ok(keys) };
            };
            if begun && !another && word.starts_line {
                return Ok(keys);
            }
            match word.kind {
                Kind::Import if word.starts_line => {
                    self.stream.import()?;
                    continue;
                }
                Kind::Open if another => {
                    let message = "Expected another address but had '{' - check for extra comma";
                    return Err(word.token.error(message));
                }
                Kind::Open => return Ok(keys),
                Kind::Close => self.stray()?,
                Kind::Import | Kind::Plain => {
                    let mut key = self.stream.take()?.token;
                    begun = true;
                    if let Some(shorter) = key.text.strip_suffix(',') {
                        another = true;
                        key.text.truncate(shorter.len());
                        keys.push(key);
                    } else if !key.text.is_empty() {
                        another = false;
                        keys.push(key);
                    }
                }
            }
        }
    }

    /// A brace that closes nothing. CoreDNS takes one at the end of a file for the name of a zone, so that such files are in
    /// use.
    fn stray(&mut self) -> Result<(), Error> {
        let brace = self.stream.take_raw()?.token;
        let message = "Unexpected '}' because no matching opening brace";
        if self.stream.peek().is_some() {
            return Err(brace.error(message));
        }
        self.stream.warnings.push(Warning { at: brace.at, message: message.to_owned() });
        Ok(())
    }

    /// The directives of a block, and the brace behind them.
    fn directives(&mut self, keys: &[Token], braces: bool) -> Result<Vec<Directive>, Error> {
        let mut directives = Vec::new();
        loop {
            let Some(word) = self.stream.peek() else {
                if braces {
                    self.missing_brace()?;
                }
                return Ok(directives);
            };
            match word.kind {
                Kind::Close if braces => {
                    self.stream.take_raw()?;
                    return Ok(directives);
                }
                Kind::Close => {
                    let mut error = word.token.error("Unexpected '}' because no matching opening brace");
                    if let Some(key) = keys.last().filter(|key| key.text.ends_with('{')) {
                        error.message.push_str(&format!(
                            " (at {} a space is missing before the '{{' of '{}')",
                            key.at, key.text
                        ));
                    }
                    return Err(error);
                }
                Kind::Open => return Err(lone_brace(&word.token)),
                Kind::Import => self.stream.import()?,
                Kind::Plain => directives.push(self.directive(0)?),
            }
        }
    }

    /// The file ends before the brace that closes a block. Behind a directive that ends with a brace of its own CoreDNS does
    /// not see it.
    fn missing_brace(&mut self) -> Result<(), Error> {
        let last = self.stream.last();
        if !self.stream.closed() {
            return Err(self.stream.explained(Error::syntax(&last, "}")));
        }
        let message = "the '}' that closes the server block is missing".to_owned();
        self.stream.warnings.push(Warning { at: last.at, message });
        Ok(())
    }

    /// A directive, within this many braces of a directive.
    fn directive(&mut self, depth: usize) -> Result<Directive, Error> {
        let Word { token: raw, .. } = self.stream.take_raw()?;
        let mut name = raw.clone();
        self.stream.replace(&mut name)?;
        if depth == 0 {
            // The name itself is counted as it was written.
            self.digest.directive(&name.text);
            self.digest.word(self.stream.imported(&raw.at), &raw);
        } else {
            self.digest.word(self.stream.imported(&name.at), &name);
        }
        let mut directive = Directive { name, args: Vec::new(), body: Vec::new() };
        while let Some(word) = self.stream.peek_on_line() {
            match word.kind {
                Kind::Open => {
                    directive.body = self.body(depth + 1)?;
                    match self.stream.peek_on_line() {
                        Some(word) if word.kind != Kind::Close || depth == 0 => {
                            return Err(word
                                .token
                                .error(format!("Unexpected '{}' after '}}'", word.token.text)));
                        }
                        _ => break,
                    }
                }
                Kind::Close if depth > 0 => break,
                Kind::Close => {
                    return Err(word.token.error("Unexpected '}' because no matching opening brace"));
                }
                Kind::Plain | Kind::Import => {
                    let word = self.counted()?;
                    directive.args.push(word.token);
                }
            }
        }
        Ok(directive)
    }

    /// What is in the braces that come.
    fn body(&mut self, depth: usize) -> Result<Vec<Directive>, Error> {
        let brace = self.counted()?;
        if depth > DEEPEST {
            return Err(brace.token.error(format!("braces within more than {DEEPEST} braces")));
        }
        let mut body = Vec::new();
        loop {
            let Some(word) = self.stream.peek() else { return Err(self.stream.ended()) };
            match word.kind {
                Kind::Close => {
                    self.counted()?;
                    return Ok(body);
                }
                Kind::Open => return Err(lone_brace(&word.token)),
                Kind::Import => self.stream.import()?,
                Kind::Plain => body.push(self.directive(depth)?),
            }
        }
    }

    /// Takes a word that is part of a directive.
    fn counted(&mut self) -> Result<Word, Error> {
        let word = self.stream.take()?;
        self.digest.word(self.stream.imported(&word.token.at), &word.token);
        Ok(word)
    }
}

fn lone_brace(brace: &Token) -> Error {
    brace.error("Unexpected '{': a block opens on the line of its directive")
}

#[cfg(test)]
mod clusters;
#[cfg(test)]
mod tests;
