//! The embedded API server: a test double and a sandbox, **never a product**.
//!
//! It keeps everything in memory, trusts everybody unless told otherwise, and knows the kinds of [`kind`]. What it does,
//! it does as kube-apiserver does it over real HTTP/1.1, so that the stock `kubectl`, Helm and kube-rs cannot tell: lists
//! with versions and pages, watches with bookmarks and streaming lists, the four kinds of patches, optimistic locking,
//! subresources, dry runs, graceful deletion. With [`Options::access`] it has bearer tokens and RBAC, with
//! [`Options::tls`] a certificate. There is no admission beyond namespaces, no storage and no second server.
//!
//! ```text
//!  access
//!    ▲
//!   http ──▶ write, delete ──rules──▶ store ──▶ log ──▶ watches
//!    ▲                                  │
//!  faults                               └──▶ actors: namespaces, garbage, kubelet, workloads
//! ```
//!
//! The rules of each kind are pure functions in [`rules`]; the store holds what they decided; the actors do what a
//! control plane does behind an API server, and each can be left out.

pub mod access;
mod actors;
mod boot;
mod delete;
pub mod faults;
mod http;
pub mod kind;
mod log;
pub mod manifest;
mod object;
mod options;
pub mod rules;
pub mod samples;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod write;

pub use delete::{DeleteOptions, Deleted, Preconditions};
pub use object::{Key, Object};
pub use options::{AccessOptions, KubeletOptions, Options};
pub use server::{ApiServer, Running};
pub use store::{Scope, Store};
pub use write::{Loaded, Part, Patch, UnknownFields, WriteOptions, Written};
