//! A directive that has been read, as one value for every plugin that needs nothing more.

use std::{fmt, sync::Arc};

use super::{Note, Plugin, Setup, StartError, World};
use crate::corefile::{Directive, Position, quoted};

type Start = dyn Fn(&World) -> Result<Arc<dyn Plugin>, StartError> + Send + Sync;

/// Lines to show, notes, and what starts the plugin.
pub struct Prepared {
    lines: Vec<String>,
    notes: Vec<Note>,
    start: Box<Start>,
}

impl Prepared {
    /// A plugin that `start` makes from the world.
    pub fn new(
        lines: Vec<String>,
        start: impl Fn(&World) -> Result<Arc<dyn Plugin>, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self { lines, notes: Vec::new(), start: Box::new(start) }
    }

    /// A plugin that depends on nothing but its directive: every start gives the same one.
    pub fn of(lines: Vec<String>, plugin: impl Plugin) -> Self {
        let plugin: Arc<dyn Plugin> = Arc::new(plugin);
        Self::new(lines, move |_| Ok(Arc::clone(&plugin)))
    }

    /// The same, with something to say about an option.
    #[must_use]
    pub fn note(mut self, at: &Position, message: impl Into<String>) -> Self {
        self.notes.push(Note { at: at.clone(), message: message.into() });
        self
    }

    /// As the only step of a directive.
    pub fn alone(self) -> Vec<Box<dyn Setup>> {
        vec![Box::new(self)]
    }
}

impl Setup for Prepared {
    fn describe(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn notes(&self) -> Vec<Note> {
        self.notes.clone()
    }

    fn start(&self, world: &World) -> Result<Arc<dyn Plugin>, StartError> {
        (self.start)(world)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("lines", &self.lines).finish_non_exhaustive()
    }
}

/// A directive as lines of a Corefile.
pub fn lines(directive: &Directive) -> Vec<String> {
    let mut lines = Vec::new();
    write(directive, 0, &mut lines);
    lines
}

fn write(directive: &Directive, depth: usize, lines: &mut Vec<String>) {
    let indent = "    ".repeat(depth);
    let words =
        std::iter::once(&directive.name).chain(&directive.args).map(|token| quoted(&token.text).into_owned());
    let line: Vec<String> = words.collect();
    let open = if directive.body.is_empty() { "" } else { " {" };
    lines.push(format!("{indent}{}{open}", line.join(" ")));
    for inner in &directive.body {
        write(inner, depth + 1, lines);
    }
    if !directive.body.is_empty() {
        lines.push(format!("{indent}}}"));
    }
}
