//! Running a template.

use super::{
    parse::{Command, Node, Operand, Pipeline, Template},
    value::{Value, call},
};

/// The most that one template writes, bytes: more than any record.
const LONGEST: usize = 128 << 10;

/// A function of the data that takes an argument: `.Meta "label"`.
pub(in crate::plugins::template) type Method<'a> = &'a dyn Fn(&str) -> String;

struct Run<'a> {
    data: &'a Value,
    meta: Method<'a>,
    variables: Vec<(&'a str, Value)>,
    out: String,
}

impl Template {
    /// Runs it with data. `meta` is `.Meta`.
    ///
    /// # Errors
    /// When something in it cannot be done with this data.
    pub(in crate::plugins::template) fn run(&self, data: &Value, meta: Method<'_>) -> Result<String, String> {
        let mut run = Run { data, meta, variables: Vec::new(), out: String::new() };
        run.nodes(&self.nodes, data)?;
        Ok(run.out)
    }
}

impl<'a> Run<'a> {
    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<(), String> {
        for node in nodes {
            self.node(node, dot)?;
            if self.out.len() > LONGEST {
                return Err("the template writes too much".to_owned());
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<(), String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Emit(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variable.is_none() {
                    self.out.push_str(&value.to_string());
                }
            }
            Node::If { condition, then, otherwise } => {
                let depth = self.variables.len();
                let holds = self.pipeline(condition, dot)?.holds();
                self.nodes(if holds { then } else { otherwise }, dot)?;
                self.variables.truncate(depth);
            }
            Node::With { value, then, otherwise } => {
                let depth = self.variables.len();
                let value = self.pipeline(value, dot)?;
                if value.holds() {
                    self.nodes(then, &value)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
                self.variables.truncate(depth);
            }
            Node::Range { key, value, list, body, otherwise } => {
                let items: Vec<(Value, Value)> = match self.pipeline(list, dot)? {
                    Value::List(values) => (0..).map(Value::Number).zip(values).collect(),
                    Value::Map(values) => {
                        values.into_iter().map(|(key, value)| (Value::Text(key), value)).collect()
                    }
                    Value::Nothing => Vec::new(),
                    other => return Err(format!("range can't iterate over {other}")),
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                let depth = self.variables.len();
                for (at, item) in items {
                    if let Some(key) = key {
                        self.variables.push((key, at));
                    }
                    if let Some(value) = value {
                        self.variables.push((value, item.clone()));
                    }
                    self.nodes(body, &item)?;
                    self.variables.truncate(depth);
                }
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value) -> Result<Value, String> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nothing);
        match &pipeline.variable {
            None => {}
            Some((name, true)) => self.variables.push((name, value.clone())),
            Some((name, false)) => {
                let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                known.ok_or_else(|| format!("undefined variable: ${name}"))?.1 = value.clone();
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &'a Command, dot: &Value, piped: Option<Value>) -> Result<Value, String> {
        let Some((first, rest)) = command.0.split_first() else { return Err("missing value".to_owned()) };
        match first {
            Operand::Function(name) if name == "and" || name == "or" => {
                let mut last = Value::Nothing;
                for operand in rest {
                    last = self.operand(operand, dot)?;
                    if last.holds() == (name == "or") {
                        return Ok(last);
                    }
                }
                Ok(piped.unwrap_or(last))
            }
            Operand::Function(name) => {
                let mut arguments = Vec::with_capacity(rest.len() + 1);
                for operand in rest {
                    arguments.push(self.operand(operand, dot)?);
                }
                arguments.extend(piped);
                call(name, &arguments)
            }
            Operand::Meta => {
                let label = match rest {
                    [operand] => Some(self.operand(operand, dot)?),
                    _ => piped,
                };
                match label {
                    Some(Value::Text(label)) => Ok(Value::Text((self.meta)(&label))),
                    _ => Err("wrong argument for Meta: want a label".to_owned()),
                }
            }
            operand if rest.is_empty() && piped.is_none() => self.operand(operand, dot),
            _ => Err("can't give argument to non-function".to_owned()),
        }
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, String> {
        let (value, path) = match operand {
            Operand::Literal(value) => return Ok(value.clone()),
            Operand::Function(name) => return call(name, &[]),
            Operand::Meta => return Err("wrong argument for Meta: want a label".to_owned()),
            Operand::Dot(path) => (dot.clone(), path),
            Operand::Variable(name, path) if name.is_empty() => (self.data.clone(), path),
            Operand::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = known.ok_or_else(|| format!("undefined variable: ${name}"))?;
                (value.clone(), path)
            }
            Operand::Group(pipeline, path) => (self.pipeline(pipeline, dot)?, path),
        };
        path.iter().try_fold(value, |value, name| value.field(name))
    }
}

/// What a verb of a format may be.
const VERBS: [char; 8] = ['s', 'd', 'v', 'x', 'X', 'q', 't', 'o'];

/// Whether a format has only verbs that are known; the first that is not.
pub(super) fn unknown_verb(format: &str) -> Option<char> {
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c == '%' {
            match chars.find(|c| !(c.is_ascii_digit() || matches!(c, '-' | '.'))) {
                Some('%') => {}
                Some(verb) if VERBS.contains(&verb) => {}
                Some(verb) => return Some(verb),
                None => return Some('%'),
            }
        }
    }
    None
}

/// Go's `Sprintf`, for the verbs that are known: flags `-` and `0`, a width.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = chars.next_if(|c| c.is_ascii_digit() || *c == '-') {
            flags.push(flag);
        }
        let verb = chars.next().ok_or("printf: a % without a verb")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("printf: %{verb} without a value"))?;
        let text = verb_text(verb, value)?;
        let left = flags.starts_with('-');
        let digits = flags.trim_start_matches('-');
        let zero = digits.starts_with('0') && !left;
        let width: usize = digits.parse().unwrap_or_default();
        if width > 1024 {
            return Err("printf: too wide".to_owned());
        }
        let missing = width.saturating_sub(text.chars().count());
        match (left, zero) {
            (true, _) => out.push_str(&format!("{text}{}", " ".repeat(missing))),
            (_, true) => {
                let (sign, number) =
                    text.strip_prefix('-').map_or(("", text.as_str()), |number| ("-", number));
                out.push_str(&format!("{sign}{}{number}", "0".repeat(missing)));
            }
            _ => out.push_str(&format!("{}{text}", " ".repeat(missing))),
        }
    }
    if values.next().is_some() {
        return Err("printf: more values than verbs".to_owned());
    }
    Ok(out)
}

fn verb_text(verb: char, value: &Value) -> Result<String, String> {
    Ok(match (verb, value) {
        ('v', value) => value.to_string(),
        ('s', Value::Text(text)) => text.clone(),
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('t', Value::Bool(value)) => value.to_string(),
        ('d', Value::Number(number)) => number.to_string(),
        ('x', Value::Number(number)) if *number >= 0 => format!("{number:x}"),
        ('X', Value::Number(number)) if *number >= 0 => format!("{number:X}"),
        ('o', Value::Number(number)) if *number >= 0 => format!("{number:o}"),
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        (verb, value) => return Err(format!("printf: %{verb} of {value}")),
    })
}
