//! The plugins, and what becomes of every directive that CoreDNS knows.

mod acl;
mod any;
pub mod autopath;
pub mod cache;
mod cancel;
mod chaos;
mod class;
mod dns64;
mod errors;
pub mod file;
pub mod forward;
mod header;
mod hosts;
pub mod k8s_external;
pub mod kubernetes;
mod loadbalance;
mod local;
mod log;
mod r#loop;
pub(crate) mod metadata;
mod minimal;
mod nsid;
pub(crate) mod reading;
mod rewrite;
mod rrl;
pub mod settings;
mod template;
pub mod transfer;
mod view;
mod whoami;

#[cfg(test)]
mod both_ways;

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

use How::{Accepted, Chain, Refused, Settings};

/// Every directive, in the order of CoreDNS's `plugin.cfg`: that of settings, and of the steps of the chain.
pub const TABLE: &[Entry] = &[
    Entry { name: "root", how: Settings(settings::root) },
    Entry { name: "metadata", how: Chain(metadata::setup) },
    Entry {
        name: "geoip",
        how: Refused("geoip is not supported: select by client networks with `view` (incidr) or `acl`"),
    },
    Entry {
        name: "proxyproto",
        how: Refused(
            "proxyproto is not supported: have the load balancer keep the addresses of clients (externalTrafficPolicy: Local)",
        ),
    },
    Entry { name: "quic", how: Accepted("DNS over QUIC is not served: there is nothing to limit") },
    Entry { name: "grpc_server", how: Accepted("DNS over gRPC is not served: there is nothing to limit") },
    Entry { name: "https", how: Settings(settings::https) },
    Entry { name: "https3", how: Accepted("DNS over HTTP/3 is not served: there is nothing to limit") },
    Entry { name: "timeouts", how: Settings(settings::timeouts) },
    Entry { name: "multisocket", how: Settings(settings::multisocket) },
    Entry { name: "reload", how: Settings(settings::reload) },
    Entry { name: "nsid", how: Chain(nsid::setup) },
    Entry { name: "bufsize", how: Settings(settings::bufsize) },
    Entry { name: "bind", how: Settings(settings::bind) },
    Entry { name: "debug", how: Settings(settings::debug) },
    Entry { name: "trace", how: Accepted("no spans are sent; answers do not depend on them") },
    Entry { name: "ready", how: Settings(settings::ready) },
    Entry { name: "health", how: Settings(settings::health) },
    Entry { name: "pprof", how: Accepted("it shows profiles of Go's runtime, of which there is none") },
    Entry {
        name: "shed",
        how: Accepted(
            "what cannot be answered in time is always dropped: datagrams never queue for a writer",
        ),
    },
    Entry { name: "prometheus", how: Settings(settings::prometheus) },
    Entry { name: "errors", how: Chain(errors::setup) },
    Entry { name: "log", how: Chain(log::setup) },
    // CoreDNS has it further up; here what runs out of time is seen by those above.
    Entry { name: "cancel", how: Chain(cancel::setup) },
    Entry {
        name: "dnstap",
        how: Refused("dnstap is not supported: use `log`, which names every question and answer"),
    },
    Entry { name: "local", how: Chain(local::setup) },
    Entry { name: "dns64", how: Chain(dns64::setup) },
    Entry { name: "any", how: Chain(any::setup) },
    Entry { name: "chaos", how: Chain(chaos::setup) },
    Entry { name: "loadbalance", how: Chain(loadbalance::setup) },
    Entry {
        name: "tsig",
        how: Refused(
            "tsig is not supported, and without it unsigned requests would be let in: use `acl` for who may transfer, or `tls` with client certificates",
        ),
    },
    Entry { name: "rewrite", how: Chain(rewrite::setup) },
    Entry { name: "autopath", how: Chain(autopath::setup) },
    // External to CoreDNS: where its own plugin.cfg.yaml puts it.
    Entry { name: "rrl", how: Chain(rrl::setup) },
    Entry { name: "acl", how: Chain(acl::setup) },
    Entry { name: "cache", how: Chain(cache::setup) },
    Entry { name: "header", how: Chain(header::setup) },
    Entry {
        name: "dnssec",
        how: Refused(
            "dnssec is not supported: sign zones beforehand and serve them with `file`, or `forward` to a server that signs",
        ),
    },
    Entry { name: "tls", how: Settings(settings::tls) },
    Entry { name: "minimal", how: Chain(minimal::setup) },
    Entry { name: "template", how: Chain(template::setup) },
    Entry { name: "transfer", how: Chain(transfer::setup) },
    Entry { name: "hosts", how: Chain(hosts::setup) },
    Entry {
        name: "route53",
        how: Refused(
            "route53 is not supported: `forward` to the VPC resolver, which answers for private zones",
        ),
    },
    Entry {
        name: "azure",
        how: Refused("azure is not supported: `forward` to 168.63.129.16, which answers for private zones"),
    },
    Entry {
        name: "clouddns",
        how: Refused(
            "clouddns is not supported: `forward` to 169.254.169.254, which answers for private zones",
        ),
    },
    Entry { name: "k8s_external", how: Chain(k8s_external::setup) },
    Entry { name: "kubernetes", how: Chain(kubernetes::setup) },
    Entry { name: "file", how: Chain(file::setup) },
    Entry { name: "auto", how: Refused("auto is not supported: name each zone file with `file`") },
    Entry {
        name: "secondary",
        how: Refused("secondary is not supported: `forward` to the primary and `cache` what it says"),
    },
    Entry { name: "etcd", how: Refused("etcd is not supported: `forward` to a server that answers from it") },
    Entry { name: "loop", how: Chain(r#loop::setup) },
    Entry { name: "forward", how: Chain(forward::setup) },
    Entry { name: "grpc", how: Refused("grpc is not supported: `forward` to tls://ADDRESS") },
    Entry { name: "erratic", how: Refused("erratic is not supported: it fails on purpose, for tests") },
    Entry { name: "whoami", how: Chain(whoami::setup) },
    Entry {
        name: "on",
        how: Refused("on is not supported: run commands from the pod (lifecycle hooks, init containers)"),
    },
    Entry {
        name: "sign",
        how: Refused("sign is not supported: sign zones beforehand and serve them with `file`"),
    },
    Entry { name: "view", how: Settings(view::setup) },
    Entry {
        name: "nomad",
        how: Refused("nomad is not supported: `forward` to a server that answers from it"),
    },
];
