//! The embedded API server: a test double and a sandbox, never a product.

pub mod kind;
pub mod rules;
