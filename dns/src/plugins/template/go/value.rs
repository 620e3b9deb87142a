//! Values of templates, and the functions on them.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugins::template) enum Value {
    /// What is not there.
    Nothing,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Value {
    /// A text.
    pub(in crate::plugins::template) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Whether a condition holds: it is not zero and not empty.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bool(value) => *value,
            Self::Number(value) => *value != 0,
            Self::Text(value) => !value.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Map(values) => !values.is_empty(),
        }
    }

    /// A field of it.
    pub(super) fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Map(values) => Ok(values.get(name).cloned().unwrap_or(Self::Nothing)),
            Self::Nothing => Err(format!("nil pointer evaluating .{name}")),
            _ => Err(format!("can't evaluate field {name} in {self}")),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("<no value>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Map(values) => {
                f.write_str("map[")?;
                for (at, (key, value)) in values.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if at == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// The functions there are; `and` and `or` are not among them: they do not look at all their arguments.
pub(super) const FUNCTIONS: [&str; 16] = [
    "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "println", "printf",
    "parseInt", "and", "or",
];

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let wrong = || format!("wrong number of args for {name}: got {}", arguments.len());
    Ok(match (name, arguments) {
        ("not", [value]) => Value::Bool(!value.holds()),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            let mut equal = false;
            for other in others {
                equal |= compare(name, first, other)? == Ordering::Equal;
            }
            Value::Bool(equal)
        }
        ("ne", [a, b]) => Value::Bool(compare(name, a, b)? != Ordering::Equal),
        ("lt", [a, b]) => Value::Bool(compare(name, a, b)?.is_lt()),
        ("le", [a, b]) => Value::Bool(compare(name, a, b)?.is_le()),
        ("gt", [a, b]) => Value::Bool(compare(name, a, b)?.is_gt()),
        ("ge", [a, b]) => Value::Bool(compare(name, a, b)?.is_ge()),
        ("len", [value]) => {
            let length = match value {
                Value::Text(text) => text.len(),
                Value::List(values) => values.len(),
                Value::Map(values) => values.len(),
                other => return Err(format!("len of {other}")),
            };
            Value::Number(i64::try_from(length).unwrap_or(i64::MAX))
        }
        ("index", [value, path @ ..]) => {
            path.iter().try_fold(value.clone(), |value, key| index(&value, key))?
        }
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds)?,
        ("print", values) => Value::Text(print(values)),
        ("println", values) => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            Value::Text(format!("{}\n", texts.join(" ")))
        }
        ("printf", [Value::Text(format), values @ ..]) => Value::Text(super::run::printf(format, values)?),
        ("parseInt", [Value::Text(text), Value::Number(base), Value::Number(bits)]) => {
            parse(text, *base, *bits)?
        }
        _ => return Err(wrong()),
    })
}

fn compare(name: &str, a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) if matches!(name, "eq" | "ne") => Ok(a.cmp(b)),
        (Value::Nothing, Value::Nothing) if matches!(name, "eq" | "ne") => Ok(Ordering::Equal),
        (Value::Nothing, _) | (_, Value::Nothing) if matches!(name, "eq" | "ne") => Ok(Ordering::Less),
        _ => Err(format!("error calling {name}: incompatible types for comparison")),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::List(values), Value::Number(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| values.get(at));
            found.cloned().ok_or_else(|| format!("error calling index: index out of range: {at}"))
        }
        (Value::Text(text), Value::Number(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
            let byte = found.ok_or_else(|| format!("error calling index: index out of range: {at}"))?;
            Ok(Value::Number(i64::from(*byte)))
        }
        // A name that is not there is an empty text: the maps there are hold texts.
        (Value::Map(values), Value::Text(key)) => {
            Ok(values.get(key).cloned().unwrap_or(Value::Text(String::new())))
        }
        _ => Err(format!("error calling index: can't index {value} with {key}")),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.len(),
        other => return Err(format!("error calling slice: can't slice {other}")),
    };
    let bound = |at: usize, otherwise| match bounds.get(at) {
        None => Ok(otherwise),
        Some(Value::Number(bound)) => {
            usize::try_from(*bound).map_err(|_| format!("index out of range: {bound}"))
        }
        Some(other) => Err(format!("cannot index slice with {other}")),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    let out = || format!("error calling slice: index out of range: {from}:{to}");
    match value {
        Value::Text(text) => text.get(from..to).map(Value::text).ok_or_else(out),
        Value::List(values) => values.get(from..to).map(|part| Value::List(part.to_vec())).ok_or_else(out),
        _ => Err(out()),
    }
}

/// Values one after the other, with a space between two that are no texts.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut last_is_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !last_is_text {
            out.push(' ');
        }
        out.push_str(&value.to_string());
        last_is_text = is_text;
    }
    out
}

/// `strconv.ParseInt`
fn parse(text: &str, base: i64, bits: i64) -> Result<Value, String> {
    let wrong = |why: &str| format!("error calling parseInt: parsing \"{text}\": {why}");
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match (base, lower.get(..2)) {
        (0, Some("0x")) => (16, text.get(2..).unwrap_or_default()),
        (0, Some("0b")) => (2, text.get(2..).unwrap_or_default()),
        (0, Some("0o")) => (8, text.get(2..).unwrap_or_default()),
        (0, _) => (10, text),
        (base, _) => (base, text),
    };
    let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
    let base = base.ok_or_else(|| wrong("invalid base"))?;
    let number = i64::from_str_radix(digits, base).map_err(|_| wrong("invalid syntax"))?;
    let bits = if bits == 0 { 64 } else { bits };
    let bits =
        u32::try_from(bits).ok().filter(|bits| *bits <= 64).ok_or_else(|| wrong("invalid bit size"))?;
    let most = i64::MAX >> (64 - bits);
    if number > most || number < -most - 1 {
        return Err(wrong("value out of range"));
    }
    Ok(Value::Number(number))
}
