//! What the API server does to objects, as plain functions of JSON: decoding, defaults, strategies, allocation,
//! validation, patches, server-side apply, tables, selectors.
//!
//! No IO, no clock and no randomness in here: time is an argument and state is a value, so that every rule can be
//! tested by its exact message. The behaviour is that of kube-apiserver 1.36 for the kinds of
//! [`super::kind`]; what the real server says to a user, in words and status codes, is said here too.
//!
//! The order in which a write goes through the rules is that of the real server: decode, defaults, field ownership,
//! strategy, allocation, validation.

pub mod apply;
pub mod decode;
pub mod defaults;
pub mod error;
pub mod field;
pub mod patch;
pub mod schema;
pub mod selector;
pub mod service_ip;
pub mod strategy;
pub mod table;
pub mod validate;
pub mod value;
pub mod warnings;

pub use error::{ApiError, FieldError};
pub use selector::{FieldSelector, LabelSelector};
pub use service_ip::Allocator;

#[cfg(test)]
mod tests;
