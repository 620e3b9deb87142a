//! What is wrong with a Corefile, and where.

use std::fmt;

use super::{Position, Token};

/// Why a Corefile is refused. Its text names the plugin, the file and the line, in CoreDNS's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The plugin whose directive it is, if it is one's.
    pub plugin: Option<&'static str>,
    /// Where.
    pub at: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// Whether the words are not even of the grammar.
    syntax: bool,
}

/// Something odd that is not wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub at: Position,
    /// What is odd.
    pub message: String,
}

impl Error {
    /// An error at a line.
    pub fn at(at: &Position, message: impl Into<String>) -> Self {
        Self { plugin: None, at: Some(at.clone()), message: clipped(message.into()), syntax: false }
    }

    /// A word where another has to be.
    pub(super) fn syntax(found: &Token, wanted: &str) -> Self {
        let message = format!("Unexpected token '{}', expecting '{wanted}'", found.text);
        Self { syntax: true, ..Self::at(&found.at, message) }
    }

    /// An error of the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self { plugin: None, at: None, message: message.into(), syntax: false }
    }

    /// The same error, of this plugin.
    #[must_use]
    pub fn of(self, plugin: &'static str) -> Self {
        Self { plugin: self.plugin.or(Some(plugin)), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plugin) = self.plugin {
            write!(f, "plugin/{plugin}: ")?;
        }
        match &self.at {
            Some(at) if self.syntax => write!(f, "{at} - Syntax error: {}", self.message),
            Some(at) => write!(f, "{at} - Error during parsing: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.at, self.message)
    }
}

/// How long a message may be, bytes: words of a file stand in them, which may be of any length.
const LONGEST: usize = 1000;

fn clipped(mut message: String) -> String {
    if message.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| message.is_char_boundary(*end)).unwrap_or_default();
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded() {
        let at = Position { file: "f".into(), line: 1 };
        let long = Error::at(&at, "é".repeat(5000)).message;
        assert_eq!((long.chars().count(), long.ends_with("é…")), (501, true));
        assert_eq!(Error::at(&at, "short").to_string(), "f:1 - Error during parsing: short");
        let plugin = Error::at(&at, "x").of("cache").of("other");
        assert_eq!(plugin.to_string(), "plugin/cache: f:1 - Error during parsing: x");
    }
}
