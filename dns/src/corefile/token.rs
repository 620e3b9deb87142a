//! One word and where it stands.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc, time::Duration};

use super::Error;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The file as it was named.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it says, without quotes, variables replaced.
    pub text: String,
    /// Where it begins.
    pub at: Position,
}

impl Token {
    /// An error at this word.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::at(&self.at, message)
    }

    /// The word as a value of a type.
    ///
    /// # Errors
    /// When it is none; `what` says what is wanted.
    pub fn parse<T: FromStr>(&self, what: &str) -> Result<T, Error> {
        self.text.parse().map_err(|_| self.error(format!("'{}' is not {what}", self.text)))
    }

    /// The word as a duration as Go writes them: `1h30m`, `2.5s`, `500ms`, `0`.
    ///
    /// # Errors
    /// When it is none, is negative or lacks its unit.
    pub fn duration(&self) -> Result<Duration, Error> {
        go_duration(&self.text).ok_or_else(|| {
            self.error(format!("invalid duration '{}': want for example 30s, 500ms, 1h", self.text))
        })
    }
}

/// A word as it must be written to be read as one. A backslash at the end of one that needs quotes cannot be written.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = !word.is_empty()
        && !word.starts_with('"')
        && !word.contains(|c: char| c.is_whitespace() || c == '#' || c == '\u{feff}')
        && !["{", "}", "import"].contains(&word);
    if plain { Cow::Borrowed(word) } else { Cow::Owned(format!("\"{}\"", word.replace('"', "\\\""))) }
}

/// Nanoseconds of Go's units (`time.ParseDuration`).
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

fn go_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(unit_end)?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    // Go's durations end at 2^63 nanoseconds.
    (!text.is_empty() && nanos < 9.2e18).then(|| Duration::from_nanos(nanos.round() as u64))
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(go_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(go_duration("2.5s"), Some(Duration::from_millis(2500)));
        assert_eq!(go_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(go_duration("0"), Some(Duration::ZERO));
        for bad in ["", "5", "s", "-1s", "1 s", "1d", "300000000h"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }
}
