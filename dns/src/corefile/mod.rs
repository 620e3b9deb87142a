//! The Corefile: text into blocks of directives, each with its place.
//!
//! ```text
//!   text ──▶ tokens ──▶ blocks ──▶ (crate::block) typed configuration
//!             │           └ snippets and imports expanded, variables replaced
//!             └ file and line of each
//! ```
//!
//! Everything in here is a plain function of texts: files and variables come through [`Files`], of this machine by
//! [`FilesOnDisk`]. What a directive means is
//! not known here, only where it stands, what its arguments are and what belongs to it. The grammar is CoreDNS's
//! (`coredns/caddy` `caddyfile/{lexer,parse}.go`, `coredns` `corefile.5.md`).

mod digest;
mod disk;
mod error;
mod go;
mod lexer;
#[cfg(test)]
pub(crate) mod memory;
mod parse;
mod stream;
mod token;
mod variables;

use std::path::{Path, PathBuf};

pub use disk::{FilesOnDisk, read_text};
pub use error::{Error, Warning};
pub use go::read_error;
pub use token::{Position, Token, quoted};

/// A file, its imports expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corefile {
    /// The server blocks, in the order of the file.
    pub blocks: Vec<ServerBlock>,
    /// What is odd but not wrong.
    pub warnings: Vec<Warning>,
    /// What else was looked at.
    pub sources: Sources,
    /// The SHA-512 of what was parsed, in hexadecimal digits, as CoreDNS counts it.
    pub sha512: String,
}

/// What a file imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The files that were read, in alphabetical order, without the main one.
    pub files: Vec<PathBuf>,
    /// The folders that patterns look into, in alphabetical order: a new file in them may be one to import.
    pub folders: Vec<PathBuf>,
}

/// `key, key { directives }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBlock {
    /// `[SCHEME://]ZONE[:PORT]`, as they were written. At least one.
    pub keys: Vec<Token>,
    /// What is in the braces.
    pub directives: Vec<Directive>,
}

/// One line, and the lines in the braces at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The first word.
    pub name: Token,
    /// The words after it on its line.
    pub args: Vec<Token>,
    /// What is in its braces; empty without.
    pub body: Vec<Self>,
}

/// Where a Corefile's imports and variables come from.
pub trait Files {
    /// A file's text.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &Path) -> std::io::Result<String>;
    /// The files that match a pattern with at most one `*` and one `?`, by whole names, sorted; a pattern without either is
    /// the name of a file, which is there or not.
    ///
    /// # Errors
    /// When it is no pattern.
    fn glob(&self, pattern: &Path) -> std::io::Result<Vec<PathBuf>>;
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

impl Directive {
    /// An error at this directive.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.name.error(message)
    }

    /// The error of a property that its plugin does not have.
    pub fn unknown(&self) -> Error {
        self.error(format!("unknown property '{}'", self.name.text))
    }

    /// The error of a wrong number of arguments.
    pub fn wrong_count(&self) -> Error {
        let last = self.args.last().unwrap_or(&self.name);
        self.name.error(format!("Wrong argument count or unexpected line ending after '{}'", last.text))
    }

    /// Its arguments, which must be exactly `N`.
    ///
    /// # Errors
    /// When they are fewer or more.
    pub fn exactly<const N: usize>(&self) -> Result<&[Token; N], Error> {
        self.args.as_slice().try_into().map_err(|_| self.wrong_count())
    }

    /// Its arguments, of which there must be at least one.
    ///
    /// # Errors
    /// When there is none.
    pub fn some(&self) -> Result<&[Token], Error> {
        if self.args.is_empty() { Err(self.wrong_count()) } else { Ok(&self.args) }
    }
}
