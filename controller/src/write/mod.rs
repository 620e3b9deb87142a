//! Writes.

mod body;

pub use body::Body;
