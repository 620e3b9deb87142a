//! The pieces of a template's text, and the words of an action.

use super::{parse::Operand, value::Value};

/// A word of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Operand(Operand),
    Word(String),
    Pipe,
    Comma,
    Declare,
    Assign,
    Open,
    Close(Vec<String>),
}

/// A piece of the text.
pub(super) enum Piece<'a> {
    Text(&'a str),
    Action(&'a str),
}

/// Takes a text apart; comments are gone, and what is to be trimmed.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let before = if trim { before.trim_start() } else { before };
        let Some(after) = after else {
            pieces.push(Piece::Text(before));
            return Ok(pieces);
        };
        let after = match after.strip_prefix('-').filter(|after| after.starts_with(char::is_whitespace)) {
            Some(after) => {
                pieces.push(Piece::Text(before.trim_end()));
                after
            }
            None => {
                pieces.push(Piece::Text(before));
                after
            }
        };
        let end = action_end(after).ok_or("unclosed action")?;
        let (action, tail) = after.split_at_checked(end).ok_or("unclosed action")?;
        rest = tail.get(2..).unwrap_or_default();
        let trimmed = action.strip_suffix('-').filter(|action| action.ends_with(char::is_whitespace));
        trim = trimmed.is_some();
        let action = trimmed.unwrap_or(action).trim();
        if action.starts_with("/*") && action.ends_with("*/") {
            continue;
        }
        pieces.push(Piece::Action(action));
    }
}

/// Where `}}` ends an action; not within a text.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"' | '\''), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`' | '\'') => quote = Some(c),
            (None, '}') if chars.peek().is_some_and(|(_, next)| *next == '}') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// The words of an action.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let name_end =
            |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (token, after) = match first {
            '|' => (Token::Pipe, rest.get(1..)),
            ',' => (Token::Comma, rest.get(1..)),
            '(' => (Token::Open, rest.get(1..)),
            ')' => {
                let (path, after) = path(rest.get(1..).unwrap_or_default())?;
                (Token::Close(path), Some(after))
            }
            ':' if rest.starts_with(":=") => (Token::Declare, rest.get(2..)),
            '=' => (Token::Assign, rest.get(1..)),
            '.' if rest
                .get(1..)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '_')) =>
            {
                let (path, after) = path(rest)?;
                (Token::Operand(Operand::Dot(path)), Some(after))
            }
            '.' => (Token::Operand(Operand::Dot(Vec::new())), rest.get(1..)),
            '$' => {
                let name = rest.get(1..).unwrap_or_default();
                let (name, after) = name.split_at_checked(name_end(name)).unwrap_or((name, ""));
                let (path, after) = path(after)?;
                (Token::Operand(Operand::Variable(name.to_owned(), path)), Some(after))
            }
            '"' | '`' => {
                let (text, after) = quoted(rest, first)?;
                (Token::Operand(Operand::Literal(Value::Text(text))), Some(after))
            }
            '\'' => {
                let (text, after) = quoted(rest, first)?;
                let mut chars = text.chars();
                let (Some(c), None) = (chars.next(), chars.next()) else {
                    return Err(format!("malformed character constant: {rest}"));
                };
                (Token::Operand(Operand::Literal(Value::Number(i64::from(u32::from(c))))), Some(after))
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+') => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, ')' | '|' | ','))
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
                (Token::Operand(Operand::Literal(Value::Number(number(word)?))), Some(after))
            }
            c if c.is_alphabetic() || c == '_' => {
                let (word, after) = rest.split_at_checked(name_end(rest)).unwrap_or((rest, ""));
                (Token::Word(word.to_owned()), Some(after))
            }
            other => return Err(format!("unexpected '{other}' in {text}")),
        };
        tokens.push(token);
        rest = after.unwrap_or_default();
    }
}

/// `.A.B`, and what follows.
fn path(mut text: &str) -> Result<(Vec<String>, &str), String> {
    let mut path = Vec::new();
    while let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if name.is_empty() {
            return Err(format!("unexpected '.' in .{rest}"));
        }
        path.push(name.to_owned());
        text = after;
    }
    Ok((path, text))
}

fn number(word: &str) -> Result<i64, String> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let parsed = match digits.get(..2) {
        Some("0x" | "0X") => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 16),
        Some("0b" | "0B") => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 2),
        Some("0o" | "0O") => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 8),
        _ => digits.parse(),
    };
    let plain = digits.starts_with(|c: char| c.is_ascii_digit());
    let number = parsed.ok().filter(|_| plain).ok_or_else(|| format!("bad number: {word}"))?;
    Ok(sign * number)
}

/// A text in quotes, and what follows.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let unclosed = || format!("unterminated quoted string: {text}");
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((out, text.get(at + c.len_utf8()..).unwrap_or_default())),
            '\\' if quote != '`' => match chars.next().ok_or_else(unclosed)?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                c @ ('\\' | '"' | '\'') => out.push(c),
                other => return Err(format!("escape \\{other} is not supported")),
            },
            c => out.push(c),
        }
    }
    Err(unclosed())
}
