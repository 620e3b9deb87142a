//! Which questions a block takes (`view`).

use std::fmt;

use super::Block;
use crate::plugin::Query;

/// A condition on questions. Blocks of the same zone are tried in the order of the file.
pub trait View: fmt::Debug + Send + Sync {
    /// Its name, in metrics.
    fn name(&self) -> &str;
    /// Its directive, as lines of a Corefile.
    fn describe(&self) -> Vec<String>;
    /// Whether the block, which this is, takes this question.
    fn selects(&self, query: &Query, block: &Block) -> bool;
}
