//! Go's `text/template`, as much of it as records need.
//!
//! ```text
//!   text ──parse──▶ nodes ──run with data──▶ text
//! ```
//!
//! Supported are text, comments and trimming; pipelines of fields, variables, literals and functions; `if`, `with`, `range`,
//! `else`, `end`. What is not (named templates, `break`, `continue`, some functions) is refused when the template is read,
//! by its name. There is nothing in here that could wait, and what a template may write is bounded.

mod lex;
mod parse;
mod run;
mod value;

pub(super) use parse::Template;
pub(super) use value::Value;

#[cfg(test)]
mod tests;
