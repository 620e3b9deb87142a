//! The plugins, and what becomes of every directive that CoreDNS knows.

mod any;
mod cache;
mod cancel;
mod chaos;
mod class;
mod errors;
mod forward;
mod header;
pub mod kubernetes;
mod loadbalance;
mod local;
mod log;
pub(crate) mod metadata;
mod minimal;
mod nsid;
pub(crate) mod reading;
pub mod settings;
pub mod transfer;
mod whoami;

use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::Setup,
};

/// A directive.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub how: How,
}

/// Steps of a chain, in order.
pub type Steps = Vec<Box<dyn Setup>>;

/// What becomes of a directive. Functions get all directives of its name in a block, at least one.
pub enum How {
    /// It is a step of the chain.
    Chain(fn(&BlockConfig, &[&Directive]) -> Result<Steps, Error>),
    /// It is a setting of the block.
    Settings(fn(&mut BlockConfig, &[&Directive]) -> Result<(), Error>),
    /// It is taken and has no effect; why.
    Accepted(&'static str),
    /// It is refused; what to do instead.
    Refused(&'static str),
}

use How::{Chain, Refused, Settings};

/// What a directive says that is not built yet.
const MISSING: &str = "is not implemented";

/// Every directive, in the order of CoreDNS's `plugin.cfg`: that of settings, and of the steps of the chain.
pub const TABLE: &[Entry] = &[
    Entry { name: "root", how: Refused(MISSING) },
    Entry { name: "metadata", how: Chain(metadata::setup) },
    Entry { name: "geoip", how: Refused(MISSING) },
    Entry { name: "cancel", how: Chain(cancel::setup) },
    Entry { name: "proxyproto", how: Refused(MISSING) },
    Entry { name: "quic", how: Refused(MISSING) },
    Entry { name: "grpc_server", how: Refused(MISSING) },
    Entry { name: "https", how: Settings(settings::https) },
    Entry { name: "https3", how: Refused(MISSING) },
    Entry { name: "timeouts", how: Settings(settings::timeouts) },
    Entry { name: "multisocket", how: Settings(settings::multisocket) },
    Entry { name: "reload", how: Settings(settings::reload) },
    Entry { name: "nsid", how: Chain(nsid::setup) },
    Entry { name: "bufsize", how: Settings(settings::bufsize) },
    Entry { name: "bind", how: Settings(settings::bind) },
    Entry { name: "debug", how: Settings(settings::debug) },
    Entry { name: "trace", how: Refused(MISSING) },
    Entry { name: "ready", how: Settings(settings::ready) },
    Entry { name: "health", how: Settings(settings::health) },
    Entry { name: "pprof", how: Refused(MISSING) },
    Entry { name: "shed", how: Refused(MISSING) },
    Entry { name: "prometheus", how: Settings(settings::prometheus) },
    Entry { name: "errors", how: Chain(errors::setup) },
    Entry { name: "log", how: Chain(log::setup) },
    Entry { name: "dnstap", how: Refused(MISSING) },
    Entry { name: "local", how: Chain(local::setup) },
    Entry { name: "dns64", how: Refused(MISSING) },
    Entry { name: "any", how: Chain(any::setup) },
    Entry { name: "chaos", how: Chain(chaos::setup) },
    Entry { name: "loadbalance", how: Chain(loadbalance::setup) },
    Entry { name: "tsig", how: Refused(MISSING) },
    Entry { name: "rewrite", how: Refused(MISSING) },
    Entry { name: "autopath", how: Refused(MISSING) },
    Entry { name: "acl", how: Refused(MISSING) },
    Entry { name: "cache", how: Chain(cache::setup) },
    Entry { name: "header", how: Chain(header::setup) },
    Entry { name: "dnssec", how: Refused(MISSING) },
    Entry { name: "tls", how: Settings(settings::tls) },
    Entry { name: "minimal", how: Chain(minimal::setup) },
    Entry { name: "template", how: Refused(MISSING) },
    Entry { name: "transfer", how: Chain(transfer::setup) },
    Entry { name: "hosts", how: Refused(MISSING) },
    Entry { name: "route53", how: Refused(MISSING) },
    Entry { name: "azure", how: Refused(MISSING) },
    Entry { name: "clouddns", how: Refused(MISSING) },
    Entry { name: "k8s_external", how: Refused(MISSING) },
    Entry { name: "kubernetes", how: Chain(kubernetes::setup) },
    Entry { name: "file", how: Refused(MISSING) },
    Entry { name: "auto", how: Refused(MISSING) },
    Entry { name: "secondary", how: Refused(MISSING) },
    Entry { name: "etcd", how: Refused(MISSING) },
    Entry { name: "loop", how: Refused(MISSING) },
    Entry { name: "forward", how: Chain(forward::setup) },
    Entry { name: "grpc", how: Refused(MISSING) },
    Entry { name: "erratic", how: Refused(MISSING) },
    Entry { name: "whoami", how: Chain(whoami::setup) },
    Entry { name: "on", how: Refused(MISSING) },
    Entry { name: "sign", how: Refused(MISSING) },
    Entry { name: "view", how: Refused(MISSING) },
    Entry { name: "nomad", how: Refused(MISSING) },
];
