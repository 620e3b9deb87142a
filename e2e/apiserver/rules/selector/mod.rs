//! Label and field selectors of lists and watches.

mod fields;
mod labels;

pub use self::fields::{FieldSelector, parse_fields};
pub use self::labels::{LabelSelector, parse_labels};
