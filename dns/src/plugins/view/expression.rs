//! Expressions of expr-lang, with CoreDNS's functions (`coredns` `plugin/pkg/expression`).

use std::{net::IpAddr, sync::LazyLock};

use expr::{Context, Environment, Error, Program, Value};
use ipnet::IpNet;

use crate::{
    answer::Transport,
    plugin::{Label, Query},
    plugins::reading::{class_text, name_text, type_text},
};

/// An expression that has been read.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    wants_metadata: bool,
}

/// What there is to know about a question.
pub(super) struct Facts(Context);

/// Functions without arguments, each of which is a fact.
const FACTS: [&str; 13] = [
    "bufsize",
    "class",
    "client_ip",
    "do",
    "id",
    "name",
    "opcode",
    "port",
    "proto",
    "server_ip",
    "server_port",
    "size",
    "type",
];
const METADATA: &str = "metadata";
/// What a fact is kept under: no expression can say it.
const HIDDEN: char = '@';

static FUNCTIONS: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut functions = Environment::new();
    for fact in FACTS {
        let key = format!("{HIDDEN}{fact}");
        functions.add_function(fact, move |call| match call.args.as_slice() {
            [] => Ok(call.ctx.get(&key).cloned().unwrap_or_default()),
            _ => Err(error(format!("too many arguments to call {}", call.ident))),
        });
    }
    functions.add_function(METADATA, |call| match call.args.as_slice() {
        [Value::String(label)] => {
            let known = call.ctx.get(&format!("{HIDDEN}{METADATA}")).and_then(Value::as_map);
            let value = known.and_then(|known| known.get(label)).cloned();
            Ok(value.unwrap_or_else(|| Value::String(String::new())))
        }
        _ => Err(error("metadata wants a label".to_owned())),
    });
    functions.add_function("incidr", |call| match call.args.as_slice() {
        [Value::String(ip), Value::String(range)] => in_range(ip, range).map(Value::Bool),
        _ => Err(error("incidr wants an address and a range, both as text".to_owned())),
    });
    functions
});

fn error(message: String) -> Error {
    Error::ExprError(message)
}

/// Whether an address, which may stand in brackets, is in a range.
fn in_range(ip: &str, range: &str) -> Result<bool, Error> {
    let bare = ip.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = bare.parse().map_err(|_| error("first argument is not an IP address".to_owned()))?;
    let range: IpNet = range.parse().map_err(|_| error(format!("invalid CIDR address: {range}")))?;
    Ok(range.contains(&ip))
}

impl Expression {
    /// Reads an expression and tries it.
    ///
    /// # Errors
    /// With what is wrong: its grammar, a function that is not there, a value that is not a boolean.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let program = expr::compile(text).map_err(|error| error.to_string())?;
        for name in called(text) {
            let probe = FUNCTIONS.eval(&format!("{name}()"), &Context::default());
            if probe.is_err_and(|error| error.to_string().contains("Unknown function")) {
                return Err(format!("unknown name {name} in '{text}'"));
            }
        }
        let expression = Self { program, wants_metadata: called(text).contains(&METADATA) };
        for facts in Facts::samples() {
            match FUNCTIONS.run(&expression.program, &facts.0) {
                Ok(Value::Bool(_)) => {}
                Ok(other) => return Err(format!("'{text}' is {other}, not true or false")),
                Err(error) => return Err(format!("'{text}': {error}")),
            }
        }
        Ok(expression)
    }

    /// Whether it holds. One that fails does not.
    pub(super) fn holds(&self, facts: &Facts) -> bool {
        matches!(FUNCTIONS.run(&self.program, &facts.0), Ok(Value::Bool(true)))
    }

    /// Whether it asks for what plugins know.
    pub(super) fn wants_metadata(&self) -> bool {
        self.wants_metadata
    }
}

/// The words before parentheses, but for those in texts and after a dot.
fn called(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut quote = None;
    let mut start = None;
    let mut last = ' ';
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some(_) if c == '\\' => {
                chars.next();
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
            }
            None if c.is_alphanumeric() || c == '_' => {
                // A word after a dot is a method or a field.
                if start.is_none() && last != '.' {
                    start = Some(at);
                }
            }
            None => {
                if let Some(name) = start.take().and_then(|start| text.get(start..at)) {
                    let is_call =
                        c == '(' || text.get(at..).is_some_and(|rest| rest.trim_start().starts_with('('));
                    // Words of the language may stand before parentheses too.
                    if is_call && !OPERATORS.contains(&name) {
                        names.push(name);
                    }
                }
                if matches!(c, '"' | '\'' | '`') {
                    quote = Some(c);
                }
            }
        }
        last = c;
    }
    names
}

const OPERATORS: [&str; 11] =
    ["and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "if", "else", "let"];

impl Facts {
    /// The facts of a query, and what plugins know about it.
    pub(super) fn new(query: &Query, metadata: &[(Label, String)]) -> Self {
        let edns = query.request.edns;
        let tcp = query.peer.transport == Transport::Tcp;
        let payload = match edns {
            _ if tcp => u16::MAX,
            Some(edns) => edns.payload.max(512),
            None => 512,
        };
        let mut context = Context::default();
        let mut fact = |name: &str, value: Value| context.insert(format!("{HIDDEN}{name}"), value);
        fact("bufsize", Value::Integer(payload.into()));
        fact("class", Value::String(class_text(query.question.qclass)));
        fact("client_ip", Value::String(address(query.peer.address.ip())));
        fact("do", Value::Bool(query.dnssec_ok()));
        fact("id", Value::Integer(query.request.id.into()));
        fact("name", Value::String(name_text(query.name())));
        fact("opcode", Value::Integer(query.request.opcode.into()));
        fact("port", Value::String(query.peer.address.port().to_string()));
        fact("proto", Value::String(if tcp { "tcp" } else { "udp" }.to_owned()));
        fact("server_ip", Value::String(address(query.peer.local.ip())));
        fact("server_port", Value::String(query.peer.local.port().to_string()));
        fact("size", Value::Integer(i64::try_from(query.size).unwrap_or(i64::MAX)));
        fact("type", Value::String(type_text(query.qtype())));
        let known = metadata.iter().map(|(label, value)| (label.to_string(), Value::String(value.clone())));
        fact(METADATA, Value::Map(known.collect()));
        Self(context)
    }

    /// Facts of questions that may come, to try expressions with.
    fn samples() -> [Self; 2] {
        let sample = |client: &str, kind: &str, protocol: &str| {
            let mut context = Context::default();
            let mut fact = |name: &str, value: Value| context.insert(format!("{HIDDEN}{name}"), value);
            let text = |text: &str| Value::String(text.to_owned());
            for (name, value) in [
                ("class", "IN"),
                ("client_ip", client),
                ("name", "www.example.org."),
                ("port", "40000"),
                ("proto", protocol),
                ("server_ip", client),
                ("server_port", "53"),
                ("type", kind),
            ] {
                fact(name, text(value));
            }
            for (name, value) in [("bufsize", 1232), ("id", 1), ("opcode", 0), ("size", 40)] {
                fact(name, Value::Integer(value));
            }
            fact("do", Value::Bool(false));
            fact(METADATA, Value::Map(Default::default()));
            Self(context)
        };
        [sample("192.0.2.1", "A", "udp"), sample("[2001:db8::1]", "AAAA", "tcp")]
    }
}

/// An address, one of IPv6 in brackets.
fn address(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found() {
        assert_eq!(called("a() && not (b (1) in ['c()']) || x.d() || e"), ["a", "b"]);
    }
}
