//! Reading a template.

use super::{
    lex::{Piece, Token, pieces, tokens},
    run::unknown_verb,
    value::{FUNCTIONS, Value},
};

/// A template that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugins::template) struct Template {
    pub(super) nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    Emit(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    With {
        value: Pipeline,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    Range {
        key: Option<String>,
        value: Option<String>,
        list: Pipeline,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
}

/// Commands whose value is the last argument of the next, and the variable that gets it: its name, and whether it is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) variable: Option<(String, bool)>,
    pub(super) commands: Vec<Command>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command(pub(super) Vec<Operand>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Literal(Value),
    /// `.A.B`
    Dot(Vec<String>),
    /// `.Meta`
    Meta,
    /// `$x.A.B`; without a name the data itself.
    Variable(String, Vec<String>),
    Function(String),
    /// `(…).A.B`
    Group(Pipeline, Vec<String>),
}

/// How deep blocks and parentheses may be.
const DEEPEST: usize = 32;

impl Template {
    /// Reads a template. `fields` are those that its data has.
    ///
    /// # Errors
    /// When it is none, or has something that is not supported, which is named.
    pub(in crate::plugins::template) fn read(text: &str, fields: &[&str]) -> Result<Self, String> {
        let pieces = pieces(text)?;
        let mut parser =
            Parser { pieces: pieces.into_iter(), variables: Vec::new(), fields, depth: 0, inside: false };
        let (nodes, end) = parser.block()?;
        match end {
            None => Ok(Self { nodes }),
            Some(end) => Err(format!("unexpected {{{{{end}}}}}")),
        }
    }
}

struct Parser<'a, 'f> {
    pieces: std::vec::IntoIter<Piece<'a>>,
    variables: Vec<String>,
    fields: &'f [&'f str],
    depth: usize,
    /// Whether `.` is something else than the data.
    inside: bool,
}

impl<'a> Parser<'a, '_> {
    /// Reads up to what ends a block: `end`, or `else` with what follows it.
    fn block(&mut self) -> Result<(Vec<Node>, Option<&'a str>), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("blocks are nested too deeply".to_owned());
        }
        let scope = self.variables.len();
        let mut nodes = Vec::new();
        let mut end = None;
        while let Some(piece) = self.pieces.next() {
            let action = match piece {
                Piece::Text("") => continue,
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.to_owned()));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
            match word {
                "end" | "else" => {
                    end = Some(action);
                    break;
                }
                "if" => nodes.push(self.conditional(rest)?),
                "with" => nodes.push(self.with(rest)?),
                "range" => nodes.push(self.range(rest)?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(format!("{{{{{word}}}}} is not supported"));
                }
                _ => nodes.push(Node::Emit(self.pipeline(action)?)),
            }
        }
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn conditional(&mut self, rest: &str) -> Result<Node, String> {
        let scope = self.variables.len();
        let condition = self.pipeline(rest)?;
        let (then, end) = self.block()?;
        let otherwise = self.otherwise(end, "if")?;
        self.variables.truncate(scope);
        Ok(Node::If { condition, then, otherwise })
    }

    fn with(&mut self, rest: &str) -> Result<Node, String> {
        let scope = self.variables.len();
        let value = self.pipeline(rest)?;
        let outside = std::mem::replace(&mut self.inside, true);
        let (then, end) = self.block()?;
        self.inside = outside;
        let otherwise = self.otherwise(end, "with")?;
        self.variables.truncate(scope);
        Ok(Node::With { value, then, otherwise })
    }

    /// What follows `else`, up to its `end`.
    fn otherwise(&mut self, end: Option<&'a str>, of: &str) -> Result<Vec<Node>, String> {
        let Some(end) = end else { return Err("unexpected EOF: {{end}} is missing".to_owned()) };
        let Some(rest) = end.strip_prefix("else").map(str::trim) else {
            return if end == "end" { Ok(Vec::new()) } else { Err(format!("unexpected {{{{{end}}}}}")) };
        };
        match rest.split_once(char::is_whitespace) {
            None if rest.is_empty() => {
                let (nodes, end) = self.block()?;
                match end {
                    Some("end") => Ok(nodes),
                    Some(other) => Err(format!("unexpected {{{{{other}}}}}")),
                    None => Err("unexpected EOF: {{end}} is missing".to_owned()),
                }
            }
            Some(("if", rest)) if of == "if" => self.chained(rest, Self::conditional),
            Some(("with", rest)) if of == "with" => self.chained(rest, Self::with),
            _ => Err(format!("unexpected {{{{{end}}}}}")),
        }
    }

    /// `else if`, which has the same `end`.
    fn chained(
        &mut self,
        rest: &str,
        read: fn(&mut Self, &str) -> Result<Node, String>,
    ) -> Result<Vec<Node>, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("blocks are nested too deeply".to_owned());
        }
        let node = read(self, rest)?;
        self.depth -= 1;
        Ok(vec![node])
    }

    fn range(&mut self, rest: &str) -> Result<Node, String> {
        let scope = self.variables.len();
        let (names, list) = match rest.split_once(":=") {
            Some((names, list)) if names.trim_start().starts_with('$') => (names, list),
            _ => ("", rest),
        };
        let mut variables = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name = name.strip_prefix('$').filter(|name| is_name(name));
            variables.push(name.ok_or_else(|| format!("bad variable in range: {names}"))?.to_owned());
        }
        let list = self.pipeline(list)?;
        let (key, value) = match variables.as_slice() {
            [] => (None, None),
            [value] => (None, Some(value.clone())),
            [key, value] => (Some(key.clone()), Some(value.clone())),
            _ => return Err("too many variables in range".to_owned()),
        };
        self.variables.extend(variables);
        let outside = std::mem::replace(&mut self.inside, true);
        let (body, end) = self.block()?;
        self.inside = outside;
        self.variables.truncate(scope);
        let otherwise = self.otherwise(end, "range")?;
        Ok(Node::Range { key, value, list, body, otherwise })
    }

    fn pipeline(&mut self, text: &str) -> Result<Pipeline, String> {
        let tokens = tokens(text)?;
        let mut tokens = tokens.into_iter().peekable();
        let pipeline = self.commands(&mut tokens, 0)?;
        match tokens.next() {
            None => Ok(pipeline),
            Some(token) => Err(format!("unexpected {token:?} in {text}")),
        }
    }

    fn commands(
        &mut self,
        tokens: &mut std::iter::Peekable<std::vec::IntoIter<Token>>,
        depth: usize,
    ) -> Result<Pipeline, String> {
        if depth > DEEPEST {
            return Err("parentheses are nested too deeply".to_owned());
        }
        let mut pipeline = Pipeline::default();
        let mut command = Vec::new();
        loop {
            match tokens.peek() {
                None | Some(Token::Close(_)) => break,
                Some(Token::Comma) => return Err("unexpected \",\"".to_owned()),
                _ => {}
            }
            match tokens.next() {
                Some(Token::Pipe) => {
                    if command.is_empty() {
                        return Err("missing value for command".to_owned());
                    }
                    pipeline.commands.push(Command(std::mem::take(&mut command)));
                }
                Some(token @ (Token::Declare | Token::Assign)) => {
                    let [Operand::Variable(name, path)] = command.as_slice() else {
                        return Err("unexpected := or =".to_owned());
                    };
                    if name.is_empty() || !path.is_empty() || !pipeline.commands.is_empty() || depth > 0 {
                        return Err("unexpected := or =".to_owned());
                    }
                    let is_new = token == Token::Declare;
                    pipeline.variable = Some((name.clone(), is_new));
                    command.clear();
                }
                Some(Token::Open) => {
                    let inner = self.commands(tokens, depth + 1)?;
                    let Some(Token::Close(path)) = tokens.next() else {
                        return Err("unclosed left paren".to_owned());
                    };
                    command.push(Operand::Group(inner, path));
                }
                Some(Token::Word(word)) => command.push(self.word(word)?),
                Some(Token::Operand(operand)) => command.push(self.operand(operand)?),
                _ => break,
            }
        }
        if command.is_empty() {
            return Err("missing value for command".to_owned());
        }
        pipeline.commands.push(Command(command));
        self.check(&mut pipeline)?;
        Ok(pipeline)
    }

    /// Checks the variables of a pipeline, and what a format says.
    fn check(&mut self, pipeline: &mut Pipeline) -> Result<(), String> {
        for command in &pipeline.commands {
            for operand in &command.0 {
                if let Operand::Variable(name, _) = operand
                    && !name.is_empty()
                    && !self.variables.contains(name)
                {
                    return Err(format!("undefined variable \"${name}\""));
                }
            }
            if let [Operand::Function(name), Operand::Literal(Value::Text(format)), ..] = command.0.as_slice()
                && name == "printf"
                && let Some(verb) = unknown_verb(format)
            {
                return Err(format!("printf with %{verb} is not supported"));
            }
        }
        match &pipeline.variable {
            Some((name, true)) => self.variables.push(name.clone()),
            Some((name, false)) if !self.variables.contains(name) => {
                return Err(format!("undefined variable \"${name}\""));
            }
            _ => {}
        }
        Ok(())
    }

    fn word(&self, word: String) -> Result<Operand, String> {
        match word.as_str() {
            "true" => Ok(Operand::Literal(Value::Bool(true))),
            "false" => Ok(Operand::Literal(Value::Bool(false))),
            "nil" => Ok(Operand::Literal(Value::Nothing)),
            name if FUNCTIONS.contains(&name) => Ok(Operand::Function(word)),
            "html" | "js" | "urlquery" | "call" => Err(format!("function \"{word}\" is not supported")),
            _ => Err(format!("function \"{word}\" not defined")),
        }
    }

    fn operand(&self, operand: Operand) -> Result<Operand, String> {
        let path = match &operand {
            Operand::Dot(path) if !self.inside => path,
            Operand::Variable(name, path) if name.is_empty() => path,
            _ => return Ok(operand),
        };
        match path.as_slice() {
            [] => Ok(operand),
            [name] if name == "Meta" => Ok(Operand::Meta),
            [name, ..] if self.fields.contains(&name.as_str()) => Ok(operand),
            [name, ..] => Err(format!("can't evaluate field {name}: there are {}", self.fields.join(", "))),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
