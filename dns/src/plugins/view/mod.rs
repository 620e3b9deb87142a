//! `view`: a block takes only the questions that its expressions hold for.
//!
//! ```text
//! view NAME {
//!     expr incidr(client_ip(), '10.0.0.0/8') && type() in ['A', 'AAAA']
//! }
//! ```
//!
//! Several expressions must all hold. They are read when the configuration is, and tried with a few questions: what is
//! wrong in them is told then, with its line. One that fails with a client's question does not hold.

mod expression;

use std::{fmt, sync::Arc};

use super::{metadata::known, reading::once};
use crate::{
    block::{Block, BlockConfig, View},
    corefile::{Directive, Error},
    plugin::Query,
};
use expression::{Expression, Facts};

/// Reads the directive.
///
/// # Errors
/// When it has no name or no expression, or an expression is wrong.
pub(super) fn setup(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    let directive = once(directives)?;
    let [name] = directive.exactly::<1>()?;
    let mut expressions = Vec::new();
    for option in &directive.body {
        if option.name.text != "expr" {
            return Err(option.unknown());
        }
        let words: Vec<&str> = option.some()?.iter().map(|token| token.text.as_str()).collect();
        expressions.push(Expression::read(&words.join(" ")).map_err(|message| option.error(message))?);
    }
    if expressions.is_empty() {
        return Err(directive.error(format!("view {} has no expression", name.text)));
    }
    let lines = crate::plugin::lines(directive);
    block.view = Some(Arc::new(Selection { name: name.text.clone(), lines, expressions }));
    Ok(())
}

struct Selection {
    name: String,
    lines: Vec<String>,
    expressions: Vec<Expression>,
}

impl View for Selection {
    fn name(&self) -> &str {
        &self.name
    }

    fn describe(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn selects(&self, query: &Query, block: &Block) -> bool {
        let wanted = self.expressions.iter().any(Expression::wants_metadata);
        let metadata =
            if wanted && block.plugin("metadata").is_some() { known(block, query) } else { Vec::new() };
        let facts = Facts::new(query, &metadata);
        self.expressions.iter().all(|expression| expression.holds(&facts))
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
